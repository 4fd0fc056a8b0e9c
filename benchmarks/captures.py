"""Captures beside tshark: a capture of many PDUs is made with the project's own writer, then both read it by turns.

    python benchmarks/captures.py                    100 thousand PDUs, five rounds
    python benchmarks/captures.py --pdus 500000
    python benchmarks/captures.py --review           the command `iscsi-captures review` too: rule book, events, advice
    python benchmarks/captures.py --mtu 65500        as on loopback or with TSO; 1500 where nothing else is said
    python benchmarks/captures.py --size 2GiB        one pass of ours over a file of that size: time and peak memory

The capture holds reads and writes of 4 KiB and 64 KiB by turns on one connection. Times are of whole processes, those of
`tshark -r FILE -T fields -e iscsi.opcode` among them, with the byte code of ours compiled before, as it is where the package
is installed; ratios are taken round by round. CPU is the time that the process had of its processor, which other work on the
machine disturbs less. Memory is the most that it had. The file lies in memory, unless TMPDIR says where.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from iscsi_captures.pcapng import PcapngWriter
from iscsi_captures.tcp import TcpSynthesis
from iscsi_protocol.history import Endpoint, Record, TransportEvent, TransportRecord
from iscsi_protocol.stream import Direction
from measure import Spread
from rulebook import history

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
TSHARK = ("-T", "fields", "-e", "iscsi.opcode")
_SHARED_MEMORY = Path("/dev/shm")
_INITIATOR, _TARGET = Endpoint("10.0.0.1", 49200), Endpoint("10.0.0.2", 3260)
_STEP = 20_000
"""Nanoseconds from frame to frame."""
_FIRST = 1_700_000_000 * 10**9

READING = """
import sys
from iscsi_captures.reading import read
class Nothing:
    def record(self, record, first, last): pass
    def note(self, note): pass
totals = read([sys.argv[1]], Nothing())
print(sum(totals.pdus.values()), "PDUs")
"""
REVIEW = "from iscsi_captures.cli import main; main()"
PROGRAMS = {"reading": (READING,), "review": (REVIEW, "review")}
_PDUS = re.compile(r"(\d+) PDUs")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a process: seconds, seconds of CPU, peak bytes of memory, what it printed."""

    seconds: float
    cpu: float
    memory: int
    output: str


