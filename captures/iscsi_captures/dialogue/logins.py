"""What the connections of a history share beyond their sessions: CHAP, refused logins, reservations."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iscsi_captures.chap_secrets import NO_SECRETS, ChapSecrets
from iscsi_captures.dialogue.chap import Chap
from iscsi_captures.dialogue.reservations import Reservations

if TYPE_CHECKING:
    from iscsi_captures.dialogue.state import Connection

Buffer = bytes | bytearray | memoryview
REFUSALS_KEPT = 1024


@dataclass(frozen=True, slots=True)
class Refusal:
    """A login that failed. time: seconds. status: class and detail as one number. times: how often by now."""

    connection: int
    time: float
    status: int
    times: int = 1


class Logins:
    """refused: the last refusal of a login with these names and parameters, by `login_mark`."""

    def __init__(self, secrets: ChapSecrets = NO_SECRETS) -> None:
        self.chap = Chap(secrets)
        self.refused: dict[bytes, Refusal] = {}
        self.reservations = Reservations()

    def refuse(self, mark: bytes, refusal: Refusal) -> None:
        """A login was refused; the oldest refusal is forgotten where there are too many."""
        former = self.refused.pop(mark, None)
        self.refused[mark] = refusal if former is None else replace(refusal, times=former.times + 1)
        if len(self.refused) > REFUSALS_KEPT:
            del self.refused[next(iter(self.refused))]


def login_mark(request: Buffer, connection: Connection) -> bytes:
    """What is the same where a login is tried again: ISID, TSIH and the first text."""
    said = connection.login.negotiation.said[0]
    text = "\0".join(f"{key}={value}" for key, value in said.items()).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(bytes(request[8:16]) + text, digest_size=16).digest()
