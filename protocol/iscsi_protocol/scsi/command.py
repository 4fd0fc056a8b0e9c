"""What a row of the command table says: the layout of a CDB and the data that it moves (SPC-4 4.2).

Block counts are called `blocks` in every row (TRANSFER LENGTH, VERIFICATION LENGTH, NUMBER OF LOGICAL BLOCKS
in SBC-3); byte counts are `allocation_length`, `parameter_list_length` or `byte_transfer_length`; the address
is `lba`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from iscsi_protocol.scsi.fields import At, Buffer, FieldValueError, claimed_bits


class Direction(Enum):
    """Where a command's data goes, seen from the initiator."""

    NONE = "none"
    IN = "in"
    OUT = "out"
    BIDI = "bidi"


class Unit(IntEnum):
    """What a transfer's count counts."""

    BYTES = 0
    BLOCKS = 1


@dataclass(frozen=True, slots=True)
class Transfer:
    """How much a command moves: a number or the name of the CDB field that holds it, times `factor`.

    `when_zero` is the count that a zero in the field stands for.
    """

    direction: Direction
    unit: Unit = Unit.BYTES
    count: int | str = 0
    factor: int = 1
    when_zero: int = 0


NO_DATA = Transfer(Direction.NONE)


@dataclass(frozen=True, slots=True)
class Choice:
    """A transfer that depends on another field; a value that is not listed moves no data."""

    field: str
    cases: Mapping[int, Transfer]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Command:
    """A row: one operation code, or one service action of it. Compared by identity.

    `fields` leaves out the operation code, the service action and the other values that are the same in every
    CDB of the command; `constants` has these, as (place, value).
    """

    name: str
    opcode: int
    length: int
    fields: Mapping[str, At]
    transfer: Transfer | Choice = NO_DATA
    service_action: int | None = None
    constants: tuple[tuple[At, int], ...] = ()
    template: bytes = field(init=False)
    mask: bytes = field(init=False)

    def __post_init__(self) -> None:
        fixed = [("operation code", At(0)), *((f"constant {at.offset}", at) for at, _ in self.constants)]
        template = bytearray(self.length)
        template[0] = self.opcode
        for at, value in self.constants:
            at.put(template, value, self.name)
        object.__setattr__(self, "template", bytes(template))
        object.__setattr__(self, "mask", claimed_bits(self.name, self.length, [*fixed, *self.fields.items()]))

    def build(self, **values: int) -> bytes:
        """The CDB, `length` bytes; fields that are not given are 0. Raises FieldValueError."""
        cdb = bytearray(self.template)
        for name, value in values.items():
            if name not in self.fields:
                raise FieldValueError(f"{self.name} has no field {name}; it has {', '.join(self.fields)}")
            self.fields[name].put(cdb, value, name)
        return bytes(cdb)

    def parse(self, buffer: Buffer, offset: int = 0) -> dict[str, int]:
        """Every field of a CDB of this command; the buffer holds at least `length` bytes from `offset` on."""
        return {name: at.get(buffer, offset) for name, at in self.fields.items()}

    def stray(self, buffer: Buffer, offset: int = 0) -> bytes:
        """The set bits of a CDB that no field claims, `length` bytes; all zero when reserved bits are."""
        return bytes(buffer[offset + i] & ~mask & 0xFF for i, mask in enumerate(self.mask))

    def usage(self) -> bytes:
        """CDB usage data of REPORT SUPPORTED OPERATION CODES: constants as they are, other fields all ones."""
        usage = bytearray(self.mask)
        usage[0] = self.opcode
        for at, value in self.constants:
            at.put(usage, value, self.name)
        return bytes(usage)

    def data(self, buffer: Buffer, block_size: int, offset: int = 0) -> tuple[Direction, int]:
        """Direction and length in bytes that a CDB of this command asks for."""
        transfer = self.transfer
        if isinstance(transfer, Choice):
            transfer = transfer.cases.get(self.fields[transfer.field].get(buffer, offset), NO_DATA)
        count = transfer.count
        if isinstance(count, str):
            count = self.fields[count].get(buffer, offset) or transfer.when_zero
        return transfer.direction, count * transfer.factor * (block_size if transfer.unit else 1)
