"""How a login is refused: status, text and the end of the connection (RFC 7143 sections 6.3.1, 11.13.2, 11.13.5, 13.8)."""

from __future__ import annotations

import re

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.login import OPEN, no_success, pieces, ping, walk
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.verdict import require
from iscsi_conformance.wire import Wire, pairs_of
from iscsi_protocol.pdu import LoginResponse, LoginStatus, Stage
from iscsi_protocol.text import encode_pairs

NOWHERE = "iqn.2026-11.org.iscsi-conformance:no-such-target"
_HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)"
_ADDRESS = re.compile(rf"{_HOST}(:\d+)?(,\d+)?")


async def answered(wire: Wire, clause: str, *, security: bool = True) -> LoginResponse:
    """The response to the first request for the wire's target: of the security stage, so that no target can miss it."""
    pairs = wire.names(("AuthMethod", "CHAP,None")) if security else wire.names()
    stages = {"csg": Stage.SECURITY, "nsg": Stage.OPERATIONAL} if security else {}
    return await wire.exchange_login(wire.login_request(pairs, **stages), clause)


def due(response: LoginResponse, clause: str, *statuses: int) -> None:
    """Fail unless the response has one of these statuses."""
    wanted = " or ".join(f"{status:04x}" for status in statuses)
    require(response.status in statuses, clause, f"status {wanted} was due", seen=f"{response.status:04x}")


@case(
    "login.unknown-target",
    clauses={"R7143-11.13.5-06": "login.unknown-target-other-status", "R7143-6.3.1-07": "login.stays-after-refusal"},
    role=TARGET,
)
async def unknown_target(peer: Peer) -> None:
    """A login to a target that does not exist is refused with 0203, and the connection ends."""
    wire = await peer.connect(target_name=NOWHERE)
    due(await answered(wire, "R7143-11.13.5-06"), "R7143-11.13.5-06", LoginStatus.NOT_FOUND)
    await wire.expect_closed("R7143-6.3.1-07", "a Login reject ends the connection")


@case(
    "login.denied-initiator",
    clauses={"R7143-11.13.5-18": "login.denied-other-status", "R7143-11.13.5-13": "login.stays-after-refusal"},
    role=TARGET,
    needs=[Feature.DENIED_TARGET],
)
async def denied_initiator(peer: Peer) -> None:
    """A login to a target that the initiator may not use is refused with 0202, and the connection ends."""
    wire = await peer.connect(target_name=peer.node("denied_target", Feature.DENIED_TARGET))
    due(await answered(wire, "R7143-11.13.5-18"), "R7143-11.13.5-18", LoginStatus.AUTHORIZATION_FAILURE)
    await wire.expect_closed("R7143-11.13.5-13", "a status class other than 0 ends the connection")


@case(
    "login.moved-target",
    clauses={
        "R7143-11.13.5-01": "login.moved-nowhere",
        "R7143-13.8-01": "login.moved-to-a-group",
        "R7143-13.8-03": "login.moved-to-a-bare-ipv6-address",
    },
    role=TARGET,
    needs=[Feature.REDIRECTED_TARGET],
)
async def moved_target(peer: Peer) -> None:
    """A target that has moved says where to, as an address without portal group tag, with 0101 or 0102."""
    clause = "R7143-11.13.5-01"
    wire = await peer.connect(target_name=peer.node("redirected_target", Feature.REDIRECTED_TARGET))
    response = await answered(wire, clause)
    due(response, clause, LoginStatus.MOVED_TEMPORARILY, LoginStatus.MOVED_PERMANENTLY)
    addresses = [value for key, value in pairs_of(response) if key == "TargetAddress"]
    require(addresses, clause, "TargetAddress was due", seen=pairs_of(response))
    for address in addresses:
        parts = _ADDRESS.fullmatch(address)
        require(parts, "R7143-13.8-03", "host, address or [IPv6 address], and a port", seen=address)
        group = parts.group(3) if parts else None
        require(group is None, "R7143-13.8-01", "a redirection names no portal group", seen=address)


@case(
    "login.removed-target",
    clauses={"R7143-11.13.5-07": "login.removed-other-status"},
    role=TARGET,
    needs=[Feature.REMOVED_TARGET],
)
async def removed_target(peer: Peer) -> None:
    """A login to a target that was removed for good is refused with 0204."""
    wire = await peer.connect(target_name=peer.node("removed_target", Feature.REMOVED_TARGET))
    due(await answered(wire, "R7143-11.13.5-07"), "R7143-11.13.5-07", LoginStatus.TARGET_REMOVED)


