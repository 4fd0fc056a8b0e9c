"""Faults at work on a connection: what comes out, for each action; and nothing where nothing is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from iscsi_protocol.fault import (
    Action,
    Close,
    Drop,
    Fault,
    FaultyWire,
    FieldIs,
    Flip,
    Hangup,
    HasKey,
    Hold,
    Insert,
    Of,
    Output,
    Part,
    Plus,
    Poke,
    Relation,
    Repeat,
    Replace,
    Reset,
    Segment,
    Send,
    Set,
    SetKey,
    Silence,
    Split,
    Template,
    Truncate,
    When,
)
from iscsi_protocol.fault import wire as wire_module
from iscsi_protocol.fault.action import SOURCES
from iscsi_protocol.framing import Framer, HeaderDigestError
from iscsi_protocol.pdu import (
    NO_TAG,
    PDU_CLASSES,
    R2T,
    AsyncMessage,
    DataIn,
    DataOut,
    LoginRequest,
    LoginResponse,
    NopIn,
    NopOut,
    Opcode,
    Pdu,
    RawPdu,
    ScsiCommand,
    ScsiResponse,
    TextRequest,
    decode,
    encode,
    field_of,
    has_field,
    join,
)
from iscsi_protocol.stream import Direction

OUT, BACK = Direction.TO_TARGET, Direction.TO_INITIATOR


def digested(pdu: Pdu, *, digests: bool = True) -> RawPdu:
    return encode(pdu).with_digests(header=digests, data=digests)


class Link:
    """A faulty wire, and what came out of it, as bytes by direction and as outputs in order."""

    def __init__(self, *faults: Fault) -> None:
        self.wire = FaultyWire(faults)
        self.outputs: list[Output] = []
        self.digests = False

    def take(self, outputs: Iterable[Output]) -> None:
        self.outputs += outputs

    def feed(self, way: Direction, *pdus: Pdu | RawPdu, now: float = 0.0) -> Link:
        raws = [pdu if isinstance(pdu, RawPdu) else digested(pdu, digests=self.digests) for pdu in pdus]
        self.take(self.wire.forward(way, join(raws), now))
        return self

    def login(self, *, digests: bool = True) -> Link:
        """Agree on digests, or not, and forget what came out so far."""
        text = b"HeaderDigest=CRC32C\0DataDigest=CRC32C\0" if digests else b"HeaderDigest=None\0DataDigest=None\0"
        self.feed(OUT, LoginRequest(csg=1, nsg=3, transit=True, data=text))
        self.feed(BACK, LoginResponse(csg=1, nsg=3, transit=True, data=text))
        self.outputs.clear()
        self.digests = digests
        return self

    def bytes(self, way: Direction) -> bytes:
        return b"".join(output.data for output in self.outputs if isinstance(output, Send) and output.direction is way)

    def raws(self, way: Direction) -> list[RawPdu]:
        framer = Framer(header_digest=self.digests, data_digest=self.digests)
        framer.receive(self.bytes(way))
        found = list(framer)
        assert framer.pending == 0
        return found

    def pdus(self, way: Direction) -> list[Pdu]:
        """What came out, whose digests are right."""
        raws = self.raws(way)
        assert not any(raw.data_digest_error for raw in raws)
        return [decode(raw) for raw in raws]


def when(way: Direction = OUT, opcode: int | None = Opcode.NOP_OUT, **more: object) -> When:
    return When(direction=way, opcode=opcode, **more)  # type: ignore[arg-type]  # whatever When takes


def fault(*what: Action, raw: bool = False, renumber: bool = False, at: When | None = None) -> Fault:
    return Fault(when=at or when(), what=what, raw=raw, renumber=renumber)


PING = NopOut(itt=1, lun=bytes(range(8)), cmd_sn=7, exp_stat_sn=3, data=b"ping!")
DIGESTS = pytest.mark.parametrize("digests", [False, True])


def test_a_fault_that_strikes_is_told_before_what_it_does():
    told = []
    drop, never = fault(Drop(), at=when(nth=2)), fault(Drop(), at=when(nth=9))
    wire = FaultyWire([drop, never], on_fired=lambda what, now: told.append((what, now)))
    wire.forward(OUT, join([digested(LoginRequest(csg=1, nsg=3, transit=True), digests=False)]), 1.0)
    wire.forward(OUT, join([digested(PING, digests=False), digested(PING, digests=False)]), 2.0)
    assert told == [(drop, 2.0)]
    assert wire.fired == 1


# Without a fault that strikes


@given(
    st.lists(st.tuples(st.sampled_from(Direction), st.binary(max_size=200)), max_size=8),
    st.sampled_from([None, OUT, BACK]),
    st.booleans(),
    st.booleans(),
)
def test_without_a_fault_that_strikes_any_bytes_come_out_as_they_went_in(pieces, watched, digests, renumber):
    never = [] if watched is None else [Fault(when=when(watched, None, nth=999), what=(Drop(),), renumber=renumber)]
    link = Link(*never).login(digests=digests)
    for way, piece in pieces:
        buffer = bytearray(piece)
        link.take(link.wire.forward(way, memoryview(buffer), 0.0))
        buffer[:] = bytes(len(buffer))
    for way in Direction:
        whole = b"".join(piece for each, piece in pieces if each is way)
        assert whole.startswith(link.bytes(way))
        if way is not watched and not (renumber and never):
            assert link.bytes(way) == whole
        link.take(link.wire.finish(way))
        assert link.bytes(way) == whole
    assert link.wire.fired == 0


@st.composite
def true_raws(draw: DrawFn) -> RawPdu:
    """A PDU of any opcode whose header says the truth about its parts, padding not always zero."""
    cls = draw(st.sampled_from(sorted(PDU_CLASSES)))
    rest = draw(st.binary(min_size=43, max_size=43))
    data = draw(st.binary(max_size=30))
    padding = draw(st.binary(min_size=-len(data) % 4, max_size=-len(data) % 4))
    words = draw(st.integers(0, 2))
    bhs = bytes([cls]) + rest[:3] + bytes([words]) + len(data).to_bytes(3, "big") + rest[3:]
    return RawPdu(bhs, rest[: 4 * words], data, padding)


@given(st.lists(st.tuples(st.sampled_from(Direction), true_raws()), max_size=8), st.booleans(), st.integers(1, 200))
def test_pdus_that_no_fault_touches_keep_their_bytes(sent, digests, size):
    link = Link(fault(Drop(), at=when(OUT, 0x1C)), fault(Drop(), at=when(BACK, 0x3C))).login(digests=digests)
    for way in Direction:
        stream = join(raw.with_digests(header=digests, data=digests) for each, raw in sent if each is way)
        for start in range(0, len(stream), size):
            link.take(link.wire.forward(way, stream[start : start + size], 0.0))
        assert link.bytes(way) == stream


def test_a_direction_that_no_fault_can_touch_is_not_held_up():
    link = Link(fault(Drop(), at=when(BACK, Opcode.NOP_IN)))
    link.take(link.wire.forward(OUT, b"half a PDU", 0.0))
    link.take(link.wire.forward(BACK, b"half a PDU", 0.0))
    assert link.bytes(OUT) == b"half a PDU"
    assert link.bytes(BACK) == b""
    assert link.wire.finish(OUT) == []
    assert link.wire.finish(BACK) == [Send(BACK, b"half a PDU")]


def test_pdus_that_no_fault_touches_share_a_send():
    link = Link(fault(Drop(), at=when(nth=3))).login()
    link.feed(OUT, *(replace(PING, itt=itt) for itt in range(5)))
    (output,) = link.outputs
    assert isinstance(output, Send)
    assert [message.itt for message in link.pdus(OUT) if isinstance(message, NopOut)] == [0, 1, 3, 4]


def test_an_untouched_pdu_costs_one_copy(monkeypatch):
    def no_copy(raw: RawPdu) -> RawPdu:
        raise AssertionError("it is copied apart")

    monkeypatch.setattr(RawPdu, "kept", no_copy)
    monkeypatch.setattr(RawPdu, "to_bytes", no_copy)
    monkeypatch.setattr(wire_module, "edit", no_copy)
    link = Link(fault(Drop(), at=when(BACK, Opcode.NOP_IN)))
    stream = bytes(encode(DataIn(data=bytes(1 << 20))).bhs) + bytes(1 << 20)
    for start in range(0, len(stream), 1024):
        link.take(link.wire.forward(BACK, stream[start : start + 1024], 0.0))
    assert link.outputs == [Send(BACK, stream)]


def test_a_damaged_header_is_passed_on_with_its_data():
    bad = digested(PING)
    bad.header_digest = b"oops"
    link = Link(fault(Drop(), at=when(opcode=Opcode.TEXT_REQUEST)), fault(Drop(), renumber=True, at=when(nth=1)))
    link.login().feed(OUT, PING, bad, replace(PING, cmd_sn=8))
    assert link.bytes(OUT) == bad.to_bytes() + digested(PING).to_bytes()


# Changes to one PDU


@DIGESTS
@pytest.mark.parametrize(
    ("action", "result"),
    [
        (Set("itt", 9), replace(PING, itt=9)),
        (Set("cmd_sn", Plus(-8)), replace(PING, cmd_sn=0xFFFFFFFF)),
        (Set("cmd_sn", Of("cmd_sn", 2)), replace(PING, cmd_sn=9)),
        (Set("itt", Of("trigger.exp_stat_sn", 1)), replace(PING, itt=4)),
        (Set("final", False), replace(PING, final=False)),
        (Poke(12, b"\xaa\xbb"), replace(PING, lun=b"\0\1\2\3\xaa\xbb\6\7")),
        (Poke(44, b"\xaa"), replace(PING, reserved=0xAA << 24)),
        (Flip(Part.BHS, 19, 0x81), replace(PING, itt=0x80)),
        (Flip(Part.DATA, -1, 0x20), replace(PING, data=b"ping\x01")),
        (Flip(Part.AHS), PING),
        (Replace(Part.DATA, b"x"), replace(PING, data=b"x")),
        (Replace(Part.DATA, b""), replace(PING, data=b"")),
        (Replace(Part.AHS, b"ahs!"), replace(PING, ahs=b"ahs!")),
        (SetKey("A", "1"), replace(PING, data=b"A=1\0ping!")),
    ],
)
def test_a_change_is_all_that_is_wrong(digests, action, result):
    link = Link(fault(Set("cmd_sn", Of("cmd_sn")), at=when(nth=99)), fault(action, at=when(nth=2))).login(
        digests=digests
    )
    link.feed(OUT, replace(PING, cmd_sn=6), PING, PING)
    assert link.pdus(OUT) == [replace(PING, cmd_sn=6), result, PING]
    assert link.wire.fired == 1


@pytest.mark.parametrize(
    "action",
    [
        Set("itt", 9),
        Poke(12, b"\xaa\xbb"),
        Flip(Part.BHS, 19),
        Flip(Part.DATA),
        Flip(Part.PADDING, 1),
        Flip(Part.HEADER_DIGEST, -1, 0x80),
        Flip(Part.DATA_DIGEST),
        Replace(Part.DATA, b"PING?"),
        Replace(Part.PADDING, b"pad"),
        Replace(Part.HEADER_DIGEST, b"1234"),
        Replace(Part.DATA_DIGEST, b"1234"),
        SetKey("A", "1"),
    ],
)
def test_raw_leaves_the_digests_as_they_were(action):
    """And a change of a digest itself stays even where it is not raw."""
    damage = isinstance(action, Flip | Replace) and action.part in (Part.HEADER_DIGEST, Part.DATA_DIGEST)
    right = digested(PING)
    for raw in (False, True):
        link = Link(fault(action, raw=raw)).login().feed(OUT, PING)
        framer = Framer(header_digest=True, data_digest=True)
        framer.receive(link.bytes(OUT))
        try:
            found = framer.next_pdu()
        except HeaderDigestError:
            framer.forgive()
            found = framer.next_pdu()
        assert found is not None
        assert (found.header_digest_error or found.data_digest_error) is (raw or damage)
        assert found.to_bytes() != right.to_bytes()
        if raw and not damage:
            assert (found.header_digest, found.data_digest) == (right.header_digest, right.data_digest)


def test_padding_that_is_not_zero_is_covered_by_the_digest():
    (found,) = Link(fault(Flip(Part.PADDING, 1))).login().feed(OUT, PING).raws(OUT)
    assert found.padding == b"\0\1\0"
    assert not found.data_digest_error


def test_several_changes_of_one_pdu_are_made_before_its_digests():
    what = (Flip(Part.DATA_DIGEST), Set("itt", 9), Hold(pdus=1), Flip(Part.DATA))
    link = Link(fault(*what)).login().feed(OUT, PING, replace(PING, itt=5))
    first, second = link.raws(OUT)
    assert decode(first) == replace(PING, itt=5)
    assert decode(second) == replace(PING, itt=9, data=b"qing!")
    right = second.with_digests(header=True, data=True)
    assert second.header_digest == right.header_digest
    assert bytes([second.data_digest[0] ^ 1, *second.data_digest[1:]]) == right.data_digest


def test_a_pdu_that_is_only_moved_keeps_wrong_digests():
    wrong = digested(PING)
    wrong.data_digest = b"oops"
    inserted = Insert(Template(NopOut, {"itt": 5}))
    link = Link(fault(Repeat(1), inserted, Flip(Part.AHS))).login().feed(OUT, wrong)
    assert link.bytes(OUT) == wrong.to_bytes() * 2 + digested(NopOut(itt=5)).to_bytes()


def test_a_length_that_lies():
    (out,) = Link(fault(Set("data_segment_length", 4))).login(digests=False).feed(OUT, PING).outputs
    assert out == Send(OUT, encode(replace(PING, data_segment_length=4)).to_bytes())


def test_two_faults_on_one_pdu():
    link = Link(fault(Set("itt", 9)), fault(Set("ttt", 8))).login().feed(OUT, PING)
    assert link.pdus(OUT) == [replace(PING, itt=9, ttt=8)]
    assert link.wire.fired == 2


# Which PDU


def test_nth_and_times_count_the_pdus_that_match():
    tests = (FieldIs("itt", 10, Relation.ABOVE), HasKey("A"))
    link = Link(fault(Set("ttt", 0), at=when(tests=tests, nth=2, times=2))).login()
    pings = [NopOut(itt=itt, data=data) for itt in (9, 11, 12, 13, 14) for data in (b"B=1\0", b"A=1\0")]
    changed = [pdu.itt for pdu in link.feed(OUT, *pings).pdus(OUT) if isinstance(pdu, NopOut) and pdu.ttt == 0]
    assert changed == [12, 13]


def test_the_direction_counts():
    link = Link(fault(Drop(), at=when(BACK, None, stage=3))).login().feed(OUT, PING).feed(BACK, NopIn())
    assert link.pdus(OUT) == [PING]
    assert link.pdus(BACK) == []


def test_the_connection_id_counts():
    asked = LoginRequest(csg=1, nsg=3, transit=True, cid=7)
    for cid, sent in ((7, []), (8, [asked])):
        link = Link(fault(Drop(), at=when(OUT, Opcode.LOGIN_REQUEST, cid=cid))).feed(OUT, asked)
        assert link.pdus(OUT) == sent
    at_7, at_8 = (fault(Set("ttt", ttt), at=when(BACK, Opcode.NOP_IN, cid=cid)) for cid, ttt in ((7, 77), (8, 88)))
    link = Link(at_7, at_8).feed(BACK, NopIn(itt=1)).feed(OUT, asked).feed(BACK, NopIn(itt=2))
    assert [pdu.ttt for pdu in link.pdus(BACK) if isinstance(pdu, NopIn)] == [NO_TAG, 77]


@pytest.mark.parametrize("stage", [0, 1, 3])
def test_stages(stage):
    link = Link(fault(Drop(), at=when(OUT, None, stage=stage, times=0)))
    sent = [
        (LoginRequest(csg=0, nsg=1, transit=True), 0),
        (TextRequest(), 0),
        (LoginRequest(csg=1, nsg=3, transit=True), 1),
        (TextRequest(itt=2), 1),
    ]
    link.feed(OUT, *(pdu for pdu, _ in sent))
    link.feed(BACK, LoginResponse(csg=1, nsg=3, transit=True))
    link.feed(OUT, PING)
    assert link.pdus(OUT) == [pdu for pdu, each in [*sent, (PING, 3)] if each != stage]


# PDUs more and fewer


@DIGESTS
@pytest.mark.parametrize("before", [False, True])
def test_insert(digests, before):
    template = Template(NopOut, {"itt": Of("unused_itt"), "cmd_sn": Of("cmd_sn"), "data": b"abc"})
    link = Link(fault(Insert(template, before=before), at=when(nth=2))).login(digests=digests)
    link.feed(OUT, PING, replace(PING, itt=2, cmd_sn=8), replace(PING, itt=3, cmd_sn=9))
    # Before the trigger the next CmdSN is 8, behind it 9.
    inserted = NopOut(itt=0x7E570000, cmd_sn=8 if before else 9, data=b"abc")
    sent = [PING, replace(PING, itt=2, cmd_sn=8), replace(PING, itt=3, cmd_sn=9)]
    sent.insert(1 if before else 2, inserted)
    assert link.pdus(OUT) == sent


@DIGESTS
def test_insert_the_other_way(digests):
    template = Template(
        AsyncMessage, {"async_event": 1, "stat_sn": Of("stat_sn"), "parameter3": Of("trigger.cmd_sn", 1)}
    )
    link = Link(fault(Insert(template, direction=BACK))).login(digests=digests)
    link.feed(BACK, NopIn(itt=0, stat_sn=4)).feed(OUT, PING)
    assert link.pdus(OUT) == [PING]
    assert link.pdus(BACK) == [NopIn(itt=0, stat_sn=4), AsyncMessage(async_event=1, stat_sn=5, parameter3=8)]


def test_inserts_go_round_their_trigger_in_order():
    what = tuple(Insert(Template(NopOut, {"itt": itt}), before=itt < 3) for itt in (1, 2, 3, 4))
    link = Link(fault(*what, Drop())).login().feed(OUT, PING)
    assert [pdu.itt for pdu in link.pdus(OUT) if isinstance(pdu, NopOut)] == [1, 2, 3, 4]


def answer(itt: int, stat_sn: int, *, ack: int = 8) -> NopIn:
    return NopIn(itt=itt, stat_sn=stat_sn, exp_cmd_sn=ack, max_cmd_sn=ack + 9)


ANY_ANSWER = when(BACK, Opcode.NOP_IN)


@DIGESTS
@pytest.mark.parametrize("before", [False, True])
def test_renumber_behind_an_inserted_answer(digests, before):
    template = Template(AsyncMessage, {"async_event": 1, "stat_sn": Of("stat_sn")})
    link = Link(fault(Insert(template, before=before), renumber=True, at=when(BACK, Opcode.NOP_IN, nth=2)))
    link.login(digests=digests)
    link.feed(BACK, answer(1, 4), answer(2, 5), R2T(stat_sn=6), answer(3, 6), DataIn(stat_sn=0))
    link.feed(OUT, NopOut(exp_stat_sn=5), DataOut(exp_stat_sn=6), NopOut(exp_stat_sn=8))
    event = AsyncMessage(async_event=1, stat_sn=5 if before else 6)
    pair = [event, answer(2, 6)] if before else [answer(2, 5), event]
    assert link.pdus(BACK) == [answer(1, 4), *pair, R2T(stat_sn=7), answer(3, 7), DataIn(stat_sn=0)]
    # The target hears of its own numbers.
    assert [pdu.exp_stat_sn for pdu in link.pdus(OUT) if isinstance(pdu, NopOut | DataOut)] == [
        5,
        5 if before else 6,
        7,
    ]


@DIGESTS
def test_renumber_behind_a_dropped_answer(digests):
    link = Link(fault(Drop(), renumber=True, at=when(BACK, Opcode.NOP_IN, nth=2))).login(digests=digests)
    link.feed(BACK, answer(1, 4), answer(2, 5), answer(3, 6)).feed(OUT, replace(PING, exp_stat_sn=6))
    assert link.pdus(BACK) == [answer(1, 4), answer(3, 5)]
    assert link.pdus(OUT) == [replace(PING, exp_stat_sn=7)]


@DIGESTS
def test_renumber_behind_a_dropped_request(digests):
    link = Link(fault(Drop(), renumber=True)).login(digests=digests)
    link.feed(OUT, PING, replace(PING, itt=2, cmd_sn=8)).feed(BACK, answer(2, 4, ack=8))
    assert link.pdus(OUT) == [replace(PING, itt=2, cmd_sn=7)]
    assert link.pdus(BACK) == [replace(answer(2, 4, ack=9))]


@DIGESTS
@pytest.mark.parametrize("before", [False, True])
def test_renumber_behind_an_inserted_request(digests, before):
    template = Template(NopOut, {"itt": 99, "cmd_sn": Of("cmd_sn")})
    link = Link(fault(Insert(template, before=before), renumber=True, at=when(nth=2))).login(digests=digests)
    link.feed(OUT, PING, replace(PING, itt=2, cmd_sn=8), DataOut(), replace(PING, itt=3, cmd_sn=9))
    pair = [NopOut(itt=99, cmd_sn=8 if before else 9), replace(PING, itt=2, cmd_sn=9 if before else 8)]
    if not before:
        pair.reverse()
    assert link.pdus(OUT) == [PING, *pair, DataOut(), replace(PING, itt=3, cmd_sn=10)]
    link.feed(BACK, answer(3, 4, ack=11))
    assert link.pdus(BACK) == [answer(3, 4, ack=10)]


def test_renumber_of_requests_inserted_by_an_answer():
    template = Template(NopOut, {"itt": 99, "cmd_sn": Of("cmd_sn")})
    link = Link(fault(Insert(template, direction=OUT, before=True), renumber=True, at=ANY_ANSWER)).login()
    link.feed(OUT, PING).feed(BACK, answer(1, 4)).feed(OUT, replace(PING, cmd_sn=8))
    assert link.pdus(OUT) == [PING, NopOut(itt=99, cmd_sn=8), replace(PING, cmd_sn=9)]
    assert link.pdus(BACK) == [answer(1, 4)]


def test_without_renumber_the_hole_shows():
    link = Link(fault(Drop(), at=ANY_ANSWER)).login()
    link.feed(BACK, answer(1, 4), answer(2, 5)).feed(OUT, replace(PING, exp_stat_sn=4))
    assert link.pdus(BACK) == [answer(2, 5)]
    assert link.pdus(OUT) == [replace(PING, exp_stat_sn=4)]


def test_renumbering_leaves_a_wrong_data_digest():
    wrong = digested(replace(answer(2, 5), data=b"pong"))
    wrong.data_digest = b"oops"
    link = Link(fault(Drop(), renumber=True, at=ANY_ANSWER)).login().feed(BACK, answer(1, 4), wrong)
    (found,) = link.raws(BACK)
    assert decode(found) == replace(answer(2, 4), data=b"pong")
    assert found.data_digest == b"oops"


def test_drop():
    link = Link(fault(Drop(), at=when(nth=2))).login()
    link.feed(OUT, PING, replace(PING, itt=2), replace(PING, itt=3))
    assert link.pdus(OUT) == [PING, replace(PING, itt=3)]


def test_repeat():
    link = Link(fault(Repeat(2), Set("itt", 5))).login().feed(OUT, PING, PING)
    assert link.pdus(OUT) == [replace(PING, itt=5)] * 3 + [PING]


@DIGESTS
@pytest.mark.parametrize("raw", [False, True])
def test_split_of_data_in(digests, raw):
    at = when(BACK, Opcode.SCSI_DATA_IN)
    link = Link(fault(Split(3), at=at, raw=raw)).login(digests=digests)
    one = DataIn(itt=1, final=False, data_sn=0, data=b"12345678")
    two = DataIn(itt=1, data_sn=1, buffer_offset=8, data=b"ab")
    link.feed(BACK, one, two, ScsiResponse(itt=1, exp_data_sn=2), replace(one, itt=2))
    assert link.pdus(BACK) == [
        replace(one, data=b"123"),
        replace(one, data_sn=1, buffer_offset=3, data=b"45678"),
        replace(two, data_sn=2),
        ScsiResponse(itt=1, exp_data_sn=3),
        replace(one, itt=2),
    ]


@DIGESTS
def test_split_of_data_out(digests):
    at = when(OUT, Opcode.SCSI_DATA_OUT, tests=(FieldIs("data_length", 4, Relation.ABOVE),), times=0)
    link = Link(fault(Split(4), at=at)).login(digests=digests)
    one = DataOut(itt=1, ttt=5, final=False, data=b"12345678")
    two = DataOut(itt=1, ttt=5, data_sn=1, buffer_offset=8, data=b"abcdef")
    link.feed(OUT, one, two, DataOut(itt=1, ttt=6, data=b"1"))
    assert link.pdus(OUT) == [
        replace(one, data=b"1234"),
        replace(one, data_sn=1, buffer_offset=4, data=b"5678"),
        replace(two, data_sn=2, final=False, data=b"abcd"),
        replace(two, data_sn=3, buffer_offset=12, data=b"ef"),
        DataOut(itt=1, ttt=6, data=b"1"),
    ]


def test_what_is_no_data_pdu_is_not_split():
    link = Link(fault(Split(3))).login().feed(OUT, PING)
    assert link.pdus(OUT) == [PING]


# Later, in pieces, or no more


def test_hold_behind_pdus():
    link = Link(fault(Hold(pdus=2), Set("ttt", 0))).login()
    first, *others = [replace(PING, itt=itt) for itt in range(5)]
    link.feed(OUT, first)
    link.feed(BACK, NopIn(), NopIn(), NopIn())
    assert link.pdus(OUT) == []
    assert link.wire.next_deadline() is None
    assert link.wire.handle_timer(1e9) == []
    link.feed(OUT, *others)
    assert link.pdus(OUT) == [others[0], others[1], replace(first, ttt=0), *others[2:]]


def test_hold_for_a_time():
    link = Link(fault(Hold(seconds=5.0)), fault(Hold(seconds=2.5), at=when(nth=2)), fault(Hold(pdus=9), at=when(nth=4)))
    link.login()
    assert link.wire.next_deadline() is None
    pings = [replace(PING, itt=itt) for itt in range(4)]
    for index, ping in enumerate(pings):
        buffer = bytearray(digested(ping).to_bytes())
        link.take(link.wire.forward(OUT, buffer, 100.0 + index))
        buffer[:] = bytes(len(buffer))
    assert link.pdus(OUT) == [pings[2]]
    assert link.wire.next_deadline() == 103.5
    link.take(link.wire.handle_timer(103.4))
    assert link.pdus(OUT) == [pings[2]]
    link.take(link.wire.handle_timer(103.5))
    assert link.pdus(OUT) == [pings[2], pings[1]]
    assert link.wire.next_deadline() == 105.0
    link.take(link.wire.handle_timer(200.0))
    assert link.pdus(OUT) == [pings[2], pings[1], pings[0]]
    assert link.wire.next_deadline() is None


def test_pdus_that_are_due_together_come_by_their_time():
    link = Link(fault(Hold(seconds=5.0)), fault(Hold(seconds=2.0), at=when(nth=2))).login()
    link.feed(OUT, PING, replace(PING, itt=2), now=10.0)
    link.take(link.wire.handle_timer(20.0))
    assert link.pdus(OUT) == [replace(PING, itt=2), PING]


def test_segment():
    link = Link(fault(Segment(20), at=when(nth=2))).login(digests=False).feed(OUT, PING, PING, PING)
    data = encode(PING).to_bytes()
    assert link.outputs == [
        Send(OUT, data),
        Send(OUT, data[:20]),
        Send(OUT, data[20:40]),
        Send(OUT, data[40:]),
        Send(OUT, data),
    ]


def test_segments_of_a_repeated_pdu():
    link = Link(fault(Segment(48), Repeat(1))).login(digests=False).feed(OUT, PING)
    data = encode(PING).to_bytes()
    assert link.outputs == [Send(OUT, data[:48]), Send(OUT, data[48:])] * 2


@pytest.mark.parametrize("length", [0, 10, 50, 999])
def test_truncate(length):
    link = Link(fault(Truncate(length))).login(digests=False).feed(OUT, PING, PING)
    data = encode(PING).to_bytes()
    assert link.bytes(OUT) == data[:length] + data
    assert all(isinstance(output, Send) and output.data for output in link.outputs)


def test_truncate_the_last_of_several():
    link = Link(fault(Truncate(50), Repeat(1), Segment(30))).login(digests=False).feed(OUT, PING)
    data = encode(PING).to_bytes()
    pieces = [data[:30], data[30:], data[:30], data[30:50]]
    assert link.outputs == [Send(OUT, piece) for piece in pieces]


@pytest.mark.parametrize(("action", "reset"), [(Close(), False), (Reset(), True)])
@pytest.mark.parametrize("what", [(), (Drop(),)])
def test_hanging_up(action, reset, what):
    timed = fault(Hold(seconds=1.0), at=when(opcode=Opcode.TEXT_REQUEST))
    held = fault(Hold(pdus=1), at=when(opcode=Opcode.SCSI_COMMAND))
    link = Link(fault(*what, action, at=when(nth=2, times=0)), timed, held).login(digests=False)
    link.feed(OUT, TextRequest(), PING, ScsiCommand(), PING, PING)
    sent = encode(PING).to_bytes() * (1 if what else 2)
    assert link.outputs == [Send(OUT, sent), Hangup(OUT, reset)]
    assert link.wire.fired == 3
    assert link.wire.forward(OUT, bytes(48), 0.0) == []
    assert link.wire.forward(BACK, bytes(48), 0.0) == []
    assert link.wire.handle_timer(9.0) == []
    assert link.wire.finish(OUT) == []


def test_a_target_hangs_up():
    link = Link(fault(Close(), at=ANY_ANSWER)).login(digests=False).feed(BACK, NopIn())
    assert link.outputs == [Send(BACK, encode(NopIn()).to_bytes()), Hangup(BACK, False)]


def test_silence():
    link = Link(fault(Silence(), at=when(nth=2))).login()
    link.feed(OUT, PING, PING, PING).feed(BACK, NopIn())
    link.take(link.wire.forward(OUT, b"half", 0.0))
    assert link.pdus(OUT) == [PING]
    assert link.pdus(BACK) == [NopIn()]
    assert link.wire.finish(OUT) == []


# Login


LOGIN = LoginRequest(csg=1, nsg=3, transit=True, data=b"HeaderDigest=CRC32C\0DataDigest=CRC32C\0")
WELCOME = LoginResponse(csg=1, nsg=3, transit=True, data=LOGIN.data)


def test_login_pdus_have_no_digests():
    what = (Set("exp_cmd_sn", 5), Insert(Template(LoginResponse, {"itt": 1}), before=True), Insert(Template(NopIn)))
    link = Link(fault(*what, at=when(BACK, Opcode.LOGIN_RESPONSE)), fault(Set("cmd_sn", 9), at=when(OUT, None)))
    link.feed(OUT, LOGIN).feed(BACK, WELCOME)
    assert link.bytes(OUT) == encode(replace(LOGIN, cmd_sn=9)).to_bytes()
    # What goes out behind the final Login Response has some.
    plain = join([encode(LoginResponse(itt=1)), encode(replace(WELCOME, exp_cmd_sn=5))])
    assert link.bytes(BACK) == plain + digested(NopIn()).to_bytes()


def test_what_the_final_response_sets_off_the_other_way():
    what = (Insert(Template(NopOut, {"itt": 1}), direction=OUT, before=True), Insert(Template(NopOut), direction=OUT))
    link = Link(fault(*what, at=when(BACK, Opcode.LOGIN_RESPONSE)))
    link.feed(OUT, LOGIN).feed(BACK, WELCOME)
    # The initiator does not know yet that it is logged in, and then it does.
    early, late = encode(NopOut(itt=1)).to_bytes(), digested(NopOut()).to_bytes()
    assert link.bytes(OUT) == encode(LOGIN).to_bytes() + early + late


def test_digests_that_a_fault_talks_the_initiator_out_of():
    """The target goes on with digests, the initiator without; both are understood."""
    spoil = fault(SetKey("HeaderDigest", "None"), SetKey("DataDigest", None), at=when(BACK, Opcode.LOGIN_RESPONSE))
    change = fault(Set("ttt", 5), at=when(OUT)), fault(Set("ttt", 5), at=when(BACK, Opcode.NOP_IN))
    link = Link(spoil, *change).feed(OUT, LOGIN).feed(BACK, WELCOME)
    link.outputs.clear()
    link.feed(OUT, encode(PING)).feed(BACK, digested(NopIn(itt=1, data=b"ping!")))
    assert link.bytes(OUT) == encode(replace(PING, ttt=5)).to_bytes()
    assert link.bytes(BACK) == digested(NopIn(itt=1, ttt=5, data=b"ping!")).to_bytes()


@pytest.mark.parametrize("action", [Drop(), Truncate(47), Truncate(0)])
def test_a_final_response_that_does_not_arrive(action):
    """The target is logged in, the initiator asks again."""
    lost = fault(action, at=when(BACK, Opcode.LOGIN_RESPONSE))
    again = fault(Set("cid", 7), at=when(OUT, Opcode.LOGIN_REQUEST, nth=2))
    link = Link(lost, again).feed(OUT, LOGIN).feed(BACK, WELCOME, digested(NopIn(data=b"1"))).feed(OUT, LOGIN)
    assert link.bytes(BACK).endswith(digested(NopIn(data=b"1")).to_bytes())
    assert link.bytes(OUT) == join([encode(LOGIN), encode(replace(LOGIN, cid=7))])


def test_numbers_are_followed_in_a_direction_that_is_not_touched():
    fill = fault(Set("itt", Of("open_itt")), at=when(BACK, Opcode.NOP_IN))
    link = Link(fill).login(digests=False)
    link.feed(OUT, PING, replace(PING, itt=77)).feed(BACK, NopIn())
    assert link.pdus(BACK) == [NopIn(itt=77)]
    assert Link(fill).login().feed(BACK, NopIn()).pdus(BACK) == [NopIn(itt=NO_TAG)]


# Any fault over any dialogue


VALUES = st.integers(-(1 << 33), 1 << 33)


@st.composite
def actions(draw: DrawFn, opcode: int | None) -> Action:
    """An action that fits the PDUs of the opcode."""
    names = sorted(
        name
        for name in {name for cls in PDU_CLASSES.values() for name in cls.FIELDS}
        if opcode is None or has_field(opcode, name)
    )
    places = {name: [field_of(each, name) for each in PDU_CLASSES if has_field(each, name)] for name in names}
    of: SearchStrategy[Of] = st.builds(
        Of, st.sampled_from(SOURCES) | st.sampled_from(names).map("trigger.{}".format), VALUES
    )
    set_literal = st.sampled_from(names).flatmap(
        lambda name: st.builds(Set, st.just(name), st.integers(0, min(place.mask for place in places[name])))
    )
    template = st.sampled_from(sorted(PDU_CLASSES)).flatmap(
        lambda each: st.dictionaries(st.sampled_from(sorted(PDU_CLASSES[each].FIELDS)), of, max_size=3).map(
            lambda values: Template(PDU_CLASSES[each], values)
        )
    )
    key = st.sampled_from(["HeaderDigest", "A"])
    kind: list[SearchStrategy[Action]] = [
        set_literal,
        st.builds(Set, st.sampled_from(names), st.builds(Plus, VALUES) | of),
        st.builds(Poke, st.integers(4, 40), st.binary(min_size=1, max_size=8)),
        st.builds(Flip, st.sampled_from(Part), st.integers(-60, -1) | st.integers(1, 60), st.integers(1, 255)).filter(
            lambda flip: flip.offset != -48
        ),
        st.builds(Replace, st.sampled_from([Part.DATA, Part.PADDING, Part.HEADER_DIGEST]), st.binary(max_size=9)),
        st.builds(Replace, st.just(Part.AHS), st.sampled_from([b"", b"ahs."])),
        st.builds(SetKey, key, st.none() | st.just("None"), st.booleans()),
        st.builds(Insert, template, st.booleans(), st.none() | st.sampled_from(Direction)),
        st.builds(Drop),
        st.builds(Hold, pdus=st.integers(1, 3)),
        st.builds(Hold, seconds=st.floats(0.1, 3.0)),
        st.builds(Repeat, st.integers(1, 3)),
        st.builds(Split, st.integers(1, 40)),
        st.builds(Segment, st.integers(1, 60)),
        st.builds(Truncate, st.integers(0, 60)),
        st.sampled_from([Close(), Reset(), Silence()]),
    ]
    return draw(st.one_of(kind))


@st.composite
def faults(draw: DrawFn) -> Fault:
    opcode = draw(st.none() | st.sampled_from(sorted(PDU_CLASSES)))
    return Fault(
        when=When(
            direction=draw(st.sampled_from(Direction)),
            opcode=opcode,
            stage=draw(st.none() | st.sampled_from([0, 1, 3])),
            tests=(FieldIs("data_length", 12, Relation.BELOW),) if draw(st.booleans()) else (),
            nth=draw(st.integers(1, 2)),
            times=draw(st.integers(0, 2)),
        ),
        what=tuple(draw(st.lists(actions(opcode), min_size=1, max_size=4))),
        raw=draw(st.booleans()),
        renumber=draw(st.booleans()),
    )


@given(
    st.lists(faults(), min_size=1, max_size=4),
    st.lists(st.tuples(st.sampled_from(Direction), true_raws()), max_size=10),
    st.booleans(),
    st.integers(20, 400),
)
def test_any_faults_over_any_dialogue_do_something_and_never_fail(spoilers, sent, digests, size):
    link = Link(*spoilers).login(digests=digests)
    for index, (way, raw) in enumerate(sent):
        stream = raw.with_digests(header=digests, data=digests).to_bytes()
        for start in range(0, len(stream), size):
            link.take(link.wire.forward(way, stream[start : start + size], float(index)))
        deadline = link.wire.next_deadline()
        if deadline is not None and deadline <= index:
            link.take(link.wire.handle_timer(float(index)))
            assert (link.wire.next_deadline() or index + 1) > index
    for way in Direction:
        link.take(link.wire.finish(way))
    assert all(isinstance(output, Send | Hangup) for output in link.outputs)
    if link.wire.fired == 0:
        assert link.bytes(OUT) + link.bytes(BACK) == b"".join(
            raw.with_digests(header=digests, data=digests).to_bytes()
            for way in Direction
            for each, raw in sent
            if each is way
        )


def test_faults_armed_later_know_the_dialogue_and_its_digests() -> None:
    link = Link()
    link.wire = FaultyWire((), follows=True)
    link.login().feed(OUT, ScsiCommand(itt=7, cmd_sn=4)).feed(BACK, ScsiResponse(itt=7, stat_sn=9, exp_cmd_sn=5))
    link.outputs.clear()
    link.wire.arm([Fault(when=When(direction=BACK, stage=3), what=(Set("itt", Of("closed_itt")),))])
    link.feed(BACK, NopIn(stat_sn=10), NopIn(stat_sn=10))
    first, second = link.raws(BACK)
    assert (first.initiator_task_tag, second.initiator_task_tag) == (7, NO_TAG)
    assert not first.header_digest_error
    assert link.wire.fired == 1


def test_faults_armed_instead_of_others_end_those() -> None:
    link = Link(Fault(when=When(direction=BACK, times=0), what=(Drop(),)))
    link.wire.arm(())
    link.feed(BACK, NopIn(stat_sn=3))
    assert [int.from_bytes(raw.bhs[24:28], "big") for raw in link.raws(BACK)] == [3]
