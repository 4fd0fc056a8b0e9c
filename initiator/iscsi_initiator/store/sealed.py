"""A secret as the store keeps it: encrypted and authenticated by AES-256-GCM (NIST SP 800-38D), and opaque to all else.

What a secret is for is authenticated with it: one that was moved to another place of the store does not open there.
"""

from __future__ import annotations

from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Meta, Struct

KEY_LENGTH = 32
NONCE_LENGTH = 12
TAG_LENGTH = 16
_PURPOSE = "iscsi-initiator/secret/1"


class Sealed(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret under a key. nonce: never used twice with one key; sealed: as long as the secret, and 16 bytes of tag."""

    nonce: Annotated[bytes, Meta(min_length=NONCE_LENGTH, max_length=NONCE_LENGTH)]
    sealed: Annotated[bytes, Meta(min_length=TAG_LENGTH)]

    def __repr__(self) -> str:
        return "Sealed(...)"


def seal(secret: bytes, place: str, *, key: bytes, nonce: bytes) -> Sealed:
    """The secret, sealed for a place. key: 32 bytes; nonce: 12 random bytes."""
    return Sealed(nonce=nonce, sealed=AESGCM(key).encrypt(nonce, secret, _bound(place)))


def unseal(sealed: Sealed, place: str, *, key: bytes) -> bytes | None:
    """The secret; None when this is not what was sealed under this key for this place."""
    try:
        return AESGCM(key).decrypt(sealed.nonce, sealed.sealed, _bound(place))
    except InvalidTag:
        return None


def _bound(place: str) -> bytes:
    return f"{_PURPOSE}\n{place}".encode()
