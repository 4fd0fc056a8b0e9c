"""DevAttrReg and DevDereg at a server (RFC 4171 5.6.5.1, 5.6.5.4, 6.2 to 6.5)."""

from __future__ import annotations

from functools import partial

from iscsi_conformance.case import SERVER, SHOULD, case
from iscsi_conformance.isns.server_bench import ServerBench
from iscsi_conformance.isns.words import (
    ADMIN,
    DISK,
    HOST,
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
    values,
    want,
)
from iscsi_conformance.verdict import require
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.codes import Function, Status
from iscsi_protocol.isns.tlv import Attribute, number, text

server_case = partial(case, role=SERVER, virtual=True)
S = "isns-server."
INVALID = Status.INVALID_REGISTRATION
BAD_FORM = Status.MESSAGE_FORMAT_ERROR


@server_case(
    "isns-registration.made-up-identifier",
    clauses={
        "R4171-5.6.5.1-29": S + "keyless-registrations",
        "R4171-5.7.5.1-02": S + "keyless-registrations",
        "R4171-6.2.1-04": S + "foreign-eids",
        "R4171-5.6.5.1-28": S + "failing-registrations",
    },
    touches=["R4171-6.2.1-01", "R4171-6.2.1-02", "R4171-6.4.1-02", "R4171-5.6.5.1-07"],
)
async def made_up(isns: ServerBench) -> None:
    """An entity that is registered without identifier gets one."""
    answer = await isns.register(DISK, *node(DISK))
    expect(answer, "R4171-5.6.5.1-28", what="a node without entity is taken")
    require_each(
        ("R4171-5.6.5.1-29", "R4171-5.7.5.1-02"),
        tags(answer.key) == [1] and answer.key[0].value,
        "the identifier is in the response's key",
    )
    made = answer.key[0].text
    require(made.startswith("isns:"), "R4171-6.2.1-04", "identifiers of a server begin with isns:", seen=made)


@server_case(
    "isns-registration.given-identifier",
    clauses={
        "R4171-5.6.5.1-04": S + "failing-registrations",
        "R4171-5.6.5.1-30": S + "failing-registrations",
        "R4171-5.7.5.1-01": S + "keyless-registrations",
        "R4171-5.7.5.1-03": S + "no-node-type",
    },
)
async def given(isns: ServerBench) -> None:
    """A new identifier is taken, and what was registered is told."""
    answer = await isns.register(DISK, eid("disk"), *portal(), *node(DISK), key=[eid("disk")])
    expect_each(("R4171-5.6.5.1-04", "R4171-5.6.5.1-30"), answer, what="an unknown identifier makes a new entity")
    require(answer.key == (eid("disk"),), "R4171-5.7.5.1-01", "the response repeats the message key")
    seen = [tag for tag in tags(answer.operating) if tag != Tag.REGISTRATION_PERIOD]
    require(seen == [1, 16, 17, 32, 33], "R4171-5.7.5.1-03", "what was registered is told", seen=seen)


@server_case(
    "isns-registration.period",
    clauses={"R4171-6.2.6-02": S + "secret-period", "R4171-5.7.5.1-11": S + "secret-period"},
    proofs=[S + "no-period"],
    touches=["R4171-6.2.6-01"],
)
async def period(isns: ServerBench) -> None:
    """An entity without period and ESI gets a period, which is told."""
    answer = await isns.register(DISK, eid("disk"), number(6, 0), *node(DISK), key=[eid("disk")])
    told = values(answer, Tag.REGISTRATION_PERIOD)
    require_each(
        ("R4171-6.2.6-02", "R4171-5.7.5.1-11"),
        told and told[0].number,
        "the period that the server set is told, and is not 0",
    )


