"""The service's socket: who is served, in which bounds, and what a caller is told who is not."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
import threading
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import pytest

from iscsi_initiator.service import api, listener
from iscsi_initiator.service.api import wire
from iscsi_initiator.service.blocking import BlockingClient
from iscsi_initiator.service.client import Client
from iscsi_initiator.service.listener import Listener
from iscsi_initiator.service.place import default_socket
from iscsi_initiator.status_codes import Refused, StatusCode

NAMES = tuple(f"iqn.2026-01.org.example:{number}" for number in range(3))


async def answer(request):
    """Does what is asked, in each way that a handler may."""
    match request:
        case api.ListTargets():
            return api.TargetNames(targets=NAMES)
        case api.ReportLUNs():
            raise api.RequestFailed(api.Failure(status=StatusCode.SCSI_REQUEST_FAILED, message="no", sense=b"\x70"))
        case api.ListInitiators():
            raise ZeroDivisionError("a defect")
        case _:
            raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, type(request).__name__)


@asynccontextmanager
async def listening(path, handler=answer, defects=None, **limits):
    """A listener that is closed in the end; what its handler should not have raised goes to `defects`."""
    service = Listener(path, handler, defect=[].append if defects is None else defects.append, **limits)
    await service.start()
    try:
        yield service
    finally:
        await service.close()


async def exchange(path, *lines: bytes) -> list[dict[str, Any]]:
    """Write lines over one connection, end it, and read what comes until its other end is over."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.writelines(lines)
    writer.write_eof()
    got = await reader.read()
    writer.close()
    return [json.loads(line) for line in got.splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "below" / "s"


def test_request_is_answered(path):
    """A request made inside a loop gets its answer, one after the other gets its own."""

    async def scene():
        async with listening(path):
            client = Client(path)
            assert (await client.ask(api.ListTargets())).targets == NAMES
            with pytest.raises(api.RequestFailed) as failed:
                await client.ask(api.ReportLUNs(session_id="1-1"))
            assert failed.value.failure.sense == b"\x70"
            with pytest.raises(Refused, match="SessionList"):
                await client.ask(api.SessionList())

    asyncio.run(scene())


def test_request_is_answered_without_a_loop(path):
    """So does one that is made outside."""

    async def scene():
        async with listening(path):
            got = await asyncio.to_thread(BlockingClient(path, timeout=10).ask, api.ListTargets())
            assert got.targets == NAMES

    asyncio.run(scene())


def test_socket_is_its_owners_alone(path):
    """Mode 0600, in a folder of mode 0700, and gone when the service is."""

    async def scene():
        mask = os.umask(0)
        try:
            async with listening(path):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
                assert os.umask(0) == 0
        finally:
            os.umask(mask)
        assert not path.exists()

    asyncio.run(scene())


def test_garbage_gets_one_answer(path):
    """What is no request is told once, and nothing that follows on that connection is read."""

    async def scene():
        async with listening(path):
            (got,) = await exchange(path, b"GET / HTTP/1.1\r\n", b"Host: x\r\n", wire.encode_request(api.ListTargets()))
            assert got["status"] == StatusCode.INVALID_PARAMETER
            assert got["message"].startswith("no request")

    asyncio.run(scene())


def test_refused_request_leaves_the_connection(path):
    """A request that is refused does not spoil the next one."""

    async def scene():
        defects: list[Exception] = []
        async with listening(path, defects=defects):
            got = await exchange(
                path,
                b'{"op":"Nonsense"}\n',
                b'{"op":"RemoveTarget","target_name":"?"}\n',
                b'{"op":"ListInitiators"}\n',
                b'{"op":"ListTargets","buffer_size":20}\n',
                b'{"op":"ListTargets"}',
            )
            assert [each["status"] for each in got] == [
                StatusCode.REQUEST_NOT_SUPPORTED,
                StatusCode.INVALID_ISCSI_NAME,
                StatusCode.NON_SPECIFIC_ERROR,
                StatusCode.BUFFER_TOO_SMALL,
                0,
            ]
            assert got[2]["message"] == "the service failed (ZeroDivisionError)"
            assert [str(error) for error in defects] == ["a defect"]

    asyncio.run(scene())


def test_request_has_a_bounded_length(path):
    """A line that does not end is not kept: one answer, and the end."""

    async def scene():
        async with listening(path, max_request=1000):
            for size in (1001, 5000, 1 << 21):
                (got,) = await exchange(path, b"x" * size)
                assert (got["status"], got["message"]) == (
                    StatusCode.INVALID_PARAMETER,
                    "a request has at most 1000 bytes",
                )

    asyncio.run(scene())


def test_connections_are_bounded(path):
    """One more than there may be is told so; when one went there is room again."""

    async def scene():
        async with listening(path, max_connections=1):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(wire.encode_request(api.ListTargets()))
            await reader.readline()
            (got,) = await exchange(path, wire.encode_request(api.ListTargets()))
            assert got["status"] == StatusCode.OUT_OF_RESOURCES
            writer.close()
            assert await reader.read() == b""
            got = {"status": StatusCode.OUT_OF_RESOURCES}
            while got["status"]:
                (got,) = await exchange(path, wire.encode_request(api.ListTargets()))

    asyncio.run(scene())


def test_dismissal_does_not_wait_for_ever(path, monkeypatch):
    """A caller that stays after it was sent away is cut off."""
    monkeypatch.setattr(listener, "LINGER", 0.05)

    async def scene():
        async with listening(path):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"garbage\n")
            assert json.loads(await reader.readline())["status"] == StatusCode.INVALID_PARAMETER
            while not writer.transport.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0)
            writer.close()

    asyncio.run(scene())


