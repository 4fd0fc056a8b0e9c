"""SNACK at recovery level 0: there is nothing to send again (RFC 7143 7.8, 11.16, Appendix D)."""

from __future__ import annotations

from iscsi_protocol.pdu import RawPdu, RejectReason, SnackRequest, SnackType, unpacker
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_target import data_out, notices, reject
from iscsi_target.connection import Connection
from iscsi_target.core import Core
from iscsi_target.session import Session
from iscsi_target.violation import DropConnection, FailTask, PeerViolation, format_error, rejected

_fields = unpacker(SnackRequest, "@1", "itt")


def receive(core: Core, connection: Connection, session: Session, raw: RawPdu) -> None:
    """A SNACK Request. A task that it is about, and that has not ended, ends with "SNACK rejected". Raises PeerViolation."""
    byte1, itt = _fields(raw.bhs, 0)
    snack_type = byte1 & 0x0F
    if snack_type > SnackType.R_DATA:
        raise format_error(f"SNACK type {snack_type} is reserved")
    if snack_type == SnackType.STATUS:
        core.note(connection, raw, PeerViolation("R7143-D-02", "a status SNACK at level 0", DropConnection()))
        notices.drop_connection(core, connection, "status SNACK at recovery level 0")
        return
    if snack_type == SnackType.DATA_ACK:
        raise rejected(RejectReason.INVALID_DATA_ACK, "R7143-11.17.1-13", "no Data-In asked for an acknowledgement")
    refusal = rejected(RejectReason.SNACK_REJECT, "R7143-7.8-09", "recovery level 0 has no SNACK")
    task = session.tasks.get(itt)
    if task is None or task.aborted:
        raise refusal
    reject.answer(core, connection, raw, refusal)
    failure = FailTask(sense_code=AdditionalSense.READ_ERROR_FAILED_RETRANSMISSION_REQUEST)
    data_out.fail(core, connection, raw, task, PeerViolation("R7143-7.8-10", "SNACK rejected", failure))
    data_out.proceed(core, session, task)
