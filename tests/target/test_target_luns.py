"""The back ends keep their contract, the contract notices who does not, and files fail by OSError."""

from __future__ import annotations

import copy
import ctypes
import errno
import os
import sys
from pathlib import Path

import pytest

from iscsi_target.completion import FileSlice
from iscsi_target.config import LunConfig, Size
from iscsi_target.luns import (
    ContractBroken,
    Extent,
    FileLun,
    LunError,
    MemoryLun,
    SparseLun,
    check_backend,
    open_lun,
)
from iscsi_target.luns import punch as punch_module
from iscsi_target.luns.punch import punch_hole

BLOCKS = 80


@pytest.fixture
def new_path(tmp_path):
    """A path that no file has yet, another one at each call."""
    made = iter(range(1000))
    return lambda: tmp_path / f"{next(made)}.img"


@pytest.mark.parametrize("block_size", [512, 4096])
def test_memory_keeps_the_contract(block_size):
    check_backend(lambda: MemoryLun(BLOCKS * block_size, block_size=block_size), seed=block_size)


@pytest.mark.parametrize("kind", [FileLun, SparseLun])
@pytest.mark.parametrize("block_size", [512, 4096])
@pytest.mark.parametrize("threshold", [1, 65536])
def test_files_keep_the_contract(kind, block_size, threshold, new_path):
    size = BLOCKS * block_size
    check_backend(lambda: kind(new_path(), size, block_size=block_size, slice_threshold=threshold))


def test_a_file_without_holes_in_its_file_system_keeps_the_contract(new_path, monkeypatch):
    monkeypatch.setattr("iscsi_target.luns.sparse.punch_hole", lambda fd, offset, length: False)
    check_backend(lambda: SparseLun(new_path(), BLOCKS * 512))


class KeepsTheBuffer(MemoryLun):
    """Hands out its own memory."""

    def read(self, offset, length):
        return memoryview(self._bytes)[offset : offset + length]


