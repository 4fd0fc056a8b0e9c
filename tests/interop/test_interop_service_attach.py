"""Disks of the service under qemu-img and fio, over four sessions of the guide's walk-through, while paths come and go."""

from __future__ import annotations

import json
import random
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.initiator.walkthrough import MPIO, Scene, scene, until

from iscsi_initiator.service import api

MIB = 1 << 20
SIZE = 96 * MIB
POLICIES = {"round-robin": 0, "fail-over-only": 1}
"""Policy to the disk that the walk-through gives it."""

OUTAGES = ((0, 0.5), (1, 3.0), (0, 3.0), (2, 0.5), (3, 3.0))
"""Way and seconds; some are shorter and some longer than LinkDownTime."""
PAUSE = 2.5
"""Seconds between two outages, in which the path comes back."""


@contextmanager
def outages(there: Scene) -> Iterator[list[int]]:
    """Cut one way after the other meanwhile; which of them were."""
    ended, were = threading.Event(), []

    def cut() -> None:
        while True:
            for way, seconds in OUTAGES:
                if ended.wait(PAUSE):
                    return
                there.ways[way].cut()
                were.append(way)
                ended.wait(seconds)
                there.ways[way].mend()

    thread = threading.Thread(target=cut, daemon=True)
    thread.start()
    try:
        yield were
    finally:
        ended.set()
        thread.join(30)


def done(*command: str | Path, folder: Path) -> None:
    """Run a program to its end."""
    words = [str(each) for each in command]
    found = subprocess.run(words, capture_output=True, text=True, timeout=110, check=False, cwd=folder)
    assert found.returncode == 0, found.stdout + found.stderr


def ended_well(there: Scene, were: list[int]) -> None:
    """Paths went down and came back, no disk was ever gone, and the service stops as if nothing had been."""
    assert len(were) >= 2
    for device in (0, 1):
        until(lambda device=device: len(there.statuses(device)) == 4, "all paths are back")  # type: ignore[misc]
    assert not any(each.open_by or each.removed for each in there.devices())
    there.service.ask(api.StopService())
    code, complaints = there.service.end()
    assert code == 0
    assert {line.rpartition(": ")[2] for line in complaints.splitlines()} == {"the path is down", "the path is up"}


@pytest.mark.parametrize("policy", POLICIES)
def test_qemu_img_convert_while_paths_fail_over(policy: str, peer: Any, tmp_path: Path) -> None:
    qemu_img = peer("qemu-img")
    image, back = tmp_path / "image", tmp_path / "back"
    image.write_bytes(random.Random(4713).randbytes(SIZE))
    with scene(tmp_path, size=SIZE) as there:
        there.run(MPIO)
        uri = there.exports[POLICIES[policy]]["uri"]
        with outages(there) as were:
            # Slow enough for several outages to fall into each direction.
            raw = ("convert", "-f", "raw", "-O", "raw", "-r", str(SIZE // 8))
            done(qemu_img, *raw, "-n", image, uri, folder=tmp_path)
            done(qemu_img, *raw, uri, back, folder=tmp_path)
        assert back.read_bytes() == image.read_bytes()
        ended_well(there, were)


@pytest.mark.parametrize("policy", POLICIES)
def test_fio_verifies_while_paths_fail_over(policy: str, peer: Any, tmp_path: Path) -> None:
    fio = peer("fio")
    with scene(tmp_path, size=SIZE) as there:
        there.run(MPIO)
        uri = there.exports[POLICIES[policy]]["uri"]
        job = ["--name=verify", "--ioengine=nbd", f"--uri={uri}", "--rw=randwrite", "--bsrange=4k-64k"]
        job += ["--size=48M", "--rate=4m,4m", "--iodepth=16", "--fsync=64"]
        job += ["--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0"]
        with outages(there) as were:
            done(fio, *job, "--output-format=json", "--output=fio.json", folder=tmp_path)
        (result,) = json.loads((tmp_path / "fio.json").read_text())["jobs"]
        assert result["error"] == 0
        assert result["write"]["io_bytes"] == result["read"]["io_bytes"] == 48 * MIB
        ended_well(there, were)


def test_libnbd_sees_what_the_disk_is_and_copies_it(peer: Any, tmp_path: Path) -> None:
    nbdinfo, nbdcopy = peer("nbdinfo"), peer("nbdcopy")
    image, back = tmp_path / "image", tmp_path / "back"
    image.write_bytes(random.Random(4715).randbytes(SIZE))
    with scene(tmp_path, size=SIZE) as there:
        there.run(MPIO)
        for export in there.exports:
            said = subprocess.run(
                [nbdinfo, "--json", export["uri"]], capture_output=True, text=True, timeout=60, check=True
            )
            (told,) = json.loads(said.stdout)["exports"]
            assert (told["export-size"], told["block_size_minimum"]) == (SIZE, 512)
            assert told["can_multi_conn"] is True
        uri = there.exports[0]["uri"]
        done(nbdcopy, image, uri, folder=tmp_path)
        done(nbdcopy, uri, back, folder=tmp_path)
        assert back.read_bytes() == image.read_bytes()
