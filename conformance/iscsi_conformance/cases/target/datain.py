"""SCSI Data-In (RFC 7143 sections 4.2.2.4, 11.7 and what 11.1, 11.2 say of every PDU)."""

from __future__ import annotations

from itertools import pairwise

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.transfer import (
    BEHIND_THE_END,
    R2T_MODE,
    SMALL_BURST,
    blocks_for,
    pattern,
    read_command,
    require_good,
)
from iscsi_conformance.verdict import require
from iscsi_protocol.pdu import NO_TAG, DataIn, RawPdu, ScsiResponse
from iscsi_protocol.scsi import opcodes

DISK = (Feature.SCSI_DISK,)
BURSTS = (Feature.SCSI_DISK, Feature.SMALL_BURST)
GOOD_STATUSES = (0x00, 0x04, 0x10, 0x14)
LONG = 8192
"""Bytes of the reads that are to have many PDUs."""


def smallest_segments(limit: int = 512) -> tuple[tuple[str, str], ...]:
    """The key that limits what we take."""
    return (("MaxRecvDataSegmentLength", str(limit)),)


async def read_long(session: Session, clause: str, length: int = LONG) -> list[DataIn]:
    """The Data-In PDUs of a read of at least so many bytes."""
    outcome = await session.read(clause, blocks=blocks_for(session, length))
    return outcome.data_ins


async def raw_data_in(session: Session, clause: str, length: int = LONG) -> list[RawPdu]:
    """The same as raw PDUs."""
    command = read_command(session, blocks_for(session, length))
    raws: list[RawPdu] = []
    while True:
        received = await session.receive(clause, "Data-In or the status of a read")
        if received.raw.initiator_task_tag != command.itt:
            continue
        if isinstance(received.pdu, DataIn):
            raws.append(received.raw)
        if isinstance(received.pdu, ScsiResponse) or (isinstance(received.pdu, DataIn) and received.pdu.status_present):
            return raws


def sequences(data_ins: list[DataIn]) -> list[list[DataIn]]:
    """The PDUs cut behind every F bit."""
    found: list[list[DataIn]] = [[]]
    for data_in in data_ins:
        found[-1].append(data_in)
        if data_in.final:
            found.append([])
    return [sequence for sequence in found if sequence]


@case(
    "datain.numbers-start-at-0",
    clauses={"R7143-4.2.2.4-02": "datain.numbers-from-1"},
    touches=("R7143-4.2.2.4-01",),
    needs=DISK,
    role=TARGET,
)
async def numbers_start_at_0(peer: Peer) -> None:
    """DataSN starts at 0 for each of two reads."""
    disk = await peer.disk(smallest_segments())
    for _ in range(2):
        first = (await read_long(disk, "R7143-4.2.2.4-02"))[0]
        require(first.data_sn == 0, "R7143-4.2.2.4-02", "the first Data-In has DataSN 0", seen=first.data_sn)


@case("datain.numbers-rise", clauses={"R7143-4.2.2.4-01": "datain.numbers-all-0"}, needs=DISK, role=TARGET)
async def numbers_rise(peer: Peer) -> None:
    """The Data-In PDUs of a command are numbered one after the other."""
    disk = await peer.disk(smallest_segments())
    numbers = [data_in.data_sn for data_in in await read_long(disk, "R7143-4.2.2.4-01")]
    require(len(numbers) > 1, "R7143-4.2.2.4-01", "a read of many segments has many PDUs", seen=len(numbers))
    require(numbers == list(range(len(numbers))), "R7143-4.2.2.4-01", "DataSN rises by one", seen=numbers)


@case(
    "datain.numbers-across-sequences",
    clauses={"R7143-11.7.5-01": "datain.numbers-by-sequence"},
    needs=BURSTS,
    role=TARGET,
)
async def numbers_across_sequences(peer: Peer) -> None:
    """DataSN counts within the command and does not begin anew with a sequence."""
    disk = await peer.disk((*SMALL_BURST, *smallest_segments()))
    data_ins = await read_long(disk, "R7143-11.7.5-01", 3 * disk.agreed_number("MaxBurstLength"))
    numbers = [data_in.data_sn for data_in in data_ins]
    require(numbers == list(range(len(numbers))), "R7143-11.7.5-01", "DataSN counts on", seen=numbers)


@case("datain.segment-limit", clauses={"R7143-13.12-02": "datain.segment-limit-ignored"}, needs=DISK, role=TARGET)
async def segment_limit(peer: Peer) -> None:
    """No Data-In exceeds the smallest MaxRecvDataSegmentLength that an initiator can declare."""
    disk = await peer.disk(smallest_segments())
    longest = max(len(data_in.data) for data_in in await read_long(disk, "R7143-13.12-02"))
    require(longest <= 512, "R7143-13.12-02", "Data-In has 512 bytes at most", seen=longest)


