"""Header and data digests (RFC 7143 sections 7.8, 11.2.3 and 13.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from iscsi_captures.describe import one_line
from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import aftermath, rejects_among, response_among
from iscsi_conformance.session import ALIVE, Session, TaskResult
from iscsi_conformance.transfer import blocks_for, pattern, write_command
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_initiator.raw import Digest, Received
from iscsi_protocol.pdu import (
    NO_LUN,
    NO_TAG,
    R2T,
    DataOut,
    LogoutRequest,
    NopIn,
    NopOut,
    RawPdu,
    Reject,
    RejectReason,
    ScsiCommand,
    ScsiResponse,
    TaskFunction,
    encode,
)
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.codes import SenseKey

HEADER_ONLY = (("HeaderDigest", "CRC32C"), ("DataDigest", "None"))
DATA_ONLY = (("HeaderDigest", "None"), ("DataDigest", "CRC32C"))
BOTH = (("HeaderDigest", "CRC32C"), ("DataDigest", "CRC32C"))
IMMEDIATE = (*DATA_ONLY, ("ImmediateData", "Yes"))
ODD = b"seven!!"
TUR = opcodes.TEST_UNIT_READY.build()


def crc32c(data: bytes) -> bytes:
    """CRC32C as it stands on the wire, bit by bit (13.1)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return (crc ^ 0xFFFFFFFF).to_bytes(4, "little")


async def a_bit_of_everything(session: Session) -> list[Received]:
    """What the target sends about a ping, a read, a command without data, a function, text, and a logout."""
    ping = session.ping(ODD)
    session.command(opcodes.INQUIRY.build(allocation_length=36), read=36)
    session.command(TUR)
    session.manage_task(TaskFunction.ABORT_TASK, referenced_task_tag=0x7777, ref_cmd_sn=session.raw.cmd_sn)
    session.text(("SendTargets", ""))
    numbers: dict[str, Any] = dict(session.numbered())
    session.send(LogoutRequest(immediate=False, reason=0, **numbers))
    seen: list[Received] = []
    while (received := await session.receive_or_none()) is not None:
        seen.append(received)
    answered = any(each.raw.initiator_task_tag == ping.itt for each in seen)
    require(answered, "R7143-13.1-02", "the target answers with the digests that were agreed on", seen=len(seen))
    return seen


async def digests_are_right(peer: Peer, keys: tuple[tuple[str, str], ...]) -> None:
    """Every PDU of full feature phase has the digests that were agreed on, right ones, and no others."""
    header, data = (value == "CRC32C" for _, value in keys)
    session = await peer.login(keys)
    for received in await a_bit_of_everything(session):
        raw, seen = received.raw, one_line(received.raw)
        right = not raw.header_digest_error and bool(raw.header_digest) is header
        require(right, "R7143-13.1-02", "the header digest is as agreed", seen=seen)
        right = not raw.data_digest_error and bool(raw.data_digest) is (data and bool(raw.data))
        require(right, "R7143-13.1-02", "the data digest is as agreed", seen=seen)


@case(
    "digest.header-digest-on-every-pdu",
    clauses={"R7143-13.1-02": "digest.header-digest-left-out"},
    role=TARGET,
    needs=[Feature.HEADER_DIGEST],
)
async def header_digest_on_every_pdu(peer: Peer) -> None:
    """With header digests alone every PDU has one, and it is right."""
    await digests_are_right(peer, HEADER_ONLY)


@case(
    "digest.data-digest-on-every-pdu",
    clauses={"R7143-13.1-02": "digest.data-digest-left-out"},
    role=TARGET,
    needs=[Feature.DATA_DIGEST],
)
async def data_digest_on_every_pdu(peer: Peer) -> None:
    """With data digests alone every PDU with data has one, and it is right."""
    await digests_are_right(peer, DATA_ONLY)


@case(
    "digest.both-digests-on-every-pdu",
    clauses={"R7143-13.1-02": "digest.text-without-digest"},
    role=TARGET,
    needs=[Feature.HEADER_DIGEST, Feature.DATA_DIGEST],
)
async def both_digests_on_every_pdu(peer: Peer) -> None:
    """With both digests every PDU has both as far as it has data, and they are right."""
    await digests_are_right(peer, BOTH)


