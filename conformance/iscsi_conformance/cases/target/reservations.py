"""Reservations by initiator port: a port is a name and an ISID, each is a nexus of its own, and what it registered or
reserved is its own again in a new session (RFC 7143 4.4.2, 4.4.3, 11.4, E.2; SPC-4 5.12, SPC-2 5.5).
"""

from __future__ import annotations

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.identity import WRITABLE
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.recovery import drop
from iscsi_conformance.reservation import (
    CLEAR,
    CONFLICT,
    PREEMPT,
    REGISTER,
    RELEASE,
    RESERVE,
    full_status,
    keys_registered,
    registered,
    registration,
    reservation_held,
    reserve_out,
    reserved,
    settle,
)
from iscsi_conformance.session import ALIVE, Session, TaskResult
from iscsi_conformance.several import two_connections
from iscsi_conformance.task_functions import concluded, require_response
from iscsi_conformance.transfer import pattern
from iscsi_conformance.verdict import Inconclusive, Unsupported, require
from iscsi_protocol.pdu import DataIn, ScsiResponse, TaskFunction, TaskResponse
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.persistent import MoveFields, ReservationType, build_move
from iscsi_protocol.scsi.transport_id import TransportId

PORTS = tuple(bytes.fromhex(f"0123456789a{digit}") for digit in range(6))
"""Initiator ports of one node; their sessions' connections have CIDs of the same numbers, to tell them apart."""
KEY = 0x0102030405060708
"""Of which no byte is like its mirror image."""
NEW_KEY = 0x0102030405060709
OTHER_KEY = 0x1122334455667788
ORDERED = 2
CHECK_CONDITION = 2
PREEMPTED = (0x2A03, 0x2A04, 0x2A05)
"""Unit attentions that tell of a preemption (SPC-4 5.12.11)."""

PERSISTENT = (Feature.PERSISTENT_RESERVATIONS, *WRITABLE)
SPC2 = (Feature.SPC2_RESERVATIONS, Feature.SCSI_DISK)
REGISTRANTS = ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY
ALL_REGISTRANTS = ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS
EXCLUSIVE = ReservationType.EXCLUSIVE_ACCESS


async def port(peer: Peer, number: int, cid: int | None = None) -> Session:
    """A session of one of the ports, its logical unit measured and without a unit attention."""
    session = await peer.disk(isid=PORTS[number], cid=number if cid is None else cid)
    await settle(session)
    return session


def good(outcome: TaskResult, what: str) -> None:
    """Raise Inconclusive unless a command that only prepares the case ended well."""
    if outcome.status:
        raise Inconclusive(f"{what} ends with status {outcome.status:#04x}")


async def reserves(session: Session, key: int, kind: ReservationType) -> None:
    """The session's nexus reserves. Raises Unsupported where the type is refused."""
    outcome = await reserved(session, RESERVE, key=key, kind=kind)
    if outcome.status == CHECK_CONDITION:
        raise Unsupported(f"reservation-type-{int(kind)}", "RESERVE of this type ends with CHECK CONDITION")
    good(outcome, "RESERVE")


async def status_of_write(session: Session, clause: str) -> int:
    """The status of a write of one block, once unit attentions are told."""
    await settle(session)
    return (await session.write(clause, pattern(session.block_size))).status


def shut_out(status: int, clause: str, what: str) -> None:
    """The command ended with RESERVATION CONFLICT."""
    require(status == CONFLICT, clause, f"{what}: a conflict (0x18) was due", seen=f"status {status:#04x}")


def let_in(status: int, clause: str, what: str) -> None:
    """The command ended with GOOD."""
    require(status == 0, clause, f"{what}: GOOD was due", seen=f"status {status:#04x}")


# ---- names of ports ----


@case(
    "reservations.port-by-name-and-isid",
    clauses={
        "R7143-4.4.2-02": "reservations.port-of-another-isid",
        "R7143-4.4.2-03": "reservations.port-without-isid",
    },
    role=TARGET,
    needs=PERSISTENT,
    destructive=True,
)
async def port_by_name_and_isid(peer: Peer) -> None:
    """READ FULL STATUS names a registered initiator port by the initiator's name and the bytes of its ISID in order."""
    session = await port(peer, 0)
    async with registration(session, KEY):
        found = await full_status(session, "R7143-4.4.2-03")
    ids = [each.transport_id for each in found if each.key == KEY]
    if not ids:
        raise Inconclusive("READ FULL STATUS does not list the key that was registered")
    require(ids[0].isid is not None, "R7143-4.4.2-03", "the port's name has an ISID", seen=ids[0].name)
    seen = f"{ids[0].name} {(ids[0].isid or b'').hex()}"
    right = (ids[0].name, ids[0].isid) == (session.initiator_name, session.isid)
    require(right, "R7143-4.4.2-02", f"{session.initiator_name} {session.isid.hex()} was due", seen=seen)


