"""What a session's protocol level, task reporting and recovery level make of a target (RFC 7144 4.1, 4.2 and 7.1.1; RFC 7143
4.2.3.4, 6.3.3, 7.1.4.3, 7.1.5 and 10.7).
"""

from __future__ import annotations

from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.cases.target.fast_abort import events_of, fast
from iscsi_conformance.cases.target.fences import OTHER_ISID
from iscsi_conformance.cases.target.identity import NO_SESSION, WRITABLE
from iscsi_conformance.cases.target.login import OPEN, outcome
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import aftermath, pending_write
from iscsi_conformance.recovery import drop, lost, require_same, snack_status, time2wait, withholding
from iscsi_conformance.remedy import listed_luns
from iscsi_conformance.reservation import REGISTER_AND_IGNORE, reserve_out
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.several import two_connections
from iscsi_conformance.task_functions import concluded, require_response
from iscsi_conformance.verdict import Inconclusive, Unsupported, require
from iscsi_conformance.wire import Pairs
from iscsi_protocol.pdu import R2T, LoginStatus, ScsiResponse, TaskFunction, TaskManagementResponse, TaskResponse
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.inquiry import StandardInquiry, VersionDescriptor
from iscsi_protocol.scsi.lun import decode_lun, encode_lun

LEVEL = "iSCSIProtocolLevel"
ISCSI = range(VersionDescriptor.ISCSI, VersionDescriptor.ISCSI + 32)
"""Version descriptors of iSCSI, by protocol level (RFC 7144 4.2)."""
DONE = (TaskResponse.FUNCTION_COMPLETE, TaskResponse.FUNCTION_SUCCEEDED)
NEW_FUNCTIONS = (TaskFunction.QUERY_TASK_SET, TaskFunction.QUERY_ASYNCHRONOUS_EVENT, TaskFunction.I_T_NEXUS_RESET)
NOT_DONE = (TaskResponse.FUNCTION_NOT_SUPPORTED, TaskResponse.AUTHORIZATION_FAILED)


# ---- iSCSIProtocolLevel ----


@case(
    "levels.version-descriptor",
    clauses={"R7144-4.2-01": "levels.version-of-no-level"},
    role=TARGET,
    needs=[Feature.PROTOCOL_LEVEL_2],
)
async def version_descriptor(peer: Peer) -> None:
    """The version descriptor of iSCSI in INQUIRY data, where there is one, tells the level that was agreed on."""
    clause = "R7144-4.2-01"
    for level in ("1", "2"):
        session = await peer.login([(LEVEL, level)])
        due = VersionDescriptor.ISCSI + session.agreed_number(LEVEL)
        length = StandardInquiry.LENGTH
        data = (await session.execute(opcodes.INQUIRY.build(allocation_length=length), ALIVE, read=length)).data
        versions = StandardInquiry.parse(data).versions
        claimed = [int.from_bytes(versions[at : at + 2], "big") for at in range(0, len(versions), 2)]
        found = [version for version in claimed if version in ISCSI]
        if not found:
            raise Unsupported("iscsi-version-descriptor", "INQUIRY data names no version of iSCSI")
        require(due in found, clause, f"version {due:04x} was due", seen=", ".join(f"{each:04x}" for each in found))


async def not_carried_out(session: Session, clause: str) -> None:
    """The functions of level 2 are answered otherwise than with success, or rejected, and the session goes on."""
    for function in NEW_FUNCTIONS:
        lun = bytes(8) if function == TaskFunction.I_T_NEXUS_RESET else session.lun
        request = session.manage_task(function, lun=lun)
        received = await session.receive_or_none()
        pdu = None if received is None else received.pdu
        done = isinstance(pdu, TaskManagementResponse) and pdu.itt == request.itt and pdu.response in DONE
        require(not done, clause, f"function {int(function)} is not carried out below level 2")
    await session.alive(clause)


@case(
    "levels.functions-below-level-2",
    clauses={"R7144-4.1-01": "levels.level-2-where-1-was-agreed"},
    role=TARGET,
    destructive=True,
)
async def functions_below_level_2(peer: Peer) -> None:
    """Where level 1 was agreed on, the functions of level 2 are not carried out."""
    session = await peer.login([(LEVEL, "1")])
    await not_carried_out(session, "R7144-4.1-01")


@case(
    "levels.functions-without-a-level",
    clauses={"R7144-7.1.1-02": "levels.level-2-unasked"},
    role=TARGET,
    destructive=True,
)
async def functions_without_a_level(peer: Peer) -> None:
    """Where nothing was said of the level, the functions of level 2 are not carried out."""
    session = await peer.login([("MaxBurstLength", "262144")])
    await not_carried_out(session, "R7144-7.1.1-02")


# ---- TaskReporting ----


@case(
    "levels.fast-abort-alone",
    clauses={"R7143-10.7-01": "levels.fast-abort-for-show"},
    role=TARGET,
    level=SHOULD,
    needs=[Feature.FAST_ABORT, *WRITABLE],
    destructive=True,
)
async def fast_abort_alone(peer: Peer) -> None:
    """Where FastAbort is all that the initiator offers it is agreed on, and CLEAR TASK SET does not wait for data."""
    clause = "R7143-10.7-01"
    disk = await fast(peer)
    await pending_write(disk)
    answer = await concluded(disk, disk.manage_task(TaskFunction.CLEAR_TASK_SET), clause)
    require_response(answer, clause, TaskResponse.FUNCTION_COMPLETE, what="CLEAR TASK SET")


