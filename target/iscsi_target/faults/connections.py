"""What targets do wrong with sessions of several connections (RFC 7143 sections 4.2, 6.3.1, 8.1.2 and 11.14).

CID 0 is the leading connection of the cases, CID 1 the added one.
"""

from __future__ import annotations

from iscsi_protocol.fault import (
    Drop,
    Fault,
    FieldIs,
    Insert,
    Of,
    Part,
    Plus,
    Relation,
    Replace,
    Set,
    Template,
    When,
)
from iscsi_protocol.pdu import R2T, LogoutReason, Opcode, TaskFunction, TaskResponse
from iscsi_protocol.stream import Direction
from iscsi_target.faults import NEXT_NUMBERS, behaves, sends, takes_for, together
from iscsi_target.faults.login import status

_MEDIUM = (FieldIs("data_length", 64, Relation.ABOVE),)
_BACK = Direction.TO_INITIATOR


FAULTS = (
    takes_for(
        "connections.takes-the-first-ones-place",
        "A connection of another CID replaces the first one.",
        Opcode.LOGIN_REQUEST,
        Set("cid", 0),
        cid=1,
    ),
    sends(
        "connections.two-at-most",
        "A third connection is one too many whatever was agreed on.",
        Opcode.LOGIN_RESPONSE,
        *status(0x0206),
        cid=2,
    ),
    sends(
        "connections.data-goes-elsewhere",
        "Read data of the second connection's commands does not come there.",
        Opcode.SCSI_DATA_IN,
        Drop(),
        tests=_MEDIUM,
        cid=1,
        renumber=True,
    ),
    together(
        "connections.r2t-goes-elsewhere",
        "R2Ts for the second connection's writes come on the first.",
        Fault(when=When(direction=_BACK, opcode=Opcode.R2T, cid=1, times=0), what=(Drop(),)),
        Fault(
            when=When(direction=_BACK, opcode=Opcode.NOP_IN, cid=0, times=0),
            what=(
                Insert(
                    Template(
                        R2T,
                        {"itt": Of("trigger.itt", -1), "ttt": 5, "desired_data_transfer_length": 512, **NEXT_NUMBERS},
                    ),
                    before=True,
                ),
            ),
        ),
    ),
    sends(
        "connections.functions-answered-elsewhere",
        "Task management requests of the second connection are not answered there.",
        Opcode.TASK_MANAGEMENT_RESPONSE,
        Drop(),
        cid=1,
        renumber=True,
    ),
    sends(
        "connections.text-answered-elsewhere",
        "Text Requests of the second connection are not answered there.",
        Opcode.TEXT_RESPONSE,
        Drop(),
        cid=1,
        renumber=True,
    ),
    takes_for(
        "connections.data-taken-on-the-first-only",
        "Data-Out on another than the leading connection is lost.",
        Opcode.SCSI_DATA_OUT,
        Drop(),
        cid=1,
    ),
    behaves(
        "connections.each-in-its-own-order",
        "A command does not wait for one that has to come on another connection.",
        deliver_out_of_order=True,
    ),
    sends(
        "connections.window-of-its-own",
        "ExpCmdSN on the second connection does not count all commands of the first.",
        Opcode.SCSI_RESPONSE,
        Set("exp_cmd_sn", Plus(-1)),
        Set("max_cmd_sn", Plus(-1)),
        cid=1,
    ),
    sends(
        "connections.counts-its-own-gap",
        "The second connection does not know of the gap in what came on the first.",
        Opcode.NOP_IN,
        Set("exp_cmd_sn", Plus(2)),
        Set("max_cmd_sn", Plus(2)),
        cid=1,
    ),
    sends(
        "connections.one-status-count",
        "StatSN on the second connection counts what the first one was sent.",
        Opcode.SCSI_RESPONSE,
        Set("stat_sn", Plus(3)),
        cid=1,
        nth=2,
    ),
    sends(
        "connections.digests-of-the-first",
        "The second connection has the first one's header digests.",
        Opcode.NOP_IN,
        Replace(Part.HEADER_DIGEST, b"\x01\x02\x03\x04"),
        cid=1,
    ),
    takes_for(
        "connections.join-clears-tasks",
        "Tasks end when a connection joins the session.",
        Opcode.SCSI_DATA_OUT,
        Drop(),
        cid=0,
    ),
    sends(
        "connections.logout-unanswered",
        "The logout of one of several connections is not answered.",
        Opcode.LOGOUT_RESPONSE,
        Drop(),
        renumber=True,
    ),
    behaves(
        "connections.stays-behind-logout", "A connection that was logged out is not closed.", stay_after_logout=True
    ),
    sends(
        "connections.logout-restarts-numbers",
        "CmdSN steps back with the logout of a connection.",
        Opcode.SCSI_RESPONSE,
        Set("exp_cmd_sn", Plus(-2)),
        Set("max_cmd_sn", Plus(-2)),
        cid=0,
    ),
    sends(
        "connections.logged-out-for-show",
        "A connection that was logged out still counts.",
        Opcode.LOGIN_RESPONSE,
        *status(0x0206),
        cid=2,
    ),
    takes_for(
        "connections.ends-with-the-leading-one",
        "The session ends with its leading connection.",
        Opcode.LOGOUT_REQUEST,
        Set("reason", LogoutReason.CLOSE_SESSION),
        cid=0,
    ),
    sends(
        "connections.logout-leaves-tasks",
        "Tasks of a connection that was logged out are still there.",
        Opcode.TASK_MANAGEMENT_RESPONSE,
        Set("response", TaskResponse.FUNCTION_COMPLETE),
    ),
    takes_for(
        "connections.logout-ends-all-tasks",
        "The logout of one connection ends the tasks of all.",
        Opcode.SCSI_DATA_OUT,
        Drop(),
        cid=0,
    ),
    behaves(
        "connections.cleared-untold", "No unit attention tells of tasks that a logout ended.", silent_clearing=True
    ),
    takes_for(
        "connections.session-logout-closes-one",
        "A logout of the session closes only the connection that it came on.",
        Opcode.LOGOUT_REQUEST,
        Set("reason", LogoutReason.CLOSE_CONNECTION),
        tests=(FieldIs("reason", LogoutReason.CLOSE_SESSION),),
    ),
    takes_for(
        "connections.closes-the-wrong-one",
        "A logout closes the connection that it came on, whatever CID it names.",
        Opcode.LOGOUT_REQUEST,
        Set("cid", 0),
        cid=0,
    ),
    sends(
        "connections.any-cid-is-there",
        "The logout of a connection that is not there succeeds.",
        Opcode.LOGOUT_RESPONSE,
        Set("response", 0),
    ),
    together(
        "connections.aborts-its-own-tasks-only",
        "ABORT TASK SET leaves the tasks of other connections alone.",
        Fault(
            when=When(direction=Direction.TO_TARGET, opcode=Opcode.TASK_MANAGEMENT_REQUEST, times=0),
            what=(Set("function", TaskFunction.ABORT_TASK), Set("referenced_task_tag", 0x7777)),
        ),
        Fault(
            when=When(direction=_BACK, opcode=Opcode.TASK_MANAGEMENT_RESPONSE, times=0),
            what=(Set("response", TaskResponse.FUNCTION_COMPLETE),),
        ),
    ),
    sends(
        "connections.asks-on-another-one",
        "The request to log a connection out does not come there.",
        Opcode.ASYNC_MESSAGE,
        Drop(),
        cid=0,
        renumber=True,
    ),
)
