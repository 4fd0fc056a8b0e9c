"""The Negotiator: what it sends, what it answers, and what it refuses with which clause, status and event."""

from __future__ import annotations

import dataclasses

import pytest

from iscsi_protocol.negotiation.engine import Negotiator
from iscsi_protocol.negotiation.errors import EVENT_ORDER, NegotiationError
from iscsi_protocol.negotiation.keys import KEYS, Role, SessionType
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.pdu.codes import Stage

SECURITY, OPERATIONAL, FULL_FEATURE = Stage.SECURITY, Stage.OPERATIONAL, Stage.FULL_FEATURE
NORMAL, DISCOVERY = SessionType.NORMAL, SessionType.DISCOVERY
Pairs = list[tuple[str, str]]


def pairs(text: str) -> Pairs:
    """The pairs of 'Key=value Key=value'."""
    return [(key, value) for key, _, value in (item.partition("=") for item in text.split())]


def shown(received: Pairs) -> str:
    return " ".join(f"{key}={value}" for key, value in received)


def an_initiator(text: str = "", session_type: SessionType = NORMAL, leading: bool = True) -> Negotiator:
    return Negotiator(Role.INITIATOR, dict(pairs(text)), session_type, leading)


def a_target(text: str = "", leading: bool = True, propose: tuple[str, ...] = ()) -> Negotiator:
    return Negotiator(Role.TARGET, dict(pairs(text)), leading=leading, propose=propose)


def refusal(side: Negotiator, text: str, stage: Stage = OPERATIONAL, last: bool = False) -> NegotiationError:
    with pytest.raises(NegotiationError) as caught:
        side.receive(pairs(text), stage, last)
    return caught.value


def answered(offers: str, answers: str, stage: Stage = OPERATIONAL) -> Negotiator:
    """An initiator that sent its settings and got these answers."""
    side = an_initiator(offers)
    side.offers(stage)
    assert side.receive(pairs(answers), stage) == []
    return side


def misanswered(offers: str, answers: str, stage: Stage = OPERATIONAL) -> NegotiationError:
    side = an_initiator(offers)
    side.offers(stage)
    return refusal(side, answers, stage)


# What a side sends by itself.


def test_an_initiator_sends_names_and_methods_first_and_the_rest_in_the_operational_stage() -> None:
    side = an_initiator(
        "MaxRecvDataSegmentLength=65536 HeaderDigest=CRC32C,None AuthMethod=CHAP,None TargetName=iqn.t InitiatorName=iqn.i "
        "InitiatorAlias=a X-com.example.do=1 ImmediateData=Yes SessionType=Normal"
    )
    first = "InitiatorName=iqn.i InitiatorAlias=a TargetName=iqn.t SessionType=Normal AuthMethod=CHAP,None"
    assert not side.finished(SECURITY)
    assert shown(side.offers(SECURITY)) == first
    assert side.offers(SECURITY) == []
    assert side.outstanding == {"AuthMethod"}
    rest = "HeaderDigest=CRC32C,None MaxRecvDataSegmentLength=65536 ImmediateData=Yes X-com.example.do=1"
    assert shown(side.offers(OPERATIONAL)) == rest
    assert side.outstanding == {"AuthMethod", "HeaderDigest", "ImmediateData"}


def test_an_initiator_that_starts_in_the_operational_stage_offers_no_method() -> None:
    side = an_initiator("AuthMethod=CHAP,None InitiatorName=iqn.i")
    assert shown(side.offers(OPERATIONAL)) == "InitiatorName=iqn.i"
    assert side.finished(OPERATIONAL)


def test_discovery_is_declared_and_irrelevant_keys_are_left_out() -> None:
    side = an_initiator("MaxBurstLength=8192 MaxConnections=2 X-com.example.do=1 ErrorRecoveryLevel=2", DISCOVERY)
    assert shown(side.offers(OPERATIONAL)) == "SessionType=Discovery ErrorRecoveryLevel=0"


def test_an_initiator_names_a_burst_whose_default_its_settings_do_not_admit() -> None:
    assert shown(an_initiator("MaxBurstLength=8192").offers(OPERATIONAL)) == (
        "MaxBurstLength=8192 FirstBurstLength=8192"
    )


def test_an_initiator_lowers_its_first_burst_when_the_target_lowers_the_other() -> None:
    side = an_initiator("MaxBurstLength=262144")
    side.offers(OPERATIONAL)
    side.receive(pairs("MaxBurstLength=4096"), OPERATIONAL)
    assert side.missing == ("FirstBurstLength",)
    assert shown(side.offers(OPERATIONAL)) == "FirstBurstLength=4096"


def test_only_the_leading_login_carries_leading_keys() -> None:
    settings = "InitiatorName=iqn.i TargetName=iqn.t SessionType=Normal MaxBurstLength=8192 HeaderDigest=CRC32C,None"
    side = an_initiator(settings, leading=False)
    assert shown(side.offers(OPERATIONAL)) == "InitiatorName=iqn.i TargetName=iqn.t HeaderDigest=CRC32C,None"


