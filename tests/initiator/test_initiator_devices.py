"""Multipath devices: how they are told apart, what becomes of requests and paths, and reservation keys on every path."""

from __future__ import annotations

import pytest

from iscsi_initiator.devices import (
    MPIO_TIMERS,
    Aggregate,
    Attempt,
    Device,
    DeviceKey,
    DeviceRequest,
    Ended,
    Identity,
    MpioTimers,
    Notice,
    Notification,
    PersistentReservation,
    Send,
    identify,
)
from iscsi_initiator.devices.request import Purpose
from iscsi_initiator.devices.verdict import Verdict, verdict_of
from iscsi_initiator.multipath import LoadBalance, Path, PathStatus
from iscsi_initiator.requests import Failure, ScsiResult
from iscsi_initiator.status_codes import Refused
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.designators import (
    Association,
    CodeSet,
    Designator,
    DesignatorType,
    device_identification,
    eui_64,
    naa,
    scsi_name,
    t10_vendor_id,
)
from iscsi_protocol.scsi.inquiry import StandardInquiry
from iscsi_protocol.scsi.persistent import parse_basic
from iscsi_protocol.scsi.sense import Sense
from iscsi_protocol.scsi.vpd import unit_serial_number
from iscsi_protocol.status_codes import StatusCode

FOO, RR, SUBSET, WEIGHTED, LEAST = LoadBalance
A, S, F = PathStatus.ACTIVE, PathStatus.STANDBY, PathStatus.FAILED
NAA = naa(bytes.fromhex("3000000000000001"))
STANDARD = StandardInquiry(vendor="ACME", product="Disk").build()
ID = Identity(0x83, 3, NAA.value)
GOOD = ScsiResult(0)
KEY = bytes.fromhex("aabbccccbbaa0001")


def check_condition(key: int, code: int = 0, *, deferred: bool = False) -> ScsiResult:
    return ScsiResult(2, sense=Sense(key=key, code=code, deferred=deferred).build())


BUSY, ATTENTION, PREEMPTED = ScsiResult(8), check_condition(6, 0x2900), check_condition(6, 0x2A05)


class Bench:
    """A device with paths 1, 2, ..., and what it asked for."""

    def __init__(self, paths: int = 2, **options):
        self.now = 0.0
        self.device = Device(ID, **options)
        self.sent: list[Attempt] = []
        self.ended: list[DeviceRequest] = []
        self.notices: list[Notice] = []
        for path in range(1, paths + 1):
            self.device.add_path(path, path - 1, self.now)
        self.poll()

    def poll(self):
        while (action := self.device.poll()) is not None:
            if isinstance(action, Send):
                self.sent.append(action.attempt)
            elif isinstance(action, Ended):
                self.ended.append(action.request)
            else:
                self.notices.append(action)

    def submit(self, **options):
        request = DeviceRequest(opcodes.TEST_UNIT_READY.build(), **options)
        self.device.submit(request)
        self.poll()
        return request

    def complete(self, outcome=GOOD):
        """The oldest attempt is over; the path that it had."""
        attempt = self.sent.pop(0)
        self.device.completed(attempt, outcome, self.now)
        self.poll()
        return attempt.path

    def up(self, path, identity=ID):
        done = self.device.path_up(path, identity, self.now)
        self.poll()
        return done

    def down(self, path):
        self.device.path_down(path, self.now)
        self.poll()

    def gone(self, path):
        self.device.path_gone(path, self.now)
        self.poll()

    def pass_time(self, seconds):
        self.now += seconds
        self.device.handle_timer(self.now)
        self.poll()

    def told(self, what):
        return [notice.path for notice in self.notices if notice.what is what]

    @property
    def standing(self):
        return list(self.device.statuses.values())


# Identity.


@pytest.mark.parametrize(
    ("designators", "found"),
    [
        ([scsi_name("unit"), eui_64(bytes(range(8))), NAA], Identity(0x83, 3, NAA.value)),
        ([scsi_name("unit"), eui_64(bytes(range(8)))], Identity(0x83, 2, bytes(range(8)))),
        ([t10_vendor_id("ACME", "7"), scsi_name("unit")], Identity(0x83, 8, b"unit\0\0\0\0")),
        ([t10_vendor_id("ACME", "7")], Identity(0x83, 1, b"ACME    7")),
    ],
)
def test_the_best_designator_of_the_unit_identifies_it(designators, found):
    port = scsi_name("iqn.2026-01.org.example:t,t,0x0001", Association.TARGET_PORT)
    page = device_identification([port, *designators]).build()
    assert identify(page, unit_serial_number("1").build(), STANDARD) == found


