"""Two readings of every byte: the codec and the layers, written apart, say the same of any PDU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw, split_bottom_up
from scapy.sessions import TCPSession

from iscsi_captures import layers
from iscsi_captures.code_names import OPCODES
from iscsi_captures.layers import ISCSI, Dissector
from iscsi_captures.login_digests import NO_DIGESTS, Digests, LoginDigests
from iscsi_captures.pcapng import PcapngRecorder, read_packets
from iscsi_protocol.framing import Framer
from iscsi_protocol.history import Endpoint, PduRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import (
    PDU_CLASSES,
    Ahs,
    LoginRequest,
    LoginResponse,
    NopOut,
    Opcode,
    RawPdu,
    ScsiCommand,
    ScsiResponse,
    bidirectional_read_length,
    decode,
    encode,
    encode_ahs,
    extended_cdb,
    join,
)
from iscsi_protocol.pdu import Reject as RejectPdu
from iscsi_protocol.stream import Direction

COMMON = {"itt": "InitiatorTaskTag"}
REQUEST = {"immediate": "I", "cmd_sn": "CmdSN", "exp_stat_sn": "ExpStatSN", **COMMON}
RESPONSE = {"stat_sn": "StatSN", "exp_cmd_sn": "ExpCmdSN", "max_cmd_sn": "MaxCmdSN", **COMMON}
LUN_TTT = {"lun": "LUN", "ttt": "TargetTransferTag"}
LOGIN = {"transit": "T", "continued": "C", "csg": "CSG", "nsg": "NSG", "isid": "ISID", "tsih": "TSIH"}

# The codec's name of every field, and the layer's.
NAMES: dict[int, dict[str, str]] = {
    Opcode.NOP_OUT: {**REQUEST, **LUN_TTT, "final": "One"},
    Opcode.SCSI_COMMAND: {
        **REQUEST,
        "final": "F",
        "read": "R",
        "write": "W",
        "attribute": "Attr",
        "command_priority": "Priority",
        "lun": "LUN",
        "expected_data_transfer_length": "ExpectedDataTransferLength",
        "cdb": "CDB",
    },
    Opcode.TASK_MANAGEMENT_REQUEST: {
        **REQUEST,
        "final": "One",
        "function": "Function",
        "lun": "LUN",
        "referenced_task_tag": "ReferencedTaskTag",
        "ref_cmd_sn": "RefCmdSN",
        "exp_data_sn": "ExpDataSN",
    },
    Opcode.LOGIN_REQUEST: {
        **REQUEST,
        **LOGIN,
        "version_max": "VersionMax",
        "version_min": "VersionMin",
        "cid": "CID",
    },
    Opcode.TEXT_REQUEST: {**REQUEST, **LUN_TTT, "final": "F", "continued": "C"},
    Opcode.SCSI_DATA_OUT: {
        **COMMON,
        **LUN_TTT,
        "final": "F",
        "exp_stat_sn": "ExpStatSN",
        "data_sn": "DataSN",
        "buffer_offset": "BufferOffset",
    },
    Opcode.LOGOUT_REQUEST: {**REQUEST, "final": "One", "reason": "Reason", "cid": "CID"},
    Opcode.SNACK_REQUEST: {
        **COMMON,
        "final": "One",
        "snack_type": "Type",
        "lun": "LUN",
        "ttt": "Tag",
        "exp_stat_sn": "ExpStatSN",
        "beg_run": "BegRun",
        "run_length": "RunLength",
    },
    Opcode.NOP_IN: {**RESPONSE, **LUN_TTT, "final": "One"},
    Opcode.SCSI_RESPONSE: {
        **RESPONSE,
        "final": "One",
        "bidi_overflow": "o",
        "bidi_underflow": "u",
        "overflow": "O",
        "underflow": "U",
        "response": "Response",
        "status": "Status",
        "status_qualifier": "StatusQualifier",
        "snack_tag": "SNACKTag",
        "exp_data_sn": "ExpDataSN",
        "bidi_residual_count": "BidiReadResidualCount",
        "residual_count": "ResidualCount",
    },
    Opcode.TASK_MANAGEMENT_RESPONSE: {
        **RESPONSE,
        "final": "One",
        "response": "Response",
        "additional_response_information": "AdditionalInformation",
    },
    Opcode.LOGIN_RESPONSE: {
        **RESPONSE,
        **LOGIN,
        "version_max": "VersionMax",
        "version_active": "VersionActive",
        "status_class": "StatusClass",
        "status_detail": "StatusDetail",
    },
    Opcode.TEXT_RESPONSE: {**RESPONSE, **LUN_TTT, "final": "F", "continued": "C"},
    Opcode.SCSI_DATA_IN: {
        **RESPONSE,
        **LUN_TTT,
        "final": "F",
        "acknowledge": "A",
        "overflow": "O",
        "underflow": "U",
        "status_present": "S",
        "status": "Status",
        "data_sn": "DataSN",
        "buffer_offset": "BufferOffset",
        "residual_count": "ResidualCount",
    },
    Opcode.LOGOUT_RESPONSE: {
        **RESPONSE,
        "final": "One",
        "response": "Response",
        "time2wait": "Time2Wait",
        "time2retain": "Time2Retain",
    },
    Opcode.R2T: {
        **RESPONSE,
        **LUN_TTT,
        "final": "One",
        "r2t_sn": "R2TSN",
        "buffer_offset": "BufferOffset",
        "desired_data_transfer_length": "DesiredDataTransferLength",
    },
    Opcode.ASYNC_MESSAGE: {
        **RESPONSE,
        "final": "One",
        "lun": "LUN",
        "async_event": "AsyncEvent",
        "async_vcode": "AsyncVCode",
        "parameter1": "Parameter1",
        "parameter2": "Parameter2",
        "parameter3": "Parameter3",
    },
    Opcode.REJECT: {**RESPONSE, "final": "One", "reason": "Reason", "data_sn": "DataSN"},
}
BODY = {"Opcode", "TotalAHSLength", "DataSegmentLength", "AHS", "HeaderDigest", "Data", "Text", "Padding", "DataDigest"}

HEADERS = st.binary(min_size=48, max_size=48)
OPCODE_VALUES = st.sampled_from(sorted(PDU_CLASSES)) | st.integers(0, 63)
SEGMENTS = st.builds(Ahs, st.integers(0, 255), st.binary(max_size=12))
CHAINS = st.lists(SEGMENTS, max_size=3).map(encode_ahs) | st.integers(0, 5).flatmap(
    lambda words: st.binary(min_size=4 * words, max_size=4 * words)
)
TEXTS = st.lists(st.sampled_from([b"HeaderDigest", b"=", b"CRC32C", b"\0", b"\xff"]), max_size=12).map(b"".join)


@st.composite
def raw_pdus(draw: st.DrawFn, digests: Digests) -> RawPdu:
    """A PDU of any header and body, whose lengths are true."""
    header = bytearray(draw(HEADERS))
    header[0] = header[0] & 0xC0 | draw(OPCODE_VALUES)
    ahs, data = draw(CHAINS), draw(st.binary(max_size=40) | TEXTS)
    header[4], header[5:8] = len(ahs) // 4, len(data).to_bytes(3, "big")
    padding = draw(st.binary(min_size=-len(data) & 3, max_size=-len(data) & 3))
    raw = RawPdu(bytes(header), ahs, data, padding)
    right = raw.with_digests(header=digests.header, data=digests.data)
    if draw(st.booleans()):
        return right
    wrong = st.binary(min_size=4, max_size=4)
    right.header_digest = draw(wrong) if digests.header else b""
    right.data_digest = draw(wrong) if right.data_digest else b""
    return right


PDUS = st.builds(Digests, st.booleans(), st.booleans()).flatmap(
    lambda digests: st.tuples(st.just(digests), raw_pdus(digests))
)


def rebuilt(packet: Any) -> bytes:
    """The packet built from its fields alone, nothing of what was dissected being at hand."""
    packet = packet.copy()
    for part in walk(packet):
        part.raw_packet_cache = None
    return bytes(packet)


def walk(packet: Any) -> Iterator[Any]:
    while packet:
        yield packet
        for value in packet.fields.values():
            if isinstance(value, list):
                for part in value:
                    yield from walk(part)
        packet = packet.payload


def check_header(packet: Any, raw: RawPdu) -> None:
    pdu = decode(raw)
    for name, field in type(pdu).FIELDS.items():
        assert getattr(packet, NAMES[raw.opcode][name]) == getattr(pdu, name), (name, field)
    assert packet.Opcode == raw.opcode
    assert packet.DataSegmentLength == raw.data_segment_length
    assert packet.TotalAHSLength == raw.bhs[4]


def test_every_field_of_both_has_its_counterpart():
    assert set(NAMES) == set(PDU_CLASSES) == set(layers.LAYERS)
    for opcode, cls in PDU_CLASSES.items():
        assert set(NAMES[opcode]) == set(cls.FIELDS)
        own = {field.name for field in layers.LAYERS[opcode].fields_desc}
        named = {name for name in own if not name.startswith("Rsvd")}
        assert set(NAMES[opcode].values()) == named - BODY, opcode
        assert len(set(NAMES[opcode].values())) == len(NAMES[opcode])


def test_both_leave_the_same_bits_reserved():
    for opcode, cls in PDU_CLASSES.items():
        packet = ISCSI(bytes([opcode]) + bytes(47))
        for field in packet.fields_desc:
            if field.name.startswith("Rsvd"):
                width = field.size if hasattr(field, "size") else 8 * field.sz
                value = (1 << width) - 1
                packet.setfieldval(field.name, value if hasattr(field, "size") else value.to_bytes(field.sz, "big"))
        assert int.from_bytes(rebuilt(packet)[:48], "big") == cls.RESERVED_MASK | opcode << 376, cls.__name__


@given(HEADERS, OPCODE_VALUES)
def test_any_header_reads_the_same(header, opcode):
    header = bytes([header[0] & 0xC0 | opcode]) + header[1:]
    packet = ISCSI(header)
    assert type(packet) is layers.LAYERS.get(opcode, ISCSI)
    assert rebuilt(packet) == header
    check_header(packet, RawPdu(header))


@pytest.mark.parametrize("opcode", sorted(PDU_CLASSES))
@given(header=HEADERS)
def test_any_header_of_every_opcode_reads_the_same(opcode, header):
    header = bytes([header[0] & 0xC0 | opcode]) + header[1:4] + bytes(4) + header[8:]
    packet = ISCSI(header)
    check_header(packet, RawPdu(header))
    assert rebuilt(packet) == header
    assert encode(decode(RawPdu(header))).to_bytes() == header


@given(PDUS)
def test_any_pdu_reads_the_same_with_all_its_parts(case):
    digests, raw = case
    packet = ISCSI(raw.to_bytes(), digests=digests)
    check_header(packet, raw)
    assert b"".join(map(bytes, packet.AHS)) == raw.ahs
    assert packet.data() == raw.data
    assert (packet.Padding, packet.HeaderDigest, packet.DataDigest) == (
        raw.padding,
        raw.header_digest,
        raw.data_digest,
    )
    assert not packet.payload
    assert rebuilt(packet) == raw.to_bytes()
    right = raw.with_digests(header=digests.header, data=digests.data)
    wrong = ["HeaderDigest"] if raw.header_digest != right.header_digest else []
    wrong += ["DataDigest"] if raw.data_digest != right.data_digest else []
    assert packet.digest_errors() == wrong


@given(PDUS)
def test_what_is_left_open_is_built_as_the_codec_builds_it(case):
    digests, raw = case
    packet = ISCSI(raw.to_bytes(), digests=digests)
    for name in ("TotalAHSLength", "DataSegmentLength", "HeaderDigest", "DataDigest", "Padding"):
        packet.setfieldval(name, None)
    raw.padding = bytes(len(raw.padding))
    assert rebuilt(packet) == raw.with_digests(header=digests.header, data=digests.data).to_bytes()


@given(st.lists(SEGMENTS, max_size=4))
def test_additional_header_segments_read_the_same(segments):
    raw = encode(ScsiCommand(ahs=encode_ahs(segments)))
    packet = ISCSI(raw.to_bytes())
    assert len(packet.AHS) == len(segments)
    for layer, segment in zip(packet.AHS, segments, strict=True):
        assert (layer.AHSLength, layer.Rsvd2 << 6 | layer.AHSType) == (len(segment.contents), segment.ahs_type)
    assert rebuilt(packet) == raw.to_bytes()


def test_defined_additional_header_segments_have_their_layers():
    cdb = bytes(range(21))
    chain = encode_ahs([extended_cdb(cdb), bidirectional_read_length(0x12345678), Ahs(0x3F, b"xy")])
    extension, length, other = ISCSI(encode(ScsiCommand(ahs=chain)).to_bytes()).AHS
    assert extension.ExtendedCDB == cdb[16:]
    assert length.ReadLength == 0x12345678
    assert (type(other), other.Contents) == (layers.AHS, b"xy")
    parts = [
        layers.ExtendedCDB(ExtendedCDB=cdb[16:]),
        layers.BidirectionalReadLength(ReadLength=0x12345678),
        layers.AHS(AHSType=0x3F, Contents=b"xy"),
    ]
    built = layers.SCSICommand(AHS=parts)
    assert bytes(built)[48:] == chain
    assert bytes(layers.BidirectionalReadLength(AHSLength=None)) == encode_ahs([bidirectional_read_length(0)])


@given(st.lists(st.tuples(st.text("ABCab", min_size=1), st.text("xyz=,")), max_size=6))
def test_text_reads_as_pairs(pairs):
    data = b"".join(f"{key}={value}\0".encode() for key, value in pairs)
    packet = ISCSI(encode(LoginRequest(data=data)).to_bytes())
    assert packet.pairs() == pairs
    keys = [layers.KeyValue(Key=key.encode(), Value=value.encode()) for key, value in pairs]
    assert bytes(layers.LoginRequest(Text=keys))[48 : 48 + len(data)] == data


def test_text_of_very_many_pairs_is_not_all_taken_apart():
    data = b"\0" * 5000
    packet = ISCSI(encode(LoginRequest(data=data)).to_bytes())
    assert len(packet.Text) == layers.MOST_PAIRS + 1
    assert packet.data() == data


@given(st.lists(raw_pdus(Digests()), min_size=1, max_size=4))
def test_pdus_of_one_segment_follow_each_other(pdus):
    packet: Any = ISCSI(join(pdus))
    for raw in pdus:
        assert bytes(packet.self_build()) == raw.to_bytes()
        packet = packet.payload
    assert not packet


def test_digests_pass_on_to_the_next_pdu_and_to_copies():
    raw = encode(NopOut(data=b"ping")).with_digests(header=True, data=True)
    packet = ISCSI(join([raw, raw]), digests=Digests(header=True, data=True))
    assert packet.payload.HeaderDigest == raw.header_digest
    assert packet.copy().digests == packet.payload.digests == Digests(header=True, data=True)
    (cloned,) = packet
    assert cloned.digests == packet.digests


@given(PDUS, st.binary(max_size=60), st.integers(0, 200))
def test_dissector_takes_the_pdu_that_the_framer_takes(case, rest, cut):
    digests, raw = case
    data = raw.to_bytes()
    framer = Framer(header_digest=digests.header, data_digest=digests.data)
    dissector = Dissector(digests)
    taken = dissector.take(data + rest)
    if raw.opcode not in OPCODES:
        assert taken is not None
        assert (type(taken), bytes(taken)) == (Raw, data + rest)
        return
    assert taken is not None
    framer.receive(data)
    if not (digests.header and "HeaderDigest" in taken.digest_errors()):
        framed = framer.next_pdu()
        assert framed is not None
        assert taken.self_build() == framed.to_bytes()
    assert bytes(taken.payload) == rest
    if cut < len(data):
        assert Dissector(digests).take(data[:cut]) is None


def test_dissector_does_not_wait_for_what_is_too_long():
    header = bytearray(encode(NopOut()).bhs)
    header[5:8] = (1 << 20).to_bytes(3, "big")
    assert Dissector().take(bytes(header)) is None
    taken = Dissector(longest=1 << 16).take(bytes(header))
    assert taken is not None
    assert type(taken) is Raw


def login(direction: Direction, text: bytes, **fields: Any) -> tuple[Direction, RawPdu]:
    cls = LoginRequest if direction is Direction.TO_TARGET else LoginResponse
    return direction, encode(cls(csg=1, nsg=3, data=text, **fields))


def dialogue() -> list[tuple[Direction, RawPdu]]:
    out, back = Direction.TO_TARGET, Direction.TO_INITIATOR
    return [
        login(out, b"HeaderDigest=CRC32C,None\0DataDi", continued=True),
        login(back, b""),
        login(out, b"gest=CRC32C\0", transit=True),
        login(back, b"HeaderDigest=CRC32C\0DataDigest=CRC32C\0", transit=True),
        (out, encode(NopOut(itt=1, data=b"x" * 5001)).with_digests(header=True, data=True)),
        (back, encode(ScsiResponse(data=b"\0\1s")).with_digests(header=True, data=True)),
    ]


def test_dissector_learns_digests_from_the_login():
    dissector = Dissector()
    for _, raw in dialogue():
        packet = dissector.take(raw.to_bytes())
        assert packet is not None
        assert bytes(packet) == raw.to_bytes()
        assert packet.digest_errors() == []
    assert dissector.digests == Digests(header=True, data=True)


def test_digest_that_was_not_answered_is_not_agreed():
    digests = LoginDigests()
    digests.text(b"HeaderDigest=CRC32C\0DataDigest=CRC32C\0", response=False, continued=False)
    digests.text(b"DataDigest=None\0", response=True, continued=False)
    assert digests.agreed() == NO_DIGESTS


def reassembled(path: Path, port: int) -> list[bytes]:
    """The PDUs that scapy's session finds in a recording of the dialogue at that port."""
    with PcapngRecorder(path) as recorder:
        ends = Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", port)
        recorder.record(TransportRecord(1, 0.0, TransportEvent.CONNECTED, *ends))
        for time, (direction, raw) in enumerate(dialogue()):
            recorder.record(PduRecord(1, float(time), direction, raw))
    session, found = TCPSession(), []
    with path.open("rb") as stream:
        for packet in read_packets(stream):
            frame = session.process(Ether(packet.data, stop_dissection_after=TCP))
            if frame is not None and ISCSI in frame:
                found.append(bytes(frame[ISCSI]))
    return found


