"""What the target says in login, key by key, held against what was offered: events 18, 19, 61, 62, 4, and 11 for the rest.

The same judge says whether a text negotiation in full feature phase goes on; there nothing is logged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from iscsi_captures.events.dumps import words
from iscsi_captures.events.values import number, well_formed
from iscsi_protocol.negotiation.keys import (
    AUTHENTICATION_KEYS,
    AUTHENTICATION_PREFIXES,
    KEYS,
    PRIVATE_KEY,
    PRIVATE_PREFIX,
    Function,
    KeyRule,
    Kind,
    Role,
    Scope,
    Use,
)
from iscsi_protocol.pdu import Stage
from iscsi_protocol.text import KeyNameError, check_key_name

Pair = tuple[str, str]
Fault = tuple[int, bytes | None]
"""An event and its dump, None where that is the whole PDU."""

ORDER = (41, 38, 40, 13, 14, 15, 33, 16, 17, 18, 19, 61, 62, 4, 3, 11)
"""Of several faults in one response the first is logged."""

ILLEGAL: Fault = (11, None)
REFUSALS = frozenset({"Reject", "Irrelevant", "NotUnderstood"})

_INSISTED: Mapping[str, int] = MappingProxyType({"HeaderDigest": 18, "DataDigest": 19})
_ORDERED: Mapping[str, int] = MappingProxyType({"DataPDUInOrder": 61, "DataSequenceInOrder": 62})
_METHOD_KEYS = frozenset(key for keys in AUTHENTICATION_KEYS.values() for key in keys)
_DISCOVERED = frozenset({"TargetName", "TargetAddress"})
_LARGEST_DUMPED = 0xFFFFFFFF


def gravest(faults: list[Fault]) -> Fault:
    """The fault that is logged; of two alike the one that came first."""
    return min(faults, key=lambda fault: ORDER.index(fault[0]))


def rule_of(key: str) -> KeyRule | None:
    """The row of a key, None for one that no standard knows."""
    return PRIVATE_KEY if key.startswith(PRIVATE_PREFIX) else KEYS.get(key)


def of_a_method(key: str) -> bool:
    """Whether a key belongs to an authentication method (12.1)."""
    return key in _METHOD_KEYS or key.startswith(AUTHENTICATION_PREFIXES)


class Negotiated:
    """The keys of one login, or one text negotiation, from the initiator's side.

    discovery: of a discovery session; leading: of a session's first connection.
    """

    def __init__(self, *, discovery: bool, leading: bool) -> None:
        self.discovery = discovery
        self.leading = leading
        self.offered: dict[str, str] = {}
        self.settled: dict[str, str] = {}
        self.heard: dict[str, str] = {}

    def say(self, pairs: list[Pair]) -> None:
        """The initiator's own keys: offers and declarations, or its answers to what the target brought up."""
        for key, value in pairs:
            if key in self.heard and key not in self.offered:
                self.settled.setdefault(key, value)
            else:
                self.offered.setdefault(key, value)

    def hear(self, pairs: list[Pair], stage: int, *, last: bool) -> list[Fault]:
        """The target's keys. last: nothing in them may ask for an answer."""
        faults = [fault for key, value in pairs if (fault := self._hear(key, value, stage, last)) is not None]
        return [*faults, *self._bursts()]

    def unanswered(self) -> list[Fault]:
        """What was offered and had to be answered, at the end."""
        faults = []
        for key in sorted(self.offered):
            rule = KEYS.get(key)
            if rule is None or key in self.settled or not _wants_answer(rule, self.offered[key]):
                continue
            faults.append(self._disagreement(rule, self.offered[key]))
        needless = self.settled.get("FirstBurstLength") == "Irrelevant" and not self.discovery
        if needless and (self.result("ImmediateData") == "Yes" or self.result("InitialR2T") == "No"):
            faults.append(ILLEGAL)
        return faults

    def result(self, key: str) -> str | None:
        """What was agreed on for a key; its default where nothing was."""
        value = self.settled.get(key)
        if value is not None and value not in REFUSALS:
            return value
        rule = KEYS[key]
        offer = self.offered.get(key)
        fixed = offer is not None and value is None and _fixes(rule, offer)
        return offer if fixed else rule.default

    def _hear(self, key: str, value: str, stage: int, last: bool) -> Fault | None:
        rule = rule_of(key)
        answer = key in self.offered and key not in self.settled
        if rule is not None and answer and (rule.function is not Function.DECLARATION or value in REFUSALS):
            self.settled[key] = value
            return self._judge_answer(rule, key, value)
        fault = self._judge_proposal(rule, key, value, stage)
        self.heard.setdefault(key, value)
        if fault is None and last and rule is not None and rule is not PRIVATE_KEY:
            late = rule.function is Function.OBSOLETE or _wants_answer(rule, value)
            fault = ILLEGAL if late else None
        return fault

    # Answers.

    def _judge_answer(self, rule: KeyRule, key: str, value: str) -> Fault | None:
        if rule is PRIVATE_KEY or rule.informative:
            return None
        if rule.function is Function.OBSOLETE and value in ("No", "Reject"):
            return None
        if rule.function is Function.REQUEST:
            return None if value in ("Reject", "Irrelevant") else ILLEGAL
        if value == "NotUnderstood":
            return None if rule.may_be_unknown else self._disagreement(rule, value)
        if rule.function is Function.DECLARATION:
            return ILLEGAL
        if value == "Irrelevant":
            return None if self._may_be_irrelevant(rule) else self._disagreement(rule, value)
        if value == "Reject":
            return None if self._content_with_default(rule) else self._disagreement(rule, value)
        if rule.kind is not Kind.LIST and not (well_formed(rule, value) and well_formed(rule, self.offered[key])):
            return ILLEGAL
        return None if _possible(rule, self.offered[key], value) else self._disagreement(rule, value)

    def _may_be_irrelevant(self, rule: KeyRule) -> bool:
        if self.discovery:
            return rule.scope is Scope.SESSION and rule.name != "ErrorRecoveryLevel"
        return any("SessionType" not in dict(condition) for condition in rule.irrelevant_when)

    def _content_with_default(self, rule: KeyRule) -> bool:
        """Whether the initiator can go on with the default: it insists on lists alone."""
        if rule.default is None:
            return False
        return rule.kind is not Kind.LIST or rule.default in self._wish(rule)

    def _wish(self, rule: KeyRule) -> list[str]:
        return self.offered.get(rule.name, rule.default or "None").split(",")

    def _disagreement(self, rule: KeyRule, value: str) -> Fault:
        if rule.name in _INSISTED and "None" not in self._wish(rule):
            return _INSISTED[rule.name], b""
        if rule.name in _ORDERED and (self.offered.get(rule.name), value) == ("Yes", "No"):
            return _ORDERED[rule.name], b""
        return ILLEGAL

    # What the target brings up.

    def _judge_proposal(self, rule: KeyRule | None, key: str, value: str, stage: int) -> Fault | None:
        declared = rule is not None and rule.function is Function.DECLARATION
        known = key in self.heard or (key in self.settled and rule is not None and not declared)
        if known and not (rule is not None and rule.target_may_repeat):
            return ILLEGAL
        if of_a_method(key):
            return (16, f"{key}={value}".encode("utf-8", "surrogateescape")) if _chap_key(key, stage) else ILLEGAL
        if value in REFUSALS and not (rule is not None and rule.informative):
            return ILLEGAL
        if stage == Stage.FULL_FEATURE and self.discovery and key not in _DISCOVERED:
            return ILLEGAL
        if rule is None or rule is PRIVATE_KEY:
            return None if _is_key_name(key) else ILLEGAL
        if not self._permitted(rule, stage):
            return ILLEGAL
        return self._judge_permitted(rule, value)

    def _permitted(self, rule: KeyRule, stage: int) -> bool:
        use = rule.use_by(Role.TARGET)
        if use is None or (rule.name == "TargetName" and "SendTargets" not in self.offered):
            return False
        if stage == Stage.FULL_FEATURE:
            return use not in (Use.LEADING_ONLY, Use.INITIALIZE_ONLY, Use.SECURITY)
        if use is Use.FULL_FEATURE_ONLY or (use is Use.LEADING_ONLY and not self.leading):
            return False
        if stage == Stage.SECURITY:
            return rule.any_stage or use is Use.SECURITY
        return use is not Use.SECURITY

    def _judge_permitted(self, rule: KeyRule, value: str) -> Fault | None:
        if rule.function is Function.OBSOLETE or (rule.negotiated and self._irrelevant_here(rule)):
            return None
        if not rule.negotiated:
            return None if rule.informative or well_formed(rule, value) else ILLEGAL
        if not well_formed(rule, value) or (value == "None" and rule.kind is not Kind.LIST):
            return ILLEGAL
        if rule.kind is Kind.LIST:
            common = any(item in self._wish(rule) for item in value.split(","))
            return None if common or self._content_with_default(rule) else self._disagreement(rule, value)
        return None

    def _irrelevant_here(self, rule: KeyRule) -> bool:
        return self.discovery and (("SessionType", "Discovery"),) in rule.irrelevant_when

    def _bursts(self) -> Iterator[Fault]:
        first, longest = (number(self.settled.get(key, "")) for key in ("FirstBurstLength", "MaxBurstLength"))
        if first is not None and longest is not None and longest < first <= _LARGEST_DUMPED:
            yield 4, words(first, longest)


def _chap_key(key: str, stage: int) -> bool:
    return stage == Stage.SECURITY and key.startswith("CHAP_")


def _is_key_name(key: str) -> bool:
    # RFC 3720 gave public extension keys the prefix X#.
    try:
        check_key_name(f"X{key[2:]}" if key.startswith("X#") else key)
    except KeyNameError:
        return False
    return True


def _fixes(rule: KeyRule, offer: str) -> bool:
    """Whether an offer is the result by itself, so that no answer is due (6.2.2)."""
    return (rule.function is Function.AND and offer == "No") or (rule.function is Function.OR and offer == "Yes")


def _wants_answer(rule: KeyRule, offer: str) -> bool:
    return rule.negotiated and not rule.answer_optional and not _fixes(rule, offer)


def _possible(rule: KeyRule, offer: str, value: str) -> bool:
    """Whether a well-formed answer can come of the offer (6.2.1, 6.2.2)."""
    if rule.kind is Kind.LIST:
        return value in offer.split(",")
    if rule.kind is Kind.BOOLEAN:
        return not _fixes(rule, offer) or value == offer
    given, most = number(value), number(offer)
    if given is None or most is None:
        return False
    return given >= most if rule.function is Function.MAXIMUM else given <= most
