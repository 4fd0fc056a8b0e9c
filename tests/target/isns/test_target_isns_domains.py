from __future__ import annotations

import pytest
from tests.target.isns.bench import ADMIN, DISK, HOST, OTHER, Bench, eid, name, node, portal, values, want

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Response
from iscsi_protocol.isns.codes import Function, Status
from iscsi_protocol.isns.tlv import Attribute, address, number, text

DD = Function.DD_REG


def dd(value: int) -> list[Attribute]:
    return [number(Tag.DD_ID, value)]


def dds(value: int) -> list[Attribute]:
    return [number(Tag.DDS_ID, value)]


def member(value: str) -> Attribute:
    return text(Tag.DD_MEMBER_NAME, value)


def domain_of(bench: Bench, value: int):
    return bench.server.realm.store.domains.get(value)


@pytest.mark.parametrize("given", [[], [Attribute(Tag.DD_ID)], [number(Tag.DD_ID, 77)]])
def test_a_domain_gets_number_and_name(given) -> None:
    bench = Bench()
    response = bench.do(DD, ADMIN, *given)
    expected = 77 if given and given[0].value else 1
    assert (response.status, response.key) == (0, ())
    assert response.operating == (number(Tag.DD_ID, expected), text(Tag.DD_NAME, f"domain-{expected}"))
    assert bench.query(ADMIN, *want(2078), key=dd(expected)).operating == (number(Tag.DD_FEATURES, 0),)


def test_a_domain_is_updated() -> None:
    bench = Bench()
    bench.do(DD, ADMIN, member(DISK))
    response = bench.do(DD, ADMIN, text(Tag.DD_NAME, "new"), number(Tag.DD_FEATURES, 1), member(HOST), key=dd(1))
    assert response.key == tuple(dd(1))
    assert [item.tag for item in response.operating] == [2065, 2066, 2078, 2067]
    found = domain_of(bench, 1)
    assert (found.name, found.features, found.nodes) == ("new", 1, (DISK, HOST))
    assert bench.do(DD, ADMIN, *dd(1), member(OTHER), key=dd(1)).status == 0
    assert domain_of(bench, 1).nodes == (DISK, HOST, OTHER)


@pytest.mark.parametrize(
    ("operating", "key", "status"),
    [
        ([], dd(9), Status.INVALID_REGISTRATION),
        (dd(2), dd(1), Status.INVALID_REGISTRATION),
        (dd(1), [], Status.INVALID_REGISTRATION),
        (dd(0), [], Status.INVALID_REGISTRATION),
        ([text(Tag.DD_NAME, "domain-1")], [], Status.INVALID_REGISTRATION),
        ([number(Tag.DD_NEXT_ID, 5)], [], Status.INVALID_REGISTRATION),
        ([number(Tag.DD_MEMBER_INDEX, 5)], [], Status.INVALID_REGISTRATION),
        ([number(Tag.DD_MEMBER_PORTAL_INDEX, 5)], [], Status.INVALID_REGISTRATION),
        ([text(Tag.DD_MEMBER_NAME, "disk")], [], Status.INVALID_REGISTRATION),
        ([address(Tag.DD_MEMBER_ADDRESS, "::1")], [], Status.MESSAGE_FORMAT_ERROR),
        ([name(DISK)], [], Status.MESSAGE_FORMAT_ERROR),
        ([], want(2065), Status.MESSAGE_FORMAT_ERROR),
        ([], [name(DISK)], Status.MESSAGE_FORMAT_ERROR),
    ],
)
def test_a_bad_domain_is_refused(operating, key, status) -> None:
    bench = Bench()
    bench.do(DD, ADMIN)
    assert bench.do(DD, ADMIN, *operating, key=key).status == status
    assert len(bench.server.realm.store.domains) == 1


def test_members_by_index_are_registered() -> None:
    bench = Bench()
    bench.disk()
    response = bench.do(DD, ADMIN, number(Tag.DD_MEMBER_INDEX, 1), number(Tag.DD_MEMBER_PORTAL_INDEX, 1))
    assert response.status == 0
    assert domain_of(bench, 1).nodes == (DISK,)
    assert len(domain_of(bench, 1).portals) == 1


def test_an_unregistered_member_keeps_the_index_that_it_was_given() -> None:
    bench = Bench()
    where = address(Tag.DD_MEMBER_ADDRESS, "192.0.2.1"), number(Tag.DD_MEMBER_PORT, 3260)
    response = bench.do(DD, ADMIN, member(DISK), *where)
    assert values(response, 2067) == [number(2067, 1)]
    assert values(response, 2070) == [number(2070, 1)]
    bench.host()
    bench.disk()
    assert bench.query(ADMIN, *want(36), key=[name(DISK)]).operating == (number(36, 1),)
    assert bench.query(ADMIN, *want(22), key=portal()).operating == (number(22, 1),)
    bench.do(Function.DEV_DEREG, DISK, eid("disk"))
    assert [item.number for item in bench.query(ADMIN, *want(2067, 2070), key=dd(1)).operating] == [1, 1]
    assert bench.do(DD, ADMIN, member(DISK), *where, key=dd(1)).operating[1:] == (number(2067, 1), number(2070, 1))


