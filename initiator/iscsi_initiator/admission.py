"""What a request takes of this host before it is sent: resources, a place to wait, a buffer, a tag, room to send
(guide, Appendix B: events 30, 31, 55 to 58). What there is none of fails the request at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_initiator.limits import Resource
from iscsi_initiator.link import Link
from iscsi_initiator.requests import Failure, Request, ScsiRequest
from iscsi_initiator.tasks import ScsiTask, SendBufferFull, UnusableBuffer

if TYPE_CHECKING:
    from iscsi_initiator.session import Session
    from iscsi_initiator.work import Work


class Admission:
    """To the work of one session."""

    def __init__(self, session: Session, work: Work) -> None:
        self._session = session
        self._work = work
        self._usage = session.usage
        self._limits = session.settings.limits

    def admits(self, request: Request, now: float) -> bool:
        """Whether there are resources for a request, which it has until `release`."""
        usage = self._usage
        if request.io:
            if usage.io_requests >= usage.limits.io_requests:
                return not self._session.short_of(Resource.IO_REQUEST, now)
            usage.io_requests += 1
        else:
            if usage.request_resources >= usage.limits.request_resources:
                return not self._session.short_of(Resource.REQUEST_RESOURCE, now)
            usage.request_resources += 1
        request.counted = True
        return True

    def release(self, request: Request) -> None:
        """A request that was counted is over."""
        request.counted = False
        if request.io:
            self._usage.io_requests -= 1
        else:
            self._usage.request_resources -= 1

    def lets_wait(self, now: float) -> bool:
        """Whether one request more may be put off; it waits already."""
        session = self._session
        return session.put_off <= self._limits.work_items or not session.short_of(Resource.WORK_ITEM, now)

    def has_tag(self, now: float) -> bool:
        """Whether a request may have a task tag."""
        return len(self._work.tasks) < self._limits.tags or not self._session.short_of(Resource.TAG, now)

    def begin(self, link: Link, request: ScsiRequest, now: float) -> ScsiTask | Failure:
        """The task of a request, with the next CmdSN, which is not used up yet; or why there is none."""
        work = self._work
        try:
            task = ScsiTask(link, work.next_itt(), work.cmd_sn, request)
        except UnusableBuffer as error:
            if self._session.log(56, b"", now, f"a buffer cannot be used: {error}"):
                return Failure.UNUSABLE_BUFFER
            request.data_in, request.data_out = bytearray(), b""
            task = ScsiTask(link, work.next_itt(), work.cmd_sn, request)
        if len(work.tasks) >= self._limits.tags and self._session.short_of(Resource.TAG, now):
            return Failure.NO_RESOURCES
        # Seldom is it so near to the limit that it matters how much of the data goes out unasked.
        if link.payload + len(task.write_from) > link.send_buffer and len(task.write_from):
            full = not link.has_room(sum(task.first_burst()))
            if full and self._session.short_of(Resource.SEND_BUFFER, now):
                return Failure.NO_RESOURCES
        return task

    def no_room(self, task: ScsiTask, full: SendBufferFull, now: float) -> None:
        """The data that an R2T asks for finds no room: the task is aborted, and sends nothing more."""
        if not self._session.short_of(Resource.SEND_BUFFER, now):
            task.send_data(full.lun, full.ttt, full.offset, full.length)
            return
        task.timed_out = True
        if task.ending is None:
            self._work.escalation.end(task, Failure.NO_RESOURCES, now)
