"""The figures as a page of Markdown: speeds, ratios and the bars they are held to, and the keys that were negotiated."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keys import KEYS, Declared
from measure import Spread
from tables import factor, figures
from workload import READ_ALONE, READ_DIGEST, READ_LARGE, READ_MANY, WRITE_ALONE, WRITE_LARGE, WRITE_MANY, Workload

Samples = Mapping[tuple[str, Workload, str], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row: a workload under one client, target beside other, and the least ratio that is good enough (None: told
    without a bar).
    """

    workload: Workload
    client: str
    target: str
    other: str
    bar: float | None


COMPARISONS = (
    Comparison(READ_MANY, "iscsi-perf", "bundled, file", "tgtd", 1.3),
    Comparison(READ_DIGEST, "iscsi-perf", "bundled, file, digests", "tgtd, digests", 1.3),
    Comparison(WRITE_MANY, "qemu-img bench", "bundled, file", "tgtd", 1.2),
    Comparison(READ_ALONE, "iscsi-perf", "bundled, file", "tgtd", None),
    Comparison(WRITE_ALONE, "qemu-img bench", "bundled, file", "tgtd", None),
    Comparison(READ_LARGE, "iscsi-perf", "bundled, file", "tgtd", 1.5),
    Comparison(READ_LARGE, "iscsi-perf", "bundled, memory", "tgtd", 2.0),
    Comparison(WRITE_LARGE, "qemu-img bench", "bundled, file", "tgtd", 2.0),
    Comparison(WRITE_LARGE, "qemu-img bench", "bundled, file", "tgtd, tuned", 1.2),
)


@dataclass(frozen=True, slots=True)
class Initiators:
    """One row: a workload from one target, the bundled initiator beside another one, and the least ratio (None: told
    without a bar).
    """

    workload: Workload
    client: str
    other: str
    bar: float | None


TARGET = "tgtd"
BUNDLED, BUNDLED_TUNED = "bundled initiator", "bundled initiator, tuned"
INITIATORS = (
    Initiators(READ_MANY, BUNDLED, "iscsi-perf", 0.95),
    Initiators(READ_LARGE, BUNDLED_TUNED, "iscsi-perf", 0.95),
    Initiators(READ_LARGE, BUNDLED, "iscsi-perf", None),
    Initiators(READ_LARGE, "bare asyncio loop", "iscsi-perf", None),
    Initiators(READ_LARGE, "bare epoll loop", "iscsi-perf", None),
    Initiators(WRITE_MANY, BUNDLED, "qemu-img bench", 0.95),
    Initiators(WRITE_LARGE, BUNDLED, "qemu-img bench", 0.95),
)

TUNING = """
The bundled initiator has its defaults, which are Appendix F of the guide. "tuned" is one setting of an operator's besides:
MaxRecvDataSegmentLength=262144, which is what libiscsi declares by itself, below iscsi-perf and QEMU alike. By default it is
65536, so that 256 KiB come in four PDUs in place of one. tgtd makes a dozen system calls for each PDU, and a reader waits for
it most of the time; that row is told without a bar.

The bare loops are no initiators: they trust the target in everything and do nothing besides (`benchmarks/bare.py`), the one
with asyncio, a task and a future for each transfer, the other without. On two processors tgtd, its workers and the client
share the time, so that whatever a client spends on a transfer is taken from tgtd. They show how near one in Python can come.
"""

HEAD = """# The bundled target beside tgtd, and the bundled initiator beside libiscsi and QEMU

Repeat it on a quiet machine with the Debian packages tgt, libiscsi-bin, qemu-utils and qemu-block-extra:

    tox -e bench -- --document FILE

Reads are loaded by libiscsi's `iscsi-perf`, writes by `qemu-img bench -w`; every logical unit is a file of 256 MiB in the
page cache without a disk below it, or memory where it says so. In each round every client meets every target once, in
changing order. Speeds are `median (lowest–highest)` of the rounds, ratios are taken round by round; the median is what a bar
is held against. At depth 1 there is no bar: there the scheduler decides who wins. "digests": both targets take nothing but
CRC32C from a client that offers None,CRC32C for headers. "tgtd, tuned" has segments and bursts of 256 KiB and InitialR2T=No.
"""


def text(samples: Samples, declared: Mapping[tuple[str, str], Declared], rounds: int) -> str:
    """The page. samples: transfers per second, round by round."""
    machine = f"{platform.system()}, {os.cpu_count()} processors, Python {platform.python_version()}; {rounds} rounds."
    lines = [HEAD, machine, ""]
    header = ["work", "client", "target", "speed", "other", "its speed", "ratio", "bar"]
    lines += _table(header, [row for each in COMPARISONS if (row := _row(samples, each))])
    lines += ["", "## The bundled initiator beside libiscsi's and QEMU's, from the same tgtd", TUNING]
    header = ["work", "client", "speed", "other", "its speed", "ratio", "bar"]
    lines += _table(header, [row for each in INITIATORS if (row := _initiators(samples, each))])
    lines += ["", "## Keys as declared at login (initiator / target)", ""]
    header = ["key", *(f"{client} with {target.replace(', file', '')}" for client, target in declared)]
    rows = [[key, *(" / ".join(value or "-" for value in each[key]) for each in declared.values())] for key in KEYS]
    return "\n".join([*lines, *_table(header, rows)]) + "\n"


def _row(samples: Samples, row: Comparison) -> list[str]:
    ours, theirs = (samples.get((row.client, row.workload, name), ()) for name in (row.target, row.other))
    if not ours or not theirs:
        return []
    in_units = row.workload.in_units
    return [
        f"{row.workload} ({row.workload.unit})",
        row.client,
        row.target,
        figures(Spread.of([in_units(each) for each in ours])),
        row.other,
        figures(Spread.of([in_units(each) for each in theirs])),
        factor(Spread.of_ratios(ours[: len(theirs)], theirs)),
        "" if row.bar is None else f"{row.bar:g}",
    ]


def _initiators(samples: Samples, row: Initiators) -> list[str]:
    ours, theirs = (samples.get((client, row.workload, TARGET), ()) for client in (row.client, row.other))
    if not ours or not theirs:
        return []
    in_units = row.workload.in_units
    return [
        f"{row.workload} ({row.workload.unit})",
        row.client,
        figures(Spread.of([in_units(each) for each in ours])),
        row.other,
        figures(Spread.of([in_units(each) for each in theirs])),
        factor(Spread.of_ratios(ours[: len(theirs)], theirs)),
        "" if row.bar is None else f"{row.bar:g}",
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]
