"""One PDU as the rules see it: the header, and what the dialogue was before it came."""

from __future__ import annotations

import struct
from typing import Any

from iscsi_captures.dialogue.negotiation import Pair
from iscsi_captures.dialogue.state import Connection, Exchange, Session, Side
from iscsi_captures.dialogue.task import Task
from iscsi_protocol.pdu import Opcode, RawPdu, decode
from iscsi_protocol.stream import Direction
from iscsi_protocol.text import PairError

_WORDS = struct.Struct(">12I").unpack_from


class Sight:
    """What a rule may look at. `pairs` is None unless this PDU completes a text; `fields` is decoded when asked for.

    task: what the Initiator Task Tag stands for, before this PDU; former: what it stood for, where only the status is not
    acknowledged yet. exchange: the text sequence that it belongs to.
    """

    __slots__ = (
        "_fields",
        "_words",
        "bhs",
        "connection",
        "direction",
        "exchange",
        "faults",
        "former",
        "itt",
        "opcode",
        "pairs",
        "phase",
        "raw",
        "session",
        "side",
        "stage",
        "task",
        "time",
    )

    def __init__(self, connection: Connection, raw: RawPdu, direction: Direction, time: float) -> None:
        self.connection = connection
        self.raw = raw
        self.bhs = raw.bhs
        self.direction = direction
        self.time = time
        self.opcode = raw.bhs[0] & 0x3F
        self._words: tuple[int, ...] = _WORDS(raw.bhs)
        self.itt = self._words[4]
        self.phase = connection.phase
        self.session: Session = connection.session
        self.side = Side.INITIATOR if direction is Direction.TO_TARGET else Side.TARGET
        self.task: Task | None = self.session.tasks.get(self.itt)
        self.former: Task | None = None
        if self.task is None and self.session.finished:
            self.former = self.session.finished.get(self.itt)
        self.exchange: Exchange | None = connection.exchange
        self.stage = raw.bhs[1] >> 2 & 3
        self.pairs: list[Pair] | None = None
        self.faults: list[PairError] = []
        self._fields: Any = None

    @property
    def fields(self) -> Any:
        """The decoded message; its class is that of the opcode."""
        if self._fields is None:
            self._fields = decode(self.raw)
        return self._fields

    @property
    def length(self) -> int:
        """Bytes of the data segment."""
        return len(self.raw.data)

    @property
    def from_initiator(self) -> bool:
        """Which side sent it."""
        return self.side is Side.INITIATOR

    @property
    def immediate(self) -> bool:
        """The I bit."""
        return bool(self.bhs[0] & 0x40)

    @property
    def final(self) -> bool:
        """Byte 1, mask 0x80: F or T."""
        return bool(self.bhs[1] & 0x80)

    @property
    def continued(self) -> bool:
        """Byte 1, mask 0x40 of login and text PDUs: C."""
        return bool(self.bhs[1] & 0x40)

    def word(self, offset: int) -> int:
        """Four header bytes as a number; the offset is a multiple of 4."""
        return self._words[offset >> 2]

    @property
    def scsi(self) -> Task | None:
        """The task if it is a SCSI command that came over this connection."""
        task = self.task
        if task is None or task.opcode != Opcode.SCSI_COMMAND or task.connection is not self.connection:
            return None
        return task

    @property
    def command(self) -> Task | None:
        """As `scsi`, or the command whose status was sent over this connection and is not acknowledged yet."""
        task = self.task or self.former
        if task is None or task.opcode != Opcode.SCSI_COMMAND or task.connection is not self.connection:
            return None
        return task

    @property
    def repeated(self) -> bool:
        """Whether a Data-In is one that a SNACK asked for again."""
        task = self.command
        if task is None or task.recovery is None:
            return False
        number, recovery = self._words[9], task.recovery
        if number >= task.in_sn or recovery.resumed or (recovery.again and number == recovery.acked):
            return False
        return any(begin <= number and (end is None or number < end) for begin, end in recovery.asked)

    @property
    def anew(self) -> bool:
        """Whether a Data-In begins the data of its command anew, after an R-Data SNACK or a reassignment."""
        task = self.command
        if task is None or task.recovery is None:
            return False
        number, recovery = self._words[9], task.recovery
        if recovery.resumed:
            return number <= task.in_sn
        return recovery.again and number == recovery.acked != task.in_sn