@case(
    "reservations.each-port-is-listed",
    clauses={"R7143-4.4.2-02": "reservations.ports-listed-as-one"},
    role=TARGET,
    needs=PERSISTENT,
    destructive=True,
)
async def each_port_is_listed(peer: Peer) -> None:
    """Four ports of one initiator that register one key are four registrations, each with its own ISID."""
    clause = "R7143-4.4.2-02"
    sessions = [await port(peer, number) for number in range(4)]
    async with registration(sessions[0], KEY):
        for session in sessions[1:]:
            await registered(session, KEY)
        found = await full_status(sessions[0], clause)
    isids = sorted((each.transport_id.isid or b"").hex() for each in found if each.key == KEY)
    due = sorted(session.isid.hex() for session in sessions)
    require(isids == due, clause, f"ports {', '.join(due)} were due", seen=", ".join(isids))


# ---- each port is a nexus of its own ----


@case(
    "reservations.key-is-one-ports",
    clauses={"R7143-4.4.3-05": "reservations.key-of-all-ports"},
    role=TARGET,
    needs=PERSISTENT,
    destructive=True,
)
async def key_is_one_ports(peer: Peer) -> None:
    """What one port registered does not let another port of the same initiator in, until that one registers too."""
    clause = "R7143-4.4.3-05"
    holder, path = await port(peer, 0), await port(peer, 1)
    async with registration(holder, KEY):
        await reserves(holder, KEY, REGISTRANTS)
        before = await status_of_write(path, clause)
        await registered(path, KEY)
        after = await status_of_write(path, clause)
    shut_out(before, clause, "a write of a port that is not registered")
    let_in(after, clause, "a write of a port that is registered")


@case(
    "reservations.every-port-is-told",
    clauses={"R7143-4.4.3-05": "reservations.one-port-is-told", "R7143-10.2-01": "reservations.told-without-sense"},
    role=TARGET,
    needs=PERSISTENT,
    destructive=True,
)
async def every_port_is_told(peer: Peer) -> None:
    """A preemption that takes the key of two ports is told to each, by CHECK CONDITION with sense data in its response."""
    winner, *paths = [await port(peer, number) for number in range(3)]
    async with registration(winner, OTHER_KEY):
        for path in paths:
            await registered(path, KEY)
        await reserves(paths[0], KEY, REGISTRANTS)
        good(await reserved(winner, PREEMPT, key=OTHER_KEY, other=KEY, kind=REGISTRANTS), "PREEMPT")
        told = [await path.test_unit_ready(ALIVE) for path in paths]
    for outcome in told:
        seen = f"status {outcome.status:#04x}"
        require(outcome.status == CHECK_CONDITION, "R7143-4.4.3-05", "each port's nexus is told", seen=seen)
        sense = outcome.sense
        require(sense, "R7143-10.2-01", "CHECK CONDITION comes with sense data")
        if sense is None or sense.key != SenseKey.UNIT_ATTENTION or sense.code not in PREEMPTED:
            raise Inconclusive("the unit attention tells of something else")


@case(
    "reservations.release-by-another-port",
    clauses={"R7143-4.4.3-05": "reservations.released-by-another-port"},
    role=TARGET,
    needs=SPC2,
    destructive=True,
)
async def release_by_another_port(peer: Peer) -> None:
    """RELEASE(6) of a port that has not reserved releases nothing, though it is a port of the same initiator."""
    clause = "R7143-4.4.3-05"
    holder, other = await port(peer, 0), await port(peer, 1)
    good(await holder.execute(opcodes.RESERVE_6.build(), ALIVE), "RESERVE(6)")
    good(await other.execute(opcodes.RELEASE_6.build(), ALIVE), "RELEASE(6) of a port that has not reserved")
    still = (await other.test_unit_ready(clause)).status
    good(await holder.execute(opcodes.RELEASE_6.build(), ALIVE), "RELEASE(6)")
    shut_out(still, clause, "the reservation stays")


