"""NOP, task management, logout, asynchronous messages, rejects and SNACK (11.5, 11.6, 11.9, 11.14 to 11.19)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight, Task
from iscsi_captures.dialogue.numbers import NUMBERED, is_resent, is_retry
from iscsi_captures.dialogue.task import NO_LIMIT
from iscsi_captures.dialogue.tracker import covered
from iscsi_captures.rules.model import TARGET_OPCODES, Rules, Stain, above_segment
from iscsi_protocol import serial
from iscsi_protocol.pdu import (
    BHS_LENGTH,
    NO_TAG,
    AsyncEvent,
    LogoutReason,
    LogoutResponseCode,
    Opcode,
    RejectReason,
    TaskFunction,
    TaskResponse,
    opcode_name,
)

RULES = Rules((Phase.FULL,))
_NOP_OUT = Opcode.NOP_OUT
_NOP_IN = Opcode.NOP_IN
_TMF = Opcode.TASK_MANAGEMENT_REQUEST
_TMF_RESPONSE = Opcode.TASK_MANAGEMENT_RESPONSE
_LOGOUT = Opcode.LOGOUT_REQUEST
_LOGOUT_RESPONSE = Opcode.LOGOUT_RESPONSE
_ASYNC = Opcode.ASYNC_MESSAGE
_REJECT = Opcode.REJECT

_WITH_TAG = frozenset({TaskFunction.ABORT_TASK, TaskFunction.TASK_REASSIGN, TaskFunction.QUERY_TASK})
_WAITING = frozenset({TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET})
_WITHOUT_LUN = frozenset(
    {
        TaskFunction.TARGET_WARM_RESET,
        TaskFunction.TARGET_COLD_RESET,
        TaskFunction.TASK_REASSIGN,
        TaskFunction.I_T_NEXUS_RESET,
    }
)


@RULES("nop.unanswered-not-immediate", "R7143-11.18.1-04", _NOP_OUT, leans=False)
def nop_not_immediate(sight: Sight) -> str | None:
    """A NOP-Out that wants no answer is immediate."""
    return "Initiator Task Tag 0xffffffff with I=0" if sight.itt == NO_TAG and not sight.immediate else None


@RULES("nop.answer-to-no-ping", "R7143-11.18.2-01", _NOP_OUT, from_start=True)
def answer_to_no_ping(sight: Sight) -> str | None:
    """A NOP-Out has a Target Transfer Tag only in answer to a ping with it."""
    ttt, connection = sight.word(20), sight.connection
    if ttt == NO_TAG or ttt in connection.pings or connection.limits.task_reporting == "FastAbort":
        return None
    return f"Target Transfer Tag {ttt:#010x}, which no NOP-In asked to be returned"


@RULES("nop.answer-lun", "R7143-11.18.2-03", _NOP_OUT)
def answer_lun(sight: Sight) -> str | None:
    """The answer to a ping copies its LUN."""
    lun = sight.connection.pings.get(sight.word(20))
    if lun is None or sight.word(20) == NO_TAG or sight.bhs[8:16] == lun:
        return None
    return f"LUN {bytes(sight.bhs[8:16]).hex()} in answer to a ping with {lun.hex()}"


@RULES("nop.ping-too-long", "R7143-13.12-02", _NOP_OUT)
def ping_too_long(sight: Sight) -> str | None:
    """Ping data stays within the target's MaxRecvDataSegmentLength."""
    return above_segment(sight)


@RULES("nop.answer-tag", "R7143-11.19-01", _NOP_IN, from_start=True)
def answer_tag(sight: Sight) -> str | None:
    """An answering NOP-In has the tag of a NOP-Out that is not answered yet."""
    task = sight.task
    if sight.itt == NO_TAG or (task is not None and task.opcode == _NOP_OUT) or _excused(sight):
        return None
    return f"Initiator Task Tag {sight.itt:#010x} is that of no open NOP-Out"


@RULES("nop.answer-with-transfer-tag", "R7143-11.19-03", _NOP_IN, leans=False)
def answer_with_transfer_tag(sight: Sight) -> str | None:
    """An answering NOP-In has Target Transfer Tag 0xffffffff."""
    ttt = sight.word(20)
    if NO_TAG in (sight.itt, ttt):
        return None
    return f"both tags are valid: {sight.itt:#010x} and {ttt:#010x}"


