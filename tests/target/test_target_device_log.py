"""LOG SENSE and LOG SELECT, self-tests, and what is counted."""

from __future__ import annotations

import errno

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.log import (
    ALL_SUBPAGES,
    LogPageCode,
    PageValues,
    ResourceCount,
    SelfTestResult,
    parse_log,
    parse_parameters,
)
from iscsi_protocol.scsi.mode import InformationalExceptionsControlPage, ModeParameters
from iscsi_protocol.scsi.sense import parse_sense

INVALID_FIELD = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.INVALID_FIELD_IN_CDB)
BAD_PARAMETER = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST)
TOO_SHORT = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
TEST_FAILED = (SenseKey.HARDWARE_ERROR, AdditionalSense.LOGICAL_UNIT_FAILED_SELF_TEST)
UNCORRECTED = 6


def sensed(disk, code, **fields):
    fields = {"page_control": PageValues.CUMULATIVE, "allocation_length": 0xFFFF} | fields
    page = parse_log(disk.good(op.LOG_SENSE, page_code=code, **fields))
    assert (page.code, page.subpage, page.saving_disabled) == (code, fields.get("subpage_code", 0), True)
    return page.body


def values(disk, code, **fields):
    return {each.code: each.value for each in parse_parameters(sensed(disk, code, **fields))}


def count(disk, code, parameter=UNCORRECTED):
    return int.from_bytes(values(disk, code)[parameter], "big")


def breaks(monkeypatch, disk, *names, code=errno.EIO):
    def fail(*_):
        raise OSError(code, "broken")

    for name in names:
        monkeypatch.setattr(disk.device._units[0].backend, name, fail)


def test_every_page_that_is_listed_can_be_had(make_disk):
    for backend in ("memory", "file"):
        disk = make_disk(backend)
        codes = list(sensed(disk, 0))
        assert codes == sorted(codes)
        assert (LogPageCode.LOGICAL_BLOCK_PROVISIONING in codes) == (backend == "memory")
        for code in codes[1:]:
            assert values(disk, code), code
            assert list(sensed(disk, code, subpage_code=0xFF)) == [code, 0, code, 0xFF]
        pairs = sensed(disk, 0, subpage_code=0xFF)
        assert list(pairs) == [byte for code in codes for byte in (code, 0, code, 0xFF)]
        for code in set(range(0x40)) - set(codes):
            assert disk.refusal(op.LOG_SENSE, page_code=code, page_control=1) == INVALID_FIELD


def test_fields_that_mean_nothing_here_are_refused(disk):
    sense = op.LOG_SENSE
    for fields in ({"sp": 1}, {"ppc": 1}, {"page_control": 0}, {"page_control": 2}, {"subpage_code": 1}):
        assert disk.refusal(sense, **{"page_code": 2, "page_control": 1, **fields}) == INVALID_FIELD
    assert disk.refusal(sense, page_code=2, page_control=1, parameter_pointer=7) == INVALID_FIELD
    assert disk.refusal(sense, page_control=1, parameter_pointer=1) == INVALID_FIELD
    for fields in ({"sp": 1}, {"sp": 1, "page_control": 1}, {"sp": 1, "pcr": 1}, {"parameter_list_length": 4}):
        assert disk.refusal(op.LOG_SELECT, bytes(4), **fields) == INVALID_FIELD
    for fields in ({"page_code": 1}, {"subpage_code": 1}, {"page_code": 2, "subpage_code": 0xFE}):
        assert disk.refusal(op.LOG_SELECT, bytes(4), **fields) == INVALID_FIELD


def test_what_is_no_counter_has_one_value(make_disk):
    """Whichever is asked for; counters have no thresholds."""
    disk = make_disk(removable=True)
    disk.good(op.START_STOP_UNIT)
    disk.good(op.START_STOP_UNIT, start=1)
    for code in sensed(disk, LogPageCode.SUPPORTED_PAGES)[1:]:
        parameters = parse_parameters(sensed(disk, code))
        counters = code in (2, 3, 5, 6)
        assert {each.control for each in parameters} == {2 if counters else 3}
        for control in (PageValues.THRESHOLD, PageValues.DEFAULT_THRESHOLD):
            if counters:
                assert disk.refusal(op.LOG_SENSE, page_code=code, page_control=control) == INVALID_FIELD
            else:
                assert parse_parameters(sensed(disk, code, page_control=control)) == parameters
        assert parse_parameters(sensed(disk, code, page_control=PageValues.DEFAULT_CUMULATIVE)) == parameters
    assert sensed(disk, LogPageCode.SUPPORTED_PAGES, page_control=PageValues.THRESHOLD)