async def another_unit(session: Session) -> bytes:
    """The LUN field of another logical unit, without a unit attention. Raises Unsupported where there is none."""
    own = decode_lun(session.lun)
    others = [lun for lun in await listed_luns(session) or [] if lun is not None and lun != own]
    if not others:
        raise Unsupported("second-lun", "REPORT LUNS lists one logical unit alone")
    field = encode_lun(others[0])
    for _ in range(4):
        if (await session.test_unit_ready(ALIVE, lun=field)).status != 2:
            break
    return field


@case(
    "levels.each-unit-is-told",
    clauses={"R7143-4.2.3.4-13": "levels.one-unit-is-told"},
    role=TARGET,
    needs=[Feature.FAST_ABORT, Feature.PERSISTENT_RESERVATIONS, *WRITABLE],
    destructive=True,
)
async def each_unit_is_told(peer: Peer) -> None:
    """TARGET WARM RESET that ends tasks at two logical units is told by event 5 for each, once."""
    clause = "R7143-4.2.3.4-13"
    issuing, third = await fast(peer), await fast(peer, OTHER_ISID)
    lun = await another_unit(third)
    write, _ = await pending_write(third)
    waiting, _ = reserve_out(third, REGISTER_AND_IGNORE, lun=lun)
    received = await third.receive_or_none()
    if received is None or not isinstance(received.pdu, R2T):
        raise Inconclusive("a command with parameter data does not wait for it at the other logical unit")
    answer = await concluded(issuing, issuing.manage_task(TaskFunction.TARGET_WARM_RESET), ALIVE)
    if answer.response in NOT_DONE:
        raise Unsupported(Feature.TARGET_WARM_RESET, f"the function is answered with response {answer.response}")
    told = sorted(message.lun.hex() for message in events_of(await aftermath(third)))
    due = sorted((write.lun.hex(), waiting.lun.hex()))
    require(told == due, clause, f"event 5 for LUNs {', '.join(due)} was due", seen=", ".join(told) or "none")


# ---- ErrorRecoveryLevel ----


async def recovery_level(peer: Peer, keys: Pairs, clause: str) -> int:
    """The level that a login with these keys agrees on."""
    return (await peer.login(keys, clause=clause)).agreed_number("ErrorRecoveryLevel")


@case(
    "levels.recovery-level-0",
    clauses={"R7143-7.1.5-05": "levels.recovery-above-offer", "R7143-7.1.5-04": "levels.wants-recovery"},
    role=TARGET,
)
async def recovery_level_0(peer: Peer) -> None:
    """An initiator without recovery is let in, and level 0 is the result, as the lower of both."""
    level = await recovery_level(peer, [("ErrorRecoveryLevel", "0")], "R7143-7.1.5-04")
    require(level == 0, "R7143-7.1.5-05", "ErrorRecoveryLevel=0 was due", seen=level)


@case(
    "levels.recovery-level-1-is-kept",
    clauses={"R7143-7.1.5-02": "levels.recovery-for-show"},
    role=TARGET,
    needs=[Feature.ERROR_RECOVERY_LEVEL_1],
)
async def recovery_level_1(peer: Peer) -> None:
    """A target that agreed to level 1 sends a status again that is asked for by SNACK."""
    clause = "R7143-7.1.5-02"
    session = await peer.login([("ErrorRecoveryLevel", "1")])
    with withholding(session):
        ending = (await session.test_unit_ready(ALIVE)).ending
        lost(session, ending)
        snack_status(session, ending.stat_sn)
        again = await session.expect(ScsiResponse, clause, "the status that was asked for", itt=ending.itt)
    require_same(ending, again, clause, "the status")


# ---- further connections ----


@case(
    "levels.nothing-joins-half-a-login",
    clauses={"R7143-6.3.3-06": "levels.half-a-login-is-joined"},
    role=TARGET,
    needs=[Feature.MULTIPLE_CONNECTIONS, *OPEN],
)
async def nothing_joins(peer: Peer) -> None:
    """While the leading login is not over there is no session that another connection could join."""
    clause = "R7143-6.3.3-06"
    wire = await peer.connect()
    half = await wire.exchange_login(wire.login_request(wire.names(), transit=False, nsg=0), clause)
    _, login = await peer.try_login(isid=wire.isid, tsih=half.tsih or NO_SESSION, cid=1)
    require(login.status, clause, "a login into a session that is not there yet is refused", seen=outcome(login))


@case(
    "levels.broken-connection-leaves-its-place",
    clauses={"R7143-7.1.4.3-05": "levels.broken-connection-counts"},
    role=TARGET,
    needs=[Feature.MULTIPLE_CONNECTIONS],
)
async def broken_connection(peer: Peer) -> None:
    """A connection whose TCP was reset, and of which nothing is retained, is closed: it does not count any more."""
    clause = "R7143-7.1.4.3-05"
    first, second = await two_connections(peer, [("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "0")])
    await first.alive()
    await second.alive()
    drop(second)
    await aftermath(first)
    await time2wait(first, first.agreed_number("DefaultTime2Wait") + 1)
    if first.raw.closed is None:
        _, login = await peer.try_login(into=first, cid=2)
        full = login.status == LoginStatus.TOO_MANY_CONNECTIONS
        require(not full, clause, "the place of the broken connection is free", seen=outcome(login))
