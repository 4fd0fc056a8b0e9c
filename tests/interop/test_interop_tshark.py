"""The third witness: tshark reads recordings as we do, and finds nothing to complain about in the TCP made up around them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iscsi_captures.pcapng import PcapngRecorder
from iscsi_protocol.history import BytesRecord, Endpoint, PduRecord, SettingsRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import (
    PDU_CLASSES,
    R2T,
    AsyncMessage,
    DataIn,
    DataOut,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Pdu,
    RawPdu,
    Reject,
    ScsiCommand,
    ScsiResponse,
    SnackRequest,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
    bidirectional_read_length,
    encode,
    encode_ahs,
    extended_cdb,
)
from iscsi_protocol.stream import Direction

WARNING = 0x600000
"""tshark's severity from which on it is not just telling."""

ITT = {"itt": "iscsi.initiatortasktag"}
RESPONSE = {"stat_sn": "iscsi.statsn", "exp_cmd_sn": "iscsi.expcmdsn", "max_cmd_sn": "iscsi.maxcmdsn"}
ALWAYS_IMMEDIATE = {**ITT, "cmd_sn": "iscsi.cmdsn", "exp_stat_sn": "iscsi.expstatsn"}
NUMBERED = {**ALWAYS_IMMEDIATE, "immediate": "iscsi.I"}
LOGIN = {
    "transit": "iscsi.login.T",
    "continued": "iscsi.login.C",
    "csg": "iscsi.login.csg",
    "nsg": "iscsi.login.nsg",
    "version_max": "iscsi.versionmax",
    "isid": "iscsi.isid",
    "tsih": "iscsi.tsih",
    **ITT,
}
TTT = {**ITT, "ttt": "iscsi.targettransfertag"}
TEXT = {"final": "iscsi.text.F", "continued": "iscsi.text.C"}

# The codec's name of a field, and tshark's. What tshark does not show is left out: the constant bit of byte 1, RFC 7144's
# fields, the SNACK Tag, the ExpDataSN of TASK REASSIGN, the ITT of Reject and Async Message, and the LUN and CDB, which it
# hands to its SCSI dissector.
NAMES: dict[type[Pdu], dict[str, str]] = {
    NopOut: {**NUMBERED, **TTT},
    ScsiCommand: {
        **NUMBERED,
        "final": "iscsi.scsicommand.F",
        "read": "iscsi.scsicommand.R",
        "write": "iscsi.scsicommand.W",
        "attribute": "iscsi.scsicommand.attr",
        "expected_data_transfer_length": "iscsi.scsicommand.expecteddatatransferlength",
    },
    TaskManagementRequest: {
        **NUMBERED,
        "function": "iscsi.taskmanfun.function",
        "referenced_task_tag": "iscsi.taskmanfun.referencedtasktag",
        "ref_cmd_sn": "iscsi.refcmdsn",
    },
    LoginRequest: {**ALWAYS_IMMEDIATE, **LOGIN, "version_min": "iscsi.versionmin", "cid": "iscsi.cid"},
    TextRequest: {**NUMBERED, **TEXT, **TTT},
    DataOut: {
        **TTT,
        "final": "iscsi.scsidata.F",
        "exp_stat_sn": "iscsi.expstatsn",
        "data_sn": "iscsi.datasn",
        "buffer_offset": "iscsi.bufferOffset",
    },
    LogoutRequest: {**NUMBERED, "reason": "iscsi.logout.reason", "cid": "iscsi.cid"},
    SnackRequest: {
        **ITT,
        "snack_type": "iscsi.snack.type",
        "ttt": "iscsi.targettransfertag",
        "exp_stat_sn": "iscsi.expstatsn",
        "beg_run": "iscsi.snack.begrun",
        "run_length": "iscsi.snack.runlength",
    },
    NopIn: {**RESPONSE, **TTT},
    ScsiResponse: {
        **RESPONSE,
        **ITT,
        "bidi_overflow": "iscsi.scsiresponse.o",
        "bidi_underflow": "iscsi.scsiresponse.u",
        "overflow": "iscsi.scsiresponse.O",
        "underflow": "iscsi.scsiresponse.U",
        "response": "iscsi.scsiresponse.response",
        "status": "iscsi.scsiresponse.status",
        "exp_data_sn": "iscsi.expdatasn",
        "bidi_residual_count": "iscsi.scsiresponse.bidireadresidualcount",
        "residual_count": "iscsi.scsiresponse.residualcount",
    },
    TaskManagementResponse: {**RESPONSE, **ITT, "response": "iscsi.taskmanfun.response"},
    LoginResponse: {**RESPONSE, **LOGIN, "version_active": "iscsi.versionactive", "status": "iscsi.login.status"},
    TextResponse: {**RESPONSE, **TEXT, **TTT},
    DataIn: {
        **RESPONSE,
        **TTT,
        "final": "iscsi.scsidata.F",
        "acknowledge": "iscsi.scsidata.A",
        "overflow": "iscsi.scsidata.O",
        "underflow": "iscsi.scsidata.U",
        "status_present": "iscsi.scsidata.S",
        "status": "iscsi.scsiresponse.status",
        "data_sn": "iscsi.datasn",
        "buffer_offset": "iscsi.bufferOffset",
        "residual_count": "iscsi.scsidata.readresidualcount",
    },
    LogoutResponse: {
        **RESPONSE,
        **ITT,
        "response": "iscsi.logout.response",
        "time2wait": "iscsi.time2wait",
        "time2retain": "iscsi.time2retain",
    },
    R2T: {
        **RESPONSE,
        **TTT,
        "r2t_sn": "iscsi.r2tsn",
        "buffer_offset": "iscsi.bufferOffset",
        "desired_data_transfer_length": "iscsi.desireddatalength",
    },
    AsyncMessage: {
        **RESPONSE,
        "async_event": "iscsi.asyncevent",
        "async_vcode": "iscsi.eventvendorcode",
        "parameter1": "iscsi.parameter1",
        "parameter2": "iscsi.parameter2",
        "parameter3": "iscsi.parameter3",
    },
    Reject: {**RESPONSE, "reason": "iscsi.reject.reason", "data_sn": "iscsi.datasn"},
}

