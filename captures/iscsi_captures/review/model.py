"""What a review holds: plain data, bounded whatever the size of the capture, and the same for everyone who shows it.

Times are seconds since the epoch as the capture has them, lengths bytes, durations seconds. Connections and sessions are
numbered from 1 in the order in which they were first seen.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from iscsi_captures.reading import FrameRef

FINDINGS_KEPT = 10_000
EVENTS_KEPT = 10_000
DUMP_KEPT = 4096
MOMENTS_KEPT = 1_000
GAPS_KEPT = 1_000
TRACES_KEPT = 20
STEPS_KEPT = 64
BUCKETS_KEPT = 400
PDU_KEPT = 512

Level = Literal["MUST", "SHOULD", "ADVICE"]
Role = Literal["initiator", "target", "network"]
Way = Literal["to target", "to initiator"]


class FileReview(msgspec.Struct, frozen=True, kw_only=True):
    """One file. form: "pcap" or "pcapng", with the compression. damage: why reading ended early, or empty."""

    name: str
    form: str
    packets: int
    bytes: int
    application: str = ""
    damage: str = ""


class Digests(msgspec.Struct, frozen=True, kw_only=True):
    """Which digests a connection carries, and how that is known. confidence: 0.0 to 1.0, 1.0 where the login was seen."""

    header: bool
    data: bool
    known: Literal["login", "inferred", "none"]
    confidence: float


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How and when a connection began or ended. how: "SYN", "in the middle", "FIN", "RST", "refused", "no answer", ..."""

    how: str
    time: float
    frame: FrameRef


class ConnectionReview(msgspec.Struct, kw_only=True):
    """One TCP connection. opcodes: PDUs by name of the opcode. The byte counts are those of data segments.

    bytes_to_target, bytes_to_initiator: data segments. closed: None where the capture ends before it.
    login: "full feature", "refused 0xSSDD", "unfinished", "not seen".
    """

    number: int
    cid: int
    initiator: str
    target: str
    digests: Digests
    login: str
    opcodes: dict[str, int]
    bytes_to_target: int
    bytes_to_initiator: int
    opened: Mark
    closed: Mark | None
    first: FrameRef
    last: FrameRef


Kind = Literal["normal", "discovery", "unknown"]


class SessionReview(msgspec.Struct, kw_only=True):
    """One session. kind: "unknown" where its login was not seen. isid: 12 hex digits, empty where it was not seen.

    negotiated: keys with the values in force, in the order of their names.
    """

    number: int
    kind: Kind
    initiator_name: str
    target_name: str
    isid: str
    tsih: int
    negotiated: dict[str, str]
    connections: list[ConnectionReview]


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """The field of a PDU that a finding is about. offset, length: bytes from the start of `part`."""

    name: str
    part: Literal["header", "AHS", "data"]
    offset: int
    length: int


class PduShown(msgspec.Struct, frozen=True, kw_only=True):
    """The PDU of a finding. opcode: its code. raw: its first PDU_KEPT bytes. length: bytes of the whole.

    ahs_length, header_digest_length: where the data segment begins is 48 + both.
    """

    opcode: int
    name: str
    way: Way
    raw: bytes
    length: int
    ahs_length: int = 0
    header_digest_length: int = 0
    data_length: int = 0

    @property
    def data_offset(self) -> int:
        """Where in `raw` the data segment begins."""
        return 48 + self.ahs_length + self.header_digest_length


class ReviewFinding(msgspec.Struct, kw_only=True):
    """What a side did, or what is slow. frame: the packet that completed the PDU; first_frame: the one it begins in.

    clause: id of the requirement, "-" for advice without one. says: the rule in a sentence. meaning: what it comes to in
    plain words. events: ids of what the guide's initiator logs for it. session: None where it belongs to none.
    itt: Initiator Task Tag of the PDU, None where there is no PDU or it has none. counted: how often it was seen, where
    one finding stands for many. statement: the requirement as the catalogue words it, empty where there is none.
    Findings about no connection (paused links) have connection 0.
    """

    rule: str
    clause: str
    level: Level
    role: Role
    connection: int
    session: int | None
    frame: FrameRef
    first_frame: FrameRef
    time: float
    pdu: PduShown | None
    field: Field | None
    message: str
    says: str
    statement: str
    meaning: str
    itt: int | None = None
    events: list[int] = []
    counted: int = 1