@RULES("nop.echo", "R7143-11.19-02", _NOP_IN, stain=Stain.NOTHING)
def echo(sight: Sight) -> str | None:
    """An answering NOP-In returns the ping data, as far as the initiator takes it."""
    task, limit = sight.task, sight.connection.limits.initiator_segment
    if task is None or task.opcode != _NOP_OUT or sight.itt == NO_TAG:
        return None
    expected = task.ping[:limit] if limit != NO_LIMIT else task.ping
    if bytes(sight.raw.data) == expected:
        return None
    return (
        f"{sight.length} bytes answer {len(task.ping)} bytes of ping data, of which {len(expected)} were due unchanged"
    )


@RULES("nop.unasked-with-data", "R7143-11.19-06", _NOP_IN, leans=False, stain=Stain.NOTHING)
def unasked_with_data(sight: Sight) -> str | None:
    """A NOP-In that answers nothing has no data."""
    return f"{sight.length} bytes of data in an unsolicited NOP-In" if sight.itt == NO_TAG and sight.length else None


@RULES("tmf.reserved-function", "R7143-11-04", _TMF, leans=False)
def reserved_function(sight: Sight) -> str | None:
    """Task management functions are those of the table."""
    function = sight.bhs[1] & 0x7F
    return None if function in frozenset(TaskFunction) else f"function {function} is reserved"


@RULES("tmf.lun-reserved", "R7143-11.5.3-01", _TMF, leans=False, stain=Stain.NOTHING)
def lun_reserved(sight: Sight) -> str | None:
    """Functions on the whole target carry no LUN."""
    function = sight.bhs[1] & 0x7F
    if function not in _WITHOUT_LUN or not any(sight.bhs[8:16]):
        return None
    return f"LUN {bytes(sight.bhs[8:16]).hex()} with function {function}"


@RULES("tmf.referenced-tag", "R7143-11.5.4-01", _TMF, leans=False, stain=Stain.NOTHING)
def referenced_tag(sight: Sight) -> str | None:
    """Referenced Task Tag is 0xffffffff unless a single task is meant."""
    function, tag = sight.bhs[1] & 0x7F, sight.word(20)
    return (
        f"Referenced Task Tag {tag:#010x} with function {function}"
        if function not in _WITH_TAG and tag != NO_TAG
        else None
    )


def _is_up(task: Task) -> bool:
    connection = task.connection
    return connection.lost_at is None and not connection.ended and connection.logout_asked is None


def _aborted(sight: Sight) -> bool:
    return sight.bhs[1] & 0x7F == TaskFunction.ABORT_TASK


@RULES("tmf.ref-cmd-sn", "R7143-11.5.1-11", _TMF)
def ref_cmd_sn(sight: Sight) -> str | None:
    """ABORT TASK names the CmdSN of its task."""
    task, number = sight.session.tasks.get(sight.word(20)), sight.word(32)
    if not _aborted(sight) or task is None or task.immediate or number == task.cmd_sn:
        return None
    return f"RefCmdSN {number} for a task with CmdSN {task.cmd_sn}"


@RULES("tmf.ref-cmd-sn-of-immediate", "R7143-11.5.1-10", _TMF)
def ref_cmd_sn_of_immediate(sight: Sight) -> str | None:
    """ABORT TASK of an immediate task names its own CmdSN."""
    task, number = sight.session.tasks.get(sight.word(20)), sight.word(32)
    if not _aborted(sight) or task is None or not task.immediate or number == sight.word(24):
        return None
    return f"RefCmdSN {number} for an immediate task, the request's CmdSN is {sight.word(24)}"


@RULES("tmf.ref-cmd-sn-too-high", "R7143-11.5.5-02", _TMF)
def ref_cmd_sn_too_high(sight: Sight) -> str | None:
    """RefCmdSN of a non-immediate task is below the CmdSN of the request."""
    task, number, own = sight.session.tasks.get(sight.word(20)), sight.word(32), sight.word(24)
    if not _aborted(sight) or (task is not None and task.immediate) or serial.lt(number, own):
        return None
    if task is None and number == own:
        return None
    return f"RefCmdSN {number} in a request with CmdSN {own}"


@RULES("tmf.ref-cmd-sn-reserved", "R7143-11.5.5-01", _TMF, leans=False, stain=Stain.NOTHING)
def ref_cmd_sn_reserved(sight: Sight) -> str | None:
    """RefCmdSN is reserved but for the functions on one task."""
    function, number = sight.bhs[1] & 0x7F, sight.word(32)
    if function in (TaskFunction.ABORT_TASK, TaskFunction.QUERY_TASK) or not number:
        return None
    return f"RefCmdSN {number} with function {function}"


