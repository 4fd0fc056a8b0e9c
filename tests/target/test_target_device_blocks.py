"""Reading, writing, comparing and giving back blocks, held against a model; every bad range and flag is refused."""

from __future__ import annotations

import errno
import os
import threading
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_protocol.scsi.provisioning import ProvisioningStatus, build_unmap, parse_lba_status
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_protocol.scsi.status import Status
from iscsi_target.completion import FileSlice, Work
from iscsi_target.config import LunConfig, Size, TargetNode
from iscsi_target.device import open_device
from iscsi_target.nexus import Nexus

INVALID_FIELD = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.INVALID_FIELD_IN_CDB)
OUT_OF_RANGE = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)
TOO_SHORT = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.INVALID_INFORMATION_UNIT)
UNKNOWN = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.INVALID_COMMAND_OPERATION_CODE)
PROTECTED = (SenseKey.DATA_PROTECT, AdditionalSense.WRITE_PROTECTED)
BLOCKS = 256

READS = [op.READ_10, op.READ_12, op.READ_16]
WRITES = [op.WRITE_10, op.WRITE_12, op.WRITE_16]
VERIFIES = [op.VERIFY_10, op.VERIFY_12, op.VERIFY_16]
WRITE_VERIFIES = [op.WRITE_AND_VERIFY_10, op.WRITE_AND_VERIFY_12, op.WRITE_AND_VERIFY_16]
SAMES = [op.WRITE_SAME_10, op.WRITE_SAME_16]
SYNCS = [op.SYNCHRONIZE_CACHE_10, op.SYNCHRONIZE_CACHE_16]
PRE_FETCHES = [op.PRE_FETCH_10, op.PRE_FETCH_16]
RANGED = [
    *READS, *WRITES, *VERIFIES, *WRITE_VERIFIES, *SAMES, *SYNCS, *PRE_FETCHES, op.OR_WRITE_16, op.COMPARE_AND_WRITE,
]  # fmt: skip
CHANGING = [*WRITES, *WRITE_VERIFIES, *SAMES, op.OR_WRITE_16, op.COMPARE_AND_WRITE, op.WRITE_6, op.UNMAP]


def over(commands):
    """Run a test for each command."""
    return pytest.mark.parametrize("command", commands, ids=lambda command: command.name)


backends = pytest.mark.parametrize("backend", ["memory", "file", "sparse"])
sizes = pytest.mark.parametrize("block_size", [512, 4096])


