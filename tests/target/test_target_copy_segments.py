"""EXTENDED COPY at work: bytes arrive, failures are told with whose they are, and results can be asked for."""

from __future__ import annotations

import copy
import errno
from random import Random

import pytest
from tests.target.conftest import NEXUS, OTHER

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense as Code
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.designators import naa_locally_assigned
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_protocol.scsi.mode import ControlPage, ModeParameters
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.scsi.third_party_copy import (
    OWN_UNIT,
    BlockToBlock,
    BlockToBlockOffset,
    CopyState,
    CopyStatus,
    FailureDetails,
    build_copy,
    cscd_of,
)
from iscsi_target.completion import Work
from iscsi_target.config import LunConfig, Size
from iscsi_target.device import copies
from iscsi_target.luns.backend import Extent

ABORTED = SenseKey.COPY_ABORTED
MIB = 1 << 20


def within(**fields):
    return BlockToBlock(source=OWN_UNIT, destination=OWN_UNIT, **fields)


def read_sense(data):
    sense = parse_sense(data)
    assert sense is not None
    return sense


def unit(disk, lun=0):
    return disk.device._units[lun]


def names(disk, *luns, pad=()):
    return [
        cscd_of(naa_locally_assigned(unit(disk, lun).number), unit(disk, lun).block_size, pad=lun in pad)
        for lun in luns
    ]


def fill(disk, lun=0, seed=1):
    backend = unit(disk, lun).backend
    data = Random(seed).randbytes(backend.blocks * backend.block_size)
    backend.write(0, data)
    return data


def held(disk, lun=0):
    backend = unit(disk, lun).backend
    return bytes(backend.load(0, backend.blocks * backend.block_size))


def command(data):
    return op.EXTENDED_COPY_LID1.build(parameter_list_length=len(data))


def good(disk, segments, cscds=(), **fields):
    data = build_copy(cscds, segments, **fields)
    disk.good(op.EXTENDED_COPY_LID1, data, parameter_list_length=len(data))


def failed(disk, segments, cscds=(), **fields):
    data = build_copy(cscds, segments, **fields)
    return disk.run(op.EXTENDED_COPY_LID1, data, parameter_list_length=len(data))


def status(disk, identifier=0, **fields):
    data = disk.good(op.RECEIVE_COPY_STATUS_LID1, list_identifier=identifier, allocation_length=64, **fields)
    assert len(data) == 12
    return CopyStatus.parse(data)


def two(make_disk, first=512, second=512, size=64 * 1024, **settings):
    return make_disk(
        luns={
            0: LunConfig(size=Size(size), block_size=first, **settings),
            1: LunConfig(size=Size(size), block_size=second, **settings),
        }
    )


def test_blocks_move_within_a_unit_and_between_units(make_disk):
    disk = two(make_disk)
    here, there = fill(disk, 0, 1), fill(disk, 1, 2)
    segments = [
        BlockToBlock(source=0, destination=1, blocks=4, source_lba=2, destination_lba=10),
        BlockToBlock(source=1, destination=0, blocks=1, source_lba=10, destination_lba=0),
        BlockToBlock(source=0, destination=OWN_UNIT, blocks=0, source_lba=1 << 40),
    ]
    good(disk, segments, names(disk, 0, 1), list_identifier=5)
    moved = here[1024 : 1024 + 2048]
    assert held(disk, 1) == there[: 10 * 512] + moved + there[14 * 512 :]
    assert held(disk, 0) == moved[:512] + here[512:]
    found = status(disk, 5)
    assert (found.state, found.segments_processed, found.transfer_count) == (CopyState.DONE, 3, 5 * 512)


@pytest.mark.parametrize(("source", "destination"), [(3, 8), (8, 3), (4, 4)])
def test_a_copy_onto_itself_moves_what_was_there(make_disk, source, destination, monkeypatch):
    monkeypatch.setattr("iscsi_target.device.copying.CHUNK", 1024)
    disk = make_disk(blocks=64)
    before = fill(disk)
    good(disk, [within(blocks=20, source_lba=source, destination_lba=destination)])
    expected = bytearray(before)
    expected[destination * 512 : (destination + 20) * 512] = before[source * 512 : (source + 20) * 512]
    assert held(disk) == expected


