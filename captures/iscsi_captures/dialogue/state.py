"""What an onlooker knows of a dialogue (RFC 7143 sections 4.2.2, 4.2.5, 6 and 11): sessions, connections, logins.

Plain state without judgement; `task` has the tasks. None, or `NO_LIMIT`, stands for what the history has not shown.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import NamedTuple, TypeVar

from iscsi_captures.dialogue.chap import Chap
from iscsi_captures.dialogue.logins import Logins
from iscsi_captures.dialogue.negotiation import Negotiation
from iscsi_captures.dialogue.reservations import Reservation
from iscsi_captures.dialogue.task import NO_LIMIT, Status, Task
from iscsi_protocol.pdu import Opcode

Value = TypeVar("Value")
LOGIN_DATA_LIMIT = 8192
HEADERS_KEPT = 256
TASKS_KEPT = 65536
ENDED_KEPT = 1024
FINISHED_KEPT = 4096
STATUSES_KEPT = 4096


class Side(IntEnum):
    """The two ends; their values are bits, so that a number says which of them broke a rule."""

    INITIATOR = 1
    TARGET = 2


class Phase(IntEnum):
    """The two phases of a connection (4.2.4)."""

    LOGIN = 0
    FULL = 1


class Limits:
    """What the login and later exchanges agreed on. Lengths in bytes; everything is open until it is known."""

    __slots__ = (
        "data_pdu_in_order",
        "data_sequence_in_order",
        "error_recovery_level",
        "first_burst_length",
        "immediate_data",
        "initial_r2t",
        "initiator_segment",
        "known",
        "max_burst_length",
        "max_connections",
        "max_outstanding_r2t",
        "protocol_level",
        "target_segment",
        "task_reporting",
        "time2retain",
        "time2wait",
    )

    def __init__(self) -> None:
        self.known = False
        self.initiator_segment = NO_LIMIT
        self.target_segment = NO_LIMIT
        self.max_burst_length = NO_LIMIT
        self.first_burst_length = NO_LIMIT
        self.max_outstanding_r2t = NO_LIMIT
        self.initial_r2t = False
        self.immediate_data = True
        self.data_pdu_in_order = False
        self.data_sequence_in_order = False
        self.error_recovery_level = 2
        self.protocol_level = 2
        self.task_reporting = "FastAbort"
        self.max_connections = NO_LIMIT
        self.time2wait = 0
        self.time2retain = NO_LIMIT


class Exchange:
    """A text sequence of the full feature phase (6.4). `ttt` is what the target gave last, None before its first word.

    repeated: a key that came again in the initiator's last text.
    """

    __slots__ = (
        "answer_continued",
        "asked",
        "immediate",
        "itt",
        "lun",
        "negotiation",
        "repeated",
        "request_continued",
        "request_final",
        "send_targets",
        "ttt",
    )

    def __init__(self, itt: int, immediate: bool) -> None:
        self.itt = itt
        self.immediate = immediate
        self.ttt: int | None = None
        self.lun = b""
        self.asked = False
        self.request_final = False
        self.request_continued = False
        self.answer_continued = False
        self.send_targets: str | None = None
        self.repeated: str | None = None
        self.negotiation = Negotiation()


class Login:
    """The login phase of one connection. `first` and `last` are headers of requests, `answered` that of a response.

    logins: what it shares with the others of the history. mark: what tells that it is tried again.
    intruded: sides that sent something else than login PDUs. repeated: by side, a key that came again in its last text.
    """

    __slots__ = (
        "answered",
        "asked",
        "first",
        "first_answer",
        "intruded",
        "last",
        "logins",
        "mark",
        "negotiation",
        "refused",
        "repeated",
        "stage",
        "whole_answers",
        "whole_requests",
    )

    def __init__(self, logins: Logins) -> None:
        self.logins = logins
        self.mark = b""
        self.intruded = 0
        self.repeated: list[str | None] = [None, None]
        self.negotiation = Negotiation()
        self.first = b""
        self.first_answer = b""
        self.last = b""
        self.answered = b""
        self.asked = False
        self.refused = False
        self.stage: int | None = None
        self.whole_requests = 0
        self.whole_answers = 0

    @property
    def chap(self) -> Chap:
        """Challenges of all logins, and the secrets."""
        return self.logins.chap


class Reset(NamedTuple):
    """A reset was confirmed: the function, the connection of its response, and when (seconds)."""

    function: int
    connection: Connection
    time: float


class Session:
    """One session. `cmd_sn` is the number that the next non-immediate request takes.

    ended: tags of tasks that are over, the latest ones. aborted: those that a task management function ended, with its code.
    finished: tasks whose status is not acknowledged yet (ErrorRecoveryLevel 1 and above). forgotten: tags of tasks that
    went down with a connection or a Reject, of which nothing is known any more. spoilt: tags of requests that came damaged.
    terminated: tags of tasks that event 5 ended, with connection and StatSN of the event.
    connections: by CID, those that were lost and not logged out among them. limits: what the leading login agreed on.
    open_numbers: CmdSNs that may be sent (again), and whether the target may have received them nevertheless.
    left_out: those of them that no connection has brought, for which the initiator answers. gap_allowed: requests may
    have been lost with a connection. confirmed: ExpCmdSN as the initiator is known to have seen it. closing: CmdSN behind
    the Logout Request that closes the session. fence: connection, StatSN and LUN (None: all) of a fenced response.
    reserved: another nexus holds a reservation at the target. conflicts: such ones by the tag of a command against them.
    block_lengths: bytes of a block by LUN, where READ CAPACITY told it.
    queried: where QUERY TASK asked after commands of a connection that was logged out, by tag.
    outside: CmdSN of requests that came outside of the window, by tag. reset: the reset after which all connections end.
    uncertain: the history does not show enough of the session to judge its numbers and tags.
    """

    __slots__ = (
        "aborted",
        "block_lengths",
        "broken",
        "closing",
        "cmd_sn",
        "confirmed",
        "conflicts",
        "connections",
        "discovery",
        "ended",
        "exp_cmd_sn",
        "fence",
        "finished",
        "forgotten",
        "gap_allowed",
        "initiator_name",
        "isid",
        "left_out",
        "limits",
        "max_cmd_sn",
        "open_numbers",
        "outside",
        "queried",
        "reserved",
        "reset",
        "spoilt",
        "target_name",
        "tasks",
        "terminated",
        "tsih",
        "uncertain",
    )

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self.connections: dict[int, Connection] = {}
        self.limits: Limits | None = None
        self.cmd_sn: int | None = None
        self.exp_cmd_sn: int | None = None
        self.max_cmd_sn: int | None = None
        self.confirmed: int | None = None
        self.open_numbers: dict[int, bool] = {}
        self.left_out: dict[int, None] = {}
        self.gap_allowed = False
        self.closing: int | None = None
        self.fence: tuple[Connection, int, bytes | None] | None = None
        self.discovery: bool | None = None
        self.initiator_name = ""
        self.target_name = ""
        self.isid = b""
        self.tsih = 0
        self.broken = 0
        self.uncertain = False
        self.ended: deque[int] = deque(maxlen=ENDED_KEPT)
        self.aborted: dict[int, int] = {}
        self.finished: dict[int, Task] = {}
        self.forgotten: dict[int, None] = {}
        self.spoilt: dict[int, str] = {}
        self.terminated: dict[int, tuple[Connection, int]] = {}
        self.queried: dict[int, Connection] = {}
        self.outside: dict[int, int] = {}
        self.block_lengths: dict[bytes, int] = {}
        self.reserved = False
        self.conflicts: dict[int, Reservation] = {}
        self.reset: Reset | None = None

    @property
    def level(self) -> int:
        """The ErrorRecoveryLevel; the highest where the login was not seen."""
        return 2 if self.limits is None else self.limits.error_recovery_level

    @property
    def window_closed(self) -> bool:
        """Whether the target is known to take no more commands: the next CmdSN is above MaxCmdSN (4.2.2.1)."""
        highest, following = self.max_cmd_sn, self.cmd_sn
        return highest is not None and following is not None and (highest - following) & 0xFFFFFFFF >= 1 << 31

    def live(self) -> list[Connection]:
        """The connections that are up as far as the history shows."""
        return [other for other in self.connections.values() if other.lost_at is None and not other.ended]

    def end(self, itt: int) -> None:
        """A task is over; its tag may be used again."""
        task = self.tasks.pop(itt, None)
        if task is not None:
            self.ended.append(itt)
            task.connection.unsolicited.pop(itt, None)

    def abort(self, itt: int, function: int) -> None:
        """A task is over because of a task management function."""
        if itt in self.tasks:
            self.end(itt)
            keep(self.aborted, itt, function)

    def finish(self, task: Task, stat_sn: int) -> None:
        """The status of a task was sent; where it may be asked for again, the task is kept until it is acknowledged."""
        self.end(task.itt)
        if self.level:
            if task.opcode == Opcode.SCSI_COMMAND and task.recovery is not None:
                task.recovery.status = stat_sn
            keep(self.finished, task.itt, task, FINISHED_KEPT)

    def forget(self, itt: int) -> None:
        """A task is gone without an end that the history could show."""
        if itt in self.tasks:
            self.end(itt)
            keep(self.forgotten, itt, None)

    def remember(self, task: Task) -> None:
        """File an open task; the oldest is forgotten where there are too many."""
        if len(self.tasks) >= TASKS_KEPT:
            del self.tasks[next(iter(self.tasks))]
        itt = task.itt
        self.tasks[itt] = task
        if self.aborted:
            self.aborted.pop(itt, None)
        if self.finished or self.forgotten or self.spoilt or self.terminated:
            for former in (self.finished, self.forgotten, self.spoilt, self.terminated):
                former.pop(itt, None)


def keep(where: dict[int, Value], key: int, value: Value, most: int = ENDED_KEPT) -> None:
    """Remember a fact; the oldest goes where there are too many."""
    where.pop(key, None)
    where[key] = value
    if len(where) > most:
        del where[next(iter(where))]


class Connection:
    """One connection. `known`: its first byte is in the history. `stat_sn`: what the next status takes.

    asked: runs of status SNACKs. resent: SNACK was used. lost: bytes went by that were no PDUs.
    numbered: it has brought a non-immediate request. logout_wanted: the StatSN of event 1. logout_by, text_by: when the
    logout of event 1, or the Text Request of event 4, is due.
    login_stat_sn: of the Login Response that ended the login; None until then, or where that went by unseen.
    acked: the highest ExpStatSN of the initiator since. statuses: those it does not acknowledge. data_acks: what A bits
    ask to be acknowledged, by Target Transfer Tag: command, LUN, DataSN. terminations: events 5 not answered, StatSN by
    LUN.
    damaged: headers of requests with a wrong data digest that were not rejected yet. resized_by: StatSN of the Text Response
    behind which other lengths of data segments hold.
    lost_at: when it broke. ended: it was logged out, or another one took its place; kept: its tasks await reassignment.
    recover_from, recover_until: between them its tasks may be recovered.
    unsolicited: tasks whose announced burst is not over, in the order of their commands.
    plain: nothing unusual has happened, so that the quick tests may judge.
    """

    __slots__ = (
        "acked",
        "asked",
        "broken",
        "cid",
        "cmd_sn",
        "damaged",
        "data_acks",
        "ended",
        "exchange",
        "exp_cmd_sn",
        "fresh",
        "headers",
        "kept",
        "known",
        "limits",
        "login",
        "login_stat_sn",
        "logout_answered",
        "logout_asked",
        "logout_by",
        "logout_wanted",
        "lost",
        "lost_at",
        "max_cmd_sn",
        "number",
        "numbered",
        "phase",
        "pings",
        "plain",
        "recover_from",
        "recover_until",
        "resent",
        "resized_by",
        "session",
        "stat_sn",
        "statuses",
        "terminations",
        "text_by",
        "unsolicited",
    )

    def __init__(self, number: int, *, known: bool, logins: Logins | None = None) -> None:
        self.number = number
        self.known = known
        self.fresh = True
        self.phase = Phase.LOGIN
        self.session = Session()
        self.limits = Limits()
        self.login = Login(logins or Logins())
        self.cid = 0
        self.stat_sn: int | None = None
        self.cmd_sn: int | None = None
        self.exp_cmd_sn: int | None = None
        self.max_cmd_sn: int | None = None
        self.broken = 0
        self.plain = False
        self.resent = False
        self.ended = False
        self.kept = False
        self.numbered = False
        self.login_stat_sn: int | None = None
        self.acked: int | None = None
        self.asked: list[tuple[int, int | None]] = []
        self.statuses: dict[int, Status] = {}
        self.data_acks: dict[int, tuple[Task, bytes, int]] = {}
        self.terminations: dict[bytes, int] = {}
        self.damaged: dict[bytes, None] = {}
        self.resized_by: int | None = None
        self.lost_at: float | None = None
        self.recover_from: float | None = None
        self.recover_until: float | None = None
        self.logout_asked: int | None = None
        self.logout_answered = False
        self.logout_wanted: int | None = None
        self.logout_by: float | None = None
        self.text_by: float | None = None
        self.lost = False
        self.headers: deque[bytes] = deque(maxlen=HEADERS_KEPT)
        self.pings: dict[int, bytes] = {}
        self.unsolicited: dict[int, Task] = {}
        self.exchange: Exchange | None = None