@case(
    "datain.segment-limit-uneven",
    clauses={"R7143-11.7.1-02": "datain.segment-limit-rounded-up"},
    needs=DISK,
    role=TARGET,
)
async def segment_limit_uneven(peer: Peer) -> None:
    """A MaxRecvDataSegmentLength that is no power of two is kept, and all data arrives."""
    disk = await peer.disk(smallest_segments(1000))
    data_ins = await read_long(disk, "R7143-11.7.1-02")
    longest = max(len(data_in.data) for data_in in data_ins)
    require(longest <= 1000, "R7143-11.7.1-02", "Data-In has 1000 bytes at most", seen=longest)


@case(
    "datain.whole-words",
    clauses={"R7143-11.7.7-02": "datain.split-within-a-word"},
    needs=DISK,
    role=TARGET,
)
async def whole_words(peer: Peer) -> None:
    """Data segments without the F bit are whole words, even where the limit is odd."""
    disk = await peer.disk(smallest_segments(1001))
    for data_in in await read_long(disk, "R7143-11.7.7-02"):
        whole = data_in.final or len(data_in.data) % 4 == 0
        require(whole, "R7143-11.7.7-02", "a Data-In that is not final has whole words", seen=len(data_in.data))


@case("datain.burst-limit", clauses={"R7143-11.7.1-03": "datain.sequences-not-ended"}, needs=BURSTS, role=TARGET)
async def burst_limit(peer: Peer) -> None:
    """The Data-In PDUs up to an F bit have MaxBurstLength bytes at most."""
    disk = await peer.disk((*SMALL_BURST, *smallest_segments()))
    burst = disk.agreed_number("MaxBurstLength")
    for sequence in sequences(await read_long(disk, "R7143-11.7.1-03", 3 * burst)):
        length = sum(len(data_in.data) for data_in in sequence)
        require(length <= burst, "R7143-11.7.1-03", f"a sequence has {burst} bytes at most", seen=length)


@case("datain.status-is-final", clauses={"R7143-11.7.3-03": "datain.status-without-f"}, needs=DISK, role=TARGET)
async def status_is_final(disk: Session) -> None:
    """A Data-In with status has the F bit."""
    last = (await read_long(disk, "R7143-11.7.3-03"))[-1]
    require(last.final or not last.status_present, "R7143-11.7.3-03", "S comes with F")


@case("datain.status-is-good", clauses={"R7143-11.7-03": "datain.busy-in-data"}, needs=DISK, role=TARGET)
async def status_is_good(disk: Session) -> None:
    """A status within Data-In is one of the good ones."""
    last = (await read_long(disk, "R7143-11.7-03"))[-1]
    good = not last.status_present or last.status in GOOD_STATUSES
    require(good, "R7143-11.7-03", "the status in Data-In is a good one", seen=f"{last.status:#04x}")


@case("datain.error-has-response", clauses={"R7143-11.7.3-01": "datain.error-in-data"}, needs=DISK, role=TARGET)
async def error_has_response(disk: Session) -> None:
    """A read that fails has its status in a SCSI Response."""
    cdb = opcodes.READ_16.build(lba=BEHIND_THE_END, blocks=1)
    outcome = await disk.execute(cdb, "R7143-11.7.3-01", read=disk.block_size)
    require(outcome.status != 0, "R7143-11.7.3-01", "a read behind the last block fails")
    separate = isinstance(outcome.ending, ScsiResponse)
    require(separate, "R7143-11.7.3-01", "an error is told in a SCSI Response")


@case(
    "datain.no-acknowledgement-wanted",
    clauses={"R7143-11.7.2-03": "datain.acknowledge-at-level-0"},
    needs=DISK,
    role=TARGET,
)
async def no_acknowledgement_wanted(peer: Peer) -> None:
    """At ErrorRecoveryLevel 0 no Data-In has the A bit."""
    disk = await peer.disk((("ErrorRecoveryLevel", "0"), *smallest_segments()))
    for data_in in await read_long(disk, "R7143-11.7.2-03"):
        require(not data_in.acknowledge, "R7143-11.7.2-03", "A is not set", seen=f"DataSN {data_in.data_sn}")


@case("datain.tag-comes-with-lun", clauses={"R7143-11.7.4-04": "datain.tag-with-other-lun"}, needs=DISK, role=TARGET)
async def tag_comes_with_lun(peer: Peer) -> None:
    """A Data-In with a target transfer tag has the LUN of its command."""
    disk = await peer.disk(smallest_segments())
    for data_in in await read_long(disk, "R7143-11.7.4-04"):
        fits = data_in.ttt == NO_TAG or data_in.lun == disk.lun
        require(fits, "R7143-11.7.4-04", "the LUN beside a TTT is the command's", seen=data_in.lun.hex())


@case("datain.within-expected-length", clauses={"R7143-11.7.6-01": "datain.offset-beyond"}, needs=DISK, role=TARGET)
async def within_expected_length(peer: Peer) -> None:
    """No Data-In reaches beyond the expected data transfer length."""
    disk = await peer.disk(smallest_segments())
    outcome = await disk.read("R7143-11.7.6-01", blocks=blocks_for(disk, LONG))
    end = max(data_in.buffer_offset + len(data_in.data) for data_in in outcome.data_ins)
    limit = outcome.command.expected_data_transfer_length
    require(end <= limit, "R7143-11.7.6-01", f"Data-In ends at {limit} at most", seen=end)


