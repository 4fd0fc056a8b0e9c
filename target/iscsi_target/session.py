"""Sessions: their command window (RFC 7143 4.2.2.1), their tasks, and the table by which a login finds them (6.3.1).

Everything that belongs to a connection is in a table by CID, everything that belongs to a task names its connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from iscsi_protocol import serial
from iscsi_protocol.identity import next_tsih
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.pdu import Opcode, RawPdu
from iscsi_target.connection import Connection, State
from iscsi_target.nexus import Nexus
from iscsi_target.task import ScsiTask
from iscsi_target.task_set import NO_TASK_SETS, TaskSets

if TYPE_CHECKING:
    from iscsi_target.fence import Fence
    from iscsi_target.function import TaskFunctionRequest
    from iscsi_target.node import Node, ScsiDevice
    from iscsi_target.termination import Termination

FORGOTTEN_TASKS = 1024
"""How many ended tasks whose data may still come are remembered by their tag, to discard that data (10.7)."""


@dataclass(frozen=True, slots=True)
class SessionKey:
    """What the ISID rule makes unique (4.4.3): both names, ISID and portal group; for unnamed discovery sessions the portal
    stands in for the target (7.4.2.1).
    """

    initiator_name: str
    isid: bytes
    target_name: str | None
    portal_group_tag: int
    portal: str | None


_FINAL = 0x80


class Early:
    """Unsolicited data that came before its command had its turn. connection: of the command; length: bytes of data."""

    __slots__ = ("connection", "data", "length")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.data: list[RawPdu] = []
        self.length = 0

    @property
    def complete(self) -> bool:
        """Whether the last of it has come."""
        return bool(self.data) and bool(self.data[-1].bhs[1] & _FINAL)


Waiting: TypeAlias = dict[int, tuple[Connection, RawPdu] | None]


class SessionState(Enum):
    """Target session states (8.3.2). FREE and ACTIVE, before the leading login is over, have no session yet."""

    LOGGED_IN = "Q3"
    FAILED = "Q4"
    IN_CONTINUE = "Q5"


@dataclass(slots=True, eq=False)
class Session:
    """One session.

    exp_cmd_sn, max_cmd_sn: the window; max_cmd_sn grows by one for every command that is over, so that what is in
    progress never exceeds the width. waiting: requests ahead of a missing one, by CmdSN; None: counted as received by an
    abort (11.6.1); early: unsolicited data of those, by task tag; waiting_bytes: what they hold. gap: the missing CmdSN
    that a timer watches. forgotten: tags of ended tasks whose data may still come; terminations: messages that told of
    such ends. fence: what holds responses back, if anything does. draining: whether a function waits for the data of
    tasks. joining: connections whose login into this session is under way, by their number. released: connections that
    were logged out for recovery and have commands that may be reassigned, likewise. retained_until: to when the session
    is kept though its last connection was logged out for recovery. live: False once it is gone.
    """

    tsih: int
    key: SessionKey
    node: Node | None
    device: ScsiDevice
    nexus: Nexus
    discovery: bool
    parameters: OperationalParameters
    exp_cmd_sn: int
    max_cmd_sn: int
    user: str | None
    connections: dict[int, Connection] = field(default_factory=dict)
    waiting: Waiting = field(default_factory=dict)
    waiting_bytes: int = 0
    early: dict[int, Early] = field(default_factory=dict)
    gap: int | None = None
    tasks: dict[int, ScsiTask] = field(default_factory=dict)
    functions: list[TaskFunctionRequest] = field(default_factory=list)
    forgotten: dict[int, None] = field(default_factory=dict)
    terminations: list[Termination] = field(default_factory=list)
    fence: Fence | None = None
    draining: bool = False
    task_sets: TaskSets = field(init=False)
    joining: dict[int, Connection] = field(default_factory=dict)
    released: dict[int, Connection] = field(default_factory=dict)
    retained_until: float = 0.0
    live: bool = True

    def __post_init__(self) -> None:
        self.task_sets = NO_TASK_SETS if self.node is None else self.node.task_sets

    def uses(self, itt: int, besides: Connection | None = None) -> bool:
        """Whether a task has that tag: a command, a function, or a text exchange of a connection other than `besides`."""
        return (
            itt in self.tasks
            or any(each.itt == itt for each in self.functions)
            or any(
                each.text is not None and each.text.itt == itt
                for each in self.connections.values()
                if each is not besides
            )
        )

    def kind_of_waiting(self, itt: int) -> int | None:
        """The opcode of the request with that tag that waits for its turn, if any does."""
        requests = (entry[1] for entry in self.waiting.values() if entry is not None)
        return next((raw.opcode for raw in requests if raw.initiator_task_tag == itt), None)

    def is_function(self, itt: int) -> bool:
        """Whether that is the tag of a task management function, be it one that waits for its turn."""
        if any(each.itt == itt for each in self.functions):
            return True
        return self.kind_of_waiting(itt) == Opcode.TASK_MANAGEMENT_REQUEST

    def in_window(self, cmd_sn: int) -> bool:
        """Whether a non-immediate request of that CmdSN may be taken: in the window, and not had already."""
        return serial.in_range(cmd_sn, self.exp_cmd_sn, self.max_cmd_sn) and cmd_sn not in self.waiting

    def reopen(self, places: int = 1) -> None:
        """So many requests are over: the window moves on."""
        self.max_cmd_sn = (self.max_cmd_sn + places) & 0xFFFFFFFF

    def keep(self, cmd_sn: int, connection: Connection, raw: RawPdu) -> None:
        """Keep a request that is ahead of a missing one; it must be in the window, and its buffers its own."""
        self.waiting[cmd_sn] = (connection, raw)
        self.waiting_bytes += _size(raw)
        if raw.opcode == Opcode.SCSI_COMMAND and not raw.bhs[1] & _FINAL:
            self.early[raw.initiator_task_tag] = Early(connection)

    def keep_data(self, itt: int, raw: RawPdu) -> None:
        """Keep unsolicited data of a command that waits, in `early`; its buffers must be its own."""
        early = self.early[itt]
        early.data.append(raw)
        early.length += len(raw.data)
        self.waiting_bytes += _size(raw)

    def plug(self, cmd_sn: int) -> None:
        """Count a request as received and over, whether it is missing or waiting (11.6.1); it must be in the window."""
        self._lighten(self.waiting.get(cmd_sn))
        self.waiting[cmd_sn] = None

    def next_waiting(self) -> tuple[Connection, RawPdu, list[RawPdu]] | None:
        """Take the request whose turn it is out of those that wait, with the data that came behind it; None for one that was
        plugged.
        """
        entry = self.waiting.pop(self.exp_cmd_sn)
        if entry is None:
            return None
        early = self.early.get(entry[1].initiator_task_tag)
        self._lighten(entry)
        return (*entry, [] if early is None else early.data)

    def drop_waiting(self, connection: Connection | None) -> bool:
        """Forget the waiting requests of a connection, or all; whether there were any. Their CmdSNs are missing then, and
        may come again (11.14).
        """
        dropped = [
            cmd_sn
            for cmd_sn, entry in self.waiting.items()
            if connection is None or (entry is not None and entry[0] is connection)
        ]
        for cmd_sn in dropped:
            self._lighten(self.waiting.pop(cmd_sn))
        return bool(dropped)

    def _lighten(self, entry: tuple[Connection, RawPdu] | None) -> None:
        if entry is not None:
            self.waiting_bytes -= _size(entry[1])
            early = self.early.pop(entry[1].initiator_task_tag, None)
            if early is not None:
                self.waiting_bytes -= sum(map(_size, early.data))

    def forget(self, itt: int) -> None:
        """Remember the tag of a task that ended, or never began, with data on its way (10.7)."""
        self.forgotten[itt] = None
        while len(self.forgotten) > FORGOTTEN_TASKS:
            del self.forgotten[next(iter(self.forgotten))]

    @property
    def full_feature_connections(self) -> list[Connection]:
        """Connections that still work."""
        return [each for each in self.connections.values() if each.state in _WORKING]

    @property
    def patience(self) -> int:
        """Seconds for which the state of a lost connection is kept: Time2Wait and Time2Retain (7.5)."""
        return self.parameters.default_time2wait + self.parameters.default_time2retain

    @property
    def awaits_reassignment(self) -> bool:
        """Whether tasks of a connection that was logged out for recovery wait for another one (6.3.5); those that were
        aborted do not, though a device may still be at work on them.
        """
        return any(each.retained is not None and each.retained.has_finished for each in self.released.values()) or any(
            self.connections.get(task.connection.cid) is not task.connection and not task.aborted
            for task in self.tasks.values()
        )

    @property
    def retained_deadlines(self) -> set[float]:
        """Until when what connections have left behind is kept, and the session without a connection."""
        left = {task.connection.deadline for task in self.tasks.values()}
        return left | {each.deadline for each in self.released.values()} | {self.retained_until}

    def survivor_of(self, connection: Connection) -> Connection | None:
        """Another connection on which the initiator can be told of the loss of this one, the least busy."""
        others = [each for each in self.full_feature_connections if each is not connection]
        return min(others, key=lambda each: each.queued, default=None)

    @property
    def state(self) -> SessionState:
        """Where the session stands (8.3)."""
        if self.full_feature_connections:
            return SessionState.LOGGED_IN
        return SessionState.IN_CONTINUE if self.joining else SessionState.FAILED


_WORKING = frozenset({State.LOGGED_IN, State.IN_LOGOUT, State.LOGOUT_REQUESTED})


def _size(raw: RawPdu) -> int:
    """Bytes that a kept PDU holds, near enough."""
    return 48 + len(raw.ahs) + len(raw.data)


class SessionTable:
    """All sessions of the server, by TSIH and by what the ISID rule compares."""

    def __init__(self) -> None:
        self._by_tsih: dict[int, Session] = {}
        self._by_key: dict[SessionKey, Session] = {}
        self._last_tsih = 0

    def __len__(self) -> int:
        return len(self._by_tsih)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_tsih.values()))

    def find(self, key: SessionKey) -> Session | None:
        """The session of that initiator port with that portal group."""
        return self._by_key.get(key)

    def of_tsih(self, tsih: int) -> Session | None:
        """The session with that handle."""
        return self._by_tsih.get(tsih)

    def new_tsih(self) -> int:
        """A handle that no session has. Raises TsihExhausted."""
        self._last_tsih = next_tsih(self._last_tsih, self._by_tsih)
        return self._last_tsih

    def add(self, session: Session) -> None:
        """File a session; one with the same key is no longer found by it."""
        self._by_tsih[session.tsih] = session
        self._by_key[session.key] = session

    def remove(self, session: Session) -> None:
        """Take a session out."""
        del self._by_tsih[session.tsih]
        if self._by_key.get(session.key) is session:
            del self._by_key[session.key]
