"""A whole run: choose cases, bring up the environment, let pytest run them, and leave the results behind.

With several jobs each worker process has a batch of the cases and an environment of its own; results meet here.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pytest

from iscsi_captures.pcapng import PcapngRecorder
from iscsi_conformance.case import BENCH_ROLES, Case, Role, load_cases
from iscsi_conformance.environments import EnvironmentSpec, open_environment
from iscsi_conformance.execute import Options, run_case
from iscsi_conformance.expected import ExpectedFailure, apply_expected, is_news
from iscsi_conformance.judge import RuleBookJudge
from iscsi_conformance.peer import Environment, answers
from iscsi_conformance.plugin import CasePlugin
from iscsi_conformance.proof import proven_of
from iscsi_conformance.recorder import Recorder
from iscsi_conformance.result import CaseResult, Results, coverage_of, summary_of
from iscsi_conformance.rules import broken_rules
from iscsi_conformance.verdict import Exit, PeerGone, Verdict, WrongProfile, exit_code
from iscsi_conformance.virtual import run_virtual

FIRST_SUSPECT = "the product was gone afterwards; this case was in flight and is the first suspect"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What the operator asked for. roles: whom to judge; expression: pytest's -k over case ids, areas and requirements.

    time_limit: seconds for the whole run, None for no limit. out: folder for captures, None records none.
    """

    spec: EnvironmentSpec
    roles: frozenset[Role]
    expression: str = ""
    jobs: int = 1
    destructive: bool = False
    strict: bool = False
    time_limit: float | None = None
    expected: Mapping[str, ExpectedFailure] = field(default_factory=dict)
    out: Path | None = None
    seed: int = 0


@dataclass(kw_only=True)
class Batch:
    """What one worker brings back. trouble: how the batch ended before its time, None for a whole one."""

    results: list[CaseResult] = field(default_factory=list)
    selected: list[str] = field(default_factory=list)
    offers: list[str] = field(default_factory=list)
    trouble: Exit | None = None
    message: str = ""


OnResult = Callable[[CaseResult], None]
OnSelected = Callable[[int], None]


def run(options: RunOptions, on_result: OnResult, on_selected: OnSelected) -> tuple[Results, Exit, str]:
    """Run everything asked for. Gives the results, the exit code and a line about trouble ("" for none).

    on_selected: told how many cases will run; on_result: told of each as it ends. Raises CaseError for a broken case table.
    """
    cases = load_cases()
    foreign_initiator = options.spec.kind == "initiator"
    wanted = [
        case.id for case in cases.values() if case.role in options.roles and (case.wire_only or not foreign_initiator)
    ]
    if options.jobs == 1:
        batches = [run_batch(options, wanted, on_result, on_selected)]
    else:
        batches = _run_parallel(options, wanted, on_result, on_selected)
    results = _collect(options, batches, cases)
    troubles = [batch.trouble for batch in batches if batch.trouble is not None]
    code = exit_code(_news(results), strict=options.strict, also=troubles)
    return results, code, next((batch.message for batch in batches if batch.message), "")


def run_batch(
    options: RunOptions, wanted: Sequence[str], on_result: OnResult, on_selected: OnSelected = lambda _: None
) -> Batch:
    """Run some cases in this process, one after the other."""
    batch = Batch()
    deadline = None if options.time_limit is None else time.monotonic() + options.time_limit
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            environment = runner.run(stack.enter_async_context(open_environment(options.spec)))
        except (PeerGone, WrongProfile) as trouble:
            return Batch(trouble=Exit.UNREACHABLE, message=trouble.reason)
        batch.offers = answers(environment.offers)

        def execute(case: Case) -> CaseResult:
            if case.virtual and options.spec.kind == "bundled":
                return run_virtual(_execute_in_memory(case, options))
            return runner.run(_execute(case, environment, options))

        def done(result: CaseResult) -> str | None:
            apply_expected(result, options.expected.get(result.id), dt.datetime.now(tz=dt.UTC).date())
            batch.results.append(result)
            on_result(result)
            if result.verdict is Verdict.INCONCLUSIVE and result.evidence.gone:
                # An initiator is gone where its command cannot be started, which is no case's doing.
                why = result.reason if options.spec.kind == "initiator" else FIRST_SUSPECT
                batch.trouble, batch.message = Exit.UNREACHABLE, f"{result.id}: {why}"
                return batch.message
            if deadline is not None and time.monotonic() > deadline:
                batch.trouble, batch.message = Exit.INTERRUPTED, "the time limit of the run was reached"
                return batch.message
            return None

        plugin = CasePlugin(wanted, execute, done, selected=on_selected)
        code = _pytest(options, plugin)
        batch.selected = plugin.selected
        if code == pytest.ExitCode.INTERRUPTED and batch.trouble is None:
            batch.trouble, batch.message = Exit.INTERRUPTED, "interrupted"
        elif code == pytest.ExitCode.USAGE_ERROR:
            batch.trouble, batch.message = (
                Exit.USAGE,
                plugin.complaint or f"{options.expression!r} is no expression for -k",
            )
        elif code == pytest.ExitCode.INTERNAL_ERROR or plugin.complaint:
            batch.trouble, batch.message = Exit.OWN_DEFECT, plugin.complaint
        runner.run(stack.aclose())
    return batch


