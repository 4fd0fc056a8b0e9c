"""Reading CDBs by the command table: which command, its fields, its data, its blocks (SPC-4 4.2).

A CDB is given as a buffer and an offset, so that it can be read in place in a SCSI Command PDU (bytes 32 to
47, or with the extended CDB of an AHS joined to them, RFC 7143 11.2.2.3). Bytes beyond the CDB's own length
are not looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import TypeAlias, cast

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.command import Command, Direction
from iscsi_protocol.scsi.fields import At, Buffer
from iscsi_protocol.scsi.opcodes import COMMANDS, OPCODE_NAMES, READ_6, VARIABLE_LENGTH, WRITE_6
from iscsi_protocol.scsi.sense import Sense, illegal_request

RangeReader: TypeAlias = Callable[[Buffer, int], tuple[int, int]]

_GROUP_LENGTHS = (6, 10, 10, None, 16, 12, None, None)
_STRUCT_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


class CdbError(ValueError):
    """A CDB that the command table cannot read; `sense` is what a target answers with CHECK CONDITION."""

    def __init__(self, message: str, sense: Sense) -> None:
        super().__init__(message)
        self.sense = sense


class UnknownOpcode(CdbError):
    """No command has this operation code."""


class UnknownServiceAction(CdbError):
    """The operation code is known, its service action is not."""


class TruncatedCdb(CdbError):
    """The buffer ends before the CDB does, or the additional CDB length contradicts the service action."""


class NoBlockRange(CdbError):
    """The command names no range of logical blocks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cdb:
    """A CDB that was read: its row, its fields, and the reserved bits that were set (`length` bytes)."""

    command: Command
    fields: dict[str, int]
    stray: bytes


def _index() -> tuple[dict[int, Command], dict[int, dict[int, Command]], dict[int, At]]:
    plain: dict[int, Command] = {}
    by_action: dict[int, dict[int, Command]] = {}
    places: dict[int, At] = {}
    for command in COMMANDS:
        if command.service_action is None:
            plain[command.opcode] = command
        else:
            by_action.setdefault(command.opcode, {})[command.service_action] = command
            places[command.opcode] = command.constants[-1][0]
    return plain, by_action, places


_PLAIN, _BY_ACTION, _ACTION_PLACES = _index()


def _range_reader(command: Command) -> RangeReader | None:
    """A precompiled reader of (lba, blocks), for the commands whose two fields are whole bytes."""
    lba, blocks = command.fields.get("lba"), command.fields.get("blocks")
    if lba is None or blocks is None or lba.size not in _STRUCT_CODES:
        return None
    gap = blocks.offset - lba.offset - lba.size
    return cast(
        "RangeReader",
        Struct(f">{lba.offset}x{_STRUCT_CODES[lba.size]}{gap}x{_STRUCT_CODES[blocks.size]}").unpack_from,
    )


BLOCK_RANGE: tuple[RangeReader | None, ...] = tuple(
    _range_reader(_PLAIN[opcode]) if opcode in _PLAIN else None for opcode in range(256)
)
"""By operation code: reader(buffer, offset) -> (lba, blocks), a bare struct; else None: take `block_range`."""


def cdb_length(buffer: Buffer, offset: int = 0) -> int | None:
    """Length in bytes that a CDB announces: by its group code, for 0x7f by its additional CDB length.

    None for the vendor specific groups, for the reserved opcodes 0x60 to 0x7e, and when the buffer ends too
    early.
    """
    opcode = buffer[offset] if offset < len(buffer) else VARIABLE_LENGTH
    if opcode == VARIABLE_LENGTH:
        return 8 + buffer[offset + 7] if offset + 7 < len(buffer) else None
    return _GROUP_LENGTHS[opcode >> 5]


def service_action(buffer: Buffer, offset: int = 0) -> int | None:
    """The service action, where the table splits the operation code by it; None elsewhere or when cut off."""
    place = _ACTION_PLACES.get(buffer[offset]) if offset < len(buffer) else None
    if place is None or offset + place.offset + place.size > len(buffer):
        return None
    return place.get(buffer, offset)


