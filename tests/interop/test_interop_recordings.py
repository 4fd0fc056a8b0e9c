"""tshark reads every recording of a certification run: it finds the PDUs that we find, and whatever it complains of is
what the case itself put on the wire.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether
from scapy.packet import Padding, Raw

from iscsi_captures.layers import Dissector, Reject
from iscsi_captures.pcapng import read_packets
from iscsi_protocol.pdu.codes import BHS_LENGTH, Opcode

RUN = [sys.executable, "-c", "from iscsi_conformance.cli import main; main()", "run"]
TCP_CHECKS = ["tcp.check_checksum:TRUE", "ip.check_checksum:TRUE", "tcp.analyze_sequence_numbers:TRUE"]
FIELDS = [
    "frame.interface_id",
    "_ws.expert.severity",
    "_ws.expert.message",
    "tcp.analysis.flags",
    "tcp.checksum.status",
    "ip.checksum.status",
    "iscsi.opcode",
]
WARNING = 0x600000
"""tshark's severity from which on it is not just telling."""

SEPARATOR = "\x1f"
"""Between the occurrences of a field within one frame; no message holds it."""

RESET = "Connection reset (RST)"
MALFORMED = "Malformed Packet (Exception occurred)"
INVALID_OPCODE = "Invalid opcode"
UNKNOWN_EXCHANGE = "Unknown SCSI exchange, can not decode SCSI data"

CUT = "a text is cut within a pair by the C bit, and tshark looks for the pair's end in each PDU"
REASSIGNED = "the command is on another connection than its data and status, and tshark looks at each by itself"
RESERVED_OPCODE = "a reserved opcode is on the wire, and again in the Reject of it"

# Resets stand in no table: they are counted against what the run says of its connections.
EXPLAINED: dict[str, tuple[str, str]] = {
    "discovery.long-answer": (MALFORMED, CUT),
    "idiscovery.answer-in-parts": (MALFORMED, CUT),
    "ilogin.long-text-spans-requests": (MALFORMED, CUT),
    "ilogin.transit-unasked": (MALFORMED, CUT),
    "itext.long-text": (MALFORMED, CUT),
    "login.long-text": (MALFORMED, CUT),
    "login.portal-group-waits-for-the-text": (MALFORMED, CUT),
    "reassign.behind-a-logout-of-its-own": (UNKNOWN_EXCHANGE, REASSIGNED),
    "reassign.behind-reinstatement": (UNKNOWN_EXCHANGE, REASSIGNED),
    "reassign.in-a-session-of-one": (UNKNOWN_EXCHANGE, REASSIGNED),
    "reassign.kept-for-time2retain": (UNKNOWN_EXCHANGE, REASSIGNED),
    "reassign.no-snack-tag": (UNKNOWN_EXCHANGE, REASSIGNED),
    "reassign.number-out-of-range": (UNKNOWN_EXCHANGE, REASSIGNED),
    "reassign.old-transfer-tags-are-gone": (UNKNOWN_EXCHANGE, REASSIGNED),
    "reassign.read-goes-on": (UNKNOWN_EXCHANGE, REASSIGNED),
    "reassign.response-before-effect": (UNKNOWN_EXCHANGE, REASSIGNED),
    "reassign.rest-of-a-read": (UNKNOWN_EXCHANGE, REASSIGNED),
    "reassign.stands-still-until-then": (UNKNOWN_EXCHANGE, REASSIGNED),
    "reassign.waits-for-time2retain": (UNKNOWN_EXCHANGE, REASSIGNED),
    "reassign.write-goes-on": (UNKNOWN_EXCHANGE, REASSIGNED),
    "reject.is-well-formed": (INVALID_OPCODE, RESERVED_OPCODE),
    "reject.reasons-are-defined": (INVALID_OPCODE, RESERVED_OPCODE),
    "reject.unknown-opcode": (INVALID_OPCODE, RESERVED_OPCODE),
    "reject.unknown-task-tag": (UNKNOWN_EXCHANGE, "a Data-Out whose tags belong to no task"),
    "reject.uses-a-status-number": (INVALID_OPCODE, RESERVED_OPCODE),
    "residual.priority-ignored": (
        UNKNOWN_EXCHANGE,
        "the command answered is one that tshark does not read, see UNREAD",
    ),
    "results.new-request-begins-anew": (MALFORMED, CUT),
    "results.tags-of-a-long-answer": (MALFORMED, CUT),
    "text.continued-is-not-final": (MALFORMED, CUT),
    "text.one-response-at-a-time": (MALFORMED, CUT),
    "text.parts-have-tags": (MALFORMED, CUT),
    "text.response-keeps-to-segment-length": (MALFORMED, CUT),
}
"""Case → what tshark complains of in its recording, and why that is the case's doing."""

