"""What holds for PDUs of many kinds, and the command window when it is shut (RFC 7143 10.2, 11, 11.4.10, 11.4.11, 11.19)."""

from __future__ import annotations

from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.cases.target.connections import TUR
from iscsi_conformance.cases.target.identity import NO_UNSOLICITED, WRITABLE
from iscsi_conformance.cases.target.login import OPEN
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import give_data
from iscsi_conformance.recovery import drop, retained, time2wait
from iscsi_conformance.remedy import listed_luns
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.task_functions import carried_out
from iscsi_conformance.transfer import BEHIND_THE_END, pattern, write_command
from iscsi_conformance.verdict import Failed, Inconclusive, require
from iscsi_initiator.raw import SilentPeer
from iscsi_protocol import serial
from iscsi_protocol.pdu import R2T, NopIn, ScsiCommand, TaskFunction
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.lun import decode_lun

ODD_LENGTH = 0x010203
"""A number whose bytes all differ."""

OTHER_ISID = bytes.fromhex("80f0f0a00001")
MOST = 1024
"""Commands with which a window is to be filled at most."""

PROVOKED = (Feature.PROVOKED_EVENTS,)


@case("formats.numbers-are-big-endian", clauses={"R7143-11-01": "formats.little-endian"}, role=TARGET)
async def big_endian(session: Session) -> None:
    """A count that the target sends has its highest byte first."""
    inquiry = opcodes.INQUIRY.build(allocation_length=36)
    outcome = await session.execute(inquiry, "R7143-11-01", read=ODD_LENGTH)
    due = ODD_LENGTH - len(outcome.data)
    count = outcome.ending.residual_count
    require(count == due, "R7143-11-01", f"a residual count of {due:#x} was due", seen=hex(count))


@case("formats.no-header-segments", clauses={"R7143-11.2.1.5-01": "formats.claims-header-segments"}, role=TARGET)
async def no_header_segments(session: Session) -> None:
    """A PDU without additional header segments says that their length is 0."""
    clause = "R7143-11.2.1.5-01"
    for data in (b"", b"12345678"):
        ping = session.ping(data)
        answer = await session.receive(clause, "the answer to a ping")
        right = answer.raw.initiator_task_tag == ping.itt and answer.raw.bhs[4] == 0
        require(right, clause, "TotalAHSLength is 0", seen=answer.raw.bhs[4])


@case(
    "formats.sense-comes-along",
    clauses={"R7143-10.2-01": "formats.no-autosense"},
    role=TARGET,
    needs=[Feature.SCSI_DISK],
)
async def sense_comes_along(disk: Session) -> None:
    """CHECK CONDITION brings its sense data along."""
    clause = "R7143-10.2-01"
    cdb = opcodes.READ_16.build(lba=BEHIND_THE_END, blocks=1)
    outcome = await disk.execute(cdb, clause, read=disk.block_size)
    if outcome.status != 2:
        raise Inconclusive(f"a read behind the end of the medium ends with status {outcome.status:#04x}")
    require(outcome.sense is not None, clause, "sense data was due with CHECK CONDITION")


async def unsolicited(peer: Peer, session: Session, *, ping: bool) -> NopIn:
    """A NOP-In that the target sends of its own accord."""
    if ping:
        peer.operator.ping()
    else:
        peer.operator.tell_counters()
    pdu = (await session.raw.recv(session.response_time)).pdu
    if not isinstance(pdu, NopIn):
        raise Inconclusive("another PDU came first")
    return pdu


@case(
    "formats.counter-update-is-empty",
    clauses={"R7143-11.19-07": "formats.counter-update-with-data"},
    role=TARGET,
    needs=PROVOKED,
)
async def counter_update_is_empty(peer: Peer, session: Session) -> None:
    """A NOP-In that only tells the counters has no data."""
    update = await unsolicited(peer, session, ping=False)
    require(not update.data, "R7143-11.19-07", "no data was due", seen=f"{len(update.data)} bytes")


