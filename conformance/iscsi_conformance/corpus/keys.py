"""Each rule about text keys: a history that breaks it, and one that only nearly does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iscsi_conformance.corpus.script import KeyValue, Pairs, Script
from iscsi_conformance.corpus.table import Row, Sample, Table

INITIATOR = ("InitiatorName", "iqn.2026-01.com.example:initiator")
TARGET = ("TargetName", "iqn.2026-01.com.example:target")
NAMES = (INITIATOR, TARGET)
TAG = (("TargetPortalGroupTag", "1"),)
REFUSED = {"status_class": 2, "status_detail": 0, "transit": False, "nsg": 0, "csg": 0}
MOVED = REFUSED | {"status_class": 1, "status_detail": 1}


def login(offer: Pairs, *answer: KeyValue) -> Sample:
    """A login where the initiator says one thing more, and the target answers it."""
    return lambda s: s.login_request((*NAMES, *offer)).login_response((*TAG, *answer))


def proposed(*offer: KeyValue) -> Callable[..., Script]:
    """A login where the target proposes something, which the initiator answers in the second exchange."""

    def history(s: Script, *answer: KeyValue) -> Script:
        s.operational(NAMES).operational_response((*TAG, *offer))
        return s.login_request(answer).login_response(())

    return history


def pair(key: str, value: str, answer: str | None = None) -> Sample:
    """A login with one more key; without an answer the target says nothing of it."""
    return login([(key, value)], *([] if answer is None else [(key, answer)]))


def text(*pairs: KeyValue) -> Sample:
    """A Text Request with these pairs and an empty answer."""
    return lambda s: s.ready().text(pairs).text_response()


def addressed(s: Script, address: str) -> Script:
    """A discovery session that tells this address."""
    return s.discovery().text([("SendTargets", "All")]).text_response([TARGET, ("TargetAddress", address)])


def values(key: str, wrong: Sequence[str], right: Sequence[str], answer: Callable[[str], str] | None = None) -> Row:
    """The rule of a key's value: wrong ones from either side, right ones at the edges."""
    answer = answer or (lambda value: value)
    return (
        (
            *(pair(key, value, "Reject") for value in wrong),
            lambda s: proposed((key, wrong[0]))(s, (key, "Reject")),
            pair(key, right[0], wrong[-1]),
        ),
        tuple(pair(key, value, answer(value)) for value in right),
    )


TRUTHS = (["yes", "1", ""], ["Yes", "No"])

