"""Negotiation of text keys by either side (RFC 7143 sections 6.2, 6.3, 6.4, 7.12 and chapter 13).

One Negotiator serves one connection: its login, and every text negotiation after it. It knows pairs and stages; PDUs, bits
and the exchanges of authentication methods belong to the caller, who takes the latter's keys out by `split_security_keys`.

A result rests on what was exchanged only, and on neither the order of keys nor how they were spread over PDUs. Therefore:
FirstBurstLength is always answered by a value (Irrelevant would be possible), results that other results override are put
right where they take effect (`OperationalParameters.with_results`), and a side proposes every key whose default it cannot
live with: the initiator at once, the target when the initiator asks to leave the stage without having named it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from types import MappingProxyType

from iscsi_protocol.negotiation.errors import (
    NegotiationError,
    event_of,
    repetition_clause,
    status_of,
    stray_key_clause,
)
from iscsi_protocol.negotiation.functions import INADMISSIBLE, admits, answer_required, select
from iscsi_protocol.negotiation.keys import KEYS, Function, KeyRule, Kind, Role, Scope, SessionType
from iscsi_protocol.negotiation.parameters import PARAMETER_KEYS, OperationalParameters
from iscsi_protocol.negotiation.permission import Pair, is_authentication_key, objection, rule_of
from iscsi_protocol.negotiation.settings import check_pair, check_settings
from iscsi_protocol.negotiation.values import REFUSALS, parse_value
from iscsi_protocol.pdu.codes import LoginStatus, Stage
from iscsi_protocol.text import KeyNameError, NumberError, ValueFormError, check_key_name, parse_number

_ORDER = {name: place for place, name in enumerate(KEYS)}
_LENGTH = "MaxRecvDataSegmentLength"
_LARGEST_LENGTH = 0xFFFFFFFF
"""The largest FirstBurstLength that the event about it can tell."""
_SEND_TARGETS_ANSWER = frozenset({"TargetName", "TargetAddress"})


@cache
def _sendable(role: Role, stage: Stage, leading: bool) -> tuple[tuple[str, KeyRule], ...]:
    """The standard's keys that a side may send in a stage."""
    return tuple((key, rule) for key, rule in KEYS.items() if not objection(rule, role, stage, leading))


