"""The vocabulary of faults: when something goes wrong on a connection, and what.

A fault is data. It says which PDU it waits for (`When`) and what becomes of it (a tuple of actions, see `action`).
Changes are made before the digests are computed, so that only the named thing is wrong, and changes of the digests
themselves behind that; `raw` leaves the digests as they were. Then the PDU goes its way, or does not. Within each of these
steps the actions are applied in the order given. `renumber` mends StatSN or CmdSN of everything behind an inserted or
dropped PDU, and what acknowledges them, so that the hole does not show.

A fault that could never do what it says is refused when it is made. One that names no opcode waits for PDUs that have
the fields it compares and sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from iscsi_protocol.fault.action import Action, Flip, Insert, Of, Part, Plus, Poke, Replace, Set
from iscsi_protocol.pdu.base import PDU_CLASSES, Field, field_of, has_field
from iscsi_protocol.stream import Direction


class Relation(Enum):
    """How a field is compared."""

    EQUAL = "=="
    DIFFERENT = "!="
    BELOW = "<"
    ABOVE = ">"
    BITS = "&"


@dataclass(frozen=True, slots=True)
class FieldIs:
    """The header field `name` stands in this relation to the value; `data_length` names the data segment's length.

    Bytes are compared as the numbers that they are on the wire.
    """

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
    `times` of them are (0 = all from there on). stage: CSG during login, 3 in full feature phase. cid: the connection that
    logged in, or is about to, with this CID; what is counted is counted for each connection.
    """

    direction: Direction
    opcode: int | None = None
    stage: int | None = None
    cid: int | None = None
    tests: tuple[Test, ...] = ()
    nth: int = 1
    times: int = 1

    def __post_init__(self) -> None:
        if self.nth < 1 or self.times < 0:
            raise ValueError("PDUs are counted from 1, and changed once or more, or always")
        for name in self.compared:
            _places(self.opcode, name)

    @property
    def compared(self) -> frozenset[str]:
        """The header fields that the tests name."""
        return frozenset(test.name for test in self.tests if isinstance(test, FieldIs) and test.name != "data_length")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """When, and what. raw: digests stay as they were before the change. renumber: see the module's text.

    Raises ValueError for a field that the PDU does not have, or a value that does not fit.
    """

    when: When
    what: tuple[Action, ...]
    raw: bool = False
    renumber: bool = False

    def __post_init__(self) -> None:
        if not self.what:
            raise ValueError("a fault does something")
        _fields_used(self)

    @property
    def opcodes(self) -> frozenset[int]:
        """Opcodes of the PDUs that it may be waiting for: those whose messages have all fields that it uses."""
        given = self.when.opcode
        names = _fields_used(self) | self.when.compared
        return frozenset(
            opcode
            for opcode in (range(0x40) if given is None else (given,))
            if all(has_field(opcode, name) for name in names)
        )


def _places(opcode: int | None, name: str) -> list[Field]:
    """The field of that name in the messages of the opcode, or of any. Raises ValueError when there is none."""
    places = [field_of(each, name) for each in (PDU_CLASSES if opcode is None else (opcode,)) if has_field(each, name)]
    if not places:
        raise ValueError(f"no such header field: {name}")
    return places


def _fields_used(fault: Fault) -> frozenset[str]:
    """Header fields of the awaited PDU that the actions set or read. Raises ValueError, see `Fault`."""
    used: set[str] = set()
    opcode, changed = fault.when.opcode, False
    for action in fault.what:
        for name in _read_by(action):
            _places(fault.when.opcode, name)
            used.add(name)
        if isinstance(action, Set):
            if changed and opcode is None:
                raise ValueError(f"whether the PDU has a {action.name} behind that change of its opcode cannot be told")
            for place in _places(opcode, action.name):
                if not isinstance(action.value, Plus | Of):
                    place.put(action.value)
            if not changed:
                used.add(action.name)
        if (after := _opcode_after(action, opcode)) is not _SAME:
            opcode, changed = after, True
    return frozenset(used)


_SAME = -1


def _opcode_after(action: Action, opcode: int | None) -> int | None:
    """The PDU's opcode once the action has changed byte 0, None where it cannot be told, _SAME when it does not."""
    match action:
        case Set(name="opcode", value=int(value)):
            return value
        case Set(name="opcode"):
            return None
        case Poke(offset=0, value=value) | Replace(part=Part.BHS, value=value):
            return value[0] & 0x3F
        case Flip(part=Part.BHS, offset=0 | -48, mask=mask):
            return None if opcode is None else opcode ^ (mask & 0x3F)
        case _:
            return _SAME


def _read_by(action: Action) -> list[str]:
    """Fields of the awaited PDU whose values the action puts somewhere."""
    values = [action.value] if isinstance(action, Set) else []
    if isinstance(action, Insert):
        values += action.template.values.values()
    return [value.trigger_field for value in values if isinstance(value, Of) and value.trigger_field is not None]


class Side(Enum):
    """Whose fault it is: a target's or initiator's, of iSNS a server's or client's, or that of an initiator's service."""

    TARGET = "target"
    INITIATOR = "initiator"
    SERVER = "server"
    CLIENT = "client"
    SERVICE = "service"


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