@pytest.mark.parametrize(
    ("first", "second", "dc", "blocks", "length"),
    [(512, 4096, False, 8, 4096), (512, 4096, True, 2, 8192), (4096, 512, False, 2, 8192), (4096, 512, True, 8, 4096)],
)
def test_blocks_of_another_size_are_counted_at_the_end_that_is_said(make_disk, first, second, dc, blocks, length):
    disk = two(make_disk, first, second)
    here, there = fill(disk, 0, 1), fill(disk, 1, 2)
    segment = BlockToBlock(dc=dc, source=0, destination=1, blocks=blocks, source_lba=1, destination_lba=1)
    good(disk, [segment], names(disk, 0, 1))
    assert held(disk, 1) == there[:second] + here[first : first + length] + there[second + length :]


@pytest.mark.parametrize(("first", "second", "dc"), [(512, 4096, False), (4096, 512, True)])
def test_blocks_that_do_not_fill_others_need_padding(make_disk, first, second, dc):
    disk = two(make_disk, first, second)
    here, there = fill(disk, 0, 1), fill(disk, 1, 2)
    segment = BlockToBlock(dc=dc, source=0, destination=1, blocks=3)
    for cscds, cat in ((names(disk, 0, 1), False), (names(disk, 0, 1, pad=(0, 1)), True)):
        inexact = BlockToBlock(dc=dc, cat=cat, source=0, destination=1, blocks=3)
        sense = read_sense(failed(disk, [inexact], cscds).sense)
        assert (sense.key, sense.code) == (ABORTED, Code.UNEXPECTED_INEXACT_SEGMENT)
    assert held(disk, 1) == there
    good(disk, [segment], names(disk, 0, 1, pad=(0, 1)))
    padded = here[:1536] + bytes(-1536 % second)
    assert held(disk, 1) == padded + there[len(padded) :]


def test_bytes_move_from_within_a_block_to_within_a_block(make_disk):
    disk = two(make_disk, 512, 4096)
    here, there = fill(disk, 0, 1), fill(disk, 1, 2)
    segment = BlockToBlockOffset(
        source=0,
        destination=1,
        byte_count=9000,
        source_lba=1,
        destination_lba=2,
        source_offset=100,
        destination_offset=4000,
    )
    good(disk, [segment], names(disk, 0, 1))
    at = 2 * 4096 + 4000
    assert held(disk, 1) == there[:at] + here[612 : 612 + 9000] + there[at + 9000 :]


def test_holes_stay_holes_between_thin_units(make_disk):
    disk = two(make_disk)
    fill(disk, 1)
    unit(disk, 0).backend.write(4 * 512, b"x" * 512)
    good(disk, [BlockToBlock(source=0, destination=1, blocks=16)], names(disk, 0, 1))
    assert unit(disk, 1).backend.extent(0) == Extent(mapped=False, length=4 * 512)
    assert unit(disk, 1).backend.extent(4 * 512) == Extent(mapped=True, length=512)
    assert held(disk, 1)[: 16 * 512] == bytes(4 * 512) + b"x" * 512 + bytes(11 * 512)


def third_party(sense_data):
    """(segment, what is left, whose failure, status, sense) of COPY ABORTED in fixed format."""
    sense = read_sense(sense_data)
    assert (sense.key, sense.code) == (ABORTED, Code.NO_ADDITIONAL_SENSE_INFORMATION)
    source, destination = sense_data[8:10]
    at = source or destination
    return sense_data[11], sense.information, bool(destination), sense_data[at], read_sense(sense_data[at + 1 :])


