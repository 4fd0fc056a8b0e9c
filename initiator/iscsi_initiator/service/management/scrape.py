"""Metrics over HTTP: prometheus-client answers, on a thread, with bounds on how many ask at once and for how long.

What it shows is collected in the service's event loop, so that nothing changes while it is looked at.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from socketserver import ThreadingMixIn
from threading import BoundedSemaphore, Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import make_wsgi_app
from prometheus_client.core import Metric

from iscsi_initiator.service.management.metrics import families, registry

if TYPE_CHECKING:
    from iscsi_initiator.service.core import Core

MAX_REQUESTS = 8
"""Requests at once; one more is closed unanswered."""

REQUEST_TIME = 5.0
"""Seconds that a request may take to come, and its metrics to be collected."""


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_TIME

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - the name is that of the method it replaces
        """Say nothing: a scrape is no event."""

    def get_stderr(self) -> Any:
        """Where a failure is written down with its traceback: nowhere, the caller is told 500."""
        return StringIO()

    def address_string(self) -> str:
        """The address alone, without asking for its name."""
        return str(self.client_address[0])


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._free = BoundedSemaphore(MAX_REQUESTS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind, without asking what this host is called."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin one, where there is room."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that goes away, or is too slow, is no failure of the service."""


class MetricsServer:
    """Answers at an address from `start` to `close`. Raises OSError where it cannot listen there."""

    def __init__(self, core: Core, host: str, port: int) -> None:
        self._core = core
        self._server = _Server((host, port))
        self._thread: Thread | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; its port is known here where 0 was asked for."""
        found = self._server.server_address
        return str(found[0]), int(found[1])

    def start(self) -> None:
        """Answer, from a running event loop."""
        loop = asyncio.get_running_loop()
        self._server.set_app(make_wsgi_app(registry(self._collector(loop)), disable_compression=True))
        self._thread = Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def _collector(self, loop: asyncio.AbstractEventLoop) -> Callable[[], list[Metric]]:
        async def collect() -> list[Metric]:
            return list(families(self._core))

        def ask() -> list[Metric]:
            work = asyncio.run_coroutine_threadsafe(collect(), loop)
            try:
                return work.result(REQUEST_TIME)
            finally:
                work.cancel()

        return ask

    async def close(self) -> None:
        """Answer no more."""
        if self._thread is not None:
            await asyncio.to_thread(self._server.shutdown)
            self._thread.join()
        with suppress(OSError):
            self._server.server_close()
