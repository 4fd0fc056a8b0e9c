"""Functions that end a set of tasks (RFC 7143 4.2.3.2 to 4.2.3.5, RFC 7144 6.5): which ones, after which waits, and who is
told.

With standard semantics a function waits for the data of open R2Ts and for missing commands before it (4.2.3.3 a, b); with
FastAbort for missing commands only, and a message tells the other connections to stop (4.2.3.4). Third parties are told
as their own session agreed (4.2.3.5). The response waits for the fence (`conclude`).
"""

from __future__ import annotations

from iscsi_protocol import serial
from iscsi_protocol.pdu import Opcode, TaskFunction, TaskResponse
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.lun import same_lun
from iscsi_protocol.scsi.status import Status
from iscsi_target import fence, nop, recovery, termination
from iscsi_target.completion import Completion
from iscsi_target.connection import Connection
from iscsi_target.core import Core
from iscsi_target.function import OF_TARGET, RESETS, TaskFunctionRequest, answer, conclude
from iscsi_target.session import Session
from iscsi_target.task import ScsiTask, TaskState

_FINAL = 0x80


def affects(session: Session, request: TaskFunctionRequest, task: ScsiTask) -> bool:
    """Whether a task of the issuing session is one of those that the function ends (4.2.3.2)."""
    function = request.function
    if function in OF_TARGET:
        return session.device.has_lun(task.lun, session.nexus)
    if function == TaskFunction.ABORT_TASK:
        return False
    if function != TaskFunction.I_T_NEXUS_RESET and not same_lun(task.lun, request.lun):
        return False
    if function == TaskFunction.LOGICAL_UNIT_RESET or serial.lt(task.cmd_sn, request.cmd_sn):
        return True
    # An immediate command has the number of what comes next, and one behind the function a higher one (4.2.2.1).
    return task.immediate and task.cmd_sn == request.cmd_sn


def covers(connection: Connection, session: Session, lun: bytes, cmd_sn: int, immediate: int) -> bool:
    """Whether a command that comes now, on that connection, was ended by a function before it came (4.2.2.1). The function
    takes note of it.
    """
    if immediate:
        return False
    for each in session.functions:
        if (
            not each.executed
            and each.function != TaskFunction.ABORT_TASK
            and serial.lt(cmd_sn, each.cmd_sn)
            and (each.function in OF_TARGET or each.function == TaskFunction.I_T_NEXUS_RESET or same_lun(each.lun, lun))
        ):
            _note_unbegun(connection, session, each, lun)
            return True
    return False


def _note_unbegun(connection: Connection, session: Session, request: TaskFunctionRequest, lun: bytes) -> None:
    if session.parameters.fast_abort and session.device.has_lun(lun, session.nexus):
        request.unbegun[connection, lun] = None


def begin(core: Core, session: Session, request: TaskFunctionRequest) -> None:
    """A function of many tasks has come: first the waits, then the deed."""
    if request.function in OF_TARGET:
        _plug(session, request)
    session.functions.append(request)
    if not session.parameters.fast_abort and not core.policy.skip_abort_wait:
        for task in session.tasks.values():
            if task.data_outstanding and task.state is TaskState.GATHERING and affects(session, request, task):
                task.state = TaskState.DRAINING
                session.draining = True
    progress(core, session)


def _plug(session: Session, request: TaskFunctionRequest) -> None:
    """The whole CmdSN space before a target reset counts as received (4.2.3.3 b), and the commands in it are over;
    requests that are no commands and have come keep their turn.
    """
    sn = session.exp_cmd_sn
    while serial.lt(sn, request.cmd_sn) and serial.le(sn, session.max_cmd_sn):
        kept = session.waiting.get(sn)
        if kept is None or kept[1].opcode == Opcode.SCSI_COMMAND:
            if kept is not None:
                _note_unbegun(kept[0], session, request, bytes(kept[1].bhs[8:16]))
                if not kept[1].bhs[1] & _FINAL:
                    session.forget(kept[1].initiator_task_tag)
            session.plug(sn)
        sn = serial.add(sn)


def progress(core: Core, session: Session) -> None:
    """Take every waiting function of the session as far as it goes, in order."""
    for request in list(session.functions):
        if request.handed_off or request not in session.functions:
            continue
        if not request.executed:
            if _must_wait(core, session, request):
                continue
            _perform(core, session, request)
        request.waits = [task for task in request.waits if task.at_work]
        if not request.waits:
            request.handed_off = True
            if request.function == TaskFunction.ABORT_TASK:
                answer(core, session, request, TaskResponse.FUNCTION_COMPLETE)
            else:
                conclude(core, session, request)


