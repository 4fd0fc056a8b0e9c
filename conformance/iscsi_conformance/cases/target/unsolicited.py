"""Immediate data and unsolicited Data-Out (RFC 7143 sections 4.2.5.2, 11.4.7.2, 13.10, 13.11, 13.14)."""

from __future__ import annotations

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.transfer import (
    AMOUNT,
    R2T_MODE,
    SMALL_BURST,
    UNEXPECTED,
    Reaction,
    blocks_for,
    pattern,
    reaction,
    require_good,
    write_command,
)
from iscsi_conformance.verdict import Inconclusive, require

WRITABLE = (Feature.WRITABLE_LUN,)
IMMEDIATE = (Feature.WRITABLE_LUN, Feature.IMMEDIATE_DATA)
UNSOLICITED = (Feature.WRITABLE_LUN, Feature.UNSOLICITED_DATA, Feature.SMALL_BURST)
ALL = (*UNSOLICITED, Feature.IMMEDIATE_DATA)
IMMEDIATE_ONLY = (("InitialR2T", "Yes"), ("ImmediateData", "Yes"))
DATA_OUT_ONLY = (("InitialR2T", "No"), ("ImmediateData", "No"), *SMALL_BURST)
OTHER_LUN = bytes((0, 0x63, 0, 0, 0, 0, 0, 0))
CHECK_CONDITION = 2


