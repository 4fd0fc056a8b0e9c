"""Each rule about the login phase: a history that breaks it, and one that only nearly does."""

from __future__ import annotations

from typing import Any

from iscsi_conformance.corpus.script import Pairs, Script
from iscsi_conformance.corpus.table import Table
from iscsi_protocol.pdu import NO_TAG

INITIATOR = ("InitiatorName", "iqn.2026-01.com.example:initiator")
TARGET = ("TargetName", "iqn.2026-01.com.example:target")
NAMES = (INITIATOR, TARGET)
TAG = (("TargetPortalGroupTag", "1"),)
REFUSED = {"status_class": 2, "status_detail": 1, "transit": False, "nsg": 0, "csg": 0}
MOVED = REFUSED | {"status_class": 1}
CHALLENGE = [("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", "0x" + "12" * 16)]
ANSWER = [("CHAP_N", "user"), ("CHAP_R", "0x" + "00" * 16)]
COUNTER = [("CHAP_I", "2"), ("CHAP_C", "0x" + "34" * 16)]


def twice(s: Script, **second: Any) -> Script:
    """A login of two exchanges in the operational stage, the second one's request changed."""
    s.operational((INITIATOR, TARGET)).operational_response(TAG)
    return s.login_request((), **second).login_response(())


def answered(s: Script, **second: Any) -> Script:
    """The same with the second response changed."""
    s.operational((INITIATOR, TARGET)).operational_response(TAG)
    return s.login_request(()).login_response((), **second)


def chosen(s: Script) -> Script:
    """CHAP was proposed and chosen."""
    s.security([*NAMES, ("AuthMethod", "CHAP")])
    return s.security_response([*TAG, ("AuthMethod", "CHAP")])


def challenged(s: Script, offer: str = "5", **fields: Any) -> Script:
    """The first step of CHAP."""
    return chosen(s).security([("CHAP_A", offer)], **fields).security_response(CHALLENGE)


def ended(s: Script, pairs: Pairs = ()) -> Script:
    """The end of the security stage, then of the login."""
    return s.login_response(pairs, csg=0, nsg=1).login_request(()).login_response(())


def responded(s: Script, answer: Pairs) -> Script:
    """The initiator's answer to the challenge."""
    return challenged(s).login_request(answer, csg=0, nsg=1)


