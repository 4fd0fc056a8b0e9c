"""What comes over the connections of the exerciser, and what is sent in answer (RFC 7143 11.4, 11.7, 11.8, 11.16)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from iscsi_conformance.workload.link import Link
from iscsi_conformance.workload.model import ModelDisk
from iscsi_conformance.workload.noise import Noise
from iscsi_conformance.workload.plan import Damage, Setting
from iscsi_conformance.workload.task import Ending, Task
from iscsi_initiator.raw import Received
from iscsi_initiator.raw_login import RawLogin
from iscsi_initiator.raw_numbers import SessionNumbers
from iscsi_initiator.transport import Connector
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import (
    NO_LUN,
    NO_TAG,
    R2T,
    AsyncMessage,
    DataIn,
    DataOut,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Pdu,
    Reject,
    RejectReason,
    ScsiCommand,
    ScsiResponse,
    SnackRequest,
    SnackType,
    TaskManagementRequest,
    TaskManagementResponse,
)

ATTEMPTS = 8


def _has_status(pdu: Pdu) -> TypeGuard[ScsiResponse | DataIn]:
    return isinstance(pdu, ScsiResponse) or (isinstance(pdu, DataIn) and pdu.status_present)


class Unexpected(AssertionError):
    """The target did what the standard has no room for."""


class Reception:
    """The dialogue of a session: its tasks and connections, what is sent, and what is done with what comes."""

    def __init__(
        self,
        connector: Connector,
        endpoints: Sequence[Endpoint],
        names: Sequence[tuple[str, str]],
        setting: Setting,
        disk: ModelDisk,
    ) -> None:
        self.setting = setting
        self.disk = disk
        self.tasks: dict[int, Task] = {}
        self.links: dict[int, Link] = {}
        self.recoveries = 0
        self.sessions = 0
        self._closing = False
        self._leading: RawLogin | None = None
        self.noise = Noise(setting)
        self._connector = connector
        self._endpoints = endpoints
        self._names = list(names)
        self._numbers = SessionNumbers()
        self._tsih = 0
        self._answers: dict[int, asyncio.Future[Pdu]] = {}
        self._recovering: asyncio.Task[None] | None = None
        self._dead: list[tuple[Link, bool]] = []
        self._trouble: list[BaseException] = []

    @property
    def harmed(self) -> list[Damage]:
        """The damage that was done, in its order."""
        return self.noise.done

    def _raise_trouble(self) -> None:
        if self._trouble:
            raise self._trouble[0]

    def _begin_recovery(self, link: Link, *, logout: bool) -> None:
        """A connection is gone."""
        raise NotImplementedError

    # ---- what goes out ----

    def _send_command(self, link: Link, task: Task) -> None:
        """Send a command and its unsolicited data, for the first time or once more (7.2.1)."""
        task.link = link
        link.send(replace(task.command, exp_stat_sn=link.raw.exp_stat_sn))
        if not task.command.final:
            end = min(self._number("FirstBurstLength", 65536), len(task.data))
            start = len(task.command.data)
            self._send_data(link, task, NO_TAG, NO_LUN, start, task.data[start:end])

    def _send_data(self, link: Link, task: Task, ttt: int, lun: bytes, offset: int, data: bytes) -> None:
        step = min(link.segment_limit, len(data)) or 1
        for data_sn, place in enumerate(range(0, len(data), step)):
            piece = data[place : place + step]
            link.send(
                DataOut(
                    final=place + step >= len(data),
                    lun=lun,
                    itt=task.itt,
                    ttt=ttt,
                    exp_stat_sn=link.raw.exp_stat_sn,
                    data_sn=data_sn,
                    buffer_offset=offset + place,
                    data=piece,
                )
            )

    def _agreed(self, key: str, default: str) -> str:
        return (self._leading.agreed(key) if self._leading is not None else None) or default

    def _number(self, key: str, default: int) -> int:
        return int(self._agreed(key, str(default)), 0)

    def _nudge(self) -> None:
        """Nothing moved for a while: ping every connection, so that the numbers of its last status are heard."""
        for link in self.links.values():
            if link.alive:
                link.send(
                    NopOut(
                        immediate=True, itt=self._tag(), cmd_sn=self._numbers.cmd_sn, exp_stat_sn=link.raw.exp_stat_sn
                    )
                )

    def _tag(self) -> int:
        self._numbers.itt += 1
        return self._numbers.itt

    async def _ask(
        self, link: Link, request: TaskManagementRequest | LogoutRequest, about: Link | None = None
    ) -> Pdu | None:
        """Send an immediate request, and wait for its answer; None when the connection or the session went first. about: the
        connection that is to be logged out, whose numbers the request then has (11.14.4).
        """
        exp_stat_sn = (about or link).raw.exp_stat_sn
        request = replace(request, itt=self._tag(), cmd_sn=self._numbers.cmd_sn, exp_stat_sn=exp_stat_sn)
        answer: asyncio.Future[Pdu] = asyncio.get_running_loop().create_future()
        self._answers[request.itt] = answer
        link.send(request)
        for _ in range(ATTEMPTS):
            waited: list[asyncio.Future[Any]] = [answer, link.broken]
            await asyncio.wait(waited, timeout=self.setting.patience, return_when=asyncio.FIRST_COMPLETED)
            self._raise_trouble()
            if answer.done():
                return None if answer.cancelled() else answer.result()
            if not link.alive:
                break
            self._nudge()
        self._answers.pop(request.itt, None)
        if link.alive:
            raise Unexpected(f"no answer to request {request.itt}")
        return None

    # ---- what comes ----

    def _take(self, link: Link, received: Received) -> None:
        pdu = received.pdu
        if received.raw.header_digest_error or received.raw.data_digest_error:
            raise Unexpected("a digest of the target is wrong")
        damage = self.noise.comes(pdu)
        if damage is Damage.HEADER_CAME:
            if _has_status(pdu):
                # The logout of the connection must not acknowledge it.
                link.raw.status.lost(pdu.stat_sn)
            link.fail()
            self._begin_recovery(link, logout=bool(received.raw.initiator_task_tag & 1))
            return
        if damage is not None:
            self._spoil(link, pdu, received.raw.initiator_task_tag, damage)
            return
        match pdu:
            case DataIn():
                self._take_data(link, pdu)
            case ScsiResponse():
                self._take_response(link, pdu)
            case R2T():
                self._take_r2t(link, pdu)
            case Reject():
                self._take_reject(link, pdu)
            case NopIn():
                if pdu.ttt != NO_TAG:
                    link.send(
                        NopOut(
                            immediate=True,
                            lun=pdu.lun,
                            itt=NO_TAG,
                            ttt=pdu.ttt,
                            cmd_sn=self._numbers.cmd_sn,
                            exp_stat_sn=link.raw.exp_stat_sn,
                        )
                    )
            case TaskManagementResponse() | LogoutResponse():
                answer = self._answers.pop(pdu.itt, None)
                if answer is not None and not answer.done():
                    answer.set_result(pdu)
            case AsyncMessage():
                pass
            case _:
                raise Unexpected(f"a PDU that nobody asked for: opcode {received.raw.opcode:#04x}")

    def _task_of(self, link: Link, itt: int) -> Task | None:
        task = self.tasks.get(itt)
        if task is not None and not task.over and task.link is not link:
            raise Unexpected(f"an answer to task {itt} on connection {link.cid}, which is not the task's")
        return None if task is None or task.over else task

    def _take_data(self, link: Link, pdu: DataIn) -> None:
        task = self._task_of(link, pdu.itt)
        if task is None:
            return
        task.take(pdu)
        if pdu.acknowledge:
            self._acknowledge_data(link, task, pdu)
        if pdu.status_present:
            task.status, task.due = pdu.status, pdu.data_sn + 1
            self._hold(link, task, pdu.stat_sn)
        self._ask_for_missing(link, task, pdu.data_sn)
        self._finish_if_whole(link, task)

    def _hold(self, link: Link, task: Task, stat_sn: int) -> None:
        """A status is acknowledged once the data before it is there (4.2.2.2, 11.16)."""
        if not task.whole:
            link.raw.status.lost(stat_sn)
            task.held = stat_sn

    def _finish_if_whole(self, link: Link, task: Task) -> None:
        if task.status is None or not task.whole:
            return
        if task.held is not None:
            link.raw.status.came(task.held)
            task.held = None
        task.finish(Ending.GOOD if task.status == 0 and not task.spoilt else Ending.REFUSED)

    def _acknowledge_data(self, link: Link, task: Task, pdu: DataIn) -> None:
        """DataACK: everything below its BegRun came (11.7.2, 11.16.1)."""
        if task.contiguous > pdu.data_sn:
            self._snack(link, SnackType.DATA_ACK, lun=pdu.lun, ttt=pdu.ttt, beg_run=task.contiguous)

    def _ask_for_missing(self, link: Link, task: Task, below: int) -> None:
        missing = [sn for sn in range(below) if sn not in task.data_sns and sn not in task.asked]
        if not missing:
            return
        if not self.setting.level:
            raise Unexpected(f"DataSN {missing[0]} of task {task.itt} did not come")
        for sn in missing:
            self._ask_again(link, task, sn)

    def _ask_again(self, link: Link, task: Task, sn: int) -> None:
        """A SNACK for one Data-In or R2T (11.16)."""
        task.asked.add(sn)
        self._snack(link, SnackType.DATA_OR_R2T, itt=task.itt, beg_run=sn, run_length=1)

    def _snack(self, link: Link, snack_type: SnackType, **values: object) -> None:
        link.send(SnackRequest(snack_type=snack_type, exp_stat_sn=link.raw.exp_stat_sn, **values))  # type: ignore[arg-type]

    def _take_response(self, link: Link, pdu: ScsiResponse) -> None:
        task = self._task_of(link, pdu.itt)
        if task is None:
            return
        task.status = pdu.status
        task.sense = pdu.data[2 : 2 + int.from_bytes(pdu.data[:2], "big")]
        if not task.generation:
            task.due = pdu.exp_data_sn
            self._hold(link, task, pdu.stat_sn)
            self._ask_for_missing(link, task, pdu.exp_data_sn)
        self._finish_if_whole(link, task)

    def _take_r2t(self, link: Link, pdu: R2T) -> None:
        task = self._task_of(link, pdu.itt)
        if task is None:
            return
        if pdu.r2t_sn > task.r2t_sn:
            if not self.setting.level:
                raise Unexpected(f"R2TSN {pdu.r2t_sn} of task {task.itt} where {task.r2t_sn} was due")
            for sn in range(task.r2t_sn, pdu.r2t_sn):
                if sn not in task.asked:
                    self._ask_again(link, task, sn)
        task.asked.discard(pdu.r2t_sn)
        task.r2t_sn = max(task.r2t_sn, pdu.r2t_sn + 1)
        if task.stopped:
            return
        self._send_data(link, task, pdu.ttt, pdu.lun, pdu.buffer_offset, task.requested(pdu))

    def _take_reject(self, link: Link, pdu: Reject) -> None:
        """Only what we damaged may be rejected."""
        opcode, itt = pdu.data[0] & 0x3F, int.from_bytes(pdu.data[16:20], "big")
        task = self._task_of(link, itt)
        if opcode == DataOut.OPCODE and task is not None and task.rejected:
            return
        if opcode == SnackRequest.OPCODE and (task is None or task.aborting):
            return  # an abort overtook it
        if opcode == NopOut.OPCODE and pdu.reason == RejectReason.IMMEDIATE_COMMAND_REJECT:
            return  # a ping of ours is one too many for now (4.2.2.1)
        if pdu.reason != RejectReason.DATA_DIGEST_ERROR:
            raise Unexpected(f"a Reject with reason {pdu.reason:#04x} of opcode {opcode:#04x}")
        if opcode == ScsiCommand.OPCODE and task is not None:
            task.rejected = True
            self._send_command(link, task)

    def _spoil(self, link: Link, pdu: Pdu, itt: int, damage: Damage) -> None:
        """A PDU came and is given up: its data (level 0: the task is spoilt; else asked for again), or all of it."""
        task = self._task_of(link, itt)
        if damage is Damage.DATA_CAME and isinstance(pdu, DataIn):
            if task is None:
                return
            if pdu.status_present:
                task.status, task.due = pdu.status, pdu.data_sn + 1
            if self.setting.level:
                if pdu.status_present:
                    self._hold(link, task, pdu.stat_sn)
                self._ask_again(link, task, pdu.data_sn)
            else:
                task.spoilt = True
                task.take(pdu)
                self._finish_if_whole(link, task)
            return
        if _has_status(pdu):
            link.raw.status.lost(pdu.stat_sn)
            self._snack(link, SnackType.STATUS, beg_run=pdu.stat_sn, run_length=1)
        elif task is not None and isinstance(pdu, DataIn):
            self._ask_again(link, task, pdu.data_sn)
        elif task is not None and isinstance(pdu, R2T):
            self._ask_again(link, task, pdu.r2t_sn)
