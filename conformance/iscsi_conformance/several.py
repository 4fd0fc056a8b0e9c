"""What cases about sessions of several connections share: two of them, and where an answer comes (RFC 7143 4.2.5.1)."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.verdict import Unsupported, require
from iscsi_conformance.wire import Pairs
from iscsi_initiator.raw import Received
from iscsi_protocol.pdu import LogoutReason, LogoutResponse

TWO = (("MaxConnections", "2"),)
ISID = bytes.fromhex("80c011ec7101")


async def two_connections(
    peer: Peer, keys: Pairs = (), *, second: Pairs = (), clause: str | None = None, disk: bool = False, count: int = 2
) -> tuple[Session, Session]:
    """A session of two connections, CIDs 0 and 1. second: the keys of the added one. Raises Unsupported where one is all.

    disk: the logical unit was measured. count: the MaxConnections to ask for.
    """
    asked = [("MaxConnections", str(count)), *keys]
    first = await (peer.disk if disk else peer.login)(asked, isid=ISID)
    if first.agreed_number("MaxConnections") < 2:
        raise Unsupported("multiple-connections", "MaxConnections=1 was agreed on")
    return first, await peer.join(first, 1, second, clause=clause)


async def nothing_on(session: Session, itt: int, clause: str, what: str) -> None:
    """This connection carries nothing of a task that belongs to another: proved by a fence. What else comes is put back."""
    fence = session.ping()
    others: list[Received] = []
    while True:
        received = await session.receive(ALIVE, "the answer to a ping")
        tag = received.raw.initiator_task_tag
        if tag == fence.itt:
            break
        require(tag != itt, clause, what, seen=one_line(received.raw))
        others.append(received)
    for other in others:
        session.put_back(other)


async def close_connection(session: Session, cid: int, clause: str) -> LogoutResponse:
    """Log one connection out, over this or another one; raise Failed unless it succeeds."""
    response = await session.logout(clause, LogoutReason.CLOSE_CONNECTION, cid=cid)
    require(response.response == 0, clause, f"the logout of connection {cid} succeeds", seen=response.response)
    return response
