"""TCP on loopback, the recorder and the fault injector above it, and the raw connection on top of both."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from typing import Any

import pytest

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.environments import tcp_stage
from iscsi_conformance.stimulus import configured
from iscsi_initiator.client import Client, SessionFailed
from iscsi_initiator.raw import Digest, PeerClosed, RawConnection, SilentPeer
from iscsi_initiator.settings import Settings
from iscsi_initiator.transport import ConnectFailed, TappedConnector, TcpConnector, tcp
from iscsi_protocol.fault import Drop, Fault, Reset, Set, When
from iscsi_protocol.history import BytesRecord, Endpoint, PduRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import LoginRequest, LoginResponse, NopIn, NopOut, RawPdu, encode
from iscsi_protocol.stream import Direction

NAME = "iqn.2026-01.org.example:disk"


class Peer:
    """A listener on loopback whose end of the connection the test drives."""

    def __init__(self) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen()
        self.listener.setblocking(False)
        self.endpoint = Endpoint(*self.listener.getsockname())
        self.connection = socket.socket()

    async def accept(self):
        self.connection.close()
        self.connection, _ = await asyncio.get_running_loop().sock_accept(self.listener)
        self.connection.setblocking(False)

    async def send(self, data):
        await asyncio.get_running_loop().sock_sendall(self.connection, data)

    async def recv(self, length):
        data = b""
        while len(data) < length:
            more = await asyncio.get_running_loop().sock_recv(self.connection, length - len(data))
            if not more:
                break
            data += more
        return data

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def close(self):
        self.listener.close()
        self.connection.close()


def on_loopback(test):
    """Run a coroutine that takes a peer."""

    async def run():
        peer = Peer()
        try:
            async with asyncio.timeout(20):
                await test(peer)
        finally:
            peer.close()

    asyncio.run(run())


async def open_raw(peer, **arguments):
    connection = await RawConnection.open(TcpConnector(), peer.endpoint, **arguments)
    await peer.accept()
    return connection


class Ear:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.data = b""
        self.reasons: list[TransportEvent] = []
        self.errors: list[int] = []
        self.writables = 0
        self.changed = asyncio.Event()

    def room(self):
        return None

    def data_received(self, view, placed=0):
        self.data += bytes(view)
        self.changed.set()

    def connection_lost(self, reason):
        self.reasons.append(reason)
        self.changed.set()

    def send_failed(self, error):
        self.errors.append(error)
        self.changed.set()

    def writable(self):
        self.writables += 1
        self.changed.set()

    async def until(self, condition):
        while not condition():
            self.changed.clear()
            await self.changed.wait()


def test_refused_ipv4_and_ipv6():
    async def run():
        for host in ("127.0.0.1", "::1"):
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as unused:
                unused.bind((host, 0))
                endpoint = Endpoint(host, unused.getsockname()[1])
                with pytest.raises(ConnectFailed) as caught:
                    await TcpConnector().connect(endpoint, Ear())
                assert caught.value.event is TransportEvent.REFUSED
                assert str(endpoint) in str(caught.value)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (errno.ETIMEDOUT, TransportEvent.TIMED_OUT),
        (errno.ENETUNREACH, TransportEvent.UNREACHABLE),
        (errno.EHOSTUNREACH, TransportEvent.UNREACHABLE),
    ],
)
def test_what_the_network_says(monkeypatch, error, event):
    async def run():
        async def fail(*_):
            raise OSError(error, "as asked for")

        monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", fail)
        with pytest.raises(ConnectFailed) as caught:
            await TcpConnector().connect(Endpoint("127.0.0.1", 9), Ear())
        assert caught.value.event is event

    asyncio.run(run())


def test_a_full_accept_queue_times_out():
    async def run():
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            endpoint = Endpoint(*listener.getsockname())
            fill = [socket.socket() for _ in range(4)]
            try:
                for one in fill:
                    one.setblocking(False)
                    one.connect_ex((endpoint.host, endpoint.port))
                with pytest.raises(ConnectFailed) as caught:
                    await TcpConnector(connect_time=0.05).connect(endpoint, Ear())
                assert caught.value.event is TransportEvent.TIMED_OUT
            finally:
                for one in fill:
                    one.close()

    asyncio.run(run())


class Roomy(Ear):
    """Has room for so many bytes, then for none and only a few in turn."""

    def __init__(self, first):
        super().__init__()
        self.rooms = [first, None, 5, None, 70_000]
        self.placed = []

    def room(self):
        if self.rooms[0] is None:
            return None
        self.place = bytearray(self.rooms[0])
        return memoryview(self.place)

    def data_received(self, view, placed=0):
        room = self.rooms[0]
        assert placed <= (room or 0)
        assert not len(view) or placed == (room or 0), "bytes were handed over while there was room"
        if room is not None:
            self.data += bytes(self.place[:placed])
            self.placed.append(placed)
        super().data_received(view)
        self.rooms.append(self.rooms.pop(0))


@pytest.mark.parametrize("first", [1, 3000, 300_000])
def test_bytes_are_put_where_there_is_room_and_stay_in_order(first):
    async def test(peer):
        ear = Roomy(first)
        transport = await TcpConnector().connect(peer.endpoint, ear)
        await peer.accept()
        whole = b"".join(number.to_bytes(4, "big") for number in range(200_000))
        await peer.send(whole)
        while len(ear.data) < len(whole):
            ear.changed.clear()
            await ear.changed.wait()
        assert ear.data == whole
        assert ear.placed[0]
        transport.close()

    on_loopback(test)


def test_a_large_read_lands_in_its_buffer(monkeypatch):
    """Over TCP to the bundled target; what was written is what is read, and most of it was never handed over."""
    monkeypatch.setattr(tcp, "_RECEIVE_BUFFER", 4096)

    async def run() -> None:
        async with tcp_stage(configured()) as stage:
            settings = Settings(max_recv_data_segment_length=262144)
            client = await Client.connect(stage.endpoints[0], target_name=PLAIN, lun=0, settings=settings)
            placed, receive = 0, client.engine.receive

            def watch(connection, data, now, length=0):
                nonlocal placed
                placed += length
                return receive(connection, data, now, length)

            monkeypatch.setattr(client.engine, "receive", watch)
            blocks, size = await client.capacity()
            length = min(blocks * size, 1 << 20)
            written = b"".join(number.to_bytes(4, "big") for number in range(length // 4))
            await client.write(0, written)
            assert bytes(await client.read(0, length // size)) == written
            assert placed > length * 0.9
            await client.logout()

    asyncio.run(run())


def test_much_data_in_many_buffers_arrives_whole_and_in_order():
    async def test(peer):
        ear = Ear()
        transport = await TcpConnector().connect(peer.endpoint, ear)
        await peer.accept()
        pieces = [bytes([n % 256]) * (n * 7 % 3000) for n in range(3000)]
        transport.write(pieces[:1500])
        transport.write(pieces[1500:])
        whole = b"".join(pieces)
        assert transport.unsent
        transport.close()
        transport.write([b"too late"])
        assert await peer.recv(len(whole) + 1) == whole
        assert ear.reasons == []

    on_loopback(test)


@pytest.mark.parametrize("reset", [False, True])
def test_fin_and_rst_are_told_apart_and_said_once(reset):
    async def test(peer):
        ear = Ear()
        transport = await TcpConnector().connect(peer.endpoint, ear)
        await peer.accept()
        await peer.send(b"last words")
        while not ear.data:
            ear.changed.clear()
            await ear.changed.wait()
        if reset:
            peer.reset()
        else:
            peer.connection.close()
        while not ear.reasons:
            ear.changed.clear()
            await ear.changed.wait()
        assert ear.data == b"last words"
        assert ear.reasons == [TransportEvent.RST if reset else TransportEvent.FIN]
        transport.write([b"nobody hears this"])
        transport.close()
        transport.abort()

    on_loopback(test)


def test_finish_waits_for_the_fin_of_a_peer():
    async def test(peer):
        connector = TcpConnector()
        transport = await connector.connect(peer.endpoint, Ear())
        await peer.accept()
        transport.close()
        finishing = asyncio.ensure_future(connector.finish(20))
        assert await peer.recv(1) == b""
        assert not finishing.done()
        peer.connection.close()
        await finishing
        assert transport._socket.fileno() == -1

    on_loopback(test)


def test_finish_resets_what_does_not_end():
    async def test(peer):
        connector = TcpConnector()
        transport = await connector.connect(peer.endpoint, Ear())
        await peer.accept()
        await connector.finish(0.02)
        with pytest.raises(ConnectionResetError):
            await peer.recv(1)
        assert transport._socket.fileno() == -1
        await connector.finish()

    on_loopback(test)


def test_abort_is_a_reset_for_the_peer():
    async def test(peer):
        transport = await TcpConnector().connect(peer.endpoint, Ear())
        await peer.accept()
        transport.abort()
        with pytest.raises(ConnectionResetError):
            await peer.recv(1)

    on_loopback(test)


def test_the_raw_connection_shows_wrong_digests_and_sends_them():
    async def test(peer):
        connection = await open_raw(peer)
        connection.header_digest = connection.data_digest = True
        good = encode(NopIn(data=b"abc", stat_sn=5)).with_digests(header=True, data=True)
        bad_data = encode(NopIn(data=b"abd")).with_digests(header=True, data=True)
        bad_data.data_digest = b"\0\0\0\0"
        bad_header = encode(NopIn(data=b"abe")).with_digests(header=True, data=True)
        bad_header.header_digest = b"\0\0\0\0"
        await peer.send(b"".join(raw.to_bytes() for raw in (good, bad_data, bad_header, good)))
        marks = []
        for _ in range(4):
            raw = (await connection.recv()).raw
            marks.append((raw.header_digest_error, raw.data_digest_error))
        assert marks == [(False, False), (False, True), (True, False), (False, False)]
        sent = connection.send(NopOut(data=b"x"), header_digest=Digest.WRONG, data_digest=Digest.NONE)
        assert isinstance(sent, RawPdu)
        right = encode(NopOut(data=b"x")).with_digests(header=True, data=True)
        assert sent.header_digest != right.header_digest
        assert sent.data_digest == b""
        connection.send(b"anything")
        assert (await peer.recv(48 + 4 + 4 + 8))[-8:] == b"anything"
        connection.close()

    on_loopback(test)


def test_the_raw_connection_tells_silence_from_an_end():
    async def test(peer):
        connection = await open_raw(peer)
        await peer.send(bytes(20))
        with pytest.raises(SilentPeer) as silent:
            await connection.recv(0.02)
        assert len(silent.value.remainder) == 20
        peer.connection.close()
        with pytest.raises(PeerClosed) as closed:
            await connection.recv()
        assert closed.value.how is TransportEvent.FIN
        assert len(closed.value.remainder) == 20
        assert await connection.wait_closed() is TransportEvent.FIN

    on_loopback(test)


def test_the_raw_connection_follows_the_counters_only_as_documented():
    async def test(peer):
        connection = await open_raw(peer)
        connection.exp_stat_sn = 7
        for pdu in (
            NopIn(itt=1, stat_sn=7, exp_cmd_sn=4, max_cmd_sn=9),
            NopIn(stat_sn=8, exp_cmd_sn=5, max_cmd_sn=3),
            NopIn(itt=1, stat_sn=9, exp_cmd_sn=3, max_cmd_sn=20),
        ):
            await peer.send(encode(pdu).to_bytes())
            await connection.recv()
        assert (connection.exp_stat_sn, connection.exp_cmd_sn, connection.max_cmd_sn) == (8, 4, 20)
        connection.follow = False
        await peer.send(encode(NopIn(itt=1, stat_sn=8, exp_cmd_sn=6, max_cmd_sn=30)).to_bytes())
        await connection.recv()
        assert (connection.exp_stat_sn, connection.exp_cmd_sn) == (8, 4)
        assert [connection.next_itt(), connection.next_itt(), connection.next_cmd_sn(), connection.cmd_sn] == [
            1,
            2,
            1,
            2,
        ]
        connection.abort()

    on_loopback(test)


async def agree(peer, *, keys=b""):
    """Answer one login request with consent."""
    request = await peer.recv(48)
    length = int.from_bytes(request[5:8], "big")
    await peer.recv(length + -length % 4)
    flags = request[1]
    response = LoginResponse(
        transit=bool(flags & 0x80),
        csg=flags >> 2 & 3,
        nsg=flags & 3,
        isid=request[8:14],
        tsih=1 if flags & 3 == 3 else 0,
        itt=int.from_bytes(request[16:20], "big"),
        max_cmd_sn=8,
        exp_cmd_sn=1,
        stat_sn=int.from_bytes(request[28:32], "big"),
        data=keys,
    )
    await peer.send(encode(response).to_bytes())


def test_the_raw_login_and_its_change_hook():
    async def test(peer):
        connection = await open_raw(peer)
        keys = [("InitiatorName", NAME), ("TargetName", NAME), ("HeaderDigest", "CRC32C")]
        seen = []

        def change(request, number):
            seen.append((number, request))
            return request

        server = asyncio.ensure_future(agree(peer, keys=b"HeaderDigest=CRC32C\0DataDigest=CRC32C\0"))
        login = await connection.login(keys, change=change)
        await server
        assert login.full_feature
        assert login.status == 0
        assert login.agreed("HeaderDigest") == "CRC32C"
        assert login.agreed("DataDigest") is None
        assert (connection.header_digest, connection.data_digest, connection.full_feature) == (True, False, True)
        assert isinstance(seen[0][1], LoginRequest)
        assert connection.exp_stat_sn == 1
        connection.close()

    on_loopback(test)


def test_the_raw_login_stops_at_a_refusal():
    async def test(peer):
        connection = await open_raw(peer)

        async def refuse():
            request = await peer.recv(48)
            length = int.from_bytes(request[5:8], "big")
            await peer.recv(length + -length % 4)
            await peer.send(encode(LoginResponse(status_class=2, status_detail=3)).to_bytes())

        server = asyncio.ensure_future(refuse())
        login = await connection.login([("InitiatorName", NAME), ("AuthMethod", "None"), ("MaxBurstLength", "512")])
        await server
        assert login.status == 0x0203
        assert not connection.full_feature
        assert login.offered == [("InitiatorName", NAME), ("AuthMethod", "None")]
        connection.close()

    on_loopback(test)


def test_the_recorder_sees_what_crossed_the_wire():
    async def test(peer):
        records: list[Any] = []
        fault = Fault(when=When(direction=Direction.TO_TARGET, opcode=0, nth=1), what=(Drop(),))
        connection = await open_raw(peer, tap=records.append, faults=[fault], clock=lambda: 4.0)
        connection.send(NopOut(itt=1))
        connection.send(NopOut(itt=2))
        assert (await peer.recv(48))[16:20] == bytes([0, 0, 0, 2])
        await peer.send(encode(NopIn(itt=2)).to_bytes() + bytes(10))
        await connection.recv()
        peer.connection.close()
        with pytest.raises(PeerClosed):
            await connection.recv()
        kinds = [
            record.event if isinstance(record, TransportRecord) else (type(record), record.direction)
            for record in records
        ]
        assert kinds == [
            TransportEvent.CONNECT,
            TransportEvent.CONNECTED,
            (PduRecord, Direction.TO_TARGET),
            (PduRecord, Direction.TO_INITIATOR),
            TransportEvent.FIN,
            (BytesRecord, Direction.TO_INITIATOR),
        ]
        assert {record.time for record in records} == {4.0}
        assert {record.connection for record in records} == {1}

    on_loopback(test)


def test_a_fault_that_resets_tells_the_receiver_that_we_did():
    async def test(peer):
        fault = Fault(when=When(direction=Direction.TO_TARGET, opcode=0), what=(Reset(),))
        connector = TappedConnector(TcpConnector(), faults=[fault])
        connection = await RawConnection.open(connector, peer.endpoint)
        await peer.accept()
        connection.send(NopOut(itt=1))
        with pytest.raises(PeerClosed) as caught:
            await connection.recv()
        assert caught.value.how is TransportEvent.CLOSED_BY_US
        assert connector.fired == 1

    on_loopback(test)


SPOILT = [
    Fault(when=When(direction=Direction.TO_INITIATOR, opcode=0x20), what=(Set("itt", 9),)),
    Fault(when=When(direction=Direction.TO_TARGET, opcode=0), what=(Set("itt", 9),)),
]
"""Touches both directions, so that whole PDUs are waited for."""


@pytest.mark.parametrize("reset", [False, True])
def test_half_a_pdu_of_a_target_that_goes_is_not_lost_in_a_touched_direction(reset):
    async def test(peer):
        connection = await RawConnection.open(TappedConnector(TcpConnector(), faults=SPOILT), peer.endpoint)
        await peer.accept()
        whole = encode(NopIn(itt=1, stat_sn=3)).to_bytes()
        await peer.send(whole + whole[:20])
        assert (await connection.recv()).raw.initiator_task_tag == 9
        if reset:
            peer.reset()
        else:
            peer.connection.close()
        with pytest.raises(PeerClosed) as closed:
            await connection.recv()
        assert closed.value.how is (TransportEvent.RST if reset else TransportEvent.FIN)
        assert closed.value.remainder == whole[:20]

    on_loopback(test)


def test_half_a_pdu_of_ours_is_sent_before_the_close_in_a_touched_direction():
    async def test(peer):
        records: list[Any] = []
        connector = TappedConnector(TcpConnector(), faults=SPOILT, tap=records.append)
        connection = await RawConnection.open(connector, peer.endpoint)
        await peer.accept()
        half = encode(NopOut(itt=1)).to_bytes()[:20]
        connection.send(half)
        connection.close()
        assert await peer.recv(48) == half
        assert [record.data for record in records if isinstance(record, BytesRecord)] == [half]

    on_loopback(test)


def test_a_receiver_that_closes_at_half_a_pdu_hears_of_no_end():
    async def test(peer):
        class Closing(Ear):
            def data_received(self, view, placed=0):
                super().data_received(view)
                transport.close()

        ear = Closing()
        transport = await TappedConnector(TcpConnector(), faults=SPOILT).connect(peer.endpoint, ear)
        await peer.accept()
        await peer.send(bytes(20))
        peer.connection.close()
        while not ear.data:
            ear.changed.clear()
            await ear.changed.wait()
        assert (ear.data, ear.reasons) == (bytes(20), [])

    on_loopback(test)


def test_a_refused_attempt_is_recorded():
    async def run():
        records: list[Any] = []
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            endpoint = Endpoint(*unused.getsockname())
            with pytest.raises(ConnectFailed):
                await RawConnection.open(TcpConnector(), endpoint, tap=records.append, number=5)
        assert [(record.event, record.connection) for record in records] == [
            (TransportEvent.CONNECT, 5),
            (TransportEvent.REFUSED, 5),
        ]

    asyncio.run(run())


def test_a_client_says_why_there_is_no_session():
    async def test(peer):
        endpoint = peer.endpoint
        peer.listener.close()
        with pytest.raises(SessionFailed) as caught:
            await Client.connect(f"iscsi://{endpoint}/{NAME}/0", settings=Settings(portal_retry_count=0))
        assert caught.value.unreachable

    on_loopback(test)


def test_a_client_gives_its_sockets_back_before_it_is_done():
    """Closed connections wait for the target's FIN; who logged out need not know."""

    async def run() -> None:
        async with tcp_stage(configured()) as stage:
            client = await Client.connect(stage.endpoints[0], target_name=PLAIN)
            assert client._own_connector is not None
            assert client._own_connector._held
            await client.logout()
            assert not client._own_connector._held

    asyncio.run(run())