@RULES("tmf.abort-on-other-connection", "R7143-11.5.1-12", _TMF)
def abort_on_other_connection(sight: Sight) -> str | None:
    """ABORT TASK goes out on the connection of its task while that lives."""
    task = sight.session.tasks.get(sight.word(20))
    if not _aborted(sight) or task is None or task.connection is sight.connection or not _is_up(task):
        return None
    return f"the task is on connection {task.connection.number}"


@RULES("tmf.reassign-not-immediate", "R7143-11.5.1-24", _TMF, leans=False)
def reassign_not_immediate(sight: Sight) -> str | None:
    """TASK REASSIGN is immediate."""
    return (
        "TASK REASSIGN with I=0" if sight.bhs[1] & 0x7F == TaskFunction.TASK_REASSIGN and not sight.immediate else None
    )


@RULES("tmf.response-tag", "R7143-4.2.5.3-03", _TMF_RESPONSE, from_start=True)
def tmf_response_tag(sight: Sight) -> str | None:
    """A task management response has the tag of a request that is not answered yet."""
    return _answers(sight, _TMF)


@RULES("tmf.response-before-the-data", "R7143-11.5.1-08", _TMF_RESPONSE)
def response_before_the_data(sight: Sight) -> str | None:
    """Without FastAbort the abort of several tasks waits for the answers to their R2Ts."""
    request = sight.task
    if (
        request is None
        or request.opcode != _TMF
        or sight.bhs[2]
        or sight.connection.limits.task_reporting == "FastAbort"
    ):
        return None
    if request.bhs[1] & 0x7F not in _WAITING:
        return None
    waiting = [task for task in covered(request) if any(not burst.complete for burst in task.bursts)]
    return f"{len(waiting)} of the tasks still answer an R2T" if waiting else None


@RULES("tmf.reserved-response", "R7143-11.6.1-01", _TMF_RESPONSE, leans=False)
def tmf_reserved_response(sight: Sight) -> str | None:
    """Task management responses are those of the table."""
    code = sight.bhs[2]
    return None if code in frozenset(TaskResponse) else f"response {code} is reserved"


def _excused(sight: Sight) -> bool:
    """Whether the answer may be one that is sent again, or to a request of which nothing more is known."""
    session = sight.session
    if session.uncertain or sight.former is not None or is_resent(sight):
        return True
    return sight.itt in session.forgotten or sight.itt in session.spoilt


def _answers(sight: Sight, opcode: Opcode) -> str | None:
    task = sight.task
    if (task is not None and task.opcode == opcode) or _excused(sight):
        return None
    return f"Initiator Task Tag {sight.itt:#010x} is that of no open {opcode_name(opcode)}"


@RULES("logout.reserved-reason", "R7143-11-04", _LOGOUT, leans=False)
def reserved_reason(sight: Sight) -> str | None:
    """Logout reasons are 0, 1 and 2."""
    reason = sight.bhs[1] & 0x7F
    return None if reason in frozenset(LogoutReason) else f"reason {reason} is reserved"


@RULES("logout.request-after", "R7143-11.14-02", *NUMBERED, from_start=True)
def request_after_logout(sight: Sight) -> str | None:
    """After a Logout Request for it no new request goes out on the connection."""
    connection = sight.connection
    if connection.logout_asked is None or is_retry(sight):
        return None
    if sight.opcode == _NOP_OUT and sight.itt == NO_TAG:
        return None
    return f"{opcode_name(sight.opcode)} after the Logout Request"


@RULES("logout.response-tag", "R7143-4.2.5.3-03", _LOGOUT_RESPONSE, from_start=True)
def logout_response_tag(sight: Sight) -> str | None:
    """A Logout Response has the tag of a request that is not answered yet."""
    return _answers(sight, _LOGOUT)


@RULES("logout.reserved-response", "R7143-11.15.1-01", _LOGOUT_RESPONSE, leans=False)
def logout_reserved_response(sight: Sight) -> str | None:
    """Logout responses are 0 to 3."""
    code = sight.bhs[2]
    return None if code in frozenset(LogoutResponseCode) else f"response {code} is reserved"


def _request_of(sight: Sight) -> bytes | None:
    task = sight.task
    return task.bhs if task is not None and task.opcode == _LOGOUT else None


