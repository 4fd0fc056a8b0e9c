"""An attached LUN under qemu-img, fio and libnbd, over two portals of the bundled target, while paths come and go."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from tests.interop.forwarder import Forwarder

MIB = 1 << 20
SIZE = 96 * MIB
TARGET = "iqn.2026-01.org.example:disk"
OUTAGES = ((0, 0.5), (1, 3.0), (0, 3.0), (1, 0.5))
"""Path and seconds; some are shorter and some longer than requests wait for a path to come back."""
PAUSE = 2.5
"""Seconds between two outages, in which the path comes back."""


@contextmanager
def started(name: str, log: IO[str], *arguments: str | Path) -> Iterator[dict[str, Any]]:
    """A command of the project that says when it is ready, until it is told to stop; what it said."""
    command = [sys.executable, "-c", f"from {name}.cli import main; main()", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, Path(log.name).read_text()
        yield json.loads(line)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, Path(log.name).read_text()
    finally:
        process.kill()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


class Attached:
    """A LUN that is attached. uri: for NBD clients; log: what the command said on its standard error."""

    def __init__(self, uri: str, ways: list[Forwarder], log: Path) -> None:
        self.uri = uri
        self.ways = ways
        self._log = log
        self._ended = threading.Event()
        self._breaking = threading.Thread(target=self._break, daemon=True)
        self.outages = 0

    @property
    def log(self) -> str:
        return self._log.read_text()

    def _break(self) -> None:
        while True:
            for way, seconds in OUTAGES:
                if self._ended.wait(PAUSE):
                    return
                self.ways[way].cut()
                self.outages += 1
                self._ended.wait(seconds)
                self.ways[way].mend()

    def __enter__(self) -> Attached:
        self._breaking.start()
        return self

    def __exit__(self, *rest: object) -> None:
        self._ended.set()
        self._breaking.join(30)


@pytest.fixture
def attach(tmp_path: Path) -> Iterator[Callable[..., Attached]]:
    """Attach a LUN over two ways that can be cut; the arguments are options of the command."""
    with ExitStack() as stack:

        def start(*options: str, backend: str = f"memory:{SIZE}") -> Attached:
            logs = [stack.enter_context((tmp_path / f"{name}.log").open("w")) for name in ("target", "attach")]
            portals = ("--portal", "127.0.0.1:0") * 2
            ready = stack.enter_context(
                started("iscsi_target", logs[0], "serve", *portals, "--name", TARGET, "--lun", f"0={backend}")
            )
            ports = [int(portal.rpartition(":")[2]) for portal in ready["ready"]]
            ways = [stack.enter_context(Forwarder(port)) for port in ports]
            urls = [f"iscsi://127.0.0.1:{way.port}/{TARGET}/0" for way in ways]
            where = ("--socket", tmp_path / "n.sock", "--event-log", tmp_path / "events.jsonl")
            waits = ("--hold-time", "1.5", "--retry-delay", "0.2")
            said = stack.enter_context(started("iscsi_initiator", logs[1], "attach", *urls, *where, *waits, *options))
            assert said["exports"][0]["paths"] == [1, 2]
            return Attached(f"nbd+unix:///0?socket={tmp_path / 'n.sock'}", ways, tmp_path / "attach.log")

        yield start


def done(*command: str | Path, folder: Path) -> str:
    """Run a program to its end; what it printed."""
    found = subprocess.run(
        [str(each) for each in command],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        cwd=folder,
        env={**os.environ},
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def failed_over(attached: Attached) -> None:
    """Both paths went down and came up again."""
    assert attached.outages >= 2
    for path in (1, 2):
        assert attached.log.count(f"path {path} ") >= 3, attached.log
    assert "the device is gone" not in attached.log


@pytest.mark.parametrize("policy", ["round-robin", "fail-over-only"])
def test_qemu_img_convert_while_paths_fail_over(policy: str, attach: Any, peer: Any, tmp_path: Path) -> None:
    qemu_img = peer("qemu-img")
    attached = attach("--policy", policy)
    image, back = tmp_path / "image", tmp_path / "back"
    image.write_bytes(random.Random(4713).randbytes(SIZE))
    with attached:
        # Slow enough for several outages to fall into each direction.
        raw = ("convert", "-f", "raw", "-O", "raw", "-r", str(SIZE // 8))
        done(qemu_img, *raw, "-n", image, attached.uri, folder=tmp_path)
        done(qemu_img, *raw, attached.uri, back, folder=tmp_path)
    assert back.read_bytes() == image.read_bytes()
    failed_over(attached)


@pytest.mark.parametrize("policy", ["round-robin", "weighted-paths"])
def test_fio_verifies_while_paths_fail_over(policy: str, attach: Any, peer: Any, tmp_path: Path) -> None:
    fio = peer("fio")
    attached = attach("--policy", policy)
    job = ["--name=verify", "--ioengine=nbd", f"--uri={attached.uri}", "--rw=randwrite", "--bsrange=4k-64k"]
    job += ["--size=48M", "--rate=3m,3m", "--iodepth=16", "--fsync=64"]
    job += ["--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0"]
    with attached:
        done(fio, *job, "--output-format=json", "--output=fio.json", folder=tmp_path)
    (result,) = json.loads((tmp_path / "fio.json").read_text())["jobs"]
    assert result["error"] == 0
    assert result["write"]["io_bytes"] == result["read"]["io_bytes"] == 48 * MIB
    failed_over(attached)


def test_libnbd_sees_what_the_lun_is_and_copies_it(attach: Any, peer: Any, tmp_path: Path) -> None:
    nbdinfo, nbdcopy = peer("nbdinfo"), peer("nbdcopy")
    backing, back = tmp_path / "backing", tmp_path / "back"
    backing.write_bytes(random.Random(4714).randbytes(16 * MIB))
    attached = attach("--read-only", backend=f"file:{backing}")
    (told,) = json.loads(done(nbdinfo, "--json", attached.uri, folder=tmp_path))["exports"]
    assert told["export-size"] == 16 * MIB
    assert told["is_read_only"] is True
    assert told["can_multi_conn"] is True
    assert told["block_size_minimum"] == 512
    (listed,) = json.loads(done(nbdinfo, "--list", "--json", attached.uri, folder=tmp_path))["exports"]
    assert listed["export-name"] == "0"
    done(nbdcopy, attached.uri, back, folder=tmp_path)
    assert back.read_bytes() == backing.read_bytes()


def test_zeros_and_discards_come_through(attach: Any, peer: Any, tmp_path: Path) -> None:
    qemu_io = peer("qemu-io")
    attached = attach()
    commands = ("write -P 7 0 4M", "write -z 1M 1M", "write -z -u 2M 1M", "discard 3M 1M", "flush")
    checks = ("read -P 7 0 1M", "read -P 0 1M 1M", "read -P 0 2M 1M")
    arguments = [each for command in (*commands, *checks) for each in ("-c", command)]
    said = done(qemu_io, "-f", "raw", *arguments, attached.uri, folder=tmp_path)
    assert "failed" not in said.lower()
    assert "error" not in said.lower()
