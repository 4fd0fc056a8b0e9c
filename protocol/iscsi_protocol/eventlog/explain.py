"""The extra data of an event for people: one reading for each layout, as far as the bytes go."""

from __future__ import annotations

import errno
import ipaddress
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from iscsi_protocol.chap import MIN_SECRET_LENGTH
from iscsi_protocol.digest import DIGEST_LENGTH
from iscsi_protocol.eventlog.dump import AF_INET, AF_INET6
from iscsi_protocol.eventlog.headers import cdb_part, header_digest_part, header_part, pdu_parts
from iscsi_protocol.eventlog.nt_status import NT_STATUSES
from iscsi_protocol.eventlog.parts import UNTITLED, Detail, Part, bytes_detail, cut_detail, shortened, text_detail
from iscsi_protocol.eventlog.rows import EVENTS, Dump
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import BHS_LENGTH
from iscsi_protocol.pdu.base import opcode_name

_SUMMARY = 300
_FAMILIES = {0: "name", AF_INET: "IPv4", AF_INET6: "IPv6"}
_ADDRESS_LENGTHS = {AF_INET: 4, AF_INET6: 16}

Reading = Callable[[bytes], list[Part]]


def _rest(extra: bytes, offset: int) -> list[Detail]:
    return [bytes_detail(offset, "more bytes", extra[offset:])] if len(extra) > offset else []


def _nothing(extra: bytes) -> list[Part]:
    return [Part(UNTITLED, tuple(_rest(extra, 0)))] if extra else []


def _address(extra: bytes) -> list[Part]:
    details: list[Detail] = []
    if len(extra) >= 2:
        family = int.from_bytes(extra[:2], "little")
        details.append(Detail(0, "family", family, _FAMILIES.get(family, str(family)), telling=False))
    if len(extra) >= 4:
        port = int.from_bytes(extra[2:4], "little")
        details.append(Detail(2, "port", port, str(port), telling=False))
        host, length = extra[4:], _ADDRESS_LENGTHS.get(family)
        if length is None:
            name = text_detail(4, "host", host)
            details.append(replace(name, text=str(Endpoint(name.text, port))))
        elif len(host) >= length:
            numeric = str(ipaddress.ip_address(host[:length]))
            details.append(Detail(4, "address", numeric, str(Endpoint(numeric, port))))
            details += _rest(extra, 4 + length)
        else:
            details += [bytes_detail(4, "address", host), cut_detail(len(extra), len(host), length)]
    else:
        details += [*_rest(extra, len(extra) & ~1), cut_detail(len(extra), len(extra), 4)]
    return [Part(UNTITLED, tuple(details))]


def _numbers(*names: str, text: Callable[[int], str] = str) -> Reading:
    """Numbers of 32 bits."""

    def read(extra: bytes) -> list[Part]:
        whole = min(len(extra) // 4, len(names))
        details = [
            Detail(4 * index, names[index], value, text(value))
            for index, value in enumerate(struct.unpack_from(f"<{whole}I", extra))
        ]
        details += _rest(extra, 4 * whole)
        if whole < len(names):
            details.append(cut_detail(len(extra), len(extra), 4 * len(names)))
        return [Part(UNTITLED, tuple(details))]

    return read


def _status(value: int) -> str:
    """An errno of our own initiator's host, or a status of Windows."""
    if value in errno.errorcode:
        return f"{value} ({errno.errorcode[value]})"
    name = NT_STATUSES.get(value)
    return f"{value:#010x} ({name})" if name else f"{value:#010x}"


def _text(name: str) -> Reading:
    return lambda extra: [Part(UNTITLED, (text_detail(0, name, _narrow(extra).rstrip(b"\0")),))]


def _narrow(text: bytes) -> bytes:
    """Text in 8 bits for what may be ASCII in 16 bits, as the hosts that log it keep text; the wire has no NUL in a value."""
    wide = len(text) >= 4 and not len(text) % 2 and text[0] and not any(text[1::2])
    return text[::2] if wide else text


def _secret_length(extra: bytes) -> list[Part]:
    """A length below that which a secret must have is one; anything else may be the secret, and nothing of it is shown."""
    number = int.from_bytes(extra, "little")
    if len(extra) == 4 and number < MIN_SECRET_LENGTH:
        detail = Detail(0, "size", number, f"{number} bytes")
    else:
        detail = Detail(0, "secret", len(extra), f"{len(extra)} bytes, not shown")
    return [Part(UNTITLED, (detail,))]


def _header(extra: bytes) -> list[Part]:
    parts = [header_part(extra)]
    if len(extra) > BHS_LENGTH:
        parts.append(Part("more bytes", tuple(_rest(extra, BHS_LENGTH))))
    return parts


def _header_and_digest(extra: bytes) -> list[Part]:
    parts = [header_part(extra)]
    if len(extra) >= BHS_LENGTH:
        parts.append(header_digest_part(extra))
    if len(extra) > BHS_LENGTH + DIGEST_LENGTH:
        parts.append(Part("more bytes", tuple(_rest(extra, BHS_LENGTH + DIGEST_LENGTH))))
    return parts


_READINGS: Mapping[Dump, Reading] = MappingProxyType(
    {
        Dump.NONE: _nothing,
        Dump.ADDRESS: _address,
        Dump.COMMAND_NUMBERS: _numbers("ExpCmdSN", "MaxCmdSN"),
        Dump.BURST_LENGTHS: _numbers("FirstBurstLength", "MaxBurstLength"),
        Dump.STATUS: _numbers("status", text=_status),
        Dump.FUNCTION: _numbers(
            "request", text=lambda value: opcode_name(value & 0x3F) if value < 0x40 else f"{value:#x}"
        ),
        Dump.CDB: lambda extra: [cdb_part(extra)],
        Dump.PDU: lambda extra: pdu_parts(extra, with_data=True),
        Dump.TEXT: _text("text"),
        Dump.TARGET_NAME: _text("target name"),
        Dump.HEADER: _header,
        Dump.HEADER_AND_DIGEST: _header_and_digest,
        Dump.CHECKSUMS: _numbers("computed", "given", text=lambda value: f"{value:#010x}"),
        Dump.STATUS_NUMBERS: _numbers("expected", "given"),
        Dump.REJECTED_HEADER: lambda extra: pdu_parts(extra, with_data=False),
        Dump.SIZE: _numbers("size", text=lambda value: f"{value} bytes"),
        Dump.HIDDEN: _secret_length,
    }
)


def details(event_id: int, extra: bytes) -> list[Part]:
    """The extra data of a driver event, value by value; plain bytes where the event is unknown. Never fails."""
    row = EVENTS.get(event_id)
    return (_nothing if row is None else _READINGS[row.dump])(extra)


def summary(parts: Sequence[Part]) -> str:
    """The first part on one line: what tells something, with names where there is more than one value."""
    if not parts:
        return ""
    title = "" if parts[0].title == UNTITLED else parts[0].title
    telling = [detail for detail in parts[0].details if detail.telling]
    if len(telling) == 1 and not title:
        return shortened(telling[0].text, _SUMMARY)
    said = ", ".join(f"{detail.name} {' '.join(detail.text.split())}" for detail in telling)
    return shortened(": ".join(filter(None, (title, said))), _SUMMARY)


def explain(event_id: int, extra: bytes) -> str:
    """The extra data of a driver event in one line of words. Never fails."""
    return summary(details(event_id, extra))