@server_case("isns-registration.short-interval", clauses={"R4171-6.3.4-06": S + "secret-interval"})
async def short_interval(isns: ServerBench) -> None:
    """An ESI interval that the server cannot keep is changed and told, or refused."""
    answer = await isns.register(DISK, *portal(), number(19, 1), number(20, 0x10000 | 4000), *node(DISK))
    expect(answer, "R4171-6.3.4-06", 0, Status.ESI_NOT_AVAILABLE, what="an interval is taken, changed or refused")
    told = values(answer, Tag.ESI_INTERVAL)
    require(answer.status or told, "R4171-6.3.4-06", "the interval in force is told")


@server_case("isns-registration.entity-alone", clauses={"R4171-5.6.5.1-33": S + "any-registration"})
async def alone(isns: ServerBench) -> None:
    """A new entity without node and portal is refused."""
    answer = await isns.register(DISK, eid("disk"), key=[eid("disk")])
    expect(answer, "R4171-5.6.5.1-33", INVALID, what="an entity alone has status 3")


@server_case("isns-registration.unknown-key", clauses={"R4171-5.6.5.1-06": S + "any-registration"})
async def unknown_key(isns: ServerBench) -> None:
    """A message key without identifier that matches nothing is refused."""
    answer = await isns.register(DISK, *node(DISK), key=[name(DISK)])
    expect(answer, "R4171-5.6.5.1-06", INVALID, what="a key that matches nothing has status 3")


@server_case(
    "isns-registration.replace",
    clauses={
        "R4171-5.6.5.1-09": S + "replace-updates",
        "R4171-5.6.5.1-12": S + "replace-everything",
    },
)
async def replace(isns: ServerBench) -> None:
    """Replacing an entity removes what is not listed, and nothing of others."""
    await isns.disk()
    await isns.host()
    await isns.register(DISK, eid("disk"), *node(DISK), *node(OTHER), key=[eid("disk")])
    await isns.register(DISK, eid("disk"), *node(DISK), key=[eid("disk")], replace=True)
    names = await isns.names(ADMIN)
    require(HOST in names, "R4171-5.6.5.1-12", "other entities are left alone", seen=names)
    require(OTHER not in names and DISK in names, "R4171-5.6.5.1-09", "the entity is replaced", seen=names)


@server_case(
    "isns-registration.update",
    clauses={"R4171-5.6.5.1-31": S + "update-replaces", "R4171-5.6.5.1-15": S + "failing-registrations"},
)
async def update(isns: ServerBench) -> None:
    """What is registered under a known identifier is added to that entity."""
    await isns.register(DISK, eid("disk"), *node(DISK), key=[eid("disk")])
    answer = await isns.register(DISK, eid("disk"), *node(OTHER), key=[eid("disk")])
    expect(answer, "R4171-5.6.5.1-15", what="a node may be added")
    names = await isns.names(ADMIN)
    require(names == [DISK, OTHER], "R4171-5.6.5.1-31", "the entity has both nodes", seen=names)


@server_case(
    "isns-registration.move",
    clauses={
        "R4171-3.1-01": S + "objects-move",
        "R4171-5.6.5.1-13": S + "objects-move",
        "R4171-5.6.5.1-14": S + "any-registration",
    },
)
async def move(isns: ServerBench) -> None:
    """A node does not move to another entity."""
    await isns.disk()
    await isns.host()
    answer = await isns.register(HOST, eid("host"), *node(DISK), key=[eid("host")])
    entity = (await isns.query(ADMIN, *want(1), key=[name(DISK)])).operating
    require_each(
        ("R4171-3.1-01", "R4171-5.6.5.1-13"),
        entity == (eid("disk"),),
        "the node stays where it was",
        seen=[str(item) for item in entity],
    )
    require(answer.status, "R4171-5.6.5.1-14", "the registration is refused")


