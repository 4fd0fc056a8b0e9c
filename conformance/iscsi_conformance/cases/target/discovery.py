"""Discovery sessions and SendTargets (RFC 7143 sections 4.3, 7.4.3, 13.8 and Appendix C)."""

from __future__ import annotations

import re
from typing import Any

from iscsi_captures.describe import one_line
from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import Failed, Inconclusive, Unsupported, require
from iscsi_conformance.wire import Pairs
from iscsi_initiator.raw import Received
from iscsi_protocol.pdu import (
    LogoutReason,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    Reject,
    ScsiResponse,
    TaskFunction,
    TaskManagementResponse,
    TextResponse,
)
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.text import decode_pairs

DISCOVERY = (Feature.DISCOVERY,)
NOBODY = "iqn.2026-11.org.iscsi-conformance:nobody-has-this-name"
RESPONSES = 64
"""Responses that an answer may take before it counts as endless."""


async def whole_answer(session: Session, value: str, clause: str) -> bytes:
    """The text that SendTargets is answered with, over as many responses as it takes. Raises Failed."""
    sent = session.text(("SendTargets", value))
    text = b""
    for _ in range(RESPONSES):
        answer = await session.expect(TextResponse, clause, f"the answer to SendTargets={value}", itt=sent.itt)
        text += answer.data
        if answer.final:
            return text
        session.text(itt=sent.itt, ttt=answer.ttt, lun=answer.lun)
    raise Failed(clause, f"SendTargets={value} was not answered to the end in {RESPONSES} responses")


async def asked(session: Session, value: str, clause: str) -> Pairs:
    """The same as pairs."""
    return decode_pairs(await whole_answer(session, value, clause))


def records(pairs: Pairs) -> dict[str, list[str]]:
    """Target names with their addresses; addresses before the first name are left out."""
    found: dict[str, list[str]] = {}
    name = None
    for key, value in pairs:
        if key == "TargetName":
            name = value
            found.setdefault(name, [])
        elif key == "TargetAddress" and name is not None:
            found[name].append(value)
    return found


@case("discovery.on-each-portal", clauses={"R7143-C-02": "discovery.not-offered"}, role=TARGET, needs=DISCOVERY)
async def on_each_portal(peer: Peer) -> None:
    """A discovery session can be opened at every portal that is known."""
    for portal in range(len(peer.environment.endpoints)):
        await peer.login(session_type="Discovery", portal=portal, clause="R7143-C-02")


@case("discovery.send-targets", clauses={"R7143-C-03": "discovery.no-answer"}, role=TARGET, needs=DISCOVERY)
async def send_targets(discovery: Session) -> None:
    """SendTargets is answered on a discovery session."""
    await asked(discovery, "All", "R7143-C-03")


@case(
    "discovery.all-targets",
    clauses={"R7143-C-08": "discovery.value-rejected", "R7143-C-04": "discovery.paths-left-out"},
    role=TARGET,
    needs=DISCOVERY,
)
async def all_targets(peer: Peer, discovery: Session) -> None:
    """SendTargets=All tells the target under test with an address for each portal; none at all means the one in use."""
    found = records(await asked(discovery, "All", "R7143-C-08"))
    require(peer.target_name in found, "R7143-C-08", f"{peer.target_name} was due", seen=list(found))
    addresses = found[peer.target_name]
    known = len(peer.environment.endpoints)
    complete = len(addresses) >= known or (known == 1 and not addresses)
    require(complete, "R7143-C-04", f"{known} addresses were due", seen=addresses)


@case(
    "discovery.whole-portal-group",
    clauses={"R7143-C-17": "discovery.one-portal-a-group"},
    role=TARGET,
    level=SHOULD,
    needs=[*DISCOVERY, Feature.GROUP_PORTAL],
)
async def whole_portal_group(peer: Peer, discovery: Session) -> None:
    """Where one portal of a group is told of a target, the group's other portal is told as well."""
    clause = "R7143-C-17"
    addresses = [each.rpartition(",")[0] for each in records(await asked(discovery, "All", clause))[peer.target_name]]
    one, other = str(peer.environment.endpoints[0]), str(peer.group_portal)
    if one not in addresses:
        raise Inconclusive(f"the portal {one} is not told by that address")
    require(other in addresses, clause, f"{other} was due beside {one}", seen=addresses)