@case(
    "digest.is-crc32c",
    clauses={"R7143-13.1-04": "digest.other-checksum"},
    role=TARGET,
    needs=[Feature.HEADER_DIGEST],
)
async def is_crc32c(peer: Peer) -> None:
    """The digest of a header is the CRC32C of its 48 bytes."""
    session = await peer.login(HEADER_ONLY)
    session.ping()
    raw = (await session.receive("R7143-13.1-04", "the answer to a ping")).raw
    due = crc32c(bytes(raw.bhs))
    require(raw.header_digest == due, "R7143-13.1-04", f"{due.hex()} was due", seen=bytes(raw.header_digest).hex())


@case(
    "digest.all-four-combinations",
    clauses={"R7143-13.1-01": "digest.refuses-crc32c"},
    role=TARGET,
    needs=[Feature.HEADER_DIGEST, Feature.DATA_DIGEST],
)
async def all_four_combinations(peer: Peer) -> None:
    """CRC32C and None are agreed on for either digest when nothing else is offered, and the session works."""
    for header in ("None", "CRC32C"):
        for data in ("None", "CRC32C"):
            session = await peer.login([("HeaderDigest", header), ("DataDigest", data)], clause="R7143-13.1-01")
            agreed = (session.agreed("HeaderDigest"), session.agreed("DataDigest"))
            require(agreed == (header, data), "R7143-13.1-01", f"{header} and {data} were due", seen=agreed)
            await session.alive("R7143-13.1-01")
            session.raw.close()


@case("digest.default-is-none", clauses={"R7143-13.1-10": "digest.used-by-default"}, role=TARGET)
async def default_is_none(session: Session) -> None:
    """Where the login did not talk of digests, there are none."""
    for _ in range(2):
        ping = session.ping()
        await session.expect(NopIn, "R7143-13.1-10", "an answer without a header digest", itt=ping.itt)


@case(
    "digest.covers-padding",
    clauses={"R7143-11.2.3-01": "digest.padding-not-covered"},
    role=TARGET,
    needs=[Feature.DATA_DIGEST],
)
async def covers_padding(peer: Peer) -> None:
    """The data digest of an answer whose data needs padding covers the padding as it was sent."""
    session = await peer.login(DATA_ONLY)
    session.ping(ODD)
    raw = (await session.receive(ALIVE, "the answer to a ping")).raw
    due = crc32c(bytes(raw.data) + bytes(raw.padding))
    seen = bytes(raw.data_digest).hex()
    require(raw.data_digest == due, "R7143-11.2.3-01", f"{due.hex()}, padding included, was due", seen=seen)


@case(
    "digest.padding-of-requests-counts",
    clauses={"R7143-11.2.3-01": "digest.assumes-zero-padding"},
    role=TARGET,
    needs=[Feature.DATA_DIGEST],
)
async def padding_of_requests_counts(peer: Peer) -> None:
    """A ping with padding that is not zero, and a data digest that covers it, is answered."""
    session = await peer.login(DATA_ONLY)
    counters = session.raw
    ping = NopOut(itt=counters.next_itt(), cmd_sn=counters.cmd_sn, exp_stat_sn=counters.exp_stat_sn, data=ODD)
    raw = replace(encode(ping), padding=b"\xa5")
    session.send(raw.with_digests(header=False, data=True))
    received = await session.receive("R7143-11.2.3-01", "the answer to a ping with a right data digest")
    answered = isinstance(received.pdu, NopIn) and received.pdu.data == ODD
    require(answered, "R7143-11.2.3-01", "the ping is answered", seen=one_line(received.raw))


@case(
    "digest.padding-is-zero",
    clauses={"R7143-13.1-03": "digest.padding-not-zero"},
    role=TARGET,
    level=SHOULD,
    needs=[Feature.DATA_DIGEST],
)
async def padding_is_zero(peer: Peer) -> None:
    """Padding that a digest covers is zero."""
    session = await peer.login(DATA_ONLY)
    session.ping(ODD)
    raw = (await session.receive(ALIVE, "the answer to a ping")).raw
    require(not any(raw.padding), "R7143-13.1-03", "padding is zero", seen=bytes(raw.padding).hex())


