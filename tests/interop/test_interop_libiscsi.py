"""Every test of libiscsi's iscsi-test-cu against `iscsi-target serve` in four configurations, held to docs/libiscsi.md.

Each suite runs in a process of its own with two paths to the unit. A test counts when it passes, unskipped, in at least
one configuration. The document says which tests a configuration leaves out, which are skipped everywhere, and the figures.
"""

from __future__ import annotations

import faulthandler
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
"""Seconds for one suite, then its tests that did not end count as failed."""

MOST_SKIPPED = 12
SERVE = [sys.executable, "-c", "from iscsi_target.cli import main; main()", "serve"]
ENDED = re.compile(r"(?:\.\.\.|^)(passed|FAILED)", re.MULTILINE)

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


def run(tool: Path, names: str, tests: list[str], portals: list[str]) -> dict[str, Result]:
    """Run a suite, or a single test, with a path through each portal; what became of each of its tests."""
    urls = [f"iscsi://{portal}/{TARGET}/0" for portal in portals]
    command = [str(tool), "--dataloss", "--allow-sanitize", "--Verbose-scsi", "--test", f"ALL.{names}", *urls]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as late:
        return judged((late.stdout or b"").decode(errors="replace"), tests)
    return judged(done.stdout.decode(errors="replace"), tests)


def judged(output: str, tests: list[str]) -> dict[str, Result]:
    """What a run says about each test. One that did not come to its end failed; a skipped one is called passed."""
    _, *parts = re.split(r"^  Test: ", output.partition("\nRun Summary:")[0], flags=re.MULTILINE)
    said = {part.partition(" ...")[0]: part for part in parts}
    return {name: _judged(said.get(name.partition(".")[2], "")) for name in tests}


def _judged(part: str) -> Result:
    ended = ENDED.search(part)
    if ended is None or ended.group(1) != "passed":
        return Result(Outcome.FAILED, part)
    return Result(Outcome.SKIPPED if "[SKIPPED]" in part[: ended.start()] else Outcome.PASSED, part)


def runs(tests: list[str], chosen: list[str]) -> list[tuple[str, list[str]]]:
    """What to run: suites as a whole, since their tests lean on each other, and the rest of incomplete suites singly."""
    suites = dict.fromkeys(name.partition(".")[0] for name in chosen)
    found: list[tuple[str, list[str]]] = []
    for suite in suites:
        whole = [name for name in tests if name.startswith(f"{suite}.")]
        wanted = [name for name in whole if name in chosen]
        found += [(suite, whole)] if wanted == whole else [(name, [name]) for name in wanted]
    return found


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
            found: dict[str, Result] = {}
            for what, members in runs(tests, names):
                found |= run(tool, what, members, portals)
            return found

    with ThreadPoolExecutor(len(CONFIGURATIONS) + 1) as pool:
        begun = {ALONE: pool.submit(job, ALONE[0], tmp_path_factory.mktemp("alone"), [ALONE[1]])}
        for each in CONFIGURATIONS:
            names = [name for name in chosen(tests, each) if (each, name) != ALONE]
            begun[each, ""] = pool.submit(job, each, tmp_path_factory.mktemp(each), names)
        yield begun


@pytest.fixture(scope="session")
def results(running: dict[tuple[str, str], Future[dict[str, Result]]]) -> Results:
    """All results, by configuration and test. They may take longer than a single test should; each suite has its limit."""
    faulthandler.cancel_dump_traceback_later()
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
    assert [[row[0], *row[2:]] for row in rows("Configurations")] == measured, measured


OUTPUT = """Suite: S
  Test: A ...    note
passed
  Test: B ...    [SKIPPED] no such command
passed
  Test: C ...    [FAILED] wrong sense
FAILED
    1. c.c:1  - CU_ASSERT
  Test: D ...passed    [SKIPPED] what the suite says at its end

Run Summary:    Type  Total
"""


def test_outcomes_are_told_apart() -> None:
    """A skip does not pass, what the suite says is no skip, and what never ended failed."""
    found = judged(OUTPUT, ["S.A", "S.B", "S.C", "S.D", "S.E"])
    passed, skipped, failed = Outcome
    assert [each.outcome for each in found.values()] == [passed, skipped, failed, passed, failed]
    assert judged("Suite: S\n  Test: A ...    note\n", ["S.A"])["S.A"].outcome is failed


def test_incomplete_suites_run_singly() -> None:
    assert runs(["S.A", "S.B", "T.A", "T.B"], ["S.A", "S.B", "T.B"]) == [("S", ["S.A", "S.B"]), ("T.B", ["T.B"])]
