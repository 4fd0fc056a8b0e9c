"""open-isns as the other side: isnsd for our client and our target, isnsadm for our server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys

import pytest

from iscsi_initiator.discovery.isns import FoundPortal
from iscsi_initiator.discovery.isns_link import IsnsLink
from iscsi_initiator.raw import RawConnection
from iscsi_initiator.transport import TcpConnector
from iscsi_protocol.history import Endpoint
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Request, notification_of
from iscsi_protocol.isns.client import Notified
from iscsi_protocol.isns.codes import Function, NodeType, Scn
from iscsi_protocol.isns.description import Description, NodeSpec, PortalSpec
from iscsi_protocol.isns.pdu import Assembler, PduStream
from iscsi_protocol.isns.registrar import Registered, Report
from iscsi_protocol.isns.tlv import number, text
from iscsi_target.isns.config import IsnsConfig
from iscsi_target.isns.shell import IsnsShell

PREFIX = "iqn.2026-11.org.example"
DISK, HOST, ADMIN = f"{PREFIX}:disk", f"{PREFIX}:host", f"{PREFIX}:admin"
PATIENCE = 30

ISNSD = """\
SourceName = {prefix}:isnsd
DefaultDiscoveryDomain = 1
SLPRegister = 0
Security = 0
ESIRetries = 0
BindAddress = 127.0.0.1:{port}
ControlSocket = {folder}/control
PIDFile = {folder}/pid
"""

ISNSADM = """\
SourceName = {name}
ServerAddress = {server}
Security = 0
"""


@pytest.fixture
def isnsd(peer, tmp_path):
    """A running isnsd: where it listens."""
    program = peer("isnsd")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "isnsd.conf"
    config.write_text(ISNSD.format(prefix=PREFIX, port=port, folder=tmp_path))
    with subprocess.Popen([program, "-f", "-4", "-c", config], stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert process.poll() is None, "isnsd ended"
                process_wait(process)
            yield Endpoint("127.0.0.1", port)
        finally:
            process.terminate()


def process_wait(process: subprocess.Popen[bytes]) -> None:
    """A twentieth of a second, or less if the process ends."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.05)


