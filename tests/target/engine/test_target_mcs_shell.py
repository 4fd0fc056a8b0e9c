"""Several connections of a session on the shells: in memory with closed windows, and over TCP."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from iscsi_conformance.virtual import run_virtual
from iscsi_protocol.framing import Framer
from iscsi_protocol.pdu import (
    DataIn,
    LoginRequest,
    LogoutRequest,
    NopOut,
    Pdu,
    ScsiCommand,
    ScsiResponse,
    decode,
    encode,
)
from iscsi_protocol.text import encode_pairs
from iscsi_target.config import Limits, LunConfig, PortalConfig, Size, TargetConfig, TargetNode
from iscsi_target.loopback import MemoryPortal
from iscsi_target.portal import TargetServer
from iscsi_target.shell import close_devices, make_engine

TARGET = "iqn.2026-11.org.example:disk"
NAMES = [("InitiatorName", "iqn.2026-11.org.example:host"), ("TargetName", TARGET)]


def login_pdu(cid=0, tsih=0):
    pairs = [*NAMES, ("MaxConnections", "4")] if not tsih else NAMES
    return LoginRequest(
        transit=True,
        csg=1,
        nsg=3,
        isid=b"\x80\0\0\0\0\1",
        itt=1,
        cid=cid,
        tsih=tsih,
        cmd_sn=1,
        data=encode_pairs(pairs),
    )


def read_pdu(number, blocks):
    cdb = b"\x28\0\0\0\0\0\0" + blocks.to_bytes(2, "big") + bytes(7)
    return ScsiCommand(read=True, itt=number, cmd_sn=number, expected_data_transfer_length=blocks * 512, cdb=cdb)


def write_pdu(number):
    cdb = b"\x2a\0\0\0\0\0\0\0\1" + bytes(7)
    return ScsiCommand(
        write=True, itt=number, cmd_sn=number, expected_data_transfer_length=512, cdb=cdb, data=bytes((number,)) * 512
    )


def engine_with(**config):
    node = TargetNode(name=TARGET, luns={0: LunConfig(size=Size(1 << 20))})
    return make_engine(TargetConfig(targets=[node], **config), random_bytes=os.urandom)


async def pass_time(seconds):
    """Let the virtual clock go on."""
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, passed.set_result, None)
    await passed


class Far:
    """The initiator's end of a memory link."""

    def __init__(self, portal):
        self.framer = Framer()
        self.pdus: list[Any] = []
        self.link = portal.attach(self.receive, lambda _: None)

    def receive(self, data):
        self.framer.receive(data)
        self.pdus += [decode(raw.kept()) for raw in self.framer]

    async def exchange(self, *pdus):
        self.pdus = []
        self.link.send(b"".join(encode(pdu).to_bytes() for pdu in pdus))
        await pass_time(0.001)
        return self.pdus


def in_memory(play, **config):
    async def main():
        engine, devices = engine_with(**config)
        portal = MemoryPortal(engine, [PortalConfig(address="127.0.0.1:0")])
        try:
            one, two = Far(portal), Far(portal)
            (response,) = await one.exchange(login_pdu())
            await two.exchange(login_pdu(1, response.tsih))
            await play(engine, one, two)
        finally:
            portal.close()
            close_devices(devices)

    run_virtual(main())


def test_a_stuck_connection_holds_up_no_other():
    async def play(engine, one, two):
        one.link.open_window(False)
        for number in range(1, 11):
            assert await one.exchange(read_pdu(number, 64)) == []
        link = engine.connections[1]
        assert len(link.held) >= 6
        assert link.queued < 2 * 65536
        (answer,) = await two.exchange(write_pdu(11))
        assert isinstance(answer, ScsiResponse)
        one.link.open_window(True)
        await pass_time(0.01)
        assert [pdu.itt for pdu in one.pdus if pdu.status_present] == list(range(1, 11))
        (session,) = engine.sessions
        assert session.max_cmd_sn - session.exp_cmd_sn + 1 == 128

    in_memory(play, limits=Limits(send_buffer=Size(65536)))


def test_a_stuck_connection_is_not_read_without_end():
    async def play(engine, one, two):
        one.link.open_window(False)
        for number in range(1, 200):
            one.link.send(encode(NopOut(itt=number, immediate=True, cmd_sn=1, data=bytes(4096))).to_bytes())
        await pass_time(0.001)
        link = engine.connections[1]
        assert not engine.takes_bytes(1)
        assert link.queued < 3 * 65536
        assert link.framer.pending < 2 * 65536
        assert len(await two.exchange(write_pdu(1))) == 1
        one.pdus = []
        one.link.open_window(True)
        await pass_time(0.01)
        assert [pdu.itt for pdu in one.pdus] == list(range(1, 200))

    in_memory(play, limits=Limits(send_buffer=Size(65536)))


def test_two_connections_over_tcp():
    async def ask(stream, framer, *pdus, count):
        reader, writer = stream
        writer.write(b"".join(encode(pdu).to_bytes() for pdu in pdus))
        found: list[Pdu] = []
        while len(found) < count:
            framer.receive(await asyncio.wait_for(reader.read(65536), 10))
            found += [decode(raw.kept()) for raw in framer]
        return found

    async def main():
        engine, devices = engine_with()
        server = TargetServer(engine)
        places = [PortalConfig(address="127.0.0.1:0"), PortalConfig(address="127.0.0.1:0")]
        endpoints = await server.start(places)
        streams = [await asyncio.open_connection(each.host, each.port) for each in endpoints]
        framers = [Framer(), Framer()]
        (leading,) = await ask(streams[0], framers[0], login_pdu(), count=1)
        (added,) = await ask(streams[1], framers[1], login_pdu(1, leading.tsih), count=1)
        assert (leading.status, added.status) == (0, 0)
        later = asyncio.ensure_future(ask(streams[1], framers[1], read_pdu(2, 1), read_pdu(3, 1), count=2))
        (written,) = await ask(streams[0], framers[0], write_pdu(1), count=1)
        assert isinstance(written, ScsiResponse)
        assert [(type(pdu), bytes(pdu.data)) for pdu in await later] == [(DataIn, b"\1" * 512)] * 2
        (answer,) = await ask(streams[1], framers[1], LogoutRequest(itt=9, cmd_sn=4), count=1)
        assert answer.response == 0
        assert [await reader.read() for reader, _ in streams] == [b"", b""]
        for _, writer in streams:
            writer.close()
            await writer.wait_closed()
        await server.stop()
        assert (engine.sessions, dict(engine.connections)) == ([], {})
        close_devices(devices)

    asyncio.run(main())