def test_a_target_declares_at_once_and_proposes_when_the_initiator_is_ready() -> None:
    side = a_target(
        "TargetPortalGroupTag=1 TargetAlias=a MaxRecvDataSegmentLength=65536 ImmediateData=No DefaultTime2Retain=0 "
        "MaxConnections=4 InitialR2T=Yes ErrorRecoveryLevel=1",
        propose=("ErrorRecoveryLevel",),
    )
    assert shown(side.offers(OPERATIONAL)) == "TargetAlias=a TargetPortalGroupTag=1 MaxRecvDataSegmentLength=65536"
    assert not side.finished(OPERATIONAL)
    assert side.missing == ("ImmediateData", "DefaultTime2Retain")
    closing = "ImmediateData=No DefaultTime2Retain=0 ErrorRecoveryLevel=1"
    assert shown(side.offers(OPERATIONAL, closing=True)) == closing
    assert not side.missing
    assert side.outstanding == {"DefaultTime2Retain", "ErrorRecoveryLevel"}
    assert not side.finished(OPERATIONAL)
    assert side.receive(pairs("DefaultTime2Retain=0 ErrorRecoveryLevel=0"), OPERATIONAL) == []
    assert side.finished(OPERATIONAL)
    result = side.commit()
    assert (result.immediate_data, result.default_time2retain, result.error_recovery_level) == (False, 0, 0)


def test_a_target_does_not_propose_what_the_initiator_named() -> None:
    side = a_target("ImmediateData=No", propose=("MaxConnections",))
    assert shown(side.receive(pairs("ImmediateData=Yes MaxConnections=2"), OPERATIONAL)) == (
        "ImmediateData=No MaxConnections=1"
    )
    assert side.offers(OPERATIONAL, closing=True) == []


def test_a_target_may_propose_methods() -> None:
    side = a_target("AuthMethod=CHAP,None", propose=("AuthMethod",))
    assert side.offers(SECURITY) == []
    assert shown(side.offers(SECURITY, closing=True)) == "AuthMethod=CHAP,None"
    peer = an_initiator("AuthMethod=None,CHAP")
    assert shown(peer.receive(pairs("AuthMethod=CHAP,None"), SECURITY)) == "AuthMethod=CHAP"
    side.receive(pairs("AuthMethod=CHAP"), SECURITY)
    assert side.outcomes["AuthMethod"] == peer.outcomes["AuthMethod"] == "CHAP"


