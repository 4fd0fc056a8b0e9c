"""What may befall a connection in a storm, and the events that each of it can lead to.

Nothing here changes data under a digest that fits, or an answer to another that is as good: what the initiator cannot see,
nobody could explain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from types import MappingProxyType

from iscsi_protocol.fault import (
    Action,
    Close,
    Drop,
    Fault,
    Flip,
    Hold,
    Insert,
    Of,
    Part,
    Plus,
    Repeat,
    Reset,
    Set,
    Silence,
    Template,
    Truncate,
    When,
)
from iscsi_protocol.pdu import NO_TAG, AsyncMessage, NopOut, Opcode, Reject, RejectReason, encode
from iscsi_protocol.stream import Direction

BACK, OUT = Direction.TO_INITIATOR, Direction.TO_TARGET
FULL_FEATURE = 3

LOST = frozenset({20, 7})
"""The connection ends, perhaps while something is being sent."""
OVERDUE = frozenset({8, 9, 27, 39, 43, 44, 45, 48, 49, 51, 63})
"""Something does not get its answer: the time-outs, what the initiator does about a SCSI request without end, and an answer
that comes once it was given up. May be another connection's, since commands wait for those before them.
"""

_ANSWERS = (Opcode.SCSI_DATA_IN, Opcode.SCSI_RESPONSE, Opcode.R2T)
_REQUESTS = (Opcode.SCSI_COMMAND, Opcode.SCSI_DATA_OUT)
_ORDERS = (Opcode.SNACK_REQUEST, Opcode.NOP_OUT, Opcode.TASK_MANAGEMENT_REQUEST, Opcode.LOGOUT_REQUEST)
_REPLIES = (Opcode.NOP_IN, Opcode.TASK_MANAGEMENT_RESPONSE, Opcode.LOGOUT_RESPONSE)
_RESERVED_OPCODES = (0x27, 0x2F, 0x30, 0x34, 0x3B)

_Draw = Callable[[Random], tuple[Action, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One row. ways: (direction, opcode) of the PDUs that it may befall; draw: what becomes of them; events: what the
    initiator may log for it; login: while the connection logs in instead of behind that; digests: only where there are any;
    raw: under the digests as they were; weight: how often it is drawn, beside the others.
    """

    name: str
    ways: tuple[tuple[Direction, int], ...]
    draw: _Draw
    events: frozenset[int]
    login: bool = False
    digests: bool = False
    raw: bool = False
    renumber: bool = False
    weight: int = 2

    def fault(self, dice: Random) -> Fault:
        """One of it."""
        direction, opcode = dice.choice(self.ways)
        nth = (
            1
            if self.login or opcode in (*_ORDERS, *_REPLIES)
            else dice.choice((1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144))
        )
        stage = None if self.login else FULL_FEATURE
        return Fault(
            when=When(direction=direction, opcode=opcode, stage=stage, nth=nth),
            what=self.draw(dice),
            raw=self.raw,
            renumber=self.renumber,
        )


def _always(*actions: Action) -> _Draw:
    return lambda _: actions


def _back(*opcodes: int) -> tuple[tuple[Direction, int], ...]:
    return tuple((BACK, opcode) for opcode in opcodes)


def _out(*opcodes: int) -> tuple[tuple[Direction, int], ...]:
    return tuple((OUT, opcode) for opcode in opcodes)


def _cut(dice: Random) -> tuple[Action, ...]:
    return (Truncate(dice.choice((1, 20, 47, 48, 50))), dice.choice((Close(), Reset())))


def _held(dice: Random) -> tuple[Action, ...]:
    return (dice.choice((Hold(pdus=1), Hold(pdus=3), Hold(seconds=0.03), Hold(seconds=0.4))),)


_EXPECTED = {"exp_cmd_sn": Of("exp_cmd_sn"), "max_cmd_sn": Of("max_cmd_sn")}
_REJECT = Template(
    Reject,
    {
        "reason": RejectReason.PROTOCOL_ERROR,
        "stat_sn": Of("stat_sn"),
        "data": bytes(encode(NopOut(immediate=True, itt=NO_TAG)).bhs),
        **_EXPECTED,
    },
)
_LEAVE = Template(AsyncMessage, {"async_event": 1, "parameter3": 3, "stat_sn": Of("stat_sn"), **_EXPECTED})

