"""Recovery level 1: data of the initiator's that was damaged, and R2Ts for it (RFC 7143 7.3, 7.8, 11.8)."""

from __future__ import annotations

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.identity import NO_UNSOLICITED, WRITABLE
from iscsi_conformance.cases.target.level1 import WRITING
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import give_data, pending_write
from iscsi_conformance.recovery import LEVEL_1, data_out_of, require_level, retry
from iscsi_conformance.session import Session
from iscsi_conformance.transfer import pattern, write_command
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_protocol.pdu import R2T, Reject, RejectReason, ScsiCommand, ScsiResponse


async def damaged_first_piece(peer: Peer) -> tuple[Session, ScsiCommand, R2T, R2T]:
    """A write whose first Data-Out of two was damaged, its R2T and the recovery R2T for it.

    Raises Inconclusive where the target ends the task instead (7.8).
    """
    disk = await peer.disk([*LEVEL_1, *NO_UNSOLICITED, ("DataDigest", "CRC32C"), ("DataPDUInOrder", "Yes")])
    require_level(disk, 1)
    write, r2t = await pending_write(disk, 4)
    data = pattern(write.expected_data_transfer_length)
    half = len(data) // 2
    with disk.damaging(data=True):
        disk.send(data_out_of(disk, write, r2t, data[:half], final=False))
    disk.send(data_out_of(disk, write, r2t, data[half:], data_sn=1, buffer_offset=r2t.buffer_offset + half))
    while True:
        pdu = (await disk.receive("R7143-7.8-04", "a recovery R2T or the write's status")).pdu
        if isinstance(pdu, ScsiResponse):
            raise Inconclusive("the target ends the task instead of asking for the data again, as it may")
        if isinstance(pdu, R2T) and pdu.itt == write.itt:
            return disk, write, r2t, pdu


DIGESTED = (*WRITING, Feature.DATA_DIGEST)


@case(
    "level1.recovery-r2t",
    clauses={"R7143-11.8-11": "level1.recovery-r2t-repeats-number"},
    role=TARGET,
    needs=DIGESTED,
    destructive=True,
)
async def recovery_r2t(peer: Peer) -> None:
    """The R2T that asks again for a damaged Data-Out takes the next R2TSN, and the write can end with GOOD."""
    clause = "R7143-11.8-11"
    disk, write, r2t, recovery = await damaged_first_piece(peer)
    due = r2t.r2t_sn + 1
    require(recovery.r2t_sn == due, clause, f"R2TSN {due} was due", seen=recovery.r2t_sn)
    give_data(disk, write, recovery)
    outcome = await disk.result(write, clause, write_data=pattern(write.expected_data_transfer_length))
    require(outcome.status == 0, clause, "the write ends with GOOD", seen=f"status {outcome.status:#04x}")


@case(
    "level1.known-piece-is-not-asked-again",
    clauses={"R7143-7.3-05": "level1.asks-for-everything-again"},
    role=TARGET,
    needs=DIGESTED,
    destructive=True,
)
async def known_piece(peer: Peer) -> None:
    """Behind a damaged Data-Out the next one counts: only the damaged one's bytes are asked for again."""
    clause = "R7143-7.3-05"
    disk, write, r2t, recovery = await damaged_first_piece(peer)
    half = write.expected_data_transfer_length // 2
    asked = recovery.buffer_offset, recovery.desired_data_transfer_length
    due = r2t.buffer_offset, half
    require(asked == due, clause, f"{half} bytes from {r2t.buffer_offset} were due", seen=asked)
    give_data(disk, write, recovery)
    await disk.result(write, clause)


@case(
    "level1.damaged-command-is-retried",
    clauses={"R7143-7.8-06": "level1.retry-ignored"},
    role=TARGET,
    needs=[*DIGESTED, Feature.IMMEDIATE_DATA],
    destructive=True,
)
async def damaged_command(peer: Peer) -> None:
    """A write whose immediate data was damaged is retried with its CmdSN and task tag, and ends with GOOD."""
    clause = "R7143-7.8-06"
    disk = await peer.disk([*LEVEL_1, ("DataDigest", "CRC32C"), ("ImmediateData", "Yes")])
    data = pattern(disk.block_size)
    with disk.damaging(data=True):
        write = write_command(disk, data, immediate=len(data))
    reject = await disk.expect(Reject, "R7143-7.8-02", "a Reject for the damaged data")
    digest = reject.reason == RejectReason.DATA_DIGEST_ERROR
    require(digest, "R7143-7.8-02", "reason 0x02 was due", seen=hex(reject.reason))
    retry(disk, write)
    outcome = await disk.result(write, clause)
    require(outcome.status == 0, clause, "the retried write ends with GOOD", seen=f"status {outcome.status:#04x}")


@case(
    "level1.r2ts-in-sequence",
    clauses={"R7143-11.8-14": "level1.r2ts-change-places"},
    role=TARGET,
    needs=[*WRITABLE, Feature.SMALL_BURST],
    destructive=True,
)
async def r2ts_in_sequence(peer: Peer) -> None:
    """With DataSequenceInOrder=Yes several outstanding R2Ts ask for the data from front to back."""
    clause = "R7143-11.8-14"
    keys = [*NO_UNSOLICITED, ("MaxBurstLength", "1024"), ("FirstBurstLength", "1024")]
    disk = await peer.disk([*keys, ("MaxOutstandingR2T", "4"), ("DataSequenceInOrder", "Yes")])
    if 4096 % disk.block_size:
        raise Inconclusive(f"blocks of {disk.block_size} bytes")
    outcome = await disk.write(clause, pattern(4096))
    offsets = [r2t.buffer_offset for r2t in outcome.r2ts]
    require(offsets == sorted(offsets), clause, "buffer offsets rise", seen=offsets)
