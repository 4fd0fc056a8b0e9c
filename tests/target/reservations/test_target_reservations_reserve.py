"""RESERVE and RELEASE (SPC-2), alone and beside persistent reservations (SPC-4 5.12.3)."""

from __future__ import annotations

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.persistent import ReservationType

INVALID = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.INVALID_FIELD_IN_CDB)
PAIRS = [(op.RESERVE_6, op.RELEASE_6), (op.RESERVE_10, op.RELEASE_10)]
both = pytest.mark.parametrize(("reserve", "release"), PAIRS, ids=["6", "10"])


@pytest.fixture
def pair(shared):
    return shared.port("one"), shared.port("two")


@both
def test_reserving_and_releasing(pair, reserve, release):
    one, two = pair
    assert one.run(reserve) == "good"
    assert one.run(reserve) == "good"
    assert two.run(reserve) == "conflict"
    assert (one.write(), two.read(), two.run(op.TEST_UNIT_READY)) == ("good", "conflict", "conflict")
    assert two.run(release) == "good"
    assert two.read() == "conflict"
    assert one.run(release) == "good"
    assert one.run(release) == "good"
    assert two.write() == "good"
    assert two.run(reserve) == "good"


@both
@pytest.mark.parametrize("byte1", [0x10, 0x01, 0x12])
def test_extents_and_third_parties_are_refused(pair, reserve, release, byte1):
    one, two = pair
    for command in (reserve, release):
        cdb = bytearray(command.build())
        cdb[1] = byte1
        answer = one.disk.device.execute(one.nexus, bytes(8), bytes(cdb))
        assert answer.sense[2] == SenseKey.ILLEGAL_REQUEST
        cdb[1], cdb[4 if len(cdb) == 6 else 8] = 0, 8
        assert one.disk.device.execute(one.nexus, bytes(8), bytes(cdb), bytes(8)).sense[2] == SenseKey.ILLEGAL_REQUEST
    assert two.write() == "good"


@pytest.mark.parametrize("how", ["lun reset", "target reset", "nexus loss", "power"])
def test_what_ends_it(pair, how):
    one, two = pair
    assert one.run(op.RESERVE_6) == "good"
    device = one.disk.device
    {
        "lun reset": lambda: device.reset_lun(bytes(8), two.nexus),
        "target reset": lambda: device.reset_target(two.nexus),
        "nexus loss": one.leave,
        "power": device.power_on,
    }[how]()
    two.news()
    assert two.write() == "good"
    assert one.disk.unit.guard is None


def test_a_lost_nexus_of_another_ends_nothing(pair):
    one, two = pair
    assert one.run(op.RESERVE_6) == "good"
    two.leave()
    two.arrive()
    assert two.write() == "conflict"


def test_persistent_reservations_wait_for_the_release(pair):
    one, two = pair
    assert one.run(op.RESERVE_6) == "good"
    for port in pair:
        assert port.join(1) == "conflict"
        assert port.run(op.READ_KEYS, allocation_length=8) == "conflict"
    assert one.run(op.RELEASE_6) == "good"
    assert two.join(1) == "good"


@both
def test_registrations_stand_against_reserve(pair, reserve, release):
    one, two = pair
    assert one.join(1) == "good"
    for port in pair:
        assert (port.run(reserve), port.run(release)) == ("conflict", "conflict")
    assert two.write() == "good"


@both
@pytest.mark.parametrize("kind", list(ReservationType), ids=lambda kind: kind.name)
def test_who_takes_part_in_a_persistent_reservation_may_reserve_for_nothing(pair, reserve, release, kind):
    one, two = pair
    three = one.disk.port("three")
    assert (one.join(1), two.join(2), one.reserve(1, kind)) == ("good", "good", "good")
    for command in (reserve, release):
        assert one.run(command) == "good"
        assert two.run(command) == ("good" if kind.registrants else "conflict")
        assert three.run(command) == "conflict"
    assert one.reservation() == (0 if kind.all_registrants else 1, kind)
    assert three.write() == "conflict"
    assert one.release(1, kind) == "good"
    assert three.write() == "good"
