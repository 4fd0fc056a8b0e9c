"""Each rule about what a side makes of the other's violation, refusal or wish: broken, and all but broken."""

from __future__ import annotations

from typing import Any

from iscsi_conformance.corpus.connections import pair
from iscsi_conformance.corpus.keys import REFUSED, proposed
from iscsi_conformance.corpus.script import DIGESTS, DISCOVERY, NAMES, TAG, Edit, Script
from iscsi_conformance.corpus.table import Table
from iscsi_protocol.pdu import NO_TAG, RawPdu, encode_ahs, extended_cdb

TWICE = [("MaxBurstLength", "512"), ("MaxBurstLength", "512")]
ONCE = TWICE[:1]
NOT_FOUND = REFUSED | {"status_detail": 3}
DURING_LOGIN = REFUSED | {"status_detail": 11}
FIRST = 100
BEYOND = 133
"""The first CmdSN above the window of the script's login."""
LEVEL_1 = {"ErrorRecoveryLevel": "1"}
LEVEL_2 = {"iSCSIProtocolLevel": "2"}
LONG_CDB = b"\x7f" + bytes(6) + b"\x18" + bytes(8)
"""The first 16 of 32 bytes."""
QUERY = {"function": 9, "referenced_task_tag": 1, "ref_cmd_sn": FIRST}
WRITE_10 = b"\x2a" + bytes(7) + b"\1" + bytes(7)
READ_10 = b"\x28" + WRITE_10[1:]


def opcode(code: int) -> Edit:
    """The PDU with another opcode."""

    def edit(raw: RawPdu) -> RawPdu:
        return raw.with_bytes(0, bytes([code]))

    edit.__doc__ = f"opcode {code:#04x}"
    return edit


def begun(s: Script) -> Script:
    """The first exchange of a login."""
    return s.security(NAMES).security_response(TAG)


def filled(s: Script) -> Script:
    """All commands that the window has room for."""
    for _ in range(BEYOND - FIRST):
        s.command()
    return s


def refused(s: Script, *more: tuple[str, str]) -> Script:
    """The target is not found twice, and the initiator logs in a third time, perhaps with something more."""
    s.login_request().login_response((), **NOT_FOUND)
    s.connect(2).login_request().login_response((), **NOT_FOUND)
    return s.connect(3).login_request((*NAMES, *more)).login_response((), **NOT_FOUND)


def hesitant(s: Script, **second: Any) -> Script:
    """The target does not follow T=1; the initiator goes on."""
    s.login_request().login_response(transit=False, nsg=0)
    return s.login_request((), **second)


def unfinished(s: Script, **second: Any) -> Script:
    """The target answers F=1 with F=0, and something to say; the initiator goes on."""
    s.ready().text(itt=9).text_response([("TargetAlias", "a")], final=False, ttt=5)
    return s.text(itt=9, ttt=5, **second)


def second_of_discovery(s: Script, **response: Any) -> Script:
    """A further connection asks to join a discovery session."""
    s.discovery()
    s.cid = 1
    return s.connect(2).login_request(DISCOVERY).login_response((), **response)


def unacknowledged(s: Script) -> Script:
    """An immediate command is rejected while a response before it is not acknowledged."""
    before = s.ready().stat_sn
    return s.command().response().command(immediate=True, exp_stat_sn=before).reject(6)


def two_immediate(s: Script) -> Script:
    """Two immediate commands, of which the later one is rejected."""
    return s.ready().command(immediate=True).command(immediate=True).reject(6)


def behind_a_reset(s: Script) -> Script:
    """A read comes behind an LU reset, which has no response yet."""
    return s.ready(**LEVEL_2).tmf(5).read().nop_in(itt=NO_TAG)


