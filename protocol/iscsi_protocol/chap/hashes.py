"""The CHAP hash (RFC 1994 section 4.1), its algorithm numbers, and the rules for secrets (RFC 7143 section 9.2.1).

Algorithm 5 is RFC 1994's; 6, 7 and 8 are later entries of IANA's PPP authentication algorithm registry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from iscsi_protocol.chap.errors import ShortSecret

RandomBytes = Callable[[int], bytes]
"""Gives as many unpredictable bytes as asked for."""

Hasher = Callable[[str, bytes], bytes]
"""Hashes data by the algorithm named as hashlib does; raises ValueError for one that this host refuses."""

MIN_SECRET_LENGTH = 12

MD5 = 5
SHA1 = 6
SHA256 = 7
SHA3_256 = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Algorithm:
    """One CHAP algorithm. name: as hashlib has it; length: bytes of a response."""

    number: int
    name: str
    length: int


ALGORITHMS: Mapping[int, Algorithm] = MappingProxyType(
    {
        MD5: Algorithm(number=MD5, name="md5", length=16),
        SHA1: Algorithm(number=SHA1, name="sha1", length=20),
        SHA256: Algorithm(number=SHA256, name="sha256", length=32),
        SHA3_256: Algorithm(number=SHA3_256, name="sha3_256", length=32),
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """Who somebody is to CHAP: the name (CHAP_N) and the secret, which no repr shows."""

    name: str
    secret: bytes = field(repr=False)


def hashlib_hasher(name: str, data: bytes) -> bytes:
    """The Hasher of this host. A challenge-response over a shared secret asks for MD5 even where it is not trusted."""
    return hashlib.new(name, data, usedforsecurity=False).digest()


_UNAPPROVED = frozenset({"md5"})


def approved_hasher(name: str, data: bytes) -> bytes:
    """The Hasher of a host on which only what FIPS 180 and FIPS 202 describe may be used: it refuses MD5."""
    if name in _UNAPPROVED:
        raise ValueError(f"{name} is not approved")
    return hashlib_hasher(name, data)


def response(
    algorithm: int, identifier: int, secret: bytes, challenge: bytes, hasher: Hasher = hashlib_hasher
) -> bytes:
    """The CHAP response: the hash over identifier octet, secret and challenge.

    No length is refused, so that a tester may compute what must not be sent. Raises ValueError for an algorithm that
    ALGORITHMS has not, for one that the hasher refuses, and for an identifier outside 0..255.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"no CHAP algorithm {algorithm}")
    if not 0 <= identifier <= 255:
        raise ValueError(f"a CHAP identifier is one octet, not {identifier}")
    return hasher(ALGORITHMS[algorithm].name, bytes([identifier]) + secret + challenge)


def available(algorithms: Iterable[int], hasher: Hasher = hashlib_hasher) -> tuple[int, ...]:
    """Those of the algorithms, in their order, that this host performs."""
    performed = []
    for algorithm in algorithms:
        try:
            response(algorithm, 0, b"", b"", hasher)
        except ValueError:
            continue
        performed.append(algorithm)
    return tuple(performed)


def check_secret(secret: bytes, *, event_id: int, encrypted: bool = False, shortest: int = MIN_SECRET_LENGTH) -> None:
    """Raise ShortSecret for a secret under `shortest` bytes, or under 1 where IPsec encrypts the connection.

    event_id: 35 or 36, see ShortSecret.
    """
    if not secret:
        raise ShortSecret("an empty CHAP secret", "R1994-2.3-01", 0, event_id)
    if len(secret) < shortest and not encrypted:
        raise ShortSecret("a CHAP secret under 96 bits without IPsec", "R7143-9.2.1-07", len(secret), event_id)


def generate_secret(random_bytes: RandomBytes, length: int = 16) -> bytes:
    """A random secret of length bytes, 12 or more; nothing but chance goes into it. Raises ValueError below 12."""
    if length < MIN_SECRET_LENGTH:
        raise ValueError(f"a CHAP secret has {MIN_SECRET_LENGTH} bytes or more, not {length}")
    return random_bytes(length)