@case(
    "digest.no-data-no-data-digest",
    clauses={"R7143-11.2.3-02": "digest.for-no-data"},
    role=TARGET,
    needs=[Feature.DATA_DIGEST],
)
async def no_data_no_digest(peer: Peer) -> None:
    """With data digests agreed on, the answer to a ping without data is a header and nothing else."""
    session = await peer.login(DATA_ONLY)
    for _ in range(2):
        ping = session.ping()
        await session.expect(NopIn, "R7143-11.2.3-02", "an answer without a data digest", itt=ping.itt)


@case(
    "digest.header-error",
    clauses={"R7143-7.8-01": "digest.header-error-ignored"},
    role=TARGET,
    needs=[Feature.HEADER_DIGEST],
)
async def header_error(peer: Peer) -> None:
    """A command with a wrong header digest is not answered: it is dropped, or the connection ends."""
    session = await peer.login(HEADER_ONLY)
    numbers: dict[str, Any] = dict(session.numbered())
    command = ScsiCommand(lun=session.lun, cdb=TUR.ljust(16, b"\0"), **numbers)
    session.send(command, header_digest=Digest.WRONG)
    answered = response_among(await aftermath(session), command)
    require(answered is None, "R7143-7.8-01", "a command with a wrong header digest is not carried out", seen=answered)


def send_damaged(session: Session, data: bytes) -> tuple[ScsiCommand, RawPdu]:
    """Send a write with immediate data under a wrong data digest."""
    cdb = opcodes.WRITE_10.build(lba=0, blocks=blocks_for(session, len(data))).ljust(16, b"\0")
    numbers: dict[str, Any] = dict(session.numbered())
    command = ScsiCommand(
        write=True,
        lun=session.lun,
        expected_data_transfer_length=len(data),
        cdb=cdb,
        data=data,
        **numbers,
    )
    raw = session.raw.send(command, data_digest=Digest.WRONG)
    if raw is None:
        raise RuntimeError("a message goes out as a PDU")
    return command, raw


async def rejection(disk: Session) -> None:
    """The Reject of a damaged PDU. Raises Inconclusive where the target does otherwise, which is another case's matter."""
    received = await disk.receive_or_none()
    if received is None or not isinstance(received.pdu, Reject):
        raise Inconclusive("a data digest error is not rejected, so that nothing can be seen of what follows")


IMMEDIATE_NEEDS = (Feature.DATA_DIGEST, Feature.IMMEDIATE_DATA, Feature.WRITABLE_LUN)


@case(
    "digest.immediate-data-error",
    clauses={
        "R7143-7.8-02": "digest.data-error-not-told",
        "R7143-11.17.1-07": "digest.data-error-is-protocol-error",
        "R7143-11.17.4-01": "digest.reject-with-digest",
    },
    role=TARGET,
    needs=IMMEDIATE_NEEDS,
    destructive=True,
)
async def immediate_data_error(peer: Peer) -> None:
    """A write whose immediate data has a wrong digest is rejected with reason 0x02, its header repeated."""
    disk = await peer.disk(IMMEDIATE)
    _, raw = send_damaged(disk, pattern(disk.block_size))
    reject = await disk.expect(Reject, "R7143-7.8-02", "a Reject for a data digest error")
    good = reject.reason == RejectReason.DATA_DIGEST_ERROR
    require(good, "R7143-11.17.1-07", "reason 0x02 was due", seen=hex(reject.reason))
    header = bytes(raw.bhs)
    require(reject.data == header, "R7143-11.17.4-01", f"the data is {header.hex()}", seen=reject.data.hex())


@case(
    "digest.rejected-write-is-sent-again",
    clauses={"R7143-7.8-06": "digest.retry-lost"},
    role=TARGET,
    needs=IMMEDIATE_NEEDS,
    destructive=True,
)
async def sent_again(peer: Peer) -> None:
    """A write that was rejected for a data digest error succeeds when it is sent again with the same numbers."""
    disk = await peer.disk(IMMEDIATE)
    data = pattern(disk.block_size, "again")
    command, _ = send_damaged(disk, data)
    await rejection(disk)
    disk.send(command)
    outcome = await disk.result(command, "R7143-7.8-06", write_data=data)
    require(outcome.status == 0, "R7143-7.8-06", "the write ends with GOOD", seen=outcome.status)
    written = (await disk.read("R7143-7.8-06")).data
    require(written == data, "R7143-7.8-06", "its data is written", seen=written[:16].hex())