def test_page_80_steps_in_where_page_83_tells_nothing():
    vendor = Designator(designator_type=DesignatorType.VENDOR_SPECIFIC, code_set=CodeSet.ASCII, value=b"disk")
    empty = Designator(designator_type=DesignatorType.T10_VENDOR_ID, code_set=CodeSet.ASCII, value=b"    ")
    for page in (None, device_identification([vendor, empty]).build()):
        found = identify(page, unit_serial_number(" 12 ").build(), STANDARD)
        assert found == Identity(0x80, None, b"ACME    Disk            12")
        assert str(found) == "ACME Disk 12"
    assert str(ID) == "3000000000000001"


@pytest.mark.parametrize("serial", [None, unit_serial_number("    ").build(), unit_serial_number("").build()])
def test_a_unit_that_nothing_identifies_is_refused(serial):
    with pytest.raises(Refused) as caught:
        identify(None, serial, STANDARD)
    assert caught.value.status is StatusCode.REQUEST_NOT_SUPPORTED


# Which paths belong together.


def test_sessions_to_one_target_share_devices():
    aggregate = Aggregate(lambda key: Device(key.identity))
    other = Identity(0x83, 3, b"other")
    keys = [DeviceKey("iqn.a", ID), DeviceKey("iqn.a", other), DeviceKey("iqn.b", ID)]
    devices = [aggregate.found(1, key, lun, 1, 0.0) for lun, key in enumerate(keys)]
    assert len(set(map(id, devices))) == 3
    assert aggregate.found(2, keys[0], 5, 1, 0.0) is devices[0]
    assert [path.id for path in devices[0].paths] == [1, 2]
    assert [path.id for path in devices[1].paths] == [1]
    aggregate.session_ended(1, 0.0)
    assert [[path.id for path in device.paths] for device in aggregate.devices.values()] == [[2], [], []]


def test_several_connections_and_a_unit_twice_are_refused():
    aggregate = Aggregate(lambda key: Device(key.identity))
    key = DeviceKey("iqn.a", ID)
    with pytest.raises(Refused) as caught:
        aggregate.found(1, key, 0, 2, 0.0)
    assert caught.value.status is StatusCode.REQUEST_NOT_SUPPORTED
    assert not aggregate.devices
    aggregate.found(1, key, 0, 1, 0.0)
    with pytest.raises(Refused) as caught:
        aggregate.found(1, key, 1, 1, 0.0)
    assert caught.value.status is StatusCode.DUPLICATE_PATH_SPECIFIED


# Settings.


def test_timers_are_the_guides():
    assert [(row.name, getattr(MpioTimers(), row.field)) for row in MPIO_TIMERS] == [
        ("PathVerifyEnabled", False),
        ("PathVerificationPeriod", 30),
        ("PDORemovePeriod", 20),
        ("RetryCount", 3),
        ("RetryInterval", 1),
    ]
    with pytest.raises(ValueError, match="RetryCount is 0 to"):
        MpioTimers(retry_count=-1)


def test_timers_and_key_come_from_the_store_by_their_names():
    assert MpioTimers.of({"PDORemovePeriod": 5, "PathVerifyEnabled": 1}) == MpioTimers(
        pdo_remove_period=5, path_verify_enabled=True
    )
    stored = {"UsePersistentReservation": 1, "PersistentReservationKey": KEY.hex()}
    assert PersistentReservation.of(stored) == PersistentReservation(True, KEY)
    assert PersistentReservation.of({}) == PersistentReservation()
    with pytest.raises(ValueError, match="RetryInterval"):
        MpioTimers.of({"RetryInterval": -1})


@pytest.mark.parametrize(("use", "key"), [(False, b"short"), (True, bytes(8))])
def test_keys_that_are_none(use, key):
    with pytest.raises(ValueError, match="PersistentReservationKey"):
        PersistentReservation(use, key)


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (GOOD, Verdict.FINAL),
        (BUSY, Verdict.LATER),
        (ScsiResult(0x28), Verdict.LATER),
        (ScsiResult(0x40), Verdict.LATER),
        (ScsiResult(0x18), Verdict.FINAL),
        (ScsiResult(0, response=1), Verdict.LATER),
        (ATTENTION, Verdict.AGAIN),
        (check_condition(6, 0x2900, deferred=True), Verdict.FINAL),
        (check_condition(2, 0x0401), Verdict.LATER),
        (check_condition(2, 0x3A00), Verdict.FINAL),
        (check_condition(0xB), Verdict.LATER),
        (check_condition(3), Verdict.FINAL),
        (ScsiResult(2), Verdict.FINAL),
        (Failure.NO_DEVICE, Verdict.PATH),
        (Failure.CONNECTION_LOST, Verdict.PATH),
        (Failure.NOT_CONNECTED, Verdict.PATH),
        (Failure.TIMED_OUT, Verdict.LATER),
        (Failure.UNUSABLE_BUFFER, Verdict.FINAL),
    ],
)
def test_verdicts(outcome, verdict):
    assert verdict_of(outcome) is verdict


