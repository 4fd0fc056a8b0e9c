"""Negotiation of text keys (RFC 7143 chapters 6, 12 and 13)."""

from __future__ import annotations

from iscsi_protocol.negotiation.engine import Negotiator
from iscsi_protocol.negotiation.errors import EVENT_ORDER, NegotiationError
from iscsi_protocol.negotiation.keys import (
    AUTHENTICATION_KEYS,
    KEYS,
    PRIVATE_KEY,
    Function,
    KeyRule,
    Kind,
    Role,
    Scope,
    SessionType,
    Use,
)
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.negotiation.permission import is_authentication_key, rule_of, split_security_keys
from iscsi_protocol.negotiation.values import REFUSALS, TargetAddress, parse_target_address, parse_value

__all__ = [
    "AUTHENTICATION_KEYS",
    "EVENT_ORDER",
    "KEYS",
    "PRIVATE_KEY",
    "REFUSALS",
    "Function",
    "KeyRule",
    "Kind",
    "NegotiationError",
    "Negotiator",
    "OperationalParameters",
    "Role",
    "Scope",
    "SessionType",
    "TargetAddress",
    "Use",
    "is_authentication_key",
    "parse_target_address",
    "parse_value",
    "rule_of",
    "split_security_keys",
]
