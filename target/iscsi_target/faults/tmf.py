"""What targets do wrong with task management (RFC 7143 sections 4.2.3.3, 7.2.2, 7.11, 11.5 and 11.6)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Action,
    Drop,
    FieldIs,
    Insert,
    NamedFault,
    Of,
    Part,
    Plus,
    Poke,
    Relation,
    Replace,
    Set,
    Template,
)
from iscsi_protocol.pdu import NO_TAG, Opcode, Reject, RejectReason, ScsiResponse, TaskFunction, TaskResponse
from iscsi_protocol.stream import Direction
from iscsi_target.faults import NEXT_NUMBERS, behaves, sends, takes_for


def _response(
    fault_id: str, says: str, *what: Action, code: int | None = None, nth: int = 1, renumber: bool = False
) -> NamedFault:
    """A fault that changes the responses with this code, or all."""
    tests = () if code is None else (FieldIs("response", code),)
    return sends(fault_id, says, Opcode.TASK_MANAGEMENT_RESPONSE, *what, tests=tests, nth=nth, renumber=renumber)


def _request(fault_id: str, says: str, function: int, *what: Action) -> NamedFault:
    """A fault that makes the target take a request for another, or miss it."""
    return takes_for(fault_id, says, Opcode.TASK_MANAGEMENT_REQUEST, *what, tests=(FieldIs("function", function),))


FAULTS = (
    _response("tmf.unanswered", "Task management requests are not answered.", Drop(), renumber=True),
    _response("tmf.response-with-data", "The response has a data segment.", Replace(Part.DATA, b"done")),
    _response("tmf.response-not-numbered", "The response repeats a StatSN.", Set("stat_sn", Plus(-1))),
    _response("tmf.reserved-bytes-set", "A reserved byte of the response is not zero.", Poke(44, b"\x01")),
    _response("tmf.unknown-code", "The response has a code that nobody defined.", Set("response", 0x40)),
    _response(
        "tmf.live-task-unknown",
        "The abort of a live task is told as that of an unknown one.",
        Set("response", TaskResponse.TASK_DOES_NOT_EXIST),
        code=TaskResponse.FUNCTION_COMPLETE,
    ),
    behaves("tmf.aborted-task-goes-on", "An aborted task goes on and is answered.", execute_aborted_tasks=True),
    _response(
        "tmf.answers-behind-response",
        "A task that the function ended is answered behind the function's response.",
        Insert(Template(ScsiResponse, {"itt": Of("open_itt"), **NEXT_NUMBERS})),
        renumber=True,
    ),
    _response(
        "tmf.ended-task-aborted",
        "The abort of a task that is over succeeds.",
        Set("response", TaskResponse.FUNCTION_COMPLETE),
        code=TaskResponse.TASK_DOES_NOT_EXIST,
    ),
    _response(
        "tmf.unknown-task-rejected",
        "The abort of an unknown task is told as a rejected function.",
        Set("response", TaskResponse.FUNCTION_REJECTED),
        code=TaskResponse.TASK_DOES_NOT_EXIST,
    ),
    _response(
        "tmf.missing-command-unknown",
        "The abort of a command that never came is told as that of an unknown task.",
        Set("response", TaskResponse.TASK_DOES_NOT_EXIST),
        code=TaskResponse.FUNCTION_COMPLETE,
    ),
    behaves("tmf.gap-stays", "A missing command that was aborted does not count as received.", keep_plugged_gap=True),
    _response(
        "tmf.function-on-function-done",
        "A function about another function is told as done.",
        Set("response", TaskResponse.FUNCTION_COMPLETE),
        code=TaskResponse.FUNCTION_REJECTED,
    ),
    _response(
        "tmf.aborted-function-lost", "A function that ABORT TASK named is never answered.", Drop(), nth=2, renumber=True
    ),
    _response(
        "tmf.any-lun-will-do",
        "A function for a logical unit that is not there succeeds.",
        Set("response", TaskResponse.FUNCTION_COMPLETE),
        code=TaskResponse.LUN_DOES_NOT_EXIST,
    ),
    _response(
        "tmf.unsupported-function-done",
        "A function that is not supported is told as done.",
        Set("response", TaskResponse.FUNCTION_COMPLETE),
        code=TaskResponse.FUNCTION_NOT_SUPPORTED,
    ),
    _request(
        "tmf.reserved-function-is-an-abort",
        "A reserved function code is taken for ABORT TASK.",
        0x7F,
        Set("function", TaskFunction.ABORT_TASK),
    ),
    _request(
        "tmf.reset-is-own-abort",
        "LOGICAL UNIT RESET ends only the tasks of its own session, and nobody hears of it.",
        TaskFunction.LOGICAL_UNIT_RESET,
        Set("function", TaskFunction.ABORT_TASK_SET),
    ),
    _request("tmf.reset-hangs", "LOGICAL UNIT RESET never ends.", TaskFunction.LOGICAL_UNIT_RESET, Drop()),
    _request(
        "tmf.clear-is-own-abort",
        "CLEAR TASK SET ends only the tasks of its own session.",
        TaskFunction.CLEAR_TASK_SET,
        Set("function", TaskFunction.ABORT_TASK_SET),
    ),
    _request(
        "tmf.cold-reset-is-warm",
        "TARGET COLD RESET leaves all connections alone.",
        TaskFunction.TARGET_COLD_RESET,
        Set("function", TaskFunction.TARGET_WARM_RESET),
    ),
    behaves("tmf.does-not-wait", "Tasks end without waiting for open R2Ts and missing commands.", skip_abort_wait=True),
    _response(
        "tmf.pretends-reassignment",
        "TASK REASSIGN is told as done below recovery level 2.",
        Set("response", TaskResponse.FUNCTION_COMPLETE),
        code=TaskResponse.REASSIGNMENT_NOT_SUPPORTED,
    ),
    sends(
        "tmf.numbers-start-anew",
        "StatSN starts anew behind a reset.",
        Opcode.NOP_IN,
        Set("stat_sn", Plus(0x100)),
        tests=(FieldIs("itt", NO_TAG, Relation.DIFFERENT),),
    ),
    takes_for(
        "tmf.late-data-rejected",
        "Data for a task that another session's function ended is rejected.",
        Opcode.SCSI_DATA_OUT,
        Drop(),
        Insert(
            Template(Reject, {"reason": RejectReason.INVALID_PDU_FIELD, **NEXT_NUMBERS, "data": bytes(48)}),
            direction=Direction.TO_INITIATOR,
        ),
        times=1,
    ),
    sends(
        "tmf.no-power-on-attention",
        "No unit attention tells of a reset.",
        Opcode.SCSI_RESPONSE,
        Set("status", 0),
        Replace(Part.DATA, b""),
        tests=(FieldIs("status", 2),),
    ),
)