NEITHER_F_NOR_C = "a text PDU with neither F nor C"
RESERVED_STAGE = "stage 2 is reserved"
FUNCTIONS_OF_7144 = "functions and a response of RFC 7144"

UNREAD: dict[str, tuple[dict[Opcode, int], str]] = {
    "ilogin.reserved-next-stage": ({Opcode.LOGIN_RESPONSE: 1}, RESERVED_STAGE),
    "itext.goes-on": ({Opcode.TEXT_RESPONSE: 1}, NEITHER_F_NOR_C),
    "itext.long-text": ({Opcode.TEXT_RESPONSE: 2}, NEITHER_F_NOR_C),
    "itext.lun": ({Opcode.TEXT_RESPONSE: 1}, NEITHER_F_NOR_C),
    "levels.functions-below-level-2": ({Opcode.TASK_MANAGEMENT_REQUEST: 3}, FUNCTIONS_OF_7144),
    "levels.functions-without-a-level": ({Opcode.TASK_MANAGEMENT_REQUEST: 3}, FUNCTIONS_OF_7144),
    "login.continue-excludes-transit": ({Opcode.LOGIN_REQUEST: 1}, "T and C together"),
    "login.no-way-back": ({Opcode.LOGIN_REQUEST: 2}, "T with stage 0 as the next, to which no way leads"),
    "login.reserved-stage": ({Opcode.LOGIN_REQUEST: 1}, RESERVED_STAGE),
    "logout.reserved-reason": ({Opcode.LOGOUT_REQUEST: 1}, "a reserved reason"),
    "nop.reserved-bits-are-ignored": ({Opcode.NOP_OUT: 1}, "reserved bits set"),
    "queries.asynchronous-event": (
        {Opcode.TASK_MANAGEMENT_REQUEST: 3, Opcode.TASK_MANAGEMENT_RESPONSE: 1},
        FUNCTIONS_OF_7144,
    ),
    "queries.every-function-is-answered": (
        {Opcode.TASK_MANAGEMENT_REQUEST: 3, Opcode.TASK_MANAGEMENT_RESPONSE: 1},
        FUNCTIONS_OF_7144,
    ),
    "queries.nexus-reset-drops-connections": ({Opcode.TASK_MANAGEMENT_REQUEST: 1}, FUNCTIONS_OF_7144),
    "queries.nexus-reset-ends-the-session": ({Opcode.TASK_MANAGEMENT_REQUEST: 1}, FUNCTIONS_OF_7144),
    "queries.nexus-reset-is-a-loss": ({Opcode.TASK_MANAGEMENT_REQUEST: 1}, FUNCTIONS_OF_7144),
    "queries.nexus-reset-waits-for-data": ({Opcode.TASK_MANAGEMENT_REQUEST: 1}, FUNCTIONS_OF_7144),
    "queries.of-a-function": ({Opcode.TASK_MANAGEMENT_REQUEST: 1}, FUNCTIONS_OF_7144),
    "queries.queried-task-goes-on": (
        {Opcode.TASK_MANAGEMENT_REQUEST: 1, Opcode.TASK_MANAGEMENT_RESPONSE: 1},
        FUNCTIONS_OF_7144,
    ),
    "queries.task": ({Opcode.TASK_MANAGEMENT_REQUEST: 2, Opcode.TASK_MANAGEMENT_RESPONSE: 1}, FUNCTIONS_OF_7144),
    "queries.task-set": ({Opcode.TASK_MANAGEMENT_REQUEST: 2, Opcode.TASK_MANAGEMENT_RESPONSE: 1}, FUNCTIONS_OF_7144),
    "residual.priority-ignored": ({Opcode.SCSI_COMMAND: 1}, "a priority (RFC 7144) where RFC 7143 has reserved bits"),
    "results.failed-negotiation-changes-nothing": ({Opcode.TEXT_REQUEST: 1, Opcode.TEXT_RESPONSE: 1}, NEITHER_F_NOR_C),
    "snack.reserved-type": ({Opcode.SNACK_REQUEST: 1}, "a reserved type"),
    "text.abandoned-values-do-not-hold": ({Opcode.TEXT_REQUEST: 1, Opcode.TEXT_RESPONSE: 1}, NEITHER_F_NOR_C),
    "text.each-key-once": ({Opcode.TEXT_REQUEST: 1, Opcode.TEXT_RESPONSE: 1}, NEITHER_F_NOR_C),
    "text.failed-sequence-changes-nothing": ({Opcode.TEXT_REQUEST: 1, Opcode.TEXT_RESPONSE: 1}, NEITHER_F_NOR_C),
    "text.failed-sequence-is-discarded": ({Opcode.TEXT_REQUEST: 1, Opcode.TEXT_RESPONSE: 1}, NEITHER_F_NOR_C),
    "text.half-a-text-is-answered-empty": ({Opcode.TEXT_RESPONSE: 1}, NEITHER_F_NOR_C),
    "text.new-sequence-forgets-the-old": ({Opcode.TEXT_REQUEST: 1, Opcode.TEXT_RESPONSE: 1}, NEITHER_F_NOR_C),
    "text.sequence-goes-on": ({Opcode.TEXT_REQUEST: 1, Opcode.TEXT_RESPONSE: 1}, NEITHER_F_NOR_C),
    "text.tag-is-of-use": ({Opcode.TEXT_REQUEST: 1, Opcode.TEXT_RESPONSE: 1}, NEITHER_F_NOR_C),
    "tmf.reserved-function": ({Opcode.TASK_MANAGEMENT_REQUEST: 1}, "a reserved function"),
}
"""Case → the PDUs, by opcode, that tshark takes for no iSCSI, and what is in them."""


