"""What targets do wrong with the functions of RFC 7144 (sections 4.1 and 6.3 to 6.5)."""

from __future__ import annotations

from iscsi_protocol.fault import Drop, FieldIs, Insert, NamedFault, Of, Part, Relation, Replace, Set, Template
from iscsi_protocol.pdu import Opcode, Reject, RejectReason, ScsiResponse, TaskFunction, TaskResponse
from iscsi_protocol.stream import Direction
from iscsi_target.faults import NEXT_NUMBERS, behaves, sends, takes_for

_REQUEST = Opcode.TASK_MANAGEMENT_REQUEST
_RESPONSE = Opcode.TASK_MANAGEMENT_RESPONSE


def _instead(fault_id: str, says: str, of: int, response: int) -> NamedFault:
    """A fault that gives another response code in the place of one."""
    return sends(fault_id, says, _RESPONSE, Set("response", response), tests=(FieldIs("response", of),))


FAULTS = (
    sends("queries.unanswered", "The new functions are not answered.", _RESPONSE, Drop(), renumber=True),
    takes_for(
        "queries.rejected",
        "The new functions are rejected.",
        _REQUEST,
        Drop(),
        Insert(
            Template(Reject, {"reason": RejectReason.COMMAND_NOT_SUPPORTED, **NEXT_NUMBERS, "data": bytes(48)}),
            direction=Direction.TO_INITIATOR,
        ),
        tests=(FieldIs("function", 8, Relation.ABOVE),),
        times=1,
    ),
    _instead(
        "queries.task-not-found",
        "A task that is there is not found.",
        TaskResponse.FUNCTION_SUCCEEDED,
        TaskResponse.FUNCTION_COMPLETE,
    ),
    _instead(
        "queries.always-a-task",
        "There always seems to be a task.",
        TaskResponse.FUNCTION_COMPLETE,
        TaskResponse.FUNCTION_SUCCEEDED,
    ),
    _instead(
        "queries.no-event",
        "A unit attention that waits is not told.",
        TaskResponse.FUNCTION_SUCCEEDED,
        TaskResponse.FUNCTION_COMPLETE,
    ),
    sends(
        "queries.tells-nothing-more",
        "The additional response information is empty.",
        _RESPONSE,
        Set("additional_response_information", 0),
    ),
    _instead(
        "queries.function-found",
        "A task management function is found as a task.",
        TaskResponse.FUNCTION_REJECTED,
        TaskResponse.FUNCTION_SUCCEEDED,
    ),
    _instead(
        "queries.function-unknown",
        "A task management function is told as a task that does not exist.",
        TaskResponse.FUNCTION_REJECTED,
        TaskResponse.TASK_DOES_NOT_EXIST,
    ),
    sends(
        "queries.answers-behind-response",
        "A task that a function ended is answered behind the function's response.",
        _RESPONSE,
        Insert(Template(ScsiResponse, {"itt": Of("trigger.itt", -1), **NEXT_NUMBERS})),
        nth=2,
        renumber=True,
    ),
    behaves("queries.nexus-reset-at-once", "I_T NEXUS RESET does not wait for open R2Ts.", skip_abort_wait=True),
    takes_for(
        "queries.nexus-reset-is-a-query",
        "I_T NEXUS RESET drops no connection.",
        _REQUEST,
        Set("function", TaskFunction.QUERY_TASK_SET),
        tests=(FieldIs("function", TaskFunction.I_T_NEXUS_RESET),),
    ),
    sends(
        "queries.session-outlives-reset",
        "The session can be joined behind I_T NEXUS RESET.",
        Opcode.LOGIN_RESPONSE,
        Set("status_class", 0),
        Set("status_detail", 0),
        tests=(FieldIs("status_class", 2),),
    ),
    sends(
        "queries.loss-untold",
        "No unit attention tells of a lost nexus.",
        Opcode.SCSI_RESPONSE,
        Set("status", 0),
        Replace(Part.DATA, b""),
        tests=(FieldIs("status", 2),),
    ),
)
