"""The bundled target and initiator side by side with tgtd, libiscsi, QEMU and the bare loopback, in one run.

    python benchmarks/run.py                   about three minutes
    python benchmarks/run.py --quick           half a minute
    python benchmarks/run.py --json FILE       the samples too
    python benchmarks/run.py --document FILE   the tables as Markdown, with the bars
    python benchmarks/run.py --folder DIR      where the files of the logical units lie

Rounds are interleaved: each measures every client against every target once, so that what slows the machine down slows
all of them. Speeds are `median (lowest–highest)`; ratios are taken round by round. A peer that is not installed is named
in one line, and its column left out. All is on the loopback. Files are in the page cache and have no disk below them, in
/dev/shm where there is one: how a disk takes dirty pages is not what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path

from rich.console import Console

import document
import peers
import rulebook
import wire
from bare import Bare, BareAsyncio
from clients import Bundled, BundledTuned, Client, IscsiPerf, QemuImg
from keys import KEYS, Declared, negotiated
from loopback import Loopback
from measure import Spread
from peers import PeerFailed, PeerMissing, bundled_target, tgtd
from tables import factor, figures, show
from workload import WORKLOADS, WRITE_LARGE, Workload

FILE, MEMORY = "bundled, file", "bundled, memory"
FILE_DIGEST, MEMORY_DIGEST = "bundled, file, digests", "bundled, memory, digests"
TGTD, DIGEST, TUNED = "tgtd", "tgtd, digests", "tgtd, tuned"
TGTDS: Mapping[str, Mapping[str, str]] = {TGTD: {}, DIGEST: peers.DIGESTS, TUNED: peers.TUNED}
"""How tgtd is run, each a process of its own: as it comes, with header digests on offer, and with large bursts."""
EXIT_FAILED = 3

_SHARED_MEMORY = Path("/dev/shm")
MEMORY_FOLDER = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
"""A folder whose files are nothing but page cache."""

WITH_DIGEST = (FILE_DIGEST, MEMORY_DIGEST, DIGEST)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """rounds: for clients whose runs are as short as one likes; long_rounds: for the others. The rest is in seconds."""

    rounds: int
    long_rounds: int
    seconds: float
    codec_seconds: float
    rulebook_commands: int


DEFAULT = Plan(rounds=5, long_rounds=5, seconds=0.8, codec_seconds=0.3, rulebook_commands=20000)
QUICK = Plan(rounds=2, long_rounds=1, seconds=0.15, codec_seconds=0.05, rulebook_commands=3000)

Key = tuple[str, Workload, str]


@dataclass(slots=True)
class Results:
    """samples: (client, workload, target) → transfers per second, round by round; the loopback's target is its own name."""

    samples: dict[Key, list[float]] = field(default_factory=dict)
    keys: dict[tuple[str, str], Declared] = field(default_factory=dict)
    codec: list[tuple[str, str, bool, float]] = field(default_factory=list)
    rulebook: dict[str, float] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def add(self, client: str, workload: Workload, target: str, speed: float) -> None:
        """File a sample."""
        self.samples.setdefault((client, workload, target), []).append(speed)

    def of(self, client: str, workload: Workload, target: str) -> list[float]:
        """The samples in the workload's unit; empty where nothing was measured."""
        return [workload.in_units(speed) for speed in self.samples.get((client, workload, target), ())]

    def as_json(self, plan: Plan) -> dict[str, object]:
        """All of it."""
        return {
            "schema": "iscsi-conformance/benchmarks/1",
            "machine": {"system": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version()},
            "plan": asdict(plan),
            "missing": self.missing,
            "transfers_per_second": [
                {"client": client, "target": target, **asdict(workload), "samples": samples}
                for (client, workload, target), samples in self.samples.items()
            ],
            "keys": [
                {"client": client, "target": target, "declared": declared}
                for (client, target), declared in self.keys.items()
            ],
            "per_second": [
                {"what": what, "pdu": pdu, "digests": digests, "speed": speed}
                for what, pdu, digests, speed in self.codec
            ],
            "rulebook": self.rulebook,
        }