def test_ranges_beyond_the_end_abort_the_copy_where_they_are(make_disk):
    disk = two(make_disk)
    here, there = fill(disk, 0, 1), fill(disk, 1, 2)
    first = BlockToBlock(source=0, destination=1, blocks=2)
    for source, destination, blamed in ((120, 0, False), (0, 120, True)):
        beyond = BlockToBlock(source=0, destination=1, blocks=9, source_lba=source, destination_lba=destination)
        answer = failed(disk, [first, beyond], names(disk, 0, 1), list_identifier=1)
        number, left, at_destination, ended, sense = third_party(answer.sense)
        assert (number, left, at_destination, ended) == (1, None, blamed, Status.CHECK_CONDITION)
        assert read_sense(answer.sense).sense_key_specific == bytes((0x80, 0, 16 + (32 if blamed else 0)))
        assert sense.code == Code.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
        found = status(disk, 1)
        assert (found.state, found.segments_processed, found.transfer_count) == (CopyState.FAILED, 2, 1024)
    assert held(disk, 1) == here[:1024] + there[1024:]


def test_failures_of_the_storage_are_the_third_partys(make_disk, monkeypatch):
    disk = two(make_disk)
    segment = BlockToBlock(source=0, destination=1, blocks=9)
    fill(disk, 0)

    def full(offset, data):
        raise OSError(errno.ENOSPC, "full")

    def broken(offset, length):
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(unit(disk, 1).backend, "write", full)
        _, left, at_destination, _, sense = third_party(failed(disk, [segment], names(disk, 0, 1)).sense)
        assert (left, at_destination) == (None, True)
        assert (sense.key, sense.code) == (SenseKey.DATA_PROTECT, Code.SPACE_ALLOCATION_FAILED_WRITE_PROTECT)
    monkeypatch.setattr(unit(disk, 0).backend, "load", broken)
    _, _, at_destination, _, sense = third_party(failed(disk, [segment], names(disk, 0, 1)).sense)
    assert not at_destination
    assert (sense.key, sense.code) == (SenseKey.MEDIUM_ERROR, Code.UNRECOVERED_READ_ERROR)


@pytest.mark.parametrize(
    ("segment", "left"),
    [
        (BlockToBlock(source=0, destination=1, blocks=20), 2),
        (BlockToBlock(source=0, destination=1, blocks=3, dc=True), 2),
        (BlockToBlockOffset(source=0, destination=1, byte_count=12288, destination_offset=512), 3),
    ],
)
def test_what_is_left_is_told_in_blocks_of_the_destination(make_disk, monkeypatch, segment, left):
    """Half of what fails is not written, and a block that is begun is not yet written."""
    monkeypatch.setattr("iscsi_target.device.copying.CHUNK", 4096)
    disk = two(make_disk, 512, 4096)
    fill(disk, 0)
    fill(disk, 1)
    write, times = unit(disk, 1).backend.write, []

    def full(offset, data):
        times.append(1)
        if len(times) > 1:
            raise OSError(errno.ENOSPC, "full")
        write(offset, data)

    monkeypatch.setattr(unit(disk, 1).backend, "write", full)
    assert third_party(failed(disk, [segment], names(disk, 0, 1, pad=(0, 1))).sense)[1] == left


def test_what_is_moved_backwards_counts_when_it_is_whole(make_disk, monkeypatch):
    monkeypatch.setattr("iscsi_target.device.copying.CHUNK", 1024)
    disk = make_disk(blocks=64)
    fill(disk)
    write, times = unit(disk).backend.write, []

    def full(offset, data):
        times.append(1)
        if len(times) > 2:
            raise OSError(errno.ENOSPC, "full")
        write(offset, data)

    monkeypatch.setattr(unit(disk).backend, "write", full)
    segment = within(blocks=20, source_lba=3, destination_lba=8)
    assert third_party(failed(disk, [segment], list_identifier=7).sense)[1] == 20
    assert status(disk, 7).transfer_count == 0
    monkeypatch.undo()
    good(disk, [segment], list_identifier=7)
    assert status(disk, 7).transfer_count == 20 * 512


