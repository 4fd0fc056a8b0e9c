"""Whether a PDU is one that a fault waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from iscsi_protocol.fault.action import (
    Close,
    Drop,
    Flip,
    Hold,
    Insert,
    Poke,
    Repeat,
    Replace,
    Reset,
    Segment,
    Set,
    SetKey,
    Silence,
    Split,
    Truncate,
)
from iscsi_protocol.fault.edit import Edit, as_number, field_number, touches_digest
from iscsi_protocol.fault.model import Fault, FieldIs, HasKey, Relation, Test
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.pdu.raw import RawPdu
from iscsi_protocol.stream import LoginWatch

Move = Drop | Hold | Repeat | Segment | Truncate | Close | Reset | Silence
_LOGIN = (Opcode.LOGIN_REQUEST, Opcode.LOGIN_RESPONSE)


@dataclass(slots=True)
class Armed:
    """A fault with what it has seen so far, and its actions by the step they belong to.

    making: what changes the PDU or makes others, before digests are computed; damage: to the digests; moving: what
    becomes of the PDU then.
    """

    fault: Fault
    seen: int = 0
    done: int = 0
    opcodes: frozenset[int] = field(init=False)
    making: list[Edit | Insert | Split] = field(default_factory=list)
    damage: list[Edit] = field(default_factory=list)
    moving: list[Move] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.opcodes = self.fault.opcodes
        for action in self.fault.what:
            if isinstance(action, Set | Poke | Flip | Replace | SetKey):
                (self.damage if touches_digest(action) else self.making).append(action)
            elif isinstance(action, Insert | Split):
                self.making.append(action)
            else:
                self.moving.append(action)

    def waits_for(self, raw: RawPdu, view: LoginWatch) -> bool:
        """Whether the PDU matches. view: what its sender believes of the login, for a PDU that does not tell itself."""
        when = self.fault.when
        if raw.opcode not in self.opcodes:
            return False
        if when.stage is not None and when.stage != (raw.bhs[1] >> 2 & 3 if raw.opcode in _LOGIN else view.stage):
            return False
        if when.cid is not None and when.cid != _cid(raw, view):
            return False
        return all(_holds(test, raw) for test in when.tests)

    def fires(self) -> bool:
        """Count a matching PDU and say whether this is one to change."""
        self.seen += 1
        when = self.fault.when
        if self.seen < when.nth or (when.times and self.done >= when.times):
            return False
        self.done += 1
        return True


def _cid(raw: RawPdu, view: LoginWatch) -> int | None:
    return int.from_bytes(raw.bhs[20:22], "big") if raw.opcode == Opcode.LOGIN_REQUEST else view.cid


def _holds(test: Test, raw: RawPdu) -> bool:
    if isinstance(test, HasKey):
        return _has_key(test, bytes(raw.data))
    return _compares(test, raw)


def _has_key(test: HasKey, text: bytes) -> bool:
    name = test.key.encode() + b"="
    values = [pair[len(name) :] for pair in text.split(b"\0") if pair.startswith(name)]
    if test.value is not None:
        values = [value for value in values if value == _encoded(test.value)]
    return any(value.startswith(_encoded(test.prefix)) for value in values)


def _encoded(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def _compares(test: FieldIs, raw: RawPdu) -> bool:
    found = len(raw.data) if test.name == "data_length" else field_number(raw, test.name)
    wanted = as_number(test.value)
    match test.relation:
        case Relation.EQUAL:
            return found == wanted
        case Relation.DIFFERENT:
            return found != wanted
        case Relation.BELOW:
            return found < wanted
        case Relation.ABOVE:
            return found > wanted
        case Relation.BITS:
            return found & wanted == wanted
        case _:
            assert_never(test.relation)
