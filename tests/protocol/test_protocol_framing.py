"""The framer: any chunking gives the same PDUs, nothing is copied more often than it must be, damage is told."""

from __future__ import annotations

import copy
import pickle
from builtins import bytearray as real_bytearray
from builtins import bytes as real_bytes
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from iscsi_protocol import framing
from iscsi_protocol.digest import digest_bytes
from iscsi_protocol.framing import NO_LIMIT, Framer, FramingError, HeaderDigestError, OversizedDataSegment
from iscsi_protocol.pdu import DataIn, NopOut, RawPdu, ScsiCommand, encode, join


@st.composite
def raws(draw: DrawFn, *, header: bool, data: bool, size: int = 40) -> RawPdu:
    """A PDU of any opcode and header, whose lengths are true, with right digests and any padding."""
    body = draw(st.binary(max_size=size) | st.integers(0, 5000).map(lambda n: (b"\x5a\xa5\0" * n)[:n]))
    words = draw(st.integers(0, 3))
    top = draw(st.binary(min_size=4, max_size=4))
    rest = draw(st.binary(min_size=40, max_size=40))
    bhs = top + bytes([words]) + len(body).to_bytes(3, "big") + rest
    padding = draw(st.binary(min_size=-len(body) % 4, max_size=-len(body) % 4))
    ahs = draw(st.binary(min_size=4 * words, max_size=4 * words))
    return RawPdu(bhs, ahs, body, padding).with_digests(header=header, data=data)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The bytes in pieces, cut at these places; some may be empty."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


PLACES = st.lists(st.integers(0, 1 << 16), max_size=12)


def take(framer: Framer, pieces: list[bytes]) -> list[RawPdu]:
    """The PDUs, with a receive buffer that is spoilt as soon as the framer may not rely on it any more."""
    found = []
    for piece in pieces:
        buffer = bytearray(piece)
        framer.receive(memoryview(buffer))
        found += [raw.kept() for raw in framer]
        buffer[:] = b"\xee" * len(buffer)
    return found


@given(st.data(), st.booleans(), st.booleans(), PLACES)
def test_any_chunking_gives_the_same_pdus(data, header, with_data, places):
    sent = data.draw(st.lists(raws(header=header, data=with_data), max_size=5))
    framer = Framer(header_digest=header, data_digest=with_data)
    stream = join(sent)
    found = take(framer, cut(stream, places))
    assert found == sent
    assert join(found) == stream
    assert framer.pending == 0
    assert framer.remainder() == b""


@given(st.data(), st.booleans(), st.booleans())
def test_bytes_that_come_singly(data, header, with_data):
    sent = [data.draw(raws(header=header, data=with_data, size=9)) for _ in range(2)]
    framer = Framer(header_digest=header, data_digest=with_data)
    stream = join(sent)[:400]
    found = take(framer, [stream[i : i + 1] for i in range(len(stream))])
    assert found == sent[: len(found)]
    assert join(found) + framer.remainder() == stream


@given(st.data(), st.booleans(), PLACES, st.integers(0, 1 << 16))
def test_the_remainder_is_what_no_pdu_has_used(data, digests, places, end):
    sent = data.draw(st.lists(raws(header=digests, data=digests), max_size=3))
    stream = join(sent)
    stream = stream[: end % (len(stream) + 1)]
    framer = Framer(header_digest=digests, data_digest=digests)
    found = take(framer, cut(stream, places))
    assert join(found) + framer.remainder() == stream
    assert framer.pending == len(stream) - len(join(found))


@given(st.lists(st.binary(max_size=300), max_size=8), st.booleans(), st.booleans())
def test_any_bytes_are_cut_somehow_and_none_is_lost(pieces, header, with_data):
    framer = Framer(header_digest=header, data_digest=with_data)
    found = b""
    for piece in pieces:
        framer.receive(piece)
        while True:
            try:
                raw = framer.next_pdu()
            except HeaderDigestError:
                framer.forgive()
                continue
            if raw is None:
                break
            found += raw.to_bytes()
    assert found + framer.remainder() == b"".join(pieces)


