"""Reviews made by hand, for the tests of what shows them."""

from __future__ import annotations

import math
from typing import Any

from iscsi_captures.describe import one_line
from iscsi_captures.reading import FrameRef
from iscsi_captures.review.model import (
    CommandTrace,
    ConnectionReview,
    Digests,
    Field,
    FileReview,
    Gap,
    Latency,
    Load,
    Mark,
    Moment,
    PduShown,
    Review,
    ReviewEvent,
    ReviewFinding,
    SessionReview,
    Step,
)
from iscsi_protocol.pdu import (
    R2T,
    DataOut,
    LoginRequest,
    LoginResponse,
    Pdu,
    ScsiCommand,
    ScsiResponse,
    encode,
    opcode_name,
)

START = 1_764_500_000.25
INITIATOR = "iqn.1991-05.com.microsoft:host7.example"
TARGET = "iqn.2026-11.example:disk"
LUN_1 = bytes((0, 1, 0, 0, 0, 0, 0, 0))
WRITE_10 = bytes.fromhex("2a000000100000008000") + bytes(6)


def at(number: int, file: int = 0) -> FrameRef:
    """A frame."""
    return FrameRef(file, number)


def shown(pdu: Pdu) -> PduShown:
    """A PDU as a finding keeps it."""
    raw = encode(pdu)
    return PduShown(
        opcode=raw.opcode,
        name=opcode_name(raw.opcode),
        way="to initiator" if raw.opcode >= 0x20 else "to target",
        raw=raw.to_bytes()[:512],
        length=len(raw.to_bytes()),
        data_length=len(raw.data),
    )


def finding(pdu: Pdu | None = None, **fields: Any) -> ReviewFinding:
    """A finding about a wrong StatSN, with what a test sets otherwise."""
    values: dict[str, Any] = {
        "rule": "statsn.scsi-response",
        "clause": "R7143-4.2.2.2-05",
        "level": "MUST",
        "role": "target",
        "connection": 1,
        "session": 1,
        "frame": at(17),
        "first_frame": at(17),
        "time": START + 0.5,
        "pdu": None if pdu is None else shown(pdu),
        "field": None,
        "message": "StatSN 705034921 where 705034920 was next",
        "says": "StatSN rises by one with every status.",
        "statement": "StatSN rises by one per response, retransmissions excepted.",
        "meaning": "The target skipped a status number, so the initiator believes that a response was lost.",
    }
    return ReviewFinding(**{**values, **fields})


def connection(number: int = 1, **fields: Any) -> ConnectionReview:
    """A connection that was seen from its start to its end."""
    values: dict[str, Any] = {
        "number": number,
        "cid": number,
        "initiator": f"192.0.2.7:{50122 + number}",
        "target": "192.0.2.40:3281",
        "digests": Digests(header=True, data=False, known="login", confidence=1.0),
        "login": "full feature",
        "opcodes": {"SCSI Command": 220, "SCSI Response": 120, "SCSI Data-In": 300},
        "bytes_to_target": 3 << 20,
        "bytes_to_initiator": 47 << 20,
        "opened": Mark(how="SYN", time=START, frame=at(1)),
        "closed": Mark(how="FIN", time=START + 4, frame=at(4000)),
        "first": at(1),
        "last": at(4000),
    }
    return ConnectionReview(**{**values, **fields})


def session(number: int = 1, **fields: Any) -> SessionReview:
    """A normal session of one connection."""
    values: dict[str, Any] = {
        "number": number,
        "kind": "normal",
        "initiator_name": INITIATOR,
        "target_name": TARGET,
        "isid": "400001370000",
        "tsih": 5,
        "negotiated": {
            "DataDigest": "None",
            "ErrorRecoveryLevel": "0",
            "FirstBurstLength": "65536",
            "HeaderDigest": "CRC32C",
            "ImmediateData": "Yes",
            "InitialR2T": "No",
            "MaxBurstLength": "262144",
            "MaxRecvDataSegmentLength (initiator)": "262144",
            "MaxRecvDataSegmentLength (target)": "8192",
        },
        "connections": [connection(number)],
    }
    return SessionReview(**{**values, **fields})


