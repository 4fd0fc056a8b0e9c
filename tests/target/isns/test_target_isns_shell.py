"""The server on real sockets of this machine, and the two commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner
from tests.target.isns.bench import ADMIN, DISK, HOST, eid, name, node, want

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Request, acknowledgement, inquiry_in, notification_of, response_of
from iscsi_protocol.isns.codes import Function, Scn
from iscsi_protocol.isns.pdu import Assembler, Message, PduStream
from iscsi_protocol.isns.tlv import UDP_PORT, Attribute, address, number, text
from iscsi_target.cli import main
from iscsi_target.isns.command import ask
from iscsi_target.isns.config import IsnsConfig
from iscsi_target.isns.server import Send
from iscsi_target.isns.shell import IsnsShell

PATIENCE = 20
COMMAND = (sys.executable, "-c", "from iscsi_target.cli import main; main()", "isns-server", "--listen", "127.0.0.1:0")


class Client:
    """A TCP connection that asks and is asked."""

    def __init__(self, reader, writer) -> None:
        self.reader, self.writer = reader, writer
        self._stream, self._assembler = PduStream(), Assembler()
        self._held: list[Message] = []
        self._transaction = 0

    async def message(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            while not self._held:
                data = await self.reader.read(65536)
                assert data
                pdus = self._stream.feed(data)
                self._held += [message for pdu in pdus if (message := self._assembler.add(pdu)) is not None]
        return self._held.pop(0)

    async def ask(self, function: int, source: str, *operating, key=()):
        self._transaction += 1
        request = Request(function=function, source=name(source), key=tuple(key), operating=operating)
        self.writer.write(request.message(self._transaction).encode())
        return response_of(await self.message())


@contextlib.asynccontextmanager
async def running(**settings):
    shell = IsnsShell(IsnsConfig(listen="127.0.0.1:0", control_nodes=[ADMIN], **settings))
    endpoint = await shell.start()
    try:
        yield shell, endpoint
    finally:
        await shell.stop()


async def connected(endpoint) -> Client:
    return Client(*await asyncio.open_connection(endpoint.host, endpoint.port))


def test_questions_over_tcp_are_answered() -> None:
    async def scenario() -> None:
        async with running() as (_, endpoint):
            client = await connected(endpoint)
            assert (await client.ask(1, DISK, *node(DISK))).status == 0
            assert (await client.ask(2, DISK, *want(32))).operating == (name(DISK),)
            client.writer.close()

    asyncio.run(scenario())


def test_questions_over_udp_are_answered() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        answered = loop.create_future()

        class Peer(asyncio.DatagramProtocol):
            def datagram_received(self, data, addr) -> None:
                answered.set_result(data)

        async with running() as (_, endpoint):
            transport, _ = await loop.create_datagram_endpoint(Peer, remote_addr=(endpoint.host, endpoint.port))
            transport.sendto(Request(function=2, source=name(ADMIN), operating=want(32)).message(9).encode())
            data = await asyncio.wait_for(answered, PATIENCE)
            (pdu,) = PduStream().feed(data)
            assert (pdu.function, pdu.transaction) == (0x8002, 9)
            transport.close()

    asyncio.run(scenario())


def test_the_server_opens_connections_for_inquiries_and_notifications() -> None:
    async def scenario() -> None:
        accepted: asyncio.Queue[Client] = asyncio.Queue()

        async def accept(reader, writer) -> None:
            await accepted.put(Client(reader, writer))

        listener = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with running(shortest_esi_interval=1) as (_, endpoint):
            client = await connected(endpoint)
            where = address(16, "127.0.0.1"), number(17, 1)
            ports = number(Tag.ESI_INTERVAL, 1), number(Tag.ESI_PORT, port), number(Tag.SCN_PORT, port)
            host = [eid("host"), *where, *ports, *node(HOST, 2)]
            assert (await client.ask(1, HOST, *host, key=[eid("host")])).status == 0
            scn = number(Tag.SCN_BITMAP, Scn.ADDED)
            assert (await client.ask(Function.SCN_REG, HOST, scn, key=[name(HOST)])).status == 0
            members = text(Tag.DD_MEMBER_NAME, HOST), text(Tag.DD_MEMBER_NAME, DISK)
            assert (await client.ask(Function.DD_REG, ADMIN, *members)).status == 0
            enabled = number(Tag.DDS_STATUS, 1), number(Tag.DD_ID, 1)
            assert (await client.ask(Function.DDS_REG, ADMIN, *enabled)).status == 0
            client.writer.close()
            back = await accepted.get()
            asked = await back.message()
            assert inquiry_in(asked).eid == "host"
            back.writer.write(acknowledgement(asked).encode())
            other = await connected(endpoint)
            assert (await other.ask(1, DISK, *node(DISK))).status == 0
            told = await back.message()
            while told.function != Function.SCN:
                back.writer.write(acknowledgement(told).encode())
                told = await back.message()
            assert notification_of(told).changes[0].name == DISK
            back.writer.close()
            other.writer.close()
        listener.close()

    asyncio.run(scenario())


def test_nobody_at_the_other_end_is_no_trouble() -> None:
    async def scenario() -> None:
        async with running(shortest_esi_interval=1, esi_threshold=1) as (shell, endpoint):
            client = await connected(endpoint)
            for host, port in (("127.0.0.1", 1), ("127.0.0.2", 1 | UDP_PORT)):
                where = address(16, host), number(17, 3260)
                esi = number(Tag.ESI_INTERVAL, 1), number(Tag.ESI_PORT, port)
                assert (await client.ask(1, f"{DISK}{port}", *where, *esi, *node(f"{DISK}{port}"))).status == 0
            gone = asyncio.Event()
            flush = shell._flush

            def flushed() -> None:
                flush()
                if not shell.engine.realm.store.nodes:
                    gone.set()

            shell._flush = flushed
            client.writer.close()
            await asyncio.wait_for(gone.wait(), PATIENCE)

    asyncio.run(scenario())


def test_stopping_with_clients_there_is_silent(tmp_path) -> None:
    """asyncio has nothing to complain of when connections are cut off."""

    async def scenario() -> None:
        complaints: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        async with running(control=str(tmp_path / "c")) as (_, endpoint):
            client = await connected(endpoint)
            await client.ask(Function.DEV_GET_NEXT, ADMIN, key=[Attribute(Tag.ISCSI_NAME)])
            answers, control = await asyncio.open_unix_connection(tmp_path / "c")
            control.write(b'{"op": "list"}\n')
            assert await answers.readline()
        for writer in (client.writer, control):
            writer.close()
            await writer.wait_closed()
        assert complaints == []

    asyncio.run(scenario())


def test_what_comes_while_a_connection_is_opened_goes_out_on_it() -> None:
    async def scenario() -> None:
        accepted: asyncio.Queue[Client] = asyncio.Queue()

        async def accept(reader, writer) -> None:
            await accepted.put(Client(reader, writer))

        listener = await asyncio.start_server(accept, "127.0.0.1", 0)
        where = "127.0.0.1", listener.sockets[0].getsockname()[1]
        async with running() as (shell, _):
            for transaction in (1, 2):
                message = Request(function=2, source=name(DISK)).message(transaction)
                shell._send(Send(data=message.encode(), tcp=where))
            client = await asyncio.wait_for(accepted.get(), PATIENCE)
            assert [(await client.message()).transaction for _ in range(2)] == [1, 2]
            shell._send(Send(data=Request(function=2, source=name(DISK)).message(3).encode(), tcp=where))
            assert (await client.message()).transaction == 3
            assert accepted.empty()
            client.writer.close()
        listener.close()

    asyncio.run(scenario())


def test_a_client_that_reads_nothing_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr("iscsi_target.isns.shell.MAX_UNSENT", 0)

    async def scenario() -> None:
        async with running() as (shell, endpoint):
            client = await connected(endpoint)
            await client.ask(1, DISK, *node(DISK))
            (connection,) = shell._writers
            for _ in range(3):
                shell._send(Send(data=bytes(4 << 20), connection=connection))
            received = await asyncio.wait_for(client.reader.read(), PATIENCE)
            assert len(received) < 8 << 20
            assert not shell._writers
            client.writer.close()

    asyncio.run(scenario())


def test_another_port_is_tried_where_udp_has_it_taken(monkeypatch) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        original = loop.create_datagram_endpoint
        asked = []

        async def taken(*arguments, **options):
            asked.append(options["local_addr"])
            if len(asked) == 1:
                raise OSError(98, "Address already in use")
            return await original(*arguments, **options)

        monkeypatch.setattr(loop, "create_datagram_endpoint", taken)
        async with running() as (_, endpoint):
            assert [port for _, port in asked][-1] == endpoint.port
            assert len(asked) == 2

    asyncio.run(scenario())


def test_what_was_registered_outlives_the_server(tmp_path) -> None:
    async def first() -> None:
        async with running(database=str(tmp_path / "isns.db")) as (_, endpoint):
            client = await connected(endpoint)
            assert (await client.ask(1, DISK, *node(DISK))).status == 0
            client.writer.close()

    async def second() -> None:
        async with running(database=str(tmp_path / "isns.db")) as (_, endpoint):
            client = await connected(endpoint)
            assert (await client.ask(2, ADMIN, *want(32))).operating == (name(DISK),)
            client.writer.close()

    asyncio.run(first())
    asyncio.run(second())


def test_what_cannot_be_kept_is_not_promised(tmp_path) -> None:
    path = tmp_path / "isns.db"

    async def scenario() -> None:
        failed = asyncio.Event()
        async with running(database=str(path)) as (shell, endpoint):
            shell.on_failure(failed.set)
            other = sqlite3.connect(path)
            other.execute("DROP TABLE object")
            other.close()
            client = await connected(endpoint)
            request = Request(function=1, source=name(DISK), operating=node(DISK))
            client.writer.write(request.message(1).encode())
            await asyncio.wait_for(failed.wait(), PATIENCE)
            assert "isns.db" in str(shell.failure)
            client.writer.close()

    asyncio.run(scenario())


def test_a_taken_port_is_told(tmp_path) -> None:
    async def scenario() -> None:
        async with running() as (_, endpoint):
            with pytest.raises(OSError, match="in use"):
                await IsnsShell(IsnsConfig(listen=str(endpoint))).start()
        with pytest.raises(OSError, match="No such file"):
            await IsnsShell(IsnsConfig(listen="127.0.0.1:0", control=str(tmp_path / "none" / "s"))).start()

    asyncio.run(scenario())


@contextlib.contextmanager
def served(*options):
    """The command in a process of its own, and where it listens."""
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["ready"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)


def test_the_commands_work_together(tmp_path) -> None:
    control = tmp_path / "control"
    domains = ["isns-domains", "--control", str(control)]
    runner = CliRunner()

    def tell(*words: str) -> object:
        result = runner.invoke(main, [*domains, *words])
        assert result.exit_code == 0, result.output
        return json.loads(result.output) if result.output else None

    with served("--control", str(control), "--database", str(tmp_path / "db"), "--default-domain") as (process, ready):
        assert ready[0].startswith("127.0.0.1:")
        assert stat.S_IMODE(control.stat().st_mode) == 0o600
        assert tell("create", "lab", "--node", DISK) == {"number": 1}
        assert tell("add", "1", "--node", HOST, "--portal", "192.0.2.1:3260") == {"number": 1}
        assert tell("create-set", "all", "--domain", "1", "--enable") == {"number": 1}
        assert tell("create", "other") == {"number": 2}
        assert tell("add-to-set", "1", "2") == {"number": 1}
        assert tell("remove-from-set", "1", "2") is None
        assert tell("disable-set", "1") == {"number": 1}
        assert tell("enable-set", "1") == {"number": 1}
        assert tell("remove", "1", "--node", DISK) is None
        listed = tell("list")
        assert listed == {
            "domains": [
                {"number": 1, "name": "lab", "features": 0, "nodes": [HOST], "portals": ["192.0.2.1:3260"]},
                {"number": 2, "name": "other", "features": 0, "nodes": [], "portals": []},
            ],
            "sets": [{"number": 1, "name": "all", "enabled": True, "domains": [1]}],
        }
        assert tell("nodes") == {"nodes": []}
        assert tell("delete", "2") is None
        assert tell("delete-set", "1") is None
        refused = runner.invoke(main, [*domains, "add", "9", "--node", DISK])
        assert (refused.exit_code, refused.output) == (1, "Error: there is no number 9\n")
        nothing = runner.invoke(main, [*domains, "add", "1"])
        assert nothing.exit_code == 2
    assert process.returncode == 0
    assert not control.exists()
    gone = runner.invoke(main, [*domains, "list"])
    assert gone.exit_code == 3
    assert str(control) in gone.output


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        (["--listen", "here"], 2, "HOST:PORT"),
        (["--control-node", "admin"], 2, "control_nodes"),
        (["--config", "none.toml"], 2, "none.toml"),
        (["--fault", "none"], 2, "no fault is named"),
        (["--database", "/dev/null/db"], 3, "/dev/null/db"),
    ],
)
def test_what_cannot_be_served_is_refused(options, code: int, reason: str) -> None:
    result = CliRunner().invoke(main, ["isns-server", *options])
    assert result.exit_code == code
    assert reason in result.output
    assert "Traceback" not in result.output


def test_a_taken_port_ends_the_command() -> None:
    with served() as (_, ready):
        result = CliRunner().invoke(main, ["isns-server", "--listen", ready[0]])
        assert result.exit_code == 3


def test_a_socket_that_says_nothing_is_told(tmp_path) -> None:
    import socket
    import threading

    import click

    path = tmp_path / "silent"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def close() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.close()

        thread = threading.Thread(target=close)
        thread.start()
        with pytest.raises(click.ClickException, match="no answer"):
            ask(path, {"op": "list"})
        thread.join()
