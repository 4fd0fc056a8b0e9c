"""The shells: TCP on loopback, memory, the driver's faults and tap, the command line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

import pytest

from iscsi_conformance.virtual import run_virtual
from iscsi_protocol.fault import Close, Drop, Fault, Hold, Set, When
from iscsi_protocol.framing import Framer
from iscsi_protocol.history import PduRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import (
    AsyncMessage,
    DataIn,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Opcode,
    ScsiCommand,
    ScsiResponse,
    decode,
    encode,
)
from iscsi_protocol.stream import Direction
from iscsi_protocol.text import encode_pairs
from iscsi_target.config import LunConfig, PortalConfig, Size, TargetConfig, TargetNode, Timers
from iscsi_target.events import Event, LoggedIn
from iscsi_target.loopback import MemoryPortal
from iscsi_target.portal import PortalError, TargetServer
from iscsi_target.shell import close_devices, make_engine

TARGET = "iqn.2026-11.org.example:disk"
LOGIN = [("InitiatorName", "iqn.2026-11.org.example:host"), ("TargetName", TARGET)]


def login_pdu(*pairs):
    return LoginRequest(
        transit=True, csg=1, nsg=3, isid=b"\x80\0\0\0\0\1", itt=1, cmd_sn=1, data=encode_pairs([*LOGIN, *pairs])
    )


def read_pdu(itt, blocks=8, cmd_sn=None):
    cdb = b"\x28\0\0\0\0\0\0" + blocks.to_bytes(2, "big") + bytes(7)
    return ScsiCommand(read=True, itt=itt, cmd_sn=cmd_sn or itt, expected_data_transfer_length=blocks * 512, cdb=cdb)


@contextlib.contextmanager
def served(tmp_path=None, **config):
    """An engine over one LUN in memory, and one in a file where there is a folder for it."""
    luns = {0: LunConfig(size=Size(1 << 20))}
    if tmp_path is not None:
        luns[1] = LunConfig(backend="file", path=str(tmp_path / "lun"), size=Size(1 << 20))
    made = TargetConfig(targets=[TargetNode(name=TARGET, luns=luns)], **config)
    engine, devices = make_engine(made, random_bytes=os.urandom)
    try:
        yield engine
    finally:
        close_devices(devices)


class Client:
    """A blocking-free TCP initiator on asyncio's own streams."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.framer = Framer()

    @classmethod
    async def connect(cls, endpoint):
        return cls(*await asyncio.open_connection(endpoint.host, endpoint.port))

    def send(self, *pdus):
        self.writer.write(b"".join(encode(pdu).to_bytes() for pdu in pdus))

    async def receive(self):
        while (raw := self.framer.next_pdu()) is None:
            data = await asyncio.wait_for(self.reader.read(65536), 10)
            if not data:
                return None
            self.framer.receive(data)
        return decode(raw.kept())

    async def close(self):
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0"])
def test_session_over_tcp(address, tmp_path):
    async def main():
        with served(tmp_path) as engine:
            seen: list[Event] = []
            server = TargetServer(engine, on_event=seen.append)
            (endpoint,) = await server.start([PortalConfig(address=address)])
            client = await Client.connect(endpoint)
            client.send(login_pdu())
            assert (await client.receive()).status == 0
            client.send(*[read_pdu(itt) for itt in range(1, 33)])
            for itt in range(1, 33):
                data = await client.receive()
                assert (data.itt, len(data.data), data.status_present) == (itt, 4096, True)
            client.send(ScsiCommand(itt=50, cmd_sn=33, cdb=b"\x35" + bytes(15), lun=b"\0\1" + bytes(6)))
            assert isinstance(await client.receive(), ScsiResponse)
            client.send(LogoutRequest(itt=99, cmd_sn=34))
            assert isinstance(await client.receive(), LogoutResponse)
            assert await client.receive() is None
            await client.close()
            await server.stop()
            assert engine.connections == {}
            assert engine.sessions == []
            assert len([event for event in seen if isinstance(event, LoggedIn)]) == 1

    asyncio.run(main())


