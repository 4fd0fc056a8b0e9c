"""allure-results/: one result file per case for the Allure report tool, written through allure-python-commons.

A case's history id is made of its id and the profile, so that trends and retries meet across machines and ports.
"""

from __future__ import annotations

import datetime as dt
import json
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from allure_commons.logger import AllureFileLogger
from allure_commons.model2 import ATTACHMENT_PATTERN, Attachment, Label, Link, Status, StatusDetails, TestResult
from allure_commons.types import AttachmentType, LabelType, LinkType, Severity

from iscsi_captures.catalogue import Level, requirements
from iscsi_captures.legible import legible
from iscsi_conformance.expected import is_news
from iscsi_conformance.report.capture import capture_path
from iscsi_conformance.result import CaseResult, Results
from iscsi_conformance.verdict import Verdict

FOLDER = "allure-results"
_PCAPNG = "application/x-pcapng"
_OWN_FILES = ("*-result.json", "*-attachment.*")
_STATUS = {
    Verdict.PASS: Status.PASSED,
    Verdict.WARN: Status.PASSED,
    Verdict.FAIL: Status.FAILED,
    Verdict.INCONCLUSIVE: Status.FAILED,
    Verdict.ERROR: Status.BROKEN,
    Verdict.UNSUPPORTED: Status.SKIPPED,
    Verdict.SKIPPED: Status.SKIPPED,
}
_SEVERITY: dict[str, Severity] = {
    Level.MUST: Severity.CRITICAL,
    Level.SHOULD: Severity.NORMAL,
    Level.MAY: Severity.MINOR,
}
_CATEGORIES = [
    {"name": "Requirement broken", "matchedStatuses": [Status.FAILED], "messageRegex": "(?s)FAIL: .*"},
    {"name": "Could not be reached", "matchedStatuses": [Status.FAILED], "messageRegex": "(?s)INCONCLUSIVE: .*"},
    {"name": "Expectation that did not hold", "matchedStatuses": [Status.FAILED]},
    {"name": "Defect of the suite", "matchedStatuses": [Status.BROKEN]},
    {"name": "Known deviation", "matchedStatuses": [Status.SKIPPED], "messageRegex": r"(?s).*\[as expected: .*"},
    {"name": "Not offered by the product", "matchedStatuses": [Status.SKIPPED], "messageRegex": "(?s)UNSUPPORTED: .*"},
    {"name": "Not wanted by the operator", "matchedStatuses": [Status.SKIPPED], "messageRegex": "(?s)SKIPPED: .*"},
]


class _Logger(Protocol):
    """What is used of AllureFileLogger, which has no types of its own."""

    def report_result(self, result: TestResult) -> None: ...

    def report_attached_data(self, body: str, file_name: str) -> None: ...

    def report_attached_file(self, source: Path, file_name: str) -> None: ...


def write_allure(results: Results, out: Path, written: dt.datetime) -> None:
    """Write the folder below `out`. What an earlier run left there goes: a folder holds one run. Raises OSError."""
    folder = out / FOLDER
    logger: _Logger = AllureFileLogger(folder)  # type: ignore[no-untyped-call]  # see _Logger
    for pattern in _OWN_FILES:
        for old in folder.glob(pattern):
            old.unlink()
    for result in results.cases:
        logger.report_result(_result(result, results, out, logger, written))
    _write_environment(results, folder / "environment.properties")
    (folder / "categories.json").write_text(json.dumps(_CATEGORIES, indent=1), encoding="utf-8")
    executor = {"name": "iscsi-conformance", "type": "iscsi-conformance", "reportName": f"profile {results.profile}"}
    (folder / "executor.json").write_text(json.dumps(executor, indent=1), encoding="utf-8")


def _result(result: CaseResult, results: Results, out: Path, logger: _Logger, written: dt.datetime) -> TestResult:
    stop = round(written.timestamp() * 1000)
    message = f"{result.verdict}: {result.reason}"
    if result.expected_failure:
        message += f" [{result.expected_failure}]"
    said = bool(result.reason or result.expected_failure)
    return TestResult(
        uuid=str(uuid4()),
        historyId=_digest(f"{result.id}\0{results.profile}"),
        testCaseId=_digest(result.id),
        fullName=legible(result.id),
        name=legible(result.id),
        description=legible(_description(result)),
        status=_status(result),
        statusDetails=StatusDetails(
            message=legible(message) if said else None,
            trace=legible("\n".join(result.evidence.notes)) or None,
            known=True if result.expected_failure and not is_news(result) else None,
        ),
        stage="finished",
        start=stop - round(result.duration_s * 1000),
        stop=stop,
        labels=_labels(result),
        links=_links(result),
        attachments=_attachments(result, out, logger),
    )


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:32]


