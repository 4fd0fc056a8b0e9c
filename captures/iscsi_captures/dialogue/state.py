"""What an onlooker knows of a dialogue (RFC 7143 sections 4.2.2, 4.2.5, 6 and 11): sessions, connections, tasks, bursts.

Plain state without judgement. None, or `NO_LIMIT`, stands for what the history has not shown.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum

from iscsi_captures.dialogue.negotiation import Negotiation
from iscsi_protocol.pdu import Opcode

NO_LIMIT = 1 << 62
LOGIN_DATA_LIMIT = 8192
HEADERS_KEPT = 256
TASKS_KEPT = 65536
ENDED_KEPT = 1024


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
        "max_outstanding_r2t",
        "protocol_level",
        "target_segment",
        "task_reporting",
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


class Burst:
    """One run of Data-Out PDUs: an R2T's answer, or the unsolicited one. `reached` is the offset behind its last byte."""

    __slots__ = ("data_sn", "length", "lun", "offset", "reached", "sent", "ttt")

    def __init__(self, ttt: int, lun: bytes, offset: int, length: int) -> None:
        self.ttt = ttt
        self.lun = lun
        self.offset = offset
        self.length = length
        self.sent = 0
        self.reached = offset
        self.data_sn = 0

    @property
    def complete(self) -> bool:
        """Whether all its data has come; an empty PDU with F may still follow."""
        return self.sent >= self.length


class Task:
    """Whatever an Initiator Task Tag stands for. The fields behind `write` count for SCSI commands alone."""

    __slots__ = (
        "aborting",
        "acknowledge_bytes",
        "bhs",
        "broken",
        "bursts",
        "cmd_sn",
        "connection",
        "data_in_pdus",
        "edtl",
        "immediate",
        "in_offset",
        "in_sequence",
        "in_sn",
        "in_total",
        "itt",
        "lun",
        "opcode",
        "out_total",
        "ping",
        "r2t_offset",
        "r2t_sn",
        "read",
        "read_length",
        "snacked",
        "unsolicited",
        "write",
    )

    def __init__(self, itt: int, opcode: int, connection: Connection, bhs: bytes, cmd_sn: int, immediate: bool) -> None:
        self.itt = itt
        self.opcode = opcode
        self.connection = connection
        self.bhs = bhs
        self.cmd_sn = cmd_sn
        self.immediate = immediate
        self.broken = 0
        self.snacked = False
        self.aborting = False
        self.read = False
        self.write = False
        if opcode == Opcode.SCSI_COMMAND:
            self._begin_transfer()
        elif opcode == Opcode.NOP_OUT:
            self.ping = b""

    def _begin_transfer(self) -> None:
        self.lun = b""
        self.edtl = 0
        self.read_length = 0
        self.in_sn = 0
        self.in_offset = 0
        self.in_sequence = 0
        self.in_total = 0
        self.data_in_pdus = 0
        self.acknowledge_bytes = NO_LIMIT
        self.r2t_sn = 0
        self.r2t_offset: int | None = None
        self.out_total = 0
        self.bursts: list[Burst] = []
        self.unsolicited: Burst | None = None


class Exchange:
    """A text sequence of the full feature phase (6.4). `ttt` is what the target gave last, None before its first word."""

    __slots__ = (
        "answer_continued",
        "asked",
        "immediate",
        "itt",
        "lun",
        "negotiation",
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
        self.negotiation = Negotiation()


class Login:
    """The login phase of one connection. `first` and `last` are headers of requests, `answered` that of a response."""

    __slots__ = (
        "answered",
        "asked",
        "first",
        "first_answer",
        "last",
        "negotiation",
        "refused",
        "stage",
        "whole_answers",
        "whole_requests",
    )

    def __init__(self) -> None:
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


class Session:
    """One session. `cmd_sn` is the number that the next non-immediate request takes.

    ended: tags of tasks that are over, the latest ones. aborted: those that a task management function ended, with its code.
    recovering: a request was refused or lost, so that numbers may come again. hole: the first CmdSN that was left out.
    holes_count: no request that never came was aborted, which would fill its hole.
    """

    __slots__ = (
        "aborted",
        "broken",
        "cmd_sn",
        "connections",
        "discovery",
        "ended",
        "exp_cmd_sn",
        "hole",
        "holes_count",
        "initiator_name",
        "isid",
        "max_cmd_sn",
        "recovering",
        "tasks",
        "tsih",
    )

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self.connections: dict[int, Connection] = {}
        self.cmd_sn: int | None = None
        self.exp_cmd_sn: int | None = None
        self.max_cmd_sn: int | None = None
        self.hole: int | None = None
        self.holes_count = True
        self.discovery: bool | None = None
        self.initiator_name = ""
        self.isid = b""
        self.tsih = 0
        self.broken = 0
        self.recovering = False
        self.ended: deque[int] = deque(maxlen=ENDED_KEPT)
        self.aborted: dict[int, int] = {}

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
            self.aborted[itt] = function
            if len(self.aborted) > ENDED_KEPT:
                del self.aborted[next(iter(self.aborted))]

    def remember(self, task: Task) -> None:
        """File an open task; the oldest is forgotten where there are too many."""
        if len(self.tasks) >= TASKS_KEPT:
            del self.tasks[next(iter(self.tasks))]
        self.tasks[task.itt] = task
        if self.aborted:
            self.aborted.pop(task.itt, None)


class Connection:
    """One connection. `known`: its first byte is in the history. `stat_sn`: what the next status takes.

    resent: SNACK was used, so that PDUs may come again. lost: bytes went by that were no PDUs. logout_wanted: event 1 came.
    unsolicited: tasks whose announced burst is not over, in the order of their commands.
    plain: nothing unusual has happened, so that the quick tests may judge.
    """

    __slots__ = (
        "broken",
        "cid",
        "cmd_sn",
        "ended",
        "exchange",
        "exp_cmd_sn",
        "fresh",
        "headers",
        "known",
        "limits",
        "login",
        "logout_answered",
        "logout_asked",
        "logout_wanted",
        "lost",
        "max_cmd_sn",
        "number",
        "phase",
        "pings",
        "plain",
        "resent",
        "session",
        "stat_sn",
        "unsolicited",
    )

    def __init__(self, number: int, *, known: bool) -> None:
        self.number = number
        self.known = known
        self.fresh = True
        self.phase = Phase.LOGIN
        self.session = Session()
        self.limits = Limits()
        self.login = Login()
        self.cid = 0
        self.stat_sn: int | None = None
        self.cmd_sn: int | None = None
        self.exp_cmd_sn: int | None = None
        self.max_cmd_sn: int | None = None
        self.broken = 0
        self.plain = False
        self.resent = False
        self.ended = False
        self.logout_asked: int | None = None
        self.logout_answered = False
        self.logout_wanted = False
        self.lost = False
        self.headers: deque[bytes] = deque(maxlen=HEADERS_KEPT)
        self.pings: dict[int, bytes] = {}
        self.unsolicited: dict[int, Task] = {}
        self.exchange: Exchange | None = None