def test_private_keys_go_in_normal_sessions_only() -> None:
    with pytest.raises(ValueError, match="R7143-12-02"):
        an_initiator().offer("X-com.example.do", "1", SECURITY)
    side = an_initiator()
    assert side.offer("X-com.example.do", "1", OPERATIONAL) == ("X-com.example.do", "1")
    assert side.finished(OPERATIONAL)
    with pytest.raises(ValueError, match="already"):
        side.offer("X-com.example.do", "2", OPERATIONAL)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("SendTargets", "All", "R7143-13.3-01"),
        ("AuthMethod", "CHAP", "only for the security stage"),
        ("TargetAlias", "a", "not sent by the initiator"),
        ("MaxConnections", "0", "MaxConnections"),
    ],
)
def test_an_offer_that_may_not_be_made(key: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        an_initiator().offer(key, value, OPERATIONAL)


def test_a_key_that_the_peer_proposed_is_not_offered_again() -> None:
    side = a_target()
    side.receive(pairs("MaxConnections=2 MaxRecvDataSegmentLength=512"), OPERATIONAL)
    with pytest.raises(ValueError, match="already"):
        side.offer("MaxConnections", "1", OPERATIONAL)
    assert side.offer("MaxRecvDataSegmentLength", "1024", OPERATIONAL) == ("MaxRecvDataSegmentLength", "1024")


# What a side answers.


@pytest.mark.parametrize(
    ("settings", "offer", "answer"),
    [
        ("", "MaxConnections=8", "MaxConnections=1"),
        ("MaxConnections=4", "MaxConnections=8", "MaxConnections=4"),
        ("MaxBurstLength=16776192", "MaxBurstLength=0x10000", "MaxBurstLength=65536"),
        ("DefaultTime2Wait=5", "DefaultTime2Wait=0", "DefaultTime2Wait=5"),
        ("InitialR2T=No", "InitialR2T=No", "InitialR2T=No"),
        ("", "InitialR2T=Yes", "InitialR2T=Yes"),
        ("", "ImmediateData=No", "ImmediateData=No"),
        ("HeaderDigest=CRC32C,None", "HeaderDigest=Y-com.example.x,None,CRC32C", "HeaderDigest=None"),
        ("TaskReporting=RFC3720,FastAbort", "TaskReporting=FastAbort,RFC3720", "TaskReporting=FastAbort"),
        ("iSCSIProtocolLevel=2", "iSCSIProtocolLevel=31", "iSCSIProtocolLevel=2"),
        ("", "X-com.example.do=1", "X-com.example.do=NotUnderstood"),
        ("", "X#com.example.do=1", "X#com.example.do=NotUnderstood"),
        ("", "Foo=1", "Foo=NotUnderstood"),
        ("", "IFMarker=No", "IFMarker=Reject"),
        ("", "OFMarkInt=1~65535", "OFMarkInt=Reject"),
        ("", "MaxBurstLength=100", "MaxBurstLength=Reject"),
        ("", "MaxBurstLength=512~1024", "MaxBurstLength=Reject"),
        ("", "ImmediateData=yes", "ImmediateData=Reject"),
        ("", "HeaderDigest=CRC32C", "HeaderDigest=Reject"),
        ("", "MaxRecvDataSegmentLength=512", ""),
        ("", "X#NodeArchitecture=ExampleOS/v1234", ""),
        ("X-com.example.do=1", "X-com.example.do=2", ""),
        # FirstBurstLength follows MaxBurstLength of the same segment, whichever stands first.
        ("", "FirstBurstLength=65536 MaxBurstLength=8192", "FirstBurstLength=8192 MaxBurstLength=8192"),
        # Where it is irrelevant it is answered all the same.
        (
            "",
            "InitialR2T=Yes ImmediateData=No FirstBurstLength=512",
            "InitialR2T=Yes ImmediateData=No FirstBurstLength=512",
        ),
    ],
)
def test_a_target_answers(settings: str, offer: str, answer: str) -> None:
    assert shown(a_target(settings).receive(pairs(offer), OPERATIONAL)) == answer


def test_every_obsolete_key_is_rejected_by_both_sides() -> None:
    names = [name for name in KEYS if "Mark" in name]
    assert len(names) == 4
    for side in (a_target(), an_initiator()):
        assert side.receive([(name, "1") for name in names], OPERATIONAL) == [(name, "Reject") for name in names]


def test_rejected_keys_stay_at_their_defaults() -> None:
    side = a_target()
    side.receive(pairs("MaxBurstLength=100 HeaderDigest=CRC32C"), OPERATIONAL)
    assert side.outcomes == {"MaxBurstLength": "Reject", "HeaderDigest": "Reject"}
    assert side.commit() == OperationalParameters()


IN_DISCOVERY = [name for name, rule in KEYS.items() if rule.negotiated and rule.irrelevant_when]


@pytest.mark.parametrize("early", [True, False])
def test_keys_that_are_irrelevant_in_discovery_have_no_result_there(early: bool) -> None:
    side = a_target("MaxBurstLength=1024 MaxConnections=8 ErrorRecoveryLevel=2 TaskReporting=RFC3720")
    offers: Pairs = [(name, KEYS[name].default or "") for name in IN_DISCOVERY if name != "TaskReporting"]
    offers += pairs("ErrorRecoveryLevel=2 TaskReporting=RFC3720,ResponseFence")
    declared = pairs("SessionType=Discovery")
    if early:
        answers = side.receive(offers + declared, OPERATIONAL)
        assert {value for key, value in answers if key != "ErrorRecoveryLevel"} == {"Irrelevant"}
        assert ("ErrorRecoveryLevel", "0") in answers
    else:
        side.receive(offers, OPERATIONAL)
        side.receive(declared, OPERATIONAL)
    assert side.session_type is DISCOVERY
    assert side.commit() == OperationalParameters(session_type=DISCOVERY)


def test_one_r2t_goes_with_a_recovery_level_and_sequences_in_order() -> None:
    settings = "ErrorRecoveryLevel=2 MaxOutstandingR2T=8 DataSequenceInOrder=No"
    offer = "MaxOutstandingR2T=4 ErrorRecoveryLevel=1 DataSequenceInOrder=Yes"
    answer = "MaxOutstandingR2T=1 ErrorRecoveryLevel=1 DataSequenceInOrder=Yes"
    assert shown(a_target(settings).receive(pairs(offer), OPERATIONAL)) == answer
    free = "MaxOutstandingR2T=4 ErrorRecoveryLevel=1 DataSequenceInOrder=No"
    assert shown(a_target(settings).receive(pairs(free), OPERATIONAL)) == free
    # Of sequences nobody speaks, so that they come in order.
    silent, one = "MaxOutstandingR2T=4 ErrorRecoveryLevel=1", "MaxOutstandingR2T=1 ErrorRecoveryLevel=1"
    assert shown(a_target(settings).receive(pairs(silent), OPERATIONAL)) == one
    # One key a segment: the number is answered before anybody knows, and put right where it takes effect.
    side = a_target(settings)
    for pair in pairs(offer):
        side.receive([pair], OPERATIONAL)
    assert side.outcomes["MaxOutstandingR2T"] == "4"
    assert side.commit().max_outstanding_r2t == 1


def test_what_the_peer_declares_is_kept_for_the_caller() -> None:
    side = a_target()
    side.receive(pairs("InitiatorName=iqn.i TargetName=iqn.t InitiatorAlias= SessionType=Normal"), SECURITY)
    side.receive(pairs("MaxRecvDataSegmentLength=0x400"), OPERATIONAL)
    assert dict(side.declared) == {
        "InitiatorName": ["iqn.i"],
        "TargetName": ["iqn.t"],
        "InitiatorAlias": [""],
        "SessionType": ["Normal"],
        "MaxRecvDataSegmentLength": ["0x400"],
    }
    assert side.result.received_by(Role.INITIATOR) == 8192
    assert side.commit().received_by(Role.INITIATOR) == 1024
    assert side.result.received_by(Role.TARGET) == 8192


def test_addresses_may_be_repeated_by_a_target() -> None:
    side = an_initiator()
    side.receive(pairs("TargetAddress=10.0.0.1 TargetAddress=10.0.0.2:3261,1"), OPERATIONAL)
    assert side.declared["TargetAddress"] == ["10.0.0.1", "10.0.0.2:3261,1"]


def test_methods_are_chosen_from_the_initiators_list() -> None:
    side = a_target("AuthMethod=None,CHAP")
    assert shown(side.receive(pairs("AuthMethod=KRB5,CHAP,None"), SECURITY)) == "AuthMethod=CHAP"
    assert shown(a_target("AuthMethod=CHAP").receive(pairs("AuthMethod=KRB5,None"), SECURITY)) == "AuthMethod=Reject"
    assert shown(a_target().receive(pairs("AuthMethod=CHAP,None"), SECURITY)) == "AuthMethod=None"


# What a side refuses, whichever it is.


@pytest.mark.parametrize(
    ("text", "stage", "clause"),
    [
        ("MaxConnections=1", SECURITY, "R7143-12-02"),
        ("HeaderDigest=None", SECURITY, "R7143-12-02"),
        ("MaxRecvDataSegmentLength=512", SECURITY, "R7143-12-02"),
        ("IFMarker=No", SECURITY, "R7143-12-02"),
        ("AuthMethod=None", OPERATIONAL, "R7143-6.3-11"),
        ("CHAP_A=5", OPERATIONAL, "R7143-6.3-11"),
        ("SRP_U=me", SECURITY, "R7143-9.2-04"),
        ("SendTargets=All", OPERATIONAL, "R7143-13.3-01"),
        ("TargetAlias=a", OPERATIONAL, "R7143-13.6-01"),
        ("TargetPortalGroupTag=1", OPERATIONAL, "R7143-13.9-01"),
        ("TargetAddress=10.0.0.1", SECURITY, "R7143-13.8-03"),
        ("MaxBurstLength=Reject", OPERATIONAL, "R7143-6.2-13"),
        ("MaxBurstLength=None", OPERATIONAL, "R7143-6.2-13"),
        ("ImmediateData=Irrelevant", OPERATIONAL, "R7143-6.2-13"),
        ("Foo=NotUnderstood", OPERATIONAL, "R7143-6.2-13"),
        ("X-com.example.do=NotUnderstood", OPERATIONAL, "R7143-6.2-13"),
        ("InitiatorAlias=Reject", OPERATIONAL, "R7143-6.2-13"),
        ("foo=1", OPERATIONAL, "R7143-6.1-04"),
        (f"F{'o' * 63}=1", OPERATIONAL, "R7143-6.1-05"),
        ("X-a/b=1", OPERATIONAL, "R7143-6.1-05"),
        ("MaxRecvDataSegmentLength=511", OPERATIONAL, "R7143-13.12-01"),
        ("MaxRecvDataSegmentLength=08192", OPERATIONAL, "R7143-6.1-10"),
        ("InitiatorName=", SECURITY, "R7143-13.5-01"),
    ],
)
def test_a_target_refuses_with_initiator_error(text: str, stage: Stage, clause: str) -> None:
    error = refusal(a_target(), text, stage)
    assert error.clause == clause
    assert f"{error.key}={error.value}" == text
    assert (error.login_status, error.reject_reason, error.event) == (0x0200, 0x04, None)


def test_an_unknown_session_type_has_a_status_of_its_own() -> None:
    assert refusal(a_target(), "SessionType=Other", SECURITY).login_status == 0x0209


@pytest.mark.parametrize("text", ["MaxConnections=1", "SessionType=Normal", "X#NodeArchitecture=a"])
def test_leading_keys_on_a_further_connection(text: str) -> None:
    assert refusal(a_target(leading=False), text).clause == "R7143-13-01"


@pytest.mark.parametrize(
    "text",
    [
        "MaxConnections=1 MaxConnections=1",
        "InitiatorName=iqn.i InitiatorName=iqn.i",
        "TargetName=iqn.t TargetName=iqn.u",
        "X#NodeArchitecture=a X#NodeArchitecture=b",
        "X-com.example.do=1 X-com.example.do=1",
        "Foo=1 Foo=2",
        "IFMarker=No IFMarker=No",
        "MaxRecvDataSegmentLength=512 MaxRecvDataSegmentLength=512",
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_a_target_refuses_repeated_keys(text: str, together: bool) -> None:
    side = a_target()
    if not together:
        first, text = text.split(" ")
        side.receive(pairs(first), OPERATIONAL)
    error = refusal(side, text)
    assert (error.clause, error.login_status, error.event) == ("R7143-6.3-22", 0x0200, None)


def test_keys_are_not_repeated_in_the_next_stage_either() -> None:
    side = a_target()
    side.receive(pairs("InitiatorAlias=a"), SECURITY)
    side.commit(OPERATIONAL)
    assert refusal(side, "InitiatorAlias=a").clause == "R7143-6.3-22"


def test_an_answer_is_not_repeated() -> None:
    error = misanswered("MaxConnections=1", "MaxConnections=1 MaxConnections=1")
    assert (error.clause, error.event) == ("R7143-6.3-23", 11)


def test_a_target_that_needs_a_digest_refuses_others() -> None:
    assert refusal(a_target("HeaderDigest=CRC32C"), "HeaderDigest=None").clause == "R7143-7.12-01"
    side = a_target("ImmediateData=No")
    assert refusal(side, "ImmediateData=maybe").clause == "R7143-6.1-08"


# What an initiator makes of answers.


def test_answers_become_results() -> None:
    side = answered(
        "HeaderDigest=CRC32C,None DataDigest=None MaxConnections=8 InitialR2T=No ImmediateData=Yes MaxBurstLength=65536 "
        "FirstBurstLength=8192 DefaultTime2Wait=0 DefaultTime2Retain=60 MaxRecvDataSegmentLength=1024 "
        "DataPDUInOrder=No iSCSIProtocolLevel=2",
        "DefaultTime2Retain=0x14 HeaderDigest=CRC32C DataDigest=None MaxConnections=2 InitialR2T=No ImmediateData=No "
        "MaxBurstLength=32768 FirstBurstLength=Reject DefaultTime2Wait=3 MaxRecvDataSegmentLength=4096 "
        "DataPDUInOrder=Yes iSCSIProtocolLevel=NotUnderstood",
    )
    assert side.finished(OPERATIONAL)
    assert side.commit() == OperationalParameters(
        header_digest=True,
        max_connections=2,
        initial_r2t=False,
        immediate_data=False,
        max_burst_length=32768,
        first_burst_length=32768,
        default_time2wait=3,
        default_time2retain=20,
        max_recv_data_segment_length_initiator=1024,
        max_recv_data_segment_length_target=4096,
    )


def test_optional_answers_may_be_missing() -> None:
    side = answered("InitialR2T=Yes ImmediateData=No iSCSIProtocolLevel=2 X-com.example.do=1", "")
    result = side.commit()
    assert (result.initial_r2t, result.immediate_data, result.iscsi_protocol_level) == (True, False, 1)


def test_an_optional_answer_has_to_be_right_all_the_same() -> None:
    assert misanswered("ImmediateData=No", "ImmediateData=Yes").clause == "R7143-13-06"


@pytest.mark.parametrize(
    ("offers", "answers"),
    [
        ("X#NodeArchitecture=a", "X#NodeArchitecture=NotUnderstood X#NodeArchitecture=b"),
        ("X-com.example.do=1", "X-com.example.do=anything"),
        ("X-com.example.do=1", "X-com.example.do=NotUnderstood"),
        ("MaxConnections=4", "MaxConnections=Reject"),
        ("HeaderDigest=CRC32C,None", "HeaderDigest=Reject"),
        ("FirstBurstLength=512 ImmediateData=No", "FirstBurstLength=Irrelevant ImmediateData=No"),
    ],
)
def test_answers_without_a_value_leave_the_default(offers: str, answers: str) -> None:
    result = answered(offers, answers).commit()
    assert result in (OperationalParameters(), OperationalParameters(immediate_data=False))


@pytest.mark.parametrize(
    ("offers", "answers", "clause", "event"),
    [
        ("MaxConnections=4", "MaxConnections=5", "R7143-13-04", 11),
        ("MaxConnections=4", "MaxConnections=0", "R7143-13.2-01", 11),
        ("MaxConnections=4", "MaxConnections=four", "R7143-6.1-13", 11),
        ("MaxConnections=4", "MaxConnections=None", "R7143-6.1-13", 11),
        ("DefaultTime2Wait=4", "DefaultTime2Wait=3", "R7143-13-05", 11),
        ("InitialR2T=Yes", "InitialR2T=No", "R7143-13-06", 11),
        ("DataPDUInOrder=Yes", "DataPDUInOrder=No", "R7143-13-06", 61),
        ("DataSequenceInOrder=Yes", "DataSequenceInOrder=No", "R7143-13-06", 62),
        ("DataPDUInOrder=Yes", "DataPDUInOrder=no", "R7143-6.1-08", 11),
        ("DataPDUInOrder=Yes", "DataPDUInOrder=NotUnderstood", "R7143-6.2-11", 11),
        ("MaxBurstLength=512", "MaxBurstLength=Irrelevant", "R7143-6.2-13", 11),
        ("HeaderDigest=CRC32C,None", "HeaderDigest=CRC32C,None", "R7143-6.2.1-06", 11),
        ("HeaderDigest=CRC32C,None", "HeaderDigest=Y-com.example.x", "R7143-6.2.1-06", 11),
        ("HeaderDigest=None", "HeaderDigest=CRC32C", "R7143-6.2.1-06", 11),
        ("HeaderDigest=CRC32C", "HeaderDigest=None", "R7143-6.2.1-06", 18),
        ("HeaderDigest=CRC32C", "HeaderDigest=Reject", "R7143-6.2-16", 18),
        ("HeaderDigest=CRC32C", "HeaderDigest=NotUnderstood", "R7143-6.2-11", 18),
        ("HeaderDigest=CRC32C", "HeaderDigest=Irrelevant", "R7143-6.2-13", 18),
        ("DataDigest=CRC32C", "DataDigest=None", "R7143-6.2.1-06", 19),
        ("DataDigest=CRC32C", "DataDigest=Reject", "R7143-6.2-16", 19),
        ("MaxRecvDataSegmentLength=512", "MaxRecvDataSegmentLength=NotUnderstood", "R7143-6.2-11", 11),
        ("MaxRecvDataSegmentLength=512", "MaxRecvDataSegmentLength=Reject", "R7143-7.12-01", 11),
        ("FirstBurstLength=8192 MaxBurstLength=8192", "FirstBurstLength=8192 MaxBurstLength=512", "R7143-13.14-02", 4),
        ("FirstBurstLength=8192 MaxBurstLength=8192", "MaxBurstLength=512 FirstBurstLength=513", "R7143-13.14-02", 4),
        # Of several the one whose event comes first.
        ("DataDigest=CRC32C HeaderDigest=CRC32C", "DataDigest=None HeaderDigest=None", "R7143-6.2.1-06", 18),
        ("DataPDUInOrder=Yes MaxConnections=1", "MaxConnections=0 DataPDUInOrder=No", "R7143-13-06", 61),
    ],
)
def test_an_initiator_refuses_answers(offers: str, answers: str, clause: str, event: int) -> None:
    error = misanswered(offers, answers)
    assert (error.clause, error.event) == (clause, event)
    assert f"{error.key}={error.value}" in answers


def test_the_burst_error_names_both_lengths() -> None:
    error = misanswered("FirstBurstLength=8192 MaxBurstLength=8192", "FirstBurstLength=8192 MaxBurstLength=512")
    assert (error.key, error.value, error.against) == ("FirstBurstLength", "8192", ("MaxBurstLength", "512"))


@pytest.mark.parametrize("answers", ["MaxBurstLength=many", "MaxBurstLength=0512", "MaxBurstLength="])
def test_a_burst_length_that_is_no_number_is_an_error_of_its_own(answers: str) -> None:
    error = misanswered("MaxBurstLength=16384 FirstBurstLength=8192", f"FirstBurstLength=8192 {answers}")
    assert (error.key, error.event) == ("MaxBurstLength", 11)


def test_a_first_burst_length_beyond_32_bits_is_an_error_of_its_own() -> None:
    error = misanswered("MaxBurstLength=16384 FirstBurstLength=8192", "FirstBurstLength=4294967296 MaxBurstLength=512")
    assert (error.key, error.event) == ("FirstBurstLength", 11)


def test_burst_lengths_that_come_apart_are_an_error_of_the_target_too() -> None:
    side = a_target("MaxBurstLength=65536")
    side.receive(pairs("FirstBurstLength=65536"), OPERATIONAL)
    error = refusal(side, "MaxBurstLength=8192")
    assert (error.clause, error.login_status, error.event) == ("R7143-13.14-02", 0x0200, None)


@pytest.mark.parametrize(
    ("offers", "answers", "event"),
    [
        ("AuthMethod=CHAP,None", "AuthMethod=Foo", 13),
        ("AuthMethod=CHAP,None", "AuthMethod=KRB5", 13),
        ("AuthMethod=CHAP,None", "AuthMethod=CHAP,None", 13),
        ("AuthMethod=CHAP,None", "AuthMethod=NotUnderstood", 13),
        ("AuthMethod=CHAP,None", "AuthMethod=Irrelevant", 13),
        ("AuthMethod=CHAP,None", "AuthMethod=Reject", 11),
        ("AuthMethod=CHAP", "AuthMethod=None", 38),
        ("AuthMethod=CHAP", "AuthMethod=Reject", 38),
        ("AuthMethod=None", "AuthMethod=CHAP", 40),
        ("AuthMethod=None", "AuthMethod=Reject", 40),
        ("AuthMethod=None", "AuthMethod=SRP", 13),
        ("", "AuthMethod=CHAP", 40),
        ("AuthMethod=CHAP,None", "AuthMethod=CHAP HeaderDigest=None", 16),
        ("AuthMethod=CHAP,None", "AuthMethod=CHAP MaxBurstLength=512", 16),
        ("AuthMethod=CHAP,None", "AuthMethod=None HeaderDigest=None", 11),
        ("AuthMethod=CHAP,None", "AuthMethod=None CHAP_A=5", 16),
        ("AuthMethod=CHAP,None", "AuthMethod=None SRP_s=5", 11),
        ("AuthMethod=CHAP,None", "TargetPortalGroupTag=x", 11),
    ],
)
def test_events_of_the_security_stage(offers: str, answers: str, event: int) -> None:
    assert misanswered(offers, answers, SECURITY).event == event


def test_near_misses_of_the_security_stage() -> None:
    side = an_initiator("AuthMethod=CHAP,None")
    side.offers(SECURITY)
    text = "AuthMethod=CHAP TargetAlias=a TargetPortalGroupTag=1 TargetAddress=10.0.0.1 X-com.example.do=1"
    assert shown(side.receive(pairs(text), SECURITY)) == "X-com.example.do=NotUnderstood"


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("TargetName=iqn.t", "R7143-13.4-03"),
        ("InitiatorName=iqn.i", "R7143-13.5-01"),
        ("MaxBurstLength=100", "R7143-13.13-01"),
        ("ImmediateData=maybe", "R7143-6.1-08"),
        ("TargetAddress=::1", "R7143-13.8-03"),
    ],
)
def test_an_initiator_refuses_what_a_target_brings_up(text: str, clause: str) -> None:
    error = refusal(an_initiator(), text)
    assert (error.clause, error.event) == (clause, 11)


def test_a_method_that_nobody_shares_is_an_authentication_failure_for_the_proposing_target() -> None:
    side = a_target("AuthMethod=CHAP")
    side.offer("AuthMethod", "CHAP", SECURITY)
    side.receive(pairs("AuthMethod=CHAP"), SECURITY)
    side = a_target("AuthMethod=CHAP")
    side.offer("AuthMethod", "CHAP", SECURITY)
    assert refusal(side, "AuthMethod=None", SECURITY).login_status == 0x0201


def test_irrelevant_answers_in_discovery() -> None:
    side = an_initiator("DefaultTime2Wait=3 ErrorRecoveryLevel=0", DISCOVERY)
    side.offers(OPERATIONAL)
    assert side.receive(pairs("DefaultTime2Wait=Irrelevant"), OPERATIONAL) == []
    assert refusal(side, "ErrorRecoveryLevel=Irrelevant").clause == "R7143-6.2-13"
    assert side.commit().default_time2wait == 2


def test_first_burst_length_is_irrelevant_only_without_unsolicited_data() -> None:
    for told in ("InitialR2T=Yes ImmediateData=Yes", "InitialR2T=No ImmediateData=No"):
        side = answered(f"FirstBurstLength=512 {told}", f"FirstBurstLength=Irrelevant {told}")
        with pytest.raises(NegotiationError) as caught:
            side.commit()
        assert (caught.value.clause, caught.value.event) == ("R7143-6.2-13", 11)
        assert side.result == OperationalParameters()


def test_nothing_depends_on_the_node_architecture() -> None:
    for text in ("X#NodeArchitecture=Reject", f"X#NodeArchitecture={'a' * 300}", "X#NodeArchitecture="):
        assert a_target().receive(pairs(text), OPERATIONAL) == []
    for answer in ("Reject", "Irrelevant", "NotUnderstood"):
        side = answered("X#NodeArchitecture=a", f"X#NodeArchitecture={answer}")
        assert side.commit() == OperationalParameters()


# The last response of a stage.


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("MaxBurstLength=512", True),
        ("ImmediateData=Yes", True),
        ("IFMarker=No", True),
        ("ImmediateData=No", False),
        ("InitialR2T=Yes", False),
        ("MaxRecvDataSegmentLength=512", False),
        ("iSCSIProtocolLevel=2", False),
        ("X-com.example.do=1", False),
        ("Foo=1", False),
    ],
)
def test_the_last_response_asks_for_nothing(text: str, refused: bool) -> None:
    side = an_initiator()
    if refused:
        error = refusal(side, text, last=True)
        assert (error.clause, error.event) == ("R7143-6.3-16", 11)
    else:
        assert side.receive(pairs(text), OPERATIONAL, last=True) == []