TABLE: Table = {
    "login.not-begun": (
        (lambda s: s.command(), lambda s: s.nop_out(itt=NO_TAG), lambda s: s.text()),
        (lambda s: s.ready().nop_out(itt=NO_TAG),),
    ),
    "login.other-pdu": (
        (
            lambda s: s.security(NAMES).security_response(TAG).nop_out(),
            lambda s: s.login_request().nop_in(itt=NO_TAG),
        ),
        (lambda s: s.ready().nop_in(itt=NO_TAG).nop_out(itt=NO_TAG),),
    ),
    "login.again": (
        (lambda s: s.ready().login_request(),),
        (lambda s: s.ready().connect(2).login_request(tsih=0).login_response(tsih=9),),
    ),
    "login.response-in-full-feature": (
        (lambda s: s.ready().login_response(),),
        (lambda s: twice(s).command().response(),),
    ),
    "login.not-immediate": (
        (lambda s: s.login_request(immediate=False),),
        (lambda s: s.login_request(immediate=True).login_response(),),
    ),
    "login.tag-changed": (
        (lambda s: twice(s, itt=0x11),),
        (lambda s: s.login_request(itt=0x11).login_response(itt=0x11).command(itt=0x11).response(),),
    ),
    "login.isid-changed": (
        (lambda s: twice(s, isid=b"\x80\0\0\0\0\1"),),
        (lambda s: s.login_request(isid=b"\x80\0\0\0\0\1").login_response(isid=b"\x80\0\0\0\0\1"),),
    ),
    "login.tsih-changed": (
        (lambda s: twice(s, tsih=3),),
        (lambda s: s.ready(MaxConnections="2").connect(2).login_request(cid=1).login_response(),),
    ),
    "login.cid-changed": ((lambda s: twice(s, cid=4),), (lambda s: s.login_request(cid=4).login_response(),)),
    "login.version-max-changed": ((lambda s: twice(s, version_max=1),), (lambda s: twice(s, version_max=0),)),
    "login.version-min-changed": ((lambda s: twice(s, version_min=1),), (lambda s: twice(s, version_min=0),)),
    "login.version": (
        (
            lambda s: s.login_request(version_max=1),
            lambda s: s.login_request().login_response(version_active=1),
            lambda s: s.login_request().login_response(version_max=2),
        ),
        (lambda s: s.login_request(version_max=0, version_min=0).login_response(version_active=0),),
    ),
    "login.reserved-isid-type": (
        (lambda s: s.login_request(isid=b"\xc0\0\0\0\0\1"),),
        (lambda s: s.login_request(isid=b"\xbf\0\0\0\0\1").login_response(isid=b"\xbf\0\0\0\0\1"),),
    ),
    "login.transit-with-continue": (
        (lambda s: s.login_request(continued=True),),
        (
            lambda s: (
                s.operational(NAMES, continued=True).operational_response(data=b"").login_request(()).login_response()
            ),
        ),
    ),
    "login.response-transit-with-continue": (
        (lambda s: s.login_request().login_response(continued=True),),
        (
            lambda s: (
                s.login_request()
                .operational_response(TAG, continued=True)
                .login_request(())
                .login_response((("TargetAlias", "disk"),))
            ),
            lambda s: s.login_request().login_response((), **REFUSED, continued=True),
        ),
    ),
    "login.reserved-stage": (
        (
            lambda s: s.login_request(nsg=2),
            lambda s: s.login_request(csg=2),
            lambda s: s.login_request(csg=3),
            lambda s: s.login_request(csg=0, nsg=3).login_response(csg=0, nsg=2),
        ),
        (lambda s: s.login_request(csg=0, nsg=3).login_response(csg=0, nsg=3),),
    ),
    "login.stage-without-transit": (
        (
            lambda s: s.login_request(transit=False, nsg=3),
            lambda s: s.login_request().login_response(transit=False, nsg=1),
        ),
        (lambda s: s.login_request().login_response((), **REFUSED | {"nsg": 1}),),
    ),
    "login.transition": (
        (lambda s: s.login_request(nsg=1), lambda s: s.login_request(csg=0, nsg=0), lambda s: s.login_request(nsg=0)),
        (lambda s: s.login_request(csg=0, nsg=1).login_response(csg=0, nsg=1).login_request(()).login_response(()),),
    ),
    "login.response-transition": (
        (lambda s: s.login_request().login_response(nsg=1), lambda s: s.login_request().login_response(nsg=0)),
        (
            lambda s: s.login_request(csg=0, nsg=3).login_response(csg=0, nsg=1).login_request(()).login_response(()),
            lambda s: s.login_request().login_response((), **REFUSED | {"transit": True}),
        ),
    ),
    "login.wrong-stage": (
        (
            lambda s: s.login_request(csg=0, nsg=1).login_response(csg=0, nsg=1).login_request((), csg=0, nsg=3),
            lambda s: s.security(NAMES).security_response(TAG).login_request(()),
        ),
        (lambda s: s.security(NAMES).security_response(TAG).login_request((), csg=0).login_response((), csg=0),),
    ),
    "login.response-wrong-stage": (
        (lambda s: s.login_request().login_response(csg=0), lambda s: s.security(NAMES).operational_response(TAG)),
        (lambda s: s.login_request().login_response((), **REFUSED),),
    ),
    "login.transit-not-asked": (
        (lambda s: s.operational(NAMES).login_response(),),
        (lambda s: s.operational(NAMES).operational_response(TAG).login_request(()).login_response(()),),
    ),
    "login.stage-above-request": (
        (lambda s: s.login_request(csg=0, nsg=1).login_response(csg=0, nsg=3),),
        (lambda s: s.login_request(csg=0, nsg=3).login_response(csg=0, nsg=3),),
    ),
    "login.final-without-tsih": (
        (lambda s: s.login_request().login_response(tsih=0),),
        (lambda s: s.login_request().login_response(tsih=0xFFFF),),
    ),
    "login.early-tsih": (
        (lambda s: s.operational(NAMES).operational_response(TAG, tsih=7),),
        (lambda s: s.ready().connect(2).operational(NAMES, cid=1).operational_response(TAG, tsih=7),),
    ),
    "login.response-tag": (
        (
            lambda s: s.login_request().login_response(itt=0x11),
            lambda s: s.login_request().login_response(isid=b"\0\0\0\0\0\1"),
        ),
        (lambda s: s.login_request().login_response((), **REFUSED, isid=b"\0\0\0\0\0\1"),),
    ),
    "login.response-version-max-changed": (
        (lambda s: answered(s, version_max=1),),
        (lambda s: answered(s, version_max=0),),
    ),
    "login.version-active-changed": (
        (lambda s: answered(s, version_active=1),),
        (lambda s: answered(s, version_active=0),),
    ),
    "login.answer-to-continue": (
        (lambda s: s.operational(NAMES, continued=True).operational_response(TAG),),
        (
            lambda s: (
                s.operational(NAMES, continued=True).operational_response(data=b"").login_request(()).login_response()
            ),
        ),
    ),
    "login.request-after-continue": (
        (
            lambda s: (
                s.login_request().operational_response(TAG, continued=True).login_request((("MaxBurstLength", "512"),))
            ),
        ),
        (lambda s: s.login_request().operational_response(TAG, continued=True).login_request(()).login_response(()),),
    ),
    "login.two-requests": (
        (lambda s: s.operational(NAMES).login_request(()),),
        (twice,),
    ),
    "login.response-unasked": (
        (
            lambda s: s.operational(NAMES).operational_response(TAG).operational_response(()),
            lambda s: s.login_response(),
        ),
        (twice,),
    ),
    "login.data-too-long": (
        (
            lambda s: s.login_request().login_response(data=b"TargetPortalGroupTag=1\0X-a=" + b"b" * 8170 + b"\0"),
            lambda s: s.operational(data=b"X-a=" + b"b" * 8188 + b"\0"),
        ),
        (
            lambda s: s.operational(NAMES).operational_response(
                data=b"TargetPortalGroupTag=1\0X-a=" + b"b" * 8164 + b"\0"
            ),
        ),
    ),
    "login.initiator-name-missing": (
        (lambda s: s.login_request((TARGET,)),),
        (lambda s: s.operational(data=b"Ini", continued=True).operational_response(data=b""),),
    ),
    "login.target-name-missing": (
        (lambda s: s.login_request((INITIATOR,)), lambda s: s.login_request((INITIATOR, ("SessionType", "Normal")))),
        (lambda s: s.login_request((INITIATOR, ("SessionType", "Discovery"))).login_response(()),),
    ),
    "login.portal-group-tag-missing": (
        (
            lambda s: s.login_request().login_response(()),
            lambda s: (
                s.operational(NAMES, continued=True).operational_response(data=b"").login_request(()).login_response(())
            ),
        ),
        (
            lambda s: s.login_request().login_response((("TargetPortalGroupTag", "0"),)),
            lambda s: s.login_request().login_response((), **REFUSED),
        ),
    ),
    "login.redirect-without-address": (
        (lambda s: s.login_request().login_response((), **MOVED),),
        (lambda s: s.login_request().login_response((("TargetAddress", "192.0.2.1"),), **MOVED),),
    ),
    "login.redirect-with-tag": (
        (lambda s: s.login_request().login_response((("TargetAddress", "192.0.2.1:3260,1"),), **MOVED),),
        (lambda s: s.login_request().login_response((("TargetAddress", "192.0.2.1:3260"),), **MOVED),),
    ),
    "login.reserved-status": (
        (
            lambda s: s.login_request().login_response((), **REFUSED | {"status_detail": 0x0C}),
            lambda s: s.login_request().login_response((), **REFUSED | {"status_class": 4}),
        ),
        (lambda s: s.login_request().login_response((), **REFUSED | {"status_detail": 0x0B}),),
    ),
    "login.after-failure": (
        (
            lambda s: s.login_request().login_response((), **REFUSED).login_request(()),
            lambda s: s.login_request().login_response((), **REFUSED).login_response(),
            lambda s: s.login_request().login_response((), **REFUSED).nop_in(itt=NO_TAG),
        ),
        (lambda s: s.login_request().login_response((), **REFUSED).connect(2).login_request().login_response(),),
    ),
    "chap.md5-not-offered": (
        (lambda s: challenged(s, "6,7"),),
        (lambda s: ended(challenged(s, "7,6,5").login_request(ANSWER, csg=0, nsg=1)),),
    ),
    "chap.first-step": (
        (
            lambda s: chosen(s).login_request((), csg=0, nsg=1),
            lambda s: chosen(s).security([("CHAP_N", "a"), ("CHAP_R", "0x1")]),
        ),
        (lambda s: chosen(s).security([("CHAP_A", "5")]).login_response((), **REFUSED),),
    ),
    "chap.challenge-incomplete": (
        (
            lambda s: chosen(s).security([("CHAP_A", "5")]).security_response(CHALLENGE[:2]),
            lambda s: chosen(s).security([("CHAP_A", "5")]).security_response([CHALLENGE[0], CHALLENGE[2]]),
            lambda s: chosen(s).security([("CHAP_A", "5")]).security_response([("CHAP_A", "7"), *CHALLENGE[1:]]),
        ),
        (lambda s: chosen(s).security([("CHAP_A", "5")]).security_response(CHALLENGE[::-1]),),
    ),
    "chap.response-incomplete": (
        (
            lambda s: responded(s, ANSWER[:1]),
            lambda s: responded(s, ANSWER[1:]),
            lambda s: responded(s, [*ANSWER, COUNTER[0]]),
            lambda s: responded(s, [*ANSWER, COUNTER[1]]),
        ),
        (lambda s: ended(responded(s, ANSWER)),),
    ),
    "chap.mutual-not-answered": (
        (
            lambda s: ended(responded(s, [*ANSWER, *COUNTER])),
            lambda s: ended(responded(s, [*ANSWER, *COUNTER]), [("CHAP_N", "disk")]),
        ),
        (lambda s: ended(responded(s, [*ANSWER, *COUNTER]), ANSWER),),
    ),
    "chap.challenge-reflected": (
        (lambda s: responded(s, [*ANSWER, ("CHAP_I", "2"), CHALLENGE[2]]),),
        (lambda s: ended(responded(s, [*ANSWER, *COUNTER]), ANSWER),),
    ),
    "chap.challenge-empty": (
        (
            lambda s: chosen(s).security([("CHAP_A", "5")]).security_response([*CHALLENGE[:2], ("CHAP_C", "0x")]),
            lambda s: responded(s, [*ANSWER, ("CHAP_I", "2"), ("CHAP_C", "")]),
        ),
        (
            lambda s: (
                chosen(s).security([("CHAP_A", "5")]).security_response([*CHALLENGE[:2], ("CHAP_C", "0x" + "0" * 32)])
            ),
        ),
    ),
    "chap.name-empty": (
        (lambda s: responded(s, [("CHAP_N", ""), ANSWER[1]]),),
        (lambda s: ended(responded(s, [("CHAP_N", "u"), ANSWER[1]])),),
    ),
    "chap.asks-at-the-end": (
        (
            lambda s: (
                chosen(s)
                .security([("CHAP_A", "5")], transit=True, nsg=1)
                .security_response(CHALLENGE, transit=True, nsg=1)
            ),
            lambda s: ended(responded(s, ANSWER), [("CHAP_A", "5")]),
            lambda s: ended(responded(s, ANSWER), CHALLENGE[1:]),
        ),
        (lambda s: ended(responded(s, [*ANSWER, *COUNTER]), ANSWER),),
    ),
    "chap.too-long": (
        (
            lambda s: (
                chosen(s)
                .security([("CHAP_A", "5")])
                .security_response([*CHALLENGE[:2], ("CHAP_C", "0x" + "ab" * 1025)])
            ),
            lambda s: responded(s, [("CHAP_N", "user"), ("CHAP_R", "0x" + "ab" * 1025)]),
        ),
        (
            lambda s: (
                chosen(s)
                .security([("CHAP_A", "5")])
                .security_response([*CHALLENGE[:2], ("CHAP_C", "0x" + "ab" * 1024)])
            ),
        ),
    ),
}
