"""Requests with a CmdSN, in the order in which they are to be executed (RFC 7143 4.2.2.1).

Immediate requests run as they come. The others run when all before them have come, on whatever connection of the session;
what is outside of the window or a duplicate never was. A request that is answered with a Reject does not count as received
(7.3). One that got lost with its connection is missing until it is sent again, on any connection; if that does not happen,
the session is given up (7.14, 7.15), since nothing behind it could ever run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from iscsi_protocol.pdu import NO_TAG, Opcode, RawPdu, RejectReason
from iscsi_target import command, data_out, events, nop, notices, reject, taskmgmt
from iscsi_target.connection import Connection
from iscsi_target.core import Core
from iscsi_target.session import Session
from iscsi_target.timers import Timer
from iscsi_target.violation import PeerViolation, RejectPdu, discarded, rejected

Execute: TypeAlias = Callable[[Core, Connection, Session, RawPdu], None]

_MASK = 0xFFFFFFFF
_FILLS = frozenset({Opcode.NOP_OUT, Opcode.SCSI_COMMAND, Opcode.TEXT_REQUEST})
"""Requests whose responses can be large, or any number at once."""


def receive(core: Core, connection: Connection, session: Session, raw: RawPdu, table: dict[int, Execute]) -> None:
    """Run a request now, keep it for later, or drop it. Raises PeerViolation."""
    bhs = raw.bhs
    if (
        (connection.retained is not None or session.fence is not None)
        and bhs[0] & 0x3F in _FILLS
        and _full(connection, session)
    ):
        _hold(core, connection, session, raw)
        return
    if bhs[0] & 0x40:
        table[bhs[0] & 0x3F](core, connection, session, raw)
        if session.waiting:
            advance(core, session, table)
        return
    cmd_sn = int.from_bytes(bhs[24:28], "big")
    if cmd_sn == session.exp_cmd_sn and cmd_sn != (session.max_cmd_sn + 1) & _MASK and cmd_sn not in session.waiting:
        session.exp_cmd_sn = (cmd_sn + 1) & _MASK
        try:
            table[bhs[0] & 0x3F](core, connection, session, raw)
        except PeerViolation as violation:
            if isinstance(violation.answer, RejectPdu):
                session.exp_cmd_sn = cmd_sn
            raise
        if session.waiting or session.functions:
            advance(core, session, table)
        return
    if not session.in_window(cmd_sn):
        if core.policy.accept_any_cmd_sn:
            table[bhs[0] & 0x3F](core, connection, session, raw)
            return
        clause = "R7143-4.2.2.1-13" if cmd_sn in session.waiting else "R7143-4.2.2.1-12"
        raise discarded(clause, f"CmdSN {cmd_sn} where {session.exp_cmd_sn} to {session.max_cmd_sn} are due, each once")
    if core.policy.deliver_out_of_order:
        session.plug(cmd_sn)
        table[bhs[0] & 0x3F](core, connection, session, raw)
        session.max_cmd_sn = (session.max_cmd_sn - 1) & _MASK
        return
    _keep(core, connection, session, raw, cmd_sn)
    if session.gap is None:
        _watch(core, session)


def _keep(core: Core, connection: Connection, session: Session, raw: RawPdu, cmd_sn: int) -> None:
    if session.waiting_bytes + len(raw.data) > core.limits.waiting_bytes:
        message = f"more than {core.limits.waiting_bytes} bytes ahead of CmdSN {session.exp_cmd_sn}"
        raise rejected(RejectReason.LONG_OPERATION_REJECT, "R7143-11.17.1-14", message)
    if raw.initiator_task_tag in session.early:
        message = f"task tag {raw.initiator_task_tag:#x} is that of a command that waits"
        raise rejected(RejectReason.TASK_IN_PROGRESS, "R7143-11.2.1.8-01", message)
    session.keep(cmd_sn, connection, raw.kept())


def _watch(core: Core, session: Session) -> None:
    """See to it that a request which never comes is noticed."""
    patience = core.config.timers.command_gap
    if patience:
        session.gap = session.exp_cmd_sn
        core.timers.start(Timer.COMMAND_GAP, session.tsih, core.now + patience + session.patience)


def gap_timeout(core: Core, session: Session) -> None:
    """Time is up for the request that was missing when the watch began; if it has come, the next one has as much time."""
    missing, session.gap = session.gap, None
    if not session.waiting:
        return
    if session.exp_cmd_sn != missing or missing in session.waiting:
        _watch(core, session)
        return
    core.tell(events.TimedOut(connection=None, timer=Timer.COMMAND_GAP.value))
    notices.drop_session(core, session, f"CmdSN {missing} did not come")


def _full(connection: Connection, session: Session) -> bool:
    """Whether too much waits for an acknowledgement: responses of the connection, or those behind a fence."""
    fence = session.fence
    return (connection.retained is not None and connection.retained.full) or (fence is not None and fence.full)


def _hold(core: Core, connection: Connection, session: Session, raw: RawPdu) -> None:
    """Too much that went out, or is to go out, is not acknowledged: the connection's requests wait, those behind them too,
    and a ping asks for the acknowledgement (7.1.4.2). What carries nothing but that is no request. Raises PeerViolation.
    """
    if raw.immediate and raw.initiator_task_tag == NO_TAG:
        nop.execute(core, connection, session, raw)
        return
    if not connection.pings:
        nop.ping(core, connection)
    if raw.immediate:
        raise rejected(RejectReason.IMMEDIATE_COMMAND_REJECT, "R7143-4.2.2.1-05", "too much is not acknowledged")
    cmd_sn = int.from_bytes(raw.bhs[24:28], "big")
    if not session.in_window(cmd_sn):
        raise discarded("R7143-4.2.2.1-12", f"CmdSN {cmd_sn} outside of the window, or a second time")
    _keep(core, connection, session, raw, cmd_sn)


def advance(core: Core, session: Session, table: dict[int, Execute]) -> None:
    """Run what was kept, as far as nothing is missing."""
    while session.live and session.exp_cmd_sn in session.waiting:
        cmd_sn = session.exp_cmd_sn
        held = session.waiting[cmd_sn]
        if held is not None and held[0].up and _full(held[0], session):
            break
        entry = session.next_waiting()
        session.exp_cmd_sn = (cmd_sn + 1) & _MASK
        if entry is None:
            session.reopen()
            continue
        connection, raw, early = entry
        try:
            if raw.opcode == Opcode.SCSI_COMMAND and connection.queued > core.limits.send_buffer:
                command.execute_slowly(core, connection, session, raw)
            else:
                table[raw.opcode](core, connection, session, raw)
            data_out.receive_early(core, connection, session, early)
        except PeerViolation as violation:
            if isinstance(violation.answer, RejectPdu):
                session.exp_cmd_sn = cmd_sn
            reject.answer(core, connection, raw, violation)
            if session.exp_cmd_sn == cmd_sn:
                break
    if session.functions:
        taskmgmt.progress(core, session)