# Policies.


def test_least_queue_depth_is_refused():
    bench = Bench()
    for policy, status in ((LEAST, StatusCode.LB_POLICY_NOT_SUPPORTED), (9, StatusCode.INVALID_LOAD_BALANCE_POLICY)):
        with pytest.raises(Refused) as caught:
            bench.device.set_policy(policy)
        assert caught.value.status is status
    assert bench.device.policy is RR
    with pytest.raises(Refused):
        Device(ID, policy=LEAST)
    assert int(StatusCode.LB_POLICY_NOT_SUPPORTED) == 0xEFFF0061


@pytest.mark.parametrize(
    ("paths", "status"),
    [
        ([Path(id=1)], StatusCode.PATH_COUNT_MISMATCH),
        ([Path(id=1), Path(id=3, active=False)], StatusCode.INVALID_PATH_ID),
        ([Path(id=1), Path(id=1)], StatusCode.DUPLICATE_PATH_SPECIFIED),
        ([Path(id=1), Path(id=2)], StatusCode.MULTIPLE_PRIMARY_PATHS_SPECIFIED),
        ([Path(id=1, active=False), Path(id=2, active=False)], StatusCode.NO_PRIMARY_PATH_SPECIFIED),
    ],
)
def test_policies_that_do_not_fit_the_paths(paths, status):
    with pytest.raises(Refused) as caught:
        Bench().device.set_policy(FOO, paths)
    assert caught.value.status is status


def test_requests_go_as_the_policy_says():
    bench = Bench(3)
    assert [bench.submit() and bench.sent[-1].path for _ in range(4)] == [1, 2, 3, 1]
    assert [attempt.lun for attempt in bench.sent] == [0, 1, 2, 0]
    bench.device.set_policy(FOO, [Path(id=1, active=False), Path(id=2), Path(id=3, active=False)])
    assert bench.standing == [S, A, S]
    bench.submit()
    assert bench.sent[-1].path == 2
    bench.device.set_policy(WEIGHTED, [Path(id=1, weight=3), Path(id=2, weight=2), Path(id=3, weight=1)])
    bench.submit()
    assert bench.sent[-1].path == 3
    bench.device.set_policy(FOO)
    assert bench.standing == [A, S, S]
    Device(ID).set_policy(FOO)


def test_fail_over_only_has_one_active_path_as_paths_are_added():
    bench = Bench(3, policy=FOO)
    assert bench.standing == [A, S, S]


# Requests.


def test_a_lost_request_goes_over_another_path():
    bench = Bench()
    request = bench.submit()
    assert bench.complete(Failure.NO_DEVICE) == 1
    assert bench.told(Notification.PATH_DOWN) == [1]
    assert not request.ended
    assert bench.complete() == 2
    assert bench.ended == [request]
    assert request.result is GOOD
    assert bench.standing == [F, A]


def test_what_must_not_be_done_twice_is_not():
    bench = Bench()
    lost, busy = bench.submit(replayable=False), bench.submit(replayable=False)
    bench.complete(Failure.CONNECTION_LOST)
    assert lost.failure is Failure.CONNECTION_LOST
    bench.complete(BUSY)
    bench.pass_time(1)
    bench.complete(ATTENTION)
    bench.complete()
    assert busy.result is GOOD


def test_retries_are_counted_and_wait():
    bench = Bench(timers=MpioTimers(retry_count=2, retry_interval=5))
    request = bench.submit()
    for _ in range(2):
        bench.complete(BUSY)
        assert not bench.sent
        assert bench.device.next_deadline() == bench.now + 5
        bench.pass_time(4.9)
        assert not bench.sent
        bench.pass_time(0.2)
    bench.complete(BUSY)
    assert request.result is BUSY