def _pytest(options: RunOptions, plugin: CasePlugin) -> int:
    """Pytest with a configuration of its own, so that nothing of the user's folder leaks in."""
    root = Path(str(files("iscsi_conformance")))
    arguments = [
        str(root / "cases"),
        f"--rootdir={root}",
        f"--config-file={root / 'collect.ini'}",
        "--capture=no",
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:terminal",
        "-p",
        "no:faulthandler",
    ]
    if options.expression:
        arguments += ["-k", options.expression]
    before = os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"), os.environ.pop("PYTEST_ADDOPTS", None)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        return int(pytest.main(arguments, plugins=[plugin]))
    finally:
        for name, value in zip(("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "PYTEST_ADDOPTS"), before, strict=True):
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


async def _execute(case: Case, environment: Environment, options: RunOptions) -> CaseResult:
    """One case, recorded; what is exchanged on a bench crosses no network, and stands in the notes."""
    recorder = Recorder()
    rules = Options(destructive=options.destructive or environment.profile.destructive, judge=RuleBookJudge)
    if options.out is None or case.role in BENCH_ROLES:
        return await run_case(case, environment, rules, recorder)
    capture = Path("captures") / f"{case.id}.pcapng"
    with PcapngRecorder(options.out / capture, comment=f"case {case.id}") as pcapng:
        recorder.listen(pcapng.record)
        result = await run_case(case, environment, rules, recorder)
    result.evidence.capture = str(capture)
    return result


async def _execute_in_memory(case: Case, options: RunOptions) -> CaseResult:
    """One case about time-outs, on the virtual clock with a pair of its own."""
    async with open_environment(replace(options.spec, kind="memory"), role=case.role) as environment:
        return await _execute(case, environment, options)


def _run_parallel(
    options: RunOptions, wanted: Sequence[str], on_result: OnResult, on_selected: OnSelected
) -> list[Batch]:
    on_selected(len(wanted))
    chunks = [wanted[start :: options.jobs] for start in range(options.jobs)]
    batches: list[Batch] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        futures = [pool.submit(_silent_batch, options, chunk) for chunk in chunks if chunk]
        for future in as_completed(futures):
            batch = future.result()
            batches.append(batch)
            for result in batch.results:
                on_result(result)
    return batches


def _silent_batch(options: RunOptions, wanted: Sequence[str]) -> Batch:
    return run_batch(options, wanted, lambda _: None)


def _collect(options: RunOptions, batches: Sequence[Batch], cases: Mapping[str, Case]) -> Results:
    rows = sorted((result for batch in batches for result in batch.results), key=lambda result: result.id)
    rows += broken_rules(rows)
    proven = proven_of(cases)
    return Results(
        versions={
            "iscsi-conformance": version("iscsi-conformance"),
            "python": platform.python_version(),
            "pytest": pytest.__version__,
        },
        seed=options.seed,
        profile=options.spec.profile.name,
        dut={
            "kind": options.spec.kind,
            "portal": options.spec.profile.portal or "",
            "target_name": options.spec.profile.target_name or "",
            "lun": options.spec.profile.lun,
            "probe": next((batch.offers for batch in batches if batch.offers), []),
        },
        cases=rows,
        coverage=coverage_of(rows, proven),
        summary=summary_of(rows),
    )


def _news(results: Results) -> list[Verdict]:
    """The verdicts that count for the exit code: an expected failure is no news."""
    verdicts = []
    for result in results.cases:
        if result.expected_failure is None:
            verdicts.append(result.verdict)
        else:
            verdicts.append(Verdict.FAIL if is_news(result) else Verdict.PASS)
    return verdicts
