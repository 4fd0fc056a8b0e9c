"""The vocabulary of faults: when something goes wrong on a connection, and what.

A fault is data. It says which PDU it waits for (`When`) and what becomes of it (a tuple of actions, applied in order).
Changes are made before the digests are computed, so that only the named thing is wrong; `raw` leaves the digests as they
were. `renumber` mends StatSN or CmdSN of everything behind an inserted or dropped PDU, so that the hole does not show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from iscsi_protocol.pdu.base import Pdu
from iscsi_protocol.stream import Direction


@dataclass(frozen=True, slots=True)
class Plus:
    """The field's own value plus an amount, modulo the field's size."""

    amount: int


@dataclass(frozen=True, slots=True)
class Of:
    """A number of the dialogue so far, plus an amount modulo 2^32.

    source: stat_sn (the target's next), exp_stat_sn, cmd_sn (the initiator's next), exp_cmd_sn, max_cmd_sn (the latest),
    open_itt (a task not answered yet), closed_itt (one that was), unused_itt, open_ttt (the latest R2T's); or
    "trigger.NAME", a field of the PDU that the fault waited for.
    """

    source: str
    amount: int = 0


Value = int | bool | bytes | Plus | Of


class Relation(Enum):
    """How a field is compared."""

    EQUAL = "=="
    DIFFERENT = "!="
    BELOW = "<"
    ABOVE = ">"
    BITS = "&"


@dataclass(frozen=True, slots=True)
class FieldIs:
    """The header field `name` stands in this relation to the value; `data_length` names the data segment's length."""

    name: str
    value: int | bool | bytes
    relation: Relation = Relation.EQUAL


@dataclass(frozen=True, slots=True)
class HasKey:
    """The data segment is text with this key; with this value, or a value that starts so, where one is given."""

    key: str
    value: str | None = None
    prefix: str = ""


Test = FieldIs | HasKey


@dataclass(frozen=True, kw_only=True, slots=True)
class When:
    """Which PDU: all that is given must hold. Of the PDUs that match, number `nth` (from 1) is the first one changed, and
    `times` of them are (0 = all from there on). stage: CSG during login, 3 in full feature phase.
    """

    direction: Direction
    opcode: int | None = None
    stage: int | None = None
    tests: tuple[Test, ...] = ()
    nth: int = 1
    times: int = 1


class Part(Enum):
    """A part of a PDU, named as `RawPdu` does."""

    BHS = "bhs"
    AHS = "ahs"
    DATA = "data"
    PADDING = "padding"
    HEADER_DIGEST = "header_digest"
    DATA_DIGEST = "data_digest"


@dataclass(frozen=True, slots=True)
class Set:
    """Give a header field a value; `total_ahs_length`, `data_segment_length` and `opcode` are fields too."""

    name: str
    value: Value


@dataclass(frozen=True, slots=True)
class Poke:
    """Overwrite header bytes from `offset` on, reserved ones included."""

    offset: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Flip:
    """Invert bits of one byte of a part. offset may be negative, from the end; a part that is too short stays."""

    part: Part
    offset: int = 0
    mask: int = 0x01


@dataclass(frozen=True, slots=True)
class Replace:
    """Give a part other bytes. For data the header's length and the padding follow; for AHS the header's length does."""

    part: Part
    value: bytes


@dataclass(frozen=True, slots=True)
class SetKey:
    """Edit the text in the data segment: replace the key's value where it stands, else append it; None takes it out.

    `again` appends a further pair even though the key is there.
    """

    key: str
    value: str | None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A PDU to be made: class and field values; numbers may come from the dialogue. Digests are added as agreed."""

    pdu: type[Pdu]
    values: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Insert:
    """Send another PDU as well, before or behind this one, or the other way (`direction`)."""

    template: Template
    before: bool = False
    direction: Direction | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """The PDU does not arrive."""


@dataclass(frozen=True, slots=True)
class Hold:
    """The PDU comes later: behind `pdus` more PDUs of its direction, or after `seconds`, whichever is given."""

    pdus: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Repeat:
    """The PDU comes this many times more."""

    times: int = 1


@dataclass(frozen=True, slots=True)
class Split:
    """A data PDU becomes two, cut at `at` bytes of data (DataSN and offset of the second and of all behind it fitting)."""

    at: int


@dataclass(frozen=True, slots=True)
class Segment:
    """The PDU's bytes go out in pieces of this size, one send each."""

    size: int


@dataclass(frozen=True, slots=True)
class Truncate:
    """Only the first `length` bytes of the PDU go out; the stream goes on behind them."""

    length: int


@dataclass(frozen=True, slots=True)
class Close:
    """The sender ends the connection with FIN: after this PDU, or instead of it once it was dropped."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The sender ends the connection with RST."""


@dataclass(frozen=True, slots=True)
class Silence:
    """From here on nothing goes this way any more, this PDU included."""


Action = (
    Set
    | Poke
    | Flip
    | Replace
    | SetKey
    | Insert
    | Drop
    | Hold
    | Repeat
    | Split
    | Segment
    | Truncate
    | Close
    | Reset
    | Silence
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """When, and what. raw: digests stay as they were before the change. renumber: see the module's text."""

    when: When
    what: tuple[Action, ...]
    raw: bool = False
    renumber: bool = False


class Side(Enum):
    """Whose fault it is."""

    TARGET = "target"
    INITIATOR = "initiator"


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedFault:
    """A fault with a permanent id. says: one sentence, what the faulty product does.

    `policy` names switches of the engine's policy object with their values, for what no change of the stream can express.
    """

    id: str
    side: Side
    says: str
    faults: tuple[Fault, ...] = ()
    policy: Mapping[str, object] = field(default_factory=dict)


class UnknownFault(KeyError):
    """No fault has this id."""

    def __init__(self, fault_id: str, known: list[str]) -> None:
        super().__init__(fault_id)
        self.fault_id = fault_id
        self.known = known

    def __str__(self) -> str:
        near = [name for name in self.known if name.split(".")[0] == self.fault_id.split(".")[0]]
        hint = f"; known ones: {', '.join(near)}" if near else ""
        return f"no fault is named {self.fault_id!r}{hint}"


def table(*groups: tuple[NamedFault, ...]) -> dict[str, NamedFault]:
    """Groups of faults as one table by id. Raises ValueError for an id given twice or a fault that does nothing."""
    faults: dict[str, NamedFault] = {}
    for group in groups:
        for fault in group:
            if fault.id in faults:
                raise ValueError(f"fault {fault.id} is given twice")
            if not fault.faults and not fault.policy:
                raise ValueError(f"fault {fault.id} does nothing")
            faults[fault.id] = fault
    return faults
