"""The failure of a negotiation (RFC 7143 sections 6.3, 6.4 and 7.12), with the answer that either side gives to it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from iscsi_protocol.negotiation.keys import KeyRule, Role
from iscsi_protocol.pdu.codes import LoginStatus, RejectReason, Stage
from iscsi_protocol.text import parse_list

EVENT_ORDER = (41, 38, 40, 13, 14, 15, 33, 16, 17, 18, 19, 61, 62, 4, 3, 11)
"""The events of the keys in a login response, the first that applies wins; 11 is for everything without one of its own."""


class NegotiationError(Exception):
    """The peer broke a rule of the negotiation, or the two cannot agree.

    key, value: the offending pair.  reason: one sentence.  clause: id of the requirement.
    login_status: what a target answers in login, class << 8 | detail; an initiator closes the connection.
    reject_reason: what a target answers in full feature phase; an initiator abandons the negotiation.
    event: what an initiator logs in login, else None.
    against: a second pair that the first contradicts (event 4: FirstBurstLength against MaxBurstLength).
    """

    def __init__(
        self,
        *,
        key: str,
        value: str,
        reason: str,
        clause: str,
        login_status: int = LoginStatus.INITIATOR_ERROR,
        reject_reason: int = RejectReason.PROTOCOL_ERROR,
        event: int | None = None,
        against: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(f"{key}={value}: {reason} ({clause})")
        self.key = key
        self.value = value
        self.reason = reason
        self.clause = clause
        self.login_status = int(login_status)
        self.reject_reason = int(reject_reason)
        self.event = event
        self.against = against

    @property
    def rank(self) -> int:
        """The place in EVENT_ORDER; of several failures in one PDU the lowest is reported."""
        return EVENT_ORDER.index(11 if self.event is None else self.event)


_STATUS: Mapping[str, LoginStatus] = MappingProxyType(
    {
        "AuthMethod": LoginStatus.AUTHENTICATION_FAILURE,
        "SessionType": LoginStatus.SESSION_TYPE_NOT_SUPPORTED,
    }
)
_DIGEST_EVENTS: Mapping[str, int] = MappingProxyType({"HeaderDigest": 18, "DataDigest": 19})
_ORDER_EVENTS: Mapping[str, int] = MappingProxyType({"DataPDUInOrder": 61, "DataSequenceInOrder": 62})


def status_of(key: str) -> LoginStatus:
    """The login status for a key whose value one side cannot accept."""
    return _STATUS.get(key, LoginStatus.INITIATOR_ERROR)


def event_of(rule: KeyRule, value: str, wish: str, offer: str | None) -> int:
    """The event that an initiator logs for a value of the target.

    wish: what the initiator supports; offer: what it proposed, if it did.
    """
    supported = parse_list(wish)
    if rule.name in _DIGEST_EVENTS and "None" not in supported:
        return _DIGEST_EVENTS[rule.name]
    if rule.name in _ORDER_EVENTS and (offer, value) == ("Yes", "No"):
        return _ORDER_EVENTS[rule.name]
    return _method_event(parse_list(value), supported) if rule.name == "AuthMethod" else 11


def _method_event(chosen: list[str], supported: list[str]) -> int:
    if chosen in (["None"], ["Reject"]) and "CHAP" in supported and "None" not in supported:
        return 38
    if "CHAP" not in supported and ("CHAP" in chosen or chosen == ["Reject"]):
        return 40
    return 11 if chosen == ["Reject"] else 13


def repetition_clause(role: Role, stage: Stage) -> str:
    """The clause that tells this side what to do about a key that the peer repeats."""
    if stage is Stage.FULL_FEATURE:
        return "R7143-6.4-12" if role is Role.TARGET else "R7143-6.4-13"
    return "R7143-6.3-22" if role is Role.TARGET else "R7143-6.3-23"


def stray_key_clause(role: Role, stage: Stage) -> str:
    """The clause against a key of an authentication method outside of that method's exchange."""
    if stage is Stage.FULL_FEATURE:
        return "R7143-6.3-09"
    if stage is Stage.OPERATIONAL:
        return "R7143-6.3-11"
    return "R7143-9.2-04" if role is Role.TARGET else "R7143-9.2-03"
