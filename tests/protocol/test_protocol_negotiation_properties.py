"""What holds of every negotiation: both sides agree, order and packing do not matter, nothing received breaks anything."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.negotiation.engine import Negotiator
from iscsi_protocol.negotiation.errors import NegotiationError
from iscsi_protocol.negotiation.keys import AUTHENTICATION_KEYS, KEYS, Role, SessionType
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.pdu.codes import Stage
from iscsi_protocol.text import decode_pairs, encode_pairs

Settings = dict[str, str]
Pairs = list[tuple[str, str]]
SECURITY, OPERATIONAL, FULL_FEATURE = Stage.SECURITY, Stage.OPERATIONAL, Stage.FULL_FEATURE

BOUNDS = {
    "MaxConnections": (1, 65535),
    "MaxBurstLength": (512, 16777215),
    "FirstBurstLength": (512, 16777215),
    "DefaultTime2Wait": (0, 3600),
    "DefaultTime2Retain": (0, 3600),
    "MaxOutstandingR2T": (1, 65535),
    "ErrorRecoveryLevel": (0, 2),
    "iSCSIProtocolLevel": (0, 31),
    "MaxRecvDataSegmentLength": (512, 16777215),
}
DEFAULTS = {
    "MaxConnections": 1,
    "MaxBurstLength": 262144,
    "FirstBurstLength": 65536,
    "DefaultTime2Wait": 2,
    "DefaultTime2Retain": 20,
    "MaxOutstandingR2T": 1,
    "ErrorRecoveryLevel": 0,
    "iSCSIProtocolLevel": 1,
    "MaxRecvDataSegmentLength": 8192,
}
BOOLEANS = ("InitialR2T", "ImmediateData", "DataPDUInOrder", "DataSequenceInOrder")
DIGESTS = ("HeaderDigest", "DataDigest")


def a_number(key: str) -> st.SearchStrategy[str]:
    low, high = BOUNDS[key]
    near = DEFAULTS[key]
    numbers = st.integers(low, high) | st.integers(max(low, near - 2), min(high, near + 2))
    return st.tuples(numbers, st.booleans()).map(lambda drawn: hex(drawn[0]) if drawn[1] else str(drawn[0]))


def a_list(values: list[str]) -> st.SearchStrategy[str]:
    return st.permutations(values).flatmap(
        lambda order: st.integers(1, len(order)).map(lambda count: ",".join(order[:count]))
    )


OPTIONAL: dict[str, st.SearchStrategy[str]] = {
    **{key: a_number(key) for key in BOUNDS if key != "FirstBurstLength"},
    **{key: st.sampled_from(["Yes", "No"]) for key in BOOLEANS},
    **{key: a_list(["CRC32C", "None"]) for key in DIGESTS},
    "TaskReporting": st.sampled_from([["RFC3720", "ResponseFence"], ["RFC3720", "ResponseFence", "FastAbort"]])
    .flatmap(st.permutations)
    .map(",".join),
    "X-com.example.do": st.just("something"),
    "X#NodeArchitecture": st.just("ExampleOS/v1234"),
}


@st.composite
def some_settings(draw: st.DrawFn) -> Settings:
    settings = draw(st.fixed_dictionaries({}, optional=OPTIONAL))
    burst = int(settings.get("MaxBurstLength", "262144"), 0)
    if draw(st.booleans()):
        settings["FirstBurstLength"] = str(draw(st.integers(512, burst)))
    return settings


@dataclass
class Outcome:
    initiator: Negotiator
    target: Negotiator
    failure: NegotiationError | None = None


Packing = Callable[[Pairs], list[Pairs]]


def whole(pairs: Pairs) -> list[Pairs]:
    return [pairs]


def negotiate(initiator: Negotiator, target: Negotiator, packing: Packing = whole, answers: Packing = whole) -> Outcome:
    """Lead both through the operational stage; each side's pairs go as `packing` and `answers` say."""
    outcome = Outcome(initiator, target)
    try:
        for _ in range(6):
            to_target = initiator.offers(OPERATIONAL)
            if initiator.finished(OPERATIONAL) and target.finished(OPERATIONAL) and not to_target:
                break
            exchange(initiator, target, to_target, packing, answers)
        else:
            raise AssertionError("the negotiation does not end")
        initiator.commit()
        target.commit()
    except NegotiationError as failure:
        outcome.failure = failure
    return outcome


def exchange(initiator: Negotiator, target: Negotiator, pairs: Pairs, packing: Packing, answers: Packing) -> None:
    while True:
        replies: Pairs = []
        for part in packing(pairs):
            replies += target.receive(part, OPERATIONAL)
        replies += target.offers(OPERATIONAL, closing=True)
        pairs = []
        for part in answers(replies):
            pairs += initiator.receive(part, OPERATIONAL)
        pairs += initiator.offers(OPERATIONAL)
        if not pairs and target.finished(OPERATIONAL):
            return