class Model:
    """A disk and what its bytes should be; each action does the same to both."""

    def __init__(self, disk, random):
        self.disk, self.random, self.size = disk, random, disk.block_size
        self.bytes = bytearray(BLOCKS * disk.block_size)
        self.first = random.randrange(BLOCKS)
        self.count = random.randint(1, min(BLOCKS - self.first, 24))

    @property
    def place(self):
        return slice(self.first * self.size, (self.first + self.count) * self.size)

    def do(self, action):
        self.first = self.random.randrange(BLOCKS)
        self.count = self.random.randint(1, min(BLOCKS - self.first, 160))
        getattr(self, action)()

    def good(self, command, data_out=b"", **fields):
        cdb = command.build(lba=self.first, blocks=self.count, **fields)
        assert self.disk.device.data_out_length(encode_lun(0), cdb) == len(data_out)
        return self.disk.good(command, data_out, lba=self.first, blocks=self.count, **fields)

    def read(self):
        fields = {"fua": self.random.randrange(2), "dpo": self.random.randrange(2)}
        assert self.good(self.random.choice(READS), **fields) == self.bytes[self.place]

    def read_6(self):
        assert self.good(op.READ_6) == self.bytes[self.place]

    def write(self):
        self.bytes[self.place] = data = self.random.randbytes(self.count * self.size)
        command = self.random.choice([*WRITES, op.WRITE_6])
        self.good(command, data, **({} if command is op.WRITE_6 else {"fua": self.random.randrange(2)}))

    def write_and_verify(self):
        self.bytes[self.place] = data = self.random.randbytes(self.count * self.size)
        self.good(self.random.choice(WRITE_VERIFIES), data, bytchk=self.random.randrange(2))

    def write_same(self):
        block = self.random.randbytes(self.size)
        self.bytes[self.place] = block * self.count
        self.good(self.random.choice(SAMES), block)

    def write_zeros(self):
        self.bytes[self.place] = bytes(self.count * self.size)
        if self.random.randrange(2):
            self.good(op.WRITE_SAME_16, ndob=1)
        else:
            self.good(self.random.choice(SAMES), bytes(self.size))

    def or_write(self):
        data = self.random.randbytes(self.count * self.size)
        self.bytes[self.place] = bytes(a | b for a, b in zip(self.bytes[self.place], data, strict=True))
        self.good(op.OR_WRITE_16, data)

    def compare_and_write(self):
        self.count = min(self.count, 128)
        old, new = bytes(self.bytes[self.place]), self.random.randbytes(self.count * self.size)
        self.bytes[self.place] = new
        self.good(op.COMPARE_AND_WRITE, old + new)

    def compare_in_vain(self):
        self.count = min(self.count, 128)
        old, new = bytearray(self.bytes[self.place]), self.random.randbytes(self.count * self.size)
        wrong = self.random.randrange(len(old))
        old[wrong] ^= 0x40
        fields = {"lba": self.first, "blocks": self.count}
        for command, data in ((op.COMPARE_AND_WRITE, bytes(old) + new), (op.VERIFY_16, bytes(old))):
            extra = {"bytchk": 1} if command is op.VERIFY_16 else {}
            sense = self.disk.sense(command, data, **fields, **extra)
            assert sense.key == SenseKey.MISCOMPARE
            assert sense.code == AdditionalSense.MISCOMPARE_DURING_VERIFY_OPERATION
            assert sense.information == wrong

    def verify(self):
        command = self.random.choice(VERIFIES)
        self.good(command)
        self.good(command, bytes(self.bytes[self.place]), bytchk=1)

    def flush(self):
        self.good(self.random.choice(SYNCS))
        assert self.disk.run(self.random.choice(PRE_FETCHES), lba=self.first).status == Status.CONDITION_MET

    def unmap(self):
        if self.disk.device.node.luns[0].backend == "file":
            assert self.disk.refusal(op.UNMAP) == UNKNOWN
            return
        self.bytes[self.place] = bytes(self.count * self.size)
        if self.random.randrange(2):
            half = self.count // 2
            data = build_unmap([(self.first, half), (self.first + half, self.count - half)])
            self.disk.good(op.UNMAP, data, parameter_list_length=len(data))
        else:
            self.good(self.random.choice(SAMES), bytes(self.size), unmap=1)

    def write_same_unmapping_what_is_no_zero(self):
        if self.disk.device.node.luns[0].backend != "file":
            block = b"\1" + bytes(self.size - 1)
            self.bytes[self.place] = block * self.count
            self.good(op.WRITE_SAME_16, block, unmap=1)


ACTIONS = [name for name in vars(Model) if not name.startswith("_") and name not in {"place", "do", "good"}]


@backends
@sizes
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32))
def test_a_disk_is_what_was_written_to_it(make_disk, backend, block_size, seed):
    disk = make_disk(backend, BLOCKS, block_size)
    random = Random(seed)
    model = Model(disk, random)
    for _ in range(40):
        model.do(random.choice(ACTIONS))
    model.first, model.count = 0, BLOCKS
    assert model.good(op.READ_16) == model.bytes


@over(RANGED)
def test_ranges_beyond_the_end_are_refused(disk, command):
    for lba, blocks in ((BLOCKS, 0), (BLOCKS, 1), (BLOCKS - 1, 2), (0xFFFFFFFF, 1), (0xFFFFFFFF, 0), (150, 107)):
        assert disk.refusal(command, lba=lba, blocks=blocks) == OUT_OF_RANGE


@over([each for each in RANGED if each not in SAMES])
def test_no_blocks_within_the_disk_are_good(disk, command):
    for lba in (0, BLOCKS - 1):
        assert disk.run(command, lba=lba, blocks=0).status in (Status.GOOD, Status.CONDITION_MET)


def test_far_addresses_are_refused(disk):
    far = (1 << 64) - 1
    assert disk.refusal(op.READ_16, lba=far, blocks=1) == OUT_OF_RANGE
    assert disk.refusal(op.WRITE_16, lba=far, blocks=0xFFFFFFFF) == OUT_OF_RANGE
    assert disk.refusal(op.GET_LBA_STATUS, lba=far, allocation_length=64) == OUT_OF_RANGE
    data = build_unmap([(0, 1), (far, 0xFFFFFFFF)])
    assert disk.refusal(op.UNMAP, data, parameter_list_length=len(data)) == OUT_OF_RANGE


