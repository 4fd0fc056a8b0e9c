"""Exports on a socket: clients, what they get, and how they go; and the command from its first line to its last."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import signal
import socket
import stat
import struct
import threading
from typing import Any

import pytest
from click.testing import CliRunner

from iscsi_initiator.attach import serving as serving_module
from iscsi_initiator.attach.serving import AT_ONCE, NbdService, OpenHandles, errno_of
from iscsi_initiator.cli import main
from iscsi_initiator.client import RequestFailed, ScsiError
from iscsi_initiator.nbd import Command, Errno, Export
from iscsi_initiator.nbd.wire import (
    CLIENT_FLAGS,
    GREETING,
    OPTION,
    OPTION_MAGIC,
    REQUEST,
    REQUEST_MAGIC,
    SIMPLE_REPLY,
    Option,
)
from iscsi_initiator.requests import Failure, ScsiResult
from iscsi_protocol.scsi.sense import Sense
from iscsi_target.config import LunConfig, PortalConfig, Size, TargetConfig, TargetNode
from iscsi_target.portal import TargetServer
from iscsi_target.shell.serving import close_devices, make_engine

NAME = "iqn.2026-11.org.iscsi-conformance:attached"
SIZE = 1 << 20


class FakeDisk:
    """Bytes in memory. gate: while it is closed nothing is answered; fails: what the next request raises."""

    def __init__(self):
        self.data = bytearray(SIZE)
        self.done: list[tuple[str, int, int, bool]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fails: Exception | None = None
        self.running = 0

    async def _pass(self, what, offset, length, fua):
        self.running += 1
        try:
            await self.gate.wait()
        finally:
            self.running -= 1
        if self.fails is not None:
            raise self.fails
        self.done.append((what, offset, length, fua))

    async def read_into(self, offset, buffer):
        await self._pass("read", offset, len(buffer), False)
        buffer[:] = self.data[offset : offset + len(buffer)]

    async def write(self, offset, data, *, fua=False):
        await self._pass("write", offset, len(data), fua)
        self.data[offset : offset + len(data)] = data

    async def flush(self):
        await self._pass("flush", 0, 0, False)

    async def trim(self, offset, length, *, fua=False):
        await self._pass("trim", offset, length, fua)

    async def write_zeroes(self, offset, length, *, hole=True, fua=False):
        await self._pass(f"zeroes {hole}", offset, length, fua)


class NbdClient:
    """A client on a blocking or a non-blocking socket's file, simple replies alone."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    @classmethod
    async def attached(cls, service):
        near, far = socket.socketpair()
        far.setblocking(False)
        service.attach(far)
        client = cls(*await asyncio.open_unix_connection(sock=near))
        await client.reader.readexactly(GREETING.size)
        client.writer.write(CLIENT_FLAGS.pack(3) + OPTION.pack(OPTION_MAGIC, Option.EXPORT_NAME, 4) + b"disk")
        size, _ = struct.unpack(">QH", await client.reader.readexactly(10))
        assert size == SIZE
        return client

    def send(self, command, offset=0, length=0, *, data=b"", flags=0, cookie=1):
        self.writer.write(REQUEST.pack(REQUEST_MAGIC, flags, command, cookie, offset, length) + data)

    async def answer(self, length=0):
        _, error, cookie = SIMPLE_REPLY.unpack(await self.reader.readexactly(SIMPLE_REPLY.size))
        return error, cookie, b"" if error else await self.reader.readexactly(length)

    async def close(self):
        self.writer.close()
        await self.writer.wait_closed()


def with_service(test):
    async def run():
        disk, handles = FakeDisk(), OpenHandles()
        export = Export(name="disk", size=SIZE, block_size=512, trim=True)
        service = NbdService({"disk": export}, {"disk": disk}, handles)
        await test(service, disk, handles)
        await service.close()
        assert not handles.of(disk)

    asyncio.run(run())


async def turns():
    for _ in range(20):
        await asyncio.sleep(0)


async def until(holds):
    for _ in range(1_000_000):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to hold")


