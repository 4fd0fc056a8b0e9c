"""Unit attention conditions: their order, what makes others moot, and who is told of a lost nexus."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense as Code
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_target.device.attention import establish

POWER_ON = Code.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED
RESET = Code.BUS_DEVICE_RESET_FUNCTION_OCCURRED
LOSS = Code.I_T_NEXUS_LOSS_OCCURRED
MODE = Code.MODE_PARAMETERS_CHANGED
CLEARED = Code.COMMANDS_CLEARED_BY_ANOTHER_INITIATOR
LEVEL = {POWER_ON: 1, RESET: 3, LOSS: 4}
LUN0 = bytes(8)


def pending(*codes):
    found: list[Code] = []
    for code in codes:
        establish(found, code)
    return found


def test_conditions_queue_in_order_and_once():
    assert pending(MODE, CLEARED, MODE) == [MODE, CLEARED]


def test_a_reset_leaves_nothing_older():
    assert pending(MODE, CLEARED, LOSS, RESET) == [RESET]
    assert pending(RESET, POWER_ON) == [POWER_ON]
    assert pending(RESET, MODE) == [RESET, MODE]


def test_a_lesser_reset_behind_a_greater_one_is_not_told():
    assert pending(POWER_ON, RESET, LOSS) == [POWER_ON]
    assert pending(RESET, LOSS) == [RESET]


def test_a_lost_nexus_stands_first_and_keeps_the_others():
    assert pending(MODE, LOSS, LOSS, CLEARED) == [LOSS, MODE, CLEARED]


@given(st.lists(st.sampled_from([POWER_ON, RESET, LOSS, MODE, CLEARED])))
def test_at_most_one_tells_of_a_reset_and_it_stands_first(codes):
    found = pending(*codes)
    assert len(set(found)) == len(found)
    resets = [each for each in found if each in LEVEL]
    assert resets == found[: len(resets)]
    assert len(resets) <= 1
    if codes and codes[-1] not in LEVEL:
        assert codes[-1] in found
    told = [each for each in codes if each in LEVEL]
    if told:
        assert LEVEL[resets[0]] == min(LEVEL[each] for each in told)


def test_the_device_tells_one_nexus_at_one_unit(disk):
    disk.device.establish_attention(disk.nexus, LUN0, MODE)
    disk.device.establish_attention(disk.nexus, bytes((0, 9)) + bytes(6), MODE)
    assert disk.device.pending_attentions(disk.nexus, LUN0) == (MODE,)
    assert disk.device.pending_attentions(disk.other, LUN0) == ()
    assert disk.device.pending_attentions(disk.nexus, bytes((0, 9)) + bytes(6)) == ()
    disk.good(op.INQUIRY, allocation_length=36)
    disk.good(op.REPORT_LUNS, allocation_length=16)
    assert disk.refusal(op.TEST_UNIT_READY) == (SenseKey.UNIT_ATTENTION, MODE)
    disk.good(op.TEST_UNIT_READY)


def test_request_sense_tells_of_an_attention_and_clears_it(disk):
    disk.device.establish_attention(disk.nexus, LUN0, MODE)
    sense = disk.good(op.REQUEST_SENSE, allocation_length=18)
    assert (sense[2], sense[12:14]) == (6, MODE.to_bytes(2, "big"))
    disk.good(op.TEST_UNIT_READY)


def test_report_luns_clears_the_news_that_they_have_changed(disk):
    for code in (MODE, Code.REPORTED_LUNS_DATA_HAS_CHANGED):
        disk.device.establish_attention(disk.nexus, LUN0, code)
    disk.good(op.REPORT_LUNS, allocation_length=16)
    assert disk.device.pending_attentions(disk.nexus, LUN0) == (MODE,)


def test_a_power_on_is_more_than_the_loss_behind_it(disk):
    disk.device.power_on()
    disk.device.nexus_lost(disk.nexus)
    disk.device.nexus_made(disk.nexus)
    assert disk.device.pending_attentions(disk.nexus, LUN0) == (POWER_ON,)
    disk.device.nexus_lost(disk.nexus)
    disk.device.nexus_made(disk.nexus)
    assert disk.device.pending_attentions(disk.nexus, LUN0) == (LOSS,)
