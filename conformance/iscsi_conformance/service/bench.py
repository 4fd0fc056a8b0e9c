"""The service under test: its core over a store in a folder of the case, the bundled target in memory, time that the loop
makes up. Requests come as lines and answers leave as lines, as on its socket.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from iscsi_conformance.bundled import PLAIN, bundled_config
from iscsi_conformance.pipe import MemoryConnector
from iscsi_conformance.provocation import BundledOperator
from iscsi_conformance.verdict import Failed, Inconclusive, require
from iscsi_initiator.discovery.adapters import PlugIn
from iscsi_initiator.eventlog import EventLogWriter, LogReader
from iscsi_initiator.service import api
from iscsi_initiator.service.answering import Answering
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.wire import NoRequest, decode_answer, encode_request
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.journal import Journal
from iscsi_initiator.service.listener import Listener
from iscsi_initiator.service.live import LiveSession
from iscsi_initiator.service.operations import carry_out
from iscsi_initiator.service.policy import CONFORMING, ServicePolicy
from iscsi_initiator.service.startup import Start, StartFailed, listen, make_core, open_metrics, open_store, prepare
from iscsi_initiator.settings import Settings
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store import State, Store
from iscsi_initiator.store.state import Portal
from iscsi_protocol.eventlog import SERVICE_SOURCE, SOURCE, LoggedEvent
from iscsi_protocol.fault import Fault, NamedFault
from iscsi_target.config import TargetConfig
from iscsi_target.loopback import MemoryPortal
from iscsi_target.shell.serving import close_devices, make_engine

HOST = Portal(address="127.0.0.1", port=3260)
QUICK = Settings(portal_retry_count=0, network_ready_retry_count=0)
CLAIMS = f"iscsi-conformance-{os.getpid()}"
"""Node names are claimed from the services of this process alone, so that runs do not meet each other."""
NOTES = 60
SHOWN = 300

Request = Operation[Any] | Mapping[str, object]
"""What is asked: a struct of the API, or an object as it stands on the wire, for values that no struct takes."""


def raw(operation: str, **fields: object) -> dict[str, object]:
    """A request as it stands on the wire, whatever its values."""
    return {"op": operation, **fields}


@dataclass(kw_only=True)
class Setting:
    """What a service is started with. state: what its store has; settings: None for those of the store; target: the server
    behind the portal, with its faults; plug_ins: adapters of its own; before: called with the store once it is open; options:
    what else the core takes.
    """

    state: State | None = None
    settings: Settings | None = QUICK
    target: TargetConfig | None = None
    faults: Sequence[Fault] = ()
    plug_ins: Mapping[str, PlugIn] = field(default_factory=dict)
    before: Callable[[Store], None] = lambda _store: None
    options: Mapping[str, Any] = field(default_factory=dict)


class ServiceBench:
    """Starts services for a case, in folders of their own. about: the code or event that the case is about; fault: what the
    service does wrong; notes: takes what is asked and answered.
    """

    def __init__(self, about: str, fault: NamedFault | None, notes: list[str]) -> None:
        switches: dict[str, Any] = dict(fault.policy) if fault else {}
        self.about = about
        self.policy = ServicePolicy(**switches) if switches else CONFORMING
        self._notes = notes
        self._stack = ExitStack()
        self.folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="iscsi-service-")))
        self._logs: list[Path] = []

    async def start(self, folder: str = "one", **setting: Any) -> Running:
        """A service that is prepared and has asked nobody yet; see Setting. Raises StartFailed."""
        wanted = Setting(
            options={name: value for name, value in setting.items() if name not in Setting.__dataclass_fields__},
            **{name: value for name, value in setting.items() if name in Setting.__dataclass_fields__},
        )
        return self._stack.enter_context(Running(self, self.folder / folder, wanted))

    def journal(self, folder: Path) -> Journal:
        """The log of a service in this folder."""
        path = folder / "events.jsonl"
        if path not in self._logs:
            self._logs.append(path)
        writer = EventLogWriter(path)
        self._stack.callback(writer.close)
        return Journal(writer, policy=self.policy)

    def note(self, line: str) -> None:
        """Keep a line as evidence."""
        if len(self._notes) < NOTES:
            self._notes.append(line[:SHOWN])

    def logged(self, source: str | None = None) -> list[LoggedEvent]:
        """What all services of the case logged, of one source or of both."""
        return [each for path in self._logs for each in _read(path) if source in (None, each.source)]

    def events(self, source: str = SOURCE) -> list[int]:
        """The ids of the driver's events, or of those of another source."""
        return [each.record.id for each in self.logged(source)]

    def require_events(self, *wanted: tuple[int | str | re.Pattern[str], ...], source: str = SERVICE_SOURCE) -> None:
        """These events of the service were logged and no others: id and insertion strings, a pattern for one that has to
        match as a whole. Raises Failed.
        """
        told: list[tuple[int | str, ...]] = [(each.record.id, *each.inserts) for each in self.logged(source)]
        same = len(told) == len(wanted) and all(map(_matches, wanted, told))
        due = "; ".join(" ".join(_text(each) for each in row) for row in wanted) or "nothing"
        require(same, self.about, f"the log has {due}", seen=told)

    def close(self) -> None:
        """End all services."""
        self._stack.close()


