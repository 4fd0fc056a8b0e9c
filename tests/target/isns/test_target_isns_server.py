from __future__ import annotations

from typing import Any

import pytest
from tests.target.isns.bench import ADMIN, DISK, HOST, Bench, eid, messages, name, node, portal, want

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Request, acknowledgement, inquiry_in, response_of
from iscsi_protocol.isns.codes import Flag, Function, Status
from iscsi_protocol.isns.pdu import IsnsPdu, PduStream
from iscsi_protocol.isns.tlv import Attribute, number
from iscsi_target.isns.policy import IsnsPolicy
from iscsi_target.isns.server import Send, _Pending

UDP = 0x10000
PEER = ("192.0.2.2", 40000)


def watched(bench: Bench, *, interval: int = 60, port: int = UDP | 4000, **more) -> None:
    bench.register(
        DISK,
        eid("disk"),
        *portal(),
        number(Tag.ESI_INTERVAL, interval),
        number(Tag.ESI_PORT, port),
        *node(DISK),
        key=[eid("disk")],
    )


class TestPeriods:
    def test_a_silent_client_is_forgotten(self) -> None:
        bench = Bench(registration_period=600)
        bench.disk()
        bench.wait(599)
        assert bench.names(ADMIN) == [DISK]
        bench.wait(1)
        assert bench.names(ADMIN) == []
        assert bench.server.next_deadline() is None

    def test_any_message_is_a_sign_of_life(self) -> None:
        bench = Bench(registration_period=600)
        bench.disk()
        for _ in range(3):
            bench.wait(500)
            assert bench.names(DISK) == [DISK]
        assert bench.query(DISK, *want(4), key=[eid("disk")]).operating == (number(4, int(bench.now)),)

    def test_a_restart_begins_anew(self) -> None:
        bench = Bench(registration_period=600)
        bench.disk()
        bench.server.start(bench.now + 10000)
        assert bench.server.next_deadline() == bench.now + 10600


class TestInquiries:
    def test_an_answer_keeps_the_portal(self) -> None:
        bench = Bench()
        watched(bench)
        for _ in range(4):
            bench.wait(60)
            ((message, send),) = bench.inquiries()
            assert send.udp == ("192.0.2.1", 4000)
            asked = inquiry_in(message)
            assert (asked.eid, asked.port, asked.timestamp) == ("disk", 3260, int(bench.now))
            bench.server.datagram(("192.0.2.1", 4000), acknowledgement(message).encode(), bench.now)
        assert bench.names(ADMIN) == [DISK]
        assert bench.query(ADMIN, *want(4), key=[eid("disk")]).operating == (number(4, int(bench.now)),)

    def test_silence_removes_the_portal_and_its_entity(self) -> None:
        bench = Bench()
        watched(bench)
        bench.wait(119)
        asked = bench.inquiries()
        assert len(asked) == 3
        assert len({message.transaction for message, _ in asked}) == 1
        assert bench.names(ADMIN) == [DISK]
        bench.wait(1)
        assert bench.names(ADMIN) == []

    def test_an_entity_stays_with_another_portal_under_watch(self) -> None:
        bench = Bench()
        watched(bench)
        second = portal("192.0.2.3")
        bench.register(DISK, eid("disk"), *second, number(Tag.ESI_PORT, UDP | 4001), key=[eid("disk")])
        for _ in range(8):
            bench.wait(20)
            for message, send in bench.inquiries():
                if send.udp == ("192.0.2.3", 4001):
                    bench.server.datagram(send.udp, acknowledgement(message).encode(), bench.now)
        assert bench.names(ADMIN) == [DISK]
        assert bench.query(ADMIN, *want(16)).operating == (second[0],)

    def test_a_late_registration_saves_the_entity(self) -> None:
        bench = Bench()
        watched(bench)
        bench.wait(100)
        bench.register(DISK, name(DISK), number(33, 1), key=[name(DISK)])
        bench.wait(30)
        assert bench.names(ADMIN) == [DISK]
        assert bench.query(ADMIN, *want(16)).operating == ()

    def test_tcp_is_dialled_and_the_answer_comes_there(self) -> None:
        bench = Bench()
        watched(bench, port=4000)
        bench.wait(60)
        ((message, send),) = bench.inquiries()
        assert send.tcp == ("192.0.2.1", 4000)
        bench.server.connection_made(7)
        bench.server.receive(7, acknowledgement(message).encode(), bench.now)
        bench.wait(59)
        assert bench.inquiries() == []

    def test_a_changed_interval_holds_from_now_on(self) -> None:
        bench = Bench()
        watched(bench)
        bench.wait(50)
        watched(bench, interval=30)
        bench.wait(29)
        assert bench.inquiries() == []
        bench.wait(1)
        assert len(bench.inquiries()) == 1

    def test_an_answer_to_nothing_is_nothing(self) -> None:
        bench = Bench()
        watched(bench)
        bench.wait(60)
        ((message, _),) = bench.inquiries()
        other = acknowledgement(message)
        from dataclasses import replace

        bench.server.datagram(PEER, replace(other, transaction=999).encode(), bench.now)
        bench.wait(20)
        assert len(bench.inquiries()) == 1


