"""What initiators do wrong when the target speaks up: Asynchronous Messages, Rejects, lost connections (RFC 7143 sections
7.3, 7.5, 11.9 and 11.17).
"""

from __future__ import annotations

from iscsi_initiator.faults import behaves, sends, takes_for
from iscsi_protocol.fault import Drop, FieldIs, Insert, Of, Plus, Relation, Set, Template
from iscsi_protocol.pdu import NO_LUN, LogoutReason, Opcode, ScsiCommand

_LOGOUT = Opcode.LOGOUT_REQUEST
_COMMAND = Opcode.SCSI_COMMAND
_LOGIN = Opcode.LOGIN_REQUEST
_WITH_DATA = (FieldIs("data_length", 0, Relation.ABOVE),)
_AGAIN = (FieldIs("cmd_sn", 1, Relation.ABOVE),)

FAULTS = (
    behaves("iasync.stays", "A request to log out is not followed.", ignore_logout_request=True),
    sends(
        "iasync.logs-out-to-recover",
        "The logout that was asked for has reason 2.",
        _LOGOUT,
        Set("reason", LogoutReason.RECOVERY),
    ),
    sends(
        "iasync.one-more-command",
        "A command is sent where a logout was asked for.",
        _LOGOUT,
        Insert(Template(ScsiCommand, {"itt": 0x74, "cmd_sn": Of("cmd_sn")}), before=True),
    ),
    takes_for(
        "iasync.does-not-wait",
        "The time to wait that the target announced does not matter.",
        Opcode.ASYNC_MESSAGE,
        Set("parameter2", 0),
    ),
    behaves("iasync.does-not-negotiate", "A request to negotiate is not followed.", ignore_negotiation_request=True),
    sends("iasync.no-lun", "The tasks' end is acknowledged without the LUN.", Opcode.NOP_OUT, Set("lun", NO_LUN)),
    sends(
        "ireject.number-changes",
        "A command that is sent again has another CmdSN.",
        _COMMAND,
        Set("cmd_sn", Plus(1)),
        tests=_WITH_DATA,
        nth=2,
    ),
    sends(
        "ireject.attribute-changes",
        "A command that is sent again has another task attribute.",
        _COMMAND,
        Set("attribute", 2),
        tests=_WITH_DATA,
        nth=2,
    ),
    sends(
        "ireject.leaves-the-gap",
        "The number of a rejected request is never sent again.",
        Opcode.NOP_OUT,
        Drop(),
        tests=(FieldIs("immediate", False),),
        times=0,
    ),
    behaves("irecovery.does-not-wait", "The initiator comes back at once.", ignore_time2wait=True),
    behaves("irecovery.another-isid", "The initiator comes back as somebody else.", new_isid_on_recovery=True),
    sends(
        "irecovery.old-tsih",
        "The old TSIH is given for reinstatement.",
        _LOGIN,
        Set("tsih", 0x0707),
        tests=_AGAIN,
        times=0,
    ),
    sends("irecovery.never-returns", "The initiator does not come back.", _LOGIN, Drop(), tests=_AGAIN, times=0),
)