class LosesWrites(MemoryLun):
    """Never writes the second half of what it is given."""

    def write(self, offset, data):
        super().write(offset, data[: len(data) // self.block_size // 2 * self.block_size])


class UnmapsTooMuch(MemoryLun):
    """Takes a block too many away."""

    def unmap(self, offset, length):
        super().unmap(offset, length + self.block_size)


class UnmapsNothing(MemoryLun):
    """Leaves the bytes as they are."""

    def unmap(self, offset, length):
        pass


class ReadsShort(MemoryLun):
    """Gives one byte less than asked."""

    def read(self, offset, length):
        return super().read(offset, max(length - 1, 0))


class ForgetsItsMap(MemoryLun):
    """Says that nothing has storage."""

    def extent(self, offset):
        return Extent(mapped=False, length=self.block_size)


class EndlessExtents(MemoryLun):
    """Says that there is no end to it."""

    def extent(self, offset):
        return Extent(mapped=True, length=1 << 40)


@pytest.mark.parametrize(
    "broken",
    [KeepsTheBuffer, LosesWrites, UnmapsTooMuch, UnmapsNothing, ReadsShort, ForgetsItsMap, EndlessExtents],
)
def test_the_contract_notices(broken):
    with pytest.raises(ContractBroken):
        check_backend(lambda: broken(BLOCKS * 512))


def test_the_contract_wants_something_to_test_with():
    with pytest.raises(ContractBroken, match="64 blocks"):
        check_backend(lambda: MemoryLun(512))


def test_memory_is_copied_with_its_unit():
    unit = MemoryLun(4096)
    unit.write(0, b"a" * 512)
    twin = copy.deepcopy(unit)
    twin.write(0, b"b" * 512)
    assert unit.read(0, 512) == b"a" * 512


@pytest.mark.parametrize("size", [0, -512, 513])
def test_memory_of_no_whole_blocks_is_refused(size):
    with pytest.raises(LunError, match="multiple"):
        MemoryLun(size)


def test_memory_knows_what_was_written():
    unit = MemoryLun(8 * 512)
    assert unit.extent(0) == Extent(mapped=False, length=8 * 512)
    unit.write(2 * 512, bytes(512))
    assert unit.extent(0) == Extent(mapped=False, length=2 * 512)
    assert unit.extent(2 * 512) == Extent(mapped=True, length=512)
    unit.unmap(0, 8 * 512)
    assert unit.extent(512) == Extent(mapped=False, length=7 * 512)


def test_a_new_file_has_its_space_and_a_sparse_one_has_not(new_path):
    thick, thin = new_path(), new_path()
    FileLun(thick, 1 << 20).close()
    SparseLun(thin, 1 << 20).close()
    assert thick.stat().st_size == thin.stat().st_size == 1 << 20
    assert thick.stat().st_blocks * 512 >= 1 << 20
    assert thin.stat().st_blocks == 0


def test_unmapping_gives_space_back(new_path):
    path = new_path()
    unit = SparseLun(path, 1 << 20)
    unit.write(0, b"x" * (1 << 20))
    before = path.stat().st_blocks
    unit.unmap(0, 1 << 19)
    assert path.stat().st_blocks < before
    assert unit.extent(0) == Extent(mapped=False, length=1 << 19)
    assert unit.extent(1 << 19).mapped
    unit.close()


def test_a_file_stays_as_it_is_and_as_long_as_it_is(new_path):
    path = new_path()
    path.write_bytes(b"a" * 1000)
    unit = FileLun(path)
    assert unit.blocks == 1
    assert unit.load(0, 512) == b"a" * 512
    unit.close()
    with pytest.raises(LunError, match="1000 bytes long, asked for 512"):
        FileLun(path, 512)
    path.write_bytes(b"a")
    with pytest.raises(LunError, match="at least one block"):
        FileLun(path)


def test_files_that_cannot_be_had_are_refused(tmp_path):
    with pytest.raises(LunError, match="No such file"):
        FileLun(tmp_path / "absent.img")
    with pytest.raises(LunError, match="No such file"):
        FileLun(tmp_path / "absent.img", 512, read_only=True)
    with pytest.raises(LunError, match="Is a directory"):
        FileLun(tmp_path)


@pytest.mark.parametrize("kind", [FileLun, SparseLun])
@pytest.mark.parametrize("read_only", [True, False])
def test_what_has_no_blocks_is_refused(kind, read_only, tmp_path):
    """A pipe is not waited for, and a folder is no unit, however long it says that it is."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)) + ((tmp_path,) if read_only else ()):
        with pytest.raises(LunError, match=rf"^{path}: is neither a file nor a block device$"):
            kind(path, read_only=read_only)


def test_more_memory_than_there_is_is_refused():
    with pytest.raises(LunError, match="4611686018427387904 bytes are more memory than there is"):
        MemoryLun(1 << 62)


def test_a_file_without_room_is_not_left_behind(new_path, monkeypatch):
    def full(fd, offset, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = new_path()
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(LunError, match="No space left"):
        FileLun(path, 512)
    assert not path.exists()


def test_long_reads_are_slices_and_short_ones_are_not(new_path):
    unit = FileLun(new_path(), 1 << 20)
    piece = unit.read(4096, 65536)
    assert isinstance(piece, FileSlice)
    assert (piece.offset, piece.length) == (4096, 65536)
    assert isinstance(unit.read(4096, 65024), bytes)
    unit.close()


def test_a_file_cut_short_fails_by_error(new_path):
    path = new_path()
    unit = FileLun(path, 1 << 20)
    os.truncate(path, 1 << 19)
    for read in (unit.read, unit.load):
        with pytest.raises(OSError, match="shorter"):
            read((1 << 20) - 65536, 65536)
        with pytest.raises(OSError, match="shorter"):
            read((1 << 19) - 512, 1024)
    unit.close()


def test_reads_and_writes_in_pieces_are_gathered(new_path, monkeypatch):
    unit = FileLun(new_path(), 8192)
    pread, pwrite = os.pread, os.pwrite
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: pread(fd, min(length, 100), offset))
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, memoryview(data)[:100], offset))
    data = bytes(range(256)) * 4
    unit.write(512, data)
    assert unit.load(512, 1024) == data
    unit.close()


def test_reading_alone_needs_no_right_to_write(new_path):
    path = new_path()
    path.write_bytes(b"a" * 512)
    path.chmod(0o400)
    unit = FileLun(path, read_only=True)
    assert unit.load(0, 512) == b"a" * 512
    unit.flush()
    with pytest.raises(OSError, match="Bad file descriptor"):
        unit.write(0, b"b" * 512)
    unit.close()


def test_slices_are_cut_as_buffers_are():
    data, piece = bytes(100), FileSlice(3, 1000, 100)
    for start, stop in ((0, 100), (10, 20), (0, 0), (90, 200), (100, 200), (150, 200), (20, 10)):
        cut = piece.slice(start, stop)
        assert cut.length == len(data[start:stop])
        assert cut.fd == 3
        assert cut.offset == 1000 + start or not cut.length


def test_punching_holes_without_the_call(new_path, monkeypatch):
    path = new_path()
    path.write_bytes(b"a" * 8192)
    fd = os.open(path, os.O_RDWR)
    monkeypatch.setattr(punch_module, "_fallocate", lambda: None)
    assert not punch_hole(fd, 0, 4096)
    os.close(fd)
    assert path.read_bytes() == b"a" * 8192


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.ENOSYS])
def test_file_systems_that_cannot_punch_holes(code, monkeypatch):
    def fallocate(fd, mode, offset, length):
        ctypes.set_errno(code)
        return -1

    monkeypatch.setattr(punch_module, "_fallocate", lambda: fallocate)
    assert not punch_hole(0, 0, 4096)


def test_interrupted_and_failing_calls(monkeypatch):
    codes = [errno.EINTR, errno.EIO]

    def fallocate(fd, mode, offset, length):
        ctypes.set_errno(codes.pop(0))
        return -1

    monkeypatch.setattr(punch_module, "_fallocate", lambda: fallocate)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        punch_hole(0, 0, 4096)
    assert codes == []


@pytest.mark.parametrize(("code", "mapped"), [(errno.ENXIO, False), (errno.EINVAL, True)])
def test_what_the_file_system_says_about_holes(code, mapped, new_path, monkeypatch):
    unit = SparseLun(new_path(), 8192)
    lseek = os.lseek

    def says(fd, offset, whence):
        if whence == os.SEEK_DATA:
            raise OSError(code, os.strerror(code))
        return lseek(fd, offset, whence)

    monkeypatch.setattr(os, "lseek", says)
    assert unit.extent(4096) == Extent(mapped=mapped, length=4096)
    unit.close()


def test_other_failures_of_that_are_failures(new_path):
    unit = SparseLun(new_path(), 8192)
    fd, unit._fd = unit._fd, sys.maxsize & 0x7FFFFFF
    with pytest.raises(OSError, match="Bad file descriptor"):
        unit.extent(0)
    unit._fd = fd
    unit.close()


@pytest.mark.parametrize(("backend", "kind"), [("memory", MemoryLun), ("file", FileLun), ("sparse", SparseLun)])
def test_configurations_are_opened(backend, kind, new_path):
    path = None if backend == "memory" else str(new_path())
    unit = open_lun(LunConfig(backend=backend, path=path, size=Size(8192), block_size=4096))
    assert type(unit) is kind
    assert (unit.blocks, unit.block_size) == (2, 4096)
    unit.close()
