"""Which session a login leads to: ISID, TSIH and CID, reinstatement, discovery and port names (RFC 7143 4.4, 6.3.1 to 6.3.6,
7.4.2).
"""

from __future__ import annotations

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.login import OPEN, outcome, partial, ping, responses
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import Inconclusive, Unsupported, require
from iscsi_conformance.wire import value_of
from iscsi_protocol.negotiation.keys import KEYS, Use
from iscsi_protocol.pdu import R2T, LoginStatus, ScsiCommand, ScsiResponse, Stage
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.designators import Association, Designator, DesignatorType, parse_designators

ISIDS = tuple(bytes.fromhex(text) for text in ("00023d000001", "4000013700ff", "80beef000001", "80beef000002"))
"""Initiator ports by OUI, by enterprise number, and two at random (11.12.5)."""

NO_SESSION = 0x7EEE
"""A TSIH that is unlikely to be any session's."""

WRITABLE = (Feature.SCSI_DISK, Feature.WRITABLE_LUN)


def refused(status: int | None, clause: str, *statuses: int) -> None:
    """Fail unless a login ended with one of these."""
    wanted = " or ".join(f"{each:04x}" for each in statuses)
    seen = "no answer" if status is None else f"{status:04x}"
    require(status in statuses, clause, f"status {wanted} was due", seen=seen)


async def begin_write(session: Session, clause: str) -> tuple[ScsiCommand, R2T]:
    """A write of one block whose data the target has asked for, and that was not sent."""
    cdb = opcodes.WRITE_10.build(lba=0, blocks=1)
    command = session.command(cdb, write=session.block_size)
    return command, await session.expect(R2T, clause, itt=command.itt)


async def no_status(session: Session, command: ScsiCommand, r2t: R2T, clause: str) -> None:
    """The write does not end: its connection is gone, or the data that it waited for brings no response."""
    if session.raw.closed is None:
        session.data_out(command, bytes(session.block_size), r2t=r2t)
    received = await session.receive_or_none()
    while received is not None:
        ended = isinstance(received.pdu, ScsiResponse) and received.pdu.itt == command.itt
        require(not ended, clause, "a task that was ended has no response")
        received = await session.receive_or_none()


NO_UNSOLICITED = (("InitialR2T", "Yes"), ("ImmediateData", "No"))


@case(
    "identity.new-isid-makes-a-session",
    clauses={
        "R7143-6.3.1-02": "identity.one-isid-for-all",
        "R7143-4.4.3-02": "login.final-response-without-tsih",
    },
    role=TARGET,
)
async def new_isid_makes_a_session(peer: Peer) -> None:
    """A login with an ISID that is new and TSIH 0 makes a session of its own, with a TSIH, beside the one that is there."""
    first = await peer.login(isid=ISIDS[2])
    second = await peer.login(isid=ISIDS[3], clause="R7143-6.3.1-02")
    require(first.tsih and second.tsih, "R7143-4.4.3-02", "each session has a TSIH that is not 0")
    await first.alive("R7143-6.3.1-02")
    await second.alive("R7143-6.3.1-02")


@case(
    "identity.several-initiator-ports",
    clauses={"R7143-4.4.3-05": "identity.one-isid-for-all"},
    role=TARGET,
)
async def several_initiator_ports(peer: Peer) -> None:
    """Several ISIDs, of all three types, give as many sessions with one portal group."""
    clause = "R7143-4.4.3-05"
    sessions = [await peer.login(isid=isid, clause=clause) for isid in ISIDS]
    for session in sessions:
        await session.alive(clause)


@case(
    "identity.session-is-reinstated",
    clauses={"R7143-6.3.1-03": "identity.keeps-the-old-session"},
    role=TARGET,
)
async def session_is_reinstated(peer: Peer) -> None:
    """A login with a known ISID and TSIH 0 ends the old session and makes a new one in its place."""
    clause = "R7143-6.3.1-03"
    old = await peer.login(isid=ISIDS[2])
    new = await peer.login(isid=ISIDS[2], clause=clause)
    await old.expect_closed(clause, "the connection of the old session ends")
    await new.alive(clause)