def test_every_command_does_what_it_says():
    async def test(service, disk, handles):
        client = await NbdClient.attached(service)
        await until(lambda: handles.of(disk) == 1)
        data = random.Random(1).randbytes(200_192)
        client.send(Command.WRITE, 512, len(data), data=data, flags=1)
        assert await client.answer() == (0, 1, b"")
        client.send(Command.READ, 512, len(data), cookie=2)
        assert await client.answer(len(data)) == (0, 2, data)
        for command, flags in (
            (Command.FLUSH, 0),
            (Command.TRIM, 1),
            (Command.WRITE_ZEROES, 3),
            (Command.WRITE_ZEROES, 0),
        ):
            client.send(command, 0, 0 if command == Command.FLUSH else 1024, flags=flags)
            assert (await client.answer())[0] == 0
        client.send(Command.READ, 1, 512)
        assert (await client.answer())[0] == Errno.EINVAL
        assert disk.done == [
            ("write", 512, len(data), True),
            ("read", 512, len(data), False),
            ("flush", 0, 0, False),
            ("trim", 0, 1024, True),
            ("zeroes False", 0, 1024, True),
            ("zeroes True", 0, 1024, False),
        ]
        client.send(Command.DISC)
        assert await client.reader.read() == b""
        await client.close()

    with_service(test)


def test_requests_run_side_by_side_up_to_a_limit():
    async def test(service, disk, handles):
        client = await NbdClient.attached(service)
        disk.gate.clear()
        for cookie in range(AT_ONCE + 100):
            client.send(Command.READ, 0, 512, cookie=cookie)
        await until(lambda: disk.running >= AT_ONCE)
        await turns()
        most = disk.running
        disk.gate.set()
        for _ in range(AT_ONCE + 100):
            await client.answer(512)
        # What one receive brought is begun.
        assert AT_ONCE <= most < AT_ONCE + 100 + 1
        await client.close()

    with_service(test)


def test_answers_wait_for_a_client_that_does_not_read():
    async def test(service, disk, handles):
        client = await NbdClient.attached(service)
        for _ in range(20):
            client.send(Command.READ, 0, SIZE)
        await turns()
        for _ in range(20):
            assert len((await client.answer(SIZE))[2]) == SIZE
        await client.close()

    with_service(test)


def test_what_a_client_that_vanished_wrote_is_not_done_after_what_others_write():
    async def test(service, disk, handles):
        client = await NbdClient.attached(service)
        disk.gate.clear()
        client.send(Command.WRITE, 0, 512, data=b"o" * 512)
        await until(lambda: disk.running)
        assert handles.of(disk) == 1
        client.writer.transport.abort()
        await until(lambda: not handles.of(disk))
        other = await NbdClient.attached(service)
        other.send(Command.WRITE, 0, 512, data=b"n" * 512)
        await turns()
        assert disk.running == 1
        disk.gate.set()
        assert (await other.answer())[0] == 0
        assert disk.data[:512] == b"n" * 512
        assert len(disk.done) == 2
        await other.close()


def test_requests_without_a_client_are_cancelled_at_the_end():
    async def test(service, disk, handles):
        client = await NbdClient.attached(service)
        disk.gate.clear()
        client.send(Command.READ, 0, 512)
        await until(lambda: disk.running)
        client.writer.transport.abort()
        await until(lambda: service.orphans)
        await service.close()
        assert not disk.running

    with_service(test)


def test_a_client_that_does_not_read_and_goes():
    async def test(service, disk, handles):
        client = await NbdClient.attached(service)
        for _ in range(20):
            client.send(Command.READ, 0, SIZE)
        await until(lambda: len(disk.done) == 20)
        client.writer.transport.abort()
        await until(lambda: not handles.of(disk))

    with_service(test)


def test_disc_waits_for_what_is_under_way():
    async def test(service, disk, handles):
        client = await NbdClient.attached(service)
        disk.gate.clear()
        client.send(Command.WRITE, 0, 512, data=b"x" * 512)
        client.send(Command.DISC)
        await until(lambda: disk.running)
        await turns()
        disk.gate.set()
        assert (await client.answer())[0] == 0
        assert await client.reader.read() == b""
        assert disk.data[:512] == b"x" * 512
        await client.close()

    with_service(test)