@case("datain.offsets-rise", clauses={"R7143-11.7.6-02": "datain.offset-again"}, needs=BURSTS, role=TARGET)
async def offsets_rise(peer: Peer) -> None:
    """With DataPDUInOrder the offsets within a sequence rise and nothing is sent twice."""
    disk = await peer.disk((("DataPDUInOrder", "Yes"), *SMALL_BURST, *smallest_segments()))
    for sequence in sequences(await read_long(disk, "R7143-11.7.6-02", 3 * disk.agreed_number("MaxBurstLength"))):
        for before, after in pairwise(sequence):
            end = before.buffer_offset + len(before.data)
            require(after.buffer_offset >= end, "R7143-11.7.6-02", f"offset {end} or more", seen=after.buffer_offset)


@case("datain.sequences-rise", clauses={"R7143-11.7.6-03": "datain.sequence-overlaps"}, needs=BURSTS, role=TARGET)
async def sequences_rise(peer: Peer) -> None:
    """With DataSequenceInOrder each sequence begins where the one before it has ended, or later."""
    disk = await peer.disk((("DataSequenceInOrder", "Yes"), *SMALL_BURST, *smallest_segments()))
    end = 0
    for sequence in sequences(await read_long(disk, "R7143-11.7.6-03", 3 * disk.agreed_number("MaxBurstLength"))):
        start = min(data_in.buffer_offset for data_in in sequence)
        require(start >= end, "R7143-11.7.6-03", f"a sequence begins at {end} or later", seen=start)
        end = max(data_in.buffer_offset + len(data_in.data) for data_in in sequence)


@case(
    "datain.header-alone",
    clauses={"R7143-11.2-04": "datain.with-ahs", "R7143-11.2.1.1-01": "datain.immediate-bit"},
    needs=DISK,
    role=TARGET,
)
async def header_alone(disk: Session) -> None:
    """Data-In has no additional header segments, and bit 1 of its first byte is 0."""
    for raw in await raw_data_in(disk, "R7143-11.2-04"):
        require(not raw.ahs, "R7143-11.2-04", "Data-In has no AHS", seen=bytes(raw.ahs).hex())
        require(
            not raw.bhs[0] & 0x40, "R7143-11.2.1.1-01", "the I bit is reserved in Data-In", seen=f"{raw.bhs[0]:#04x}"
        )


@case("datain.padded", clauses={"R7143-11.1-01": "datain.unpadded"}, needs=DISK, role=TARGET)
async def padded(disk: Session) -> None:
    """Behind a data segment of odd length the stream goes on at the next word."""
    for _ in range(2):
        outcome = await disk.execute(opcodes.INQUIRY.build(allocation_length=5), "R7143-11.1-01", read=5)
        require(len(outcome.data) == 5, "R7143-11.1-01", "5 bytes of INQUIRY data", seen=len(outcome.data))


@case("datain.padding-is-0", clauses={"R7143-11.1-02": "datain.padding-not-0"}, needs=DISK, role=TARGET)
async def padding_is_0(disk: Session) -> None:
    """Pad bytes are zero."""
    command = disk.command(opcodes.INQUIRY.build(allocation_length=5), read=5)
    received = await disk.receive("R7143-11.1-01", "5 bytes of INQUIRY data")
    require(received.raw.initiator_task_tag == command.itt, "R7143-11.1-01", "an answer to INQUIRY")
    padding = bytes(received.raw.padding)
    require(not any(padding), "R7143-11.1-02", "pad bytes are zero", seen=padding.hex())


@case(
    "datain.length-without-padding",
    clauses={"R7143-11.2.1.6-01": "datain.length-with-padding"},
    needs=DISK,
    role=TARGET,
)
async def length_without_padding(disk: Session) -> None:
    """DataSegmentLength counts the data and not the pad bytes."""
    outcome = await disk.execute(opcodes.INQUIRY.build(allocation_length=5), "R7143-11.2.1.6-01", read=5)
    lengths = [len(data_in.data) for data_in in outcome.data_ins]
    require(sum(lengths) == 5, "R7143-11.2.1.6-01", "5 bytes were asked for", seen=lengths)


@case(
    "datain.reads-what-was-written",
    clauses={"R7143-4.2.1-01": "datain.bit-flipped"},
    needs=(Feature.WRITABLE_LUN,),
    destructive=True,
    role=TARGET,
)
async def reads_what_was_written(peer: Peer) -> None:
    """I/O of many sizes over the one connection gives back the bytes that were written."""
    disk = await peer.disk((*R2T_MODE, *smallest_segments(4096)))
    for blocks in (1, 2, 3, 7, 16, 33, 128):
        data = pattern(blocks * disk.block_size, f"size {blocks}")
        written = await disk.write("R7143-4.2.1-01", data, lba=blocks)
        require_good(written, "R7143-4.2.1-01", f"a write of {blocks} blocks")
        outcome = await disk.read("R7143-4.2.1-01", lba=blocks, blocks=blocks)
        require(outcome.data == data, "R7143-4.2.1-01", f"{blocks} blocks come back unchanged")
