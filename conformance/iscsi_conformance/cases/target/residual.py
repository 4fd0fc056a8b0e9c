"""SCSI Response, residual counts and sense data (RFC 7143 section 11.4), and what rides of them in Data-In."""

from __future__ import annotations

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session, TaskResult
from iscsi_conformance.transfer import BEHIND_THE_END, R2T_MODE, blocks_for, pattern, require_good
from iscsi_conformance.verdict import Failed, Inconclusive, Unsupported, require
from iscsi_protocol import serial
from iscsi_protocol.pdu import DataIn, ScsiResponse, bidirectional_read_length, encode_ahs
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.codes import SenseKey

DISK = (Feature.SCSI_DISK,)
WRITABLE = (Feature.WRITABLE_LUN,)
CHECK_CONDITION = 2
COMPLETED = 0
TARGET_FAILURE = 1
VENDOR_SPECIFIC = 0x80
LIST_HEADER = 8
SENSE_FORMATS = (0x70, 0x71, 0x72, 0x73)


def residual(outcome: TaskResult) -> tuple[bool, bool, int]:
    """O, U and the residual count."""
    ending = outcome.ending
    return ending.overflow, ending.underflow, ending.residual_count


async def read_expecting(disk: Session, clause: str, expected: int, blocks: int = 2) -> TaskResult:
    """READ(10) of some blocks, with another expected length than they have."""
    return await disk.execute(opcodes.READ_10.build(lba=0, blocks=blocks), clause, read=expected)


async def write_expecting(disk: Session, clause: str, expected: int, blocks: int = 2) -> TaskResult:
    """WRITE(10) of some blocks, with another expected length than they have."""
    data = pattern(expected, "residual")
    cdb = opcodes.WRITE_10.build(lba=0, blocks=blocks)
    return await disk.result(disk.command(cdb, write=expected), clause, write_data=data)


async def report_luns(disk: Session, clause: str, allocation: int, expected: int) -> TaskResult:
    """REPORT LUNS."""
    cdb = opcodes.REPORT_LUNS.build(allocation_length=allocation)
    return await disk.execute(cdb, clause, read=expected)


async def refused_read(disk: Session, clause: str) -> TaskResult:
    """A read behind the end of the medium."""
    outcome = await disk.execute(opcodes.READ_16.build(lba=BEHIND_THE_END, blocks=1), clause, read=disk.block_size)
    require(outcome.status == CHECK_CONDITION, clause, "CHECK CONDITION", seen=f"status {outcome.status:#04x}")
    return outcome


def require_underflow(outcome: TaskResult, flag: str, count: str, presented: int) -> None:
    """U is set and says how much is missing."""
    overflow, underflow, residual_count = residual(outcome)
    missing = outcome.command.expected_data_transfer_length - presented
    require(underflow and not overflow, flag, f"{missing} bytes less than expected are an underflow")
    require(residual_count == missing, count, f"the residual count is {missing}", seen=residual_count)


@case(
    "residual.read-underflow",
    clauses={
        "R7143-11.4.5.2-03": "residual.underflow-unsaid",
        "R7143-11.4.5.2-04": "residual.underflow-count-off",
        "R7143-11.4.1-01": "residual.both-flags",
    },
    needs=DISK,
    role=TARGET,
)
async def read_underflow(disk: Session) -> None:
    """A read of less than the initiator expects ends with U, not with O, and the difference; a target may refuse it."""
    outcome = await read_expecting(disk, "R7143-11.4.5.2-03", 3 * disk.block_size)
    if outcome.status == CHECK_CONDITION:
        return
    overflow, underflow, _ = residual(outcome)
    require(not (overflow and underflow), "R7143-11.4.1-01", "O and U exclude each other")
    require_underflow(outcome, "R7143-11.4.5.2-03", "R7143-11.4.5.2-04", len(outcome.data))


@case(
    "residual.read-overflow",
    clauses={
        "R7143-11.4.5.2-01": "residual.overflow-unsaid",
        "R7143-11.4.5.2-02": "residual.overflow-count-off",
    },
    needs=DISK,
    role=TARGET,
)
async def read_overflow(disk: Session) -> None:
    """A read of more than the initiator expects ends with O and the difference; a target may refuse it as a whole."""
    outcome = await read_expecting(disk, "R7143-11.4.5.2-01", disk.block_size, blocks=3)
    if outcome.status == CHECK_CONDITION:
        return
    overflow, underflow, count = residual(outcome)
    require(overflow and not underflow, "R7143-11.4.5.2-01", "two blocks more than expected are an overflow")
    excess = 2 * disk.block_size
    require(count == excess, "R7143-11.4.5.2-02", f"the residual count is {excess}", seen=count)


