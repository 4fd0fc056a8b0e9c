"""Whatever comes, the server answers in the protocol's own words, and what it keeps is what it has on disk."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.target.isns.bench import ADMIN, DISK, HOST, OTHER, Bench, eid, name, node, portal

from iscsi_protocol.isns.attributes import ATTRIBUTES, Tag
from iscsi_protocol.isns.body import DELIMITER, Request
from iscsi_protocol.isns.codes import Function
from iscsi_protocol.isns.pdu import IsnsPdu, PduStream
from iscsi_protocol.isns.tlv import Attribute, address, encode_all, number, text
from iscsi_target.isns.store import Node, Portal, Store

NAMES = st.sampled_from([DISK, HOST, OTHER, ADMIN])
NUMBERS = st.integers(0, 6)
KNOWN = st.one_of(
    NAMES.map(name),
    NAMES.map(lambda value: text(Tag.DD_MEMBER_NAME, value)),
    NAMES.map(lambda value: text(Tag.PG_NAME, value)),
    st.sampled_from(["a", "b", "isns:00000001"]).map(eid),
    st.builds(number, st.sampled_from([2, 6, 7, 17, 19, 20, 22, 23, 33, 35, 36, 50, 51, 52]), NUMBERS),
    st.builds(number, st.sampled_from([2049, 2051, 2065, 2067, 2070, 2072, 2078]), NUMBERS),
    st.builds(address, st.sampled_from([16, 49, 2071]), st.sampled_from(["192.0.2.1", "::1"])),
    st.builds(text, st.sampled_from([18, 34, 2050, 2066]), st.sampled_from(["x", "y"])),
    st.sampled_from(sorted(ATTRIBUTES)).map(Attribute),
    st.builds(Attribute, st.sampled_from([*sorted(ATTRIBUTES), 64, 641]), st.binary(max_size=12)),
)
OBJECTS = st.one_of(
    st.tuples(NAMES, st.integers(1, 3)).map(lambda pair: [*node(*pair)]),
    st.sampled_from(["192.0.2.1", "192.0.2.2"]).map(lambda host: [*portal(host)]),
    st.sampled_from(["192.0.2.1", "192.0.2.2"]).map(
        lambda host: [*portal(host), number(19, 60), number(20, 0x10FA0), number(23, 0x10FA1)]
    ),
    KNOWN.map(lambda item: [item]),
)
REQUESTS = st.builds(
    Request,
    function=st.sampled_from([*range(1, 8), 9, 10, 11, 12]),
    source=NAMES.map(name),
    key=st.lists(KNOWN, max_size=2).map(tuple),
    operating=st.lists(OBJECTS, max_size=4).map(lambda groups: tuple(item for group in groups for item in group)),
    replace=st.booleans(),
)


def mirrored(mirror: Store, changes) -> None:
    """Write changes as the database does."""
    for table, key, _, after in changes:
        mirror.tables[table].restore(key, after)


def rows(store: Store) -> dict[str, list[Any]]:
    return {table: each.rows() for table, each in store.tables.items()}


@settings(max_examples=150, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=12))
def test_every_request_is_answered_and_every_change_is_told(requests: list[Request]) -> None:
    bench = Bench(default_domain=True)
    mirror = Store()
    bench.disk()
    bench.host()
    for request in requests:
        mirrored(mirror, bench.server.take_changes())
        before = rows(bench.server.realm.store)
        response = bench.ask(request)
        assert response.function == request.function
        if response.status:
            assert rows(bench.server.realm.store) == before
    mirrored(mirror, bench.server.take_changes())
    assert rows(mirror) == rows(bench.server.realm.store)
    check(bench.server.realm.store)
    bench.wait(200_000)
    mirrored(mirror, bench.server.take_changes())
    assert rows(mirror) == rows(bench.server.realm.store)
    check(bench.server.realm.store)


def check(store: Store) -> None:
    """What holds for every database."""
    owned: list[Node | Portal] = [*store.nodes.rows(), *store.portals.rows()]
    for row in owned:
        assert row.eid in store.entities
    for entity in store.entities.rows():
        assert any(row.eid == entity.eid for row in owned)
    for node_ in store.nodes.rows():
        for portal_ in store.portals.rows():
            assert ((node_.name, *portal_.key) in store.groups) == (node_.eid == portal_.eid)
    for group in store.groups.rows():
        assert group.name in store.nodes or group.portal in store.portals
    for table in ("entity", "portal", "node", "group"):
        used = [row.index for row in store.tables[table].rows()]
        if table in ("portal", "node"):
            used += [row.index for row in store.tables[f"reserved-{table}"].rows()]
        assert len(set(used)) == len(used)
    for what, taken in (("node", store.nodes), ("portal", store.portals)):
        assert not [key for key in store.tables[f"reserved-{what}"] if key in taken]
    for item in store.sets.rows():
        assert all(number_ in store.domains for number_ in item.domains)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 0xFFFF), st.binary(max_size=60), st.lists(KNOWN, max_size=5), st.sampled_from([0x0C00, 0x8C00]))
def test_any_payload_is_answered(function: int, tail: bytes, attributes, flags: int) -> None:
    bench = Bench()
    bench.disk()
    payload = encode_all([name(DISK), DELIMITER, *attributes]) + tail
    payload += bytes(-len(payload) % 4)
    pdu = IsnsPdu(function=function, transaction=7, flags=flags, payload=payload)
    bench.server.receive(1, pdu.encode(), bench.now)
    answers = [answer for send in bench.server.take_output() for answer in PduStream().feed(send.data)]
    if function & 0x8000:
        assert not answers
    else:
        (answer,) = [each for each in answers if each.function != Function.SCN]
        assert (answer.function, answer.transaction) == (function | 0x8000, 7)
