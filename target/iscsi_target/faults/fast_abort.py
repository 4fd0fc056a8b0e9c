"""What targets do wrong with TaskReporting=FastAbort (RFC 7143 sections 4.2.3.4, 4.2.3.5, 13.23 and Appendix E.1)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Drop,
    FieldIs,
    HasKey,
    Insert,
    Of,
    Relation,
    Set,
    SetKey,
    Template,
)
from iscsi_protocol.pdu import NO_TAG, AsyncEvent, AsyncMessage, Opcode, Reject, RejectReason, ScsiResponse
from iscsi_protocol.stream import Direction
from iscsi_target.faults import NEXT_NUMBERS, behaves, sends, takes_for
from iscsi_target.faults.fences import understands

_TERMINATED = (FieldIs("async_event", AsyncEvent.TASKS_TERMINATED),)


FAULTS = (
    takes_for(
        "fast-abort.declined",
        "FastAbort is never agreed on.",
        Opcode.LOGIN_REQUEST,
        SetKey("TaskReporting", "ResponseFence,RFC3720"),
        tests=(HasKey("TaskReporting"),),
    ),
    understands("fast-abort.agreed-on-for-show", "FastAbort is agreed on, and not kept.", "RFC3720", "FastAbort"),
    sends(
        "fast-abort.goes-on-behind-response",
        "A write that a function ended is answered once its data has come.",
        Opcode.NOP_IN,
        Insert(Template(ScsiResponse, {"itt": Of("trigger.itt", -2), **NEXT_NUMBERS}), before=True),
        tests=(FieldIs("itt", NO_TAG, Relation.DIFFERENT),),
        times=1,
        renumber=True,
    ),
    takes_for(
        "fast-abort.late-data-rejected",
        "Data for a task that a function ended is rejected.",
        Opcode.SCSI_DATA_OUT,
        Drop(),
        Insert(
            Template(Reject, {"reason": RejectReason.INVALID_PDU_FIELD, **NEXT_NUMBERS, "data": bytes(48)}),
            direction=Direction.TO_INITIATOR,
        ),
        times=1,
    ),
    behaves(
        "fast-abort.does-not-wait-for-commands",
        "A function is answered though commands before it are missing.",
        skip_abort_wait=True,
    ),
    sends(
        "fast-abort.waits-for-ever",
        "A reset is never answered while another session has a gap.",
        Opcode.TASK_MANAGEMENT_RESPONSE,
        Drop(),
        renumber=True,
    ),
    sends(
        "fast-abort.nobody-is-told",
        "Nobody is told that tasks were terminated.",
        Opcode.ASYNC_MESSAGE,
        Drop(),
        tests=_TERMINATED,
        renumber=True,
    ),
    sends(
        "fast-abort.other-lun",
        "Terminated tasks are told of another logical unit.",
        Opcode.ASYNC_MESSAGE,
        Set("lun", bytes((0, 0x63, 0, 0, 0, 0, 0, 0))),
        tests=_TERMINATED,
    ),
    sends(
        "fast-abort.tells-everybody",
        "Sessions without FastAbort are sent event 5 too.",
        Opcode.NOP_IN,
        Insert(
            Template(AsyncMessage, {"async_event": AsyncEvent.TASKS_TERMINATED, **NEXT_NUMBERS}),
            before=True,
        ),
        times=1,
        renumber=True,
    ),
    behaves("fast-abort.always", "Functions never wait for the data of open R2Ts.", skip_abort_wait=True),
    behaves(
        "fast-abort.functions-are-not-fenced",
        "With FastAbort functions are answered before earlier responses are acknowledged.",
        skip_abort_fence=True,
    ),
)