class Negotiator:
    """One side of the negotiations of a connection.

    settings: what this side wants, key -> text; a list holds all that it supports, in order of preference. For a key that is
    not in it, this side is content with the default, and supports no authentication method but None.
    session_type, leading: of the login (a target learns the type from the key SessionType); current: what holds in the
    session that a further connection joins, or on a connection in full feature phase.
    propose: negotiated keys that a target brings up by itself when the initiator does not.
    Raises ValueError for settings that no such side may ask for.
    """

    def __init__(
        self,
        role: Role,
        settings: Mapping[str, str],
        session_type: SessionType = SessionType.NORMAL,
        leading: bool = True,
        *,
        current: OperationalParameters | None = None,
        propose: Collection[str] = (),
    ) -> None:
        check_settings(role, settings, session_type, propose)
        self.role = role
        self.session_type = session_type
        self._settings = dict(settings)
        self._leading = leading
        self._propose = frozenset(propose)
        self._result = current or OperationalParameters()
        self._full_feature = False
        self._clear()

    def _clear(self) -> None:
        self._offered: dict[str, str] = {}
        self._settled: dict[str, str] = {}
        self._heard: set[str] = set()
        self._declared: dict[str, list[str]] = {}

    # What the caller sees.

    @property
    def result(self) -> OperationalParameters:
        """What is in effect: the results of the last negotiation that was committed."""
        return self._result

    @property
    def declared(self) -> Mapping[str, list[str]]:
        """What the peer declared or requested in this negotiation (all of login is one here), values as received."""
        return MappingProxyType(self._declared)

    @property
    def outcomes(self) -> Mapping[str, str]:
        """The answer to each key that was negotiated, by whichever side; also Reject, Irrelevant and NotUnderstood."""
        return MappingProxyType(self._settled)

    @property
    def outstanding(self) -> frozenset[str]:
        """Keys that this side proposed and the peer has yet to answer."""
        return frozenset(key for key in self._offered if key not in self._settled and self._needs_answer(key))

    @property
    def missing(self) -> tuple[str, ...]:
        """Operational keys that nobody named yet and whose default is outside of this side's settings.

        While there are any, a side should not let login end without an operational stage.
        """
        return tuple(rule.name for rule in KEYS.values() if self._is_missing(rule))

    # Sending.

    def offers(self, stage: Stage, closing: bool = False) -> list[Pair]:
        """What this side declares and proposes next by itself; each pair is given once. Nothing in full feature phase.

        closing: (target) the initiator asks to leave the stage. Only then does a target propose keys to negotiate.
        """
        self._check_phase(stage)
        pairs = self._upcoming(stage, closing)
        self._offered.update(pairs)
        return pairs

    def offer(self, key: str, value: str, stage: Stage) -> Pair:
        """One pair more that this side will send: a new MaxRecvDataSegmentLength, SendTargets, an X- key.

        Raises ValueError if it may not be sent now, or was already.
        """
        self._check_phase(stage)
        rule = check_pair(self.role, key, value)
        refusal = objection(rule, self.role, stage, self._leading)
        if refusal is not None:
            raise ValueError(f"{key}: {refusal[1]} ({refusal[0]})")
        if key in self._offered or (rule.function is not Function.DECLARATION and key in self._heard):
            raise ValueError(f"{key} was already negotiated or declared")
        self._offered[key] = value
        return key, value

    def finished(self, stage: Stage) -> bool:
        """Whether this side is ready to leave the stage: it has nothing more to send and no answer to wait for."""
        return not self.outstanding and not self._upcoming(stage, closing=True)

    def _upcoming(self, stage: Stage, closing: bool) -> list[Pair]:
        pairs: list[Pair] = []
        if stage is Stage.FULL_FEATURE:
            return pairs
        for key, rule in (*_sendable(self.role, stage, self._leading), *self._private(stage)):
            if key in self._offered:
                continue
            value = self._own(rule, key, closing)
            if value is not None:
                pairs.append((key, value))
        return pairs

    def _private(self, stage: Stage) -> list[tuple[str, KeyRule]]:
        """The private keys among the settings that may be sent in the stage."""
        rules = [(key, rule_of(key)) for key in self._settings if key not in KEYS]
        return [(key, rule) for key, rule in rules if rule and not objection(rule, self.role, stage, self._leading)]

    def _own(self, rule: KeyRule, key: str, closing: bool) -> str | None:
        """What this side says of a key by itself, None for nothing."""
        if self._irrelevant_in_session(rule) or key in self._settled:
            return None
        if key == "SessionType" and self.session_type is SessionType.DISCOVERY:
            return "Discovery"
        if not rule.negotiated:
            return self._settings.get(key)
        initiator = self.role is Role.INITIATOR
        wanted = key in self._settings if initiator else closing and key in self._propose
        return self._wish(rule) if wanted or ((initiator or closing) and self._is_missing(rule)) else None

    # Receiving.

    def receive(self, pairs: Iterable[Pair], stage: Stage, last: bool = False) -> list[Pair]:
        """Take the pairs of one logical text segment, authentication keys left out; the answers in order of arrival.

        last: (initiator) the response has T=1 or F=1, so nothing in it may need an answer (6.3, 6.4), and none is given.
        Raises NegotiationError, of several the one that EVENT_ORDER names first; the negotiation is then over.
        """
        self._check_phase(stage)
        received = list(pairs)
        answers: dict[int, Pair] = {}
        errors: list[NegotiationError] = []
        # Dependent keys are taken behind those that they depend on, whatever the order of arrival.
        for place in sorted(range(len(received)), key=lambda at: _ORDER.get(received[at][0], len(_ORDER))):
            key, value = received[place]
            try:
                answer = self._take(key, value, stage)
                if answer is not None:
                    answers[place] = (key, answer)
                    self._check_last(key, value, stage, last)
            except NegotiationError as error:
                errors.append(error)
        errors += self._companion_errors(received, stage)
        errors += self._burst_errors(stage)
        if errors:
            raise min(errors, key=lambda error: error.rank)
        return [] if last else [answers[place] for place in sorted(answers)]

    def _take(self, key: str, value: str, stage: Stage) -> str | None:
        rule = rule_of(key)
        if rule is not None and self._is_answer(rule, key, value):
            self._settled[key] = value
            self._judge_answer(rule, key, value, stage)
            return None
        self._check_proposal(rule, key, value, stage)
        self._heard.add(key)
        if rule is None or (rule.function is Function.PRIVATE and key not in self._settings):
            return "NotUnderstood"
        if rule.function is Function.OBSOLETE:
            return rule.refusals[0]
        if rule.negotiated:
            self._settled[key] = answer = self._answer(rule, value, stage)
            return answer
        self._declare(rule, key, value, stage)
        return None

    def _is_answer(self, rule: KeyRule, key: str, value: str) -> bool:
        if key not in self._offered or key in self._settled:
            return False
        return rule.function is not Function.DECLARATION or value in REFUSALS

    def _check_proposal(self, rule: KeyRule | None, key: str, value: str, stage: Stage) -> None:
        """Raise NegotiationError unless the peer may bring up this key now, and in these words."""
        answered = key in self._settled and rule is not None and rule.function is not Function.DECLARATION
        repeatable = rule is not None and rule.target_may_repeat and self.role is Role.INITIATOR
        if (answered or key in self._heard) and not repeatable:
            clause = repetition_clause(self.role, stage)
            raise self._error(key, value, "this key was already negotiated or declared", clause, stage)
        if is_authentication_key(key):
            event = 16 if stage is Stage.SECURITY and key.startswith("CHAP_") else 11
            clause = stray_key_clause(self.role, stage)
            raise self._error(key, value, "no authentication of this kind is under way", clause, stage, event)
        if value in REFUSALS and (rule is None or not rule.informative):
            reason = "this word is only for answers, and nothing was asked"
            raise self._error(key, value, reason, "R7143-6.2-13", stage)
        if self._full_feature and self.session_type is SessionType.DISCOVERY:
            self._check_discovery(key, value, stage)
        if rule is None or rule.function is Function.PRIVATE:
            self._check_name(key, value, stage)
        else:
            self._check_permission(rule, key, value, stage)

    def _check_discovery(self, key: str, value: str, stage: Stage) -> None:
        if self.role is Role.TARGET and key != "SendTargets":
            raise self._error(key, value, "a discovery session takes SendTargets only", "R7143-4.3-01", stage)
        if self.role is Role.INITIATOR and key not in _SEND_TARGETS_ANSWER:
            raise self._error(key, value, "this key is no answer to SendTargets", "R7143-C-14", stage)

    def _check_permission(self, rule: KeyRule, key: str, value: str, stage: Stage) -> None:
        refusal = objection(rule, self.role.peer, stage, self._leading)
        if refusal is not None:
            # In the midst of CHAP every key of another stage is a foreign body to the exchange.
            chap = stage is Stage.SECURITY and self._settled.get("AuthMethod") == "CHAP"
            raise self._error(key, value, refusal[1], refusal[0], stage, 16 if chap else 11)
        if key == "TargetName" and self.role is Role.INITIATOR and "SendTargets" not in self._offered:
            raise self._error(key, value, "TargetName was not asked for by SendTargets", rule.clause, stage)

    def _check_name(self, key: str, value: str, stage: Stage) -> None:
        # RFC 3720 gave public extension keys the prefix X#; who still has such a key is answered NotUnderstood.
        name = f"X{key[2:]}" if key.startswith("X#") else key
        try:
            check_key_name(name)
        except KeyNameError as error:
            raise self._error(key, value, error.reason, error.clause, stage) from error

    def _check_last(self, key: str, value: str, stage: Stage, last: bool) -> None:
        rule = KEYS.get(key)
        if last and rule is not None and (rule.function is Function.OBSOLETE or answer_required(rule, value)):
            clause = "R7143-6.4-07" if stage is Stage.FULL_FEATURE else "R7143-6.3-16"
            raise self._error(key, value, "a last response asks for an answer that cannot come", clause, stage)

    def _declare(self, rule: KeyRule, key: str, value: str, stage: Stage) -> None:
        if not rule.informative:
            try:
                parse_value(rule, value)
            except ValueFormError as error:
                status = status_of(key)
                raise self._error(key, value, error.reason, error.clause, stage, status=status) from error
        self._declared.setdefault(key, []).append(value)
        if key == "SessionType":
            self.session_type = SessionType(value)

    def _companion_errors(self, received: list[Pair], stage: Stage) -> list[NegotiationError]:
        asked = [value for key, value in received if key == "SendTargets"]
        if self.role is Role.INITIATOR or not asked or len(received) == 1:
            return []
        return [self._error("SendTargets", asked[0], "other keys stand beside SendTargets", "R7143-C-07", stage)]

    def _burst_errors(self, stage: Stage) -> list[NegotiationError]:
        first, longest = self._number("FirstBurstLength"), self._number("MaxBurstLength")
        if first is None or longest is None or not longest < first <= _LARGEST_LENGTH:
            return []
        reason = f"the first burst would be longer than MaxBurstLength={longest}"
        error = self._error("FirstBurstLength", str(first), reason, "R7143-13.14-02", stage, 4)
        error.against = ("MaxBurstLength", str(longest))
        return [error]

    # Answering, and judging answers.

    def _answer(self, rule: KeyRule, offer: str, stage: Stage) -> str:
        if self._irrelevant_in_session(rule):
            return "Irrelevant"
        if offer == "None" and rule.kind is not Kind.LIST:
            raise self._error(rule.name, offer, "None is no value of this key", "R7143-6.2-13", stage)
        try:
            answer = select(rule, offer, self._wish(rule))
        except ValueFormError as error:
            # An initiator reports what its target may not say; a target lets an inadmissible proposal come to nothing.
            if self.role is Role.INITIATOR or not self._can_keep(rule):
                raise self._error(rule.name, offer, error.reason, error.clause, stage) from error
            return "Reject"
        if answer is None and not self._can_keep(rule):
            raise self._disagreement(rule, offer, "nothing in the list is acceptable", "R7143-7.12-01", stage)
        return answer or "Reject"

    def _judge_answer(self, rule: KeyRule, key: str, answer: str, stage: Stage) -> None:
        """Raise NegotiationError unless the peer may give this answer to what was offered."""
        if rule.function is Function.PRIVATE or rule.informative:
            return
        if rule.function is Function.REQUEST:
            if answer not in ("Reject", "Irrelevant"):
                raise self._error(key, answer, "this is no answer to a request", rule.clause, stage)
        elif answer == "NotUnderstood":
            if not rule.may_be_unknown:
                raise self._disagreement(rule, answer, "every implementation knows this key", "R7143-6.2-11", stage)
        elif rule.function is Function.DECLARATION:
            raise self._error(key, answer, "a declaration was not accepted", "R7143-7.12-01", stage)
        elif answer == "Irrelevant":
            if not self._may_be_irrelevant(rule):
                raise self._disagreement(rule, answer, "this key is relevant here", "R7143-6.2-13", stage)
        elif answer == "Reject":
            if not self._can_keep(rule):
                reason = "the value that remains is not acceptable"
                raise self._disagreement(rule, answer, reason, "R7143-6.2-16", stage)
        else:
            self._judge_value(rule, answer, stage)

    def _judge_value(self, rule: KeyRule, answer: str, stage: Stage) -> None:
        offer = self._offered[rule.name]
        try:
            admitted = admits(rule, offer, answer)
        except ValueFormError as error:
            raise self._error(rule.name, answer, error.reason, error.clause, stage) from error
        if not admitted:
            reason = f"no possible answer to {offer}"
            raise self._disagreement(rule, answer, reason, INADMISSIBLE[rule.function], stage)

    def _irrelevant_in_session(self, rule: KeyRule) -> bool:
        conditions = rule.irrelevant_when
        return bool(conditions) and (("SessionType", self.session_type.value),) in conditions

    def _may_be_irrelevant(self, rule: KeyRule) -> bool:
        """Whether the peer may find it so; where results of other keys decide, `commit` looks again."""
        if self.session_type is SessionType.DISCOVERY:
            return rule.scope is Scope.SESSION and rule.name != "ErrorRecoveryLevel"
        return any("SessionType" not in dict(condition) for condition in rule.irrelevant_when)

    def _can_keep(self, rule: KeyRule) -> bool:
        """Whether this side can go on with the default of a key on which no agreement was reached.

        A target cannot if the default is outside of its settings. An initiator only insists on lists: whatever the numbers
        and Booleans are, it can work with them. AuthMethod has no default; a target leaves the next step to its caller.
        """
        if rule.default is None:
            return self.role is Role.TARGET
        if self.role is Role.INITIATOR and rule.kind is not Kind.LIST:
            return True
        return admits(rule, self._wish(rule), rule.default)

    def _is_missing(self, rule: KeyRule) -> bool:
        if self._full_feature or not rule.negotiated or rule.default is None:
            return False
        if rule.name in self._offered or rule.name in self._settled:
            return False
        if rule.scope is Scope.SESSION and not (self._leading and self.session_type is SessionType.NORMAL):
            return False
        return not admits(rule, self._wish(rule), rule.default)

    def _wish(self, rule: KeyRule) -> str:
        """What this side would choose for the key, given what is settled by now."""
        wish = self._settings.get(rule.name, rule.default or "None")
        if rule.name == "FirstBurstLength":
            burst = self._number("MaxBurstLength")
            if burst is None:
                burst = parse_number(self._wish(KEYS["MaxBurstLength"]))
            return str(min(parse_number(wish), burst))
        if rule.name == "ErrorRecoveryLevel" and self.session_type is SessionType.DISCOVERY:
            return "0"
        if rule.name == "MaxOutstandingR2T" and (self._number("ErrorRecoveryLevel") or 0) > 0:
            in_order = KEYS["DataSequenceInOrder"]
            agreed = self._value(in_order.name)
            # A target that was not asked has nothing to say, and the default holds.
            left = in_order.default if self.role is Role.TARGET else None
            if "Yes" in (agreed or left, self._wish(in_order)):
                return "1"
        return wish

    def _needs_answer(self, key: str) -> bool:
        rule = rule_of(key)
        return rule is not None and answer_required(rule, self._offered[key])

    def _value(self, key: str) -> str | None:
        """The value agreed upon for a negotiated key, None if there is none (yet)."""
        settled = self._settled.get(key)
        if settled is not None:
            return None if settled in REFUSALS else settled
        if key in self._offered and KEYS[key].kind is Kind.BOOLEAN and not self._needs_answer(key):
            return self._offered[key]
        return None

    def _number(self, key: str) -> int | None:
        """The number agreed upon for a key; None also for a value that is none, which was an error when it came."""
        try:
            return parse_number(self._value(key) or "")
        except NumberError:
            return None

    # Ending.

    def commit(self, to: Stage = Stage.FULL_FEATURE) -> OperationalParameters:
        """End the stage of login that leads to `to`, or the text negotiation; results take effect, all of them at once.

        Those of login do when it leads to full feature phase. Raises NegotiationError, and changes nothing, for a missing
        answer and for results that this side cannot live with.
        """
        errors = [self._unanswered(KEYS[key]) for key in sorted(self.outstanding)]
        if to is Stage.FULL_FEATURE:
            errors += self._final_errors()
        if errors:
            raise min(errors, key=lambda error: error.rank)
        if to is Stage.FULL_FEATURE:
            self._result = self._compute()
        return self._result

    def check_answered(self) -> None:
        """Raise NegotiationError where an answer is missing, of several the one that EVENT_ORDER names first."""
        errors = [self._unanswered(KEYS[key]) for key in sorted(self.outstanding)]
        if errors:
            raise min(errors, key=lambda error: error.rank)

    def begin(self) -> None:
        """Begin a text negotiation in full feature phase; login must have been committed, or `current` given."""
        self._full_feature = True
        self._clear()

    def abandon(self) -> None:
        """Forget the text negotiation under way: nothing of it takes effect (7.12)."""
        self._clear()

    def _compute(self) -> OperationalParameters:
        base = self._result if self._full_feature or self._leading else self._result.of_new_connection()
        results = {
            key: value
            for key in PARAMETER_KEYS
            if not self._irrelevant_in_session(KEYS[key]) and (value := self._value(key)) is not None
        }
        lengths: dict[Role, str] = {}
        if _LENGTH in self._offered:
            lengths[self.role] = self._offered[_LENGTH]
        if _LENGTH in self._declared:
            lengths[self.role.peer] = self._declared[_LENGTH][0]
        return base.with_results(results, lengths, self.session_type)

    def _unanswered(self, rule: KeyRule) -> NegotiationError:
        clause = "R7143-6.2.1-01" if rule.kind is Kind.LIST else "R7143-6.2.2-01"
        offer = self._offered[rule.name]
        error = self._disagreement(rule, offer, "this key was not answered", clause, Stage.OPERATIONAL)
        if rule.name == "AuthMethod" and self.role is Role.INITIATOR:
            error.event = 41
        return error

    def _final_errors(self) -> list[NegotiationError]:
        errors = []
        for key in self.missing:
            rule = KEYS[key]
            if not self._can_keep(rule):
                reason = f"this default is not acceptable where {self._wish(rule)} is asked for"
                value = rule.default or ""
                errors.append(self._disagreement(rule, value, reason, "R7143-7.12-01", Stage.OPERATIONAL))
        result = self._compute()
        burst = KEYS["FirstBurstLength"]
        unsolicited = result.immediate_data or not result.initial_r2t
        if self._settled.get(burst.name) == "Irrelevant" and unsolicited and not self._irrelevant_in_session(burst):
            reason = "this key is relevant when there is unsolicited data"
            errors.append(self._disagreement(burst, "Irrelevant", reason, "R7143-6.2-13", Stage.OPERATIONAL))
        return errors

    # Errors.

    def _check_phase(self, stage: Stage) -> None:
        if (stage is Stage.FULL_FEATURE) != self._full_feature:
            raise ValueError("full feature phase begins with begin(), and login does not come back")

    def _error(
        self,
        key: str,
        value: str,
        reason: str,
        clause: str,
        stage: Stage,
        event: int = 11,
        status: LoginStatus = LoginStatus.INITIATOR_ERROR,
    ) -> NegotiationError:
        logs = self.role is Role.INITIATOR and stage is not Stage.FULL_FEATURE
        return NegotiationError(
            key=key,
            value=value,
            reason=reason,
            clause=clause,
            login_status=status,
            event=event if logs else None,
        )

    def _disagreement(self, rule: KeyRule, value: str, reason: str, clause: str, stage: Stage) -> NegotiationError:
        """The failure of a key for which an initiator may have an event of its own."""
        event = event_of(rule, value, self._wish(rule), self._offered.get(rule.name))
        return self._error(rule.name, value, reason, clause, stage, event, status_of(rule.name))
