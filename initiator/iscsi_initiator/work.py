"""The requests of a session: queued while the command window is closed or the session is not up, sent, timed, and finished
(RFC 7143 4.2.2.1, 4.2.5, 7.11).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from iscsi_initiator.escalation import Escalation
from iscsi_initiator.eventlog.dump import words
from iscsi_initiator.exchange import TextExchange
from iscsi_initiator.link import Link
from iscsi_initiator.requests import (
    Failure,
    Ping,
    Request,
    RequestDone,
    ScsiRequest,
    TaskManagement,
    TaskManagementResult,
    TextNegotiation,
)
from iscsi_initiator.tasks import ScsiTask, Task
from iscsi_protocol import serial
from iscsi_protocol.pdu import NO_TAG, NopOut, TaskManagementRequest
from iscsi_protocol.pdu.codes import Opcode, TaskFunction, TaskResponse

if TYPE_CHECKING:
    from iscsi_initiator.session import Session

_OF_A_LUN = frozenset({TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET})
_OF_THE_TARGET = frozenset(
    {TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET, TaskFunction.I_T_NEXUS_RESET}
)
_TARGET_RESETS = frozenset({TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET})
_ABOUT_A_TASK = frozenset({TaskFunction.ABORT_TASK, TaskFunction.QUERY_TASK})


class Work:
    """What a session has to do. cmd_sn: the next to use; exp_cmd_sn, max_cmd_sn: the target's; paused: nothing is begun."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.pending: deque[Request] = deque()
        self.tasks: dict[int, Task] = {}
        self.cmd_sn = 1
        self.exp_cmd_sn = 1
        self.max_cmd_sn = 1
        self.paused = False
        self.escalation = Escalation(session)
        self.text = TextExchange(session)
        self._itt = 0
        self._clocks: dict[float, dict[int, Task]] = {}
        self._waiting_until: float | None = None

    # Numbers.

    def take_command_numbers(self, exp_cmd_sn: int, max_cmd_sn: int) -> None:
        """ExpCmdSN and MaxCmdSN of a response; an impossible pair is ignored, and neither goes back (4.2.2.1)."""
        if serial.lt(max_cmd_sn, serial.add(exp_cmd_sn, -1)):
            return
        if serial.gt(exp_cmd_sn, self.exp_cmd_sn):
            self.exp_cmd_sn = exp_cmd_sn
        if serial.gt(max_cmd_sn, self.max_cmd_sn):
            self.max_cmd_sn = max_cmd_sn

    def next_cmd_sn(self) -> int:
        """The CmdSN of a numbered request, which is thereby used."""
        used = self.cmd_sn
        self.cmd_sn = (used + 1) & 0xFFFFFFFF
        return used

    def next_itt(self) -> int:
        """A task tag that no task has."""
        while True:
            self._itt = (self._itt + 1) & 0xFFFFFFFF
            if self._itt != NO_TAG and self._itt not in self.tasks:
                return self._itt

    @property
    def window_open(self) -> bool:
        """Whether a numbered request may be sent."""
        return (self.max_cmd_sn - self.cmd_sn) & 0xFFFFFFFF < 0x80000000 or self._session.policy.ignore_command_window

    # From above.

    def submit(self, request: Request, now: float) -> None:
        """Take a request."""
        session = self._session
        request.session = session.number
        request.result = request.failure = None
        if session.over:
            self._done(request, failure=Failure.NOT_CONNECTED)
            return
        self.pending.append(request)
        if session.recovering:
            self._hold(request, now)
        self.pump(now)
        if request.due is None and self.pending and self.pending[-1] is request:
            request.due = now + self._allowance(request)
            self._wait_until(request.due)

    def cancel(self, request: Request, now: float) -> None:
        """End a request: at once while it waits, by ABORT TASK once it was sent. Nothing for one that is over."""
        if request in self.pending:
            self.pending.remove(request)
            self._done(request, failure=Failure.ABORTED)
            return
        for task in self.tasks.values():
            if task.request is request and isinstance(task, ScsiTask) and task.ending is None:
                self.escalation.end(task, Failure.ABORTED, now)
                return

    def pump(self, now: float) -> None:
        """Send what may be sent."""
        session = self._session
        if not session.logged_in or self.paused:
            return
        pending = self.pending
        while pending and self._may_start(pending[0]):
            self._start(pending.popleft(), now)

    def _may_start(self, request: Request) -> bool:
        if isinstance(request, ScsiRequest):
            return len(self.tasks) < self._session.settings.max_pending_requests and self.window_open
        if isinstance(request, TextNegotiation):
            return self.text.task is None and (request.asked_for or self.window_open)
        return True

    def _start(self, request: Request, now: float) -> None:
        session = self._session
        link = session.link
        if link is None:
            return
        session.touch(now)
        if isinstance(request, ScsiRequest):
            task = ScsiTask(self.next_itt(), self.next_cmd_sn(), request)
            allowance = self._allowance(request)
            self.add(task, now + allowance, allowance)
            task.send(link)
        elif isinstance(request, TaskManagement):
            self.send_task_management(request, now)
        elif isinstance(request, Ping):
            self.ping(request, now)
        elif isinstance(request, TextNegotiation):
            immediate = request.asked_for
            cmd_sn = self.cmd_sn if immediate else self.next_cmd_sn()
            exchange = Task(
                *(Opcode.TEXT_REQUEST, Opcode.TEXT_RESPONSE, self.next_itt(), cmd_sn, request), immediate=immediate
            )
            self.add(exchange, now + self._allowance(request), self._allowance(request))
            self.text.begin(exchange, request)

    def _allowance(self, request: Request) -> float:
        """Seconds that a request has."""
        settings = self._session.settings
        if isinstance(request, ScsiRequest):
            if request.management:
                return settings.wmi_request_timeout if request.timeout is None else request.timeout
            own = settings.scsi_request_timeout if request.timeout is None else request.timeout
            return own + settings.effective_srb_timeout_delta
        if request.timeout is not None:
            return request.timeout
        if isinstance(request, TaskManagement):
            return settings.task_management_timeout
        return settings.nop_out_timeout if isinstance(request, Ping) else settings.wmi_request_timeout

    # Sending.

    def add(self, task: Task, deadline: float, allowance: float) -> None:
        """Keep a task that is being sent. Tasks with the same allowance run out of time in the order in which they began."""
        task.deadline = deadline
        task.allowance = allowance
        self.tasks[task.itt] = task
        self._clocks.setdefault(allowance, {})[task.itt] = task

    def ping(self, request: Ping, now: float, filler: Task | None = None) -> None:
        """Send a NOP-Out ping: immediate, or numbered in place of a request that the target refused (`filler`)."""
        link = self._session.link
        if link is None:
            return
        cmd_sn = self.cmd_sn if filler is None else filler.cmd_sn
        task = Task(*(Opcode.NOP_OUT, Opcode.NOP_IN, self.next_itt(), cmd_sn, request), immediate=filler is None)
        self.add(task, now + self._allowance(request), self._allowance(request))
        link.send_pdu(
            NopOut(
                immediate=task.immediate,
                itt=task.itt,
                cmd_sn=cmd_sn,
                exp_stat_sn=link.exp_stat_sn,
                data=request.data,
            )
        )

    def acknowledge(self, link: Link, lun: bytes) -> None:
        """Send a NOP-Out that is no ping: it carries ExpStatSN, and the LUN that AsyncEvent 5 was about (11.18)."""
        link.send_pdu(NopOut(immediate=True, lun=lun, cmd_sn=self.cmd_sn, exp_stat_sn=link.exp_stat_sn))

    def send_task_management(self, request: TaskManagement, now: float, referenced: ScsiTask | None = None) -> None:
        """Send a task management function, always as immediate request."""
        session = self._session
        link = session.link
        if link is None:
            return
        if request.function in _ABOUT_A_TASK and referenced is None:
            referenced = self._task_of(request.referenced)
            if referenced is None:
                self._done(request, failure=Failure.NO_SUCH_TASK)
                return
        task = Task(
            Opcode.TASK_MANAGEMENT_REQUEST,
            Opcode.TASK_MANAGEMENT_RESPONSE,
            self.next_itt(),
            self.cmd_sn,
            request,
            immediate=True,
        )
        self.add(task, now + self._allowance(request), self._allowance(request))
        link.send_pdu(
            TaskManagementRequest(
                function=request.function,
                lun=bytes(8) if request.function in _OF_THE_TARGET else request.lun,
                itt=task.itt,
                referenced_task_tag=referenced.itt if referenced else NO_TAG,
                cmd_sn=self.cmd_sn,
                exp_stat_sn=link.exp_stat_sn,
                ref_cmd_sn=referenced.cmd_sn if referenced else 0,
            )
        )
        if request.function in _TARGET_RESETS:
            session.log(39, session.target_name_bytes, now, "target reset")

    def _task_of(self, request: ScsiRequest | None) -> ScsiTask | None:
        for task in self.tasks.values():
            if isinstance(task, ScsiTask) and task.request is request:
                return task
        return None

    # Endings.

    def finish(self, task: Task, *, result: object = None, failure: Failure | None = None) -> None:
        """A task is over; its request ends with this result or failure."""
        self.forget(task)
        if task is self.text.task:
            self.text.failed()
        self._done(task.request, result=result, failure=failure)

    def forget(self, task: Task) -> None:
        """A task is over, and nothing comes of its request by that."""
        self.tasks.pop(task.itt, None)
        clock = self._clocks.get(task.allowance)
        if clock is not None:
            clock.pop(task.itt, None)

    def _done(self, request: Request, *, result: object = None, failure: Failure | None = None) -> None:
        request.result, request.failure = (result, None) if failure is None else (None, failure)
        self._session.emit(RequestDone(request))

    def task_management_answered(self, task: Task, result: TaskManagementResult, now: float) -> None:
        """A task management function was answered: tasks that it ended are over."""
        request = task.request
        if self.escalation.owns(request):
            self.forget(task)
            self.escalation.answered(result.response, now)
            return
        self.finish(task, result=result)
        if not isinstance(request, TaskManagement) or result.response != TaskResponse.FUNCTION_COMPLETE:
            return
        if request.function == TaskFunction.ABORT_TASK:
            aborted = self._task_of(request.referenced)
            if aborted is not None:
                self.finish(aborted, failure=Failure.ABORTED)
        elif request.function in _OF_A_LUN:
            self.tasks_reset(request.lun)
        elif request.function in _OF_THE_TARGET:
            self.tasks_reset(None)

    def tasks_reset(self, lun: bytes | None) -> None:
        """The SCSI tasks of a LUN, or all of them, were ended without a response."""
        for task in list(self.tasks.values()):
            if isinstance(task, ScsiTask) and lun in (None, task.scsi.lun):
                self.finish(task, failure=task.ending or Failure.RESET)

    def rejected(self, task: Task, now: float) -> None:
        """The target rejected a request (11.17)."""
        session = self._session
        numbered = not task.immediate
        if task.opcode == Opcode.LOGOUT_REQUEST:
            session.logout_failed(now, "the logout was rejected")
            return
        if self.escalation.owns(task.request):
            self.forget(task)
            self.escalation.answered(None, now)
        else:
            self.finish(task, failure=Failure.REJECTED)
        if numbered and session.logged_in and serial.le(self.exp_cmd_sn, task.cmd_sn):
            # The target has not counted it, and takes nothing behind it until the gap is closed (4.2.2.1, 11.17.1).
            if task.opcode == Opcode.NOP_OUT:
                session.recover(now, "a gap in CmdSN cannot be closed")
            else:
                self.ping(Ping(), now, filler=task)

    # Time.

    def next_deadline(self) -> float | None:
        """When the first task, or waiting request, runs out of time."""
        earliest: float | None = None
        for clock in self._clocks.values():
            if clock:
                first = next(iter(clock.values())).deadline
                if first is not None and (earliest is None or first < earliest):
                    earliest = first
        waiting = self._waiting_until
        if waiting is not None and (earliest is None or waiting < earliest):
            return waiting
        return earliest

    def handle_timer(self, now: float) -> None:
        """What ran out of time by now: by deadline, and of equal ones what was sent first."""
        while (task := self._overdue(now)) is not None:
            del self._clocks[task.allowance][task.itt]
            self._timed_out(task, now)
        if self._waiting_until is not None and self._waiting_until <= now:
            self._give_up(now)

    def _overdue(self, now: float) -> Task | None:
        firsts = [next(iter(clock.values())) for clock in self._clocks.values() if clock]
        due = [(task.deadline, -task.allowance, task) for task in firsts if task.deadline is not None and task.deadline <= now]
        return min(due, key=lambda each: each[:2])[2] if due else None

    def _wait_until(self, limit: float) -> None:
        """A request that waits does so until then; next_deadline may be too early, never too late."""
        if self._waiting_until is None or limit < self._waiting_until:
            self._waiting_until = limit

    def _give_up(self, now: float) -> None:
        recovering = self._session.recovering
        failure = Failure.NO_DEVICE if recovering else Failure.TIMED_OUT
        waiting, self.pending = self.pending, deque()
        self._waiting_until = None
        for request in waiting:
            limit = request.held_until if recovering else request.due
            if limit is not None and limit <= now:
                self._done(request, failure=failure)
                continue
            self.pending.append(request)
            if limit is not None:
                self._wait_until(limit)

    def _timed_out(self, task: Task, now: float) -> None:
        session, request = self._session, task.request
        function = words(task.opcode)
        if isinstance(task, ScsiTask):
            if task.scsi.management:
                session.log(47, function, now, "no answer in time")
            else:
                session.log(9, task.scsi.cdb, now, "no answer in time")
            task.timed_out = True
            if session.policy.no_escalation:
                self.finish(task, failure=Failure.TIMED_OUT)
            elif task.ending is None:
                self.escalation.end(task, Failure.TIMED_OUT, now)
        elif isinstance(request, TaskManagement):
            session.log(49, function, now, "no answer in time")
            if self.escalation.owns(request):
                self.forget(task)
                self.escalation.answered(None, now)
            else:
                self.finish(task, failure=Failure.TIMED_OUT)
        elif isinstance(request, TextNegotiation):
            session.log(46 if request.send_targets else 50, function, now, "no answer in time")
            self.finish(task, failure=Failure.TIMED_OUT)
        elif isinstance(request, Ping):
            session.log(48, function, now, "no answer in time")
            self.finish(task, failure=Failure.TIMED_OUT)
            session.recover(now, "no answer to a ping")
        else:
            session.logout_timed_out(now)

    # The connection is gone.

    def _hold(self, request: Request, now: float) -> None:
        if request.held_until is None:
            request.held_until = now + self._session.settings.max_request_hold_time
        self._wait_until(request.held_until)

    def connection_gone(self, now: float, *, recover: bool) -> None:
        """Every task is over. With a recovery to come, SCSI requests wait for it, in the order in which they were sent."""
        tasks = list(self.tasks.values())
        self.tasks.clear()
        self._clocks.clear()
        self.escalation.reset()
        self.text.reset()
        self.paused = False
        again: list[Request] = []
        for task in tasks:
            request = task.request
            if isinstance(task, ScsiTask):
                if task.ending is not None:
                    self._done(request, failure=task.ending)
                elif recover and task.scsi.hold:
                    again.append(request)
                else:
                    self._done(request, failure=Failure.CONNECTION_LOST)
            elif type(request) is not Request:
                self._done(request, failure=Failure.CONNECTION_LOST)
        self.pending.extendleft(reversed(again))
        if recover:
            for request in self.pending:
                self._hold(request, now)

    def fail_all(self, failure: Failure) -> None:
        """The session is over: so is everything that waits."""
        while self.pending:
            self._done(self.pending.popleft(), failure=failure)
