"""The relay: bytes both ways, faults in between, ends of connections, and nothing that piles up."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from iscsi_conformance.relay import READ_SIZE, NotOnTheWire, Relay, check_relayable
from iscsi_protocol.fault import Close, Drop, Fault, Hold, NamedFault, Reset, Set, Side, Truncate, When
from iscsi_protocol.history import BytesRecord, Endpoint, PduRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import NopIn, NopOut, encode
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.stream import Direction

PING = encode(NopOut(itt=7, cmd_sn=1, exp_stat_sn=2, data=b"ping")).to_bytes()
PONG = encode(NopIn(itt=7, stat_sn=2, exp_cmd_sn=2, max_cmd_sn=9, data=b"ping")).to_bytes()
TO_TARGET = When(direction=Direction.TO_TARGET, opcode=Opcode.NOP_OUT)
TO_INITIATOR = When(direction=Direction.TO_INITIATOR, opcode=Opcode.NOP_IN)


def named(*faults):
    """A named fault of the initiator."""
    return NamedFault(id="test.fault", side=Side.INITIATOR, says="does what the test wants", faults=faults)


def spoil(when, *what):
    """A named fault made of one fault."""
    return named(Fault(when=when, what=what))


async def drained(reader):
    """Read to the end, whichever it is."""
    while await reader.read(1 << 16):
        pass


async def close(*writers):
    """End connections, however they are by now."""
    for writer in writers:
        writer.transport.abort()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


class Scene:
    """A client, the relay, and the server behind it."""

    def __init__(self, relay, client, served, complaints):
        self.relay = relay
        self.reader, self.writer = client
        self.served = served
        self.complaints = complaints

    async def server(self):
        """Reader and writer of the upstream's end."""
        return await self.served.get()


@asynccontextmanager
async def scene(*faults, tap=None):
    """Bring up server, relay and client; everything ends with the block, and nothing may wait for longer than 20 s."""
    served: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    ends = []

    def serve(*end):
        ends.append(end)
        served.put_nowait(end)

    complaints: list[str] = []
    async with asyncio.timeout(20):
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        relay = Relay(Endpoint(*server.sockets[0].getsockname()), faults, tap=tap, complain=complaints.append)
        (listening,) = await relay.start(Endpoint("127.0.0.1", 0))
        client = await asyncio.open_connection(listening.host, listening.port)
        ends.append(client)
        try:
            yield Scene(relay, client, served, complaints)
        finally:
            await relay.stop()
            server.close()
            await close(*(writer for _, writer in ends))


def test_bytes_pass_unchanged_both_ways():
    """Without a fault both ends get exactly what the other sent, and each other's FIN."""

    async def main():
        async with scene() as at:
            reader, writer = await at.server()
            at.writer.write(PING + b"no PDU at all")
            at.writer.write_eof()
            assert await reader.read() == PING + b"no PDU at all"
            writer.write(PONG)
            writer.close()
            assert await at.reader.read() == PONG
            return at.relay.connections, at.relay.fired

    assert asyncio.run(main()) == (1, 0)


def test_unfinished_pdu_passes_with_its_sender_gone():
    """A fault makes the relay wait for whole PDUs; what is left of one when the sender closes still goes on."""

    async def main():
        async with scene(spoil(TO_TARGET, Set("itt", 9))) as at:
            reader, writer = await at.server()
            at.writer.write(PING[:20])
            at.writer.write_eof()
            rest = await reader.read()
            writer.close()
            return rest

    assert asyncio.run(main()) == PING[:20]


def test_fault_changes_one_direction():
    """A fault sets a field of what goes one way, and is counted."""

    async def main():
        async with scene(spoil(TO_TARGET, Set("itt", 9))) as at:
            reader, writer = await at.server()
            at.writer.write(PING)
            got = await reader.readexactly(len(PING))
            writer.write(PONG)
            back = await at.reader.readexactly(len(PONG))
            return got, back, at.relay.fired

    got, back, fired = asyncio.run(main())
    assert got == PING[:16] + bytes([0, 0, 0, 9]) + PING[20:]
    assert back == PONG
    assert fired == 1


def test_every_connection_gets_the_faults_afresh():
    """A fault that strikes once strikes once in every connection."""

    async def main():
        async with scene(spoil(TO_TARGET, Drop())) as at:
            reader, _ = await at.server()
            at.writer.write(PING + PONG)
            first = await reader.readexactly(len(PONG))
            host, port = at.writer.get_extra_info("peername")
            _second_reader, second = await asyncio.open_connection(host, port)
            reader, _ = await at.server()
            second.write(PING + PONG)
            other = await reader.readexactly(len(PONG))
            await close(second)
            return first, other, at.relay.fired, at.relay.connections

    assert asyncio.run(main()) == (PONG, PONG, 2, 2)


def test_held_pdu_comes_with_its_timer():
    """A PDU held for a time goes on when it is due, though nothing else crosses, and before the sender's FIN."""

    async def main():
        async with scene(spoil(TO_TARGET, Hold(seconds=0.01))) as at:
            reader, writer = await at.server()
            at.writer.write(PING + PONG)
            at.writer.write_eof()
            got = await reader.read()
            writer.close()
            return got

    assert asyncio.run(main()) == PONG + PING