READ_10 = bytes.fromhex("28000000000000000a00") + bytes(6)
WRITE_10 = bytes.fromhex("2a000000000000002800") + bytes(6)
ISID = bytes.fromhex("00023d000001")
LUN = bytes.fromhex("0001000000000000")


def counters(number: int) -> dict[str, Any]:
    return {"stat_sn": number, "exp_cmd_sn": 0x100 + number, "max_cmd_sn": 0x200 + number}


def login(digests: bytes) -> list[Pdu]:
    keys = b"InitiatorName=iqn.2026-11.test:i\0TargetName=iqn.2026-11.test:t\0SessionType=Normal\0"
    answers = b"TargetPortalGroupTag=1\0"
    same: dict[str, Any] = {"isid": ISID, "itt": 1, "csg": 1, "nsg": 3}
    return [
        LoginRequest(**same, cid=7, cmd_sn=5, exp_stat_sn=0x11, data=keys, continued=True),
        LoginResponse(**same, **counters(0x11)),
        LoginRequest(**same, cid=7, cmd_sn=5, exp_stat_sn=0x12, data=digests, transit=True),
        LoginResponse(**same, tsih=0x1234, **counters(0x12), data=answers + digests, transit=True),
    ]


def full_feature() -> list[Pdu]:
    """A PDU of every kind that is left, large and small, with every part that a PDU can have."""
    chain = encode_ahs([extended_cdb(bytes(32)), bidirectional_read_length(4096)])
    sense = bytes.fromhex("0012700005000000000a0000000020000000000000000000")[:20]
    at: dict[str, Any] = {"lun": LUN}
    return [
        NopOut(itt=0x20, cmd_sn=6, exp_stat_sn=0x13, data=b"ping me"),
        NopIn(itt=0x20, **counters(0x13), data=b"ping me"),
        NopIn(ttt=0x99, lun=LUN, **counters(0x14)),
        NopOut(immediate=True, ttt=0x99, lun=LUN, cmd_sn=7, exp_stat_sn=0x14),
        ScsiCommand(
            **at, itt=0x21, read=True, expected_data_transfer_length=5120, cmd_sn=7, exp_stat_sn=0x14, cdb=READ_10
        ),
        DataIn(**at, itt=0x21, final=False, acknowledge=True, ttt=0x55, **counters(0), data=bytes(range(256)) * 8),
        SnackRequest(**at, ttt=0x55, snack_type=2, exp_stat_sn=0x14, beg_run=1),
        DataIn(
            itt=0x21,
            underflow=True,
            status_present=True,
            **counters(0x14),
            data_sn=1,
            buffer_offset=2048,
            residual_count=2048,
            data=b"\xa5" * 1024,
        ),
        ScsiCommand(
            **at,
            itt=0x22,
            final=False,
            write=True,
            attribute=2,
            expected_data_transfer_length=20480,
            cmd_sn=8,
            exp_stat_sn=0x15,
            cdb=WRITE_10,
            data=bytes(5000),
        ),
        DataOut(**at, itt=0x22, exp_stat_sn=0x15, buffer_offset=5000, data=bytes(3192)),
        R2T(**at, itt=0x22, ttt=0x77, **counters(0x15), buffer_offset=8192, desired_data_transfer_length=12288),
        DataOut(**at, itt=0x22, ttt=0x77, exp_stat_sn=0x15, final=False, buffer_offset=8192, data=bytes(8192)),
        DataOut(**at, itt=0x22, ttt=0x77, exp_stat_sn=0x15, data_sn=1, buffer_offset=16384, data=bytes(4095)),
        ScsiResponse(itt=0x22, status=2, underflow=True, residual_count=1, exp_data_sn=0, **counters(0x15), data=sense),
        ScsiCommand(
            **at,
            itt=0x23,
            read=True,
            write=True,
            expected_data_transfer_length=512,
            cmd_sn=9,
            exp_stat_sn=0x16,
            cdb=b"\x7f" + bytes(6) + b"\x18" + bytes(8),
            ahs=chain,
            data=bytes(512),
        ),
        ScsiResponse(
            itt=0x23, bidi_underflow=True, bidi_residual_count=4096, overflow=True, residual_count=3, **counters(0x16)
        ),
        TaskManagementRequest(**at, itt=0x24, referenced_task_tag=0x23, cmd_sn=10, exp_stat_sn=0x17, ref_cmd_sn=9),
        TaskManagementResponse(itt=0x24, response=1, **counters(0x17)),
        TaskManagementRequest(
            function=8, itt=0x27, referenced_task_tag=0x23, cmd_sn=10, exp_stat_sn=0x18, exp_data_sn=3
        ),
        TaskManagementResponse(itt=0x27, response=4, **counters(0x18)),
        TextRequest(itt=0x25, cmd_sn=10, exp_stat_sn=0x18, data=b"SendTargets=\0"),
        TextResponse(
            itt=0x25,
            final=False,
            continued=True,
            ttt=0x88,
            lun=LUN,
            **counters(0x18),
            data=b"TargetName=iqn.2026-11.test:t\0",
        ),
        TextRequest(itt=0x25, ttt=0x88, lun=LUN, cmd_sn=11, exp_stat_sn=0x19),
        TextResponse(itt=0x25, **counters(0x19), data=b"TargetAddress=127.0.0.1:3260,1\0"),
        Reject(reason=9, **counters(0x1A), data=encode(NopOut(itt=0x66)).to_bytes()),
        AsyncMessage(async_event=1, **counters(0x1B), parameter3=30),
        LogoutRequest(itt=0x26, reason=1, cid=7, cmd_sn=12, exp_stat_sn=0x1C),
        LogoutResponse(itt=0x26, **counters(0x1C), time2wait=2, time2retain=20),
    ]


