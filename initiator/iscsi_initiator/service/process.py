"""The service as a process: store, socket, signals, and what it tells systemd (sd_notify(3)).

It serves from the moment on that its store is open, also while it starts; READY=1 is told when the start is complete.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from iscsi_initiator.eventlog import EventLogWriter
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.journal import Journal
from iscsi_initiator.service.listener import Listener
from iscsi_initiator.service.operations import carry_out
from iscsi_initiator.service.place import exports_beside
from iscsi_initiator.service.startup import (
    LOGIN_TIME,
    Start,
    StartFailed,
    listen,
    make_core,
    open_metrics,
    open_store,
    prepare,
)
from iscsi_initiator.service.tracing import open_debug_log
from iscsi_initiator.settings import Settings
from iscsi_initiator.store.keys import KeySource

STOP_TIME = 30.0
"""Seconds that requests and logouts have when the service is told to stop."""

Say = Callable[[str], None]
Measured = Callable[[tuple[str, int]], None]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a service has its things. keys: where the key for its secrets is, None for a file beside the store; addresses:
    of the software initiator's ports; adapters: entry point to argument; settings: instead of those that are stored;
    boot_table: an image to start from; metrics: host and port for Prometheus to ask at, None for nowhere.
    """

    store: Path
    socket: Path
    event_log: Path
    keys: KeySource | None = None
    addresses: tuple[str, ...] = ()
    adapters: Mapping[str, str] = field(default_factory=dict)
    settings: Settings | None = None
    login_time: float = LOGIN_TIME
    boot_table: bytes | None = None
    metrics: tuple[str, int] | None = None


def notify(message: str, environment: Mapping[str, str] = os.environ) -> None:
    """Tell systemd, where it started us, in the form NAME=VALUE."""
    where = environment.get("NOTIFY_SOCKET", "")
    if not where:
        return
    address = "\0" + where[1:] if where.startswith("@") else where
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.sendto(message.encode(), address)


async def serve(
    place: Place, ready: Callable[[], None], complain: Say, measured: Measured = lambda _address: None
) -> None:
    """Be the service until it is told to stop, by SIGTERM, SIGINT or StopService.

    ready: called when the start is complete; complain: takes lines about what goes wrong; measured: told beforehand at
    which host and port metrics are asked for. Raises StartFailed.
    """
    with ExitStack() as stack:
        writer = EventLogWriter(place.event_log)
        stack.callback(writer.close)
        journal = Journal(writer)
        store = stack.enter_context(open_store(place.store, journal, place.keys))
        core = make_core(
            store, journal, addresses=place.addresses, settings=place.settings, exports=exports_beside(place.socket)
        )
        core.say = complain
        stack.callback(core.release)
        try:
            log = open_debug_log(core.service_settings, core.teller)
        except ValueError as error:
            complain(str(error))
        else:
            if log is not None:
                stack.callback(log.close)
        stack.callback(core.traces.close)
        prepare(core, place.adapters)
        await _run(core, place, ready, complain, measured)


async def _run(core: Core, place: Place, ready: Callable[[], None], complain: Say, measured: Measured) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    core.stop_wanted = stopped.set

    def defect(error: Exception) -> None:
        complain(f"{type(error).__name__}: {error}")

    listener = Listener(place.socket, partial(carry_out, core), defect=defect)
    metrics = None if place.metrics is None else open_metrics(core, *place.metrics)
    try:
        await listen(core.journal, listener)
    except StartFailed:
        if metrics is not None:
            await metrics.close()
        raise
    if metrics is not None:
        metrics.start()
        measured(metrics.address)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    start = Start(core, login_time=place.login_time, boot_table=place.boot_table)
    starting = loop.create_task(start.run())
    waiting = loop.create_task(stopped.wait())
    try:
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            if core.trouble is not None:
                complain(str(core.trouble))
                notify(f"STATUS={core.trouble}")
            if not stopped.is_set():
                notify("READY=1")
                ready()
            await waiting
    finally:
        core.state = "stopping"
        notify("STOPPING=1")
        for task in (starting, waiting):
            task.cancel()
        start.stop()
        await listener.close(STOP_TIME)
        await core.attachments.close()
        await core.paths.close()
        if metrics is not None:
            await metrics.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIME):
                await asyncio.gather(*(session.logout() for session in core.sessions.values()))
        await core.servers.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