def test_file_slices_go_by_sendfile(tmp_path):
    content = os.urandom(1 << 20)
    (tmp_path / "lun").write_bytes(content)

    async def main():
        with served(tmp_path) as engine:
            server = TargetServer(engine)
            (endpoint,) = await server.start([PortalConfig(address="127.0.0.1:0")])
            client = await Client.connect(endpoint)
            client.send(login_pdu(("MaxRecvDataSegmentLength", "100000")))
            await client.receive()
            pdu = read_pdu(1, 2048)
            client.send(ScsiCommand(**{**fields(pdu), "lun": b"\0\1" + bytes(6)}))
            got = b""
            while True:
                data = await client.receive()
                got += data.data
                if data.status_present:
                    break
            assert got == content
            await client.close()
            await server.stop()

    asyncio.run(main())


def fields(pdu):
    return {name: getattr(pdu, name) for name in pdu.FIELDS}


def test_initiator_that_does_not_read_is_waited_for():
    """Far more data than any socket buffer: the engine's outbox stays bounded, and all of it comes in the end."""

    async def main():
        with served() as engine:
            server = TargetServer(engine)
            (endpoint,) = await server.start([PortalConfig(address="127.0.0.1:0")])
            client = await Client.connect(endpoint)
            client.send(login_pdu(("MaxRecvDataSegmentLength", "262144")))
            await client.receive()
            client.writer.transport.pause_reading()
            client.send(*[read_pdu(itt, 2048) for itt in range(1, 41)])
            for _ in range(200):
                await asyncio.sleep(0)
            link = next(iter(engine.connections.values()))
            assert link.queued <= engine.core.limits.send_buffer + (1 << 20)
            client.writer.transport.resume_reading()
            total = 0
            while total < 40 << 20:
                total += len((await client.receive()).data)
            await client.close()
            await server.stop()

    asyncio.run(main())


def test_stop_announces_the_end():
    async def main():
        with served() as engine:
            server = TargetServer(engine)
            (endpoint,) = await server.start([PortalConfig(address="127.0.0.1:0")])
            client = await Client.connect(endpoint)
            client.send(login_pdu())
            await client.receive()
            stopping = asyncio.create_task(server.stop())
            notice = await client.receive()
            assert isinstance(notice, AsyncMessage)
            assert notice.async_event == 3
            assert await client.receive() is None
            await client.close()
            await stopping

    asyncio.run(main())


def test_portal_that_is_taken():
    async def main():
        with served() as engine, socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            server = TargetServer(engine)
            with pytest.raises(PortalError, match=address):
                await server.start([PortalConfig(address="127.0.0.1:0"), PortalConfig(address=address)])
            with pytest.raises(PortalError, match="not an address"):
                await server.start([PortalConfig(address="nowhere.invalid:0")])
            await server.stop()

    asyncio.run(main())


# In memory, on a virtual clock


async def pass_time(seconds):
    """Let the virtual clock go on."""
    loop = asyncio.get_running_loop()
    passed = loop.create_future()
    loop.call_later(seconds, passed.set_result, None)
    await passed


class Far:
    """The initiator's end of a memory link."""

    def __init__(self, portal, **fields):
        self.framer = Framer()
        self.pdus: list[Any] = []
        self.ends: list[TransportEvent] = []
        self.link = portal.attach(self.receive, self.ends.append, **fields)

    def receive(self, data):
        self.framer.receive(data)
        self.pdus += [decode(raw.kept()) for raw in self.framer]

    async def exchange(self, *pdus, wait=0.001):
        self.pdus = []
        self.link.send(b"".join(encode(pdu).to_bytes() for pdu in pdus))
        await pass_time(wait)
        return self.pdus


def in_memory(play, *, faults=(), tap=None, **config):
    async def main():
        with served(**config) as engine:
            portal = MemoryPortal(engine, [PortalConfig(address="127.0.0.1:0")], faults=faults, tap=tap)
            try:
                await play(portal)
            finally:
                portal.close()
                assert engine.connections == {}

    run_virtual(main())


