"""A mixed load on the bundled target for as long as one likes: nothing may be lost, and memory has to stay flat.

    python benchmarks/soak.py                                     thirty minutes
    python benchmarks/soak.py --minutes 1 --idle 936 --active 64  a thousand sessions, 64 of them at work
    python benchmarks/soak.py --json FILE                         every sample of memory

`iscsi-target serve` runs as a process of its own, with memory and a sparse file. Sessions that are at work write blocks that
say where and when they were written, read them back, flush and unmap. Beside them others come and go: orderly, by a
reset in the middle of a write, with half a login, with garbage, for discovery only, with aborts and resets, over several
connections that are lost and recovered. The resident memory of the target is read every second. The exit code is 0 when
every block was right and memory at the end is within 5 % of that at one sixth of the time (minute five of thirty), else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from crowd import Crowd, Wrong, visitors, worker

ALLOWED = 0.05
"""How far memory may be from where it was."""

_PAGE = resource.getpagesize()
_CONFIGURATION = """
[[portals]]
address = "127.0.0.1:0"

[limits]
sessions = 4096
connections = 4096

[timers]
login = 5.0

[[targets]]
name = "{name}"
keys = {{ DefaultTime2Wait = "0", DefaultTime2Retain = "2" }}

[targets.luns.0]
size = "64MiB"

[targets.luns.1]
backend = "sparse"
path = "{backing}"
size = "256MiB"

[targets.luns.2]
size = "16MiB"
"""
NAME = "iqn.2026-01.org.example.soak:disk"


@dataclass(slots=True)
class Log:
    """memory: (seconds since the start, resident bytes of the target); done: what was done, how often."""

    memory: list[tuple[float, int]] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def around(self, second: float, width: float) -> float:
        """The median of resident bytes around a time."""
        near = [size for when, size in self.memory if abs(when - second) <= width]
        return statistics.median(near or [self.memory[-1][1]])


@contextmanager
def target(folder: Path) -> Iterator[tuple[int, str]]:
    """Run the target: its process id and its portal."""
    configuration = folder / "soak.toml"
    configuration.write_text(_CONFIGURATION.format(name=NAME, backing=folder / "sparse.img"), encoding="utf-8")
    command = [
        sys.executable,
        "-c",
        "from iscsi_target.cli import main; main()",
        "serve",
        "--config",
        str(configuration),
    ]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline() if process.stdout else b""
            yield process.pid, json.loads(line)["ready"][0]
        finally:
            process.terminate()
            process.wait(timeout=30)


def resident(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE


async def watch(pid: int, log: Log, seconds: float) -> None:
    """Read memory every second, and say something every minute."""
    started = time.monotonic()
    told = 0.0
    while (passed := time.monotonic() - started) < seconds:
        log.memory.append((passed, resident(pid)))
        if passed - told >= 60:
            told = passed
            print(f"{passed / 60:5.1f} min  {log.memory[-1][1] / 1e6:7.1f} MB  {_told(log)}", flush=True)
        await asyncio.sleep(1)
    log.memory.append((seconds, resident(pid)))


def _told(log: Log) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(log.done.items()))


async def forever(name: str, once: Callable[[], Awaitable[None]], log: Log) -> None:
    """Do something again and again, and count; what is found wrong is kept."""
    while True:
        try:
            await once()
        except Wrong as error:
            log.wrong.append(f"{name}: {error}")
            return
        log.done[name] += 1


async def soak(pid: int, portal: str, log: Log, *, seconds: float, active: int, idle: int, seed: int) -> None:
    """Run it all for so many seconds."""
    crowd = Crowd(portal, NAME, random.Random(seed))
    sessions = await crowd.settle(idle)
    log.done["idle sessions"] = len(sessions)
    workers = [
        asyncio.create_task(forever("pieces of work", await worker(crowd, number), log)) for number in range(active)
    ]
    others = [asyncio.create_task(forever(name, once, log)) for name, once in visitors(crowd).items()]
    await watch(pid, log, seconds)
    for task in (*workers, *others):
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            log.wrong.append(repr(error))
        task.cancel()
    for task in (*workers, *others):
        with suppress(asyncio.CancelledError, Exception):
            await task
    lost = [session for session in sessions if not await crowd.answers(session)]
    if lost:
        log.wrong.append(f"{len(lost)} of {len(sessions)} idle sessions were lost")
    log.wrong += await crowd.check_all()


def main() -> int:
    """Run the soak and tell how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--active", type=int, default=8, metavar="N", help="sessions that read and write")
    parser.add_argument("--idle", type=int, default=50, metavar="N", help="sessions that are only there")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    arguments = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    log = Log()
    seconds = arguments.minutes * 60
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, target(Path(folder)) as (pid, portal):
        load = soak(
            pid, portal, log, seconds=seconds, active=arguments.active, idle=arguments.idle, seed=arguments.seed
        )
        asyncio.run(load)
    width = min(30.0, seconds / 12)
    early, late = log.around(seconds / 6, width), log.around(seconds, width)
    grown = late / early - 1
    print(
        f"resident memory: {early / 1e6:.1f} MB at {seconds / 360:.1f} min, {late / 1e6:.1f} MB at the end: {grown:+.1%}"
    )
    print(_told(log))
    for line in log.wrong:
        print(f"wrong: {line}")
    if arguments.json is not None:
        samples = {"seconds": seconds, "memory": log.memory, "done": log.done, "wrong": log.wrong}
        arguments.json.write_text(json.dumps(samples) + "\n", encoding="utf-8")
    return 1 if log.wrong or abs(grown) > ALLOWED else 0


if __name__ == "__main__":
    sys.exit(main())