@RULES("logout.recovery-at-low-level", "R7143-11.15.1-03", _LOGOUT_RESPONSE, from_start=True)
def recovery_at_low_level(sight: Sight) -> str | None:
    """Below ErrorRecoveryLevel 2 a logout for recovery is answered with 2."""
    request, level = _request_of(sight), sight.connection.limits.error_recovery_level
    if request is None or request[1] & 0x7F != LogoutReason.RECOVERY or level == 2 or sight.bhs[2]:
        return None
    return f"a logout for recovery succeeds at ErrorRecoveryLevel {level}"


@RULES("logout.unknown-cid", "R7143-11.15.1-02", _LOGOUT_RESPONSE, from_start=True)
def unknown_cid(sight: Sight) -> str | None:
    """Logout of a CID that the session does not have is answered with 1."""
    request = _request_of(sight)
    if request is None or request[1] & 0x7F == LogoutReason.CLOSE_SESSION or sight.bhs[2] or sight.session.uncertain:
        return None
    cid = int.from_bytes(request[20:22], "big")
    known = sight.session.connections
    return None if cid in known else f"the logout of CID {cid} succeeds, the session has {sorted(known)}"


@RULES("logout.pdu-after-response", "R7143-11.14-06", *TARGET_OPCODES, leans=False, from_start=True)
def pdu_after_response(sight: Sight) -> str | None:
    """After its Logout Response the target sends nothing more on the connection."""
    return f"{opcode_name(sight.opcode)} after the Logout Response" if sight.connection.logout_answered else None


@RULES("async.tag", "R7143-11.9-02", _ASYNC, leans=False)
def async_tag(sight: Sight) -> str | None:
    """The Initiator Task Tag of an Asynchronous Message is 0xffffffff."""
    return None if sight.itt == NO_TAG else f"Initiator Task Tag {sight.itt:#010x}"


@RULES("async.reserved-event", "R7143-11-04", _ASYNC, leans=False)
def reserved_event(sight: Sight) -> str | None:
    """Asynchronous events are those of the table."""
    event = sight.bhs[36]
    return (
        None
        if event <= AsyncEvent.TASKS_TERMINATED or event >= AsyncEvent.VENDOR_FIRST
        else f"event {event} is reserved"
    )


@RULES("async.fast-abort-not-agreed", "R7143-11.9.1-12", _ASYNC, from_start=True)
def fast_abort_not_agreed(sight: Sight) -> str | None:
    """Event 5 needs TaskReporting=FastAbort."""
    agreed = sight.connection.limits.task_reporting
    if sight.bhs[36] != AsyncEvent.TASKS_TERMINATED or agreed == "FastAbort":
        return None
    return f"event 5 with TaskReporting={agreed}"


@RULES("async.logout-reason", "R7143-11.9.1-03", _LOGOUT)
def logout_reason(sight: Sight) -> str | None:
    """A logout that was asked for closes the connection or the session."""
    if sight.connection.logout_wanted is None or sight.bhs[1] & 0x7F != LogoutReason.RECOVERY:
        return None
    if int.from_bytes(sight.bhs[20:22], "big") != sight.connection.cid:
        return None
    return "a logout for recovery after Asynchronous Message event 1"


@RULES("reject.tag", "R7143-11.17-01", _REJECT, leans=False)
def reject_tag(sight: Sight) -> str | None:
    """The Initiator Task Tag of a Reject is 0xffffffff."""
    return None if sight.itt == NO_TAG else f"Initiator Task Tag {sight.itt:#010x}"


@RULES("reject.reserved-reason", "R7143-11.17.1-01", _REJECT, leans=False)
def reject_reserved_reason(sight: Sight) -> str | None:
    """Reject reasons are those of the table."""
    reason = sight.bhs[2]
    return None if reason in frozenset(RejectReason) else f"reason {reason:#04x} is reserved"


@RULES("reject.deprecated-reason", "R7143-11.17.1-03", _REJECT, leans=False)
def deprecated_reason(sight: Sight) -> str | None:
    """Reason 0x0b is not used any more."""
    return "reason 0x0b" if sight.bhs[2] == RejectReason.DEPRECATED_NEGOTIATION_RESET else None


@RULES("reject.header", "R7143-11.17.4-01", _REJECT, leans=False, from_start=True)
def reject_header(sight: Sight) -> str | None:
    """The data of a Reject begins with the header of a PDU that the initiator sent."""
    if sight.length < BHS_LENGTH:
        return f"{sight.length} bytes of data, a header has {BHS_LENGTH}"
    header, headers = bytes(sight.raw.data[:BHS_LENGTH]), sight.connection.headers
    if header in headers or len(headers) == headers.maxlen or sight.connection.lost:
        return None
    return "the header in the data is that of no PDU of the initiator"
