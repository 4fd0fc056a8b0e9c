"""Changes to one PDU, PDUs from templates, the dialogue's numbers, splits and renumbering, each by itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol import serial
from iscsi_protocol.fault import Flip, Of, Part, Plus, Poke, Replace, Set, SetKey, Template
from iscsi_protocol.fault.edit import as_number, build, edit, touches_digest
from iscsi_protocol.fault.numbers import Numbers
from iscsi_protocol.fault.renumber import Numbering
from iscsi_protocol.fault.split import Splits
from iscsi_protocol.pdu import (
    NO_TAG,
    PDU_CLASSES,
    R2T,
    AsyncMessage,
    DataIn,
    DataOut,
    LoginRequest,
    LoginResponse,
    LogoutResponse,
    NopIn,
    NopOut,
    Pdu,
    RawPdu,
    Reject,
    ScsiCommand,
    ScsiResponse,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
    UnknownPdu,
    decode,
    encode,
    set_field,
)
from iscsi_protocol.stream import Direction

OUT, BACK = Direction.TO_TARGET, Direction.TO_INITIATOR
PING = replace(
    encode(NopOut(itt=0xFFFFFFFE, lun=bytes(range(8)), data=b"ping!")).with_digests(header=True, data=True),
    data_digest_error=True,
)


def no_look_up(of: Of) -> int:
    raise AssertionError("nothing is to be looked up")


def message(raw: RawPdu) -> NopOut:
    found = decode(raw)
    assert isinstance(found, NopOut)
    return found


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("itt", 5, 5),
        ("itt", Plus(1), 0xFFFFFFFF),
        ("itt", Plus(2), 0),
        ("itt", Plus(-0xFFFFFFFF), 0xFFFFFFFF),
        ("final", False, False),
        ("final", Plus(1), False),
        ("lun", b"12345678", b"12345678"),
        ("lun", 5, bytes(7) + b"\5"),
        ("lun", Plus(1), bytes(range(7)) + b"\x08"),
        ("itt", Of("stat_sn"), 0x23456789),
        ("immediate", Of("stat_sn"), True),
        ("lun", Of("stat_sn"), b"\0\0\0\x01\x23\x45\x67\x89"),
    ],
)
def test_set(name, value, found):
    changed = edit(PING, Set(name, value), lambda of: 0x1_2345_6789)
    assert message(changed) == replace(message(PING), **{name: found})
    assert replace(changed, bhs=PING.bhs) == PING


def test_set_of_a_length_is_a_lie():
    changed = edit(PING, Set("data_segment_length", Plus(3)), no_look_up)
    assert message(changed).data_segment_length == 8
    assert changed.data == b"ping!"


def test_set_of_a_field_that_the_message_lacks():
    with pytest.raises(KeyError):
        edit(PING, Set("stat_sn", 1), no_look_up)


def test_poke():
    changed = edit(PING, Poke(36, b"\1\2\3"), no_look_up)
    assert changed.bhs == bytes(PING.bhs[:36]) + b"\1\2\3" + bytes(PING.bhs[39:])
    assert replace(changed, bhs=PING.bhs) == PING


WHOLE = RawPdu(bytes(range(48)), b"ahs.", b"data!", b"pad", b"hdig", b"ddig")


@pytest.mark.parametrize("part", Part)
@given(offset=st.integers(-60, 60), mask=st.integers(1, 255))
def test_flip(part, offset, mask):
    changed = edit(WHOLE, Flip(part, offset, mask), no_look_up)
    before, after = bytes(getattr(WHOLE, part.value)), bytes(getattr(changed, part.value))
    undone = replace(changed)
    setattr(undone, part.value, before)
    assert undone == WHOLE
    wrong = {index: one ^ other for index, (one, other) in enumerate(zip(before, after, strict=True)) if one != other}
    fits = -len(before) <= offset < len(before)
    assert wrong == ({offset % len(before): mask} if fits else {})


@pytest.mark.parametrize("part", [Part.PADDING, Part.HEADER_DIGEST, Part.DATA_DIGEST])
@pytest.mark.parametrize("value", [b"", b"x", b"12345"])
def test_replace_of_a_part_that_the_header_does_not_count(part, value):
    expected = replace(WHOLE)
    setattr(expected, part.value, value)
    assert edit(WHOLE, Replace(part, value), no_look_up) == expected


def test_replace_of_the_header():
    assert edit(WHOLE, Replace(Part.BHS, bytes(48)), no_look_up) == replace(WHOLE, bhs=bytes(48))


@pytest.mark.parametrize("size", [0, 1, 4, 300])
def test_replace_of_the_data(size):
    changed = edit(PING, Replace(Part.DATA, b"x" * size), no_look_up)
    assert message(changed) == replace(message(PING), data=b"x" * size)
    assert changed.padding == bytes(-size % 4)
    assert (changed.header_digest, changed.data_digest) == (PING.header_digest, PING.data_digest)


def test_replace_of_the_ahs():
    changed = edit(PING, Replace(Part.AHS, b"12345678"), no_look_up)
    assert message(changed) == replace(message(PING), ahs=b"12345678")


@pytest.mark.parametrize(
    ("text", "action", "result"),
    [
        (b"A=1\0B=2\0", SetKey("A", "x"), b"A=x\0B=2\0"),
        (b"A=1\0B=2\0", SetKey("C", "x"), b"A=1\0B=2\0C=x\0"),
        (b"A=1\0B=2\0", SetKey("A", None), b"B=2\0"),
        (b"A=1\0B=2\0", SetKey("C", None), b"A=1\0B=2\0"),
        (b"A=1\0B=2\0", SetKey("A", "x", again=True), b"A=1\0B=2\0A=x\0"),
        (b"A=1\0", SetKey("B", "x", again=True), b"A=1\0B=x\0"),
        (b"A=1\0A=2\0", SetKey("A", "x"), b"A=x\0A=x\0"),
        (b"AB=1\0", SetKey("A", "x"), b"AB=1\0A=x\0"),
        (b"", SetKey("A", "x"), b"A=x\0"),
        (b"A=1\0", SetKey("A", None), b""),
        (b"A=1\0\0B", SetKey("A", ""), b"A=\0\0B"),
        # The pair goes on in the next PDU.
        (b"A=1\0Bcd", SetKey("C", "x"), b"A=1\0C=x\0Bcd"),
        (b"A=1", SetKey("A", None), b"A=1"),
        (b"A=1\0", SetKey("A", "\udcff\N{EURO SIGN}"), b"A=\xff\xe2\x82\xac\0"),
    ],
)
def test_set_key(text, action, result):
    changed = edit(encode(LoginRequest(data=text)), action, no_look_up)
    assert changed.data == result
    assert changed.data_segment_length == len(result)
    assert changed.padding == bytes(-len(result) % 4)


@pytest.mark.parametrize("part", Part)
def test_which_changes_are_to_digests(part):
    digest = part in (Part.HEADER_DIGEST, Part.DATA_DIGEST)
    assert touches_digest(Flip(part)) is digest
    assert part is Part.BHS or touches_digest(Replace(part, b"")) is digest
    assert not touches_digest(Set("itt", 1))


def test_parts_may_be_views():
    raw = RawPdu(memoryview(PING.bhs), memoryview(b""), memoryview(b"A=1\0"), memoryview(b""))
    for action in (Set("itt", Plus(1)), Poke(0, b"\1"), Flip(Part.DATA), Replace(Part.DATA, b""), SetKey("A", "2")):
        assert edit(raw, action, no_look_up).to_bytes() == edit(raw.kept(), action, no_look_up).to_bytes()


def test_a_template_takes_numbers_modulo_its_fields():
    template = Template(
        LogoutResponse, {"itt": Of("open_itt"), "time2wait": Of("stat_sn"), "response": 2, "data": b"abc"}
    )
    raw = build(template, lambda of: {"open_itt": -1, "stat_sn": 0x12345}[of.source])
    assert decode(raw) == LogoutResponse(itt=0xFFFFFFFF, time2wait=0x2345, response=2, data=b"abc")
    assert raw.padding == b"\0"
    assert build(Template(UnknownPdu, {"opcode": Of("stat_sn")}), lambda of: 0x5C).opcode == 0x1C


def test_values_as_numbers():
    assert [as_number(value) for value in (b"\1\0", True, 7)] == [256, 1, 7]


class Dialogue:
    """Numbers that have watched some PDUs."""

    def __init__(self, *pdus: Pdu) -> None:
        self.numbers = Numbers()
        for pdu in pdus:
            self.numbers.watch(BACK if pdu.OPCODE & 0x20 else OUT, encode(pdu))

    def of(self, source: str, amount: int = 0) -> int:
        return self.numbers.value(Of(source, amount), PING)


def test_numbers_before_anything_was_said():
    dialogue = Dialogue()
    for name in ("stat_sn", "exp_stat_sn", "cmd_sn", "exp_cmd_sn", "max_cmd_sn"):
        assert dialogue.of(name) == 0
    for name in ("open_itt", "closed_itt", "open_ttt"):
        assert dialogue.of(name) == NO_TAG
    assert dialogue.of("trigger.itt", 3) == 0xFFFFFFFE + 3
    assert dialogue.of("trigger.lun") == 0x0001020304050607


@pytest.mark.parametrize(
    ("pdus", "source", "value"),
    [
        ([NopOut(cmd_sn=4)], "cmd_sn", 5),
        ([NopOut(cmd_sn=0xFFFFFFFF)], "cmd_sn", 0),
        ([NopOut(cmd_sn=4, immediate=True)], "cmd_sn", 4),
        ([LoginRequest(cmd_sn=4)], "cmd_sn", 4),
        ([NopOut(cmd_sn=4), DataOut()], "cmd_sn", 5),
        ([NopOut(exp_stat_sn=9)], "exp_stat_sn", 9),
        ([DataOut(exp_stat_sn=9)], "exp_stat_sn", 9),
        ([ScsiResponse(stat_sn=4)], "stat_sn", 5),
        ([R2T(stat_sn=4)], "stat_sn", 4),
        ([NopIn(stat_sn=4)], "stat_sn", 4),
        ([NopIn(stat_sn=4, itt=1)], "stat_sn", 5),
        ([ScsiResponse(stat_sn=4), DataIn()], "stat_sn", 5),
        ([DataIn(stat_sn=4, status_present=True)], "stat_sn", 5),
        ([ScsiResponse(exp_cmd_sn=6, max_cmd_sn=8)], "exp_cmd_sn", 6),
        ([ScsiResponse(exp_cmd_sn=6, max_cmd_sn=8)], "max_cmd_sn", 8),
        ([LoginResponse(stat_sn=4)], "stat_sn", 5),
        ([LoginResponse(stat_sn=4, status_class=2)], "stat_sn", 0),
        ([R2T(ttt=77), ScsiResponse()], "open_ttt", 77),
        ([LoginRequest(itt=1)], "open_itt", NO_TAG),
        ([ScsiCommand(itt=1), NopOut(itt=2)], "open_itt", 2),
        ([ScsiCommand(itt=1), NopOut()], "open_itt", 1),
        ([ScsiCommand(itt=1), ScsiCommand(itt=2), ScsiResponse(itt=2)], "open_itt", 1),
        ([ScsiCommand(itt=1), ScsiCommand(itt=2), ScsiResponse(itt=1)], "closed_itt", 1),
        ([ScsiCommand(itt=1), DataIn(itt=1)], "closed_itt", NO_TAG),
        ([ScsiCommand(itt=1), DataIn(itt=1, status_present=True)], "closed_itt", 1),
        ([TextRequest(itt=1), TextResponse(itt=1, final=False)], "closed_itt", NO_TAG),
        ([TextRequest(itt=1), TextResponse(itt=1)], "closed_itt", 1),
        ([NopOut(itt=1), NopIn(itt=1)], "closed_itt", 1),
        ([NopOut(itt=1), AsyncMessage(itt=1), R2T(itt=1)], "closed_itt", NO_TAG),
        ([ScsiCommand(itt=1), TaskManagementResponse(itt=1)], "closed_itt", 1),
        ([ScsiCommand(itt=1), LogoutResponse(itt=1)], "closed_itt", 1),
        ([ScsiCommand(itt=1), Reject(data=bytes(encode(ScsiCommand(itt=1)).bhs))], "closed_itt", 1),
        ([ScsiCommand(itt=0), Reject(data=b"short")], "closed_itt", NO_TAG),
        ([ScsiCommand(itt=1), Reject(data=bytes(encode(DataOut(itt=1)).bhs))], "open_itt", 1),
        ([ScsiResponse(itt=5)], "closed_itt", NO_TAG),
        ([ScsiCommand(itt=1), ScsiResponse(itt=1), ScsiCommand(itt=1)], "closed_itt", NO_TAG),
        ([ScsiCommand(itt=1), ScsiResponse(itt=1), ScsiCommand(itt=1)], "open_itt", 1),
    ],
)  # fmt: skip
def test_numbers_of_a_dialogue(pdus, source, value):
    assert Dialogue(*pdus).of(source) == value


def test_an_unused_tag_is_neither_open_nor_closed():
    first = Dialogue().of("unused_itt")
    assert Dialogue(NopOut(itt=first)).of("unused_itt") == first + 1
    dialogue = Dialogue(NopOut(itt=first), NopIn(itt=first), NopOut(itt=first + 1))
    assert dialogue.of("unused_itt", 5) == first + 2 + 5


def test_only_so_many_tags_are_remembered():
    dialogue = Dialogue(*(NopOut(itt=itt) for itt in range(3000)))
    assert dialogue.of("open_itt") == 2999
    assert len(dialogue.numbers._open) == 1024
    for itt in range(3000):
        dialogue.numbers.watch(BACK, encode(NopIn(itt=itt)))
    assert dialogue.of("closed_itt") == 2999
    assert len(dialogue.numbers._closed) == 1024


@given(st.integers(1, 50), st.booleans(), st.booleans())
def test_split_of_a_data_in(at, status, digests):
    whole = DataIn(
        itt=1, ttt=5, lun=b"12345678", acknowledge=True, status_present=status, underflow=status, status=2, stat_sn=7,
        exp_cmd_sn=3, max_cmd_sn=4, data_sn=0xFFFFFFFF, buffer_offset=100, residual_count=9, data=bytes(range(40)),
    )  # fmt: skip
    raw = encode(whole).with_digests(header=digests, data=digests)
    halves = Splits().split(raw, at)
    if at >= 40:
        assert halves == [raw]
        return
    first, second = (decode(half) for half in halves)
    assert first == DataIn(
        final=False, itt=1, exp_cmd_sn=3, max_cmd_sn=4, data_sn=0xFFFFFFFF, buffer_offset=100, data=bytes(range(at))
    )
    assert second == replace(whole, data_sn=0, buffer_offset=100 + at, data=bytes(range(at, 40)))
    for half in halves:
        assert half.padding == bytes(-len(half.data) % 4)
        assert not half.header_digest
        assert not half.data_digest


def test_split_of_a_data_out():
    whole = DataOut(itt=1, ttt=5, lun=b"12345678", exp_stat_sn=3, data_sn=2, buffer_offset=512, data=b"abcdefg")
    first, second = (decode(half) for half in Splits().split(encode(whole), 3))
    assert first == replace(whole, final=False, data=b"abc")
    assert second == replace(whole, data_sn=3, buffer_offset=515, data=b"defg")


@pytest.mark.parametrize("pdu", [NopOut(data=bytes(9)), ScsiCommand(data=bytes(9)), DataIn(data=b"1"), DataOut()])
def test_what_is_not_split(pdu):
    raw = encode(pdu)
    assert Splits().split(raw, 1) == [raw]


def out(ttt: int, data_sn: int, *, final: bool = False) -> RawPdu:
    return encode(DataOut(itt=1, ttt=ttt, data_sn=data_sn, final=final, data=b"12345678"))


def data_sns(splits: Splits, raws: list[RawPdu]) -> list[int]:
    return [int.from_bytes(splits.mended(raw).bhs[36:40], "big") for raw in raws]


def test_data_sn_behind_a_split_within_one_sequence_of_data_out():
    splits = Splits()
    splits.split(out(5, 0), 4)
    assert data_sns(splits, [out(6, 0), out(5, 1)]) == [0, 2]
    splits.split(splits.mended(out(5, 2)), 4)
    assert data_sns(splits, [out(5, 3), out(5, 4, final=True), out(5, 0)]) == [5, 6, 0]
    splits.split(out(5, 0, final=True), 4)
    assert data_sns(splits, [out(5, 0)]) == [0]


def test_data_sn_and_exp_data_sn_behind_a_split_data_in():
    splits = Splits()
    part = encode(DataIn(itt=1, data_sn=0, data=b"12345678"))
    splits.split(part, 4)
    others = [encode(DataIn(itt=1, data_sn=1)), encode(DataIn(itt=2, data_sn=1)), encode(NopIn(itt=1))]
    assert data_sns(splits, others) == [2, 1, 0]
    response = encode(ScsiResponse(itt=1, exp_data_sn=2)).with_digests(header=True, data=False)
    mended = splits.mended(response)
    assert decode(mended) == ScsiResponse(itt=1, exp_data_sn=3)
    assert mended == mended.with_digests(header=True, data=False)
    assert data_sns(splits, [part]) == [0]
    splits.split(part, 4)
    assert data_sns(splits, [encode(DataIn(itt=1, data_sn=1, status_present=True)), part]) == [2, 0]
    splits.split(encode(DataIn(itt=1, status_present=True, data=b"12345678")), 4)
    assert data_sns(splits, [part]) == [0]


SN = st.integers(0, 0xFFFFFFFF)


def stat_sn(numbering: Numbering, number: int) -> int:
    return int.from_bytes(numbering.mended(BACK, encode(ScsiResponse(stat_sn=number))).bhs[24:28], "big")


def acknowledged(numbering: Numbering, number: int) -> int:
    return int.from_bytes(numbering.mended(OUT, encode(DataOut(exp_stat_sn=number))).bhs[28:32], "big")


@given(SN)
def test_behind_an_inserted_response(sn):
    numbering = Numbering()
    numbering.inserted(BACK, encode(NopIn(itt=1, stat_sn=sn)))
    after = serial.add
    assert stat_sn(numbering, sn) == after(sn, 1)
    # Acknowledgements that were on their way still mean what they say; the inserted one is not the engine's.
    assert acknowledged(numbering, after(sn, -1)) == after(sn, -1)
    assert acknowledged(numbering, sn) == sn
    assert acknowledged(numbering, after(sn, 1)) == sn
    assert acknowledged(numbering, after(sn, 2)) == after(sn, 1)


@given(SN)
def test_behind_a_dropped_response(sn):
    numbering = Numbering()
    numbering.dropped(BACK, encode(NopIn(itt=1, stat_sn=sn)))
    after = serial.add
    assert stat_sn(numbering, after(sn, 1)) == sn
    assert acknowledged(numbering, after(sn, -1)) == after(sn, -1)
    # What is awaited next is the one behind the dropped one.
    assert acknowledged(numbering, sn) == after(sn, 1)
    assert acknowledged(numbering, after(sn, 1)) == after(sn, 2)


@given(SN, st.lists(st.sampled_from(["send", "insert", "drop"]), max_size=30))
def test_both_ends_see_numbers_without_holes(start, steps):
    numbering = Numbering()
    ours = theirs = start
    for step in steps:
        if step == "insert":
            numbering.inserted(BACK, encode(ScsiResponse(stat_sn=theirs)))
            theirs = serial.add(theirs)
        else:
            raw = numbering.mended(BACK, encode(ScsiResponse(stat_sn=ours)))
            ours = serial.add(ours)
            assert decode(raw) == ScsiResponse(stat_sn=theirs)
            if step == "drop":
                numbering.dropped(BACK, raw)
            else:
                theirs = serial.add(theirs)
        assert acknowledged(numbering, theirs) == ours
    # Numbers of long ago do not pile up.
    assert not numbering._counters[BACK]._recent


def test_requests_and_the_window():
    numbering = Numbering()
    numbering.inserted(OUT, encode(NopOut(cmd_sn=10)))
    assert decode(numbering.mended(OUT, encode(NopOut(cmd_sn=10)))) == NopOut(cmd_sn=11)
    assert decode(numbering.mended(OUT, encode(DataOut(data_sn=1)))) == DataOut(data_sn=1)
    answer = encode(NopIn(exp_cmd_sn=10, max_cmd_sn=20)).with_digests(header=True, data=False)
    mended = numbering.mended(BACK, answer)
    assert decode(mended) == NopIn(exp_cmd_sn=10, max_cmd_sn=19)
    assert mended == mended.with_digests(header=True, data=False)
    assert decode(numbering.mended(BACK, encode(NopIn(exp_cmd_sn=11, max_cmd_sn=21)))) == NopIn(
        exp_cmd_sn=10, max_cmd_sn=20
    )


@pytest.mark.parametrize("pdu", [R2T(stat_sn=5), NopIn(stat_sn=5), DataIn(stat_sn=5)])
def test_what_uses_up_no_number_moves_none(pdu):
    numbering = Numbering()
    raw, response = encode(pdu), encode(ScsiResponse(stat_sn=5))
    numbering.inserted(BACK, raw)
    numbering.dropped(BACK, raw)
    assert numbering.behind(BACK, raw, response) is response
    assert numbering.mended(BACK, response) is response
    assert numbering.mended(OUT, encode(NopOut(exp_stat_sn=5))) == encode(NopOut(exp_stat_sn=5))


def test_the_pdu_before_which_one_was_inserted():
    numbering, inserted = Numbering(), encode(ScsiResponse(stat_sn=5))
    assert decode(numbering.behind(BACK, inserted, encode(R2T(stat_sn=5)))) == R2T(stat_sn=6)
    assert decode(numbering.behind(BACK, inserted, encode(DataIn(stat_sn=5)))) == DataIn(stat_sn=5)


@pytest.mark.parametrize("opcode", sorted(set(range(0x40)) - set(PDU_CLASSES)))
def test_unknown_opcodes_have_no_numbers(opcode):
    numbering = Numbering()
    numbering.inserted(BACK, encode(ScsiResponse(stat_sn=5)))
    numbering.inserted(OUT, encode(NopOut(cmd_sn=5)))
    raw = set_field(RawPdu(b"\0" + b"\x11" * 47), "opcode", opcode)
    assert numbering.mended(OUT, raw) is raw
    assert numbering.mended(BACK, raw) is raw
