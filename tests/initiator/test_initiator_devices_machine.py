"""A multipath device against a model of its target: no acknowledged write is lost, no read is wrong, every request ends."""

from __future__ import annotations

import random
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from iscsi_initiator.devices import Device, DeviceRequest, Ended, Identity, MpioTimers, PersistentReservation, Send
from iscsi_initiator.devices.request import Attempt, Purpose
from iscsi_initiator.multipath import LoadBalance
from iscsi_initiator.requests import Failure, ScsiResult
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.sense import Sense

BLOCKS = 3
IDENTITY = Identity(0x83, 3, b"unit")
KEY = bytes.fromhex("aabbccccbbaa0001")
GOOD = ScsiResult(0)
TRANSIENT = [
    ScsiResult(8),
    ScsiResult(0x28),
    ScsiResult(2, sense=Sense(key=6, code=0x2900).build()),
    ScsiResult(2, sense=Sense(key=0xB).build()),
    Failure.TIMED_OUT,
]


class Work:
    """A request, and what is known of it outside the device. began, ended: places in the order of all things."""

    def __init__(self, block: int, began: int, value: int | None) -> None:
        self.block = block
        self.began = began
        self.value = value
        self.acknowledged = False
        self.ended: int | None = None

    def before(self, other: Work) -> bool:
        """Whether it had ended when the other began."""
        return self.ended is not None and self.ended < other.began


def work_of(request: DeviceRequest) -> Work:
    assert isinstance(request.token, Work)
    return request.token