def find(buffer: Buffer, offset: int = 0) -> Command | None:
    """The row of a CDB; None when the table has none or the buffer does not hold the whole CDB."""
    if offset >= len(buffer):
        return None
    opcode = buffer[offset]
    command = _PLAIN.get(opcode)
    if command is None:
        action = service_action(buffer, offset)
        command = None if action is None else _BY_ACTION[opcode].get(action)
        if command is None:
            return None
        if opcode == VARIABLE_LENGTH and cdb_length(buffer, offset) != command.length:
            return None
    return command if offset + command.length <= len(buffer) else None


def parse(buffer: Buffer, offset: int = 0) -> Cdb:
    """The command and the fields of a CDB.

    Raises UnknownOpcode, UnknownServiceAction or TruncatedCdb, each with the sense data that answers it.
    """
    command = find(buffer, offset)
    if command is None:
        raise _refusal(buffer, offset)
    return Cdb(command=command, fields=command.parse(buffer, offset), stray=command.stray(buffer, offset))


def _refusal(buffer: Buffer, offset: int) -> CdbError:
    name = opcode_name(buffer, offset)
    if offset < len(buffer) and buffer[offset] not in _PLAIN and buffer[offset] not in _BY_ACTION:
        sense = illegal_request(AdditionalSense.INVALID_COMMAND_OPERATION_CODE, 0)
        return UnknownOpcode(f"{name} is no command of the table", sense)
    action = service_action(buffer, offset)
    if action is not None and action not in _BY_ACTION[buffer[offset]]:
        place = _ACTION_PLACES[buffer[offset]]
        sense = illegal_request(AdditionalSense.INVALID_FIELD_IN_CDB, place.offset, place.mask.bit_length() - 1 & 7)
        return UnknownServiceAction(f"{name} is no command of the table", sense)
    return TruncatedCdb(f"{name} ends too early", illegal_request(AdditionalSense.INVALID_FIELD_IN_CDB))


def transfer(buffer: Buffer, block_size: int, offset: int = 0) -> tuple[Direction, int] | None:
    """Direction and bytes of data that a CDB asks for; None when `find` does not know it.

    Bytes are the allocation length, the parameter list length, or blocks x block_size. BIDI: the length holds
    for each of the two directions. A count of zero moves nothing, yet has the direction of its command.
    """
    command = find(buffer, offset)
    return None if command is None else command.data(buffer, block_size, offset)


def block_range(buffer: Buffer, offset: int = 0) -> tuple[int, int]:
    """(lba, number of blocks) of a medium access CDB, any size; READ(6) and WRITE(6) count 0 as 256.

    The buffer holds the whole CDB (struct.error otherwise). Raises NoBlockRange for a command without a
    range.
    """
    reader = BLOCK_RANGE[buffer[offset]]
    if reader is not None:
        return reader(buffer, offset)
    command = find(buffer, offset)
    if command is None or "lba" not in command.fields or "blocks" not in command.fields:
        sense = illegal_request(AdditionalSense.INVALID_COMMAND_OPERATION_CODE, 0)
        raise NoBlockRange(f"{opcode_name(buffer, offset)} names no blocks", sense)
    blocks = command.fields["blocks"].get(buffer, offset)
    if blocks == 0 and (command is READ_6 or command is WRITE_6):
        blocks = 256
    return command.fields["lba"].get(buffer, offset), blocks


def opcode_name(buffer: Buffer, offset: int = 0) -> str:
    """The command's name as the standards write it, for people; never fails.

    "READ(10)", "MAINTENANCE IN service action 0x1f" for an unknown service action, "opcode 0xc1" for an
    unknown opcode.
    """
    if offset >= len(buffer):
        return "empty CDB"
    opcode = buffer[offset]
    if opcode in _PLAIN:
        return _PLAIN[opcode].name
    if opcode not in OPCODE_NAMES:
        return f"opcode {opcode:#04x}"
    action = service_action(buffer, offset)
    if action is None:
        return OPCODE_NAMES[opcode]
    command = _BY_ACTION[opcode].get(action)
    return command.name if command else f"{OPCODE_NAMES[opcode]} service action {action:#04x}"