@case(
    "discovery.answer-has-only-records",
    clauses={"R7143-C-14": "discovery.alias-in-the-answer"},
    role=TARGET,
    needs=DISCOVERY,
)
async def only_records(discovery: Session) -> None:
    """An answer to SendTargets has target names and addresses and nothing else."""
    keys = [key for key, _ in await asked(discovery, "All", "R7143-C-03")]
    others = sorted(set(keys) - {"TargetName", "TargetAddress"})
    require(not others, "R7143-C-14", "only TargetName and TargetAddress were due", seen=others)


@case(
    "discovery.records-begin-with-a-name",
    clauses={"R7143-C-14": "discovery.address-without-a-name"},
    role=TARGET,
    needs=DISCOVERY,
)
async def begin_with_a_name(discovery: Session) -> None:
    """An answer to SendTargets begins with a target name."""
    pairs = await asked(discovery, "All", "R7143-C-03")
    first = pairs[0][0] if pairs else "TargetName"
    require(first == "TargetName", "R7143-C-14", "TargetName was due first", seen=first)


@case(
    "discovery.addresses-have-tags",
    clauses={"R7143-13.8-02": "discovery.tag-left-out"},
    role=TARGET,
    needs=DISCOVERY,
)
async def addresses_have_tags(discovery: Session) -> None:
    """Each address that SendTargets tells ends with a portal group tag from 0 to 65535."""
    for key, value in await asked(discovery, "All", "R7143-C-03"):
        if key == "TargetAddress":
            tag = re.fullmatch(r".+,([0-9]{1,5}|0[xX][0-9a-fA-F]{1,4})", value)
            fits = tag is not None and int(tag[1], 0 if tag[1][:2].lower() == "0x" else 10) <= 0xFFFF
            require(fits, "R7143-13.8-02", "a portal group tag was due", seen=value)


@case(
    "discovery.named-target",
    clauses={"R7143-C-10": "discovery.value-rejected"},
    role=TARGET,
    needs=DISCOVERY,
)
async def named_target(peer: Peer, discovery: Session) -> None:
    """SendTargets with the name of the target under test tells that target, and no other."""
    found = records(await asked(discovery, peer.target_name, "R7143-C-10"))
    require(list(found) == [peer.target_name], "R7143-C-10", f"{peer.target_name} was due", seen=list(found))


@case(
    "discovery.every-name-works",
    clauses={"R7143-C-11": "discovery.names-are-not-known"},
    role=TARGET,
    needs=DISCOVERY,
)
async def every_name_works(discovery: Session) -> None:
    """SendTargets with each name that All tells gives the addresses that All gave."""
    for name, addresses in records(await asked(discovery, "All", "R7143-C-03")).items():
        found = records(await asked(discovery, name, "R7143-C-11"))
        same = sorted(found.get(name, ["none"])) == sorted(addresses)
        require(same, "R7143-C-11", f"{name} at {', '.join(addresses)} was due", seen=found)


@case(
    "discovery.forbidden-target-is-not-told",
    clauses={"R7143-C-16": "discovery.tells-of-forbidden-targets"},
    role=TARGET,
    needs=[Feature.DISCOVERY, Feature.DENIED_TARGET],
)
async def forbidden_target(peer: Peer, discovery: Session) -> None:
    """SendTargets with the name of a target that the initiator may not use tells no target."""
    found = records(await asked(discovery, peer.node("denied_target", Feature.DENIED_TARGET), "R7143-C-03"))
    require(not found, "R7143-C-16", "no target name was due", seen=list(found))


