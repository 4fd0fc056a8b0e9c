"""Each rule about text exchanges, NOP, task management, logout, events, rejects and SNACK: broken, and all but broken."""

from __future__ import annotations

from typing import Any

from iscsi_conformance.corpus.script import KeyValue, Script
from iscsi_conformance.corpus.table import Table
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu import NO_TAG

LUN_1 = b"\0\1" + bytes(6)
TARGET = ("TargetName", "iqn.2026-01.com.example:target")
OTHER = ("TargetName", "iqn.2026-01.com.example:other")
ADDRESS = ("TargetAddress", "192.0.2.1:3260,1")
MORE: dict[str, Any] = {"final": False, "ttt": 5, "lun": LUN_1}
NEXT: dict[str, Any] = {"itt": 9, "ttt": 5, "lun": LUN_1}
LEVEL_1 = {"ErrorRecoveryLevel": "1"}
ABORT = {"function": 1, "referenced_task_tag": 1}
ABORT_OTHER = {"function": 1, "referenced_task_tag": 77}


def halfway(s: Script, **fields: Any) -> Script:
    """A text exchange that the target wants to go on with."""
    return s.ready().text(itt=9, **fields).text_response([("TargetAlias", "a")], **MORE)


def begun(s: Script) -> Script:
    """The first part of a text that goes on."""
    return s.ready().text(data=b"InitiatorAl", continued=True, final=False)


def sent_targets(s: Script, value: str, *answer: KeyValue, **fields: Any) -> Script:
    """SendTargets on a normal session."""
    return s.ready().text([("SendTargets", value)]).text_response(answer, **fields)


def discovered(s: Script, *answer: KeyValue, **fields: Any) -> Script:
    """SendTargets on a discovery session."""
    return s.discovery().text([("SendTargets", "All")]).text_response(answer, **fields)


def pair(s: Script) -> Script:
    """Two connections of one session; the script speaks on the first one."""
    s.ready(MaxConnections="2")
    s.cid = 1
    return s.connect(2).login_request().login_response().on(1)


def ping(s: Script, **fields: Any) -> Script:
    """The target pings."""
    return s.nop_in(itt=NO_TAG, ttt=9, lun=LUN_1, **fields)