KINDS = (
    Kind(name="reset", ways=_back(*_ANSWERS), draw=_always(Reset()), events=LOST),
    Kind(name="reset before the answer", ways=_back(*_ANSWERS), draw=_always(Drop(), Reset()), events=LOST),
    Kind(name="reset at a request", ways=_out(*_REQUESTS), draw=_always(Drop(), Reset()), events=LOST),
    Kind(name="closed", ways=_back(*_ANSWERS), draw=_always(Close()), events=LOST),
    Kind(name="closed within a PDU", ways=_back(*_ANSWERS), draw=_cut, events=LOST),
    Kind(name="answer lost", ways=_back(*_ANSWERS), draw=_always(Drop()), events=OVERDUE | {28, 42}, weight=4),
    Kind(name="reply lost", ways=_back(*_REPLIES), draw=_always(Drop()), events=OVERDUE | {20, 42}),
    Kind(name="request lost", ways=_out(*_REQUESTS), draw=_always(Drop()), events=OVERDUE | {20, 29}, weight=4),
    Kind(name="order lost", ways=_out(*_ORDERS), draw=_always(Drop()), events=OVERDUE | {42}),
    Kind(name="silence", ways=_back(*_ANSWERS), draw=_always(Silence()), events=OVERDUE | {20, 42}, weight=1),
    Kind(name="deafness", ways=_out(*_REQUESTS), draw=_always(Silence()), events=OVERDUE | {42}, weight=1),
    Kind(name="answer held", ways=_back(*_ANSWERS), draw=_held, events=OVERDUE | {26, 27, 28, 42}),
    Kind(name="request held", ways=_out(*_REQUESTS), draw=_held, events=OVERDUE | {20, 29}),
    Kind(name="answer repeated", ways=_back(*_ANSWERS), draw=_always(Repeat()), events=frozenset({26, 27, 28, 42})),
    Kind(name="request repeated", ways=_out(*_REQUESTS), draw=_always(Repeat()), events=OVERDUE | {20, 29}),
    Kind(
        name="data damaged",
        ways=_back(Opcode.SCSI_DATA_IN),
        draw=_always(Flip(Part.DATA, 7)),
        events=frozenset({25, 42}),
        digests=True,
        raw=True,
        weight=4,
    ),
    Kind(
        name="data digest damaged",
        ways=_back(Opcode.SCSI_DATA_IN),
        draw=_always(Flip(Part.DATA_DIGEST, 1, 4)),
        events=frozenset({25, 42}),
        digests=True,
        weight=4,
    ),
    Kind(
        name="header digest damaged",
        ways=_back(*_ANSWERS),
        draw=_always(Flip(Part.HEADER_DIGEST, 2, 8)),
        events=frozenset({22}),
        digests=True,
        weight=4,
    ),
    Kind(
        name="data damaged on its way out",
        ways=_out(*_REQUESTS),
        draw=_always(Flip(Part.DATA_DIGEST, 3)),
        events=OVERDUE | {20, 29},
        digests=True,
        weight=4,
    ),
    Kind(
        name="header damaged on its way out",
        ways=_out(*_REQUESTS),
        draw=_always(Flip(Part.HEADER_DIGEST, 3)),
        events=OVERDUE | LOST | {29},
        digests=True,
        weight=4,
    ),
    Kind(
        name="another StatSN",
        ways=_back(Opcode.SCSI_RESPONSE, Opcode.R2T),
        draw=lambda dice: (Set("stat_sn", Plus(dice.choice((1, -1, 2, 70000, 1 << 31)))),),
        events=OVERDUE | {29, 42},
    ),
    Kind(
        name="an unknown tag",
        ways=_back(*_ANSWERS),
        draw=_always(Set("itt", Of("unused_itt"))),
        events=OVERDUE | {27, 42},
    ),
    Kind(
        name="a reserved opcode",
        ways=_back(*_ANSWERS),
        draw=lambda dice: (Set("opcode", dice.choice(_RESERVED_OPCODES)),),
        events=frozenset({24}),
    ),
    Kind(
        name="a reserved response",
        ways=_back(Opcode.SCSI_RESPONSE),
        draw=_always(Set("response", 0x40)),
        events=frozenset({23}),
    ),
    Kind(
        name="data beyond what was asked for",
        ways=_back(Opcode.SCSI_DATA_IN),
        draw=_always(Set("buffer_offset", 0x7FFFFE00)),
        events=frozenset({26}),
    ),
    Kind(
        name="a data segment beyond the limit",
        ways=_back(Opcode.SCSI_DATA_IN),
        draw=_always(Set("data_segment_length", 0xFFFFFF)),
        events=frozenset({21}),
    ),
    Kind(
        name="an R2T for nothing",
        ways=_back(Opcode.R2T),
        draw=_always(Set("desired_data_transfer_length", 0)),
        events=frozenset({28}),
    ),
    Kind(
        name="an R2T beyond the end",
        ways=_back(Opcode.R2T),
        draw=_always(Set("buffer_offset", 0x7FFFFE00)),
        events=frozenset({28}),
    ),
    Kind(
        name="a Reject",
        ways=_back(*_ANSWERS),
        draw=_always(Insert(_REJECT)),
        events=frozenset({29}),
        renumber=True,
    ),
    Kind(
        name="asked to leave",
        ways=_back(*_ANSWERS),
        draw=_always(Insert(_LEAVE)),
        events=OVERDUE | LOST | {32, 59},
        renumber=True,
    ),
    Kind(
        name="login lost",
        ways=(*_back(Opcode.LOGIN_RESPONSE), *_out(Opcode.LOGIN_REQUEST)),
        draw=_always(Drop()),
        events=frozenset({43, 45, 59}),
        login=True,
    ),
    Kind(
        name="login broken off",
        ways=_back(Opcode.LOGIN_RESPONSE),
        draw=lambda dice: dice.choice(((Reset(),), (Drop(), Reset()), (Drop(), Close()), _cut(dice))),
        events=LOST | {59},
        login=True,
    ),
    Kind(
        name="login refused for now",
        ways=_back(Opcode.LOGIN_RESPONSE),
        draw=lambda dice: (Set("status_class", 3), Set("status_detail", dice.choice((0, 1, 2))), Set("transit", False)),
        events=frozenset({10, 59}),
        login=True,
    ),
)
"""All that may befall a connection."""

BY_NAME = MappingProxyType({kind.name: kind for kind in KINDS})


def draw(dice: Random, *, digests: bool, login: bool) -> tuple[Kind, Fault]:
    """A kind, and one of it. digests: both were agreed on; login: what befalls a login may be among it."""
    possible = [kind for kind in KINDS if (digests or not kind.digests) and (login or not kind.login)]
    kind = dice.choices(possible, [each.weight for each in possible])[0]
    return kind, kind.fault(dice)
