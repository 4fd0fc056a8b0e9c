"""What the guide's walk-throughs need: a target with four portals, each behind a way that can be cut; a service in a process
of its own; the scripts as docs/walkthroughs.md has them; and work on a disk by NBD meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self

from tests.initiator.nbd_client import NbdClient
from tests.initiator.service_running import Running, config_served, store_settings
from tests.interop.forwarder import Forwarder

from iscsi_initiator.service import api
from iscsi_initiator.store.state import SettingValue, StoredSettings
from iscsi_target.config import LunConfig, PortalConfig, Size, TargetConfig, TargetNode

TARGET = "iqn.2026-01.org.example:disk"
WAYS = 4
WORKERS = 4
PATIENCE = 60.0
"""Seconds in which what is waited for has to come."""

DRIVER: dict[str, SettingValue] = {"LinkDownTime": 1, "DefaultTime2Wait": 0}
"""Settings with which a path is given up sooner than Windows does."""

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "walkthroughs.md"
MCS = "Four connections, Round Robin"
MPIO = "Four sessions, Round Robin"


def script(heading: str) -> str:
    """The script below a heading of the document."""
    section = re.split(r"^## (.+)$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = section[section.index(heading) + 1]
    return "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait for something to hold."""
    pause, ends = threading.Event(), time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < ends, what
        pause.wait(0.02)


class Scene:
    """ways: to the portals, in their order. exports: what `attach` said, once a script has run."""

    def __init__(self, service: Running, ways: list[Forwarder]) -> None:
        self.service = service
        self.ways = ways
        self.exports: list[dict[str, Any]] = []

    def run(self, heading: str) -> list[str]:
        """Run a script to its end; the lines that it printed."""
        portals = {f"PORTAL{place}": f"127.0.0.1 {way.port}" for place, way in enumerate(self.ways, 1)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        done = subprocess.run(
            ["bash", "-c", script(heading)],
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
            env={
                **os.environ,
                **portals,
                "PATH": path,
                "TARGET": TARGET,
                "ISCSI_INITIATOR_SOCKET": str(self.service.socket),
            },
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        lines = done.stdout.splitlines()
        self.exports = json.loads(lines[-1])["exports"]
        return lines

    def devices(self) -> tuple[api.MultipathDeviceEntry, ...]:
        """The disks as they are."""
        found: tuple[api.MultipathDeviceEntry, ...] = self.service.ask(api.DeviceList()).devices
        return found

    def statuses(self, device: int) -> list[str]:
        """Of the paths of a disk that are there."""
        return [path.status for path in self.devices()[device].paths]

    def sessions(self) -> tuple[api.SessionEntry, ...]:
        """The sessions as they are."""
        found: tuple[api.SessionEntry, ...] = self.service.ask(api.SessionList()).sessions
        return found

    def carried(self, work: Work) -> list[bool]:
        """Whether each way carries some of the work that is done from now on."""
        before, done = [way.passed for way in self.ways], work.done
        until(lambda: work.done >= done + 100, f"the work goes on: {work.failure}")
        return [way.passed - was > 16384 for way, was in zip(self.ways, before, strict=True)]


@contextmanager
def scene(folder: Path, luns: int = 2, size: int = 1 << 20, **settings: SettingValue) -> Iterator[Scene]:
    """A service in a folder that is ready, and a target. settings: of the driver."""
    store_settings(folder / "store", StoredSettings(driver={**DRIVER, **settings}))
    with ExitStack() as stack:
        ways = [stack.enter_context(Forwarder(0)) for _ in range(WAYS)]
        disk = LunConfig(size=Size(size))
        config = TargetConfig(
            targets=[TargetNode(name=TARGET, luns=dict.fromkeys(range(luns), disk))],
            portals=[PortalConfig(address="127.0.0.1:0", advertised=f"127.0.0.1:{way.port}") for way in ways],
        )
        endpoints = stack.enter_context(config_served(config))
        for way, endpoint in zip(ways, endpoints, strict=True):
            way.lead_to(endpoint.port)
        service = Running(folder)
        try:
            yield Scene(service, ways)
        finally:
            service.process.kill()
            service.end()


class Work:
    """Blocks that are written and read back at an NBD export, by several clients at once, until the end of the `with`
    statement; then all of the disk is compared. done: requests so far; failure: what went wrong.
    """

    def __init__(self, export: dict[str, Any], seed: int = 7) -> None:
        self.done = 0
        self.failure: Exception | None = None
        self._export = export
        self._seed = seed
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._ended.set()
        self._thread.join(PATIENCE)
        if kind is None and self.failure is not None:
            raise self.failure
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            asyncio.run(self._all())
        except Exception as error:  # noqa: BLE001 - it is raised where the work ends
            self.failure = error

    async def _all(self) -> None:
        size: int = self._export["size"]
        model = bytearray(size)
        await asyncio.gather(*(self._one(number, model) for number in range(WORKERS)))
        client = await NbdClient.at(self._export["socket"])
        assert await client.read(0, size) == model
        await client.close()

    async def _one(self, number: int, model: bytearray) -> None:
        client = await NbdClient.at(self._export["socket"], self._export["name"])
        dice = random.Random(self._seed + number)
        blocks = len(model) // 4096 // WORKERS
        while not self._ended.is_set():
            at = (number * blocks + dice.randrange(blocks)) * 4096
            data = dice.randbytes(4096)
            await client.write(at, data)
            model[at : at + 4096] = data
            assert await client.read(at, 4096) == data
            self.done += 2
        await client.close()
