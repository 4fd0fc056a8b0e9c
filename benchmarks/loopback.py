"""What the loopback gives to two Python processes that move the same bytes and know nothing of iSCSI.

    python benchmarks/loopback.py REQUEST RESPONSE     (the serving half; `Loopback` starts it)

Requests and responses are 48 bytes, and those of one way carry the transfer's data. The server answers all requests
that one receive brought with one send. That is the ceiling for either bundled end.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import suppress

from peers import PeerFailed
from workload import Workload

_HEADER = 48
_BUFFER = 1 << 20
_BUFFERS_PER_SEND = 1024


def serve(request: int, response: int) -> None:
    """Take one connection and answer until it ends, which may be a reset: answers are left over then. Prints the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        listener.settimeout(30)
        connection, _ = listener.accept()
    answer = [bytes(_HEADER), bytes(response - _HEADER)]
    with connection, suppress(ConnectionError):
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = bytearray(_BUFFER)
        held = 0
        while count := connection.recv_into(buffer):
            whole, held = divmod(held + count, request)
            if whole:
                send_all(connection, answer * whole)


def send_all(connection: socket.socket, buffers: list[bytes]) -> None:
    """Send all buffers, in as few calls as may be."""
    for start in range(0, len(buffers), _BUFFERS_PER_SEND):
        batch = buffers[start : start + _BUFFERS_PER_SEND]
        sent = connection.sendmsg(batch)
        if sent < sum(map(len, batch)):
            connection.sendall(b"".join(batch)[sent:])


class Loopback:
    """The loading half."""

    name = "bare loopback"

    def run(self, workload: Workload, seconds: float) -> float:
        """Transfers per second with `depth` requests on their way. Raises PeerFailed."""
        request = _HEADER + (workload.size if workload.write else 0)
        response = _HEADER + (0 if workload.write else workload.size)
        command = [sys.executable, __file__, str(request), str(response)]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            try:
                line = process.stdout.readline() if process.stdout else b""
                if not line:
                    raise PeerFailed("the loopback's other half did not start")
                with socket.create_connection(("127.0.0.1", int(line)), timeout=30) as connection:
                    return _load(connection, [bytes(_HEADER), bytes(request - _HEADER)], response, workload, seconds)
            finally:
                process.kill()


def _load(connection: socket.socket, request: list[bytes], response: int, workload: Workload, seconds: float) -> float:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = bytearray(_BUFFER)
    send_all(connection, request * workload.depth)
    done = held = 0
    started = now = time.perf_counter()
    while now < started + seconds:
        count = connection.recv_into(buffer)
        if not count:
            raise PeerFailed("the loopback's other half has ended")
        whole, held = divmod(held + count, response)
        if whole:
            send_all(connection, request * whole)
            done += whole
        now = time.perf_counter()
    return done / (now - started)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
