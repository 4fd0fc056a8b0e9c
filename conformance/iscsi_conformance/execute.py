"""Running one case to its verdict. Plain functions; the pytest plug-in and the proof both call them."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Protocol

from iscsi_captures.catalogue import Level, requirements
from iscsi_conformance.case import Case, Role
from iscsi_conformance.clock import passed
from iscsi_conformance.isns import bench_of
from iscsi_conformance.peer import Environment, Peer
from iscsi_conformance.recorder import Recorder
from iscsi_conformance.result import CaseResult, Evidence, FindingRow
from iscsi_conformance.scene import Scene
from iscsi_conformance.service.bench import ServiceBench
from iscsi_conformance.service.decorate import name_of
from iscsi_conformance.verdict import Failed, Inconclusive, Outcome, PeerGone, Skipped, Unsupported, Verdict, printable
from iscsi_initiator.requests import EventLogged
from iscsi_protocol.history import Record

LIFE_ATTEMPTS = 7
CLOSING_TIME = 15.0
"""Seconds, on the run's clock, for a stage to end."""


class Judge(Protocol):
    """The rule book at work on one history."""

    def record(self, record: Record) -> None:
        """Take the next record."""

    def findings(self, role: str) -> list[FindingRow]:
        """What this role did wrong, in order."""

    def disagreement(self, logged: Sequence[EventLogged], now: float) -> str:
        """How what the initiator logged by now differs from what the history asks for; empty where it does not."""


class MakeJudge(Protocol):
    """Makes a fresh rule book. events: it also predicts what the initiator logs."""

    def __call__(self, *, events: bool) -> Judge:
        """See there."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the operator wants of a run. judge: makes a fresh rule book for each case."""

    destructive: bool
    judge: MakeJudge


