from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.heartbeat import DSA_SHA1, AuthenticationBlock, Heartbeat, Server, decode_block, heartbeat_of

PORTS = st.integers(0, 65535)
SERVERS = st.builds(Server, address=st.binary(min_size=16, max_size=16), tcp=PORTS, udp=PORTS)
HEARTBEATS = st.builds(
    Heartbeat,
    active=SERVERS,
    interval=st.integers(0, 2**32 - 1),
    counter=st.integers(0, 2**32 - 1),
    backups=st.lists(SERVERS, max_size=3).map(tuple),
    reserved=PORTS,
    rest=st.binary(max_size=8),
)


@given(HEARTBEATS)
def test_heartbeats_come_back(heartbeat: Heartbeat) -> None:
    made = heartbeat.message(2)
    assert made.function == 0x000E
    assert heartbeat_of(made) == heartbeat


@given(HEARTBEATS)
def test_a_heartbeat_that_ends_early_is_refused(heartbeat: Heartbeat) -> None:
    made = replace(heartbeat, rest=b"").message(2)
    for length in (0, len(made.payload) - 1):
        with pytest.raises(IsnsError):
            heartbeat_of(replace(made, payload=made.payload[:length]))


@given(st.integers(0, 2**64 - 1), st.binary(max_size=9), st.binary(max_size=20))
def test_authentication_blocks_come_back(timestamp: int, spi: bytes, authenticator: bytes) -> None:
    block = AuthenticationBlock(structure=DSA_SHA1, timestamp=timestamp, spi=spi, authenticator=authenticator)
    assert decode_block(block.encode()) == block


@pytest.mark.parametrize("cut", [5, 21, 30])
def test_a_block_whose_lengths_do_not_fit_is_refused(cut: int) -> None:
    data = AuthenticationBlock(structure=2, timestamp=1, spi=b"key", authenticator=bytes(10)).encode()
    with pytest.raises(IsnsError):
        decode_block(data[:cut])


def test_a_block_without_room_for_its_index_is_refused() -> None:
    data = bytearray(AuthenticationBlock(structure=2, timestamp=1, spi=b"key", authenticator=b"").encode())
    data[16:20] = (99).to_bytes(4)
    with pytest.raises(IsnsError):
        decode_block(bytes(data))
