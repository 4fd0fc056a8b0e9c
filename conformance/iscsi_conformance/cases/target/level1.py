"""Recovery level 1: SNACKs of every type, what comes again, and data asked for again (RFC 7143 7.3, 7.8, 11.16, D)."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.identity import NO_UNSOLICITED, WRITABLE
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import aftermath, give_data, pending_write, rejects_among
from iscsi_conformance.recovery import (
    CURRENT,
    LEVEL_1,
    acknowledge_data,
    data_until_status,
    only_data,
    require_level,
    require_same,
    snack_data,
    snack_resegmented,
    snack_status,
    withholding,
)
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.several import nothing_on, two_connections
from iscsi_conformance.transfer import read_command
from iscsi_conformance.verdict import Failed, Inconclusive, Unsupported, require
from iscsi_conformance.wire import P
from iscsi_protocol.pdu import (
    NO_TAG,
    R2T,
    DataIn,
    LoginResponse,
    NopIn,
    Reject,
    RejectReason,
    ScsiCommand,
    ScsiResponse,
    SnackRequest,
    SnackType,
    TaskFunction,
    TaskManagementResponse,
)
from iscsi_protocol.scsi import opcodes

LEVEL = (Feature.ERROR_RECOVERY_LEVEL_1,)
READING = (*LEVEL, Feature.SCSI_DISK)
WRITING = (*LEVEL, *WRITABLE)
SMALL = (*LEVEL_1, ("MaxRecvDataSegmentLength", "512"), ("MaxBurstLength", "2048"), ("FirstBurstLength", "2048"))
"""Read data in segments of a block, and 4 of them a burst."""

LENGTH = 4096
"""Bytes that the cases read: 8 segments."""

TAG = 0x51AC0001
TUR = opcodes.TEST_UNIT_READY.build()


async def reader(peer: Peer) -> Session:
    """A session at level 1 or above that takes segments of 512 bytes, its logical unit measured."""
    disk = await peer.disk(SMALL)
    require_level(disk, 1)
    if LENGTH % disk.block_size:
        raise Inconclusive(f"blocks of {disk.block_size} bytes")
    return disk


async def read_all(disk: Session, clause: str) -> tuple[ScsiCommand, list[DataIn | ScsiResponse]]:
    """A read of which nothing is acknowledged, and every PDU of it. Within `withholding`."""
    command = read_command(disk, LENGTH // disk.block_size)
    pdus = await data_until_status(disk, command, clause)
    if len(only_data(pdus)) < 4:
        raise Inconclusive("the data comes in fewer than 4 segments")
    return command, pdus


async def again(session: Session, kind: type[P], clause: str, what: str) -> P:
    """The PDU that was asked for. Raises Inconclusive where the target rejects a SNACK that it cannot serve (7.8)."""
    received = await session.receive(clause, what)
    pdu = received.pdu
    if isinstance(pdu, Reject) and pdu.reason == RejectReason.SNACK_REJECT:
        raise Inconclusive("the target rejects the SNACK with reason 0x03, as it may")
    if not isinstance(pdu, kind):
        seen = f"Reject {pdu.reason:#04x}" if isinstance(pdu, Reject) else type(pdu).__name__
        raise Failed(clause, f"{what} was due", seen=seen)
    return pdu


# ---- Data-In ----


@case("level1.data-comes-again", clauses={"R7143-11.16-04": "level1.resent-data-altered"}, role=TARGET, needs=READING)
async def data_comes_again(peer: Peer) -> None:
    """A run of Data-In that a SNACK names comes again, each PDU an exact replica but for the window."""
    clause = "R7143-11.16-04"
    disk = await reader(peer)
    with withholding(disk):
        command, pdus = await read_all(disk, clause)
        snack_data(disk, command, 1, 2)
        for original in only_data(pdus)[1:3]:
            resent = await again(disk, DataIn, clause, f"Data-In {original.data_sn}")
            require_same(original, resent, clause, f"Data-In {original.data_sn}")
        await disk.alive()


@case(
    "level1.every-type-is-served",
    clauses={"R7143-11.16-01": "level1.knows-no-snack"},
    role=TARGET,
    needs=READING,
)
async def every_type_is_served(peer: Peer) -> None:
    """No type of SNACK is refused as unknown at level 1: data, status and R-Data are served, or rejected with 0x03."""
    clause = "R7143-11.16-01"
    disk = await reader(peer)
    with withholding(disk):
        command, pdus = await read_all(disk, clause)
        snack_data(disk, command, 0, 1)
        snack_status(disk, pdus[-1].stat_sn)
        snack_resegmented(disk, command, TAG)
        seen = await aftermath(disk)
    for reject in rejects_among(seen):
        require(reject.reason == RejectReason.SNACK_REJECT, clause, "SNACKs are supported", seen=hex(reject.reason))
    require(seen, clause, "SNACKs are served or rejected")


@case(
    "level1.run-of-all",
    clauses={"R7143-11.16-06": "level1.run-of-one"},
    role=TARGET,
    needs=READING,
)
async def run_of_all(peer: Peer) -> None:
    """RunLength 0 asks for all Data-In from BegRun on; with BegRun 0 as well it is all that is not acknowledged."""
    clause = "R7143-11.16-06"
    disk = await reader(peer)
    with withholding(disk):
        command, pdus = await read_all(disk, clause)
        data = only_data(pdus)
        for first in (len(data) - 2, 0):
            snack_data(disk, command, first, 0)
            for original in data[first:]:
                resent = await again(disk, DataIn, clause, f"Data-In {original.data_sn}")
                due = resent.data_sn == original.data_sn
                require(due, clause, f"Data-In {original.data_sn} was due", seen=resent.data_sn)
        await disk.alive()


@case(
    "level1.data-not-sent",
    clauses={"R7143-11.16-05": "level1.unsent-told-otherwise", "R7143-11.17.2-01": "level1.no-next-number"},
    role=TARGET,
    needs=READING,
)
async def data_not_sent(peer: Peer) -> None:
    """A SNACK for Data-In that was never sent is rejected as a protocol error, with the DataSN that would come next."""
    disk = await reader(peer)
    with withholding(disk):
        command, pdus = await read_all(disk, ALIVE)
        count = len(only_data(pdus))
        snack_data(disk, command, count + 10, 1)
        reject = await disk.expect(Reject, "R7143-11.16-05", "a Reject for what was not sent")
        error = reject.reason == RejectReason.PROTOCOL_ERROR
        require(error, "R7143-11.16-05", "a protocol error (0x04) was due", seen=hex(reject.reason))
        require(reject.data_sn == count, "R7143-11.17.2-01", f"DataSN {count} was due", seen=reject.data_sn)


@case(
    "level1.data-acknowledged-by-status",
    clauses={"R7143-11.16-05": "level1.acknowledged-passed-over"},
    role=TARGET,
    needs=READING,
)
async def data_acknowledged(peer: Peer) -> None:
    """A SNACK for the data of a read whose status was acknowledged is rejected as a protocol error."""
    clause = "R7143-11.16-05"
    disk = await reader(peer)
    command = (await disk.read(ALIVE, 0, LENGTH // disk.block_size)).command
    await disk.alive()
    snack_data(disk, command, 0, 1)
    reasons = [reject.reason for reject in rejects_among(await aftermath(disk))]
    require(reasons == [RejectReason.PROTOCOL_ERROR], clause, "a protocol error (0x04) was due", seen=reasons)


# ---- responses ----


@case(
    "level1.status-comes-again",
    clauses={"R7143-11.16-02": "level1.resent-status-altered", "R7143-11.4.9-02": "level1.resent-status-renumbered"},
    role=TARGET,
    needs=LEVEL,
)
async def status_comes_again(peer: Peer) -> None:
    """A response that a status SNACK names comes again with its StatSN, an exact replica but for the window."""
    session = await peer.login(LEVEL_1)
    with withholding(session):
        command = session.command(TUR)
        original = await session.answer(ScsiResponse, command.itt, ALIVE)
        snack_status(session, original.stat_sn)
        resent = await again(session, ScsiResponse, "R7143-11.16-02", "the response")
        same = resent.stat_sn == original.stat_sn
        require(same, "R7143-11.4.9-02", f"StatSN {original.stat_sn} was due", seen=resent.stat_sn)
        require_same(original, resent, "R7143-11.16-02", "the response")


@case(
    "level1.any-response-comes-again",
    clauses={"R7143-11.16-02": "level1.resends-scsi-alone"},
    role=TARGET,
    needs=LEVEL,
)
async def any_response(peer: Peer) -> None:
    """The answers to a ping and to a task management function come again on a status SNACK, as a run, in order."""
    clause = "R7143-11.16-02"
    session = await peer.login(LEVEL_1)
    with withholding(session):
        ping = session.ping(b"once more")
        answer = await session.answer(NopIn, ping.itt, ALIVE)
        function = session.manage_task(
            TaskFunction.ABORT_TASK, referenced_task_tag=0x7777, ref_cmd_sn=session.raw.cmd_sn
        )
        response = await session.answer(TaskManagementResponse, function.itt, ALIVE)
        snack_status(session, answer.stat_sn, 2)
        require_same(answer, await again(session, NopIn, clause, "the answer to a ping"), clause, "the answer")
        resent = await again(session, TaskManagementResponse, clause, "the response to the function")
        require_same(response, resent, clause, "the response to the function")


@case(
    "level1.window-is-of-now",
    clauses={"R7143-11.16-02": "level1.window-of-then"},
    role=TARGET,
    needs=LEVEL,
)
async def window_is_of_now(peer: Peer) -> None:
    """A response that comes again has the ExpCmdSN of now."""
    clause = "R7143-11.16-02"
    session = await peer.login(LEVEL_1)
    with withholding(session):
        first = (await session.test_unit_ready(ALIVE)).ending
        second = (await session.test_unit_ready(ALIVE)).ending
        snack_status(session, first.stat_sn)
        resent = await again(session, ScsiResponse, clause, "the response")
        now = resent.exp_cmd_sn == second.exp_cmd_sn
        require(now, clause, f"ExpCmdSN {second.exp_cmd_sn} was due", seen=resent.exp_cmd_sn)


@case(
    "level1.all-unacknowledged-responses",
    clauses={"R7143-11.16-06": "level1.one-response-of-all"},
    role=TARGET,
    needs=LEVEL,
)
async def all_unacknowledged(peer: Peer) -> None:
    """A status SNACK with BegRun and RunLength 0 brings all responses that are not acknowledged, and no others."""
    clause = "R7143-11.16-06"
    session = await peer.login(LEVEL_1)
    await session.test_unit_ready(ALIVE)
    await session.alive()
    with withholding(session):
        endings = [(await session.test_unit_ready(ALIVE)).ending for _ in range(3)]
        snack_status(session, 0, 0)
        for ending in endings:
            resent = await again(session, ScsiResponse, clause, f"the response of StatSN {ending.stat_sn}")
            due = resent.stat_sn == ending.stat_sn
            require(due, clause, f"StatSN {ending.stat_sn} was due", seen=resent.stat_sn)
        await session.alive()


@case(
    "level1.status-acknowledged",
    clauses={"R7143-D-01": "level1.acknowledged-passed-over"},
    role=TARGET,
    needs=LEVEL,
)
async def status_acknowledged(peer: Peer) -> None:
    """A status SNACK for a response that was acknowledged is rejected as a protocol error."""
    clause = "R7143-D-01"
    session = await peer.login(LEVEL_1)
    ending = (await session.test_unit_ready(ALIVE)).ending
    await session.alive()
    snack_status(session, ending.stat_sn)
    reasons = [reject.reason for reject in rejects_among(await aftermath(session))]
    require(reasons == [RejectReason.PROTOCOL_ERROR], clause, "a protocol error (0x04) was due", seen=reasons)


# ---- R2T ----


@case(
    "level1.r2t-comes-again",
    clauses={"R7143-11.16-02": "level1.resent-r2t-altered", "R7143-11.16-03": "level1.r2t-status-number-of-then"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def r2t_comes_again(peer: Peer) -> None:
    """An R2T that a SNACK names comes again, an exact replica but for the window and the StatSN, which is that of now."""
    disk = await peer.disk([*LEVEL_1, *NO_UNSOLICITED])
    write, r2t = await pending_write(disk)
    answer = await disk.answer(NopIn, disk.ping().itt, ALIVE)
    snack_data(disk, write, r2t.r2t_sn, 1)
    resent = await again(disk, R2T, "R7143-11.16-02", "the R2T")
    due = answer.stat_sn + 1 & 0xFFFFFFFF
    require(resent.stat_sn == due, "R7143-11.16-03", f"StatSN {due} was due", seen=resent.stat_sn)
    require_same(r2t, resent, "R7143-11.16-02", "the R2T", CURRENT | {"stat_sn"})
    give_data(disk, write, resent)
    response = await disk.answer(ScsiResponse, write.itt, ALIVE)
    require(response.status == 0, "R7143-11.16-02", "the write ends with GOOD", seen=response.status)


# ---- DataACK (11.7.2, 11.16.2) ----


async def to_acknowledge(disk: Session) -> tuple[ScsiCommand, list[DataIn]]:
    """A read of which nothing is acknowledged, and its Data-In. Raises Unsupported where no Data-In has the A bit."""
    command, pdus = await read_all(disk, ALIVE)
    data = only_data(pdus)
    if not any(pdu.acknowledge for pdu in data):
        raise Unsupported("data-acknowledgement", "no Data-In has the A bit")
    return command, data


@case(
    "level1.acknowledgements-are-wanted-seldom",
    clauses={
        "R7143-11.7.2-02": "level1.acknowledge-everything",
        "R7143-11.7.4-03": "level1.acknowledge-without-tag",
    },
    role=TARGET,
    needs=[*READING, Feature.SMALL_BURST],
)
async def wanted_seldom(peer: Peer) -> None:
    """The A bit stands once in MaxBurstLength bytes at most, or in the last Data-In, beside a transfer tag and the LUN."""
    disk = await reader(peer)
    burst = disk.agreed_number("MaxBurstLength")
    with withholding(disk):
        command, data = await to_acknowledge(disk)
    last: int | None = None
    for pdu in data:
        if not pdu.acknowledge:
            continue
        tagged = pdu.ttt != NO_TAG and pdu.lun == command.lun
        require(tagged, "R7143-11.7.4-03", "TTT and LUN are valid beside the A bit", seen=f"{pdu.ttt:#x}")
        end = pdu.buffer_offset + len(pdu.data)
        seldom = last is None or end - last >= burst or pdu is data[-1]
        require(
            seldom, "R7143-11.7.2-02", f"one A bit in {burst} bytes at most", seen=f"again after {end - (last or 0)}"
        )
        last = end


@case(
    "level1.data-acknowledged",
    clauses={"R7143-11.16-05": "level1.acknowledgement-forgotten"},
    role=TARGET,
    needs=READING,
)
async def data_acknowledged_by_snack(peer: Peer) -> None:
    """Data that a DataACK acknowledged cannot be had again: a SNACK for it is rejected as a protocol error."""
    clause = "R7143-11.16-05"
    disk = await reader(peer)
    with withholding(disk):
        command, data = await to_acknowledge(disk)
        marked = next(pdu for pdu in data if pdu.acknowledge)
        acknowledge_data(disk, marked)
        require(not rejects_among(await aftermath(disk)), clause, "the DataACK is taken")
        snack_data(disk, command, 0, 1)
        reject = await disk.expect(Reject, clause, "a Reject for data that was acknowledged")
        error = reject.reason == RejectReason.PROTOCOL_ERROR
        require(error, clause, "a protocol error (0x04) was due", seen=hex(reject.reason))


@case(
    "level1.all-unacknowledged-data",
    clauses={"R7143-11.16-06": "level1.all-from-the-first"},
    role=TARGET,
    needs=[*READING, Feature.SMALL_BURST],
)
async def all_unacknowledged_data(peer: Peer) -> None:
    """A SNACK with BegRun and RunLength 0 brings the data behind the last DataACK."""
    clause = "R7143-11.16-06"
    disk = await reader(peer)
    with withholding(disk):
        command, data = await to_acknowledge(disk)
        marked = next(pdu for pdu in data if pdu.acknowledge)
        rest = [pdu for pdu in data if pdu.data_sn > marked.data_sn]
        if not rest:
            raise Inconclusive("only the last Data-In has the A bit")
        acknowledge_data(disk, marked)
        snack_data(disk, command, 0, 0)
        for original in rest:
            resent = await again(disk, DataIn, clause, f"Data-In {original.data_sn}")
            due = resent.data_sn == original.data_sn
            require(due, clause, f"Data-In {original.data_sn} was due", seen=resent.data_sn)


# ---- R-Data (11.16.3) ----


async def all_anew(disk: Session, command: ScsiCommand, clause: str) -> tuple[list[DataIn], ScsiResponse]:
    """What an R-Data SNACK brings: Data-In, and the SCSI Response that has to end it."""
    data: list[DataIn] = []
    while True:
        pdu = (await disk.receive(clause, "the data once more and a SCSI Response")).pdu
        if isinstance(pdu, Reject) and pdu.reason == RejectReason.SNACK_REJECT:
            raise Inconclusive("the target rejects the SNACK with reason 0x03, as it may")
        if isinstance(pdu, ScsiResponse) and pdu.itt == command.itt:
            return data, pdu
        if not isinstance(pdu, DataIn) or pdu.itt != command.itt:
            raise Failed(clause, "the data once more and a SCSI Response were due", seen=type(pdu).__name__)
        data.append(pdu)


@case(
    "level1.resegmented",
    clauses={
        "R7143-11.16.3-03": "level1.resegmented-numbers-go-on",
        "R7143-11.16.3-04": "level1.no-snack-tag",
        "R7143-11.16.3-05": "level1.second-status-number",
    },
    role=TARGET,
    needs=READING,
)
async def resegmented(peer: Peer) -> None:
    """An R-Data SNACK brings all data again, numbered from 0, and a SCSI Response with its tag and the StatSN from before."""
    disk = await reader(peer)
    with withholding(disk):
        command, pdus = await read_all(disk, ALIVE)
        snack_resegmented(disk, command, TAG)
        data, response = await all_anew(disk, command, "R7143-11.16.3-04")
    numbers, content = [pdu.data_sn for pdu in data], b"".join(pdu.data for pdu in data)
    require(numbers == list(range(len(data))), "R7143-11.16.3-03", "DataSN from 0 on was due", seen=numbers)
    whole = content == b"".join(pdu.data for pdu in only_data(pdus))
    require(whole, "R7143-11.16.3-03", "all data comes again", seen=f"{len(content)} bytes")
    tagged = response.snack_tag != 0
    require(tagged, "R7143-11.16.3-04", f"SNACK tag {TAG:#x} was due", seen=hex(response.snack_tag))
    due = pdus[-1].stat_sn
    require(response.stat_sn == due, "R7143-11.16.3-05", f"StatSN {due} was due", seen=response.stat_sn)


@case(
    "level1.snack-tag-is-copied",
    clauses={"R7143-11.16.5-02": "level1.other-snack-tag"},
    role=TARGET,
    needs=READING,
)
async def snack_tag_is_copied(peer: Peer) -> None:
    """Of two R-Data SNACKs each brings a SCSI Response with its own tag."""
    clause = "R7143-11.16.5-02"
    disk = await reader(peer)
    with withholding(disk):
        command, _ = await read_all(disk, ALIVE)
        for tag in (TAG, TAG + 1):
            snack_resegmented(disk, command, tag)
            _, response = await all_anew(disk, command, clause)
            require(response.snack_tag == tag, clause, f"SNACK tag {tag:#x} was due", seen=hex(response.snack_tag))


@case(
    "level1.resegmented-behind-acknowledgement",
    clauses={"R7143-11.16.3-03": "level1.resegmented-from-the-first"},
    role=TARGET,
    needs=[*READING, Feature.SMALL_BURST],
)
async def resegmented_behind(peer: Peer) -> None:
    """Behind a DataACK the data of an R-Data SNACK starts with the DataSN that the DataACK named."""
    clause = "R7143-11.16.3-03"
    disk = await reader(peer)
    with withholding(disk):
        command, data = await to_acknowledge(disk)
        marked = next(pdu for pdu in data if pdu.acknowledge)
        if marked is data[-1]:
            raise Inconclusive("only the last Data-In has the A bit")
        acknowledge_data(disk, marked)
        snack_resegmented(disk, command, TAG)
        resent, _ = await all_anew(disk, command, clause)
    due = marked.data_sn + 1
    first = resent[0].data_sn if resent else None
    require(first == due, clause, f"DataSN {due} was due", seen=first)


# ---- where and when ----


@case(
    "level1.stays-on-its-connection",
    clauses={"R7143-4.2.5.1-05": "level1.resent-elsewhere"},
    role=TARGET,
    needs=[*READING, Feature.MULTIPLE_CONNECTIONS],
)
async def stays_on_its_connection(peer: Peer) -> None:
    """Data that a SNACK asks for comes again on the connection of the SNACK and its command, and not on another one."""
    clause = "R7143-4.2.5.1-05"
    limit = ("MaxRecvDataSegmentLength", "512")
    first, second = await two_connections(peer, SMALL, second=[limit], disk=True)
    require_level(first, 1)
    with withholding(second):
        command, pdus = await read_all(second, ALIVE)
        snack_data(second, command, 0, 2)
        for original in only_data(pdus)[:2]:
            resent = await again(second, DataIn, clause, f"Data-In {original.data_sn}")
            require(resent.data_sn == original.data_sn, clause, f"DataSN {original.data_sn}", seen=resent.data_sn)
        await nothing_on(first, command.itt, clause, "nothing of the read comes on another connection")


@case("level1.not-within-login", clauses={"R7143-7.1.4-02": "level1.snack-within-login"}, role=TARGET)
async def not_within_login(peer: Peer) -> None:
    """A SNACK within a login is no recovery: it is refused, or ends the connection."""
    wire = await peer.connect()
    begun = wire.login_request(wire.names(*LEVEL_1), transit=False, nsg=0)
    response = await wire.exchange_login(begun, ALIVE)
    if response.status_class:
        raise Inconclusive(f"the login is refused with status {response.status:04x}")
    wire.send(SnackRequest(snack_type=SnackType.STATUS, beg_run=0, run_length=0, exp_stat_sn=wire.raw.exp_stat_sn))
    received = await wire.receive_or_none()
    if received is None:
        require(wire.raw.closed, "R7143-7.1.4-02", "a SNACK within a login is refused")
        return
    pdu = received.pdu
    refused = isinstance(pdu, Reject) or (isinstance(pdu, LoginResponse) and pdu.status_class != 0)
    require(refused, "R7143-7.1.4-02", "a SNACK within a login is refused", seen=one_line(received.raw))
