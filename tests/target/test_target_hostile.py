"""Garbage and half logins thrown at the target: it never fails, keeps nothing, and serves the next client."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import LoginRequest, ScsiCommand, TextRequest, encode
from iscsi_protocol.text import encode_pairs
from iscsi_target.completion import FileSlice
from iscsi_target.config import LunConfig, Size, TargetConfig, TargetNode
from iscsi_target.engine import TargetEngine
from iscsi_target.shell import close_devices, make_engine

NAME = "iqn.2026-11.org.example:hostile"
KEYS = [("InitiatorName", "iqn.2026-11.org.example:someone"), ("TargetName", NAME), ("SessionType", "Normal")]
LOGIN = encode(
    LoginRequest(transit=True, csg=1, nsg=3, isid=b"\x80\0\0\0\0\1", itt=1, cmd_sn=1, data=encode_pairs(KEYS))
)
LOCAL, REMOTE = Endpoint("127.0.0.1", 3260), Endpoint("127.0.0.1", 50000)


class Server:
    """An engine whose clients come one after the other."""

    def __init__(self) -> None:
        node = TargetNode(name=NAME, luns={0: LunConfig(size=Size(1 << 20))})
        made, self.devices = make_engine(TargetConfig(targets=[node]), random_bytes=random.Random(1).randbytes)
        self.engine: TargetEngine = made
        self.now = 0.0

    def throw(self, *pieces: bytes) -> bytes:
        """Send pieces over a connection of their own, which then is lost; what came back."""
        number = self.engine.connection_made(LOCAL, REMOTE, self.now)
        answer = bytearray()
        for piece in pieces:
            if number in self.engine.connections:
                self.engine.receive(number, piece, self.now)
                answer += b"".join(
                    bytes(part) for part in self.engine.data_to_send(number) if not isinstance(part, FileSlice)
                )
            for work in self.engine.work_to_do():
                self.engine.work_done(work.token, work.run(), self.now)
        if number in self.engine.connections:
            self.engine.connection_lost(number, "RST", self.now)
        self.now += 100.0
        self.engine.handle_timer(self.now)
        while self.engine.poll_event() is not None:
            pass
        return bytes(answer)

    def check(self) -> None:
        """Nothing is left of anybody, and a proper client gets in."""
        assert list(self.engine.connections) == []
        assert self.engine.sessions == []
        answer = self.throw(LOGIN.to_bytes())
        assert answer[0] == 0x23
        assert answer[36] == 0
        assert answer[1] & 0x83 == 0x83

    def close(self) -> None:
        """Give back what the devices hold."""
        close_devices(self.devices)


def test_ten_megabytes_of_garbage() -> None:
    server = Server()
    noise = random.Random(10)
    for _ in range(160):
        server.throw(*(noise.randbytes(8192) for _ in range(8)))
    server.check()
    server.close()


def test_every_prefix_of_a_login() -> None:
    server = Server()
    whole = LOGIN.to_bytes()
    for length in range(len(whole)):
        server.throw(whole[:length])
    server.check()
    server.close()


def test_every_prefix_of_a_login_then_garbage() -> None:
    server = Server()
    whole = LOGIN.to_bytes()
    noise = random.Random(11)
    for length in range(len(whole)):
        server.throw(whole[:length] + noise.randbytes(200))
    server.check()
    server.close()


PDUS = st.builds(
    lambda header, data: (
        header[:4] + bytes([0]) + len(data).to_bytes(3, "big") + header[8:] + data + bytes(-len(data) % 4)
    ),
    st.binary(min_size=48, max_size=48),
    st.binary(max_size=300),
)


@given(st.lists(PDUS | st.binary(max_size=200), max_size=8), st.booleans())
def test_well_framed_nonsense(pieces: list[bytes], logged_in: bool) -> None:
    """Framed PDUs with random contents, in full feature phase or before it."""
    server = Server()
    server.throw(*([LOGIN.to_bytes()] if logged_in else []), *pieces)
    server.check()
    server.close()


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=64), st.integers(0, 2**32 - 1), st.booleans())
def test_random_commands(cdb: bytes, data: bytes, length: int, write: bool) -> None:
    server = Server()
    command = ScsiCommand(
        read=not write,
        write=write,
        itt=9,
        cmd_sn=1,
        expected_data_transfer_length=length,
        cdb=cdb,
        data=data if write else b"",
    )
    text = TextRequest(itt=10, cmd_sn=2, data=data)
    server.throw(LOGIN.to_bytes(), encode(command).to_bytes(), encode(text).to_bytes())
    server.check()
    server.close()
