"""What the operator can do where a product cannot be reached, lets nobody in (RFC 7143 section 11.13.5), or lacks the LUN."""

from __future__ import annotations

from collections.abc import Sequence

from iscsi_conformance.peer import Peer
from iscsi_conformance.session import ALIVE, Session
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu import LoginStatus
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.capacity import parse_luns
from iscsi_protocol.scsi.lun import LUN_LENGTH, decode_lun

CONNECT_REMEDIES = {
    TransportEvent.REFUSED: "start the product, or correct --portal",
    TransportEvent.TIMED_OUT: "look for a firewall between here and there, or correct --portal",
    TransportEvent.UNREACHABLE: "correct the host name or the route to it",
}
LOGIN_REMEDIES = {
    LoginStatus.AUTHENTICATION_FAILURE: "put the product's CHAP user and secret under [chap] in the profile",
    LoginStatus.AUTHORIZATION_FAILURE: "let the initiator {initiator} in at the product's access list",
    LoginStatus.NOT_FOUND: "correct --target-name; `iscsi-initiator ls` shows what is offered",
    LoginStatus.TARGET_REMOVED: "name a target that the product still has",
    LoginStatus.TOO_MANY_CONNECTIONS: "end other sessions, or let the product take more",
    LoginStatus.SERVICE_UNAVAILABLE: "bring the target on line at the product",
    LoginStatus.OUT_OF_RESOURCES: "end other sessions at the product",
    LoginStatus.MOVED_TEMPORARILY: "give the portal that it redirects to",
    LoginStatus.MOVED_PERMANENTLY: "give the portal that it redirects to",
}
LUN_REMEDY = "give --lun one of these, or map it to the tester"
ANY_REMEDY = "look into the product's log for this login"

_LUN_LIST = 8 + 512 * LUN_LENGTH


def latest_status(peer: Peer) -> int | None:
    """The status of the latest login; None where none was answered."""
    logins = peer.wires[-1].raw.logins if peer.wires else []
    return logins[-1].status if logins else None


def login_remedy(peer: Peer) -> str:
    """What the status of the latest login asks for."""
    status = latest_status(peer)
    remedy = next((text for code, text in LOGIN_REMEDIES.items() if code == status), ANY_REMEDY)
    return remedy.format(initiator=peer.profile.initiator_name)


async def listed_luns(session: Session) -> list[int | None] | None:
    """What REPORT LUNS names; None where the product does not say, or not all. Raises Failed for a session that ends."""
    cdb = opcodes.REPORT_LUNS.build(allocation_length=_LUN_LIST)
    answer = await session.execute(cdb, ALIVE, read=_LUN_LIST, lun=bytes(LUN_LENGTH))
    length, structures = parse_luns(answer.data)
    if answer.status or length != len(structures) * LUN_LENGTH:
        return None
    return [decode_lun(structure) for structure in structures]


def numbered(luns: Sequence[int | None]) -> str:
    """The LUNs in words."""
    return ", ".join(str(lun) for lun in luns) or "none"