# The end of login.


@pytest.mark.parametrize(
    ("offers", "stage", "clause", "event"),
    [
        ("MaxBurstLength=262144", OPERATIONAL, "R7143-6.2.2-01", 11),
        ("HeaderDigest=CRC32C,None", OPERATIONAL, "R7143-6.2.1-01", 11),
        ("HeaderDigest=CRC32C", OPERATIONAL, "R7143-6.2.1-01", 18),
        ("DataDigest=CRC32C MaxConnections=2", OPERATIONAL, "R7143-6.2.1-01", 19),
        ("AuthMethod=CHAP,None", SECURITY, "R7143-6.2.1-01", 41),
    ],
)
def test_a_missing_answer_ends_login(offers: str, stage: Stage, clause: str, event: int) -> None:
    side = an_initiator(offers)
    side.offers(stage)
    with pytest.raises(NegotiationError) as caught:
        side.commit()
    assert (caught.value.clause, caught.value.event) == (clause, event)


def test_a_missing_answer_to_a_target_has_no_event() -> None:
    side = a_target("AuthMethod=CHAP", propose=("AuthMethod",))
    side.offers(SECURITY, closing=True)
    with pytest.raises(NegotiationError) as caught:
        side.commit(OPERATIONAL)
    assert (caught.value.event, caught.value.login_status) == (None, 0x0201)