def test_six_byte_commands_count_zero_as_256(make_disk):
    disk = make_disk(blocks=300)
    data = Random(6).randbytes(256 * 512)
    assert disk.device.data_out_length(bytes(8), op.WRITE_6.build(lba=7)) == len(data)
    disk.good(op.WRITE_6, data, lba=7)
    assert disk.good(op.READ_6, lba=7) == data
    assert disk.refusal(op.READ_6, lba=45) == OUT_OF_RANGE
    assert disk.refusal(op.WRITE_6, data, lba=45) == OUT_OF_RANGE


PROTECTING = [each for each in RANGED if any(name.endswith("protect") for name in each.fields)]


@over(PROTECTING)
def test_protection_information_is_refused(disk, command):
    name = next(name for name in command.fields if name.endswith("protect"))
    for value in range(1, 8):
        sense = disk.sense(command, bytes(1024), blocks=1, **{name: value})
        assert (sense.key, sense.code) == INVALID_FIELD
        assert (sense.field_pointer.byte, sense.field_pointer.bit) == (1, 7)


@over([*VERIFIES, *WRITE_VERIFIES])
def test_byte_checks_that_are_reserved_are_refused(disk, command):
    assert disk.refusal(command, bytes(512), blocks=1, bytchk=2) == INVALID_FIELD
    if command in WRITE_VERIFIES:
        assert disk.refusal(command, bytes(512), blocks=1, bytchk=3) == INVALID_FIELD


def test_one_block_is_compared_with_each(make_disk):
    for disk in (make_disk(), make_disk("file")):
        block = Random(1).randbytes(512)
        disk.good(op.WRITE_SAME_16, block, lba=10, blocks=20)
        for command in VERIFIES:
            assert disk.device.data_out_length(bytes(8), command.build(lba=10, blocks=20, bytchk=3)) == 512
            disk.good(command, block, lba=10, blocks=20, bytchk=3)
            assert disk.sense(command, block, lba=10, blocks=21, bytchk=3).key == SenseKey.MISCOMPARE
            disk.good(command, b"", lba=10, blocks=0, bytchk=3)


def test_long_comparisons_say_where(make_disk):
    disk = make_disk(blocks=4096)
    data = bytearray(2 << 20)
    data[-1] = 1
    assert disk.sense(op.VERIFY_16, bytes(data), blocks=4096, bytchk=1).information == len(data) - 1


def test_write_same_refuses_what_it_cannot(disk):
    for command in SAMES:
        for flags in ({"anchor": 1, "unmap": 1}, {"pbdata": 1}, {"lbdata": 1}):
            assert disk.refusal(command, bytes(512), blocks=1, **flags) == INVALID_FIELD
        assert disk.refusal(command, bytes(512), blocks=0) == INVALID_FIELD


def test_write_same_gives_nothing_back_on_a_thick_disk(make_disk):
    disk = make_disk("file")
    assert disk.device.data_out_length(bytes(8), op.UNMAP.build(parameter_list_length=24)) == 0
    for command in SAMES:
        assert disk.refusal(command, bytes(512), blocks=1, unmap=1) == INVALID_FIELD
    assert disk.refusal(op.GET_LBA_STATUS, allocation_length=64)[0] == SenseKey.ILLEGAL_REQUEST


def test_transfers_longer_than_the_limit_are_refused(make_disk):
    disk = make_disk("sparse", blocks=1 << 20)
    limit = (64 << 20) // 512
    for command in (*READS[1:], *WRITES[1:], *WRITE_VERIFIES[1:], op.OR_WRITE_16):
        assert disk.refusal(command, b"", blocks=limit + 1) == INVALID_FIELD
        assert disk.device.data_out_length(bytes(8), command.build(blocks=limit + 1)) == 0
    assert disk.refusal(op.VERIFY_12, b"", blocks=limit + 1, bytchk=1) == INVALID_FIELD
    assert disk.refusal(op.COMPARE_AND_WRITE, b"", blocks=129) == INVALID_FIELD
    disk.good(op.WRITE_SAME_16, bytes(512), blocks=limit + 1)