@case(
    "residual.write-underflow",
    clauses={
        "R7143-11.4.5.2-03": "residual.write-underflow-unsaid",
        "R7143-11.4.5.2-04": "residual.write-underflow-count-off",
    },
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def write_underflow(peer: Peer) -> None:
    """A write of less than the initiator expects ends with U and the difference; a target may refuse it as a whole."""
    disk = await peer.disk(R2T_MODE)
    outcome = await write_expecting(disk, "R7143-11.4.5.2-03", 3 * disk.block_size)
    if outcome.status != CHECK_CONDITION:
        require_underflow(outcome, "R7143-11.4.5.2-03", "R7143-11.4.5.2-04", 2 * disk.block_size)


@case(
    "residual.write-overflow",
    clauses={
        "R7143-11.4.5.2-01": "residual.write-overflow-unsaid",
        "R7143-11.4.5.2-02": "residual.write-overflow-count-off",
    },
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def write_overflow(peer: Peer) -> None:
    """A write of more than the initiator expects ends with O and the difference; a target may refuse it as a whole."""
    disk = await peer.disk(R2T_MODE)
    outcome = await write_expecting(disk, "R7143-11.4.5.2-01", disk.block_size, blocks=3)
    if outcome.status == CHECK_CONDITION:
        return
    overflow, underflow, count = residual(outcome)
    require(overflow and not underflow, "R7143-11.4.5.2-01", "two blocks more than expected are an overflow")
    excess = 2 * disk.block_size
    require(count == excess, "R7143-11.4.5.2-02", f"the residual count is {excess}", seen=count)


@case("residual.count-with-flag", clauses={"R7143-11.4.5.1-01": "residual.count-lost"}, needs=DISK, role=TARGET)
async def count_with_flag(disk: Session) -> None:
    """Where U is set the residual count is a valid one: between 1 and the expected length."""
    outcome = await disk.execute(opcodes.INQUIRY.build(allocation_length=5), "R7143-11.4.5.1-01", read=4096)
    overflow, underflow, count = residual(outcome)
    valid = not (overflow or underflow) or 0 < count <= 4096
    require(valid, "R7143-11.4.5.1-01", "the residual count is valid", seen=count)


@case(
    "residual.no-count-without-flag",
    clauses={"R7143-11.4.5.1-03": "residual.count-without-flag"},
    needs=DISK,
    role=TARGET,
)
async def no_count_without_flag(disk: Session) -> None:
    """A read as long as expected has neither flag, and a residual count of 0."""
    outcome = await disk.read("R7143-11.4.5.1-03", blocks=2)
    overflow, underflow, count = residual(outcome)
    require(not (overflow or underflow), "R7143-11.4.5.2-03", "no residual where lengths are equal", seen=count)
    require(count == 0, "R7143-11.4.5.1-03", "the residual count is 0", seen=count)


@case(
    "residual.allocation-length-is-no-overflow",
    clauses={"R7143-11.4.5.3-01": "residual.truncation-as-overflow"},
    needs=DISK,
    role=TARGET,
)
async def allocation_length_is_no_overflow(disk: Session) -> None:
    """REPORT LUNS that ALLOCATION LENGTH cuts short does not overflow."""
    outcome = await report_luns(disk, "R7143-11.4.5.3-01", 16, 16)
    require(not residual(outcome)[0], "R7143-11.4.5.3-01", "O is not set", seen=residual(outcome)[2])


@case(
    "residual.expected-above-allocation",
    clauses={"R7143-11.4.5.3-02": "residual.underflow-unsaid"},
    needs=DISK,
    role=TARGET,
)
async def expected_above_allocation(disk: Session) -> None:
    """REPORT LUNS with an expected length above ALLOCATION LENGTH underflows."""
    outcome = await report_luns(disk, "R7143-11.4.5.3-02", 16, 4096)
    require_underflow(outcome, "R7143-11.4.5.3-02", "R7143-11.4.5.2-04", len(outcome.data))


@case(
    "residual.list-shorter-than-allocation",
    clauses={"R7143-11.4.5.3-03": "residual.underflow-unsaid"},
    needs=DISK,
    role=TARGET,
)
async def list_shorter_than_allocation(disk: Session) -> None:
    """REPORT LUNS whose list is shorter than ALLOCATION LENGTH and expected length underflows."""
    allocation = 65536
    outcome = await report_luns(disk, "R7143-11.4.5.3-03", allocation, allocation)
    listed = LIST_HEADER + int.from_bytes(outcome.data[:4], "big")
    if listed >= allocation:
        raise Inconclusive("the list of logical units is longer than the allocation length")
    require_underflow(outcome, "R7143-11.4.5.3-03", "R7143-11.4.5.2-04", listed)


@case(
    "residual.bidirectional",
    clauses={
        "R7143-11.4.6-01": "residual.bidirectional-count-off",
        "R7143-11.7.3-02": "residual.bidirectional-status-in-data",
    },
    needs=DISK,
    role=TARGET,
)
async def bidirectional(disk: Session) -> None:
    """A bidirectional command, done or refused, has its status in a SCSI Response with a valid read residual.

    XDWRITEREAD(10) behind the end of the medium, which expects to write nothing: no target changes anything.
    """
    expected = 2 * disk.block_size
    cdb = opcodes.XDWRITEREAD_10.build(lba=0xFFFFFFFE, blocks=2, disable_write=1)
    command = disk.command(cdb, read=0, write=0, ahs=encode_ahs([bidirectional_read_length(expected)]))
    length = 0
    while True:
        received = await disk.receive_or_none()
        pdu = None if received is None else received.pdu
        if isinstance(pdu, ScsiResponse) and pdu.itt == command.itt:
            break
        if not isinstance(pdu, DataIn) or pdu.itt != command.itt:
            raise Unsupported("bidirectional-commands", "XDWRITEREAD(10) was neither done nor refused with a status")
        length += len(pdu.data)
        require(not pdu.status_present, "R7143-11.7.3-02", "the status comes in a SCSI Response")
    missing = expected - length
    count = pdu.bidi_residual_count
    valid = count == missing if pdu.bidi_underflow else not pdu.bidi_overflow or count > 0
    require(valid, "R7143-11.4.6-01", f"{missing} bytes of read data are missing", seen=f"residual {count}")


@case(
    "residual.response-code",
    clauses={
        "R7143-11.4.3-03": "residual.reserved-response",
        "R7143-11.4.1-02": "residual.failure-with-residual",
        "R7143-11.4.4-01": "residual.snack-tag",
        "R7144-5.2.1-01": "residual.status-qualifier",
    },
    needs=DISK,
    role=TARGET,
)
async def response_code(disk: Session) -> None:
    """A SCSI Response has a defined response code, residual flags only when the command completed, and no leftovers.

    The SNACK tag is 0 where no SNACK came, the status qualifier where iSCSIProtocolLevel 2 was not agreed on.
    """
    for outcome in (await disk.test_unit_ready("R7143-11.4.3-03"), await refused_read(disk, "R7143-11.4.3-03")):
        ending = require_response(outcome, "R7143-11.7.3-01")
        code = ending.response
        defined = code in (COMPLETED, TARGET_FAILURE) or code >= VENDOR_SPECIFIC
        require(defined, "R7143-11.4.3-03", "a defined response code", seen=f"{code:#04x}")
        flags = ending.overflow or ending.underflow or ending.bidi_overflow or ending.bidi_underflow
        require(code == COMPLETED or not flags, "R7143-11.4.1-02", "no residual flags with this response code")
        require(ending.snack_tag == 0, "R7143-11.4.4-01", "the SNACK tag is 0", seen=f"{ending.snack_tag:#x}")
        qualifier = ending.status_qualifier
        require(qualifier == 0, "R7144-5.2.1-01", "the status qualifier is 0", seen=f"{qualifier:#06x}")


def require_response(outcome: TaskResult, clause: str) -> ScsiResponse:
    """The command ended with a SCSI Response."""
    ending = outcome.ending
    if not isinstance(ending, ScsiResponse):
        raise Failed(clause, "a SCSI Response was due", seen="status in Data-In")
    return ending


@case("residual.priority-ignored", clauses={"R7144-5.1.1-02": "residual.priority-refused"}, needs=DISK, role=TARGET)
async def priority_ignored(peer: Peer) -> None:
    """Below iSCSIProtocolLevel 2 the priority field of a command means nothing."""
    disk = await peer.disk()
    outcome = await disk.read("R7144-5.1.1-02", command_priority=5)
    require_good(outcome, "R7144-5.1.1-02", "a read with a priority")


@case(
    "residual.sense-of-a-bad-address",
    clauses={
        "R7143-11.4.7-01": "residual.sense-of-nothing",
        "R7143-11.4.7-02": "residual.sense-missing",
        "R7143-11.4.7-04": "residual.sense-without-length",
    },
    needs=DISK,
    role=TARGET,
)
async def sense_of_a_bad_address(disk: Session) -> None:
    """CHECK CONDITION for a read behind the end brings its sense data along, behind their length."""
    outcome = await refused_read(disk, "R7143-11.4.7-02")
    data = require_response(outcome, "R7143-11.7.3-01").data
    require(len(data) > 2, "R7143-11.4.7-02", "sense data", seen=f"{len(data)} bytes")
    length = int.from_bytes(data[:2], "big")
    require(length <= len(data) - 2, "R7143-11.4.7-04", f"SenseLength within {len(data)} bytes", seen=length)
    sense = outcome.sense
    known = sense is not None and data[2] & 0x7F in SENSE_FORMATS
    require(known, "R7143-11.4.7-04", "sense data behind SenseLength", seen=data[:4].hex())
    key = sense.key if sense else None
    require(key == SenseKey.ILLEGAL_REQUEST, "R7143-11.4.7-01", "the sense data of this command", seen=key)


@case(
    "residual.sense-of-an-unknown-command",
    clauses={"R7143-4.6.1.2-01": "residual.sense-length-0"},
    needs=DISK,
    role=TARGET,
)
async def sense_of_an_unknown_command(disk: Session) -> None:
    """An unknown operation code is refused with sense data in the response itself."""
    outcome = await disk.execute(bytes((0xC1, 0, 0, 0, 0, 0)), "R7143-4.6.1.2-01")
    if outcome.status != CHECK_CONDITION:
        raise Inconclusive(f"the operation code c1h of a vendor ended with status {outcome.status:#04x}")
    sense = outcome.sense
    present = sense is not None and sense.key != 0
    require(present, "R7143-4.6.1.2-01", "sense data with a sense key", seen=sense)


@case("residual.data-count", clauses={"R7143-11.4.8-01": "residual.data-count-off"}, needs=DISK, role=TARGET)
async def data_count(disk: Session) -> None:
    """Where the status of a read has a PDU of its own, ExpDataSN is the number of Data-In PDUs, 0 of them included."""
    done = await disk.read("R7143-11.4.8-01", blocks=blocks_for(disk, 16384))
    for outcome in (done, await refused_read(disk, "R7143-11.4.8-01")):
        if isinstance(outcome.ending, ScsiResponse):
            sent, told = len(outcome.data_ins), outcome.ending.exp_data_sn
            require(told == sent, "R7143-11.4.8-01", f"ExpDataSN tells {sent} Data-In PDUs", seen=told)


@case(
    "residual.no-data-count",
    clauses={"R7143-11.4.8-02": "residual.data-count-without-data"},
    needs=DISK,
    role=TARGET,
)
async def no_data_count(disk: Session) -> None:
    """ExpDataSN is 0 for a command without Data-In."""
    ending = require_response(await disk.test_unit_ready("R7143-11.4.8-02"), "R7143-11.7.3-01")
    require(ending.exp_data_sn == 0, "R7143-11.4.8-02", "ExpDataSN is 0", seen=ending.exp_data_sn)


@case(
    "residual.responses-numbered",
    clauses={"R7143-11.4.9-01": "residual.stat-sn-skips", "R7143-4.2.2.1-22": "residual.exp-cmd-sn-behind"},
    needs=DISK,
    role=TARGET,
)
async def responses_numbered(disk: Session) -> None:
    """The StatSN of SCSI Responses rises by one, and their ExpCmdSN acknowledges the command that is answered."""
    before = None
    for _ in range(4):
        outcome = await disk.test_unit_ready("R7143-11.4.9-01")
        ending = outcome.ending
        covered = serial.gt(ending.exp_cmd_sn, outcome.command.cmd_sn)
        require(covered, "R7143-4.2.2.1-22", f"ExpCmdSN is above {outcome.command.cmd_sn}", seen=ending.exp_cmd_sn)
        due = ending.stat_sn if before is None else serial.add(before)
        require(ending.stat_sn == due, "R7143-11.4.9-01", f"StatSN is {due}", seen=ending.stat_sn)
        before = ending.stat_sn