def load(number: int = 1, count: int = 256) -> Load:
    """Load that swells and stalls for a while."""
    busy = [not 110 <= place < 135 for place in range(count)]
    swell = [1 + math.sin(place / 19) ** 2 for place in range(count)]
    return Load(
        connection=number,
        start=START + 0.01,
        width=2.0**-6,
        commands=[round(6 * wave) if on else 0 for on, wave in zip(busy, swell, strict=True)],
        bytes_in=[round(190_000 * wave) if on else 0 for on, wave in zip(busy, swell, strict=True)],
        bytes_out=[
            round(20_000 * wave * (place % 7)) if on else 0
            for place, (on, wave) in enumerate(zip(busy, swell, strict=True))
        ],
        depth=[round(16 * wave) if on else 32 for on, wave in zip(busy, swell, strict=True)],
        latency=[0.0007 * wave if on else 0.0 for on, wave in zip(busy, swell, strict=True)],
        latency_max=[
            0.002 * wave + (0.004 if place % 31 == 0 else 0) if on else 0.0
            for place, (on, wave) in enumerate(zip(busy, swell, strict=True))
        ],
        total=Latency(count=1950, mean=0.0009, median=0.0008, p90=0.0015, p99=0.0042, p999=0.2, longest=0.2043),
    )


def trace(findings: tuple[int, ...] = (), **fields: Any) -> CommandTrace:
    """A write whose second R2T is slow to come; its PDUs stand in the frames from 14 on."""
    itt = 0x10000031
    pdus: list[Pdu] = [
        ScsiCommand(
            itt=itt,
            lun=LUN_1,
            write=True,
            expected_data_transfer_length=65536,
            cmd_sn=7,
            exp_stat_sn=705034919,
            cdb=WRITE_10,
        ),
        R2T(
            itt=itt,
            lun=LUN_1,
            ttt=0x1,
            stat_sn=705034919,
            exp_cmd_sn=8,
            max_cmd_sn=39,
            desired_data_transfer_length=32768,
        ),
        DataOut(itt=itt, lun=LUN_1, ttt=0x1, exp_stat_sn=705034919, data=bytes(8192)),
        R2T(
            itt=itt,
            lun=LUN_1,
            ttt=0x2,
            stat_sn=705034919,
            exp_cmd_sn=8,
            max_cmd_sn=39,
            r2t_sn=1,
            buffer_offset=32768,
            desired_data_transfer_length=32768,
        ),
        DataOut(itt=itt, lun=LUN_1, ttt=0x2, exp_stat_sn=705034919, buffer_offset=32768, data=bytes(8192)),
        ScsiResponse(itt=itt, stat_sn=705034921, exp_cmd_sn=8, max_cmd_sn=40),
    ]
    times = (0.0, 0.000213, 0.0004, 0.2011, 0.2013, 0.2043)
    steps = [
        Step(
            time=START + 0.4 + time,
            frame=at(12 + place),
            way="to initiator" if encode(pdu).opcode >= 0x20 else "to target",
            label=one_line(encode(pdu)),
        )
        for place, (time, pdu) in enumerate(zip(times, pdus, strict=True))
    ]
    values: dict[str, Any] = {
        "session": 1,
        "connection": 1,
        "itt": itt,
        "lun": LUN_1.hex(),
        "cdb": WRITE_10,
        "name": "WRITE(10)",
        "length": 65536,
        "started": START + 0.4,
        "ended": START + 0.6043,
        "status": "GOOD",
        "reason": "slow",
        "steps": steps,
        "findings": list(findings),
    }
    return CommandTrace(**{**values, **fields})