Ends = tuple[str, int, str, int]


@dataclass(slots=True)
class Reading:
    """What a reader makes of one recording."""

    frames: int = 0
    opcodes: Counter[int] = field(default_factory=Counter)
    complaints: Counter[str] = field(default_factory=Counter)
    ends: set[Ends] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Certification:
    """A run of the bundled pair. Case → resets and refusals that the run tells of; case → readings, ours and tshark's."""

    resets: dict[str, int]
    ours: dict[str, Reading]
    theirs: dict[str, Reading]


def opcodes(dissector: Dissector, unread: bytearray) -> Iterable[int]:
    """The opcodes of the PDUs that these bytes complete, with that of a rejected header; they are taken out of the bytes."""
    while (pdu := dissector.take(bytes(unread))) is not None:
        rest = pdu.lastlayer()
        unread[:] = rest.load if isinstance(rest, Padding) else b""
        if isinstance(pdu, Raw):
            continue
        yield pdu.Opcode
        if isinstance(pdu, Reject) and len(header := pdu.data()) >= BHS_LENGTH:
            yield header[0] & 0x3F


def our_reading(path: Path) -> Reading:
    """Cut the recording's streams into PDUs."""
    reading = Reading()
    ways: dict[Ends, tuple[Dissector, bytearray]] = {}
    with path.open("rb") as file:
        for packet in read_packets(file):
            reading.frames += 1
            internet = Ether(packet.data).payload
            segment = internet[TCP]
            way: Ends = (internet.src, segment.sport, internet.dst, segment.dport)
            if segment.flags == "S":
                dissector = Dissector()
                reading.ends.add(way)
                ways |= {way: (dissector, bytearray()), (*way[2:], *way[:2]): (dissector, bytearray())}
            dissector, unread = ways[way]
            unread += bytes(segment.payload)
            reading.opcodes.update(opcodes(dissector, unread))
    return reading


MERGED = 300
"""Files in one merged file: mergecap writes the path of each into a comment, which holds 65535 bytes."""


def batches(readings: dict[str, Reading]) -> list[list[str]]:
    """The cases in groups of bounded size in which no two have a connection between the same ends: merged, those would
    look like one.
    """
    groups: list[tuple[list[str], set[Ends]]] = []
    for case, reading in readings.items():
        for cases, used in groups:
            if len(cases) < MERGED and used.isdisjoint(reading.ends):
                cases.append(case)
                used |= reading.ends
                break
        else:
            groups.append(([case], set(reading.ends)))
    return [cases for cases, _ in groups]


def complaints(severities: list[str], messages: list[str], flagged: str, checksums: list[str]) -> Iterable[str]:
    """What tshark holds against a frame; 1 is the status of a right checksum."""
    for severity, message in zip(severities, messages, strict=True):
        if int(severity) >= WARNING or flagged:
            yield message
    if checksums != ["1", "1"]:
        yield "a wrong checksum"


