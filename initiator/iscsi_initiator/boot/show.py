"""A boot table in words, for people and for programs. Secrets are told by their length alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from iscsi_initiator.boot.judge import slots
from iscsi_initiator.boot.layout import (
    Block,
    BlockFlag,
    ChapType,
    ControlFlag,
    Origin,
    SecretText,
    Table,
    Target,
    Text,
    address_text,
    mac_text,
    pci_text,
)
from iscsi_protocol.eventlog.parts import printable
from iscsi_protocol.scsi.lun import decode_lun

_STRUCTURE = ("offset", "id", "version", "length", "index", "flags")


def table_json(table: Table) -> dict[str, Any]:
    """The table as JSON can hold it: header, control, and a list of the structures that are there, each with its place."""
    header, control = table.header, table.control
    return {
        "header": {
            "length": header.length,
            "revision": header.revision,
            "checksum": header.checksum,
            "oem_id": _plain(header.oem_id),
            "oem_table_id": _plain(header.oem_table_id),
        },
        "control": {
            "version": control.version,
            "boot_failover": bool(control.flags & ControlFlag.BOOT_FAILOVER),
            "offsets": list(control.offsets),
        },
        "structures": [
            {"place": place, "offset": block.offset, "flags": _flags(block), **_values(block)}
            for place, _, _, block in slots(table)
            if block is not None
        ],
    }


def table_lines(table: Table) -> Iterator[str]:
    """The table for people, a value on each line; empty ones are left out."""
    shown = table_json(table)
    yield f"header        OEM {shown['header']['oem_id'] or '-'}, table {shown['header']['oem_table_id'] or '-'}"
    yield f"control       failover {'on' if shown['control']['boot_failover'] else 'off'}"
    for structure in shown["structures"]:
        yield structure.pop("place")
        structure.pop("offset")
        structure["flags"] = ", ".join(structure["flags"]) or "none"
        for name, value in structure.items():
            if value not in ("", None):
                yield f"  {name.replace('_', ' '):24}{printable(str(value))}"


def _flags(block: Block) -> list[str]:
    radius = isinstance(block, Target)
    names = {
        BlockFlag.VALID: "valid",
        BlockFlag.BOOT_SELECTED: "boot selected",
        BlockFlag.GLOBAL_ADDRESS: "RADIUS CHAP" if radius else "global address",
        BlockFlag.RADIUS_MUTUAL_CHAP: "RADIUS mutual CHAP",
    }
    found = [name for bit, name in names.items() if block.flags & bit & block.FLAGS]
    rest = block.flags & ~block.FLAGS
    return [*found, f"unknown {rest:#04x}"] if rest else found


def _values(block: Block) -> dict[str, Any]:
    names = [each.name for each in fields(block) if each.name not in _STRUCTURE]
    return {name: _value(name, getattr(block, name)) for name in names}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, SecretText):
        return f"{value.length} bytes, not shown" if value.length else ""
    if isinstance(value, Text):
        return _plain(value.data)
    match name:
        case "mac":
            return mac_text(value)
        case "pci":
            return pci_text(value)
        case "lun":
            number = decode_lun(value)
            return value.hex("-", 2) if number is None else number
        case "origin":
            return Origin(value).name.lower().replace("_", " ") if value in Origin.__members__.values() else value
        case "chap_type":
            return ChapType(value).name.lower().replace("_", " ") if value in ChapType.__members__.values() else value
        case _:
            pass
    return address_text(value) if isinstance(value, bytes) else value


def _plain(data: bytes) -> str:
    """Text without the NULs behind it; what is no UTF-8 as escapes, which JSON can hold."""
    text = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
    return text if text.isprintable() else printable(text)
