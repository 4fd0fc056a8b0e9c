"""TCP around a recorded history: right checksums and numbers, and the recorded bytes unchanged."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iscsi_captures.segments import TcpFlag
from iscsi_captures.tcp import Conversation, Frame, TcpSynthesis
from iscsi_protocol.history import (
    BytesRecord,
    ConnectionTap,
    Endpoint,
    PduRecord,
    Record,
    SettingsRecord,
    TransportEvent,
    TransportRecord,
)
from iscsi_protocol.pdu import LoginRequest, LoginResponse, NopOut, RawPdu, encode, join
from iscsi_protocol.stream import Direction

INITIATOR, TARGET = Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 3260)
OUT, IN = Direction.TO_TARGET, Direction.TO_INITIATOR
SYN, SYN_ACK, ACK = TcpFlag.SYN, TcpFlag.SYN | TcpFlag.ACK, TcpFlag.ACK
PSH_ACK, FIN_ACK, RST_ACK = TcpFlag.PSH | TcpFlag.ACK, TcpFlag.FIN | TcpFlag.ACK, TcpFlag.RST | TcpFlag.ACK
MODULUS = 1 << 32


@dataclass(frozen=True)
class Segment:
    time: float
    source: str
    destination: str
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    options: bytes
    payload: bytes
    comments: tuple[str, ...]

    @property
    def length(self) -> int:
        return len(self.payload) + bool(self.flags & TcpFlag.SYN) + bool(self.flags & TcpFlag.FIN)


def ones_complement_sum(data: bytes) -> int:
    data += bytes(len(data) & 1)
    total = 0
    for (word,) in struct.iter_unpack("!H", data):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def parse(frame: Frame) -> Segment:
    time, data, comments = frame
    ether_type = data[12:14]
    if ether_type == b"\x08\x00":
        header, rest = data[14:34], data[34:]
        assert header[0] == 0x45
        assert header[9] == 6
        assert int.from_bytes(header[2:4], "big") == 20 + len(rest)
        assert ones_complement_sum(header) == 0xFFFF
        addresses = header[12:20]
        pseudo = addresses + struct.pack("!BBH", 0, 6, len(rest))
    else:
        assert ether_type == b"\x86\xdd"
        header, rest = data[14:54], data[54:]
        assert header[0] >> 4 == 6
        assert header[6] == 6
        assert int.from_bytes(header[4:6], "big") == len(rest)
        addresses = header[8:40]
        pseudo = addresses + struct.pack("!II", len(rest), 6)
    assert ones_complement_sum(pseudo + rest) == 0xFFFF
    half = len(addresses) // 2
    ends = [ipaddress.ip_address(addresses[:half]), ipaddress.ip_address(addresses[half:])]
    ports = struct.unpack("!HH", rest[:4])
    sequence, acknowledgement, offset, flags, window = struct.unpack("!IIBBH", rest[4:16])
    start = (offset >> 4) * 4
    source, destination = (f"{address} {port}" for address, port in zip(ends, ports, strict=True))
    return Segment(
        time, source, destination, sequence, acknowledgement, flags, window, rest[20:start], rest[start:], comments
    )


def synthesise(records: Iterable[Record], mtu: int = 1500) -> list[Segment]:
    synthesis = TcpSynthesis(mtu)
    frames = [frame for record in records for frame in synthesis.record(record)]
    return [parse(frame) for frame in [*frames, *synthesis.flush()]]


def check_numbers(segments: Iterable[Segment]) -> None:
    """Every segment starts where its sender's last one ended, and acknowledges exactly what the other side sent."""
    following: dict[tuple[str, str], int] = {}
    for segment in segments:
        way, back = (segment.source, segment.destination), (segment.destination, segment.source)
        if segment.flags & SYN:
            following[way] = segment.sequence
        if segment.flags == SYN:
            following.pop(back, None)
        assert segment.sequence == following.get(way, 0)
        following[way] = (segment.sequence + segment.length) % MODULUS
        if segment.flags & ACK:
            assert segment.acknowledgement == following.get(back, 0)


def streams(segments: Iterable[Segment]) -> dict[tuple[str, str], bytes]:
    found: dict[tuple[str, str], bytes] = {}
    for segment in segments:
        way = (segment.source, segment.destination)
        found[way] = found.get(way, b"") + segment.payload
    return found


