"""What the driver cannot do on its own and asks its service for: protection by IPsec, and secrets as a store keeps them
(guide, Appendix B: events 52 to 54; Appendix F: IPSecConfigTimeout).

Neither IPsec nor a store is here. A service is whoever takes the up-calls and answers them; where there is none, the shell
refuses each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from iscsi_protocol.history import Endpoint


class UpCallKind(Enum):
    """What is asked for, and the event that tells that no answer came in time."""

    CONFIGURE_IPSEC = ("configure IPsec", 52)
    RELEASE_IPSEC = ("release IPsec", 53)
    ENCRYPT = ("encrypt a secret", 54)
    DECRYPT = ("decrypt a secret", 54)

    def __init__(self, words: str, event: int) -> None:
        self.words = words
        self.event = event


@dataclass(frozen=True, slots=True)
class UpCallWanted:
    """A question to the service, to be answered by `up_call_answered`. session: for which it is asked.

    payload: the portal that a connection goes to (IPsec), the secret (ENCRYPT), or what the store has of it (DECRYPT).
    """

    token: int
    session: int
    kind: UpCallKind
    payload: bytes | Endpoint

    def __repr__(self) -> str:
        shown = repr(self.payload) if isinstance(self.payload, Endpoint) else f"<{len(self.payload)} bytes>"
        return f"UpCallWanted({self.token}, {self.session}, {self.kind.name}, {shown})"


class Asker(Protocol):
    """Who asked."""

    def up_call_ended(self, call: UpCallWanted, answer: bytes | None, now: float, *, in_time: bool) -> None:
        """The answer is here: None where the service refused, or said nothing `in_time`."""


class UpCalls:
    """The up-calls of one initiator that are not answered yet."""

    def __init__(self, emit: Callable[[UpCallWanted], None]) -> None:
        self._emit = emit
        self._last = 0
        self._open: dict[int, tuple[UpCallWanted, Asker, float]] = {}

    def ask(self, asker: Asker, session: int, kind: UpCallKind, payload: bytes | Endpoint, deadline: float) -> int:
        """Ask the service; the token of the call. deadline: when its answer comes too late."""
        self._last += 1
        call = UpCallWanted(self._last, session, kind, payload)
        self._open[call.token] = (call, asker, deadline)
        self._emit(call)
        return call.token

    def answered(self, token: int, answer: bytes | None, now: float) -> None:
        """The service's answer, empty where there is nothing to tell; None refuses. Nothing for one that nobody waits for."""
        found = self._open.pop(token, None)
        if found is not None:
            call, asker, _ = found
            asker.up_call_ended(call, answer, now, in_time=True)

    def forget(self, asker: Asker) -> None:
        """Nobody waits any more for what was asked."""
        self._open = {token: entry for token, entry in self._open.items() if entry[1] is not asker}

    def next_deadline(self) -> float | None:
        """When the first answer is due."""
        return min(deadline for _, _, deadline in self._open.values()) if self._open else None

    def handle_timer(self, now: float) -> None:
        """What was not answered by now is over."""
        for token, (call, asker, deadline) in list(self._open.items()):
            if deadline <= now and self._open.pop(token, None) is not None:
                asker.up_call_ended(call, None, now, in_time=False)
