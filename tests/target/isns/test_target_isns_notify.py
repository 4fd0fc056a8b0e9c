from __future__ import annotations

import pytest
from tests.target.isns.bench import ADMIN, DISK, HOST, OTHER, Bench, eid, messages, name, node, portal, want

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import acknowledgement
from iscsi_protocol.isns.codes import Function, Scn, Status
from iscsi_protocol.isns.tlv import Attribute, address, number, text

UDP = 0x10000
ALL = Scn.ADDED | Scn.REMOVED | Scn.UPDATED


def listening(bitmap: int = ALL, **settings) -> Bench:
    """A host that is told by UDP of what happens in the domain that it shares with the disk."""
    bench = Bench(**settings)
    bench.host(number(Tag.SCN_PORT, UDP | 5000))
    bench.server.connection_lost(1)
    bench.server.connection_made(1)
    assert bench.do(Function.SCN_REG, HOST, number(Tag.SCN_BITMAP, bitmap), key=[name(HOST)]).status == 0
    bench.share(HOST, DISK)
    bench.server.connection_lost(1)
    bench.server.connection_made(1)
    bench.sent.clear()
    return bench


def told(bench: Bench) -> list[tuple[int, str | None]]:
    return [(change.bitmap, change.name) for item in bench.notifications() for change in item.changes]


def test_a_domain_is_told_of_what_comes_changes_and_goes() -> None:
    bench = listening()
    bench.disk()
    (send,) = bench.sent
    assert send.udp == ("192.0.2.2", 5000)
    (notification,) = bench.notifications()
    assert (notification.destination, notification.timestamp) == (HOST, int(bench.now))
    assert [(change.bitmap, change.objects) for change in notification.changes] == [(Scn.ADDED, (name(DISK),))]
    bench.register(DISK, name(DISK), text(34, "big"), key=[name(DISK)])
    bench.register(DISK, eid("disk"), *portal("192.0.2.6"), key=[eid("disk")])
    bench.register(DISK, eid("disk"), address(3, "192.0.2.9"), key=[eid("disk")])
    assert told(bench) == [(Scn.UPDATED, DISK)] * 3
    bench.do(Function.DEV_DEREG, DISK, eid("disk"))
    assert told(bench) == [(Scn.REMOVED, DISK)]


def test_others_are_not_told() -> None:
    bench = listening()
    bench.register(OTHER, *node(OTHER))
    assert told(bench) == []


def test_replacing_is_removing_and_adding() -> None:
    bench = listening()
    bench.disk()
    bench.sent.clear()
    bench.register(DISK, eid("disk"), *portal(), *node(DISK), key=[eid("disk")], replace=True)
    assert told(bench) == [(Scn.REMOVED, DISK), (Scn.ADDED, DISK)]


def test_coming_into_a_domain_is_being_added_to_it() -> None:
    bench = listening()
    bench.register(OTHER, *node(OTHER))
    bench.do(Function.DD_REG, ADMIN, text(Tag.DD_MEMBER_NAME, OTHER), key=[number(Tag.DD_ID, 1)])
    assert told(bench) == [(Scn.ADDED, OTHER)]
    bench.do(Function.DDS_REG, ADMIN, number(Tag.DDS_STATUS, 0), key=[number(Tag.DDS_ID, 1)])
    assert told(bench) == [(Scn.REMOVED, OTHER)]
    bench.do(Function.DDS_REG, ADMIN, number(Tag.DDS_STATUS, 1), key=[number(Tag.DDS_ID, 1)])
    bench.sent.clear()
    bench.do(Function.DD_DEREG, ADMIN, key=[number(Tag.DD_ID, 1)])
    assert told(bench) == [(Scn.REMOVED, OTHER)]


@pytest.mark.parametrize(
    ("bitmap", "expected"),
    [
        (ALL | Scn.TARGET_ONLY, [DISK]),
        (ALL | Scn.INITIATOR_ONLY, [OTHER]),
        (Scn.UPDATED, []),
    ],
)
def test_bitmaps_select(bitmap: int, expected: list[str]) -> None:
    bench = listening(bitmap)
    bench.do(Function.DD_REG, ADMIN, text(Tag.DD_MEMBER_NAME, OTHER), key=[number(Tag.DD_ID, 1)])
    bench.disk()
    bench.register(OTHER, *node(OTHER, 2))
    assert [node_name for _, node_name in told(bench)] == expected