def transport(
    event: TransportEvent, time: float = 1.0, *, number: int = 1, direction: Direction = IN
) -> TransportRecord:
    return TransportRecord(number, time, event, INITIATOR, TARGET, direction)


def pdu(direction: Direction = OUT, time: float = 1.0, data: bytes = b"", number: int = 1) -> PduRecord:
    return PduRecord(number, time, direction, encode(NopOut(data=data)))


def leftover(direction: Direction, data: bytes = b"rest", number: int = 1) -> BytesRecord:
    return BytesRecord(number, 1.0, direction, data, "the stream ended within a PDU")


def flags(segments: Iterable[Segment]) -> list[tuple[int, bool]]:
    """Flags, and whether the initiator sent it."""
    return [(segment.flags, segment.destination.endswith(" 3260")) for segment in segments]


TWO_REFUSALS = [transport(TransportEvent.REFUSED, number=number) for number in (1, 2)]
"""The second between the ends of the first."""


def test_connection_is_opened_used_and_closed():
    segments = synthesise(
        [
            transport(TransportEvent.CONNECT, 1.0),
            transport(TransportEvent.CONNECTED, 1.5),
            pdu(OUT, 2.0),
            pdu(IN, 3.0),
            transport(TransportEvent.CLOSED_BY_US, 4.0),
            transport(TransportEvent.FIN, 5.0, direction=IN),
        ]
    )
    assert flags(segments) == [
        (SYN, True),
        (SYN_ACK, False),
        (ACK, True),
        (PSH_ACK, True),
        (PSH_ACK, False),
        (FIN_ACK, True),
        (ACK, False),
        (FIN_ACK, False),
        (ACK, True),
    ]
    assert [segment.time for segment in segments] == [1.0, 1.5, 1.5, 2.0, 3.0, 4.0, 4.0, 5.0, 5.0]
    assert segments[0].source == "10.0.0.1 40000"
    assert [segment.options.hex() for segment in segments[:3]] == ["020405b401030307"] * 2 + [""]
    check_numbers(segments)


def test_port_learnt_with_the_connection_stands_in_its_syn():
    attempt = TransportRecord(1, 1.0, TransportEvent.CONNECT, None, TARGET)
    segments = synthesise([attempt, TransportRecord(1, 1.5, TransportEvent.CONNECTED, INITIATOR, TARGET)])
    assert [(segment.time, segment.source) for segment in segments][:2] == [
        (1.0, "10.0.0.1 40000"),
        (1.5, "10.0.0.2 3260"),
    ]


@pytest.mark.parametrize("known", [INITIATOR, None])
def test_refused_connection_is_a_syn_and_a_reset(known):
    attempt = TransportRecord(1, 1.0, TransportEvent.CONNECT, known, TARGET)
    segments = synthesise([attempt, TransportRecord(1, 2.0, TransportEvent.REFUSED)])
    assert flags(segments) == [(SYN, True), (RST_ACK, False)]
    assert [segment.time for segment in segments] == [1.0, 2.0]
    check_numbers(segments)


@pytest.mark.parametrize("event", [TransportEvent.TIMED_OUT, TransportEvent.UNREACHABLE])
def test_unanswered_attempt_is_a_syn_and_a_comment_on_what_follows(event):
    synthesis = TcpSynthesis()
    attempt = TransportRecord(1, 1.0, TransportEvent.CONNECT, None, TARGET)
    frames = [*synthesis.record(attempt), *synthesis.record(transport(event, 9.0))]
    assert flags(map(parse, frames)) == [(SYN, True)]
    assert synthesis.take_comments() == [f"connection 1: {event.value}"]
    assert synthesis.take_comments() == []


@pytest.mark.parametrize("known", [INITIATOR, None])
@pytest.mark.parametrize("event", [TransportEvent.CLOSED_BY_US, TransportEvent.RST, TransportEvent.FIN])
def test_attempt_that_was_given_up_has_no_handshake(known, event):
    attempt = TransportRecord(1, 1.0, TransportEvent.CONNECT, known, TARGET)
    segments = synthesise([attempt, TransportRecord(1, 3.0, event, direction=OUT)])
    assert flags(segments) == [(SYN, True)]


@pytest.mark.parametrize("known", [INITIATOR, None])
def test_attempt_that_the_target_reset_is_a_refused_one(known):
    attempt = TransportRecord(1, 1.0, TransportEvent.CONNECT, known, TARGET)
    segments = synthesise([attempt, TransportRecord(1, 3.0, TransportEvent.RST, direction=IN)])
    assert flags(segments) == [(SYN, True), (RST_ACK, False)]
    check_numbers(segments)


