"""Who looks at PDUs as they cross. The engine shows them, and does not know what becomes of that; without a watch there is
nothing but a test whether there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from iscsi_protocol.pdu import Buffer, RawPdu


class PduWatch(Protocol):
    """Nothing that is shown may be kept: it is the engine's own, and a part of the receive buffer."""

    @property
    def wants_pdus(self) -> bool:
        """Whether to show any just now; asked once for all that is received or sent together."""

    def received(self, connection: int, raw: RawPdu) -> None:
        """A PDU came. connection: the engine's number."""

    def sending(self, connection: int, buffers: Sequence[Buffer], *, header_digest: bool, data_digest: bool) -> None:
        """The buffers of whole PDUs are on their way, with digests or without; login requests have none in any case."""
