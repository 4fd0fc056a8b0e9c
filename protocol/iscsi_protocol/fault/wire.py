"""Faults at work: a man in the middle of one connection, without sockets.

Bytes of either direction go in, and out come sends, closes and resets. The shell of a target or an initiator puts one
between its engine and its socket, the relay puts one between two foreign products. PDUs that no fault touches keep their
bytes exactly, and a direction that no fault can touch is passed on as it comes, however the PDUs are cut.

What a fault does to the login may make the two ends believe different things of it. So each end's belief is followed on
its own: what it sent, before any fault, and what it got.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import assert_never

from iscsi_protocol.fault.action import (
    Close,
    Drop,
    Hold,
    Insert,
    Of,
    Repeat,
    Reset,
    Segment,
    Set,
    Silence,
    Split,
    Truncate,
)
from iscsi_protocol.fault.edit import build, edit
from iscsi_protocol.fault.match import Armed, Move
from iscsi_protocol.fault.model import Fault
from iscsi_protocol.fault.numbers import Numbers
from iscsi_protocol.fault.output import Hangup, Output, Outputs
from iscsi_protocol.fault.renumber import Numbering
from iscsi_protocol.fault.split import Splits
from iscsi_protocol.framing import Framer, HeaderDigestError
from iscsi_protocol.pdu.raw import Buffer, RawPdu
from iscsi_protocol.stream import Direction, LoginWatch


@dataclass(slots=True)
class _Held:
    """A PDU that comes later: after so many PDUs of its direction, or at a time."""

    direction: Direction
    raw: RawPdu
    pdus: int
    due: float | None


@dataclass(slots=True)
class _Change:
    """What the firing faults make of one PDU."""

    trigger: RawPdu
    pdus: list[RawPdu]
    before: list[tuple[Direction, RawPdu]] = field(default_factory=list)
    after: list[tuple[Insert, bool]] = field(default_factory=list)
    piece: int = 0
    truncate: int | None = None
    hangup: Hangup | None = None


class FaultyWire:
    """One connection with its faults. `fired` counts the changes made, so that a run can tell whether a fault ever struck.

    follows: follow the dialogue from the start, though no fault asks for it, so that others can be armed later. on_fired: is
    told each fault that strikes, and when, before what it does goes its way.
    """

    def __init__(
        self,
        faults: Iterable[Fault],
        *,
        follows: bool = False,
        on_fired: Callable[[Fault, float], None] | None = None,
    ) -> None:
        self.fired = 0
        self._on_fired = on_fired
        self.arm(faults)
        self._following |= follows
        self._counting |= follows
        # By the direction in which its owner sends.
        self._views = (LoginWatch(), LoginWatch())
        self._framers = (Framer(), Framer())
        self._numbers = Numbers()
        self._numbering = Numbering()
        self._splits = Splits()
        self._held: list[_Held] = []
        self._silent = [False, False]
        self._over = False

    def arm(self, faults: Iterable[Fault]) -> None:
        """From the next PDU on these faults and no others; they count afresh. Between two PDUs of each direction only, and
        on a wire that follows, unless nothing crossed it yet.
        """
        faults = tuple(faults)
        self._armed = tuple([Armed(each) for each in faults if each.when.direction is way] for way in Direction)
        self._touched = tuple(any(_can_touch(fault, way) for fault in faults) for way in Direction)
        self._following = any(self._touched)
        self._counting = any(_reads_dialogue(fault) for fault in faults)

    def forward(self, direction: Direction, data: Buffer, now: float) -> list[Output]:
        """What becomes of bytes sent this way. Nothing goes on after a hang-up."""
        if self._over:
            return []
        outputs = Outputs()
        if self._touched[direction]:
            for raw in self._cut(direction, data):
                self._pass(outputs, direction, raw, now)
                if self._over:
                    break
        else:
            outputs.send(direction, [data])
            if self._counting or (self._following and not all(view.full_feature for view in self._views)):
                for raw in self._cut(direction, data):
                    self._sent(direction, raw)
                    self._arrived(direction, raw)
        return outputs.all()

    def finish(self, direction: Direction) -> list[Output]:
        """The sender has closed: what it left of an unfinished PDU goes on."""
        outputs = Outputs()
        if self._touched[direction] and not self._over and not self._silent[direction]:
            outputs.send(direction, [self._framers[direction].remainder()])
        return outputs.all()

    def next_deadline(self) -> float | None:
        """When the earliest PDU held for a time is due, on the clock of `now`."""
        return min((held.due for held in self._held if held.due is not None), default=None)

    def handle_timer(self, now: float) -> list[Output]:
        """The PDUs whose time has come."""
        outputs = Outputs()
        due = [(held.due, held) for held in self._held if held.due is not None and held.due <= now]
        if due:
            self._held = [held for held in self._held if held.due is None or held.due > now]
            for _, held in sorted(due, key=lambda item: item[0]):
                self._out(outputs, held.direction, held.raw)
        return outputs.all()

    def _cut(self, direction: Direction, data: Buffer) -> Iterator[RawPdu]:
        """PDUs as their sender makes them. Its lengths are believed even where its header digest is wrong."""
        framer, view = self._framers[direction], self._views[direction]
        framer.receive(data)
        while True:
            framer.header_digest, framer.data_digest = view.header_digest, view.data_digest
            try:
                raw = framer.next_pdu()
            except HeaderDigestError:
                framer.forgive()
                continue
            if raw is None:
                return
            yield raw

    def _sent(self, direction: Direction, raw: RawPdu) -> None:
        """Its sender believes that this PDU is on its way."""
        self._views[direction].watch(direction, raw)

    def _arrived(self, direction: Direction, raw: RawPdu) -> None:
        """Its receiver will see this PDU."""
        self._views[direction.other].watch(direction, raw)
        if self._counting:
            self._numbers.watch(direction, raw)

    def _pass(self, outputs: Outputs, direction: Direction, raw: RawPdu, now: float) -> None:
        # A damaged header is left alone, with whatever its numbers have become.
        if not raw.header_digest_error:
            raw = self._splits.mended(self._numbering.mended(direction, raw))
        view = self._views[direction]
        firing = [each for each in self._armed[direction] if each.waits_for(raw, view) and each.fires()]
        if firing:
            self._spoil(outputs, direction, raw, firing, now)
        else:
            self._out(outputs, direction, raw)
            self._sent(direction, raw)
        if self._held:
            self._release(outputs, direction)

    def _spoil(self, outputs: Outputs, direction: Direction, raw: RawPdu, firing: list[Armed], now: float) -> None:
        change = _Change(raw, [raw])
        for armed in firing:
            self.fired += 1
            if self._on_fired is not None:
                self._on_fired(armed.fault, now)
            self._make(change, armed, direction)
            for action in armed.moving:
                self._move(change, action, armed.fault, direction, now)
        for way, other in change.before:
            self._out(outputs, way, other)
        for index, pdu in enumerate(change.pdus, 1):
            truncate = change.truncate if index == len(change.pdus) else None
            self._out(outputs, direction, pdu, change.piece, truncate)
        self._sent(direction, raw)
        for insert, renumber in change.after:
            self._out(outputs, *self._inserted(insert, direction, raw, renumber=renumber))
        if change.hangup is not None:
            outputs.hang_up(change.hangup)
            self._over = True

    def _release(self, outputs: Outputs, direction: Direction) -> None:
        """Count a PDU for those that wait behind it."""
        waiting = []
        for held in self._held:
            if held.due is None and held.direction is direction:
                held.pdus -= 1
                if held.pdus < 0:
                    self._out(outputs, direction, held.raw)
                    continue
            waiting.append(held)
        self._held = waiting

    def _out(self, outputs: Outputs, way: Direction, raw: RawPdu, piece: int = 0, truncate: int | None = None) -> None:
        if self._silent[way] or self._over:
            return
        if truncate is None:
            self._arrived(way, raw)
        if piece or truncate is not None:
            data = raw.to_bytes()[:truncate]
            outputs.send_pieces(way, data, piece or max(len(data), 1))
        else:
            outputs.send(way, raw.buffers())

    def _make(self, change: _Change, armed: Armed, direction: Direction) -> None:
        """The changes to the PDU, its digests, and the changes to those."""

        def look_up(of: Of) -> int:
            return self._numbers.value(of, change.trigger)

        fault = armed.fault
        before = change.pdus
        for action in armed.making:
            if isinstance(action, Insert):
                self._insert(change, action, direction, renumber=fault.renumber)
            elif isinstance(action, Split):
                change.pdus = [half for pdu in change.pdus for half in self._split(pdu, action.at, direction)]
            else:
                change.pdus = [edit(pdu, action, look_up) for pdu in change.pdus]
        if not fault.raw:
            change.pdus = [
                pdu if any(pdu is each for each in before) else self._digested(direction, pdu) for pdu in change.pdus
            ]
        for damage in armed.damage:
            change.pdus = [edit(pdu, damage, look_up) for pdu in change.pdus]

    def _move(self, change: _Change, action: Move, fault: Fault, direction: Direction, now: float) -> None:
        """What becomes of the PDU once it is made."""
        match action:
            case Drop():
                if fault.renumber:
                    self._numbering.dropped(direction, change.trigger)
                change.pdus = []
            case Hold():
                due = now + action.seconds if action.seconds else None
                self._held += [_Held(direction, pdu.kept(), action.pdus, due) for pdu in change.pdus]
                change.pdus = []
            case Repeat():
                change.pdus = change.pdus * (action.times + 1)
            case Segment():
                change.piece = action.size
            case Truncate():
                change.truncate = action.length
            case Close() | Reset():
                change.hangup = Hangup(direction, isinstance(action, Reset))
            case Silence():
                self._silent[direction] = True
            case _:
                assert_never(action)

    def _digested(self, way: Direction, raw: RawPdu) -> RawPdu:
        """Digests as the sender believes to be agreed; a login PDU never has any."""
        view = self._views[way]
        return raw.with_digests(header=view.header_digest, data=view.data_digest)

    def _split(self, raw: RawPdu, at: int, direction: Direction) -> list[RawPdu]:
        halves = self._splits.split(raw, at)
        return halves if len(halves) == 1 else [self._digested(direction, half) for half in halves]

    def _insert(self, change: _Change, insert: Insert, direction: Direction, *, renumber: bool) -> None:
        if not insert.before:
            change.after.append((insert, renumber))
            return
        way, raw = self._inserted(insert, direction, change.trigger, renumber=renumber)
        change.before.append((way, raw))
        if renumber and way is direction:
            change.pdus = [self._numbering.behind(way, raw, pdu) for pdu in change.pdus]

    def _inserted(
        self, insert: Insert, direction: Direction, trigger: RawPdu, *, renumber: bool
    ) -> tuple[Direction, RawPdu]:
        way = direction if insert.direction is None else insert.direction
        raw = self._digested(way, build(insert.template, lambda of: self._numbers.value(of, trigger)))
        if renumber:
            self._numbering.inserted(way, raw)
        return way, raw


def _can_touch(fault: Fault, way: Direction) -> bool:
    """Whether PDUs that go this way may be changed, or others put between them."""
    inserts = any(isinstance(action, Insert) and action.direction is way for action in fault.what)
    return fault.when.direction is way or inserts or fault.renumber


def _reads_dialogue(fault: Fault) -> bool:
    """Whether numbers are wanted that only following the dialogue gives."""
    for action in fault.what:
        values = [action.value] if isinstance(action, Set) else []
        if isinstance(action, Insert):
            values += action.template.values.values()
        if any(isinstance(value, Of) for value in values):
            return True
    return False