@given(st.data(), st.booleans(), PLACES)
def test_bytes_fed_before_the_pdus_are_taken_are_kept(data, digests, places):
    sent = data.draw(st.lists(raws(header=digests, data=digests), max_size=4))
    framer = Framer(header_digest=digests, data_digest=digests)
    found = []
    for piece in cut(join(sent), places):
        buffer = bytearray(piece)
        framer.receive(buffer)
        found += [raw.kept() for raw in [framer.next_pdu()] if raw is not None]
        framer.keep()
        buffer[:] = b"\xee" * len(buffer)
        framer.receive(b"")
    found += [raw.kept() for raw in framer]
    assert found == sent


def test_nothing_fed_makes_what_is_left_our_own():
    sent = [encode(NopOut(itt=itt)) for itt in range(3)]
    buffer = bytearray(join(sent))
    framer = Framer()
    framer.receive(buffer)
    assert framer.next_pdu() == sent[0]
    framer.receive(b"")
    buffer[:] = bytes(len(buffer))
    assert framer.next_pdu() == sent[1]
    framer.receive(b"")
    assert list(framer) == sent[2:]


def test_a_pdu_that_arrived_whole_is_a_view_of_what_was_fed():
    stream = bytearray(encode(DataIn(data=b"payload.")).to_bytes())
    framer = Framer()
    framer.receive(stream)
    raw = framer.next_pdu()
    assert raw is not None
    stream[48:52] = b"PAYL"
    assert raw.data == b"PAYLoad."


class Counted(real_bytearray):
    """A bytearray that counts the bytes it was made with."""

    made = 0

    def __init__(self, source: int | bytes = 0) -> None:
        super().__init__(source)
        Counted.made += len(self)


class Copied(real_bytes):
    """Bytes that count themselves."""

    made = 0

    def __new__(cls, source: object = b"") -> Copied:
        self: Copied = super().__new__(cls, source)  # type: ignore[call-overload]  # whatever bytes() takes
        Copied.made += len(self)
        return self


@pytest.mark.parametrize("digests", [False, True])
@pytest.mark.parametrize("first", [1, 47, 48, 51, 1024])
def test_a_large_pdu_in_small_pieces_is_gathered_once(monkeypatch, digests, first):
    monkeypatch.setattr(framing, "bytearray", Counted, raising=False)
    monkeypatch.setattr(framing, "bytes", Copied, raising=False)
    monkeypatch.setattr(Counted, "made", 0)
    monkeypatch.setattr(Copied, "made", 0)
    size = 4 << 20
    sent = encode(DataIn(data=bytes(size))).with_digests(header=digests, data=digests)
    stream = memoryview(sent.to_bytes())
    framer = Framer(header_digest=digests, data_digest=digests)
    framer.receive(stream[:first])
    assert framer.next_pdu() is None
    for start in range(first, len(stream), 1024):
        framer.receive(stream[start : start + 1024])
        raw = framer.next_pdu()
    assert raw == sent
    # One buffer of the PDU's size, and headers.
    assert len(stream) <= Counted.made + Copied.made <= len(stream) + 400


def test_many_pdus_in_one_piece_are_not_copied(monkeypatch):
    monkeypatch.setattr(framing, "bytearray", Counted, raising=False)
    monkeypatch.setattr(framing, "bytes", Copied, raising=False)
    monkeypatch.setattr(Counted, "made", 0)
    monkeypatch.setattr(Copied, "made", 0)
    framer = Framer()
    framer.receive(memoryview(join([encode(DataIn(data=bytes(8192)))] * 16)))
    assert sum(len(raw.data) for raw in framer) == 16 * 8192
    assert Counted.made + Copied.made == 16 * 48


def test_digests_may_be_switched_between_two_pdus_of_one_piece():
    plain, digested = encode(NopOut(data=b"1")), encode(NopOut(data=b"2")).with_digests(header=True, data=True)
    framer = Framer()
    framer.receive(join([plain, digested]))
    assert framer.next_pdu() == plain
    framer.header_digest = framer.data_digest = True
    assert framer.next_pdu() == digested
    assert framer.next_pdu() is None


def damaged(raw: RawPdu) -> RawPdu:
    """The same with a wrong header digest."""
    return RawPdu(raw.bhs, raw.ahs, raw.data, raw.padding, b"\x00\x01\x02\x03", raw.data_digest)


COMMAND = encode(ScsiCommand(itt=7, ahs=bytes(range(8)), data=b"immediate", write=True))
GOOD = encode(NopOut(itt=3, data=b"ping.")).with_digests(header=True, data=True)


