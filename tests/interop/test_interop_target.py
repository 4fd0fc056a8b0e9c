"""Foreign initiators, libiscsi and QEMU, against the bundled target."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

NAME = "iqn.2026-11.org.example:bundled"
MIB = 1 << 20
FAMILIES = ("ALL.Inquiry", "ALL.Read10", "ALL.Write10", "SCSI.TestUnitReady")

Peer = Callable[[str], Path]


@dataclass(frozen=True)
class Served:
    """A running `iscsi-target serve`."""

    portal: str

    @property
    def url(self) -> str:
        """LUN 0."""
        return f"iscsi://{self.portal}/{NAME}/0"


@pytest.fixture
def served() -> Iterator[Served]:
    """The bundled target with 64 MiB in memory, in a process of its own."""
    command = [sys.executable, "-c", "from iscsi_target.cli import main; main()", "serve", "--portal", "127.0.0.1:0"]
    command += ["--name", NAME, "--lun", "0=memory:64MiB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        try:
            yield Served(ready["ready"][0])
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0


def tool(*command: str | Path) -> str:
    """Run a foreign tool to its end and give its output."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_qemu_img_writes_and_reads_back(peer: Peer, served: Served, tmp_path: Path) -> None:
    image, back = tmp_path / "image", tmp_path / "back"
    image.write_bytes(random.Random(7143).randbytes(64 * MIB))
    qemu_img = peer("qemu-img")
    tool(qemu_img, "convert", "-n", "-f", "raw", "-O", "raw", image, served.url)
    tool(qemu_img, "convert", "-f", "raw", "-O", "raw", served.url, back)
    assert back.read_bytes() == image.read_bytes()


def test_libiscsi_tools_see_the_disk(peer: Peer, served: Served) -> None:
    assert NAME in tool(peer("iscsi-ls"), "-s", f"iscsi://{served.portal}")
    assert "DIRECT_ACCESS" in tool(peer("iscsi-inq"), served.url)
    assert str(64 * MIB // 512 - 1) in tool(peer("iscsi-readcapacity16"), served.url)


@pytest.mark.parametrize("family", FAMILIES)
def test_libiscsi_suite_passes(peer: Peer, served: Served, family: str) -> None:
    output = tool(peer("iscsi-test-cu"), "--dataloss", "-t", family, served.url)
    # Every suite asks first whether reservations are in its way; that this target has none is no skipped test.
    skipped = [line for line in output.splitlines() if "[SKIPPED]" in line and "PERSISTENT RESERVE" not in line]
    assert skipped == []
    totals = next(line for line in output.splitlines() if line.strip().startswith("tests"))
    ran, passed, failed = (int(word) for word in totals.split()[2:5])
    assert (ran > 0, failed, passed) == (True, 0, ran), output
