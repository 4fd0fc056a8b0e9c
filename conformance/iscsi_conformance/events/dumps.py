"""What the extra data of an event has to be, worked out from the history alone: one rule an event, which a row may replace.

Numbers are little-endian 32-bit words; PDU headers, digests, names and text are the bytes as they were on the wire.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.verdict import Inconclusive
from iscsi_protocol.history import BytesRecord, Endpoint, PduRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import Opcode, RawPdu
from iscsi_protocol.stream import Direction

if TYPE_CHECKING:
    from iscsi_conformance.events.play import DumpOf, Play

_NEVER_UP = frozenset({TransportEvent.REFUSED, TransportEvent.TIMED_OUT, TransportEvent.UNREACHABLE})
_WINSOCK_INET, _WINSOCK_INET6 = 2, 23


def words(*numbers: int) -> bytes:
    """Numbers as the log has them."""
    return struct.pack(f"<{len(numbers)}I", *numbers)


def received(play: Play, test: Callable[[RawPdu], object], what: str) -> RawPdu:
    """The first PDU of the target for which this holds. Raises Inconclusive where none came."""
    for record in play.scene.recorder.records:
        if isinstance(record, PduRecord) and record.direction is Direction.TO_INITIATOR and test(record.raw):
            return record.raw
    raise Inconclusive(f"the target sent no {what}")


def culprit(play: Play) -> RawPdu:
    """The last PDU of the kind that the row spoils, of those that came before the first event was logged."""
    opcodes = {fault.when.opcode for fault in play.row.spoils if fault.when.direction is Direction.TO_INITIATOR}
    found = None
    for index, record in enumerate(play.scene.recorder.records):
        if index >= play.first_event_at:
            break
        if isinstance(record, PduRecord) and record.direction is Direction.TO_INITIATOR:
            opcode = record.raw.bhs[0] & 0x3F
            if not opcodes or None in opcodes or opcode in opcodes:
                found = record.raw
    if found is None:
        raise Inconclusive("the target sent nothing before the event")
    return found


def last_header(play: Play) -> bytes:
    """The header of the last PDU of the kind that the row spoils, whenever it came."""
    opcodes = {fault.when.opcode for fault in play.row.spoils if fault.when.direction is Direction.TO_INITIATOR}
    found = [
        record.raw
        for record in play.scene.recorder.records
        if isinstance(record, PduRecord) and record.direction is Direction.TO_INITIATOR and record.raw.opcode in opcodes
    ]
    if not found:
        raise Inconclusive("the target sent nothing of the kind")
    return bytes(found[-1].bhs)


def latest_header(play: Play) -> bytes:
    """The header of the last PDU of any kind that came before the first event was logged."""
    found = b""
    for index, record in enumerate(play.scene.recorder.records):
        if index < play.first_event_at and isinstance(record, PduRecord):
            found = bytes(record.raw.bhs) if record.direction is Direction.TO_INITIATOR else found
    return found


def unfinished_header(play: Play) -> bytes:
    """The header of a PDU that never came whole."""
    for record in play.scene.recorder.records:
        if isinstance(record, BytesRecord) and record.direction is Direction.TO_INITIATOR:
            return record.data[:48]
    raise Inconclusive("every PDU came whole")


def header(play: Play) -> bytes:
    """The header of the culprit."""
    return bytes(culprit(play).bhs)


def last_login_response(play: Play) -> bytes:
    """The whole of the Login Response that decided."""
    return deciding_response(play).to_bytes()


def deciding_response(play: Play) -> RawPdu:
    """The last Login Response that came before the first event was logged. Raises Inconclusive where none came."""
    found = None
    for index, record in enumerate(play.scene.recorder.records):
        if index < play.first_event_at and isinstance(record, PduRecord) and record.raw.opcode == Opcode.LOGIN_RESPONSE:
            found = record.raw
    if found is None:
        raise Inconclusive("the target sent no Login Response")
    return found


def login_text(play: Play) -> bytes:
    """The data of the Login Response that decided."""
    return bytes(deciding_response(play).data)


def login_counters(play: Play) -> bytes:
    """ExpCmdSN and MaxCmdSN of the Login Response that decided."""
    header = bytes(deciding_response(play).bhs)
    return words(int.from_bytes(header[28:32], "big"), int.from_bytes(header[32:36], "big"))


def login_value(key: str) -> DumpOf:
    """The value that the Login Response that decided has for a key, the first where it has several."""

    def value(play: Play) -> bytes:
        name = key.encode() + b"="
        for pair in login_text(play).split(b"\0"):
            if pair.startswith(name):
                return pair.removeprefix(name)
        raise Inconclusive(f"the target said nothing about {key}")

    return value


def addresses(play: Play) -> tuple[bytes, ...]:
    """Family, port and address of every connect attempt that came to nothing."""
    records = (record for record in play.scene.recorder.records if isinstance(record, TransportRecord))
    tried = [record.target for record in records if record.event in _NEVER_UP and record.target is not None]
    if not tried:
        raise Inconclusive("every connection came up")
    return tuple(_address(endpoint) for endpoint in tried)


def _address(endpoint: Endpoint) -> bytes:
    family, code = (socket.AF_INET6, _WINSOCK_INET6) if ":" in endpoint.host else (socket.AF_INET, _WINSOCK_INET)
    return struct.pack("<HH", code, endpoint.port) + socket.inet_pton(family, endpoint.host)


def damaged_header(play: Play) -> bytes:
    """Header and given digest of the PDU whose header digest is wrong."""
    raw = received(play, lambda pdu: pdu.header_digest_error, "PDU with a wrong header digest")
    return bytes(raw.bhs) + bytes(raw.header_digest)


def checksums(play: Play) -> bytes:
    """Computed and given data digest of the PDU whose data digest is wrong."""
    raw = received(play, lambda pdu: pdu.data_digest_error, "PDU with a wrong data digest")
    return words(_crc32c(bytes(raw.data) + bytes(raw.padding)), int.from_bytes(bytes(raw.data_digest), "little"))


def rejected_header(play: Play) -> bytes:
    """The header that the Reject carries."""
    raw = received(play, lambda pdu: pdu.opcode == Opcode.REJECT, "Reject")
    data = bytes(raw.data)
    return data[: 48 + 4 * data[4]]


def target_name(play: Play) -> bytes:
    """The name of the target that the session is with."""
    return str(play.options.get("target_name", PLAIN)).encode()


def _crc32c(data: bytes) -> int:
    """CRC32C bit by bit (RFC 7143 13.1), so that the check shares no code with what is checked."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def _nothing(_: Play) -> bytes:
    return b""


