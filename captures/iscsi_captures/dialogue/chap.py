"""What an onlooker makes of CHAP (RFC 1994 4.1, RFC 7143 12.1.3): challenges of all logins, and responses, given the secrets.

The hash is worked out here anew; no code is shared with the engines that authenticate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

from iscsi_captures.chap_secrets import NO_SECRETS, ChapSecrets
from iscsi_protocol.text import BinaryError, NumberError, parse_binary, parse_number

LONGEST = 1024
CHALLENGES_KEPT = 4096
HASHES: Mapping[int, str] = MappingProxyType({5: "md5", 6: "sha1", 7: "sha256", 8: "sha3_256"})
"""hashlib's name by CHAP_A."""

Said = tuple[dict[str, str], dict[str, str]]
"""What initiator and target said in a login, by key."""


class Chap:
    """What all logins of a history share: the secrets, and who sent which challenge over which connection first."""

    def __init__(self, secrets: ChapSecrets = NO_SECRETS) -> None:
        self.secrets = secrets
        self._issued: dict[bytes, int] = {}

    def issued(self, side: int, name: str, challenge: bytes) -> int | None:
        """The connection over which that side's node sent the same challenge before."""
        return self._issued.get(_mark(side, name, challenge))

    def issue(self, side: int, name: str, challenge: bytes, connection: int) -> None:
        """A challenge was sent; the oldest is forgotten where there are too many."""
        self._issued.setdefault(_mark(side, name, challenge), connection)
        if len(self._issued) > CHALLENGES_KEPT:
            del self._issued[next(iter(self._issued))]

    def secret(self, said: Said, side: int) -> bytes | None:
        """The secret of the CHAP_N that this side (0: initiator) gave, None where it is not known."""
        name = said[side].get("CHAP_N")
        if name is None:
            return None
        return self.secrets.of_target(name) if side else self.secrets.of_initiator(name)

    def is_right(self, said: Said, side: int) -> bool | None:
        """Whether this side's CHAP_R is the right one; None where that cannot be told."""
        secret = self.secret(said, side)
        return None if secret is None else is_response(said, side, secret)


def is_response(said: Said, side: int, secret: bytes) -> bool | None:
    """Whether this side's CHAP_R answers the other's challenge with this secret; None where the exchange is not whole."""
    given = said[side].get("CHAP_R")
    challenge, identifier = binary(said[1 - side].get("CHAP_C", "")), _number(said[1 - side].get("CHAP_I", ""))
    algorithm = HASHES.get(_number(said[1].get("CHAP_A", "")) or 0)
    if given is None or not challenge or identifier is None or identifier > 255 or algorithm is None:
        return None
    text = bytes([identifier]) + secret + challenge
    return binary(given) == hashlib.new(algorithm, text, usedforsecurity=False).digest()


def binary(value: str) -> bytes | None:
    """A binary value of at most LONGEST bytes, None for anything else."""
    try:
        return parse_binary(value, max_length=LONGEST)
    except BinaryError:
        return None


def _number(value: str) -> int | None:
    try:
        return parse_number(value)
    except NumberError:
        return None


def _mark(side: int, name: str, challenge: bytes) -> bytes:
    return hashlib.blake2b(
        b"%d%b\0%b" % (side, name.encode("utf-8", "surrogateescape"), challenge), digest_size=16
    ).digest()
