"""How the exerciser recovers: the session below level 2, the connection at level 2 (RFC 7143 7.1.4, 7.2.2, 6.3.4, 6.3.5)."""

from __future__ import annotations

import asyncio

from iscsi_conformance.workload.link import Link
from iscsi_conformance.workload.reception import Reception, Unexpected
from iscsi_conformance.workload.task import Ending
from iscsi_initiator.raw import RawConnection
from iscsi_initiator.raw_numbers import SessionNumbers
from iscsi_initiator.transport import ConnectFailed
from iscsi_protocol import serial
from iscsi_protocol.pdu import (
    LogoutReason,
    LogoutRequest,
    LogoutResponse,
    TaskFunction,
    TaskManagementRequest,
    TaskManagementResponse,
    TaskResponse,
)

ISID = bytes.fromhex("80c0ffee0001")


class Recovery(Reception):
    """A session that is made, and made again."""

    async def start(self) -> None:
        """Log in with all connections."""
        self.noise.silent = True
        self.sessions += 1
        self._numbers = SessionNumbers()
        self._tsih = 0
        for cid in range(self.setting.connections):
            await self._connect(cid)
            if cid == 0 and self._agreed_connections() < self.setting.connections:
                break
        self.noise.silent = False

    def _agreed_connections(self) -> int:
        return self._number("MaxConnections", 1)

    def _keys(self) -> list[tuple[str, str]]:
        digest = "CRC32C" if self.setting.digests else "None"
        both = [("HeaderDigest", digest), ("DataDigest", digest)]
        ours = [(key, value) for key, value in self.setting.keys if key == "MaxRecvDataSegmentLength"]
        if self._tsih:
            return [*both, *ours]
        return [
            *both,
            ("ErrorRecoveryLevel", str(self.setting.level)),
            ("MaxConnections", str(self.setting.connections)),
            ("DefaultTime2Wait", "0"),
            ("DefaultTime2Retain", str(self.setting.retain)),
            *self.setting.keys,
        ]

    async def _connect(self, cid: int) -> Link:
        """A new connection in full feature phase. Raises Unexpected when the target refuses it."""
        raw = await RawConnection.open(self._connector, self._endpoints[cid % len(self._endpoints)])
        if self._tsih:
            raw.join(self._numbers)
        else:
            raw.numbers = self._numbers
        names = self._names if not self._tsih else [pair for pair in self._names if pair[0] != "SessionType"]
        login = await raw.login([*names, *self._keys()], isid=ISID, tsih=self._tsih, cid=cid, timeout=30.0)
        if not login.full_feature:
            raise Unexpected(f"the login of connection {cid} ended with status {login.status or 0:04x}")
        if not self._tsih:
            self._leading = login
        self._tsih = login.tsih
        link = self.links[cid] = Link(cid, raw, login, self.noise)
        link.listen(self._take, self._ended, self._trouble.append)
        return link

    # ---- recovery ----

    def _ended(self, link: Link) -> None:
        """The target ended a connection: in order where a PDU of ours had a wrong header digest."""
        if link.alive and not self._closing:
            link.fail()
            self._begin_recovery(link, logout=False)

    def _begin_recovery(self, link: Link, *, logout: bool) -> None:
        self._dead.append((link, logout))
        if self._recovering is None:
            self._recovering = asyncio.create_task(self._recover())

    async def _recover(self) -> None:
        try:
            while self._dead:
                link, logout = self._dead.pop(0)
                self.recoveries += 1
                if self.setting.level < 2:
                    await self._recover_session()
                else:
                    await self._recover_connection(link, logout=logout)
        except (AssertionError, ConnectFailed, OSError) as error:
            self._trouble.append(error)
        finally:
            self._recovering = None

    async def _recover_session(self) -> None:
        """Below level 2 the session begins anew, with the same name and ISID; its tasks are gone (7.1.4.4, 6.3.5)."""
        self._dead.clear()
        for link in self.links.values():
            link.fail()
        self.links.clear()
        for answer in self._answers.values():
            answer.cancel()
        self._answers.clear()
        for task in self.tasks.values():
            task.finish(Ending.LOST)
        await self.start()

    async def _recover_connection(self, link: Link, *, logout: bool) -> None:
        """Log the connection out, over another one or by a new one in its place, and have its tasks continued (7.2.2)."""
        if self.links.get(link.cid) is not link:
            return
        others = [each for each in self.links.values() if each.alive]
        self.noise.silent, was = True, self.noise.silent
        try:
            if logout and others:
                heir = others[0]
                logout_request = LogoutRequest(reason=LogoutReason.RECOVERY, immediate=True, cid=link.cid)
                answer = await self._ask(heir, logout_request, about=link)
                if answer is None:
                    self._dead.append((link, False))
                    return
                if isinstance(answer, LogoutResponse) and answer.response:
                    raise Unexpected(f"a logout for recovery was answered with {answer.response}")
                del self.links[link.cid]
            else:
                heir = await self._connect(link.cid)
            await self._continue(link, heir)
        finally:
            self.noise.silent = was

    async def _continue(self, dead: Link, heir: Link) -> None:
        """Commands that the target never had are sent again, the others are reassigned."""
        tasks = [each for each in self.tasks.values() if each.link is dead and not each.over]
        for task in tasks:
            # All at once: should the heir go too, what is left is continued when that one is recovered.
            task.link = heir
        for task in tasks:
            if serial.ge(task.command.cmd_sn, self._numbers.exp_cmd_sn):
                self._send_command(heir, task)
                continue
            exp_data_sn = 0 if task.generation else task.contiguous
            if not task.generation:
                task.data_sns = set(range(exp_data_sn))
                task.status = task.due = None
            task.asked.clear()
            task.held = None
            request = TaskManagementRequest(
                function=TaskFunction.TASK_REASSIGN,
                immediate=True,
                referenced_task_tag=task.itt,
                exp_data_sn=exp_data_sn,
            )
            answer = await self._ask(heir, request)
            if answer is None:
                return
            code = answer.response if isinstance(answer, TaskManagementResponse) else None
            if code == TaskResponse.TASK_DOES_NOT_EXIST and (task.aborting or task.over):
                task.finish(Ending.ABORTED)
            elif code != TaskResponse.FUNCTION_COMPLETE:
                raise Unexpected(f"the reassignment of task {task.itt} was answered with {code}")