@server_case(
    "isns-registration.order",
    clauses={
        "R4171-5.6.4-03": S + "malformed-requests",
        "R4171-5.6.4-01": S + "malformed-requests",
        "R4171-5.6.4-04": S + "malformed-requests",
        "R4171-5.6.4-05": S + "malformed-requests",
        "R4171-5.6.4-06": S + "malformed-requests",
        "R4171-5.6.4-07": S + "malformed-requests",
        "R4171-5.6.4-08": S + "malformed-requests",
    },
)
async def order(isns: ServerBench) -> None:
    """Operating attributes in another order than objects ask for are refused as a format error."""
    address, port = portal()
    wrong = {
        "R4171-5.6.4-04": ("the port before the address", [port, address, *node(DISK)]),
        "R4171-5.6.4-01": ("a type before the name", [number(33, 1), name(DISK)]),
        "R4171-5.6.4-05": ("a portal's attribute behind a node", [address, port, *node(DISK), text(18, "eth0")]),
        "R4171-5.6.4-06": ("a node's type behind a portal", [name(DISK), address, port, number(33, 1)]),
        "R4171-5.6.4-08": ("a node before its entity", [*node(DISK), eid("disk")]),
    }
    rows = []
    for clause, (what, operating) in wrong.items():
        answer = await isns.register(DISK, *operating)
        rows.append((clause, answer.status == BAD_FORM, f"{what} has status 2, not {answer.status}"))
    for clause in ("R4171-5.6.4-03", "R4171-5.6.4-07"):
        rows.append((clause, all(good for _, good, _ in rows), "attributes in another order have status 2"))
    require_rows(rows)


@server_case(
    "isns-registration.foreign-source",
    clauses={"R4171-5.6.1-02": S + "any-owner", "R4171-5.6.5.1-21": S + "any-owner"},
    touches=["R4171-2.2.2-06"],
)
async def foreign_source(isns: ServerBench) -> None:
    """A node changes nothing of another entity."""
    await isns.disk()
    await isns.host()
    answer = await isns.register(HOST, eid("disk"), *portal("192.0.2.9"), key=[eid("disk")])
    expect_each(
        ("R4171-5.6.1-02", "R4171-5.6.5.1-21"),
        answer,
        Status.SOURCE_UNAUTHORIZED,
        what="another entity's objects have status 8",
    )


@server_case(
    "isns-registration.default-tag",
    clauses={"R4171-5.6.5.1-24": S + "other-default-tag", "R4171-6.5.4-01": S + "other-default-tag"},
    touches=["R4171-3.4-03"],
)
async def default_tag(isns: ServerBench) -> None:
    """A pair of node and portal without tag has tag 1."""
    await isns.disk()
    told = (await isns.query(DISK, *want(Tag.PGT), key=[name(DISK)])).operating
    require_each(
        ("R4171-5.6.5.1-24", "R4171-6.5.4-01"),
        told == (number(Tag.PGT, 1),),
        "the tag is 1",
        seen=[str(item) for item in told],
    )


@server_case(
    "isns-registration.tags",
    clauses={
        "R4171-5.6.5.1-37": S + "other-default-tag",
        "R4171-5.7.5.1-07": S + "no-tags-told",
        "R4171-5.6.5.1-26": S + "first-tag-stays",
    },
    touches=["R4171-3.4-01"],
)
async def explicit_tags(isns: ServerBench) -> None:
    """Tags hold for the pairs that are listed behind them, and an update writes them over."""
    await isns.register(DISK, eid("disk"), *node(DISK), *node(OTHER), key=[eid("disk")])
    tag = number(Tag.PGT, 5)
    answer = await isns.register(DISK, eid("disk"), *portal(), tag, text(Tag.PG_NAME, DISK), key=[eid("disk")])
    require(tag in answer.operating, "R4171-5.7.5.1-07", "a tag that was given is told")
    told = [(await isns.query(ADMIN, *want(Tag.PGT), key=[name(each)])).operating for each in (DISK, OTHER)]
    seen = [str(item) for each in told for item in each]
    require(told == [(tag,), (number(Tag.PGT, 1),)], "R4171-5.6.5.1-37", "the tag is for its pair alone", seen=seen)
    await isns.register(DISK, *portal(), Attribute(Tag.PGT), text(Tag.PG_NAME, DISK), key=portal())
    after = (await isns.query(DISK, *want(16), key=[name(DISK)])).operating
    require(after == (), "R4171-5.6.5.1-26", "an empty tag takes the portal away from the node")


