"""Every test of libiscsi's iscsi-test-cu against `iscsi-target serve` in four configurations, held to docs/libiscsi.md.

Each test runs in a process of its own with two paths to the unit. It counts when it passes, unskipped, in at least one
configuration. The document says which tests a configuration leaves out, which are skipped everywhere, and the figures.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest

CONFIGURATIONS = ("disk", "memory", "removable", "read-only")
ALONE = ("memory", "Sanitize.Reset")
"""Sleeps for a minute by itself, so it has a server of its own."""

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "docs" / "libiscsi.md"
TARGET = "iqn.2026-11.org.example:libiscsi"
IMAGE_SIZE = 64 << 20
PATIENCE = 100
"""Seconds for one test, then it counts as failed."""

MOST_SKIPPED = 12
SERVE = [sys.executable, "-c", "from iscsi_target.cli import main; main()", "serve"]
ENDED = re.compile(r"(?:\.\.\.|^)(?:passed|FAILED)", re.MULTILINE)

Peer = Callable[[str], Path]


class Outcome(Enum):
    """How a test ended."""

    PASSED = "passed"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True)
class Result:
    """One test in one configuration, with what the tool printed."""

    outcome: Outcome
    output: str


@contextmanager
def served(configuration: str, folder: Path) -> Iterator[list[str]]:
    """Serve a configuration in a folder that has disk.img; gives the portals."""
    with (folder / "disk.img").open("wb") as image:
        image.truncate(IMAGE_SIZE)
    command = [*SERVE, "--config", str(HERE / "configs" / f"{configuration}.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stdout is not None
        try:
            portals: list[str] = json.loads(process.stdout.readline())["ready"]
            yield portals
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0


def run(tool: Path, test: str, portals: list[str]) -> Result:
    """Run one test with a path through each portal."""
    urls = [f"iscsi://{portal}/{TARGET}/0" for portal in portals]
    command = [str(tool), "--dataloss", "--allow-sanitize", "--Verbose-scsi", "--test", f"ALL.{test}", *urls]
    try:
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as late:
        return Result(Outcome.FAILED, f"no end within {PATIENCE} s\n{late.stdout!r}")
    return judged(done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace"), done.returncode)


def judged(output: str, code: int) -> Result:
    """What a run of a single test says. A skipped test counts as passed in the tool's own summary."""
    totals = re.search(r"^\s+tests\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)", output, re.MULTILINE)
    begin = re.search(r"^  Test: ", output, re.MULTILINE)
    if code or totals is None or begin is None or totals.groups() != ("1", "1", "1", "0"):
        return Result(Outcome.FAILED, output)
    ended = ENDED.search(output, begin.end())
    said = output[begin.end() : ended.start() if ended else None]
    return Result(Outcome.SKIPPED if "[SKIPPED]" in said else Outcome.PASSED, output)


def rows(heading: str) -> list[list[str]]:
    """The table below a heading of the document, cell by cell, without its head."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[1:]]


def left_out(configuration: str) -> list[str]:
    """The suites and tests that the document leaves out of a configuration."""
    return [
        test for where, tests, _ in rows("Left out") if where == configuration for test in re.split(r"`?, `?", tests)
    ]


def chosen(tests: list[str], configuration: str) -> list[str]:
    """The tests that run in a configuration."""
    out = left_out(configuration)
    return [test for test in tests if test not in out and test.partition(".")[0] not in out]


@pytest.fixture(scope="session")
def tests(peer: Peer) -> list[str]:
    """Every unique test as SUITE.TEST; the families ALL, SCSI, LINUX and iSCSI overlap."""
    done = subprocess.run(
        [str(peer("iscsi-test-cu")), "--list"], capture_output=True, text=True, timeout=30, check=True
    )
    names = (line.strip().partition(".")[2] for line in done.stdout.splitlines() if line.count(".") == 2)
    return list(dict.fromkeys(names))


Results = Mapping[str, Mapping[str, Result]]


@pytest.fixture(scope="session")
def running(
    peer: Peer, tests: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, str], Future[dict[str, Result]]]]:
    """The runs of all configurations, begun at once."""
    tool = peer("iscsi-test-cu")

    def job(configuration: str, folder: Path, names: list[str]) -> dict[str, Result]:
        with served(configuration, folder) as portals:
            return {name: run(tool, name, portals) for name in names}

    with ThreadPoolExecutor(len(CONFIGURATIONS) + 1) as pool:
        begun = {ALONE: pool.submit(job, ALONE[0], tmp_path_factory.mktemp("alone"), [ALONE[1]])}
        for each in CONFIGURATIONS:
            names = [name for name in chosen(tests, each) if (each, name) != ALONE]
            begun[each, ""] = pool.submit(job, each, tmp_path_factory.mktemp(each), names)
        yield begun


@pytest.fixture(scope="session")
def results(running: dict[tuple[str, str], Future[dict[str, Result]]]) -> Results:
    """All results, by configuration and test."""
    found: dict[str, dict[str, Result]] = {each: {} for each in CONFIGURATIONS}
    for (configuration, _), run_of in running.items():
        found[configuration] |= run_of.result()
    return found


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_no_test_of_libiscsi_fails(configuration: str, results: Results) -> None:
    failed = {name: each for name, each in results[configuration].items() if each.outcome is Outcome.FAILED}
    assert not failed, "\n".join(f"=== {name}\n{each.output[-3000:]}" for name, each in failed.items())


def test_skips_are_those_of_the_document(tests: list[str], results: Results) -> None:
    """A test that passes nowhere without a skip has its reason in the document, and no other test has one."""
    passed = {name for each in results.values() for name, found in each.items() if found.outcome is Outcome.PASSED}
    documented = {row[0]: row[1] for row in rows("Skipped everywhere")}
    assert set(tests) - passed == set(documented)
    assert len(documented) <= MOST_SKIPPED
    assert all(documented.values())


def test_what_is_left_out_exists_and_runs_elsewhere(tests: list[str], results: Results) -> None:
    names = {*tests, *(name.partition(".")[0] for name in tests)}
    assert {where for where, _, _ in rows("Left out")} <= set(CONFIGURATIONS)
    for configuration in CONFIGURATIONS:
        assert set(left_out(configuration)) <= names
    assert {name for each in results.values() for name in each} == set(tests)


def test_figures_are_those_of_the_document(tests: list[str], results: Results) -> None:
    measured = []
    for each in CONFIGURATIONS:
        counts = Counter(found.outcome for found in results[each].values())
        figures = [len(tests) - len(results[each]), *(counts[outcome] for outcome in Outcome)]
        measured.append([each, *map(str, figures)])
    assert [[row[0], *row[2:]] for row in rows("Configurations")] == measured


SAID = "Suite: S\n  Test: T ...{}\n\nRun Summary:\n               tests      1      1      {}      {}        0\n"


def test_outcomes_are_told_apart() -> None:
    """What the tool prints around the test itself does not count, and a skip does not pass."""
    passed = SAID.format("    note\npassed    [SKIPPED] something of the suite", 1, 0)
    assert judged(passed, 0).outcome is Outcome.PASSED
    assert judged(passed, 1).outcome is Outcome.FAILED
    assert judged(SAID.format("    [SKIPPED] no such command\npassed", 1, 0), 0).outcome is Outcome.SKIPPED
    assert judged(SAID.format("FAILED", 0, 1), 0).outcome is Outcome.FAILED
    assert judged("Suite: S\n  Test: T ...", 0).outcome is Outcome.FAILED
