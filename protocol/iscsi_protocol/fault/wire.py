"""Faults at work: a man in the middle of one connection, without sockets.

Bytes of either direction go in, and out come sends, closes and resets. The shell of a target or an initiator puts one
between its engine and its socket, the relay puts one between two foreign products. PDUs that no fault touches keep their
bytes exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from iscsi_protocol import serial
from iscsi_protocol.fault.edit import Edit, edit, touches_digest
from iscsi_protocol.fault.model import (
    Action,
    Close,
    Drop,
    Fault,
    FieldIs,
    Flip,
    HasKey,
    Hold,
    Insert,
    Of,
    Poke,
    Relation,
    Repeat,
    Replace,
    Reset,
    Segment,
    Set,
    SetKey,
    Silence,
    Split,
    Template,
    Test,
    Truncate,
    Value,
    When,
)
from iscsi_protocol.fault.numbers import Numbers
from iscsi_protocol.pdu.base import encode, get_field, set_field
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.pdu.numbering import carries_cmd_sn, carries_stat_sn, consumes_cmd_sn, consumes_stat_sn
from iscsi_protocol.pdu.raw import Buffer, RawPdu
from iscsi_protocol.stream import Direction, StreamPair, Undecodable


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes to go on this way, in one send."""

    direction: Direction
    data: bytes


@dataclass(frozen=True, slots=True)
class Hangup:
    """The connection ends: whoever sends in this direction closes it (FIN), or resets it."""

    direction: Direction
    reset: bool


Output = Send | Hangup
_EDITS = (Set, Poke, Flip, Replace, SetKey)
_DATA_PDUS = (Opcode.SCSI_DATA_IN, Opcode.SCSI_DATA_OUT)


@dataclass(slots=True)
class _Armed:
    """A fault with what it has seen so far."""

    fault: Fault
    seen: int = 0
    done: int = 0

    def fires(self) -> bool:
        """Count a matching PDU and say whether this is one to change."""
        self.seen += 1
        when = self.fault.when
        if self.seen < when.nth or (when.times and self.done >= when.times):
            return False
        self.done += 1
        return True


@dataclass(slots=True)
class _Held:
    """A PDU that comes later: after so many PDUs of its direction, or at a time."""

    direction: Direction
    raw: RawPdu
    pdus: int
    due: float | None


@dataclass(slots=True)
class _Change:
    """What one firing fault makes of one PDU."""

    before: list[tuple[Direction, RawPdu]] = field(default_factory=list)
    after: list[tuple[Direction, RawPdu]] = field(default_factory=list)
    pdus: list[RawPdu] = field(default_factory=list)
    pieces: int = 0
    truncate: int | None = None
    hangup: Hangup | None = None


