"""The one place where a violation becomes an answer: Reject, Login Response, the end of connection or session, or nothing
(RFC 7143 7.3, 7.7, 11.13.5, 11.17).
"""

from __future__ import annotations

from iscsi_protocol.pdu import (
    LoginResponse,
    Opcode,
    RawPdu,
    Reject,
    RejectReason,
    encode,
    packer,
)
from iscsi_protocol.text import encode_pairs
from iscsi_target import events
from iscsi_target.connection import Connection, State
from iscsi_target.core import Core
from iscsi_target.violation import (
    Discard,
    DropConnection,
    DropSession,
    FailTask,
    PeerViolation,
    RefuseLogin,
    RejectPdu,
)

_reject = packer(Reject, "@0", "@1", "@2", "@5", "@6", "@7", "itt", "stat_sn", "exp_cmd_sn", "max_cmd_sn", "data_sn")


def answer(core: Core, connection: Connection, raw: RawPdu, violation: PeerViolation) -> None:
    """Give the violation's answer, and tell of it."""
    core.note(connection, raw, violation)
    match violation.answer:
        case RejectPdu(reason=reason, data_sn=data_sn):
            send_reject(connection, raw, reason, data_sn)
        case RefuseLogin(status=status, text=text):
            _refuse_login(core, connection, raw, status, str(violation), text)
        case DropSession():
            drop_session(core, connection, violation.message)
        case DropConnection():
            core.fail_connection(connection, violation.message)
        case Discard() | FailTask():
            pass


def send_reject(connection: Connection, raw: RawPdu, reason: RejectReason, data_sn: int = 0) -> None:
    """A Reject with the header of the bad PDU, its AHS included, without digest (11.17.4)."""
    header = bytes(raw.bhs) + bytes(raw.ahs)
    session = connection.session
    connection.send(
        _reject(
            Opcode.REJECT,
            0x80,
            reason,
            0,
            len(header) >> 8,
            len(header) & 0xFF,
            0xFFFFFFFF,
            connection.next_stat_sn(),
            session.exp_cmd_sn if session else 0,
            session.max_cmd_sn if session else 0,
            data_sn,
        ),
        header,
    )


def drop_session(core: Core, connection: Connection, reason: str) -> None:
    """A format error: every connection of the session ends at once (7.7); recovery is the initiator's matter (7.1.4.4)."""
    if core.policy.survive_format_errors:
        return
    session = connection.session
    if session is None:
        core.end_connection(connection, reason, "rst")
        return
    for each in list(session.connections.values()):
        core.fail_connection(each, reason, announce=False)


def _refuse_login(
    core: Core, connection: Connection, raw: RawPdu, status: int, reason: str, text: tuple[tuple[str, str], ...]
) -> None:
    """A Login Response with a status; T, CSG, NSG and the numbers mean nothing in it (11.13.5). Not even a Login Response
    goes out where the login never began (4.2.4).
    """
    core.tell(events.LoginRefused(connection=connection.number, status=status, reason=reason))
    of_login = raw.opcode == Opcode.LOGIN_REQUEST
    first = connection.login.first if connection.login is not None else raw.bhs if of_login else None
    if first is not None:
        request = RawPdu(first)
        response = LoginResponse(
            isid=bytes(first[8:14]),
            tsih=int.from_bytes(first[14:16], "big"),
            itt=request.initiator_task_tag,
            status_class=status >> 8,
            status_detail=status & 0xFF,
            data=encode_pairs(text),
        )
        raw_response = encode(response)
        connection.send(bytes(raw_response.bhs), raw_response.data)
    if core.policy.stay_after_login_reject and first is not None:
        core.login_over(connection)
        connection.state = State.XPT_UP
        return
    core.end_connection(connection, reason)