def _function(opcode: int) -> DumpOf:
    return lambda _: words(opcode)


_WITHOUT = (2, 6, 18, 19, 30, 31, 37, 38, 40, 41, 52, 53, 54, 55, 56, 57, 58, 59, 61, 62)
_NAMED = (20, 32, 34, 39, 63)
_HEADERS = (21, 23, 24, 26, 27, 28, 60)
_FUNCTIONS = {
    43: Opcode.LOGIN_REQUEST,
    44: Opcode.LOGOUT_REQUEST,
    45: Opcode.LOGIN_REQUEST,
    46: Opcode.TEXT_REQUEST,
    47: Opcode.SCSI_COMMAND,
    48: Opcode.NOP_OUT,
    49: Opcode.TASK_MANAGEMENT_REQUEST,
    50: Opcode.TEXT_REQUEST,
    51: Opcode.LOGOUT_REQUEST,
    8: Opcode.LOGOUT_REQUEST,
}

RULES: Mapping[int, DumpOf] = MappingProxyType(
    {
        **dict.fromkeys(_WITHOUT, _nothing),
        **dict.fromkeys(_NAMED, target_name),
        **dict.fromkeys(_HEADERS, header),
        **{event: _function(opcode) for event, opcode in _FUNCTIONS.items()},
        1: addresses,
        3: login_counters,
        10: last_login_response,
        11: last_login_response,
        12: login_text,
        13: login_value("AuthMethod"),
        14: login_value("CHAP_A"),
        15: login_value("CHAP_C"),
        17: login_value("CHAP_R"),
        22: damaged_header,
        25: checksums,
        29: rejected_header,
    }
)
"""Event to what its extra data has to be. Events that are not here are about values that a row has to give."""