@pytest.mark.parametrize(("role", "event"), [(Role.INITIATOR, 19), (Role.TARGET, None)])
def test_a_required_digest_needs_the_operational_stage(role: Role, event: int | None) -> None:
    side = Negotiator(role, {"DataDigest": "CRC32C"})
    side.commit(OPERATIONAL)
    assert side.missing == ("DataDigest",)
    with pytest.raises(NegotiationError) as caught:
        side.commit()
    assert (caught.value.clause, caught.value.event) == ("R7143-7.12-01", event)


def test_an_initiator_can_live_with_defaults_that_it_did_not_want() -> None:
    side = an_initiator("ImmediateData=No MaxBurstLength=512")
    assert side.missing == ("ImmediateData", "MaxBurstLength", "FirstBurstLength")
    assert side.commit() == OperationalParameters()


def test_results_take_effect_with_the_last_stage() -> None:
    side = a_target("MaxConnections=4")
    side.receive(pairs("MaxConnections=2"), OPERATIONAL)
    assert side.commit(OPERATIONAL) == OperationalParameters()
    assert side.commit().max_connections == side.result.max_connections == 2


# Full feature phase.


def in_full_feature(role: Role, session_type: SessionType = NORMAL) -> Negotiator:
    side = Negotiator(role, {}, session_type, current=OperationalParameters(session_type=session_type))
    side.begin()
    return side


