"""Each rule about sequence numbers and SCSI Commands: a history that breaks it, and one that only nearly does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iscsi_conformance.corpus.script import Script
from iscsi_conformance.corpus.table import Row, Table
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu import NO_TAG, encode_ahs, extended_cdb

NAMES = (("InitiatorName", "iqn.2026-01.com.example:initiator"), ("TargetName", "iqn.2026-01.com.example:target"))
TAG = (("TargetPortalGroupTag", "1"),)
FIRST = 100  # CmdSN of the script's leading login
STATUS = 1001  # StatSN of the first status behind its login
OTHER_STATUS = 2001  # and that of a second connection
LAST_IN_WINDOW = 132


def unsolicited(immediate: str) -> dict[str, str]:
    """The keys of a session without R2T at first."""
    return {"InitialR2T": "No", "ImmediateData": immediate, "FirstBurstLength": "4096"}


def filled(s: Script, upto: int) -> Script:
    """Commands without answers up to this CmdSN."""
    while s.cmd_sn <= upto:
        s.command()
    return s


def reset(s: Script) -> Script:
    """The connection breaks, and another one is made."""
    return s.transport(TransportEvent.RST).connect(2)


def two_exchanges(s: Script, request: dict[str, Any] | None = None, **response: Any) -> Script:
    """A login of two exchanges."""
    s.operational(NAMES).operational_response(TAG).login_request((), **request or {})
    return s.login_response((), **response)


def pair(s: Script) -> Script:
    """A second connection; the script speaks on the first."""
    s.cid = 1
    return s.connect(2).login_request().login_response().on(1)


def idle(s: Script) -> Script:
    """Two connections at level 2, over which nothing has gone yet."""
    return pair(s.ready(MaxConnections="2", ErrorRecoveryLevel="2", DefaultTime2Wait="0"))


def parted(s: Script) -> Script:
    """One of two connections breaks with a status acknowledged and another one on its way; the script speaks on the other."""
    idle(s).command().response().command().response().transport(TransportEvent.RST)
    return s.on(2)


def late_answer(s: Script, **fields: Any) -> Script:
    """The second of two commands is answered first."""
    s.ready().command()
    first = dict(s.task)
    s.command().response(exp_cmd_sn=FIRST + 2)
    s.task = first
    return s.response(**fields)


def wrapped(s: Script) -> Script:
    """CmdSN and StatSN pass from 2^32 - 1 to 0."""
    s.cmd_sn, s.stat_sns[1] = 0xFFFFFFFF, 0xFFFFFFFE
    return s.ready().command().response().command().response()


def statuses(send: Callable[..., Script]) -> Row:
    """The rule that a kind of response counts StatSN: one ahead, one behind, and right after a wrap."""
    return (
        (lambda s: send(s.ready(), stat_sn=STATUS + 1), lambda s: send(s.ready(), stat_sn=STATUS - 1)),
        (lambda s: send(s.ready(), stat_sn=STATUS), lambda s: send(wrapped(s))),
    )


def queried(s: Script) -> Script:
    """QUERY TASK asks after the first command, which the target does not have, and takes it for received."""
    s.tmf(9, referenced_task_tag=1, ref_cmd_sn=FIRST)
    return s.tmf_response(exp_cmd_sn=FIRST + 1)


def text(s: Script, **fields: Any) -> Script:
    """A text exchange."""
    return s.text().text_response(**fields)


TABLE: Table = {
    "cmdsn.gap": (
        (
            lambda s: s.ready().command(cmd_sn=FIRST + 1),
            lambda s: s.ready().nop_out(cmd_sn=FIRST + 3),
            lambda s: pair(s.ready(MaxConnections="2")).command(cmd_sn=FIRST + 1).on(2).command(cmd_sn=FIRST + 2),
        ),
        (
            lambda s: s.ready().command(cmd_sn=FIRST).response(),
            wrapped,
            lambda s: pair(s.ready(MaxConnections="2")).command(cmd_sn=FIRST + 1).on(2).command(cmd_sn=FIRST),
        ),
    ),
    "cmdsn.order": (
        (
            lambda s: s.ready().command().response().command(cmd_sn=FIRST),
            lambda s: s.ready().command().command(cmd_sn=FIRST - 5),
        ),
        (
            lambda s: (
                s.ready(ErrorRecoveryLevel="1").command().command(itt=1, cmd_sn=FIRST).response(exp_cmd_sn=FIRST + 1)
            ),
        ),
    ),
    "cmdsn.reused": (
        (
            lambda s: pair(s.ready(MaxConnections="2")).command().on(2).command(cmd_sn=FIRST),
            lambda s: (
                pair(s.ready(MaxConnections="2")).command().response().on(2).command().on(1).command(cmd_sn=FIRST + 1)
            ),
        ),
        (
            lambda s: pair(s.ready(MaxConnections="2")).command().on(2).command().response(),
            lambda s: pair(s.ready(MaxConnections="2")).command().reject().on(2).command(cmd_sn=FIRST).response(),
        ),
    ),
    "cmdsn.rejected-acknowledged": (
        (lambda s: s.ready().command().reject(exp_cmd_sn=FIRST + 1),),
        (lambda s: s.ready().command().reject(exp_cmd_sn=FIRST), lambda s: s.ready().command(immediate=True).reject()),
    ),
    "cmdsn.immediate": (
        (
            lambda s: s.ready().command(immediate=True, cmd_sn=FIRST + 1),
            lambda s: s.ready().command().response().tmf(cmd_sn=FIRST),
            lambda s: pair(s.ready(MaxConnections="2")).command().tmf(cmd_sn=FIRST),
        ),
        (lambda s: s.ready().command().response().tmf(cmd_sn=FIRST + 1).tmf_response(),),
    ),
    "cmdsn.outside-window": (
        (lambda s: filled(s.ready(), LAST_IN_WINDOW + 1),),
        (
            lambda s: filled(s.ready(), LAST_IN_WINDOW),
            lambda s: filled(s.ready(), LAST_IN_WINDOW).command(immediate=True),
        ),
    ),
    "cmdsn.acknowledged-too-far": (
        (
            lambda s: s.ready().command().response(exp_cmd_sn=FIRST + 2),
            lambda s: s.ready().nop_in(itt=NO_TAG, exp_cmd_sn=FIRST + 1),
            lambda s: pair(s.ready(MaxConnections="2")).command().response(exp_cmd_sn=FIRST + 2),
        ),
        (
            lambda s: s.ready().command().response(exp_cmd_sn=FIRST + 1),
            lambda s: pair(s.ready(MaxConnections="2")).command().on(2).nop_in(itt=NO_TAG),
        ),
    ),
    "cmdsn.hole-acknowledged": (
        (
            lambda s: s.ready().command().reject().nop_in(itt=NO_TAG, exp_cmd_sn=FIRST + 1),
            lambda s: s.ready().command(cmd_sn=FIRST + 1).response(exp_cmd_sn=FIRST + 2),
            lambda s: s.ready().command(cmd_sn=FIRST + 1).nop_in(itt=NO_TAG, exp_cmd_sn=FIRST + 1),
            lambda s: pair(s.ready(MaxConnections="2")).command(cmd_sn=FIRST + 1).on(2).nop_in(itt=NO_TAG),
        ),
        (
            lambda s: s.ready().command(cmd_sn=FIRST).nop_in(itt=NO_TAG, exp_cmd_sn=FIRST + 1),
            lambda s: s.ready().command().command().response(exp_cmd_sn=FIRST + 2),
            lambda s: queried(s.ready(iSCSIProtocolLevel="2").command().reject()).nop_in(
                itt=NO_TAG, exp_cmd_sn=FIRST + 1
            ),
        ),
    ),
    "cmdsn.acknowledgement-back": (
        (lambda s: late_answer(s, exp_cmd_sn=FIRST + 1),),
        (lambda s: late_answer(s, exp_cmd_sn=FIRST + 2),),
    ),
    "cmdsn.window-shrinks": (
        (lambda s: s.ready().command().response(max_cmd_sn=LAST_IN_WINDOW - 1),),
        (lambda s: s.ready().command().response(max_cmd_sn=LAST_IN_WINDOW),),
    ),
    "cmdsn.window-below-zero": (
        (lambda s: s.ready().command().response(max_cmd_sn=FIRST - 1),),
        (lambda s: filled(s.ready(), LAST_IN_WINDOW).response(max_cmd_sn=LAST_IN_WINDOW),),
    ),
    "cmdsn.answer-before-acknowledgement": (
        (
            lambda s: s.ready().command().response(exp_cmd_sn=FIRST),
            lambda s: s.ready().read().data_in(exp_cmd_sn=FIRST),
        ),
        (
            lambda s: s.ready().read().data_in(2048, exp_cmd_sn=FIRST).data_in(2048),
            lambda s: s.ready().command(immediate=True).response(exp_cmd_sn=FIRST),
        ),
    ),
    "statsn.scsi-response": statuses(lambda s, **fields: s.command().response(**fields)),
    "statsn.data-in": statuses(lambda s, **fields: s.read().data_in(**fields)),
    "statsn.tmf-response": statuses(lambda s, **fields: s.tmf().tmf_response(**fields)),
    "statsn.text-response": statuses(text),
    "statsn.logout-response": statuses(lambda s, **fields: s.logout().logout_response(**fields)),
    "statsn.async": statuses(lambda s, **fields: s.asynchronous(**fields)),
    "statsn.reject": statuses(lambda s, **fields: s.command().reject(**fields)),
    "statsn.nop-in": statuses(lambda s, **fields: s.nop_out().nop_in(**fields)),
    "statsn.r2t": statuses(lambda s, **fields: s.write().r2t(**fields)),
    "statsn.login-response": (
        (
            lambda s: two_exchanges(s, stat_sn=STATUS + 1),
            lambda s: two_exchanges(s, stat_sn=STATUS - 1),
        ),
        (lambda s: two_exchanges(s, stat_sn=STATUS),),
    ),
    "expstatsn.ahead": (
        (
            lambda s: s.ready().command(exp_stat_sn=STATUS + 1),
            lambda s: s.ready().write().r2t().data_out(exp_stat_sn=STATUS + 1),
        ),
        (lambda s: s.ready().command(exp_stat_sn=STATUS).response().command(exp_stat_sn=STATUS),),
    ),
    "expstatsn.of-other-connection": (
        (
            lambda s: parted(s).logout(2, cid=0, exp_stat_sn=OTHER_STATUS),
            lambda s: parted(s).logout(2, cid=0, exp_stat_sn=STATUS),
            lambda s: idle(s).on(2).transport(TransportEvent.RST).on(1).logout(2, cid=1, exp_stat_sn=STATUS),
            lambda s: idle(s).on(2).logout(1, cid=0, exp_stat_sn=OTHER_STATUS),
        ),
        (
            lambda s: parted(s).logout(2, cid=0, exp_stat_sn=STATUS + 1),
            lambda s: parted(s).logout(2, cid=0, exp_stat_sn=STATUS + 2),
            lambda s: idle(s).on(2).logout(1, cid=0, exp_stat_sn=STATUS - 1),
            lambda s: parted(s).logout(2, cid=1, exp_stat_sn=OTHER_STATUS),
            lambda s: parted(s).logout(2, cid=7, exp_stat_sn=OTHER_STATUS),
            lambda s: idle(s).on(2).logout(0, cid=0, exp_stat_sn=OTHER_STATUS),
        ),
    ),
    "login.status-not-acknowledged": (
        (
            lambda s: two_exchanges(s, {"exp_stat_sn": STATUS - 1}),
            lambda s: two_exchanges(s, {"exp_stat_sn": STATUS + 1}),
        ),
        (lambda s: s.login_request(exp_stat_sn=77).login_response(),),
    ),
    "login.cmd-sn-advanced": (
        (lambda s: two_exchanges(s, {"cmd_sn": FIRST + 1}),),
        (lambda s: two_exchanges(s).command(cmd_sn=FIRST),),
    ),
    "login.exp-cmd-sn": (
        (lambda s: s.login_request().login_response(exp_cmd_sn=FIRST + 1),),
        (
            lambda s: s.login_request().login_response(
                (), exp_cmd_sn=0, status_class=2, status_detail=1, transit=False, nsg=0, csg=0
            ),
        ),
    ),
    "command.final-or-write": (
        (lambda s: s.ready().read(final=False),),
        (lambda s: s.ready(**unsolicited("Yes")).write(final=False).data_out().response(),),
    ),
    "command.no-direction": (
        (lambda s: s.ready().command(expected_data_transfer_length=1),),
        (
            lambda s: s.ready().command(expected_data_transfer_length=0).response(),
            lambda s: s.ready().read(0).response(),
        ),
    ),
    "command.reserved-attribute": (
        (lambda s: s.ready().command(attribute=5), lambda s: s.ready().command(attribute=7)),
        (lambda s: s.ready().command(attribute=4).response(),),
    ),
    "command.immediate-data-refused": (
        (lambda s: s.ready(ImmediateData="No", InitialR2T="Yes").write(512, 512),),
        (
            lambda s: s.ready(ImmediateData="No", InitialR2T="Yes").write(512, 0).r2t().data_out(512).response(),
            lambda s: s.ready(ImmediateData="Yes", InitialR2T="Yes").write(512, 512).response(),
        ),
    ),
    "command.immediate-data-not-agreed": (
        (lambda s: s.ready(**unsolicited("No")).write(512, 512),),
        (lambda s: s.ready(**unsolicited("Yes")).write(512, 512).response(),),
    ),
    "command.immediate-data-too-long": (
        (lambda s: s.ready(FirstBurstLength="512").write(4096, 516),),
        (lambda s: s.ready(FirstBurstLength="512").write(4096, 512).r2t().data_out(3584).response(),),
    ),
    "command.immediate-data-beyond-length": (
        (lambda s: s.ready().write(512, 516),),
        (lambda s: s.ready().write(512, 512).response(),),
    ),
    "command.data-without-write": (
        (lambda s: s.ready().read(data=4), lambda s: s.ready().command(4)),
        (lambda s: s.ready().write(4, 4).response(),),
    ),
    "command.unsolicited-not-agreed": (
        (lambda s: s.ready().write(final=False),),
        (lambda s: s.ready(**unsolicited("Yes")).write(final=False).data_out().response(),),
    ),
    "command.final-with-all-data": (
        (lambda s: s.ready(**unsolicited("Yes")).write(512, 512, final=False),),
        (lambda s: s.ready(**unsolicited("Yes")).write(512, 508, final=False).data_out(4).response(),),
    ),
    "command.bidirectional-without-length": (
        (lambda s: s.ready().both(0, ahs=b""), lambda s: s.ready().both(0, ahs=encode_ahs([extended_cdb(bytes(32))]))),
        (lambda s: s.ready().both(0, 0).response(),),
    ),
    "command.tag-reserved": (
        (
            lambda s: s.ready().command(itt=NO_TAG),
            lambda s: s.ready().tmf(itt=NO_TAG),
            lambda s: s.ready().text(itt=NO_TAG),
            lambda s: s.ready().logout(itt=NO_TAG),
        ),
        (lambda s: s.ready().nop_out(itt=NO_TAG).command(itt=0xFFFFFFFE).response(),),
    ),
    "command.tag-in-use": (
        (
            lambda s: s.ready().command(itt=5).command(itt=5),
            lambda s: s.ready().command(itt=5).tmf(itt=5),
            lambda s: s.ready().nop_out(itt=5).text(itt=5),
        ),
        (
            lambda s: s.ready().command(itt=5).response().command(itt=5).response(),
            lambda s: reset(s.ready().command(itt=5)).login_request(tsih=0).login_response(tsih=9).command(itt=5),
        ),
    ),
    "command.retry-changed": (
        (
            lambda s: (
                s.ready(ErrorRecoveryLevel="1").command(itt=5).command(itt=5, cmd_sn=FIRST, cdb=bytes(15) + b"\1")
            ),
            lambda s: s.ready(ErrorRecoveryLevel="1").command(itt=5).command(itt=5, cmd_sn=FIRST, attribute=2),
        ),
        (
            lambda s: (
                s.ready(ErrorRecoveryLevel="1")
                .command()
                .command()
                .response()
                .command(itt=1, cmd_sn=FIRST, exp_stat_sn=STATUS + 1)
            ),
        ),
    ),
}