@case(
    "digest.rejected-write-gets-no-response",
    clauses={"R7143-7.3-02": "digest.answers-rejected-command"},
    role=TARGET,
    level=SHOULD,
    needs=IMMEDIATE_NEEDS,
    destructive=True,
)
async def no_response(peer: Peer) -> None:
    """Nothing but the Reject comes about a write that was rejected."""
    disk = await peer.disk(IMMEDIATE)
    command, _ = send_damaged(disk, pattern(disk.block_size))
    await rejection(disk)
    response = response_among(await aftermath(disk), command)
    require(response is None, "R7143-7.3-02", "a rejected command gets no response", seen=response)


@case(
    "digest.rejected-write-does-not-count",
    clauses={"R7143-7.3-03": "digest.rejected-command-counts"},
    role=TARGET,
    needs=IMMEDIATE_NEEDS,
    destructive=True,
)
async def does_not_count(peer: Peer) -> None:
    """The CmdSN of a write that was rejected is still awaited."""
    disk = await peer.disk(IMMEDIATE)
    command, _ = send_damaged(disk, pattern(disk.block_size))
    await rejection(disk)
    ping = disk.ping()
    counters = await disk.answer(NopIn, ping.itt, ALIVE)
    same = counters.exp_cmd_sn == command.cmd_sn
    require(same, "R7143-7.3-03", f"ExpCmdSN stays at {command.cmd_sn}", seen=counters.exp_cmd_sn)


@case(
    "digest.damaged-data-is-not-written",
    clauses={"R7143-7.8-03": "digest.data-error-ignored"},
    role=TARGET,
    needs=IMMEDIATE_NEEDS,
    destructive=True,
)
async def not_written(peer: Peer) -> None:
    """Data with a wrong digest does not reach the medium."""
    disk = await peer.disk(IMMEDIATE)
    before = (await disk.read(ALIVE)).data
    send_damaged(disk, bytes(byte ^ 0xFF for byte in before))
    await aftermath(disk)
    if disk.raw.closed:
        disk = await peer.disk(IMMEDIATE)
    ping = disk.ping()
    disk.raw.cmd_sn = (await disk.answer(NopIn, ping.itt, ALIVE)).exp_cmd_sn
    after = (await disk.read(ALIVE)).data
    require(after == before, "R7143-7.8-03", "the data is discarded", seen=after[:16].hex())


@case(
    "digest.ping-data-error",
    clauses={"R7143-7.8-03": "digest.data-error-ignored", "R7143-7.8-02": "digest.data-error-not-told"},
    role=TARGET,
    needs=[Feature.DATA_DIGEST],
)
async def ping_data_error(peer: Peer) -> None:
    """A ping with a wrong data digest is rejected and not answered."""
    session = await peer.login(DATA_ONLY)
    counters = session.raw
    ping = NopOut(itt=counters.next_itt(), cmd_sn=counters.cmd_sn, exp_stat_sn=counters.exp_stat_sn, data=ODD)
    session.send(ping, data_digest=Digest.WRONG)
    seen = await aftermath(session)
    answered = any(each.raw.initiator_task_tag == ping.itt for each in seen)
    require(not answered, "R7143-7.8-03", "a ping with a wrong data digest is not answered")
    require(rejects_among(seen), "R7143-7.8-02", "a Reject for a data digest error was due")


def send_piece(disk: Session, command: ScsiCommand, r2t: R2T | None, number: int, *, damaged: bool, last: bool) -> None:
    """Send block `number` of a write as a Data-Out PDU, for an R2T or unsolicited."""
    size = disk.block_size
    data = pattern(command.expected_data_transfer_length)[number * size : (number + 1) * size]
    piece = DataOut(
        final=last,
        lun=r2t.lun if r2t else NO_LUN,
        itt=command.itt,
        ttt=r2t.ttt if r2t else NO_TAG,
        exp_stat_sn=disk.raw.exp_stat_sn,
        data_sn=number,
        buffer_offset=number * size,
        data=data,
    )
    disk.send(piece, data_digest=Digest.WRONG if damaged else Digest.AS_AGREED)


async def write_in_pieces(peer: Peer) -> tuple[Session, ScsiCommand, R2T]:
    """A write of two blocks that waits behind an R2T for both."""
    disk = await peer.disk([*DATA_ONLY, ("ImmediateData", "No"), ("InitialR2T", "Yes")])
    command = write_command(disk, pattern(2 * disk.block_size))
    return disk, command, await disk.expect(R2T, "R7143-11.8-01", "an R2T for the write", itt=command.itt)


