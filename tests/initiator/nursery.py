"""Services by the dozen: one process imports everything and forks a service for each order, which lives until it is killed.

A service has the loopback for every host name, an iSNS port of the test's choice, and a back end for IPsec that does nothing,
so that each kind of record can be configured. It kills itself at a call that touches the disk where it is told to.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from select import select
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

from iscsi_conformance.bundled import CHAP, PLAIN
from iscsi_initiator.service import api, process, startup
from iscsi_initiator.service.api.wire import encode_request
from iscsi_initiator.service.blocking import BlockingClient
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.devices import interface_name
from iscsi_initiator.service.ipsec import Protection
from iscsi_initiator.service.place import read_answer
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import files
from iscsi_protocol.history import Endpoint

CALLS = ("open", "write", "fsync", "rename", "unlink", "close")
"""What a store does to its disk."""

LOGIN_TIME = 30.0

ATTACHED = {
    "/dev/nbd0": interface_name(PLAIN, 0),
    "/dev/nbd1": interface_name(PLAIN, 1 << 48),
    "/dev/nbd2": interface_name(CHAP, 0),
}
"""Devices of the host of these services, and the LUNs that they serve."""

MOUNTS = "mounts"
"""The file of a folder in which its mounts stand: a line for each, the device and the mount point."""


class Deadly:
    """Stands for `os` where a store writes: one call ends the process, just before it is made or just behind it."""

    def __init__(self, point: int) -> None:
        self._left = point

    def __getattr__(self, name: str) -> Any:
        call = getattr(os, name)
        if name not in CALLS:
            return call

        def deadly(*arguments: Any) -> Any:
            self._step()
            done = call(*arguments)
            self._step()
            return done

        return deadly

    def _step(self) -> None:
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)


class Idle:
    """A back end for IPsec that is content with everything."""

    def start(self) -> None:
        """Nothing to get ready."""

    async def configure(self, protection: Protection) -> None:
        """Nothing to protect."""

    async def release(self, endpoint: Endpoint) -> None:
        """Nor to protect no more."""


def own_name(folder: Path) -> str:
    """A name that no service of another folder has: two services of a host do not share one."""
    return hashlib.sha256(str(folder).encode()).hexdigest()[:16]


async def loopback(name: str) -> list[str]:
    """Every host is this one."""
    return ["127.0.0.1"]


def _say(**what: Any) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")


def _complain(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _mounts(folder: Path, *, watched: bool) -> str:
    """What mountinfo would be. watched: say that it is looked at."""
    if watched:
        _say(looked=True)
    lines = (folder / MOUNTS).read_text().splitlines()
    return "".join("1 1 0:1 / {1} rw - ext4 {0} rw\n".format(*line.split()) for line in lines)


def _serve(folder: Path, isns_port: int, point: int | None, *, watched: bool) -> None:
    place = process.Place(
        store=folder / "store", socket=folder / "s", event_log=folder / "events.jsonl", login_time=LOGIN_TIME
    )

    def core(*arguments: Any, **fields: Any) -> Core:
        made = Core(
            *arguments,
            **fields,
            ipsec=Idle(),
            isns_port=isns_port,
            resolver=loopback,
            mounts=lambda: _mounts(folder, watched=watched),
            host=lambda: (own_name(folder), ""),
        )
        made.attached = dict(ATTACHED)
        return made

    with patch.object(startup, "Core", core), patch.object(files, "os", os if point is None else Deadly(point)):
        asyncio.run(process.serve(place, lambda: _say(ready=True), _complain))


def main() -> None:
    """Fork a service for each line of standard input, and say what becomes of it."""
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            _serve(Path(order["folder"]), order["isns_port"], order["point"], watched=order["watched"])
            os._exit(0)
        _say(pid=child)
        _say(ended=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


class Nursery:
    """Starts services in a folder, one at a time."""

    def __init__(self, folder: Path, isns_port: int) -> None:
        self._folder = folder
        self._isns_port = isns_port
        program = f"import sys; sys.path[:0] = {sys.path!r}; from tests.initiator.nursery import main; main()"
        with (folder / "complaints").open("w") as complaints:
            self._process = subprocess.Popen(
                [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints
            )
        self._pid: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        self._process.communicate(timeout=60)

    def hear(self) -> dict[str, Any]:
        """What the service says next."""
        assert self._process.stdout is not None
        heard: dict[str, Any] = json.loads(self._process.stdout.readline())
        return heard

    def start(self, point: int | None = None) -> bool:
        """Whether a service got ready. point: the how-manieth step of its store that it is to die at, maybe at its start."""
        self.begin(point=point)
        heard = self.hear()
        if heard != {"ready": True}:
            assert (heard, point is not None) == ({"ended": -signal.SIGKILL}, True), self.complaints
            self._pid = None
        return self._pid is not None

    def begin(self, *, point: int | None = None, watched: bool = False) -> None:
        """A service that starts. watched: it says when it looks at the mounts."""
        order = {"folder": str(self._folder), "isns_port": self._isns_port, "point": point, "watched": watched}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        self._pid = self.hear()["pid"]

    @property
    def complaints(self) -> str:
        """What services had to say about themselves."""
        return (self._folder / "complaints").read_text()

    def ask(self, request: api.Operation[Any]) -> Any:
        """The answer of the service that runs. Raises Refused."""
        return BlockingClient(self._folder / "s").ask(request)

    def asked_until_dead(self, request: api.Operation[Any]) -> bool:
        """Whether a service that may kill itself answers."""
        try:
            self.ask(request)
        except Refused as error:
            if error.status not in (StatusCode.SERVICE_NOT_RUNNING, StatusCode.SERVICE_DID_NOT_RESPOND):
                raise
            return False
        return True

    def killed_while_asked(self, request: api.Operation[Any], delay: float) -> bool:
        """Kill the service while it does what it is asked, or when it has answered; whether it had."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(str(self._folder / "s"))
            connection.sendall(encode_request(request))
            select([connection], [], [], delay)
            assert self._pid is not None
            os.kill(self._pid, signal.SIGKILL)
            line = b""
            with suppress(ConnectionError), connection.makefile("rb") as answer:
                line = answer.readline()
        if not line.endswith(b"\n"):
            return False
        read_answer(line, request, self._folder / "s")
        return True

    def end(self) -> int:
        """The exit status of the service, which ends or has ended; the number of a signal is negative."""
        status: int = self.hear()["ended"]
        self._pid = None
        return status
