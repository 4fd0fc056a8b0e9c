"""The requests of a session: queued while the command window is closed or no connection is up, spread over the connections,
sent, timed, and finished (RFC 7143 4.2.2.1, 4.2.5, 7.11).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from iscsi_initiator.admission import Admission
from iscsi_initiator.escalation import Escalation
from iscsi_initiator.link import Link
from iscsi_initiator.losses import Losses
from iscsi_initiator.requests import (
    DeviceGone,
    Failure,
    Ping,
    Request,
    RequestDone,
    ScsiRequest,
    TaskManagement,
    TaskManagementResult,
    TextNegotiation,
)
from iscsi_initiator.tasks import Reassignment, RecoveryLogout, ScsiTask, Task
from iscsi_protocol import serial
from iscsi_protocol.eventlog.dump import words
from iscsi_protocol.pdu import NO_TAG, NopOut, TaskManagementRequest
from iscsi_protocol.pdu.codes import Opcode, RejectReason, TaskFunction, TaskResponse

if TYPE_CHECKING:
    from iscsi_initiator.session import Session

_OF_A_LUN = frozenset({TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET})
_OF_THE_TARGET = frozenset(
    {TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET, TaskFunction.I_T_NEXUS_RESET}
)
_TARGET_RESETS = frozenset({TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET})
_ABOUT_A_TASK = frozenset({TaskFunction.ABORT_TASK, TaskFunction.QUERY_TASK})
_REJECTIONS: dict[int, Failure] = {
    RejectReason.COMMAND_NOT_SUPPORTED: Failure.UNSUPPORTED,
    RejectReason.IMMEDIATE_COMMAND_REJECT: Failure.TARGET_FULL,
    RejectReason.LONG_OPERATION_REJECT: Failure.TARGET_FULL,
}
"""Reason of a Reject (11.17.1) -> failure, where it says more than that the request was rejected."""
_SCSI_COMMAND = int(Opcode.SCSI_COMMAND)

MAX_RESENDS = 3
"""How many times a command that the target does not have is sent again."""

_MASK = 0xFFFFFFFF
_HALF = 0x80000000


class Work:
    """What a session has to do. cmd_sn: the next to use; exp_cmd_sn, max_cmd_sn: the target's."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.pending: deque[Request] = deque()
        self.tasks: dict[int, Task] = {}
        self.cmd_sn = 1
        self.exp_cmd_sn = 1
        self.max_cmd_sn = 1
        self.admission = Admission(session, self)
        self.escalation = Escalation(session)
        settings = session.settings
        self._most = settings.max_pending_requests
        self._usual_allowance = settings.scsi_request_timeout + settings.effective_srb_timeout_delta
        self._itt = 0
        self._clocks: dict[float, dict[int, Task]] = {}
        self._waiting_until: float | None = None
        self.losses = Losses(session, self)

    # Numbers.

    def take_command_numbers(self, exp_cmd_sn: int, max_cmd_sn: int) -> None:
        """ExpCmdSN and MaxCmdSN of a response; an impossible pair is ignored, and neither goes back (4.2.2.1)."""
        if 0 < (exp_cmd_sn - 1 - max_cmd_sn) & _MASK < _HALF:
            return
        if (exp_cmd_sn - self.exp_cmd_sn) & _MASK < _HALF:
            self.exp_cmd_sn = exp_cmd_sn
        if (max_cmd_sn - self.max_cmd_sn) & _MASK < _HALF:
            self.max_cmd_sn = max_cmd_sn

    def next_cmd_sn(self) -> int:
        """The CmdSN of a numbered request, which is thereby used."""
        used = self.cmd_sn
        self.cmd_sn = (used + 1) & _MASK
        return used

    def next_itt(self) -> int:
        """A task tag that no task has."""
        itt = (self._itt + 1) & _MASK
        while itt == NO_TAG or itt in self.tasks:
            itt = (itt + 1) & _MASK
        self._itt = itt
        return itt

    @property
    def window_open(self) -> bool:
        """Whether a numbered request may be sent."""
        return (self.max_cmd_sn - self.cmd_sn) & _MASK < _HALF or self._session.policy.ignore_command_window

    # From above.

    def submit(self, request: Request, now: float, *, first: bool = False) -> None:
        """Take a request. first: it waits for no other."""
        session = self._session
        request.session = session.number
        request.result = request.failure = None
        if session.over or session.leaving:
            self.done(request, failure=Failure.NOT_CONNECTED)
            return
        if session.device_gone:
            self.done(request, failure=Failure.NO_DEVICE)
            return
        if not self.admission.admits(request, now):
            self.done(request, failure=Failure.NO_RESOURCES)
            return
        pending = self.pending
        place = 0 if first else -1
        if first:
            pending.appendleft(request)
        else:
            pending.append(request)
        if session.ready:
            self.pump(now)
        elif session.recovering:
            self.losses.hold(request, now)
        if not pending or pending[place] is not request:
            return
        if not self.admission.lets_wait(now):
            del pending[place]
            self.done(request, failure=Failure.NO_RESOURCES)
        elif request.due is None:
            self.queue(request, now)

    def queue(self, request: Request, now: float) -> None:
        """A request waits from now on to be sent."""
        request.due = now + self._allowance(request)
        self.wait_until(request.due)

    def cancel(self, request: Request, now: float) -> None:
        """End a request: at once while it waits, by ABORT TASK once it was sent. Nothing for one that is over."""
        if request in self.pending:
            self.pending.remove(request)
            self.done(request, failure=Failure.ABORTED)
            return
        for task in self.tasks.values():
            if task.request is request and isinstance(task, ScsiTask) and task.ending is None:
                self.escalation.end(task, Failure.ABORTED, now)
                return

    def pump(self, now: float) -> None:
        """Send what may be sent. A text request that has to wait for another one holds nothing up but its like."""
        session, pending = self._session, self.pending
        passed: list[Request] | None = None
        while pending:
            ready = session.ready
            if not ready:
                break
            request = pending[0]
            if isinstance(request, ScsiRequest):
                if len(self.tasks) >= self._most or not (
                    (self.max_cmd_sn - self.cmd_sn) & _MASK < _HALF or session.policy.ignore_command_window
                ):
                    break
                pending.popleft()
                link = ready[0] if len(ready) == 1 else session.balance.choose(ready)
                task = self.admission.begin(link, request, now)
                if isinstance(task, Failure):
                    self.done(request, failure=task)
                    continue
                self.cmd_sn = (self.cmd_sn + 1) & _MASK
                plain = request.timeout is None and not request.management
                allowance = self._usual_allowance if plain else self._allowance(request)
                link.queued += 1
                link.last_activity = now
                self.add(task, now + allowance, allowance)
                task.send()
            elif not self._start(request, now):
                passed = [] if passed is None else passed
                passed.append(pending.popleft())
        if passed:
            pending.extendleft(reversed(passed))

    def _start(self, request: Request, now: float) -> bool:
        """Begin a request that is no SCSI command, if that can be now."""
        session = self._session
        link = session.ready[0]
        if isinstance(request, TextNegotiation):
            chosen = self._idle_for_text(request)
            if chosen is None and self._text_unanswered(request):
                self.pending.popleft()
                self.done(request, failure=Failure.TIMED_OUT)
                return True
            if chosen is None or not (request.asked_for or self.window_open):
                return False
            link = chosen
        self.pending.popleft()
        if not self.admission.has_tag(now):
            self.done(request, failure=Failure.NO_RESOURCES)
            return True
        link.last_activity = now
        if isinstance(request, TaskManagement):
            self.send_task_management(request, now)
        elif isinstance(request, Ping):
            self.ping(request, link, now)
        elif isinstance(request, TextNegotiation):
            self._begin_text(request, link, now)
        return True

    def _idle_for_text(self, request: TextNegotiation) -> Link | None:
        """A connection without a text exchange: each has one at most (6.4)."""
        session = self._session
        if request.cid is not None and request.cid not in session.connections:
            request.cid = None
        for link in session.ready:
            if request.cid in (None, link.cid) and session.connections[link.cid].text.idle:
                return link
        return None

    def _text_unanswered(self, request: TextNegotiation) -> bool:
        """Whether a text exchange would wait for the answer to one that has run out of time, and all else behind it."""
        connections = self._session.connections
        fit = [connections[link.cid].text for link in self._session.ready if request.cid in (None, link.cid)]
        return bool(fit) and all(text.unanswered is not None for text in fit)

    def _begin_text(self, request: TextNegotiation, link: Link, now: float) -> None:
        immediate = request.asked_for
        cmd_sn = self.cmd_sn if immediate else self.next_cmd_sn()
        link.last_activity = now
        exchange = Task(
            *(link, Opcode.TEXT_REQUEST, Opcode.TEXT_RESPONSE, self.next_itt(), cmd_sn, request), immediate=immediate
        )
        self.add(exchange, now + self._allowance(request), self._allowance(request))
        self._session.connections[link.cid].text.begin(exchange, request)

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
        clock = self._clocks.get(allowance)
        if clock is None:
            clock = self._clocks[allowance] = {}
        clock[task.itt] = task

    def ping(self, request: Ping, link: Link, now: float, filler: int | None = None) -> None:
        """Send a NOP-Out ping: immediate, or numbered with a CmdSN that the target lacks (`filler`)."""
        cmd_sn = self.cmd_sn if filler is None else filler
        task = Task(*(link, Opcode.NOP_OUT, Opcode.NOP_IN, self.next_itt(), cmd_sn, request), immediate=filler is None)
        link.last_activity = now
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
        """Send a task management function, always as immediate request; one about a task on the task's connection."""
        session = self._session
        if request.function in _ABOUT_A_TASK and referenced is None:
            referenced = self._task_of(request.referenced)
            if referenced is None:
                self.done(request, failure=Failure.NO_SUCH_TASK)
                return
        carrier = session.any_up()
        link = referenced.link if referenced is not None and referenced.link.up else carrier.link if carrier else None
        if (
            link is None
            or not session.takes(link)
            or (request.function in _ABOUT_A_TASK and referenced is not None and link is not referenced.link)
        ):
            self.done(request, failure=Failure.CONNECTION_LOST)
            return
        about = referenced if request.function in _ABOUT_A_TASK else None
        task = Task(
            *(link, Opcode.TASK_MANAGEMENT_REQUEST, Opcode.TASK_MANAGEMENT_RESPONSE, self.next_itt(), self.cmd_sn),
            request,
            immediate=True,
        )
        self.add(task, now + self._allowance(request), self._allowance(request))
        if request.function in _TARGET_RESETS and not session.log(39, session.target_name_bytes, now, "target reset"):
            return
        link.send_pdu(
            TaskManagementRequest(
                function=request.function,
                lun=bytes(8) if request.function in _OF_THE_TARGET else request.lun,
                itt=task.itt,
                referenced_task_tag=about.itt if about else NO_TAG,
                cmd_sn=self.cmd_sn,
                exp_stat_sn=link.exp_stat_sn,
                ref_cmd_sn=about.cmd_sn if about else 0,
            )
        )

    def _task_of(self, request: ScsiRequest | None) -> ScsiTask | None:
        for task in self.tasks.values():
            if isinstance(task, ScsiTask) and task.request is request:
                return task
        return None

    def carried_by(self, link: Link | None) -> list[Task]:
        """The tasks of a link."""
        return [task for task in self.tasks.values() if task.link is link]

    # Endings.

    def finish(self, task: Task, *, result: object = None, failure: Failure | None = None) -> None:
        """A task is over; its request ends with this result or failure."""
        if isinstance(task, ScsiTask):
            if self.tasks.pop(task.itt, None) is not None:
                task.link.queued -= 1
            self._clocks[task.allowance].pop(task.itt, None)
            if task.link.timing and failure is None:
                self._take_time(task)
            if task.landing is not None:
                task.let_go()
            if task.trouble is not None:
                self._release(task)
        else:
            self.forget(task)
            if isinstance(task.request, TextNegotiation):
                self._session.connections[task.link.cid].text.over(task)
        request = task.request
        request.result, request.failure = (result, None) if failure is None else (None, failure)
        if request.counted:
            self.admission.release(request)
        self._session.emit(RequestDone(request))

    @staticmethod
    def _take_time(task: Task) -> None:
        """How long a request took, of the first one that bytes from the network end: there are so many."""
        link = task.link
        if task.deadline is not None:
            link.timing = False
            link.traffic.took(link.last_activity - task.deadline + task.allowance)

    def forget(self, task: Task) -> None:
        """A task is over, and nothing comes of its request by that."""
        if self.tasks.pop(task.itt, None) is not None and task.opcode == _SCSI_COMMAND:
            task.link.queued -= 1
        clock = self._clocks.get(task.allowance)
        if clock is not None:
            clock.pop(task.itt, None)

    def forget_all(self) -> None:
        """No task is under way any more."""
        self.tasks.clear()
        for clock in self._clocks.values():
            clock.clear()
        self.escalation.reset()

    def _release(self, task: ScsiTask) -> None:
        connection = self._session.connections.get(task.link.cid)
        if connection is not None and connection.link is task.link and connection.snacks is not None:
            connection.snacks.release(task)

    def done(self, request: Request, *, result: object = None, failure: Failure | None = None) -> None:
        """A request is over, with this result or failure."""
        request.result, request.failure = (result, None) if failure is None else (None, failure)
        if request.counted:
            self.admission.release(request)
        self._session.emit(RequestDone(request))

    def task_management_answered(self, task: Task, result: TaskManagementResult, now: float) -> None:
        """A task management function was answered: tasks that it ended are over."""
        request = task.request
        if self.escalation.owns(request):
            self.forget(task)
            self.escalation.answered(result.response, now, task.cmd_sn)
            return
        self.finish(task, result=result)
        if not isinstance(request, TaskManagement) or result.response != TaskResponse.FUNCTION_COMPLETE:
            return
        if request.function == TaskFunction.ABORT_TASK:
            aborted = self._task_of(request.referenced)
            if aborted is not None:
                self.finish(aborted, failure=Failure.ABORTED)
        elif request.function in _OF_A_LUN:
            self.tasks_reset(request.lun, task.cmd_sn)
        elif request.function in _OF_THE_TARGET:
            self.tasks_reset(None, task.cmd_sn)

    def tasks_reset(self, lun: bytes | None, before: int | None = None) -> None:
        """The SCSI tasks of a LUN, or all of them, were ended without a response. before: the CmdSN of the function that
        did it, which those sent later have no part in (11.5.1).
        """
        for task in list(self.tasks.values()):
            affected = isinstance(task, ScsiTask) and lun in (None, task.scsi.lun)
            if isinstance(task, ScsiTask) and affected and (before is None or serial.lt(task.cmd_sn, before)):
                self.finish(task, failure=task.ending or Failure.RESET)

    def rejected(self, task: Task, reason: int, now: float) -> None:
        """The target rejected a request (11.17). reason: of the Reject."""
        session = self._session
        numbered = not task.immediate
        link = task.link
        if isinstance(task.request, Reassignment):
            self.forget(task)
            session.recovery.session_failed(now, "TASK REASSIGN was rejected")
            return
        if task.opcode == Opcode.LOGOUT_REQUEST:
            if isinstance(task.request, RecoveryLogout):
                self.forget(task)
                session.recovery.session_failed(now, "a logout for recovery was rejected")
            else:
                session.connections[link.cid].logout_failed(now, "the logout was rejected")
            return
        if self.escalation.owns(task.request):
            self.forget(task)
            self.escalation.answered(None, now, task.cmd_sn)
        else:
            self.finish(task, failure=_REJECTIONS.get(reason, Failure.REJECTED))
        if numbered and session.takes(link) and serial.le(self.exp_cmd_sn, task.cmd_sn):
            # The target has not counted it, and takes nothing behind it until the gap is closed (4.2.2.1, 11.17.1).
            if task.opcode == Opcode.NOP_OUT:
                session.connections[link.cid].fail(now, "a gap in CmdSN cannot be closed")
            else:
                self.ping(Ping(), link, now, filler=task.cmd_sn)

    def ping_answered(self, ping: Task) -> None:
        """A command that went out before a ping, and is not even counted at its answer, was lost (7.2.1)."""
        if not ping.link.level or not ping.immediate:
            return
        for task in self.tasks.values():
            if isinstance(task, ScsiTask) and task.cmd_sn == self.exp_cmd_sn and task.link is ping.link:
                if serial.lt(task.cmd_sn, ping.cmd_sn) and task.tries <= MAX_RESENDS:
                    self.resend(task)
                return

    def resend(self, task: ScsiTask) -> None:
        """The target does not have a command: it goes out again as it was, on its own connection."""
        task.tries += 1
        task.restart()
        task.send()

    # Time.

    def next_deadline(self) -> float | None:
        """When the first task, or waiting request, runs out of time."""
        earliest = self._waiting_until
        for clock in self._clocks.values():
            for task in clock.values():
                deadline = task.deadline
                if deadline is not None and (earliest is None or deadline < earliest):
                    earliest = deadline
                break
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
        due = [
            (task.deadline, -task.allowance, task)
            for task in firsts
            if task.deadline is not None and task.deadline <= now
        ]
        return min(due, key=lambda each: each[:2])[2] if due else None

    def stop_clock(self, task: Task) -> None:
        """A task is not to run out of time until it is added again."""
        clock = self._clocks.get(task.allowance)
        if clock is not None:
            clock.pop(task.itt, None)
        task.deadline = None

    def wait_until(self, limit: float) -> None:
        """A request that waits does so until then; next_deadline may be too early, never too late."""
        if self._waiting_until is None or limit < self._waiting_until:
            self._waiting_until = limit

    def _give_up(self, now: float) -> None:
        """Requests that waited too long: for a connection to come back, or for their turn."""
        session = self._session
        recovering = session.recovering
        if recovering and any(isinstance(task, ScsiTask) for task in self.tasks.values()):
            limits = [task.request.held_until for task in self.tasks.values()]
            if any(limit is not None and limit <= now for limit in limits):
                # What the target still has of them is not to be carried on with.
                session.recovery.session_failed(now, "requests were held too long", 0)
        failure = Failure.NO_DEVICE if recovering else Failure.TIMED_OUT
        waiting, self.pending = self.pending, deque()
        self._waiting_until = None
        gone = False
        for request in waiting:
            limit = request.held_until if recovering else request.due
            if limit is not None and limit <= now:
                # One that was held before, too, ends alone: the others have time yet.
                gone = gone or (recovering and request.hold_left is None)
                self.done(request, failure=failure)
                continue
            self.pending.append(request)
            if limit is not None:
                self.wait_until(limit)
        if gone and not session.device_gone:
            session.device_gone = True
            session.emit(DeviceGone(session.number))
            self.fail_all(Failure.NO_DEVICE)

    def _timed_out(self, task: Task, now: float) -> None:
        session, request = self._session, task.request
        function, text = words(task.opcode), "no answer in time"
        if isinstance(task, ScsiTask):
            self._command_timed_out(task, function, now)
        elif isinstance(request, TaskManagement | Reassignment):
            if session.log(49, function, now, text):
                self._function_timed_out(task, now)
        elif isinstance(request, TextNegotiation):
            if session.log(46 if request.send_targets else 50, function, now, text):
                session.connections[task.link.cid].text.give_up(task)
                self.finish(task, failure=Failure.TIMED_OUT)
        elif isinstance(request, Ping):
            if session.log(48, function, now, text):
                self.finish(task, failure=Failure.TIMED_OUT)
                self.losses.leave_open(task)
                session.connections[task.link.cid].fail(now, "no answer to a ping")
        elif isinstance(request, RecoveryLogout):
            session.recovery.logout_timed_out(task, now)
        else:
            session.connections[task.link.cid].logout_timed_out(now)

    def _command_timed_out(self, task: ScsiTask, function: bytes, now: float) -> None:
        session = self._session
        event, extra = (47, function) if task.scsi.management else (9, task.scsi.cdb)
        if not session.log(event, extra, now, "no answer in time"):
            return
        task.timed_out = True
        if session.policy.no_escalation:
            self.finish(task, failure=Failure.TIMED_OUT)
        elif task.ending is None:
            self.escalation.end(task, Failure.TIMED_OUT, now)

    def _function_timed_out(self, task: Task, now: float) -> None:
        if isinstance(task.request, Reassignment):
            self.forget(task)
            self._session.recovery.session_failed(now, "no answer to TASK REASSIGN")
        elif self.escalation.owns(task.request):
            self.forget(task)
            self.escalation.answered(None, now, task.cmd_sn)
        else:
            self.finish(task, failure=Failure.TIMED_OUT)

    def fail_all(self, failure: Failure) -> None:
        """The session is over: so is everything that waits."""
        self._waiting_until = None
        while self.pending:
            self.done(self.pending.popleft(), failure=failure)
