"""The identity of a session's connections: all of them prove the same one (RFC 7143 9.2)."""

from __future__ import annotations

from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.cases.target.login import outcome
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.profile import ChapLogin
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import Unsupported, require
from iscsi_protocol.pdu import LoginStatus

ISID = bytes.fromhex("80c11a900001")
NEEDS = (Feature.CHAP, Feature.MULTIPLE_CONNECTIONS)


async def authenticated(peer: Peer) -> Session:
    """A session with the node that demands CHAP, which may have two connections."""
    name = peer.node("chap_target", Feature.CHAP)
    session = await peer.login([("MaxConnections", "2")], chap=peer.profile.chap, target_name=name, isid=ISID)
    if session.agreed_number("MaxConnections") < 2:
        raise Unsupported(Feature.MULTIPLE_CONNECTIONS, "MaxConnections=1 was agreed on")
    return session


async def refused(peer: Peer, session: Session, chap: ChapLogin | None, clause: str, what: str) -> None:
    """A further connection that authenticates so is refused with 0201, and the session goes on."""
    _, login = await peer.try_login(into=session, cid=1, chap=chap)
    failed = login.status in (LoginStatus.AUTHENTICATION_FAILURE, LoginStatus.CANNOT_INCLUDE_IN_SESSION)
    require(failed, clause, what, seen=outcome(login))
    await session.alive(clause)


@case(
    "connection-identity.same-one-joins",
    clauses={"R7143-9.2-12": "connection-identity.one-proof-a-session"},
    role=TARGET,
    level=SHOULD,
    needs=NEEDS,
)
async def same_one_joins(peer: Peer) -> None:
    """A further connection that proves the session's identity joins it."""
    clause = "R7143-9.2-12"
    session = await authenticated(peer)
    second = await peer.join(session, 1, chap=peer.profile.chap, clause=clause)
    await second.alive(clause)


@case(
    "connection-identity.another-one-is-refused",
    clauses={"R7143-9.2-13": "connection-identity.anybody-joins"},
    role=TARGET,
    level=SHOULD,
    needs=NEEDS,
)
async def another_one_is_refused(peer: Peer) -> None:
    """A further connection that proves another identity is refused with an authentication failure."""
    if peer.profile.other_chap is None:
        raise Unsupported("other-chap", "the profile names no other_chap")
    session = await authenticated(peer)
    await refused(peer, session, peer.profile.other_chap, "R7143-9.2-13", "another identity does not join")


@case(
    "connection-identity.unproven-one-is-refused",
    clauses={"R7143-9.2-14": "connection-identity.nobody-joins"},
    role=TARGET,
    level=SHOULD,
    needs=NEEDS,
)
async def unproven_one_is_refused(peer: Peer) -> None:
    """A further connection without authentication does not join an authenticated session."""
    session = await authenticated(peer)
    await refused(peer, session, None, "R7143-9.2-14", "an unauthenticated connection does not join")