def test_the_parameter_pointer_leaves_out_what_is_before(disk):
    assert list(values(disk, LogPageCode.SELF_TEST_RESULTS, parameter_pointer=19)) == [19, 20]
    assert len(disk.good(op.LOG_SENSE, page_code=2, page_control=1, allocation_length=6)) == 6


def test_errors_of_the_storage_are_counted(make_disk, monkeypatch):
    for backend in ("memory", "file"):
        disk = make_disk(backend)
        with monkeypatch.context() as context:
            breaks(context, disk, "read", "load", "write", "flush")
            assert disk.refusal(op.READ_10, blocks=1)[0] == SenseKey.MEDIUM_ERROR
            assert disk.refusal(op.WRITE_10, bytes(512), blocks=1)[0] == SenseKey.MEDIUM_ERROR
            assert disk.refusal(op.SYNCHRONIZE_CACHE_10)[0] == SenseKey.MEDIUM_ERROR
            assert disk.refusal(op.VERIFY_10, blocks=1)[0] == SenseKey.MEDIUM_ERROR
        assert count(disk, LogPageCode.READ_ERROR_COUNTERS) == 1
        assert count(disk, LogPageCode.WRITE_ERROR_COUNTERS) == 2
        assert count(disk, LogPageCode.VERIFY_ERROR_COUNTERS) == 1
        assert count(disk, LogPageCode.NON_MEDIUM_ERRORS, 0) == 0
        with monkeypatch.context() as context:
            breaks(context, disk, "write", code=errno.ENOSPC)
            assert disk.refusal(op.WRITE_10, bytes(512), blocks=1)[0] == SenseKey.DATA_PROTECT
        assert count(disk, LogPageCode.NON_MEDIUM_ERRORS, 0) == 1
        assert count(disk, LogPageCode.WRITE_ERROR_COUNTERS) == 2


def test_counters_are_reset_and_others_told(disk, monkeypatch):
    disk.device.nexus_made(disk.other)
    with monkeypatch.context() as context:
        breaks(context, disk, "read", "write")
        disk.refusal(op.READ_10, blocks=1)
        disk.refusal(op.WRITE_10, bytes(512), blocks=1)
    default = values(disk, LogPageCode.READ_ERROR_COUNTERS, page_control=PageValues.DEFAULT_CUMULATIVE)
    assert default == {UNCORRECTED: bytes(4)}
    disk.good(op.LOG_SELECT, page_control=PageValues.CUMULATIVE)
    assert count(disk, LogPageCode.READ_ERROR_COUNTERS) == 1
    disk.good(op.TEST_UNIT_READY, nexus=disk.other)
    disk.good(op.LOG_SELECT, pcr=1, page_code=LogPageCode.READ_ERROR_COUNTERS)
    assert count(disk, LogPageCode.READ_ERROR_COUNTERS) == 0
    assert count(disk, LogPageCode.WRITE_ERROR_COUNTERS) == 1
    changed = (SenseKey.UNIT_ATTENTION, AdditionalSense.LOG_PARAMETERS_CHANGED)
    assert disk.refusal(op.TEST_UNIT_READY, nexus=disk.other) == changed
    disk.good(op.LOG_SELECT, page_control=PageValues.DEFAULT_CUMULATIVE, subpage_code=ALL_SUBPAGES)
    assert count(disk, LogPageCode.WRITE_ERROR_COUNTERS) == 1
    disk.good(op.LOG_SELECT, page_control=PageValues.DEFAULT_CUMULATIVE)
    assert count(disk, LogPageCode.WRITE_ERROR_COUNTERS) == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"pcr": 1, "subpage_code": ALL_SUBPAGES},
        {"page_control": PageValues.DEFAULT_CUMULATIVE, "sp": 1},
        {"page_control": PageValues.DEFAULT_THRESHOLD, "sp": 1, "pcr": 1},
    ],
)
def test_what_resets_without_saving_is_no_error(disk, monkeypatch, fields):
    with monkeypatch.context() as context:
        breaks(context, disk, "read")
        disk.refusal(op.READ_10, blocks=1)
    disk.good(op.LOG_SELECT, page_code=LogPageCode.READ_ERROR_COUNTERS, **fields)
    assert count(disk, LogPageCode.READ_ERROR_COUNTERS) == 0


@pytest.mark.parametrize("backend", ["memory", "sparse"])
def test_used_blocks_are_those_with_storage(make_disk, backend):
    disk = make_disk(backend, blocks=4096)
    assert count_used(disk) == 0
    disk.good(op.WRITE_10, b"x" * 4096, lba=64, blocks=8)
    disk.good(op.WRITE_10, b"x" * 4096, lba=1024, blocks=8)
    assert count_used(disk) == 16


def count_used(disk):
    value = values(disk, LogPageCode.LOGICAL_BLOCK_PROVISIONING)[2]
    return ResourceCount.parse(value).count