def _status(result: CaseResult) -> str:
    if result.expected_failure is not None:
        return Status.FAILED if is_news(result) else Status.SKIPPED
    return _STATUS[result.verdict]


def _description(result: CaseResult) -> str:
    """Title, then each requirement's text, as Markdown."""
    lines = [result.title, ""]
    for clause in result.clauses:
        row = requirements().get(clause)
        lines.append(f"- **{clause}** ({row.level}): {row.statement}" if row else f"- **{clause}**")
    return "\n".join(lines)


def _labels(result: CaseResult) -> list[Label]:
    area = result.id.split(".", 1)[0]
    rows = [
        (LabelType.EPIC, f"iSCSI {result.role}"),
        (LabelType.FEATURE, area),
        *[(LabelType.STORY, clause) for clause in result.clauses],
        (LabelType.PARENT_SUITE, result.role),
        (LabelType.SUITE, area),
        (LabelType.SEVERITY, _SEVERITY.get(result.level, Severity.NORMAL).value),
        (LabelType.TAG, result.level),
        (LabelType.TAG, result.verdict.value),
        *[(LabelType.TAG, event) for event in result.expected_events],
        (LabelType.FRAMEWORK, "iscsi-conformance"),
        (LabelType.LANGUAGE, "python"),
    ]
    return [Label(name=str(name), value=legible(value)) for name, value in rows]


def _links(result: CaseResult) -> list[Link]:
    """Each requirement's section in its standard."""
    links = []
    for clause in result.clauses:
        row = requirements().get(clause)
        if row is not None:
            number = row.source.removeprefix("RFC ")
            url = f"https://www.rfc-editor.org/rfc/rfc{number}.html#section-{row.section}"
            links.append(Link(type=LinkType.LINK, url=url, name=f"{clause}: {row.source} section {row.section}"))
    return links


def _attachments(result: CaseResult, out: Path, logger: _Logger) -> list[Attachment]:
    attached = []
    if result.evidence.dialogue:
        source = ATTACHMENT_PATTERN.format(prefix=uuid4(), ext="txt")
        logger.report_attached_data(body=_dialogue_text(result), file_name=source)
        attached.append(Attachment(name="dialogue", source=source, type=AttachmentType.TEXT.mime_type))
    path = capture_path(result)
    if path is not None and (out / path).is_file():
        source = ATTACHMENT_PATTERN.format(prefix=uuid4(), ext="pcapng")
        logger.report_attached_file(source=out / path, file_name=source)
        attached.append(Attachment(name=path.name, source=source, type=_PCAPNG))
    return attached


def _dialogue_text(result: CaseResult) -> str:
    """The dialogue, a record a line with its data below, and what the rule book found."""
    lines = []
    for row in result.evidence.dialogue:
        time = row.get("time")
        lines.append(f"{time:12.6f}  {row.get('line')}" if isinstance(time, int | float) else f"{row.get('line')}")
        payload = str(row.get("payload") or "")
        lines += [f"{'':14}| {line}" for line in payload.splitlines()]
    if result.evidence.findings:
        lines += ["", "findings:"]
        lines += [f"{row.level} {row.clause} {row.rule}: {row.message}" for row in result.evidence.findings]
    return legible("\n".join(lines)) + "\n"


def _write_environment(results: Results, path: Path) -> None:
    """A Java properties file: the product, the versions, the probe."""
    rows = {"profile": results.profile, "seed": str(results.seed)}
    rows |= {f"dut.{name}": str(value) for name, value in results.dut.items() if not isinstance(value, list)}
    rows |= results.versions
    probe = results.dut.get("probe")
    if isinstance(probe, list):
        rows |= {f"probe.{name}": value for name, _, value in (str(line).partition(": ") for line in probe)}
    lines = [f"{_property(name)} = {_property(value)}" for name, value in rows.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _property(text: str) -> str:
    """Escaped as java.util.Properties wants it, above ASCII too."""
    escaped = legible(text).replace("\\", "\\\\").replace("\n", "\\n")
    for character in " :=#!":
        escaped = escaped.replace(character, f"\\{character}")
    units = escaped.encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return "".join(chr(code) if 0x20 <= code < 0x7F else f"\\u{code:04x}" for code in codes)