def test_unit_attentions_are_taken_note_of_at_once_and_end():
    bench = Bench()
    request = bench.submit()
    for _ in range(8):
        bench.complete(ATTENTION)
        assert len(bench.sent) == 1
    for _ in range(3):
        bench.complete(ATTENTION)
        bench.pass_time(1)
    bench.complete(ATTENTION)
    assert request.result is ATTENTION


def test_errors_of_the_medium_are_the_callers():
    bench = Bench()
    request = bench.submit()
    outcome = check_condition(3, 0x1100)
    bench.complete(outcome)
    assert request.result is outcome


def test_a_cancelled_request_is_forgotten_wherever_it_is():
    bench = Bench()
    flying, late = bench.submit(), bench.submit()
    bench.device.cancel(flying)
    bench.complete()
    bench.complete(BUSY)
    bench.device.cancel(late)
    bench.pass_time(60)
    bench.down(1)
    bench.down(2)
    waiting = bench.submit()
    bench.device.cancel(waiting)
    bench.up(1)
    assert not bench.sent
    assert not bench.ended


# Paths.


def test_a_suspended_path_keeps_what_it_has_and_gets_no_more():
    bench = Bench()
    bench.submit()
    bench.down(1)
    assert bench.standing == [F, A]
    bench.submit()
    bench.submit()
    assert [attempt.path for attempt in bench.sent] == [1, 2, 2]
    bench.up(1)
    assert bench.complete() == 1
    assert bench.standing == [A, A]


def test_requests_wait_for_a_path_and_then_go_in_their_order():
    bench = Bench()
    bench.down(1)
    bench.down(2)
    requests = [bench.submit() for _ in range(3)]
    assert not bench.sent
    bench.pass_time(10)
    bench.up(2)
    assert [attempt.request for attempt in bench.sent] == requests


def test_the_device_goes_when_no_path_is_back_in_time_and_returns_with_one():
    bench = Bench()
    bench.gone(1)
    late = bench.submit()
    bench.complete(BUSY)
    bench.gone(2)
    bench.pass_time(0.5)
    waiting = bench.submit()
    assert bench.device.paths == []
    assert bench.device.next_deadline() == 1
    bench.pass_time(19.4)
    assert not bench.ended
    bench.pass_time(0.2)
    assert bench.ended == [waiting, late]
    assert {request.failure for request in bench.ended} == {Failure.NO_DEVICE}
    assert bench.told(Notification.REMOVED) == [None]
    assert bench.submit().failure is Failure.NO_DEVICE
    bench.up(2)
    assert bench.told(Notification.RETURNED) == [None]
    bench.submit()
    assert bench.complete() == 2
    assert bench.ended[-1].result is GOOD


def test_requests_that_wait_for_their_retry_end_with_the_device():
    bench = Bench(1, timers=MpioTimers(retry_interval=100))
    request = bench.submit()
    bench.complete(BUSY)
    bench.gone(1)
    bench.pass_time(21)
    assert bench.ended == [request]
    assert bench.device.next_deadline() is None


def test_a_suspended_path_is_gone_after_link_down_time():
    bench = Bench(link_down_time=3)
    bench.down(1)
    bench.down(2)
    assert bench.device.next_deadline() == 3
    bench.pass_time(2)
    bench.down(1)
    bench.up(2)
    bench.pass_time(1)
    assert [path.id for path in bench.device.paths] == [2]
    bench.down(1)
    assert [path.id for path in bench.device.paths] == [2]
    bench.down(2)
    bench.pass_time(3)
    bench.submit()
    bench.pass_time(20)
    assert bench.ended[0].failure is Failure.NO_DEVICE


def test_a_path_to_another_device_is_refused():
    bench = Bench()
    bench.down(1)
    assert not bench.up(1, Identity(0x83, 3, b"other"))
    assert bench.told(Notification.PATH_REFUSED) == [1]
    assert [path.id for path in bench.device.paths] == [2]
    assert bench.up(1)


def test_an_old_failure_does_not_take_a_path_down_that_is_back():
    bench = Bench(1)
    bench.submit()
    bench.down(1)
    bench.up(1)
    bench.complete(Failure.CONNECTION_LOST)
    assert bench.standing == [A]
    bench.complete()
    assert len(bench.ended) == 1


def test_a_removed_path_is_no_more():
    bench = Bench()
    bench.submit()
    bench.device.remove_path(1, 0.0)
    assert 1 not in bench.device
    bench.poll()
    bench.complete(Failure.NOT_CONNECTED)
    assert bench.complete() == 2