@pytest.mark.parametrize("answers", [True, False])
def test_closing_answers_what_is_under_way_and_does_not_wait_for_ever(answers):
    async def test(service, disk, handles):
        client = await NbdClient.attached(service)
        idle = await NbdClient.attached(service)
        disk.gate.clear()
        client.send(Command.WRITE, 0, 512, data=b"x" * 512)
        await until(lambda: disk.running)
        closing = asyncio.ensure_future(service.close(10 if answers else 0.01))
        await turns()
        if answers:
            disk.gate.set()
            assert (await client.answer())[0] == 0
        await closing
        assert not disk.running
        for each in (client, idle):
            assert await each.reader.read() == b""
            await each.close()

    with_service(test)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RequestFailed(Failure.NO_DEVICE, "READ"), Errno.EIO),
        (RequestFailed(Failure.NOT_CONNECTED, "READ"), Errno.ESHUTDOWN),
        (ValueError("not whole"), Errno.EINVAL),
        (ScsiError(ScsiResult(0x18), "READ"), Errno.EIO),
        (ScsiError(ScsiResult(2, sense=Sense(key=7, code=0x2700).build()), "WRITE"), Errno.EPERM),
        (ScsiError(ScsiResult(2, sense=Sense(key=7, code=0x2707).build()), "WRITE"), Errno.ENOSPC),
        (ScsiError(ScsiResult(2, sense=Sense(key=7, code=0x1234).build()), "WRITE"), Errno.EPERM),
        (ScsiError(ScsiResult(2, sense=Sense(key=5, code=0x2100).build()), "WRITE"), Errno.EINVAL),
        (ScsiError(ScsiResult(2, sense=Sense(key=3, code=0x1100).build()), "READ"), Errno.EIO),
    ],
)
def test_errors_cross_as_numbers(error, code):
    assert errno_of(error) is code

    async def test(service, disk, handles):
        client = await NbdClient.attached(service)
        disk.fails = error
        client.send(Command.FLUSH)
        assert (await client.answer())[0] == code
        await client.close()

    with_service(test)


def test_the_socket_is_ours_alone_and_a_stale_one_is_replaced(tmp_path):
    async def run():
        path = tmp_path / "n.sock"
        stale = socket.socket(socket.AF_UNIX)
        stale.bind(str(path))
        stale.close()
        service = NbdService({}, {}, OpenHandles())
        service.listen(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_unix_connection(path)
        await reader.readexactly(GREETING.size)
        with pytest.raises(OSError, match="in use") as caught:
            NbdService({}, {}, OpenHandles()).listen(path)
        assert caught.value.errno == errno.EADDRINUSE
        await service.close()
        assert not path.exists()
        writer.close()
        await writer.wait_closed()
        path.write_text("a file")
        with pytest.raises(OSError, match="in use"):
            NbdService({}, {}, OpenHandles()).listen(path)
        assert path.read_text() == "a file"

    asyncio.run(run())


def test_a_client_waits_while_there_is_no_descriptor(tmp_path, monkeypatch):
    monkeypatch.setattr(serving_module, "ACCEPT_AGAIN", 0.01)

    failures = [OSError(errno.EMFILE, "Too many open files"), BlockingIOError()]

    class Listener(socket.socket):
        """Out of descriptors at first, and then one whose client is gone."""

        def accept(self):
            if failures:
                raise failures.pop(0)
            return super().accept()

    async def run():
        service = NbdService({}, {}, OpenHandles())
        with monkeypatch.context() as patched:
            patched.setattr(socket, "socket", Listener)
            service.listen(tmp_path / "n.sock")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "n.sock")
        async with asyncio.timeout(10):
            await reader.readexactly(GREETING.size)
        assert not failures
        writer.close()
        await writer.wait_closed()
        await service.close()

    asyncio.run(run())


# The command.


