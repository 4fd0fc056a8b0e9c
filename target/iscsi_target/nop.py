"""NOP-Out and NOP-In: pings both ways, and counters (RFC 7143 11.18, 11.19)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_protocol.pdu import NO_LUN, NO_TAG, NopIn, NopOut, Opcode, RawPdu, RejectReason, packer, unpacker
from iscsi_target import events, termination
from iscsi_target.connection import Connection
from iscsi_target.session import Session
from iscsi_target.timers import Timer
from iscsi_target.violation import format_error, rejected

if TYPE_CHECKING:
    from iscsi_target.core import Core

_fields = unpacker(NopOut, "@0", "lun", "itt", "ttt")
_nop_in = packer(NopIn, "@0", "@1", "@5", "@6", "@7", "lun", "itt", "ttt", "stat_sn", "exp_cmd_sn", "max_cmd_sn")


def execute(core: Core, connection: Connection, session: Session, raw: RawPdu) -> None:
    """A NOP-Out whose turn it is. Raises PeerViolation."""
    byte0, lun, itt, ttt = _fields(raw.bhs, 0)
    if itt == NO_TAG:
        if not byte0 & 0x40:
            raise format_error("a NOP-Out that wants no answer is immediate", "R7143-11.18.1-04")
        if ttt != NO_TAG:
            _answered(core, connection, lun, ttt)
        elif session.terminations:
            termination.acknowledged(session, connection, lun)
        return
    if ttt != NO_TAG:
        raise format_error("a NOP-Out is a ping or the answer to one, not both", "R7143-11.18.2-02")
    if session.uses(itt):
        raise rejected(RejectReason.TASK_IN_PROGRESS, "R7143-11.2.1.8-01", f"task tag {itt:#x} is in use")
    if not byte0 & 0x40:
        session.reopen()
    # The echo is cut to what the initiator takes (11.19).
    data = bytes(raw.data[: connection.max_send])
    _send(connection, session, data, NO_LUN, itt, NO_TAG, connection.next_stat_sn())


def _answered(core: Core, connection: Connection, lun: bytes, ttt: int) -> None:
    ping = connection.pings.get(ttt)
    if ping is None:
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.18-02", f"no NOP-In has the tag {ttt:#x}")
    if ping[0] != lun:
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.18.2-03", "the LUN is not that of the NOP-In")
    del connection.pings[ttt]
    core.tell(events.Pinged(connection=connection.number, seconds=core.now - ping[1]))


def ping(core: Core, connection: Connection, lun: bytes = NO_LUN) -> int:
    """Send a NOP-In that wants an answer; its tag (11.19.1). The answer has time until `ping_timeout`."""
    session = connection.in_session
    ttt = core.new_tag()
    connection.pings[ttt] = (lun, core.now)
    _send(connection, session, b"", lun, NO_TAG, ttt, connection.stat_sn)
    if core.config.timers.ping_timeout:
        core.timers.start(Timer.PING_ANSWER, connection.number, core.now + core.config.timers.ping_timeout)
    return ttt


def tell_counters(connection: Connection, session: Session) -> None:
    """Send a NOP-In that only carries the window (11.4.11), without using a StatSN."""
    _send(connection, session, b"", NO_LUN, NO_TAG, NO_TAG, connection.stat_sn)


def _send(connection: Connection, session: Session, data: bytes, lun: bytes, itt: int, ttt: int, stat_sn: int) -> None:
    length = len(data)
    connection.send(
        _nop_in(
            Opcode.NOP_IN,
            0x80,
            length >> 16,
            length >> 8 & 0xFF,
            length & 0xFF,
            lun,
            itt,
            ttt,
            stat_sn,
            session.exp_cmd_sn,
            session.max_cmd_sn,
        ),
        data,
    )