def dialogue(*, header: bool, data: bool) -> list[tuple[Pdu, RawPdu]]:
    keys = (
        b"HeaderDigest="
        + (b"CRC32C" if header else b"None")
        + b"\0DataDigest="
        + (b"CRC32C" if data else b"None")
        + b"\0"
    )
    plain = [(pdu, encode(pdu)) for pdu in login(keys)]
    return plain + [(pdu, encode(pdu).with_digests(header=header, data=data)) for pdu in full_feature()]


def record(path: Path, raws: list[RawPdu], ends: tuple[Endpoint, Endpoint]) -> None:
    with PcapngRecorder(path, comment="interop.tshark") as recorder:
        recorder.record(SettingsRecord(0.0, {"LinkDownTime": 15}))
        recorder.record(TransportRecord(1, 1.0, TransportEvent.CONNECT, None, ends[1]))
        recorder.record(TransportRecord(1, 1.001, TransportEvent.CONNECTED, *ends))
        for number, raw in enumerate(raws):
            direction = Direction.TO_TARGET if raw.opcode < 0x20 else Direction.TO_INITIATOR
            recorder.record(PduRecord(1, 2.0 + number / 1000, direction, raw))
        recorder.record(TransportRecord(1, 3.0, TransportEvent.FIN, direction=Direction.TO_INITIATOR))
        recorder.record(TransportRecord(1, 3.001, TransportEvent.CLOSED_BY_US))