def test_scapy_session_reassembles_a_recording(tmp_path):
    expected = [raw.to_bytes() for _, raw in dialogue()]
    assert reassembled(tmp_path / "3260.pcapng", layers.ISCSI_PORT) == expected


def test_another_port_is_taken_for_iscsi_once_it_is_bound(tmp_path):
    assert reassembled(tmp_path / "before.pcapng", 3281) == []
    layers.bind_port(3281)
    try:
        assert len(reassembled(tmp_path / "after.pcapng", 3281)) == len(dialogue())
    finally:
        split_bottom_up(TCP, ISCSI, sport=3281)
        split_bottom_up(TCP, ISCSI, dport=3281)


@pytest.mark.parametrize("opcode", sorted(PDU_CLASSES))
def test_summary_names_the_pdu(opcode):
    summary = ISCSI(bytes([opcode]) + bytes(47)).summary()
    assert summary.startswith(f"iSCSI {OPCODES[opcode]} ")
    assert "??" not in summary
    assert "%" not in summary


@pytest.mark.parametrize(
    ("pdu", "words"),
    [
        (LoginResponse(status_class=2, status_detail=1), "(authentication failure)"),
        (LoginResponse(status_class=9, status_detail=1), "(status 0901)"),
        (LoginRequest(data=b"InitiatorName=iqn.a\0odd"), "23 bytes InitiatorName=iqn.a odd"),
        (ScsiResponse(status=2, data=b"\0\2ab"), "Status=CHECK CONDITION"),
        (RejectPdu(reason=9), "Reason=invalid PDU field"),
    ],
)
def test_summary_tells_what_matters(pdu, words):
    assert words in ISCSI(encode(pdu).to_bytes()).summary()