def test_a_node_is_told_of_itself() -> None:
    bench = listening(ALL | Scn.TARGET_ONLY)
    bench.register(HOST, name(HOST), text(34, "me"), key=[name(HOST)])
    assert told(bench) == [(Scn.UPDATED, HOST)]


def test_an_open_connection_is_used() -> None:
    bench = listening()
    bench.names(HOST)
    bench.server.connection_made(2)
    source = name(DISK)
    from iscsi_protocol.isns.body import Request

    bench.ask(
        Request(function=1, source=source, key=(eid("disk"),), operating=(eid("disk"), *portal(), *node(DISK))),
        connection=2,
    )
    (send,) = bench.sent
    assert send.connection == 1


def test_tcp_ports_are_dialled() -> None:
    bench = listening()
    bench.register(HOST, eid("host"), *portal("192.0.2.2", 0), number(Tag.SCN_PORT, 5001), key=[eid("host")])
    bench.server.connection_lost(1)
    bench.server.connection_made(1)
    bench.sent.clear()
    bench.disk()
    (send,) = bench.sent
    assert send.tcp == ("192.0.2.2", 5001)
    bench.wait(60)
    assert len(bench.sent) == 1, "TCP repeats by itself"


def test_a_portal_is_not_told_of_itself() -> None:
    bench = listening()
    bench.register(ADMIN, eid("host"), *portal("192.0.2.2", 0), text(18, "eth0"), key=[eid("host")])
    assert bench.sent == []
    bench.register(ADMIN, eid("host"), *portal("192.0.2.3", 0), number(Tag.SCN_PORT, UDP | 6000), key=[eid("host")])
    assert [send.udp for send in bench.sent] == [("192.0.2.2", 5000)]


def test_a_notification_is_repeated_until_it_is_confirmed() -> None:
    bench = listening()
    bench.disk()
    bench.wait(60)
    assert len(bench.notifications()) == 3
    bench.do(Function.DEV_DEREG, DISK, eid("disk"))
    (message,) = messages(bench.sent)
    bench.server.datagram(("192.0.2.2", 5000), acknowledgement(message).encode(), bench.now)
    bench.wait(60)
    assert len(bench.sent) == 1


class TestRegistration:
    def scn(self, bench: Bench, source: str, bitmap: int | None, node_name: str = HOST, *more: Attribute):
        operating = [] if bitmap is None else [number(Tag.SCN_BITMAP, bitmap)]
        return bench.do(Function.SCN_REG, source, *operating, *more, key=[name(node_name)]).status

    @pytest.mark.parametrize(
        ("source", "bitmap", "node_name", "status"),
        [
            (HOST, ALL, HOST, 0),
            (ADMIN, ALL, HOST, 0),
            (DISK, ALL, HOST, Status.SOURCE_UNAUTHORIZED),
            (DISK, ALL, DISK, Status.SCN_REGISTRATION_REJECTED),
            (HOST, ALL | Scn.MANAGEMENT, HOST, Status.SCN_REGISTRATION_REJECTED),
            (HOST, ALL | Scn.MEMBER_ADDED, HOST, Status.SCN_REGISTRATION_REJECTED),
            (HOST, 0x100, HOST, Status.SCN_REGISTRATION_REJECTED),
            (HOST, None, HOST, Status.MESSAGE_FORMAT_ERROR),
            (HOST, ALL, OTHER, Status.NO_SUCH_ENTRY),
        ],
    )
    def test_who_may_register(self, source, bitmap, node_name, status) -> None:
        bench = Bench()
        bench.host(number(Tag.SCN_PORT, UDP | 5000))
        bench.disk()
        assert self.scn(bench, source, bitmap, node_name) == status

    def test_the_bitmap_is_written_over_and_cleared(self) -> None:
        bench = listening(Scn.ADDED)
        assert self.scn(bench, HOST, Scn.REMOVED) == 0
        assert bench.query(HOST, *want(35), key=[name(HOST)]).operating == (number(35, Scn.REMOVED),)
        assert bench.do(Function.SCN_DEREG, HOST, number(35, 1), key=[name(HOST)]).status == 2
        response = bench.do(Function.SCN_DEREG, HOST, key=[name(HOST)])
        assert (response.status, response.key, response.operating) == (0, (), ())
        assert bench.query(HOST, *want(35), key=[name(HOST)]).operating == ()


