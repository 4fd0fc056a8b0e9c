"""What initiators do wrong with task management and logout (RFC 7143 sections 7.11, 11.5 and 11.14)."""

from __future__ import annotations

from iscsi_initiator.faults import behaves, sends, takes_for
from iscsi_protocol.fault import Drop, FieldIs, Insert, Of, Part, Plus, Replace, Set, Template
from iscsi_protocol.pdu import NO_LUN, LogoutReason, NopOut, Opcode, ScsiCommand

_TASK = Opcode.TASK_MANAGEMENT_REQUEST
_LOGOUT = Opcode.LOGOUT_REQUEST

FAULTS = (
    sends("itask.other-ref-cmd-sn", "RefCmdSN is that of another command.", _TASK, Set("ref_cmd_sn", Plus(-1))),
    sends(
        "itask.ref-cmd-sn-ahead", "RefCmdSN is that of a command to come.", _TASK, Set("ref_cmd_sn", Of("cmd_sn", 3))
    ),
    sends("itask.no-lun", "The request does not name the LUN.", _TASK, Set("lun", NO_LUN)),
    sends(
        "itask.lun-for-target",
        "A reset of the target names a LUN.",
        _TASK,
        Set("lun", bytes.fromhex("0001") + bytes(6)),
    ),
    sends("itask.tag-without-need", "A reset refers to a task.", _TASK, Set("referenced_task_tag", 5)),
    sends("itask.ref-cmd-sn-without-need", "A reset has a RefCmdSN.", _TASK, Set("ref_cmd_sn", 9)),
    sends("itask.with-data", "The request carries data.", _TASK, Replace(Part.DATA, b"data")),
    behaves("itask.forgets-late-commands", "A command that got no answer is forgotten.", no_escalation=True),
    sends("ilogout.with-data", "A logout carries data.", _LOGOUT, Replace(Part.DATA, b"data")),
    sends(
        "ilogout.ping-behind",
        "A ping goes out behind the logout.",
        _LOGOUT,
        Insert(Template(NopOut, {"immediate": True, "itt": 0x72, "cmd_sn": Of("cmd_sn")})),
    ),
    sends(
        "ilogout.command-behind",
        "A command goes out behind the logout of the session.",
        _LOGOUT,
        Insert(Template(ScsiCommand, {"itt": 0x73, "cmd_sn": Of("cmd_sn")})),
    ),
    sends(
        "ilogout.acknowledges-for-carrier",
        "A logout for recovery has the ExpStatSN of the connection that it goes out on.",
        _LOGOUT,
        Set("exp_stat_sn", Of("stat_sn")),
        tests=(FieldIs("reason", LogoutReason.RECOVERY),),
    ),
    takes_for("ilogout.stays", "The connection is kept behind the logout.", Opcode.LOGOUT_RESPONSE, Drop()),
)
