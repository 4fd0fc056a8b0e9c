"""Reject (RFC 7143 sections 7.3, 7.7 and 11.17)."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.pending import aftermath, give_data, pending_write, rejects_among, response_among
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.verdict import Failed, Inconclusive, require
from iscsi_protocol import serial
from iscsi_protocol.pdu import (
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

TUR = opcodes.TEST_UNIT_READY.build()
UNASSIGNED = 0x1B
"""An opcode that nobody was given (11.2.1.2)."""


def send_unknown(session: Session) -> RawPdu:
    """An immediate request with an unassigned opcode, otherwise like a ping."""
    counters = session.raw
    ping = NopOut(itt=counters.next_itt(), cmd_sn=counters.cmd_sn, exp_stat_sn=counters.exp_stat_sn)
    raw = encode(ping).with_bytes(0, bytes([0x40 | UNASSIGNED]))
    session.send(raw)
    return raw


async def provoked(session: Session) -> tuple[RawPdu, Reject]:
    """A request that no target knows, and its Reject. Raises Inconclusive where the target has another answer."""
    raw = send_unknown(session)
    received = await session.receive_or_none()
    if received is None or not isinstance(received.pdu, Reject):
        raise Inconclusive("an unassigned opcode is not rejected, so that there is no Reject to look at")
    return raw, received.pdu


@case(
    "reject.unknown-opcode",
    clauses={
        "R7143-11.2.1.2-03": "reject.silence-instead",
        "R7143-11.17.1-10": "reject.always-protocol-error",
    },
    role=TARGET,
)
async def unknown_opcode(session: Session) -> None:
    """A request with an unassigned opcode is rejected as not supported, and the session goes on."""
    send_unknown(session)
    fence = session.ping()
    received = await session.receive("R7143-11.2.1.2-03", "a Reject for an unassigned opcode")
    pdu, seen = received.pdu, one_line(received.raw)
    if not isinstance(pdu, Reject):
        raise Failed("R7143-11.2.1.2-03", "a Reject for an unassigned opcode was due", seen=seen)
    require(pdu.reason == RejectReason.COMMAND_NOT_SUPPORTED, "R7143-11.17.1-10", "reason 0x05 was due", seen=seen)
    await session.answer(NopIn, fence.itt, ALIVE)


@case(
    "reject.is-well-formed",
    clauses={
        "R7143-11.17-01": "reject.with-task-tag",
        "R7143-11.17.3-01": "reject.not-numbered",
        "R7143-11.17.4-01": "reject.header-altered",
        "R7143-11-02": "reject.reserved-bytes-set",
    },
    role=TARGET,
)
async def is_well_formed(session: Session) -> None:
    """A Reject has the reserved task tag, the next StatSN, which it uses up, and the header of the bad PDU as data."""
    due = session.raw.exp_stat_sn
    bad, reject = await provoked(session)
    require(reject.itt == 0xFFFFFFFF, "R7143-11.17-01", "ITT is the reserved value", seen=hex(reject.itt))
    require(reject.stat_sn == due, "R7143-11.17.3-01", f"StatSN {due} was due", seen=reject.stat_sn)
    header = bytes(bad.bhs)
    require(reject.data == header, "R7143-11.17.4-01", f"the data is {header.hex()}", seen=reject.data.hex())
    require(not reject.reserved, "R7143-11-02", "reserved fields are zero", seen=f"{reject.reserved:096x}")


@case("reject.uses-a-status-number", clauses={"R7143-4.2.2.2-05": "reject.not-numbered"}, role=TARGET)
async def uses_a_status_number(session: Session) -> None:
    """Two Rejects have two StatSNs, one behind the other, and so has the answer that follows."""
    await provoked(session)
    _, second = await provoked(session)
    ping = session.ping()
    answer = await session.answer(NopIn, ping.itt, ALIVE)
    due = serial.add(second.stat_sn)
    require(answer.stat_sn == due, "R7143-4.2.2.2-05", f"StatSN {due} was due", seen=answer.stat_sn)


@case(
    "reject.key-given-twice",
    clauses={"R7143-6.4-12": "reject.repetition-unnoticed", "R7143-11.17.1-09": "reject.never-protocol-error"},
    role=TARGET,
    needs=[Feature.TEXT_NEGOTIATION],
)
async def key_given_twice(session: Session) -> None:
    """A key that comes twice in one negotiation is rejected as a protocol error."""
    session.text(("MaxRecvDataSegmentLength", "8192"), ("MaxRecvDataSegmentLength", "4096"))
    reject = await session.expect(Reject, "R7143-6.4-12", "a Reject for a key that comes twice")
    good = reject.reason == RejectReason.PROTOCOL_ERROR
    require(good, "R7143-11.17.1-09", "reason 0x04 was due", seen=hex(reject.reason))


@case(
    "reject.reasons-are-defined",
    clauses={"R7143-11.17.1-01": "reject.undefined-reason", "R7143-11.17.1-03": "reject.deprecated-reason"},
    role=TARGET,
)
async def reasons_are_defined(session: Session) -> None:
    """Whatever is rejected has a defined reason, and never the deprecated 0x0b, a failed negotiation neither."""
    send_unknown(session)
    session.text(("MaxRecvDataSegmentLength", "8192"), ("MaxRecvDataSegmentLength", "4096"))
    for reject in rejects_among(await aftermath(session)):
        unused = reject.reason != RejectReason.DEPRECATED_NEGOTIATION_RESET
        require(unused, "R7143-11.17.1-03", "reason 0x0b is not used", seen=reject.data.hex())
        known = reject.reason in set(RejectReason)
        require(known, "R7143-11.17.1-01", "a defined reason was due", seen=hex(reject.reason))


@case(
    "reject.unknown-transfer-tag",
    clauses={"R7143-11.17.1-02": "reject.always-protocol-error"},
    role=TARGET,
    level=SHOULD,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def unknown_transfer_tag(disk: Session) -> None:
    """Data for a transfer tag that no R2T gave, where it is rejected, is rejected as an invalid field."""
    write, r2t = await pending_write(disk)
    give_data(disk, write, r2t, ttt=r2t.ttt ^ 0x55)
    await invalid_field(disk, write)


@case(
    "reject.unknown-task-tag",
    clauses={"R7143-11.17.1-02": "reject.always-protocol-error"},
    role=TARGET,
    level=SHOULD,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def unknown_task_tag(disk: Session) -> None:
    """Data with the task tag of no task, where it is rejected, is rejected as an invalid field."""
    write, r2t = await pending_write(disk)
    give_data(disk, write, r2t, itt=0x7777)
    await invalid_field(disk, write)


async def invalid_field(disk: Session, write: ScsiCommand) -> None:
    """The bad Data-Out is rejected with 0x09; failing the write or ending the connection is right too."""
    seen = await aftermath(disk)
    rejects = rejects_among(seen)
    for reject in rejects:
        good = reject.reason == RejectReason.INVALID_PDU_FIELD
        require(good, "R7143-11.17.1-02", "reason 0x09 was due", seen=hex(reject.reason))
    response = response_among(seen, write)
    refused = rejects or disk.raw.closed or (response is not None and response.status)
    require(
        refused,
        "R7143-11.17.1-02",
        "a Data-Out with an invalid tag is rejected",
        seen=f"{response and response.status}",
    )


@case(
    "reject.does-not-end-the-task",
    clauses={"R7143-7.3-01": "reject.ends-the-task"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def does_not_end_the_task(disk: Session) -> None:
    """A write of which a Data-Out was rejected still gets a response once its data has come, whatever its status."""
    write, r2t = await pending_write(disk)
    give_data(disk, write, r2t, ttt=r2t.ttt ^ 0x55)
    if not rejects_among(await aftermath(disk)):
        raise Inconclusive("the Data-Out was not rejected")
    give_data(disk, write, r2t)
    received = await disk.receive("R7143-7.3-01", "the response to the write")
    ended = isinstance(received.pdu, ScsiResponse) and received.pdu.itt == write.itt
    require(ended, "R7143-7.3-01", "a response ends the task, not a Reject", seen=one_line(received.raw))


@case(
    "reject.task-tag-in-use",
    clauses={
        "R7143-11.17.1-12": "reject.always-too-many-immediate",
        "R7143-7.3-03": "reject.counts-as-received",
    },
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def task_tag_in_use(disk: Session) -> None:
    """A command with the tag of a task in progress, where it is rejected, tells so, and its CmdSN is not used up."""
    write, _ = await pending_write(disk)
    twin = disk.command(TUR, cmd_sn=disk.raw.cmd_sn, itt=write.itt)
    rejects = rejects_among(await aftermath(disk))
    if not rejects:
        return
    reason = rejects[0].reason
    fitting = (RejectReason.TASK_IN_PROGRESS, RejectReason.PROTOCOL_ERROR, RejectReason.INVALID_PDU_FIELD)
    require(reason in fitting, "R7143-11.17.1-12", "reason 0x07 was due", seen=hex(reason))
    ping = disk.ping()
    counters = await disk.answer(NopIn, ping.itt, ALIVE)
    same = counters.exp_cmd_sn == twin.cmd_sn
    require(same, "R7143-7.3-03", f"ExpCmdSN stays at {twin.cmd_sn}", seen=counters.exp_cmd_sn)
    filler = disk.command(TUR)
    await disk.result(filler, "R7143-7.3-03")


@case(
    "reject.too-many-immediate-commands",
    clauses={"R7143-11.17.1-11": "reject.always-protocol-error"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def too_many_immediate(disk: Session) -> None:
    """Of many immediate writes that all wait for data, those that are rejected are rejected with 0x06."""
    cdb = opcodes.WRITE_10.build(lba=0, blocks=1)
    tags = {disk.command(cdb, write=disk.block_size, immediate=True).itt for _ in range(24)}
    fence = disk.ping()
    while (received := await disk.receive(ALIVE, "the answer to a ping")).raw.initiator_task_tag != fence.itt:
        pdu = received.pdu
        if isinstance(pdu, Reject) and int.from_bytes(pdu.data[16:20], "big") in tags:
            good = pdu.reason == RejectReason.IMMEDIATE_COMMAND_REJECT
            require(good, "R7143-11.17.1-11", "reason 0x06 was due", seen=one_line(received.raw))


@case("reject.targets-use-their-own-opcodes", clauses={"R7143-11.2.1.2-02": "reject.initiator-opcode"}, role=TARGET)
async def own_opcodes(session: Session) -> None:
    """Everything that a target sends has an opcode of targets."""
    session.ping()
    session.command(TUR)
    session.manage_task(TaskFunction.ABORT_TASK, referenced_task_tag=0x7777, ref_cmd_sn=session.raw.cmd_sn)
    for _ in range(3):
        received = await session.receive(ALIVE, "an answer")
        opcode = received.raw.opcode
        require(opcode >= 0x20, "R7143-11.2.1.2-02", "an opcode of targets was due", seen=f"{opcode:#04x}")


@case("reject.format-error", clauses={"R7143-7.7-01": "reject.format-error-survived"}, role=TARGET)
async def format_error(session: Session) -> None:
    """A NOP-Out that is a ping and the answer to one at once ends the session, or is rejected."""
    session.ping(ttt=0x1234)
    received = await session.receive_or_none()
    if received is None:
        require(session.raw.closed, "R7143-7.7-01", "a format error is not passed over")
        return
    refused = isinstance(received.pdu, Reject)
    require(refused, "R7143-7.7-01", "a format error ends the session", seen=one_line(received.raw))
