"""A service for the initiator that does as it is told: it answers, answers late, refuses, or says nothing at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum

from iscsi_initiator.upcalls import UpCallKind, UpCallWanted
from iscsi_protocol.history import Endpoint


class Reaction(Enum):
    """What becomes of an up-call."""

    ANSWER = "answered"
    REFUSE = "refused"
    STALL = "never answered"


class ScriptedService:
    """See `iscsi_initiator.client.Service`. script: what becomes of each kind, a number for an answer after so many seconds;
    kinds that it does not have are answered. calls: what was asked so far.

    IPsec is configured by saying so. A secret at rest is the secret with each byte turned over, which protects nothing.
    """

    def __init__(self, script: Mapping[UpCallKind, Reaction | float] | None = None) -> None:
        self.script = dict(script or {})
        self.calls: list[UpCallWanted] = []

    def take(self, call: UpCallWanted, answer: Callable[[bytes | None], None]) -> None:
        """See `Service`."""
        self.calls.append(call)
        reaction = self.script.get(call.kind, Reaction.ANSWER)
        if isinstance(reaction, Reaction):
            if reaction is not Reaction.STALL:
                answer(self._result(call) if reaction is Reaction.ANSWER else None)
        else:
            asyncio.get_running_loop().call_later(reaction, answer, self._result(call))

    def asked(self, kind: UpCallKind) -> list[UpCallWanted]:
        """The up-calls of one kind so far."""
        return [call for call in self.calls if call.kind is kind]

    def _result(self, call: UpCallWanted) -> bytes:
        return b"" if isinstance(call.payload, Endpoint) else turned_over(call.payload)


def turned_over(secret: bytes) -> bytes:
    """A secret as this service keeps it; and back."""
    return bytes(byte ^ 0xFF for byte in secret)
