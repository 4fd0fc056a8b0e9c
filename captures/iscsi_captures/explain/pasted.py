"""Events in pasted text: a dump, alone or with the lines around it in which the Event Viewer names source, id and time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

from iscsi_captures.explain.found import Found, Trouble
from iscsi_captures.explain.hexdump import HexRow, digits_of, dumps, is_record, plain, row_of

_LABELS = {
    "source": "source",
    "event source": "source",
    "provider": "source",
    "providername": "source",
    "provider name": "source",
    "event id": "id",
    "eventid": "id",
    "id": "id",
    "date": "time",
    "timecreated": "time",
    "computer": "computer",
    "machinename": "computer",
    "level": "level",
    "leveldisplayname": "level",
    "event type": "level",
    "type": "level",
}
"""What is in front of a colon, in small letters, to the field of `Found` that stands behind it."""
_LABEL = re.compile(r"[\s·*-]*([A-Za-z]+(?: [A-Za-z]+)?)\s*:\s*(.*?)\s*")
_FRIENDLY = re.compile(r"[\s+-]*(?:\[ (Name|SystemTime)\]|(EventID|Computer)(?= +\S+\s*$))\s+(\S.*?)\s*")
"""The same in the Event Viewer's friendly view of an event's details."""
_FRIENDLY_LABELS = {"Name": "source", "SystemTime": "time", "EventID": "id", "Computer": "computer"}
_ID = re.compile(r"(\d{1,10})\b")


@dataclass(slots=True)
class _Block:
    """The lines of one event. line: its first, from 1."""

    line: int
    labels: dict[str, str] = field(default_factory=dict)
    rows: list[HexRow] = field(default_factory=list)
    plain: list[list[str]] = field(default_factory=list)

    @property
    def has_data(self) -> bool:
        return bool(self.rows or self.plain)


def pasted(text: str) -> Iterator[Found | Trouble]:
    """The events in a text, from its beginning on."""
    for block in _blocks(text):
        yield from _found(block)


def _blocks(text: str) -> Iterator[_Block]:
    block, waiting, was_plain = _Block(1), "", False
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            was_plain = False
            continue
        row = row_of(line)
        digits = [] if row or waiting else digits_of(line)
        name, value = ("", "") if row or digits else _labelled(line)
        if row:
            block.rows.append(row)
        elif digits:
            if not was_plain:
                block.plain.append([])
            block.plain[-1] += digits
        elif name:
            # What is behind a dump, or named once more, belongs to the next event.
            if block.has_data or (name in block.labels and not waiting):
                yield block
                block = _Block(number)
            block.labels.setdefault(name, value)
            waiting = "" if value else name
            was_plain = False
            continue
        elif waiting:
            block.labels[waiting] = line.strip()
        waiting, was_plain = "", bool(digits)
    yield block


def _labelled(line: str) -> tuple[str, str]:
    """The field that a line names, and what stands behind it; twice nothing where it names none."""
    if label := _LABEL.fullmatch(line):
        return _LABELS.get(label[1].lower(), ""), label[2]
    if label := _FRIENDLY.fullmatch(line):
        return _FRIENDLY_LABELS[label[1] or label[2]], label[3]
    return "", ""


def _found(block: _Block) -> Iterator[Found | Trouble]:
    place = f"line {block.line}"
    labels = block.labels
    said = _ID.match(labels.get("id", ""))
    source, event_id = labels.get("source") or None, int(said[1]) if said else None
    said_by_labels = partial(
        Found,
        place=place,
        source=source,
        id=event_id,
        time=labels.get("time", ""),
        computer=labels.get("computer", ""),
        level=labels.get("level", "").lower(),
    )
    read = dumps(block.rows)
    # The Event Viewer shows the same bytes once more without their places.
    there = {dump.data for dump in read}
    read += [dump for groups in block.plain if (dump := plain(groups)) is not None and dump.data not in there]
    for dump in read:
        if event_id is None and not is_record(dump.data):
            yield Trouble(place, _no_record(len(dump.data)))
            continue
        yield said_by_labels(packet=dump.data, broken=dump.broken)
    if not read and event_id is not None and source is not None:
        yield said_by_labels()


def _no_record(length: int) -> str:
    if not length:
        return "a dump that does not begin at 0000"
    if length < 0x10:
        return f"a dump of {length} byte{'s' * (length > 1)}, which ends before the event's number at 0x0c"
    return "a dump that is no event's record: there is no error code at 0x0c"
