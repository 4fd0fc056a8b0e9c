"""What targets do wrong with sessions whose connections are gone (RFC 7143 sections 6.3.5, 6.3.6, 7.5 and 8.3)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Drop,
    Fault,
    FieldIs,
    HasKey,
    Insert,
    NamedFault,
    Of,
    Part,
    Relation,
    Replace,
    Set,
    SetKey,
    Template,
    When,
)
from iscsi_protocol.pdu import Opcode, ScsiResponse, TaskResponse
from iscsi_protocol.stream import Direction
from iscsi_target.faults import NEXT_NUMBERS, behaves, sends, takes_for, together

_RETAIN = "DefaultTime2Retain"
_JOINS = FieldIs("tsih", 0, Relation.DIFFERENT)
_NEW = FieldIs("tsih", 0)


def retains(fault_id: str, says: str, taken: str, told: str) -> NamedFault:
    """A fault of a target that keeps state for another time than it agreed to."""
    request = When(direction=Direction.TO_TARGET, opcode=Opcode.LOGIN_REQUEST, tests=(HasKey(_RETAIN, told),), times=0)
    answer = When(direction=Direction.TO_INITIATOR, opcode=Opcode.LOGIN_RESPONSE, tests=(HasKey(_RETAIN),), times=0)
    return together(
        fault_id,
        says,
        Fault(when=request, what=(SetKey(_RETAIN, taken),)),
        Fault(when=answer, what=(SetKey(_RETAIN, told),)),
    )


FAULTS = (
    retains("retention.for-an-hour", "A session is kept for an hour when a second was agreed on.", "3600", "1"),
    retains("retention.for-an-instant", "Nothing is kept when 4 seconds were agreed on.", "0", "4"),
    retains("retention.default-of-its-own", "A session is kept for 2 seconds when 4 were agreed on.", "2", "4"),
    retains("retention.gone-with-the-connection", "The session ends with its last connection.", "0", "20"),
    takes_for(
        "retention.one-attempt-only",
        "A failed session is gone once a login into it broke off.",
        Opcode.LOGIN_REQUEST,
        Set("tsih", 0x7EEE),
        tests=(_JOINS, FieldIs("transit", True)),
    ),
    takes_for(
        "retention.reinstated-beside",
        "A new session of the initiator port, led by another CID, stands beside the failed one.",
        Opcode.LOGIN_REQUEST,
        Set("isid", bytes.fromhex("80e7a10000ff")),
        tests=(_NEW, FieldIs("cid", 1)),
    ),
    takes_for(
        "retention.old-counters-stay",
        "Commands of a new session are dropped where they are outside of the old one's window.",
        Opcode.SCSI_COMMAND,
        Drop(),
        tests=(FieldIs("cmd_sn", 0x3FFFFFFF, Relation.ABOVE),),
    ),
    sends(
        "retention.old-digests-stay",
        "A new session has the header digests of the one before.",
        Opcode.NOP_IN,
        Replace(Part.HEADER_DIGEST, b"\x01\x02\x03\x04"),
    ),
    behaves("retention.no-word-of-cleared-tasks", "No unit attention tells of cleared tasks.", silent_clearing=True),
    sends(
        "retention.status-of-cleared-task",
        "A task that was cleared is answered on the next connection.",
        Opcode.NOP_IN,
        Insert(Template(ScsiResponse, {"itt": Of("trigger.itt", -2), "status": 2, **NEXT_NUMBERS})),
        times=1,
        renumber=True,
    ),
    sends(
        "retention.old-tasks-stay",
        "Tasks of a connection that was reinstated below level 2 are still there.",
        Opcode.TASK_MANAGEMENT_RESPONSE,
        Set("response", TaskResponse.FUNCTION_COMPLETE),
    ),
)