@pytest.fixture(scope="module")
def portals():
    """A target with two portals on free ports of loopback, in a thread of its own."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        disk = LunConfig(size=Size(SIZE))
        config = TargetConfig(
            targets=[TargetNode(name=NAME, luns={0: disk, 1: disk}), TargetNode(name=NAME + "2", luns={0: disk})],
            portals=[PortalConfig(address="127.0.0.1:0")] * 2,
        )
        engine, devices = make_engine(config, random_bytes=random.Random(3).randbytes)
        server = TargetServer(engine)
        found["endpoints"] = await server.start(config.portals)
        found["stop"] = asyncio.Event()
        found["loop"] = asyncio.get_running_loop()
        ready.set()
        await found["stop"].wait()
        await server.stop()
        close_devices(devices)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield [str(endpoint) for endpoint in found["endpoints"]]
    found["loop"].call_soon_threadsafe(found["stop"].set)
    thread.join(20)


@pytest.fixture
def run(tmp_path):
    """Runs `attach` until it was used by `use`, which gets a connected socket."""

    def call(*arguments, use=None):
        path = tmp_path / "n.sock"
        ended = threading.Event()
        seen = []

        def client():
            while not ended.wait(0.01):
                try:
                    with socket.socket(socket.AF_UNIX) as near:
                        near.settimeout(20)
                        near.connect(str(path))
                        seen.append(use(near) if use else None)
                except OSError:
                    continue
                os.kill(os.getpid(), signal.SIGTERM)
                return

        thread = threading.Thread(target=client)
        thread.start()
        try:
            env = {"ISCSI_INITIATOR_EVENT_LOG": str(tmp_path / "events.jsonl")}
            command = ["attach", *map(str, arguments), "--socket", str(path)]
            result = CliRunner().invoke(main, command, env=env)
        finally:
            ended.set()
            thread.join(30)
        assert not path.exists()
        return result, seen

    return call


def listed(near):
    """The names of the exports."""
    file = near.makefile("rwb")
    file.read(GREETING.size)
    file.write(CLIENT_FLAGS.pack(3) + OPTION.pack(OPTION_MAGIC, Option.LIST, 0))
    file.flush()
    names: list[str] = []
    while True:
        _, _, reply, length = struct.unpack(">QIII", file.read(20))
        data = file.read(length)
        if reply == 1:
            return names
        names.append(data[4:].decode())


def test_attach_serves_until_it_is_told_to_stop(run, portals):
    urls = [f"iscsi://{portal}/{NAME}" for portal in portals]
    result, seen = run(*urls, use=listed)
    assert result.exit_code == 0, result.output
    assert seen == [["0", "1"]]
    said = json.loads(result.stdout)
    assert [(each["name"], each["size"], each["paths"]) for each in said["exports"]] == [
        ("0", SIZE, [1, 2]),
        ("1", SIZE, [1, 2]),
    ]
    assert "path 2" in result.stderr
    assert "not flushed" not in result.stderr


@pytest.mark.parametrize(
    ("lun", "options", "names"),
    [
        ("/0", ("--policy", "fail-over-only"), ["0"]),
        ("/0", ("--export", "mine", "--read-only", "--policy", "fail-over-only", "--standby", 1), ["mine"]),
        ("/0", ("--policy", "round-robin-subset", "--standby", 2, "--no-failback"), ["0"]),
        ("/1", ("--policy", "weighted-paths", "--weight", "1=5", "--path-verify", 10), ["1"]),
        ("/0", ("--reservation-key", "aabbccccbbaa0001", "--retry-count", 5), ["0"]),
    ],
)
def test_attach_with_options(run, portals, lun, options, names):
    result, seen = run(*(f"iscsi://{portal}/{NAME}{lun}" for portal in portals), *options, use=listed)
    assert result.exit_code == 0, result.output
    assert seen == [names]
    assert json.loads(result.stdout)["exports"][0]["read_only"] is ("--read-only" in options)


def test_disks_of_two_targets_have_the_targets_names(run, portals):
    result, seen = run(f"iscsi://{portals[0]}/{NAME}/0", f"iscsi://{portals[0]}/{NAME}2/0", use=listed)
    assert result.exit_code == 0, result.output
    assert seen == [[f"{NAME}/0", f"{NAME}2/0"]]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("{0}",), 2, "a target's name is needed"),
        (("{0}/{name}/0", "--standby", 2), 2, "there are 1 URLs"),
        (("{0}/{name}/0", "--weight", "1"), 2, "the number of a URL"),
        (("{0}/{name}/0", "--weight", "2=1"), 2, "URLs are 1 to 1"),
        (("{0}/{name}/0", "--reservation-key", "12"), 2, "16 hexadecimal digits"),
        (("{0}/{name}/0", "--reservation-key", "0" * 16), 2, "16 hexadecimal digits"),
        (("{0}/{name}/0", "--policy", "least-queue-depth"), 1, "0xefff0061"),
        (("{0}/{name}/0", "--policy", "fail-over-only", "--standby", 1), 1, "0xefff005b"),
        (("{0}/{name}/0", "--connections", 2), 1, "takes sessions of one"),
        (("{0}/{name}/9",), 1, "no LUN 9"),
        (("{0}/{name}", "--export", "mine"), 1, "one name for 2 devices"),
        (("iscsi://127.0.0.1:1/{name}/0", "--timeout", 1), 3, "iscsi-initiator: "),
    ],
)
def test_attach_that_does_not(run, portals, arguments, code, words):
    told = [str(each).format(f"iscsi://{portals[0]}", name=NAME) for each in arguments]
    result, _ = run(*told)
    assert result.exit_code == code, result.output
    assert words in result.stderr.lower() if words.startswith("0x") else words in result.stderr
    assert "Traceback" not in result.output


def test_a_socket_that_cannot_be(portals, tmp_path):
    command = ["attach", f"iscsi://{portals[0]}/{NAME}/0", "--socket", str(tmp_path / "none" / "n.sock")]
    result = CliRunner().invoke(main, command, env={"ISCSI_INITIATOR_EVENT_LOG": str(tmp_path / "events.jsonl")})
    assert result.exit_code == 1
    assert "No such file" in result.stderr