@given(PLACES, st.booleans())
def test_a_wrong_header_digest_is_told_until_the_pdu_is_skipped(places, data_digest):
    good = GOOD.with_digests(header=True, data=data_digest)
    bad = damaged(COMMAND.with_digests(header=True, data=data_digest))
    framer = Framer(header_digest=True, data_digest=data_digest)
    found, errors = [], []
    for piece in cut(join([good, bad, good, bad, bad, good]), places):
        framer.receive(piece)
        while True:
            try:
                raw = framer.next_pdu()
            except HeaderDigestError as error:
                with pytest.raises(HeaderDigestError, match="header digest error"):
                    framer.next_pdu()
                errors.append(error.raw)
                framer.skip()
                continue
            if raw is None:
                break
            found.append(raw.kept())
    assert found == [good] * 3
    assert errors == [RawPdu(bad.bhs, ahs=bad.ahs, header_digest=bad.header_digest, header_digest_error=True)] * 3
    assert framer.pending == 0


@given(PLACES)
def test_a_pdu_with_a_wrong_header_digest_may_be_taken_all_the_same(places):
    bad = damaged(COMMAND.with_digests(header=True, data=True))
    framer = Framer(header_digest=True, data_digest=True)
    found = []
    for piece in cut(join([bad, GOOD, bad]), places):
        framer.receive(piece)
        while True:
            try:
                raw = framer.next_pdu()
            except HeaderDigestError:
                framer.forgive()
                continue
            if raw is None:
                break
            found.append(raw.kept())
    marked = bad.kept()
    marked.header_digest_error = True
    assert found == [marked, GOOD, marked]


def test_the_header_digest_is_judged_before_its_length_is_waited_for():
    raw = damaged(encode(NopOut(data_segment_length=NO_LIMIT)).with_digests(header=True, data=False))
    framer = Framer(header_digest=True, max_data_segment_length=512)
    framer.receive(raw.to_bytes()[:-1])
    assert framer.next_pdu() is None
    framer.receive(raw.to_bytes()[-1:])
    with pytest.raises(HeaderDigestError):
        framer.next_pdu()


@given(PLACES, st.sampled_from(["data", "padding", "data_digest"]))
def test_a_wrong_data_digest_is_a_mark(places, part):
    bad = GOOD.kept()
    setattr(bad, part, bytes(byte ^ 0x80 for byte in getattr(bad, part)))
    framer = Framer(header_digest=True, data_digest=True)
    found = take(framer, cut(join([bad, GOOD]), places))
    assert [raw.data_digest_error for raw in found] == [True, False]
    assert join(found) == join([bad, GOOD])


@given(PLACES, st.integers(5, 12), st.booleans())
def test_a_data_segment_above_the_limit(places, size, digests):
    big = encode(NopOut(data=bytes(size))).with_digests(header=digests, data=digests)
    small = encode(NopOut(data=bytes(4))).with_digests(header=digests, data=digests)
    framer = Framer(header_digest=digests, data_digest=digests, max_data_segment_length=4)
    found, errors = [], []
    for piece in cut(join([small, big, small]), places):
        framer.receive(piece)
        while True:
            try:
                raw = framer.next_pdu()
            except OversizedDataSegment as error:
                with pytest.raises(FramingError, match=f"data segment of {size} bytes, the limit is 4"):
                    framer.next_pdu()
                errors.append(error.raw)
                framer.skip()
                continue
            if raw is None:
                break
            found.append(raw.kept())
    assert errors == [RawPdu(big.bhs)]
    assert found == [small, small]


def test_a_large_data_segment_is_refused_before_it_is_waited_for():
    framer = Framer(max_data_segment_length=8192)
    framer.receive(encode(NopOut(data=bytes(8193))).bhs)
    with pytest.raises(OversizedDataSegment):
        framer.next_pdu()
    framer.forgive()
    assert framer.next_pdu() is None
    framer.receive(bytes(8193 + 3))
    raw = framer.next_pdu()
    assert raw is not None
    assert len(raw.data) == 8193
    assert not raw.header_digest_error


