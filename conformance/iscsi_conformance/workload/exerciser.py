"""An initiator for random work: several connections, recovery levels 0 to 2, losses and damage (RFC 7143 7).

It keeps to the standard whatever befalls it, so that every finding is the target's. What it can be sure of it holds against
the model; a write that nobody acknowledged may have happened or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from iscsi_conformance.workload.link import Link
from iscsi_conformance.workload.model import BLOCK
from iscsi_conformance.workload.plan import Abort, Function, Gather, Harm, Lose, Read, Step, Write
from iscsi_conformance.workload.reception import ATTEMPTS, Unexpected
from iscsi_conformance.workload.recovery import Recovery
from iscsi_conformance.workload.task import Ending, Task
from iscsi_protocol import serial
from iscsi_protocol.pdu import (
    LogoutReason,
    LogoutRequest,
    ScsiCommand,
    TaskFunction,
    TaskManagementRequest,
    TaskManagementResponse,
    TaskResponse,
)
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.sense import parse_sense


class Exerciser(Recovery):
    """One session over all of its lives. The rule book's findings are somebody else's; what this one sees is raised as
    AssertionError.
    """

    async def finish(self) -> None:
        """Wait for everything, read all of the disk, log out. Raises what went wrong."""
        await self._do(Gather())
        self.noise.silent = True
        step = 64
        for lba in range(0, len(self.disk), step):
            await self._do(Read(0, lba, min(step, len(self.disk) - lba)))
        await self._do(Gather())
        link = self._any_link()
        self._closing = True
        await self._ask(link, LogoutRequest(reason=LogoutReason.CLOSE_SESSION, immediate=True))
        await self.stop()

    async def stop(self) -> None:
        """End all connections. Raises what a listener raised."""
        if self._recovering is not None:
            self._recovering.cancel()
        for link in list(self.links.values()):
            await link.stop()
            link.raw.close()
        self._raise_trouble()

    # ---- the steps ----

    async def run(self, steps: Sequence[Step]) -> None:
        """Do all of it. Raises AssertionError for what the target did wrong."""
        try:
            await self.start()
            for step in steps:
                await self._do(step)
                await asyncio.sleep(0)
            await self.finish()
        except BaseException:
            for link in self.links.values():
                link.alive = False
                link.raw.close()
            raise

    async def _do(self, step: Step) -> None:
        self._raise_trouble()
        match step:
            case Read() | Write():
                await self._begin(step)
            case Gather():
                await self._wait(lambda _: True)
            case Abort(which):
                open_tasks = [task for task in self.tasks.values() if not task.over and not task.aborting]
                if open_tasks:
                    await self._abort(open_tasks[which % len(open_tasks)])
            case Function(connection, function):
                await self._function(connection, function)
            case Lose(connection, logout):
                link = await self._working(connection)
                link.fail()
                self._begin_recovery(link, logout=logout)
            case Harm():
                self.noise.arm(step)

    async def _begin(self, step: Read | Write) -> None:
        """Send a command, behind those that are about the same blocks."""
        connection, write = step.connection, isinstance(step, Write)
        lba = min(step.lba, len(self.disk) - 1)
        blocks = min(step.blocks, len(self.disk) - lba)
        await self._wait(lambda task: task.overlaps(lba, blocks) and bool(write or task.generation))
        link = await self._working(connection)
        while serial.gt(self._numbers.cmd_sn, self._numbers.max_cmd_sn):
            await self._wait_for_some()
            link = await self._working(connection)
        opcode = opcodes.WRITE_10 if write else opcodes.READ_10
        generation, data = self.disk.begin_write(lba, blocks) if write else (0, b"")
        first = min(self._number("FirstBurstLength", 65536), len(data))
        immediate = min(first, link.segment_limit) if self._agreed("ImmediateData", "Yes") == "Yes" else 0
        unsolicited = first if self._agreed("InitialR2T", "Yes") == "No" else immediate
        self._numbers.itt += 1
        command = ScsiCommand(
            read=not write,
            write=write,
            final=unsolicited <= immediate,
            attribute=step.attribute,
            itt=self._numbers.itt,
            cmd_sn=link.raw.next_cmd_sn(),
            exp_stat_sn=link.raw.exp_stat_sn,
            expected_data_transfer_length=blocks * BLOCK,
            cdb=opcode.build(lba=lba, blocks=blocks).ljust(16, b"\0"),
            data=data[:immediate],
        )
        task = self.tasks[command.itt] = Task(command, lba, blocks, generation, data)
        self._send_command(link, task)

    async def _working(self, connection: int) -> Link:
        """A connection that is up, once recovery is over."""
        await self._recovered()
        alive = [link for _, link in sorted(self.links.items()) if link.alive]
        if not alive:
            raise Unexpected("no connection is left")
        return alive[connection % len(alive)]

    async def _recovered(self) -> None:
        """Wait until no recovery is under way."""
        while self._recovering is not None:
            await asyncio.wait([self._recovering])
            self._raise_trouble()

    def _any_link(self) -> Link:
        return next(link for link in self.links.values() if link.alive)

    # ---- waiting ----

    async def _wait_for_some(self) -> None:
        open_tasks = [task for task in self.tasks.values() if not task.over]
        if not open_tasks:
            raise Unexpected(f"the window is shut, and no task is open (MaxCmdSN {self._numbers.max_cmd_sn})")
        await self._watch([task.ending for task in open_tasks], asyncio.FIRST_COMPLETED)
        self._settle()

    async def _wait(self, wanted: Callable[[Task], bool]) -> None:
        """Wait for tasks to end; those that a unit attention ended begin anew."""
        for _ in range(64):
            self._settle()
            waiting = [task.ending for task in self.tasks.values() if wanted(task)]
            if not waiting and self._recovering is None:
                return
            if waiting:
                await self._watch(waiting, asyncio.ALL_COMPLETED)
            await self._recovered()
        raise Unexpected("the tasks do not come to an end")

    async def _watch(self, futures: Sequence[asyncio.Future[Ending]], until: str) -> None:
        """Wait, and see to what does not move."""
        for _ in range(ATTEMPTS):
            done, pending = await asyncio.wait(futures, timeout=self.setting.patience, return_when=until)
            self._raise_trouble()
            if done and (until == asyncio.FIRST_COMPLETED or not pending):
                return
            await self._recovered()
            self._nudge()
        stuck = [
            f"{task.itt}: {'write' if task.generation else 'read'}" for task in self.tasks.values() if not task.over
        ]
        raise Unexpected(f"no answer for {', '.join(stuck)}")

    def _settle(self) -> None:
        """Take note of what is over. Raises WrongData."""
        for task in list(self.tasks.values()):
            if not task.over:
                continue
            del self.tasks[task.itt]
            ending = task.ending.result()
            if ending is Ending.GOOD and task.generation:
                self.disk.acknowledge(task.lba, task.blocks, task.generation)
            elif ending is Ending.GOOD:
                self.disk.check(task.lba, bytes(task.buffer))
            elif ending is Ending.REFUSED:
                self._refused(task)

    def _refused(self, task: Task) -> None:
        """A status other than GOOD: a unit attention and a damaged transfer are in order, and nothing else."""
        sense = parse_sense(task.sense) if task.sense else None
        if task.spoilt or (sense is not None and sense.key in (SenseKey.UNIT_ATTENTION, SenseKey.ABORTED_COMMAND)):
            if task.generation and sense is not None and sense.key == SenseKey.UNIT_ATTENTION:
                self.disk.never(task.lba, task.blocks, task.generation)
            return
        raise Unexpected(f"task {task.itt} ended with status {task.status:#04x}, sense {task.sense.hex()}")

    # ---- aborts and resets ----

    async def _abort(self, task: Task) -> None:
        if task.link is None or not task.link.alive:
            return
        task.aborting = True
        request = TaskManagementRequest(
            function=TaskFunction.ABORT_TASK,
            immediate=True,
            referenced_task_tag=task.itt,
            ref_cmd_sn=task.command.cmd_sn,
        )
        response = await self._ask(task.link, request)
        if isinstance(response, TaskManagementResponse) and response.response == TaskResponse.FUNCTION_COMPLETE:
            task.finish(Ending.ABORTED)
        if response is None:
            # Whether it was carried out shows when the task is to be continued.
            await self._recovered()
        task.aborting = False

    async def _function(self, connection: int, function: TaskFunction) -> None:
        link = await self._working(connection)
        request = TaskManagementRequest(function=function, immediate=True)
        affected = [task for task in self.tasks.values() if not task.over]
        for task in affected:
            task.aborting = True
            task.stopped = self._agreed("TaskReporting", "RFC3720") == "FastAbort"
        response = await self._ask(link, request)
        while response is None:
            # Lost with its connection, it may have ended tasks on the others, commands before it that had yet to come
            # included (4.2.2.1): nobody would ever answer those.
            link = await self._working(connection)
            if all(task.over for task in affected):
                return
            response = await self._ask(link, request)
        if not isinstance(response, TaskManagementResponse) or response.response != TaskResponse.FUNCTION_COMPLETE:
            raise Unexpected(f"{function.name} was answered with {response}")
        for task in affected:
            task.finish(Ending.ABORTED)
