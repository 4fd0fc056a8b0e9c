"""The driver's up-calls, answered: secrets from the store, where what a session is given is sealed, and opened when the
driver asks; IPsec by the back end (guide, Appendix B: events 52 to 54).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from iscsi_initiator.discovery.merging import Secret, StoredSecret
from iscsi_initiator.service.ipsec import IpsecBackend, IpsecFailure
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import Sealed, SecretError, Store
from iscsi_initiator.store.sealed import NONCE_LENGTH
from iscsi_initiator.upcalls import UpCallKind, UpCallWanted
from iscsi_protocol.history import Endpoint

_LOGIN = "login"
"""What a secret is sealed for that came with a request and is kept nowhere."""


class SecretService:
    """See `iscsi_initiator.client.Service`. protect: has connections to a portal protected, raises Refused; backend: what
    releases them. failure: why the last up-call was refused, None while none was.
    """

    def __init__(
        self, store: Store, protect: Callable[[Endpoint], Awaitable[None]], backend: IpsecBackend | None
    ) -> None:
        self._store = store
        self._protect = protect
        self._backend = backend
        self.failure: Refused | None = None
        self._tasks: dict[asyncio.Task[None], UpCallKind] = {}

    def handed(self, secret: Secret) -> bytes:
        """A secret as a session's options have it. Raises SecretError."""
        if isinstance(secret, bytes):
            secret = StoredSecret(_LOGIN, self._store.seal(secret, _LOGIN))
        place = secret.place.encode()
        return len(place).to_bytes(2, "big") + place + secret.sealed.nonce + secret.sealed.sealed

    def take(self, call: UpCallWanted, answer: Callable[[bytes | None], None]) -> None:
        """See `Service`. What the driver would have encrypted is refused: it is not asked to keep anything."""
        if isinstance(call.payload, Endpoint):
            task = asyncio.get_running_loop().create_task(self._ipsec(call.kind, call.payload, answer))
            self._tasks[task] = call.kind
            task.add_done_callback(self._tasks.pop)
            return
        try:
            answer(self._opened(call.payload) if call.kind is UpCallKind.DECRYPT else None)
        except SecretError as error:
            self.failure = Refused(StatusCode.CACHE_CORRUPTED, str(error))
            answer(None)

    def give_up(self) -> None:
        """The login has come to nothing: protection that is still being set up is wanted no more."""
        for task, kind in self._tasks.items():
            if kind is UpCallKind.CONFIGURE_IPSEC:
                task.cancel()

    async def _ipsec(self, kind: UpCallKind, endpoint: Endpoint, answer: Callable[[bytes | None], None]) -> None:
        try:
            if kind is UpCallKind.CONFIGURE_IPSEC:
                await self._protect(endpoint)
            elif self._backend is not None:
                await self._backend.release(endpoint)
        except Refused as error:
            self.failure = error
            answer(None)
        except IpsecFailure:
            answer(None)
        else:
            answer(b"")

    def _opened(self, payload: bytes) -> bytes:
        length = int.from_bytes(payload[:2], "big")
        place, rest = payload[2 : 2 + length].decode(), payload[2 + length :]
        return self._store.unseal(Sealed(nonce=rest[:NONCE_LENGTH], sealed=rest[NONCE_LENGTH:]), place)
