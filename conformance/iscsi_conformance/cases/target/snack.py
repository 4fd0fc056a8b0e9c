"""SNACK Requests where recovery level 0 was agreed on (RFC 7143 sections 7.8, 11.16 and Appendix D)."""

from __future__ import annotations

from typing import Any

from iscsi_captures.describe import one_line
from iscsi_conformance.case import TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.pending import aftermath, give_data, pending_write, rejects_among, response_among
from iscsi_conformance.session import ALIVE, Session, TaskResult
from iscsi_conformance.verdict import Failed, Inconclusive, require
from iscsi_protocol import serial
from iscsi_protocol.pdu import (
    R2T,
    AsyncMessage,
    Reject,
    RejectReason,
    ScsiCommand,
    ScsiResponse,
    SnackRequest,
    SnackType,
)
from iscsi_protocol.scsi.codes import SenseKey

FITTING = (
    RejectReason.SNACK_REJECT,
    RejectReason.PROTOCOL_ERROR,
    RejectReason.COMMAND_NOT_SUPPORTED,
    RejectReason.INVALID_PDU_FIELD,
)
"""Reasons that say of a SNACK why it is not served."""

WRITING = (Feature.WRITABLE_LUN,)


def send_snack(session: Session, snack_type: int, **fields: Any) -> None:
    """Send a SNACK Request."""
    session.send(SnackRequest(snack_type=snack_type, exp_stat_sn=session.raw.exp_stat_sn, **fields))


def ask_again(disk: Session, write: ScsiCommand) -> None:
    """Ask for the R2T of a write once more."""
    send_snack(disk, SnackType.DATA_OR_R2T, lun=write.lun, itt=write.itt, beg_run=0, run_length=1)


@case(
    "snack.is-not-passed-over",
    clauses={"R7143-7.8-09": "snack.ignored", "R7143-11.17.1-08": "snack.told-as-digest-error"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def not_passed_over(disk: Session) -> None:
    """A SNACK for the R2T of a write is served, or rejected for what it is, or ends the connection."""
    write, _ = await pending_write(disk)
    ask_again(disk, write)
    seen = await aftermath(disk)
    rejects = rejects_among(seen)
    served = any(isinstance(each.pdu, R2T | ScsiResponse) and each.pdu.itt == write.itt for each in seen)
    taken = served or rejects or disk.raw.closed
    require(taken, "R7143-7.8-09", "a SNACK is served or rejected")
    for reject in rejects:
        require(reject.reason in FITTING, "R7143-11.17.1-08", "reason 0x03 was due", seen=hex(reject.reason))


async def after_rejected_snack(disk: Session, clause: str) -> tuple[ScsiCommand, ScsiResponse]:
    """A write of which a SNACK was rejected with 0x03, and its response once its data has come."""
    write, r2t = await pending_write(disk)
    ask_again(disk, write)
    seen = await aftermath(disk)
    if not any(reject.reason == RejectReason.SNACK_REJECT for reject in rejects_among(seen)):
        raise Inconclusive("the SNACK is not rejected with reason 0x03")
    response = response_among(seen, write)
    if response is not None:
        return write, response
    give_data(disk, write, r2t)
    return write, await disk.answer(ScsiResponse, write.itt, clause)


@case(
    "snack.rejection-fails-the-write",
    clauses={"R7143-7.8-10": "snack.rejection-has-no-consequence", "R7143-11.4.7.2-04": "snack.other-sense"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def rejection_fails_the_write(disk: Session) -> None:
    """A write of which a SNACK was rejected with 0x03 ends with CHECK CONDITION and sense B/1113."""
    write, response = await after_rejected_snack(disk, "R7143-7.8-10")
    require(response.status == 2, "R7143-7.8-10", "CHECK CONDITION was due", seen=f"status {response.status:#04x}")
    sense = TaskResult(write, response, b"").sense
    right = sense is not None and (sense.key, sense.code) == (SenseKey.ABORTED_COMMAND, 0x1113)
    seen = "no sense" if sense is None else f"{sense.key:x}/{sense.code:04x}"
    require(right, "R7143-11.4.7.2-04", "sense B/1113 was due", seen=seen)


@case("snack.status-at-level-0", clauses={"R7143-D-02": "snack.ignored"}, role=TARGET)
async def status_at_level_0(session: Session) -> None:
    """A status SNACK ends the connection, announced by event 2 or not, or is rejected."""
    await session.test_unit_ready(ALIVE)
    send_snack(session, SnackType.STATUS, beg_run=serial.add(session.raw.exp_stat_sn, -1), run_length=1)
    seen = await aftermath(session)
    told = any(isinstance(each.pdu, AsyncMessage) for each in seen)
    taken = told or rejects_among(seen) or session.raw.closed
    require(taken, "R7143-D-02", "a status SNACK at level 0 ends the connection or is rejected")


@case("snack.data-ack-at-level-0", clauses={"R7143-11.17.1-13": "snack.told-as-digest-error"}, role=TARGET)
async def data_ack_at_level_0(session: Session) -> None:
    """A DataACK that no Data-In asked for is rejected with 0x08 or as a SNACK that is not served, or ends the connection."""
    send_snack(session, SnackType.DATA_ACK, lun=session.lun, ttt=0x1234, beg_run=1)
    for reject in rejects_among(await aftermath(session)):
        good = reject.reason in (RejectReason.INVALID_DATA_ACK, *FITTING)
        require(good, "R7143-11.17.1-13", "reason 0x08 was due", seen=hex(reject.reason))


@case("snack.reserved-type", clauses={"R7143-11-04": "snack.ignored"}, role=TARGET)
async def reserved_type(session: Session) -> None:
    """A SNACK of a reserved type is rejected, or ends the connection."""
    send_snack(session, 7, itt=0x7777)
    refused = rejects_among(await aftermath(session)) or session.raw.closed
    require(refused, "R7143-11-04", "a reserved SNACK type is refused")


@case("snack.in-discovery", clauses={"R7143-7.4.1-02": "snack.ignored"}, role=TARGET, needs=[Feature.DISCOVERY])
async def in_discovery(discovery: Session) -> None:
    """A SNACK on a discovery session, which has recovery level 0, is rejected or ends the connection."""
    send_snack(discovery, SnackType.STATUS, beg_run=0, run_length=0)
    fence = discovery.text(("SendTargets", "All"))
    received = await discovery.receive_or_none()
    if received is None:
        require(discovery.raw.closed, "R7143-7.4.1-02", "a SNACK on a discovery session is refused")
    elif not isinstance(received.pdu, Reject | AsyncMessage):
        of_fence = received.raw.initiator_task_tag == fence.itt
        what = "the text behind it is answered first" if of_fence else one_line(received.raw)
        raise Failed("R7143-7.4.1-02", "a SNACK on a discovery session is refused", seen=what)
