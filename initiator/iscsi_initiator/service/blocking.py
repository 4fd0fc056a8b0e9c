"""Ask the service and wait for the answer, without an event loop."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from iscsi_initiator.interrupts import LOOK_INTERVAL
from iscsi_initiator.service.api.answers import Answer
from iscsi_initiator.service.api.management import Notice, Watch
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.wire import MAX_ANSWER, encode_request
from iscsi_initiator.service.place import read_answer, silent, unreachable

A = TypeVar("A", bound=Answer)
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class BlockingClient:
    """Speaks to the service at a socket. timeout: seconds that nothing may come for, None for as long as it takes."""

    path: Path
    timeout: float | None = None

    def ask(self, request: Operation[A]) -> A:
        """One request over a connection of its own. Raises Refused, RequestFailed where the service says why.

        SERVICE_NOT_RUNNING: nothing listens there, or it went away; SERVICE_DID_NOT_RESPOND: nothing came in time, or no
        answer.
        """
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self.timeout)
                connection.connect(str(self.path))
                connection.sendall(encode_request(request))
                line = _read_line(connection)
        except TimeoutError as error:
            raise silent(self.timeout) from error
        except OSError as error:
            raise unreachable(self.path, error) from error
        return read_answer(line, request, self.path)

    def watch(self, request: Watch, interrupted: Callable[[], bool] = lambda: False) -> Iterator[Notice]:
        """The events of management classes as they happen, until the service ends, or it was interrupted; the first notice,
        of no class, says that nothing is missed from then on. Raises Refused as `ask`; the end of the service is
        SERVICE_NOT_RUNNING.
        """
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self.timeout)
                connection.connect(str(self.path))
                connection.sendall(encode_request(request))
                came = bytearray()
                while self._line_came(connection, came, interrupted):
                    length = came.find(b"\n") + 1 or len(came)
                    line = bytes(came[:length])
                    del came[:length]
                    yield read_answer(line, request, self.path)
        except TimeoutError as error:
            raise silent(self.timeout) from error
        except OSError as error:
            raise unreachable(self.path, error) from error

    def _line_came(self, connection: socket.socket, came: bytearray, interrupted: Callable[[], bool]) -> bool:
        """Wait for the next line, or the end of the connection, or more than an answer may have; False for an interrupt."""
        left = self.timeout
        while not interrupted():
            if b"\n" in came or len(came) > MAX_ANSWER:
                return True
            turn = LOOK_INTERVAL if left is None else min(left, LOOK_INTERVAL)
            connection.settimeout(turn)
            try:
                piece = connection.recv(_PIECE)
            except TimeoutError:
                if left is not None:
                    left -= turn
                    if left <= 0:
                        raise
                continue
            if not piece:
                return True
            came += piece
            left = self.timeout
        return False


def _read_line(connection: socket.socket) -> bytes:
    """Up to the end of the first line, of the connection, or of what an answer may have."""
    line = bytearray()
    while len(line) <= MAX_ANSWER and not line.endswith(b"\n"):
        piece = connection.recv(_PIECE)
        if not piece:
            break
        line += piece
    return bytes(line)
