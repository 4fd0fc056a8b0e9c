"""The target's engine: bytes in, bytes out (RFC 7143). No socket, clock, thread or randomness of its own.

A shell calls the verbs below; connections go by the numbers that `connection_made` gives. Everything that a PDU brings
about happens before the verb returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import MappingProxyType

from iscsi_protocol.framing import FramingError, HeaderDigestError
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import NO_LUN, AsyncEvent, Buffer, Opcode, RawPdu, RejectReason
from iscsi_protocol.serial import lt
from iscsi_target import (
    command,
    completion,
    data_out,
    login,
    logout,
    nop,
    notices,
    ordering,
    preemption,
    reject,
    snack,
    taskmgmt,
    text,
)
from iscsi_target.completion import Completion, Piece
from iscsi_target.config import TargetConfig
from iscsi_target.connection import Connection, State
from iscsi_target.core import Core, Pending, RandomBytes
from iscsi_target.events import ConnectionMade, Event, TimedOut
from iscsi_target.node import ScsiDevice
from iscsi_target.session import Session
from iscsi_target.settling import settle
from iscsi_target.timers import Timer
from iscsi_target.violation import DropConnection, PeerViolation, format_error, rejected

_NUMBERED: dict[int, ordering.Execute] = {
    Opcode.NOP_OUT: nop.execute,
    Opcode.SCSI_COMMAND: command.execute,
    Opcode.TASK_MANAGEMENT_REQUEST: taskmgmt.execute,
    Opcode.TEXT_REQUEST: text.execute,
    Opcode.LOGOUT_REQUEST: logout.execute,
}
_WHEN_SLOW = {**_NUMBERED, Opcode.SCSI_COMMAND: command.execute_slowly}
"""For a connection whose outbox is full, beside others of its session."""

_UNNUMBERED: Mapping[int, ordering.Execute] = MappingProxyType(
    {Opcode.SCSI_DATA_OUT: data_out.receive, Opcode.SNACK_REQUEST: snack.receive}
)
_IN_DISCOVERY = frozenset({Opcode.TEXT_REQUEST, Opcode.LOGOUT_REQUEST})
"""What a discovery session takes (4.3)."""

_OF_SESSION: Mapping[Timer, Callable[[Core, Session], None]] = MappingProxyType(
    {Timer.RETAINED: Core.retained_timeout, Timer.COMMAND_GAP: ordering.gap_timeout}
)
"""Deadlines that go by a TSIH."""

_FULL_FEATURE = frozenset({State.LOGGED_IN, State.IN_LOGOUT, State.LOGOUT_REQUESTED})


class Work:
    """Something slow for the shell to do. run: called once, in any thread; its result goes to `work_done`."""

    __slots__ = ("run", "token")

    def __init__(self, token: int, pending: Pending) -> None:
        self.token = token
        self.run = pending.work.run


class TargetEngine:
    """A server with the nodes of its configuration.

    devices: device server by node name. random_bytes: entropy for StatSNs and CHAP. Raises ValueError for a configuration
    that asks for more than is offered.
    """

    def __init__(self, config: TargetConfig, devices: Mapping[str, ScsiDevice], *, random_bytes: RandomBytes) -> None:
        self.core = Core(config, devices, random_bytes=random_bytes)
        for device in devices.values():
            device.attach(partial(preemption.abort_nexus_tasks, self.core))

    # Connections

    def set_portals(self, portals: Iterable[tuple[int, str]]) -> None:
        """The addresses that SendTargets tells: (portal group tag, "host:port"). With none it tells no address, which means
        the one in use (Appendix C).
        """
        self.core.portal_addresses = {}
        self.core.portals = []
        for tag, address in portals:
            self.core.portal_addresses.setdefault(tag, []).append(address)
            self.core.portals.append(address)

    def connection_made(self, local: Endpoint, remote: Endpoint, now: float, *, portal_group_tag: int = 1) -> int:
        """T3: a connection was accepted at the portal `local`. Its number, counted from 1."""
        core = self.core
        core.now = now
        number = core.new_connection_number()
        # Any start is legal (4.2.2.2); libiscsi takes one in the upper half for a step back and acknowledges nothing then.
        given = core.config.first_stat_sn
        stat_sn = int.from_bytes(core.random_bytes(4), "big") & 0x3FFFFFFF if given is None else given
        connection = Connection(number, local, remote, portal_group_tag, stat_sn, core.dirty)
        connection.heard = now
        core.connections[number] = connection
        core.tell(ConnectionMade(connection=number, portal=str(local), remote=str(remote)))
        if len(core.connections) > core.limits.connections:
            core.end_connection(connection, "too many connections", "rst")
            return number
        core.logins[number] = connection
        if len(core.logins) > core.limits.logins:
            core.end_connection(next(iter(core.logins.values())), "too many logins at once", "rst")
        if core.config.timers.login:
            core.timers.start(Timer.LOGIN, number, now + core.config.timers.login)
        return number

    def connection_lost(self, connection: int, reason: str, now: float) -> None:
        """TCP is gone: the peer closed or reset it, or what was queued and the close that was wanted have gone out."""
        core = self.core
        core.now = now
        lost = core.connections.pop(connection, None)
        core.dirty.discard(connection)
        if lost is not None:
            core.fail_connection(lost, reason)
            lost.shed()
            core.dirty.discard(connection)
            if core.disturbed:
                self._settle()

    def receive(self, connection: int, data: Buffer, now: float) -> None:
        """Bytes of a connection. They belong to the caller again when this returns. With no bytes: go on with what was left
        for later because too much was queued (`has_backlog`).
        """
        core = self.core
        core.now = now
        link = core.connections.get(connection)
        if link is None or not link.up:
            return
        link.heard = now
        framer = link.framer
        framer.receive(data)
        limit = core.limits.send_buffer
        link.stopped = False
        if link.backlog and link.queued <= limit:
            link.backlog = False
        if link.held and not link.backlog:
            data_out.go_on(core, link)
        while link.up:
            if link.queued > limit and not self._reads_on(link):
                break
            try:
                raw = framer.next_pdu()
            except FramingError as error:
                self._broken_stream(link, error)
                continue
            if raw is None:
                if core.disturbed:
                    self._settle()
                return
            try:
                # The first test spares the hash of an enum, for nearly every PDU.
                if link.state is State.LOGGED_IN or link.state in _FULL_FEATURE:
                    self._full_feature(link, raw)
                else:
                    login.receive(core, link, raw)
            except PeerViolation as violation:
                reject.answer(core, link, raw, violation)
        framer.keep()
        if core.disturbed:
            self._settle()

    def _reads_on(self, link: Connection) -> bool:
        """Whether to take more of a connection whose outbox is full: only beside others of its session, which would have to
        wait for CmdSNs that are not read; and no more than fills the outbox once again, since reads are held back.
        """
        link.congest()
        session = link.session
        several = session is not None and len(session.connections) > 1
        link.stopped = not several or link.queued - link.mark > self.core.limits.send_buffer
        if link.stopped:
            # The shell has to look at it, though nothing new is queued.
            self.core.dirty.add(link.number)
        return not link.stopped

    def _settle(self) -> None:
        """Connections or tasks went away: others, of any session, may have waited for them."""
        core = self.core
        while core.disturbed:
            core.disturbed = False
            for session in core.sessions:
                if session.waiting:
                    ordering.advance(core, session, _NUMBERED)
            settle(core)

    def _full_feature(self, link: Connection, raw: RawPdu) -> None:
        core = self.core
        bhs = raw.bhs
        session = link.session or link.in_session
        opcode = bhs[0] & 0x3F
        if raw.data_digest_error and not core.policy.ignore_data_digest:
            if opcode == Opcode.SCSI_DATA_OUT:
                data_out.lost(core, link, session, raw)
                return
            raise rejected(RejectReason.DATA_DIGEST_ERROR, "R7143-7.8-03", "data digest error")
        acknowledged = int.from_bytes(bhs[28:32], "big")
        if acknowledged != link.acknowledged and opcode != Opcode.LOGOUT_REQUEST:
            # A Logout Request has the ExpStatSN of the connection that it is about (11.14.4).
            self._acknowledge(link, session, acknowledged)
            if not link.up:
                # What waited for that acknowledgement ended the session, and the request with it.
                return
        if bhs[4] and opcode != Opcode.SCSI_COMMAND:
            raise format_error("additional header segments where there are none", "R7143-11.2.1.5-01")
        if session.discovery and opcode not in _IN_DISCOVERY and not core.policy.serve_discovery_fully:
            raise rejected(RejectReason.PROTOCOL_ERROR, "R7143-4.3-02", "a discovery session takes no such request")
        if opcode in _NUMBERED:
            ordering.receive(core, link, session, raw, _WHEN_SLOW if link.backlog else _NUMBERED)
        elif opcode in _UNNUMBERED:
            _UNNUMBERED[opcode](core, link, session, raw)
            if session.waiting and link.retained is not None:
                ordering.advance(core, session, _NUMBERED)
        elif opcode == Opcode.LOGIN_REQUEST:
            raise rejected(RejectReason.PROTOCOL_ERROR, "R7143-4.2.4-05", "a Login Request behind the login")
        else:
            raise rejected(RejectReason.COMMAND_NOT_SUPPORTED, "R7143-11.2.1.2-03", f"unknown opcode {opcode:#04x}")

    def _acknowledge(self, link: Connection, session: Session, exp_stat_sn: int) -> None:
        """The initiator's ExpStatSN moved (4.2.2.2)."""
        if not self.core.acknowledge(link, exp_stat_sn):
            if session.node is not None and session.node.config.judge_exp_stat_sn and lt(link.stat_sn, exp_stat_sn):
                raise rejected(
                    RejectReason.PROTOCOL_ERROR, "R7143-4.2.2.2-05", f"ExpStatSN {exp_stat_sn} was never due"
                )
            return
        if session.functions:
            taskmgmt.progress(self.core, session)
        if session.fence is not None:
            session.fence.progress()
        if session.waiting and link.retained is not None:
            ordering.advance(self.core, session, _NUMBERED)

    def _broken_stream(self, link: Connection, error: FramingError) -> None:
        """A header digest error or a data segment that is too long: the connection ends (7.8), in login with a status."""
        core = self.core
        if isinstance(error, HeaderDigestError):
            if core.policy.ignore_header_digest:
                link.framer.skip()
                return
            violation = PeerViolation("R7143-7.8-02", str(error), DropConnection())
        elif link.state in _FULL_FEATURE:
            violation = format_error(str(error), "R7143-13.12-02")
            link.framer.skip()
        else:
            violation = login.too_long(link, error.raw, str(error))
            link.framer.skip()
        reject.answer(core, link, error.raw, violation)

    def data_to_send(self, connection: int) -> list[Piece]:
        """Everything that is queued for a connection, in order; the caller sends all of it, or ends the connection."""
        link = self.core.connections.get(connection)
        if link is None:
            return []
        queued, link.outbox = link.outbox, []
        link.queued = 0
        return queued

    def dirty_connections(self) -> list[int]:
        """Connections that have something to send, or are to be closed; each is named once."""
        dirty = self.core.dirty
        if not dirty:
            return []
        named = list(dirty)
        dirty.clear()
        return named

    def wants_close(self, connection: int) -> str | None:
        """How TCP is to end behind everything queued: "fin" (half-close, and wait for the peer's), "rst", or None."""
        link = self.core.connections.get(connection)
        return None if link is None else link.closing

    def has_backlog(self, connection: int) -> bool:
        """Whether `receive` with no bytes has something to do, or takes more, once what was queued is sent."""
        link = self.core.connections.get(connection)
        return link is not None and link.up and link.backlog

    def takes_bytes(self, connection: int) -> bool:
        """Whether the connection is to be read; where not, its bytes stay with the network until `receive` with no bytes has
        gone on.
        """
        link = self.core.connections.get(connection)
        return link is None or not (link.up and link.stopped)

    # Slow work

    def work_to_do(self) -> list[Work]:
        """Work for the shell that it was not given before, as much as the limits let it have at once."""
        core = self.core
        if not core.unclaimed:
            return []
        room = core.limits.work_items - (len(core.pending) - len(core.unclaimed))
        held = [token for token in core.unclaimed if core.held_back(token)] if core.after else []
        free = [token for token in core.unclaimed if token not in held] if held else core.unclaimed
        tokens, core.unclaimed = free[: max(room, 0)], free[max(room, 0) :] + held
        return [Work(token, core.pending[token]) for token in tokens]

    def work_done(self, token: int, result: Completion | completion.Work, now: float) -> None:
        """The result of some work, or the rest of it, which is to be done next. A token that is not known is passed over."""
        core = self.core
        core.now = now
        found = core.completion_of(token, result)
        if found is not None:
            data_out.work_done(core, *found)
            if core.disturbed:
                self._settle()

    # Time

    def next_deadline(self) -> float | None:
        """When `handle_timer` wants to be called next, at the latest."""
        return self.core.timers.next_deadline()

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        core = self.core
        core.now = now
        for entry in core.timers.due(now):
            if entry.timer is Timer.SESSION_STATE:
                if core.state_timeout(entry.key):
                    core.tell(TimedOut(connection=entry.key, timer=entry.timer.value))
            elif entry.timer in _OF_SESSION:
                session = core.sessions.of_tsih(entry.key)
                if session is not None:
                    _OF_SESSION[entry.timer](core, session)
            elif entry.key in core.connections:
                self._due(core.connections[entry.key], entry.timer)
        self._settle()

    def _due(self, link: Connection, timer: Timer) -> None:
        """A deadline of a connection whose TCP side is up."""
        core = self.core
        match timer:
            case Timer.LOGIN:
                if link.state in (State.XPT_UP, State.IN_LOGIN) and not core.policy.wait_for_login_forever:
                    self._time_out(link, timer)
            case Timer.HALF_CLOSED:
                if link.closing is not None:
                    link.close("rst")
            case Timer.PING_INTERVAL:
                self._ping_if_silent(link)
            case Timer.PING_ANSWER:
                patience = core.config.timers.ping_timeout
                if link.up and any(sent + patience <= core.now for _, sent in link.pings.values()):
                    self._time_out(link, timer)
            case Timer.LOGOUT_REQUEST:
                patient = core.policy.wait_for_logout_forever
                if link.state is State.LOGOUT_REQUESTED and link.deadline <= core.now and not patient:
                    core.tell(TimedOut(connection=link.number, timer=timer.value))
                    notices.drop_connection(core, link, "no logout in time")
            case Timer.DATA_OUT:
                data_out.timed_out(core, link)
            case _:
                pass  # those of sessions and of connections that are gone

    def _time_out(self, link: Connection, timer: Timer) -> None:
        self.core.tell(TimedOut(connection=link.number, timer=timer.value))
        self.core.fail_connection(link, f"{timer.value} timed out")

    def _ping_if_silent(self, link: Connection) -> None:
        core = self.core
        interval = core.config.timers.ping_interval
        if not link.up or link.state not in _FULL_FEATURE:
            return
        silent = link.heard + interval <= core.now
        if silent and not link.pings:
            nop.ping(core, link)
        core.timers.start(Timer.PING_INTERVAL, link.number, (core.now if silent else link.heard) + interval)

    # What happens, and what is there

    def poll_event(self) -> Event | None:
        """The next event, None when there is none. Old ones are lost when nobody asks."""
        queue = self.core.events
        return queue.popleft() if queue else None

    @property
    def connections(self) -> Mapping[int, Connection]:
        """Connections whose TCP side is up, by number; to be looked at only."""
        return MappingProxyType(self.core.connections)

    @property
    def sessions(self) -> list[Session]:
        """All sessions, those waiting for recovery included; to be looked at only."""
        return list(self.core.sessions)

    # The operator's wishes

    def request_logout(self, connection: int, seconds: int, now: float) -> None:
        """Async Message 1: the initiator has `seconds` to log out; then the connection is dropped with Async Message 2."""
        self.core.now = now
        notices.request_logout(self.core, self._working(connection), seconds)

    def request_negotiation(self, connection: int, seconds: int, now: float) -> None:
        """Async Message 4: the initiator has `seconds` to send a Text Request."""
        self.core.now = now
        notices.request_negotiation(self._working(connection), seconds)

    def request_session_logout(self, tsih: int, seconds: int, now: float) -> None:
        """Async Message 1 on every connection of a session. Raises KeyError for a TSIH that no session has."""
        self.core.now = now
        notices.request_session_logout(self.core, self._session(tsih), seconds)

    def drop_connection(self, connection: int, now: float) -> None:
        """Async Message 2, on another connection of its session if there is one, and the end of the connection."""
        self.core.now = now
        notices.drop_connection(self.core, self._working(connection), "dropped by the operator")
        self._settle()

    def drop_session(self, tsih: int, now: float) -> None:
        """Async Message 3 and the end of the session. Raises KeyError for a TSIH that no session has."""
        self.core.now = now
        notices.drop_session(self.core, self._session(tsih), "dropped by the operator")
        self._settle()

    def send_scsi_async(self, connection: int, lun: bytes, sense: bytes, now: float) -> None:
        """Async Message 0 with sense data (without its 2-byte length) about a logical unit."""
        self.core.now = now
        notices.send(self._working(connection), AsyncEvent.SCSI, lun=lun, sense=sense)

    def send_vendor_async(self, connection: int, event: int, vcode: int, data: bytes, now: float) -> None:
        """A vendor's Async Message, 248 to 255. Raises ValueError for another event."""
        if event < AsyncEvent.VENDOR_FIRST:
            raise ValueError(f"vendor events are 248 to 255, got {event}")
        self.core.now = now
        notices.send(self._working(connection), event, vcode=vcode, event_data=data)

    def ping(self, connection: int, now: float, lun: bytes = NO_LUN) -> int:
        """A NOP-In that wants an answer; its Target Transfer Tag. `Pinged` tells of the answer."""
        self.core.now = now
        return nop.ping(self.core, self._working(connection), lun)

    def tell_counters(self, connection: int, now: float) -> None:
        """A NOP-In that only carries StatSN and the command window."""
        self.core.now = now
        link = self._working(connection)
        nop.tell_counters(link, link.in_session)

    def _session(self, tsih: int) -> Session:
        session = self.core.sessions.of_tsih(tsih)
        if session is None:
            raise KeyError(tsih)
        return session

    def _working(self, connection: int) -> Connection:
        """The connection, in full feature phase. Raises KeyError otherwise."""
        link = self.core.connections.get(connection)
        if link is None or link.state not in _FULL_FEATURE:
            raise KeyError(connection)
        return link
