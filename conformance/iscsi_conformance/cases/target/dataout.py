"""SCSI Data-Out in answer to R2Ts (RFC 7143 sections 4.2.5.3, 7.9, 11.4.2, 11.7, 11.17.1)."""

from __future__ import annotations

from typing import Any

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.transfer import (
    AMOUNT,
    BEHIND_THE_END,
    R2T_MODE,
    SMALL_BURST,
    Reaction,
    blocks_for,
    pattern,
    reaction,
    require_good,
    write_command,
)
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_protocol.pdu import R2T, Reject, RejectReason, ScsiCommand
from iscsi_protocol.scsi import opcodes

CHECK_CONDITION = 2
WRITABLE = (Feature.WRITABLE_LUN,)
LENGTH = 8192
NO_R2T = 0x0BADBAD0
"""A target transfer tag that nobody gave out."""

OTHER_LUN = bytes((0, 0x63, 0, 0, 0, 0, 0, 0))


async def asked(peer: Peer, clause: str) -> tuple[Session, ScsiCommand, bytes, R2T]:
    """A session, a write of 8192 bytes that is under way, its data, and the R2T for its beginning."""
    disk = await peer.disk(R2T_MODE)
    data = pattern(LENGTH, clause)
    command = write_command(disk, data)
    r2t = await disk.answer(R2T, command.itt, clause)
    if r2t.buffer_offset or r2t.desired_data_transfer_length < 4 * 512:
        raise Inconclusive("the target does not ask for the data from its beginning in pieces worth cutting")
    return disk, command, data, r2t


def part(disk: Session, command: ScsiCommand, data: bytes, r2t: R2T, start: int, stop: int, **fields: Any) -> None:
    """Send the bytes start to stop of what an R2T asked for as one Data-Out; fields as `DataOut` has them."""
    at = r2t.buffer_offset
    values: dict[str, Any] = {"buffer_offset": at + start, "final": stop == r2t.desired_data_transfer_length}
    disk.data_out(command, data[at + start : at + stop], r2t=r2t, **(values | fields))


def rest(disk: Session, command: ScsiCommand, data: bytes, r2t: R2T, start: int, data_sn: int) -> None:
    """Send what is left of an answer to an R2T, in pieces that the target takes."""
    length = r2t.desired_data_transfer_length
    for position in range(start, length, disk.target_segment_limit):
        stop = min(position + disk.target_segment_limit, length)
        part(disk, command, data, r2t, position, stop, data_sn=data_sn)
        data_sn += 1