def test_fill_is_limited(make_disk):
    disk = make_disk("sparse", blocks=(2 << 30) // 512)
    assert disk.refusal(op.WRITE_SAME_16, bytes(512), blocks=(1 << 30) // 512 + 1) == INVALID_FIELD


@over([*WRITES, *WRITE_VERIFIES])
def test_a_write_with_less_data_writes_whole_blocks(disk, command):
    disk.good(command, b"x" * 1300, lba=4, blocks=4)
    assert disk.good(op.READ_10, lba=4, blocks=4) == b"x" * 1024 + bytes(1024)
    disk.good(command, b"y" * 4096, lba=4, blocks=1)
    assert disk.good(op.READ_10, lba=4, blocks=2) == b"y" * 512 + b"x" * 512


@over([*SAMES, op.OR_WRITE_16, op.COMPARE_AND_WRITE])
def test_other_commands_need_all_of_their_data(disk, command):
    assert disk.refusal(command, bytes(511), blocks=1) == TOO_SHORT
    assert disk.refusal(op.VERIFY_10, bytes(511), blocks=1, bytchk=1) == TOO_SHORT


def test_unmap_lists_are_judged_as_a_whole(disk):
    disk.good(op.WRITE_10, b"x" * 1024, blocks=2)
    data = build_unmap([(0, 1), (BLOCKS, 1)])
    assert disk.refusal(op.UNMAP, data, parameter_list_length=len(data)) == OUT_OF_RANGE
    assert disk.refusal(op.UNMAP, data, parameter_list_length=len(data), anchor=1) == INVALID_FIELD
    length_error = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
    assert disk.refusal(op.UNMAP, data, parameter_list_length=len(data) + 1) == length_error
    assert disk.refusal(op.UNMAP, data[:7], parameter_list_length=7) == length_error
    many = build_unmap([(0, 1)] * 257)
    _, code = disk.refusal(op.UNMAP, many, parameter_list_length=len(many))
    assert code == AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST
    nothing = build_unmap([(0, 0), (BLOCKS, 0)])
    disk.good(op.UNMAP, nothing, parameter_list_length=len(nothing))
    disk.good(op.UNMAP, b"", parameter_list_length=0)
    assert disk.good(op.READ_10, blocks=2) == b"x" * 1024


def test_a_range_that_the_end_of_an_unmap_list_cuts_off_is_none(disk):
    disk.good(op.WRITE_10, b"x" * 1024, blocks=2)
    data = build_unmap([(0, 1), (BLOCKS, 1)])[:-1]
    disk.good(op.UNMAP, data, parameter_list_length=len(data))
    assert disk.good(op.READ_10, blocks=2) == bytes(512) + b"x" * 512
    assert disk.device.data_out_length(bytes(8), op.UNMAP.build(parameter_list_length=24)) == 24


def test_states_of_blocks(disk):
    disk.good(op.WRITE_10, bytes(512 * 3), lba=5, blocks=3)
    found = parse_lba_status(disk.good(op.GET_LBA_STATUS, allocation_length=1024))
    assert [(each.lba, each.blocks, each.status) for each in found] == [
        (0, 5, ProvisioningStatus.DEALLOCATED),
        (5, 3, ProvisioningStatus.MAPPED_OR_UNKNOWN),
        (8, BLOCKS - 8, ProvisioningStatus.DEALLOCATED),
    ]
    one = disk.good(op.GET_LBA_STATUS, lba=6, allocation_length=24)
    assert [(each.lba, each.blocks) for each in parse_lba_status(one)] == [(6, 2)]
    assert len(disk.good(op.GET_LBA_STATUS, allocation_length=4)) == 4


class Coarse:
    """Storage in pieces that are no blocks: the first 100 bytes of every 1600."""

    def __init__(self, backend):
        self.backend = backend

    def __getattr__(self, name):
        return getattr(self.backend, name)

    def extent(self, offset):
        within = offset % 1600
        return (within < 100, 100 - within if within < 100 else 1600 - within)


def test_a_block_with_any_storage_is_mapped(disk):
    unit = disk.device._units[0]
    unit.backend = Coarse(unit.backend)
    states = [parse_lba_status(disk.good(op.GET_LBA_STATUS, lba=lba, allocation_length=24))[0] for lba in range(4)]
    assert [(each.blocks, each.status) for each in states] == [(1, 0), (2, 1), (1, 1), (1, 0)]


@over(CHANGING)
def test_protected_disks_do_not_change(make_disk, command):
    disk = make_disk(read_only=True)
    assert disk.refusal(command, bytes(512), **({"blocks": 1} if "blocks" in command.fields else {})) == PROTECTED
    assert disk.good(op.READ_10, blocks=1) == bytes(512)


def test_long_reads_of_files_are_slices(make_disk):
    disk = make_disk("file", blocks=512, sendfile_threshold=Size(4096))
    disk.good(op.WRITE_10, b"z" * 8192, lba=8, blocks=16)
    assert isinstance(disk.run(op.READ_10, lba=8, blocks=8).data, FileSlice)
    assert isinstance(disk.run(op.READ_10, lba=8, blocks=7).data, bytes)
    assert disk.good(op.READ_16, lba=8, blocks=16, fua=1) == b"z" * 8192


SLOW = [
    (op.SYNCHRONIZE_CACHE_10, {}, b""),
    (op.WRITE_10, {"blocks": 1, "fua": 1}, bytes(512)),
    (op.READ_10, {"blocks": 1, "fua": 1}, b""),
    (op.WRITE_SAME_10, {"blocks": 1}, bytes(512)),
    (op.WRITE_AND_VERIFY_10, {"blocks": 1}, bytes(512)),
    (op.VERIFY_10, {"blocks": 1}, b""),
    (op.START_STOP_UNIT, {}, b""),
    (op.COMPARE_AND_WRITE, {"blocks": 1, "fua": 1}, bytes(1024)),
]


@pytest.mark.parametrize(("command", "fields", "data"), SLOW, ids=[each[0].name for each in SLOW])
def test_slow_things_are_work_for_files_alone(make_disk, command, fields, data):
    cdb = command.build(**fields)
    for backend in ("file", "memory"):
        disk = make_disk(backend)
        answer = disk.device.execute(disk.nexus, bytes(8), cdb, data)
        assert isinstance(answer, Work) == (backend == "file")


def test_work_keeps_no_buffer_of_the_caller(make_disk):
    disk = make_disk("sparse")
    block = bytearray(b"k" * 512)
    work = disk.device.execute(disk.nexus, bytes(8), op.WRITE_SAME_10.build(blocks=2), memoryview(block))
    block[:] = bytes(512)
    assert work.run().status == Status.GOOD
    assert disk.good(op.READ_10, blocks=2) == b"k" * 1024


def test_without_write_cache_every_write_is_made_stable(make_disk, monkeypatch):
    disk = make_disk("sparse", write_cache=False)
    flushed = []
    monkeypatch.setattr(disk.device._units[0].backend, "flush", lambda: flushed.append(1))
    unmapped = build_unmap([(0, 1)])
    for command, data in ((op.WRITE_10, bytes(512)), (op.WRITE_6, bytes(512)), (op.WRITE_SAME_10, bytes(512))):
        disk.good(command, data, blocks=1)
    disk.good(op.UNMAP, unmapped, parameter_list_length=len(unmapped))
    disk.good(op.COMPARE_AND_WRITE, bytes(1024), blocks=1)
    assert len(flushed) == 5


FAILURES = [
    (errno.EIO, op.READ_10, b"", SenseKey.MEDIUM_ERROR, AdditionalSense.UNRECOVERED_READ_ERROR),
    (errno.EBADF, op.READ_10, b"", SenseKey.HARDWARE_ERROR, AdditionalSense.INTERNAL_TARGET_FAILURE),
    (errno.EIO, op.WRITE_10, bytes(512), SenseKey.MEDIUM_ERROR, AdditionalSense.WRITE_ERROR),
    (
        errno.ENOSPC,
        op.WRITE_10,
        bytes(512),
        SenseKey.DATA_PROTECT,
        AdditionalSense.SPACE_ALLOCATION_FAILED_WRITE_PROTECT,
    ),
    (errno.EROFS, op.WRITE_10, bytes(512), SenseKey.DATA_PROTECT, AdditionalSense.WRITE_PROTECTED),
    (errno.EIO, op.SYNCHRONIZE_CACHE_10, b"", SenseKey.MEDIUM_ERROR, AdditionalSense.WRITE_ERROR),
    (errno.EIO, op.VERIFY_10, b"", SenseKey.MEDIUM_ERROR, AdditionalSense.UNRECOVERED_READ_ERROR),
]


@pytest.mark.parametrize(("code", "command", "data", "key", "sense"), FAILURES)
def test_failing_storage_is_sense_data(make_disk, monkeypatch, code, command, data, key, sense):
    def fails(*arguments):
        raise OSError(code, os.strerror(code))

    disk = make_disk("file")
    for name in ("read", "load", "write", "flush"):
        monkeypatch.setattr(disk.device._units[0].backend, name, fails)
    assert disk.refusal(command, data, blocks=1) == (key, sense)


def test_wanted_lengths(make_disk):
    disk = make_disk(block_size=4096)
    wanted = disk.device.data_out_length
    for command, fields, length in (
        (op.WRITE_10, {"blocks": 3}, 3 * 4096),
        (op.WRITE_16, {"blocks": 3}, 3 * 4096),
        (op.COMPARE_AND_WRITE, {"blocks": 2}, 4 * 4096),
        (op.WRITE_SAME_16, {"blocks": 9}, 4096),
        (op.WRITE_SAME_16, {"blocks": 9, "ndob": 1}, 0),
        (op.VERIFY_10, {"blocks": 9}, 0),
        (op.VERIFY_10, {"blocks": 9, "bytchk": 1}, 9 * 4096),
        (op.MODE_SELECT_6, {"parameter_list_length": 24}, 24),
        (op.READ_10, {"blocks": 9}, 0),
        (op.RESERVE_10, {"parameter_list_length": 8}, 8),
        (op.WRITE_LONG_10, {"byte_transfer_length": 8}, 0),
    ):
        cdb = command.build(**fields)
        assert wanted(bytes(8), cdb) == length, command.name
        assert wanted(bytes(8), memoryview(cdb.ljust(16, b"\0"))) == length
        assert wanted(encode_lun(1), cdb) == 0
        assert wanted(bytes(8), cdb[:5]) == 0


@settings(max_examples=300)
@given(
    cdb=st.binary(max_size=20)
    | st.tuples(st.sampled_from(op.COMMANDS), st.binary(max_size=32)).map(
        lambda made: (made[0].template[:2] + made[1])[:32]
    ),
    data=st.binary(max_size=64) | st.binary(min_size=512, max_size=512),
    lun=st.sampled_from([bytes(8), encode_lun(1), encode_lun(2)]) | st.binary(max_size=9),
    known=st.booleans(),
)
def test_no_bytes_raise(cdb, data, lun, known, random_device):
    device, nexus, stranger = random_device
    who = nexus if known else stranger
    assert device.data_out_length(lun, cdb) >= 0
    answer = device.execute(who, lun, cdb, data)
    if isinstance(answer, Work):
        answer = answer.run()
    assert (answer.status == Status.CHECK_CONDITION) == (parse_sense(answer.sense) is not None)
    if not known:
        device.nexus_lost(who)


@pytest.fixture(scope="module")
def random_device(tmp_path_factory):
    """A device with a memory and a sparse disk, and two nexuses of which one is announced."""
    path = str(tmp_path_factory.mktemp("random") / "disk.img")
    luns = {
        0: LunConfig(size=Size(1 << 20), removable=True),
        1: LunConfig(backend="sparse", path=path, size=Size(1 << 20), block_size=4096),
    }
    device = open_device(TargetNode(name="iqn.2026-11.org.example:random", luns=luns))
    one = Nexus(initiator_name="iqn.2026-11.org.example:a", isid=bytes(6), tsih=1, target_portal_group_tag=0)
    two = Nexus(initiator_name="iqn.2026-11.org.example:b", isid=bytes(6), tsih=2, target_portal_group_tag=1)
    device.nexus_made(one)
    yield device, one, two
    device.close()


@pytest.mark.parametrize("backend", ["file", "sparse"])
@pytest.mark.parametrize(
    ("command", "data"),
    [(op.COMPARE_AND_WRITE, bytes(512) + b"c" * 512), (op.OR_WRITE_16, b"c" * 512)],
    ids=["compare and write", "orwrite"],
)
def test_no_worker_writes_between_what_a_command_reads_and_writes(make_disk, monkeypatch, backend, command, data):
    disk = make_disk(backend)
    storage = disk.device.unit(0).backend
    load, fill = storage.load, disk.device.execute(disk.nexus, bytes(8), op.WRITE_SAME_10.build(blocks=1), b"w" * 512)
    events: list[object] = []
    worker = threading.Thread(target=fill.run)

    def is_free():
        free = storage._changing.acquire(blocking=False)
        if free:
            storage._changing.release()
        events.append(free)

    probe = threading.Thread(target=is_free)

    def loaded(offset, length):
        found = load(offset, length)
        probe.start()
        probe.join()
        worker.start()
        return found

    def write(fd, block, offset, pwrite=os.pwrite):
        events.append(bytes(block[:1]))
        return pwrite(fd, block, offset)

    monkeypatch.setattr(os, "pwrite", write)
    monkeypatch.setattr(storage, "load", loaded)
    disk.good(command, data, blocks=1)
    worker.join()
    assert events == [False, b"c", b"w"]
