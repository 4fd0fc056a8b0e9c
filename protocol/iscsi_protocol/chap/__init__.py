"""CHAP in iSCSI: RFC 7143 sections 12.1.3 and 9.2.1, over RFC 1994, with the AuthMethod choice before it (12.1, 6.3.2).

`ChapInitiator` and `ChapTarget` are for engines that behave: lists of (key, value) in, lists of (key, value) out, or a
ChapError that says who broke what, and the answer. `response` is for everybody who speaks the keys on their own. Other
authentication methods (KRB5, SRP) are left out; a target may still name them, and is refused.
"""

from __future__ import annotations

from iscsi_protocol.chap.errors import (
    AlgorithmUnknown,
    AuthenticationFailed,
    AuthMethodIllegal,
    AuthMethodMissing,
    AuthMethodUnknown,
    ChallengeMalformed,
    ChallengeReflected,
    ChallengeTooLong,
    ChapError,
    ChapKeyInvalid,
    ChapKeyMissing,
    ChapNotConfigured,
    ChapNotOffered,
    Dump,
    HashUnavailable,
    ShortSecret,
)
from iscsi_protocol.chap.exchange import (
    MAX_BINARY_LENGTH,
    ChapStateError,
    Encoding,
    Step,
)
from iscsi_protocol.chap.hashes import (
    ALGORITHMS,
    MD5,
    MIN_SECRET_LENGTH,
    SHA1,
    SHA3_256,
    SHA256,
    Algorithm,
    Credentials,
    Hasher,
    RandomBytes,
    approved_hasher,
    available,
    check_secret,
    generate_secret,
    hashlib_hasher,
    response,
)
from iscsi_protocol.chap.initiator import ChapInitiator
from iscsi_protocol.chap.target import ChapTarget

__all__ = [
    "ALGORITHMS",
    "MAX_BINARY_LENGTH",
    "MD5",
    "MIN_SECRET_LENGTH",
    "SHA1",
    "SHA3_256",
    "SHA256",
    "Algorithm",
    "AlgorithmUnknown",
    "AuthMethodIllegal",
    "AuthMethodMissing",
    "AuthMethodUnknown",
    "AuthenticationFailed",
    "ChallengeMalformed",
    "ChallengeReflected",
    "ChallengeTooLong",
    "ChapError",
    "ChapInitiator",
    "ChapKeyInvalid",
    "ChapKeyMissing",
    "ChapNotConfigured",
    "ChapNotOffered",
    "ChapStateError",
    "ChapTarget",
    "Credentials",
    "Dump",
    "Encoding",
    "HashUnavailable",
    "Hasher",
    "RandomBytes",
    "ShortSecret",
    "Step",
    "approved_hasher",
    "available",
    "check_secret",
    "generate_secret",
    "hashlib_hasher",
    "response",
]
