"""What becomes of reservations with their I_T nexus, and the fence of PREEMPT AND ABORT (RFC 7143 4.4.3.2, 6.3.5.1, E.2)."""

from __future__ import annotations

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.connections import SEVERAL, TUR
from iscsi_conformance.cases.target.fences import fenced
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.recovery import acknowledge, drop, retained, time2wait, withholding
from iscsi_conformance.reservation import (
    CONFLICT,
    PREEMPT_AND_ABORT,
    RESERVE,
    registered,
    registration,
    reserve_out,
    reserved,
)
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.several import nothing_on
from iscsi_conformance.transfer import pattern
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_protocol.scsi import opcodes

HOLDER_ISID = bytes.fromhex("809e8050000a")
OTHER_ISID = bytes.fromhex("809e8050000b")
QUICK = (("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "1"))
MARGIN = 1
KEY = 0x1122334455667788
OTHER_KEY = 0x99AABBCCDDEEFF00
OTHER_CID = 1
"""Of the session that looks on: a CID has no meaning there but to tell the connections apart."""

SPC2 = (Feature.SPC2_RESERVATIONS, Feature.SCSI_DISK)
PERSISTENT = (Feature.PERSISTENT_RESERVATIONS, Feature.SCSI_DISK, Feature.WRITABLE_LUN)


async def onlooker(peer: Peer) -> Session:
    """Another initiator port's session, without a unit attention."""
    session = await peer.disk(isid=OTHER_ISID, cid=OTHER_CID)
    await session.test_unit_ready(ALIVE)
    return session


async def holder(peer: Peer, other: Session) -> Session:
    """A session that has reserved the logical unit as in SPC-2, so that the other one meets a conflict."""
    session = await peer.disk(QUICK, isid=HOLDER_ISID)
    outcome = await session.execute(opcodes.RESERVE_6.build(), ALIVE)
    if outcome.status or (await other.test_unit_ready(ALIVE)).status != CONFLICT:
        raise Inconclusive("RESERVE(6) does not keep another session out")
    return session


async def free_again(other: Session, clause: str, when: str) -> None:
    """The other session meets no reservation; a unit attention may come first."""
    status = (await other.test_unit_ready(clause)).status
    require(status != CONFLICT, clause, f"the reservation is over {when}", seen=f"status {status:#04x}")


@case(
    "nexus.closure-is-a-loss",
    clauses={"R7143-6.3.5.1-01": "nexus.loss-untold"},
    role=TARGET,
    needs=SPC2,
    destructive=True,
)
async def closure_is_a_loss(peer: Peer) -> None:
    """A reservation of SPC-2 ends with its session: when that is closed, reinstated, or times out."""
    clause = "R7143-6.3.5.1-01"
    other = await onlooker(peer)
    session = await holder(peer, other)
    await session.logout(ALIVE)
    await free_again(other, clause, "behind the logout")
    await holder(peer, other)
    again = await peer.login(isid=HOLDER_ISID)
    await free_again(other, clause, "behind session reinstatement")
    again.raw.close()
    session = await holder(peer, other)
    seconds = retained(session)
    drop(session)
    await time2wait(session)
    await time2wait(session, seconds + MARGIN)
    await free_again(other, clause, "behind the session's time-out")


async def write(session: Session, clause: str) -> int:
    """The status of a write of one block, once unit attentions are told."""
    for _ in range(3):
        outcome = await session.write(clause, pattern(session.block_size))
        if outcome.status != 2:
            break
    return outcome.status


@case(
    "nexus.persistent-reservation-outlives-it",
    clauses={"R7143-4.4.3.2-01": "nexus.reservation-lost", "R7143-E.2-01": "nexus.holder-unknown"},
    role=TARGET,
    needs=PERSISTENT,
    destructive=True,
)
async def persistent_outlives(peer: Peer) -> None:
    """A persistent reservation outlives its session: it keeps others out, and lets its holder's port in again."""
    other = await onlooker(peer)
    session = await peer.disk(isid=HOLDER_ISID)
    await registered(session, KEY)
    outcome = await reserved(session, RESERVE, key=KEY)
    await session.logout(ALIVE)
    session.raw.close()
    kept_out = await write(other, "R7143-4.4.3.2-01")
    again = await peer.disk(isid=HOLDER_ISID, cid=2)
    async with registration(again, KEY):
        let_in = await write(again, "R7143-E.2-01")
    if outcome.status:
        raise Inconclusive(f"RESERVE ends with status {outcome.status:#04x}")
    require(kept_out == CONFLICT, "R7143-4.4.3.2-01", "a conflict (0x18) was due", seen=f"{kept_out:#04x}")
    require(let_in == 0, "R7143-E.2-01", "the holder's port may write", seen=f"status {let_in:#04x}")


@case(
    "nexus.preempt-and-abort-is-fenced",
    clauses={"R7143-4.2.2.3.4-06": "nexus.preemption-at-once"},
    role=TARGET,
    needs=[*SEVERAL, *PERSISTENT, Feature.RESPONSE_FENCE],
    destructive=True,
)
async def preempt_and_abort(peer: Peer) -> None:
    """The response to PREEMPT AND ABORT waits for what is not acknowledged on another connection of its session."""
    clause = "R7143-4.2.2.3.4-06"
    other = await peer.disk(isid=OTHER_ISID, cid=3)
    await registered(other, OTHER_KEY)
    first, second = await fenced(peer)
    async with registration(first, KEY):
        await first.alive()
        acknowledge(first)
        with withholding(second):
            await second.result(second.command(TUR), ALIVE)
            sent, data = reserve_out(first, PREEMPT_AND_ABORT, key=KEY, other=OTHER_KEY)
            await second.alive()
            await nothing_on(first, sent.itt, clause, "the response waits for what is not acknowledged elsewhere")
        await second.alive()
        acknowledge(second)
        outcome = await first.result(sent, clause, write_data=data)
    if outcome.status:
        raise Inconclusive(f"PREEMPT AND ABORT ends with status {outcome.status:#04x}")
