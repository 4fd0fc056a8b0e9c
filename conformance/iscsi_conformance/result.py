"""results.json: the source of all reports (schema iscsi-conformance/results/1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from iscsi_conformance.verdict import Verdict
from iscsi_protocol.eventlog import SERVICE_SOURCE, SYNTHETIC

SCHEMA = "iscsi-conformance/results/1"


class FindingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A finding of the rule book. index: the record of the dialogue; None where the ring has lost it."""

    rule: str
    clause: str
    level: str
    role: str
    message: str
    index: int | None = None


class Evidence(msgspec.Struct, kw_only=True):
    """What proves a verdict. failed: requirement ids that were broken; probe: what the probe saw of a missing feature.

    gone: the product was not there any more when the case was over.
    """

    failed: list[str] = []
    findings: list[FindingRow] = []
    dialogue: list[dict[str, object]] = []
    capture: str | None = None
    notes: list[str] = []
    probe: str | None = None
    events: list[str] = []
    gone: bool = False


class CaseResult(msgspec.Struct, kw_only=True):
    """One case's row. clock: real or virtual; transport: tcp or memory; ending: how the last connection ended.

    event, variation: what the case provokes, or nearly, and in which way; None for cases that are not about an event.
    codes: the status codes of the initiator's service that it is about.
    """

    id: str
    title: str
    role: str
    clauses: list[str]
    level: str
    expected_events: list[str]
    verdict: Verdict
    reason: str
    ending: str
    duration_s: float
    transport: str
    clock: str
    evidence: Evidence
    fault: str | None = None
    expected_failure: str | None = None
    event: str | None = None
    variation: str | None = None
    codes: list[str] = []


class Coverage(msgspec.Struct, kw_only=True):
    """What the passed cases cover. requirements, status_codes: id to case ids; events: source to id to case ids; synthetic:
    source to those of the ids whose events neither the wire nor the machine brings about, but a configuration of the service.
    """

    requirements: dict[str, list[str]] = {}
    events: dict[str, dict[str, list[str]]] = {}
    status_codes: dict[str, list[str]] = {}
    synthetic: dict[str, list[str]] = {}


class Results(msgspec.Struct, kw_only=True):
    """A whole run."""

    schema: str = SCHEMA
    versions: dict[str, str] = {}
    seed: int = 0
    profile: str = ""
    dut: dict[str, object] = {}
    cases: list[CaseResult] = []
    coverage: Coverage = msgspec.field(default_factory=Coverage)
    summary: dict[str, int] = {}


class ResultsError(ValueError):
    """A file that is not a results.json of this schema."""


def coverage_of(cases: Iterable[CaseResult], proven: Mapping[str, tuple[str, ...]]) -> Coverage:
    """Coverage by the cases that passed. proven: case id to the requirements and status codes that its faults prove."""
    coverage = Coverage()
    for result in cases:
        if result.verdict is not Verdict.PASS:
            continue
        for each in proven.get(result.id, ()):
            kind = coverage.status_codes if each in result.codes else coverage.requirements
            kind.setdefault(each, []).append(result.id)
        for event in result.expected_events:
            source, _, number = event.partition(":")
            coverage.events.setdefault(source, {}).setdefault(number, []).append(result.id)
    coverage.requirements = dict(sorted(coverage.requirements.items()))
    coverage.status_codes = dict(sorted(coverage.status_codes.items(), key=lambda row: int(row[0], 16) & 0xFFFF))
    coverage.events = {
        source: dict(sorted(rows.items(), key=lambda row: int(row[0]))) for source, rows in coverage.events.items()
    }
    made = [event for event in coverage.events.get(SERVICE_SOURCE, {}) if int(event) in SYNTHETIC]
    coverage.synthetic = {SERVICE_SOURCE: made} if made else {}
    return coverage


def summary_of(cases: Iterable[CaseResult]) -> dict[str, int]:
    """Verdict to number, every verdict named."""
    counted = Counter(result.verdict for result in cases)
    return {verdict.value: counted[verdict] for verdict in Verdict}


def write_results(results: Results, path: Path) -> None:
    """Write results.json, whole or not at all."""
    partial = path.with_suffix(".json.part")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
    partial.replace(path)


def read_results(path: Path) -> Results:
    """Read a results.json. Raises ResultsError for anything else, OSError when it cannot be read."""
    try:
        results = msgspec.json.decode(path.read_bytes(), type=Results)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ResultsError(f"{path}: not a results.json: {error}") from None
    if results.schema != SCHEMA:
        raise ResultsError(f"{path}: schema {results.schema!r}, this program reads {SCHEMA!r}")
    return results
