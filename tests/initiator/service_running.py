"""A service in a process of its own, and the bundled target on the loopback for it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from iscsi_conformance.bundled import bundled_config
from iscsi_initiator.service.blocking import BlockingClient
from iscsi_initiator.store import Store
from iscsi_initiator.store.state import StoredSettings
from iscsi_protocol.history import Endpoint
from iscsi_target.config import TargetConfig
from iscsi_target.isns.config import IsnsConfig
from iscsi_target.isns.shell import IsnsShell
from iscsi_target.portal import TargetServer
from iscsi_target.shell.serving import close_devices, make_engine

PROGRAM = [sys.executable, "-c", "from iscsi_initiator.cli import main; main()", "service", "start"]


@contextmanager
def target_served() -> Iterator[Endpoint]:
    """The bundled target on a free port of loopback, in a thread of its own."""
    with config_served(bundled_config()) as endpoints:
        yield endpoints[0]


@contextmanager
def config_served(config: TargetConfig) -> Iterator[list[Endpoint]]:
    """A target on the loopback, in a thread of its own; its portals."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
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
    try:
        yield found["endpoints"]
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(20)


@contextmanager
def isns_served() -> Iterator[Endpoint]:
    """The bundled iSNS server on a free port of loopback, in a thread of its own."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        shell = IsnsShell(IsnsConfig(listen="127.0.0.1:0", default_domain=True))
        found["endpoint"] = await shell.start()
        found["stop"] = asyncio.Event()
        found["loop"] = asyncio.get_running_loop()
        ready.set()
        await found["stop"].wait()
        await shell.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    try:
        yield found["endpoint"]
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(20)


class Running:
    """A service that was started and is ready."""

    def __init__(self, folder: Path, *options: str, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.socket = folder / "s"
        places = ["--socket", str(self.socket), "--store", str(folder / "store")]
        log = ["--event-log", str(folder / "events.jsonl")]
        self.process = subprocess.Popen(
            [*PROGRAM, *places, *log, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.ready = json.loads(line or "{}")
        assert self.ready.pop("ready", None) == str(self.socket)
        assert set(self.ready) == ({"metrics"} if "--metrics" in options else set())

    def ask(self, request: Any) -> Any:
        """The answer of the service."""
        return BlockingClient(self.socket).ask(request)

    def end(self) -> tuple[int, str]:
        """Wait for its end; its exit code and what it complained about."""
        _, complaints = self.process.communicate(timeout=60)
        return self.process.returncode, complaints


def store_settings(folder: Path, settings: StoredSettings) -> None:
    """What a service finds at its next start."""
    with Store(folder) as store:
        store.change(lambda state: msgspec.structs.replace(state, settings=settings))
