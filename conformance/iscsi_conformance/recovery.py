"""What cases about recovery share: SNACKs, retries, reassignment, acknowledgements held back, and PDUs sent again (RFC 7143
7.2, 7.8, 11.16).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any, TypeVar

from iscsi_conformance.clock import passed
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import Inconclusive, Unsupported, require
from iscsi_initiator.raw_login import RawLogin
from iscsi_protocol.pdu import (
    NO_TAG,
    R2T,
    DataIn,
    DataOut,
    LoginStatus,
    LogoutReason,
    LogoutResponse,
    Pdu,
    ScsiCommand,
    ScsiResponse,
    SnackRequest,
    SnackType,
    TaskFunction,
    TaskManagementRequest,
)

P = TypeVar("P", bound=Pdu)

LEVEL_1 = (("ErrorRecoveryLevel", "1"),)
LEVEL_2 = (("ErrorRecoveryLevel", "2"), ("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "20"))
CURRENT = frozenset({"exp_cmd_sn", "max_cmd_sn"})
"""Fields that carry current values in any PDU that is sent again (11.16)."""


# ---- SNACK (11.16) ----


def snack(session: Session, snack_type: int, **values: Any) -> SnackRequest:
    """Send a SNACK Request; values as `SnackRequest` has them."""
    sent = SnackRequest(**{"snack_type": snack_type, "exp_stat_sn": session.raw.exp_stat_sn, **values})
    session.send(sent)
    return sent


def snack_data(session: Session, command: ScsiCommand, beg_run: int = 0, run_length: int = 0) -> SnackRequest:
    """Ask for Data-In or R2T PDUs of a command again; 0 and 0 are all that are not acknowledged."""
    return snack(
        session,
        SnackType.DATA_OR_R2T,
        lun=command.lun,
        itt=command.itt,
        beg_run=beg_run,
        run_length=run_length,
    )


def snack_status(session: Session, beg_run: int, run_length: int = 1) -> SnackRequest:
    """Ask for the responses with these StatSNs again."""
    return snack(session, SnackType.STATUS, beg_run=beg_run, run_length=run_length)


def acknowledge_data(session: Session, data_in: DataIn, beg_run: int | None = None) -> SnackRequest:
    """The DataACK that a Data-In with the A bit asks for: all data up to it came."""
    due = data_in.data_sn + 1 if beg_run is None else beg_run
    return snack(session, SnackType.DATA_ACK, lun=data_in.lun, ttt=data_in.ttt, beg_run=due)


def snack_resegmented(session: Session, command: ScsiCommand, tag: int) -> SnackRequest:
    """Ask for all data of a read again, in segments as they may be now, and for a response with this SNACK tag."""
    return snack(session, SnackType.R_DATA, lun=command.lun, itt=command.itt, ttt=tag)


# ---- what was lost, and what comes again ----


@contextmanager
def withholding(session: Session) -> Iterator[None]:
    """Meanwhile nothing that comes is acknowledged: requests carry the ExpStatSN of now."""
    status = session.raw.status
    status.withheld = status.due
    try:
        yield
    finally:
        status.withheld = None


def acknowledge(session: Session) -> None:
    """Acknowledge all that came, by a NOP-Out that wants no answer (11.18)."""
    session.ping(itt=NO_TAG)


def lost(session: Session, pdu: ScsiResponse | DataIn) -> None:
    """Go on as though this PDU with a status had never come. Nothing was sent since that acknowledges it."""
    session.raw.status.lost(pdu.stat_sn)


def differences(original: Pdu, again: Pdu, but: frozenset[str] = CURRENT) -> list[str]:
    """Names of the fields in which a PDU that was sent again differs from the original, those in `but` left out."""
    if type(original) is not type(again):
        return ["opcode"]
    names = [each.name for each in fields(original) if each.name not in but]
    return [name for name in names if getattr(original, name) != getattr(again, name)]


def require_same(original: Pdu, again: Pdu, clause: str, what: str, but: frozenset[str] = CURRENT) -> None:
    """The second is a replica of the first."""
    found = differences(original, again, but)
    require(not found, clause, f"{what} is an exact replica", seen=f"differs in {', '.join(found)}")


def retry(session: Session, command: ScsiCommand, **changes: Any) -> None:
    """Send a command once more, with the same CmdSN and task tag (7.2.1)."""
    session.send(replace(command, exp_stat_sn=session.raw.exp_stat_sn, **changes))


def data_out_of(session: Session, command: ScsiCommand, r2t: R2T, data: bytes, **values: Any) -> DataOut:
    """One Data-Out for an R2T, not sent yet; values as `DataOut` has them."""
    made: dict[str, Any] = {
        "final": True,
        "lun": r2t.lun,
        "itt": command.itt,
        "ttt": r2t.ttt,
        "exp_stat_sn": session.raw.exp_stat_sn,
        "buffer_offset": r2t.buffer_offset,
        "data": data,
    }
    return DataOut(**(made | values))


async def data_until_status(session: Session, command: ScsiCommand, clause: str) -> list[DataIn | ScsiResponse]:
    """Every PDU of a read up to and with the one that has the status, in the order in which they came."""
    seen: list[DataIn | ScsiResponse] = []
    while True:
        pdu = (await session.receive(clause, "the command's data and status")).pdu
        if isinstance(pdu, DataIn | ScsiResponse) and pdu.itt == command.itt:
            seen.append(pdu)
            if isinstance(pdu, ScsiResponse) or pdu.status_present:
                return seen


def only_data(pdus: Sequence[Pdu]) -> list[DataIn]:
    """The Data-In PDUs with data among these."""
    return [pdu for pdu in pdus if isinstance(pdu, DataIn) and pdu.data]


def require_level(session: Session, level: int) -> None:
    """Raise Unsupported unless the session has this recovery level or a higher one."""
    agreed = session.agreed("ErrorRecoveryLevel")
    if int(agreed) < level:
        raise Unsupported(f"error-recovery-level-{level}", f"ErrorRecoveryLevel={agreed} was agreed on")


# ---- connections that end ----


def drop(session: Session) -> None:
    """The connection breaks, without a logout."""
    session.raw.abort()


def require_gone(login: RawLogin, session: Session, clause: str, when: str) -> None:
    """A login into a session that is no more was refused with 020a. Raises Inconclusive where any TSIH makes one."""
    if login.full_feature and login.tsih != session.tsih:
        raise Inconclusive("any TSIH makes a new session here, so the old one's cannot tell")
    gone = login.status == LoginStatus.SESSION_DOES_NOT_EXIST
    seen = "no answer" if login.status is None else f"status {login.status:04x}"
    require(gone, clause, f"status 020a was due {when}", seen=seen)


async def time2wait(session: Session, seconds: int | None = None) -> None:
    """Let Time2Wait pass, before which no recovery is to be tried (7.5); the agreed default unless told otherwise."""
    await passed(session.agreed_number("DefaultTime2Wait") if seconds is None else seconds)


def retained(session: Session) -> int:
    """Seconds for which the target keeps state behind Time2Wait. Raises Inconclusive where it keeps none."""
    seconds = session.agreed_number("DefaultTime2Retain")
    if not seconds:
        raise Inconclusive("nothing is retained: DefaultTime2Retain=0 was agreed on")
    return seconds


async def remove_for_recovery(session: Session, cid: int, clause: str) -> LogoutResponse:
    """Log the connection of this CID out for recovery, over another one and at once; raise Failed unless it succeeds."""
    response = await session.logout(clause, LogoutReason.RECOVERY, cid=cid, immediate=True)
    require(response.response == 0, clause, "a logout for recovery succeeds", seen=f"response {response.response}")
    return response


def reassign(session: Session, task: ScsiCommand, exp_data_sn: int = 0, **values: Any) -> TaskManagementRequest:
    """Ask that a task be continued on this connection (TASK REASSIGN, 11.5)."""
    wanted = {"lun": task.lun, "referenced_task_tag": task.itt, "exp_data_sn": exp_data_sn}
    return session.manage_task(TaskFunction.TASK_REASSIGN, **(wanted | values))