def test_attempt_of_unknown_outcome_is_written_at_the_end():
    segments = synthesise([TransportRecord(1, 1.0, TransportEvent.CONNECT, None, TARGET)])
    assert flags(segments) == [(SYN, True)]


def test_reset_goes_the_way_it_went():
    for direction in Direction:
        segments = synthesise([pdu(OUT), transport(TransportEvent.RST, 2.0, direction=direction)])
        assert segments[-1].flags == RST_ACK
        assert segments[-1].window == 0
        assert segments[-1].destination.endswith(" 3260") is (direction is OUT)
        check_numbers(segments)


def test_second_close_of_a_side_writes_nothing():
    closings = [transport(TransportEvent.CLOSED_BY_US), transport(TransportEvent.FIN, direction=OUT)]
    segments = synthesise([pdu(IN), *closings, *closings, transport(TransportEvent.RST), transport(TransportEvent.RST)])
    assert [flag for flag, _ in flags(segments)][4:] == [FIN_ACK, ACK, RST_ACK]


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize(
    "closing",
    [
        transport(TransportEvent.FIN, direction=IN),
        transport(TransportEvent.FIN, direction=OUT),
        transport(TransportEvent.RST),
        transport(TransportEvent.CLOSED_BY_US),
    ],
)
def test_bytes_known_only_after_the_close_stand_before_it(direction, closing):
    segments = synthesise([pdu(OUT), pdu(IN), closing, leftover(direction)])
    (at,) = (index for index, segment in enumerate(segments) if segment.payload == b"rest")
    assert not any(segment.flags & (TcpFlag.FIN | TcpFlag.RST) for segment in segments[:at])
    assert segments[at].comments == ("the stream ended within a PDU",)
    check_numbers(segments)


def test_half_closed_connection_goes_on():
    segments = synthesise([pdu(OUT), transport(TransportEvent.FIN, direction=IN), pdu(OUT), pdu(OUT, number=2)])
    kinds = [flag for flag, _ in flags(segments)]
    assert kinds[3:7] == [PSH_ACK, FIN_ACK, ACK, PSH_ACK]
    check_numbers(segments)


def test_bytes_after_a_written_close_are_kept_and_marked():
    records: list[Record] = [pdu(OUT), transport(TransportEvent.FIN, direction=OUT), pdu(OUT, number=2), leftover(OUT)]
    segments = synthesise(records)
    assert segments[-1].payload == b"rest"
    assert segments[-1].comments[-1] == "recorded after this way of the connection was closed"


def test_settings_do_not_disturb_what_is_held():
    synthesis = TcpSynthesis()
    records: list[Record] = [pdu(OUT), transport(TransportEvent.FIN), SettingsRecord(1.0, {})]
    kinds = [parse(frame).flags for record in records for frame in synthesis.record(record)]
    assert kinds == [SYN, SYN_ACK, ACK, PSH_ACK]
    assert [parse(frame).flags for frame in synthesis.flush()] == [FIN_ACK, ACK]


def test_digest_errors_are_marked():
    raw = RawPdu(bytes(48), header_digest=b"abcd", header_digest_error=True, data_digest_error=True)
    *_, last = synthesise([PduRecord(1, 1.0, OUT, raw)])
    assert last.comments == ("header digest error", "data digest error")
    assert last.payload == bytes(48) + b"abcd"


def test_empty_bytes_leave_only_their_comment():
    synthesis = TcpSynthesis()
    assert list(synthesis.record(leftover(OUT, b""))) == []
    assert synthesis.take_comments() == ["connection 1: the stream ended within a PDU"]