class Isnsadm:
    """The administrator's tool, speaking as one node to one server."""

    def __init__(self, program, folder, server: Endpoint, name: str) -> None:
        self._config = folder / f"{name.rpartition(':')[2]}.conf"
        self._config.write_text(ISNSADM.format(name=name, server=server))
        self._program = program

    async def __call__(self, *words: str) -> str:
        """Its output; it has to succeed."""
        process = await asyncio.create_subprocess_exec(
            self._program, "-c", self._config, *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        said = output.decode()
        assert process.returncode == 0, said
        assert "Warning" not in said, said
        return said


@contextlib.asynccontextmanager
async def serving():
    """Our server."""
    shell = IsnsShell(IsnsConfig(listen="127.0.0.1:0", default_domain=True, control_nodes=[ADMIN]))
    endpoint = await shell.start()
    try:
        yield shell, endpoint
    finally:
        await shell.stop()


def test_our_client_at_isnsd(isnsd) -> None:
    """It registers, is told of a target that comes, finds it with its portal group, and is told that it goes."""

    async def scenario() -> None:
        told: asyncio.Queue[Report] = asyncio.Queue()
        host, disk = IsnsLink(isnsd, tell=told.put_nowait), IsnsLink(isnsd)
        await host.listen("127.0.0.1")
        await host.register_initiator(HOST, "127.0.0.1", alias="host")
        assert isinstance(await told.get(), Registered)
        entity = Description(
            eid="disk.example",
            portals=(PortalSpec(address="127.0.0.1", port=3260, tag=3),),
            nodes=(NodeSpec(name=DISK, type=NodeType.TARGET, alias="disk"),),
        )
        await disk.register(entity)
        came = await asyncio.wait_for(told.get(), PATIENCE)
        assert isinstance(came, Notified)
        assert came.notification.changes[0].name == DISK
        (target,) = (await host.targets(HOST)).targets
        assert (target.name, target.alias) == (DISK, "disk")
        assert target.portals == (FoundPortal(address="127.0.0.1", port=3260, tag=3),)
        walked = await host.ask(host_walk())
        assert walked.key[0].text in (DISK, HOST)
        await disk.leave()
        went = await asyncio.wait_for(told.get(), PATIENCE)
        assert isinstance(went, Notified)
        assert went.notification.changes[0].bitmap & Scn.REMOVED
        assert (await host.targets(HOST)).targets == ()
        await host.leave()
        await host.close()
        await disk.close()

    asyncio.run(scenario())


def host_walk() -> Request:
    """DevGetNext for the first node."""
    empty = type(text(Tag.ISCSI_NAME, ""))(Tag.ISCSI_NAME)
    return Request(function=Function.DEV_GET_NEXT, source=text(Tag.ISCSI_NAME, HOST), key=(empty,))


def test_discovery_through_isnsd_ends_in_a_login(isnsd) -> None:
    """Our target registers itself at isnsd; our client finds it there and logs in."""
    program = (sys.executable, "-c", "from iscsi_target.cli import main; main()", "serve", "--portal", "127.0.0.1:0")

    async def scenario() -> None:
        told: asyncio.Queue[Report] = asyncio.Queue()
        host = IsnsLink(isnsd, tell=told.put_nowait)
        await host.listen("127.0.0.1")
        await host.register_initiator(HOST, "127.0.0.1")
        await told.get()
        process = await asyncio.create_subprocess_exec(
            *program, "--name", DISK, "--lun", "0=memory:1MiB", "--isns", str(isnsd), stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        (portal,) = json.loads(await process.stdout.readline())["ready"]
        assert isinstance(await asyncio.wait_for(told.get(), PATIENCE), Notified)
        (target,) = (await host.targets(HOST)).targets
        (found,) = target.portals
        assert f"{found.address}:{found.port}" == portal
        connector = TcpConnector()
        connection = await RawConnection.open(connector, Endpoint(found.address, found.port))
        login = await connection.login([("InitiatorName", HOST), ("TargetName", target.name)])
        assert login.full_feature
        connection.close()
        await connector.finish()
        process.send_signal(signal.SIGTERM)
        await process.communicate()
        assert isinstance(await asyncio.wait_for(told.get(), PATIENCE), Notified)
        assert (await host.targets(HOST)).targets == ()
        await host.leave()
        await host.close()

    asyncio.run(scenario())


def test_isnsadm_at_our_server(peer, tmp_path) -> None:
    """It registers nodes, portals and a portal group, queries and lists them, replaces and deregisters."""
    program = peer("isnsadm")

    async def scenario() -> None:
        async with serving() as (shell, endpoint):
            disk, host = (Isnsadm(program, tmp_path, endpoint, name) for name in (DISK, HOST))
            said = await disk(
                "--register", "entity=disk.example", f"target={DISK},alias=mine", "portal=127.0.0.1:3260/tcp,name=p0"
            )
            assert "Successfully registered" in said
            group = f"pg,name={DISK},addr=127.0.0.1,port=3260/tcp,tag=10"
            await disk("--register", "entity=disk.example", f"target={DISK}", "portal=127.0.0.1:3260/tcp", group)
            queried = await disk("--query", "iscsi-name")
            for words in (f'iSCSI name = "{DISK}"', "3260/tcp", 'iSCSI alias = "mine"', "Portal group tag = 10"):
                assert words in queried
            await host("--register", "entity=host.example", f"initiator={HOST}")
            listed = await host("--list", "nodes")
            assert DISK in listed
            assert HOST in listed
            assert "127.0.0.1" in await host("--list", "portals")
            assert "disk.example" in await host("--list", "entities")
            assert "DD ID = 1" in await host("--list", "dds")
            assert DISK in await host("--query", "iscsi-node-type=Target")
            await disk("--replace", "--register", "entity=disk.example", f"target={DISK}")
            assert "127.0.0.1" not in await host("--query", f"iscsi-name={DISK}")
            await disk("--deregister", "eid=disk.example")
            assert list(shell.engine.realm.store.nodes) == [HOST]

    asyncio.run(scenario())


def test_isnsadm_manages_domains_as_a_control_node(peer, tmp_path) -> None:
    """A domain that it registers joins two nodes once its set is enabled."""
    program = peer("isnsadm")

    async def scenario() -> None:
        async with serving() as (shell, endpoint):
            admin = Isnsadm(program, tmp_path, endpoint, ADMIN)
            said = await admin("--dd-register", "dd-name=lab", f"dd-member-name={DISK}", f"dd-member-name={HOST}")
            assert "DD" in said
            (domain,) = shell.engine.realm.store.domains.rows()
            assert (domain.name, domain.nodes) == ("lab", (DISK, HOST))
            await admin("--dd-deregister", str(domain.number))
            assert not shell.engine.realm.store.domains

    asyncio.run(scenario())


def test_a_node_of_isnsadm_is_notified(peer, tmp_path) -> None:
    """A node that isnsadm registered with an SCN port is told there of what comes."""
    program = peer("isnsadm")

    class Listener(asyncio.DatagramProtocol):
        def __init__(self) -> None:
            self.came: asyncio.Queue[bytes] = asyncio.Queue()

        def datagram_received(self, data, addr) -> None:
            self.came.put_nowait(data)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with serving() as (_, endpoint):
            disk, host = (Isnsadm(program, tmp_path, endpoint, name) for name in (DISK, HOST))
            transport, listener = await loop.create_datagram_endpoint(Listener, local_addr=("127.0.0.1", 0))
            port = transport.get_extra_info("sockname")[1]
            await host(
                "--register", "entity=host.example", f"initiator={HOST}", f"portal=127.0.0.1:1/tcp,scn-port={port}/udp"
            )
            admin = IsnsLink(endpoint)
            node = text(Tag.ISCSI_NAME, HOST)
            bitmap = number(Tag.SCN_BITMAP, Scn.ADDED)
            source = text(Tag.ISCSI_NAME, ADMIN)
            await admin.ask(Request(function=Function.SCN_REG, source=source, key=(node,), operating=(bitmap,)))
            await disk("--register", "entity=disk.example", f"target={DISK}")
            data = await asyncio.wait_for(listener.came.get(), PATIENCE)
            (pdu,) = PduStream().feed(data)
            message = Assembler().add(pdu)
            assert message is not None
            assert notification_of(message).changes[0].name == DISK
            transport.close()
            await admin.close()

    asyncio.run(scenario())
