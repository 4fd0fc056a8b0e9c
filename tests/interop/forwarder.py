"""A TCP forwarder on the loopback, which the test cuts when it likes."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Self

_RESET = struct.pack("ii", 1, 0)
_CHUNK = 1 << 16
NEVER = 1 << 62


class Forwarder:
    """Passes connections on to a port. cut_after: bytes, of both directions and all connections together, behind which every
    connection is reset, once; then_deaf: and nothing is accepted any more.
    """

    def __init__(self, port: int, *, cut_after: int = NEVER, then_deaf: bool = False) -> None:
        self.passed = 0
        self.cuts = 0
        self._upstream = port
        self._cut_after = cut_after
        self._then_deaf = then_deaf
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop_listening()
        self._reset_all()
        for thread in self._threads:
            thread.join(10)

    def lead_to(self, port: int) -> None:
        """Pass what connects from now on to another port."""
        self._upstream = port

    def cut(self) -> None:
        """Reset every connection, and accept none until `mend`."""
        self._stop_listening()
        self._reset_all()

    def mend(self) -> None:
        """Accept connections again, at the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start(self._accept)

    def _start(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        listener = self._listener
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(("127.0.0.1", self._upstream))
                with self._lock:
                    self._open |= {near, far}
                self._start(self._pass, near, far)
                self._start(self._pass, far, near)

    def _pass(self, source: socket.socket, drain: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                drain.sendall(data)
                self._count(len(data))
            drain.shutdown(socket.SHUT_WR)

    def _count(self, length: int) -> None:
        with self._lock:
            self.passed += length
            due = not self.cuts and self.passed >= self._cut_after
            self.cuts += due
        if due:
            if self._then_deaf:
                self._stop_listening()
            self._reset_all()

    def _reset_all(self) -> None:
        with self._lock:
            connections, self._open = self._open, set()
        for each in connections:
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                # Another thread waits in recv(): a close alone would wait for it.
                each.shutdown(socket.SHUT_RD)
            each.close()
