"""The initiators that load a target: iscsi-perf, `qemu-img bench`, and the bundled one in this process.

A client's `run` gives transfers per second of one workload, without the time that logging in takes.
"""

from __future__ import annotations

import asyncio
import random
import re
import subprocess
from typing import Protocol

from iscsi_initiator.client import Client as Session
from iscsi_initiator.settings import Settings
from peers import PeerFailed, find
from workload import BLOCK, READ_LARGE, SIZE, Workload

_STRIDE = (1 << 20) + 4096
"""Steps of qemu-img bench where transfers are to be scattered: it has no random mode."""

_PATIENCE = 60


class Client(Protocol):
    """Something that loads a target."""

    name: str
    shortest: float
    """Seconds that a run lasts at least."""

    def fits(self, workload: Workload) -> bool:
        """Whether it can do that."""

    def run(self, url: str, workload: Workload, seconds: float) -> float:
        """Transfers per second over about so many seconds. Raises PeerFailed."""


class IscsiPerf:
    """libiscsi's iscsi-perf: reads only, for whole seconds. Raises PeerMissing."""

    name = "iscsi-perf"
    shortest = 1.0

    def __init__(self) -> None:
        self._program = find("iscsi-perf")

    def fits(self, workload: Workload) -> bool:
        """See `Client`."""
        return not workload.write

    def run(self, url: str, workload: Workload, seconds: float) -> float:
        """See `Client`."""
        options = ["-m", str(workload.depth), "-b", str(workload.size // BLOCK), "-t", str(max(1, round(seconds)))]
        said = _run([self._program, *options, *(["-r"] if workload.random else []), url])
        averages = re.findall(r"iops average (\d+)", said)
        if not averages or not int(averages[-1]):
            raise PeerFailed(f"iscsi-perf: {said}")
        return float(averages[-1])


class QemuImg:
    """QEMU's block layer over libiscsi. Scattered transfers are strides of 1 MiB + 4 KiB. Raises PeerMissing."""

    name = "qemu-img bench"
    shortest = 0.0

    def __init__(self) -> None:
        self._program = find("qemu-img")
        self._rates: dict[tuple[str, Workload], float] = {}

    def fits(self, workload: Workload) -> bool:
        """See `Client`."""
        return True

    def run(self, url: str, workload: Workload, seconds: float) -> float:
        """See `Client`. A run has a number of transfers, which the run before it tells; the first is a short trial."""
        key = (url, workload)
        if key not in self._rates:
            self._rates[key] = self._bench(url, workload, 2000 if workload.size <= 4096 else 500)
        done = self._rates[key] = self._bench(url, workload, max(100, int(self._rates[key] * seconds)))
        return done

    def _bench(self, url: str, workload: Workload, count: int) -> float:
        step = _STRIDE if workload.random else workload.size
        options = ["-c", str(count), "-d", str(workload.depth), "-s", str(workload.size), "-S", str(step)]
        said = _run([self._program, "bench", "-f", "raw", *options, *(["-w"] if workload.write else []), url])
        found = re.search(r"Run completed in ([\d.]+) seconds", said)
        if found is None or not float(found[1]):
            raise PeerFailed(f"qemu-img bench: {said}")
        return count / float(found[1])


class Bundled:
    """The bundled initiator, with its defaults."""

    name = "bundled initiator"
    shortest = 0.0
    settings = Settings()

    def fits(self, workload: Workload) -> bool:
        """See `Client`. By default it offers no digest."""
        return not workload.header_digest

    def run(self, url: str, workload: Workload, seconds: float) -> float:
        """See `Client`."""
        return asyncio.run(self._load(url, workload, seconds))

    async def _load(self, url: str, workload: Workload, seconds: float) -> float:
        async with await Session.connect(url, settings=self.settings) as session:
            await session.capacity()
            clock = asyncio.get_running_loop().time
            started = clock()
            workers = [_work(session, workload, number, started + seconds) for number in range(workload.depth)]
            done = sum(await asyncio.gather(*workers))
            return done / (clock() - started)


class BundledTuned(Bundled):
    """The bundled initiator with data segments as long as libiscsi takes them, for what a longer one helps: large reads."""

    name = "bundled initiator, tuned"
    settings = Settings(max_recv_data_segment_length=262144)

    def fits(self, workload: Workload) -> bool:
        """See `Client`."""
        return workload == READ_LARGE


async def _work(session: Session, workload: Workload, number: int, until: float) -> int:
    """One of `depth` that keep a transfer on its way each; how many it made."""
    clock, dice = asyncio.get_running_loop().time, random.Random(number)
    blocks, places = workload.size // BLOCK, SIZE // workload.size
    buffer = memoryview(bytearray(workload.size))
    done, place = 0, number
    while clock() < until:
        if workload.random:
            place = int(dice.random() * places)
        if workload.write:
            await session.write(place * blocks, buffer)
        else:
            await session.read_into(place * blocks, buffer)
        place = (place + workload.depth) % places
        done += 1
    return done


def _run(command: list[str]) -> str:
    """What a program says. Raises PeerFailed."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise PeerFailed(f"{command[0]}: not over in {_PATIENCE} s") from error
    said = (done.stdout + done.stderr).decode(errors="replace")
    if done.returncode:
        raise PeerFailed(f"{command[0]}: {said}")
    return said