@case(
    "login.unsupported-version",
    clauses={
        "R7143-11.12.4-02": "login.serves-any-version",
        "R7143-11.13.5-19": "login.version-other-status",
        "R7143-11.13.2-03": "login.version-refused-for-another",
    },
    role=TARGET,
)
async def unsupported_version(wire: Wire) -> None:
    """A range of versions that begins above 0 is refused with 0205, and Version-active says that 0 is supported."""
    clause = "R7143-11.12.4-02"
    request = wire.login_request(
        wire.names(("AuthMethod", "CHAP,None")), csg=Stage.SECURITY, nsg=1, version_min=1, version_max=3
    )
    response = await wire.exchange_login(request, clause)
    require(response.status_class, clause, "versions 1 to 3 are refused", seen=f"status {response.status:04x}")
    due(response, "R7143-11.13.5-19", LoginStatus.UNSUPPORTED_VERSION)
    lowest = response.version_active
    require(lowest == 0, "R7143-11.13.2-03", "Version-active is the lowest version supported", seen=lowest)


@case(
    "login.missing-names",
    clauses={"R7143-11.13.5-09": "login.missing-name-other-status", "R7143-6.1-01": "login.folds-keys"},
    role=TARGET,
)
async def missing_names(peer: Peer) -> None:
    """Without InitiatorName, or without TargetName, a login is refused with 0207; a key in other letters is another key."""
    clause = "R7143-11.13.5-09"
    wire = await peer.connect(target_name=peer.target_name)
    names = wire.names(("AuthMethod", "CHAP,None"))
    security = {"csg": Stage.SECURITY, "nsg": Stage.OPERATIONAL}
    for missing in ("InitiatorName", "TargetName"):
        wire = await peer.connect()
        pairs = [pair for pair in names if pair[0] != missing]
        due(
            await wire.exchange_login(wire.login_request(pairs, **security), clause),
            clause,
            LoginStatus.MISSING_PARAMETER,
        )
    wire = await peer.connect()
    pairs = [("initiatorName", value) if key == "InitiatorName" else (key, value) for key, value in names]
    response = await wire.exchange_login(wire.login_request(pairs, **security), "R7143-6.1-01")
    require(response.status_class, "R7143-6.1-01", "initiatorName is not InitiatorName", seen=f"{response.status:04x}")


@case(
    "login.unknown-session-type",
    clauses={"R7143-11.13.5-11": "login.takes-any-session-type"},
    role=TARGET,
)
async def unknown_session_type(wire: Wire) -> None:
    """A SessionType that does not exist is refused: as not supported, or as an initiator error."""
    clause = "R7143-11.13.5-11"
    pairs = wire.names(("AuthMethod", "CHAP,None"), session_type="Normal")
    pairs = [(key, "Backup" if key == "SessionType" else value) for key, value in pairs]
    response = await wire.exchange_login(wire.login_request(pairs, csg=Stage.SECURITY, nsg=1), clause)
    due(response, clause, LoginStatus.SESSION_TYPE_NOT_SUPPORTED, LoginStatus.INITIATOR_ERROR)


@case(
    "login.nothing-behind-a-refusal",
    clauses={"R7143-8.1.2-07": "login.stays-after-refusal"},
    role=TARGET,
    needs=OPEN,
)
async def nothing_behind_a_refusal(peer: Peer) -> None:
    """A refused login is over: another Login Request on the same connection is not answered with success."""
    clause = "R7143-8.1.2-07"
    wire = await peer.connect(target_name=NOWHERE)
    wire.send(wire.login_request(wire.names()))
    await wire.expect_login_refused(clause, what="a target that does not exist is refused")
    wire.target_name = peer.target_name
    wire.send(wire.login_request(wire.names()))
    await no_success(wire, clause, "behind a refusal the connection ends")


@case(
    "login.refusals-touch-no-session",
    clauses={"R7143-8.3.4-09": "identity.joins-what-is-not-there"},
    role=TARGET,
    needs=OPEN,
)
async def refusals_touch_no_session(peer: Peer) -> None:
    """A session goes on while another login fails, and the failed one leaves no session to add a connection to."""
    clause = "R7143-8.3.4-09"
    wire, _ = await walk(peer, clause)
    isid = bytes.fromhex("8000000000f1")
    failed, login = await peer.try_login(target_name=NOWHERE, isid=isid)
    require(login.status, clause, "a login to nowhere fails")
    await ping(wire, clause)
    other = await peer.connect()
    request = other.login_request(other.names(leading=False), isid=isid, tsih=failed.raw.logins[-1].tsih or 0x7F01)
    due(await other.exchange_login(request, clause), clause, LoginStatus.SESSION_DOES_NOT_EXIST)


@case(
    "login.abandoned-text-is-forgotten",
    clauses={"R7143-8.1.2-04": "login.sleeps-through-the-first-request"},
    role=TARGET,
    needs=OPEN,
)
async def abandoned_text_is_forgotten(peer: Peer) -> None:
    """A login that stops within its text and loses its connection means nothing to the next connection's first request."""
    clause = "R7143-8.1.2-04"
    wire = await peer.connect()
    head, _ = pieces(encode_pairs(wire.names()), [30])
    await wire.exchange_login(wire.login_request(head, continued=True, transit=False, nsg=0), clause)
    wire.raw.abort()
    wire = await peer.connect()
    response = await wire.exchange_login(
        wire.login_request(wire.names()), clause, "the answer to a first Login Request"
    )
    require(response.status_class == 0, clause, "the login goes on", seen=f"status {response.status:04x}")
