"""What a Login Request is answered: fields, numbers, text and its continuation (RFC 7143 sections 6.2, 6.3, 11.12, 11.13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from iscsi_captures.describe import one_line
from iscsi_conformance.case import TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import TESTER_ISID, Peer
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import Failed, require
from iscsi_conformance.wire import Pairs, Wire, pairs_of, value_of
from iscsi_initiator.raw_login import Change, RawLogin
from iscsi_protocol.negotiation.keys import KEYS, Function
from iscsi_protocol.pdu import (
    LoginRequest,
    LoginResponse,
    NopIn,
    NopOut,
    Pdu,
    Reject,
    Stage,
)
from iscsi_protocol.text import encode_pairs

OPEN = (Feature.OPEN_ACCESS,)
PING_TAG = 0x50494E47
SEGMENT_LIMIT = 8192

OFFERS = (
    ("HeaderDigest", "None"),
    ("DataDigest", "None"),
    ("MaxConnections", "1"),
    ("InitialR2T", "Yes"),
    ("ImmediateData", "Yes"),
    ("MaxBurstLength", "262144"),
    ("FirstBurstLength", "65536"),
    ("DefaultTime2Wait", "2"),
    ("DefaultTime2Retain", "0"),
    ("MaxOutstandingR2T", "1"),
    ("DataPDUInOrder", "Yes"),
    ("DataSequenceInOrder", "Yes"),
    ("ErrorRecoveryLevel", "0"),
    ("TaskReporting", "RFC3720"),
    ("iSCSIProtocolLevel", "1"),
)
"""Every key of section 13 that is negotiated at login."""


def partial(request: LoginRequest, number: int) -> Pdu:
    """The first request asks for no transition: what comes behind it is asked for in a second one."""
    return replace(request, transit=False, nsg=0) if number == 1 else request


def responses(login: RawLogin) -> list[LoginResponse]:
    """The Login Responses, in order."""
    return [each.pdu for each in login.responses if isinstance(each.pdu, LoginResponse)]


def outcome(login: RawLogin) -> str:
    """How far a login came, for evidence."""
    return "no answer" if login.status is None else f"status {login.status:04x}"


async def walk(
    peer: Peer,
    clause: str,
    keys: Pairs = (),
    *,
    change: Change | None = None,
    isid: bytes = TESTER_ISID,
    tsih: int = 0,
    cid: int = 0,
    first_stage: int | None = None,
) -> tuple[Wire, RawLogin]:
    """A login without authentication that has to succeed. Raises Failed with the clause when it does not."""
    wire, login = await peer.try_login(keys, change=change, isid=isid, tsih=tsih, cid=cid, first_stage=first_stage)
    require(login.full_feature, clause, "the login reaches the full feature phase", seen=outcome(login))
    return wire, login


async def ping(wire: Wire, clause: str) -> NopIn:
    """Ask for an answer in the full feature phase, and take it."""
    wire.send(NopOut(immediate=True, itt=PING_TAG, cmd_sn=wire.raw.cmd_sn, exp_stat_sn=wire.raw.exp_stat_sn))
    return await wire.expect(NopIn, clause, "the answer to a ping", itt=PING_TAG)


async def no_success(wire: Wire, clause: str, what: str) -> int | None:
    """The request just sent is refused with a status, or the connection ends: either will do. The status, if one came."""
    received = await wire.receive_or_none()
    if received is None:
        await wire.expect_closed(clause, what)
        return None
    pdu = received.pdu
    if not isinstance(pdu, LoginResponse) or not pdu.status_class:
        raise Failed(clause, what, seen=one_line(received.raw))
    return pdu.status


def pieces(text: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Text cut at these places."""
    edges = [0, *cuts, len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def unasked(login: RawLogin) -> list[str]:
    """Keys that the target wants to negotiate though nobody spoke of them."""
    offered = {key for key, _ in login.offered}
    return [
        key
        for key, _ in login.pairs
        if key not in offered and (key not in KEYS or KEYS[key].function is not Function.DECLARATION)
    ]


@case(
    "login.leads-to-full-feature",
    clauses={"R7143-4.2.1-01": "login.never-succeeds", "R7143-8.1.2-05": "login.closes-behind-final-response"},
    role=TARGET,
)
async def leads_to_full_feature(peer: Peer) -> None:
    """A login over one connection succeeds, and requests are answered from then on."""
    session = await peer.login(clause="R7143-4.2.1-01")
    await session.alive("R7143-8.1.2-05")


@case("login.versions-are-zero", clauses={"R7143-11.12.4-01": "login.other-version"}, role=TARGET)
async def versions_are_zero(wire: Wire) -> None:
    """Version-max and Version-active of a Login Response are 0."""
    request = wire.login_request(wire.names(), transit=False, nsg=0)
    response = await wire.exchange_login(request, "R7143-11.12.4-01")
    versions = response.version_max, response.version_active
    require(versions == (0, 0), "R7143-11.12.4-01", "both versions are 0", seen=versions)


@case("login.reserved-fields-are-zero", clauses={"R7143-11-02": "login.reserved-bytes-set"}, role=TARGET)
async def reserved_fields_are_zero(wire: Wire) -> None:
    """The reserved bits and bytes of a Login Response are 0."""
    wire.send(wire.login_request(wire.names(), transit=False, nsg=0))
    bhs = (await wire.receive("R7143-11-02", "Login Response")).raw.bhs
    reserved = bytes([bhs[1] & 0x30]) + bytes(bhs[20:24]) + bytes(bhs[38:48])
    require(not any(reserved), "R7143-11-02", "reserved fields are 0", seen=reserved.hex())


@case(
    "login.responses-agree",
    clauses={
        "R7143-11.13.1-01": "login.version-max-changes",
        "R7143-11.13.2-01": "login.version-active-changes",
        "R7143-11.13.3-01": "login.final-response-without-tsih",
        "R7143-11.13.3-02": "login.tsih-too-early",
        "R7143-11.13.4-01": "login.stat-sn-jumps",
    },
    role=TARGET,
    needs=OPEN,
)
async def responses_agree(peer: Peer) -> None:
    """The responses of one login have the same versions, StatSNs one after the other, and a TSIH in the last one alone."""
    _, login = await walk(peer, "R7143-11.13.3-01", OFFERS, change=partial)
    *early, final = responses(login)
    first = early[0]
    highest = {response.version_max for response in (*early, final)}
    require(len(highest) == 1, "R7143-11.13.1-01", "Version-max stays the same", seen=sorted(highest))
    active = {response.version_active for response in (*early, final)}
    require(len(active) == 1, "R7143-11.13.2-01", "Version-active stays the same", seen=sorted(active))
    require(final.tsih, "R7143-11.13.3-01", "the final response has a TSIH that is not 0")
    told = [response.tsih for response in early if response.tsih]
    require(not told, "R7143-11.13.3-02", "no response before the final one has a TSIH", seen=told)
    numbers = [(response.stat_sn - first.stat_sn) & 0xFFFFFFFF for response in (*early, final)]
    require(
        numbers == list(range(len(numbers))), "R7143-11.13.4-01", "each StatSN is one more than the last", seen=numbers
    )


@case("login.stat-sn-goes-on", clauses={"R7143-4.2.2.2-01": "login.stat-sn-restarts"}, role=TARGET)
async def stat_sn_goes_on(session: Session) -> None:
    """The first response of the full feature phase has the StatSN behind the final Login Response's."""
    final = responses(session.login)[-1]
    session.raw.follow = False
    sent = session.ping()
    answer = await session.answer(NopIn, sent.itt, "R7143-4.2.2.2-01")
    gap = (answer.stat_sn - final.stat_sn) & 0xFFFFFFFF
    require(gap == 1, "R7143-4.2.2.2-01", "StatSN counts on from the login", seen=f"{gap} further")


@case("login.initial-cmd-sn", clauses={"R7143-11.12.8-01": "login.exp-cmd-sn-of-its-own"}, role=TARGET, needs=OPEN)
async def initial_cmd_sn(peer: Peer) -> None:
    """The CmdSN of the leading login, whatever it is, is the first one expected, and counting wraps behind the last."""
    clause = "R7143-11.12.8-01"
    for start in (0, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF):

        def numbered(request: LoginRequest, _: int, start: int = start) -> Pdu:
            return replace(request, cmd_sn=start)

        wire, login = await walk(peer, clause, change=numbered)
        expected = responses(login)[-1].exp_cmd_sn
        require(expected == start, clause, f"ExpCmdSN is the CmdSN of the login, {start:#x}", seen=hex(expected))
        for step in range(2):
            cmd_sn = (start + step) & 0xFFFFFFFF
            wire.send(NopOut(immediate=False, itt=PING_TAG + step, cmd_sn=cmd_sn, exp_stat_sn=wire.raw.exp_stat_sn))
            await wire.expect(NopIn, clause, f"the answer to CmdSN {cmd_sn:#x}", itt=PING_TAG + step)
        wire.raw.close()


@case(
    "login.portal-group-is-told",
    clauses={"R7143-6.3.1-09": "login.no-portal-group-tag", "R7143-13.9-01": "login.wide-portal-group-tag"},
    role=TARGET,
    needs=OPEN,
)
async def portal_group_is_told(wire: Wire) -> None:
    """The first Login Response returns TargetPortalGroupTag, a 16-bit number."""
    response = await wire.exchange_login(wire.login_request(wire.names()), "R7143-6.3.1-09")
    tag = value_of(response, "TargetPortalGroupTag")
    require(tag is not None, "R7143-6.3.1-09", "TargetPortalGroupTag was due", seen=pairs_of(response))
    number = _number(tag or "")
    require(0 <= number <= 0xFFFF, "R7143-13.9-01", "TargetPortalGroupTag is 0 to 65535", seen=tag)


def _number(text: str) -> int:
    """A decimal or hex number, -1 for anything else."""
    try:
        return int(text, 16 if text[:2] in ("0x", "0X") else 10)
    except ValueError:
        return -1


@case(
    "login.portal-group-waits-for-the-text",
    clauses={"R7143-13.9-01": "login.portal-group-tag-at-once"},
    touches=["R7143-6.3.1-09"],
    role=TARGET,
    needs=OPEN,
)
async def portal_group_waits(wire: Wire) -> None:
    """Where the first text comes in two PDUs, TargetPortalGroupTag is in the answer to the second, which has C=0."""
    clause = "R7143-13.9-01"
    head, tail = pieces(encode_pairs(wire.names()), [20])
    await wire.exchange_login(wire.login_request(head, transit=False, nsg=0, continued=True), clause)
    response = await wire.exchange_login(wire.login_request(tail), clause)
    tag = value_of(response, "TargetPortalGroupTag")
    require(tag is not None, clause, "TargetPortalGroupTag was due", seen=pairs_of(response))


@case(
    "login.portal-group-before-security",
    clauses={"R7143-11.13.8-01": "login.no-portal-group-tag-in-security"},
    role=TARGET,
)
async def portal_group_before_security(wire: Wire) -> None:
    """A login that begins with the security stage learns there which portal group it has reached."""
    clause = "R7143-11.13.8-01"
    request = wire.login_request(wire.names(("AuthMethod", "CHAP,None")), transit=False, csg=Stage.SECURITY, nsg=0)
    response = await wire.exchange_login(request, clause)
    require(response.status_class == 0, clause, "the login goes on", seen=f"status {response.status:04x}")
    tag = value_of(response, "TargetPortalGroupTag")
    require(tag is not None, clause, "TargetPortalGroupTag was due", seen=pairs_of(response))


@case(
    "login.continued-request-gets-an-empty-answer",
    clauses={"R7143-6.2-02": "login.answers-unfinished-text", "R7143-6.1-18": "login.forgets-unfinished-text"},
    role=TARGET,
    needs=OPEN,
)
async def continued_request(wire: Wire) -> None:
    """The first text, cut within key and value and at their edges, is answered emptily until it is whole, and understood."""
    text = encode_pairs(wire.names())
    key_end, value_end = text.index(b"="), text.index(b"\0")
    cuts = (3, key_end, key_end + 1, key_end + 6, value_end, value_end + 1, value_end + 8)
    *heads, tail = pieces(text, cuts)
    for head in heads:
        request = wire.login_request(head, transit=False, nsg=0, continued=True)
        response = await wire.exchange_login(request, "R7143-6.2-02")
        accepted = response.status_class == 0
        require(accepted, "R7143-6.2-02", "more text is waited for", seen=f"status {response.status:04x}")
        require(not response.data, "R7143-6.2-02", "the answer to C=1 is empty", seen=f"{len(response.data)} bytes")
    response = await wire.exchange_login(wire.login_request(tail), "R7143-6.1-18")
    accepted = response.status_class == 0
    require(accepted, "R7143-6.1-18", "the pieces make one text", seen=f"status {response.status:04x}")


@case(
    "login.long-text",
    clauses={
        "R7143-6.1-16": "login.loses-long-text",
        "R7143-6.3-02": "login.oversized-segment",
        "R7143-11.13.7-01": "login.transit-with-continue",
        "R7143-6.2-08": "login.skips-unknown-keys",
    },
    role=TARGET,
    needs=OPEN,
)
async def long_text(peer: Peer) -> None:
    """8192 bytes of text whose answers need more: no PDU of the login has more than 8192 bytes, and C=1 comes with T=0."""
    wire = await peer.connect()
    room = SEGMENT_LIMIT - len(encode_pairs(wire.names()))
    keys = [(f"X-org.example.k{number:03d}", "1") for number in range(room // len("X-org.example.k000=1 "))]
    wire.raw.close()
    clause = "R7143-6.1-16"
    wire, login = await peer.try_login(keys)
    require(login.full_feature, clause, "8192 bytes of text are taken", seen=outcome(login))
    for response in responses(login):
        fits = len(response.data) <= SEGMENT_LIMIT
        require(fits, "R7143-6.3-02", "a segment has at most 8192 bytes", seen=f"{len(response.data)} bytes")
        both = response.continued and response.transit
        require(not both, "R7143-11.13.7-01", "C=1 comes with T=0")
    unknown = {key for key, value in login.pairs if value == "NotUnderstood"}
    missing = [key for key, _ in keys if key not in unknown]
    require(not missing, "R7143-6.2-08", "each unknown key is answered NotUnderstood", seen=f"not {missing[:3]}")


@case(
    "login.pairs-end-with-nul",
    clauses={"R7143-6.1-02": "login.last-pair-open"},
    role=TARGET,
    needs=OPEN,
)
async def pairs_end_with_nul(wire: Wire) -> None:
    """The text of a Login Response ends with a NUL."""
    request = wire.login_request(wire.names(("MaxBurstLength", "65536")), transit=False, nsg=0)
    data = (await wire.exchange_login(request, "R7143-6.1-02")).data
    require(data[-1:] == b"\0", "R7143-6.1-02", "the last pair ends with a NUL", seen=data[-8:].hex())


@case(
    "login.keys-of-the-standard-are-supported",
    clauses={"R7143-11.12.10-02": "login.knows-not-all-keys"},
    role=TARGET,
    needs=OPEN,
)
async def keys_of_the_standard(peer: Peer) -> None:
    """No negotiated key of section 13 is answered with NotUnderstood."""
    clause = "R7143-11.12.10-02"
    _, login = await walk(peer, clause, OFFERS)
    unknown = [key for key, value in login.pairs if value == "NotUnderstood"]
    require(not unknown, clause, "every key of section 13 is supported", seen=unknown)


@case(
    "login.each-key-once",
    clauses={"R7143-6.3-20": "login.says-it-twice", "R7143-13.4-03": "login.tells-target-name"},
    role=TARGET,
    needs=OPEN,
)
async def each_key_once(peer: Peer) -> None:
    """Over a whole login the target says no key twice, and TargetName not at all."""
    _, login = await walk(peer, "R7143-6.3-20", OFFERS, change=partial)
    keys = [key for key, _ in login.pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1 and key != "TargetAddress"})
    require(not twice, "R7143-6.3-20", "no key is declared or negotiated twice", seen=twice)
    require("TargetName" not in keys, "R7143-13.4-03", "a target sends TargetName in answer to SendTargets alone")


@case("login.one-response-each", clauses={"R7143-6.3-01": "login.answers-twice"}, role=TARGET, needs=OPEN)
async def one_response_each(peer: Peer) -> None:
    """Each Login Request has one Login Response; what follows the final one is the answer to a ping."""
    wire, _ = await walk(peer, "R7143-6.3-01", change=partial)
    await ping(wire, "R7143-6.3-01")


@case("login.begins-with-a-login", clauses={"R7143-4.2.4-06": "login.waits-for-a-login"}, role=TARGET)
async def begins_with_a_login(wire: Wire) -> None:
    """A connection whose first PDU is no Login Request is dropped."""
    wire.send(NopOut(immediate=True, itt=PING_TAG, cmd_sn=1, exp_stat_sn=0))
    await wire.expect_closed("R7143-4.2.4-06", "a connection that begins with another PDU is dropped")


@case(
    "login.other-pdu-ends-it",
    clauses={"R7143-4.2.4-07": "login.forgives-other-pdus", "R7143-11.13.5-21": "login.other-pdu-other-status"},
    role=TARGET,
    needs=OPEN,
)
async def other_pdu_ends_it(wire: Wire) -> None:
    """A NOP-Out between two Login Requests is answered with a Login reject, 020b, and the end of the connection."""
    request = wire.login_request(wire.names(), transit=False, nsg=0)
    await wire.exchange_login(request, "R7143-4.2.4-07")
    wire.send(NopOut(immediate=True, itt=PING_TAG, cmd_sn=request.cmd_sn, exp_stat_sn=wire.raw.exp_stat_sn))
    response = await wire.expect_login_refused("R7143-4.2.4-07", what="a NOP-Out during login is refused")
    status = response.status
    require(status == 0x020B, "R7143-11.13.5-21", "status 020b was due", seen=f"{status:04x}")
    await wire.expect_closed("R7143-4.2.4-07")


@case("login.only-once", clauses={"R7143-4.2.4-03": "login.logs-in-again"}, role=TARGET)
async def only_once(session: Session) -> None:
    """A Login Request in the full feature phase has no Login Response: it is rejected, or the connection ends."""
    clause = "R7143-4.2.4-03"
    session.send(session.login_request(session.names(), itt=PING_TAG))
    received = await session.receive_or_none()
    if received is None:
        await session.expect_closed(clause, "a second login is rejected or ends the connection")
        return
    require(isinstance(received.pdu, Reject), clause, "no login in the full feature phase", seen=one_line(received.raw))


@case(
    "login.digests-begin-behind-it",
    clauses={"R7143-13.1-02": "login.first-answer-without-digest"},
    role=TARGET,
    needs=[Feature.HEADER_DIGEST, *OPEN],
)
async def digests_begin_behind_it(peer: Peer) -> None:
    """Login Responses have no digest, and the first PDU behind the final one has the header digest agreed on."""
    clause = "R7143-13.1-02"
    wire, login = await walk(peer, clause, [("HeaderDigest", "CRC32C"), ("DataDigest", "None")], change=partial)
    require(login.agreed("HeaderDigest") == "CRC32C", clause, "CRC32C is chosen", seen=login.value("HeaderDigest"))
    wire.send(NopOut(immediate=True, itt=PING_TAG, cmd_sn=wire.raw.cmd_sn, exp_stat_sn=wire.raw.exp_stat_sn))
    received = await wire.receive(clause, "the answer to a ping, with a header digest")
    require(not received.raw.header_digest_error, clause, "the header digest is right", seen=one_line(received.raw))


@case("login.six-exchanges", clauses={"R7143-6.2-27": "login.gives-up-early"}, role=TARGET, needs=OPEN)
async def six_exchanges(peer: Peer) -> None:
    """A login may take six exchanges."""

    def slowly(request: LoginRequest, number: int) -> Pdu:
        return replace(request, transit=False, nsg=0) if number < 6 else request

    await walk(peer, "R7143-6.2-27", change=slowly)


@case(
    "login.unfinished-logins-block-nobody",
    clauses={"R7143-8.3.4-03": "login.deaf-behind-it"},
    role=TARGET,
    needs=OPEN,
)
async def unfinished_logins(peer: Peer) -> None:
    """While two other logins stand still, one in the middle of its text, a session begins and works."""
    clause = "R7143-8.3.4-03"
    for continued in (False, True):
        wire = await peer.connect()
        request = wire.login_request(wire.names(), transit=False, nsg=0, continued=continued)
        await wire.exchange_login(request, clause)
    wire, _ = await walk(peer, clause)
    await ping(wire, clause)