@pytest.mark.parametrize(("policy", "failback", "after"), [(FOO, True, [A, S, S]), (FOO, False, [S, A, S])])
def test_failback(policy, failback, after):
    bench = Bench(3, policy=policy, failback=failback)
    bench.down(1)
    assert bench.standing == [F, A, S]
    bench.up(1)
    assert bench.standing == after


@pytest.mark.parametrize(("failback", "after"), [(True, [A, A, S]), (False, [S, S, A])])
def test_failback_with_a_subset(failback, after):
    bench = Bench(3, policy=SUBSET, failback=failback)
    bench.device.set_policy(SUBSET, [Path(id=1), Path(id=2), Path(id=3, active=False)])
    bench.down(1)
    assert bench.standing == [F, A, S]
    bench.gone(2)
    assert bench.standing == [F, A]
    bench.up(1)
    bench.up(2)
    assert bench.standing == after


# Path verification.


def test_paths_are_verified_when_that_is_enabled():
    bench = Bench(3, timers=MpioTimers(path_verify_enabled=True, path_verification_period=10), link_down_time=100)
    bench.down(3)
    bench.pass_time(10)
    assert [(each.path, each.purpose) for each in bench.sent] == [(1, Purpose.VERIFICATION), (2, Purpose.VERIFICATION)]
    bench.pass_time(10)
    assert len(bench.sent) == 2, "one verification of a path at a time"
    bench.complete(Failure.TIMED_OUT)
    bench.complete(ScsiResult(0x18))
    assert bench.standing == [F, A, F]
    bench.pass_time(10)
    bench.complete(ATTENTION)
    bench.complete(GOOD)
    assert bench.standing == [A, A, F]
    assert bench.told(Notification.PATH_UP) == [1, 2, 3, 1]


def test_without_it_they_are_not():
    bench = Bench()
    bench.pass_time(1000)
    assert not bench.sent
    assert bench.device.next_deadline() is None


# Persistent reservation.


def keyed(paths: int = 2, **options) -> Bench:
    return Bench(paths, reservation=PersistentReservation(True, KEY), **options)


def test_the_key_is_registered_with_every_path_before_it_is_used():
    bench = keyed()
    request = bench.submit()
    assert [each.purpose for each in bench.sent] == [Purpose.REGISTRATION] * 2
    for each in bench.sent:
        assert each.request.cdb == opcodes.REGISTER_AND_IGNORE_EXISTING_KEY.build(parameter_list_length=24)
        assert parse_basic(each.request.data_out).service_action_key == int.from_bytes(KEY, "big")
    bench.complete(ATTENTION)
    bench.complete()
    assert [(each.path, each.purpose) for each in bench.sent] == [(1, Purpose.REGISTRATION), (2, Purpose.REQUEST)]
    bench.complete()
    bench.complete()
    assert request.result is GOOD
    assert bench.standing == [A, A]


def test_the_key_is_registered_again_with_a_path_that_is_back():
    bench = keyed(1)
    bench.complete()
    bench.down(1)
    bench.up(1)
    assert bench.standing == [F]
    assert [each.purpose for each in bench.sent] == [Purpose.REGISTRATION]
    bench.complete()
    assert bench.standing == [A]


def test_a_path_without_registration_is_no_path():
    bench = keyed(2, timers=MpioTimers(retry_count=1))
    bench.complete(check_condition(5, 0x2000))
    assert bench.told(Notification.NOT_REGISTERED) == [1]
    bench.complete(BUSY)
    bench.pass_time(1)
    bench.complete(BUSY)
    assert bench.told(Notification.NOT_REGISTERED) == [1, 2]
    assert bench.standing == [F, F]


def test_a_registration_that_waits_for_its_retry_is_dropped_with_its_path():
    bench = keyed(1)
    bench.complete(BUSY)
    bench.down(1)
    bench.pass_time(5)
    assert not bench.sent
    bench.up(1)
    bench.device.path_down(1, bench.now)
    bench.complete()
    assert bench.standing == [F]


def test_a_registration_that_was_taken_away_is_not_taken_back_unasked():
    bench = keyed()
    bench.complete()
    bench.complete()
    bench.submit()
    bench.complete(PREEMPTED)
    assert bench.told(Notification.PREEMPTED) == [1]
    bench.complete(ScsiResult(0x18))
    assert bench.ended[-1].result == ScsiResult(0x18)
    bench.down(1)
    bench.up(1)
    assert bench.standing == [A, A]
    assert not bench.sent
    bench.device.register_again(bench.now)
    bench.poll()
    assert [each.purpose for each in bench.sent] == [Purpose.REGISTRATION] * 2