@server_case(
    "isns-registration.null-tag",
    clauses={
        "R4171-3.4-02": S + "null-gives-access",
        "R4171-5.6.5.1-25": S + "null-gives-access",
        "R4171-5.6.5.2-07": S + "null-gives-access",
    },
)
async def null_tag(isns: ServerBench) -> None:
    """A portal with a NULL tag is no way to the node."""
    null = Attribute(Tag.PGT)
    await isns.register(DISK, *portal(), null, text(Tag.PG_NAME, DISK), *portal("192.0.2.7"), *node(DISK), key=[])
    told = (await isns.query(DISK, *want(16), key=[name(DISK)])).operating
    require_each(
        ("R4171-3.4-02", "R4171-5.6.5.1-25", "R4171-5.6.5.2-07"),
        told == (portal("192.0.2.7")[0],),
        "only the other portal is told",
        seen=len(told),
    )


READ_ONLY = {
    "R4171-6.2.4-01": (Tag.TIMESTAMP, "entity"),
    "R4171-6.2.8-01": (Tag.ENTITY_NEXT_INDEX, "entity"),
    "R4171-6.3.8-01": (Tag.PORTAL_NEXT_INDEX, "portal"),
    "R4171-6.4.7-01": (Tag.NODE_NEXT_INDEX, "node"),
    "R4171-6.5.6-01": (Tag.PG_NEXT_INDEX, "node"),
    "R4171-6.9-01": (Tag.SERVER_OUI, "node"),
    "R4171-6.9.1-01": (Tag.SERVER_OUI, "node"),
}


@server_case("isns-registration.read-only", clauses=dict.fromkeys(READ_ONLY, S + "any-registration"))
async def read_only(isns: ServerBench) -> None:
    """What only the server sets cannot be registered."""
    rows = []
    for clause, (tag, place) in READ_ONLY.items():
        parts = {"entity": [eid("disk")], "portal": [*portal()], "node": [*node(DISK)]}
        parts[place].append(number(tag, 9))
        operating = [item for part in parts.values() for item in part]
        answer = await isns.register(DISK, *operating, key=[eid("disk")])
        rows.append((clause, answer.status == INVALID, f"{tag.name} has status 3, not {answer.status}"))
    require_rows(rows)


@server_case("isns-registration.bad-values", clauses={"R4171-5.7.5.1-08": S + "any-registration"})
async def bad_values(isns: ServerBench) -> None:
    """Values that no object can have are refused."""
    for what, operating in (
        ("node type 0", node(DISK, 0)),
        ("the control bit", node(DISK, 4)),
        ("a node without type", (name(DISK),)),
        ("a name that is none", (text(Tag.ISCSI_NAME, "disk"), number(Tag.NODE_TYPE, 1))),
    ):
        expect(await isns.register(DISK, *operating), "R4171-5.7.5.1-08", INVALID, what=f"{what} has status 3")


@server_case(
    "isns-registration.names",
    clauses={"R4171-6.4.1-03": S + "raw-names"},
)
async def names(isns: ServerBench) -> None:
    """Names are stored in their normal form."""
    await isns.register(DISK, *node(DISK.replace("disk", "DISK")), *node(DISK))
    await isns.register(DISK.replace("disk", "Disk"), *node(DISK.replace("disk", "Disk")))
    seen = await isns.names(ADMIN)
    require(seen == [DISK], "R4171-6.4.1-03", "names are in lower case", seen=seen)


@server_case("isns-registration.atomic", clauses={"R4171-5.4-02": S + "half-done"}, touches=["R4171-6.3.5-02"])
async def atomic(isns: ServerBench) -> None:
    """A request that is refused changes nothing."""
    answer = await isns.register(DISK, *node(DISK), *portal(), number(Tag.ESI_INTERVAL, 60))
    seen = await isns.names(ADMIN)
    require(answer.status and not seen, "R4171-5.4-02", "what is refused leaves nothing behind", seen=seen)


