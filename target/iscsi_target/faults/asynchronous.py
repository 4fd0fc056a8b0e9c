"""What targets do wrong with Asynchronous Messages (RFC 7143 section 11.9)."""

from __future__ import annotations

from iscsi_protocol.fault import Action, Drop, FieldIs, Insert, NamedFault, Plus, Poke, Relation, Set, Template
from iscsi_protocol.pdu import AsyncEvent, AsyncMessage, Opcode, RejectReason
from iscsi_target.faults import NEXT_NUMBERS, behaves, sends


def _message(
    fault_id: str, says: str, *what: Action, event: int | None = None, nth: int = 1, renumber: bool = False
) -> NamedFault:
    """A fault that changes the messages of this event, or all."""
    tests = () if event is None else (FieldIs("async_event", event),)
    return sends(fault_id, says, Opcode.ASYNC_MESSAGE, *what, tests=tests, nth=nth, renumber=renumber)


FAULTS = (
    _message("async.with-task-tag", "The message has a task tag.", Set("itt", 5)),
    _message("async.not-numbered", "The message repeats a StatSN.", Set("stat_sn", Plus(-1))),
    _message("async.reserved-bytes-set", "A reserved byte of the message is not zero.", Poke(20, b"\x01")),
    _message(
        "async.logout-not-asked-for",
        "The initiator is not asked to log out.",
        Drop(),
        event=AsyncEvent.LOGOUT_REQUESTED,
        renumber=True,
    ),
    _message(
        "async.logout-asked-for-once",
        "A second request to log out is not sent.",
        Drop(),
        event=AsyncEvent.LOGOUT_REQUESTED,
        nth=2,
        renumber=True,
    ),
    _message(
        "async.drop-not-announced", "Connections are dropped without a word.", Drop(), event=AsyncEvent.CONNECTION_DROP
    ),
    _message(
        "async.tells-no-retention",
        "Connection state is kept though the message says that it is not.",
        Set("parameter3", 0),
        event=AsyncEvent.CONNECTION_DROP,
    ),
    _message(
        "async.event-of-another-unit",
        "A SCSI event names a logical unit that it is not about.",
        Set("lun", b"\x00\x01" + bytes(6)),
        event=AsyncEvent.SCSI,
    ),
    sends(
        "async.told-as-immediate-commands",
        "Commands behind a request to log out are rejected as too many immediate ones.",
        Opcode.REJECT,
        Set("reason", RejectReason.IMMEDIATE_COMMAND_REJECT),
    ),
    sends(
        "async.tells-of-terminated-tasks",
        "A reset is told by event 5 though FastAbort was not agreed on.",
        Opcode.TASK_MANAGEMENT_RESPONSE,
        Insert(Template(AsyncMessage, {"async_event": AsyncEvent.TASKS_TERMINATED, **NEXT_NUMBERS})),
        renumber=True,
    ),
    sends(
        "async.session-outlives-its-drop",
        "A session that was dropped for good can still be joined.",
        Opcode.LOGIN_RESPONSE,
        Set("status_class", 0),
        Set("status_detail", 0),
        tests=(FieldIs("status_class", 0, Relation.DIFFERENT),),
    ),
    behaves(
        "async.waits-for-logout-forever",
        "That the initiator does not log out in time has no consequence.",
        wait_for_logout_forever=True,
    ),
    behaves("async.stays-after-notice", "Connections whose drop was announced stay open.", stay_after_drop_notice=True),
)