@case(
    "identity.reinstatement-ends-tasks",
    clauses={"R7143-6.3.5-02": "identity.keeps-the-old-session"},
    role=TARGET,
    needs=WRITABLE,
    destructive=True,
)
async def reinstatement_ends_tasks(peer: Peer) -> None:
    """Session reinstatement ends a write of the old session, of which nothing more is heard."""
    clause = "R7143-6.3.5-02"
    old = await peer.disk(NO_UNSOLICITED, isid=ISIDS[2])
    command, r2t = await begin_write(old, clause)
    new = await peer.login(isid=ISIDS[2], clause=clause)
    await no_status(old, command, r2t, clause)
    await new.silence(clause, "the old session's task has no response", about=command.itt)


@case(
    "identity.new-isid-with-tsih",
    clauses={
        "R7143-6.3.1-01": "identity.joins-what-is-not-there",
        "R7143-11.13.5-20": "identity.no-session-other-status",
    },
    role=TARGET,
    needs=OPEN,
)
async def new_isid_with_tsih(peer: Peer) -> None:
    """A login with an ISID that is new and a TSIH is refused: there is no such session."""
    _, login = await peer.try_login(isid=ISIDS[2], tsih=NO_SESSION)
    require(login.status, "R7143-6.3.1-01", "a session that does not exist cannot be joined", seen=outcome(login))
    refused(login.status, "R7143-11.13.5-20", LoginStatus.SESSION_DOES_NOT_EXIST)


@case(
    "identity.known-isid-with-other-tsih",
    clauses={"R7143-6.3.1-06": "identity.joins-what-is-not-there"},
    role=TARGET,
    needs=OPEN,
)
async def known_isid_with_other_tsih(peer: Peer) -> None:
    """A login with a known ISID and a TSIH that is not its session's is refused with 020a, and the session goes on."""
    clause = "R7143-6.3.1-06"
    session = await peer.login(isid=ISIDS[2])
    other = NO_SESSION if session.tsih != NO_SESSION else NO_SESSION - 1
    _, login = await peer.try_login(isid=ISIDS[2], tsih=other)
    refused(login.status, clause, LoginStatus.SESSION_DOES_NOT_EXIST)
    await session.alive(clause)


@case(
    "identity.tsih-of-the-first-request",
    clauses={"R7143-11.12.6-04": "identity.overlooks-the-tsih"},
    role=TARGET,
    needs=OPEN,
)
async def tsih_of_the_first_request(peer: Peer) -> None:
    """The TSIH of a login's first request is looked for among the sessions: another session's is not the initiator port's."""
    clause = "R7143-11.12.6-04"
    session = await peer.login(isid=ISIDS[2])
    _, login = await peer.try_login(isid=ISIDS[3], tsih=session.tsih, change=partial)
    refused(login.status, clause, LoginStatus.SESSION_DOES_NOT_EXIST)
    await session.alive(clause)


@case(
    "identity.closed-session-is-gone",
    clauses={"R7143-8.3.4-04": "identity.joins-what-is-not-there"},
    role=TARGET,
    needs=OPEN,
)
async def closed_session_is_gone(peer: Peer) -> None:
    """A session that was logged out cannot be joined: its TSIH is refused with 020a."""
    clause = "R7143-8.3.4-04"
    session = await peer.login(isid=ISIDS[2])
    response = await session.logout(clause)
    require(response.response == 0, clause, "the session is closed", seen=f"response {response.response}")
    session.raw.close()
    _, login = await peer.try_login(isid=ISIDS[2], tsih=session.tsih)
    refused(login.status, clause, LoginStatus.SESSION_DOES_NOT_EXIST)


@case(
    "identity.connection-is-reinstated",
    clauses={
        "R7143-6.3.4-03": "identity.one-connection-for-ever",
        "R7143-6.3.1-05": "identity.makes-a-session-instead",
    },
    touches=["R7143-4.2.1-03"],
    role=TARGET,
    needs=OPEN,
)
async def connection_is_reinstated(peer: Peer) -> None:
    """A login with ISID, TSIH and CID of a connection brings a connection into the same session."""
    old = await peer.login(isid=ISIDS[2], cid=3)
    wire, login = await peer.try_login(isid=ISIDS[2], tsih=old.tsih, cid=3)
    require(login.full_feature, "R7143-6.3.4-03", "a second connection is let in", seen=outcome(login))
    same = login.tsih == old.tsih
    require(same, "R7143-6.3.1-05", f"the session is the one of TSIH {old.tsih:#x}", seen=f"{login.tsih:#x}")
    await ping(wire, "R7143-6.3.1-05")