class Slow:
    """A handler that takes until it is let go."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.ended: list[str] = []

    async def __call__(self, request):
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("done")
        return api.TargetNames()


def test_request_is_finished_without_its_caller(path):
    """Who asked may go: what was begun is done."""

    async def scene():
        slow = Slow()
        async with listening(path, slow):
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(wire.encode_request(api.ListTargets()))
            await slow.begun.wait()
            writer.close()
            await writer.wait_closed()
            slow.go.set()
        assert slow.ended == ["done"]

    asyncio.run(scene())


def test_closing_waits_for_requests_and_not_for_callers(path):
    """A request in work is answered, a connection without one is closed."""

    async def scene():
        slow = Slow()
        async with listening(path, slow) as service:
            idle, other = await asyncio.open_unix_connection(path)
            asked = asyncio.create_task(Client(path).ask(api.ListTargets()))
            await slow.begun.wait()
            closed = asyncio.create_task(service.close())
            assert await idle.read() == b""
            other.close()
            slow.go.set()
            await closed
            assert await asked == api.TargetNames()

    asyncio.run(scene())


def test_closing_has_its_patience(path):
    """A request that takes longer is cancelled; its caller is told that the service is gone."""

    async def scene():
        slow = Slow()
        async with listening(path, slow) as service:
            asked = asyncio.create_task(Client(path).ask(api.ListTargets()))
            await slow.begun.wait()
            await service.close(patience=0)
            with pytest.raises(Refused, match="closed the connection without an answer"):
                await asked
        assert slow.ended == ["cancelled"]

    asyncio.run(scene())


def test_second_service_is_refused(path):
    """Where one answers, no other listens, and the first goes on."""

    async def scene():
        async with listening(path):
            with pytest.raises(OSError, match="another service") as refused:
                await Listener(path, answer, defect=print).start()
            assert refused.value.errno == errno.EADDRINUSE
            assert (await Client(path).ask(api.ListTargets())).targets == NAMES

    asyncio.run(scene())


def test_socket_left_behind_is_replaced(path):
    """A service that was killed leaves its socket; the next one takes the place."""
    path.parent.mkdir()
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))

    async def scene():
        async with listening(path):
            assert (await Client(path).ask(api.ListTargets())).targets == NAMES

    asyncio.run(scene())


def test_file_in_the_place_stays(path):
    """What is no socket is not removed."""
    path.parent.mkdir()
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="no socket"):
        asyncio.run(Listener(path, answer, defect=print).start())
    assert path.read_text(encoding="utf-8") == "mine"


def test_path_may_be_too_long(tmp_path):
    """A path that no socket can have is refused by the system, and nothing is left open."""
    with pytest.raises(OSError, match="too long"):
        asyncio.run(Listener(tmp_path / ("x" * 120), answer, defect=print).start())


def test_closing_leaves_the_socket_of_another(path):
    """A socket that took the place is not removed, and closing twice is closing once."""

    async def scene():
        async with listening(path) as service:
            path.unlink()
            with closing(socket.socket(socket.AF_UNIX)) as other:
                other.bind(str(path))
                await service.close()
            assert path.exists()

    asyncio.run(scene())


def ask_both(path, request=None, timeout=None) -> set[tuple[StatusCode, str]]:
    """What both clients are told who are refused."""
    told = set()
    request = api.ListTargets() if request is None else request
    with pytest.raises(Refused) as refused:
        BlockingClient(path, timeout).ask(request)
    told.add((refused.value.status, refused.value.reason))
    with pytest.raises(Refused) as refused:
        asyncio.run(Client(path, timeout).ask(request))
    return {*told, (refused.value.status, refused.value.reason)}


def test_service_that_is_not_there(path):
    """Nothing at the place: the service is not running."""
    assert ask_both(path) == {(StatusCode.SERVICE_NOT_RUNNING, f"{path}: No such file or directory")}


def test_service_that_was_killed(path):
    """A socket that nobody listens at is no service."""
    path.parent.mkdir()
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    assert ask_both(path) == {(StatusCode.SERVICE_NOT_RUNNING, f"{path}: Connection refused")}


class Fake:
    """Takes connections one after the other in a thread, and says the same to each request."""

    def __init__(self, path: Path, says: bytes | None) -> None:
        path.parent.mkdir()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(path))
        self.socket.listen()
        self.says = says
        self.kept: list[socket.socket] = []
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        for _ in range(2):
            connection, _address = self.socket.accept()
            self.kept.append(connection)
            connection.recv(1 << 16)
            if self.says is not None:
                with suppress(BrokenPipeError):
                    connection.sendall(self.says)
                connection.close()

    def close(self) -> None:
        self.thread.join(10)
        for each in (*self.kept, self.socket):
            each.close()


@pytest.mark.parametrize(
    ("says", "code", "reason"),
    [
        (b"", "SERVICE_NOT_RUNNING", "closed the connection without an answer"),
        (b'{"status"', "SERVICE_DID_NOT_RESPOND", "the answer is cut off"),
        (b"HTTP/1.1 400\n", "SERVICE_DID_NOT_RESPOND", "no answer: "),
        (
            b'{"status":0}' + b" " * (wire.MAX_ANSWER + 70000),
            "SERVICE_DID_NOT_RESPOND",
            "the answer is over 16777216 bytes",
        ),
        (None, "SERVICE_DID_NOT_RESPOND", "no answer within 0.1 seconds"),
    ],
    ids=["nothing", "half", "garbage", "endless", "silence"],
)
def test_service_that_answers_badly(path, says, code, reason):
    """Each way not to answer has its code and its line, the same with and without a loop."""
    with closing(Fake(path, says)):
        ((status, told),) = ask_both(path, timeout=0.1 if says is None else 10)
    assert status is StatusCode[code]
    assert reason in told


@pytest.mark.parametrize(
    ("environment", "root", "place"),
    [
        ({"ISCSI_INITIATOR_SOCKET": "/a/b", "XDG_RUNTIME_DIR": "/r"}, True, "/a/b"),
        ({"XDG_RUNTIME_DIR": "/r"}, True, "/r/iscsi-conformance/initiator.sock"),
        ({}, True, "/run/iscsi-conformance/initiator.sock"),
        ({"XDG_STATE_HOME": "/s"}, False, "/s/iscsi-conformance/initiator.sock"),
        ({"HOME": "/h"}, False, "/h/.local/state/iscsi-conformance/initiator.sock"),
    ],
)
def test_default_place(monkeypatch, environment, root, place):
    """Where the socket is unless somebody says."""
    for name in ("ISCSI_INITIATOR_SOCKET", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    assert default_socket() == Path(place)
