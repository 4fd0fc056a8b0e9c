"""What a client asks of the service beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from iscsi_initiator.upcalls import UpCallWanted


class Service(Protocol):
    """Does what the driver cannot: IPsec, and secrets at rest."""

    def take(self, call: UpCallWanted, answer: Callable[[bytes | None], None]) -> None:
        """Take an up-call. answer: to be called on the event loop, now or later, with what was asked for, empty where that
        is nothing, or None to refuse.
        """