def test_a_segment_length_is_declared_anew_and_takes_effect_at_once() -> None:
    initiator, target = in_full_feature(Role.INITIATOR), in_full_feature(Role.TARGET)
    told = initiator.offer("MaxRecvDataSegmentLength", "1024", FULL_FEATURE)
    assert initiator.offers(FULL_FEATURE) == []
    assert target.receive([told], FULL_FEATURE) == []
    told = target.offer("MaxRecvDataSegmentLength", "2048", FULL_FEATURE)
    assert target.offers(FULL_FEATURE, closing=True) == []
    assert initiator.receive([told], FULL_FEATURE, last=True) == []
    assert initiator.finished(FULL_FEATURE)
    assert target.finished(FULL_FEATURE)
    assert initiator.result == target.result == OperationalParameters()
    assert initiator.commit() == target.commit()
    assert (target.result.received_by(Role.INITIATOR), target.result.received_by(Role.TARGET)) == (1024, 2048)
    # And again in a negotiation of its own.
    target.begin()
    target.receive(pairs("MaxRecvDataSegmentLength=4096"), FULL_FEATURE)
    target.commit()
    assert (target.result.received_by(Role.INITIATOR), target.result.received_by(Role.TARGET)) == (4096, 2048)


def test_what_login_agreed_upon_outlasts_later_negotiations() -> None:
    side = answered("HeaderDigest=CRC32C MaxConnections=2", "HeaderDigest=CRC32C MaxConnections=2")
    agreed = side.commit()
    assert (agreed.header_digest, agreed.max_connections) == (True, 2)
    side.begin()
    assert side.missing == ()
    assert side.commit() == agreed
    side.begin()
    side.receive(pairs("MaxRecvDataSegmentLength=1024"), FULL_FEATURE)
    assert side.commit() == dataclasses.replace(agreed, max_recv_data_segment_length_target=1024)


