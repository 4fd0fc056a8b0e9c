"""Whether the product can be reached, lets the tester in, and has the logical unit that cases use.

Nothing is written to it, and no wrong secret is tried: the logins are those that a run makes too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from iscsi_conformance.doctor.check import Check, bad, ok, warn
from iscsi_conformance.peer import Environment, Peer
from iscsi_conformance.profile import ChapLogin
from iscsi_conformance.recorder import Recorder
from iscsi_conformance.remedy import ANY_REMEDY, CONNECT_REMEDIES, LUN_REMEDY, listed_luns, login_remedy, numbered
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.verdict import Outcome, Unsupported
from iscsi_conformance.wire import pairs_of
from iscsi_initiator.transport import ConnectFailed
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.lun import decode_lun


async def product(environment: Environment) -> AsyncIterator[Check]:
    """Every check of the product; those that build on one that failed are left out."""
    standing = True
    for endpoint in environment.endpoints:
        check = await reach(environment, endpoint)
        standing = standing and check.remedy == ""
        yield check
    if not standing:
        return
    peer = Peer(environment, Recorder())
    try:
        yield await discovery(peer)
        check, session = await access(peer)
        yield check
        for title, node, login in _logins(peer):
            yield await chap(peer, title, node, login)
        if session is not None:
            async for check in logical_unit(session, destructive=environment.profile.destructive):
                yield check
    finally:
        await peer.close()


class _Deaf:
    """A receiver for a connection that nobody wants anything of."""

    def room(self) -> memoryview | None:
        """Nothing is wanted."""
        return None

    def data_received(self, view: memoryview, placed: int = 0) -> None:
        """Nothing is wanted."""

    def connection_lost(self, reason: TransportEvent) -> None:
        """Nothing is wanted."""

    def send_failed(self, error: int) -> None:
        """Nothing is sent."""

    def writable(self) -> None:
        """Nothing is sent."""


async def reach(environment: Environment, endpoint: Endpoint) -> Check:
    """Whether a portal takes connections."""
    try:
        transport = await environment.connector.connect(endpoint, _Deaf())
    except ConnectFailed as error:
        return bad(f"portal {endpoint}", error.event.value, CONNECT_REMEDIES.get(error.event, ANY_REMEDY))
    transport.close()
    return ok(f"portal {endpoint}", "takes connections")


async def discovery(peer: Peer) -> Check:
    """Whether a discovery session lists the target under test."""
    try:
        session = await peer.discovery()
        answer = await session.text_exchange(ALIVE, ("SendTargets", "All"))
    except Outcome as outcome:
        return warn("discovery", outcome.reason, "allow discovery sessions, or leave the cases about it out")
    names = [value for key, value in pairs_of(answer) if key == "TargetName"]
    wanted = peer.profile.target_name
    if answer.continued or wanted in names:
        return ok("discovery", f"{len(names)} targets are listed")
    listed = ", ".join(names) or "none"
    return warn("discovery", f"{wanted} is not listed; there are: {listed}", "correct --target-name, or allow access")


async def access(peer: Peer) -> tuple[Check, Session | None]:
    """Whether the target under test lets the tester in."""
    try:
        session = await peer.login()
    except Unsupported as outcome:
        return bad("access", outcome.reason, "give --target-name"), None
    except Outcome as outcome:
        return bad("access", outcome.reason, login_remedy(peer)), None
    return ok("access", f"{peer.profile.initiator_name} is let into {peer.target_name}"), session


def _logins(peer: Peer) -> list[tuple[str, str, ChapLogin]]:
    """The further CHAP logins that the profile promises: title, target node, secrets."""
    profile = peer.profile
    rows = [("CHAP", profile.chap_target, profile.chap), ("mutual CHAP", profile.mutual_target, profile.mutual)]
    return [(title, node, login) for title, node, login in rows if node is not None and login is not None]


async def chap(peer: Peer, title: str, node: str, login: ChapLogin) -> Check:
    """Whether the secrets of the profile open the node."""
    try:
        await peer.login(target_name=node, chap=login)
    except Outcome as outcome:
        return bad(title, f"{node}: {outcome.reason}", login_remedy(peer))
    return ok(title, f"{login.user} is let into {node}")


async def logical_unit(session: Session, *, destructive: bool) -> AsyncIterator[Check]:
    """Whether the logical unit is there, how large it is, and whether it may be written to."""
    lun = decode_lun(session.lun)
    title = f"LUN {lun}"
    try:
        known = await listed_luns(session)
        if known is not None and lun not in known:
            yield bad(title, f"not listed; there are: {numbered(known)}", LUN_REMEDY)
            return
        inquiry = (await session.execute(opcodes.INQUIRY.build(allocation_length=36), ALIVE, read=36)).data
        await session.measure()
        sense = await session.execute(
            opcodes.MODE_SENSE_6.build(page_code=0x3F, allocation_length=255), ALIVE, read=255
        )
    except Outcome as outcome:
        yield bad(title, outcome.reason, "look at the logical unit at the product")
        return
    model = " ".join(part.decode("ascii", "replace").strip() for part in (inquiry[8:16], inquiry[16:32]))
    size = session.blocks * session.block_size >> 20
    yield ok(title, f"{model}, {session.blocks} blocks of {session.block_size} bytes ({size} MiB)")
    protected = not sense.status and len(sense.data) > 2 and bool(sense.data[2] & 0x80)
    if protected:
        yield warn("writing", "the medium is write protected", "give another LUN for the cases that write")
    elif destructive:
        yield ok("writing", f"allowed by the profile: what {title} holds will be lost")
    else:
        yield warn("writing", "not allowed: cases that write are SKIPPED", "give --destructive if the data may be lost")
