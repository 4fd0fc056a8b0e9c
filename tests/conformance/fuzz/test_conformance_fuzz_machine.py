"""Healthy work and faults in any order, at all recovery levels: after every step all must be as the history has it."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.conformance.fuzz.hand import SMALL

from iscsi_conformance.fuzz import insertions, login_faults, pdu_faults
from iscsi_conformance.fuzz.check import at_the_end, so_far
from iscsi_conformance.fuzz.ground import Ground
from iscsi_conformance.fuzz.honest import is_seen
from iscsi_conformance.fuzz.plan import Step, Verb
from iscsi_conformance.fuzz.play import fork
from iscsi_protocol.fault import Fault
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu.codes import Opcode

GROUNDS = tuple(
    Ground(level=level, connections=connections, settings=SMALL, header_digest=digest, data_digest=digest)
    for level in (0, 1, 2)
    for connections, digest in ((1, "none"), (2, "required"), (4, "none"))
)
ANSWERS = (Opcode.SCSI_DATA_IN, Opcode.SCSI_RESPONSE, Opcode.R2T, Opcode.NOP_IN, Opcode.TEXT_RESPONSE)
REQUESTS = (Opcode.SCSI_COMMAND, Opcode.SCSI_DATA_OUT, Opcode.NOP_OUT, Opcode.SNACK_REQUEST)
WORK = (Verb.READ, Verb.WRITE, Verb.PING, Verb.INQUIRY, Verb.FAULTY_COMMAND, Verb.SEND_TARGETS, Verb.NEGOTIATE)
OTHER = (
    Verb.ABORT_SET,
    Verb.RESET_LUN,
    Verb.CANCEL,
    Verb.CUT,
    Verb.ADD_CONNECTION,
    Verb.REMOVE_CONNECTION,
    Verb.BALANCE,
)
ROADS = (TransportEvent.CONNECTED, TransportEvent.REFUSED, TransportEvent.TIMED_OUT, TransportEvent.UNREACHABLE)
dice = st.randoms(use_true_random=False)


def any_fault(dice: Random) -> Fault:
    """Of an answer, of a request, of a login, or one PDU more."""
    kind = dice.randrange(6)
    if kind == 0:
        return insertions.insertion(dice, ANSWERS)
    if kind == 1:
        return pdu_faults.of_request(dice, REQUESTS)
    return login_faults.of_login(dice) if kind == 2 else pdu_faults.of_answer(dice, ANSWERS)


class Work(RuleBasedStateMachine):
    """One session, from its login to its logout."""

    def __init__(self) -> None:
        super().__init__()
        self.play: Any = None
        self.ground = GROUNDS[0]
        self.trusted = True

    @initialize(ground=st.sampled_from(GROUNDS))
    def log_in(self, ground: Ground) -> None:
        self.ground = ground
        self.play = fork(ground)

    def is_open(self) -> bool:
        return self.play is not None and not self.play.closed

    @precondition(is_open)
    @rule(verb=st.sampled_from(WORK), place=st.integers(0, 59), size=st.integers(1, 4), together=st.booleans())
    def work(self, verb: Verb, place: int, size: int, together: bool) -> None:
        self.play.step(Step(verb=verb, place=place, size=size, together=together))
        self.play.look()

    @precondition(is_open)
    @rule(verb=st.sampled_from(OTHER), place=st.integers(0, 3), size=st.integers(0, 4))
    def manage(self, verb: Verb, place: int, size: int) -> None:
        self.play.step(Step(verb=verb, place=place, size=size))
        self.play.look()

    @precondition(is_open)
    @rule(dice=dice, connections=st.sampled_from((1, 2, None)))
    def spoil(self, dice: Random, connections: int | None) -> None:
        fault = any_fault(dice)
        self.trusted &= is_seen(fault, self.ground)
        self.play.rig.spoil((fault,), connections)

    @precondition(is_open)
    @rule(roads=st.lists(st.sampled_from(ROADS), max_size=3))
    def close_roads(self, roads: list[TransportEvent]) -> None:
        self.play.rig.roads.extend(roads)

    @precondition(is_open)
    @rule()
    def heal(self) -> None:
        self.play.rig.heal()

    @precondition(is_open)
    @rule(seconds=st.sampled_from((0.37, 2.9, 16.1, 32.7, 80.3)))
    def wait(self, seconds: float) -> None:
        self.play.step(Step(verb=Verb.WAIT, pause=seconds))
        self.play.look()

    @invariant()
    def all_is_well(self) -> None:
        if self.play is not None:
            assert so_far(self.play, trusted=self.trusted) == []

    def teardown(self) -> None:
        if self.play is not None:
            self.play.end()
            assert at_the_end(self.play, trusted=self.trusted) == []


TestWork = Work.TestCase
TestWork.settings = settings(
    max_examples=max(8, settings().max_examples // 3),
    stateful_step_count=20,
    suppress_health_check=[HealthCheck.too_slow],
)