def test_summary_tells_of_wrong_digests():
    raw = encode(NopOut(data=b"x")).to_bytes()
    raw = raw[:48] + b"bad!" + raw[48:] + b"bad?"
    summary = ISCSI(raw, digests=Digests(header=True, data=True)).summary()
    assert summary.endswith("wrong HeaderDigest wrong DataDigest")


def test_unknown_opcodes_are_dissected_and_named_so():
    assert ISCSI(b"\x1c" + bytes(47)).summary() == "iSCSI vendor 0x1c Opcode=vendor 0x1c"
    assert ISCSI(b"\x07" + bytes(47)).summary() == "iSCSI unknown PDU Opcode=7"


def test_parts_within_data_segments():
    response = ISCSI(encode(ScsiResponse(data=b"\0\3abcrest")).to_bytes())
    assert response.sense() == b"abc"
    bad = encode(NopOut(itt=77)).to_bytes()
    reject = ISCSI(encode(RejectPdu(data=bad + b"more")).to_bytes())
    assert reject.rejected().InitiatorTaskTag == 77
    assert ISCSI(encode(RejectPdu(data=bad[:47])).to_bytes()).rejected() is None


def test_digest_words_of_the_standard():
    assert layers.digest(bytes(32)).hex() == "aa36918a"
    assert layers.digest(bytes(range(32))).hex() == "4e79dd46"
