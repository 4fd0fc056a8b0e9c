"""Who may send which key when: the use, stage and sender rules of RFC 7143 section 6.3 and chapters 12 and 13."""

from __future__ import annotations

from collections.abc import Iterable

from iscsi_protocol.negotiation.keys import (
    AUTHENTICATION_KEYS,
    AUTHENTICATION_PREFIXES,
    KEYS,
    PRIVATE_KEY,
    PRIVATE_PREFIX,
    KeyRule,
    Role,
    Use,
)
from iscsi_protocol.pdu.codes import Stage

Pair = tuple[str, str]

_AUTHENTICATION = frozenset(name for names in AUTHENTICATION_KEYS.values() for name in names)


def rule_of(key: str) -> KeyRule | None:
    """The row of a key; X- keys share one. None for a key that no standard knows."""
    if key.startswith(PRIVATE_PREFIX):
        return PRIVATE_KEY
    return KEYS.get(key)


def is_authentication_key(key: str) -> bool:
    """Whether a key belongs to the exchange of an authentication method (12.1), also if the method has no such key."""
    return key in _AUTHENTICATION or key.startswith(AUTHENTICATION_PREFIXES)


def split_security_keys(pairs: Iterable[Pair]) -> tuple[list[Pair], list[Pair]]:
    """(pairs for the Negotiator, pairs for the authentication method), each in the order received."""
    negotiated: list[Pair] = []
    authentication: list[Pair] = []
    for pair in pairs:
        (authentication if is_authentication_key(pair[0]) else negotiated).append(pair)
    return negotiated, authentication


def objection(rule: KeyRule, sender: Role, stage: Stage, leading: bool) -> tuple[str, str] | None:
    """Why this side may not send the key now, as (clause, reason); None when it may.

    leading: whether the login is that of the session's first connection.
    """
    use = rule.use_by(sender)
    if use is None:
        return rule.clause, f"this key is not sent by the {sender.value}"
    if stage is Stage.FULL_FEATURE:
        return _OUTSIDE_LOGIN.get(use)
    if use is Use.FULL_FEATURE_ONLY:
        return rule.clause, "this key is only for the full feature phase"
    if use is Use.LEADING_ONLY and not leading:
        return "R7143-13-01", "this key is only for the session's first connection"
    if stage is Stage.SECURITY and not rule.any_stage and use is not Use.SECURITY:
        return "R7143-12-02", "this key is not for the security stage"
    if stage is Stage.OPERATIONAL and use is Use.SECURITY:
        return "R7143-6.3-11", "this key is only for the security stage"
    return None


_OUTSIDE_LOGIN = {
    Use.LEADING_ONLY: ("R7143-13-01", "this key is only for the leading login"),
    Use.INITIALIZE_ONLY: ("R7143-13-02", "this key is only for login"),
    Use.SECURITY: ("R7143-6.3-09", "this key is only for login"),
}