def test_an_index_is_free_when_nobody_needs_it() -> None:
    bench = Bench()
    where = address(Tag.DD_MEMBER_ADDRESS, "192.0.2.1"), number(Tag.DD_MEMBER_PORT, 3260)
    bench.do(DD, ADMIN, member(DISK), *where)
    response = bench.do(Function.DD_DEREG, ADMIN, member(DISK), *where, key=dd(1))
    assert response == Response(function=Function.DD_DEREG, delimited=False)
    store = bench.server.realm.store
    assert not store.reserved_nodes
    assert not store.reserved_portals


def test_a_domain_goes_and_its_members_stay() -> None:
    bench = Bench()
    bench.disk()
    bench.share(DISK, HOST)
    assert bench.do(Function.DD_DEREG, ADMIN, key=dd(1)).status == 0
    assert bench.do(Function.DD_DEREG, ADMIN, key=dd(1)).status == 0
    assert domain_of(bench, 1) is None
    assert bench.server.realm.store.sets[1].domains == ()
    assert bench.names(ADMIN) == [DISK]
    assert bench.do(Function.DD_DEREG, ADMIN).status == Status.MESSAGE_FORMAT_ERROR


def test_sets() -> None:
    bench = Bench()
    bench.do(DD, ADMIN)
    response = bench.do(Function.DDS_REG, ADMIN, number(Tag.DD_ID, 1), number(Tag.DD_ID, 5))
    assert [item.tag for item in response.operating] == [2049, 2050, 2065, 2066, 2078]
    assert bench.query(ADMIN, *want(2051, 2052), key=dds(1)).operating == (number(2051, 0), number(2052, 2))
    update = bench.do(Function.DDS_REG, ADMIN, text(Tag.DDS_NAME, "all"), number(Tag.DDS_STATUS, 1), key=dds(1))
    assert [item.tag for item in update.operating] == [2049, 2050, 2051]
    assert bench.do(Function.DDS_REG, ADMIN, *dds(9), *want(2050)).operating[0].number == 9
    assert bench.do(Function.DDS_DEREG, ADMIN, number(Tag.DD_ID, 5), key=dds(1)).status == 0
    assert bench.server.realm.store.sets[1].domains == (1,)
    for _ in range(2):
        assert bench.do(Function.DDS_DEREG, ADMIN, key=dds(1)).status == 0
    assert len(bench.server.realm.store.sets) == 1
    assert len(bench.server.realm.store.domains) == 2
    assert bench.do(Function.DDS_DEREG, ADMIN).status == Status.MESSAGE_FORMAT_ERROR


@pytest.mark.parametrize(
    ("operating", "key", "status"),
    [
        ([], dds(9), Status.INVALID_REGISTRATION),
        (dds(2), dds(1), Status.INVALID_REGISTRATION),
        (dds(1), [], Status.INVALID_REGISTRATION),
        (dds(0), [], Status.INVALID_REGISTRATION),
        ([text(Tag.DDS_NAME, "set-1")], [], Status.INVALID_REGISTRATION),
        ([number(Tag.DDS_STATUS, 2)], [], Status.INVALID_REGISTRATION),
        ([number(Tag.DDS_NEXT_ID, 2)], [], Status.INVALID_REGISTRATION),
        ([number(Tag.DD_ID, 0)], [], Status.INVALID_REGISTRATION),
        ([member(DISK)], [], Status.MESSAGE_FORMAT_ERROR),
    ],
)
def test_a_bad_set_is_refused(operating, key, status) -> None:
    bench = Bench()
    bench.do(Function.DDS_REG, ADMIN)
    assert bench.do(Function.DDS_REG, ADMIN, *operating, key=key).status == status
    assert len(bench.server.realm.store.sets) == 1


def test_names_that_are_made_up_are_free() -> None:
    bench = Bench()
    bench.do(DD, ADMIN, text(Tag.DD_NAME, "domain-2"))
    assert bench.do(DD, ADMIN).operating[1].text == "domain-2-"


@pytest.mark.parametrize("function", [DD, Function.DD_DEREG, Function.DDS_REG, Function.DDS_DEREG])
def test_only_control_nodes_manage_unless_others_may(function: int) -> None:
    bench = Bench()
    bench.disk()
    key = dd(1) if function == Function.DD_DEREG else dds(1) if function == Function.DDS_DEREG else []
    assert bench.do(function, DISK, key=key).status == Status.SOURCE_UNAUTHORIZED
    allowed = Bench(domain_managers=["target"])
    allowed.disk()
    allowed.host()
    assert allowed.do(function, DISK, key=key).status == 0
    assert allowed.do(function, HOST, key=key).status == Status.SOURCE_UNAUTHORIZED
    assert allowed.do(function, ADMIN, key=key).status == Status.SOURCE_UNAUTHORIZED


def test_new_nodes_may_join_a_default_domain() -> None:
    bench = Bench(default_domain=True)
    bench.disk()
    bench.host()
    assert bench.names(HOST) == [DISK, HOST]
    bench.do(DD, ADMIN, member(OTHER))
    bench.register(OTHER, *node(OTHER))
    assert bench.names(HOST) == [DISK, HOST]
    bench.do(Function.DEV_DEREG, DISK, eid("disk"))
    bench.disk()
    assert bench.names(HOST) == [DISK, HOST]
