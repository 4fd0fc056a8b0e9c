"""A copy over iSCSI gets over what breaks: the connection, the target, the portal. Against tgt, over TCP.

The guide expects of a lost connection event 20, 1 for each attempt to come back that fails, and 34 once it is back. What is
logged here is exactly that:

    connection cut, the target still there      20, 34
    target killed, and started again            20, 1 …, 34, with a 1 for each attempt while it was gone
    portal gone, the target at another one      20, 1, 34: the original portal, then the advertised one
    target started again at another portal      20, 1 …, 34: the original portal and the advertised one in turn

Where the end of the connection is met by sending first, 7 stands before 20.
"""

from __future__ import annotations

import ipaddress
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.interop.conftest import free_port
from tests.interop.forwarder import Forwarder

from iscsi_initiator.eventlog import LogReader
from iscsi_protocol.eventlog import LoggedEvent

MIB = 1 << 20
SIZE = 256 * MIB
EARLY = SIZE // 8
"""Bytes behind which things break."""

LOST, FAILED, BACK, UNSENT = 20, 1, 34, 7
PATIENCE = 2400
"""How often one looks whether something happened, a twentieth of a second apart."""

StartTgtd = Callable[..., Any]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image: every MiB begins with its number, so that no two are alike."""
    path = tmp_path_factory.mktemp("image") / "image"
    noise = random.Random(7143).randbytes(MIB - 8)
    with path.open("wb") as file:
        for number in range(SIZE // MIB):
            file.write(number.to_bytes(8, "big") + noise)
    return path


class Copy:
    """A running `iscsi-initiator copy`."""

    def __init__(self, log: Path, source: object, target: object, *options: str) -> None:
        self._reader = LogReader(log)
        self._log = log
        self._logged: list[LoggedEvent] = []
        command = [sys.executable, "-c", "from iscsi_initiator.cli import main; main()", "copy"]
        self.process = subprocess.Popen(
            [*command, "--event-log", str(log), *options, str(source), str(target)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read_log(self) -> list[LoggedEvent]:
        """The events so far."""
        if self._log.exists():
            self._logged += [each for each in self._reader.read() if isinstance(each, LoggedEvent)]
        return self._logged

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait for something to happen while the copy runs."""
        for _ in range(PATIENCE):
            if condition():
                return
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        assert condition(), self.finish()

    def ids(self) -> list[int]:
        """The ids of the events so far, without what tells that a PDU could not be sent."""
        return [each.record.id for each in self.read_log() if each.record.id != UNSENT]

    def attempts(self) -> list[tuple[str, int]]:
        """Where attempts failed, from the dump data of their events."""
        return [_address(each.record.extra) for each in self.read_log() if each.record.id == FAILED]

    def finish(self) -> str:
        """Wait for its end: what it said."""
        return self.process.communicate(timeout=300)[1]

    def check(self, expected: Path, found: Path, tgtd: Any) -> None:
        """It came to a good end, with the right bytes; target names stand in the events."""
        said = self.finish()
        assert self.process.returncode == 0, said
        assert same(expected, found)
        records = [each.record for each in self.read_log()]
        for record, after in pairwise(records):
            assert record.id != UNSENT or after.id == LOST
        for record in records:
            assert record.id not in (LOST, BACK) or record.extra == tgtd.target_name.encode()


def _address(dump: bytes) -> tuple[str, int]:
    """Address and port as event 1 dumps them."""
    _, port = struct.unpack_from("<HH", dump)
    return str(ipaddress.ip_address(dump[4:])), port


def same(one: Path, other: Path) -> bool:
    """Whether two files have the same bytes."""
    with one.open("rb") as first, other.open("rb") as second:
        while data := first.read(8 * MIB):
            if data != second.read(len(data)):
                return False
        return not second.read(1)


def written(path: Path) -> int:
    """Bytes of a sparse file that were written."""
    return path.stat().st_blocks * 512


@contextmanager
def copying(log: Path, source: object, target: object, *options: str) -> Iterator[Copy]:
    """A copy that ends with the block at the latest."""
    copy = Copy(log, source, target, *options)
    try:
        yield copy
    finally:
        copy.process.kill()
        copy.process.wait(30)


@pytest.mark.parametrize("way", ["there", "back"])
def test_connection_cut(way: str, image: Path, start_tgtd: StartTgtd, tmp_path: Path) -> None:
    """20, 34."""
    tgtd = start_tgtd(size=SIZE)
    with Forwarder(tgtd.port, cut_after=EARLY) as forwarder:
        url = tgtd.url.replace(tgtd.portal, f"127.0.0.1:{forwarder.port}")
        if way == "there":
            source, target, found = image, url, tgtd.backing
        else:
            tgtd.backing.write_bytes(image.read_bytes())
            source, target, found = url, tmp_path / "back", tmp_path / "back"
        with copying(tmp_path / "log", source, target) as copy:
            copy.check(image, found, tgtd)
            assert forwarder.cuts == 1
            assert copy.ids() == [LOST, BACK]


def test_target_killed_and_started_again(image: Path, start_tgtd: StartTgtd, tmp_path: Path) -> None:
    """20, 1 for each attempt while it is gone, 34."""
    tgtd = start_tgtd(size=SIZE)
    with copying(tmp_path / "log", image, tgtd.url, "--retries", "-1") as copy:
        copy.wait_for(lambda: written(tgtd.backing) >= EARLY)
        tgtd.process.kill()
        tgtd.process.wait(30)
        copy.wait_for(lambda: copy.ids().count(FAILED) >= 2)
        start_tgtd(backing=tgtd.backing, also_at=tgtd.port)
        copy.check(image, tgtd.backing, tgtd)
        failed = copy.attempts()
        assert copy.ids() == [LOST, *[FAILED] * len(failed), BACK]
        assert set(failed) == {("127.0.0.1", tgtd.port)}


def test_portal_gone(image: Path, start_tgtd: StartTgtd, tmp_path: Path) -> None:
    """20, 1 for the original portal, 34 at the advertised one."""
    tgtd = start_tgtd(size=SIZE)
    with Forwarder(tgtd.port, cut_after=EARLY, then_deaf=True) as forwarder:
        url = tgtd.url.replace(tgtd.portal, f"127.0.0.1:{forwarder.port}")
        with copying(tmp_path / "log", image, url, "--portal", tgtd.portal) as copy:
            copy.check(image, tgtd.backing, tgtd)
            assert copy.ids() == [LOST, FAILED, BACK]
            assert copy.attempts() == [("127.0.0.1", forwarder.port)]


def test_target_started_again_at_another_portal(image: Path, start_tgtd: StartTgtd, tmp_path: Path) -> None:
    """20, 1 for each attempt at the original portal and the advertised one in turn, 34."""
    tgtd, elsewhere = start_tgtd(size=SIZE), free_port()
    options = ("--retries", "-1", "--portal", f"127.0.0.1:{elsewhere}")
    with copying(tmp_path / "log", image, tgtd.url, *options) as copy:
        copy.wait_for(lambda: written(tgtd.backing) >= EARLY)
        tgtd.process.kill()
        tgtd.process.wait(30)
        copy.wait_for(lambda: FAILED in copy.ids())
        start_tgtd(backing=tgtd.backing, also_at=elsewhere)
        copy.check(image, tgtd.backing, tgtd)
        failed = copy.attempts()
        assert copy.ids() == [LOST, *[FAILED] * len(failed), BACK]
        assert len(failed) % 2 == 1
        assert failed == [("127.0.0.1", (tgtd.port, elsewhere)[turn % 2]) for turn in range(len(failed))]