def test_session_in_memory():
    async def play(portal):
        far = Far(portal)
        (response,) = await far.exchange(login_pdu())
        assert response.status == 0
        assert [type(pdu) for pdu in await far.exchange(read_pdu(1), NopOut(itt=2, cmd_sn=2))] == [DataIn, NopIn]
        await far.exchange(LogoutRequest(itt=3, cmd_sn=3))
        assert far.ends == [TransportEvent.FIN]
        far.link.close()
        await asyncio.sleep(0)

    in_memory(play)


def test_timers_run_on_the_loops_clock():
    async def play(portal):
        far = Far(portal)
        await pass_time(4.9)
        assert far.ends == []
        await pass_time(0.2)
        assert far.ends == [TransportEvent.RST]

    in_memory(play, timers=Timers(login=5))


def test_closed_window_keeps_what_is_queued():
    async def play(portal):
        far = Far(portal)
        await far.exchange(login_pdu())
        far.link.open_window(False)
        assert await far.exchange(NopOut(itt=2, cmd_sn=1)) == []
        assert await far.exchange(NopOut(itt=3, cmd_sn=2)) == []
        far.link.open_window(True)
        await pass_time(0.001)
        assert [pdu.itt for pdu in far.pdus] == [2, 3]

    in_memory(play)


def test_reset_is_heard_at_once():
    async def play(portal):
        far = Far(portal)
        await far.exchange(login_pdu())
        far.link.reset()
        assert portal.engine.connections == {}
        assert len(portal.engine.sessions) == 1

    in_memory(play)


def test_faults_stand_between_engine_and_network():
    answer = When(direction=Direction.TO_INITIATOR, opcode=Opcode.NOP_IN)
    faults = [
        Fault(when=answer, what=(Set("itt", 77),)),
        Fault(when=When(direction=Direction.TO_TARGET, opcode=Opcode.SCSI_COMMAND), what=(Drop(),)),
    ]

    async def play(portal):
        far = Far(portal)
        await far.exchange(login_pdu())
        assert [pdu.itt for pdu in await far.exchange(NopOut(itt=2, cmd_sn=1))] == [77]
        assert await far.exchange(read_pdu(5, cmd_sn=2)) == []
        assert portal.driver.fired == 2

    in_memory(play, faults=faults)


def test_held_and_closing_faults():
    when = When(direction=Direction.TO_INITIATOR, opcode=Opcode.NOP_IN)
    faults = [
        Fault(when=when, what=(Hold(seconds=3.0),)),
        Fault(when=When(direction=Direction.TO_INITIATOR, opcode=Opcode.SCSI_DATA_IN), what=(Close(),)),
    ]

    async def play(portal):
        far = Far(portal)
        await far.exchange(login_pdu())
        assert await far.exchange(NopOut(itt=2, cmd_sn=1), wait=2.9) == []
        await pass_time(0.2)
        assert [pdu.itt for pdu in far.pdus] == [2]
        await far.exchange(read_pdu(5, cmd_sn=2))
        assert far.ends == [TransportEvent.FIN]

    in_memory(play, faults=faults)


def test_half_a_pdu_of_an_initiator_that_goes_is_not_lost_in_a_touched_direction(monkeypatch):
    """A fault has whole PDUs waited for; what is left of one reaches the engine ahead of the end."""
    faults = [Fault(when=When(direction=Direction.TO_TARGET, opcode=Opcode.NOP_OUT), what=(Set("itt", 77),))]
    left = []

    async def play(portal):
        lost = portal.engine.connection_lost

        def noted(number, reason, now):
            left.append((reason, portal.engine.connections[number].framer.remainder()))
            lost(number, reason, now)

        monkeypatch.setattr(portal.engine, "connection_lost", noted)
        for end in ("close", "reset"):
            far = Far(portal)
            await far.exchange(login_pdu())
            far.link.send(bytes(20))
            await pass_time(0.001)
            getattr(far.link, end)()
            await asyncio.sleep(0)

    in_memory(play, faults=faults)
    assert left == [("FIN", bytes(20)), ("RST", bytes(20))]