@server_case("isns-registration.no-esi-port", clauses={"R4171-6.3.5-02": S + "any-registration"})
async def no_esi_port(isns: ServerBench) -> None:
    """An ESI interval without any ESI port is an error."""
    answer = await isns.register(DISK, *portal(), number(Tag.ESI_INTERVAL, 60), *node(DISK))
    require(answer.status, "R4171-6.3.5-02", "an interval without port is refused")


@server_case(
    "isns-registration.indexes",
    clauses={
        "R4171-6.2.7-01": S + "one-index",
        "R4171-6.3.6-01": S + "one-index",
        "R4171-6.4.5-01": S + "one-index",
        "R4171-6.5.5-01": S + "one-index",
    },
    touches=["R4171-2.10-01"],
)
async def indexes(isns: ServerBench) -> None:
    """Each object has an index of its own."""
    await isns.disk()
    await isns.host()
    found = {tag: (await isns.query(ADMIN, *want(tag))).operating for tag in (7, 22, 36, 52)}
    rows = []
    for clause, tag in (("R4171-6.2.7-01", 7), ("R4171-6.3.6-01", 22), ("R4171-6.4.5-01", 36), ("R4171-6.5.5-01", 52)):
        numbers = [item.number for item in found[tag]]
        rows.append((clause, all(numbers) and len(set(numbers)) == 2, f"indexes differ and are not 0: {numbers}"))
    require_rows(rows)


@server_case(
    "isns-registration.index-not-reused",
    clauses={"R4171-2.10-02": S + "reuses-indexes", "R4171-6.2.7-02": S + "reuses-indexes"},
    level=SHOULD,
)
async def index_not_reused(isns: ServerBench) -> None:
    """The index of what was removed is not given away soon."""
    await isns.disk()
    before = (await isns.query(ADMIN, *want(7, 36), key=[name(DISK)])).operating
    await isns.do(Function.DEV_DEREG, DISK, eid("disk"))
    await isns.host()
    after = (await isns.query(ADMIN, *want(7, 36), key=[name(HOST)])).operating
    require_rows(
        [
            ("R4171-2.10-02", before[1] != after[1], "a new node has a new index"),
            ("R4171-6.2.7-02", before[0] != after[0], "a new entity has a new index"),
        ]
    )


@server_case("isns-removal.entity", clauses={"R4171-5.6.5.4-01": S + "orphans"})
async def entity_removed(isns: ServerBench) -> None:
    """An entity goes with all that it has."""
    await isns.disk()
    await isns.do(Function.DEV_DEREG, DISK, eid("disk"))
    seen = await isns.names(ADMIN)
    require(not seen, "R4171-5.6.5.4-01", "nodes go with their entity", seen=seen)


@server_case("isns-removal.twice", clauses={"R4171-5.6.5.4-04": S + "failing-removals"}, touches=["R4171-5.7.5.4-03"])
async def twice(isns: ServerBench) -> None:
    """Removing what is not there is no error."""
    await isns.disk()
    answer = await isns.do(Function.DEV_DEREG, DISK, name(OTHER))
    expect(answer, "R4171-5.6.5.4-04", what="a node that is not there can be removed")
    require(not answer.operating, "R4171-5.7.5.4-03", "what did not exist is not listed")


@server_case(
    "isns-removal.foreign",
    clauses={"R4171-5.6.5.4-03": S + "any-owner", "R4171-5.7.5.4-02": S + "secret-objects"},
)
async def foreign_removed(isns: ServerBench) -> None:
    """Another entity's objects are not removed, and are listed."""
    await isns.disk()
    await isns.host()
    answer = await isns.do(Function.DEV_DEREG, DISK, eid("host"))
    expect(answer, "R4171-5.6.5.4-03", Status.SOURCE_UNAUTHORIZED, what="what belongs to others has status 8")
    require(answer.operating == (eid("host"),), "R4171-5.7.5.4-02", "what was not removed is listed")


