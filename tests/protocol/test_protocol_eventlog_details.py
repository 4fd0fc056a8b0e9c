"""Extra data value by value: tables of what is shown, and that nothing which can stand in a log makes it fail."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.eventlog import EVENTS, Dump, EventRecord, LoggedEvent, address, details, parse_line
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import (
    PDU_CLASSES,
    AsyncMessage,
    DataIn,
    LoginResponse,
    NopIn,
    Reject,
    ScsiCommand,
    ScsiResponse,
    bidirectional_read_length,
    encode,
    encode_ahs,
    extended_cdb,
)
from iscsi_protocol.scsi.sense import illegal_request

WHEN = "2026-01-31T12:00:00.000000+00:00"


def shown(event, extra):
    """Part title -> name -> text."""
    return {part.title: {each.name: each.text for each in part.details} for part in details(event, bytes(extra))}


def logged(event, extra):
    packet = EventRecord.of(event, extra, sequence=1).encode().hex()
    return parse_line(json.dumps({"time": WHEN, "dump": packet}))


def test_every_field_of_a_header_stands_at_its_place():
    bhs = encode(
        DataIn(status_present=True, status=2, itt=0x10, stat_sn=7, buffer_offset=8192, reserved=1 << 360)
    ).to_bytes()
    (part,) = details(26, bhs)
    rows = {each.name: (each.offset, each.value, each.text) for each in part.details}
    assert part.title == "SCSI Data-In"
    assert rows["opcode"] == (0, 0x25, "0x25  SCSI Data-In")
    assert rows["status_present"] == (1, True, "1")
    assert rows["not defined"] == (2, 1, "0x01")
    assert rows["status"] == (3, 2, "0x02  CHECK CONDITION")
    assert rows["itt"] == (16, 16, "0x00000010")
    assert rows["buffer_offset"] == (40, 8192, "8192")
    assert set(rows) == {*DataIn.FIELDS, "opcode", "total_ahs_length", "data_segment_length", "not defined"}
    assert [each.offset for each in part.details] == sorted(each.offset for each in part.details)


def test_a_header_that_is_cut_is_shown_as_far_as_it_goes():
    bhs = encode(NopIn(stat_sn=9)).to_bytes()
    for length in range(1, 48):
        (part,) = details(27, bhs[:length])
        whole = [field for field in NopIn.FIELDS.values() if field.at.offset + field.at.size <= length]
        assert {field.name for field in whole} <= {each.name for each in part.details}
        assert part.details[-1].text == f"{length} of 48 bytes"
    assert details(27, b"")[0].title == "no header"


def test_an_unknown_opcode_shows_what_is_in_its_header():
    rows = shown(24, bytes([0x33]) + bytes(19) + b"\xaa" + bytes(27))["opcode 0x33"]
    assert rows == {"opcode": "0x33", "total_ahs_length": "0", "data_segment_length": "0", "not defined": "0xaa"}


def test_a_login_response_with_its_text():
    pdu = LoginResponse(status_class=2, status_detail=3, csg=1, data=b"A=1\0\x1b=\xffx\0nonsense\0=")
    found = shown(10, encode(pdu).to_bytes())
    assert found["Login Response"]["status_detail"] == "0x03  0203 (not found)"
    assert found["Login Response"]["csg"] == "0x01  operational"
    assert found["text"] == {"A": "1", "\\x1b": "\\xffx", "no pair": "nonsense", "": ""}


def test_text_that_is_cut():
    whole = encode(LoginResponse(data=b"A=1\0B=2\0")).to_bytes()
    assert shown(11, whole[:52])["text"] == {"A": "1", "cut off": "4 of 8 bytes"}


def test_bytes_behind_the_padding_are_shown():
    pdu = encode(LoginResponse(data=b"A=1\0B"))
    assert set(shown(11, pdu.to_bytes())) == {"Login Response", "text"}
    assert shown(11, pdu.to_bytes() + b"\7")["more bytes"] == {"bytes": "07"}
    pdu.padding = b"\0\0\1"
    assert shown(11, pdu.to_bytes())["more bytes"] == {"bytes": "00 00 01"}


def test_additional_headers():
    cdb = bytes([0x7F, *bytes(6), 0x18, 0, 9]) + bytes(22)
    ahs = encode_ahs([extended_cdb(cdb), bidirectional_read_length(512)])
    header = encode(ScsiCommand(cdb=cdb[:16], ahs=ahs)).to_bytes()
    rows = shown(29, header)["AHS"]
    assert rows["whole cdb"] == f"{cdb.hex(' ')}  READ(32)"
    assert rows["bidirectional read length"] == "00 00 00 02 00"
    assert shown(29, header[:60])["AHS"]["cut off"] == "12 of 28 bytes"
    broken = header[:48] + b"\xff\xff" + header[50:]
    assert "runs past the end" in shown(29, broken)["AHS"]["not a segment"]


def test_sense_data():
    sense = illegal_request(0x2400, 2).build()
    data = len(sense).to_bytes(2, "big") + sense + b"\5"
    rows = shown(10, encode(ScsiResponse(status=2, data=data)).to_bytes())["sense data"]
    assert rows["sense"] == "ILLEGAL REQUEST, INVALID FIELD IN CDB"
    assert rows["behind it"] == "05"
    assert rows["sense key specific"] == "c0 00 02"
    named = replace(illegal_request(0x2100), information=4096).build()
    data = len(named).to_bytes(2, "big") + named
    assert shown(10, encode(ScsiResponse(data=data)).to_bytes())["sense data"]["information"] == "0x1000"
    cut = shown(10, encode(ScsiResponse(data=b"\0\x12" + sense[:4])).to_bytes())["sense data"]
    assert cut["cut off"] == "4 of 18 bytes"


def test_sense_data_of_no_length():
    assert shown(10, encode(ScsiResponse(data=b"\0\0")).to_bytes())["sense data"] == {"sense_length": "0"}


def test_a_rejected_header_within_a_reject():
    found = shown(10, encode(Reject(reason=4, data=encode(NopIn()).to_bytes())).to_bytes())
    assert found["Reject"]["reason"] == "0x04  protocol error"
    assert found["rejected: NOP-In"]["itt"] == "0xffffffff"


def test_a_header_digest_beside_the_right_one():
    whole = encode(NopIn()).with_digests(header=True, data=False).to_bytes()
    digest = shown(22, whole)["header digest"]
    assert digest["computed"].split()[0] == digest["given"]
    wrong = shown(22, whole[:48] + bytes(each ^ 1 for each in whole[48:]))["header digest"]
    assert wrong["computed"].split()[0] != wrong["given"]
    assert shown(22, whole[:48] + b"\1")["header digest"] == {"cut off": "1 of 4 bytes"}


@pytest.mark.parametrize(
    ("extra", "rows"),
    [
        (address(Endpoint("192.0.2.1", 3260)), {"family": "IPv4", "port": "3260", "address": "192.0.2.1:3260"}),
        (
            address(Endpoint("::1", 1)) + b"\1",
            {"family": "IPv6", "port": "1", "address": "[::1]:1", "more bytes": "01"},
        ),
        (b"\2\0\1\0\x7f", {"family": "IPv4", "port": "1", "address": "7f", "cut off": "1 of 4 bytes"}),
        (b"\2\0\1", {"family": "IPv4", "more bytes": "01", "cut off": "3 of 4 bytes"}),
        (b"", {"cut off": "0 of 4 bytes"}),
        (b"\x09\0\1\0h", {"family": "9", "port": "1", "host": "h:1"}),
    ],
)
def test_addresses(extra, rows):
    assert shown(1, extra)["data"] == rows


# Arbitrary extra data in the layout of each event.

headers = st.one_of(
    st.binary(min_size=48, max_size=48),
    st.builds(
        lambda opcode, rest: bytes([opcode]) + rest, st.sampled_from(sorted(PDU_CLASSES)), st.binary(min_size=47)
    ),
)
senses = st.builds(
    lambda code, rest: (2 + len(rest)).to_bytes(2, "big") + bytes([code]) + rest,
    st.sampled_from([0x70, 0x71, 0x72, 0x73, 0]),
    st.binary(max_size=40),
)
texts = st.lists(st.tuples(st.binary(max_size=10), st.binary(max_size=10))).map(
    lambda pairs: b"\0".join(key + b"=" + value for key, value in pairs)
)
data_segments = st.one_of(senses, texts, st.binary(max_size=60))
ahs_chains = st.binary(max_size=24).map(lambda data: data[: len(data) & ~3])
pdus = st.one_of(
    headers,
    st.builds(lambda data: encode(LoginResponse(data=data)).to_bytes(), data_segments),
    st.builds(lambda data: encode(ScsiResponse(data=data)).to_bytes(), data_segments),
    st.builds(lambda data: encode(AsyncMessage(data=data)).to_bytes(), data_segments),
    st.builds(lambda data: encode(Reject(data=data)).to_bytes(), st.one_of(headers, data_segments)),
    st.builds(lambda ahs, data: encode(ScsiCommand(ahs=ahs, data=data)).to_bytes(), ahs_chains, data_segments),
)
LAYOUTS = {
    Dump.NONE: st.just(b""),
    Dump.ADDRESS: st.builds(
        lambda family, port, host: family.to_bytes(2, "little") + port + host,
        st.sampled_from([0, 2, 23, 9]),
        st.binary(min_size=2, max_size=2),
        st.binary(max_size=20),
    ),
    Dump.CDB: st.binary(max_size=32),
    Dump.PDU: pdus,
    Dump.TEXT: st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))),
    Dump.TARGET_NAME: st.text().map(str.encode),
    Dump.HEADER: headers,
    Dump.HEADER_AND_DIGEST: st.builds(lambda bhs, digest: bhs + digest, headers, st.binary(min_size=4, max_size=4)),
    Dump.REJECTED_HEADER: pdus,
} | dict.fromkeys(
    (Dump.COMMAND_NUMBERS, Dump.BURST_LENGTHS, Dump.CHECKSUMS, Dump.STATUS_NUMBERS),
    st.binary(min_size=8, max_size=8),
)
LAYOUTS |= {dump: st.binary(min_size=4, max_size=4) for dump in Dump if dump not in LAYOUTS}


@pytest.mark.parametrize("dump", Dump)
@given(data=st.data())
def test_what_is_logged_comes_back_and_is_explained_even_when_it_is_cut(dump, data):
    extra = data.draw(LAYOUTS[dump])
    if data.draw(st.booleans()):
        extra = extra[: data.draw(st.integers(0, len(extra)))]
    text = data.draw(st.text(max_size=10))
    events = [row.id for row in EVENTS.values() if row.dump is dump]
    assert events
    for event in events:
        first = logged(event, extra)
        again = parse_line(LoggedEvent(first.time, first.record, text).line())
        assert (again.time, again.record, again.text) == (first.time, first.record, text)
        assert again.record.extra == extra
        assert json.loads(again.line())["id"] == event
        assert all(each.text.isprintable() for part in details(event, extra) for each in part.details)
        assert all(0 <= each.offset <= len(extra) for part in details(event, extra) for each in part.details)