def their_readings(tshark: Path, merged: Path, cases: list[str], ends: set[Ends]) -> dict[str, Reading]:
    """Let tshark read a file that holds the recordings of these cases, the interfaces numbered in their order."""
    ports = {port for one in ends for port in (one[1], one[3])}
    command = [str(tshark), "-n", "-r", str(merged), "-T", "fields", "-E", f"aggregator={SEPARATOR}"]
    command += [word for check in TCP_CHECKS for word in ("-o", check)]
    command += [word for port in sorted(ports) for word in ("-d", f"tcp.port=={port},iscsi")]
    command += [word for name in FIELDS for word in ("-e", name)]
    shown = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", timeout=60).stdout
    readings = [Reading() for _ in cases]
    for line in shown.splitlines():
        interface, severities, messages, flagged, tcp_checksum, ip_checksum, codes = line.split("\t")
        reading = readings[int(interface)]
        reading.frames += 1
        reading.opcodes.update(int(code, 16) for code in occurrences(codes))
        reading.complaints.update(
            complaints(occurrences(severities), occurrences(messages), flagged, [tcp_checksum, ip_checksum])
        )
    return dict(zip(cases, readings, strict=True))


def occurrences(value: str) -> list[str]:
    """The values of a field that a frame may have any number of."""
    return value.split(SEPARATOR) if value else []


@pytest.fixture(scope="session")
def certification(peer: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Certification:
    """Record a certification run, and have it read on both sides."""
    tshark, mergecap = peer("tshark"), peer("mergecap")
    out = tmp_path_factory.mktemp("certification")
    # Not the cases about events: there are hundreds, and most hold PDUs that cannot be.
    done = subprocess.run(
        [*RUN, "--role", "both", "-k", "not event or queries", "--out", str(out)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert (out / "results.json").exists(), done.stderr
    resets = {
        case["id"]: sum(step["line"].endswith((" TCP RST", " TCP refused")) for step in case["evidence"]["dialogue"])
        for case in json.loads((out / "results.json").read_bytes())["cases"]
    }
    ours = {path.stem: our_reading(path) for path in sorted((out / "captures").glob("*.pcapng"))}
    theirs: dict[str, Reading] = {}
    for number, cases in enumerate(batches(ours)):
        merged = out / f"merged-{number}.pcapng"
        recordings = [str(out / "captures" / f"{case}.pcapng") for case in cases]
        # Appended, not sorted by time; and an interface for each file, by which its frames are told.
        subprocess.run([str(mergecap), "-a", "-I", "none", "-w", str(merged), *recordings], check=True, timeout=60)
        theirs |= their_readings(tshark, merged, cases, {end for case in cases for end in ours[case].ends})
    return Certification(resets, ours, theirs)


def test_every_case_has_a_recording_and_every_frame_is_read(certification: Certification) -> None:
    assert set(certification.ours) == set(certification.resets) == set(certification.theirs)
    assert set(EXPLAINED) | set(UNREAD) <= set(certification.resets)
    frames = {case: reading.frames for case, reading in certification.ours.items()}
    assert frames == {case: reading.frames for case, reading in certification.theirs.items()}
    assert all(frames.values())


def test_tshark_complains_of_nothing_but_what_the_case_put_on_the_wire(certification: Certification) -> None:
    unexplained = {
        case: left
        for case, reading in certification.theirs.items()
        if (left := set(reading.complaints) - {RESET, EXPLAINED.get(case, (None, ""))[0]})
    }
    assert unexplained == {}


def test_tshark_sees_the_resets_that_the_run_tells_of(certification: Certification) -> None:
    seen = {case: reading.complaints[RESET] for case, reading in certification.theirs.items()}
    assert seen == certification.resets
    assert any(seen.values())


def test_tshark_finds_the_pdus_that_we_find(certification: Certification) -> None:
    """Whatever we read it reads, but for PDUs that are as a PDU must not be; and it reads nothing that we do not."""
    differing = {}
    for case, reading in certification.ours.items():
        theirs = certification.theirs[case].opcodes
        unread = Counter[int](UNREAD.get(case, ({}, ""))[0])
        left, more = reading.opcodes - theirs - unread, theirs - reading.opcodes
        if left or more:
            differing[case] = (left, more)
    assert differing == {}


def test_recordings_with_the_same_ends_are_not_merged() -> None:
    first, second = ("::1", 1, "::1", 3260), ("::1", 2, "::1", 3260)
    readings = {"a": Reading(ends={first}), "b": Reading(ends={second}), "c": Reading(ends={first, second})}
    assert batches(readings) == [["a", "b"], ["c"]]


def test_no_group_is_larger_than_what_can_be_merged() -> None:
    readings = {str(number): Reading(ends={("::1", number, "::1", 3260)}) for number in range(2 * MERGED + 1)}
    assert [len(cases) for cases in batches(readings)] == [MERGED, MERGED, 1]
