"""Storms over the bundled initiator for as long as one likes: every byte is held against a model, every event explained.

    python benchmarks/initiator_soak.py                                     ten minutes, four connections a session
    python benchmarks/initiator_soak.py --minutes 1 --connections 2 --seed 7
    python benchmarks/initiator_soak.py --levels 2 --json FILE              level 2 alone; every sample of memory

For each recovery level the bundled target listens on a free port of the loopback, and session after session is logged in,
works and is logged out (`iscsi_conformance.storm`). Six workers read and write at random places over all connections, while
the load-balance policy changes and connections are added and removed. Between the target and the network stand faults, drawn
anew for each connection: what is sent either way is lost, damaged, held, repeated or forged, and connections are closed,
reset or fall silent. Each fifth session is without any.

Held are: what is read is what was written, and what was acknowledged is there at the end of each session, read back and in
the target's own storage; a session without faults logs nothing and fails nothing; the events logged are those that the rule
book predicts from the history, and each has a cause among the faults that struck before, on its connection where the event
is about one; the rule book finds nothing against the initiator; each request ends, and its tag and places are given back;
memory stays flat.

Every minute a line tells what was done so far, and at the end come events and strikes by kind, and a line that begins with
"wrong:" for everything that was. The exit code is 0 when nothing was, else 1. Memory is judged from the sixth part of the
time on, and not below three minutes, while it still fills.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import resource
import statistics
import sys
import time
from collections import Counter
from pathlib import Path

from iscsi_conformance.storm.lane import Lane, Tally

ALLOWED = 0.05
"""How far memory may be from where it was."""
SHORTEST_JUDGED = 180.0
SESSION_SECONDS = 2.5
"""Of work, on average."""

_PAGE = resource.getpagesize()
Samples = list[tuple[float, int]]


def resident() -> int:
    """Resident bytes of this process, once what it no longer needs was given back."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def around(samples: Samples, second: float, width: float) -> float:
    """The median of resident bytes around a time."""
    near = [size for when, size in samples if abs(when - second) <= width]
    return statistics.median(near or [samples[-1][1]])


async def sail(lane: Lane, until: float) -> None:
    """One session after another."""
    async with lane:
        while time.monotonic() < until:
            await lane.run_one(SESSION_SECONDS)


async def watch(tallies: dict[int, Tally], seconds: float, samples: Samples) -> None:
    """Read memory every second, and say something every minute."""
    started = time.monotonic()
    told = 0.0
    while (passed := time.monotonic() - started) < seconds:
        samples.append((passed, resident()))
        if passed - told >= 60:
            told = passed
            print(f"{passed / 60:5.1f} min  {samples[-1][1] / 1e6:7.1f} MB  {summary(tallies)}", flush=True)
        await asyncio.sleep(1)
    samples.append((seconds, resident()))


def summary(tallies: dict[int, Tally]) -> str:
    """Everything so far in a line."""
    every = tallies.values()
    commands = sum(sum(each.done[how] for how in each.done if how not in _NO_COMMANDS) for each in every)
    return (
        f"{sum(each.sessions for each in every)} sessions, {commands} commands,"
        f" {sum(each.verified for each in every) / 1e6:.0f} MB verified,"
        f" {sum(each.strikes.total() for each in every)} faults,"
        f" {sum(each.events.total() for each in every)} events, {sum(len(each.wrong) for each in every)} wrong"
    )


_NO_COMMANDS = frozenset(
    {
        "policies",
        "connections added",
        "connections removed",
        "connections that did not come up",
        "refused changes",
        "sessions that did not come up",
    }
)


async def soak(arguments: argparse.Namespace, tallies: dict[int, Tally], samples: Samples) -> None:
    """Run it all."""
    seconds = arguments.minutes * 60
    until = time.monotonic() + seconds
    lanes = [sail(Lane(level, arguments.connections, arguments.seed, tally), until) for level, tally in tallies.items()]
    await asyncio.gather(*lanes, watch(tallies, seconds, samples))


def told(counts: Counter[str] | Counter[int]) -> str:
    """What, and how often."""
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())


def main() -> int:
    """Run the soak and tell how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=4, metavar="N", help="of each session")
    parser.add_argument("--levels", type=int, nargs="+", choices=(0, 1, 2), default=[0, 1, 2], help="of recovery")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    arguments = parser.parse_args()
    tallies = {level: Tally() for level in arguments.levels}
    samples: Samples = []
    asyncio.run(soak(arguments, tallies, samples))
    seconds = arguments.minutes * 60
    width = min(30.0, seconds / 12)
    early, late = around(samples, seconds / 6, width), around(samples, seconds, width)
    grown = late / early - 1
    print(summary(tallies))
    for level, tally in tallies.items():
        ids = Counter({f"x {event}": count for event, count in sorted(tally.events.items())})
        print(f"level {level}: {tally.sessions} sessions; {told(tally.done)}")
        print(f"level {level}, events: {told(ids) or 'none'}")
        print(f"level {level}, faults: {told(tally.strikes) or 'none'}")
    print(
        f"resident memory: {early / 1e6:.1f} MB at {seconds / 360:.1f} min, {late / 1e6:.1f} MB at the end: {grown:+.1%}"
    )
    wrong = [f"level {level}: {each}" for level, tally in tallies.items() for each in tally.wrong]
    if seconds >= SHORTEST_JUDGED and grown > ALLOWED:
        wrong.append(f"memory grew by {grown:.1%}")
    for line in wrong:
        print(f"wrong: {line}")
    if arguments.json is not None:
        found = {
            str(level): {
                "events": tally.events,
                "faults": tally.strikes,
                "done": tally.done,
                "verified": tally.verified,
            }
            for level, tally in tallies.items()
        }
        report = {"seconds": seconds, "memory": samples, "levels": found, "wrong": wrong}
        arguments.json.write_text(json.dumps(report) + "\n", encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
