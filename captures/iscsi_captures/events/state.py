"""What the oracle keeps of the initiator: its sessions, their connections and tasks, as the initiator itself sees them.

This is not the dialogue as an onlooker follows it: a task ends here when the initiator gives it up, and a number is expected
here when the initiator expects it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_captures.events.declared import Declared, OwnTerms, Terms
from iscsi_captures.events.gaps import Gaps
from iscsi_protocol import serial
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import Buffer, Opcode

if TYPE_CHECKING:
    from iscsi_captures.events.login import Login

TASKS_KEPT = 1 << 16
NO_LIMIT = 1 << 24
_SCSI_COMMAND = int(Opcode.SCSI_COMMAND)


class Asked:
    """A run of numbers that SNACK asks for. task: whose data, None for StatSNs; shown: the StatSN that showed the gap.

    times: how often it was asked for; due: until when it has to come, None while it is to be asked for.
    """

    __slots__ = ("due", "first", "last", "shown", "task", "times")

    def __init__(self, task: ScsiTask | None, first: int, last: int, shown: int) -> None:
        self.task = task
        self.first = first
        self.last = last
        self.shown = shown
        self.times = 0
        self.due: float | None = None


class Task:
    """A request on its way: whatever has an Initiator Task Tag.

    deadline: when it runs out of time, allowance seconds behind its start; event: what is logged then. stopped: its clock
    stands still, because its connection is gone. turn: the CmdSN that tells where it stands among others, its own but for a
    ping that fills a gap.
    """

    __slots__ = (
        "allowance",
        "bhs",
        "cmd_sn",
        "connection",
        "deadline",
        "event",
        "immediate",
        "itt",
        "opcode",
        "stopped",
        "turn",
    )

    def __init__(self, connection: Connection, opcode: int, itt: int, cmd_sn: int, immediate: bool, bhs: bytes) -> None:
        self.connection = connection
        self.opcode = opcode
        self.itt = itt
        self.cmd_sn = self.turn = cmd_sn
        self.immediate = immediate
        self.bhs = bhs
        self.deadline = 0.0
        self.allowance = 0.0
        self.event = 0
        self.stopped = False


class ScsiTask(Task):
    """A SCSI command and what it has received.

    read, write: bytes that it may read and write. data_sn, r2t_sn: expected next; offset: behind the last byte received;
    burst: bytes since the last F; asked_to: behind the last byte that was sent unasked or asked for.
    r2t_mark, r2t_waiting: R2Ts since the initiator last sent something on the connection. holes, r2t_holes: DataSNs and
    R2TSNs that were asked for by SNACK. status: the StatSN of a status that waits for what is missing of the data. tag: of
    the R-Data SNACK that was sent last, 0 for none; anew: its data has yet to begin; ack_tag: what a DataACK for it has to
    name; acknowledged: the DataSN behind what one acknowledged. rebased: the next R2TSN is what comes, because it was
    reassigned. terms: what was said of the request.
    """

    __slots__ = (
        "ack_tag",
        "acknowledged",
        "ahs",
        "anew",
        "asked_to",
        "burst",
        "data_sn",
        "holes",
        "offset",
        "r2t_holes",
        "r2t_mark",
        "r2t_sn",
        "r2t_waiting",
        "read",
        "rebased",
        "status",
        "tag",
        "terms",
        "write",
    )

    def __init__(
        self,
        connection: Connection,
        itt: int,
        cmd_sn: int,
        immediate: bool,
        bhs: bytes,
        read: int,
        write: int,
        asked_to: int,
    ) -> None:
        super().__init__(connection, _SCSI_COMMAND, itt, cmd_sn, immediate, bhs)
        self.ahs: Buffer = b""
        self.terms: Terms | None = None
        self.read = read
        self.write = write
        self.restart(asked_to)

    def restart(self, asked_to: int) -> None:
        """The transfer begins. asked_to: bytes that go out without an R2T."""
        self.data_sn = 0
        self.r2t_sn = 0
        self.offset = 0
        self.burst = 0
        self.asked_to = asked_to
        self.r2t_mark = -1
        self.r2t_waiting = 0
        self.holes: Gaps | None = None
        self.r2t_holes: Gaps | None = None
        self.status: int | None = None
        self.tag = 0
        self.anew = False
        self.rebased = False
        self.ack_tag: int | None = None
        self.acknowledged = 0

    @property
    def lun(self) -> bytes:
        """The eight bytes of its LUN."""
        return self.bhs[8:16]


class Management(Task):
    """A task management request. code: its function; lun, referenced: what it is about; ladder: whether the initiator
    sent it because another one failed; behind: code and LUN of that one.
    """

    __slots__ = ("behind", "code", "ladder", "lun", "referenced")

    def __init__(self, connection: Connection, itt: int, cmd_sn: int, immediate: bool, bhs: bytes) -> None:
        super().__init__(connection, int(Opcode.TASK_MANAGEMENT_REQUEST), itt, cmd_sn, immediate, bhs)
        self.code = bhs[1] & 0x7F
        self.lun = bhs[8:16]
        self.referenced = int.from_bytes(bhs[20:24], "big")
        self.ladder = False
        self.behind: tuple[int, bytes] | None = None


class Limits:
    """What a login agreed on, for a connection."""

    __slots__ = (
        "data_pdu_in_order",
        "data_sequence_in_order",
        "first_burst",
        "header_digest",
        "level",
        "max_burst",
        "max_r2t",
        "max_recv",
        "protocol_level",
    )

    def __init__(self) -> None:
        self.header_digest = False
        self.level = 0
        self.max_recv = 8192
        self.max_burst = 262144
        self.first_burst = 65536
        self.max_r2t = 1
        self.protocol_level = 1
        self.data_pdu_in_order = True
        self.data_sequence_in_order = True


class Session:
    """One session. up: it has reached full feature phase, and was not left.

    lost: CIDs whose connection ended and is to come back. down: the session as a whole is to be recovered. failed: code and
    LUN of the task management function that failed last; failed_at: when, None where it counts for as long as it takes.
    resetting: a target reset follows, which was told. leaving: connection of an unanswered Logout Request for the whole
    session. limits: of its first connection. redirects, redirected: by CID, how many redirects were followed in a row, and
    where the last one led.
    """

    __slots__ = (
        "clocks",
        "connections",
        "declared",
        "discovery",
        "down",
        "failed",
        "failed_at",
        "key",
        "leaving",
        "limits",
        "lost",
        "redirected",
        "redirects",
        "resetting",
        "target_name",
        "tasks",
        "terms",
        "tsih",
        "up",
    )

    def __init__(self, key: tuple[bytes, str], declared: Declared, terms: OwnTerms) -> None:
        self.key = key
        self.terms = terms
        self.declared = declared
        self.target_name = key[1].encode("utf-8", "surrogateescape")
        self.discovery = False
        self.tsih = 0
        self.up = False
        self.down = False
        self.lost: set[int] = set()
        self.connections: dict[int, Connection] = {}
        self.limits: Limits | None = None
        self.tasks: dict[int, Task] = {}
        self.clocks: dict[float, dict[int, Task]] = {}
        self.redirects: dict[int, int] = {}
        self.redirected: dict[int, Endpoint] = {}
        self.failed: tuple[int, bytes] | None = None
        self.failed_at: float | None = None
        self.resetting = False
        self.leaving: Connection | None = None

    def begin(self, task: Task, now: float, allowance: float) -> float:
        """Keep a task that is sent now. When it runs out of time."""
        if len(self.tasks) >= TASKS_KEPT:
            self.end(next(iter(self.tasks.values())))
        task.allowance = allowance
        task.deadline = now + allowance
        self.tasks[task.itt] = task
        clock = self.clocks.get(allowance)
        if clock is None:
            clock = self.clocks[allowance] = {}
        clock[task.itt] = task
        return task.deadline

    def end(self, task: Task) -> None:
        """A task is over; a status that waited for its data counts."""
        itt = task.itt
        if isinstance(task, ScsiTask) and task.status is not None:
            task.connection.withheld.pop(task.status, None)
        if self.tasks.pop(itt, None) is not None:
            clock = self.clocks.get(task.allowance)
            if clock is not None:
                clock.pop(itt, None)

    def end_scsi(self, lun: bytes | None, before: int | None = None) -> None:
        """The SCSI tasks of a LUN, or all, are over. before: but for those with this CmdSN or a later one."""
        for task in list(self.tasks.values()):
            earlier = before is None or serial.lt(task.cmd_sn, before)
            if isinstance(task, ScsiTask) and lun in (None, task.lun) and earlier:
                self.end(task)

    def end_of(self, connection: Connection) -> None:
        """The tasks of a connection are over."""
        for task in list(self.tasks.values()):
            if task.connection is connection:
                self.end(task)

    def stop(self, task: Task) -> None:
        """The clock of a task stands still."""
        task.stopped = True
        clock = self.clocks.get(task.allowance)
        if clock is not None:
            clock.pop(task.itt, None)

    def forget_tasks(self) -> None:
        """Every task is over; what was said of a SCSI request holds for it when it is sent again."""
        for task in self.tasks.values():
            if isinstance(task, ScsiTask) and task.terms is not None:
                self.terms.say(task.terms.said)
        self.tasks.clear()
        self.clocks.clear()
        self.failed = None
        self.resetting = False
        self.leaving = None

    def silence(self, *, explained: bool = True) -> None:
        """The initiator ends every connection: it reads nothing more of them, and every task is over.

        explained: it is known why.
        """
        for connection in self.connections.values():
            connection.silent = True
            connection.explained |= explained
        self.down = True
        self.forget_tasks()

    def suspend(self, connection: Connection) -> None:
        """A connection is over, and its SCSI tasks wait for another one; all else that it carried is over."""
        connection.silent = connection.explained = True
        for task in list(self.tasks.values()):
            if task.connection is connection:
                if isinstance(task, ScsiTask):
                    self.stop(task)
                    continue
                self.end(task)
                if isinstance(task, Management) and task.ladder:
                    self.failed, self.failed_at = task.behind, None


class Connection:
    """One TCP connection. silent: the initiator has ended it, or is about to, so that nothing more is read from it;
    explained: it is known why.

    exp_stat_sn: StatSN that the next status is to have; high: behind the highest one seen, the same without a gap.
    missing: StatSNs that are; withheld: those that came and do not count, because data is missing; asked: what SNACK asks
    for. sent: how many PDUs the initiator has sent.
    logout_wanted: the target asked for logout. gone: logged out with success.
    """

    __slots__ = (
        "asked",
        "cid",
        "explained",
        "full",
        "gone",
        "high",
        "limits",
        "login",
        "login_due",
        "logout_wanted",
        "made_at",
        "missing",
        "number",
        "sent",
        "session",
        "silent",
        "target",
        "withheld",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.target: Endpoint | None = None
        self.made_at: float | None = None
        self.session: Session | None = None
        self.cid = 0
        self.full = False
        self.silent = False
        self.explained = False
        self.gone = False
        self.login: Login | None = None
        self.login_due: float | None = None
        self.limits = Limits()
        self.high = 0
        self.missing = Gaps()
        self.withheld: dict[int, None] = {}
        self.asked: list[Asked] = []
        self.sent = 0
        self.logout_wanted = False

    @property
    def exp_stat_sn(self) -> int:
        """The StatSN that is missing first, or comes next."""
        if not self.missing and not self.withheld:
            return self.high
        open_ = [first for first, _ in self.missing.missing]
        return max((*open_, *self.withheld), key=lambda number: (self.high - number) & 0xFFFFFFFF)