class TestEvents:
    def test_an_event_is_passed_on(self) -> None:
        bench = listening()
        bench.disk()
        bench.sent.clear()
        response = bench.do(Function.SCN_EVENT, DISK, number(35, Scn.UPDATED), key=[name(DISK)])
        assert response.status == 0
        assert told(bench) == [(Scn.UPDATED, DISK)]

    @pytest.mark.parametrize(
        ("operating", "key", "status"),
        [
            ([], DISK, Status.MESSAGE_FORMAT_ERROR),
            ([Attribute(35)], DISK, Status.MESSAGE_FORMAT_ERROR),
            ([number(35, 0x20)], DISK, Status.SCN_EVENT_REJECTED),
            ([number(35, 4)], OTHER, Status.SCN_EVENT_REJECTED),
            ([number(35, 4)], HOST, Status.SOURCE_UNAUTHORIZED),
        ],
    )
    def test_a_bad_event_is_refused(self, operating, key, status) -> None:
        bench = Bench()
        bench.disk()
        bench.host()
        assert bench.do(Function.SCN_EVENT, DISK, *operating, key=[name(key)]).status == status


class TestManagement:
    def managed(self, bitmap: int = 0x3F, **settings) -> Bench:
        bench = Bench(**settings)
        bench.register(ADMIN, *portal("192.0.2.9", 1), number(Tag.SCN_PORT, UDP | 7000), *node(ADMIN, 2))
        assert bench.do(Function.SCN_REG, ADMIN, number(35, bitmap), key=[name(ADMIN)]).status == 0
        bench.sent.clear()
        return bench

    def told(self, bench: Bench) -> list[tuple[int, list[int]]]:
        return [
            (change.bitmap & 0x1F, [item.tag for item in change.objects])
            for item in bench.notifications()
            for change in item.changes
            if change.bitmap & Scn.MANAGEMENT
        ]

    def test_a_control_node_is_told_of_everything(self) -> None:
        bench = self.managed()
        bench.disk()
        assert self.told(bench) == [(Scn.ADDED, [32])]
        bench.do(Function.DD_REG, ADMIN, text(Tag.DD_MEMBER_NAME, DISK))
        assert self.told(bench) == [(Scn.ADDED, [2065]), (Scn.MEMBER_ADDED, [32, 2065])]
        bench.do(Function.DDS_REG, ADMIN, number(Tag.DD_ID, 1), number(Tag.DDS_STATUS, 1))
        assert self.told(bench) == [(Scn.ADDED, [2049]), (Scn.MEMBER_ADDED, [2065, 2049])]
        bench.register(DISK, name(DISK), text(34, "big"), key=[name(DISK)])
        assert self.told(bench) == [(Scn.UPDATED, [32, 2065])]
        bench.do(Function.DD_DEREG, ADMIN, key=[number(Tag.DD_ID, 1)])
        assert (Scn.MEMBER_REMOVED, [2065, 2049]) in self.told(bench)
        bench.do(Function.DDS_DEREG, ADMIN, key=[number(Tag.DDS_ID, 1)])
        assert self.told(bench) == [(Scn.REMOVED, [2049])]

    def test_its_bitmap_selects_too(self) -> None:
        bench = self.managed(Scn.MANAGEMENT | Scn.MEMBER_ADDED)
        bench.disk()
        assert self.told(bench) == []

    def test_a_control_node_without_management_sees_all_nodes(self) -> None:
        bench = self.managed(ALL)
        bench.disk()
        assert told(bench) == [(Scn.ADDED, DISK)]

    def test_management_notifications_can_be_switched_off(self) -> None:
        bench = Bench(management_notifications=False)
        bench.register(ADMIN, *portal("192.0.2.9", 1), number(Tag.SCN_PORT, UDP | 7000), *node(ADMIN, 2))
        response = bench.do(Function.SCN_REG, ADMIN, number(35, 0x20), key=[name(ADMIN)])
        assert response.status == Status.SCN_REGISTRATION_REJECTED
