"""open-isns as the other side: isnsd for our client, our service and our target, isnsadm for our server."""

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
from tests.initiator.service_running import Running

from iscsi_initiator.discovery.isns import FoundPortal
from iscsi_initiator.discovery.isns_link import IsnsLink
from iscsi_initiator.discovery.isns_servers import PORT
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
BindAddress = {server}
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
    with isnsd_at(peer("isnsd"), tmp_path, free("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def isnsd_at_its_port(peer, tmp_path):
    """A running isnsd at the port that the service looks for one at, and an address of the loopback that nobody else has."""
    program, server = peer("isnsd"), None
    for place in range(1, 255):
        with contextlib.suppress(OSError):
            server = free(f"127.{os.getpid() % 254 + 1}.{place}.1", PORT)
            break
    assert server is not None
    with isnsd_at(program, tmp_path, server):
        yield server


def free(host: str, port: int) -> Endpoint:
    """A port that nobody has now; 0 for any. Raises OSError."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        return Endpoint(host, probe.getsockname()[1])


@contextlib.contextmanager
def isnsd_at(program, folder, server: Endpoint):
    """An isnsd that runs."""
    config = folder / "isnsd.conf"
    config.write_text(ISNSD.format(prefix=PREFIX, server=server, folder=folder))
    with subprocess.Popen([program, "-f", "-4", "-c", config], stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection((server.host, server.port), 1):
                    break
                assert process.poll() is None, "isnsd ended"
                process_wait(process)
            yield server
        finally:
            process.terminate()


def process_wait(process: subprocess.Popen[Any]) -> None:
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


class Service:
    """Our service as a process, which iscsicli speaks to."""

    def __init__(self, folder) -> None:
        self._folder = folder
        self.running = Running(folder)

    def iscsicli(self, *words: str) -> dict[str, Any]:
        """The answer to a command, which has to succeed."""
        program = [sys.executable, "-c", "from iscsi_initiator.iscsicli.cli import main; main()"]
        ended = subprocess.run(
            [*program, "--socket", self.running.socket, "--json", *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        answer: dict[str, Any] = json.loads(ended.stdout)
        return answer

    def targets(self, *wanted: str) -> None:
        """Wait until the service knows just these without having asked anew."""
        for _ in range(20 * PATIENCE):
            if self.iscsicli("ListTargets")["targets"] == list(wanted):
                return
            process_wait(self.running.process)
        raise AssertionError(f"{wanted} are not known: {self.iscsicli('ListTargets')}")

    def kill(self) -> None:
        """End it without a word, and start another."""
        self.running.process.kill()
        self.running.process.communicate(timeout=PATIENCE)
        self.running = Running(self._folder)


@contextlib.contextmanager
def disk_registered_at(server: Endpoint):
    """Our target, which registers itself with a server; where it is."""
    program = [sys.executable, "-c", "from iscsi_target.cli import main; main()", "serve", "--portal", "127.0.0.1:0"]
    words = ["--name", DISK, "--lun", "0=memory:1MiB", "--isns", server.host]
    with subprocess.Popen([*program, *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            (portal,) = json.loads(process.stdout.readline())["ready"]
            yield portal
        finally:
            process.terminate()


def test_the_service_discovers_through_isnsd_and_logs_in(isnsd_at_its_port, peer, tmp_path) -> None:
    """isnsd notifies the service of our target; iscsicli lists it, logs in and reads its capacity, also behind a kill."""
    host, address = isnsd_at_its_port, isnsd_at_its_port.host
    service = Service(tmp_path)
    try:
        service.iscsicli("AddiSNSServer", address)
        assert service.iscsicli("ListTargets", "T")["targets"] == []
        with disk_registered_at(host) as portal:
            service.targets(DISK)
            mechanism = f"iSNS:{address}"
            assert service.iscsicli("TargetInfo", DISK)["discovery_mechanisms"] == [mechanism]
            found = service.iscsicli("TargetInfo", DISK, mechanism)["target"]
            (where,) = found["portal_groups"][0]["portals"]
            assert f"{where['address']}:{where['port']}" == portal
            for kill in (False, True):
                if kill:
                    service.kill()
                    service.targets(DISK)
                words = ["LoginTarget", DISK, "T", *["*"] * 15, "0"]
                session = service.iscsicli(*words)["session_id"]
                capacity = service.iscsicli("ReadCapacity", session, "0")
                assert (capacity["last_block"] + 1) * capacity["block_length"] == 1 << 20
                (entry,) = service.iscsicli("SessionList")["sessions"]
                assert (entry["session_id"], entry["target_name"]) == (session, DISK)
            admin = Isnsadm(peer("isnsadm"), tmp_path, host, entry["initiator_node_name"])
            listed = asyncio.run(admin("--query", "iscsi-name"))
            assert entry["initiator_node_name"] in listed
            service.iscsicli("LogoutTarget", session)
        service.targets()
        service.iscsicli("RemoveiSNSServer", address)
        asked = asyncio.run(Isnsadm(peer("isnsadm"), tmp_path, host, ADMIN)("--list", "nodes"))
        assert entry["initiator_node_name"] not in asked
    finally:
        service.running.process.terminate()
        code, complaints = service.running.end()
    assert (code, complaints) == (0, "")


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
