"""DevAttrQry and DevGetNext at a server (RFC 4171 5.6.5.2, 5.6.5.3)."""

from __future__ import annotations

from functools import partial

from iscsi_conformance.case import SERVER, SHOULD, case
from iscsi_conformance.isns.server_bench import ServerBench
from iscsi_conformance.isns.words import (
    ADMIN,
    DISK,
    HOST,
    LATER,
    OTHER,
    eid,
    expect,
    expect_each,
    name,
    node,
    portal,
    require_each,
    require_rows,
    tags,
    want,
)
from iscsi_conformance.verdict import require
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Response
from iscsi_protocol.isns.codes import Function, Status
from iscsi_protocol.isns.tlv import Attribute, number

server_case = partial(case, role=SERVER, virtual=True)
S = "isns-server."


@server_case(
    "isns-query.domains",
    clauses={
        "R4171-5.6.5.2-01": S + "no-domains",
        "R4171-3.6-01": S + "no-domains",
        "R4171-5.6.1-01": S + "no-domains",
        "R4171-5.6.5.2-18": S + "no-domains",
    },
    touches=["R4171-2.2.1-01"],
)
async def scope(isns: ServerBench) -> None:
    """A node sees itself and those that share a domain with it."""
    await isns.disk()
    await isns.host()
    await isns.register(OTHER, *node(OTHER))
    await isns.share(DISK, HOST)
    seen = await isns.names(HOST)
    clauses = ("R4171-5.6.5.2-01", "R4171-3.6-01", "R4171-5.6.1-01", "R4171-5.6.5.2-18")
    require_each(clauses, seen == [DISK, HOST], "a query is limited to the source's domains", seen=seen)


@server_case("isns-query.disabled-set", clauses={"R4171-2.2.2-05": S + "disabled-sets-count"})
async def disabled(isns: ServerBench) -> None:
    """A domain counts only in an enabled set."""
    await isns.disk()
    await isns.host()
    await isns.share(DISK, HOST, enabled=False)
    seen = await isns.names(HOST)
    require(seen == [HOST], "R4171-2.2.2-05", "a domain of a disabled set shows nobody", seen=seen)


@server_case("isns-query.all-portals", clauses={"R4171-2.2.2-01": S + "portals-need-membership"})
async def all_portals(isns: ServerBench) -> None:
    """Without portals as members a domain shows all portals of its nodes."""
    await isns.disk(*portal("192.0.2.3"))
    await isns.host()
    await isns.share(DISK, HOST)
    seen = (await isns.query(HOST, *want(16), key=[name(DISK)])).operating
    require(len(seen) == 2, "R4171-2.2.2-01", "all portals are told", seen=len(seen))


@server_case("isns-query.member-portals", clauses={"R4171-2.2.2-02": S + "portal-members-ignored"})
async def member_portals(isns: ServerBench) -> None:
    """With portals as members a domain shows those."""
    await isns.disk(*portal("192.0.2.3"))
    await isns.host()
    domain = await isns.share(DISK, HOST)
    where, port = portal("192.0.2.3")
    members = Attribute(Tag.DD_MEMBER_ADDRESS, where.value), Attribute(Tag.DD_MEMBER_PORT, port.value)
    await isns.do(Function.DD_REG, ADMIN, *members, key=[number(Tag.DD_ID, domain)])
    seen = (await isns.query(HOST, *want(16), key=[name(DISK)])).operating
    require(seen == (where,), "R4171-2.2.2-02", "the portal that is a member is told, and no other", seen=len(seen))


@server_case(
    "isns-query.order",
    clauses={"R4171-5.6.5.2-04": S + "sorted-results", "R4171-5.6.4.1-01": S + "no-node-type"},
    touches=["R4171-5.7.5.2-03", "R4171-5.6.5.2-17"],
)
async def order(isns: ServerBench) -> None:
    """Attributes come as they were asked for."""
    await isns.disk()
    seen = tags((await isns.query(DISK, *want(33, 32, 17, 16), key=[name(DISK)])).operating)
    require(set(seen) == {16, 17, 32, 33}, "R4171-5.6.4.1-01", "what is asked for is returned", seen=seen)
    require(seen == [33, 32, 17, 16], "R4171-5.6.5.2-04", "the order is that of the query", seen=seen)


