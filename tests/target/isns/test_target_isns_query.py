from __future__ import annotations

import pytest
from tests.target.isns.bench import ADMIN, DISK, HOST, OTHER, Bench, eid, name, node, portal, values, want

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Response
from iscsi_protocol.isns.codes import Function, Status
from iscsi_protocol.isns.tlv import Attribute, number, text


def ready(**settings) -> Bench:
    """A disk with two portals, a host and another disk, none of which share a domain."""
    bench = Bench(**settings)
    bench.disk()
    bench.register(DISK, eid("disk"), *portal("192.0.2.8"), key=[eid("disk")])
    bench.host()
    bench.register(OTHER, eid("other"), *portal("192.0.2.4"), *node(OTHER), key=[eid("other")])
    return bench


def test_without_domains_everyone_is_alone() -> None:
    bench = ready()
    assert bench.names(HOST) == [HOST]
    assert bench.names(ADMIN) == [DISK, HOST, OTHER]
    assert bench.query(HOST, *want(16), key=[name(DISK)]).operating == ()
    assert bench.query(HOST, *want(1)).operating == (eid("host"),)


@pytest.mark.parametrize("enabled", [True, False])
def test_an_enabled_domain_shows_its_members_to_each_other(enabled: bool) -> None:
    bench = ready()
    bench.share(HOST, DISK, enabled=enabled)
    assert bench.names(HOST) == ([DISK, HOST] if enabled else [HOST])
    found = bench.query(HOST, *want(32, 16, 17), key=[number(Tag.NODE_TYPE, 1)])
    assert len(values(found, 16)) == (2 if enabled else 0)
    assert bench.names(OTHER) == [OTHER]


def test_portals_that_are_members_limit_what_is_seen() -> None:
    bench = ready()
    domain = bench.share(HOST, DISK)
    address, port = portal("192.0.2.8")
    members = Attribute(Tag.DD_MEMBER_ADDRESS, address.value), Attribute(Tag.DD_MEMBER_PORT, port.value)
    assert bench.do(Function.DD_REG, ADMIN, *members, key=[number(Tag.DD_ID, domain)]).status == 0
    assert bench.query(HOST, *want(16), key=[name(DISK)]).operating == (address,)
    told = bench.query(HOST, *want(2070, 2071, 16), key=[number(Tag.DD_ID, domain)]).operating
    assert [item.tag for item in told] == [2070, 2071, 2072, 16]


def test_order_and_repetition_follow_the_query() -> None:
    bench = ready()
    found = bench.query(ADMIN, *want(33, 32, 17, 16), key=[Attribute(Tag.ISCSI_NAME)])
    assert [item.tag for item in found.operating] == [33, 32, 17, 16, 17, 16] + [33, 32, 17, 16] * 2
    by_entity = bench.query(ADMIN, *want(32, 16), key=[Attribute(Tag.EID)])
    assert [item.tag for item in by_entity.operating] == [32, 16, 16, 32, 16, 32, 16]
    without = bench.query(ADMIN, *want(16, 32))
    assert [item.tag for item in without.operating] == [16] * 4 + [32] * 3


def test_what_matches_nothing_is_no_error() -> None:
    bench = ready()
    found = bench.query(ADMIN, *want(32), key=[name("iqn.2001-04.com.example:none")])
    assert (found.status, found.operating) == (0, ())
    assert bench.query(ADMIN, *want(34), key=[name(DISK)]).operating == ()


def test_all_attributes_without_wishes() -> None:
    bench = ready()
    found = bench.query(ADMIN, key=[name(DISK)])
    assert {item.tag for item in found.operating} >= {1, 2, 4, 6, 7, 16, 17, 22, 32, 33, 36, 48, 49, 50, 51, 52}
    everything = bench.query(ADMIN)
    assert len(values(everything, 32)) == 3
    domain = bench.share(HOST, DISK)
    found = bench.query(HOST, key=[number(Tag.DD_ID, domain)])
    assert [item.tag for item in found.operating] == [2065, 2066, 2067, 2067, 2068, 2068, 2078]


@pytest.mark.parametrize(
    ("key", "count"),
    [
        ([eid("disk")], 1),
        ([number(Tag.ENTITY_PROTOCOL, 2)], 3),
        (portal(), 1),
        ([number(Tag.PORTAL_INDEX, 2)], 1),
        ([number(Tag.NODE_TYPE, 1)], 2),
        ([number(Tag.NODE_TYPE, 0)], 0),
        ([name(DISK)], 1),
        ([number(Tag.NODE_INDEX, 3)], 1),
        ([number(Tag.PG_INDEX, 1)], 1),
        ([number(Tag.ENTITY_INDEX, 1)], 1),
    ],
)
def test_keys_of_a_query(key, count: int) -> None:
    bench = ready()
    found = bench.query(ADMIN, *want(32), key=key)
    assert (found.status, len(found.operating)) == (0, count)


def test_groups_relate_nodes_and_portals() -> None:
    bench = ready()
    bench.register(
        DISK, name(DISK), Attribute(51), Attribute(49, portal()[0].value), number(50, 3260), key=[name(DISK)]
    )
    assert bench.query(DISK, *want(16), key=[name(DISK)]).operating == (portal("192.0.2.8")[0],)
    assert bench.query(DISK, *want(32), key=portal()).operating == ()
    assert bench.query(DISK, *want(51), key=portal()).operating == ()
    assert bench.query(DISK, *want(16), key=[number(Tag.PG_INDEX, 2)]).operating == (portal("192.0.2.8")[0],)