def test_tap_records_what_crossed():
    records: list[Any] = []

    async def play(portal):
        far = Far(portal)
        await far.exchange(login_pdu())
        await far.exchange(read_pdu(1))
        await far.exchange(LogoutRequest(itt=3, cmd_sn=2))
        far.link.close()
        await asyncio.sleep(0)

    in_memory(play, tap=records.append)
    assert [
        (record.event, record.direction) if isinstance(record, TransportRecord) else type(decode(record.raw))
        for record in records
    ] == [
        (TransportEvent.CONNECTED, Direction.TO_INITIATOR),
        LoginRequest,
        LoginResponse,
        ScsiCommand,
        DataIn,
        LogoutRequest,
        LogoutResponse,
        (TransportEvent.FIN, Direction.TO_INITIATOR),
        (TransportEvent.FIN, Direction.TO_TARGET),
    ]
    assert all(isinstance(record, PduRecord | TransportRecord) for record in records)


# The command line


def serve(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", "from iscsi_target.cli import main; main()", "serve", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_ready_and_stops_cleanly(number, tmp_path):
    capture = tmp_path / "all.pcapng"
    process = serve(
        "--lun", "0=memory:1MiB,ro", "--portal", "127.0.0.1:0", "--portal", "[::1]:0,2", "--pcap", str(capture),
        "--name", TARGET, "--max-connections", "3", "--error-recovery-level", "1",
    )  # fmt: skip
    try:
        ready = json.loads(process.stdout.readline())["ready"]
        assert len(ready) == 2
        host, _, port = ready[0].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(encode(login_pdu(("MaxConnections", "9"), ("ErrorRecoveryLevel", "2"))).to_bytes())
            response = client.recv(4096)
            assert response[0] == Opcode.LOGIN_RESPONSE
            assert b"\0MaxConnections=3\0" in b"\0" + response[48:]
            assert b"\0ErrorRecoveryLevel=1\0" in b"\0" + response[48:]
            process.send_signal(number)
            while client.recv(4096):
                pass
    finally:
        process.send_signal(signal.SIGTERM)
        out, errors = process.communicate(timeout=20)
    assert (process.returncode, out, errors) == (0, "", "")
    assert capture.stat().st_size > 500


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--lun", "0=memory:1MiB,rw"], 2, "'rw' is no suffix"),
        (["--lun", "0=tape:1MiB"], 2, "no backend"),
        (["--fault", "no.such"], 2, "no fault is named 'no.such'"),
        (["--name", "disk"], 2, "disk"),
        (["--portal", "127.0.0.1:1,x"], 2, "portal group tag is a number"),
        (["--chap-file", "/nonexistent/secrets"], 2, "No such file"),
        (["--lun", "0=file:/nonexistent/disk:1MiB"], 3, "/nonexistent/disk"),
        (["--portal", "192.0.2.1:0"], 3, "portal 192.0.2.1:0"),
    ],
)
def test_serve_refuses_in_one_line(arguments, code, said):
    from click.testing import CliRunner

    from iscsi_target.cli import main

    result = CliRunner().invoke(main, ["serve", *arguments])
    assert result.exit_code == code, result.output
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_chap_file(tmp_path):
    from iscsi_target.cli import read_chap_file
    from iscsi_target.config import ConfigError

    path = tmp_path / "secrets"
    path.write_text("# who\nalice correct-horse-1\nmutual disk another-secret-2\n")
    chap = read_chap_file(path)
    assert chap.users == {"alice": "correct-horse-1"}
    assert chap.mutual is not None
    assert chap.mutual.name == "disk"
    path.write_text("alice\n")
    with pytest.raises(ConfigError, match="line 1"):
        read_chap_file(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_chap_file(path)