@case(
    "reservations.one-nexus-of-two-connections",
    clauses={"R7143-6.3.1-04": "reservations.nexus-of-a-connection"},
    role=TARGET,
    needs=[Feature.MULTIPLE_CONNECTIONS, *PERSISTENT],
    destructive=True,
)
async def one_nexus(peer: Peer) -> None:
    """A connection that joined a session shares its reservations: both are one nexus."""
    clause = "R7143-6.3.1-04"
    first, second = await two_connections(peer, disk=True)
    await settle(first)
    async with registration(first, KEY):
        await reserves(first, KEY, EXCLUSIVE)
        status = await status_of_write(second, clause)
    let_in(status, clause, "a write on the session's second connection")


@case(
    "reservations.port-named-by-another",
    clauses={"R7143-4.4.2-03": "reservations.named-port-unknown"},
    role=TARGET,
    needs=PERSISTENT,
    destructive=True,
)
async def port_named_by_another(peer: Peer) -> None:
    """A port that another one registered by its TransportID is registered when it logs in (SPEC_I_PT)."""
    clause = "R7143-4.4.2-03"
    holder = await port(peer, 0)
    async with registration(holder, OTHER_KEY):
        good(await reserved(holder, REGISTER, key=OTHER_KEY), "REGISTER with key 0")
        outcome = await reserved(holder, REGISTER, other=KEY, ports=[PORTS[1]])
        if outcome.status == CHECK_CONDITION:
            raise Unsupported("specify-initiator-ports", "SPEC_I_PT ends with CHECK CONDITION")
        good(outcome, "REGISTER with SPEC_I_PT")
        await reserves(holder, KEY, REGISTRANTS)
        status = await status_of_write(await port(peer, 1), clause)
    let_in(status, clause, "a write of the port that was named")


@case(
    "reservations.moved-to-another-port",
    clauses={"R7143-4.4.2-02": "reservations.moved-nowhere"},
    role=TARGET,
    needs=PERSISTENT,
    destructive=True,
)
async def moved(peer: Peer) -> None:
    """A reservation that its holder moved to a port by its TransportID is that port's (REGISTER AND MOVE)."""
    clause = "R7143-4.4.2-02"
    holder, other = await port(peer, 0), await port(peer, 1)
    async with registration(holder, KEY):
        await reserves(holder, KEY, ReservationType.WRITE_EXCLUSIVE)
        own = [each for each in await full_status(holder, clause) if each.key == KEY]
        if not own:
            raise Inconclusive("READ FULL STATUS does not list the key that was registered")
        fields = MoveFields(key=KEY, service_action_key=OTHER_KEY, relative_target_port=own[0].relative_target_port)
        data = build_move(fields, TransportId(other.initiator_name, other.isid))
        cdb = opcodes.REGISTER_AND_MOVE.build(parameter_list_length=len(data))
        outcome = await holder.execute(cdb, ALIVE, write_data=data)
        if outcome.status == CHECK_CONDITION:
            raise Unsupported("register-and-move", "REGISTER AND MOVE ends with CHECK CONDITION")
        good(outcome, "REGISTER AND MOVE")
        status = await status_of_write(other, clause)
    let_in(status, clause, "a write of the port that the reservation was moved to")


# ---- what outlives a session ----


@case(
    "reservations.key-outlives-session",
    clauses={"R7143-E.2-01": "reservations.key-reversed"},
    role=TARGET,
    needs=PERSISTENT,
    destructive=True,
)
async def key_outlives_session(peer: Peer) -> None:
    """When its session breaks, a port stays registered, with a key of the same bytes."""
    clause = "R7143-E.2-01"
    session = await port(peer, 0)
    await registered(session, KEY)
    drop(session)
    again = await port(peer, 0, cid=5)
    found = await keys_registered(again, clause)
    async with registration(again, KEY):
        pass
    seen = ", ".join(f"{key:016x}" for key in found)
    require(KEY in found, clause, f"key {KEY:016x} was due", seen=seen)