TABLE: Table = {
    "framing.reserved-opcode": (
        (lambda s: s.ready().command(edit=opcode(0x1B)), lambda s: s.ready().command().response(edit=opcode(0x3B))),
        (lambda s: s.ready().command(), lambda s: s.ready().command(edit=opcode(0x1C))),
    ),
    "login.other-pdu-served": (
        (
            lambda s: begun(s).nop_out(itt=NO_TAG).login_response((), **REFUSED),
            lambda s: begun(s).nop_out(itt=NO_TAG).security_response(),
        ),
        (lambda s: begun(s).login_request((), csg=0, nsg=1).login_response((), **DURING_LOGIN),),
    ),
    "login.intruder-accepted": (
        (lambda s: begun(s).nop_in(itt=NO_TAG).security(),),
        (lambda s: begun(s).security(),),
    ),
    "keys.repetition-accepted": (
        (lambda s: s.login_request((*NAMES, *TWICE)).login_response((*TAG, *ONCE)),),
        (lambda s: s.login_request((*NAMES, *ONCE)).login_response((*TAG, *ONCE)),),
    ),
    "keys.target-repetition-accepted": (
        (
            lambda s: (
                s.operational(NAMES)
                .operational_response((*TAG, ("TargetAlias", "a"), ("TargetAlias", "a")))
                .login_request(())
            ),
        ),
        (lambda s: proposed(*ONCE)(s, *ONCE),),
    ),
    "text.repetition-accepted": (
        (lambda s: s.ready().text([("InitiatorAlias", "a"), ("InitiatorAlias", "b")]).text_response(),),
        (lambda s: s.ready().text([("InitiatorAlias", "a")]).text_response(),),
    ),
    "login.repeated-after-refusal": (
        (refused,),
        (lambda s: refused(s, ("InitiatorAlias", "a")),),
    ),
    "cmdsn.outside-window-served": (
        (lambda s: filled(s.ready()).command().response(max_cmd_sn=BEYOND - 1, exp_cmd_sn=BEYOND),),
        (lambda s: filled(s.ready()).response(max_cmd_sn=BEYOND - 1, exp_cmd_sn=BEYOND),),
    ),
    "tmf.alive-after-cold-reset": (
        (
            lambda s: s.ready().tmf(7).tmf_response().nop_in(itt=NO_TAG),
            lambda s: pair(s).tmf(7).tmf_response().wait(1).on(2).nop_in(itt=NO_TAG),
        ),
        (lambda s: s.ready().tmf(7).tmf_response(response=255).nop_in(itt=NO_TAG),),
    ),
    "tmf.alive-after-nexus-reset": (
        (lambda s: s.ready(**LEVEL_2).tmf(11).tmf_response().nop_in(itt=NO_TAG),),
        (lambda s: s.ready(**LEVEL_2).tmf(11).tmf_response(response=5).nop_in(itt=NO_TAG),),
    ),
    "login.transit-withdrawn": (
        (lambda s: hesitant(s, transit=False, nsg=0),),
        (hesitant,),
    ),
    "text.finish-withdrawn": (
        (lambda s: unfinished(s, final=False),),
        (unfinished,),
    ),
    "discovery.second-connection": (
        (second_of_discovery,),
        (lambda s: second_of_discovery(s, **REFUSED | {"status_detail": 6}),),
    ),
    "async.logout-late": (
        (lambda s: s.ready().asynchronous(1, parameter3=5).wait(10).logout(),),
        (lambda s: s.ready().asynchronous(1, parameter3=5).wait(3).logout().logout_response(),),
    ),
    "async.negotiation-late": (
        (lambda s: s.ready().asynchronous(4, parameter3=5).wait(10).command(),),
        (
            lambda s: s.ready().asynchronous(4, parameter3=5).wait(3).text().text_response().wait(9).command(),
            lambda s: s.ready().asynchronous(4, parameter3=5).wait(3).logout().logout_response(),
        ),
    ),
    "command.immediate-change": (
        (lambda s: s.ready().write(512, immediate=True, cdb=WRITE_10),),
        (lambda s: s.ready().read(512, immediate=True, cdb=READ_10).data_in(512),),
    ),
    "command.cdb-cut": (
        (lambda s: s.ready().command(cdb=LONG_CDB),),
        (lambda s: s.ready().command(cdb=LONG_CDB, ahs=encode_ahs([extended_cdb(LONG_CDB + bytes(16))])).response(),),
    ),
    "ahs.extended-cdb-length": (
        (lambda s: s.ready().command(cdb=LONG_CDB, ahs=encode_ahs([extended_cdb(LONG_CDB + bytes(12))])),),
        (lambda s: s.ready().command(cdb=LONG_CDB, ahs=encode_ahs([extended_cdb(LONG_CDB + bytes(16))])).response(),),
    ),
    "reject.digest-without-digest": (
        (lambda s: s.ready().write(512, 512).reject(2),),
        (lambda s: s.ready(**DIGESTS).write(512, 512).reject(2),),
    ),
    "reject.snack-reason": (
        (lambda s: s.ready().command().reject(3),),
        (lambda s: s.ready(**LEVEL_1).snack().reject(3),),
    ),
    "reject.immediate-reason": (
        (lambda s: s.ready().command().reject(6),),
        (two_immediate,),
    ),
    "reject.immediate-room": (
        (lambda s: s.ready().command(immediate=True).reject(6), lambda s: s.ready().tmf().reject(6)),
        (
            two_immediate,
            lambda s: s.ready().tmf().tmf().reject(6),
            unacknowledged,
            lambda s: pair(s).read().data_in().on(2).command(immediate=True).reject(6),
        ),
    ),
    "reject.data-ack-reason": (
        (lambda s: s.ready().command().reject(8),),
        (lambda s: s.ready(**LEVEL_1).read().data_in(acknowledge=True, ttt=3).snack(2, ttt=3, beg_run=1).reject(8),),
    ),
    "reject.logout-reason": (
        (lambda s: s.ready().command().reject(0x0C),),
        (lambda s: s.ready().asynchronous(1, parameter3=5).command(exp_stat_sn=1001).reject(0x0C),),
    ),
    "reject.unknown-opcode": (
        (lambda s: s.ready().command(edit=opcode(0x1B)).reject(4, exp_cmd_sn=FIRST),),
        (lambda s: s.ready().command(edit=opcode(0x1C)).reject(4, exp_cmd_sn=FIRST),),
    ),
    "reject.level-2-function": (
        (lambda s: s.ready(**LEVEL_2).tmf(10).reject(5),),
        (lambda s: s.ready(**LEVEL_2).tmf(10).tmf_response(response=5), lambda s: s.ready(**LEVEL_2).tmf(10).reject(4)),
    ),
    "tmf.query-missed": (
        (lambda s: s.ready(**LEVEL_2).read().nop_in(itt=NO_TAG).tmf(**QUERY, lun=bytes(8)).tmf_response(),),
        (
            lambda s: s.ready(**LEVEL_2).read().tmf(**QUERY).tmf_response(response=7),
            lambda s: s.ready(**LEVEL_2).read().data_in().tmf(**QUERY).tmf_response(),
            lambda s: s.ready(**LEVEL_2).read().nop_in(itt=NO_TAG).tmf(5).tmf(**QUERY, lun=bytes(8)).tmf_response(),
            lambda s: s.ready(**LEVEL_2).read().tmf(**QUERY, lun=bytes(8)).nop_in(itt=NO_TAG).tmf_response(),
            lambda s: behind_a_reset(s).tmf(**QUERY | {"referenced_task_tag": 2}, lun=bytes(8)).tmf_response(),
            lambda s: (
                behind_a_reset(s)
                .tmf_response(itt=1)
                .tmf(**QUERY | {"referenced_task_tag": 2}, lun=bytes(8))
                .tmf_response()
            ),
        ),
    ),
}
