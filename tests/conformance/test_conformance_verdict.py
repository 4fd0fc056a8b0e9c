"""Verdicts, what leads to them, and the exit codes of a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_conformance.verdict import (
    Exit,
    Failed,
    Inconclusive,
    Outcome,
    PeerGone,
    Skipped,
    Unsupported,
    Verdict,
    exit_code,
    printable,
    require,
)

DOCUMENTED = (70, 5, 2, 3, 4, 1, 0)
"""From the gravest on, as the commands' help and design have it."""


def codes(verdicts, strict, also):
    """Every code that applies, written from the documentation and not from the code."""
    applying = {0, *also}
    if not any(verdict != "SKIPPED" for verdict in verdicts):
        applying.add(4)
    if "ERROR" in verdicts:
        applying.add(70)
    if {"FAIL", "INCONCLUSIVE"} & verdicts or (strict and "WARN" in verdicts):
        applying.add(1)
    return applying


@given(
    verdicts=st.sets(st.sampled_from(sorted(Verdict))),
    strict=st.booleans(),
    also=st.sets(st.sampled_from(sorted(Exit))),
)
def test_gravest_exit_code_wins(verdicts, strict, also):
    """Whatever came together: the gravest of the codes that apply."""
    applying = codes({verdict.value for verdict in verdicts}, strict, {int(code) for code in also})

    assert exit_code(verdicts, strict=strict, also=also) == next(code for code in DOCUMENTED if code in applying)


@pytest.mark.parametrize(
    ("verdicts", "strict", "code"),
    [
        ([], False, 4),
        (["SKIPPED"], False, 4),
        (["PASS"], True, 0),
        (["PASS", "UNSUPPORTED", "SKIPPED"], True, 0),
        (["UNSUPPORTED"], False, 0),
        (["PASS", "WARN"], False, 0),
        (["PASS", "WARN"], True, 1),
        (["PASS", "FAIL"], False, 1),
        (["PASS", "INCONCLUSIVE"], False, 1),
        (["FAIL", "ERROR"], False, 70),
    ],
)
def test_exit_codes_of_verdicts(verdicts, strict, code):
    """The plain cases, one by one."""
    assert exit_code(map(Verdict, verdicts), strict=strict) == code


def test_seven_verdicts_and_one_pass():
    """There are no others."""
    assert {verdict.value for verdict in Verdict} == {
        "PASS",
        "WARN",
        "FAIL",
        "UNSUPPORTED",
        "SKIPPED",
        "INCONCLUSIVE",
        "ERROR",
    }


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Failed("R7143-4.2.2.1-07", "why"), Verdict.FAIL),
        (Unsupported("chap", "why"), Verdict.UNSUPPORTED),
        (Skipped("why"), Verdict.SKIPPED),
        (Inconclusive("why"), Verdict.INCONCLUSIVE),
        (PeerGone("why"), Verdict.INCONCLUSIVE),
    ],
)
def test_outcomes_have_their_verdicts(outcome, verdict):
    """Each way to end a case is one verdict, with its reason."""
    assert outcome.verdict is verdict
    assert outcome.reason == str(outcome) == "why"


def test_require_says_what_was_seen():
    """A condition that holds is silent; one that does not fails its requirement and tells what came instead."""
    require([1], "R7143-4.2.2.1-07", "there is one")
    with pytest.raises(Failed, match=r"^there is one; seen: 0x2$") as caught:
        require([], "R7143-4.2.2.1-07", "there is one", seen="0x2")

    assert caught.value.clause == "R7143-4.2.2.1-07"
    assert caught.value.seen == "0x2"


@given(st.text(st.characters()))
def test_reasons_are_printable(text):
    """Whatever bytes a product sent: a reason can be written as UTF-8, and text that could be stays as it is."""
    reason = Outcome(text).reason

    assert reason.encode("utf-8").decode("utf-8") == reason == printable(text)
    assert reason == text or any("\ud800" <= character <= "\udfff" for character in text)