def test_a_forgiven_length_has_nothing_to_do_with_the_header_digest():
    big = encode(NopOut(data=b"12345")).with_digests(header=True, data=True)
    framer = Framer(header_digest=True, data_digest=True, max_data_segment_length=4)
    framer.receive(big.to_bytes())
    with pytest.raises(OversizedDataSegment):
        framer.next_pdu()
    framer.forgive()
    assert framer.next_pdu() == big
    framer.receive(big.to_bytes())
    with pytest.raises(OversizedDataSegment):
        framer.next_pdu()


def test_skipping_or_forgiving_nothing_changes_nothing():
    stream = GOOD.to_bytes()
    framer = Framer(header_digest=True, data_digest=True)
    for piece in (stream[:20], stream[20:50], stream[50:60]):
        framer.skip()
        framer.forgive()
        framer.receive(piece)
        assert framer.next_pdu() is None
    framer.skip()
    framer.receive(stream[60:] + damaged(GOOD).to_bytes())
    assert framer.next_pdu() == GOOD
    with pytest.raises(HeaderDigestError):
        framer.next_pdu()


def test_skipping_goes_on_over_pieces():
    bad = damaged(encode(NopOut(data=bytes(100)))).to_bytes()
    framer = Framer(header_digest=True)
    framer.receive(bad[:60])
    with pytest.raises(HeaderDigestError):
        framer.next_pdu()
    framer.skip()
    for start in range(60, len(bad), 7):
        framer.receive(bad[start : start + 7])
        framer.skip()
        assert framer.next_pdu() is None
        assert framer.remainder() == b""
    framer.data_digest = True
    framer.receive(GOOD.to_bytes())
    assert framer.next_pdu() == GOOD


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda framer: pickle.loads(pickle.dumps(framer))])
@pytest.mark.parametrize("at", [0, 20, 56, 60, 90])
def test_a_copy_goes_on_by_itself(how, at):
    stream = bytearray(join([GOOD, GOOD]))
    framer = Framer(header_digest=True, data_digest=True)
    framer.receive(memoryview(stream)[:at])
    found = [raw.kept() for raw in [framer.next_pdu()] if raw is not None]
    other = how(framer)
    framer.receive(bytes(200))
    stream[:at] = bytes(at)
    other.receive(memoryview(stream)[at:])
    assert found + list(other) == [GOOD, GOOD]


def test_a_digest_is_the_crc_of_what_it_covers():
    assert GOOD.header_digest == digest_bytes(GOOD.bhs)
    assert GOOD.data_digest == digest_bytes(b"ping.\0\0\0")


class Places:
    """Gives a place of its own to every data segment that it is asked about, as long as `giving`; remembers headers."""

    def __init__(self) -> None:
        self.giving = True
        self.asked: list[bytes] = []
        self.given: list[memoryview] = []

    def __call__(self, bhs: bytes) -> memoryview | None:
        self.asked.append(bhs)
        if not self.giving:
            return None
        self.given.append(memoryview(bytearray(b"\xaa" * int.from_bytes(bhs[5:8], "big"))))
        return self.given[-1]


def take_placed(framer: Framer, piece: bytes, places: Places | None, *, direct: bool) -> list[RawPdu]:
    """The PDUs that a piece of the stream completes; direct: what there is room for is put there."""
    room = framer.room() if direct else None
    placed = 0 if room is None else min(len(room), len(piece))
    if room is not None:
        room[:placed] = piece[:placed]
        framer.took(placed)
    buffer = bytearray(piece[placed:])
    framer.receive(memoryview(buffer))
    found = []
    while (raw := framer.next_pdu(places)) is not None:
        found.append(raw.kept())
    buffer[:] = b"\xee" * len(buffer)
    return found


@given(
    st.data(),
    st.booleans(),
    st.booleans(),
    PLACES,
    st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), min_size=13, max_size=13),
)
def test_any_mixture_of_feeding_and_putting_in_place_gives_the_same_pdus(data, header, with_data, places, turns):
    sent = data.draw(st.lists(raws(header=header, data=with_data), max_size=5))
    framer = Framer(header_digest=header, data_digest=with_data)
    asking, found, stream = Places(), [], join(sent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "LONG", 4)
        fed = 0
        for piece, (direct, giving, turn) in zip(cut(stream, places), turns, strict=False):
            asking.giving = giving
            found += take_placed(framer, piece, asking, direct=direct)
            fed += len(piece)
            assert join(found) + framer.remainder() == stream[:fed]
            assert framer.pending == fed - len(join(found))
            if turn == 1:
                framer.withdraw()
            elif turn == 2:
                framer = copy.deepcopy(framer)
            elif turn == 3:
                framer = pickle.loads(pickle.dumps(framer))
            assert join(found) + framer.remainder() == stream[:fed]
    assert found == sent
    assert not asking.asked or not (header or with_data)