@case(
    "dataout.stores-what-was-sent",
    clauses={"R7143-4.2.1-01": "dataout.bit-flipped"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def stores_what_was_sent(peer: Peer) -> None:
    """An R2T that is answered by many small Data-Out PDUs has the data stored in their order."""
    disk, command, data, r2t = await asked(peer, "R7143-4.2.1-01")
    length = r2t.desired_data_transfer_length
    for data_sn, start in enumerate(range(0, length, 512)):
        part(disk, command, data, r2t, start, min(start + 512, length), data_sn=data_sn)
    require_good(await disk.result(command, "R7143-4.2.1-01", write_data=data), "R7143-4.2.1-01", "the write")
    outcome = await disk.read("R7143-4.2.1-01", blocks=len(data) // disk.block_size)
    require(outcome.data == data, "R7143-4.2.1-01", "the data comes back unchanged")


@case(
    "dataout.empty-pdus",
    clauses={"R7143-11.7.7-01": "dataout.empty-refused"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def empty_pdus(peer: Peer) -> None:
    """Data-Out PDUs without data are taken, in the middle of an answer and at its end."""
    disk, command, data, r2t = await asked(peer, "R7143-11.7.7-01")
    length = min(r2t.desired_data_transfer_length, disk.target_segment_limit)
    part(disk, command, data, r2t, 0, 512, final=False, data_sn=0)
    part(disk, command, data, r2t, 512, 512, final=False, data_sn=1)
    part(disk, command, data, r2t, 512, length, final=False, data_sn=2)
    if length < r2t.desired_data_transfer_length:
        rest(disk, command, data, r2t, length, 3)
    else:
        part(disk, command, data, r2t, length, length, final=True, data_sn=3)
    outcome = await disk.result(command, "R7143-11.7.7-01", write_data=data)
    require(not outcome.rejects, "R7143-11.7.7-01", "no Reject of a PDU without data")
    require_good(outcome, "R7143-11.7.7-01", "the write")


@case(
    "dataout.number-missing",
    clauses={"R7143-7.9-02": "dataout.numbers-ignored"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def number_missing(peer: Peer) -> None:
    """A gap in DataSN is taken as a lost PDU: the data is asked for again, or the command fails."""
    disk, command, data, r2t = await asked(peer, "R7143-7.9-02")
    part(disk, command, data, r2t, 0, 512, data_sn=0)
    rest(disk, command, data, r2t, 512, data_sn=2)
    seen = await reaction(disk, command)
    length = r2t.desired_data_transfer_length
    onward = not seen.rejects and bool(seen.r2ts) and seen.r2ts[0].buffer_offset >= length
    require(seen.refused and not onward, "R7143-7.9-02", "the gap is noticed", seen=seen)


@case(
    "dataout.other-lun",
    clauses={"R7143-4.2.5.3-01": "dataout.places-ignored"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def other_lun(peer: Peer) -> None:
    """Data-Out with another LUN than its R2T is not taken for the command's data."""
    disk, command, data, r2t = await asked(peer, "R7143-4.2.5.3-01")
    disk.data_out(command, data[: r2t.desired_data_transfer_length], r2t=r2t, lun=OTHER_LUN)
    seen = await reaction(disk, command)
    require(seen.refused, "R7143-4.2.5.3-01", "the LUN is checked against the command's", seen=seen)


@case(
    "dataout.other-offset",
    clauses={"R7143-4.2.5.3-03": "dataout.places-ignored"},
    needs=(*WRITABLE, Feature.SMALL_BURST),
    destructive=True,
    role=TARGET,
)
async def other_offset(peer: Peer) -> None:
    """Data-Out with the offset of another burst than its R2T asked for is a protocol error."""
    disk = await peer.disk((*R2T_MODE, *SMALL_BURST))
    burst = disk.agreed_number("MaxBurstLength")
    data = pattern(blocks_for(disk, 3 * burst) * disk.block_size)
    command = write_command(disk, data)
    r2t = await disk.answer(R2T, command.itt, "R7143-4.2.5.3-03")
    desired = r2t.desired_data_transfer_length
    length = min(desired, disk.target_segment_limit)
    part(disk, command, data, r2t, 0, length, buffer_offset=r2t.buffer_offset + desired, final=True)
    seen = await reaction(disk, command)
    onward = seen.r2ts and not seen.rejects and seen.r2ts[0].buffer_offset > r2t.buffer_offset
    require(seen.refused and not onward, "R7143-4.2.5.3-03", "the wrong offset is noticed", seen=seen)


@case(
    "dataout.unknown-tag",
    clauses={"R7143-11.17.1-02": "dataout.unknown-tag-dropped", "R7143-7.3-01": "dataout.no-response"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def unknown_tag(peer: Peer) -> None:
    """Data-Out for an R2T that never was is rejected as an invalid field, and the command goes on to a response."""
    disk, command, data, r2t = await asked(peer, "R7143-11.17.1-02")
    part(disk, command, data, r2t, 0, 512, ttt=NO_R2T, final=True)
    first = (await disk.receive("R7143-11.17.1-02", "Reject of Data-Out with an unknown TTT")).pdu
    fits = isinstance(first, Reject) and first.reason == RejectReason.INVALID_PDU_FIELD
    require(fits, "R7143-11.17.1-02", "a Reject with reason 0x09", seen=type(first).__name__)
    disk.data_out(command, data[: r2t.desired_data_transfer_length], r2t=r2t)
    seen = await reaction(disk, command)
    goes_on = seen.response or seen.r2ts or seen.closed
    require(goes_on, "R7143-7.3-01", "the command still gets its response", seen=seen)


@case(
    "dataout.rejected-data-fails-the-command",
    clauses={
        "R7143-11.17.1-05": "dataout.good-after-reject",
        "R7143-11.17.1-06": "dataout.response-with-reject",
    },
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def rejected_data_fails_the_command(peer: Peer) -> None:
    """Where rejected data ends the command, CHECK CONDITION follows, and not before the last Data-Out that is due."""
    disk, command, data, r2t = await asked(peer, "R7143-11.17.1-05")
    part(disk, command, data, r2t, 0, 512, data_sn=0, buffer_offset=1024, final=False)
    disk.ping()
    first = await disk.receive_or_none()
    if first is None or not isinstance(first.pdu, Reject):
        return
    await disk.silence("R7143-11.17.1-06", "no response while data is due", about=command.itt)
    rest(disk, command, data, r2t, 512, data_sn=1)
    seen = await reaction(disk, command)
    failed = seen.response is not None and seen.response.status == CHECK_CONDITION
    require(failed or seen.r2ts or seen.closed, "R7143-11.17.1-05", "CHECK CONDITION or a recovery R2T", seen=seen)


@case(
    "dataout.error-waits-for-the-data",
    clauses={"R7143-11.4.2-01": "dataout.early-response"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def error_waits_for_the_data(peer: Peer) -> None:
    """A write behind the end that was asked for its data fails after the last Data-Out, not before."""
    disk = await peer.disk(R2T_MODE)
    data = pattern(LENGTH)
    blocks = LENGTH // disk.block_size
    command = disk.command(opcodes.WRITE_16.build(lba=BEHIND_THE_END, blocks=blocks), write=LENGTH)
    first = await disk.receive("R7143-11.4.2-01", "R2T or the status of a write behind the end")
    if not isinstance(first.pdu, R2T):
        return
    part(disk, command, data, first.pdu, 0, 512, data_sn=0, final=False)
    await disk.silence("R7143-11.4.2-01", "no response while data is due", about=command.itt)
    rest(disk, command, data, first.pdu, 512, data_sn=1)
    outcome = await disk.result(command, "R7143-11.4.2-01", write_data=data)
    require(outcome.status == CHECK_CONDITION, "R7143-11.4.2-01", "the write fails", seen=outcome.status)


@case(
    "dataout.too-little",
    clauses={"R7143-11.4.7.2-02": "dataout.amount-ignored"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def too_little(peer: Peer) -> None:
    """An answer to an R2T that ends too early is an incorrect amount of data."""
    disk, command, data, r2t = await asked(peer, "R7143-11.4.7.2-02")
    part(disk, command, data, r2t, 0, 512, final=True)
    seen = await reaction(disk, command)
    require_amount(seen)


def require_amount(seen: Reaction) -> None:
    """The amount of data was found wrong: by sense data, by a Reject for the early F bit, or the connection ended (11.8)."""
    noticed = seen.sense == AMOUNT or seen.rejects or seen.closed or seen.r2ts
    require(noticed, "R7143-11.4.7.2-02", "sense key B with 0C/0D", seen=seen)