@case(
    "identity.old-connection-is-logged-out",
    clauses={"R7143-11.12.7-03": "identity.makes-a-session-instead"},
    role=TARGET,
)
async def old_connection_is_logged_out(peer: Peer) -> None:
    """The connection whose TSIH and CID another one logs in with is logged out thereby."""
    clause = "R7143-11.12.7-03"
    old = await peer.login(isid=ISIDS[2])
    new = await peer.login(isid=ISIDS[2], tsih=old.tsih)
    await old.expect_closed(clause, "the connection of the same CID ends")
    await new.alive(clause)


@case(
    "identity.joined-login-has-the-tsih",
    clauses={
        "R7143-4.4.3-03": "identity.joins-under-another-tsih",
        "R7143-13-01": "identity.negotiates-leading-keys-again",
    },
    role=TARGET,
    needs=OPEN,
)
async def joined_login_has_the_tsih(peer: Peer) -> None:
    """All responses of a login into a session have its TSIH, and none has a key of the leading connection alone."""
    old = await peer.login(isid=ISIDS[2])
    _, login = await peer.try_login(isid=ISIDS[2], tsih=old.tsih, change=partial)
    if not login.full_feature:
        raise Inconclusive(f"no connection can be reinstated ({outcome(login)})")
    handles = {response.tsih for response in responses(login)}
    require(handles == {old.tsih}, "R7143-4.4.3-03", f"TSIH {old.tsih:#x} all along", seen=sorted(handles))
    leading = [key for key, _ in login.pairs if key in KEYS and KEYS[key].target_use is Use.LEADING_ONLY]
    require(not leading, "R7143-13-01", "keys of the leading connection are not said again", seen=leading)


@case(
    "identity.connection-reinstatement-ends-tasks",
    clauses={"R7143-6.3.4-04": "identity.makes-a-session-instead"},
    role=TARGET,
    needs=WRITABLE,
    destructive=True,
)
async def connection_reinstatement_ends_tasks(peer: Peer) -> None:
    """Below recovery level 2 a reinstated connection's write ends, and nothing more is heard of it."""
    clause = "R7143-6.3.4-04"
    old = await peer.disk([*NO_UNSOLICITED, ("ErrorRecoveryLevel", "0")], isid=ISIDS[2])
    command, r2t = await begin_write(old, clause)
    new = await peer.login(isid=ISIDS[2], tsih=old.tsih)
    await no_status(old, command, r2t, clause)
    await new.silence(clause, "a task of the old connection has no response", about=command.itt)


@case(
    "identity.reinstatement-at-any-time",
    clauses={"R7143-7.15-02": "identity.deaf-to-reinstatement"},
    role=TARGET,
    needs=[*OPEN, *WRITABLE],
    destructive=True,
)
async def reinstatement_at_any_time(peer: Peer) -> None:
    """Connection and session are reinstated while a write waits for data, one login behind the other."""
    clause = "R7143-7.15-02"
    old = await peer.disk(NO_UNSOLICITED, isid=ISIDS[2])
    await begin_write(old, clause)
    wire = await peer.connect()
    wire.isid = ISIDS[2]
    response = await wire.exchange_login(wire.login_request(wire.names(leading=False), tsih=old.tsih), clause)
    require(response.status_class in (0, 2), clause, "the login is answered", seen=f"{response.status:04x}")
    new = await peer.login(isid=ISIDS[2], clause=clause)
    await new.alive(clause)


