"""Requests with a CmdSN, in the order in which they are to be executed (RFC 7143 4.2.2.1).

Immediate requests run as they come. The others run when all before them have come; what is outside of the window or a
duplicate never was. A request that is answered with a Reject does not count as received (7.3).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from iscsi_protocol.pdu import RawPdu
from iscsi_target import reject, taskmgmt
from iscsi_target.connection import Connection
from iscsi_target.core import Core
from iscsi_target.session import Session
from iscsi_target.violation import PeerViolation, RejectPdu, discarded

Execute: TypeAlias = Callable[[Core, Connection, Session, RawPdu], None]

_MASK = 0xFFFFFFFF


def receive(core: Core, connection: Connection, session: Session, raw: RawPdu, table: dict[int, Execute]) -> None:
    """Run a request now, keep it for later, or drop it. Raises PeerViolation."""
    bhs = raw.bhs
    if bhs[0] & 0x40:
        table[bhs[0] & 0x3F](core, connection, session, raw)
        if session.waiting:
            advance(core, session, table)
        return
    cmd_sn = int.from_bytes(bhs[24:28], "big")
    if cmd_sn == session.exp_cmd_sn and cmd_sn != (session.max_cmd_sn + 1) & _MASK and cmd_sn not in session.waiting:
        session.exp_cmd_sn = (cmd_sn + 1) & _MASK
        try:
            table[bhs[0]](core, connection, session, raw)
        except PeerViolation as violation:
            if isinstance(violation.answer, RejectPdu):
                session.exp_cmd_sn = cmd_sn
            raise
        if session.waiting or session.functions:
            advance(core, session, table)
        return
    if not session.in_window(cmd_sn):
        if core.policy.accept_any_cmd_sn:
            table[bhs[0]](core, connection, session, raw)
            return
        clause = "R7143-4.2.2.1-13" if cmd_sn in session.waiting else "R7143-4.2.2.1-12"
        raise discarded(clause, f"CmdSN {cmd_sn} where {session.exp_cmd_sn} to {session.max_cmd_sn} are due, each once")
    if core.policy.deliver_out_of_order:
        session.plug(cmd_sn)
        table[bhs[0]](core, connection, session, raw)
        session.max_cmd_sn = (session.max_cmd_sn - 1) & _MASK
        return
    session.waiting[cmd_sn] = (connection, raw.kept())


def advance(core: Core, session: Session, table: dict[int, Execute]) -> None:
    """Run what was kept, as far as nothing is missing."""
    while session.live and session.exp_cmd_sn in session.waiting:
        cmd_sn = session.exp_cmd_sn
        entry = session.waiting.pop(cmd_sn)
        session.exp_cmd_sn = (cmd_sn + 1) & _MASK
        if entry is None:
            session.reopen()
            continue
        connection, raw = entry
        try:
            table[raw.opcode](core, connection, session, raw)
        except PeerViolation as violation:
            if isinstance(violation.answer, RejectPdu):
                session.exp_cmd_sn = cmd_sn
            reject.answer(core, connection, raw, violation)
            if session.exp_cmd_sn == cmd_sn:
                break
    if session.functions:
        taskmgmt.progress(core, session)