def test_starts_and_loads_are_counted(make_disk):
    disk = make_disk(removable=True)
    disk.good(op.START_STOP_UNIT)
    for fields in ({"start": 1}, {"start": 1}, {"loej": 1}, {"loej": 1, "start": 1}, {"loej": 1, "start": 1}):
        disk.good(op.START_STOP_UNIT, **fields)
    assert values(disk, LogPageCode.START_STOP_CYCLES) == {4: bytes((0, 0, 0, 1)), 6: bytes((0, 0, 0, 1))}
    assert list(values(make_disk(), LogPageCode.START_STOP_CYCLES)) == [4]


def test_an_informational_exception_is_told_where_one_is_asked_for(disk):
    def select(**fields):
        page = InformationalExceptionsControlPage(method_of_reporting=6, **fields)
        data = ModeParameters(pages=(page.build(),)).build(6, select=True)
        return disk.run(op.MODE_SELECT_6, data, parameter_list_length=len(data), pf=1)

    def told():
        sense = parse_sense(disk.good(op.REQUEST_SENSE, allocation_length=18))
        assert sense is not None
        return sense.key, sense.code

    quiet, exceeded = (SenseKey.NO_SENSE, 0), (SenseKey.NO_SENSE, 0x5DFF)
    assert (told(), values(disk, LogPageCode.INFORMATIONAL_EXCEPTIONS)[0].hex()) == (quiet, "0000ff")
    assert select(test=True).status == 0
    assert (told(), values(disk, LogPageCode.INFORMATIONAL_EXCEPTIONS)[0].hex()) == (exceeded, "5dffff")
    disk.good(op.TEST_UNIT_READY)
    refused = parse_sense(select(test=True, disable_exception_control=True).sense)
    assert refused is not None
    assert (refused.key, refused.code) == BAD_PARAMETER
    assert select(disable_exception_control=True).status == 0
    assert told() == quiet


def results(disk):
    found = values(disk, LogPageCode.SELF_TEST_RESULTS)
    assert list(found) == list(range(1, 21))
    return [SelfTestResult.parse(value) for value in found.values()]


@pytest.mark.parametrize("backend", ["memory", "file"])
def test_self_tests_leave_their_results(make_disk, monkeypatch, backend):
    disk = make_disk(backend)
    disk.good(op.SEND_DIAGNOSTIC)
    disk.good(op.SEND_DIAGNOSTIC, selftest=1)
    assert results(disk)[0] == SelfTestResult()
    disk.good(op.SEND_DIAGNOSTIC, self_test_code=5)
    disk.good(op.SEND_DIAGNOSTIC, self_test_code=6)
    assert [(each.self_test_code, each.result) for each in results(disk)[:3]] == [(6, 0), (5, 0), (0, 0)]
    with monkeypatch.context() as context:
        breaks(context, disk, "load")
        assert disk.refusal(op.SEND_DIAGNOSTIC, selftest=1) == TEST_FAILED
        assert disk.refusal(op.SEND_DIAGNOSTIC, self_test_code=5) == TEST_FAILED
    failed = results(disk)[0]
    assert (failed.result, failed.first_failure, failed.sense_key, failed.additional_sense) == (7, 0, *TEST_FAILED)
    for _ in range(20):
        disk.good(op.SEND_DIAGNOSTIC, self_test_code=5)
    assert all(each.result == 0 for each in results(disk))


def test_diagnostics_that_are_not_there_are_refused(disk):
    send = op.SEND_DIAGNOSTIC
    for code in (1, 2, 3, 4, 7):
        assert disk.refusal(send, self_test_code=code) == INVALID_FIELD
    assert disk.refusal(send, self_test_code=5, selftest=1) == INVALID_FIELD
    assert disk.refusal(send, bytes(4), selftest=1, parameter_list_length=4) == INVALID_FIELD
    assert disk.refusal(send, bytes(4), parameter_list_length=4) == INVALID_FIELD
    assert disk.refusal(send, bytes(3), parameter_list_length=3, pf=1) == INVALID_FIELD
    assert disk.refusal(send, bytes(2), parameter_list_length=4, pf=1) == TOO_SHORT
    for page in (b"\x40\0\0\0", b"\0\0\0\1", bytes(8)):
        assert disk.refusal(send, page, parameter_list_length=len(page), pf=1) == BAD_PARAMETER
    disk.good(send, bytes(4), parameter_list_length=4, pf=1)
    for pcv in (0, 1):
        assert disk.good(op.RECEIVE_DIAGNOSTIC_RESULTS, pcv=pcv, allocation_length=64) == bytes((0, 0, 0, 1, 0))
    assert disk.refusal(op.RECEIVE_DIAGNOSTIC_RESULTS, pcv=1, page_code=1) == INVALID_FIELD