@pytest.mark.parametrize(("when", "says"), [(TO_TARGET, "initiator"), (TO_INITIATOR, "target")])
def test_close_ends_both_connections_after_the_pdu(when, says):
    """A close by either side: the PDU arrives, then FIN; the connection of the one that is said to close ends too."""

    async def main():
        async with scene(spoil(when, Close())) as at:
            reader, writer = await at.server()
            (at.writer if says == "initiator" else writer).write(PING if says == "initiator" else PONG)
            ends = await reader.read(), await at.reader.read()
            writer.close()
            return ends

    assert asyncio.run(main()) == ((PING, b"") if says == "initiator" else (b"", PONG))


def test_reset_reaches_both_ends_behind_the_bytes():
    """A reset by the initiator: the PDU was handed over, then the target's connection is reset, and the initiator's."""

    async def main():
        async with scene(spoil(TO_TARGET, Reset())) as at:
            reader, _ = await at.server()
            at.writer.write(PING)
            ends = []
            for end in (reader, at.reader):
                with pytest.raises(ConnectionResetError):
                    await drained(end)
                ends.append(True)
            return ends

    assert asyncio.run(main()) == [True, True]


def test_reset_of_one_end_becomes_a_reset_of_the_other():
    """What happens below iSCSI is passed on as well."""

    async def main():
        async with scene() as at:
            _, writer = await at.server()
            writer.transport.get_extra_info("socket").setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
            with pytest.raises(ConnectionResetError):
                await drained(at.reader)
            return at.relay.connections

    assert asyncio.run(main()) == 1


def test_absent_upstream_is_a_reset_and_a_complaint():
    """A connection that cannot be passed on is reset; the relay says so in a line and goes on listening."""

    async def main():
        complaints: list[str] = []
        async with asyncio.timeout(20):
            gone = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
            endpoint = Endpoint(*gone.sockets[0].getsockname())
            gone.close()
            await gone.wait_closed()
            relay = Relay(endpoint, complain=complaints.append)
            (listening,) = await relay.start(Endpoint("127.0.0.1", 0))
            for _ in range(2):
                reader, writer = await asyncio.open_connection(listening.host, listening.port)
                with pytest.raises(ConnectionResetError):
                    await reader.read(1)
                await close(writer)
            await relay.stop()
        return endpoint, complaints

    endpoint, complaints = asyncio.run(main())
    assert [line.partition(":")[0] for line in complaints] == ["connection 1", "connection 2"]
    assert all(str(endpoint) in line for line in complaints)


def test_stop_resets_what_is_still_there():
    """A stopped relay leaves nobody waiting."""

    async def main():
        async with scene() as at:
            reader, _ = await at.server()
            at.writer.write(PING)
            await reader.readexactly(len(PING))
            await at.relay.stop()
            for end in (reader, at.reader):
                with pytest.raises(ConnectionResetError):
                    await end.read(1)
            return at.relay.trouble.cancelled()

    assert asyncio.run(main()) is True


def test_slow_receiver_stops_the_sender():
    """However much is sent to one that does not read: the relay holds a bounded part of it, and loses none."""
    size = 48 << 20

    async def main():
        async with scene() as at:
            reader, writer = await at.server()
            reader._limit = 1 << 16
            at.writer.write(bytes(size))
            at.writer.write_eof()
            got = held = 0
            while data := await reader.read(1 << 20):
                got += len(data)
                (link,) = at.relay._links.values()
                if link is not None:
                    held = max(held, *(each.transport.get_write_buffer_size() for each in link._writers.values()))
            writer.close()
            return got, held

    got, held = asyncio.run(main())
    assert got == size
    assert held <= 2 * READ_SIZE


def test_tap_gets_what_the_receivers_saw():
    """The recording has the connection, the changed PDU, the bytes cut short, and the FINs, in order."""
    records: list[object] = []

    async def main():
        fault = named(
            Fault(when=TO_TARGET, what=(Set("itt", 9),)),
            Fault(when=TO_INITIATOR, what=(Truncate(10),)),
        )
        async with scene(fault, tap=records.append) as at:
            reader, writer = await at.server()
            at.writer.write(PING)
            await reader.readexactly(len(PING))
            writer.write(PONG)
            writer.close()
            await at.reader.read()
            at.writer.close()
            assert await reader.read() == b""
        return at.relay.connections

    assert asyncio.run(main()) == 1
    connected, ping, *rest = records
    assert isinstance(connected, TransportRecord)
    assert connected.event is TransportEvent.CONNECTED
    assert isinstance(ping, PduRecord)
    assert ping.raw.initiator_task_tag == 9
    assert next(record.direction for record in rest if isinstance(record, TransportRecord)) is Direction.TO_INITIATOR
    assert [record.data for record in rest if isinstance(record, BytesRecord)] == [PONG[:10]]


def test_recording_that_fails_is_trouble():
    """A tap that cannot write ends the connection and is told to whoever runs the relay."""

    def full(_record):
        raise OSError(28, "No space left on device")

    async def main():
        async with scene(tap=full) as at:
            with pytest.raises(OSError, match="No space left"):
                await asyncio.wait_for(asyncio.shield(at.relay.trouble), 20)
            return at.relay.connections

    assert asyncio.run(main()) == 1


def test_switches_of_an_engine_are_refused():
    """What no change of the passing bytes can show is refused by name."""
    switch = NamedFault(id="window.any", side=Side.TARGET, says="takes any CmdSN", policy={"any_cmd_sn": True})

    with pytest.raises(NotOnTheWire, match=r"window\.any is a switch inside the bundled target"):
        check_relayable([spoil(TO_TARGET, Drop()), switch])