TABLE: Table = {
    "text.final-with-continue": (
        (lambda s: s.ready().text(data=b"Targ", continued=True, final=True),),
        (
            lambda s: (
                s.ready()
                .text(data=b"InitiatorAl", continued=True, final=False)
                .text_response(data=b"", final=False, ttt=5)
            ),
        ),
    ),
    "text.response-final-with-continue": (
        (lambda s: s.ready().text().text_response(data=b"Targ", continued=True, final=True),),
        (lambda s: s.ready().text().text_response(data=b"TargetAl", continued=True, final=False, ttt=5),),
    ),
    "text.tag-changed": (
        (lambda s: halfway(s).text(**NEXT | {"itt": 10}),),
        (lambda s: halfway(s).text(**NEXT).text_response(),),
    ),
    "text.immediate-changed": (
        (lambda s: halfway(s).text(**NEXT, immediate=True), lambda s: halfway(s, immediate=True).text(**NEXT)),
        (lambda s: halfway(s, immediate=True).text(**NEXT, immediate=True).text_response(),),
    ),
    "text.two-requests": (
        (lambda s: s.ready().text().text(),),
        (lambda s: s.ready().text().text_response().text().text_response(), lambda s: halfway(s).text(**NEXT)),
    ),
    "text.transfer-tag-not-copied": (
        (lambda s: halfway(s).text(**NEXT | {"ttt": 6}), lambda s: halfway(s).text(**NEXT | {"lun": bytes(8)})),
        (lambda s: halfway(s).text(**NEXT).text_response(), lambda s: halfway(s).text(itt=10).text_response()),
    ),
    "text.transfer-tag-unknown": (
        (lambda s: s.ready().text(ttt=5), lambda s: s.ready().text().text_response().text(ttt=5)),
        (lambda s: halfway(s).text(**NEXT),),
    ),
    "text.request-after-continue": (
        (
            lambda s: (
                s.ready()
                .text(itt=9)
                .text_response(data=b"TargetAl", continued=True, **MORE)
                .text([("InitiatorAlias", "a")], **NEXT)
            ),
        ),
        (
            lambda s: (
                s.ready()
                .text(itt=9)
                .text_response(data=b"TargetAl", continued=True, **MORE)
                .text(**NEXT)
                .text_response(data=b"ias=a\0")
            ),
        ),
    ),
    "text.request-too-long": (
        (lambda s: s.ready(MaxRecvDataSegmentLength="512").text([("X-com.a", "a" * 505)]),),
        (lambda s: s.ready(MaxRecvDataSegmentLength="512").text([("X-com.a", "a" * 503)]).text_response(),),
    ),
    "text.response-too-long": (
        (lambda s: s.ready(MaxRecvDataSegmentLength="512").text().text_response([("X-com.a", "a" * 504)]),),
        (lambda s: s.ready(MaxRecvDataSegmentLength="512").text().text_response([("X-com.a", "a" * 503)]),),
    ),
    "text.response-tag": (
        (lambda s: s.ready().text().text_response(itt=99), lambda s: s.ready().text().text_response().text_response()),
        (lambda s: s.ready().text(itt=99).text_response(itt=99),),
    ),
    "text.answer-to-continue": (
        (
            lambda s: (
                s.ready()
                .text(data=b"InitiatorAl", continued=True, final=False)
                .text_response([("TargetAlias", "a")], final=False, ttt=5)
            ),
        ),
        (lambda s: s.ready().text(data=b"InitiatorAl", continued=True, final=False).text_response(final=False, ttt=5),),
    ),
    "text.final-too-early": (
        (lambda s: s.ready().text([("InitiatorAlias", "a")], final=False).text_response(),),
        (lambda s: s.ready().text([("InitiatorAlias", "a")], final=False).text_response(final=False, ttt=5),),
    ),
    "text.final-with-tag": (
        (lambda s: s.ready().text().text_response(ttt=5),),
        (lambda s: s.ready().text().text_response(ttt=NO_TAG),),
    ),
    "text.tag-missing": (
        (lambda s: s.ready().text(final=False).text_response(final=False),),
        (lambda s: s.ready().text(final=False).text_response(final=False, ttt=0),),
    ),
    "text.empty-and-unfinished": (
        (lambda s: s.ready().text().text_response(final=False, ttt=5),),
        (lambda s: s.ready().text().text_response([("TargetAlias", "a")], final=False, ttt=5),),
    ),
    "text.send-targets-not-alone": (
        (lambda s: s.discovery().text([("SendTargets", "All"), ("InitiatorAlias", "a")]),),
        (lambda s: s.ready().text([("InitiatorAlias", "a"), ("MaxRecvDataSegmentLength", "512")]).text_response(),),
    ),
    "text.send-targets-answer": (
        (lambda s: discovered(s, TARGET, ("TargetAlias", "a")), lambda s: discovered(s, ADDRESS, TARGET)),
        (
            lambda s: discovered(s, TARGET, ADDRESS, OTHER, ADDRESS, ADDRESS),
            lambda s: sent_targets(s, "All", ("SendTargets", "Reject")),
            discovered,
            lambda s: discovered(s, TARGET, final=False, ttt=5).text(itt=s.itt, ttt=5).text_response([ADDRESS]),
        ),
    ),
    "text.address-without-tag": (
        (lambda s: discovered(s, TARGET, ("TargetAddress", "192.0.2.1:3260")),),
        (lambda s: discovered(s, TARGET, ("TargetAddress", "192.0.2.1,0")),),
    ),
    "text.all-targets-on-normal-session": (
        (lambda s: sent_targets(s, "All", TARGET),),
        (lambda s: sent_targets(s, TARGET[1], TARGET), lambda s: discovered(s, TARGET, OTHER)),
    ),
    "text.other-targets": (
        (lambda s: sent_targets(s, "", TARGET, OTHER),),
        (lambda s: sent_targets(s, "", TARGET, ADDRESS),),
    ),
    "discovery.request-served": (
        (
            lambda s: s.discovery().command().response(),
            lambda s: s.discovery().read().data_in(),
            lambda s: s.discovery().write().r2t(),
            lambda s: s.discovery().tmf().tmf_response(),
            lambda s: s.discovery().nop_out().nop_in(),
        ),
        (lambda s: s.discovery().command().reject(), lambda s: s.ready().command().response()),
    ),
    "discovery.unasked": (
        (lambda s: s.discovery().nop_in(itt=NO_TAG), lambda s: s.discovery().asynchronous(1)),
        (lambda s: discovered(s, TARGET).logout(0).logout_response(), lambda s: s.ready().nop_in(itt=NO_TAG)),
    ),
    "nop.unanswered-not-immediate": (
        (lambda s: s.ready().nop_out(itt=NO_TAG, immediate=False),),
        (lambda s: s.ready().nop_out(immediate=False).nop_in(), lambda s: s.ready().nop_out(itt=NO_TAG)),
    ),
    "nop.answer-to-no-ping": (
        (lambda s: s.ready().nop_out(itt=NO_TAG, ttt=9), lambda s: ping(s.ready()).nop_out(itt=NO_TAG, ttt=8)),
        (lambda s: ping(s.ready()).nop_out(itt=NO_TAG, ttt=9, lun=LUN_1),),
    ),
    "nop.answer-lun": (
        (lambda s: ping(s.ready()).nop_out(itt=NO_TAG, ttt=9),),
        (lambda s: ping(s.ready()).nop_out(itt=NO_TAG, ttt=9, lun=LUN_1).nop_out(itt=NO_TAG),),
    ),
    "nop.ping-too-long": (
        (lambda s: s.ready(MaxRecvDataSegmentLength="512").nop_out(data=bytes(516)),),
        (lambda s: s.ready(MaxRecvDataSegmentLength="512").nop_out(data=bytes(512)).nop_in(data=bytes(512)),),
    ),
    "nop.answer-tag": (
        (
            lambda s: s.ready().nop_out().nop_in(itt=99),
            lambda s: s.ready().nop_out().nop_in().nop_in(),
            lambda s: s.ready().command().nop_in(),
        ),
        (lambda s: s.ready().nop_out(itt=99).nop_in(),),
    ),
    "nop.answer-with-transfer-tag": (
        (lambda s: s.ready().nop_out().nop_in(ttt=1),),
        (lambda s: s.ready().nop_out().nop_in(itt=NO_TAG, ttt=1).nop_in(),),
    ),
    "nop.echo": (
        (
            lambda s: s.ready().nop_out(data=b"ping").nop_in(data=b"pong"),
            lambda s: s.ready().nop_out(data=b"ping").nop_in(),
            lambda s: s.ready().nop_out().nop_in(data=b"ping"),
        ),
        (
            lambda s: s.ready().nop_out(data=b"ping").nop_in(data=b"ping"),
            lambda s: (
                s.login_request()
                .login_response([("TargetPortalGroupTag", "1"), ("MaxRecvDataSegmentLength", "16384")])
                .nop_out(data=bytes(9000))
                .nop_in(data=bytes(8192))
            ),
        ),
    ),
    "nop.unasked-with-data": (
        (lambda s: s.ready().nop_in(itt=NO_TAG, data=b"ping"), lambda s: ping(s.ready(), data=b"ping")),
        (lambda s: ping(s.ready()),),
    ),
    "tmf.reserved-function": (
        (lambda s: s.ready().tmf(0), lambda s: s.ready().tmf(13)),
        (lambda s: s.ready(iSCSIProtocolLevel="2").tmf(12).tmf_response(response=5),),
    ),
    "tmf.lun-reserved": (
        (lambda s: s.ready().tmf(6, lun=LUN_1), lambda s: s.ready().tmf(7, lun=LUN_1)),
        (lambda s: s.ready().tmf(5, lun=LUN_1).tmf_response(),),
    ),
    "tmf.referenced-tag": (
        (lambda s: s.ready().tmf(5, referenced_task_tag=0), lambda s: s.ready().tmf(2, referenced_task_tag=1)),
        (lambda s: s.ready().read().tmf(**ABORT, ref_cmd_sn=100).tmf_response(),),
    ),
    "tmf.ref-cmd-sn": (
        (lambda s: s.ready().read().tmf(**ABORT, ref_cmd_sn=99), lambda s: s.ready().read().tmf(**ABORT)),
        (lambda s: s.ready().read().tmf(**ABORT, ref_cmd_sn=100).tmf_response(),),
    ),
    "tmf.ref-cmd-sn-of-immediate": (
        (lambda s: s.ready().read(immediate=True).tmf(**ABORT, ref_cmd_sn=99),),
        (lambda s: s.ready().read(immediate=True).tmf(**ABORT, ref_cmd_sn=100).tmf_response(),),
    ),
    "tmf.ref-cmd-sn-too-high": (
        (
            lambda s: s.ready().tmf(**ABORT_OTHER, ref_cmd_sn=101),
            lambda s: s.ready().read().tmf(**ABORT, ref_cmd_sn=101),
        ),
        (lambda s: s.ready().tmf(**ABORT_OTHER, ref_cmd_sn=99).tmf_response(response=1),),
    ),
    "tmf.ref-cmd-sn-reserved": (
        (lambda s: s.ready().tmf(5, ref_cmd_sn=1),),
        (lambda s: s.ready().read().tmf(**ABORT, ref_cmd_sn=100).tmf_response(),),
    ),
    "tmf.abort-on-other-connection": (
        (lambda s: pair(s).read().on(2).tmf(**ABORT, ref_cmd_sn=100),),
        (
            lambda s: pair(s).read().tmf(**ABORT, ref_cmd_sn=100).tmf_response(),
            lambda s: pair(s).read().transport(TransportEvent.RST).on(2).tmf(**ABORT, ref_cmd_sn=100),
        ),
    ),
    "tmf.reassign-not-immediate": (
        (lambda s: s.ready().tmf(8, referenced_task_tag=7, immediate=False),),
        (lambda s: s.ready().tmf(8, referenced_task_tag=7).tmf_response(response=4),),
    ),
    "tmf.response-tag": (
        (
            lambda s: s.ready().tmf().tmf_response(itt=99),
            lambda s: s.ready().tmf().tmf_response().tmf_response(),
            lambda s: s.ready().command().tmf_response(),
        ),
        (lambda s: s.ready().tmf(itt=99).tmf_response(),),
    ),
    "tmf.response-before-the-data": (
        (
            lambda s: s.ready().write().r2t().tmf(2).tmf_response(),
            lambda s: s.ready().write().r2t().tmf(5).tmf_response(),
        ),
        (
            lambda s: s.ready().write().r2t().data_out().tmf(2).tmf_response(),
            lambda s: s.ready().write().r2t().tmf(2).tmf_response(response=5),
            lambda s: s.ready().write().tmf(4).tmf_response(),
        ),
    ),
    "tmf.reserved-response": (
        (lambda s: s.ready().tmf().tmf_response(response=8), lambda s: s.ready().tmf().tmf_response(response=254)),
        (lambda s: s.ready().tmf().tmf_response(response=255),),
    ),
    "logout.reserved-reason": (
        (lambda s: s.ready().logout(3),),
        (lambda s: s.ready().logout(2).logout_response(response=2),),
    ),
    "logout.request-after": (
        (
            lambda s: s.ready().logout().command(),
            lambda s: s.ready().logout(0).nop_out(),
            lambda s: s.ready().logout().text(),
        ),
        (
            lambda s: s.ready().logout().nop_out(itt=NO_TAG),
            lambda s: pair(s).logout(2, cid=1).command(),
            lambda s: s.ready().logout(1, cid=9).logout_response(response=1).command().response(),
        ),
    ),
    "logout.response-tag": (
        (lambda s: s.ready().logout().logout_response(itt=99), lambda s: s.ready().command().logout_response()),
        (lambda s: s.ready().logout(itt=99).logout_response(),),
    ),
    "logout.reserved-response": (
        (lambda s: s.ready().logout().logout_response(response=4),),
        (lambda s: s.ready().logout().logout_response(response=3),),
    ),
    "logout.recovery-at-low-level": (
        (lambda s: s.ready().logout(2).logout_response(), lambda s: s.ready(**LEVEL_1).logout(2).logout_response()),
        (
            lambda s: s.ready().logout(2).logout_response(response=2),
            lambda s: s.ready(ErrorRecoveryLevel="2").logout(2).logout_response(),
        ),
    ),
    "logout.unknown-cid": (
        (lambda s: s.ready().logout(1, cid=5).logout_response(),),
        (
            lambda s: s.ready().logout(1, cid=5).logout_response(response=1),
            lambda s: s.ready().logout(0, cid=5).logout_response(),
            lambda s: pair(s).logout(1, cid=1).logout_response(),
        ),
    ),
    "logout.pdu-after-response": (
        (
            lambda s: s.ready().logout().logout_response().nop_in(itt=NO_TAG),
            lambda s: s.ready().logout(0).logout_response().asynchronous(2),
        ),
        (
            lambda s: s.ready().logout().logout_response().transport(TransportEvent.FIN),
            lambda s: s.ready().logout().logout_response(response=3).nop_in(itt=NO_TAG),
            lambda s: pair(s).logout(1, cid=1).logout_response().nop_in(itt=NO_TAG),
        ),
    ),
    "async.tag": (
        (lambda s: s.ready().asynchronous(itt=1),),
        (lambda s: s.ready().asynchronous(itt=NO_TAG),),
    ),
    "async.reserved-event": (
        (lambda s: s.ready().asynchronous(6), lambda s: s.ready().asynchronous(247)),
        (lambda s: s.ready().asynchronous(248), lambda s: s.ready().asynchronous(4)),
    ),
    "async.fast-abort-not-agreed": (
        (lambda s: s.ready().asynchronous(5),),
        (
            lambda s: (
                s.login_request(
                    [
                        ("InitiatorName", "iqn.2026-01.com.example:i"),
                        TARGET,
                        ("TaskReporting", "FastAbort,ResponseFence,RFC3720"),
                    ]
                )
                .login_response([("TargetPortalGroupTag", "1"), ("TaskReporting", "FastAbort")])
                .asynchronous(5, lun=LUN_1)
                .nop_out(itt=NO_TAG, lun=LUN_1)
            ),
        ),
    ),
    "async.logout-reason": (
        (lambda s: s.ready(ErrorRecoveryLevel="2").asynchronous(1).logout(2),),
        (
            lambda s: s.ready(ErrorRecoveryLevel="2").logout(2),
            lambda s: s.ready(ErrorRecoveryLevel="2").asynchronous(1).logout(1).logout_response(),
            lambda s: s.ready(ErrorRecoveryLevel="2").asynchronous(1).logout(0).logout_response(),
        ),
    ),
    "reject.tag": ((lambda s: s.ready().command().reject(itt=1),), (lambda s: s.ready().command().reject(itt=NO_TAG),)),
    "reject.reserved-reason": (
        (lambda s: s.ready().command().reject(1), lambda s: s.ready().command().reject(0x0D)),
        (lambda s: s.ready().command().reject(0x0C),),
    ),
    "reject.deprecated-reason": (
        (lambda s: s.ready().command().reject(0x0B),),
        (lambda s: s.ready().command().reject(0x0A),),
    ),
    "reject.header": (
        (
            lambda s: s.ready().command().reject(data=bytes(47)),
            lambda s: s.ready().command().reject(data=b"\xff" * 48),
            lambda s: s.ready().reject(data=bytes(48)),
        ),
        (
            lambda s: s.ready().command().reject(),
            lambda s: s.ready().write(512, 512).nop_out().nop_in().reject(),
        ),
    ),
}
