"""What both ends of a CHAP exchange share (RFC 7143 section 12.1.3): the steps, which keys each admits, how values are read.

Knows no role: the readers raise the typed error, and each end does with it what its role asks for.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable
from enum import Enum

from iscsi_protocol.chap.errors import (
    AuthMethodIllegal,
    ChallengeMalformed,
    ChallengeReflected,
    ChallengeTooLong,
    ChapError,
    ChapKeyInvalid,
    ChapKeyMissing,
)
from iscsi_protocol.chap.hashes import RandomBytes
from iscsi_protocol.text import (
    SIMPLE_VALUE_LIMIT,
    BinaryError,
    BinaryTooLong,
    NumberError,
    encode_base64,
    encode_hex,
    encode_text,
    parse_binary,
    parse_number,
)

Pairs = Iterable[tuple[str, str]]

MAX_BINARY_LENGTH = 1024

CHAP_PREFIX = "CHAP_"


class ChapStateError(RuntimeError):
    """The exchange was used against its order by its own side: begun twice, or fed after it failed."""


class Encoding(Enum):
    """How this side writes CHAP_C and CHAP_R."""

    HEX = "hex"
    BASE64 = "base64"

    def encode(self, data: bytes) -> str:
        """The binary value as text."""
        return encode_hex(data) if self is Encoding.HEX else encode_base64(data)


class Step(Enum):
    """Where an exchange is: what is awaited from the peer next."""

    START = "nothing was said yet"
    METHOD = "the peer's AuthMethod"
    PROPOSED = "the initiator's choice from the target's AuthMethod, with CHAP_A"
    ALGORITHM = "CHAP_A (from a target with CHAP_I and CHAP_C)"
    RESPONSE = "CHAP_N and CHAP_R (from an initiator perhaps with CHAP_I and CHAP_C), or consent"
    DONE = "nothing more"
    FAILED = "nothing ever"


def select_own(pairs: Pairs, admitted: Container[str], clause: str) -> tuple[dict[str, str], list[ChapError]]:
    """AuthMethod and the CHAP_ keys among the pairs, and the faults: those not admitted in this step, and repeated ones.

    clause: id of the rule of the step. Of a repeated key the first value is kept; a key not admitted is left out.
    """
    own: dict[str, str] = {}
    faults: list[ChapError] = []
    for key, value in pairs:
        chap = key.startswith(CHAP_PREFIX)
        if not chap and key != "AuthMethod":
            continue
        if key in admitted and key not in own:
            own[key] = value
        elif not chap:
            faults.append(AuthMethodIllegal("AuthMethod a second time", "R7143-6.3-20", key, value))
        elif key in own:
            faults.append(ChapKeyInvalid("a key that comes twice", "R7143-6.3-20", key, value))
        else:
            faults.append(ChapKeyInvalid("a key that does not belong to this step", clause, key, value))
    return own, faults


def find_missing(own: Collection[str], needed: Iterable[str], clause: str) -> list[ChapError]:
    """A fault for every needed key that is not there."""
    return [ChapKeyMissing("a key is missing", clause, key) for key in needed if key not in own]


def read_identifier(value: str) -> int:
    """CHAP_I, 0..255, decimal or hex. Raises ChapKeyInvalid."""
    try:
        return parse_number(value, 0, 255)
    except NumberError as error:
        raise ChapKeyInvalid(error.reason, error.clause, "CHAP_I", value) from error


def read_name(value: str) -> str:
    """CHAP_N, 1 to 255 bytes, taken as it is: a name may begin with 0x. Raises ChapKeyInvalid."""
    size = len(encode_text(value))
    if not size:
        raise ChapKeyInvalid("an empty name", "R1994-4.1-05", "CHAP_N", value)
    if size > SIMPLE_VALUE_LIMIT:
        raise ChapKeyInvalid(f"a name of {size} bytes", "R7143-6.1-15", "CHAP_N", value)
    return value


def read_challenge(value: str, issued: Container[bytes]) -> bytes:
    """CHAP_C, 1..1024 bytes. Raises ChallengeMalformed, ChallengeTooLong, or ChallengeReflected for one among `issued`."""
    try:
        challenge = parse_binary(value, MAX_BINARY_LENGTH)
    except BinaryTooLong as error:
        raise ChallengeTooLong(error.reason, "R7143-12.1.3-07", "CHAP_C", value, error.length) from error
    except BinaryError as error:
        raise ChallengeMalformed(error.reason, error.clause, "CHAP_C", value) from error
    if challenge in issued:
        raise ChallengeReflected("a challenge that this node sent itself", "R7143-9.2.1-11", "CHAP_C", value)
    return challenge


def check_challenge_length(length: int) -> None:
    """Raise ValueError unless a challenge of so many bytes may be sent."""
    if not 1 <= length <= MAX_BINARY_LENGTH:
        raise ValueError(f"a challenge has 1 to {MAX_BINARY_LENGTH} bytes, not {length}")


def draw_challenge(random_bytes: RandomBytes, length: int, not_this: bytes = b"") -> bytes:
    """A challenge of length bytes, never equal to `not_this` (9.2.1: the other direction's is not used again)."""
    challenge = random_bytes(length)
    if challenge == not_this:
        return challenge[:-1] + bytes([challenge[-1] ^ 1])
    return challenge