def test_write_protection_and_a_stopped_unit_stop_a_copy(make_disk):
    disk = make_disk(luns={0: LunConfig(size=Size(8192)), 1: LunConfig(size=Size(8192), read_only=True)})
    there = names(disk, 0, 1)
    answer = failed(disk, [BlockToBlock(source=0, destination=1, blocks=1)], there)
    assert third_party(answer.sense)[4].code == Code.WRITE_PROTECTED
    good(disk, [BlockToBlock(source=1, destination=0, blocks=1)], there)
    disk.run(op.START_STOP_UNIT, lun=1)
    answer = failed(disk, [BlockToBlock(source=1, destination=0, blocks=1)], there)
    assert third_party(answer.sense)[4].key == SenseKey.NOT_READY


def test_units_that_a_nexus_does_not_see_cannot_be_reached(make_disk):
    luns = {0: LunConfig(size=Size(8192)), 1: LunConfig(size=Size(8192))}
    disk = make_disk(luns=luns, node={"access": {NEXUS.initiator_name: [0], "*": [0, 1]}})
    disk.device.nexus_made(OTHER)
    data = build_copy(names(disk, 0, 1), [BlockToBlock(source=1, destination=0, blocks=1)])
    assert disk.refusal(op.EXTENDED_COPY_LID1, data, parameter_list_length=len(data)) == (
        ABORTED,
        Code.COPY_TARGET_DEVICE_NOT_REACHABLE,
    )
    disk.good(op.EXTENDED_COPY_LID1, data, parameter_list_length=len(data), nexus=OTHER)


def test_reservations_of_others_stop_a_copy(make_disk):
    disk = two(make_disk)
    disk.device.nexus_made(OTHER)
    disk.run(op.RESERVE_6, nexus=OTHER, lun=1)
    answer = failed(disk, [BlockToBlock(source=0, destination=1, blocks=1)], names(disk, 0, 1))
    sense = answer.sense
    assert (read_sense(sense).key, sense[8], sense[sense[9]], len(sense)) == (ABORTED, 0, 0x18, 19)
    disk.run(op.RELEASE_6, nexus=OTHER, lun=1)
    good(disk, [BlockToBlock(source=0, destination=1, blocks=1)], names(disk, 0, 1))
    disk.run(op.RESERVE_6, nexus=OTHER, lun=0)
    assert failed(disk, [within(blocks=1)]).status == Status.RESERVATION_CONFLICT


def test_descriptor_sense_forwards_what_the_third_party_said(disk):
    page = ModeParameters(pages=(ControlPage(queue_algorithm_modifier=1, descriptor_sense=True).build(),)).build(
        10, select=True
    )
    disk.good(op.MODE_SELECT_10, page, pf=1, parameter_list_length=len(page))
    answer = failed(disk, [within(blocks=3, destination_lba=255)], list_identifier=9)
    sense = read_sense(answer.sense)
    assert (sense.key, sense.information, sense.command_specific) == (ABORTED, None, 0)
    assert (sense.code, sense.sense_key_specific) == (0, b"")
    forwarded = sense.other_descriptors
    assert (forwarded[0], forwarded[1], forwarded[2], forwarded[3]) == (0x0C, len(forwarded) - 2, 2, 2)
    assert read_sense(forwarded[4:]).code == Code.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE
    short = disk.good(op.RECEIVE_COPY_FAILURE_DETAILS_LID1, list_identifier=9, allocation_length=4)
    details = disk.good(op.RECEIVE_COPY_FAILURE_DETAILS_LID1, list_identifier=9, allocation_length=1024)
    assert short == details[:4]
    unknown = (SenseKey.ILLEGAL_REQUEST, Code.INVALID_FIELD_IN_CDB)
    assert disk.refusal(op.RECEIVE_COPY_FAILURE_DETAILS_LID1, list_identifier=9, allocation_length=1024) == unknown
    head = FailureDetails.parse(details)
    assert (head.available_data, head.status, head.sense_length) == (len(details) - 4, 2, len(answer.sense))
    assert details[60:] == answer.sense


