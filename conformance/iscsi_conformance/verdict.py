"""The seven verdicts, the exceptions that lead to them, and the exit code of a run.

A case says what it found by raising; only these types are verdicts. Anything else that a case raises is a defect of this
project and becomes ERROR.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, StrEnum


class Verdict(StrEnum):
    """What a case found. Only PASS is a pass."""

    PASS = "PASS"  # noqa: S105  # a verdict, not a secret
    WARN = "WARN"
    FAIL = "FAIL"
    UNSUPPORTED = "UNSUPPORTED"
    SKIPPED = "SKIPPED"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"


class Exit(IntEnum):
    """Exit codes of `run`; the gravest that applies wins, in the order of `GRAVITY`."""

    CONFORMING = 0
    FAILURES = 1
    USAGE = 2
    UNREACHABLE = 3
    NOTHING_RUN = 4
    INTERRUPTED = 5
    OWN_DEFECT = 70


GRAVITY = (
    Exit.OWN_DEFECT,
    Exit.INTERRUPTED,
    Exit.USAGE,
    Exit.UNREACHABLE,
    Exit.NOTHING_RUN,
    Exit.FAILURES,
    Exit.CONFORMING,
)


def printable(text: str) -> str:
    """The text with lone surrogates, which stand for a product's bytes that are no UTF-8, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Outcome(Exception):
    """Ends a case with a verdict. `reason` is one clear sentence, made printable."""

    verdict: Verdict

    def __init__(self, reason: str) -> None:
        self.reason = printable(reason)
        super().__init__(self.reason)


class Failed(Outcome):
    """The peer broke a requirement. clause: its id; seen: what came instead, for the evidence; also: what else it broke by
    the same.
    """

    verdict = Verdict.FAIL

    def __init__(self, clause: str, reason: str, *, seen: str = "", also: Iterable[str] = ()) -> None:
        super().__init__(f"{reason}; seen: {seen}" if seen else reason)
        self.clause = clause
        self.seen = seen
        self.also = tuple(also)


class Unsupported(Outcome):
    """The peer lacks an optional feature. feature: its name; the reason is the probe's evidence."""

    verdict = Verdict.UNSUPPORTED

    def __init__(self, feature: str, reason: str) -> None:
        super().__init__(reason)
        self.feature = feature


class Skipped(Outcome):
    """The operator did not want the case."""

    verdict = Verdict.SKIPPED


class Inconclusive(Outcome):
    """The point where the requirement could be seen was not reached."""

    verdict = Verdict.INCONCLUSIVE


class PeerGone(Inconclusive):
    """The peer does not answer any more at all: the run ends, and the case in flight is the first suspect."""


class WrongProfile(Inconclusive):
    """The peer is not as the operator said, so that no case could show anything: the run ends before its first."""


def exit_code(verdicts: Iterable[Verdict], *, strict: bool = False, also: Iterable[Exit] = ()) -> Exit:
    """The exit code for these verdicts. `also`: what the run itself met (interrupted, peer gone, usage)."""
    found = set(verdicts)
    codes = set(also)
    if not found - {Verdict.SKIPPED}:
        codes.add(Exit.NOTHING_RUN)
    if Verdict.ERROR in found:
        codes.add(Exit.OWN_DEFECT)
    bad = {Verdict.FAIL, Verdict.INCONCLUSIVE} | ({Verdict.WARN} if strict else set())
    if found & bad:
        codes.add(Exit.FAILURES)
    codes.add(Exit.CONFORMING)
    return next(code for code in GRAVITY if code in codes)


def require(condition: object, clause: str, reason: str, *, seen: object = "") -> None:
    """Raise Failed for this requirement unless the condition holds."""
    if not condition:
        raise Failed(clause, reason, seen=str(seen))
