"""The driver's up-calls about secrets, answered from the store: what a session is given is sealed, and opened when the
driver asks (guide, Appendix B: event 54).
"""

from __future__ import annotations

from collections.abc import Callable

from iscsi_initiator.discovery.merging import Secret, StoredSecret
from iscsi_initiator.store import Sealed, SecretError, Store
from iscsi_initiator.store.sealed import NONCE_LENGTH
from iscsi_initiator.upcalls import UpCallKind, UpCallWanted

_LOGIN = "login"
"""What a secret is sealed for that came with a request and is kept nowhere."""


class SecretService:
    """See `iscsi_initiator.client.Service`. failure: why a secret could not be opened, None while all could.

    Up-calls about IPsec are refused: there is no back end for it here.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.failure: SecretError | None = None

    def handed(self, secret: Secret) -> bytes:
        """A secret as a session's options have it. Raises SecretError."""
        if isinstance(secret, bytes):
            secret = StoredSecret(_LOGIN, self._store.seal(secret, _LOGIN))
        place = secret.place.encode()
        return len(place).to_bytes(2, "big") + place + secret.sealed.nonce + secret.sealed.sealed

    def take(self, call: UpCallWanted, answer: Callable[[bytes | None], None]) -> None:
        """See `Service`."""
        if call.kind is not UpCallKind.DECRYPT or not isinstance(call.payload, bytes):
            answer(None)
            return
        length = int.from_bytes(call.payload[:2], "big")
        place, rest = call.payload[2 : 2 + length].decode(), call.payload[2 + length :]
        sealed = Sealed(nonce=rest[:NONCE_LENGTH], sealed=rest[NONCE_LENGTH:])
        try:
            secret = self._store.unseal(sealed, place)
        except SecretError as error:
            self.failure = error
            answer(None)
            return
        answer(secret)