class TestForms:
    def pdu(self, **fields) -> bytes:
        payload = Request(function=2, source=name(ADMIN), operating=want(32)).message(5).payload
        values: dict[str, Any] = {"function": 2, "transaction": 5, "flags": 0x8C00, "payload": payload}
        return IsnsPdu(**values | fields).encode()

    @pytest.mark.parametrize(
        ("fields", "status"),
        [
            ({}, 0),
            ({"version": 2}, Status.VERSION_NOT_SUPPORTED),
            ({"flags": 0x8001}, Status.MESSAGE_FORMAT_ERROR),
            ({"flags": 0x8800}, Status.MESSAGE_FORMAT_ERROR),
            ({"sequence": 1}, Status.MESSAGE_FORMAT_ERROR),
            ({"payload": b"abc"}, Status.MESSAGE_FORMAT_ERROR),
            ({"payload": bytes(4)}, Status.MESSAGE_FORMAT_ERROR),
            ({"payload": Attribute(0).encode()}, Status.SOURCE_ABSENT),
            ({"function": 0x0100}, Status.FUNCTION_NOT_SUPPORTED),
            ({"function": Function.ESI}, Status.FUNCTION_NOT_SUPPORTED),
        ],
    )
    def test_what_is_answered(self, fields, status) -> None:
        assert Bench().raw(self.pdu(**fields)).status == status

    def test_a_bad_response_is_not_answered(self) -> None:
        bench = Bench()
        bench.server.receive(1, self.pdu(function=0x8008, version=3), bench.now)
        bench.server.receive(1, self.pdu(function=0x8008), bench.now)
        assert bench.server.take_output() == []

    def test_a_request_may_take_several_pdus(self) -> None:
        bench = Bench()
        message = Request(function=2, source=name(ADMIN), operating=want(32)).message(5)
        *first, last = message.pdus(8)
        for pdu in first:
            bench.server.receive(1, pdu.encode(), bench.now)
        assert bench.server.take_output() == []
        assert bench.raw(last.encode()).status == 0

    def test_a_long_response_takes_several_pdus(self) -> None:
        bench = Bench()
        nodes = [item for number_ in range(700) for item in node(f"iqn.2001-04.com.example:{'x' * 60}{number_}")]
        source = f"iqn.2001-04.com.example:{'x' * 60}0"
        bench.server.receive(1, Request(function=1, source=name(source), operating=tuple(nodes)).message(1).encode(), 0)
        sent = bench.server.take_output()
        assert [pdu.sequence for send in sent for pdu in PduStream().feed(send.data)] == [0, 1]
        assert response_of(messages(sent[:1] and [type(sent[0])(data=b"".join(s.data for s in sent))])[0]).status == 0


class TestDatagrams:
    def ask(self, bench: Bench, data: bytes) -> list[Send]:
        bench.server.datagram(PEER, data, bench.now)
        return bench.server.take_output()

    def test_a_request_is_answered_where_it_came_from(self) -> None:
        bench = Bench()
        (send,) = self.ask(bench, Request(function=2, source=name(ADMIN), operating=want(32)).message(5).encode())
        assert send.udp == PEER

    def test_a_request_that_comes_again_is_not_carried_out_again(self) -> None:
        bench = Bench()
        data = Request(function=1, source=name(DISK), operating=node(DISK)).message(5).encode()
        assert self.ask(bench, data) == self.ask(bench, data)
        assert len(bench.server.realm.store.entities) == 1

    def test_what_is_no_pdu_is_dropped(self) -> None:
        assert self.ask(Bench(), b"abc") == []

    def test_two_peers_do_not_mix(self) -> None:
        bench = Bench()
        first, last = Request(function=2, source=name(ADMIN), operating=want(32)).message(5).pdus(52)
        bench.server.datagram(("192.0.2.9", 1), first.encode(), bench.now)
        bench.server.datagram(PEER, first.encode(), bench.now)
        (send,) = self.ask(bench, last.encode())
        assert send.udp == PEER

    def test_memory_has_an_end(self) -> None:
        bench = Bench()
        for transaction in range(300):
            data = Request(function=2, source=name(ADMIN), operating=want(32)).message(transaction).encode()
            bench.server.datagram(("192.0.2.9", transaction), data, bench.now)
        assert len(bench.server._answered) == len(bench.server._datagrams) == 256


def test_transaction_numbers_wrap_and_are_not_taken_twice() -> None:
    bench = Bench()
    bench.server._transaction = 0xFFFF
    bench.server._pending[1] = _Pending(sends=[], due=0, left=0)
    assert bench.server._next_transaction() == 2


def test_a_bad_source_name_is_refused() -> None:
    bench = Bench()
    assert bench.query("disk", *want(32)).status == Status.INVALID_REGISTRATION


def test_flags_tell_who_speaks() -> None:
    bench = Bench()
    bench.server.receive(1, Request(function=2, source=name(HOST), operating=want(32)).message(3).encode(), bench.now)
    (pdu,) = PduStream().feed(bench.server.take_output()[0].data)
    assert (pdu.flags, pdu.function, pdu.transaction) == (Flag.SERVER | Flag.FIRST | Flag.LAST, 0x8002, 3)


def test_the_policy_changes_what_goes_out() -> None:
    bench = Bench(
        policy=IsnsPolicy(
            answers={(2, 0): 12},
            leaves_out=frozenset({(2, 32)}),
            without_key=frozenset({2}),
            xor_header={"sequence": 0},
            silent_functions=frozenset({5}),
            same_sequence=True,
        )
    )
    bench.disk()
    asked = bench.query(DISK, *want(32, 33), key=[name(DISK)])
    assert (asked.status, asked.key, asked.operating) == (12, (), (number(33, 1),))
    bench.server.receive(1, Request(function=5, source=name(DISK)).message(9).encode(), bench.now)
    assert bench.server.take_output() == []
