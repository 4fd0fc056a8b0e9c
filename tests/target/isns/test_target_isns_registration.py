from __future__ import annotations

import pytest
from tests.target.isns.bench import ADMIN, DISK, HOST, OTHER, Bench, eid, name, node, portal, values, want

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Request
from iscsi_protocol.isns.codes import Function, Status
from iscsi_protocol.isns.tlv import Attribute, address, number, text


def test_a_target_registers_and_reads_itself() -> None:
    bench = Bench()
    response = bench.disk(text(Tag.PORTAL_NAME, "eth0"))
    assert response.status == 0
    assert response.key == (eid("disk"),)
    assert [item.tag for item in response.operating] == [1, 6, 16, 17, 18, 32, 33]
    asked = bench.query(DISK, *want(1, 2, 16, 17, 18, 32, 33, 48, 51), key=[name(DISK)])
    assert asked.status == 0
    assert [item.tag for item in asked.operating] == [1, 2, 16, 17, 18, 32, 33, 48, 51]
    assert values(asked, Tag.PGT)[0].number == 1
    assert values(asked, Tag.PORTAL_NAME)[0].text == "eth0"


@pytest.mark.parametrize("given", [[], [eid()]])
def test_the_server_makes_an_identifier_up(given) -> None:
    bench = Bench()
    response = bench.register(DISK, *given, *node(DISK), key=given)
    assert response.key[0].text.startswith("isns:")
    assert response.operating[0] == response.key[0]
    assert values(response, Tag.REGISTRATION_PERIOD)[0].number == bench.config.registration_period


def test_names_and_identifiers_are_normalised() -> None:
    bench = Bench()
    bench.register(DISK.upper(), eid("Disk.Example"), *node(DISK.upper()), key=[eid("DISK.example")])
    assert bench.names(DISK) == [DISK]
    assert bench.query(DISK, *want(1), key=[eid("disk.EXAMPLE")]).operating == (eid("disk.example"),)


BAD = [
    ("nothing is listed", [], [], Status.INVALID_REGISTRATION),
    ("entity alone", [eid("a")], [eid("a")], Status.INVALID_REGISTRATION),
    ("key not listed", [*node(DISK)], [eid("a")], Status.INVALID_REGISTRATION),
    ("unknown node as key", [*node(DISK)], [name(DISK)], Status.INVALID_REGISTRATION),
    ("empty node as key", [*node(DISK)], [Attribute(32)], Status.INVALID_REGISTRATION),
    ("alias as key", [*node(DISK)], [text(34, "a")], Status.INVALID_REGISTRATION),
    ("the server's prefix", [eid("isns:1"), *node(DISK)], [eid("isns:1")], Status.INVALID_REGISTRATION),
    ("two entities", [eid("a"), *node(DISK), eid("b")], [eid("a")], Status.MESSAGE_FORMAT_ERROR),
    ("entity last", [*node(DISK), eid("a")], [], Status.MESSAGE_FORMAT_ERROR),
    ("port missing", [portal()[0], *node(DISK)], [], Status.MESSAGE_FORMAT_ERROR),
    ("address empty", [Attribute(16), portal()[1], *node(DISK)], [], Status.MESSAGE_FORMAT_ERROR),
    ("port first", [portal()[1], portal()[0], *node(DISK)], [], Status.MESSAGE_FORMAT_ERROR),
    ("attribute before key", [text(34, "a"), *node(DISK)], [], Status.MESSAGE_FORMAT_ERROR),
    ("attribute of another", [*node(DISK), text(18, "a")], [], Status.MESSAGE_FORMAT_ERROR),
    ("no name", [Attribute(32)], [], Status.INVALID_REGISTRATION),
    ("bad name", [text(32, "disk"), number(33, 1)], [], Status.INVALID_REGISTRATION),
    ("node twice", [*node(DISK), *node(DISK)], [], Status.INVALID_REGISTRATION),
    ("attribute twice", [*node(DISK), number(33, 1)], [], Status.INVALID_REGISTRATION),
    ("no type", [name(DISK)], [], Status.INVALID_REGISTRATION),
    ("type 0", [*node(DISK, 0)], [], Status.INVALID_REGISTRATION),
    ("reserved type", [*node(DISK, 9)], [], Status.INVALID_REGISTRATION),
    ("control bit", [*node(DISK, 5)], [], Status.INVALID_REGISTRATION),
    ("bad protocol", [eid("a"), number(2, 7), *node(DISK)], [eid("a")], Status.INVALID_REGISTRATION),
    ("port 0 for ESI", [*portal(), number(20, 0x10000), *node(DISK)], [], Status.INVALID_REGISTRATION),
    ("timestamp", [eid("a"), number(4, 1), *node(DISK)], [eid("a")], Status.INVALID_REGISTRATION),
    ("node index", [*node(DISK), number(36, 9)], [], Status.INVALID_REGISTRATION),
    ("node next index", [*node(DISK), number(38, 9)], [], Status.INVALID_REGISTRATION),
    ("vendor OUI", [*node(DISK), number(256, 9)], [], Status.INVALID_REGISTRATION),
    ("domain", [*node(DISK), text(2066, "a")], [], Status.MESSAGE_FORMAT_ERROR),
    ("vendor attribute", [*node(DISK), Attribute(641, bytes(4))], [], Status.ATTRIBUTE_NOT_IMPLEMENTED),
    ("tag for nothing", [*node(DISK), number(51, 1)], [], Status.MESSAGE_FORMAT_ERROR),
    ("tag behind entity", [eid("a"), number(51, 1), *node(DISK)], [eid("a")], Status.MESSAGE_FORMAT_ERROR),
    ("tag too high", [*node(DISK), number(51, 65536)], [], Status.INVALID_REGISTRATION),
    ("group address alone", [*node(DISK), address(49, "::1"), number(50, 1)], [], Status.MESSAGE_FORMAT_ERROR),
    ("group name empty", [*portal(), number(51, 1), Attribute(48)], [], Status.INVALID_REGISTRATION),
    ("group name alone", [*node(DISK), text(48, DISK)], [], Status.MESSAGE_FORMAT_ERROR),
    (
        "attribute behind group",
        [*node(DISK), number(51, 1), address(49, "::1"), number(50, 1), text(34, "a")],
        [],
        Status.MESSAGE_FORMAT_ERROR,
    ),
    ("interval without port", [*portal(), number(19, 60), *node(DISK)], [], Status.INVALID_REGISTRATION),
    ("foreign source", [*node(OTHER)], [], Status.SOURCE_UNAUTHORIZED),
]


