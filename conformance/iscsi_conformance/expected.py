"""Known deviations of a product: cases that are expected to fail, each with a reason, a link and a date on which it ends.

    [[expected]]
    case = "nop.ping-data-is-echoed"
    text = "the ping data is echoed"
    reason = "fixed in the next release"
    link = "https://example.org/bug/1"
    expires = 2027-01-31

An expected failure that passes, fails otherwise, or has expired is news, and news makes a run fail.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

import msgspec

from iscsi_conformance.result import CaseResult
from iscsi_conformance.verdict import Verdict


class ExpectedFailure(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One known deviation. text: has to occur in the failure's reason."""

    case: str
    text: str
    reason: str
    link: str
    expires: dt.date


class _File(msgspec.Struct, forbid_unknown_fields=True):
    expected: list[ExpectedFailure] = []


class ExpectedFailuresError(ValueError):
    """The file cannot be used; the message is one line."""


def load_expected(path: Path, known_cases: Iterable[str]) -> dict[str, ExpectedFailure]:
    """Read the file. Raises ExpectedFailuresError for bad content, a repeated case or a case that does not exist."""
    try:
        rows = msgspec.toml.decode(path.read_bytes(), type=_File).expected
    except OSError as error:
        raise ExpectedFailuresError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
        raise ExpectedFailuresError(f"{path}: {error}") from None
    known = set(known_cases)
    table: dict[str, ExpectedFailure] = {}
    for row in rows:
        if row.case not in known:
            raise ExpectedFailuresError(f"{path}: no case has the id {row.case!r}")
        if row.case in table:
            raise ExpectedFailuresError(f"{path}: {row.case} is given twice")
        table[row.case] = row
    return table


def apply_expected(result: CaseResult, expected: ExpectedFailure | None, today: dt.date) -> None:
    """Mark a result in place: `expected_failure` says "as expected: ..." or what is news about it."""
    if expected is None or result.verdict in (Verdict.SKIPPED, Verdict.UNSUPPORTED, Verdict.ERROR):
        return
    if today > expected.expires:
        result.expected_failure = f"expired on {expected.expires}: {expected.reason}"
    elif result.verdict is Verdict.PASS:
        result.expected_failure = f"passes unexpectedly: {expected.reason}"
    elif expected.text not in result.reason:
        result.expected_failure = f"fails otherwise than expected ({expected.text!r}): {expected.reason}"
    else:
        result.expected_failure = f"as expected: {expected.reason} ({expected.link})"


def is_news(result: CaseResult) -> bool:
    """Whether the result has to fail the run: a failure nobody expected, or an expectation that did not hold."""
    if result.expected_failure is not None:
        return not result.expected_failure.startswith("as expected")
    return result.verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.ERROR)
