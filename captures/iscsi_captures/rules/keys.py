"""Text keys in login and text exchanges: form, place, proposals and answers (chapter 6, 12, 13).

Rows of single keys are made from the key table; what a proposal allows as its answer is worked out here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from iscsi_captures.dialogue import Negotiation, Pair, Phase, Sight
from iscsi_captures.dialogue.agreement import number
from iscsi_captures.dialogue.negotiation import REFUSALS, is_authentication, row_of
from iscsi_captures.rules.model import BOTH_PHASES, Rules, Stain
from iscsi_protocol.negotiation.keys import KEYS, PRIVATE_KEY, Function, KeyRule, Kind, Role, Use
from iscsi_protocol.pdu import Opcode, Stage
from iscsi_protocol.text import (
    KeyNameError,
    PairError,
    ValueFormError,
    check_key_name,
    parse_boolean,
    parse_number,
)

RULES = Rules(BOTH_PHASES, from_start=True)
_LOGIN_PDUS = (Opcode.LOGIN_REQUEST, Opcode.LOGIN_RESPONSE)
_TEXT_PDUS = (Opcode.TEXT_REQUEST, Opcode.TEXT_RESPONSE)
_ALL = (*_LOGIN_PDUS, *_TEXT_PDUS)
_IN_LOGIN = (Phase.LOGIN,)
_IN_FULL = (Phase.FULL,)
_ADDRESS = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.\-]+)(?::([0-9]{1,5}))?(?:,([0-9]{1,5}|0[xX][0-9A-Fa-f]{1,4}))?"
)
_NAME_TYPES = ("iqn.", "eui.", "naa.")
_IQN = re.compile(r"iqn\.[0-9]{4}-(?:0[1-9]|1[0-2])\.[^:]+(?::.*)?", re.DOTALL)
_EUI = re.compile(r"eui\.[0-9A-Fa-f]{16}")
_NAA = re.compile(r"naa\.(?:[0-9A-Fa-f]{16}|[0-9A-Fa-f]{32})")
_SIMPLE = frozenset({Kind.LIST, Kind.BOOLEAN, Kind.NUMBER, Kind.BINARY, Kind.LOCAL_NAME, Kind.CHOICE})
_OBSOLETE_MARKERS = frozenset({"IFMarker", "OFMarker"})
_OBSOLETE_INTERVALS = frozenset({"IFMarkInt", "OFMarkInt"})


def _pairs(sight: Sight) -> list[Pair]:
    """What this PDU completes, unless it is the text of a login that failed."""
    return sight.pairs or []


def _proposals(sight: Sight) -> Iterator[Pair]:
    return (pair for pair in _pairs(sight) if pair.answers is None)


def _answers(sight: Sight) -> Iterator[tuple[Pair, str]]:
    for pair in _pairs(sight):
        if pair.answers is not None and not pair.refusal:
            yield pair, pair.answers


def _use(pair: Pair, sight: Sight) -> Use | None:
    role = Role.INITIATOR if sight.from_initiator else Role.TARGET
    return None if pair.row is None else pair.row.use_by(role)


def _fault(sight: Sight, clause: str) -> str | None:
    fault: PairError | None = next((fault for fault in sight.faults if fault.clause == clause), None)
    return None if fault is None else f"{fault.reason}: {fault.offender[:60]!r}"


@RULES("keys.no-nul", "R7143-6.1-02", *_ALL, leans=False)
def no_nul(sight: Sight) -> str | None:
    """Each pair ends with a NUL, the last one included."""
    return _fault(sight, "R7143-6.1-02")


@RULES("keys.no-pair", "R7143-6.1-03", *_ALL, leans=False)
def no_pair(sight: Sight) -> str | None:
    """Text is made of key=value pairs."""
    return _fault(sight, "R7143-6.1-03")


def _name_fault(sight: Sight, clause: str) -> str | None:
    for pair in _pairs(sight):
        if pair.value == "NotUnderstood":
            continue  # the name is the one that the other side gave
        try:
            check_key_name(pair.key)
        except KeyNameError as error:
            if error.clause == clause:
                return f"{error.reason}: {pair.key[:80]!r}"
    return None


@RULES("keys.name-first-letter", "R7143-6.1-04", *_ALL, leans=False)
def name_first_letter(sight: Sight) -> str | None:
    """A key name begins with a capital letter."""
    return _name_fault(sight, "R7143-6.1-04")


@RULES("keys.name-form", "R7143-6.1-05", *_ALL, leans=False)
def name_form(sight: Sight) -> str | None:
    """A key name has at most 63 characters of those allowed."""
    return _name_fault(sight, "R7143-6.1-05")


@RULES("keys.iscsi-name-case", "R7143-4.2.7.1-07", *_LOGIN_PDUS, *_TEXT_PDUS, leans=False)
def iscsi_name_case(sight: Sight) -> str | None:
    """Names of iSCSI nodes have no capital letters and no white space."""
    for pair in _pairs(sight):
        named = pair.key in ("InitiatorName", "TargetName") and pair.value.startswith("iqn.")
        if named and re.search(r"[A-Z\s]", pair.value):
            return f"{pair.key}={pair.value}"
    return None


@RULES("keys.iscsi-name-too-long", "R7143-4.2.7.2-01", *_LOGIN_PDUS, *_TEXT_PDUS, leans=False)
def iscsi_name_too_long(sight: Sight) -> str | None:
    """Names of iSCSI nodes have at most 223 bytes."""
    for pair in _pairs(sight):
        length = len(pair.value.encode("utf-8", "surrogateescape"))
        if pair.key in ("InitiatorName", "TargetName") and length > 223:
            return f"{pair.key} of {length} bytes"
    return None


@RULES("keys.value-too-long", "R7143-6.1-15", *_ALL, leans=False)
def value_too_long(sight: Sight) -> str | None:
    """A simple value has at most 255 bytes, and so has each item of a list."""
    for pair in _pairs(sight):
        row = pair.row
        if row is None or row.kind not in _SIMPLE:
            continue
        longest = max(len(item.encode("utf-8", "surrogateescape")) for item in pair.value.split(","))
        if longest > row.max_length:
            return f"{pair.key} with {longest} bytes"
    return None


def _name_form(sight: Sight, begins: tuple[str, ...], form: re.Pattern[str]) -> str | None:
    for pair in _pairs(sight):
        named = pair.key in ("InitiatorName", "TargetName") and pair.value.startswith(begins)
        if named and not form.fullmatch(pair.value) and len(pair.value) <= 223:
            return f"{pair.key}={pair.value}"
    return None


@RULES("keys.iqn-form", "R7143-4.2.7.4-01", *_ALL, leans=False)
def iqn_form(sight: Sight) -> str | None:
    """An iqn name has year, month and reversed domain; a name of no type has no form at all."""
    typed = [pair for pair in _pairs(sight) if pair.key in ("InitiatorName", "TargetName")]
    for pair in typed:
        if pair.value and not pair.value.startswith(_NAME_TYPES):
            return f"{pair.key}={pair.value[:80]} has no type"
    return _name_form(sight, ("iqn.",), _IQN)


@RULES("keys.eui-form", "R7143-4.2.7.5-01", *_ALL, leans=False)
def eui_form(sight: Sight) -> str | None:
    """An eui name has 16 hexadecimal digits."""
    return _name_form(sight, ("eui.",), _EUI)


@RULES("keys.naa-form", "R7143-4.2.7.6-01", *_ALL, leans=False)
def naa_form(sight: Sight) -> str | None:
    """An naa name has 16 or 32 hexadecimal digits."""
    return _name_form(sight, ("naa.",), _NAA)


def _value_fault(row: KeyRule, value: str) -> str | None:
    """What is wrong with a value of a key, of the kinds that have rows of their own."""
    try:
        if row.kind is Kind.NUMBER:
            parse_number(value, row.low, row.high)
        elif row.kind is Kind.BOOLEAN:
            parse_boolean(value)
        elif row.kind is Kind.BINARY:
            parse_number(value, 0, 0xFFFF)
    except ValueFormError as error:
        return error.reason
    if row.kind is Kind.CHOICE and value not in row.values:
        return f"neither {' nor '.join(row.values)}"
    if row.kind is Kind.ADDRESS and not _good_address(value):
        return "no host[:port][,portal group tag]"
    return None


def _good_address(value: str) -> bool:
    match = _ADDRESS.fullmatch(value)
    if match is None:
        return False
    port, tag = match[1], match[2]
    return (port is None or 0 < int(port) < 65536) and (
        tag is None or int(tag, 16 if tag[:2].lower() == "0x" else 10) < 65536
    )


def _value_rule(row: KeyRule) -> None:
    def check(sight: Sight) -> str | None:
        for pair in _pairs(sight):
            if pair.key != row.name or (pair.refusal and pair.answers is not None):
                continue
            fault = _value_fault(row, pair.value)
            if fault is not None and pair.value not in REFUSALS:
                return f"{pair.key}={pair.value[:60]}: {fault}"
        return None

    check.__doc__ = f"The value of {row.name} is one of those that it can take."
    opcodes = [
        op for op in _ALL if row.negotiated or row.use_by(Role.TARGET if op >= 0x20 else Role.INITIATOR) is not None
    ]
    RULES(f"keys.value.{row.name}", row.clause, *opcodes, leans=False)(check)


for _row in KEYS.values():
    if _row.kind in (Kind.NUMBER, Kind.BOOLEAN, Kind.BINARY, Kind.CHOICE, Kind.ADDRESS):
        _value_rule(_row)


@RULES(
    "keys.repeated",
    "R7143-6.3-20",
    *_LOGIN_PDUS,
    phases=_IN_LOGIN,
    level="SHOULD",
    stain=Stain.CONNECTION,
)
def repeated(sight: Sight) -> str | None:
    """A key is not declared or negotiated twice in a login."""
    keys = [pair.key for pair in _pairs(sight) if pair.repeated and pair.key not in ("InitiatorName", "TargetName")]
    return f"{keys[0]} again" if keys else None


@RULES("keys.repeated-in-text", "R7143-6.4-11", *_TEXT_PDUS, phases=_IN_FULL, level="SHOULD", stain=Stain.CONNECTION)
def repeated_in_text(sight: Sight) -> str | None:
    """A key is not declared or negotiated twice in a text sequence."""
    keys = [pair.key for pair in _pairs(sight) if pair.repeated]
    return f"{keys[0]} again" if keys else None


def _again(sight: Sight, key: str) -> str | None:
    said = [pair.value for pair in _pairs(sight) if pair.key == key]
    before = sight.connection.login.whole_requests > 0
    return f"{key}={said[-1]} again" if len(said) > 1 or (said and before and sight.connection.known) else None


@RULES("keys.initiator-name-repeated", "R7143-13.5-02", Opcode.LOGIN_REQUEST, phases=_IN_LOGIN, leans=False)
def initiator_name_repeated(sight: Sight) -> str | None:
    """InitiatorName is declared once, in the first request."""
    return _again(sight, "InitiatorName")


@RULES("keys.target-name-repeated", "R7143-13.4-02", Opcode.LOGIN_REQUEST, phases=_IN_LOGIN, leans=False)
def target_name_repeated(sight: Sight) -> str | None:
    """TargetName is declared once, in the first request."""
    return _again(sight, "TargetName")


@RULES("keys.leading-only", "R7143-13-01", *_LOGIN_PDUS, phases=_IN_LOGIN, leans=False)
def leading_only(sight: Sight) -> str | None:
    """Keys of the leading login do not come up on a further connection."""
    if not any(sight.connection.login.first[14:16] or sight.bhs[14:16]) or sight.session.tsih == 0:
        return None
    keys = [
        pair.key for pair in _proposals(sight) if _use(pair, sight) is Use.LEADING_ONLY and pair.key != "SessionType"
    ]
    return f"{keys[0]} in the login of a further connection" if keys else None


@RULES("keys.login-only", "R7143-13-02", *_TEXT_PDUS, phases=_IN_FULL, leans=False)
def login_only(sight: Sight) -> str | None:
    """Keys of the login do not come up in the full feature phase."""
    uses = (Use.LEADING_ONLY, Use.INITIALIZE_ONLY, Use.SECURITY)
    keys = [pair.key for pair in _proposals(sight) if _use(pair, sight) in uses]
    return f"{keys[0]} in the full feature phase" if keys else None


@RULES("keys.full-feature-only", "R7143-13-03", Opcode.LOGIN_REQUEST, phases=_IN_LOGIN, leans=False)
def full_feature_only(sight: Sight) -> str | None:
    """SendTargets belongs to the full feature phase."""
    keys = [pair.key for pair in _proposals(sight) if _use(pair, sight) is Use.FULL_FEATURE_ONLY]
    return f"{keys[0]} during login" if keys else None


@RULES("keys.target-name-by-target", "R7143-13.4-03", Opcode.LOGIN_RESPONSE, phases=_IN_LOGIN, leans=False)
def target_name_by_target(sight: Sight) -> str | None:
    """A target sends TargetName in answers to SendTargets alone."""
    return "TargetName in a Login Response" if any(pair.key == "TargetName" for pair in _pairs(sight)) else None


@RULES("keys.in-security-stage", "R7143-12-02", *_LOGIN_PDUS, phases=_IN_LOGIN, leans=False)
def in_security_stage(sight: Sight) -> str | None:
    """In the security stage only its own keys are used."""
    if sight.stage != Stage.SECURITY:
        return None
    for pair in _proposals(sight):
        row = pair.row
        if (
            row is not None
            and row is not PRIVATE_KEY
            and not row.any_stage
            and _use(pair, sight) not in (Use.SECURITY, None)
        ):
            return f"{pair.key} in the security stage"
    return None


@RULES("keys.authentication-outside-security", "R7143-6.3-11", *_LOGIN_PDUS, phases=_IN_LOGIN, leans=False)
def authentication_outside_security(sight: Sight) -> str | None:
    """Authentication belongs to the security stage."""
    if sight.stage == Stage.SECURITY:
        return None
    keys = [pair.key for pair in _proposals(sight) if pair.key == "AuthMethod" or is_authentication(pair.key)]
    return f"{keys[0]} in stage {sight.stage}" if keys else None


@RULES("keys.wrong-sender", "R7143-6.2-17", *_LOGIN_PDUS, *_TEXT_PDUS, leans=False)
def wrong_sender(sight: Sight) -> str | None:
    """A key is sent by the side that it is for."""
    for pair in _proposals(sight):
        if pair.row is not None and _use(pair, sight) is None:
            return f"{pair.key} from the {'initiator' if sight.from_initiator else 'target'}"
    return None


@RULES("keys.reserved-word", "R7143-6.2-13", *_ALL, leans=False)
def reserved_word(sight: Sight) -> str | None:
    """Reject, Irrelevant and NotUnderstood are answers alone."""
    for pair in _proposals(sight):
        if (
            pair.refusal
            and pair.row is not PRIVATE_KEY
            and not (pair.key == "SendTargets" and not sight.from_initiator)
        ):
            return f"{pair.key}={pair.value} answers nothing"
    return None


@RULES("keys.not-understood", "R7143-6.2-18", *_ALL)
def not_understood(sight: Sight) -> str | None:
    """A key of the standard is not answered with NotUnderstood."""
    for pair in _pairs(sight):
        row = pair.row
        known = row is not None and not row.may_be_unknown and row.function is not Function.OBSOLETE
        if known and pair.answers is not None and pair.value == "NotUnderstood":
            return f"{pair.key}=NotUnderstood"
    return None


@RULES("keys.answer-not-offered", "R7143-6.2.1-01", *_ALL)
def answer_not_offered(sight: Sight) -> str | None:
    """The answer to a list is one of its values."""
    for pair, offer in _answers(sight):
        if _function(pair) is Function.FIRST_SUPPORTED and pair.value not in offer.split(",") and pair.value != "None":
            return f"{pair.key}={pair.value} in answer to {offer}"
    return None


@RULES("keys.none-not-offered", "R7143-6.2.1-03", *_ALL)
def none_not_offered(sight: Sight) -> str | None:
    """None is chosen only where it was offered."""
    for pair, offer in _answers(sight):
        if _function(pair) is Function.FIRST_SUPPORTED and pair.value == "None" and "None" not in offer.split(","):
            return f"{pair.key}=None in answer to {offer}"
    return None


def _function(pair: Pair) -> Function | None:
    return None if pair.row is None else pair.row.function


def _numbers(sight: Sight, function: Function) -> Iterator[tuple[Pair, int, int]]:
    for pair, offer in _answers(sight):
        answered, offered = number(pair.value), number(offer)
        if _function(pair) is function and answered is not None and offered is not None:
            yield pair, answered, offered


@RULES("keys.answer-above-offer", "R7143-13-04", *_ALL)
def answer_above_offer(sight: Sight) -> str | None:
    """The answer to a Minimum key does not exceed the offer."""
    for pair, answered, offered in _numbers(sight, Function.MINIMUM):
        if answered > offered:
            return f"{pair.key}={answered} in answer to {offered}"
    return None


@RULES("keys.answer-below-offer", "R7143-13-05", *_ALL)
def answer_below_offer(sight: Sight) -> str | None:
    """The answer to a Maximum key is not below the offer."""
    for pair, answered, offered in _numbers(sight, Function.MAXIMUM):
        if answered < offered:
            return f"{pair.key}={answered} in answer to {offered}"
    return None


@RULES("keys.answer-no-result", "R7143-13-06", *_ALL)
def answer_no_result(sight: Sight) -> str | None:
    """The answer to an AND or OR key is a possible result."""
    fixed = {Function.AND: "No", Function.OR: "Yes"}
    for pair, offer in _answers(sight):
        result = fixed.get(_function(pair) or Function.PRIVATE)
        if result is not None and offer == result and pair.value != result:
            return f"{pair.key}={pair.value} in answer to {offer}"
    return None


@RULES("keys.marker-not-understood", "R7143-13.25-03", *_ALL)
def marker_not_understood(sight: Sight) -> str | None:
    """IFMarker and OFMarker are not answered with NotUnderstood."""
    return _obsolete(sight, _OBSOLETE_MARKERS, lambda value: value == "NotUnderstood")


@RULES("keys.marker-not-rejected", "R7143-13.25-01", *_ALL, level="SHOULD")
def marker_not_rejected(sight: Sight) -> str | None:
    """IFMarker and OFMarker are answered with Reject, or with No."""
    return _obsolete(sight, _OBSOLETE_MARKERS, lambda value: value not in ("Reject", "No", "NotUnderstood"))


@RULES("keys.interval-not-understood", "R7143-13.25-05", *_ALL)
def interval_not_understood(sight: Sight) -> str | None:
    """IFMarkInt and OFMarkInt are not answered with NotUnderstood."""
    return _obsolete(sight, _OBSOLETE_INTERVALS, lambda value: value == "NotUnderstood")


@RULES("keys.interval-not-rejected", "R7143-13.25-04", *_ALL)
def interval_not_rejected(sight: Sight) -> str | None:
    """IFMarkInt and OFMarkInt are answered with Reject."""
    return _obsolete(sight, _OBSOLETE_INTERVALS, lambda value: value not in ("Reject", "Irrelevant", "NotUnderstood"))


def _obsolete(sight: Sight, keys: frozenset[str], wrong: Callable[[str], bool]) -> str | None:
    for pair in _pairs(sight):
        if pair.key in keys and pair.answers is not None and wrong(pair.value):
            return f"{pair.key}={pair.value}"
    return None


@RULES("keys.first-burst-above-max-burst", "R7143-13.14-02", *_LOGIN_PDUS, phases=_IN_LOGIN)
def first_burst_above_max_burst(sight: Sight) -> str | None:
    """FirstBurstLength does not exceed MaxBurstLength."""
    if sight.pairs is None:
        return None
    said = sight.connection.login.negotiation.said[int(sight.direction)]
    first, longest = number(said.get("FirstBurstLength", "")), number(said.get("MaxBurstLength", ""))
    now = any(pair.key in ("FirstBurstLength", "MaxBurstLength") for pair in sight.pairs)
    if not now or first is None or longest is None or first <= longest:
        return None
    return f"FirstBurstLength={first} with MaxBurstLength={longest}"


@RULES("keys.task-reporting-offer", "R7143-13.23-02", *_LOGIN_PDUS, phases=_IN_LOGIN, leans=False, stain=Stain.NOTHING)
def task_reporting_offer(sight: Sight) -> str | None:
    """An offer of TaskReporting has RFC3720 and ResponseFence in it."""
    for pair in _proposals(sight):
        if pair.key == "TaskReporting" and not {"RFC3720", "ResponseFence"} <= set(pair.value.split(",")):
            return f"TaskReporting={pair.value}"
    return None


@RULES("keys.recovery-level-in-discovery", "R7143-7.4.1-01", *_LOGIN_PDUS, phases=_IN_LOGIN)
def recovery_level_in_discovery(sight: Sight) -> str | None:
    """An offer of ErrorRecoveryLevel for a discovery session is answered with 0."""
    for pair, _ in _answers(sight):
        if pair.key == "ErrorRecoveryLevel" and sight.session.discovery and pair.value not in ("0", "0x0"):
            return f"ErrorRecoveryLevel={pair.value} on a discovery session"
    return None


def _open_proposals(sight: Sight) -> list[str]:
    """Proposals of the other side that this PDU, which ends a negotiation, leaves without their answer."""
    negotiation = _negotiation(sight)
    if (
        negotiation is None
        or sight.pairs is None
        or not sight.final
        or (sight.opcode == Opcode.LOGIN_RESPONSE and sight.bhs[36])
    ):
        return []
    return negotiation.unanswered(1 - int(sight.direction))


def _negotiation(sight: Sight) -> Negotiation | None:
    if sight.opcode in _LOGIN_PDUS:
        return sight.connection.login.negotiation
    return None if sight.exchange is None else sight.exchange.negotiation


def _meant(keys: list[str], *, known: bool) -> str | None:
    for key in keys:
        row = row_of(key)
        if (row is not None) == known:
            return key
    return None


@RULES("keys.unanswered", "R7143-6.2.2-01", *_ALL)
def unanswered(sight: Sight) -> str | None:
    """Every proposal of a known key is answered before its negotiation ends."""
    key = _meant(_open_proposals(sight), known=True)
    return None if key is None else f"{key} was proposed and is not answered"


@RULES("keys.unknown-unanswered", "R7143-6.2-08", *_ALL)
def unknown_unanswered(sight: Sight) -> str | None:
    """A key that is not understood is answered with NotUnderstood."""
    key = _meant(_open_proposals(sight), known=False)
    return None if key is None else f"{key} is unknown and not answered"


@RULES("keys.proposal-with-transit", "R7143-11.13.6-01", Opcode.LOGIN_RESPONSE, phases=_IN_LOGIN, leans=False)
def proposal_with_transit(sight: Sight) -> str | None:
    """A Login Response with T=1 proposes nothing."""
    return _late_proposal(sight) if not sight.bhs[36] else None


@RULES("keys.proposal-with-final", "R7143-11.11.1-02", Opcode.TEXT_RESPONSE, phases=_IN_FULL, leans=False)
def proposal_with_final(sight: Sight) -> str | None:
    """A Text Response with F=1 proposes nothing."""
    return _late_proposal(sight)


def _late_proposal(sight: Sight) -> str | None:
    negotiation = _negotiation(sight)
    if not sight.final or negotiation is None or sight.pairs is None:
        return None
    open_keys = set(negotiation.unanswered(1))
    late = next((pair for pair in _proposals(sight) if pair.key in open_keys), None)
    return None if late is None else f"{late.key}={late.value} needs an answer"