@pytest.mark.parametrize(("operating", "key", "status"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_registration_is_refused_as_a_whole(operating, key, status) -> None:
    bench = Bench()
    response = bench.register(DISK, *operating, key=key)
    assert response.status == status
    assert bench.server.take_changes() == []
    assert not bench.server.realm.store.nodes
    assert not bench.server.realm.store.counters


def test_an_update_adds_and_changes() -> None:
    bench = Bench()
    bench.disk()
    assert bench.register(DISK, eid("disk"), *node(OTHER), key=[eid("disk")]).status == 0
    assert bench.register(DISK, name(DISK), text(34, "big"), key=[name(DISK)]).status == 0
    asked = bench.query(DISK, *want(34, 33), key=[name(DISK)])
    assert [values(asked, 34)[0].text, values(asked, 33)[0].number] == ["big", 1]
    assert bench.register(DISK, name(DISK), Attribute(34), key=[name(DISK)]).status == 0
    assert bench.query(DISK, *want(34), key=[name(DISK)]).operating == ()
    assert bench.names(ADMIN) == [DISK, OTHER]


@pytest.mark.parametrize("by_index", [False, True])
def test_a_portal_is_changed_by_its_key(by_index: bool) -> None:
    bench = Bench()
    bench.disk()
    key = [number(Tag.PORTAL_INDEX, 1)] if by_index else portal()
    assert bench.register(DISK, *portal(), text(18, "eth1"), key=key).status == 0
    assert bench.query(DISK, *want(18), key=portal()).operating == (text(18, "eth1"),)
    assert bench.register(DISK, *portal("192.0.2.9"), key=key).status == Status.INVALID_REGISTRATION
    assert bench.register(DISK, eid("disk"), *portal(), key=key).status == Status.INVALID_REGISTRATION


def test_a_node_is_changed_by_its_index() -> None:
    bench = Bench()
    bench.disk()
    assert bench.register(DISK, name(DISK), text(34, "big"), key=[number(Tag.NODE_INDEX, 1)]).status == 0
    group = (text(48, DISK), portal()[0], portal()[1])
    assert bench.register(DISK, *group, key=[number(Tag.NODE_INDEX, 1)]).status == Status.MESSAGE_FORMAT_ERROR


def test_who_may_change_what() -> None:
    bench = Bench()
    bench.disk()
    bench.host()
    change = [eid("disk"), *portal("192.0.2.7")]
    assert bench.register(HOST, *change, key=[eid("disk")]).status == Status.SOURCE_UNAUTHORIZED
    assert bench.register(OTHER, *change, key=[eid("disk")]).status == Status.SOURCE_UNKNOWN
    assert bench.register(ADMIN, *change, key=[eid("disk")]).status == 0
    assert bench.register(HOST, *node(DISK), *node(HOST)).status == Status.INVALID_REGISTRATION
    assert bench.register(HOST, eid("host"), *portal(), key=[eid("host")]).status == Status.INVALID_REGISTRATION


def test_an_entity_of_portals_may_get_its_first_node() -> None:
    bench = Bench()
    assert bench.register(DISK, eid("disk"), *portal(), key=[eid("disk")]).status == 0
    assert bench.register(DISK, eid("disk"), *node(DISK), key=[eid("disk")]).status == 0


def test_replacing_an_entity() -> None:
    bench = Bench()
    bench.disk()
    bench.host()
    response = bench.register(
        DISK, eid("disk"), *portal("192.0.2.5"), *node(DISK), *node(OTHER), key=[eid("disk")], replace=True
    )
    assert response.status == 0
    assert bench.names(ADMIN) == [DISK, HOST, OTHER]
    assert len(bench.query(ADMIN, *want(16), key=[eid("disk")]).operating) == 1


def test_replacing_a_node_and_a_portal() -> None:
    bench = Bench()
    bench.disk(text(18, "eth0"))
    bench.register(DISK, name(DISK), text(34, "big"), key=[name(DISK)])
    assert bench.register(DISK, *node(DISK), key=[name(DISK)], replace=True).status == 0
    assert bench.query(DISK, *want(34), key=[name(DISK)]).operating == ()
    assert bench.register(DISK, *portal(), key=portal(), replace=True).status == 0
    assert bench.query(DISK, *want(18), key=portal()).operating == ()


def test_portal_group_tags_of_both_forms() -> None:
    bench = Bench()
    second = portal("192.0.2.3")
    response = bench.register(
        DISK,
        *portal(),
        number(51, 5),
        text(48, DISK),
        Attribute(51),
        text(48, OTHER),
        *second,
        *node(DISK),
        number(51, 7),
        address(49, "192.0.2.3"),
        number(50, 3260),
        *node(OTHER),
    )
    assert response.status == 0
    assert [item.number for item in values(response, 51) if item.value] == [5, 7]
    groups = {(row.name, row.address[-1]): row.tag for row in bench.server.realm.store.groups.rows()}
    assert groups == {(DISK, 1): 5, (OTHER, 1): None, (DISK, 3): 7, (OTHER, 3): 1}
    assert len(bench.query(DISK, *want(16), key=[name(DISK)]).operating) == 2
    assert len(bench.query(ADMIN, *want(16), key=[name(OTHER)]).operating) == 1


def test_portal_groups_as_objects_of_their_own() -> None:
    bench = Bench()
    response = bench.register(
        DISK,
        eid("a"),
        *portal(),
        *node(DISK),
        text(48, DISK),
        address(49, "192.0.2.1"),
        number(50, 3260),
        number(51, 9),
    )
    assert response.status == 0
    assert bench.query(DISK, *want(51), key=[name(DISK)]).operating == (number(51, 9),)


def test_a_group_does_not_join_two_entities() -> None:
    bench = Bench()
    bench.disk()
    bench.host()
    response = bench.register(
        DISK, name(DISK), number(51, 1), address(49, "192.0.2.2"), number(50, 0), key=[name(DISK)]
    )
    assert response.status == Status.INVALID_REGISTRATION


@pytest.mark.parametrize(("asked", "given"), [(0, 86400), (1, 60), (3600, 3600), (0xFFFFFFFF, 2592000)])
def test_registration_periods_have_limits(asked: int, given: int) -> None:
    bench = Bench()
    response = bench.register(DISK, eid("a"), number(6, asked), *node(DISK), key=[eid("a")])
    assert values(response, 6)[0].number == given
    assert bench.query(DISK, *want(6), key=[eid("a")]).operating == (number(6, given),)


def test_esi_intervals_have_a_least_value() -> None:
    bench = Bench()
    response = bench.register(DISK, *portal(), number(19, 1), number(20, 5000), *node(DISK))
    assert values(response, 19)[0].number == 5
    assert values(response, 6)[0].number == 0


def test_a_server_without_inquiries_says_so() -> None:
    bench = Bench(inquiries=False)
    response = bench.register(DISK, *portal(), number(19, 60), number(20, 5000), *node(DISK))
    assert response.status == Status.ESI_NOT_AVAILABLE


def test_a_bitmap_may_come_with_the_node() -> None:
    bench = Bench()
    assert bench.register(DISK, *node(DISK), number(35, 0x1C)).status == 0
    assert bench.register(HOST, *node(HOST), number(35, 0x20)).status == Status.SCN_REGISTRATION_REJECTED


class TestDeregistration:
    def dereg(self, bench: Bench, source: str, *objects: Attribute):
        return bench.do(Function.DEV_DEREG, source, *objects)

    def test_an_entity_goes_with_all_that_it_has(self) -> None:
        bench = Bench()
        bench.disk()
        assert self.dereg(bench, DISK, eid("disk")).status == 0
        store = bench.server.realm.store
        assert [len(table) for table in (store.entities, store.nodes, store.portals, store.groups)] == [0] * 4

    def test_an_entity_goes_with_its_last_part(self) -> None:
        bench = Bench()
        bench.disk()
        assert self.dereg(bench, DISK, *portal()).status == 0
        assert len(bench.server.realm.store.groups) == 1
        assert self.dereg(bench, DISK, name(DISK)).status == 0
        assert not bench.server.realm.store.entities
        assert not bench.server.realm.store.groups

    def test_a_group_comes_back_with_its_node(self) -> None:
        bench = Bench()
        bench.register(
            DISK, eid("a"), *portal(), number(51, 9), text(48, DISK), *node(DISK), *node(OTHER), key=[eid("a")]
        )
        index = bench.server.realm.store.groups.rows()[0].index
        self.dereg(bench, OTHER, name(DISK))
        bench.register(OTHER, eid("a"), *node(DISK), key=[eid("a")])
        group = bench.server.realm.store.groups.rows()[0]
        assert (group.tag, group.index) == (9, index)

    def test_by_index(self) -> None:
        bench = Bench()
        bench.disk()
        assert self.dereg(bench, DISK, number(22, 1), number(36, 1)).status == 0
        assert not bench.server.realm.store.entities

    def test_what_is_not_there_is_no_error(self) -> None:
        bench = Bench()
        bench.disk()
        response = self.dereg(bench, DISK, name(OTHER), eid("nothing"))
        assert (response.status, response.operating) == (0, ())

    def test_what_belongs_to_others_stays(self) -> None:
        bench = Bench()
        bench.disk()
        bench.host()
        response = self.dereg(bench, DISK, *portal(), eid("host"))
        assert response.status == Status.SOURCE_UNAUTHORIZED
        assert response.operating == (eid("host"),)
        assert len(bench.server.realm.store.portals) == 2
        assert self.dereg(bench, ADMIN, eid("host")).status == 0

    @pytest.mark.parametrize("objects", [[], [Attribute(32)], [number(33, 1)], [portal()[0]], [number(7, 1)]])
    def test_what_names_no_object_is_refused(self, objects) -> None:
        bench = Bench()
        bench.disk()
        assert self.dereg(bench, DISK, *objects).status == Status.INVALID_DEREGISTRATION

    def test_indexes_are_not_given_again_soon(self) -> None:
        bench = Bench()
        bench.disk()
        self.dereg(bench, DISK, eid("disk"))
        bench.disk()
        store = bench.server.realm.store
        assert [store.nodes[DISK].index, store.entities["disk"].index] == [2, 2]


def test_a_port_name_is_no_source_here() -> None:
    bench = Bench()
    bench.disk()
    source = Attribute(Tag.WWPN, bytes(8))
    asked = bench.ask(Request(function=Function.DEV_ATTR_QRY, source=source, operating=want(1)))
    assert asked.status == Status.SOURCE_UNKNOWN
    change = Request(
        function=Function.DEV_ATTR_REG, source=source, key=(eid("disk"),), operating=(eid("disk"), *portal())
    )
    assert bench.ask(change).status == Status.SOURCE_UNKNOWN
