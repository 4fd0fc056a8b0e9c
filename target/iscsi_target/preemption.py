"""Commands that a reservation's new holder ends: PREEMPT AND ABORT as the engine sees it (SPC-4 5.12.11.5, SAM-5 5.6).

They end without a response, or with TASK ABORTED where TAS is set and another nexus ends them. What a device is still at
work on cannot be called back: the command that preempts is answered behind it, so that nothing of the preempted nexus is
carried out after that answer.
"""

from __future__ import annotations

from iscsi_protocol.scsi.lun import same_lun
from iscsi_protocol.scsi.opcodes import PREEMPT_AND_ABORT
from iscsi_protocol.scsi.status import Status
from iscsi_target import nop
from iscsi_target.completion import Completion
from iscsi_target.core import Core
from iscsi_target.nexus import Nexus
from iscsi_target.session import Session
from iscsi_target.task import ScsiTask, TaskState

_SERVICE_ACTION = 0x1F


def abort_nexus_tasks(core: Core, nexus: Nexus, lun: bytes | None, by: Nexus) -> None:
    """End the tasks of a nexus at a LUN, or at all of them with None, but not the command of `by` that asks for it.

    To be called while that command is executed. What has to be waited for is noted in `core.awaited`.
    """
    for session in core.sessions:
        if session.discovery or session.nexus != nexus:
            continue
        found = [
            task
            for task in session.tasks.values()
            if (lun is None or same_lun(task.lun, lun)) and not _is_preempting(task)
        ]
        for task in found:
            _end(core, session, task, own=nexus == by)
        if found:
            core.disturbed = True
            for connection in session.full_feature_connections[:1]:
                nop.tell_counters(connection, session)


def _is_preempting(task: ScsiTask) -> bool:
    """Whether this is a PREEMPT AND ABORT with all of its data: the one that is being executed."""
    command = task.cdb[0] == PREEMPT_AND_ABORT.opcode
    return command and task.cdb[1] & _SERVICE_ACTION == PREEMPT_AND_ABORT.service_action and not task.data_outstanding


def _end(core: Core, session: Session, task: ScsiTask, *, own: bool) -> None:
    executing = task.state is TaskState.EXECUTING
    if executing:
        core.awaited.append(task)
    if own or not session.device.task_aborted_status(task.lun):
        core.abort_task(session, task)
        return
    task.failure = Completion(Status.TASK_ABORTED)
    if not executing:
        core.stopped.append((session, task))
