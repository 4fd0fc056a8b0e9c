"""Dialogue rows packed for the report's page, so that a run with tens of thousands of PDUs stays a file that opens at once.

A PDU's fields follow from its header: the page has the layouts, each once, and computes the values. A value that the
header does not bear out is kept as it was recorded. Lines are kept once each, with their numbers left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from iscsi_captures.legible import legible

Packed = list[Any]
Layout = tuple[tuple[Any, ...], ...]
_ARROWS = ("→ ", "← ")
_LEFT_OUT = "\x01"
_KINDS = ("pdu", "bytes", "transport", "settings", "gap")


class Pools:
    """What many rows share. layouts: lists of (name, offset, size, mask, format); lines: texts of rows.

    A format says how a field's value is written: "d" decimal, "x" hexadecimal, "b" bytes, "=" and the value itself.
    """

    def __init__(self) -> None:
        self._layouts: dict[Layout, int] = {}
        self._lines: dict[str, int] = {}

    @property
    def layouts(self) -> list[Layout]:
        """The layouts in the order of their numbers."""
        return list(self._layouts)

    @property
    def lines(self) -> list[str]:
        """The lines in the order of their numbers."""
        return list(self._lines)

    def layout(self, rows: Layout) -> int:
        """The number of a layout."""
        return self._layouts.setdefault(rows, len(self._layouts))

    def line(self, text: str) -> int:
        """The number of a line."""
        return self._lines.setdefault(text, len(self._lines))


def packed_rows(dialogue: Sequence[Mapping[str, object]], pools: Pools) -> list[Packed]:
    """One list per row: [kind, index, time, connection, direction, line, payload], and for a PDU [..., BHS, layout].

    kind: place in pdu, bytes, transport, settings, gap. time: seconds since the first row. direction: 0 to the target,
    1 to the initiator, -1 neither.
    """
    start = next((time for row in dialogue if isinstance(time := row.get("time"), int | float)), 0.0)
    return [_packed(place, row, start, pools) for place, row in enumerate(dialogue)]


def _packed(place: int, row: Mapping[str, object], start: float, pools: Pools) -> Packed:
    kind = str(row.get("kind"))
    line = str(row.get("line", ""))
    for arrow in _ARROWS:
        line = line.removeprefix(arrow)
    line = legible(line)
    time = row.get("time")
    index = row.get("index")
    packed: Packed = [
        _KINDS.index(kind) if kind in _KINDS else _KINDS.index("gap"),
        index if isinstance(index, int) else -1 if kind == "gap" else place,
        round(time - start, 6) if isinstance(time, int | float) else 0,
        row.get("connection", 0),
        {"TO_TARGET": 0, "TO_INITIATOR": 1}.get(str(row.get("direction")), -1),
    ]
    payload = legible(str(row.get("payload") or ""))
    fields = row.get("fields")
    bhs = str(row.get("bhs") or "")
    if not isinstance(fields, list) or not re.fullmatch(r"[0-9a-f]{96}", bhs):
        return [*packed, pools.line(line), payload]
    header = bytes.fromhex(bhs)
    for field in fields:
        line = line.replace(f" {field['name']}={field['value']}", f" {field['name']}={_LEFT_OUT}", 1)
    layout = pools.layout(tuple(_layout_row(field, header) for field in fields))
    return [*packed, pools.line(line), payload, bhs, layout]


def _layout_row(field: Mapping[str, object], header: bytes) -> tuple[Any, ...]:
    name, value = legible(str(field["name"])), str(field["value"])
    offset, size, mask = field["offset"], field["size"], field["mask"]
    if not isinstance(offset, int) or not isinstance(size, int):
        return name, 0, 0, None, f"={legible(value)}"
    part = int.from_bytes(header[offset : offset + size], "big")
    if isinstance(mask, int) and mask:
        part = (part & mask) >> ((mask & -mask).bit_length() - 1)
    written = {"d": str(part), "x": f"{part:#x}", "b": part.to_bytes(size, "big").hex()}
    same = next((how for how, text in written.items() if text == value), f"={legible(value)}")
    return name, offset, size, mask if isinstance(mask, int) else None, same
