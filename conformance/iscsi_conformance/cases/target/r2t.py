"""Ready To Transfer (RFC 7143 sections 4.2.2.4, 4.2.5.3, 11.8)."""

from __future__ import annotations

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.transfer import R2T_MODE, SMALL_BURST, blocks_for, pattern, require_good, write_command
from iscsi_conformance.verdict import require
from iscsi_protocol.pdu import NO_TAG, R2T, RawPdu, ScsiCommand

WRITABLE = (Feature.WRITABLE_LUN,)
BURSTS = (Feature.WRITABLE_LUN, Feature.SMALL_BURST)


async def bursts(peer: Peer, *keys: tuple[str, str]) -> tuple[Session, bytes]:
    """A session in R2T mode with small bursts, and data for three of them."""
    disk = await peer.disk((*R2T_MODE, *SMALL_BURST, *keys))
    blocks = blocks_for(disk, 3 * disk.agreed_number("MaxBurstLength"))
    return disk, pattern(blocks * disk.block_size, "bursts")


async def r2ts_of(disk: Session, data: bytes, clause: str) -> list[R2T]:
    """The R2Ts of a write, which are all answered."""
    return (await disk.result(write_command(disk, data), clause, write_data=data)).r2ts


async def first_r2t(disk: Session, clause: str, length: int = 4096) -> tuple[ScsiCommand, R2T, RawPdu]:
    """A write that is under way, its first R2T as message and as bytes."""
    command = write_command(disk, pattern(length))
    while True:
        received = await disk.receive(clause, "R2T for a write without unsolicited data")
        if received.raw.initiator_task_tag == command.itt:
            require(isinstance(received.pdu, R2T), clause, "R2T", seen=type(received.pdu).__name__)
            assert isinstance(received.pdu, R2T)
            return command, received.pdu, received.raw


@case("r2t.asks-for-the-data", clauses={"R7143-11.8-01": "r2t.never"}, needs=WRITABLE, destructive=True, role=TARGET)
async def asks_for_the_data(peer: Peer) -> None:
    """Where nothing unsolicited was agreed on, the target asks for the data, stores it and gives it back."""
    disk = await peer.disk(R2T_MODE)
    data = pattern(16 * disk.block_size, "asked for")
    outcome = await disk.result(write_command(disk, data), "R7143-11.8-01", write_data=data)
    require(outcome.r2ts, "R7143-11.8-01", "the target sends R2Ts")
    require_good(outcome, "R7143-11.8-01", "the write")
    again = await disk.read("R7143-11.8-01", blocks=16)
    require(again.data == data, "R7143-11.8-01", "the data comes back unchanged")


@case("r2t.numbers", clauses={"R7143-4.2.2.4-04": "r2t.numbers-from-1"}, needs=BURSTS, destructive=True, role=TARGET)
async def numbers(peer: Peer) -> None:
    """R2TSN starts at 0 for each of two commands and rises by one."""
    disk, data = await bursts(peer)
    for _ in range(2):
        found = [r2t.r2t_sn for r2t in await r2ts_of(disk, data, "R7143-4.2.2.4-04")]
        require(len(found) > 1, "R7143-4.2.2.4-04", "three bursts take several R2Ts", seen=len(found))
        require(found == list(range(len(found))), "R7143-4.2.2.4-04", "R2TSN counts from 0", seen=found)


@case("r2t.ranges-join", clauses={"R7143-11.8-12": "r2t.gap"}, needs=BURSTS, destructive=True, role=TARGET)
async def ranges_join(peer: Peer) -> None:
    """With DataSequenceInOrder the R2Ts of a write ask for ranges that join without gap or overlap."""
    disk, data = await bursts(peer, ("DataSequenceInOrder", "Yes"))
    end = 0
    for r2t in await r2ts_of(disk, data, "R7143-11.8-12"):
        require(r2t.buffer_offset == end, "R7143-11.8-12", f"the next range begins at {end}", seen=r2t.buffer_offset)
        end += r2t.desired_data_transfer_length
    require(end == len(data), "R7143-11.8-12", f"the R2Ts ask for {len(data)} bytes", seen=end)


@case("r2t.ranges-rise", clauses={"R7143-13.19-02": "r2t.backwards"}, needs=BURSTS, destructive=True, role=TARGET)
async def ranges_rise(peer: Peer) -> None:
    """With DataSequenceInOrder the offsets of R2Ts never go back."""
    disk, data = await bursts(peer, ("DataSequenceInOrder", "Yes"))
    offsets = [r2t.buffer_offset for r2t in await r2ts_of(disk, data, "R7143-13.19-02")]
    require(offsets == sorted(offsets), "R7143-13.19-02", "offsets do not go back", seen=offsets)


