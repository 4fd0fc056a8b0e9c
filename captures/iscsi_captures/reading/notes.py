"""What a capture shows below iSCSI, and what it does not show: facts, not judgements."""

from __future__ import annotations

import msgspec

from iscsi_captures.reading.frames import NO_FRAME, FrameNumber
from iscsi_protocol.history import Endpoint
from iscsi_protocol.stream import Direction


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """connection: its number in the history, 0 where there is none; time: seconds since the epoch; direction: the way that
    the bytes went, or of the side that it is about, None where that is unknown.
    """

    connection: int = 0
    frame: FrameNumber = NO_FRAME
    time: float = 0.0
    direction: Direction | None = None


class Recognised(Note, frozen=True, kw_only=True):
    """The connection was taken for iSCSI at this frame, which is when it got its number. Comes before all else of it."""


class Handshake(Note, frozen=True, kw_only=True):
    """A SYN or SYN-ACK (RFC 9293 3.5): the options of the side that sent it, None where it sent none. round_trip: seconds
    from the SYN to its answer, in the answer's note. direction: the way that this segment went.
    """

    endpoint: Endpoint
    mss: int | None = None
    window_scale: int | None = None
    selective_ack: bool = False
    timestamps: bool = False
    round_trip: float | None = None


class SynUnanswered(Note, frozen=True, kw_only=True):
    """A connection was asked for and no answer is in the capture. tries: SYNs seen; frame: the first."""

    endpoint: Endpoint
    tries: int


class Retransmitted(Note, frozen=True, kw_only=True):
    """Bytes that the capture has already, sent once more. after: seconds since the sender's segment before."""

    bytes: int
    after: float = 0.0


class OutOfOrder(Note, frozen=True, kw_only=True):
    """A segment that came before what precedes it. ahead: bytes that were missing before it."""

    ahead: int


class OverlapDiffers(Note, frozen=True, kw_only=True):
    """The same place in the stream was sent twice with different bytes. offset: of the first one that differs, in bytes from
    the start of the stream as captured; old, new: up to 16 bytes from there; bytes: how many differ; old_hash, new_hash:
    SHA-256 of both versions of the overlap, the first 16 hex digits. The old version is what was read.
    """

    offset: int
    old: bytes
    new: bytes
    bytes: int
    old_hash: str
    new_hash: str


class Missing(Note, frozen=True, kw_only=True):
    """Bytes of the stream that the capture does not have; bytes None: nobody can tell how many.

    filled: they belong to the data of a read or write, whose PDU comes all the same with zeros in their place.
    """

    bytes: int | None
    filled: bool = False


class Resynchronised(Note, frozen=True, kw_only=True):
    """The next PDU was found by its looks. skipped: bytes passed over, which came as records; confidence: 0 to 1."""

    skipped: int
    confidence: float


class ZeroWindow(Note, frozen=True, kw_only=True):
    """The sender of this segment takes no more bytes. direction: the way that the segment went."""


class WindowOpened(Note, frozen=True, kw_only=True):
    """It takes bytes again. after: seconds since ZeroWindow."""

    after: float


class Reset(Note, frozen=True, kw_only=True):
    """A RST. bytes_in_flight: bytes of the other side that it had not acknowledged."""

    bytes_in_flight: int = 0


class DigestsInferred(Note, frozen=True, kw_only=True):
    """The login is not in the capture; this is what the PDUs look like. over: PDUs that bear it out; confidence: 0 to 1."""

    header: bool
    data: bool
    confidence: float
    over: int


class StartMissing(Note, frozen=True, kw_only=True):
    """The connection was open when the capture began."""


class EndMissing(Note, frozen=True, kw_only=True):
    """The connection was open when the capture ended."""


class OneSided(Note, frozen=True, kw_only=True):
    """Only the segments of one direction, the one given, are in the capture."""


class Truncated(Note, frozen=True, kw_only=True):
    """The first frame of the connection that the snap length cut. snap_length: bytes captured of it; wire_length: bytes that
    it had.
    """

    snap_length: int
    wire_length: int


class Pause(Note, frozen=True, kw_only=True):
    """An 802.3x pause frame (IEEE 802.3 annex 31B). quanta: of 512 bit times each; 0 lets the other side go on."""

    quanta: int
    source: str


class DelayedAck(Note, frozen=True, kw_only=True):
    """A sender waited with its next segment until a small one before was acknowledged, and that took long: the pattern of
    Nagle's algorithm against delayed acknowledgements. direction: of the side that waited.
    """

    milliseconds: float


class Coalesced(Note, frozen=True, kw_only=True):
    """The first segment of the connection above the MSS: taken before or behind the network card cuts or joins them."""

    bytes: int
    mss: int | None = None


class FragmentsLost(Note, frozen=True, kw_only=True):
    """Fragments of IP datagrams that never became whole; how many datagrams."""

    datagrams: int


class FileDamaged(Note, frozen=True, kw_only=True):
    """A file could be read so far and no further. message: one line, with the file's name."""

    message: str


class UnknownLink(Note, frozen=True, kw_only=True):
    """Packets of a link type that is not read. frame: the first; packets: how many."""

    link_type: int
    packets: int


class BufferFull(Note, frozen=True, kw_only=True):
    """A bound on memory was reached: bytes of this connection that waited for others came as records, or were left out."""

    bytes: int
