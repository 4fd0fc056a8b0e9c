"""What can go wrong in the security stage (RFC 7143 sections 9.2, 9.2.1, 12.1.3), as types that carry the answer.

Each class is a row: `event_id` is the event that an initiator logs for it (0 = none), with the extra data that `dumps`
says; `login_status` is what a target answers (SUCCESS = no target has this error). After any of
them the connection is closed: by the initiator at once (9.2), by the target behind its Login Response.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar

from iscsi_protocol.negotiation.errors import EVENT_ORDER
from iscsi_protocol.pdu.codes import LoginStatus
from iscsi_protocol.text import encode_text


class Dump(Enum):
    """The extra data of an event. WHOLE_PDU is for the engine to add, which has the PDU."""

    NOTHING = "nothing"
    VALUE = "the value as it was on the wire"
    PAIR = "key=value as it was on the wire"
    LENGTH = "the length, u32 little-endian"
    WHOLE_PDU = "the whole Login Response"


class ChapError(Exception):
    """The peer, or the own configuration, ends the authentication.

    reason: in words; clause: id of the rule; key, value: the offending pair as text, empty where there is none; length:
    bytes of what is too long or too short, else 0; pairs: what a target sends along with its refusal.
    """

    event_id: int = 0
    login_status: ClassVar[LoginStatus] = LoginStatus.SUCCESS
    dumps: ClassVar[Dump] = Dump.NOTHING

    def __init__(
        self,
        reason: str,
        clause: str,
        key: str = "",
        value: str = "",
        length: int = 0,
        pairs: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(reason, clause, key, value, length, pairs)
        self.reason = reason
        self.clause = clause
        self.key = key
        self.value = value
        self.length = length
        self.pairs = pairs

    def __str__(self) -> str:
        shown = f"{self.key}={self.value}" if self.key else ""
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        return f"{self.reason}{f': {shown!r}' if shown else ''} ({self.clause})"

    @property
    def rank(self) -> int:
        """The place in EVENT_ORDER: of several failures in one Login Response the lowest is logged."""
        return EVENT_ORDER.index(self.event_id)

    @property
    def dump(self) -> bytes:
        """Extra data of the event; empty where there is none, and for WHOLE_PDU."""
        match self.dumps:
            case Dump.VALUE:
                return encode_text(self.value)
            case Dump.PAIR:
                return encode_text(f"{self.key}={self.value}")
            case Dump.LENGTH:
                return self.length.to_bytes(4, "little")
            case _:
                return b""


class AuthMethodMissing(ChapError):
    """The security stage without AuthMethod."""

    event_id = 41
    login_status = LoginStatus.MISSING_PARAMETER


class ChapNotOffered(ChapError):
    """CHAP is required here, and the target goes without."""

    event_id = 38


class ChapNotConfigured(ChapError):
    """The target wants CHAP, and none is configured here."""

    event_id = 40


class AuthMethodUnknown(ChapError):
    """A method that was not offered (initiator), or none in the offer that may be used (target)."""

    event_id = 13
    login_status = LoginStatus.AUTHENTICATION_FAILURE
    dumps = Dump.VALUE


class AlgorithmUnknown(ChapError):
    """CHAP_A is no number, or was not offered (initiator); or there is no common algorithm (target)."""

    event_id = 14
    login_status = LoginStatus.AUTHENTICATION_FAILURE
    dumps = Dump.VALUE


class ChallengeMalformed(ChapError):
    """CHAP_C is no binary value."""

    event_id = 15
    login_status = LoginStatus.INITIATOR_ERROR
    dumps = Dump.VALUE


class ChallengeTooLong(ChapError):
    """CHAP_C is over 1024 bytes."""

    event_id = 33
    login_status = LoginStatus.INITIATOR_ERROR
    dumps = Dump.LENGTH


class ChapKeyInvalid(ChapError):
    """A key that does not belong to the step, comes twice, or has a value that it cannot have."""

    event_id = 16
    login_status = LoginStatus.INITIATOR_ERROR
    dumps = Dump.PAIR


class AuthenticationFailed(ChapError):
    """The peer's response is not the right one. At a target it never says whether the name or the secret was wrong."""

    event_id = 17
    login_status = LoginStatus.AUTHENTICATION_FAILURE
    dumps = Dump.VALUE


class ChapKeyMissing(ChapError):
    """A key of the step is not there; `key` names it."""

    event_id = 11
    login_status = LoginStatus.MISSING_PARAMETER
    dumps = Dump.WHOLE_PDU


class AuthMethodIllegal(ChapError):
    """AuthMethod twice, or again after the choice was made."""

    event_id = 11
    login_status = LoginStatus.INITIATOR_ERROR
    dumps = Dump.WHOLE_PDU


class ChallengeReflected(ChapError):
    """CHAP_C is a challenge that this node itself sent."""

    event_id = 11
    login_status = LoginStatus.AUTHENTICATION_FAILURE
    dumps = Dump.WHOLE_PDU


class HashUnavailable(ChapError):
    """This host performs none of the algorithms that are configured."""

    event_id = 37
    login_status = LoginStatus.TARGET_ERROR


class ShortSecret(ChapError):
    """A configured secret under 96 bits without IPsec, or an empty one.

    event_id: 35 for the secret that authenticates the initiator to the target (the guide's "target secret"), 36 for the
    one that authenticates the target to the initiator, at whichever end the secret is configured. The dump tells the
    length, never the secret.
    """

    dumps = Dump.LENGTH

    def __init__(self, reason: str, clause: str, length: int, event_id: int) -> None:
        super().__init__(reason, clause, length=length)
        self.args = (reason, clause, length, event_id)
        self.event_id = event_id
