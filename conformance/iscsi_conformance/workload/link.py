"""One connection of the session at work: it sends with damage, listens, and hands on what comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from iscsi_conformance.workload.noise import Noise
from iscsi_conformance.workload.plan import Damage
from iscsi_initiator.raw import Digest, PeerClosed, RawConnection, Received
from iscsi_initiator.raw_login import RawLogin
from iscsi_protocol.pdu import Pdu

_LONG = 1e6


class Link:
    """A logged-in connection. alive: nothing ended it yet; broken: done once it broke."""

    def __init__(self, cid: int, raw: RawConnection, login: RawLogin, noise: Noise) -> None:
        self.cid = cid
        self.raw = raw
        self.login = login
        self.alive = True
        self.broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._noise = noise
        self._listener: asyncio.Task[None] | None = None

    @property
    def segment_limit(self) -> int:
        """The MaxRecvDataSegmentLength that the target declared, in bytes."""
        return int(self.login.value("MaxRecvDataSegmentLength") or 8192)

    def send(self, pdu: Pdu) -> None:
        """Send, with damage where it is due."""
        damage = self._noise.sends(pdu)
        wrong_header = Digest.WRONG if damage is Damage.HEADER_SENT else Digest.AS_AGREED
        wrong_data = Digest.WRONG if damage is Damage.DATA_SENT else Digest.AS_AGREED
        if self.raw.closed is None:
            self.raw.send(pdu, header_digest=wrong_header, data_digest=wrong_data)

    def listen(
        self,
        take: Callable[[Link, Received], None],
        ended: Callable[[Link], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Hand on what comes from now on, the end, and what `take` raises."""

        def over(listener: asyncio.Task[None]) -> None:
            error = None if listener.cancelled() else listener.exception()
            if error is not None:
                failed(error)

        self._listener = asyncio.create_task(self._listen(take, ended))
        self._listener.add_done_callback(over)

    async def _listen(self, take: Callable[[Link, Received], None], ended: Callable[[Link], None]) -> None:
        while self.alive:
            try:
                received = await self.raw.recv(timeout=_LONG)
            except PeerClosed:
                break
            take(self, received)
        ended(self)

    async def stop(self) -> None:
        """Stop listening; raises what the listener raised."""
        self.alive = False
        if self._listener is not None and self._listener is not asyncio.current_task():
            self._listener.cancel()
            await asyncio.wait([self._listener])

    def fail(self) -> None:
        """The connection breaks."""
        self.alive = False
        if not self.broken.done():
            self.broken.set_result(None)
        self.raw.abort()