@case(
    "r2t.length",
    clauses={"R7143-11.8.4-01": "r2t.length-0", "R7143-11.8.4-02": "r2t.length-above-burst"},
    needs=BURSTS,
    destructive=True,
    role=TARGET,
)
async def length(peer: Peer) -> None:
    """An R2T asks for at least one byte and for MaxBurstLength bytes at most."""
    disk, data = await bursts(peer)
    burst = disk.agreed_number("MaxBurstLength")
    _, r2t, _ = await first_r2t(disk, "R7143-11.8.4-01", len(data))
    desired = r2t.desired_data_transfer_length
    require(desired > 0, "R7143-11.8.4-01", "the desired length is not 0")
    require(desired <= burst, "R7143-11.8.4-02", f"{burst} bytes at most", seen=desired)


@case(
    "r2t.fields",
    clauses={
        "R7143-11.8.5-01": "r2t.tag-reserved",
        "R7143-4.2.5.3-02": "r2t.other-lun",
        "R7143-11.8.1-01": "r2t.with-data",
    },
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def fields(peer: Peer) -> None:
    """An R2T has a transfer tag, the LUN of its command, and neither data nor additional headers."""
    disk = await peer.disk(R2T_MODE)
    _, r2t, raw = await first_r2t(disk, "R7143-11.8-01")
    require(r2t.ttt != NO_TAG, "R7143-11.8.5-01", "the TTT is not the reserved value", seen=hex(r2t.ttt))
    require(r2t.lun == disk.lun, "R7143-4.2.5.3-02", "the LUN is the command's", seen=r2t.lun.hex())
    empty = not raw.data and not raw.ahs
    require(empty, "R7143-11.8.1-01", "no data and no AHS", seen=f"{len(raw.data)} and {len(raw.ahs)} bytes")


@case(
    "r2t.uses-no-status-number",
    clauses={"R7143-11.8.3-01": "r2t.stat-sn-ahead"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def uses_no_status_number(peer: Peer) -> None:
    """An R2T has the StatSN that the next response then takes."""
    disk = await peer.disk(R2T_MODE)
    due = disk.raw.exp_stat_sn
    command, r2t, _ = await first_r2t(disk, "R7143-11.8.3-01")
    require(r2t.stat_sn == due, "R7143-11.8.3-01", f"the next StatSN, {due}", seen=r2t.stat_sn)
    disk.data_out(command, pattern(4096)[: r2t.desired_data_transfer_length], r2t=r2t)
    outcome = await disk.result(command, "R7143-11.8.3-01", write_data=pattern(4096))
    require(outcome.ending.stat_sn == due, "R7143-11.8.3-01", f"the response has StatSN {due}")


@case(
    "r2t.one-outstanding",
    clauses={"R7143-11.8-08": "r2t.second-outstanding"},
    needs=BURSTS,
    destructive=True,
    role=TARGET,
)
async def one_outstanding(peer: Peer) -> None:
    """With MaxOutstandingR2T 1 no second R2T of a task comes before the first is answered."""
    disk, data = await bursts(peer, ("MaxOutstandingR2T", "1"))
    command, _, _ = await first_r2t(disk, "R7143-11.8-08", len(data))
    await disk.silence("R7143-11.8-08", "no second R2T", about=command.itt)


@case(
    "r2t.as-many-as-agreed",
    clauses={"R7143-11.8-08": "r2t.third-outstanding"},
    needs=BURSTS,
    destructive=True,
    role=TARGET,
)
async def as_many_as_agreed(peer: Peer) -> None:
    """With MaxOutstandingR2T 2 agreed on no third R2T comes before the first is answered; all data is stored."""
    disk, data = await bursts(peer, ("MaxOutstandingR2T", "2"))
    agreed = disk.agreed_number("MaxOutstandingR2T")
    command = write_command(disk, data)
    fence = disk.ping()
    r2ts: list[R2T] = []
    ended = False
    while not ended or not r2ts:
        pdu = (await disk.receive("R7143-11.8-01", "R2Ts and the answer to a ping")).pdu
        if isinstance(pdu, R2T):
            r2ts.append(pdu)
        ended = ended or getattr(pdu, "itt", NO_TAG) == fence.itt
    require(len(r2ts) <= agreed, "R7143-11.8-08", f"{agreed} R2Ts at most", seen=len(r2ts))
    for r2t in r2ts:
        stop = r2t.buffer_offset + r2t.desired_data_transfer_length
        disk.data_out(command, data[r2t.buffer_offset : stop], r2t=r2t)
    require_good(await disk.result(command, "R7143-11.8-01", write_data=data), "R7143-11.8-01", "the write")
    outcome = await disk.read("R7143-11.8-01", blocks=len(data) // disk.block_size)
    require(outcome.data == data, "R7143-11.8-01", "the data comes back unchanged")
