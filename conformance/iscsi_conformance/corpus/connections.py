"""Each rule about the connections of a session, what ends several tasks, and RFC 7144: broken, and all but broken."""

from __future__ import annotations

from typing import Any

from iscsi_conformance.corpus.script import Script
from iscsi_conformance.corpus.table import Sample, Table
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu import NO_TAG

LUN_1 = b"\0\1" + bytes(6)
TWO = {"MaxConnections": "2"}
FIRST = 100
LEVEL_2 = {"iSCSIProtocolLevel": "2"}
QUERY = {"function": 9, "referenced_task_tag": 1}


def pair(s: Script, **keys: Any) -> Script:
    """Two connections of one session; the script speaks on the first one."""
    s.ready(**TWO, **keys)
    s.cid = 1
    return s.connect(2).login_request().login_response().on(1)


def recoverable(s: Script, **keys: Any) -> Script:
    """Two connections at ErrorRecoveryLevel 2."""
    return pair(s, ErrorRecoveryLevel="2", **keys)


def broken(s: Script) -> Script:
    """The first of two connections breaks; the script speaks on the second."""
    return recoverable(s).read().transport(TransportEvent.RST).on(2)


def logged_out(s: Script, **response: Any) -> Script:
    """Its CID is logged out for recovery in good time."""
    broken(s).wait(3).logout(2, cid=0)
    return s.logout_response(**{"time2wait": 0, "time2retain": 20} | response)


def third(s: Script, **fields: Any) -> Script:
    """One more connection."""
    return s.connect(3).login_request(cid=2).login_response(**fields)


def again(s: Script, cid: int = 0) -> Script:
    """A login takes the place of a connection."""
    return s.connect(3).login_request(cid=cid)


def reported(s: Script, how: str, **keys: Any) -> Script:
    """A read of LUN 0 is answered on the second connection, and an ABORT TASK SET goes out on the first."""
    pair(s, TaskReporting=how, **keys)
    s.on(2).read().data_in()
    return s.on(1)


def acknowledged(s: Script, number: int = 2) -> Script:
    """The initiator acknowledges what came on that connection."""
    here = s.connection
    return s.on(number).nop_out(itt=NO_TAG).on(here)


def fenced(s: Script, how: str = "ResponseFence", **tmf: Any) -> Script:
    """An LU reset of LUN 0 is answered on the first connection, and two reads are open on LUN 0 and 1."""
    pair(s, TaskReporting=how)
    s.tmf(5, **tmf).tmf_response()
    return s.on(2)


def affected(s: Script, event: bool = True, **fields: Any) -> Script:
    """Under FastAbort a task of the second connection is affected by a request on the first."""
    pair(s, TaskReporting="FastAbort").on(2).read().on(1).tmf(5)
    request = s.task
    if event:
        s.on(2).asynchronous(5).nop_out(itt=NO_TAG).on(1)
    s.task = request
    return s.tmf_response(**fields)


def abort_of_first(s: Script, **response: Any) -> Script:
    """ABORT TASK for the task with tag 1."""
    s.tmf(1, referenced_task_tag=1, ref_cmd_sn=FIRST)
    return s.tmf_response(**response)


def aborted_tmf(s: Script, function: int, **response: Any) -> Script:
    """Something about a task management request that is not answered yet."""
    s.ready(**LEVEL_2).tmf(5, itt=1)
    s.tmf(function, referenced_task_tag=1, ref_cmd_sn=FIRST)
    return s.tmf_response(**response)


def two_aborts(s: Script) -> Script:
    """The request in question was answered before."""
    s.ready().tmf(5, itt=1).tmf_response()
    return s.tmf(1, referenced_task_tag=1, ref_cmd_sn=FIRST).tmf_response(response=1)


def soliciting(s: Script, how: str = "FastAbort") -> Script:
    """A write has an R2T to answer when its LU is reset."""
    s.ready(TaskReporting=how).write().r2t()
    write = s.task
    s.tmf(5)
    s.task = write
    return s


def terminated(s: Script) -> Script:
    """Event 5 comes while a write has an R2T to answer."""
    return s.ready(TaskReporting="FastAbort").write().r2t().asynchronous(5)


def answered(s: Script, **fields: Any) -> Script:
    """The initiator answers it."""
    write = s.task
    s.nop_out(itt=NO_TAG, **fields)
    s.task = write
    return s


def _function(code: int) -> Sample:
    return lambda s: s.ready().tmf(code)


