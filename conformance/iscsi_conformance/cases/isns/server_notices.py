"""SCN and ESI of a server (RFC 4171 5.6.5.5 to 5.6.5.8, 5.6.5.13, 6.3.4)."""

from __future__ import annotations

from functools import partial

from iscsi_conformance.case import SERVER, case
from iscsi_conformance.isns.server_bench import ServerBench
from iscsi_conformance.isns.words import (
    ADMIN,
    DISK,
    HOST,
    OTHER,
    UDP,
    eid,
    expect,
    expect_each,
    name,
    node,
    portal,
    require_each,
    tags,
    want,
)
from iscsi_conformance.verdict import require
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import acknowledgement
from iscsi_protocol.isns.codes import Function, Scn, Status
from iscsi_protocol.isns.tlv import address_text, number, text

server_case = partial(case, role=SERVER, virtual=True)
S = "isns-server."
INTERVAL = 60
ESI = 4000


@server_case(
    "isns-notice.changes",
    clauses={
        "R4171-5.6.5.4-10": S + "silent-changes",
        "R4171-5.6.5.8-01": S + "silent-changes",
        "R4171-5.6.5.8-03": S + "scn-bitmap-last",
        "R4171-2.2.3-02": S + "scn-with-domains",
    },
    touches=["R4171-2.9.2-02", "R4171-2.9.2-04"],
)
async def changes(isns: ServerBench) -> None:
    """A node is told of what comes and goes in its domain."""
    await isns.listener()
    await isns.disk()
    came = isns.changes("R4171-5.6.5.8-03")
    await isns.do(Function.DEV_DEREG, DISK, eid("disk"))
    went = isns.changes("R4171-5.6.5.8-03")
    both = ("R4171-5.6.5.4-10", "R4171-5.6.5.8-01")
    require_each(both, came and went, "changes in the domain are told")
    for told, bit in ((came, Scn.ADDED), (went, Scn.REMOVED)):
        (change,) = told[0].changes
        seen = tags(change.objects)
        require(seen[:1] == [32] and change.bitmap == bit, "R4171-5.6.5.8-03", "bitmap and node are told", seen=seen)
        require(seen == [32], "R4171-2.2.3-02", "a regular SCN tells no domains", seen=seen)


@server_case("isns-notice.other-domain", clauses={"R4171-2.2.3-01": S + "notifies-everybody"})
async def other_domain(isns: ServerBench) -> None:
    """A node is not told of others outside its domains."""
    await isns.listener()
    await isns.register(OTHER, *node(OTHER))
    require(not isns.told(), "R4171-2.2.3-01", "what happens elsewhere is not told")


@server_case(
    "isns-notice.replace",
    clauses={"R4171-5.6.5.1-10": S + "replace-updates", "R4171-5.6.5.1-11": S + "replace-updates"},
)
async def replacing(isns: ServerBench) -> None:
    """What is replaced is told as removed, and as added."""
    await isns.listener()
    await isns.disk()
    isns.told()
    await isns.register(DISK, eid("disk"), *portal("192.0.2.7"), *node(DISK), key=[eid("disk")], replace=True)
    bits = [change.bitmap for told in isns.changes("R4171-5.6.5.8-03") for change in told.changes]
    require_each(
        ("R4171-5.6.5.1-10", "R4171-5.6.5.1-11"),
        bits == [Scn.REMOVED, Scn.ADDED],
        "a replaced node is told as removed, then as added",
        seen=bits,
    )


@server_case("isns-notice.bitmap", clauses={"R4171-5.6.5.5-04": S + "adds-scn-bits"})
async def bitmap(isns: ServerBench) -> None:
    """A new bitmap takes the place of the former one."""
    await isns.listener(Scn.ADDED)
    await isns.do(Function.SCN_REG, HOST, number(35, Scn.REMOVED), key=[name(HOST)])
    await isns.reconnect()
    await isns.disk()
    require(not isns.told(), "R4171-5.6.5.5-04", "what is not asked for any more is not told")


@server_case("isns-notice.end", clauses={"R4171-5.6.5.6-01": S + "endless-notification"})
async def end(isns: ServerBench) -> None:
    """After SCNDereg nothing is told."""
    await isns.listener()
    answer = await isns.do(Function.SCN_DEREG, HOST, key=[name(HOST)])
    require(not answer.key and not answer.operating, "R4171-5.7.5.5-01", "the response is a status alone")
    await isns.reconnect()
    await isns.disk()
    require(not isns.told(), "R4171-5.6.5.6-01", "SCNDereg ends notifications")