class Running:
    """One service. core: what it knows; connector: its network, with the bundled target behind it."""

    def __init__(self, bench: ServiceBench, folder: Path, setting: Setting) -> None:
        self.bench = bench
        self.folder = folder
        self._stack = ExitStack()
        self._starts: list[Start] = []
        with ExitStack() as stack:
            self.core, self.connector, self._operator = self._bring_up(stack, setting)
            self._stack = stack.pop_all()
        self._answering = Answering(self.perform, self._defect, bench.policy)

    def _bring_up(self, stack: ExitStack, setting: Setting) -> tuple[Core, MemoryConnector, BundledOperator]:
        config = setting.target or bundled_config()
        engine, devices = make_engine(config, random_bytes=random.Random(1).randbytes)
        stack.callback(close_devices, devices)
        portal = MemoryPortal(engine, config.portals, faults=setting.faults)
        stack.callback(portal.close)
        connector = MemoryConnector(portal)
        journal = self.bench.journal(self.folder)
        store = stack.enter_context(open_store(self.folder / "store", journal))
        if setting.state is not None:
            store.put(setting.state)
        setting.before(store)
        arguments: dict[str, Any] = {
            "connectors": lambda: connector,
            "host": lambda: ("bench", "example.org"),
            "in_thread": _at_once,
            "claims": CLAIMS,
            **setting.options,
        }
        core = make_core(
            store, journal, settings=setting.settings, random_bytes=random.Random(2).randbytes, **arguments
        )
        stack.callback(core.release)
        prepare(core, {}, setting.plug_ins)
        return core, connector, BundledOperator(engine, portal.driver)

    def __enter__(self) -> Running:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, without a logout."""
        for start in self._starts:
            start.stop()
        for session in list(self.core.sessions.values()):
            session.client.abort()
        self._stack.close()

    async def perform(self, request: Operation[Any]) -> api.Answer | api.Stream:
        """Do what is asked, as the operations do it. Raises Refused."""
        return await carry_out(self.core, request)

    def _defect(self, error: Exception) -> None:
        self.bench.note(f"the service failed: {type(error).__name__}: {error}")

    # Asking.

    async def _exchange(self, request: Request) -> tuple[int, bytes]:
        """The status of the answer, and its line."""
        if isinstance(request, Mapping):
            line, shown = msgspec.json.encode(request), f"{request['op']} with {', '.join(request)}"
        else:
            line, shown = encode_request(request), _shown(request)
        self.bench.note(f"asked: {shown}")
        try:
            answer = await self._answering.answer(line)
        except NoRequest as error:
            answer = self._answering.refusal(api.failure_of(error))
        if not isinstance(answer, bytes):
            raise TypeError(f"{shown} has a stream of answers")
        status: int = msgspec.json.decode(answer)["status"]
        self.bench.note(f"answered: {_name(status)}: {answer.decode().rstrip()}")
        return status, answer

    async def ask(self, request: Operation[Any]) -> Any:
        """The answer to a request on the way to what the case is about. Raises Inconclusive for an error code."""
        status, line = await self._exchange(request)
        if status and not StatusCode(status).is_warning:
            raise Inconclusive(f"{type(request).__name__} is answered with {StatusCode(status).text}")
        return decode_answer(line, type(request))

    async def gets(self, request: Request, code: StatusCode | None) -> dict[str, Any]:
        """The operation is answered with this code, None for success; the answer as it stands on the wire. Raises Failed."""
        status, line = await self._exchange(request)
        name = request["op"] if isinstance(request, Mapping) else type(request).__name__
        due = f"{name} is answered with {_name(code or 0)}"
        require(status == (code or 0), self.bench.about, due, seen=_name(status))
        answer: dict[str, Any] = msgspec.json.decode(line)
        return answer

    async def does(self, request: Request) -> dict[str, Any]:
        """The operation is done, with neither an error nor a warning. Raises Failed."""
        return await self.gets(request, None)

    # On the way.

    def mend(self) -> None:
        """The target has no faults on the connections to come."""
        self._operator.mend()

    async def discover(self) -> None:
        """Have the portal asked."""
        await self.ask(api.AddTargetPortal(portal=HOST))

    async def knows(self, name: str = PLAIN, **fields: Any) -> None:
        """Have a target entered by hand, at the portal unless said otherwise."""
        await self.ask(api.AddTarget(**{"target_name": name, "portal": HOST, **fields}))

    async def log_in(self, name: str = PLAIN, **fields: Any) -> LiveSession:
        """Have a session made to a target that is known."""
        answer = await self.ask(api.LoginTarget(target_name=name, **fields))
        return self.core.session(answer.session_id)

    async def go_through_start(self, **options: Any) -> None:
        """Have the service go through the checkpoints of its start that take time; see Start."""
        start = Start(self.core, **options)
        self._starts.append(start)
        await start.run()

    async def listens(self, path: Path) -> None:
        """Have the service listen at a socket, where nobody calls, and leave it again. Raises StartFailed."""
        listener = Listener(path, self.perform, defect=self._defect)
        await listen(self.core.journal, listener)
        await listener.close()

    async def offers_metrics(self, host: str, port: int) -> None:
        """Have the service take the place where metrics are asked for, and leave it again. Raises StartFailed."""
        await open_metrics(self.core, host, port).close()


async def cannot_start(bench: ServiceBench, begun: Awaitable[object]) -> None:
    """A service that is begun, or goes through a checkpoint, does not start. Raises Failed."""
    try:
        await begun
    except StartFailed as error:
        bench.note(str(error))
    else:
        raise Failed(bench.about, "the service does not start")


async def _at_once(work: Callable[[], Any]) -> Any:
    """Adapters of a case do not block."""
    return work()


def _name(status: int) -> str:
    return StatusCode(status).text if status else "success"


def _shown(request: Operation[Any]) -> str:
    """A request with what is said in it, without its secrets."""
    defaults = {each.name: each.default for each in msgspec.structs.fields(request)}
    said = [(name, value) for name, value in request.__rich_repr__() if value != defaults[name]]
    return f"{type(request).__name__}({', '.join(f'{name}={value!r}' for name, value in said)})"


def _read(path: Path) -> list[LoggedEvent]:
    if not path.exists():
        return []
    reader = LogReader(path)
    try:
        return [each for each in reader.read() if isinstance(each, LoggedEvent)]
    finally:
        reader.close()


def _matches(wanted: tuple[int | str | re.Pattern[str], ...], told: tuple[int | str, ...]) -> bool:
    return len(wanted) == len(told) and all(
        bool(each.fullmatch(str(one))) if isinstance(each, re.Pattern) else each == one
        for each, one in zip(wanted, told, strict=True)
    )


def _text(wanted: int | str | re.Pattern[str]) -> str:
    return wanted.pattern if isinstance(wanted, re.Pattern) else str(wanted)