def number(settings: Settings, key: str) -> int:
    return int(settings[key], 0) if key in settings else DEFAULTS[key]


def first_burst(settings: Settings) -> int:
    return min(number(settings, "FirstBurstLength"), number(settings, "MaxBurstLength"))


def common(one: Settings, other: Settings, key: str, default: str) -> str | None:
    mine, theirs = one.get(key, default).split(","), other.get(key, default).split(",")
    return next((item for item in mine if item in theirs), None)


def expected(one: Settings, other: Settings) -> OperationalParameters:
    """The results by the functions of chapter 13, computed without the Negotiator."""
    level = min(number(one, "ErrorRecoveryLevel"), number(other, "ErrorRecoveryLevel"))
    yes = {key: [settings.get(key, "Yes") == "Yes" for settings in (one, other)] for key in BOOLEANS}
    in_order = any(yes["DataSequenceInOrder"])
    r2ts = min(number(one, "MaxOutstandingR2T"), number(other, "MaxOutstandingR2T"))
    return OperationalParameters(
        header_digest=common(one, other, "HeaderDigest", "None") == "CRC32C",
        data_digest=common(one, other, "DataDigest", "None") == "CRC32C",
        max_recv_data_segment_length_initiator=number(one, "MaxRecvDataSegmentLength"),
        max_recv_data_segment_length_target=number(other, "MaxRecvDataSegmentLength"),
        max_connections=min(number(one, "MaxConnections"), number(other, "MaxConnections")),
        initial_r2t=any(yes["InitialR2T"]),
        immediate_data=all(yes["ImmediateData"]),
        max_burst_length=min(number(one, "MaxBurstLength"), number(other, "MaxBurstLength")),
        first_burst_length=min(first_burst(one), first_burst(other)),
        default_time2wait=max(number(one, "DefaultTime2Wait"), number(other, "DefaultTime2Wait")),
        default_time2retain=min(number(one, "DefaultTime2Retain"), number(other, "DefaultTime2Retain")),
        max_outstanding_r2t=1 if level and in_order else r2ts,
        data_pdu_in_order=any(yes["DataPDUInOrder"]),
        data_sequence_in_order=in_order,
        error_recovery_level=level,
        task_reporting=common(one, other, "TaskReporting", "RFC3720") or "",
        iscsi_protocol_level=min(number(one, "iSCSIProtocolLevel"), number(other, "iSCSIProtocolLevel")),
    )


def possible(one: Settings, other: Settings) -> bool:
    return all(common(one, other, key, "None") is not None for key in DIGESTS)


@given(some_settings(), some_settings())
def test_both_sides_agree_on_what_the_result_functions_say(one: Settings, other: Settings) -> None:
    outcome = negotiate(Negotiator(Role.INITIATOR, one), Negotiator(Role.TARGET, other))
    if possible(one, other):
        assert outcome.failure is None
        assert outcome.initiator.result == outcome.target.result == expected(one, other)
    else:
        assert outcome.failure is not None
        assert outcome.failure.key in DIGESTS


@given(some_settings(), some_settings(), st.data())
def test_order_and_packing_do_not_matter(one: Settings, other: Settings, data: st.DataObject) -> None:
    def shuffled(pairs: Pairs) -> list[Pairs]:
        order = data.draw(st.permutations(pairs))
        cuts = data.draw(st.lists(st.integers(0, len(order)), max_size=4).map(sorted))
        return [order[start:end] for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]

    plain = negotiate(Negotiator(Role.INITIATOR, one), Negotiator(Role.TARGET, other))
    mixed = negotiate(Negotiator(Role.INITIATOR, one), Negotiator(Role.TARGET, other), shuffled, shuffled)
    assert (plain.failure is None) == (mixed.failure is None)
    assert mixed.initiator.result == plain.initiator.result
    assert mixed.target.result == plain.target.result


@given(some_settings(), some_settings(), st.sets(st.sampled_from([*BOUNDS, *BOOLEANS])))
def test_proposals_of_the_target_change_no_result(one: Settings, other: Settings, named: set[str]) -> None:
    named.discard("MaxRecvDataSegmentLength")
    other.update(dict.fromkeys(DIGESTS, "CRC32C,None"))
    target = Negotiator(Role.TARGET, other, propose=named)
    outcome = negotiate(Negotiator(Role.INITIATOR, one), target)
    assert outcome.failure is None
    assert outcome.initiator.result == target.result == expected(one, other)
    assert named <= set(target.outcomes) | set(target._offered)