@server_case(
    "isns-query.each-object",
    clauses={"R4171-5.6.5.2-09": S + "sorted-results", "R4171-5.6.5.2-08": S + "no-node-type"},
)
async def each_object(isns: ServerBench) -> None:
    """An empty key returns all objects, one complete before the next."""
    await isns.disk()
    await isns.host()
    seen = tags((await isns.query(ADMIN, *want(32, 33, 16), key=[Attribute(Tag.ISCSI_NAME)])).operating)
    require(len(seen) == 6, "R4171-5.6.5.2-08", "all objects are returned with what was asked for", seen=seen)
    require(seen == [32, 33, 16] * 2, "R4171-5.6.5.2-09", "an object is complete before the next", seen=seen)


@server_case("isns-query.by-type", clauses={"R4171-5.6.5.2-10": S + "secret-portals"})
async def by_type(isns: ServerBench) -> None:
    """Without key objects come type by type."""
    await isns.disk()
    await isns.host()
    seen = tags((await isns.query(ADMIN, *want(16, 32))).operating)
    require(seen == [16, 16, 32, 32], "R4171-5.6.5.2-10", "all of a type come before the next type", seen=seen)


@server_case(
    "isns-query.nothing",
    clauses={"R4171-5.6.5.2-06": S + "failing-queries", "R4171-5.6.5.2-12": S + "failing-queries"},
    touches=["R4171-5.6.5.2-05", "R4171-5.6.5.2-11"],
)
async def nothing(isns: ServerBench) -> None:
    """A query that matches nothing, or for what has no value, is no error."""
    await isns.disk()
    none = await isns.query(ADMIN, *want(32), key=[name(OTHER)])
    unset = await isns.query(ADMIN, *want(Tag.ALIAS), key=[name(DISK)])
    require_rows(
        [
            ("R4171-5.6.5.2-06", none.status == 0, "a query that matches nothing has status 0"),
            ("R4171-5.6.5.2-12", unset.status == 0, "a query for what is not set has status 0"),
            ("R4171-5.6.5.2-05", not none.operating, "nothing is returned"),
            ("R4171-5.6.5.2-11", not unset.operating, "what is not set is left out"),
        ]
    )


@server_case(
    "isns-query.invalid",
    clauses={"R4171-5.4-06": S + "any-query"},
)
async def invalid(isns: ServerBench) -> None:
    """A query with a key of another type, or of two, is refused."""
    await isns.disk()
    for what, operating, key in (
        ("a domain's name by a node", want(Tag.DD_NAME), [name(DISK)]),
        ("a key of two types", want(32), [eid("disk"), name(DISK)]),
    ):
        answer = await isns.query(ADMIN, *operating, key=key)
        expect(answer, "R4171-5.4-06", Status.INVALID_QUERY, Status.MESSAGE_FORMAT_ERROR, what=f"{what} has status 5")


@server_case(
    "isns-query.everything",
    clauses={
        "R4171-5.7.5.2-02": S + "no-node-type",
        "R4171-5.7.5.2-01": S + "keyless-queries",
        "R4171-5.6.5.2-03": S + "secret-portals",
    },
)
async def everything(isns: ServerBench) -> None:
    """A query that asks for nothing in particular returns all of the object and of what belongs to it."""
    await isns.disk()
    answer = await isns.query(DISK, key=[name(DISK)])
    require(answer.key == (name(DISK),), "R4171-5.7.5.2-01", "the response repeats the message key")
    seen = tags(answer.operating)
    require(16 in seen, "R4171-5.6.5.2-03", "related objects are returned", seen=seen)
    require({32, 33} <= set(seen), "R4171-5.7.5.2-02", "all attributes are returned", seen=seen)


@server_case("isns-query.keys", clauses={"R4171-5.6.5.2-16": S + "failing-queries"})
async def keys(isns: ServerBench) -> None:
    """Every key that a server has to know is understood."""
    await isns.disk()
    domain = await isns.share(DISK)
    for tag, key in (
        (32, [eid("disk")]),
        (32, [number(Tag.ENTITY_PROTOCOL, 2)]),
        (32, portal()),
        (32, [number(Tag.PORTAL_INDEX, 1)]),
        (32, [number(Tag.NODE_TYPE, 1)]),
        (32, [number(Tag.NODE_INDEX, 1)]),
        (48, [number(Tag.PG_INDEX, 1)]),
        (2068, [number(Tag.DD_ID, domain)]),
        (2050, [number(Tag.DDS_ID, 1)]),
    ):
        answer = await isns.query(ADMIN, *want(tag), key=key)
        shown = " ".join(str(item) for item in key)
        expect(answer, "R4171-5.6.5.2-16", what=f"{shown} is a key")
        require(len(answer.operating) == 1, "R4171-5.6.5.2-16", f"{shown} finds its object", seen=len(answer.operating))


