"""Transcripts: commands behind `$ iscsicli`, standard output below, standard error behind `! `, the exit status in brackets.

`python -m tests.initiator.iscsicli.transcript` runs the commands of every transcript again and writes down what comes of
them; what changed is for the eye of whoever ran it. `% lose` has every session lose its connections.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests.initiator.iscsicli.fake_service import FakeService

from iscsi_initiator.iscsicli.run import Runner
from iscsi_initiator.iscsicli.secret import Secrets

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*.txt"))
COMMAND = "$ iscsicli "
EVENT = "% lose"
ASKED = "asked for, long"
"""What is typed when a secret is asked for."""


def inputs(text: str) -> list[str]:
    """The lines of a transcript that something comes of."""
    return [line for line in text.splitlines() if line.startswith((COMMAND, EVENT))]


def commands(text: str) -> list[str]:
    """The names of the commands that a transcript runs."""
    return [shlex.split(line.removeprefix(COMMAND))[0] for line in inputs(text) if line.startswith(COMMAND)]


def outcomes(text: str) -> list[tuple[str, int]]:
    """The name and the exit status of each command of a transcript."""
    statuses = [int(line.strip("[]")) for line in text.splitlines() if re.fullmatch(r"\[\d\]", line)]
    return list(zip(commands(text), statuses, strict=True))


def play(text: str) -> str:
    """The transcript as it comes out now."""
    service, written = FakeService(), []
    runner = Runner(
        service,
        Secrets(lambda name: ASKED),
        lambda out: written.extend(out.splitlines()),
        lambda err: written.extend(f"! {line}" for line in err.splitlines()),
    )
    for line in inputs(text):
        if line == EVENT:
            service.lose_connections()
            written += [line, ""]
            continue
        written.append(line)
        status = runner.run(shlex.split(line.removeprefix(COMMAND)))
        written += [f"[{status}]", ""]
    return "\n".join(written)


if __name__ == "__main__":
    for path in FILES:
        path.write_text(play(path.read_text(encoding="utf-8")), encoding="utf-8")