@pytest.mark.parametrize(
    ("operating", "key"),
    [
        (want(32), [eid("a"), name(DISK)]),
        ([number(33, 1)], [name(DISK)]),
        (want(2066), [name(DISK)]),
        (want(32), [number(Tag.DDS_ID, 1)]),
        (want(256), [name(OTHER)]),
        (want(256), []),
    ],
)
def test_what_cannot_be_asked(operating, key) -> None:
    assert ready().query(DISK, *operating, key=key).status == Status.INVALID_QUERY


def test_unknown_sources_learn_nothing() -> None:
    assert ready().query("iqn.2001-04.com.example:who", *want(32)).status == Status.SOURCE_UNKNOWN


def test_the_server_tells_of_itself() -> None:
    bench = ready(vendor_oui=0x00DEAD)
    assert bench.query(DISK, *want(256), key=[name(DISK)]).operating == (Attribute(256, b"\x00\xde\xad\0"),)
    assert ready().query(DISK, *want(256), key=[name(DISK)]).operating == ()


def test_domains_and_sets_are_found_by_what_belongs_to_them() -> None:
    bench = ready()
    domain = bench.share(HOST, DISK)
    key = [number(Tag.DD_ID, domain)]
    assert bench.query(HOST, *want(2049, 2065), key=[name(DISK)]).operating == (
        number(Tag.DDS_ID, 1),
        number(Tag.DD_ID, domain),
    )
    assert bench.query(HOST, *want(32), key=key).operating == (name(DISK), name(HOST))
    assert bench.query(OTHER, *want(2066), key=key).operating == ()
    assert bench.query(OTHER, *want(2049)).operating == ()
    assert bench.query(HOST, *want(2065), key=[number(Tag.DDS_ID, 1)]).operating == (number(Tag.DD_ID, domain),)
    assert bench.query(HOST, *want(2049), key=key).operating == (number(Tag.DDS_ID, 1),)
    assert bench.query(HOST, *want(2065), key=[eid("disk")]).operating == (number(Tag.DD_ID, domain),)


def test_members_are_told_whether_registered_or_not() -> None:
    bench = ready()
    domain = bench.share(HOST, DISK, "iqn.2001-04.com.example:later")
    key = [number(Tag.DD_ID, domain)]
    assert len(bench.query(HOST, *want(2068), key=key).operating) == 3
    assert len(bench.query(HOST, *want(2067), key=key).operating) == 3
    assert len(bench.query(HOST, *want(32), key=key).operating) == 2


class TestGetNext:
    def walk(self, bench: Bench, source: str, empty, *operating: Attribute) -> list[Response]:
        key, found = empty, []
        while (response := bench.do(Function.DEV_GET_NEXT, source, *operating, key=key)).status == 0:
            found.append(response)
            key = response.key
        assert response.status == Status.NO_SUCH_ENTRY
        return found

    def test_every_object_once(self) -> None:
        bench = ready()
        found = self.walk(bench, ADMIN, want(32), *want(33))
        assert [item.key[0].text for item in found] == [DISK, HOST, OTHER]
        assert [item.operating[0].number for item in found] == [1, 2, 1]
        assert len(self.walk(bench, ADMIN, want(16, 17))) == 4
        assert [item.key[0].number for item in self.walk(bench, ADMIN, want(22))] == [1, 2, 3, 4]
        assert [item.key[0].text for item in self.walk(bench, ADMIN, want(1))] == ["disk", "host", "other"]
        assert len(self.walk(bench, HOST, want(32))) == 1

    def test_limits(self) -> None:
        bench = ready()
        found = self.walk(bench, ADMIN, want(32), number(33, 1), Attribute(36))
        assert [item.key[0].text for item in found] == [DISK, OTHER]
        assert [item.tag for item in found[0].operating] == [33, 36]

    def test_behind_what_is_gone(self) -> None:
        bench = ready()
        bench.do(Function.DEV_DEREG, ADMIN, eid("host"))
        assert bench.do(Function.DEV_GET_NEXT, ADMIN, key=[name(HOST)]).key == (name(OTHER),)

    @pytest.mark.parametrize(
        ("key", "operating"),
        [
            ([], []),
            (want(33), []),
            (want(16), []),
            (want(32), want(16)),
            (want(32), [*want(36), number(33, 1)]),
        ],
    )
    def test_what_cannot_be_asked(self, key, operating) -> None:
        assert ready().do(Function.DEV_GET_NEXT, ADMIN, *operating, key=key).status == Status.INVALID_QUERY


def test_next_indexes_are_told() -> None:
    bench = ready()
    assert bench.query(ADMIN, *want(8), key=[eid("disk")]).operating == (number(8, 4),)
    assert bench.query(ADMIN, *want(24), key=portal()).operating == (number(24, 5),)
    assert bench.query(ADMIN, *want(38, 53), key=[name(HOST)]).operating == (number(38, 4), number(53, 5))


def test_a_bitmap_is_told_only_where_there_is_one() -> None:
    bench = ready()
    assert bench.query(DISK, *want(35), key=[name(DISK)]).operating == ()
    bench.register(DISK, name(DISK), number(35, 0x1C), key=[name(DISK)])
    assert bench.query(DISK, *want(35), key=[name(DISK)]).operating == (number(35, 0x1C),)


def test_text_attributes_may_be_keys() -> None:
    bench = ready()
    bench.register(DISK, name(DISK), text(34, "big"), key=[name(DISK)])
    assert bench.query(ADMIN, *want(32), key=[text(34, "big")]).operating == (name(DISK),)