TABLE: Table = {
    "mcs.answer-on-other-connection": (
        (
            lambda s: pair(s).nop_out().on(2).nop_in(),
            lambda s: pair(s).tmf().on(2).tmf_response(),
            lambda s: pair(s).text().on(2).text_response(),
            lambda s: pair(s).logout().on(2).logout_response(),
        ),
        (lambda s: pair(s).nop_out().nop_in().tmf().tmf_response().text().text_response().logout().logout_response(),),
    ),
    "login.joined-other-tsih": (
        (lambda s: third(s.ready(**TWO), tsih=9),),
        (lambda s: third(s.ready(**TWO), tsih=7),),
    ),
    "login.too-many-connections": (
        (lambda s: third(pair(s)), lambda s: third(s.ready())),
        (
            lambda s: third(pair(s).transport(TransportEvent.RST)),
            lambda s: third(pair(s).logout(1, cid=0).logout_response()),
            lambda s: again(pair(s).transport(TransportEvent.RST).wait(3)).login_response(),
        ),
    ),
    "login.reinstates-live-connection": (
        (lambda s: again(pair(s)),),
        (
            lambda s: again(pair(s).transport(TransportEvent.FIN).wait(3)),
            lambda s: again(pair(s).on(2).asynchronous(2, parameter1=0)),
        ),
    ),
    "recovery.before-time2wait": (
        (lambda s: again(pair(s, DefaultTime2Wait="5").transport(TransportEvent.RST)),),
        (
            lambda s: again(pair(s).transport(TransportEvent.RST).wait(1)),
            lambda s: again(pair(s, DefaultTime2Wait="0").transport(TransportEvent.RST)),
        ),
    ),
    "recovery.logout-before-time2wait": (
        (
            lambda s: broken(s).logout(2, cid=0),
            lambda s: recoverable(s).on(2).asynchronous(2, parameter1=0, parameter2=9).wait(5).logout(2, cid=0),
        ),
        (lambda s: broken(s).wait(1).logout(2, cid=0), lambda s: broken(s).logout(2, cid=1)),
    ),
    "recovery.reassign-before-time2wait": (
        (lambda s: logged_out(s, time2wait=5).wait(3).tmf(8, referenced_task_tag=1),),
        (lambda s: logged_out(s, time2wait=5).wait(4).tmf(8, referenced_task_tag=1).tmf_response(),),
    ),
    "recovery.after-time2retain": (
        (lambda s: logged_out(s, time2retain=5).wait(5).tmf(8, referenced_task_tag=1),),
        (lambda s: logged_out(s, time2retain=5).wait(3).tmf(8, referenced_task_tag=1),),
    ),
    "logout.request-after-session-logout": (
        (
            lambda s: pair(s).logout(0).on(2).command(),
            lambda s: pair(s).logout(0, immediate=False).on(2).command(),
        ),
        (
            lambda s: pair(s).command().on(2).logout(0, cmd_sn=FIRST + 1),
            lambda s: pair(s).logout(1, cid=0).on(2).command(),
            lambda s: pair(s).on(2).logout(0, immediate=False, cmd_sn=FIRST + 1).on(1).command(cmd_sn=FIRST),
        ),
    ),
    "logout.cid-denied": (
        (
            lambda s: pair(s).logout(1, cid=0).logout_response(response=1),
            lambda s: pair(s).logout(1, cid=1).logout_response(response=1),
        ),
        (
            lambda s: pair(s).logout(1, cid=5).logout_response(response=1),
            lambda s: broken(s).wait(3).logout(2, cid=0).logout_response(response=1),
        ),
    ),
    "logout.session-cid-denied": (
        (lambda s: s.ready().logout(0).logout_response(response=1),),
        (lambda s: s.ready().logout(0).logout_response(response=3),),
    ),
    "logout.recovery-denied": (
        (
            lambda s: broken(s).wait(3).logout(2, cid=0).logout_response(response=2),
            lambda s: s.ready().logout(1).logout_response(response=2),
        ),
        (lambda s: pair(s, ErrorRecoveryLevel="1").logout(2, cid=1).logout_response(response=2),),
    ),
    "async.command-after-logout-request": (
        (lambda s: s.ready().asynchronous(1, parameter3=5).nop_out(itt=NO_TAG).command(),),
        (
            lambda s: s.ready().asynchronous(1, parameter3=5).command(exp_stat_sn=1001),
            lambda s: pair(s).asynchronous(1, parameter3=5).nop_out(itt=NO_TAG).on(2).command(),
        ),
    ),
    "tmf.level-2-function": (
        tuple(_function(code) for code in (9, 10, 11, 12)),
        (lambda s: s.ready(**LEVEL_2).tmf(10), lambda s: s.ready().tmf(7)),
    ),
    "tmf.query-ref-cmd-sn": (
        (
            lambda s: s.ready(**LEVEL_2).read().tmf(**QUERY, ref_cmd_sn=FIRST + 1),
            lambda s: (
                s.ready(**LEVEL_2)
                .command()
                .read(immediate=True)
                .tmf(**QUERY | {"referenced_task_tag": 2}, ref_cmd_sn=FIRST)
            ),
        ),
        (lambda s: s.ready(**LEVEL_2).read().tmf(**QUERY, ref_cmd_sn=FIRST).tmf_response(response=7),),
    ),
    "tmf.query-on-other-connection": (
        (lambda s: pair(s, **LEVEL_2).read().on(2).tmf(**QUERY, ref_cmd_sn=FIRST),),
        (
            lambda s: pair(s, **LEVEL_2).read().tmf(**QUERY, ref_cmd_sn=FIRST),
            lambda s: pair(s, **LEVEL_2).read().transport(TransportEvent.RST).on(2).tmf(**QUERY, ref_cmd_sn=FIRST),
        ),
    ),
    "tmf.function-succeeded": (
        (
            lambda s: s.ready().tmf(5).tmf_response(response=7),
            lambda s: s.ready(**LEVEL_2).tmf(5).tmf_response(response=7),
        ),
        (lambda s: s.ready(**LEVEL_2).tmf(12).tmf_response(response=7),),
    ),
    "tmf.abort-of-tmf": (
        (lambda s: aborted_tmf(s, 1, response=0),),
        (lambda s: aborted_tmf(s, 1, response=255), two_aborts),
    ),
    "tmf.query-of-tmf": (
        (lambda s: aborted_tmf(s, 9, response=7),),
        (lambda s: aborted_tmf(s, 9, response=255), lambda s: aborted_tmf(s, 9, response=5)),
    ),
    "tmf.live-task-denied": (
        (lambda s: abort_of_first(s.ready().read().nop_in(itt=NO_TAG), response=1),),
        (
            lambda s: abort_of_first(s.ready().read(), response=0),
            lambda s: abort_of_first(s.ready().read().data_in(), response=1),
            lambda s: abort_of_first(logged_out(s, time2retain=0), response=1),
            lambda s: abort_of_first(s.ready().read().nop_in(itt=NO_TAG).tmf(5), response=1),
        ),
    ),
    "tmf.ended-task-aborted": (
        (lambda s: abort_of_first(s.ready().read().data_in(), response=0),),
        (
            lambda s: abort_of_first(s.ready().read().data_in(), response=1),
            lambda s: s.ready().command().tmf(1, referenced_task_tag=7, ref_cmd_sn=FIRST).tmf_response(response=0),
        ),
    ),
    "tmf.fence-not-awaited": (
        (
            lambda s: reported(s, "ResponseFence").tmf(2).tmf_response(),
            lambda s: reported(s, "FastAbort").tmf(5).tmf_response(),
            lambda s: reported(s, "ResponseFence").tmf(6).tmf_response(),
        ),
        (
            lambda s: acknowledged(reported(s, "ResponseFence").tmf(2)).on(1).tmf_response(itt=2),
            lambda s: reported(s, "ResponseFence").tmf(2, lun=LUN_1).tmf_response(),
        ),
    ),
    "tmf.abort-not-confirmed": (
        (
            lambda s: reported(s, "RFC3720").tmf(2).tmf_response(),
            lambda s: reported(s, "RFC3720").tmf(4).tmf_response(),
        ),
        (
            lambda s: acknowledged(reported(s, "RFC3720").tmf(2)).tmf_response(itt=2),
            lambda s: reported(s, "RFC3720").tmf(2).tmf_response(response=5),
        ),
    ),
    "tmf.status-inside-fence": (
        (
            lambda s: fenced(s).read().data_in(),
            lambda s: fenced(s).command().response(),
            lambda s: fenced(s).on(1).command(exp_stat_sn=1001).response(),
        ),
        (
            lambda s: fenced(s).on(1).command().response(),
            lambda s: acknowledged(fenced(s), 1).read().data_in(),
            lambda s: fenced(s).read(lun=LUN_1).data_in(),
            lambda s: fenced(s, "RFC3720").read().data_in(),
        ),
    ),
    "tmf.fast-abort-without-event": (
        (lambda s: affected(s, event=False),),
        (affected, lambda s: affected(s, event=False, response=5)),
    ),
    "dataout.after-fast-abort": (
        (lambda s: soliciting(s).data_out(), lambda s: soliciting(s).tmf_response(itt=2).data_out()),
        (
            lambda s: soliciting(s, "ResponseFence").data_out(),
            lambda s: s.ready(TaskReporting="FastAbort").write().r2t().data_out().tmf(5).tmf_response(),
        ),
    ),
    "dataout.after-termination": (
        (lambda s: answered(terminated(s)).data_out(),),
        (lambda s: answered(terminated(s).data_out(exp_stat_sn=1001)),),
    ),
    "async.termination-unanswered": (
        (
            lambda s: terminated(s).logout(),
            lambda s: answered(terminated(s), lun=LUN_1).logout(),
        ),
        (lambda s: answered(terminated(s)).logout(), lambda s: terminated(s).logout(exp_stat_sn=1001)),
    ),
}
