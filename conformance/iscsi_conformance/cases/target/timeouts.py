"""Logins that do not begin or do not end (RFC 7143 8.1, transitions T3, T6 and T7; 8.3, N1 and N9)."""

from __future__ import annotations

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.login import OPEN
from iscsi_conformance.clock import passed
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import ALIVE
from iscsi_conformance.verdict import Failed, Inconclusive, Unsupported, require
from iscsi_conformance.wire import Wire
from iscsi_initiator.raw import SilentPeer

TIMED = (Feature.LOGIN_TIME,)
MARGIN = 2.0
"""Seconds by which a target may be late."""
PATIENCE = 120.0
"""Seconds that a case may take: login time-outs are long."""

ISID = bytes.fromhex("807131e00001")


async def ends(peer: Peer, wire: Wire, clause: str, what: str) -> None:
    """The target ends the connection within the time that a login may take."""
    seconds = peer.profile.login_time
    if seconds is None:
        raise Unsupported(Feature.LOGIN_TIME, "the profile names no login_time")
    try:
        await wire.raw.wait_closed(seconds + MARGIN)
    except SilentPeer:
        raise Failed(clause, f"{what}, but it stayed open for {seconds + MARGIN:g} s") from None


@case(
    "timeouts.login-does-not-begin",
    clauses={"R7143-8.1-02": "timeouts.waits-for-a-login"},
    role=TARGET,
    needs=TIMED,
    time_limit=PATIENCE,
)
async def does_not_begin(peer: Peer) -> None:
    """A connection on which no Login Request comes is closed once the time for it is over."""
    wire = await peer.connect()
    await ends(peer, wire, "R7143-8.1-02", "the target closes a connection without a login")


@case(
    "timeouts.login-does-not-end",
    clauses={"R7143-8.1-03": "timeouts.waits-for-the-rest"},
    role=TARGET,
    needs=[*TIMED, *OPEN],
    time_limit=PATIENCE,
)
async def does_not_end(peer: Peer) -> None:
    """A login that was begun and does not go on ends with its connection."""
    clause = "R7143-8.1-03"
    wire = await peer.connect()
    wire.isid = ISID
    response = await wire.exchange_login(wire.login_request(wire.names(), transit=False, nsg=0), clause)
    if response.status_class:
        raise Inconclusive(f"the login is refused with status {response.status:04x}")
    await ends(peer, wire, clause, "the target closes a connection whose login stopped")


@case(
    "timeouts.half-a-request",
    clauses={"R7143-8.1.2-06": "timeouts.waits-for-the-other-half"},
    role=TARGET,
    needs=TIMED,
    time_limit=PATIENCE,
)
async def half_a_request(peer: Peer) -> None:
    """A connection on which half a Login Request came is closed once the time is over, and the next one is served."""
    clause = "R7143-8.1.2-06"
    wire = await peer.connect()
    wire.send(wire.packed(wire.login_request(wire.names()))[:40])
    await ends(peer, wire, clause, "the target closes a connection with half a login")
    await (await peer.login(clause=clause)).alive(clause)


@case(
    "timeouts.login-may-begin-late",
    clauses={"R7143-8.1.2-03": "timeouts.late-login-unanswered"},
    role=TARGET,
    needs=[*TIMED, *OPEN],
    time_limit=PATIENCE,
)
async def may_begin_late(peer: Peer) -> None:
    """A connection that was accepted waits for its login: one that begins within the time is answered."""
    clause = "R7143-8.1.2-03"
    wire = await peer.connect()
    await passed(min(1.0, (peer.profile.login_time or 1.0) / 2))
    response = await wire.exchange_login(wire.login_request(wire.names()), clause)
    require(response.status_class == 0, clause, "the login succeeds", seen=f"{response.status:04x}")


@case(
    "timeouts.failed-login-leaves-nothing",
    clauses={"R7143-8.3-02": "timeouts.failed-login-is-remembered"},
    role=TARGET,
    needs=OPEN,
)
async def leaves_nothing(peer: Peer) -> None:
    """A leading login that breaks off leaves no session: the same initiator port makes one with another CmdSN at once."""
    clause = "R7143-8.3-02"
    wire = await peer.connect()
    wire.isid = ISID
    await wire.exchange_login(wire.login_request(wire.names(), transit=False, nsg=0), ALIVE)
    wire.raw.abort()
    again = await peer.connect()
    again.isid = ISID
    again.raw.cmd_sn = 0x40000000
    login = await again.raw.login(again.names(), isid=ISID, cid=5, timeout=again.response_time)
    require(login.full_feature, clause, "the new login succeeds", seen=login.status)
    require(login.tsih != 0, clause, "the new session has a TSIH")
