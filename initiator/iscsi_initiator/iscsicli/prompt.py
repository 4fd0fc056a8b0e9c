"""Commands one after the other: a line each, as they would stand behind `iscsicli`."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from iscsi_initiator.iscsicli.parameters import Usage
from iscsi_initiator.iscsicli.render import complaint
from iscsi_initiator.iscsicli.run import USAGE, Runner
from iscsi_initiator.status_codes import StatusCode

PROMPT = "iscsicli> "
LEAVE = frozenset({"quit", "exit"})


def split(line: str) -> list[str]:
    """The words of a line. Quotes keep words together; a backslash is a backslash, as it is in names of instances.

    Raises Usage for a quote that is not closed.
    """
    words = shlex.shlex(line, posix=True, punctuation_chars=False)
    words.whitespace_split = True
    words.commenters = ""
    words.escape = ""
    try:
        return list(words)
    except ValueError as error:
        raise Usage(StatusCode.INVALID_PARAMETER, "a quote is not closed") from error


def converse(runner: Runner, read: Callable[[], str]) -> int:
    """Run what is read up to its end or `quit`. read: a line, raises EOFError at the end. Returns the gravest exit status."""
    gravest = 0
    while True:
        try:
            words = split(read())
        except EOFError:
            return gravest
        except Usage as error:
            runner.err(complaint(error.status, error.reason))
            gravest = max(gravest, USAGE)
            continue
        if words and words[0].lower() in LEAVE:
            return gravest
        if words:
            gravest = max(gravest, runner.run(words))
