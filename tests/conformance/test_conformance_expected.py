"""Expected failures: what the file may say, and what is news."""

from __future__ import annotations

import datetime as dt

import pytest

from iscsi_conformance.expected import (
    ExpectedFailure,
    ExpectedFailuresError,
    apply_expected,
    is_news,
    load_expected,
)
from iscsi_conformance.verdict import Verdict

ENTRY = """
[[expected]]
case = "nop.echoes"
text = "no NOP-In"
reason = "fixed in the next release"
link = "https://example.org/bug/1"
expires = 2027-01-31
"""
TODAY = dt.date(2027, 1, 31)
EXPECTED = ExpectedFailure(
    case="nop.echoes",
    text="no NOP-In",
    reason="fixed in the next release",
    link="https://example.org/bug/1",
    expires=TODAY,
)


def test_file_is_read(tmp_path):
    """Every field comes as written."""
    path = tmp_path / "expected.toml"
    path.write_text(ENTRY, encoding="utf-8")

    assert load_expected(path, ["nop.echoes", "nop.other"]) == {"nop.echoes": EXPECTED}


def test_empty_file_expects_nothing(tmp_path):
    """A file without entries is a file."""
    path = tmp_path / "expected.toml"
    path.write_text("", encoding="utf-8")

    assert load_expected(path, ["nop.echoes"]) == {}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (ENTRY.replace("nop.echoes", "nop.gone"), "no case has the id 'nop.gone'"),
        (ENTRY * 2, "nop.echoes is given twice"),
        (ENTRY.replace("link", "lnik"), "lnik"),
        (ENTRY.replace("2027-01-31", '"soon"'), "expected"),
        (ENTRY.replace('text = "no NOP-In"', ""), "text"),
        ("[[expected", "expected.toml"),
        ("other = 1", "other"),
        ("\x00", "expected.toml"),
    ],
)
def test_bad_file_is_one_line(tmp_path, content, says):
    """What cannot be used is refused in one line that names the file and the trouble."""
    path = tmp_path / "expected.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ExpectedFailuresError) as caught:
        load_expected(path, ["nop.echoes"])

    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_file_is_one_line(tmp_path):
    """So is a file that is not there."""
    with pytest.raises(ExpectedFailuresError, match="No such file"):
        load_expected(tmp_path / "none.toml", [])


@pytest.mark.parametrize(
    ("verdict", "reason", "today", "marked", "news"),
    [
        ("FAIL", "no NOP-In came", TODAY, "as expected: fixed in the next release (https://example.org/bug/1)", False),
        ("INCONCLUSIVE", "no NOP-In came", TODAY, "as expected: ", False),
        ("WARN", "no NOP-In came", TODAY, "as expected: ", False),
        ("FAIL", "another thing", TODAY, "fails otherwise than expected ('no NOP-In'): ", True),
        ("PASS", "", TODAY, "passes unexpectedly: ", True),
        ("FAIL", "no NOP-In came", TODAY + dt.timedelta(days=1), "expired on 2027-01-31: ", True),
        ("SKIPPED", "no", TODAY, None, False),
        ("UNSUPPORTED", "no", TODAY, None, False),
        ("ERROR", "KeyError", TODAY, None, True),
    ],
)
def test_expectation_is_held_against_the_result(make_result, verdict, reason, today, marked, news):
    """Up to its last day an expectation excuses the failure that it names, and nothing else."""
    result = make_result("nop.echoes", Verdict(verdict), reason)
    apply_expected(result, EXPECTED, today)

    if marked is None:
        assert result.expected_failure is None
    else:
        assert result.expected_failure is not None
        assert result.expected_failure.startswith(marked)
    assert is_news(result) is news


@pytest.mark.parametrize("verdict", sorted(Verdict))
def test_without_an_expectation_only_failures_are_news(make_result, verdict):
    """FAIL, INCONCLUSIVE and ERROR make a run fail; nothing is marked."""
    result = make_result(verdict=verdict)
    apply_expected(result, None, TODAY)

    assert result.expected_failure is None
    assert is_news(result) is (verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.ERROR))
