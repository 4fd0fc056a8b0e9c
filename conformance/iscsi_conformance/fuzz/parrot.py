"""A target that only repeats what another one said in a healthy dialogue, with some bytes changed.

What was said is kept by what it answered: the bytes behind the first thing that was received, behind the second, and so on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import Buffer
from iscsi_target.completion import Piece
from iscsi_target.engine import Work


class Change(Enum):
    """What becomes of a piece of the stream."""

    OVERWRITE = "overwrite"
    FLIP = "invert bits"
    INSERT = "insert"
    DELETE = "delete"
    REPEAT = "say again"
    SWALLOW = "do not say"
    EXCHANGE = "say in place of the next, and that in place of this"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mutation:
    """One change. answer: which of the things said, modulo their number; at: which byte of it, modulo its length; what: bytes
    to put there, as many to delete, or the mask of the bits to invert.
    """

    change: Change
    answer: int
    at: int = 0
    what: bytes = b"\1"


def mutated(said: Sequence[bytes], mutations: Sequence[Mutation]) -> list[bytes]:
    """What is said after these changes."""
    answers = list(said)
    places = [place for place, answer in enumerate(answers) if answer]
    for mutation in mutations:
        if places:
            _mutate(answers, places[mutation.answer % len(places)], mutation)
    return answers


def _mutate(answers: list[bytes], place: int, mutation: Mutation) -> None:
    answer, what = answers[place], mutation.what
    at = mutation.at % max(len(answer), 1)
    before, behind = answer[:at], answer[at:]
    match mutation.change:
        case Change.OVERWRITE:
            answers[place] = (before + what + behind[len(what) :])[: max(len(answer), at + len(what))]
        case Change.FLIP:
            mask = what + bytes(max(0, len(behind) - len(what)))
            answers[place] = before + bytes(byte ^ bits for byte, bits in zip(behind, mask, strict=False))
        case Change.INSERT:
            answers[place] = before + what + behind
        case Change.DELETE:
            answers[place] = before + behind[len(what) :]
        case Change.REPEAT:
            answers[place] = answer + answer
        case Change.SWALLOW:
            answers[place] = b""
        case Change.EXCHANGE:
            other = (place + 1) % len(answers)
            answers[place], answers[other] = answers[other], answer


class Parrot:
    """Stands where a `TargetEngine` does, for the connection that is up, or the first one."""

    def __init__(self, answers: Sequence[bytes], connection: int | None) -> None:
        self._answers = list(answers)
        self._connection = connection
        self._made = connection or 0
        self._ready = b""

    def connection_made(self, local: Endpoint, remote: Endpoint, now: float, *, portal_group_tag: int = 1) -> int:
        """Only the first one is spoken on."""
        self._made += 1
        if self._connection is None:
            self._connection = self._made
        return self._made

    def connection_lost(self, connection: int, reason: str, now: float) -> None:
        """Nothing is said any more."""
        if connection == self._connection:
            self._answers = []
            self._ready = b""

    def receive(self, connection: int, data: Buffer, now: float) -> None:
        """Whatever it is, it is answered by what comes next."""
        if connection == self._connection and self._answers and data:
            self._ready += self._answers.pop(0)

    def dirty_connections(self) -> list[int]:
        """The connection, while there is something to say."""
        return [self._connection] if self._ready and self._connection is not None else []

    def data_to_send(self, connection: int) -> list[Piece]:
        """What there is to say."""
        ready, self._ready = self._ready, b""
        return [ready] if ready else []

    def wants_close(self, connection: int) -> str | None:
        """Never."""
        return None

    def has_backlog(self, connection: int) -> bool:
        """Never."""
        return False

    def work_to_do(self) -> list[Work]:
        """None."""
        return []

    def next_deadline(self) -> float | None:
        """None."""
        return None

    def handle_timer(self, now: float) -> None:
        """There is none."""