def main() -> int:
    """Measure and print. 0, or 3 when a program failed or the file cannot be written."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short runs, in about half a minute")
    parser.add_argument("--folder", type=Path, metavar="DIR", default=MEMORY_FOLDER, help="where files lie (/dev/shm)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples")
    parser.add_argument("--document", type=Path, metavar="FILE", help="write the tables as Markdown, with the bars")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else DEFAULT
    # Ended from outside, the run still ends the targets that it started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    console = Console()
    results = Results()
    try:
        measure(plan, results, console, arguments.folder)
    except PeerFailed as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return EXIT_FAILED
    report(console, plan, results)
    written: list[tuple[Path | None, Callable[[], str]]] = [
        (arguments.json, lambda: json.dumps(results.as_json(plan), indent=1) + "\n"),
        (arguments.document, lambda: document.text(results.samples, results.keys, plan.rounds)),
    ]
    for path, content in written:
        try:
            if path is not None:
                path.write_text(content(), encoding="utf-8")
        except OSError as error:
            print(f"benchmarks: {path}: {error.strerror}", file=sys.stderr)
            return EXIT_FAILED
    return 0


def measure(plan: Plan, results: Results, console: Console, folder: Path | None) -> None:
    """Start what there is, and run all rounds. folder: for the files; None: the system's own. Raises PeerFailed."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-", dir=folder) as made, ExitStack() as running:
        file_url, memory_url = running.enter_context(bundled_target(Path(made)))
        targets = {FILE: file_url, MEMORY: memory_url}
        digests = bundled_target(Path(made), "digests", header_digest=True)
        targets[FILE_DIGEST], targets[MEMORY_DIGEST] = running.enter_context(digests)
        try:
            for control, (name, keys) in enumerate(TGTDS.items(), 1):
                targets[name] = running.enter_context(tgtd(Path(made), control=control, keys=keys))
        except PeerMissing as error:
            results.missing.append(str(error))
        clients = available_clients(results)
        with console.status("negotiating") as status:
            for client in clients:
                for target in (FILE, FILE_DIGEST, TGTD, DIGEST, TUNED):
                    if target in targets and any(client.fits(each) and measured(each, target) for each in WORKLOADS):
                        results.keys[client.name, target] = negotiated(client, targets[target])
            for number in range(plan.rounds):
                status.update(f"round {number + 1} of {plan.rounds}")
                one_round(plan, number, clients, targets, results)
            status.update("codec and rule book")
            results.codec = wire.speeds(plan.codec_seconds)
            microseconds, pdus, findings = rulebook.measure(plan.rulebook_commands, events=False)
            with_events, _, _ = rulebook.measure(plan.rulebook_commands, events=True)
            results.rulebook = {
                "us_per_pdu": microseconds,
                "us_per_pdu_with_events": with_events,
                "pdus": pdus,
                "findings": findings,
            }


def available_clients(results: Results) -> list[Client]:
    """The clients that are there."""
    makers: Sequence[Callable[[], Client]] = (Bundled, BundledTuned, IscsiPerf, QemuImg, BareAsyncio, Bare)
    clients: list[Client] = []
    for make in makers:
        try:
            clients.append(make())
        except PeerMissing as error:
            results.missing.append(str(error))
    return clients


def one_round(plan: Plan, number: int, clients: Sequence[Client], targets: dict[str, str], results: Results) -> None:
    """Everything once; every other round begins with the other target. Raises PeerFailed."""
    order = list(targets.items()) if number % 2 == 0 else list(reversed(targets.items()))
    loopback = Loopback()
    for workload in WORKLOADS:
        results.add(loopback.name, workload, loopback.name, loopback.run(workload, plan.seconds / 2))
        for client in clients:
            if not client.fits(workload) or (number >= plan.long_rounds and client.shortest > plan.seconds):
                continue
            for target, url in order:
                if not measured(workload, target):
                    continue
                results.add(client.name, workload, target, client.run(url, workload, plan.seconds))


def measured(workload: Workload, target: str) -> bool:
    """Whether that is measured of that target: tgtd with digests where one is wanted, tuned where it helps."""
    if target == TUNED:
        return workload == WRITE_LARGE
    return (target in WITH_DIGEST) == workload.header_digest


def compared(workload: Workload) -> tuple[str, str, str]:
    """The targets of a workload: the bundled one with a file and with memory, and tgtd."""
    return WITH_DIGEST if workload.header_digest else (FILE, MEMORY, TGTD)