@server_case("isns-query.members", clauses={"R4171-5.6.5.2-14": S + "registered-members-only"})
async def members(isns: ServerBench) -> None:
    """A domain tells all members, registered or not; as nodes it tells those that are registered."""
    await isns.disk()
    domain = await isns.share(DISK, LATER)
    told = (await isns.query(ADMIN, *want(Tag.DD_MEMBER_NAME), key=[number(Tag.DD_ID, domain)])).operating
    require(len(told) == 2, "R4171-5.6.5.2-14", "members need not be registered to be told", seen=len(told))
    nodes = (await isns.query(ADMIN, *want(32), key=[number(Tag.DD_ID, domain)])).operating
    require(nodes == (name(DISK),), "R4171-5.6.5.2-15", "nodes are told if they are registered", seen=len(nodes))


async def _walk(isns: ServerBench, *operating: Attribute) -> list[Response]:
    key: tuple[Attribute, ...] = want(32)
    found: list[Response] = []
    while len(found) < 5:
        answer = await isns.do(Function.DEV_GET_NEXT, ADMIN, *operating, key=key)
        found.append(answer)
        if answer.status or not answer.key:
            break
        key = answer.key
    return found


@server_case(
    "isns-walk.all",
    clauses={
        "R4171-5.6.5.3-02": S + "skips-objects",
        "R4171-3.8-01": S + "skips-objects",
        "R4171-5.6.5.3-03": S + "endless-walk",
        "R4171-5.7.5.3-01": S + "keyless-walk",
        "R4171-5.6.5.3-01": S + "keyless-walk",
    },
)
async def walk(isns: ServerBench) -> None:
    """A walk visits each object once, and ends."""
    await isns.disk()
    await isns.host()
    await isns.register(OTHER, *node(OTHER))
    found = await _walk(isns)
    *good, last = found
    require_each(
        ("R4171-5.7.5.3-01", "R4171-5.6.5.3-01"), found[0].key, "the message key of the response is the next object's"
    )
    expect(last, "R4171-5.6.5.3-03", Status.NO_SUCH_ENTRY, what="behind the last object there is status 9")
    seen = [answer.key[0].text for answer in good]
    require_each(("R4171-5.6.5.3-02", "R4171-3.8-01"), seen == [DISK, HOST, OTHER], "each comes once", seen=seen)


@server_case("isns-walk.filter", clauses={"R4171-5.6.5.3-06": S + "no-filter"})
async def limited(isns: ServerBench) -> None:
    """A value among the operating attributes limits a walk."""
    await isns.disk()
    await isns.host()
    found = await _walk(isns, number(Tag.NODE_TYPE, 2))
    seen = [answer.key[0].text for answer in found if answer.key and not answer.status]
    require(seen == [HOST], "R4171-5.6.5.3-06", "only what matches is visited", seen=seen)


@server_case(
    "isns-walk.changes",
    clauses={
        "R4171-5.6.5.3-08": S + "endless-walk",
        "R4171-3.8-02": S + "skips-objects",
        "R4171-3.8-03": S + "skips-objects",
    },
    level=SHOULD,
)
async def changing(isns: ServerBench) -> None:
    """A walk goes on where objects come and go meanwhile."""
    await isns.disk()
    await isns.host()
    await isns.register(OTHER, *node(OTHER))
    await isns.do(Function.DEV_DEREG, ADMIN, eid("host"))
    after = await isns.do(Function.DEV_GET_NEXT, ADMIN, key=[name(HOST)])
    require_each(("R4171-3.8-02", "R4171-3.8-03"), after.key == (name(OTHER),), "the next object follows what is gone")
    await isns.do(Function.DEV_DEREG, ADMIN, name(OTHER))
    end = await isns.do(Function.DEV_GET_NEXT, ADMIN, key=[name(HOST)])
    expect_each(["R4171-5.6.5.3-08"], end, Status.NO_SUCH_ENTRY, what="behind what is gone there is nothing left")


@server_case("isns-walk.invalid", clauses={"R4171-5.4-06": S + "any-query"})
async def invalid_walk(isns: ServerBench) -> None:
    """DevGetNext with attributes of another object is refused."""
    await isns.disk()
    answer = await isns.do(Function.DEV_GET_NEXT, ADMIN, *want(16), key=want(32))
    expect(answer, "R4171-5.4-06", Status.INVALID_QUERY, Status.MESSAGE_FORMAT_ERROR, what="a portal is no node's")