@given(some_settings(), some_settings())
def test_discovery_sessions_agree_and_leave_irrelevant_keys_at_their_defaults(one: Settings, other: Settings) -> None:
    initiator = Negotiator(Role.INITIATOR, one, SessionType.DISCOVERY)
    outcome = negotiate(initiator, Negotiator(Role.TARGET, other))
    if not possible(one, other):
        assert outcome.failure is not None
        return
    assert outcome.failure is None
    wanted = expected(one, other)
    named = {key: key in one for key in ("DefaultTime2Wait", "DefaultTime2Retain")}
    assert outcome.target.result == outcome.initiator.result
    assert outcome.initiator.result == OperationalParameters(
        header_digest=wanted.header_digest,
        data_digest=wanted.data_digest,
        max_recv_data_segment_length_initiator=wanted.max_recv_data_segment_length_initiator,
        max_recv_data_segment_length_target=wanted.max_recv_data_segment_length_target,
        default_time2wait=wanted.default_time2wait if named["DefaultTime2Wait"] else 2,
        default_time2retain=wanted.default_time2retain if named["DefaultTime2Retain"] else 20,
        session_type=SessionType.DISCOVERY,
    )


OLD = OperationalParameters(
    header_digest=True, max_burst_length=1024, first_burst_length=512, max_recv_data_segment_length_target=4096
)


@given(some_settings(), some_settings())
def test_a_further_connection_negotiates_only_its_own_parameters(one: Settings, other: Settings) -> None:
    initiator = Negotiator(Role.INITIATOR, one, leading=False, current=OLD)
    outcome = negotiate(initiator, Negotiator(Role.TARGET, other, leading=False, current=OLD))
    if not possible(one, other):
        assert outcome.failure is not None
        return
    assert outcome.failure is None
    wanted = expected(one, other)
    assert outcome.target.result == outcome.initiator.result
    assert outcome.initiator.result == OperationalParameters(
        header_digest=wanted.header_digest,
        data_digest=wanted.data_digest,
        max_burst_length=1024,
        first_burst_length=512,
        max_recv_data_segment_length_initiator=wanted.max_recv_data_segment_length_initiator,
        max_recv_data_segment_length_target=wanted.max_recv_data_segment_length_target,
    )


WORDS = [
    *("None", "Reject", "Irrelevant", "NotUnderstood", "Yes", "No", "yes", "", "0", "1", "2", "3", "512", "8192"),
    *("0x2000", "0X", "0b", "0bAQI=", "-1", "65536", "262144", "16777216", str(2**64), "9" * 400, "512~8192"),
    *("CRC32C", "CRC32C,None", "None,CRC32C", ",", "Y-com.example.x", "CHAP", "CHAP,None", "KRB5", "RFC3720"),
    *("ResponseFence,RFC3720", "Discovery", "Normal", "All", "iqn.1993-11.com.example:disk", "10.0.0.1:3260,1"),
    *("[::1]:0", "x" * 300, "é" * 130),
]
NAMES = [
    *KEYS,
    *(name for names in AUTHENTICATION_KEYS.values() for name in names),
    *("X-com.example.do", "X-", "X#", "X#Foo", "Foo", "foo", "Ä", "A" * 64, "CHAP_Q", "maxburstlength"),
]
raw_pairs = st.tuples(
    st.sampled_from(NAMES)
    | st.binary(min_size=1, max_size=8).map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.sampled_from(WORDS) | st.binary(max_size=8).map(lambda data: data.decode("utf-8", "surrogateescape")),
).filter(lambda pair: "=" not in pair[0] and "\0" not in pair[0] + pair[1])


@given(
    role=st.sampled_from(Role),
    settings=some_settings(),
    session_type=st.sampled_from(SessionType),
    leading=st.booleans(),
    stage=st.sampled_from(Stage),
    asks=st.booleans(),
    segments=st.lists(st.lists(raw_pairs, max_size=4), max_size=3),
    last=st.booleans(),
)
def test_whatever_is_received_is_answered_or_refused(
    role: Role,
    settings: Settings,
    session_type: SessionType,
    leading: bool,
    stage: Stage,
    asks: bool,
    segments: list[Pairs],
    last: bool,
) -> None:
    side = Negotiator(role, settings, session_type, leading)
    if stage is FULL_FEATURE:
        side.begin()
    before = side.result
    if asks:
        side.offers(stage, closing=True)
        if stage is FULL_FEATURE and role is Role.INITIATOR:
            side.offer("SendTargets", "All", stage)
    try:
        for segment in segments:
            arrived = {key for key, _ in segment}
            answers = side.receive(decode_pairs(encode_pairs(segment)), stage, last)
            assert decode_pairs(encode_pairs(answers)) == answers
            assert {key for key, _ in answers} <= arrived
            assert not (last and answers)
        copied = copy.deepcopy(side)
        assert side.commit() == side.result == copied.commit()
    except NegotiationError as failure:
        problem = failure
        assert side.result == before
    else:
        return
    assert problem.clause.startswith(("R7143-", "R7144-"))
    assert problem.login_status in (0x0200, 0x0201, 0x0209)
    assert problem.reject_reason == 0x04
    assert (problem.event is not None) == (role is Role.INITIATOR and stage is not FULL_FEATURE)
    assert problem.reason in str(problem)