@case(
    "discovery.unknown-name-tells-nothing",
    clauses={"R7143-C-16": "discovery.tells-of-forbidden-targets"},
    role=TARGET,
    needs=DISCOVERY,
)
async def unknown_name(discovery: Session) -> None:
    """SendTargets with a name that no target has tells no target; it may be rejected."""
    discovery.text(("SendTargets", NOBODY))
    received = await discovery.receive("R7143-C-03", "an answer to SendTargets")
    if not isinstance(received.pdu, Reject):
        found = records(decode_pairs(bytes(received.raw.data)))
        require(not found, "R7143-C-16", "no target name was due", seen=list(found))


@case(
    "discovery.long-answer",
    clauses={"R7143-C-20": "discovery.long-answer-cut-short"},
    role=TARGET,
    needs=DISCOVERY,
)
async def long_answer(peer: Peer) -> None:
    """An answer to SendTargets that is too long for one response comes whole in several."""
    roomy = await peer.discovery([("MaxRecvDataSegmentLength", "65536")])
    whole = await whole_answer(roomy, "All", "R7143-C-03")
    if len(whole) <= 512:
        raise Unsupported("long-answer", f"SendTargets=All takes no more than {len(whole)} bytes here")
    roomy.raw.close()
    narrow = await peer.discovery([("MaxRecvDataSegmentLength", "512")])
    parts = await whole_answer(narrow, "All", "R7143-C-20")
    require(
        parts == whole, "R7143-C-20", f"{len(whole)} bytes in several responses were due", seen=f"{len(parts)} bytes"
    )


@case("discovery.empty-value", clauses={"R7143-C-05": "discovery.no-answer"}, role=TARGET)
async def empty_value(session: Session) -> None:
    """SendTargets is answered on a normal session."""
    await asked(session, "", "R7143-C-05")


@case(
    "discovery.empty-value-tells-this-target",
    clauses={"R7143-C-12": "discovery.value-rejected", "R7143-C-13": "discovery.tells-of-others"},
    role=TARGET,
)
async def empty_value_tells_this_target(session: Session) -> None:
    """SendTargets without a value tells the target that the session belongs to, and no other."""
    found = records(await asked(session, "", "R7143-C-05"))
    require(session.target_name in found, "R7143-C-12", f"{session.target_name} was due", seen=list(found))
    require(len(found) == 1, "R7143-C-13", "no other target was due", seen=list(found))


@case("discovery.all-in-a-normal-session", clauses={"R7143-C-09": "discovery.all-in-a-normal-session"}, role=TARGET)
async def all_in_a_normal_session(session: Session) -> None:
    """SendTargets=All on a normal session is refused: a Reject, or an answer without targets."""
    session.text(("SendTargets", "All"))
    received = await session.receive_or_none()
    if received is None or isinstance(received.pdu, Reject):
        return
    found = records(decode_pairs(bytes(received.raw.data)))
    require(not found, "R7143-C-09", "All is not supported on a normal session", seen=list(found))


async def about(discovery: Session, itt: int) -> list[Received]:
    """What comes with this task tag, or as a Reject, up to a SendTargets that is answered or the end of the connection."""
    fence = discovery.text(("SendTargets", "All"))
    seen: list[Received] = []
    while (received := await discovery.receive_or_none()) is not None:
        tag = received.raw.initiator_task_tag
        if tag == fence.itt:
            break
        if tag == itt or isinstance(received.pdu, Reject):
            seen.append(received)
    return seen


def accepts(received: Received) -> bool:
    """Whether this is the answer to a request that was carried out."""
    match received.pdu:
        case NopIn() | TextResponse():
            return True
        case ScsiResponse(status=status):
            return status == 0
        case TaskManagementResponse(response=response) | LogoutResponse(response=response):
            return response == 0
        case _:
            return False