def _must_wait(core: Core, session: Session, request: TaskFunctionRequest) -> bool:
    if core.policy.skip_abort_wait:
        return False
    if request.function not in OF_TARGET and core.missing_below(session, request.cmd_sn):
        return True
    return any(
        task.state is TaskState.DRAINING
        and task.data_outstanding
        and task.connection.up
        and affects(session, request, task)
        for task in session.tasks.values()
    )


def no_longer_affected(session: Session) -> list[ScsiTask]:
    """Tasks whose data was to be thrown away for a function that has gone with its connection (Appendix E.1): they go on."""
    found = []
    session.draining = False
    for task in session.tasks.values():
        if task.state is TaskState.DRAINING and not any(
            not each.executed and affects(session, each, task) for each in session.functions
        ):
            task.state = TaskState.GATHERING
            found.append(task)
        session.draining = session.draining or task.state is TaskState.DRAINING
    return found


def _perform(core: Core, session: Session, request: TaskFunctionRequest) -> None:
    """End the tasks, here and in other sessions, and pass the function to SCSI (4.2.3.3 c, 4.2.3.4 b to d)."""
    request.executed = True
    tasks = [task for task in session.tasks.values() if affects(session, request, task)]
    for task in tasks:
        if not core.policy.execute_aborted_tasks and not core.abort_task(session, task):
            request.waits.append(task)
    session.draining = any(task.state is TaskState.DRAINING for task in session.tasks.values())
    if session.parameters.fast_abort:
        termination.announce(session, tasks, without=request.connection, unbegun=request.unbegun)
    if request.function not in (TaskFunction.ABORT_TASK_SET, TaskFunction.I_T_NEXUS_RESET):
        for other in core.sessions:
            if other is not session and other.node is session.node and not other.discovery:
                _affect_third_party(core, session, other, request)
    if request.function in RESETS:
        lun = None if request.function in OF_TARGET else request.lun
        recovery.forget_finished(session, lun)
        fence.arm(core, session, lun)
    if request.function == TaskFunction.LOGICAL_UNIT_RESET:
        session.device.reset_lun(request.lun, session.nexus)
    elif request.function in OF_TARGET:
        session.device.reset_target(session.nexus)


def _affect_third_party(core: Core, session: Session, other: Session, request: TaskFunctionRequest) -> None:
    """Tasks of another initiator end: without a response, which a unit attention and the reopened window tell of, or with
    TASK ABORTED where TAS is set.
    """
    of_target = request.function in OF_TARGET
    tasks = [
        task
        for task in other.tasks.values()
        if (session.device.has_lun(task.lun, session.nexus) if of_target else same_lun(task.lun, request.lun))
    ]
    if tasks or request.function in RESETS:
        fence.arm(core, other, None if of_target else request.lun)
    for task in tasks:
        if other.device.task_aborted_status(task.lun):
            _end_with_status(core, other, request, task)
            continue
        if request.function == TaskFunction.CLEAR_TASK_SET:
            code = AdditionalSense.COMMANDS_CLEARED_BY_ANOTHER_INITIATOR
            other.device.establish_attention(other.nexus, task.lun, code)
        if not core.abort_task(other, task):
            request.waits.append(task)
    if other.parameters.fast_abort:
        termination.announce(other, tasks)
        for task in tasks:
            if task.data_outstanding and not task.aborted:
                # The message stops its data, so that its status need not wait for it.
                other.forget(task.itt)
                task.unsolicited = None
                task.r2ts.clear()
    elif tasks and request.function != TaskFunction.TARGET_COLD_RESET:
        for connection in other.full_feature_connections[:1]:
            nop.tell_counters(connection, other)


def _end_with_status(core: Core, other: Session, request: TaskFunctionRequest, task: ScsiTask) -> None:
    """TASK ABORTED (SAM-5 5.6): once the device is done with the task, and no data is on its way any more."""
    task.failure = Completion(Status.TASK_ABORTED)
    if task.state is TaskState.EXECUTING:
        request.waits.append(task)
        return
    core.stopped.append((other, task))
    core.disturbed = True
