"""What a side wants of a negotiation: checked before anything is sent, so that this side breaks no rule by itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache

from iscsi_protocol.negotiation.keys import KEYS, Function, KeyRule, Kind, Role, SessionType
from iscsi_protocol.negotiation.permission import rule_of
from iscsi_protocol.negotiation.values import REFUSALS, parse_value
from iscsi_protocol.text import TextError, ValueType, check_key_name, check_value, parse_list, parse_number

_OFFERED_TOGETHER = ("RFC3720", "ResponseFence")


def check_settings(
    role: Role, settings: Mapping[str, str], session_type: SessionType, propose: Collection[str]
) -> None:
    """Raise ValueError, which names the key, unless `settings` (key -> text) are legal for this side to ask for."""
    for key, value in settings.items():
        check_pair(role, key, value)
    burst = parse_number(settings.get("MaxBurstLength", "262144"))
    if parse_number(settings.get("FirstBurstLength", "512")) > burst:
        raise ValueError(f"FirstBurstLength is above MaxBurstLength {burst} (R7143-13.14-02)")
    if settings.get("SessionType", session_type.value) != session_type.value:
        raise ValueError(f"SessionType={settings['SessionType']} for a session of type {session_type.value}")
    if propose and role is Role.INITIATOR:
        raise ValueError("an initiator proposes all of its settings; `propose` is for targets")
    for key in propose:
        rule = KEYS.get(key)
        if rule is None or not rule.negotiated:
            raise ValueError(f"{key} is no key that is negotiated, so it cannot be proposed")
    if "TaskReporting" in settings:
        needed = _OFFERED_TOGETHER if role is Role.INITIATOR or "TaskReporting" in propose else ("RFC3720",)
        if not set(needed) <= set(parse_list(settings["TaskReporting"])):
            raise ValueError(f"TaskReporting lacks one of {', '.join(needed)} (R7143-13.23-02)")


@lru_cache(maxsize=1024)
def check_pair(role: Role, key: str, value: str) -> KeyRule:
    """The key's row. Raises ValueError unless this side may send the pair by itself at some time, and has a use for it."""
    rule = rule_of(key)
    if rule is None or rule.function is Function.OBSOLETE:
        raise ValueError(f"{key} is no key that this side can ask for")
    if rule.use_by(role) is None:
        raise ValueError(f"{key} is not sent by the {role.value}")
    if value in REFUSALS:
        raise ValueError(f"{key}={value}: a word that is only for answers (R7143-6.2-13)")
    try:
        check_key_name(key)
        parse_value(rule, value)
        if rule.kind is Kind.LIST:
            check_value(value, ValueType.LIST)
    except TextError as error:
        raise ValueError(f"{key}: {error}") from error
    _check_meaning(rule, value)
    return rule


def _check_meaning(rule: KeyRule, value: str) -> None:
    if rule.informative and len(value) > rule.max_length:
        raise ValueError(f"{rule.name} is longer than {rule.max_length} bytes ({rule.clause})")
    if rule.function is not Function.FIRST_SUPPORTED:
        return
    for item in parse_list(value):
        # The exchange of a private authentication method is the caller's; a private digest nobody here can compute.
        private = rule.name == "AuthMethod" and item.startswith(rule.extension_prefix)
        if item not in rule.values and not private:
            raise ValueError(f"{rule.name}: {item!r} is not supported")