@server_case(
    "isns-notice.no-port", clauses={"R4171-5.6.5.5-02": S + "any-listener", "R4171-6.3.7-02": S + "any-listener"}
)
async def no_port(isns: ServerBench) -> None:
    """A node without SCN port cannot register for SCNs."""
    await isns.host()
    answer = await isns.do(Function.SCN_REG, HOST, number(35, Scn.ADDED), key=[name(HOST)])
    expect_each(
        ("R4171-5.6.5.5-02", "R4171-6.3.7-02"),
        answer,
        Status.SCN_REGISTRATION_REJECTED,
        what="a registration without SCN port has status 17",
    )


@server_case(
    "isns-notice.management", clauses={"R4171-2.2.3-04": S + "any-listener", "R4171-6.4.4-01": S + "any-listener"}
)
async def management(isns: ServerBench) -> None:
    """Management SCNs, and their bits, are for control nodes."""
    await isns.host(number(Tag.SCN_PORT, UDP | 5000))
    rejected = Status.SCN_REGISTRATION_REJECTED, Status.SOURCE_UNAUTHORIZED
    wanted = {"R4171-2.2.3-04": Scn.MANAGEMENT | Scn.ADDED, "R4171-6.4.4-01": Scn.MEMBER_ADDED}
    answers = {
        clause: await isns.do(Function.SCN_REG, HOST, number(35, bits), key=[name(HOST)])
        for clause, bits in wanted.items()
    }
    broken = [clause for clause, answer in answers.items() if answer.status not in rejected]
    require_each(broken, not broken, "an ordinary node gets no management registration")


@server_case(
    "isns-notice.control-node",
    clauses={"R4171-5.6.5.5-01": S + "silent-changes", "R4171-5.6.5.8-04": S + "scn-without-domains"},
    touches=["R4171-5.6.5.5-06"],
)
async def control_node(isns: ServerBench) -> None:
    """A control node with a management registration is told of everything, with the domains."""
    where = portal("192.0.2.9", 1)
    await isns.register(ADMIN, *where, number(Tag.SCN_PORT, UDP | 7000), *node(ADMIN, 2))
    await isns.do(Function.SCN_REG, ADMIN, number(35, 0x3F), key=[name(ADMIN)])
    await isns.reconnect()
    await isns.do(Function.DD_REG, ADMIN, text(Tag.DD_MEMBER_NAME, DISK))
    objects = [tags(change.objects) for told in isns.changes("R4171-5.6.5.8-03") for change in told.changes]
    require(objects, "R4171-5.6.5.5-01", "a control node is told of changes anywhere")
    require([32, 2065] in objects, "R4171-5.6.5.8-04", "the domain follows the node", seen=objects)


@server_case("isns-notice.subject", clauses={"R4171-5.6.5.8-02": S + "scn-about-itself"})
async def subject(isns: ServerBench) -> None:
    """An SCN does not go to the portal that it is about."""
    await isns.listener()
    await isns.register(ADMIN, eid("host"), *portal("192.0.2.2", 0), text(18, "eth0"), key=[eid("host")])
    gone = {send.udp[0] for send in isns.elsewhere if send.udp}
    require("192.0.2.2" not in gone, "R4171-5.6.5.8-02", "the portal that changed is not told of itself")


@server_case("isns-notice.event", clauses={"R4171-4.1.3-01": S + "silent-changes"}, proofs=[S + "any-event"])
async def event(isns: ServerBench) -> None:
    """SCNEvent has the event told, and needs a bitmap."""
    await isns.listener()
    await isns.disk()
    isns.told()
    bare = await isns.do(Function.SCN_EVENT, DISK, key=[name(DISK)])
    expect(bare, "R4171-4.1.3-01", Status.MESSAGE_FORMAT_ERROR, what="an event without bitmap has status 2")
    await isns.do(Function.SCN_EVENT, DISK, number(35, Scn.UPDATED), key=[name(DISK)])
    bits = [change.bitmap for told in isns.changes("R4171-5.6.5.8-03") for change in told.changes]
    require(bits == [Scn.UPDATED], "R4171-4.1.3-01", "the event is told", seen=bits)


async def _watched(isns: ServerBench, **more: int) -> None:
    """A disk with two portals that are under watch."""
    period = [number(6, more["period"])] if "period" in more else []
    for host in ("192.0.2.1", "192.0.2.3"):
        watch = number(Tag.ESI_INTERVAL, INTERVAL), number(Tag.ESI_PORT, UDP | ESI)
        await isns.register(DISK, eid("disk"), *period, *portal(host), *watch, *node(DISK), key=[eid("disk")])