def test_results_belong_to_their_nexus_and_identifier(disk):
    disk.device.nexus_made(OTHER)
    unknown = (SenseKey.ILLEGAL_REQUEST, Code.INVALID_FIELD_IN_CDB)
    reports = (op.RECEIVE_COPY_STATUS_LID1, op.RECEIVE_COPY_DATA_LID1, op.RECEIVE_COPY_FAILURE_DETAILS_LID1)
    for report in reports:
        assert disk.refusal(report, list_identifier=1, allocation_length=64) == unknown
    good(disk, [within(blocks=1)], list_identifier=1)
    for report in reports:
        assert disk.refusal(report, list_identifier=1, allocation_length=64, nexus=OTHER) == unknown
        assert disk.refusal(report, list_identifier=2, allocation_length=64) == unknown
    assert status(disk, 1).state == CopyState.DONE
    assert disk.refusal(op.RECEIVE_COPY_STATUS_LID1, list_identifier=1, allocation_length=64) == unknown
    assert disk.good(op.RECEIVE_COPY_DATA_LID1, list_identifier=1, allocation_length=64) == bytes(4)
    assert disk.refusal(op.RECEIVE_COPY_DATA_LID1, list_identifier=1, allocation_length=64) == unknown
    good(disk, [within(blocks=1)], list_identifier=1)
    assert disk.good(op.RECEIVE_COPY_FAILURE_DETAILS_LID1, list_identifier=1, allocation_length=64) == bytes(4)
    failed(disk, [within(blocks=3, destination_lba=255)], list_identifier=1)
    assert disk.good(op.RECEIVE_COPY_FAILURE_DETAILS_LID1, list_identifier=1, allocation_length=0) == b""
    assert disk.refusal(op.RECEIVE_COPY_FAILURE_DETAILS_LID1, list_identifier=1, allocation_length=64) == unknown
    good(disk, [within(blocks=1)], list_id_usage=3)
    assert disk.refusal(op.RECEIVE_COPY_STATUS_LID1, list_identifier=0, allocation_length=64) == unknown


@pytest.mark.parametrize("end", ["lost", "reset"])
def test_results_end_with_the_nexus_and_with_a_reset(disk, end):
    good(disk, [within(blocks=1)], list_identifier=1)
    if end == "lost":
        disk.device.nexus_lost(NEXUS)
        disk.device.nexus_made(NEXUS)
    else:
        disk.device.reset_lun(encode_lun(0), NEXUS)
    answers = [disk.refusal(op.RECEIVE_COPY_STATUS_LID1, list_identifier=1, allocation_length=64) for _ in range(3)]
    assert answers[-1] == (SenseKey.ILLEGAL_REQUEST, Code.INVALID_FIELD_IN_CDB)


def test_only_so_many_results_are_kept(disk, monkeypatch):
    monkeypatch.setattr(copies, "RESULTS_KEPT", 3)
    for identifier in range(6):
        good(disk, [within(blocks=1)], list_identifier=identifier)
    assert status(disk, 5).state == CopyState.DONE
    assert disk.run(op.RECEIVE_COPY_STATUS_LID1, list_identifier=0, allocation_length=64).sense


