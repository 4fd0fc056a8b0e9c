"""What targets do wrong at recovery level 2 (RFC 7143 sections 7.2.2, 7.5, 7.14, 11.5.6, 11.14 and Appendix E.1).

In the cases tasks move from CID 1 to CID 0, and reads have 8 segments of 512 bytes.
"""

from __future__ import annotations

from iscsi_protocol.fault import Drop, Fault, FieldIs, Hold, Insert, NamedFault, Of, Relation, Set, Template, When
from iscsi_protocol.pdu import Opcode, ScsiResponse, TaskFunction, TaskResponse
from iscsi_protocol.stream import Direction
from iscsi_target.faults import NEXT_NUMBERS, SAME_NUMBERS, behaves, sends, takes_for, together
from iscsi_target.faults.retention import retains

_MEDIUM = FieldIs("data_length", 64, Relation.ABOVE)
_FUNCTION = Opcode.TASK_MANAGEMENT_RESPONSE
_REASSIGN = (FieldIs("function", TaskFunction.TASK_REASSIGN),)
_SNACK_TAG = 0x51AC0001


def _says(fault_id: str, says: str, response: int) -> NamedFault:
    """A fault in the response to task management functions."""
    return sends(fault_id, says, _FUNCTION, Set("response", response))


_SHORT = retains("reassign.kept-for-a-second", "Tasks are kept for a second when 4 were agreed on.", "1", "4")

FAULTS = (
    sends(
        "reassign.first-data-left-out",
        "A reassigned read goes on behind the first segment that was not acknowledged.",
        Opcode.SCSI_DATA_IN,
        Drop(),
        tests=(_MEDIUM,),
        cid=0,
        times=1,
    ),
    sends(
        "reassign.no-status",
        "A reassigned read has no status.",
        Opcode.SCSI_DATA_IN,
        Set("status_present", False),
        tests=(_MEDIUM,),
        cid=0,
    ),
    takes_for(
        "reassign.reads-from-the-start",
        "The ExpDataSN of TASK REASSIGN is not heeded.",
        Opcode.TASK_MANAGEMENT_REQUEST,
        Set("exp_data_sn", 0),
        tests=_REASSIGN,
    ),
    takes_for(
        "reassign.takes-any-number",
        "An ExpDataSN past all data is taken for the end of it.",
        Opcode.TASK_MANAGEMENT_REQUEST,
        Set("exp_data_sn", 8),
        tests=(*_REASSIGN, FieldIs("exp_data_sn", 8, Relation.ABOVE)),
    ),
    sends(
        "reassign.finished-command-forgotten",
        "A command whose status was sent once is not answered again.",
        Opcode.SCSI_RESPONSE,
        Drop(),
        cid=0,
        renumber=True,
    ),
    _says(
        "reassign.logout-clears-tasks",
        "Tasks end when their connection is logged out, for recovery or not.",
        TaskResponse.TASK_DOES_NOT_EXIST,
    ),
    sends(
        "reassign.response-comes-late",
        "A reassigned task goes on before the function is answered.",
        _FUNCTION,
        Hold(pdus=1),
    ),
    sends(
        "reassign.second-response-comes-late",
        "A task goes on before its reassignment is answered, where another one was refused.",
        _FUNCTION,
        Hold(pdus=1),
        nth=2,
    ),
    sends(
        "reassign.writes-from-the-start",
        "A reassigned write asks for all its data again.",
        Opcode.R2T,
        Set("buffer_offset", 0),
        cid=0,
    ),
    sends(
        "reassign.goes-on-by-itself",
        "A task whose connection was logged out for recovery is answered on another one unasked.",
        Opcode.NOP_IN,
        Insert(Template(ScsiResponse, {"itt": Of("trigger.itt", -4), **NEXT_NUMBERS}), before=True),
        cid=0,
        nth=3,
        times=1,
        renumber=True,
    ),
    sends(
        "reassign.keeps-snack-tag",
        "The status of a reassigned read has its old SNACK tag.",
        Opcode.SCSI_DATA_IN,
        Set("status_present", False),
        Insert(
            Template(
                ScsiResponse,
                {"itt": Of("trigger.itt"), "snack_tag": _SNACK_TAG, "exp_data_sn": 8, **SAME_NUMBERS},
            )
        ),
        tests=(_MEDIUM, FieldIs("status_present", True)),
        cid=0,
    ),
    takes_for(
        "reassign.old-transfer-tag-is-taken",
        "Data for the transfer tag of the old connection counts for the new one's.",
        Opcode.SCSI_DATA_OUT,
        Set("ttt", Of("open_ttt")),
        cid=0,
    ),
    _says("reassign.steals-tasks", "Any task is reassigned.", TaskResponse.FUNCTION_COMPLETE),
    _says("reassign.pretends", "Every reassignment is told as done.", TaskResponse.FUNCTION_COMPLETE),
    sends(
        "reassign.recovery-refused",
        "A logout for recovery is refused at level 2.",
        Opcode.LOGOUT_RESPONSE,
        Set("response", 2),
    ),
    behaves(
        "reassign.not-closed", "A connection that was logged out for recovery is not closed.", stay_after_logout=True
    ),
    _SHORT,
    together(
        "reassign.kept-shorter-than-told",
        "Tasks are kept for a second when the Logout Response says 4.",
        *_SHORT.faults,
        Fault(
            when=When(direction=Direction.TO_INITIATOR, opcode=Opcode.LOGOUT_RESPONSE, times=0),
            what=(Set("time2retain", 4),),
        ),
    ),
    retains("reassign.kept-for-an-hour", "Tasks are kept for an hour when a second was agreed on.", "3600", "1"),
    behaves("reassign.cleared-untold", "No unit attention tells of tasks that were given up.", silent_clearing=True),
    sends(
        "reassign.tells-no-time",
        "The Logout Response for recovery has no Time2Retain.",
        Opcode.LOGOUT_RESPONSE,
        Set("time2retain", 0),
    ),
)