def _confirm(isns: ServerBench, hosts: set[str]) -> None:
    for message, send in isns.inquiries():
        if send.udp and send.udp[0] in hosts:
            isns.server.datagram(send.udp, acknowledgement(message).encode(), isns.now)


BOTH = {"192.0.2.1", "192.0.2.3"}


@server_case(
    "isns-inquiry.sent",
    clauses={"R4171-2.9.2-03": S + "silent-inquiries", "R4171-5.6.5.13-01": S + "scrambled-inquiries"},
)
async def inquiry(isns: ServerBench) -> None:
    """Every portal with an ESI port is asked, in the form that the standard gives."""
    await _watched(isns)
    await isns.wait(INTERVAL)
    asked = isns.inquiries()
    seen = {send.udp[0] for _, send in asked if send.udp}
    require(seen == BOTH, "R4171-2.9.2-03", "each portal is asked", seen=sorted(seen))
    for message, send in asked:
        told = isns.inquiry(message, "R4171-5.6.5.13-01")
        where = address_text(told.address)
        require(send.udp == (where, ESI), "R4171-5.6.5.13-01", "an ESI names the portal that it goes to", seen=where)


@server_case(
    "isns-inquiry.repeated",
    clauses={
        "R4171-6.3.4-02": S + "one-inquiry",
        "R4171-5.1.5-03": S + "new-transaction",
        "R4171-6.3.4-03": S + "late-inquiries",
    },
)
async def repeated(isns: ServerBench) -> None:
    """An ESI that is not answered is repeated before twice the interval, as the same message."""
    await _watched(isns)
    await isns.wait(2 * INTERVAL - 1)
    asked = [message for message, send in isns.inquiries() if send.udp and send.udp[0] == "192.0.2.1"]
    if len(asked) < isns.config.esi_threshold:
        await isns.wait(2 * INTERVAL)
        later = [message for message, send in isns.inquiries() if send.udp and send.udp[0] == "192.0.2.1"]
        clause = "R4171-6.3.4-03" if later else "R4171-6.3.4-02"
        require(
            False, clause, "all repetitions come before twice the interval", seen=f"{len(asked)}, {len(later)} later"
        )
    seen = {message.transaction for message in asked}
    require(len(seen) == 1, "R4171-5.1.5-03", "what is repeated has its transaction ID", seen=seen)


@server_case(
    "isns-inquiry.silence",
    clauses={
        "R4171-6.3.4-04": S + "undead-portals",
        "R4171-5.6.5.13-02": S + "undead-portals",
        "R4171-6.3.4-05": S + "undead-entities",
        "R4171-5.6.5.13-03": S + "undead-entities",
    },
)
async def silence(isns: ServerBench) -> None:
    """A portal that does not answer is removed, and the entity with the last one."""
    await _watched(isns)
    for _ in range(8):
        await isns.wait(INTERVAL / 3)
        _confirm(isns, {"192.0.2.3"})
    left = (await isns.query(ADMIN, *want(16))).operating
    require_each(
        ("R4171-6.3.4-04", "R4171-5.6.5.13-02"),
        left == (portal("192.0.2.3")[0],),
        "the silent portal is gone",
        seen=len(left),
    )
    await isns.wait(4 * INTERVAL)
    seen = await isns.names(ADMIN)
    require_each(("R4171-6.3.4-05", "R4171-5.6.5.13-03"), not seen, "the entity goes with its last portal", seen=seen)


@server_case("isns-inquiry.notice", clauses={"R4171-5.6.5.13-04": S + "silent-changes"})
async def notice(isns: ServerBench) -> None:
    """What goes for want of answers is told as removed."""
    await isns.listener()
    await _watched(isns)
    isns.told()
    await isns.wait(3 * INTERVAL)
    bits = [change.bitmap for told in isns.changes("R4171-5.6.5.8-03") for change in told.changes]
    require(Scn.REMOVED in bits, "R4171-5.6.5.13-04", "the removal is told", seen=bits)


@server_case(
    "isns-inquiry.refresh",
    clauses={"R4171-6.2.6-05": S + "esi-no-refresh"},
    touches=["R4171-5.7.5.13-02"],
)
async def refresh(isns: ServerBench) -> None:
    """Answers to ESI keep a registration alive."""
    await _watched(isns, period=100)
    for _ in range(8):
        await isns.wait(INTERVAL / 3)
        _confirm(isns, BOTH)
    seen = await isns.names(ADMIN)
    require(seen == [DISK], "R4171-6.2.6-05", "an ESI response refreshes the registration", seen=seen)