def test_an_abandoned_negotiation_leaves_everything_as_it_was() -> None:
    side = in_full_feature(Role.TARGET)
    side.receive(pairs("MaxRecvDataSegmentLength=1024 InitiatorAlias=a"), FULL_FEATURE)
    side.offer("MaxRecvDataSegmentLength", "2048", FULL_FEATURE)
    side.abandon()
    assert side.commit() == OperationalParameters()
    assert dict(side.declared) == {}


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("MaxBurstLength=512", "R7143-13-01"),
        ("HeaderDigest=None", "R7143-13-02"),
        ("IFMarker=No", "R7143-13-02"),
        ("AuthMethod=None", "R7143-6.3-09"),
        ("CHAP_A=5", "R7143-6.3-09"),
        ("InitiatorName=iqn.i", "R7143-13-02"),
        ("MaxRecvDataSegmentLength=1024 MaxRecvDataSegmentLength=1024", "R7143-6.4-12"),
        ("SendTargets=All InitiatorAlias=a", "R7143-C-07"),
        ("MaxRecvDataSegmentLength=1", "R7143-13.12-01"),
    ],
)
def test_a_target_rejects_in_full_feature_phase(text: str, clause: str) -> None:
    side = in_full_feature(Role.TARGET)
    error = refusal(side, text, FULL_FEATURE)
    assert (error.clause, error.reject_reason, error.event) == (clause, 0x04, None)
    side.abandon()
    assert side.commit() == OperationalParameters()