class ReviewEvent(msgspec.Struct, kw_only=True):
    """An event that the guide's initiator logs for what the capture shows. finding: index of the violation behind it."""

    source: str
    id: int
    connection: int
    frame: FrameRef
    time: float
    dump: bytes
    finding: int | None
    name: str
    severity: str
    meaning: str


class Gap(msgspec.Struct, kw_only=True):
    """Something that the capture does not have, or has otherwise than it was. kind: "missing bytes", "start missing", ...

    bytes: how many, None where that is not known. way: None where both directions are meant.
    """

    kind: str
    connection: int | None
    way: Way | None
    frame: FrameRef
    time: float
    bytes: int | None
    message: str


class Moment(msgspec.Struct, kw_only=True):
    """One line of the timeline; a rule stands there once for each connection.

    kind: connect, login, logout, reset, close, recovery, finding, event, notice.
    """

    time: float
    frame: FrameRef
    connection: int | None
    kind: str
    what: str


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One PDU of a command. label: what an arrow of a sequence diagram says, such as "R2T 0, 65536 bytes at 0"."""

    time: float
    frame: FrameRef
    way: Way
    label: str


class CommandTrace(msgspec.Struct, kw_only=True):
    """One SCSI command. lun: 16 hex digits. length: ExpectedDataTransferLength. ended, status: None, "" while it is open.

    reason: "slow", "finding" or "aborted". steps: at most STEPS_KEPT, the first ones and the last; omitted: how many PDUs
    have no step. findings: indexes into the review's findings.
    """

    session: int
    connection: int
    itt: int
    lun: str
    cdb: bytes
    name: str
    length: int
    started: float
    ended: float | None
    status: str
    reason: str
    steps: list[Step]
    omitted: int = 0
    findings: list[int] = []

    @property
    def seconds(self) -> float | None:
        """How long it took."""
        return None if self.ended is None else self.ended - self.started


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from SCSI Command to status, of all commands of a connection; percentiles within 5 percent."""

    count: int
    mean: float
    median: float
    p90: float
    p99: float
    p999: float
    longest: float


class Load(msgspec.Struct, kw_only=True):
    """What a connection did over time, in at most BUCKETS_KEPT buckets of `width` seconds from `start` on.

    All lists have one item per bucket. commands: that ended in it. bytes_in, bytes_out: data segments to the initiator and
    to the target. depth: most SCSI commands open at once. latency, latency_max: mean and longest seconds.
    """

    connection: int
    start: float
    width: float
    commands: list[int]
    bytes_in: list[int]
    bytes_out: list[int]
    depth: list[int]
    latency: list[float]
    latency_max: list[float]
    total: Latency | None


class Review(msgspec.Struct, kw_only=True):
    """All of it. opcodes: PDUs by opcode. ignored: TCP connections that are not iSCSI. dropped: findings that were
    counted and not kept, by rule.

    first_time, last_time: of the packets, 0.0 where there are none.
    """

    files: list[FileReview]
    packets: int
    bytes: int
    pdus: int
    opcodes: dict[int, int]
    link_types: list[str]
    ignored: int
    first_time: float
    last_time: float
    sessions: list[SessionReview]
    findings: list[ReviewFinding]
    events: list[ReviewEvent]
    gaps: list[Gap]
    timeline: list[Moment]
    loads: list[Load]
    traces: list[CommandTrace]
    dropped: dict[str, int] = {}

    @property
    def conforms(self) -> bool:
        """Whether no MUST was broken as far as the capture shows."""
        return not any(finding.level == "MUST" for finding in self.findings)