@case(
    "formats.ping-has-a-lun",
    clauses={"R7143-11.19.3-01": "formats.ping-of-no-unit"},
    role=TARGET,
    needs=[*PROVOKED, Feature.SCSI_DISK],
)
async def ping_has_a_lun(peer: Peer, session: Session) -> None:
    """The target's ping, which has a transfer tag, has the LUN of a logical unit that is there."""
    known = await listed_luns(session)
    if not known:
        raise Inconclusive("REPORT LUNS lists no logical unit")
    ping = await unsolicited(peer, session, ping=True)
    lun = decode_lun(ping.lun)
    require(lun in known, "R7143-11.19.3-01", f"one of the LUNs {known} was due", seen=ping.lun.hex())


# ---- the command window (11.4.10, 11.4.11) ----


async def shut(peer: Peer, clause: str) -> tuple[Session, list[tuple[ScsiCommand, R2T]]]:
    """A session whose window is full of writes that wait for data. Every command within the window has to be taken.

    Raises Inconclusive where it does not shut.
    """
    disk = await peer.disk(NO_UNSOLICITED)
    waiting: list[tuple[ScsiCommand, R2T]] = []
    data = pattern(disk.block_size)
    while serial.le(disk.raw.cmd_sn, disk.raw.max_cmd_sn):
        if len(waiting) == MOST:
            raise Inconclusive(f"the window is open behind {MOST} writes that wait for data")
        write = write_command(disk, data, len(waiting) % 64)
        waiting.append((write, await disk.expect(R2T, clause, "an R2T for a command within the window", itt=write.itt)))
    return disk, waiting


@case(
    "formats.window-shuts",
    clauses={"R7143-11.4.10-01": "formats.window-too-wide", "R7143-11.4.11-02": "formats.shut-window-lets-in"},
    role=TARGET,
    needs=WRITABLE,
    destructive=True,
)
async def window_shuts(peer: Peer) -> None:
    """A full window is told by MaxCmdSN = ExpCmdSN - 1; no command is taken then, and one is when a task has ended."""
    disk, waiting = await shut(peer, "R7143-11.4.10-01")
    answer = await disk.answer(NopIn, disk.ping().itt, ALIVE)
    none_left = answer.exp_cmd_sn == serial.add(answer.max_cmd_sn)
    if not none_left:
        raise Inconclusive("ExpCmdSN is not past MaxCmdSN when the window is shut")
    early = disk.command(TUR, cmd_sn=disk.raw.cmd_sn)
    await disk.silence("R7143-11.4.11-02", "a command behind a shut window is not taken", about=early.itt)
    write, r2t = waiting[0]
    give_data(disk, write, r2t)
    await disk.result(write, ALIVE)
    if serial.le(disk.raw.cmd_sn, disk.raw.max_cmd_sn):
        await disk.test_unit_ready("R7143-11.4.10-01")


@case(
    "formats.reopened-window-is-told",
    clauses={"R7143-11.4.11-01": "formats.reopened-window-untold"},
    role=TARGET,
    needs=WRITABLE,
    destructive=True,
)
async def reopened_window_is_told(peer: Peer) -> None:
    """A window that opens because another session's reset ended its commands is told, by a NOP-In if by nothing else."""
    clause = "R7143-11.4.11-01"
    disk, waiting = await shut(peer, ALIVE)
    before = disk.raw.max_cmd_sn
    other = await peer.login(isid=OTHER_ISID)
    await carried_out(other, TaskFunction.LOGICAL_UNIT_RESET)
    while disk.raw.max_cmd_sn == before:
        try:
            await disk.raw.recv(disk.response_time)
        except SilentPeer:
            raise Failed(clause, f"{len(waiting)} commands ended, and no PDU told that there is room again") from None


@case(
    "formats.second-connection-while-recovering",
    clauses={"R7143-4.2.1-03": "formats.one-connection-alone"},
    role=TARGET,
    level=SHOULD,
    needs=OPEN,
)
async def second_while_recovering(peer: Peer) -> None:
    """In a session of one connection a second one is let in to take the place of one that broke."""
    clause = "R7143-4.2.1-03"
    keys = [("MaxConnections", "1"), ("ErrorRecoveryLevel", "0"), ("DefaultTime2Wait", "0")]
    session = await peer.login([*keys, ("DefaultTime2Retain", "20")])
    retained(session)
    drop(session)
    await time2wait(session)
    await (await peer.join(session, 0, clause=clause)).alive(clause)