async def read_back(disk: Session, data: bytes, clause: str, lba: int = 0) -> None:
    """The medium has this data."""
    outcome = await disk.read(clause, lba=lba, blocks=len(data) // disk.block_size)
    require(outcome.data == data, clause, "the data comes back unchanged")


def require_refused(seen: Reaction, what: str) -> None:
    """Unsolicited data that was not agreed on was refused, and with the fitting code where a status says so."""
    refused = seen.rejects or seen.closed or (seen.response is not None and seen.response.status)
    require(refused, "R7143-13.11-03", f"{what} is refused", seen=seen)
    if seen.response is not None and seen.response.status == CHECK_CONDITION:
        require(seen.sense == UNEXPECTED, "R7143-11.4.7.2-01", "sense key B with 0C/0C", seen=seen)


def require_amount(seen: Reaction, *senses: tuple[int, int]) -> None:
    """The amount of data was found wrong: by sense data, by a Reject of the PDU, or the connection ended."""
    noticed = seen.closed or (seen.rejects and not seen.response) or seen.sense in senses
    require(noticed, "R7143-11.4.7.2-02", "sense key B with 0C/0D", seen=seen)


@case(
    "unsolicited.immediate-data-is-kept",
    clauses={"R7143-4.2.5.2-08": "unsolicited.asks-again"},
    needs=IMMEDIATE,
    destructive=True,
    role=TARGET,
)
async def immediate_data_is_kept(peer: Peer) -> None:
    """The R2Ts of a write with immediate data ask for what is still missing, and all of it is stored."""
    disk = await peer.disk(IMMEDIATE_ONLY)
    data = pattern(blocks_for(disk, 8192) * disk.block_size, "immediate")
    sent = min(512, disk.agreed_number("FirstBurstLength"))
    outcome = await disk.result(write_command(disk, data, immediate=sent), "R7143-4.2.5.2-08", write_data=data)
    offsets = [r2t.buffer_offset for r2t in outcome.r2ts]
    require(min(offsets, default=0) >= sent, "R7143-4.2.5.2-08", f"R2Ts begin at {sent}", seen=offsets)
    require_good(outcome, "R7143-4.2.5.2-08", "the write")
    await read_back(disk, data, "R7143-4.2.5.2-08")


@case(
    "unsolicited.first-burst-is-kept",
    clauses={"R7143-4.2.5.2-08": "unsolicited.asks-again"},
    needs=UNSOLICITED,
    destructive=True,
    role=TARGET,
)
async def first_burst_is_kept(peer: Peer) -> None:
    """The R2Ts of a write with a full first burst ask for what follows it, and all of it is stored."""
    disk = await peer.disk(DATA_OUT_ONLY)
    first = disk.agreed_number("FirstBurstLength")
    data = pattern(blocks_for(disk, 3 * first) * disk.block_size, "first burst")
    command = write_command(disk, data, final=False)
    disk.data_out(command, data[:first])
    outcome = await disk.result(command, "R7143-4.2.5.2-08", write_data=data)
    offsets = [r2t.buffer_offset for r2t in outcome.r2ts]
    require(min(offsets, default=0) >= first, "R7143-4.2.5.2-08", f"R2Ts begin at {first}", seen=offsets)
    require_good(outcome, "R7143-4.2.5.2-08", "the write")
    await read_back(disk, data, "R7143-4.2.5.2-08")


@case(
    "unsolicited.no-r2t-needed",
    clauses={"R7143-4.2.5.2-08": "unsolicited.discarded"},
    needs=UNSOLICITED,
    destructive=True,
    role=TARGET,
)
async def no_r2t_needed(peer: Peer) -> None:
    """A write that fits the first burst ends without any R2T."""
    disk = await peer.disk(DATA_OUT_ONLY)
    data = pattern(disk.block_size, "one block")
    if len(data) > disk.agreed_number("FirstBurstLength"):
        raise Inconclusive(f"a block of {len(data)} bytes exceeds the first burst")
    command = write_command(disk, data, final=False)
    disk.data_out(command, data)
    seen = await reaction(disk, command)
    require(not seen.r2ts, "R7143-4.2.5.2-08", "nothing is asked for again", seen=seen)
    good = seen.response is not None and seen.response.status == 0
    require(good, "R7143-4.2.5.2-08", "the write ends with GOOD", seen=seen)
    await read_back(disk, data, "R7143-4.2.5.2-08")


@case(
    "unsolicited.immediate-data-not-agreed",
    clauses={"R7143-13.11-03": "unsolicited.accepted", "R7143-11.4.7.2-01": "unsolicited.sense-unspecific"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def immediate_data_not_agreed(peer: Peer) -> None:
    """Immediate data is refused where ImmediateData=No and InitialR2T=Yes were agreed on."""
    disk = await peer.disk(R2T_MODE)
    data = pattern(disk.block_size)
    seen = await reaction(disk, write_command(disk, data, immediate=len(data)))
    require_refused(seen, "immediate data")


@case(
    "unsolicited.data-out-not-agreed",
    clauses={"R7143-13.11-03": "unsolicited.accepted", "R7143-11.4.7.2-01": "unsolicited.sense-unspecific"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def data_out_not_agreed(peer: Peer) -> None:
    """Unsolicited Data-Out is refused where ImmediateData=No and InitialR2T=Yes were agreed on."""
    disk = await peer.disk(R2T_MODE)
    data = pattern(disk.block_size)
    command = write_command(disk, data, final=False)
    disk.data_out(command, data)
    require_refused(await reaction(disk, command, write_data=data), "unsolicited Data-Out")


@case(
    "unsolicited.data-out-after-f",
    clauses={"R7143-11.4.7.2-01": "unsolicited.sense-unspecific"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def data_out_after_f(peer: Peer) -> None:
    """Unsolicited Data-Out behind a command with the F bit is not taken; the status, if that tells it, says why."""
    disk = await peer.disk(R2T_MODE)
    data = pattern(disk.block_size)
    command = write_command(disk, data)
    disk.data_out(command, data, buffer_offset=0)
    seen = await reaction(disk, command, write_data=data)
    refused = seen.rejects or seen.closed or (seen.response is not None and seen.response.status)
    require(refused, "R7143-11.4.7.2-01", "the data is not taken", seen=seen)
    if not seen.rejects and not seen.closed:
        require(seen.sense == UNEXPECTED, "R7143-11.4.7.2-01", "sense key B with 0C/0C", seen=seen)


@case(
    "unsolicited.too-much",
    clauses={"R7143-11.4.7.2-02": "unsolicited.amount-ignored"},
    needs=IMMEDIATE,
    destructive=True,
    role=TARGET,
)
async def too_much(peer: Peer) -> None:
    """Immediate data beyond FirstBurstLength is refused."""
    disk = await peer.disk((*IMMEDIATE_ONLY, ("MaxBurstLength", "512"), ("FirstBurstLength", "512")))
    data = pattern(blocks_for(disk, 1024) * disk.block_size)
    seen = await reaction(disk, write_command(disk, data, immediate=1024))
    require_amount(seen, AMOUNT, UNEXPECTED)


@case(
    "unsolicited.too-little",
    clauses={"R7143-11.4.7.2-02": "unsolicited.amount-ignored"},
    needs=UNSOLICITED,
    destructive=True,
    role=TARGET,
)
async def too_little(peer: Peer) -> None:
    """An unsolicited burst that ends before FirstBurstLength is an incorrect amount of data."""
    disk = await peer.disk(DATA_OUT_ONLY)
    first = disk.agreed_number("FirstBurstLength")
    data = pattern(blocks_for(disk, 3 * first) * disk.block_size)
    command = write_command(disk, data, final=False)
    disk.data_out(command, data[: first // 2])
    require_amount(await reaction(disk, command), AMOUNT)


@case(
    "unsolicited.lun-is-reserved",
    clauses={"R7143-11-03": "unsolicited.reserved-lun-judged"},
    needs=UNSOLICITED,
    destructive=True,
    role=TARGET,
)
async def lun_is_reserved(peer: Peer) -> None:
    """The LUN field of Data-Out without a transfer tag is reserved, and what it has is ignored."""
    disk = await peer.disk(DATA_OUT_ONLY)
    data = pattern(disk.block_size, "reserved")
    command = write_command(disk, data, final=False)
    disk.data_out(command, data[: disk.agreed_number("FirstBurstLength")], lun=OTHER_LUN)
    outcome = await disk.result(command, "R7143-11-03", write_data=data)
    require_good(outcome, "R7143-11-03", "the write")
    await read_back(disk, data, "R7143-11-03")


@case(
    "unsolicited.sizes-around-first-burst",
    clauses={"R7143-4.2.1-01": "unsolicited.bit-flipped"},
    needs=ALL,
    destructive=True,
    role=TARGET,
)
async def sizes_around_first_burst(peer: Peer) -> None:
    """Writes just below, at and above FirstBurstLength are stored, in all four ways of InitialR2T and ImmediateData."""
    for number in range(4):
        keys = (("InitialR2T", ("No", "Yes")[number & 1]), ("ImmediateData", ("No", "Yes")[number >> 1]))
        disk = await peer.disk((*keys, *SMALL_BURST))
        limit = blocks_for(disk, disk.agreed_number("FirstBurstLength"))
        for blocks in (max(1, limit - 1), limit, limit + 1, 3 * limit):
            data = pattern(blocks * disk.block_size, f"{keys} {blocks}")
            outcome = await disk.write("R7143-4.2.1-01", data, lba=64)
            require_good(outcome, "R7143-4.2.1-01", f"a write of {len(data)} bytes with {keys}")
            await read_back(disk, data, "R7143-4.2.1-01", lba=64)
        disk.raw.close()


@case(
    "unsolicited.commands-before-data",
    clauses={"R7143-4.2.1-01": "unsolicited.bit-flipped"},
    touches=("R7143-4.2.5.1-07",),
    needs=UNSOLICITED,
    destructive=True,
    role=TARGET,
)
async def commands_before_data(peer: Peer) -> None:
    """Two commands may go ahead of their unsolicited data, as long as the data keeps the order of the commands."""
    disk = await peer.disk(DATA_OUT_ONLY)
    first = disk.agreed_number("FirstBurstLength")
    if disk.block_size > first:
        raise Inconclusive(f"a block of {disk.block_size} bytes exceeds the first burst of {first}")
    wanted = [pattern(disk.block_size, f"write {number}") for number in range(2)]
    commands = [write_command(disk, data, lba=lba, final=False) for lba, data in enumerate(wanted)]
    for command, data in zip(commands, wanted, strict=True):
        disk.data_out(command, data)
    for lba, (command, data) in enumerate(zip(commands, wanted, strict=True)):
        require_good(await disk.result(command, "R7143-4.2.1-01"), "R7143-4.2.1-01", f"write {lba}")
        await read_back(disk, data, "R7143-4.2.1-01", lba=lba)