@server_case("isns-removal.last-part", clauses={"R4171-5.6.5.4-05": S + "empty-entities"})
async def last_part(isns: ServerBench) -> None:
    """An entity goes with its last node and portal."""
    await isns.disk()
    await isns.do(Function.DEV_DEREG, DISK, name(DISK), *portal())
    seen = (await isns.query(ADMIN, *want(1))).operating
    require(not seen, "R4171-5.6.5.4-05", "an entity without parts is removed")


@server_case(
    "isns-removal.group",
    clauses={
        "R4171-5.6.5.4-07": S + "groups-go-early",
        "R4171-3.4-04": S + "groups-go-early",
        "R4171-5.6.5.4-08": S + "groups-go-early",
    },
)
async def group(isns: ServerBench) -> None:
    """A portal group stays while its portal or its node does, and comes back with the other."""
    await isns.register(
        DISK, eid("disk"), *portal(), number(51, 5), text(48, DISK), *node(DISK), *node(OTHER), key=[eid("disk")]
    )
    await isns.do(Function.DEV_DEREG, DISK, name(DISK))
    kept = (await isns.query(ADMIN, *want(Tag.PGT))).operating
    await isns.register(OTHER, eid("disk"), *node(DISK), key=[eid("disk")])
    again = (await isns.query(ADMIN, *want(Tag.PGT), key=[name(DISK)])).operating
    require_rows(
        [
            ("R4171-5.6.5.4-07", number(51, 5) in kept, "the group stays with its portal"),
            ("R4171-3.4-04", number(51, 5) in kept, "the group stays with its portal"),
            ("R4171-5.6.5.4-08", again == (number(51, 5),), "the node finds its group again"),
        ]
    )


@server_case(
    "isns-removal.membership",
    clauses={"R4171-5.6.5.4-09": S + "forgets-membership", "R4171-2.2.2-04": S + "forgets-membership"},
    touches=["R4171-6.4.5-02"],
)
async def membership(isns: ServerBench) -> None:
    """A node that goes stays a member of its domains."""
    await isns.disk()
    await isns.host()
    await isns.share(DISK, HOST)
    await isns.do(Function.DEV_DEREG, DISK, eid("disk"))
    await isns.disk()
    seen = await isns.names(HOST)
    require_each(("R4171-5.6.5.4-09", "R4171-2.2.2-04"), DISK in seen, "the node is in its domain again", seen=seen)


@server_case(
    "isns-period.expiry",
    clauses={"R4171-6.2.6-03": S + "no-expiry", "R4171-6.2.6-04": S + "no-refresh"},
)
async def expiry(isns: ServerBench) -> None:
    """A registration lives as long as its client says something within the period."""
    await isns.register(DISK, eid("disk"), number(6, 600), *node(DISK), key=[eid("disk")])
    for _ in range(3):
        await isns.wait(400)
        await isns.names(DISK)
    seen = await isns.names(ADMIN)
    require(seen == [DISK], "R4171-6.2.6-04", "a message refreshes the registration", seen=seen)
    await isns.wait(601)
    seen = await isns.names(ADMIN)
    require(not seen, "R4171-6.2.6-03", "a silent client is forgotten", seen=seen)


@server_case("isns-period.timestamp", clauses={"R4171-6.2.4-02": S + "stale-timestamps"})
async def timestamp(isns: ServerBench) -> None:
    """Every message of a client moves its timestamp."""
    await isns.disk()
    await isns.wait(100)
    await isns.names(DISK)
    (told,) = (await isns.query(ADMIN, *want(4), key=[eid("disk")])).operating
    require(
        told.number == int(isns.now), "R4171-6.2.4-02", "the timestamp is that of the last message", seen=told.number
    )