@case(
    "discovery.takes-no-ping",
    clauses={"R7143-4.3-01": "discovery.serves-everything"},
    role=TARGET,
    needs=DISCOVERY,
)
async def takes_no_ping(discovery: Session) -> None:
    """A ping on a discovery session is not answered: it is rejected, or ends the connection."""
    ping = discovery.ping()
    taken = [one_line(each.raw) for each in await about(discovery, ping.itt) if accepts(each)]
    require(not taken, "R7143-4.3-01", "a discovery session takes SendTargets and logout alone", seen=taken)


@case(
    "discovery.logout-of-a-connection",
    clauses={"R7143-4.3-01": "discovery.serves-everything"},
    role=TARGET,
    needs=DISCOVERY,
)
async def logout_of_a_connection(discovery: Session) -> None:
    """A discovery session is logged out as a whole: a logout of its connection does not succeed."""
    numbers: dict[str, Any] = dict(discovery.numbered(immediate=True))
    request = LogoutRequest(immediate=True, reason=LogoutReason.CLOSE_CONNECTION, **numbers)
    discovery.send(request)
    taken = [one_line(each.raw) for each in await about(discovery, request.itt) if accepts(each)]
    require(not taken, "R7143-4.3-01", "a logout with reason 1 does not succeed", seen=taken)


@case(
    "discovery.other-requests-are-rejected",
    clauses={"R7143-4.3-02": "discovery.passes-over-other-requests"},
    role=TARGET,
    needs=DISCOVERY,
)
async def other_requests(peer: Peer) -> None:
    """A ping, a SCSI Command and a task management function on a discovery session are each rejected, or end it."""
    for number in range(3):
        discovery = await peer.discovery()
        match number:
            case 0:
                tag = discovery.ping().itt
            case 1:
                tag = discovery.command(opcodes.TEST_UNIT_READY.build(), immediate=True).itt
            case _:
                tag = discovery.manage_task(TaskFunction.ABORT_TASK, referenced_task_tag=0x7777).itt
        seen = await about(discovery, tag)
        refused = bool(seen) and not any(accepts(each) for each in seen)
        what = "a Reject was due"
        require(refused or discovery.raw.closed, "R7143-4.3-02", what, seen=[one_line(each.raw) for each in seen])
        discovery.raw.close()


@case(
    "discovery.logout",
    clauses={"R7143-11.15.1-01": "logout.success-denied"},
    role=TARGET,
    needs=DISCOVERY,
)
async def logout(discovery: Session) -> None:
    """A discovery session is logged out with reason 0."""
    answer = await discovery.logout("R7143-11.15.1-01", LogoutReason.CLOSE_SESSION)
    require(answer.response == 0, "R7143-11.15.1-01", "response 0 was due", seen=answer.response)


@case(
    "discovery.target-says-nothing-else",
    clauses={"R7143-7.4.3-01": "discovery.pings"},
    role=TARGET,
    level=SHOULD,
    needs=DISCOVERY,
)
async def says_nothing_else(discovery: Session) -> None:
    """On a discovery session the target sends Text Responses and the Logout Response and nothing else."""
    for _ in range(2):
        discovery.text(("SendTargets", "All"))
        pdu = None
        while not (isinstance(pdu, TextResponse) and (pdu.final or pdu.continued)):
            received = await discovery.raw.recv(discovery.response_time)
            pdu = received.pdu
            allowed = isinstance(pdu, TextResponse | LogoutResponse)
            require(allowed, "R7143-7.4.3-01", "a Text Response was due", seen=one_line(received.raw))


@case(
    "discovery.recovery-level-is-0",
    clauses={"R7143-13.21-03": "discovery.recovery-level-1"},
    role=TARGET,
    needs=DISCOVERY,
)
async def recovery_level_is_0(peer: Peer) -> None:
    """Offered recovery level 1, a discovery session has level 0."""
    discovery = await peer.discovery([("ErrorRecoveryLevel", "1")])
    agreed = discovery.agreed("ErrorRecoveryLevel")
    require(agreed in ("0", "Irrelevant"), "R7143-13.21-03", "ErrorRecoveryLevel=0 was due", seen=agreed)