def review(**fields: Any) -> Review:
    """A review with something in every part."""
    response = ScsiResponse(itt=0x10000031, stat_sn=705034921, exp_cmd_sn=8, max_cmd_sn=40)
    login = LoginRequest(
        itt=1, csg=1, nsg=3, transit=True, data=f"InitiatorName={INITIATOR}\0HeaderDigest=CRC32\0".encode()
    )
    refusal = LoginResponse(itt=1, status_class=2, status_detail=6)
    stat_sn = Field(name="stat_sn", part="header", offset=24, length=4)
    values: dict[str, Any] = {
        "files": [
            FileReview(
                name="captures/slow disk.pcapng",
                form="pcapng",
                packets=4321,
                bytes=52_000_000,
                application="Dumpcap 4.4",
            )
        ],
        "packets": 4321,
        "bytes": 52_000_000,
        "pdus": 2170,
        "opcodes": {0x01: 220, 0x03: 2, 0x05: 64, 0x21: 120, 0x23: 2, 0x25: 300, 0x31: 16},
        "link_types": ["Ethernet"],
        "ignored": 3,
        "first_time": START,
        "last_time": START + 4.2,
        "sessions": [
            session(),
            session(
                2,
                kind="discovery",
                target_name="",
                connections=[
                    connection(
                        2, closed=None, digests=Digests(header=False, data=False, known="inferred", confidence=0.93)
                    )
                ],
            ),
        ],
        "findings": [
            finding(response, itt=0x10000031, field=stat_sn, events=[9], time=START + 0.6043),
            finding(
                login,
                rule="keys.digest-values",
                clause="R7143-13.1-01",
                role="initiator",
                frame=at(4),
                first_frame=at(4),
                time=START + 0.001,
                message="HeaderDigest=CRC32 is no value of the key",
                says="The values of HeaderDigest are CRC32C and None.",
                meaning="The initiator asks for a digest that does not exist.",
                field=Field(name="HeaderDigest", part="data", offset=54, length=18),
            ),
            finding(
                refusal,
                rule="login.too-many",
                clause="R7143-11.13.5-02",
                level="SHOULD",
                frame=at(60),
                time=START + 1.75,
                message="login refused with 0206, too many connections",
            ),
            finding(
                None,
                rule="advice.delayed-ack",
                clause="-",
                level="ADVICE",
                role="network",
                frame=at(900),
                time=START + 2.1,
                message="37 waits of about 200 ms behind small segments",
                says="Small segments should not wait for delayed acknowledgements.",
                statement="",
                meaning="Nagle's algorithm and delayed acknowledgements wait for each other; TcpAckFrequency 1 ends it.",
                counted=37,
            ),
        ],
        "events": [
            ReviewEvent(
                source="iScsiPrt",
                id=9,
                connection=1,
                frame=at(17),
                time=START + 0.7,
                dump=encode(response).to_bytes(),
                finding=0,
                name="Target did not respond in time for a SCSI request",
                severity="error",
                meaning="The CDB is in the dump data.",
            )
        ],
        "gaps": [
            Gap(
                kind="missing bytes",
                connection=1,
                way="to initiator",
                frame=at(2222),
                time=START + 1.8,
                bytes=1448,
                message="1448 bytes are not in the capture",
            )
        ],
        "timeline": [
            Moment(time=START, frame=at(1), connection=1, kind="connect", what="192.0.2.7:50123 → 192.0.2.40:3281"),
            Moment(time=START + 0.004, frame=at(8), connection=1, kind="login", what="full feature phase of session 1"),
            Moment(
                time=START + 0.6043,
                frame=at(17),
                connection=1,
                kind="finding",
                what="MUST statsn.scsi-response: StatSN 705034921 where 705034920 was next",
            ),
            Moment(time=START + 0.7, frame=at(17), connection=1, kind="event", what="iScsiPrt 9"),
            Moment(time=START + 4, frame=at(4000), connection=1, kind="close", what="FIN from the initiator"),
        ],
        "loads": [load()],
        "traces": [trace((0,)), trace(itt=0x20, name="READ(10)", reason="slow", started=START + 0.1, omitted=3)],
    }
    return Review(**{**values, **fields})