@case(
    "reservations.new-key-after-reinstatement",
    clauses={"R7143-E.2-01": "reservations.holds-by-old-key"},
    role=TARGET,
    needs=PERSISTENT,
    destructive=True,
)
async def new_key(peer: Peer) -> None:
    """A holder whose session was reinstated may change its key, and the reservation's key is the new one."""
    clause = "R7143-E.2-01"
    session = await port(peer, 0)
    await registered(session, KEY)
    await reserves(session, KEY, REGISTRANTS)
    again = await port(peer, 0, cid=5)
    changed = (await reserved(again, REGISTER, key=KEY, other=NEW_KEY)).status
    held = await reservation_held(again, clause)
    async with registration(again, NEW_KEY):
        pass
    let_in(changed, clause, "REGISTER by the key that the port has")
    require(held is not None, clause, "the reservation is there still")
    key = held.key if held else 0
    require(key == NEW_KEY, clause, f"the reservation's key is {NEW_KEY:016x}", seen=f"{key:016x}")


@case(
    "reservations.all-registrants-outlive-maker",
    clauses={"R7143-4.4.3.2-01": "reservations.all-registrants-lost"},
    role=TARGET,
    needs=PERSISTENT,
    destructive=True,
)
async def all_registrants(peer: Peer) -> None:
    """A reservation of all registrants stays when the session of the port that made it breaks and another one leaves."""
    clause = "R7143-4.4.3.2-01"
    maker, left, outsider = [await port(peer, number) for number in range(3)]
    async with registration(left, OTHER_KEY):
        await registered(maker, KEY)
        await reserves(maker, KEY, ALL_REGISTRANTS)
        drop(maker)
        inside = await status_of_write(left, clause)
        good(await reserved(left, REGISTER, key=OTHER_KEY), "REGISTER with key 0")
        outside = await status_of_write(outsider, clause)
    let_in(inside, clause, "a write of another registrant")
    shut_out(outside, clause, "a write of a port that is not registered")


@case(
    "reservations.cluster-arbitration",
    clauses={"R7143-4.4.3.2-01": "reservations.arbitration-finds-nothing"},
    role=TARGET,
    needs=PERSISTENT,
    destructive=True,
)
async def cluster_arbitration(peer: Peer) -> None:
    """A node whose partner's session broke still finds the partner's reservation, preempts it, and keeps the partner out."""
    clause = "R7143-4.4.3.2-01"
    owner, challenger = await port(peer, 0), await port(peer, 1)
    async with registration(challenger, OTHER_KEY):
        good(await reserved(owner, REGISTER, other=KEY), "REGISTER")
        await reserves(owner, KEY, REGISTRANTS)
        keys = await keys_registered(challenger, ALIVE)
        if sorted(keys) != [KEY, OTHER_KEY]:
            raise Inconclusive(f"the keys are {', '.join(f'{key:016x}' for key in keys)}")
        refused = await reserved(challenger, RESERVE, key=OTHER_KEY, kind=REGISTRANTS)
        drop(owner)
        held = await reservation_held(challenger, clause)
        good(await reserved(challenger, PREEMPT, key=OTHER_KEY, other=KEY, kind=REGISTRANTS), "PREEMPT")
        back = await port(peer, 0, cid=5)
        kept_out = await status_of_write(back, clause)
        cleared = await reserved(challenger, CLEAR, key=OTHER_KEY)
        free = await status_of_write(back, clause)
    require(held is not None and held.key == KEY, clause, "the partner's reservation is there", seen=held)
    shut_out(kept_out, clause, "the partner comes back to the challenger's reservation")
    if refused.status != CONFLICT or cleared.status or free:
        raise Inconclusive("RESERVE does not conflict, or CLEAR does not clear")


# ---- resets ----


async def reset_by(session: Session) -> None:
    """A LOGICAL UNIT RESET that succeeds."""
    answer = await concluded(session, session.manage_task(TaskFunction.LOGICAL_UNIT_RESET), ALIVE)
    require_response(answer, "R7143-11.6.1-01", TaskResponse.FUNCTION_COMPLETE, what="LOGICAL UNIT RESET")


@case(
    "reservations.persistent-outlives-reset",
    clauses={"R7143-11.5.1-16": "reservations.reset-ends-persistent"},
    role=TARGET,
    needs=PERSISTENT,
    destructive=True,
)
async def persistent_outlives_reset(peer: Peer) -> None:
    """LOGICAL UNIT RESET leaves a persistent reservation as it is."""
    clause = "R7143-11.5.1-16"
    holder, other = await port(peer, 0), await port(peer, 1)
    async with registration(holder, KEY):
        await reserves(holder, KEY, REGISTRANTS)
        await reset_by(other)
        status = await status_of_write(other, clause)
    shut_out(status, clause, "a write behind the reset")