def records(pdus: int) -> Iterator[Record]:
    """A login, then about so many PDUs of reads and writes."""
    yield TransportRecord(1, 0.0, TransportEvent.CONNECT, _INITIATOR, _TARGET)
    yield TransportRecord(1, 0.0, TransportEvent.CONNECTED, _INITIATOR, _TARGET)
    # Four commands are 28 PDUs of the rule book's run: 9 + 11 + 9 + 2, give or take the small ones.
    dialogue = history(max(1, pdus * 4 // 31))
    yield from dialogue[1:]
    yield TransportRecord(1, 0.0, TransportEvent.FIN, direction=Direction.TO_TARGET)
    yield TransportRecord(1, 0.0, TransportEvent.FIN, direction=Direction.TO_INITIATOR)


def write(path: Path, pdus: int, *, mtu: int, size: int = 0) -> int:
    """Write the capture; PDUs in it. size: repeat the connection from another port until there are so many bytes."""
    count = 0
    now = _FIRST
    with path.open("wb", buffering=1 << 20) as stream:
        writer = PcapngWriter(stream)
        writer.add_interface()
        port = _INITIATOR.port
        while True:
            synthesis = TcpSynthesis(mtu)
            initiator = Endpoint(_INITIATOR.host, port)
            for record in records(pdus):
                if isinstance(record, TransportRecord):
                    record = TransportRecord(1, 0.0, record.event, initiator, _TARGET, record.direction)
                else:
                    count += 1
                for _, frame, _ in synthesis.record(record):
                    now += _STEP
                    writer.write_packet(now, frame)
            for _, frame, _ in synthesis.flush():
                now += _STEP
                writer.write_packet(now, frame)
            port += 1
            if stream.tell() >= size:
                return count


def run(command: Sequence[str]) -> Run:
    """Run it to its end. Raises RuntimeError when it fails, as a review does that finds something in a right capture."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    output = process.stdout.read()
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{command[0]} failed: {errors.strip()}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, output)


def ours(path: Path, program: Sequence[str]) -> Run:
    """The reading, or all of the review."""
    return run([sys.executable, "-c", *program, str(path)])


def pdus_in(output: str) -> int:
    """How many PDUs a program of ours has seen."""
    found = _PDUS.search(output)
    return int(found[1]) if found is not None else 0


def tshark(path: Path) -> Run:
    """What it is held against."""
    return run(["tshark", "-r", str(path), *TSHARK])


def size_of(text: str) -> int:
    """Bytes of a text such as 2GiB. Raises ValueError."""
    for unit, factor in UNITS.items():
        if text.endswith(unit):
            return int(float(text.removesuffix(unit)) * factor)
    return int(text)


def compare(path: Path, rounds: int, programs: Mapping[str, Sequence[str]]) -> bool:
    """Print times and ratios; whether all saw the same number of PDUs."""
    samples: dict[str, list[Run]] = {name: [] for name in ("tshark", *programs)}
    for _ in range(rounds):
        samples["tshark"].append(tshark(path))
        for name, program in programs.items():
            samples[name].append(ours(path, program))
    their_cpu = [sample.cpu for sample in samples["tshark"]]
    theirs = [sample.seconds for sample in samples["tshark"]]
    seen = sum(len(line.split(",")) for line in samples["tshark"][0].output.split("\n") if line.strip())
    same = True
    for name, runs in samples.items():
        seconds = Spread.of([sample.seconds for sample in runs])
        ratio = Spread.of_ratios([sample.seconds for sample in runs], theirs)
        cpu = Spread.of_ratios([sample.cpu for sample in runs], their_cpu)
        memory = max(sample.memory for sample in runs) / 2**20
        pdus = seen if name == "tshark" else pdus_in(runs[0].output)
        same = same and pdus == seen
        print(
            f"{name:8} {seconds.median:6.2f} s ({seconds.low:.2f}-{seconds.high:.2f})  {ratio.median:5.3f} of tshark"
            f" ({cpu.median:5.3f} of its CPU)"
            f"  {memory:4.0f} MiB  {pdus} PDUs  {seconds.median / max(pdus, 1) * 1e6:5.2f} us per PDU"
        )
    return same


def compile_in(folder: Path) -> None:
    """Have the children find byte code in the folder, by one run of each over a small capture."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "byte-code")
    small = folder / "small.pcapng"
    write(small, 100, mtu=1500)
    for program in PROGRAMS.values():
        ours(small, program)


def main() -> int:
    """1 when the counts of PDUs differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pdus", type=int, default=100_000)
    parser.add_argument("--mtu", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=size_of, default=0, help="bytes, KiB, MiB or GiB")
    parser.add_argument("--review", action="store_true", help="all of the review too")
    options = parser.parse_args()
    programs = {name: program for name, program in PROGRAMS.items() if options.review or name != "review"}
    folder = _SHARED_MEMORY if _SHARED_MEMORY.is_dir() and "TMPDIR" not in os.environ else None
    with tempfile.TemporaryDirectory(prefix="captures-", dir=folder) as name:
        compile_in(Path(name))
        path = Path(name) / "capture.pcapng"
        wanted = min(options.pdus, 50_000) if options.size else options.pdus
        # Not here: the most memory that a child had is never less than what this process had when it began it.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as writer:
            pdus = writer.submit(write, path, wanted, mtu=options.mtu, size=options.size).result()
        print(f"{pdus} PDUs, {path.stat().st_size / 2**20:.0f} MiB, MTU {options.mtu}")
        if not options.size:
            return int(not compare(path, options.rounds, programs))
        for label, program in programs.items():
            result = ours(path, program)
            print(
                f"{label:8} {result.seconds:6.2f} s  {result.memory / 2**20:4.0f} MiB at most  {pdus_in(result.output)} PDUs"
            )
    return 0


if __name__ == "__main__":
    # The children import what this program does.
    os.environ.setdefault("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(main())
