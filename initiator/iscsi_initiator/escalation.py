"""From a SCSI request that was not answered in time to session recovery (RFC 7143 7.11): ABORT TASK, then LOGICAL UNIT RESET,
then TARGET WARM RESET where it may be, then the session. One ladder at a time; other tasks that run out of time meanwhile
wait for it, as does a task whose connection is being recovered.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from iscsi_initiator.link import Link
from iscsi_initiator.requests import Failure, TaskManagement
from iscsi_initiator.tasks import ScsiTask
from iscsi_protocol.pdu.codes import TaskFunction, TaskResponse

if TYPE_CHECKING:
    from iscsi_initiator.session import Session


class Rung(Enum):
    """What was tried last."""

    ABORT_TASK = TaskFunction.ABORT_TASK
    LUN_RESET = TaskFunction.LOGICAL_UNIT_RESET
    TARGET_RESET = TaskFunction.TARGET_WARM_RESET


_ABORTED = frozenset({TaskResponse.FUNCTION_COMPLETE, TaskResponse.TASK_DOES_NOT_EXIST})


class Escalation:
    """The ladder of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: deque[ScsiTask] = deque()
        self._current: ScsiTask | None = None
        self._rung = Rung.ABORT_TASK
        self._request: TaskManagement | None = None

    def owns(self, request: object) -> bool:
        """Whether a task management request is the ladder's own."""
        return request is not None and request is self._request

    def reset(self) -> None:
        """Forget all: the connection is gone."""
        self._waiting.clear()
        self._current = self._request = None

    def link_lost(self, link: Link, now: float) -> None:
        """A connection is gone: a ladder for one of its tasks begins anew when that goes on."""
        if self._current is not None and self._current.link is link:
            self._request = None
            self._next(now)
        elif self._request is not None and not self._under_way():
            self._again(now)

    def _under_way(self) -> bool:
        return any(task.request is self._request for task in self._session.work.tasks.values())

    def _again(self, now: float) -> None:
        """The function was lost with its connection, the task was not."""
        self._request = None
        if self._session.any_up() is None:
            self._next(now)
        else:
            self._send(self._rung, now)

    def end(self, task: ScsiTask, ending: Failure, now: float) -> None:
        """Have a task aborted, whose request is to end in this way."""
        task.ending = ending
        if not self._session.takes(task.link):
            return
        self._waiting.append(task)
        if self._current is None:
            self._next(now)

    def answered(self, response: int | None, now: float, cmd_sn: int) -> None:
        """The target's response to what was sent with this CmdSN; None when none came in time, or it was rejected."""
        session, task, rung = self._session, self._current, self._rung
        self._request = None
        if task is None:
            return
        if rung is Rung.ABORT_TASK:
            running = session.work.tasks.get(task.itt) is task
            if response in _ABORTED or not running:
                if running:
                    session.work.finish(task, failure=task.ending)
                self._next(now)
            else:
                self._send(Rung.LUN_RESET, now)
            return
        if response == TaskResponse.FUNCTION_COMPLETE:
            session.work.tasks_reset(task.scsi.lun if rung is Rung.LUN_RESET else None, cmd_sn)
            self._next(now)
        elif rung is Rung.LUN_RESET and not session.options.no_target_reset:
            self._send(Rung.TARGET_RESET, now)
        elif session.log(63, session.target_name_bytes, now, "a reset did not succeed"):
            session.recovery.session_failed(now, "a reset did not succeed")

    def _next(self, now: float) -> None:
        self._current = None
        while self._waiting:
            task = self._waiting.popleft()
            if self._session.work.tasks.get(task.itt) is task and self._session.takes(task.link):
                self._current = task
                self._send(Rung.ABORT_TASK, now)
                return

    def _send(self, rung: Rung, now: float) -> None:
        session, task = self._session, self._current
        carrier = session.any_up()
        if task is None:
            return
        if rung is not Rung.ABORT_TASK and (carrier is None or carrier.link is None or not session.takes(carrier.link)):
            self._current = None  # what is being logged out ends its tasks by that
            return
        self._rung = rung
        # A reset names no task: both of its references are reserved (11.5.4, 11.5.5).
        referenced = task if rung is Rung.ABORT_TASK else None
        lun = task.scsi.lun if rung is not Rung.TARGET_RESET else 0
        self._request = TaskManagement(rung.value, lun, referenced.scsi if referenced else None)
        self._session.work.send_task_management(self._request, now, referenced=referenced)