@case(
    "reservations.reset-ends-reserve",
    clauses={"R7143-11.5.1-16": "reservations.reserve-outlives-reset"},
    role=TARGET,
    needs=SPC2,
    destructive=True,
)
async def reset_ends_reserve(peer: Peer) -> None:
    """LOGICAL UNIT RESET ends a reservation of SPC-2."""
    clause = "R7143-11.5.1-16"
    holder, other = await port(peer, 0), await port(peer, 1)
    good(await holder.execute(opcodes.RESERVE_6.build(), ALIVE), "RESERVE(6)")
    await reset_by(other)
    await settle(other)
    status = (await other.test_unit_ready(clause)).status
    await settle(holder)
    good(await holder.execute(opcodes.RELEASE_6.build(), ALIVE), "RELEASE(6)")
    require(status != CONFLICT, clause, "the reservation is over behind the reset", seen=f"status {status:#04x}")


# ---- responses and order ----


@case(
    "reservations.conflict-is-a-status",
    clauses={
        "R7143-11.4.2-02": "reservations.conflict-as-target-failure",
        "R7143-11.7-03": "reservations.conflict-in-data-in",
        "R7143-11.4.8-02": "reservations.conflict-counts-data",
    },
    role=TARGET,
    needs=PERSISTENT,
    destructive=True,
)
async def conflict_is_a_status(peer: Peer) -> None:
    """A read that meets a reservation ends with a SCSI Response of code 0 that has the status and counts no data."""
    holder, other = await port(peer, 0), await port(peer, 1)
    async with registration(holder, KEY):
        await reserves(holder, KEY, EXCLUSIVE)
        ending = (await other.read("R7143-11.7-03")).ending
    shut_out(ending.status, "R7143-11.7-03", "the read")
    require(isinstance(ending, ScsiResponse), "R7143-11.7-03", "the status comes in a SCSI Response")
    if isinstance(ending, DataIn):
        return
    require(ending.response == 0, "R7143-11.4.2-02", "a status goes with response code 0", seen=ending.response)
    require(ending.exp_data_sn == 0, "R7143-11.4.8-02", "without Data-In ExpDataSN is 0", seen=ending.exp_data_sn)


@case(
    "reservations.conflict-waits-for-data",
    clauses={"R7143-11.4.2-01": "reservations.conflict-before-data"},
    role=TARGET,
    needs=[Feature.UNSOLICITED_DATA, *PERSISTENT],
    destructive=True,
)
async def conflict_waits_for_data(peer: Peer) -> None:
    """A write that meets a reservation is answered behind its last unsolicited Data-Out."""
    clause = "R7143-11.4.2-01"
    keys = [("InitialR2T", "No"), ("ImmediateData", "No")]
    holder, other = await port(peer, 0), await peer.disk(keys, isid=PORTS[1], cid=1)
    await settle(other)
    async with registration(holder, KEY):
        await reserves(holder, KEY, REGISTRANTS)
        length = other.block_size
        cdb = opcodes.WRITE_10.build(lba=0, blocks=1)
        command = other.command(cdb, write=length, final=False)
        await other.silence(clause, "no response while data is due", about=command.itt)
        other.data_out(command, bytes(length))
        outcome = await other.result(command, clause)
    shut_out(outcome.status, clause, "the write")


@case(
    "reservations.in-command-order",
    clauses={"R7143-4.2.2.1-07": "reservations.out-of-order"},
    role=TARGET,
    needs=[Feature.IMMEDIATE_DATA, *PERSISTENT],
    destructive=True,
)
async def in_command_order(peer: Peer) -> None:
    """RESERVE that is sent before the REGISTER of a lower CmdSN is carried out behind it."""
    clause = "R7143-4.2.2.1-07"
    session = await peer.disk([("ImmediateData", "Yes")], isid=PORTS[0])
    await settle(session)
    async with registration(session, KEY):
        good(await reserved(session, REGISTER, key=KEY), "REGISTER with key 0")
        gap = session.raw.next_cmd_sn()
        late, late_data = reserve_out(session, RESERVE, key=KEY, kind=REGISTRANTS, attribute=ORDERED)
        early, data = reserve_out(session, REGISTER, other=KEY, cmd_sn=gap, attribute=ORDERED)
        good(await session.result(early, ALIVE, write_data=data), "REGISTER")
        status = (await session.result(late, clause, write_data=late_data)).status
        await reserved(session, RELEASE, key=KEY, kind=REGISTRANTS)
    let_in(status, clause, "RESERVE with the key of the REGISTER before it")