@case(
    "identity.session-outlives-its-connection",
    clauses={"R7143-6.3.6-01": "identity.makes-a-session-instead"},
    role=TARGET,
    needs=OPEN,
)
async def session_outlives_its_connection(peer: Peer) -> None:
    """Within Time2Retain of a connection's loss another one with its CID continues the session."""
    clause = "R7143-6.3.6-01"
    old = await peer.login([("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "20")], isid=ISIDS[2])
    if not old.agreed_number("DefaultTime2Retain"):
        raise Inconclusive("the session is not retained: DefaultTime2Retain=0 was agreed on")
    old.raw.abort()
    quiet = await peer.connect()
    await quiet.receive_or_none(within=old.agreed_number("DefaultTime2Wait"))  # no recovery before Time2Wait (7.5)
    new = await peer.login(isid=ISIDS[2], tsih=old.tsih, clause=clause)
    require(new.tsih == old.tsih, clause, f"the session is the one of TSIH {old.tsih:#x}", seen=f"{new.tsih:#x}")
    await new.alive(clause)


@case(
    "identity.too-many-connections",
    clauses={"R7143-11.13.5-08": "identity.too-many-other-status"},
    role=TARGET,
    needs=OPEN,
)
async def too_many_connections(peer: Peer) -> None:
    """In a session of one connection further CIDs are refused with 0206; one more may be let in for recovery."""
    clause = "R7143-11.13.5-08"
    session = await peer.login([("MaxConnections", "1")], isid=ISIDS[2])
    for cid in (1, 2):
        _, login = await peer.try_login(isid=ISIDS[2], tsih=session.tsih, cid=cid)
        if login.status:
            break
    refused(login.status, clause, LoginStatus.TOO_MANY_CONNECTIONS)


@case(
    "identity.other-portal-group",
    clauses={"R7143-11.13.5-10": "identity.other-group-other-status"},
    role=TARGET,
    needs=[Feature.SECOND_PORTAL, *OPEN],
)
async def other_portal_group(peer: Peer) -> None:
    """A connection through a portal of another group is refused with 0208, or because no session is known there."""
    clause = "R7143-11.13.5-10"
    session = await peer.login(isid=ISIDS[2])
    wire = await peer.connect(portal=1)
    request = wire.login_request(wire.names(("AuthMethod", "None")), csg=Stage.SECURITY, nsg=0, transit=False)
    here, there = (
        session.login.value("TargetPortalGroupTag"),
        value_of(await wire.exchange_login(request, clause), "TargetPortalGroupTag"),
    )
    if here == there:
        raise Unsupported(Feature.SECOND_PORTAL, f"both portals are of group {here}")
    _, login = await peer.try_login(isid=ISIDS[2], tsih=session.tsih, cid=1, portal=1)
    refused(login.status, clause, LoginStatus.CANNOT_INCLUDE_IN_SESSION, LoginStatus.SESSION_DOES_NOT_EXIST)
    await session.alive(clause)


# ---- discovery sessions (7.4.2) ----


async def discovering(peer: Peer, clause: str | None = None, *, portal: int = 0, named: bool = False) -> Session:
    """A discovery session of one initiator port; named: for the target under test alone."""
    keys = [("TargetName", peer.target_name)] if named else []
    return await peer.login(keys, session_type="Discovery", isid=ISIDS[2], portal=portal, clause=clause)


async def still_discovers(session: Session, clause: str) -> None:
    """The discovery session answers SendTargets."""
    response = await session.text_exchange(clause, ("SendTargets", "All"))
    require(b"TargetName=" in response.data, clause, "SendTargets is answered with a target")


@case(
    "identity.discovery-is-reinstated",
    clauses={"R7143-7.4.2.1-05": "identity.keeps-the-old-session"},
    role=TARGET,
    needs=[Feature.DISCOVERY],
)
async def discovery_is_reinstated(peer: Peer) -> None:
    """A discovery login of the same name and ISID at the same portal ends the discovery session that is there."""
    clause = "R7143-7.4.2.1-05"
    old = await discovering(peer)
    new = await discovering(peer, clause)
    await old.expect_closed(clause, "the connection of the old discovery session ends")
    await still_discovers(new, clause)


@case(
    "identity.named-discovery-is-reinstated",
    clauses={"R7143-7.4.2.2-01": "identity.keeps-the-old-session"},
    role=TARGET,
    needs=[Feature.DISCOVERY],
)
async def named_discovery_is_reinstated(peer: Peer) -> None:
    """For discovery sessions that name a target the ISID rule holds as for normal ones."""
    clause = "R7143-7.4.2.2-01"
    old = await discovering(peer, named=True)
    await discovering(peer, clause, named=True)
    await old.expect_closed(clause, "the connection of the old discovery session ends")


@case(
    "identity.discovery-goes-by-name",
    clauses={"R7143-7.4.2.1-01": "identity.one-discoverer"},
    role=TARGET,
    needs=[Feature.DISCOVERY],
)
async def discovery_goes_by_name(peer: Peer) -> None:
    """Discovery sessions of two initiators with the same ISID stand side by side."""
    clause = "R7143-7.4.2.1-01"
    first = await discovering(peer)
    wire = await peer.connect()
    names = [("InitiatorName", f"{wire.initiator_name}-two"), ("SessionType", "Discovery")]
    response = await wire.exchange_login(wire.login_request(names, isid=ISIDS[2]), clause)
    if response.status_class:
        raise Inconclusive(f"a second initiator is not let in (status {response.status:04x})")
    await still_discovers(first, clause)


@case(
    "identity.discovery-at-two-portals",
    clauses={"R7143-7.4.2.1-04": "identity.one-discovery-for-all-portals"},
    role=TARGET,
    needs=[Feature.DISCOVERY, Feature.SECOND_PORTAL],
)
async def discovery_at_two_portals(peer: Peer) -> None:
    """A discovery login at another portal leaves the session at the first one alone."""
    clause = "R7143-7.4.2.1-04"
    first = await discovering(peer)
    second = await discovering(peer, clause, portal=1)
    await still_discovers(second, clause)
    await still_discovers(first, clause)


@case(
    "identity.discoveries-are-independent",
    clauses={
        "R7143-7.4.2.1-03": "identity.one-discovery-for-all-portals",
        "R7143-7.4.2.1-02": "identity.one-discovery-at-a-time",
    },
    role=TARGET,
    needs=[Feature.DISCOVERY, Feature.SECOND_PORTAL],
)
async def discoveries_are_independent(peer: Peer) -> None:
    """Of two discovery sessions at two portals, both begun alike, one ends and the other goes on."""
    first = await discovering(peer)
    second = await discovering(peer, "R7143-7.4.2.1-02", portal=1)
    await second.logout("R7143-7.4.2.1-02")
    await still_discovers(first, "R7143-7.4.2.1-03")


@case(
    "identity.discovery-is-simple",
    clauses={
        "R7143-7.4.1-01": "identity.discovery-with-recovery",
        "R7143-13.21-02": "identity.discovery-with-connections",
    },
    role=TARGET,
    needs=[Feature.DISCOVERY],
)
async def discovery_is_simple(peer: Peer) -> None:
    """Whatever is offered, a discovery session has recovery level 0 and one connection."""
    session = await peer.discovery([("ErrorRecoveryLevel", "2"), ("MaxConnections", "8")])
    level = session.login.value("ErrorRecoveryLevel")
    require(level == "0", "R7143-7.4.1-01", "ErrorRecoveryLevel=0 was due", seen=level)
    connections = session.login.value("MaxConnections")
    one = connections in ("1", "Irrelevant", "Reject", None)
    require(one, "R7143-13.21-02", "one connection was due", seen=connections)


# ---- names of device and ports in SCSI parameter data (4.4.2) ----


async def scsi_names(session: Session, clause: str, association: int) -> list[Designator]:
    """The SCSI name strings of the device identification page. Raises Unsupported where there is none."""
    cdb = opcodes.INQUIRY.build(evpd=1, page_code=0x83, allocation_length=4096)
    page = (await session.execute(cdb, clause, read=4096)).data
    names = [
        each
        for each in parse_designators(page[4:])
        if each.designator_type == DesignatorType.SCSI_NAME_STRING and each.association == association
    ]
    if not names:
        raise Unsupported(Feature.SCSI_DISK, "the device identification page has no SCSI name string of this kind")
    return names


@case(
    "identity.device-name",
    clauses={"R7143-4.4.2-01": "identity.other-device-name"},
    role=TARGET,
    needs=[Feature.SCSI_DISK],
)
async def device_name(disk: Session) -> None:
    """The SCSI device name in the device identification page is the name of the node."""
    clause = "R7143-4.4.2-01"
    for name in await scsi_names(disk, clause, Association.TARGET_DEVICE):
        require(name.text == disk.target_name, clause, f"the device is {disk.target_name}", seen=name.text)


@case(
    "identity.port-name",
    clauses={"R7143-4.4.2-02": "identity.port-of-another-group", "R7143-4.4.2-03": "identity.port-without-label"},
    role=TARGET,
    needs=[Feature.SCSI_DISK],
)
async def port_name(disk: Session) -> None:
    """The target port name is the node's name, ",t,0x" and the portal group tag in four hex digits, ended by a NUL."""
    group = int(disk.login.value("TargetPortalGroupTag") or "0", 0)
    for port in await scsi_names(disk, "R7143-4.4.2-03", Association.TARGET_PORT):
        name, label, tag = [*port.text.split(","), "", ""][:3]
        shaped = label == "t" and tag[:2] in ("0x", "0X") and len(tag) == 6 and port.value[-1:] == b"\0"
        require(shaped, "R7143-4.4.2-03", "a name, t, and a hex constant of 7 bytes", seen=port.text)
        right = name == disk.target_name and int(tag, 16) == group
        require(right, "R7143-4.4.2-02", f"the port of {disk.target_name} in group {group}", seen=port.text)