def run_tshark(program: Path, path: Path, *arguments: str) -> str:
    checks = ["tcp.check_checksum:TRUE", "ip.check_checksum:TRUE"]
    options = [word for check in checks for word in ("-o", check)]
    command = [str(program), "-n", "-r", str(path), *options, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def fields(node: Any) -> Iterator[tuple[str, Any]]:
    """Every (name, value) of a tree in tshark's JSON."""
    for name, value in node:
        if isinstance(value, Pairs):
            yield from fields(value)
        elif isinstance(value, list):
            for one in value:
                yield from fields(one) if isinstance(one, Pairs) else [(name, one)]
        else:
            yield name, value


class Pairs(list[tuple[str, Any]]):
    """A JSON object with its repeated names."""


def packets(program: Path, path: Path) -> list[list[tuple[str, Any]]]:
    found = json.loads(run_tshark(program, path, "-T", "json"), object_pairs_hook=Pairs)
    return [list(fields(packet)) for packet in found]


def complaints(packet: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, value in packet
        if name.startswith("_ws.malformed")
        or (name == "_ws.expert.severity" and int(value) >= WARNING)
        or (name in {"tcp.checksum.status", "ip.checksum.status"} and value != "1")
    ]


def number(value: str) -> int:
    return {"True": 1, "False": 0}.get(value) or int(value.replace(":", ""), 16 if ":" in value else 0)


def values(packet: list[tuple[str, Any]], name: str) -> list[int]:
    return [number(value) for field, value in packet if field == name]


def messages(packet: list[tuple[str, Any]]) -> list[str]:
    return [value for name, value in packet if name == "_ws.expert.message"]


V4 = Endpoint("127.0.0.1", 40000), Endpoint("127.0.0.1", 3260)
V6 = Endpoint("::1", 40000), Endpoint("fe80::2", 3260)


@pytest.fixture
def tshark(peer) -> Path:
    program: Path = peer("tshark")
    return program


def test_dialogue_has_every_pdu():
    assert {type(pdu) for pdu, _ in dialogue(header=False, data=False)} == set(PDU_CLASSES.values()) == set(NAMES)


def expected(pdu: Pdu, raw: RawPdu) -> dict[str, int]:
    """What tshark has to show for a PDU, by its own names."""
    shown = {"iscsi.opcode": raw.opcode}
    if not isinstance(pdu, TaskManagementResponse):
        shown |= {"iscsi.totalahslength": raw.bhs[4], "iscsi.datasegmentlength": raw.data_segment_length}
    for name, field in NAMES[type(pdu)].items():
        value = getattr(pdu, name)
        shown[field] = int.from_bytes(value, "big") if isinstance(value, bytes) else int(value)
    if isinstance(pdu, LoginRequest | LoginResponse) and not pdu.transit:
        del shown["iscsi.login.nsg"]
    if isinstance(pdu, DataIn) and not pdu.status_present:
        del shown["iscsi.scsiresponse.status"]
    if isinstance(pdu, DataIn) and not pdu.acknowledge:
        del shown["iscsi.targettransfertag"]
    for part, field in ((raw.header_digest, "iscsi.headerdigest32"), (raw.data_digest, "iscsi.datadigest32")):
        # It does not show the data digest of a Reject.
        if part and not (isinstance(pdu, Reject) and part is raw.data_digest):
            shown[field] = int.from_bytes(part, "big")
    return shown


@pytest.mark.parametrize("ends", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(("header", "data"), [(False, False), (True, False), (False, True), (True, True)])
def test_tshark_reads_every_pdu_as_the_codec_does(tshark, tmp_path, ends, header, data):
    pdus = dialogue(header=header, data=data)
    record(tmp_path / "dialogue.pcapng", [raw for _, raw in pdus], ends)
    found = packets(tshark, tmp_path / "dialogue.pcapng")
    assert [complaint for packet in found for complaint in complaints(packet)] == []
    read = [packet for packet in found if any(name == "iscsi.opcode" for name, _ in packet)]
    assert len(read) == len(pdus)
    for packet, (pdu, raw) in zip(read, pdus, strict=True):
        wanted = expected(pdu, raw)
        shown = {field: values(packet, field)[:1] for field in wanted}
        assert shown == {field: [value] for field, value in wanted.items()}, type(pdu).__name__


def test_tshark_reads_additional_header_segments_and_text(tshark, tmp_path):
    pdus = dialogue(header=False, data=False)
    record(tmp_path / "dialogue.pcapng", [raw for _, raw in pdus], V4)
    found = [pair for packet in packets(tshark, tmp_path / "dialogue.pcapng") for pair in packet]
    assert [value for name, value in found if name == "iscsi.ahs.type"] == ["1", "2"]
    assert [value for name, value in found if name == "iscsi.ahs.bidir.length"] == ["4096"]
    text = [value for name, value in found if name == "iscsi.keyvalue"]
    assert text[0] == "InitiatorName=iqn.2026-11.test:i"
    assert text[-1] == "TargetAddress=127.0.0.1:3260,1"


def test_tshark_computes_the_digests_that_we_compute(tshark, tmp_path):
    path = tmp_path / "dialogue.pcapng"
    raws = [raw for _, raw in dialogue(header=True, data=True)]
    ping, answer = raws[4:6]
    answer.data_digest = b"abcd"
    record(path, raws, V4)
    shown = run_tshark(tshark, path, "-O", "iscsi")
    verdicts = [line for line in shown.splitlines() if "Digest: 0x" in line]
    wrong = [line.strip() for line in verdicts if "Good CRC32" not in line]
    # The data digest of a Reject it takes for the header digest of the header within, which is computed over the same bytes.
    assert len(verdicts) == sum(bool(digest) for raw in raws for digest in (raw.header_digest, raw.data_digest))
    assert wrong == [f"DataDigest: 0x{b'abcd'.hex()} (Bad CRC32, should be 0x{bytes(ping.data_digest).hex()})"]


def test_tshark_shows_what_the_recording_says_of_itself(tshark, tmp_path):
    path = tmp_path / "dialogue.pcapng"
    with PcapngRecorder(path) as recorder:
        recorder.record(PduRecord(1, 1.5, Direction.TO_TARGET, encode(NopOut(itt=1))))
        recorder.record(SettingsRecord(2.0, {"LinkDownTime": 15}))
        recorder.record(BytesRecord(1, 2.5, Direction.TO_TARGET, b"half", "the stream ended within a PDU"))
    shown = run_tshark(
        tshark, path, "-T", "fields", "-e", "frame.comment", "-e", "frame.time_epoch", "-e", "tcp.payload"
    )
    last = shown.splitlines()[-1].split("\t")
    assert last == [
        'initiator settings: {"LinkDownTime": 15},the stream ended within a PDU',
        "2.500000000",
        b"half".hex(),
    ]


def test_tshark_sees_a_reset_and_a_refusal_as_such_and_nothing_else(tshark, tmp_path):
    path = tmp_path / "ends.pcapng"
    with PcapngRecorder(path) as recorder:
        recorder.record(TransportRecord(1, 1.0, TransportEvent.CONNECT, None, V4[1]))
        recorder.record(TransportRecord(1, 1.1, TransportEvent.REFUSED))
        recorder.record(TransportRecord(2, 2.0, TransportEvent.CONNECTED, *V4))
        recorder.record(PduRecord(2, 2.1, Direction.TO_TARGET, encode(NopOut(itt=1, cmd_sn=1))))
        recorder.record(TransportRecord(2, 2.2, TransportEvent.RST))
        recorder.record(TransportRecord(3, 3.0, TransportEvent.CONNECTED, *V4))
        recorder.record(TransportRecord(3, 3.1, TransportEvent.CLOSED_BY_US))
    found = [
        message
        for packet in packets(tshark, path)
        for message in messages(packet)
        if any(value != "1" for name, value in complaints(packet))
    ]
    assert found == ["Connection reset (RST)"] * 2


def test_tshark_reassembles_a_long_transfer_without_losing_its_place(tshark, tmp_path):
    path = tmp_path / "long.pcapng"
    data = bytes(range(256)) * 1024
    with PcapngRecorder(path) as recorder:
        recorder.record(TransportRecord(1, 1.0, TransportEvent.CONNECTED, *V4))
        recorder.record(
            PduRecord(
                1,
                1.1,
                Direction.TO_TARGET,
                encode(ScsiCommand(itt=1, read=True, expected_data_transfer_length=4 * len(data), cdb=READ_10)),
            )
        )
        for number in range(4):
            pdu = DataIn(itt=1, final=number == 3, data_sn=number, buffer_offset=number * len(data), data=data)
            recorder.record(PduRecord(1, 1.2, Direction.TO_INITIATOR, encode(pdu)))
        recorder.record(PduRecord(1, 1.3, Direction.TO_INITIATOR, encode(ScsiResponse(itt=1, exp_data_sn=4))))
    shown = run_tshark(
        tshark,
        path,
        "-T",
        "fields",
        "-e",
        "iscsi.opcode",
        "-e",
        "iscsi.bufferOffset",
        "-Y",
        "iscsi || tcp.analysis.flags",
    )
    lines = [line.split("\t") for line in shown.splitlines()]
    assert lines == [
        ["0x01", ""],
        *(["0x25", str(number * len(data))] for number in range(4)),
        ["0x21", ""],
    ]