@pytest.mark.parametrize(
    ("initiator", "target", "source", "destination", "comments"),
    [
        (None, None, "192.0.2.1 49153", "192.0.2.2 3260", ()),
        (Endpoint("fe80::1%eth0", 5), Endpoint("::1", 6), "fe80::1 5", "::1 6", ()),
        (Endpoint("::ffff:10.0.0.9", 5), Endpoint("10.0.0.8", 6), "10.0.0.9 5", "10.0.0.8 6", ()),
        (Endpoint("10.0.0.9", 5), Endpoint("::1", 6), "::ffff:a00:9 5", "::1 6", ()),
        (None, Endpoint("::1", 6), "2001:db8::1 49153", "::1 6", ()),
        (
            Endpoint("pipe", 0),
            Endpoint("10.0.0.8", 0),
            "192.0.2.1 49153",
            "10.0.0.8 3260",
            ("initiator pipe:0 is shown as 192.0.2.1:49153", "target 10.0.0.8:0 is shown as 10.0.0.8:3260"),
        ),
    ],
)
def test_ends_are_the_recorded_ones_where_they_are_addresses(initiator, target, source, destination, comments):
    segments = synthesise([TransportRecord(1, 1.0, TransportEvent.CONNECTED, initiator, target)])
    expected = [str(ipaddress.ip_address(end.split()[0])) + " " + end.split()[1] for end in (source, destination)]
    assert [segments[0].source, segments[0].destination] == expected
    assert segments[0].comments == comments


def test_open_connections_between_the_same_ends_are_told_apart():
    segments = synthesise([transport(TransportEvent.CONNECTED, number=number) for number in (1, 2, 3)])
    sources = [segment.source for segment in segments if segment.flags == SYN]
    assert sources == ["10.0.0.1 40000", "10.0.0.1 49154", "10.0.0.1 49155"]
    assert segments[3].comments == ("initiator 10.0.0.1:40000 is shown as 10.0.0.1:49154",)


def test_closed_connection_frees_its_ends_and_its_number():
    once: list[Record] = [transport(TransportEvent.CONNECTED), pdu(OUT), transport(TransportEvent.RST)]
    segments = synthesise(once * 3)
    opened = [segment for segment in segments if segment.flags == SYN]
    assert [segment.source for segment in opened] == ["10.0.0.1 40000"] * 3
    assert len({segment.sequence for segment in opened}) == 3


@pytest.mark.parametrize("direction", Direction)
def test_bytes_of_a_connection_whose_ends_were_used_again_get_a_conversation_of_their_own(direction):
    """Whether the later conversation is still open or over by then."""
    closed: list[Record] = [transport(TransportEvent.CONNECTED), pdu(OUT), transport(TransportEvent.RST)]
    later: list[Record] = [transport(TransportEvent.CONNECTED, number=2), pdu(OUT, number=2)]
    over = transport(TransportEvent.RST, number=2)
    for between in (later, [*later, over]):
        segments = synthesise([*closed, *between, pdu(direction), transport(TransportEvent.RST)])
        check_numbers(segments)
        assert [flag for flag, _ in flags(segments)][-5:] == [SYN, SYN_ACK, ACK, PSH_ACK, RST_ACK]


def test_late_close_of_a_connection_whose_ends_were_used_again_writes_nothing():
    segments = synthesise([*TWO_REFUSALS, transport(TransportEvent.FIN)])
    assert [flag for flag, _ in flags(segments)] == [SYN, RST_ACK] * 2


def test_closed_connections_are_forgotten():
    synthesis = TcpSynthesis()
    for number in range(1, 1001):
        for record in (pdu(OUT, number=number), transport(TransportEvent.RST, number=number)):
            list(synthesis.record(record))
    list(synthesis.flush())
    assert len(synthesis._conversations) <= 65
    assert not synthesis._ends_in_use


def test_unanswered_attempts_are_forgotten():
    synthesis = TcpSynthesis()
    for number in range(1, 1001):
        for event in (TransportEvent.CONNECT, TransportEvent.UNREACHABLE):
            list(synthesis.record(transport(event, number=number)))
    assert len(synthesis._conversations) <= 65
    assert not synthesis._attempts


@given(
    records=st.lists(
        st.tuples(st.sampled_from(Direction), st.integers(1, 3), st.binary(min_size=1, max_size=3000)),
        min_size=1,
        max_size=8,
    ),
    mtu=st.integers(576, 65535),
)
def test_every_byte_arrives_in_its_order(records, mtu):
    segments = synthesise([BytesRecord(number, 1.0, way, data, "") for way, number, data in records], mtu)
    check_numbers(segments)
    assert all(len(segment.payload) <= mtu - 40 for segment in segments)
    expected: dict[tuple[str, str], bytes] = {}
    for way, number, data in records:
        ends = (f"192.0.2.1 {49152 + number}", "192.0.2.2 3260")
        key = ends if way is OUT else ends[::-1]
        expected[key] = expected.get(key, b"") + data
    assert {way: data for way, data in streams(segments).items() if data} == expected