class LongCopy:
    """A copy of 20 MiB from the second half to the first, given to the device and not yet done."""

    def __init__(self, disk, identifier=1, usage=0):
        segments = [
            within(blocks=20 * MIB // 512, source_lba=20 * MIB // 512),
        ]
        data = build_copy([], segments, list_identifier=identifier, list_id_usage=usage)
        self.work = disk.device.execute(disk.nexus, bytes(8), command(data), data)
        assert isinstance(self.work, Work)


@pytest.fixture
def long_disk(make_disk):
    disk = make_disk(blocks=40 * MIB // 512)
    unit(disk).backend.write(20 * MIB, b"y" * (20 * MIB))
    return disk


def test_a_long_copy_is_done_in_steps(long_disk):
    work = LongCopy(long_disk).work
    steps = 0
    while isinstance(work, Work):
        found = status(long_disk, 1)
        assert found.state == CopyState.IN_PROGRESS
        assert (found.transfer_count, found.segments_processed) == (steps * 8 * MIB, min(steps, 1))
        unfinished = (SenseKey.ILLEGAL_REQUEST, Code.INVALID_FIELD_IN_CDB)
        for report in (op.RECEIVE_COPY_DATA_LID1, op.RECEIVE_COPY_FAILURE_DETAILS_LID1):
            assert long_disk.refusal(report, list_identifier=1, allocation_length=64) == unfinished
        work = work.run()
        steps += 1
    assert (work.status, steps) == (Status.GOOD, 3)
    assert held(long_disk) == b"y" * (40 * MIB)
    assert status(long_disk, 1).transfer_count == 20 * MIB


def test_a_unit_is_copied_with_the_copies_that_go_on_in_it(long_disk):
    work = LongCopy(long_disk).work.run()
    twin = copy.deepcopy((long_disk.device, work))
    while isinstance(work, Work):
        work = work.run()
    assert held(long_disk).count(b"y") == 40 * MIB
    long_disk.device, work = twin
    assert held(long_disk).count(b"y") == 28 * MIB
    while isinstance(work, Work):
        work = work.run()
    assert held(long_disk).count(b"y") == 40 * MIB
    assert status(long_disk, 1).state == CopyState.DONE


def test_an_identifier_that_is_in_use_is_refused(long_disk):
    work = LongCopy(long_disk).work
    data = build_copy([], [within(blocks=1)], list_identifier=1)
    again = {"data_out": data, "parameter_list_length": len(data)}
    assert long_disk.refusal(op.EXTENDED_COPY_LID1, **again) == (
        SenseKey.ILLEGAL_REQUEST,
        Code.OPERATION_IN_PROGRESS,
    )
    work.abandon()
    long_disk.good(op.EXTENDED_COPY_LID1, **again)
    assert work.run().status == Status.GOOD
    assert held(long_disk)[:512] != b"y" * 512


@pytest.mark.parametrize("usage", [0, 3])
def test_too_many_copies_at_once_find_the_unit_busy(long_disk, usage):
    running = [LongCopy(long_disk, 0 if usage else each, usage).work for each in range(copies.MAX_CONCURRENT_COPIES)]
    small = [within(blocks=1)]
    assert failed(long_disk, small, list_id_usage=3).status == Status.BUSY
    long_disk.device.reset_lun(bytes(8))
    for work in running:
        assert work.run().status == Status.GOOD
    long_disk.run(op.TEST_UNIT_READY)
    assert failed(long_disk, small, list_id_usage=3).status == Status.GOOD
    assert held(long_disk)[: 20 * MIB] == bytes(20 * MIB)


@pytest.mark.parametrize("usage", [0, 3])
def test_a_copy_ends_with_its_nexus_and_no_other(long_disk, usage):
    work = LongCopy(long_disk, 0, usage).work.run()
    long_disk.device.nexus_lost(OTHER)
    work = work.run()
    assert isinstance(work, Work)
    long_disk.device.nexus_lost(NEXUS)
    assert not isinstance(work.run(), Work)
    assert held(long_disk).count(b"y") == 36 * MIB


def test_what_is_copied_to_a_unit_without_cache_is_stable(make_disk, monkeypatch):
    disk = make_disk(backend="file", write_cache=False)
    flushed = []
    monkeypatch.setattr(unit(disk).backend, "flush", lambda: flushed.append(held(disk)[512:1024]))
    unit(disk).backend.write(0, b"z" * 512)
    good(disk, [within(blocks=1, destination_lba=1)])
    assert flushed == [b"z" * 512]
    monkeypatch.undo()

    def broken():
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(unit(disk).backend, "flush", broken)
    answer = failed(disk, [within(blocks=1)])
    assert third_party(answer.sense)[4].key == SenseKey.MEDIUM_ERROR