TABLE: Table = {
    "keys.no-nul": (
        (
            lambda s: s.login_request(data=b"InitiatorName=iqn.2026-01.a:i\0TargetName=iqn.2026-01.a:t"),
            lambda s: s.login_request().login_response(data=b"TargetPortalGroupTag=1"),
            lambda s: s.ready().text(data=b"SendTargets="),
        ),
        (
            lambda s: s.login_request(
                data=b"InitiatorName=iqn.2026-01.a:i\0TargetName=iqn.2026-01.a:t\0"
            ).login_response(),
        ),
    ),
    "keys.no-pair": (
        (
            lambda s: s.login_request(data=b"InitiatorName=iqn.2026-01.a:i\0TargetName=iqn.2026-01.a:t\0nothing\0"),
            lambda s: s.login_request(data=b"InitiatorName=iqn.2026-01.a:i\0TargetName=iqn.2026-01.a:t\0\0"),
            lambda s: s.login_request().login_response(data=b"TargetPortalGroupTag=1\0=1\0"),
        ),
        (pair("X-com.example.key", "a=b=c"),),
    ),
    "keys.name-first-letter": (
        (pair("lower", "1", "NotUnderstood"), pair("9", "1", "NotUnderstood")),
        (pair("iSCSIProtocolLevel", "1", "1"),),
    ),
    "keys.name-form": (
        (pair("N" * 64, "1", "NotUnderstood"), pair("Sp ace", "1", "NotUnderstood")),
        (pair("N" * 63, "1", "NotUnderstood"),),
    ),
    "keys.iscsi-name-case": (
        (
            lambda s: s.login_request((("InitiatorName", "iqn.2026-01.com.Example:i"), TARGET)),
            lambda s: s.login_request((INITIATOR, ("TargetName", "iqn.2026-01.com.example:a b"))),
        ),
        (lambda s: s.login_request((("InitiatorName", "eui.02004567A425678D"), TARGET)).login_response(),),
    ),
    "keys.iscsi-name-too-long": (
        (lambda s: s.login_request((INITIATOR, ("TargetName", "iqn.2026-01." + "a" * 212))),),
        (lambda s: s.login_request((INITIATOR, ("TargetName", "iqn.2026-01." + "a" * 211))).login_response(),),
    ),
    "keys.value-too-long": (
        (
            pair("InitiatorAlias", "a" * 256),
            pair("HeaderDigest", "CRC32C," + "Y-" + "a" * 254, "CRC32C"),
            lambda s: s.login_request().login_response((*TAG, ("TargetAlias", "a" * 256))),
        ),
        (pair("InitiatorAlias", "a" * 255), pair("HeaderDigest", "CRC32C,Y-" + "a" * 250, "CRC32C")),
    ),
    "keys.iqn-form": (
        (
            lambda s: s.login_request((INITIATOR, ("TargetName", "disk"))),
            lambda s: s.login_request((INITIATOR, ("TargetName", "iqn.com.example:disk"))),
            lambda s: s.login_request((INITIATOR, ("TargetName", "iqn.2026-13.com.example:disk"))),
            lambda s: s.discovery().text([("SendTargets", "All")]).text_response([("TargetName", "iqn.2026-1.com.a")]),
        ),
        (lambda s: s.login_request((INITIATOR, ("TargetName", "iqn.2026-12.com.example"))).login_response(),),
    ),
    "keys.eui-form": (
        (lambda s: s.login_request((INITIATOR, ("TargetName", "eui.02004567a425678"))),),
        (lambda s: s.login_request((INITIATOR, ("TargetName", "eui.02004567a425678d"))).login_response(),),
    ),
    "keys.naa-form": (
        (lambda s: s.login_request((INITIATOR, ("TargetName", "naa.52004567ba64678d0"))),),
        (
            lambda s: s.login_request((INITIATOR, ("TargetName", "naa." + "6" * 32))).login_response(),
            lambda s: s.login_request((INITIATOR, ("TargetName", "naa." + "5" * 16))).login_response(),
        ),
    ),
    "keys.value.SessionType": (
        (lambda s: s.login_request((*NAMES, ("SessionType", "discovery"))),),
        (pair("SessionType", "Normal"),),
    ),
    "keys.value.TargetAddress": (
        (
            lambda s: addressed(s, "h:0,1"),
            lambda s: addressed(s, "::1,1"),
            lambda s: addressed(s, "h,65536"),
            lambda s: s.login_request().login_response([("TargetAddress", "")], **MOVED),
        ),
        (
            lambda s: (
                s.discovery()
                .text([("SendTargets", "All")])
                .text_response([TARGET, ("TargetAddress", "[::1]:65535,0xffff")])
            ),
        ),
    ),
    "keys.value.TargetPortalGroupTag": (
        (
            lambda s: s.login_request().login_response([("TargetPortalGroupTag", "65536")]),
            lambda s: s.login_request().login_response([("TargetPortalGroupTag", "")]),
        ),
        (lambda s: s.login_request().login_response([("TargetPortalGroupTag", "0xFFFF")]),),
    ),
    "keys.value.MaxRecvDataSegmentLength": (
        (
            pair("MaxRecvDataSegmentLength", "511"),
            pair("MaxRecvDataSegmentLength", "16777216"),
            lambda s: s.login_request().login_response((*TAG, ("MaxRecvDataSegmentLength", "many"))),
        ),
        (pair("MaxRecvDataSegmentLength", "512"), pair("MaxRecvDataSegmentLength", "0xffffff")),
    ),
    "keys.value.MaxConnections": values("MaxConnections", ["0", "65536"], ["65535", "1"]),
    "keys.value.InitialR2T": values("InitialR2T", *TRUTHS),
    "keys.value.ImmediateData": values("ImmediateData", *TRUTHS),
    "keys.value.MaxBurstLength": values("MaxBurstLength", ["511", "16777216", "0512"], ["65536", "16777215"]),
    "keys.value.FirstBurstLength": values("FirstBurstLength", ["511", "16777216", "4k"], ["65536", "512"]),
    "keys.value.DefaultTime2Wait": values("DefaultTime2Wait", ["3601", "-1"], ["0", "3600"]),
    "keys.value.DefaultTime2Retain": values("DefaultTime2Retain", ["3601", "-1"], ["0", "3600"]),
    "keys.value.DataPDUInOrder": values("DataPDUInOrder", *TRUTHS),
    "keys.value.DataSequenceInOrder": values("DataSequenceInOrder", *TRUTHS),
    "keys.value.ErrorRecoveryLevel": values("ErrorRecoveryLevel", ["3", "-1"], ["0", "2"]),
    "keys.value.MaxOutstandingR2T": values("MaxOutstandingR2T", ["0", "65536"], ["65535", "1"]),
    "keys.value.iSCSIProtocolLevel": values("iSCSIProtocolLevel", ["32", "-1"], ["1", "31"]),
    "keys.repeated": (
        (
            login([("MaxBurstLength", "512"), ("MaxBurstLength", "1024")], ("MaxBurstLength", "512")),
            login([("MaxBurstLength", "512")], ("MaxBurstLength", "512"), ("MaxBurstLength", "512")),
            lambda s: (
                s.operational((*NAMES, ("HeaderDigest", "None")))
                .operational_response((*TAG, ("HeaderDigest", "None")))
                .login_request([("HeaderDigest", "None")])
            ),
        ),
        (lambda s: s.login_request().login_response([("TargetAddress", "a"), ("TargetAddress", "b")], **MOVED),),
    ),
    "keys.repeated-in-text": (
        (text(("MaxRecvDataSegmentLength", "512"), ("MaxRecvDataSegmentLength", "512")),),
        (
            lambda s: (
                text(("MaxRecvDataSegmentLength", "512"))(s)
                .text([("MaxRecvDataSegmentLength", "1024")])
                .text_response()
            ),
            lambda s: s.discovery().text([("SendTargets", "All")]).text_response([TARGET, TARGET]),
        ),
    ),
    "keys.initiator-name-repeated": (
        (login([INITIATOR]), lambda s: s.operational(NAMES).operational_response(TAG).login_request([INITIATOR])),
        (lambda s: s.ready(MaxConnections="2").connect(2).login_request(cid=1).login_response(),),
    ),
    "keys.target-name-repeated": (
        (login([TARGET]), lambda s: s.operational(NAMES).operational_response(TAG).login_request([TARGET])),
        (lambda s: s.ready(MaxConnections="2").connect(2).login_request(cid=1).login_response(),),
    ),
    "keys.leading-only": (
        (lambda s: s.ready().connect(2).login_request([*NAMES, ("MaxBurstLength", "512")], cid=1),),
        (
            lambda s: (
                s.ready(MaxConnections="2")
                .connect(2)
                .login_request([*NAMES, ("HeaderDigest", "None")], cid=1)
                .login_response([*TAG, ("HeaderDigest", "None")])
            ),
        ),
    ),
    "keys.login-only": (
        (text(("MaxBurstLength", "512")), text(("HeaderDigest", "None")), text(("AuthMethod", "None"))),
        (text(("MaxRecvDataSegmentLength", "512")), text(("InitiatorAlias", "new"))),
    ),
    "keys.full-feature-only": (
        (login([("SendTargets", "All")]),),
        (lambda s: s.discovery().text([("SendTargets", "All")]).text_response([TARGET]),),
    ),
    "keys.target-name-by-target": (
        (lambda s: s.login_request().login_response((*TAG, TARGET)),),
        (lambda s: s.login_request().login_response((*TAG, ("TargetAlias", "disk"))),),
    ),
    "keys.in-security-stage": (
        (
            lambda s: s.security((*NAMES, ("HeaderDigest", "None"))),
            lambda s: s.security((*NAMES, ("MaxRecvDataSegmentLength", "512"))),
            lambda s: s.security(NAMES).security_response((*TAG, ("MaxBurstLength", "512"))),
        ),
        (
            lambda s: s.security(
                (*NAMES, ("InitiatorAlias", "a"), ("SessionType", "Normal"), ("AuthMethod", "None"))
            ).security_response((*TAG, ("TargetAlias", "b"), ("AuthMethod", "None"))),
        ),
    ),
    "keys.authentication-outside-security": (
        (login([("AuthMethod", "None")], ("AuthMethod", "None")), login([("CHAP_A", "5")])),
        (
            lambda s: s.login_request((*NAMES, ("AuthMethod", "None")), csg=0, nsg=1).login_response(
                (*TAG, ("AuthMethod", "None")), csg=0, nsg=1
            ),
        ),
    ),
    "keys.wrong-sender": (
        (
            login([("TargetAlias", "a")]),
            login([("TargetPortalGroupTag", "1")]),
            lambda s: s.login_request().login_response((*TAG, ("InitiatorAlias", "a"))),
            lambda s: s.ready().text([("SendTargets", "")]).text_response([("SessionType", "Normal")]),
        ),
        (login([("InitiatorAlias", "a")], ("TargetAlias", "b")),),
    ),
    "keys.reserved-word": (
        (
            login([("MaxBurstLength", "Reject")], ("MaxBurstLength", "Reject")),
            login([("HeaderDigest", "NotUnderstood")], ("HeaderDigest", "Reject")),
            lambda s: s.login_request().login_response((*TAG, ("MaxBurstLength", "Irrelevant"))),
        ),
        (
            pair("MaxBurstLength", "512", "Reject"),
            pair("HeaderDigest", "None", "None"),
            pair("FirstBurstLength", "512", "Irrelevant"),
            pair("InitialR2T", "Yes", "Irrelevant"),
        ),
    ),
    "keys.not-understood": (
        (
            pair("MaxBurstLength", "512", "NotUnderstood"),
            pair("MaxRecvDataSegmentLength", "512", "NotUnderstood"),
            lambda s: proposed(("DataDigest", "None"))(s, ("DataDigest", "NotUnderstood")),
        ),
        (pair("iSCSIProtocolLevel", "2", "NotUnderstood"), pair("X#NodeArchitecture", "arm", "NotUnderstood")),
    ),
    "keys.answer-not-offered": (
        (pair("HeaderDigest", "None", "CRC32C"), pair("TaskReporting", "RFC3720,ResponseFence", "FastAbort")),
        (pair("HeaderDigest", "Y-x,CRC32C", "Y-x"),),
    ),
    "keys.none-not-offered": (
        (
            pair("HeaderDigest", "CRC32C", "None"),
            lambda s: s.security((*NAMES, ("AuthMethod", "CHAP"))).security_response((*TAG, ("AuthMethod", "None"))),
            lambda s: proposed(("DataDigest", "CRC32C"))(s, ("DataDigest", "None")),
        ),
        (pair("HeaderDigest", "CRC32C,None", "None"), pair("HeaderDigest", "CRC32C", "Reject")),
    ),
    "keys.answer-above-offer": (
        (
            pair("MaxBurstLength", "512", "513"),
            pair("ErrorRecoveryLevel", "0", "1"),
            lambda s: proposed(("MaxConnections", "2"))(s, ("MaxConnections", "3")),
        ),
        (pair("MaxBurstLength", "0x201", "513"), pair("DefaultTime2Retain", "20", "0")),
    ),
    "keys.answer-below-offer": (
        (pair("DefaultTime2Wait", "3", "2"),),
        (pair("DefaultTime2Wait", "3", "3"), pair("DefaultTime2Wait", "3", "3600")),
    ),
    "keys.answer-no-result": (
        (
            pair("InitialR2T", "Yes", "No"),
            pair("ImmediateData", "No", "Yes"),
            lambda s: proposed(("DataPDUInOrder", "Yes"))(s, ("DataPDUInOrder", "No")),
        ),
        (
            pair("InitialR2T", "No", "Yes"),
            pair("ImmediateData", "Yes", "No"),
            pair("InitialR2T", "Yes"),
            pair("ImmediateData", "No"),
        ),
    ),
    "keys.marker-not-understood": ((pair("IFMarker", "No", "NotUnderstood"),), (pair("OFMarker", "Yes", "Reject"),)),
    "keys.marker-not-rejected": ((pair("OFMarker", "Yes", "Yes"),), (pair("IFMarker", "No", "No"),)),
    "keys.interval-not-understood": (
        (pair("IFMarkInt", "2048", "NotUnderstood"),),
        (pair("IFMarkInt", "2048", "Reject"),),
    ),
    "keys.interval-not-rejected": ((pair("OFMarkInt", "2048", "2048"),), (pair("OFMarkInt", "2048", "Reject"),)),
    "keys.first-burst-above-max-burst": (
        (
            login(
                [("MaxBurstLength", "512"), ("FirstBurstLength", "1024")],
                ("MaxBurstLength", "512"),
                ("FirstBurstLength", "512"),
            ),
            login(
                [("MaxBurstLength", "2048"), ("FirstBurstLength", "1024")],
                ("MaxBurstLength", "512"),
                ("FirstBurstLength", "1024"),
            ),
        ),
        (
            login(
                [("MaxBurstLength", "512"), ("FirstBurstLength", "512")],
                ("MaxBurstLength", "512"),
                ("FirstBurstLength", "512"),
            ),
        ),
    ),
    "keys.task-reporting-offer": (
        (pair("TaskReporting", "FastAbort", "FastAbort"), pair("TaskReporting", "RFC3720", "RFC3720")),
        (pair("TaskReporting", "FastAbort,ResponseFence,RFC3720", "RFC3720"),),
    ),
    "keys.recovery-level-in-discovery": (
        (
            lambda s: s.login_request(
                (INITIATOR, ("SessionType", "Discovery"), ("ErrorRecoveryLevel", "2"))
            ).login_response([("ErrorRecoveryLevel", "1")]),
        ),
        (
            lambda s: s.login_request(
                (INITIATOR, ("SessionType", "Discovery"), ("ErrorRecoveryLevel", "2"))
            ).login_response([("ErrorRecoveryLevel", "0")]),
        ),
    ),
    "keys.unanswered": (
        (
            pair("MaxBurstLength", "512"),
            pair("InitialR2T", "No"),
            pair("HeaderDigest", "None"),
            pair("IFMarker", "No"),
            proposed(("MaxBurstLength", "512")),
        ),
        (
            pair("InitialR2T", "Yes"),
            pair("iSCSIProtocolLevel", "1"),
            pair("MaxRecvDataSegmentLength", "512"),
            lambda s: s.operational((*NAMES, ("MaxBurstLength", "512"))).operational_response(TAG),
            lambda s: s.login_request((*NAMES, ("MaxBurstLength", "512"))).login_response((), **REFUSED),
        ),
    ),
    "keys.unknown-unanswered": (
        (pair("NewKey", "1"), text(("NewKey", "1"))),
        (
            pair("NewKey", "1", "NotUnderstood"),
            pair("X-com.example.key", "1"),
            lambda s: s.ready().text([("NewKey", "1")]).text_response([("NewKey", "NotUnderstood")]),
        ),
    ),
    "keys.proposal-with-transit": (
        (lambda s: s.login_request().login_response((*TAG, ("MaxBurstLength", "512"))),),
        (
            lambda s: s.login_request().login_response((*TAG, ("MaxRecvDataSegmentLength", "512"))),
            lambda s: proposed(("MaxBurstLength", "512"))(s, ("MaxBurstLength", "512")),
            lambda s: s.login_request().login_response((*TAG, ("InitialR2T", "Yes"))),
        ),
    ),
    "keys.proposal-with-final": (
        (lambda s: s.ready().text().text_response([("NewKey", "1")]),),
        (lambda s: s.ready().text().text_response([("MaxRecvDataSegmentLength", "512")]),),
    ),
}