async def run_case(case: Case, environment: Environment, options: Options, recorder: Recorder) -> CaseResult:
    """Run one case against the product and say what came of it. Never raises for what the product does.

    Raises PeerGone only through the result's verdict INCONCLUSIVE and `gone`; asyncio.CancelledError passes.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    judge = options.judge(events=case.role is Role.INITIATOR)
    recorder.listen(judge.record)
    peer = Peer(environment, recorder)
    scene = _scene(case, environment, recorder)
    evidence = Evidence()
    service = ServiceBench(case.subject, environment.bench_fault, evidence.notes) if case.role is Role.SERVICE else None
    try:
        outcome = await _outcome(case, peer, scene, service, options, evidence)
        if service is not None:
            outcome = _missing_events(case, service, evidence, outcome)
    except asyncio.CancelledError:
        # The run is interrupted, and an initiator's command in a group of its own would not hear of it.
        if scene is not None:
            await _close(scene, None)
        raise
    finally:
        if service is not None:
            service.close()
    if scene is not None:
        evidence.events = scene.logged()
        if outcome is None and scene.logs_events and evidence.events != list(case.events):
            logged, due = ", ".join(evidence.events) or "nothing", ", ".join(case.events) or "nothing"
            outcome = Failed(case.subject, f"the initiator logged {logged}; {due} was due")
        predicted = "" if scene.switches or not scene.logs_events else judge.disagreement(scene.events, loop.time())
        if predicted:
            evidence.notes.append(f"the history asks for other events: {predicted}")
            outcome = outcome or Failed(case.subject, f"the history asks for other events: {predicted}")
        outcome = await _close(scene, outcome)
        evidence.notes += [printable(note) for note in scene.notes]
    findings = [finding for finding in judge.findings(case.role) if finding.rule not in case.excused]
    evidence.findings = findings
    outcome = _with_findings(case, outcome, findings, evidence)
    ending = peer.ending() if scene is None else scene.ending()
    if peer.closed_by_peer() and not isinstance(outcome, PeerGone):
        dead = await _proof_of_life(environment)
        if dead is not None:
            if outcome is not None:
                evidence.notes.append(f"before that: {outcome.reason}")
            outcome = dead
    evidence.gone = isinstance(outcome, PeerGone)
    await peer.close()
    evidence.dialogue = recorder.dialogue()
    return _result(case, environment, outcome, evidence, ending, loop.time() - started)


def _scene(case: Case, environment: Environment, recorder: Recorder) -> Scene | None:
    """The stage of an initiator-role case, None for the other role."""
    if case.role is not Role.INITIATOR:
        return None
    if environment.make_scene is not None:
        return environment.make_scene(case.id, recorder)
    if environment.open_stage is None:
        return None
    return Scene(environment.open_stage, recorder, environment.random_bytes, environment.initiator_fault)


def _missing_events(case: Case, service: ServiceBench, evidence: Evidence, outcome: Outcome | None) -> Outcome | None:
    """What a case has to log has to be in the logs of its services."""
    evidence.events = [name_of(each.record.id) for each in service.logged()]
    missing = [event for event in case.events if event not in evidence.events]
    if outcome is None and missing:
        return Failed(case.subject, f"{', '.join(missing)} was due", seen=", ".join(evidence.events) or "nothing")
    return outcome


async def _close(scene: Scene, outcome: Outcome | None) -> Outcome | None:
    """End the stage within a bounded time; one that does not end is our own defect."""
    try:
        async with asyncio.timeout(CLOSING_TIME):
            await scene.close()
    except TimeoutError:
        return _Defect(f"the stage did not end within {CLOSING_TIME:g} s")
    return outcome


async def _outcome(
    case: Case, peer: Peer, scene: Scene | None, service: ServiceBench | None, options: Options, evidence: Evidence
) -> Outcome | None:
    """How the case itself ended; None is a pass."""
    limit = case.time_limit if scene is None else max(case.time_limit, scene.time_limit)
    try:
        if case.destructive and not options.destructive and scene is None:
            raise Skipped("the case writes to the logical unit; --destructive allows it")
        for feature in case.needs:
            peer.require(feature)
        async with asyncio.timeout(limit):
            await case.function(**await _arguments(case, peer, scene, service, evidence))
    except Failed as failed:
        evidence.failed += [failed.clause, *failed.also]
        return failed
    except Unsupported as unsupported:
        evidence.probe = f"{unsupported.feature}: {unsupported.reason}"
        return unsupported
    except Outcome as outcome:
        return outcome
    except TimeoutError:
        return Inconclusive(f"the case did not end within {limit:g} s")
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - the one place where our own defects become the verdict ERROR
        evidence.notes.append(printable("".join(traceback.format_exception(error))))
        return _Defect(f"{type(error).__name__}: {error}")
    return None


class _Defect(Outcome):
    """The case or the suite is broken."""

    verdict = Verdict.ERROR


async def _arguments(
    case: Case, peer: Peer, scene: Scene | None, service: ServiceBench | None, evidence: Evidence
) -> dict[str, object]:
    """What the case asks for by the names of its parameters: peer, wire (connected), session (logged in), disk (measured),
    discovery; scene for the initiator role; isns, a bench with the server or client under test; service, one for services.
    """
    makers: Mapping[str, Callable[[], object]] = {
        "scene": lambda: scene,
        "service": lambda: service,
        "peer": lambda: peer,
        "wire": peer.connect,
        "session": peer.login,
        "disk": peer.disk,
        "discovery": peer.discovery,
        "isns": lambda: bench_of(case.role, peer.environment.bench_fault, evidence.notes),
    }
    arguments: dict[str, object] = {}
    for name in signature(case.function).parameters:
        made = makers[name]()
        arguments[name] = await made if asyncio.iscoroutine(made) else made
    return arguments


def _with_findings(
    case: Case, outcome: Outcome | None, findings: list[FindingRow], evidence: Evidence
) -> Outcome | None:
    """The rule book sits beside every case. What it finds against the case's own requirements decides with the case;
    anything else is kept as evidence, and the run reports it once a rule (`rules`), not once a case.
    """
    own = [finding for finding in findings if finding.clause in case.requirements]
    evidence.failed += [finding.clause for finding in own if finding.clause not in evidence.failed]
    broken = [finding for finding in own if finding.level == Level.MUST]
    if broken and (outcome is None or isinstance(outcome, Inconclusive)):
        return Failed(broken[0].clause, f"rule {broken[0].rule}: {broken[0].message}")
    missed = [finding for finding in own if finding.level == Level.SHOULD]
    if outcome is None and missed:
        return _Missed(f"rule {missed[0].rule}: {missed[0].message}")
    return outcome


class _Missed(Outcome):
    """A SHOULD was not met."""

    verdict = Verdict.WARN


async def _proof_of_life(environment: Environment) -> Outcome | None:
    """A product that closed a connection takes a new login within Time2Wait + 5 s; None when it does."""
    peer = Peer(environment, Recorder())
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 2 + 5
    last: Outcome = PeerGone("the product does not take connections any more")
    for attempt in range(LIFE_ATTEMPTS):
        try:
            _, login = await peer.try_login(chap=environment.profile.chap)
        except Outcome as outcome:
            last = outcome
        else:
            await peer.close()
            if login.status is not None:
                return None
        if loop.time() >= deadline or attempt == LIFE_ATTEMPTS - 1:
            break
        await passed(min(1.0, max(0.0, deadline - loop.time())))
    await peer.close()
    if isinstance(last, PeerGone):
        return last
    return Failed("R7143-4.2.1-01", f"no new login after the connection was closed: {last.reason}")


def _result(
    case: Case, environment: Environment, outcome: Outcome | None, evidence: Evidence, ending: str, seconds: float
) -> CaseResult:
    verdict = Verdict.PASS if outcome is None else outcome.verdict
    if isinstance(outcome, Failed) and _level(case, outcome.clause) is not Level.MUST:
        verdict = Verdict.WARN
    return CaseResult(
        id=case.id,
        title=case.title,
        role=case.role,
        clauses=list(case.requirements),
        level=case.level,
        expected_events=list(case.events),
        verdict=verdict,
        reason="" if outcome is None else outcome.reason,
        ending=ending,
        duration_s=round(seconds, 6),
        transport=environment.transport,
        clock=environment.clock,
        evidence=evidence,
        event=case.about[0] if case.about else None,
        variation=case.about[1] if case.about else None,
        codes=list(case.proven_codes),
    )


def _level(case: Case, clause: str) -> Level:
    """How strongly the broken requirement binds; never more than the case itself claims."""
    row = requirements().get(clause)
    if case.level is not Level.MUST or row is None:
        return case.level
    return row.level
