"""SANITIZE: what it leaves behind, what waits for it, what a failure of the storage makes of it."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_protocol.scsi.mode import ControlPage, ModeParameters
from iscsi_protocol.scsi.provisioning import ProvisioningStatus, parse_lba_status
from iscsi_protocol.scsi.sanitize import Overwrite, OverwriteHeader
from iscsi_protocol.scsi.sense import Sense, parse_sense
from iscsi_protocol.scsi.vpd import BlockDeviceCharacteristics
from iscsi_target.completion import Completion, Work
from iscsi_target.device.readiness import Sanitizing
from iscsi_target.device.sanitize import in_background
from iscsi_target.state import StateStore

ILLEGAL = SenseKey.ILLEGAL_REQUEST
INVALID_FIELD = (ILLEGAL, AdditionalSense.INVALID_FIELD_IN_CDB)
BAD_PARAMETER = (ILLEGAL, AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST)
IN_PROGRESS = (SenseKey.NOT_READY, AdditionalSense.LOGICAL_UNIT_NOT_READY_SANITIZE_IN_PROGRESS)
FAILED = (SenseKey.MEDIUM_ERROR, AdditionalSense.SANITIZE_COMMAND_FAILED)
ACTIONS = (op.SANITIZE_OVERWRITE, op.SANITIZE_BLOCK_ERASE, op.SANITIZE_EXIT_FAILURE_MODE)


def told(disk) -> Sense:
    sense = parse_sense(disk.good(op.REQUEST_SENSE, allocation_length=18))
    assert sense is not None
    return sense


def overwrite(disk, how, **fields):
    data = how.build()
    return disk.run(op.SANITIZE_OVERWRITE, data, parameter_list_length=len(data), **fields)


def begun(disk, command, data=b"", **fields) -> Work:
    """The work of a command that is not done yet."""
    answer = disk.device.execute(disk.nexus, encode_lun(0), command.build(**fields).ljust(16, b"\0"), data)
    assert isinstance(answer, Work)
    return answer


@pytest.mark.parametrize("backend", ["memory", "file", "sparse"])
def test_overwriting_writes_the_pattern_to_every_block(make_disk, backend):
    disk = make_disk(backend, blocks=4100)
    disk.good(op.WRITE_10, b"x" * 512, lba=4099, blocks=1)
    assert overwrite(disk, Overwrite(pattern=b"abc", count=2, invert=True)).status == 0
    expected = bytes(each ^ 0xFF for each in (b"abc" * 171)[:512])
    for lba in (0, 2047, 2048, 4099):
        assert disk.good(op.READ_10, lba=lba, blocks=1) == expected


@pytest.mark.parametrize("backend", ["memory", "sparse"])
def test_erasing_gives_all_storage_back(make_disk, backend):
    disk = make_disk(backend)
    disk.good(op.WRITE_10, b"x" * 256 * 512, blocks=256)
    disk.good(op.SANITIZE_BLOCK_ERASE)
    assert disk.good(op.READ_10, blocks=256) == bytes(256 * 512)
    found = parse_lba_status(disk.good(op.GET_LBA_STATUS, allocation_length=256))
    assert [(each.lba, each.blocks, each.status) for each in found] == [(0, 256, ProvisioningStatus.DEALLOCATED)]
    page = disk.good(op.INQUIRY, evpd=1, page_code=0xB1, allocation_length=64)
    assert BlockDeviceCharacteristics.parse(page).write_after_block_erase == 1


def test_a_disk_whose_space_is_allocated_cannot_be_erased(make_disk):
    assert make_disk("file").refusal(op.SANITIZE_BLOCK_ERASE) == INVALID_FIELD
    assert make_disk().refusal(op.SANITIZE_CRYPTOGRAPHIC_ERASE) == INVALID_FIELD


def test_reserved_bits_and_wrong_lengths_are_refused(disk):
    for command in ACTIONS:
        for byte, bits in ((1, 0x40), *((each, each) for each in range(2, 7))):
            cdb = bytearray(command.build(parameter_list_length=8 if command is op.SANITIZE_OVERWRITE else 0))
            cdb[byte] |= bits
            sense = parse_sense(disk.raw(bytes(cdb), Overwrite(pattern=b"abcd").build()).sense)
            assert sense is not None
            assert sense.field_pointer is not None
            assert (sense.key, sense.code, sense.field_pointer.byte) == (*INVALID_FIELD, byte)
    for command in ACTIONS[1:]:
        assert disk.refusal(command, bytes(8), parameter_list_length=8) == INVALID_FIELD
    for length in (0, 4, 517):
        assert disk.refusal(op.SANITIZE_OVERWRITE, bytes(length), parameter_list_length=length) == INVALID_FIELD
    header = OverwriteHeader(overwrite_count=0, pattern_length=4).build() + bytes(4)
    assert disk.refusal(op.SANITIZE_OVERWRITE, header, parameter_list_length=8) == BAD_PARAMETER
    assert disk.refusal(op.SANITIZE_OVERWRITE, header[:7], parameter_list_length=8) == (
        ILLEGAL,
        AdditionalSense.PARAMETER_LIST_LENGTH_ERROR,
    )
    disk.good(op.TEST_UNIT_READY)


def test_other_commands_wait_for_the_end(disk, monkeypatch):
    began: list[Callable[[], object]] = []
    monkeypatch.setattr("iscsi_target.device.sanitize.in_background", began.append)
    work = begun(disk, op.SANITIZE_BLOCK_ERASE)
    rest = work.run()
    assert isinstance(rest, Work)
    for command in (op.TEST_UNIT_READY, op.READ_10, op.START_STOP_UNIT, op.MODE_SENSE_6, *ACTIONS):
        assert disk.refusal(command) == IN_PROGRESS
    for command in (op.INQUIRY, op.REPORT_LUNS, op.REPORT_SUPPORTED_OPERATION_CODES):
        disk.good(command, allocation_length=64)
    assert (told(disk).key, told(disk).code) == IN_PROGRESS
    disk.device.reset_lun(bytes(8))
    disk.good(op.REQUEST_SENSE, allocation_length=18)
    assert disk.refusal(op.TEST_UNIT_READY) == IN_PROGRESS
    began[0]()
    ended = rest.run()
    assert isinstance(ended, Completion)
    assert ended.status == 0
    disk.good(op.TEST_UNIT_READY)
    assert told(disk).key == SenseKey.NO_SENSE


def test_progress_is_that_of_the_slower_of_work_and_time():
    sanitizing = Sanitizing(restricted=False)
    sanitizing.done = 0.5
    assert sanitizing.sense().sense_key_specific == bytes.fromhex("808000")
    slow = Sanitizing(restricted=False, seconds=60)
    slow.done, slow.waited = 1.0, 0.25
    assert slow.sense().sense_key_specific == bytes.fromhex("804000")


def test_a_sanitize_lasts_as_long_as_configured(make_disk, monkeypatch):
    passed = [0.0]
    monkeypatch.setattr("iscsi_target.device.sanitize.time.monotonic", lambda: passed[0])
    seen = []
    disk = make_disk(sanitize_seconds=0.2)

    def sleep(seconds):
        passed[0] += seconds
        seen.append(told(disk).sense_key_specific)

    monkeypatch.setattr("iscsi_target.device.sanitize.time.sleep", sleep)
    monkeypatch.setattr("iscsi_target.device.sanitize.in_background", lambda operation: operation())
    disk.good(op.SANITIZE_BLOCK_ERASE)
    assert passed[0] == pytest.approx(0.2)
    assert seen == sorted(seen)
    disk.good(op.TEST_UNIT_READY)


def test_with_immed_the_status_comes_first(disk, monkeypatch):
    began: list[Callable[[], object]] = []
    monkeypatch.setattr("iscsi_target.device.sanitize.in_background", began.append)
    disk.good(op.WRITE_10, b"x" * 512, blocks=1)
    disk.good(op.SANITIZE_BLOCK_ERASE, immed=1)
    assert disk.refusal(op.TEST_UNIT_READY) == IN_PROGRESS
    began[0]()
    assert disk.good(op.READ_10, blocks=1) == bytes(512)


def test_what_is_left_to_itself_is_done():
    done = threading.Event()
    in_background(done.set)
    assert done.wait(10)


def broken(disk, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(disk.device._units[0].backend, "unmap", fail)


def test_a_failure_that_may_be_left(disk, monkeypatch):
    with monkeypatch.context() as context:
        broken(disk, context)
        assert disk.refusal(op.SANITIZE_BLOCK_ERASE, ause=1) == FAILED
    assert disk.refusal(op.READ_10, blocks=1) == FAILED
    assert (told(disk).key, told(disk).code) == FAILED
    disk.good(op.MODE_SENSE_6, page_code=8, allocation_length=64)
    disk.good(op.SANITIZE_EXIT_FAILURE_MODE)
    disk.good(op.READ_10, blocks=1)
    disk.good(op.SANITIZE_EXIT_FAILURE_MODE)


def test_a_failure_that_only_a_sanitize_ends(disk, monkeypatch):
    with monkeypatch.context() as context:
        broken(disk, context)
        assert disk.refusal(op.SANITIZE_BLOCK_ERASE) == FAILED
    assert disk.refusal(op.SANITIZE_EXIT_FAILURE_MODE) == INVALID_FIELD
    assert disk.refusal(op.SANITIZE_BLOCK_ERASE, ause=1) == INVALID_FIELD
    assert disk.refusal(op.READ_10, blocks=1) == FAILED
    disk.good(op.SANITIZE_BLOCK_ERASE)
    disk.good(op.READ_10, blocks=1)


def test_write_protection_holds_against_a_sanitize(disk):
    data = ModeParameters(pages=(ControlPage(queue_algorithm_modifier=1, software_write_protect=True).build(),)).build(
        6, select=True
    )
    disk.good(op.MODE_SELECT_6, data, parameter_list_length=len(data), pf=1)
    for command in ACTIONS:
        assert disk.refusal(command)[0] == SenseKey.DATA_PROTECT


def test_an_operation_that_was_cut_off_has_failed(make_disk, tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    disk = make_disk(store=StateStore(path))
    disk.good(op.SANITIZE_BLOCK_ERASE)
    make_disk(store=StateStore(path)).good(op.READ_10, blocks=1)
    for ause in (0, 1):
        with monkeypatch.context() as context:
            broken(disk, context)
            assert disk.refusal(op.SANITIZE_BLOCK_ERASE, ause=ause) == FAILED
        again = make_disk(store=StateStore(path))
        assert again.refusal(op.READ_10, blocks=1) == FAILED
        if ause:
            again.good(op.SANITIZE_EXIT_FAILURE_MODE)
        else:
            assert again.refusal(op.SANITIZE_EXIT_FAILURE_MODE) == INVALID_FIELD
            again.good(op.SANITIZE_BLOCK_ERASE)
            disk.good(op.SANITIZE_BLOCK_ERASE)
        again.good(op.READ_10, blocks=1)
        make_disk(store=StateStore(path)).good(op.READ_10, blocks=1)


def test_an_operation_begins_only_where_it_can_be_noted(make_disk, tmp_path, monkeypatch):
    store = StateStore(tmp_path / "state.json")
    disk = make_disk(store=store)
    disk.good(op.WRITE_10, b"x" * 512, blocks=1)

    def full():
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as context:
        context.setattr(store, "save", full)
        assert disk.refusal(op.SANITIZE_BLOCK_ERASE, ause=1) == FAILED
    disk.good(op.SANITIZE_EXIT_FAILURE_MODE)
    assert disk.good(op.READ_10, blocks=1) == b"x" * 512
