"""An onlooker's view of both directions: digests are switched where the login says, nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.pdu import (
    LoginRequest,
    LoginResponse,
    NopIn,
    NopOut,
    Pdu,
    RawPdu,
    ScsiCommand,
    Stage,
    TextRequest,
    encode,
    join,
)
from iscsi_protocol.stream import Direction, LoginWatch, StreamPair, Undecodable

OUT, BACK = Direction.TO_TARGET, Direction.TO_INITIATOR


def chunks(text: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % len(text) for place in places} - {0}), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def dialogue(offer: bytes, answer: bytes, places: list[int]) -> list[tuple[Direction, RawPdu]]:
    """A login whose texts are split over PDUs with the C bit, each of which is answered by an empty PDU."""
    pdus: list[tuple[Direction, Pdu]] = []
    for index, chunk in enumerate(offers := chunks(offer, places)):
        last = index == len(offers) - 1
        pdus.append((OUT, LoginRequest(csg=1, nsg=3 if last else 0, transit=last, continued=not last, data=chunk)))
        if not last:
            pdus.append((BACK, LoginResponse(csg=1)))
    for index, chunk in enumerate(answers := chunks(answer, places)):
        last = index == len(answers) - 1
        pdus.append((BACK, LoginResponse(csg=1, nsg=3 if last else 0, transit=last, continued=not last, data=chunk)))
        if not last:
            pdus.append((OUT, LoginRequest(csg=1)))
    return [(way, encode(pdu)) for way, pdu in pdus]


def text(header: str, data: str) -> bytes:
    return f"X-a=1\0HeaderDigest={header}\0DataDigest={data}\0MaxBurstLength=512\0".encode()


CHOICES = st.sampled_from(["None", "CRC32C", "Reject", "NotUnderstood"])


@given(CHOICES, CHOICES, st.lists(st.integers(0, 200), max_size=6), st.integers(1, 300))
def test_digests_count_from_the_first_pdu_behind_the_login(header, data, places, size):
    login = dialogue(text("CRC32C,None", "None,CRC32C"), text(header, data), places)
    ping, answer = (
        encode(pdu).with_digests(header=header == "CRC32C", data=data == "CRC32C")
        for pdu in (NopOut(itt=1, data=b"ping."), NopIn(itt=1, data=b"ping."))
    )
    sent = [*login, (BACK, answer), (OUT, ping), (OUT, ping)]
    pair = StreamPair()
    # What goes the same way comes in one segment, however long, cut into pieces of one size.
    found: list[tuple[Direction, RawPdu]] = []
    while sent:
        way = sent[0][0]
        run = []
        while sent and sent[0][0] is way:
            run.append(sent.pop(0)[1])
        stream = join(run)
        got = []
        for start in range(0, len(stream), size):
            got += [raw.kept() for raw in pair.receive(way, stream[start : start + size]) if isinstance(raw, RawPdu)]
        assert got == run
        found += [(way, raw) for raw in got]
    assert pair.login.full_feature
    assert pair.login.stage == Stage.FULL_FEATURE
    assert pair.login.header_digest is (header == "CRC32C")
    assert pair.login.data_digest is (data == "CRC32C")
    assert not list(pair.finish())


def watched(*pdus: tuple[Direction, Pdu]) -> LoginWatch:
    watch = LoginWatch()
    for way, pdu in pdus:
        watch.watch(way, encode(pdu))
    return watch


OFFER = (OUT, LoginRequest(csg=1, nsg=3, transit=True, data=text("CRC32C", "CRC32C")))
ANSWER = LoginResponse(csg=1, nsg=3, transit=True, data=text("CRC32C", "CRC32C"))


@pytest.mark.parametrize(
    "answer",
    [
        replace(ANSWER, transit=False),
        replace(ANSWER, nsg=1),
        replace(ANSWER, continued=True, data=b"X-a=1\0"),
        replace(ANSWER, status_class=2),
        replace(ANSWER, status_class=3),
        NopIn(data=ANSWER.data),
        LoginRequest(csg=1, nsg=3, transit=True, data=ANSWER.data),
    ],
)
def test_what_does_not_end_the_login(answer):
    watch = watched(OFFER, (BACK, answer))
    assert not watch.full_feature
    assert not watch.header_digest
    assert not watch.data_digest
    watch.watch(BACK, encode(ANSWER))
    assert watch.full_feature


def test_text_that_goes_on_is_no_end_of_the_login_even_with_t():
    """C excludes T: the keys of both parts count, from the response behind them on."""
    watch = watched(OFFER, (BACK, replace(ANSWER, continued=True, data=b"HeaderDigest=CR")))
    assert (watch.full_feature, watch.stage) == (False, Stage.OPERATIONAL)
    watch.watch(BACK, encode(replace(ANSWER, data=b"C32C\0")))
    assert watch.full_feature
    assert watch.header_digest


def test_the_second_value_is_the_answer():
    watch = watched(OFFER, (BACK, replace(ANSWER, transit=False, data=text("None", "CRC32C"))), (BACK, ANSWER))
    assert not watch.header_digest
    assert watch.data_digest


def test_an_offer_without_answer_agrees_on_nothing():
    watch = watched(OFFER, (BACK, replace(ANSWER, data=b"DataDigest=CRC32C\0HeaderDigest\0XHeaderDigest=CRC32C\0")))
    assert watch.full_feature
    assert not watch.header_digest
    assert watch.data_digest


def test_the_stage_is_the_one_of_the_latest_login_pdu():
    watch = watched()
    assert watch.stage == Stage.SECURITY
    watch.watch(OUT, encode(LoginRequest(csg=1)))
    assert watch.stage == Stage.OPERATIONAL
    watch.watch(BACK, encode(LoginResponse(csg=0, nsg=1, transit=True)))
    assert watch.stage == Stage.SECURITY
    watch.watch(BACK, encode(ANSWER))
    assert watch.stage == Stage.FULL_FEATURE
    watch.watch(OUT, encode(LoginRequest(csg=1, data=text("None", "None"))))
    assert watch.stage == Stage.FULL_FEATURE


def test_text_without_end_is_not_kept():
    watch = LoginWatch()
    endless = encode(LoginRequest(continued=True, data=bytes(8192)))
    for _ in range(20):
        watch.watch(OUT, endless)
    assert sum(len(text) for text in watch._text) == 65536
    watch.watch(OUT, encode(LoginRequest()))
    watch.watch(*_raw(OFFER))
    watch.watch(BACK, encode(ANSWER))
    assert watch.header_digest


def _raw(item: tuple[Direction, Pdu]) -> tuple[Direction, RawPdu]:
    return item[0], encode(item[1])


def logged_in(header: str = "CRC32C", data: str = "CRC32C") -> StreamPair:
    pair = StreamPair()
    list(pair.receive(OUT, encode(OFFER[1]).to_bytes()))
    list(pair.receive(BACK, encode(replace(ANSWER, data=text(header, data))).to_bytes()))
    return pair


def test_directions():
    assert OUT.other is BACK
    assert BACK.other is OUT


@given(st.integers(1, 120), st.booleans())
def test_a_damaged_header_comes_at_once_and_its_data_follow(size, with_data):
    good = encode(NopOut(itt=5, data=b"ping.")).with_digests(header=True, data=True)
    bad = encode(ScsiCommand(itt=6, ahs=bytes(4), data=b"immed" if with_data else b"")).with_digests(
        header=True, data=True
    )
    bad.header_digest = b"oops"
    stream = join([good, bad, good])
    pair = logged_in()
    found: list[RawPdu | Undecodable] = []
    seen_at = 0
    for start in range(0, len(stream), size):
        for item in pair.receive(OUT, stream[start : start + size]):
            found.append(item.kept() if isinstance(item, RawPdu) else item)
            if isinstance(item, RawPdu) and item.header_digest_error:
                seen_at = start + size
    head = RawPdu(bad.bhs, ahs=bad.ahs, header_digest=b"oops", header_digest_error=True)
    rest = [Undecodable(b"immed\0\0\0" + bytes(bad.data_digest), "the data of a header whose digest is wrong")]
    assert found == [good, head, *(rest if with_data else []), good]
    assert seen_at - len(good.to_bytes()) - len(head.to_bytes()) < size
    assert not list(pair.finish())


def test_the_end_within_the_data_of_a_damaged_header():
    bad = encode(ScsiCommand(data=bytes(range(100)))).with_digests(header=True, data=True)
    bad.header_digest = b"oops"
    pair = logged_in()
    (head,) = pair.receive(OUT, bad.to_bytes()[:70])
    assert isinstance(head, RawPdu)
    assert head.header_digest_error
    assert list(pair.finish()) == [(OUT, Undecodable(bytes(range(70 - 52)), "the stream ended within a PDU"))]


def test_the_end_behind_a_damaged_header():
    bad = encode(ScsiCommand(data=b"immed")).with_digests(header=True, data=True)
    bad.header_digest = b"oops"
    pair = logged_in()
    assert len(list(pair.receive(OUT, bad.to_bytes() + b"begun"))) == 2
    assert list(pair.finish()) == [(OUT, Undecodable(b"begun", "the stream ended within a PDU"))]


def test_a_wrong_data_digest_is_a_mark():
    bad = encode(NopOut(data=b"ping")).with_digests(header=True, data=True)
    bad.data_digest = b"oops"
    (raw,) = logged_in().receive(OUT, bad.to_bytes())
    assert isinstance(raw, RawPdu)
    assert raw.data_digest_error
    assert raw.to_bytes() == bad.to_bytes()


@given(st.lists(st.tuples(st.sampled_from(Direction), st.binary(max_size=200)), max_size=8), st.booleans())
def test_no_byte_is_lost(pieces, digests):
    pair = logged_in() if digests else StreamPair()
    found = {OUT: b"", BACK: b""}
    for way, piece in pieces:
        for item in pair.receive(way, piece):
            found[way] += item.to_bytes() if isinstance(item, RawPdu) else item.data
    for way, rest in pair.finish():
        found[way] += rest.data
    assert found == {way: b"".join(piece for each, piece in pieces if each is way) for way in Direction}


def test_leftovers_of_both_directions():
    pair = StreamPair()
    assert not list(pair.receive(BACK, b"back"))
    assert not list(pair.receive(OUT, b"out"))
    reason = "the stream ended within a PDU"
    assert list(pair.finish()) == [(OUT, Undecodable(b"out", reason)), (BACK, Undecodable(b"back", reason))]


def test_a_text_request_is_no_login():
    watch = watched(
        (OUT, TextRequest(data=text("CRC32C", "CRC32C"))), (OUT, OFFER[1]), (BACK, replace(ANSWER, data=b""))
    )
    assert watch.full_feature
    assert not watch.header_digest