def test_an_initiator_logs_no_login_event_in_full_feature_phase() -> None:
    side = in_full_feature(Role.INITIATOR)
    assert refusal(side, "TargetAlias=a TargetAlias=a", FULL_FEATURE).clause == "R7143-6.4-13"
    side = in_full_feature(Role.INITIATOR)
    error = refusal(side, "DataPDUInOrder=No", FULL_FEATURE)
    assert (error.clause, error.event) == ("R7143-13-01", None)
    error = refusal(side, "MaxConnections=2", FULL_FEATURE, last=True)
    assert error.clause == "R7143-13-01"


def test_send_targets_is_handed_on_and_answered_by_the_caller() -> None:
    for session_type in SessionType:
        target = in_full_feature(Role.TARGET, session_type)
        assert target.receive(pairs("SendTargets=All"), FULL_FEATURE) == []
        assert target.declared["SendTargets"] == ["All"]
        initiator = in_full_feature(Role.INITIATOR, session_type)
        assert initiator.offer("SendTargets", "All", FULL_FEATURE) == ("SendTargets", "All")
        text = "TargetName=iqn.a TargetAddress=10.0.0.1:3260,1 TargetAddress=10.0.0.2:3260,1 TargetName=iqn.b"
        assert initiator.receive(pairs(text), FULL_FEATURE, last=True) == []
        assert initiator.declared["TargetName"] == ["iqn.a", "iqn.b"]
        assert initiator.declared["TargetAddress"] == ["10.0.0.1:3260,1", "10.0.0.2:3260,1"]
        assert initiator.commit() == initiator.result


def test_a_request_may_be_rejected_but_not_misunderstood() -> None:
    side = in_full_feature(Role.INITIATOR)
    side.offer("SendTargets", "All", FULL_FEATURE)
    assert side.receive(pairs("SendTargets=Reject"), FULL_FEATURE) == []
    assert side.outcomes["SendTargets"] == "Reject"
    for answer in ("NotUnderstood", "All"):
        side.begin()
        side.offer("SendTargets", "All", FULL_FEATURE)
        assert refusal(side, f"SendTargets={answer}", FULL_FEATURE).clause == "R7143-13.3-01"


def test_a_target_name_is_sent_only_when_asked_for() -> None:
    assert refusal(in_full_feature(Role.INITIATOR), "TargetName=iqn.t", FULL_FEATURE).clause == "R7143-13.4-03"


def test_discovery_sessions_know_nothing_but_send_targets() -> None:
    for text in ("MaxRecvDataSegmentLength=1024", "X-com.example.do=1", "Foo=1"):
        side = in_full_feature(Role.TARGET, DISCOVERY)
        assert refusal(side, text, FULL_FEATURE).clause == "R7143-4.3-01"
        side = in_full_feature(Role.INITIATOR, DISCOVERY)
        assert refusal(side, text, FULL_FEATURE).clause == "R7143-C-14"


def test_the_phases_are_not_mixed() -> None:
    side = a_target()
    for use in (
        side.offers,
        lambda stage: side.receive([], stage),
        lambda stage: side.offer("TargetAlias", "a", stage),
    ):
        with pytest.raises(ValueError, match="begin"):
            use(FULL_FEATURE)
    side.commit()
    side.begin()
    with pytest.raises(ValueError, match="begin"):
        side.receive([], OPERATIONAL)


def test_every_event_has_its_place() -> None:
    assert sorted(EVENT_ORDER) == [3, 4, 11, 13, 14, 15, 16, 17, 18, 19, 33, 38, 40, 41, 61, 62]
    assert EVENT_ORDER[-1] == 11
    assert NegotiationError(key="a", value="b", reason="c", clause="d").rank == len(EVENT_ORDER) - 1


def test_a_missing_answer_is_told_beside_wrong_ones():
    """What is missing can be asked for before all else is judged: of several the one whose event comes first."""
    side = an_initiator("HeaderDigest=CRC32C DataDigest=CRC32C")
    side.offers(OPERATIONAL)
    with pytest.raises(NegotiationError) as caught:
        side.check_answered()
    assert (caught.value.key, caught.value.event) == ("HeaderDigest", 18)
    side.receive(pairs("HeaderDigest=CRC32C DataDigest=CRC32C"), OPERATIONAL)
    side.check_answered()