def test_a_data_segment_is_received_in_the_place_that_it_was_given():
    body = bytes(range(256)) * (framing.LONG // 256)
    raw = encode(DataIn(itt=1, data=body))
    framer, places = Framer(), Places()
    assert take_placed(framer, raw.to_bytes()[:100], places, direct=False) == []
    room = framer.room()
    assert room is not None
    assert len(room) == len(body) - 52
    room[:] = body[52:]
    framer.took(len(room))
    framer.receive(b"")
    found = framer.next_pdu(places)
    assert found == raw
    assert found.data is places.given[0]
    assert places.asked == [raw.bhs]
    assert framer.room() is None
    assert framer.pending == 0


@pytest.mark.parametrize("first", [0, 20, 48])
@pytest.mark.parametrize(("length", "asked"), [(framing.LONG, 1), (framing.LONG - 4, 0)])
def test_a_place_is_asked_for_what_is_long(first, length, asked):
    raw = encode(DataIn(itt=1, data=bytes(length)))
    stream = raw.to_bytes()
    framer, places = Framer(), Places()
    found = take_placed(framer, stream[:first], places if first < 48 else None, direct=False)
    places.asked.clear()
    found += take_placed(framer, stream[first:-100], places, direct=False)
    assert len(places.asked) == (asked if first < 48 else 0)
    assert (framer.room() is not None) is bool(asked)
    assert found + take_placed(framer, stream[-100:], places, direct=True) == [raw]


@pytest.mark.parametrize(
    "raw",
    [
        encode(DataIn(itt=1, data=bytes(framing.LONG + 1))),
        encode(ScsiCommand(itt=1, data=bytes(framing.LONG), ahs=bytes([0, 1, 1, 0]))),
    ],
    ids=["padding", "AHS"],
)
@pytest.mark.parametrize("first", [20, 100])
def test_no_place_is_asked_for_what_is_more_than_header_and_data(raw, first):
    framer, places = Framer(), Places()
    stream = raw.to_bytes()
    found = take_placed(framer, stream[:first], places, direct=True)
    found += take_placed(framer, stream[first:200], places, direct=True)
    found += take_placed(framer, stream[200:], places, direct=True)
    assert found == [raw]
    assert places.asked == []


def test_what_was_withdrawn_is_gathered():
    raw = encode(DataIn(itt=1, data=b"\x11" * framing.LONG))
    framer, places = Framer(), Places()
    stream = raw.to_bytes()
    take_placed(framer, stream[:1000], places, direct=True)
    take_placed(framer, stream[1000:5000], places, direct=True)
    framer.withdraw()
    [place] = places.given
    place[:] = b"\xdd" * len(place)
    [found] = take_placed(framer, stream[5000:], places, direct=True)
    assert bytes(place) == b"\xdd" * len(place)
    assert found == raw


def test_there_is_room_for_what_has_begun_to_come_and_no_more(monkeypatch):
    monkeypatch.setattr(framing, "LONG", 8)
    stream = encode(NopOut(itt=1, data=b"payload!")).to_bytes()
    framer = Framer()
    assert framer.room() is None
    framer.receive(stream[:30])
    assert framer.room() is None
    assert framer.next_pdu() is None
    assert framer.room() is None
    framer.receive(stream[30:50])
    assert framer.next_pdu() is None
    room = framer.room()
    assert room is not None
    assert len(room) == 6
    with pytest.raises(ValueError, match="7 bytes were put where there is room for 6"):
        framer.took(7)
    framer.receive(stream[50:52])
    assert framer.room() is None, "what was fed comes first"
    assert framer.next_pdu() is None
    room = framer.room()
    assert room is not None
    room[:] = stream[52:]
    framer.took(4)
    assert framer.room() is None, "it is whole"
    assert framer.next_pdu() == encode(NopOut(itt=1, data=b"payload!"))
