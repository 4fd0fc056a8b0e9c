"""What becomes of requests whose connection, or session, is gone (RFC 7143 7.2.1, 7.2.2, 7.1.4.4): they wait, go out again,
are carried on with elsewhere, or fail.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_initiator.link import Link
from iscsi_initiator.requests import Failure, Ping, Request
from iscsi_initiator.tasks import Reassignment, RecoveryLogout, ScsiTask, Task
from iscsi_protocol import serial

if TYPE_CHECKING:
    from iscsi_initiator.session import Session
    from iscsi_initiator.work import Work


class Losses:
    """Those of one session."""

    def __init__(self, session: Session, work: Work) -> None:
        self._session = session
        self._work = work
        self._gaps: dict[int, list[int]] = {}

    def hold(self, request: Request, now: float) -> None:
        """A request waits for a connection, as long as it may: over all losses that it lives through together."""
        session = self._session
        if request.held_until is None:
            settings = session.settings
            held = settings.link_down_time if session.options.multipath else settings.max_request_hold_time
            request.held_until = now + (held if request.hold_left is None else request.hold_left)
        self._work.wait_until(request.held_until)

    def back(self, now: float) -> None:
        """There is a connection again: nothing is held, and what has to wait still does so for its turn."""
        for request in [*self._work.pending, *(task.request for task in self._work.tasks.values())]:
            if request.held_until is not None:
                request.hold_left = max(0.0, request.held_until - now)
                request.held_until = None
        for request in self._work.pending:
            self._work.queue(request, now)

    def hold_all(self, now: float) -> None:
        """No connection is up: requests wait for one, those that were sent too."""
        if not self._session.recovering:
            return
        for request in self._work.pending:
            self.hold(request, now)
        for task in self._work.tasks.values():
            if isinstance(task, ScsiTask):
                self.hold(task.request, now)

    def link_lost(self, link: Link, now: float) -> None:
        """A connection is gone that will be recovered (level 2): SCSI tasks wait for it, all else on it is over."""
        for task in self._work.carried_by(link):
            if isinstance(task, ScsiTask):
                self._work.stop_clock(task)
                if not task.scsi.hold and task.ending is None:
                    task.ending = Failure.CONNECTION_LOST
                continue
            self.leave_open(task)
            if (
                self._work.escalation.owns(task.request)
                or isinstance(task.request, Reassignment | RecoveryLogout)
                or type(task.request) is Request
            ):
                self._work.forget(task)
            else:
                self._work.finish(task, failure=Failure.CONNECTION_LOST)
        self._work.escalation.link_lost(link, now)

    def link_logged_out(self, link: Link, now: float) -> None:
        """A connection is closed in order: what was still on it is started again elsewhere."""
        again: list[Request] = []
        for task in self._work.carried_by(link):
            if not task.immediate and serial.ge(task.cmd_sn, self._work.exp_cmd_sn):
                self._gaps.setdefault(link.cid, []).append(task.cmd_sn)
            if isinstance(task, ScsiTask) and task.ending is None and task.scsi.hold:
                self._work.forget(task)
                again.append(task.request)
            elif isinstance(task, ScsiTask):
                self._work.finish(task, failure=task.ending or Failure.CONNECTION_LOST)
            else:
                self._work.forget(task)
                if type(task.request) is not Request and not isinstance(task.request, Reassignment | RecoveryLogout):
                    self._work.done(task.request, failure=Failure.CONNECTION_LOST)
        self._put_back(again, now)
        self._work.escalation.link_lost(link, now)

    def leave_open(self, task: Task) -> None:
        """A request that the target may never have had comes to nothing, and its connection with it: the CmdSN is filled
        once that is recovered.
        """
        if not task.immediate:
            self._gaps.setdefault(task.link.cid, []).append(task.cmd_sn)

    def send_again(self, task: ScsiTask, link: Link, now: float) -> None:
        """A command that the target never had goes out on another connection, with its numbers."""
        self.move(task, link)
        task.restart()
        self.resume(task, now, at_once=True)

    def move(self, task: ScsiTask, link: Link) -> None:
        """Give a task another allegiance."""
        task.link.queued -= 1
        task.link = link
        link.queued += 1
        task.first_drained = -1

    def resume(self, task: ScsiTask, now: float, *, at_once: bool = False) -> None:
        """A task goes on; its clock begins anew. at_once: by sending its command."""
        self._work.add(task, now + task.allowance, task.allowance)
        if at_once:
            task.send()
        if task.ending is not None:
            self._work.escalation.end(task, task.ending, now)

    def start_anew(self, task: ScsiTask, now: float) -> None:
        """The target does not know a task any more: its request becomes another one."""
        if task.ending is not None or not task.scsi.hold:
            self._work.finish(task, failure=task.ending or Failure.CONNECTION_LOST)
            return
        self._work.forget(task)
        self._put_back([task.request], now)
        self._work.pump(now)

    def _put_back(self, requests: list[Request], now: float) -> None:
        """Requests wait to be sent again, before all others."""
        for request in requests:
            self._work.queue(request, now)
        self._work.pending.extendleft(reversed(requests))

    def fill_gaps(self, cid: int, link: Link | None, now: float) -> None:
        """CmdSNs of a lost connection that the target still lacks, and that nothing is left of, are filled by pings."""
        carrier = self._session.any_up()
        link = link or (carrier.link if carrier else None)
        if link is None:
            return
        for cmd_sn in self._gaps.pop(cid, []):
            if serial.ge(cmd_sn, self._work.exp_cmd_sn):
                self._work.ping(Ping(), link, now, filler=cmd_sn)

    def session_gone(self, now: float, *, recover: bool) -> None:
        """Every task is over. With a recovery to come, SCSI requests wait for it, in the order in which they were sent."""
        tasks = sorted(self._work.tasks.values(), key=lambda task: (task.cmd_sn - self._work.exp_cmd_sn) & 0xFFFFFFFF)
        self._work.forget_all()
        self._gaps.clear()
        self._work.escalation.reset()
        again: list[Request] = []
        for task in tasks:
            request = task.request
            if isinstance(task, ScsiTask):
                if task.ending is not None:
                    self._work.done(request, failure=task.ending)
                elif recover and task.scsi.hold:
                    again.append(request)
                else:
                    self._work.done(request, failure=Failure.CONNECTION_LOST)
            elif type(request) is not Request and not isinstance(request, Reassignment | RecoveryLogout):
                self._work.done(request, failure=Failure.CONNECTION_LOST)
        self._put_back(again, now)
        if recover:
            for request in self._work.pending:
                self.hold(request, now)