async def ending(disk: Session, command: ScsiCommand, clause: str) -> ScsiResponse | R2T:
    """The response to the write, or the R2T that asks for lost data again."""
    while True:
        pdu = (await disk.receive(clause, "a response to the write, or an R2T for its lost data")).pdu
        if isinstance(pdu, ScsiResponse | R2T) and pdu.itt == command.itt:
            return pdu


@case(
    "digest.data-out-error",
    clauses={
        "R7143-7.8-04": "digest.lost-data-is-good",
        "R7143-11.17.1-05": "digest.lost-data-is-the-end",
        "R7143-11.4.7.2-03": "digest.lost-data-has-other-sense",
        "R7143-7.8-02": "digest.data-error-not-told",
    },
    role=TARGET,
    needs=[Feature.DATA_DIGEST, Feature.WRITABLE_LUN],
    destructive=True,
)
async def data_out_error(peer: Peer) -> None:
    """Data-Out with a wrong digest is rejected, and asked for again, or the write fails with sense B/4705."""
    disk, command, r2t = await write_in_pieces(peer)
    send_piece(disk, command, r2t, 0, damaged=False, last=False)
    send_piece(disk, command, r2t, 1, damaged=True, last=True)
    first = await disk.receive("R7143-7.8-02", "a Reject for a data digest error")
    rejected = isinstance(first.pdu, Reject) and first.pdu.reason == RejectReason.DATA_DIGEST_ERROR
    require(rejected, "R7143-7.8-02", "a Reject with reason 0x02 was due", seen=one_line(first.raw))
    end = await ending(disk, command, "R7143-11.17.1-05")
    if isinstance(end, R2T):
        return
    require(end.status == 2, "R7143-7.8-04", "CHECK CONDITION was due", seen=f"status {end.status:#04x}")
    sense = TaskResult(command, end, b"").sense
    right = sense is not None and (sense.key, sense.code) == (SenseKey.ABORTED_COMMAND, 0x4705)
    seen = "no sense" if sense is None else f"{sense.key:x}/{sense.code:04x}"
    require(right, "R7143-11.4.7.2-03", "sense B/4705 was due", seen=seen)


async def waits_for_the_rest(disk: Session, command: ScsiCommand, r2t: R2T | None, clause: str) -> None:
    """Behind the Reject of the first of two pieces the write ends only when the second one has come."""
    send_piece(disk, command, r2t, 0, damaged=True, last=False)
    early = await aftermath(disk)
    if not rejects_among(early):
        raise Inconclusive("a data digest error is not rejected, so that nothing can be seen of what follows")
    response = response_among(early, command)
    require(response is None, clause, "the write does not end before its data has come", seen=response)
    if any(isinstance(each.pdu, R2T) for each in early):
        return
    send_piece(disk, command, r2t, 1, damaged=False, last=True)
    await ending(disk, command, clause)


@case(
    "digest.write-waits-for-the-rest",
    clauses={"R7143-7.8-05": "digest.ends-before-the-data"},
    role=TARGET,
    needs=[Feature.DATA_DIGEST, Feature.WRITABLE_LUN],
    destructive=True,
)
async def write_waits_for_the_rest(peer: Peer) -> None:
    """A write of which data was lost ends only when the rest of the data that an R2T asked for has come."""
    disk, command, r2t = await write_in_pieces(peer)
    await waits_for_the_rest(disk, command, r2t, "R7143-7.8-05")


@case(
    "digest.write-waits-for-unsolicited-rest",
    clauses={"R7143-11.17.1-06": "digest.ends-before-the-data"},
    role=TARGET,
    needs=[Feature.DATA_DIGEST, Feature.UNSOLICITED_DATA, Feature.WRITABLE_LUN],
    destructive=True,
)
async def write_waits_for_unsolicited_rest(peer: Peer) -> None:
    """A write of which unsolicited data was lost ends only when the last unsolicited PDU has come."""
    disk = await peer.disk([*DATA_ONLY, ("ImmediateData", "No"), ("InitialR2T", "No")])
    command = write_command(disk, pattern(2 * disk.block_size), final=False)
    await waits_for_the_rest(disk, command, None, "R7143-11.17.1-06")