def agreed_login() -> tuple[bytes, bytes]:
    """Both sides of a login after which PDUs carry both digests."""
    keys = b"HeaderDigest=CRC32C\0DataDigest=CRC32C\0"
    return (
        encode(LoginRequest(transit=True, csg=1, nsg=3, data=keys)).to_bytes(),
        encode(LoginResponse(transit=True, csg=1, nsg=3, data=keys)).to_bytes(),
    )


@given(st.data())
def test_tapped_connection_keeps_every_byte_whatever_its_framing(data):
    """Wrong digests, lost framing and a stream cut short are in the recording as they were on the wire."""
    request, response = agreed_login()
    pdus = data.draw(st.lists(st.binary(max_size=9).map(lambda ping: encode(NopOut(data=ping))), max_size=3))
    tail = bytearray(join(raw.with_digests(header=True, data=True) for raw in pdus) + data.draw(st.binary(max_size=60)))
    if tail:
        tail[data.draw(st.integers(0, len(tail) - 1))] ^= data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(tail)))
    records: list[Record] = [transport(TransportEvent.CONNECTED)]
    tap = ConnectionTap(1, records.append)
    for direction, part in ((OUT, request), (IN, response), (OUT, tail[:cut]), (OUT, tail[cut:])):
        tap.bytes_crossed(direction, bytes(part), 1.0)
    tap.transport(TransportEvent.FIN, 2.0, direction=OUT)
    tap.finish(2.0)
    segments = synthesise(records)
    check_numbers(segments)
    assert streams(segments)[("10.0.0.1 40000", "10.0.0.2 3260")] == request + tail
    assert streams(segments)[("10.0.0.2 3260", "10.0.0.1 40000")] == response


EVENTS = st.builds(
    transport, st.sampled_from(TransportEvent), number=st.integers(1, 3), direction=st.sampled_from(Direction)
)
DATA = st.builds(pdu, st.sampled_from(Direction), number=st.integers(1, 3)) | st.builds(
    leftover, st.sampled_from(Direction), st.binary(max_size=5), st.integers(1, 3)
)


@given(st.lists(EVENTS | DATA, max_size=25))
@example([*TWO_REFUSALS, pdu(IN)])
@example([*TWO_REFUSALS, pdu(OUT)])
@example([transport(TransportEvent.CONNECT), transport(TransportEvent.RST, direction=OUT)])
def test_any_history_gives_consistent_segments_with_all_its_bytes(records):
    segments = synthesise(records)
    check_numbers(segments)
    recorded = [record.data for record in records if isinstance(record, BytesRecord)]
    recorded += [record.raw.to_bytes() for record in records if isinstance(record, PduRecord)]
    assert sorted(segment.payload for segment in segments if segment.payload) == sorted(filter(None, recorded))


def test_long_transfer_is_cut_and_acknowledged_within_the_window():
    payload = bytes(range(256)) * 4096
    segments = synthesise([transport(TransportEvent.CONNECTED), BytesRecord(1, 1.0, IN, payload, "")])
    check_numbers(segments)
    assert streams(segments)[("10.0.0.2 3260", "10.0.0.1 40000")] == payload
    pushed = [segment.flags & TcpFlag.PSH for segment in segments if segment.payload]
    assert [bool(flag) for flag in pushed] == [False] * (len(pushed) - 1) + [True]
    in_flight = longest = 0
    for segment in segments:
        in_flight = in_flight + len(segment.payload) if segment.payload else 0
        longest = max(longest, in_flight)
    assert longest <= (65535 << 7) // 2


def test_sequence_numbers_wrap():
    stations = TcpSynthesis()._stations(1, INITIATOR, TARGET)[0]
    conversation = Conversation(1, stations)
    frames = list(conversation.establish(0.0))
    conversation._sides[OUT].sequence = MODULUS - 5
    start = parse(frames[0])
    sent = [parse(frame) for frame in conversation.data(0.0, OUT, bytes(4000))]
    assert [segment.sequence for segment in sent] == [MODULUS - 5, 1455, 2915]
    answer = [parse(frame) for frame in conversation.data(0.0, IN, b"x")]
    assert answer[0].acknowledgement == 3995
    assert start.sequence != 0


@pytest.mark.parametrize("mtu", [575, 65536])
def test_mtu_out_of_range_is_refused(mtu):
    with pytest.raises(ValueError, match="MTU"):
        TcpSynthesis(mtu)
