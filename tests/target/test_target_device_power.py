"""Power conditions, units that START STOP UNIT does not stop, and what VPD pages say of it."""

from __future__ import annotations

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_protocol.scsi.vpd import ModePagePolicy, PowerConditionSupport, VpdCode

ACTIVE, IDLE, STANDBY, LU_CONTROL, FORCE_IDLE, FORCE_STANDBY = 1, 2, 3, 7, 0xA, 0xB
AWAKE = (SenseKey.NO_SENSE, AdditionalSense.NO_ADDITIONAL_SENSE_INFORMATION)
RESTS = {
    IDLE: (SenseKey.NO_SENSE, AdditionalSense.IDLE_CONDITION_ACTIVATED_BY_COMMAND),
    STANDBY: (SenseKey.NO_SENSE, AdditionalSense.STANDBY_CONDITION_ACTIVATED_BY_COMMAND),
}
INVALID_FIELD = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.INVALID_FIELD_IN_CDB)
STOPPED = (SenseKey.NOT_READY, AdditionalSense.LOGICAL_UNIT_NOT_READY_INITIALIZING_COMMAND_REQUIRED)


def told(disk):
    sense = parse_sense(disk.good(op.REQUEST_SENSE, allocation_length=18))
    assert sense is not None
    return sense.key, sense.code


@pytest.mark.parametrize("condition", RESTS)
@pytest.mark.parametrize("backend", ["memory", "file"])
def test_a_unit_rests_until_its_medium_is_needed(make_disk, backend, condition):
    disk = make_disk(backend)
    disk.good(op.START_STOP_UNIT, power_condition=condition)
    assert told(disk) == RESTS[condition]
    disk.good(op.TEST_UNIT_READY)
    disk.good(op.INQUIRY, allocation_length=36)
    disk.good(op.MODE_SENSE_6, page_code=8, allocation_length=64)
    assert told(disk) == RESTS[condition]
    disk.good(op.READ_10, blocks=1)
    assert told(disk) == AWAKE


def test_what_ends_a_rest(disk):
    for ends in (
        lambda: disk.good(op.START_STOP_UNIT, power_condition=ACTIVE),
        lambda: disk.good(op.START_STOP_UNIT, start=1),
        lambda: disk.device.reset_lun(bytes(8)),
    ):
        disk.good(op.START_STOP_UNIT, power_condition=STANDBY, no_flush=1)
        ends()
        told(disk)
        assert told(disk) == AWAKE


def test_timers_that_are_not_there_change_nothing(disk):
    disk.good(op.START_STOP_UNIT, power_condition=LU_CONTROL)
    for condition in (FORCE_IDLE, FORCE_STANDBY):
        assert disk.refusal(op.START_STOP_UNIT, power_condition=condition) == INVALID_FIELD
    assert told(disk) == AWAKE
    for condition in (ACTIVE, IDLE, STANDBY, LU_CONTROL):
        assert disk.refusal(op.START_STOP_UNIT, power_condition=condition, power_condition_modifier=1) == INVALID_FIELD


def test_a_power_condition_starts_a_stopped_unit(disk):
    disk.good(op.START_STOP_UNIT)
    assert told(disk) == STOPPED
    disk.good(op.START_STOP_UNIT, power_condition=IDLE)
    assert told(disk) == RESTS[IDLE]
    disk.good(op.READ_10, blocks=1)


def test_a_unit_that_is_not_stopped_still_ejects(make_disk):
    disk = make_disk(removable=True, start_stop="ignored")
    for condition in range(16):
        disk.good(op.START_STOP_UNIT, power_condition=condition, loej=condition > 0)
        disk.good(op.TEST_UNIT_READY)
    disk.good(op.START_STOP_UNIT, loej=1)
    empty = (SenseKey.NOT_READY, AdditionalSense.MEDIUM_NOT_PRESENT)
    assert disk.refusal(op.TEST_UNIT_READY) == empty
    disk.good(op.START_STOP_UNIT, start=1)
    assert disk.refusal(op.TEST_UNIT_READY) == empty
    disk.good(op.START_STOP_UNIT, loej=1, start=1)
    disk.good(op.TEST_UNIT_READY)


def test_vpd_pages_say_so(disk):
    def page(code):
        return disk.good(op.INQUIRY, evpd=1, page_code=code, allocation_length=255)

    found = PowerConditionSupport.parse(page(VpdCode.POWER_CONDITION))
    assert (found.idle_a, found.standby_z, found.idle_b, found.standby_y) == (True, True, False, False)
    policy = ModePagePolicy.parse(page(VpdCode.MODE_PAGE_POLICY))
    assert (policy.policy_page_code, policy.policy_subpage_code, policy.policy) == (0x3F, 0xFF, 0)
