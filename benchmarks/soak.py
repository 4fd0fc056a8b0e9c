"""A mixed load on the bundled target for as long as one likes: nothing may be lost, and memory has to stay flat.

    python benchmarks/soak.py                                     thirty minutes
    python benchmarks/soak.py --minutes 1 --idle 936 --active 64  a thousand sessions, 64 of them at work
    python benchmarks/soak.py --json FILE                         every sample of memory

`iscsi-target serve` runs as a process of its own, with memory and a sparse file. Sessions that are at work write blocks that
say where and when they were written, read them back, flush and unmap (`crowd`). Beside them others come and go: orderly, by a
reset in the middle of a write, with half a login, with garbage, for discovery only, with aborts and resets (`visitors`);
three that register, reserve, preempt and clear, and one that has the target copy (`sharing`); random work at every recovery
level over one to four connections that are lost and damaged, with FastAbort among the settings (`recoveries`).

Every minute a line tells the target's resident memory and what was done so far; memory is read every second. At the end come
the rate of the logins of the idle sessions, the target's share of a processor, memory early and late, what was done, and a
line that begins with "wrong:" for everything that was. The exit code is 0 when nothing was, and memory at the end is within
5 % of that at one sixth of the time (minute five of thirty), else 1. Below a minute memory is still filling when it is taken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from crowd import BLOCK, Crowd, Once, Wrong, worker
from iscsi_initiator.client import ClientError
from iscsi_initiator.transport import ConnectFailed
from recoveries import BLOCKS, LEVELS, exercisers
from sharing import COPIED_LUN, RESERVED_LUN, sharers
from visitors import visitors

ALLOWED = 0.05
"""How far memory may be from where it was."""

LONGEST_END = 60.0
"""Seconds within which everything that is under way has to end."""

_PAGE = resource.getpagesize()
_TICK = os.sysconf("SC_CLK_TCK")
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

[targets.luns.{reserved}]
size = "1MiB"

[targets.luns.{copied}]
size = "16MiB"

[[targets]]
name = "{visited}"
keys = {{ DefaultTime2Wait = "0", DefaultTime2Retain = "2" }}

[targets.luns.0]
size = "16MiB"
"""
_EXERCISED = """
[[targets]]
name = "{name}"
keys = {{ DefaultTime2Wait = "0" }}

[targets.luns.0]
size = "{size}"
"""
NAME = "iqn.2026-01.org.example.soak:disk"
VISITED = "iqn.2026-01.org.example.soak:visited"


def exercised(level: int) -> str:
    """The target for random work at a recovery level."""
    return f"iqn.2026-01.org.example.soak:level-{level}"


@dataclass(slots=True)
class Log:
    """memory: (seconds since the start, resident bytes of the target); done: what was done, how often; logins: of idle
    sessions, so many a second; processor: seconds that the target used meanwhile.
    """

    memory: list[tuple[float, int]] = field(default_factory=list)
    logins: float = 0.0
    processor: float = 0.0
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
    text = _CONFIGURATION.format(
        name=NAME, visited=VISITED, backing=folder / "sparse.img", reserved=RESERVED_LUN, copied=COPIED_LUN
    )
    text += "".join(_EXERCISED.format(name=exercised(level), size=BLOCKS * BLOCK) for level in LEVELS)
    configuration.write_text(text, encoding="utf-8")
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


def used(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


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


async def until(stop: asyncio.Event, name: str, once: Once, log: Log, *, tolerant: bool) -> None:
    """Do something again and again, and count; what is found wrong is kept. tolerant: for those that disturb each other on
    purpose; an error of theirs proves nothing, and is counted beside.
    """
    while not stop.is_set():
        try:
            await once()
        except Wrong as error:
            log.wrong.append(f"{name}: {error}")
            return
        except (ClientError, ConnectFailed, ConnectionError):
            if not tolerant:
                raise
            log.done[f"{name} (cut short)"] += 1
        else:
            log.done[name] += 1


async def end(tasks: dict[asyncio.Task[None], str], log: Log) -> None:
    """Wait for all that is under way; what was wrong with it, and what did not end."""
    _, left = await asyncio.wait(tasks, timeout=LONGEST_END)
    for task in left:
        log.wrong.append(f"{tasks[task]}: did not come to an end in {LONGEST_END:g} s")
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=5.0)
    for task, name in tasks.items():
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            log.wrong.append(f"{name}: {error!r}")
        if not log.done[name] and not log.wrong:
            log.wrong.append(f"{name}: none came to a good end")


async def soak(
    pid: int, portal: str, log: Log, *, seconds: float, active: int, idle: int, seed: int, pause: float
) -> None:
    """Run it all for so many seconds."""
    crowd = Crowd(portal, NAME, random.Random(seed))
    began = time.monotonic()
    sessions = await crowd.settle(idle)
    log.logins = idle / (time.monotonic() - began)
    log.done["idle sessions"] = len(sessions)
    stop = asyncio.Event()
    begun: list[tuple[str, Once, bool]] = [
        ("pieces of work", await worker(crowd, number, pause), False) for number in range(active)
    ]
    begun += [(name, once, True) for name, once in visitors(crowd, VISITED).items()]
    begun += [(name, once, False) for name, once in (sharers(crowd) | exercisers(crowd, exercised)).items()]
    before = used(pid)
    tasks = {
        asyncio.create_task(until(stop, name, once, log, tolerant=tolerant)): name for name, once, tolerant in begun
    }
    await watch(pid, log, seconds)
    log.processor = used(pid) - before
    stop.set()
    await end(tasks, log)
    lost = [session for session in sessions if not await crowd.answers(session)]
    if lost:
        log.wrong.append(f"{len(lost)} of {len(sessions)} idle sessions were lost")
    for session in sessions:
        session.abort()
    log.wrong += await crowd.check_all()


def main() -> int:
    """Run the soak and tell how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--active", type=int, default=8, metavar="N", help="sessions that read and write")
    parser.add_argument("--idle", type=int, default=50, metavar="N", help="sessions that are only there")
    parser.add_argument(
        "--pause", type=float, default=0.04, metavar="SECONDS", help="of a session at work, behind each piece"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    arguments = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 8192)), hard))
    log = Log()
    seconds = arguments.minutes * 60
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, target(Path(folder)) as (pid, portal):
        load = soak(
            pid,
            portal,
            log,
            seconds=seconds,
            active=arguments.active,
            idle=arguments.idle,
            seed=arguments.seed,
            pause=arguments.pause,
        )
        asyncio.run(load)
    width = min(30.0, seconds / 12)
    early, late = log.around(seconds / 6, width), log.around(seconds, width)
    grown = late / early - 1
    print(
        f"idle sessions: {log.logins:.0f} logins a second; the target used {log.processor / seconds:.0%} of a processor"
    )
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
