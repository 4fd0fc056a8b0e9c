"""A service without process and socket: its core over a store in the test's folder, the bundled target in memory, and time
that the loop makes up.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from iscsi_conformance.bundled import PLAIN, bundled_config
from iscsi_conformance.pipe import MemoryConnector
from iscsi_conformance.virtual import run_virtual
from iscsi_initiator.eventlog import EventLogWriter, LogReader
from iscsi_initiator.service import api
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.journal import Journal
from iscsi_initiator.service.live import LiveSession
from iscsi_initiator.service.operations import perform
from iscsi_initiator.service.startup import prepare
from iscsi_initiator.settings import Settings
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import State, Store
from iscsi_initiator.store.state import Portal
from iscsi_protocol.eventlog import LoggedEvent
from iscsi_protocol.fault import Fault
from iscsi_target.config import TargetConfig
from iscsi_target.loopback import MemoryPortal
from iscsi_target.shell.serving import close_devices, make_engine

HOST = Portal(address="127.0.0.1", port=3260)
QUICK = Settings(portal_retry_count=0, network_ready_retry_count=0)
DEAD = Portal(address="192.0.2.99")
CLAIMS = f"iscsi-initiator-test-{os.getpid()}"
"""Node names are claimed from the services of this process alone."""


class Bench:
    """The service under test, and what a test asks of it."""

    def __init__(self, core: Core, connector: MemoryConnector, log: Path) -> None:
        self.core = core
        self.connector = connector
        self._log = log

    async def ask(self, request: Any) -> Any:
        """The answer to a request, by way of the form that it has on the socket."""
        return await perform(self.core, msgspec.json.decode(msgspec.json.encode(request), type=type(request)))

    async def refused(self, request: Any) -> StatusCode:
        """The code with which a request is refused."""
        with pytest.raises(Refused) as refused:
            await self.ask(request)
        return StatusCode(refused.value.status)

    async def discover(self) -> None:
        """Have the portal asked."""
        await self.ask(api.AddTargetPortal(portal=HOST))

    async def log_in(self, name: str = PLAIN, **fields: Any) -> LiveSession:
        """Have a session made to a target that is known."""
        answer = await self.ask(api.LoginTarget(target_name=name, **fields))
        return self.core.session(answer.session_id)

    def events(self, source: str = "MSiSCSI") -> list[int]:
        """The events of a source so far."""
        return [event.record.id for event in self.logged() if event.source == source]

    def logged(self) -> list[LoggedEvent]:
        """Everything that was logged so far."""
        if not self._log.exists():
            return []
        reader = LogReader(self._log)
        try:
            return [each for each in reader.read() if isinstance(each, LoggedEvent)]
        finally:
            reader.close()


Test = Callable[[Bench], Awaitable[None]]


def with_service(
    folder: Path,
    test: Test,
    *,
    state: State | None = None,
    settings: Settings | None = QUICK,
    target: TargetConfig | None = None,
    faults: Sequence[Fault] = (),
    adapters: dict[str, str] | None = None,
    virtual: bool = True,
    **options: Any,
) -> None:
    """Run a test over a service that is prepared and has asked nobody yet. state: what its store has."""

    async def run() -> None:
        config = target or bundled_config()
        engine, devices = make_engine(config, random_bytes=random.Random(1).randbytes)
        portal = MemoryPortal(engine, config.portals, faults=faults)
        connector = MemoryConnector(portal)
        writer = EventLogWriter(folder / "events.jsonl")
        with Store(folder / "store") as store:
            if state is not None:
                store.put(state)
            arguments: dict[str, Any] = {"connectors": lambda: connector, "host": lambda: ("bench", "example.org")}
            arguments |= {"claims": CLAIMS, **options}
            core = Core(store, Journal(writer), settings=settings, random_bytes=random.Random(2).randbytes, **arguments)
            try:
                prepare(core, adapters or {})
                await test(Bench(core, connector, folder / "events.jsonl"))
            finally:
                for session in list(core.sessions.values()):
                    session.client.abort()
                core.release()
                portal.close()
                close_devices(devices)
                writer.close()

    if virtual:
        run_virtual(run())
    else:
        asyncio.run(run())
