"""Storage that fails: the right sense for each failure, no claim about data that is lost, and nothing lost by SIGKILL."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from iscsi_initiator.client import Client
from iscsi_initiator.client.errors import ClientError, ScsiError
from iscsi_initiator.settings import Settings
from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense as Code
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.mode import CachingPage, ModeParameters
from iscsi_protocol.scsi.provisioning import build_unmap
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_protocol.scsi.third_party_copy import BlockToBlock, build_copy
from iscsi_target.cli import DEFAULT_NAME
from iscsi_target.completion import FileSlice
from iscsi_target.config import LunConfig, PortalConfig, Size, TargetConfig, TargetNode
from iscsi_target.luns.file import FileLun
from iscsi_target.luns.sparse import SparseLun
from iscsi_target.portal import TargetServer
from iscsi_target.shell import close_devices, make_engine
from iscsi_target.shell.driver import read

WRITE_ERROR = (SenseKey.MEDIUM_ERROR, Code.WRITE_ERROR)
READ_ERROR = (SenseKey.MEDIUM_ERROR, Code.UNRECOVERED_READ_ERROR)
NO_SPACE = (SenseKey.DATA_PROTECT, Code.SPACE_ALLOCATION_FAILED_WRITE_PROTECT)
BROKEN = (SenseKey.HARDWARE_ERROR, Code.INTERNAL_TARGET_FAILURE)
PATIENCE = 20


def failing(code):
    def fail(*_args):
        raise OSError(code, os.strerror(code))

    return fail


WRITES = {
    "write": (op.WRITE_10, b"w" * 512, {"blocks": 1}),
    "write and verify": (op.WRITE_AND_VERIFY_10, b"w" * 512, {"blocks": 1}),
    "write same": (op.WRITE_SAME_10, b"w" * 512, {"blocks": 9}),
    "orwrite": (op.OR_WRITE_16, b"w" * 512, {"blocks": 1}),
    "compare and write": (op.COMPARE_AND_WRITE, bytes(512) + b"w" * 512, {"blocks": 1}),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize(
    ("code", "sense"),
    [
        (errno.ENOSPC, NO_SPACE),
        (errno.EDQUOT, NO_SPACE),
        (errno.EFBIG, WRITE_ERROR),
        (errno.EIO, WRITE_ERROR),
        (errno.EROFS, (SenseKey.DATA_PROTECT, Code.WRITE_PROTECTED)),
        (errno.EBADF, BROKEN),
    ],
)
def test_writes_that_fail_say_why(make_disk, monkeypatch, name, code, sense):
    disk = make_disk(backend="file")
    command, data, fields = WRITES[name]
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing(code))
        assert disk.refusal(command, data, **fields) == sense
    disk.good(op.WRITE_10, b"w" * 512, blocks=1)


@pytest.mark.parametrize(("code", "sense"), [(errno.EIO, WRITE_ERROR), (errno.ENOSPC, NO_SPACE)])
def test_holes_that_cannot_be_made_say_why(make_disk, monkeypatch, code, sense):
    disk = make_disk(backend="sparse")
    monkeypatch.setattr("iscsi_target.luns.sparse.punch_hole", failing(code))
    data = build_unmap([(0, 8)])
    assert disk.refusal(op.UNMAP, data, parameter_list_length=len(data)) == sense


@pytest.mark.parametrize("blocks", [1, 200])
def test_reads_that_fail_say_so(make_disk, monkeypatch, blocks):
    disk = make_disk(backend="file", sendfile_threshold=1 << 20)
    monkeypatch.setattr(os, "pread", failing(errno.EIO))
    assert disk.refusal(op.READ_10, blocks=blocks) == READ_ERROR
    assert disk.refusal(op.VERIFY_10, blocks=blocks) == READ_ERROR


def test_a_write_beyond_the_limit_for_files_is_an_error_of_that_write_alone(make_disk):
    disk = make_disk(backend="sparse", blocks=64)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16 * 512, hard))
        assert disk.refusal(op.WRITE_10, b"x" * 512, lba=32, blocks=1) == WRITE_ERROR
        assert disk.refusal(op.WRITE_10, b"x" * 1024, lba=15, blocks=2) == WRITE_ERROR
        disk.good(op.WRITE_10, b"x" * 512, lba=15, blocks=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    disk.good(op.WRITE_10, b"y" * 512, lba=32, blocks=1)
    assert disk.good(op.READ_10, lba=15, blocks=1) == b"x" * 512


def test_a_write_that_makes_no_progress_fails(make_disk, monkeypatch):
    disk = make_disk(backend="file")
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: 0)
    assert disk.refusal(op.WRITE_10, b"x" * 512, blocks=1) == NO_SPACE


# After a failed fdatasync


@pytest.mark.parametrize(("code", "sense"), [(errno.EIO, WRITE_ERROR), (errno.ENOSPC, NO_SPACE)])
def test_what_a_flush_has_lost_is_never_called_stable(make_disk, monkeypatch, code, sense):
    disk = make_disk(backend="file")
    disk.good(op.WRITE_10, b"x" * 512, blocks=1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", failing(code))
        assert disk.refusal(op.SYNCHRONIZE_CACHE_10) == sense
    for _ in range(2):
        assert disk.refusal(op.SYNCHRONIZE_CACHE_10) == sense
        assert disk.refusal(op.WRITE_10, b"x" * 512, blocks=1, fua=1) == sense
    assert disk.good(op.READ_10, blocks=1) == b"x" * 512
    disk.device.reset_lun(bytes(8))
    disk.run(op.TEST_UNIT_READY)
    assert disk.refusal(op.SYNCHRONIZE_CACHE_16) == sense


class Queue:
    """A lock that knows how many have asked for it."""

    def __init__(self):
        self._lock = threading.Lock()
        self._asked = threading.Semaphore(0)

    def __enter__(self):
        self._asked.release()
        self._lock.acquire()

    def __exit__(self, *_error):
        self._lock.release()

    def await_all(self, count):
        for _ in range(count):
            assert self._asked.acquire(timeout=PATIENCE)


def flush_together(unit, monkeypatch, count, failures):
    """The outcomes of flushes that all begin while the first fdatasync goes on, and the number of calls of it."""
    queue = unit._flushing = Queue()
    started, release = threading.Event(), threading.Event()
    calls, outcomes = [], []

    def fdatasync(fd):
        calls.append(fd)
        started.set()
        assert release.wait(PATIENCE)
        if failures:
            raise failures.pop()

    def flush():
        try:
            unit.flush()
        except OSError as error:
            outcomes.append(error.errno)
        else:
            outcomes.append(0)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    threads = [threading.Thread(target=flush) for _ in range(count)]
    threads[0].start()
    queue.await_all(1)
    assert started.wait(PATIENCE)
    for thread in threads[1:]:
        thread.start()
    queue.await_all(count - 1)
    release.set()
    for thread in threads:
        thread.join(PATIENCE)
    unit.close()
    return outcomes, len(calls)


def test_a_flush_that_waited_for_one_that_failed_fails(tmp_path, monkeypatch):
    """The system tells of the loss once for an open file: who asks second would hear that all is well."""
    unit = FileLun(tmp_path / "disk.img", 8192)
    outcomes, calls = flush_together(unit, monkeypatch, 3, [OSError(errno.EIO, "broken")])
    assert (outcomes, calls) == ([errno.EIO] * 3, 1)


def test_flushes_that_wait_share_the_next_one(tmp_path, monkeypatch):
    unit = FileLun(tmp_path / "disk.img", 8192)
    outcomes, calls = flush_together(unit, monkeypatch, 6, [])
    assert (outcomes, calls) == ([0] * 6, 2)


# A file that somebody else cuts short


@pytest.mark.parametrize("backend", ["file", "sparse"])
def test_a_file_cut_short_is_told_of_and_never_made_up_for(make_disk, tmp_path, backend):
    disk = make_disk(backend=backend, blocks=512)
    disk.good(op.WRITE_10, b"x" * (512 * 512), blocks=512)
    os.truncate(tmp_path / "0.img", 256 * 512)
    assert disk.good(op.READ_10, blocks=256) == b"x" * (256 * 512)
    for lba, blocks in ((255, 2), (256, 1), (511, 1), (200, 200)):
        assert disk.refusal(op.READ_10, lba=lba, blocks=blocks) == READ_ERROR
    assert disk.refusal(op.VERIFY_10, blocks=512) == READ_ERROR
    disk.good(op.WRITE_10, b"y" * 512, lba=300, blocks=1)
    assert disk.refusal(op.SYNCHRONIZE_CACHE_10) == WRITE_ERROR
    os.truncate(tmp_path / "0.img", 512 * 512)
    assert disk.refusal(op.SYNCHRONIZE_CACHE_10) == WRITE_ERROR


def test_what_was_cut_off_is_no_hole(make_disk, tmp_path):
    """Nobody is told that it is deallocated, and a copy of it is not one of zeros."""
    disk = make_disk(backend="sparse", blocks=512)
    disk.good(op.WRITE_10, b"x" * (512 * 512), blocks=512)
    os.truncate(tmp_path / "0.img", 256 * 512)
    assert disk.refusal(op.GET_LBA_STATUS, lba=256, allocation_length=24) == READ_ERROR
    segment = BlockToBlock(source=0xFFFF, destination=0xFFFF, blocks=8, source_lba=256, destination_lba=0)
    data = build_copy([], [segment])
    assert disk.refusal(op.EXTENDED_COPY_LID1, data, parameter_list_length=len(data))[0] == SenseKey.COPY_ABORTED
    assert disk.good(op.READ_10, blocks=8) == b"x" * 4096


def test_a_slice_that_cannot_be_read_is_the_last(make_disk, tmp_path):
    disk = make_disk(backend="file", blocks=512, sendfile_threshold=65536)
    piece = disk.run(op.READ_10, blocks=512).data
    assert isinstance(piece, FileSlice)
    os.truncate(tmp_path / "0.img", 0)
    for part in (piece, piece.slice(512, 1024)):
        with pytest.raises(EOFError):
            read(part)
    os.truncate(tmp_path / "0.img", 512 * 512)
    assert isinstance(disk.run(op.READ_10, blocks=512).data, bytes)


# A new file


@pytest.mark.parametrize("kind", [FileLun, SparseLun])
def test_a_new_file_outlives_a_crash_before_it_is_used(kind, tmp_path, monkeypatch):
    made = []
    real = os.fsync

    def fsync(fd):
        made.append(Path(f"/proc/self/fd/{fd}").readlink())
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "new.img"
    kind(path, 8192).close()
    assert made == [path, tmp_path]
    kind(path, 8192).close()
    assert len(made) == 2


def test_a_new_file_whose_directory_cannot_be_kept_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(errno.EIO))
    with pytest.raises(ValueError, match="Input/output error"):
        FileLun(tmp_path / "new.img", 8192)
    assert not (tmp_path / "new.img").exists()


def test_a_directory_that_cannot_be_synchronised_is_no_obstacle(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(fd):
        if Path(f"/proc/self/fd/{fd}").readlink() == tmp_path:
            raise OSError(errno.EINVAL, "no such thing")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    FileLun(tmp_path / "new.img", 8192).close()


# Over TCP


@contextlib.contextmanager
def served(path, size):
    """A target in a process of its own; (process, portal)."""
    arguments = ["serve", "--portal", "127.0.0.1:0", "--lun", f"0=file:{path}:{size}"]
    command = [sys.executable, "-c", "from iscsi_target.cli import main; main()", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["ready"][0]
        finally:
            process.kill()
            process.wait(PATIENCE)


def url(portal):
    return f"iscsi://{portal}/{DEFAULT_NAME}/0"


async def load_until_killed(process, portal, random, issued, acknowledged):
    """Eight writers, each of a place of its own, with versions that count up; SIGKILL comes at a random moment."""
    client = await Client.connect(url(portal))
    enough, now = random.randrange(2 * PLACES, 200), asyncio.Event()

    async def write(place):
        while True:
            issued[place] += 1
            data = issued[place].to_bytes(8, "big") * (LENGTH // 8)
            await client.write(place * LENGTH // 512, data)
            acknowledged[place] = issued[place]
            if sum(acknowledged) >= enough:
                now.set()

    writers = [asyncio.create_task(write(place)) for place in range(len(issued))]
    try:
        async with asyncio.timeout(PATIENCE):
            await now.wait()
        process.send_signal(signal.SIGKILL)
        for _ in range(100):
            await asyncio.sleep(0)
    finally:
        for writer in writers:
            writer.cancel()
        await asyncio.wait(writers)
        client.abort()


LENGTH = 16384
PLACES = 8


@pytest.mark.parametrize("seed", range(3))
def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path, seed):
    path = tmp_path / "disk.img"
    issued, acknowledged = [0] * PLACES, [0] * PLACES
    with served(path, LENGTH * PLACES) as (process, portal):
        asyncio.run(load_until_killed(process, portal, Random(seed), issued, acknowledged))
    data = path.read_bytes()
    assert sum(acknowledged) >= 2 * PLACES
    for place in range(PLACES):
        for at in range(place * LENGTH, (place + 1) * LENGTH, 512):
            assert acknowledged[place] <= int.from_bytes(data[at : at + 8], "big") <= issued[place]


async def read_behind_a_cut(path, portal):
    """What a client is told of a long read from a file that was cut short."""
    client = await Client.connect(url(portal))
    async with asyncio.timeout(PATIENCE), client:
        await client.write(0, b"x" * (1 << 20))
        os.truncate(path, 1 << 19)
        with pytest.raises(ScsiError) as caught:
            await client.command(op.READ_10.build(blocks=2048), data_in=1 << 20)
        assert await client.read(0, 8) == b"x" * 4096
        return caught.value.result


def test_a_file_cut_short_ends_one_command_and_no_process(tmp_path):
    path = tmp_path / "disk.img"
    with served(path, 1 << 20) as (process, portal):
        result = asyncio.run(read_behind_a_cut(path, portal))
        assert process.poll() is None
    sense = parse_sense(result.sense)
    assert sense is not None
    assert (sense.key, sense.code) == READ_ERROR


# The cache is switched off


def select_cache(disk, enabled, **fields):
    page = replace(disk.device._units[0].pages[CachingPage], write_cache_enable=enabled).build()
    data = ModeParameters(pages=(page,)).build(10, select=True)
    return disk.run(op.MODE_SELECT_10, data, pf=1, parameter_list_length=len(data), **fields)


def test_what_is_cached_is_stable_when_the_cache_is_off(make_disk, monkeypatch):
    disk = make_disk(backend="file")
    calls: list[int] = []
    monkeypatch.setattr(os, "fdatasync", calls.append)
    disk.good(op.WRITE_10, b"x" * 512, blocks=1)
    assert select_cache(disk, True).status == 0
    assert calls == []
    assert select_cache(disk, False).status == 0
    assert len(calls) == 1
    assert select_cache(disk, False).status == 0
    assert len(calls) == 1
    disk.good(op.WRITE_10, b"x" * 512, blocks=1)
    assert len(calls) == 2


def test_a_cache_that_cannot_be_emptied_is_told_of(make_disk, monkeypatch):
    disk = make_disk(backend="file")
    monkeypatch.setattr(os, "fdatasync", failing(errno.EIO))
    sense = parse_sense(select_cache(disk, False).sense)
    assert sense is not None
    assert (sense.key, sense.code) == WRITE_ERROR


# A slice that sendfile cannot send


@pytest.mark.parametrize("outcome", ["error", "nothing"])
def test_what_sendfile_cannot_send_is_read_the_next_time(tmp_path, monkeypatch, outcome):
    """The header of the Data-In PDU is out, so the connection ends; the same read of the next session is answered."""
    lun = LunConfig(backend="file", path=str(tmp_path / "disk.img"), size=Size(1 << 20), sendfile_threshold=Size(65536))
    config = TargetConfig(targets=[TargetNode(name=DEFAULT_NAME, luns={0: lun})])
    sent = []

    def sendfile(out, fd, offset, count):
        sent.append(count)
        if outcome == "error":
            raise OSError(errno.EIO, "broken")
        return 0

    async def read_twice():
        engine, devices = make_engine(config, random_bytes=os.urandom)
        server = TargetServer(engine)
        (portal,) = await server.start([PortalConfig(address="127.0.0.1:0")])
        async with asyncio.timeout(PATIENCE):
            # Above level 0 data is kept, and read into memory for that.
            async with await Client.connect(url(portal), settings=Settings(error_recovery_level=0)) as client:
                await client.write(0, b"x" * 131072)
                monkeypatch.setattr(os, "sendfile", sendfile)
                with contextlib.suppress(ClientError):
                    await client.read(0, 256)
                assert await client.read(0, 256) == b"x" * 131072
        await server.stop()
        close_devices(devices)

    asyncio.run(read_twice())
    assert len(sent) == 1
