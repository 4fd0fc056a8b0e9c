"""Response fences (RFC 7143 4.2.2.3): responses that go out behind all earlier ones of their session, and before all later.

A fenced response waits until the initiator has acknowledged every StatSN of every connection of the session; NOP-In pings
hurry it up. Where fences were agreed on (TaskReporting) and the session has several connections, later responses wait in
turn until the fenced one is acknowledged. The standard asks that of the responses of one I_T_L nexus; here those of the
whole session wait, which is more.

The response to a function that ends a set of tasks is fenced in any session, since 11.6.1 wants all earlier ones
acknowledged before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from iscsi_protocol import serial
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.lun import decode_lun
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_target import nop

if TYPE_CHECKING:
    from iscsi_target.completion import Completion
    from iscsi_target.connection import Connection
    from iscsi_target.core import Core
    from iscsi_target.session import Session


ANY_UNIT = -1
"""Stands for every logical unit. Its fence is over with the first unit attention: the waits are those of the session."""


class _Held:
    """A response that waits. cleared: whether a fenced one has begun to wait for the acknowledgements before it; length:
    bytes of its data.
    """

    __slots__ = ("cleared", "connection", "fenced", "length", "send")

    def __init__(self, connection: Connection, send: Callable[[], None], fenced: bool, length: int) -> None:
        self.connection = connection
        self.length = length
        self.send = send
        self.fenced = fenced
        self.cleared = False


class Fence:
    """What of a session's responses is held back, and until when. A session has one while there is need for it.

    armed: logical units whose next response is fenced, or ANY_UNIT. held: in the order in which SCSI handed them off; length:
    bytes of their data. waits: (connection, StatSN below which everything has to be acknowledged).
    """

    __slots__ = ("armed", "core", "held", "length", "sending", "session", "waits")

    def __init__(self, core: Core, session: Session) -> None:
        self.core = core
        self.session = session
        self.armed: set[int | None] = set()
        self.held: deque[_Held] = deque()
        self.length = 0
        self.waits: list[tuple[Connection, int]] = []
        self.sending = False

    @property
    def full(self) -> bool:
        """Whether so much waits here that no further command is to be taken: these tasks are over, and the window is open."""
        limits = self.core.limits
        return len(self.held) >= limits.retained_responses or self.length >= limits.retained_bytes

    def holds(self, connection: Connection, lun: bytes, completion: Completion, send: Callable[[], None]) -> bool:
        """Whether the response to a command, which `send` sends, is taken care of here."""
        if self.sending:
            return False
        fenced = bool(self.armed) and (ANY_UNIT in self.armed or decode_lun(lun) in self.armed)
        if not fenced and not self.waits and not self.held:
            return False
        if fenced and self._disarms(lun, completion):
            self.armed -= {ANY_UNIT, decode_lun(lun)}
        self.take(connection, send, fenced, completion.length)
        return True

    def _disarms(self, lun: bytes, completion: Completion) -> bool:
        """The fence stands until the response that carries the unit attention (4.2.2.3.4 a); where none is to come, the
        first response will do (4.2.3.3 e).
        """
        sense = parse_sense(completion.sense) if completion.sense else None
        told = sense is not None and sense.key == SenseKey.UNIT_ATTENTION
        return told or not self.session.device.pending_attentions(self.session.nexus, lun)

    def take(self, connection: Connection, send: Callable[[], None], fenced: bool, length: int = 0) -> None:
        """Have a response sent when its turn comes, which may be now. length: bytes of its data."""
        self.held.append(_Held(connection, send, fenced, length))
        self.length += length
        self.progress()

    def progress(self) -> None:
        """Something was acknowledged, or a connection is gone: send what may be sent."""
        while self.session.live and not self.sending:
            self.waits = [each for each in self.waits if _missing(*each)]
            if self.waits:
                return
            if not self.held:
                break
            first = self.held[0]
            if first.fenced and not first.cleared:
                first.cleared = True
                self._await(self.session.full_feature_connections)
                continue
            if self.full:
                # Commands may wait for room here.
                self.core.disturbed = True
            self.held.popleft()
            self.length -= first.length
            self.sending = True
            try:
                first.send()
            finally:
                self.sending = False
            if first.fenced and required(self.session):
                self._await([first.connection])
        if not self.armed and not self.sending and self.session.fence is self:
            self.session.fence = None

    def _await(self, connections: list[Connection]) -> None:
        for connection in connections:
            if _missing(connection, connection.stat_sn):
                self.waits.append((connection, connection.stat_sn))
                nop.ping(self.core, connection)


def _missing(connection: Connection, stat_sn: int) -> bool:
    return connection.up and serial.lt(connection.acknowledged, stat_sn)


def required(session: Session) -> bool:
    """Whether 4.2.2.3.3 asks for more than the order of one connection."""
    return session.parameters.response_fence and len(session.full_feature_connections) > 1


def arm(core: Core, session: Session, lun: bytes | None) -> None:
    """The next response of that logical unit, or of any, is fenced in this session, if it has fences (4.2.2.3.4 a, f)."""
    if required(session):
        _of(core, session).armed.add(ANY_UNIT if lun is None else decode_lun(lun))


def hand_off(
    core: Core, session: Session, connection: Connection, send: Callable[[], None], *, fenced: bool = False
) -> None:
    """Send a response that is not a command's when its turn comes: now, unless something stands before it."""
    if session.fence is None and not fenced:
        send()
    else:
        _of(core, session).take(connection, send, fenced)


def _of(core: Core, session: Session) -> Fence:
    if session.fence is None:
        session.fence = Fence(core, session)
    return session.fence
