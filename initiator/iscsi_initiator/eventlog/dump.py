"""What the extra data of an event means, for people: one decoder for each layout."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from iscsi_initiator.eventlog.rows import EVENTS, Dump
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu.base import opcode_name
from iscsi_protocol.scsi.cdb import opcode_name as command_name

AF_INET = 2
AF_INET6 = 23
"""Address families as the log's own system numbers them."""


def address(endpoint: Endpoint) -> bytes:
    """The extra data of event 1. A host that is a name, which was never resolved, has family 0 and its text."""
    try:
        numeric = ipaddress.ip_address(endpoint.host.partition("%")[0])
    except ValueError:
        return struct.pack("<HH", 0, endpoint.port) + endpoint.host.encode("utf-8", "surrogateescape")
    family = AF_INET if numeric.version == 4 else AF_INET6
    return struct.pack("<HH", family, endpoint.port) + numeric.packed


def words(*numbers: int) -> bytes:
    """Numbers as the log has them."""
    return struct.pack(f"<{len(numbers)}I", *numbers)


def _read_address(extra: bytes) -> str:
    if len(extra) < 4:
        return extra.hex(" ")
    family, port = struct.unpack_from("<HH", extra)
    if len(extra) - 4 == (4 if family == AF_INET else 16) and family:
        host = str(ipaddress.ip_address(extra[4:]))
    else:
        host = extra[4:].decode("utf-8", "replace")
    return str(Endpoint(host, port))


def _read_numbers(*names: str) -> Callable[[bytes], str]:
    def read(extra: bytes) -> str:
        if len(extra) != 4 * len(names):
            return extra.hex(" ")
        numbers = struct.unpack(f"<{len(names)}I", extra)
        return ", ".join(f"{name} {number}" for name, number in zip(names, numbers, strict=True))

    return read


def _read_checksums(extra: bytes) -> str:
    if len(extra) != 8:
        return extra.hex(" ")
    computed, given = struct.unpack("<2I", extra)
    return f"computed {computed:#010x}, given {given:#010x}"


def _read_header(extra: bytes) -> str:
    if not extra:
        return ""
    return f"{opcode_name(extra[0] & 0x3F)}: {extra.hex()}"


def _read_function(extra: bytes) -> str:
    return opcode_name(int.from_bytes(extra, "little") & 0x3F) if len(extra) == 4 else extra.hex(" ")


def _read_text(extra: bytes) -> str:
    return extra.rstrip(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")


def _read_cdb(extra: bytes) -> str:
    return f"{command_name(extra)}: {extra.hex()}" if extra else ""


_READERS: Mapping[Dump, Callable[[bytes], str]] = MappingProxyType(
    {
        Dump.NONE: lambda extra: extra.hex(" "),
        Dump.ADDRESS: _read_address,
        Dump.COMMAND_NUMBERS: _read_numbers("ExpCmdSN", "MaxCmdSN"),
        Dump.BURST_LENGTHS: _read_numbers("FirstBurstLength", "MaxBurstLength"),
        Dump.STATUS: _read_numbers("status"),
        Dump.FUNCTION: _read_function,
        Dump.CDB: _read_cdb,
        Dump.PDU: _read_header,
        Dump.TEXT: _read_text,
        Dump.TARGET_NAME: _read_text,
        Dump.HEADER: _read_header,
        Dump.HEADER_AND_DIGEST: _read_header,
        Dump.CHECKSUMS: _read_checksums,
        Dump.STATUS_NUMBERS: _read_numbers("expected", "given"),
        Dump.REJECTED_HEADER: _read_header,
        Dump.SIZE: _read_numbers("bytes"),
    }
)


def explain(event_id: int, extra: bytes) -> str:
    """The extra data of a driver event in words; hex where it does not have its layout, or the event is unknown."""
    row = EVENTS.get(event_id)
    return extra.hex(" ") if row is None else _READERS[row.dump](extra)
