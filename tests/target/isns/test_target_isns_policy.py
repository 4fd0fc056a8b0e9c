"""Each switch breaks what it says it breaks; the cases of the suite prove it over the wire."""

from __future__ import annotations

import pytest
from tests.target.isns.bench import ADMIN, DISK, HOST, OTHER, Bench, eid, messages, name, node, portal, values, want

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import decode_body
from iscsi_protocol.isns.codes import Function, Scn
from iscsi_protocol.isns.pdu import PduStream
from iscsi_protocol.isns.tlv import number, text
from iscsi_target.isns.policy import IsnsPolicy

UDP = 0x10000


def bench(**switches) -> Bench:
    return Bench(policy=IsnsPolicy(**switches))


def test_visibility() -> None:
    for switch in ("ignore_domains", "ignore_set_status"):
        one = bench(**{switch: True})
        one.disk()
        one.host()
        one.share(DISK, HOST, enabled=False)
        assert one.names(HOST) == [DISK, HOST]


def test_portals_by_membership() -> None:
    one = bench(portals_by_membership=True)
    one.disk()
    one.host()
    one.share(DISK, HOST)
    assert one.query(HOST, *want(16), key=[name(DISK)]).operating == ()


def test_portal_members_ignored() -> None:
    one = bench(ignore_portal_members=True)
    one.disk()
    one.host()
    domain = one.share(DISK, HOST)
    other = text(2068, DISK), *(type(item)(item.tag + 2055, item.value) for item in portal("192.0.2.77"))
    one.register(DISK, eid("disk"), *portal("192.0.2.77"), key=[eid("disk")])
    assert one.do(Function.DD_REG, ADMIN, *other, key=[number(2065, domain)]).status == 0
    assert len(one.query(HOST, *want(16), key=[name(DISK)]).operating) == 2


def test_membership_forgotten() -> None:
    one = bench(forget_membership=True)
    one.disk()
    one.host()
    one.share(DISK, HOST)
    one.do(Function.DEV_DEREG, DISK, eid("disk"))
    one.disk()
    assert one.names(HOST) == [HOST]


def test_indexes() -> None:
    one = bench(reuse_indexes=True)
    one.disk()
    one.host()
    one.do(Function.DEV_DEREG, DISK, eid("disk"))
    one.disk()
    assert one.query(DISK, *want(36), key=[name(DISK)]).operating == (number(36, 1),)
    two = bench(one_index=True)
    two.disk()
    two.host()
    assert [item.number for item in two.query(ADMIN, *want(36)).operating] == [1, 1]


def test_groups() -> None:
    one = bench(null_tag_gives_access=True, default_tag=3)
    one.disk()
    one.register(DISK, *portal(), text(48, DISK), *portal()[:0], key=portal())
    one.register(DISK, *portal(), want(51)[0], text(48, DISK), key=portal())
    assert len(one.query(DISK, *want(16), key=[name(DISK)]).operating) == 1
    two = bench(keep_explicit_tags=True, default_tag=3, remove_groups_early=True)
    two.disk()
    two.register(DISK, *portal(), number(51, 9), text(48, DISK), key=portal())
    assert two.query(DISK, *want(51), key=[name(DISK)]).operating == (number(51, 3),)
    two.do(Function.DEV_DEREG, DISK, *portal())
    assert len(two.server.realm.store.groups) == 0


def test_shared_objects_and_unchecked_sources() -> None:
    one = bench(share_objects=True, skip_source_check=True)
    one.disk()
    one.host()
    assert one.register(HOST, eid("host"), *node(DISK), key=[eid("host")]).status == 0
    assert one.server.realm.store.nodes[DISK].eid == "host"


def test_failed_changes_kept() -> None:
    one = bench(keep_failed_changes=True)
    one.register(DISK, *portal(), number(19, 60), *node(DISK))
    assert one.names(ADMIN) == [DISK]


@pytest.mark.parametrize(
    ("switches", "replace", "expected"),
    [
        ({"replace_is_update": True}, True, [DISK, HOST, OTHER]),
        ({"update_is_replace": True}, False, [HOST, OTHER]),
        ({"replace_everything": True}, True, [OTHER]),
    ],
)
def test_replacing(switches, replace, expected) -> None:
    one = bench(**switches)
    one.disk()
    one.host()
    one.register(DISK, eid("disk"), *node(OTHER), key=[eid("disk")], replace=replace)
    assert one.names(ADMIN) == expected


def test_names() -> None:
    one = bench(raw_names=True, foreign_eids=True)
    upper = "iqn.2001-04.com.Example:disk"
    response = one.register(upper, *node(upper))
    assert response.key[0].text == "entity:00000001"
    assert one.names(ADMIN) == [upper]


def test_what_stays() -> None:
    one = bench(keep_entities=True)
    one.register(DISK, *node(DISK))
    one.do(Function.DEV_DEREG, DISK, name(DISK))
    assert len(one.server.realm.store.entities) == 1
    two = bench(keep_dependents=True)
    two.disk()
    two.do(Function.DEV_DEREG, DISK, eid("disk"))
    assert len(two.server.realm.store.nodes) == 1


def test_periods() -> None:
    one = bench(no_period=True)
    assert values(one.disk(), 6)[0].number == 0
    two = bench(ignore_period=True)
    two.disk()
    two.server.handle_timer(two.now + 10**9)
    assert two.names(ADMIN) == [DISK]
    assert two.server.next_deadline() is None
    three = Bench(registration_period=100, policy=IsnsPolicy(expire_regardless=True))
    three.disk()
    three.wait(60)
    three.names(DISK)
    three.wait(60)
    assert three.names(ADMIN) == []
    four = bench(stale_timestamps=True)
    four.disk()
    four.wait(60)
    assert four.query(DISK, *want(4), key=[eid("disk")]).operating == (number(4, int(four.now) - 60),)