class DeviceMachine(RuleBasedStateMachine):
    """Sessions come and go; the target does what reached it before the session has ended it, or does not."""

    @initialize(
        policy=st.sampled_from([each for each in LoadBalance if each is not LoadBalance.LEAST_QUEUE_DEPTH]),
        paths=st.integers(1, 3),
        failback=st.booleans(),
        use=st.booleans(),
        verify=st.booleans(),
    )
    def begin(self, policy, paths, failback, use, verify):
        timers = MpioTimers(path_verify_enabled=verify, path_verification_period=7)
        reservation = PersistentReservation(use, KEY)
        self.device = Device(IDENTITY, policy=policy, timers=timers, failback=failback, reservation=reservation)
        self.now = 0.0
        self.order = count()
        self.values = count(1)
        self.disk = dict.fromkeys(range(BLOCKS), 0)
        self.link = dict.fromkeys(range(paths), "up")
        self.registered: set[int] = set()
        self.flying: list[Attempt] = []
        self.writes = {block: [Work(block, -1, 0)] for block in range(BLOCKS)}
        for work in (works[0] for works in self.writes.values()):
            work.acknowledged, work.ended = True, -1
        self.open: set[Work] = set()
        for path in self.link:
            self.device.add_path(path, path, self.now)
        self.poll()

    def poll(self):
        while (action := self.device.poll()) is not None:
            if isinstance(action, Send):
                attempt = action.attempt
                assert attempt.path in self.link
                if attempt.purpose is Purpose.REQUEST:
                    assert self.link[attempt.path] == "up"
                    assert not self.device.reservation.use or attempt.path in self.registered
                    assert not attempt.request.ended
                self.flying.append(attempt)
            elif isinstance(action, Ended):
                self.take(action.request)

    def take(self, request: DeviceRequest):
        work = work_of(request)
        assert work.ended is None, "a request ends once"
        assert request.ended
        self.open.discard(work)
        work.ended = next(self.order)
        if request.result != GOOD:
            return
        work.acknowledged = True
        if work.value is None:
            read = int.from_bytes(bytes(request.data_in), "big")
            source = next(each for each in self.writes[work.block] if each.value == read)
            for other in self.writes[work.block]:
                lost = source.before(other) and other.acknowledged and other.before(work)
                assert not lost, "an acknowledged write was lost"

    @rule(block=st.integers(0, BLOCKS - 1))
    def write(self, block):
        value = next(self.values)
        work = Work(block, next(self.order), value)
        self.writes[block].append(work)
        data = value.to_bytes(4, "big")
        self.submit(DeviceRequest(opcodes.WRITE_10.build(lba=block, blocks=1), data_out=data, token=work))

    @rule(block=st.integers(0, BLOCKS - 1))
    def read(self, block):
        work = Work(block, next(self.order), None)
        self.submit(DeviceRequest(opcodes.READ_10.build(lba=block, blocks=1), data_in=bytearray(4), token=work))

    def submit(self, request):
        self.open.add(request.token)
        self.device.submit(request)
        self.poll()

    def at_target(self, attempt: Attempt):
        """The target does it; the answer may still be lost."""
        if attempt.purpose is Purpose.REGISTRATION:
            self.registered.add(attempt.path)
        if attempt.purpose is not Purpose.REQUEST:
            return
        work = work_of(attempt.request)
        if work.value is not None:
            self.disk[work.block] = work.value
        elif not attempt.request.ended:
            attempt.request.data_in[:] = self.disk[work.block].to_bytes(4, "big")

    def complete(self, attempt: Attempt, outcome):
        self.flying.remove(attempt)
        self.device.completed(attempt, outcome, self.now)
        self.poll()

    def some(self, data) -> Attempt:
        found: Attempt = data.draw(st.sampled_from([each for each in self.flying if self.link.get(each.path) == "up"]))
        return found

    def is_some(self) -> bool:
        return any(self.link.get(each.path) == "up" for each in self.flying)

    @precondition(lambda self: self.is_some())
    @rule(data=st.data())
    def executed(self, data):
        self.at_target(self.some(data))

    @precondition(lambda self: self.is_some())
    @rule(data=st.data())
    def answered(self, data):
        attempt = self.some(data)
        self.at_target(attempt)
        self.complete(attempt, GOOD)

    @precondition(lambda self: self.is_some())
    @rule(data=st.data(), outcome=st.sampled_from(TRANSIENT), executed=st.booleans())
    def not_now(self, data, outcome, executed):
        attempt = self.some(data)
        if executed and outcome is Failure.TIMED_OUT:
            self.at_target(attempt)
        self.complete(attempt, outcome)

    def paths_that_are(self, *states):
        return [path for path, state in self.link.items() if state in states]

    @precondition(lambda self: self.paths_that_are("up"))
    @rule(data=st.data())
    def lost(self, data):
        path = data.draw(st.sampled_from(self.paths_that_are("up")))
        self.link[path] = "down"
        self.device.path_down(path, self.now)
        self.poll()

    @precondition(lambda self: self.paths_that_are("up", "down"))
    @rule(data=st.data(), seed=st.integers(0, 1000))
    def gone(self, data, seed):
        self.fail(data.draw(st.sampled_from(self.paths_that_are("up", "down"))), seed)

    def fail(self, path, seed):
        """LinkDownTime is over: some of what was on its way was done at last."""
        if self.link[path] == "up":
            self.device.path_down(path, self.now)
            self.poll()
        self.link[path] = "gone"
        dice = random.Random(seed)
        for attempt in [each for each in self.flying if each.path == path]:
            if dice.random() < 0.5:
                self.at_target(attempt)
            self.complete(attempt, Failure.NO_DEVICE)
        self.device.path_gone(path, self.now)
        self.poll()

    @precondition(lambda self: self.paths_that_are("down", "gone"))
    @rule(data=st.data())
    def back(self, data):
        path = data.draw(st.sampled_from(self.paths_that_are("down", "gone")))
        self.link[path] = "up"
        self.registered.discard(path)
        assert self.device.path_up(path, IDENTITY, self.now)
        self.poll()

    @rule(seconds=st.sampled_from([0.5, 1, 5, 20, 30]))
    def time(self, seconds):
        self.now += seconds
        self.device.handle_timer(self.now)
        self.poll()

    @invariant()
    def every_request_is_somewhere(self):
        if not hasattr(self, "device") or not self.open:
            return
        timed = self.device.next_deadline() is not None
        if any(path.up for path in self.device.paths):
            flying = {each.request.token for each in self.flying if each.purpose is Purpose.REQUEST}
            assert self.open <= flying or timed
        assert self.flying or timed or self.paths_that_are("down")

    def teardown(self):
        if not hasattr(self, "device"):
            return
        for path in self.paths_that_are("up", "down"):
            self.fail(path, path)
        for _ in range(10):
            self.now += 30
            self.device.handle_timer(self.now)
            self.poll()
        assert not self.open, "every request ends"


TestDevice = DeviceMachine.TestCase
TestDevice.settings = settings(max_examples=50, stateful_step_count=35, deadline=None)