class FaultyWire:
    """One connection with its faults. `fired` counts the changes made, so that a run can tell whether a fault ever struck."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.fired = 0
        self._armed = [_Armed(fault) for fault in faults]
        self._streams = StreamPair()
        self._numbers = Numbers()
        self._held: list[_Held] = []
        self._silent = [False, False]
        self._stat_shift = 0
        self._cmd_shift = 0
        self._data_shift: dict[int, int] = {}
        self._over = False

    def forward(self, direction: Direction, data: Buffer, now: float) -> list[Output]:
        """What becomes of bytes sent this way. Nothing goes on after a hang-up."""
        outputs: list[Output] = []
        for item in self._streams.receive(direction, data):
            if self._over:
                break
            if isinstance(item, Undecodable):
                self._emit(outputs, direction, item.data)
            else:
                self._pass(outputs, direction, item.kept(), now)
        return outputs

    def next_deadline(self) -> float | None:
        """When the earliest PDU held for a time is due, on the clock of `now`."""
        return min((held.due for held in self._held if held.due is not None), default=None)

    def handle_timer(self, now: float) -> list[Output]:
        """The PDUs whose time has come."""
        outputs: list[Output] = []
        due = [held for held in self._held if held.due is not None and held.due <= now]
        self._held = [held for held in self._held if held not in due]
        for held in due:
            self._out(outputs, held.direction, held.raw)
        return outputs

    def _pass(self, outputs: list[Output], direction: Direction, raw: RawPdu, now: float) -> None:
        raw = self._renumbered(direction, raw)
        change = _Change(pdus=[raw])
        for armed in self._armed:
            when = armed.fault.when
            if when.direction is direction and self._matches(when, raw) and armed.fires():
                self.fired += 1
                self._apply(change, armed.fault, direction, raw, now)
        for way, other in change.before:
            self._out(outputs, way, other)
        for index, pdu in enumerate(change.pdus):
            last = index == len(change.pdus) - 1
            self._out(outputs, direction, pdu, change.pieces, change.truncate if last else None)
        for way, other in change.after:
            self._out(outputs, way, other)
        if change.hangup is not None:
            outputs.append(change.hangup)
            self._over = True
        self._release(outputs, direction)

    def _release(self, outputs: list[Output], direction: Direction) -> None:
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

    def _out(
        self, outputs: list[Output], way: Direction, raw: RawPdu, piece: int = 0, truncate: int | None = None
    ) -> None:
        self._numbers.watch(way, raw)
        data = raw.to_bytes()[:truncate]
        for start in range(0, len(data), piece or max(len(data), 1)):
            self._emit(outputs, way, data[start : start + (piece or len(data))])

    def _emit(self, outputs: list[Output], way: Direction, data: bytes) -> None:
        if data and not self._silent[way] and not self._over:
            outputs.append(Send(way, data))

    def _matches(self, when: When, raw: RawPdu) -> bool:
        if when.opcode is not None and when.opcode != raw.opcode:
            return False
        if when.stage is not None and when.stage != self._stage(raw):
            return False
        return all(_holds(test, raw) for test in when.tests)

    def _stage(self, raw: RawPdu) -> int:
        if raw.opcode in (Opcode.LOGIN_REQUEST, Opcode.LOGIN_RESPONSE):
            return raw.bhs[1] >> 2 & 3
        return self._streams.stage

    def _apply(self, change: _Change, fault: Fault, direction: Direction, trigger: RawPdu, now: float) -> None:
        digested = False
        for action in fault.what:
            if isinstance(action, _EDITS):
                if touches_digest(action) and not digested and not fault.raw:
                    change.pdus = [self._digested(pdu, trigger) for pdu in change.pdus]
                    digested = True
                change.pdus = [self._edited(pdu, action, trigger) for pdu in change.pdus]
            else:
                self._rearrange(change, action, fault, direction, trigger, now)
        if not fault.raw and not digested:
            change.pdus = [self._digested(pdu, trigger) for pdu in change.pdus]

    def _edited(self, raw: RawPdu, action: Edit, trigger: RawPdu) -> RawPdu:
        value = action.value if isinstance(action, Set) else None
        if isinstance(value, Of):
            value = self._numbers.value(value, trigger)
        return edit(raw, action, value)

    def _digested(self, raw: RawPdu, trigger: RawPdu) -> RawPdu:
        """Digests as the connection has them; the trigger tells, since a login PDU never has any (11.2.3)."""
        if trigger.opcode in (Opcode.LOGIN_REQUEST, Opcode.LOGIN_RESPONSE):
            return raw.with_digests(header=False, data=False)
        return raw.with_digests(header=self._streams.header_digest, data=self._streams.data_digest)

    def _rearrange(
        self, change: _Change, action: Action, fault: Fault, direction: Direction, trigger: RawPdu, now: float
    ) -> None:
        match action:
            case Insert():
                self._insert(change, action, fault, direction, trigger)
            case Drop():
                if fault.renumber:
                    self._shift(direction, trigger, -1)
                change.pdus = []
            case Hold():
                due = now + action.seconds if action.seconds else None
                self._held += [_Held(direction, pdu, action.pdus, due) for pdu in change.pdus]
                change.pdus = []
            case Repeat():
                change.pdus = change.pdus * (action.times + 1)
            case Split():
                change.pdus = [part for pdu in change.pdus for part in self._split(pdu, action.at)]
            case Segment():
                change.pieces = action.size
            case Truncate():
                change.truncate = action.length
            case Close() | Reset():
                change.hangup = Hangup(direction, isinstance(action, Reset))
            case Silence():
                self._silent[direction] = True
            case Set() | Poke() | Flip() | Replace() | SetKey():
                raise AssertionError("edits are applied before")

    def _insert(self, change: _Change, action: Insert, fault: Fault, direction: Direction, trigger: RawPdu) -> None:
        way = direction if action.direction is None else action.direction
        raw = self._built(action.template, trigger)
        ends_login = trigger.opcode == Opcode.LOGIN_RESPONSE and self._streams.full_feature and not action.before
        if self._streams.full_feature and (trigger.opcode not in _LOGIN or ends_login):
            raw = raw.with_digests(header=self._streams.header_digest, data=self._streams.data_digest)
        if fault.renumber:
            self._shift(way, raw, 1)
            if action.before and way is direction:
                change.pdus = [self._renumbered(direction, pdu, fresh=1) for pdu in change.pdus]
        (change.before if action.before else change.after).append((way, raw))

    def _built(self, template: Template, trigger: RawPdu) -> RawPdu:
        values = {name: self._resolved(value, trigger) for name, value in template.values.items()}
        return encode(template.pdu(**values))  # type: ignore[arg-type]  # fields are checked by encode

    def _resolved(self, value: Value, trigger: RawPdu) -> int | bool | bytes:
        if isinstance(value, Of):
            return self._numbers.value(value, trigger)
        if isinstance(value, int | bytes):
            return value
        raise ValueError("a template has no value of its own to add to")

    def _split(self, raw: RawPdu, at: int) -> Iterator[RawPdu]:
        if raw.opcode not in _DATA_PDUS or not 0 < at < len(raw.data):
            yield raw
            return
        head, tail = bytes(raw.data[:at]), bytes(raw.data[at:])
        first = set_field(
            set_field(replace(raw, data=head, padding=bytes(-at & 3)), "data_segment_length", at),
            "final",
            False,
        )
        if raw.opcode == Opcode.SCSI_DATA_IN:
            for name in ("status_present", "overflow", "underflow"):
                first = set_field(first, name, False)
            for name in ("status", "stat_sn", "residual_count"):
                first = set_field(first, name, 0)
        second = set_field(replace(raw, data=tail), "data_segment_length", len(tail))
        for name, step in (("data_sn", 1), ("buffer_offset", at)):
            second = set_field(second, name, serial.add(int(get_field(raw, name)), step))
        self._data_shift[raw.initiator_task_tag] = self._data_shift.get(raw.initiator_task_tag, 0) + 1
        yield self._digested(first, raw)
        yield self._digested(second, raw)

    def _shift(self, way: Direction, raw: RawPdu, step: int) -> None:
        if way is Direction.TO_INITIATOR and consumes_stat_sn(raw):
            self._stat_shift += step
        elif way is Direction.TO_TARGET and consumes_cmd_sn(raw):
            self._cmd_shift += step

    def _renumbered(self, direction: Direction, raw: RawPdu, fresh: int | None = None) -> RawPdu:
        """The PDU with its numbers moved by what was inserted or dropped before; `fresh` moves by that much instead."""
        stat = self._stat_shift if fresh is None else fresh
        cmd = self._cmd_shift if fresh is None else fresh
        steps: list[tuple[str, int]] = []
        if direction is Direction.TO_INITIATOR:
            if stat and carries_stat_sn(raw):
                steps.append(("stat_sn", stat))
            if fresh is None and cmd:
                steps += [("exp_cmd_sn", -cmd), ("max_cmd_sn", -cmd)]
        else:
            if cmd and carries_cmd_sn(raw):
                steps.append(("cmd_sn", cmd))
            if fresh is None and stat:
                steps.append(("exp_stat_sn", -stat))
        if fresh is None and raw.opcode in _DATA_PDUS and raw.initiator_task_tag in self._data_shift:
            steps.append(("data_sn", self._data_shift[raw.initiator_task_tag]))
        if not steps:
            return raw
        moved = raw
        for name, step in steps:
            moved = set_field(moved, name, serial.add(int(get_field(moved, name)), step))
        return moved.with_digests(header=bool(raw.header_digest), data=bool(raw.data_digest))


_LOGIN = (Opcode.LOGIN_REQUEST, Opcode.LOGIN_RESPONSE)


def _holds(test: Test, raw: RawPdu) -> bool:
    if isinstance(test, HasKey):
        return _has_key(test, bytes(raw.data))
    return _compares(test, raw)


def _has_key(test: HasKey, text: bytes) -> bool:
    name = test.key.encode() + b"="
    values = [pair[len(name) :] for pair in text.split(b"\0") if pair.startswith(name)]
    fitting = [value for value in values if value.startswith(test.prefix.encode())]
    return bool(fitting) and (test.value is None or test.value.encode() in fitting)


def _compares(test: FieldIs, raw: RawPdu) -> bool:
    found: int | bool | bytes = len(raw.data) if test.name == "data_length" else get_field(raw, test.name)
    wanted = test.value
    if isinstance(found, bytes) or isinstance(wanted, bytes):
        return (found == wanted) is (test.relation is not Relation.DIFFERENT)
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