def test_queries() -> None:
    one = bench(sort_results=True, reverse_order=True, ignore_filter=True)
    one.disk()
    one.host()
    assert [item.tag for item in one.query(DISK, *want(33, 32), key=[name(DISK)]).operating] == [32, 33]
    found = one.do(Function.DEV_GET_NEXT, ADMIN, number(33, 2), key=want(32))
    assert found.key == (name(DISK),)
    assert one.do(Function.DEV_GET_NEXT, ADMIN, key=[name(DISK)]).status == 9


def test_domains() -> None:
    one = bench(
        drop_unregistered_members=True,
        no_reserved_index=True,
        same_domain_names=True,
        keep_domains=True,
        add_replaces_members=True,
        enable_new_sets=True,
    )
    member = text(2068, DISK)
    assert one.do(Function.DD_REG, ADMIN, member, text(2066, "a")).operating[-1].tag == 2066
    assert one.do(Function.DD_REG, ADMIN, text(2066, "a")).status == 0
    one.do(Function.DD_REG, ADMIN, text(2068, HOST), key=[number(2065, 1)])
    assert one.server.realm.store.domains[1].nodes == (HOST,)
    assert one.query(ADMIN, *want(2068), key=[number(2065, 1)]).operating == ()
    one.do(Function.DD_DEREG, ADMIN, key=[number(2065, 1)])
    one.do(Function.DDS_REG, ADMIN)
    one.do(Function.DDS_DEREG, ADMIN, key=[number(2049, 1)])
    assert (len(one.server.realm.store.domains), one.server.realm.store.sets[1].status) == (2, 1)


def notified(**switches) -> Bench:
    one = bench(**switches)
    one.host(number(Tag.SCN_PORT, UDP | 5000))
    one.server.connection_lost(1)
    one.server.connection_made(1)
    one.do(Function.SCN_REG, HOST, number(35, Scn.ADDED), key=[name(HOST)])
    one.do(Function.SCN_REG, HOST, number(35, Scn.UPDATED), key=[name(HOST)])
    one.server.connection_lost(1)
    one.server.connection_made(1)
    one.share(HOST, DISK)
    return one


def test_notifications() -> None:
    silent = notified(silent_changes=True, add_scn_bits=True)
    silent.disk()
    assert silent.sent == []
    adding = notified(add_scn_bits=True, scn_with_domains=True, scn_bitmap_last=True)
    adding.disk()
    (message,) = messages(adding.sent)
    assert [item.tag for item in decode_body(message).before] == [32, 4, 32, 35, 2065]
    everybody = notified(add_scn_bits=True, notify_everybody=True, notify_after_deregistration=True)
    everybody.do(Function.SCN_DEREG, HOST, key=[name(HOST)])
    everybody.server.connection_lost(1)
    everybody.server.connection_made(1)
    everybody.register(OTHER, *node(OTHER))
    assert len(everybody.notifications()) == 1
    itself = notified(scn_about_itself=True)
    itself.register(ADMIN, eid("host"), *portal("192.0.2.2", 0), text(18, "a"), key=[eid("host")])
    assert len(itself.notifications()) == 1


def test_management_notifications() -> None:
    one = bench(scn_without_domains=True)
    one.register(ADMIN, *portal("192.0.2.9", 1), number(Tag.SCN_PORT, UDP | 7000), *node(ADMIN, 2))
    one.do(Function.SCN_REG, ADMIN, number(35, 0x3F), key=[name(ADMIN)])
    one.share(ADMIN, DISK)
    one.disk()
    told = one.notifications()
    assert {item.tag for each in told for change in each.changes for item in change.objects} == {32}


def watched(**switches) -> Bench:
    one = bench(**switches)
    operating = [eid("disk"), *portal(), number(19, 60), number(20, UDP | 4000), *node(DISK)]
    one.register(DISK, *operating, key=[eid("disk")])
    return one


def test_inquiries() -> None:
    silent = watched(silent_inquiries=True)
    silent.wait(1000)
    assert silent.sent == []
    once = watched(one_inquiry=True)
    once.wait(119)
    assert len(once.sent) == 1
    late = watched(late_inquiries=True)
    late.wait(119)
    assert len(late.sent) == 1
    fresh = watched(new_transaction=True)
    fresh.wait(119)
    assert len({pdu.transaction for send in fresh.sent for pdu in PduStream().feed(send.data)}) == 3
    scrambled = watched(scrambled_inquiries=True)
    scrambled.wait(60)
    assert [item.tag for item in decode_body(messages(scrambled.sent)[0]).before][:2] == [1, 4]
    kept = watched(keep_dead_portals=True)
    kept.wait(1000)
    assert kept.names(ADMIN) == [DISK]
    alive = watched(keep_dead_entities=True)
    alive.wait(121)
    assert alive.names(ADMIN) == [DISK]


def test_answers_that_do_not_refresh() -> None:
    from iscsi_protocol.isns.body import acknowledgement

    one = bench(expire_despite_esi=True)
    operating = [eid("disk"), number(6, 100), *portal(), number(19, 60), number(20, UDP | 4000), *node(DISK)]
    one.register(DISK, *operating, key=[eid("disk")])
    one.wait(60)
    (message,) = messages(one.sent)
    one.server.datagram(("192.0.2.1", 4000), acknowledgement(message).encode(), one.now)
    one.wait(41)
    assert one.names(ADMIN) == []