def report(console: Console, plan: Plan, results: Results) -> None:
    """Print every table."""
    for line in results.missing:
        console.print(f"left out: {line}", highlight=False)
    with_tgtd = any(target == TGTD for _, target in results.keys)
    _report_targets(console, plan, results, with_tgtd=with_tgtd)
    _report_initiator(console, results, [FILE, MEMORY, *([TGTD] if with_tgtd else [])])
    rows = [
        [key, *(" / ".join(value or "-" for value in declared[key]) for declared in results.keys.values())]
        for key in KEYS
    ]
    columns = [f"{client} with {target.replace(', file', '')}" for client, target in results.keys]
    show(console, "Keys as declared at login (initiator / target)", ["key", *columns], rows)
    _report_wire(console, results)


def _report_targets(console: Console, plan: Plan, results: Results, *, with_tgtd: bool) -> None:
    rows = []
    for workload in WORKLOADS:
        for client in dict.fromkeys(client for client, _ in results.keys):
            ours, memory, theirs = (results.of(client, workload, name) for name in compared(workload))
            if not ours:
                continue
            row = [f"{workload} ({workload.unit})", client, figures(Spread.of(ours)), figures(Spread.of(memory))]
            if with_tgtd:
                row += [
                    figures(Spread.of(theirs)),
                    *(factor(Spread.of_ratios(each, theirs)) for each in (ours, memory)),
                ]
                tuned = results.of(client, workload, TUNED)
                row += [figures(Spread.of(tuned)), factor(Spread.of_ratios(ours, tuned))] if tuned else ["", ""]
            rows.append(row)
    header = ["work", "client", FILE, MEMORY]
    if with_tgtd:
        header += [TGTD, "file / tgtd", "memory / tgtd", TUNED, "file / tuned"]
    rounds = f"{plan.rounds} rounds"
    if plan.long_rounds != plan.rounds:
        rounds += f", {plan.long_rounds} of clients that run for whole seconds"
    show(console, f"Targets ({rounds}; median, lowest–highest)", header, rows)


def _report_initiator(console: Console, results: Results, targets: Sequence[str]) -> None:
    ours = (Bundled.name, BundledTuned.name)
    others = list(dict.fromkeys(client for client, _ in results.keys if client not in ours))
    rows = []
    for workload in WORKLOADS:
        ceiling = results.of(Loopback.name, workload, Loopback.name)
        for client, target in product(ours, targets):
            speeds = results.of(client, workload, target)
            if not speeds:
                continue
            row = [f"{workload} ({workload.unit})", client, target, figures(Spread.of(speeds))]
            for other in others:
                theirs = results.of(other, workload, target)
                row.append(factor(Spread.of_ratios(speeds[: len(theirs)], theirs)) if theirs else "")
            rows.append([*row, figures(Spread.of(ceiling)), factor(Spread.of_ratios(speeds, ceiling))])
    header = ["work", "client", "target", "speed", *(f"/ {other}" for other in others), Loopback.name, "/ loopback"]
    show(console, "Bundled initiator, its ratio to other initiators, and to two bare Python loops", header, rows)


def _report_wire(console: Console, results: Results) -> None:
    speeds: dict[str, dict[tuple[str, bool], float]] = {}
    for what, pdu, digests, speed in results.codec:
        speeds.setdefault(what, {})[pdu, digests] = speed
    places = list(dict.fromkeys((pdu, digests) for _, pdu, digests, _ in results.codec))
    header = ["PDUs per second", *(pdu + (", digests" if digests else "") for pdu, digests in places)]
    rows = [
        [what, *(f"{found[place]:,.0f}" if place in found else "" for place in places)]
        for what, found in speeds.items()
    ]
    show(console, f"Codec, framer and faults in one process, batches of {wire.BATCH}", header, rows)
    book = results.rulebook
    console.print(
        f"\nrule book: {book['us_per_pdu']:.2f} us per PDU over {book['pdus']:.0f} PDUs, "
        f"{book['us_per_pdu_with_events']:.2f} us with the events that it predicts "
        f"(budget {rulebook.BUDGET:g}), {book['findings']:.0f} findings",
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
