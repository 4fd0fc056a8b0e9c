"""Each rule about SNACK, PDUs that come again or damaged, and reassignment: broken, and all but broken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from iscsi_conformance.corpus.script import DIGESTS, Edit, Script
from iscsi_conformance.corpus.table import Table
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu import NO_TAG, RawPdu

SEGMENT = {"MaxRecvDataSegmentLength": "65536"}
LEVEL_1 = {"ErrorRecoveryLevel": "1"} | SEGMENT
LUN_1 = b"\0\1" + bytes(6)
NAMES = (("InitiatorName", "iqn.2026-01.com.example:initiator"), ("TargetName", "iqn.2026-01.com.example:target"))
TAG = (("TargetPortalGroupTag", "1"),)
FIRST = 100
STATUS = 1001
PART: dict[str, Any] = {"final": False, "status_present": False}
TTT: dict[str, Any] = {"acknowledge": True, "ttt": 3, "lun": bytes(8)}


def level_1(s: Script, **keys: Any) -> Script:
    """One connection at ErrorRecoveryLevel 1."""
    return s.ready(**LEVEL_1, **keys)


def pair(s: Script, level: str = "2", **keys: str) -> Script:
    """Two connections; the script speaks on the first."""
    s.ready(MaxConnections="2", ErrorRecoveryLevel=level, DefaultTime2Wait="0", **SEGMENT, **keys)
    s.cid = 1
    join = s.connect(2).login_request((*NAMES, *SEGMENT.items())).login_response((*TAG, *SEGMENT.items()))
    return join.on(1)


def reading(s: Script, pieces: int = 2, **fields: Any) -> Script:
    """A read of four pieces, of which some have come."""
    s.read(16384)
    for _ in range(pieces):
        s.data_in(4096, **PART | fields)
    return s


def asked(s: Script, **fields: Any) -> Script:
    """A Data SNACK for the read."""
    return s.snack(0, **{"itt": s.task["itt"], "lun": bytes(8), "beg_run": 0, "run_length": 1} | fields)


def being_ended(s: Script) -> Script:
    """A Data SNACK for a read that an ABORT TASK SET is to end."""
    itt = reading(level_1(s)).task["itt"]
    return asked(s.tmf(2), itt=itt, beg_run=7).reject(4)


def anew(s: Script, tag: int = 9, **fields: Any) -> Script:
    """An R-Data SNACK for the read; what comes next begins with DataSN 0."""
    s.snack(3, itt=s.task["itt"], ttt=tag, **fields)
    s.task |= {"in": 0, "in_sn": 0}
    return s


def acked(s: Script, **fields: Any) -> Script:
    """A read whose first two pieces the initiator acknowledged."""
    reading(s, 1).data_in(4096, **PART | TTT)
    return s.snack(2, **{"ttt": 3, "lun": bytes(8), "beg_run": 2} | fields)


def resized(s: Script) -> Script:
    """The initiator takes larger data segments from now on."""
    read = s.task
    s.text([("MaxRecvDataSegmentLength", "131072")]).text_response()
    s.task = read
    return s


def confirmed(s: Script) -> Script:
    """The initiator acknowledges all statuses of the connection."""
    task = s.task
    s.nop_out(itt=NO_TAG)
    s.task = task
    return s


def crossed(s: Script) -> Script:
    """A status is asked for again, and something else is acknowledged meanwhile."""
    s.command().response().command(exp_stat_sn=STATUS).snack(1, exp_stat_sn=STATUS)
    return s.nop_in(itt=NO_TAG)


def spoilt(raw: RawPdu) -> RawPdu:
    """A wrong data digest."""
    return replace(raw, data_digest_error=True)


def mangled(raw: RawPdu) -> RawPdu:
    """A wrong header digest."""
    return replace(raw, header_digest_error=True)


def damaged(s: Script, edit: Edit = spoilt, **fields: Any) -> Script:
    """A write with immediate data comes damaged."""
    s.ready(**LEVEL_1, **DIGESTS)
    return s.write(512, 512, edit=edit, **fields)


def broken(s: Script, reason: int = 2, **response: Any) -> Script:
    """The first connection breaks and is logged out for recovery over the second."""
    task = s.task
    s.transport(TransportEvent.RST).on(2).logout(reason, cid=0)
    s.logout_response(**{"time2wait": 0, "time2retain": 20} | response)
    s.task = task
    return s


def taken_over(s: Script, response: int = 0, **fields: Any) -> Script:
    """The task that was last spoken of is reassigned to the connection in use."""
    task = s.task
    s.tmf(8, referenced_task_tag=task["itt"], **fields).tmf_response(response=response)
    s.task = task
    return s


def resumed(s: Script, **fields: Any) -> Script:
    """The task goes on over the second connection, its data from the beginning."""
    taken_over(broken(s), **fields)
    s.task |= {"in": 0, "in_sn": 0}
    return s


def asked_after(s: Script) -> Script:
    """QUERY TASK asks after the task that was last spoken of, on the second connection behind the loss of the first."""
    task = broken(s).task
    s.tmf(9, referenced_task_tag=task["itt"], ref_cmd_sn=FIRST).tmf_response(response=7)
    s.task = task
    return s


def aborted_elsewhere(s: Script) -> Script:
    """ABORT TASK over the second connection brings the data and the status of a read again, and then its response."""
    task = rest(reading(pair(s), 3)).task
    s.transport(TransportEvent.RST).on(2).logout(2, cid=0, exp_stat_sn=STATUS)
    s.logout_response(time2wait=0, time2retain=20).tmf(1, referenced_task_tag=task["itt"], ref_cmd_sn=FIRST)
    function, s.task = s.task, task | {"in": 0, "in_sn": 0}
    for _ in range(3):
        s.data_in(4096, **PART)
    rest(s)
    s.task = function
    return s.tmf_response(response=1)


def pending(s: Script) -> Script:
    """TASK REASSIGN has no answer yet."""
    task = s.task
    s.tmf(8, referenced_task_tag=task["itt"])
    s.task = task
    return s


def rest(s: Script) -> Script:
    """What is left of a read, with its status."""
    return s.data_in(s.task["length"] - s.task["in"])


TABLE: Table = {
    "snack.at-level-0": (
        (lambda s: s.ready().snack(),),
        (lambda s: level_1(s).snack(),),
    ),
    "snack.tag": (
        (lambda s: level_1(s).snack(1, itt=1), lambda s: level_1(s).snack(2, itt=1, ttt=1)),
        (lambda s: level_1(s).read().snack(0, itt=1),),
    ),
    "snack.task": (
        (lambda s: level_1(s).snack(0), lambda s: level_1(s).snack(3, ttt=1)),
        (lambda s: level_1(s).snack(1),),
    ),
    "snack.r-data-tag": (
        (
            lambda s: level_1(s).read().snack(3, itt=1, ttt=0),
            lambda s: level_1(s).read().snack(3, itt=1),
        ),
        (lambda s: level_1(s).read().snack(3, itt=1, ttt=1),),
    ),
    "snack.transfer-tag": (
        (lambda s: level_1(s).snack(1, ttt=0), lambda s: level_1(s).read().snack(0, itt=1, ttt=3)),
        (lambda s: acked(level_1(s)),),
    ),
    "snack.r-data-run": (
        (lambda s: level_1(s).read().snack(3, itt=1, ttt=1, beg_run=1),),
        (lambda s: level_1(s).read().snack(0, itt=1, beg_run=1),),
    ),
    "snack.run-length": (
        (
            lambda s: acked(level_1(s), run_length=1),
            lambda s: level_1(s).read().snack(3, itt=1, ttt=1, run_length=1),
        ),
        (lambda s: level_1(s).command().response().snack(1, beg_run=STATUS, run_length=1, exp_stat_sn=STATUS),),
    ),
    "snack.reserved-type": (
        (lambda s: level_1(s).snack(4),),
        (lambda s: level_1(s).read().snack(3, itt=1, ttt=1),),
    ),
    "snack.unknown-task": (
        (lambda s: asked(level_1(s).read(), itt=9), lambda s: level_1(s).nop_out().snack(3, itt=1, ttt=1)),
        (lambda s: asked(level_1(s).read()), lambda s: asked(level_1(s).read().data_in(), exp_stat_sn=STATUS)),
    ),
    "snack.other-connection": (
        (lambda s: asked(pair(s, "1").read().on(2)),),
        (lambda s: asked(pair(s, "1").read()),),
    ),
    "snack.after-acknowledgement": (
        (
            lambda s: level_1(s).command().response().snack(1, beg_run=STATUS, run_length=1),
            lambda s: asked(level_1(s).read().data_in()),
            lambda s: asked(confirmed(level_1(s).read().data_in())),
            lambda s: anew(confirmed(level_1(s).read().data_in())),
        ),
        (
            lambda s: level_1(s).command().response().snack(1, beg_run=STATUS, run_length=1, exp_stat_sn=STATUS),
            lambda s: confirmed(level_1(s).command().response()).snack(1),
            lambda s: asked(level_1(s).read().data_in(), exp_stat_sn=STATUS).again(),
        ),
    ),
    "snack.acknowledged-data": (
        (lambda s: asked(acked(level_1(s)), beg_run=1), lambda s: asked(acked(level_1(s)), run_length=2)),
        (lambda s: asked(acked(level_1(s)), beg_run=2), lambda s: asked(acked(level_1(s)), run_length=0)),
    ),
    "snack.below-reassignment": (
        (lambda s: asked(resumed(reading(pair(s)), exp_data_sn=2), beg_run=1),),
        (lambda s: asked(resumed(reading(pair(s)), exp_data_sn=2), beg_run=2),),
    ),
    "snack.data-after-resize": (
        (lambda s: asked(resized(reading(level_1(s)))),),
        (
            lambda s: asked(reading(resized(level_1(s)))),
            lambda s: anew(resized(reading(level_1(s)))).data_in(16384),
            # Sent before the Text Response came, for all that anybody can tell.
            lambda s: asked(resized(reading(level_1(s))), exp_stat_sn=s.stat_sn - 1),
        ),
    ),
    "snack.r-data-tag-reused": (
        (lambda s: anew(anew(reading(level_1(s)))),),
        (lambda s: anew(anew(reading(level_1(s))), tag=10),),
    ),
    "snack.data-ack-tag": (
        (
            lambda s: acked(level_1(s), ttt=4),
            lambda s: acked(level_1(s), lun=LUN_1),
            lambda s: reading(level_1(s)).snack(2, ttt=3, beg_run=2),
        ),
        (lambda s: rest(acked(level_1(s))),),
    ),
    "snack.data-ack-run": (
        (lambda s: acked(level_1(s), beg_run=1), lambda s: acked(level_1(s), beg_run=3)),
        (
            lambda s: acked(level_1(s)),
            lambda s: reading(level_1(s), 1, **TTT).data_in(4096, **PART).snack(2, ttt=3, beg_run=2),
        ),
    ),
    "snack.data-ack-late": (
        (lambda s: confirmed(level_1(s).read().data_in(**TTT)).snack(2, ttt=3, beg_run=1),),
        (lambda s: level_1(s).read().data_in(**TTT).snack(2, ttt=3, beg_run=1),),
    ),
    "snack.not-supported": (
        (lambda s: level_1(s).snack().reject(5), lambda s: asked(level_1(s).read()).reject(5)),
        (
            lambda s: level_1(s).snack().reject(4),
            lambda s: level_1(s).command(edit=unknown).reject(5, exp_cmd_sn=FIRST),
        ),
    ),
    "snack.reject-data-sn": (
        (lambda s: asked(reading(level_1(s)), beg_run=7).reject(4),),
        (
            lambda s: asked(reading(level_1(s)), beg_run=7).reject(4, data_sn=2),
            lambda s: asked(level_1(s).read().data_in(), exp_stat_sn=STATUS, beg_run=7).reject(4, data_sn=1),
            lambda s: asked(reading(level_1(s)), beg_run=7).reject(3),
            being_ended,
        ),
    ),
    "snack.good-after-reject": (
        (
            lambda s: rest(asked(reading(level_1(s))).reject(3)),
            lambda s: asked(level_1(s).read()).reject(3).response(),
        ),
        (
            lambda s: asked(reading(level_1(s))).reject(3).check_condition(underflow=True, residual_count=8192),
            lambda s: asked(level_1(s).read().data_in(), exp_stat_sn=STATUS).reject(3),
        ),
    ),
    "snack.r-data-start": (
        (
            lambda s: anew(reading(level_1(s, DataPDUInOrder="No"))).data_in(
                4096, data_sn=1, buffer_offset=8192, **PART
            ),
            lambda s: anew(reading(level_1(s))).data_in(4096, data_sn=1, **PART),
        ),
        (
            lambda s: anew(reading(level_1(s))).data_in(16384, **PART).response(snack_tag=9, exp_data_sn=1),
            lambda s: anew(reading(level_1(s))).data_in(4096, data_sn=2, buffer_offset=8192, **PART),
            lambda s: anew(acked(level_1(s))).data_in(4096, data_sn=2, buffer_offset=8192, **PART),
        ),
    ),
    "snack.r-data-status": (
        (lambda s: again_answered(s, stat_sn=STATUS + 1),),
        (lambda s: again_answered(s, stat_sn=STATUS),),
    ),
    "snack.r-data-response-tag": (
        (
            lambda s: again_answered(s, stat_sn=STATUS, snack_tag=0),
            lambda s: anew(reading(level_1(s))).data_in(16384, **PART).response(exp_data_sn=1),
        ),
        (
            lambda s: again_answered(s, stat_sn=STATUS),
            lambda s: anew(reading(level_1(s))).data_in(16384, **PART).response(snack_tag=9, exp_data_sn=1),
        ),
    ),
    "resent.status-renumbered": (
        (
            lambda s: level_1(s).command().response().snack(1, exp_stat_sn=STATUS).response(),
            lambda s: asked(level_1(s).read().data_in(), exp_stat_sn=STATUS).again(stat_sn=STATUS + 1),
        ),
        (lambda s: level_1(s).command().response().snack(1, exp_stat_sn=STATUS).response(stat_sn=STATUS),),
    ),
    "resent.other-connection": (
        (
            lambda s: pair(s, "1").command().response().snack(1, exp_stat_sn=STATUS).on(2).response(stat_sn=2001),
            lambda s: asked(pair(s, "1").read().data_in(), exp_stat_sn=STATUS).on(2).again(),
        ),
        (lambda s: asked(pair(s, "1").read().data_in(), exp_stat_sn=STATUS).again(),),
    ),
    "resent.status-differs": (
        (
            lambda s: level_1(s).command().response().snack(1, exp_stat_sn=STATUS).again(status=8),
            lambda s: level_1(s).nop_out(data=b"a").nop_in(data=b"a").snack(1, exp_stat_sn=STATUS).again(data=b"b"),
        ),
        (
            lambda s: level_1(s).command().response().snack(1, exp_stat_sn=STATUS).again(),
            lambda s: level_1(s).command().response().snack(1, exp_stat_sn=STATUS).again(max_cmd_sn=150),
            lambda s: anew(level_1(s).read().data_in(), exp_stat_sn=STATUS).response(stat_sn=STATUS, snack_tag=9),
        ),
    ),
    "resent.old-counters": (
        (lambda s: crossed(level_1(s)).again(2, max_cmd_sn=FIRST + 34), lambda s: crossed(level_1(s)).again(2)),
        (lambda s: crossed(level_1(s)).again(2, exp_cmd_sn=FIRST + 2, max_cmd_sn=FIRST + 34),),
    ),
    "resent.r2t-differs": (
        (
            lambda s: asked(level_1(s).write().r2t()).again(ttt=0x77),
            lambda s: level_1(s).write().r2t().again(desired_data_transfer_length=512),
        ),
        (
            lambda s: asked(level_1(s).write().r2t()).again().data_out().response(),
            lambda s: level_1(s).write().r2t().again(),
        ),
    ),
    "resent.data-differs": (
        (
            lambda s: asked(reading(level_1(s), 1)).again(data=b"\1" + bytes(4095)),
            lambda s: asked(reading(level_1(s), 1)).again(buffer_offset=4096),
            lambda s: asked(reading(level_1(s), 1)).again(acknowledge=True, ttt=3),
            lambda s: asked(level_1(s).read().data_in(), exp_stat_sn=STATUS).again(data=b"\1" + bytes(4095)),
        ),
        (
            lambda s: rest(asked(reading(level_1(s), 1)).again()),
            lambda s: asked(reading(level_1(s), 1)).again(max_cmd_sn=140),
            aborted_elsewhere,
        ),
    ),
    "digest.reject-reason": (
        (lambda s: damaged(s).reject(4),),
        (lambda s: level_1(s).command().reject(4),),
    ),
    "digest.reject-missing": (
        (lambda s: damaged(s).logout(cmd_sn=FIRST).logout_response(exp_cmd_sn=FIRST),),
        (lambda s: level_1(s, **DIGESTS).command().reject(2).logout().logout_response(),),
    ),
    "digest.damaged-request-served": (
        (
            lambda s: damaged(s).response(exp_cmd_sn=FIRST),
            lambda s: damaged(s).r2t(exp_cmd_sn=FIRST),
        ),
        (lambda s: level_1(s, **DIGESTS).write(512, 512).reject(2).write(512, 512, itt=1).response(),),
    ),
    "digest.damaged-header-served": (
        (lambda s: damaged(s, mangled).response(exp_cmd_sn=FIRST),),
        (lambda s: level_1(s).command().response(),),
    ),
    "digest.damaged-status-acknowledged": (
        (lambda s: level_1(s, **DIGESTS).command().check_condition(edit=spoilt).command(),),
        (lambda s: confirmed(level_1(s).command().response()),),
    ),
    "command.retry-needless": (
        (lambda s: confirmed(reported(level_1(s))).command(itt=1, cmd_sn=FIRST),),
        (
            lambda s: reported(level_1(s)).command(itt=1, cmd_sn=FIRST, exp_stat_sn=STATUS),
            lambda s: level_1(s).command().command(itt=1, cmd_sn=FIRST).response(exp_cmd_sn=FIRST + 1),
        ),
    ),
    "command.retry-on-other-connection": (
        (
            lambda s: pair(s).command().on(2).command(itt=1, cmd_sn=FIRST),
            lambda s: pair(s).command().transport(TransportEvent.RST).on(2).command(itt=1, cmd_sn=FIRST),
        ),
        (
            lambda s: pair(s).command().command(itt=1, cmd_sn=FIRST),
            lambda s: broken(pair(s).command(), exp_cmd_sn=FIRST).command(itt=1, cmd_sn=FIRST).response(),
        ),
    ),
    "reassign.before-logout": (
        (
            lambda s: pending(pair(s).read().on(2)),
            lambda s: pending(pair(s).read().transport(TransportEvent.RST).on(2)),
        ),
        (lambda s: rest(resumed(pair(s).read())),),
    ),
    "reassign.exp-data-sn": (
        (
            lambda s: resumed(reading(pair(s)), exp_data_sn=3),
            lambda s: resumed(acked(pair(s)), exp_data_sn=1),
        ),
        (
            lambda s: resumed(reading(pair(s)), exp_data_sn=2),
            lambda s: resumed(acked(pair(s)), exp_data_sn=2),
            lambda s: resumed(acked(pair(s))),
        ),
    ),
    "reassign.at-low-level": (
        (
            lambda s: taken_over(pair(s, "1").read()),
            lambda s: taken_over(pair(s, "1").read(), response=5),
        ),
        (lambda s: taken_over(pair(s, "1").read(), response=4),),
    ),
    "reassign.of-allegiant-task": (
        (lambda s: taken_over(pair(s).read().on(2)),),
        (lambda s: taken_over(broken(pair(s).read())),),
    ),
    "reassign.still-allegiant": (
        (lambda s: taken_over(broken(pair(s).read()), response=3),),
        (lambda s: taken_over(broken(pair(s).read()), response=255),),
    ),
    "reassign.not-supported": (
        (
            lambda s: taken_over(broken(pair(s).read()), response=4),
            lambda s: taken_over(broken(pair(s).read()), response=5),
        ),
        (lambda s: taken_over(broken(pair(s).read()), response=255),),
    ),
    "reassign.task-gone": (
        (lambda s: taken_over(broken(pair(s).read()), response=1),),
        (
            lambda s: rest(resumed(pair(s).read())),
            lambda s: pending(broken(pair(s).read(), exp_cmd_sn=FIRST)).tmf_response(
                itt=3, response=1, exp_cmd_sn=FIRST
            ),
        ),
    ),
    "reassign.of-no-command": (
        (lambda s: taken_over(broken(pair(s).text())), lambda s: taken_over(pair(s).text())),
        (lambda s: taken_over(broken(pair(s).read())),),
    ),
    "reassign.before-response": (
        (
            lambda s: rest(pending(broken(pair(s).read()))),
            lambda s: pending(broken(pair(s).write())).r2t(),
        ),
        (lambda s: resumed(pair(s).write()).r2t().data_out().response(),),
    ),
    "reassign.data-skipped": (
        (lambda s: resumed(reading(pair(s))).data_in(4096, data_sn=2, **PART),),
        (
            lambda s: rest(resumed(reading(pair(s)))),
            lambda s: resumed(reading(pair(s)), exp_data_sn=2).data_in(4096, data_sn=2, buffer_offset=8192, **PART),
        ),
    ),
}


def unknown(raw: RawPdu) -> RawPdu:
    """An opcode left to vendors."""
    return raw.with_bytes(0, b"\x1e")


def reported(s: Script) -> Script:
    """A command is answered after another one, so that its acknowledgement is known."""
    s.command()
    return s.command().response()


def again_answered(s: Script, **fields: Any) -> Script:
    """A read that was answered already is asked for anew, and answered again."""
    anew(reading(level_1(s), 1).data_in(12288), exp_stat_sn=STATUS)
    return s.data_in(16384, **PART).response(**{"snack_tag": 9, "exp_data_sn": 1} | fields)
