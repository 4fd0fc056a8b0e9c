"""Atomic writes, WRITE SAME to the end, data that a CDB contradicts, and the limits that Block Limits tells."""

from __future__ import annotations

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.capacity import ReadCapacity16
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_protocol.scsi.mode import ControlPage, ModeParameters
from iscsi_protocol.scsi.sense import FieldPointer, parse_sense
from iscsi_protocol.scsi.vpd import BlockLimits
from iscsi_target.config import LunConfig, Size

ILLEGAL = SenseKey.ILLEGAL_REQUEST
INVALID_FIELD = (ILLEGAL, AdditionalSense.INVALID_FIELD_IN_CDB)
BEYOND = (ILLEGAL, AdditionalSense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)


def limits(disk):
    return BlockLimits.parse(disk.good(op.INQUIRY, evpd=1, page_code=0xB0, allocation_length=64))


def test_atomic_writes_keep_to_their_alignment(make_disk):
    disk = make_disk(physical_block_size=4096)
    told = limits(disk)
    assert (told.atomic_alignment, told.atomic_transfer_length_granularity) == (8, 8)
    assert told.maximum_atomic_transfer_length == 0xFFFF - 0xFFFF % 8
    disk.good(op.WRITE_ATOMIC_16, b"a" * 4096, lba=8, blocks=8, fua=1)
    assert disk.good(op.READ_10, lba=8, blocks=8) == b"a" * 4096
    disk.good(op.WRITE_ATOMIC_16, blocks=0)
    for fields in ({"lba": 1}, {"blocks": 1}, {"atomic_boundary": 8}, {"wrprotect": 1}):
        assert disk.refusal(op.WRITE_ATOMIC_16, bytes(4096), **({"blocks": 8} | fields)) == INVALID_FIELD
    assert disk.refusal(op.WRITE_ATOMIC_16, bytes(4096), lba=256, blocks=8) == BEYOND
    short = disk.refusal(op.WRITE_ATOMIC_16, bytes(512), blocks=8)
    assert short == (ILLEGAL, AdditionalSense.INVALID_INFORMATION_UNIT)
    assert disk.good(op.READ_10, blocks=8) == bytes(4096)


def test_nothing_is_atomic_in_a_file(make_disk):
    disk = make_disk("file")
    assert limits(disk).maximum_atomic_transfer_length == 0
    unknown = (ILLEGAL, AdditionalSense.INVALID_COMMAND_OPERATION_CODE)
    assert disk.refusal(op.WRITE_ATOMIC_16, bytes(512), blocks=1) == unknown


@pytest.mark.parametrize("backend", ["memory", "file"])
def test_physical_blocks_are_told(make_disk, backend):
    settings = {"physical_block_size": 4096} if backend == "memory" else {}
    disk = make_disk(backend, **settings)
    capacity = ReadCapacity16.parse(disk.good(op.READ_CAPACITY_16, allocation_length=32))
    assert capacity.logical_blocks_per_physical_block_exponent == 3
    assert limits(disk).optimal_transfer_length_granularity == 8


def test_write_same_of_no_blocks_goes_to_the_end_where_that_is_said(make_disk):
    disk = make_disk(write_same_to_end=True, max_write_same=Size(64 * 512))
    assert not limits(disk).write_same_non_zero
    assert limits(disk).maximum_write_same_length == 64
    for command in (op.WRITE_SAME_10, op.WRITE_SAME_16):
        disk.good(command, b"s" * 512, lba=192)
        assert disk.good(op.READ_10, lba=191, blocks=65) == bytes(512) + b"s" * 64 * 512
        for lba in (0, 191):
            assert disk.refusal(command, b"s" * 512, lba=lba) == INVALID_FIELD
        assert disk.refusal(command, b"s" * 512, lba=256) == BEYOND
        disk.good(op.UNMAP)
        disk.good(command, bytes(512), lba=192, unmap=1)
    assert make_disk().refusal(op.WRITE_SAME_10, b"s" * 512) == INVALID_FIELD


def refusal(disk, expected, command, **fields):
    return disk.device.length_refusal(disk.nexus, encode_lun(0), command.build(**fields).ljust(16, b"\0"), expected)


@pytest.mark.parametrize(
    ("command", "fields", "means", "byte"),
    [
        (op.COMPARE_AND_WRITE, {"blocks": 2}, 2048, 13),
        (op.COMPARE_AND_WRITE, {"blocks": 0}, 0, 13),
        (op.WRITE_SAME_10, {"blocks": 9}, 512, 7),
        (op.WRITE_SAME_16, {"blocks": 9}, 512, 10),
        (op.WRITE_SAME_16, {"blocks": 9, "ndob": 1}, 0, 10),
    ],
)
def test_data_that_a_cdb_contradicts_is_refused(disk, command, fields, means, byte):
    assert refusal(disk, means, command, **fields) is None
    for expected in (means + 512, max(means - 256, 1)):
        answer = refusal(disk, expected, command, **fields)
        assert answer is not None
        sense = parse_sense(answer.sense)
        assert sense is not None
        assert (sense.key, sense.code) == INVALID_FIELD
        assert sense.field_pointer == FieldPointer(byte=byte, bit=7)


def test_what_stands_against_a_command_anyhow_comes_first(disk):
    wrong = {"command": op.COMPARE_AND_WRITE, "blocks": 2}
    assert refusal(disk, 512, **wrong) is not None
    assert refusal(disk, 512, op.WRITE_10, blocks=2) is None
    assert disk.device.length_refusal(disk.nexus, encode_lun(5), op.COMPARE_AND_WRITE.build(blocks=2), 512) is None
    assert disk.device.length_refusal(disk.nexus, encode_lun(0), b"", 512) is None
    assert disk.device.length_refusal(disk.nexus, encode_lun(0), b"\x89", 512) is None
    disk.device.reset_lun(bytes(8))
    assert refusal(disk, 512, **wrong) is None
    disk.good(op.REQUEST_SENSE, allocation_length=18)
    protected = ModeParameters(
        pages=(ControlPage(software_write_protect=True, queue_algorithm_modifier=1).build(),)
    ).build(6, select=True)
    disk.good(op.MODE_SELECT_6, protected, parameter_list_length=len(protected), pf=1)
    assert refusal(disk, 512, **wrong) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"physical_block_size": 4096, "backend": "file", "path": "x"}, "for memory LUNs"),
        ({"physical_block_size": 512, "block_size": 4096}, "no smaller than a logical one"),
        ({"sanitize_seconds": -1.0}, "sanitize_seconds is 0 or more"),
        ({"sanitize_seconds": float("inf")}, "sanitize_seconds is 0 or more"),
        ({"max_write_same": Size(100)}, "one block at least"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LunConfig(size=Size(8192), **settings)
