"""What strategies are made of: draws with names, grounds and chunks that do not matter, and faults in short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from iscsi_conformance.fuzz.chunks import WHOLE, Chunks
from iscsi_conformance.fuzz.ground import Ground
from iscsi_conformance.fuzz.plan import Plan, Step, Verb
from iscsi_protocol.fault import Action, Fault, When
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.stream import Direction

SMALL = (("first_burst_length", 512), ("max_burst_length", 1024), ("max_recv_data_segment_length", 512))
"""Settings with which a few KiB take every kind of PDU."""

PROVOKING = {
    Opcode.SCSI_DATA_IN: Step(verb=Verb.READ, size=3),
    Opcode.SCSI_RESPONSE: Step(verb=Verb.FAULTY_COMMAND),
    Opcode.NOP_IN: Step(verb=Verb.PING, size=5),
    Opcode.TEXT_RESPONSE: Step(verb=Verb.SEND_TARGETS),
    Opcode.TASK_MANAGEMENT_RESPONSE: Step(verb=Verb.ABORT_SET),
    Opcode.LOGOUT_RESPONSE: Step(verb=Verb.LOGOUT),
    Opcode.R2T: Step(verb=Verb.WRITE, size=3),
}
"""A step that brings a PDU with this opcode."""

_CHUNKS = (WHOLE, WHOLE, Chunks(size=1), Chunks(size=47), Chunks(size=48), Chunks(size=600, spread=7))


class Hand:
    """The draws of one example."""

    def __init__(self, draw: DrawFn) -> None:
        self._draw = draw

    def pick(self, *options: Any) -> Any:
        """One of these, whatever they are."""
        return self._draw(st.sampled_from(options))

    def number(self, low: int, high: int) -> int:
        """One of low to high, the ends among them more often than others."""
        return self._draw(st.one_of(st.sampled_from((low, high)), st.integers(low, high)))

    def bytes(self, low: int, high: int) -> bytes:
        """So many bytes."""
        return self._draw(st.binary(min_size=low, max_size=high))

    def ground(self, **differs: Any) -> Ground:
        """A ground with these things as they are, and the rest of what does not matter drawn."""
        digest = {name: self.pick("none", "none", "preferred", "required") for name in ("header_digest", "data_digest")}
        drawn = {**digest, "level": self.pick(0, 0, 1, 2), "connections": self.pick(1, 1, 2), "settings": SMALL}
        return Ground(**{**drawn, **differs})

    def full_feature(self, *faults: Fault, script: tuple[Step, ...], **differs: Any) -> Plan:
        """A plan behind a login without fault."""
        return Plan(ground=self.ground(**differs), script=script, faults=faults, chunks=self.pick(*_CHUNKS))

    def login(
        self,
        *faults: Fault,
        script: tuple[Step, ...] = (),
        roads: tuple[TransportEvent, ...] = (),
        **differs: Any,
    ) -> Plan:
        """A plan that is about its login."""
        ground = self.ground(**{"logged_in": False, "connections": 1, **differs})
        return Plan(ground=ground, script=script, faults=faults, roads=roads, chunks=self.pick(*_CHUNKS))


Make = Callable[[Hand], Plan]


def plans(make: Make) -> SearchStrategy[Plan]:
    """All that a function can make of draws."""

    @st.composite
    def drawn(draw: DrawFn) -> Plan:
        return make(Hand(draw))

    return drawn()


def answer(opcode: int, *what: Action, nth: int = 1, raw: bool = False, renumber: bool = False, **when: Any) -> Fault:
    """The target says something else."""
    at = When(direction=Direction.TO_INITIATOR, opcode=opcode, nth=nth, **when)
    return Fault(when=at, what=what, raw=raw, renumber=renumber)


def request(opcode: int, *what: Action, **when: Any) -> Fault:
    """The target hears something else."""
    return Fault(when=When(direction=Direction.TO_TARGET, opcode=opcode, **when), what=what)


def login_answer(*what: Action, stage: int | None = None, **when: Any) -> Fault:
    """A Login Response is another."""
    return answer(Opcode.LOGIN_RESPONSE, *what, stage=stage, **when)


def on_all(plan: Plan) -> Plan:
    """The same on every connection, those that come later too."""
    return replace(plan, faulty=None)
