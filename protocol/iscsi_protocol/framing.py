"""Cutting a TCP stream into PDUs (11.1, 11.2.3, 11.2.4).

Feed bytes as they come, then take PDUs until None. A PDU that arrived whole is a view of the bytes fed; one that arrived in
pieces is gathered once, into a buffer of exactly its size. Views of the fed bytes are good until the caller hands over
more, so whoever keeps a PDU calls `kept()`.

What is still to come of a long PDU need not be fed: `room()` is where those bytes belong, and `took()` tells that they were
put there. Who takes the PDUs may also give the place for a long data segment whose header came (`Place`), so that it is
received where it is wanted and never copied.

Digests are switched between two PDUs, which is why PDUs are taken singly: the last Login Response and the first PDU of the
full feature phase may come in one segment.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from iscsi_protocol.digest import digest_bytes
from iscsi_protocol.pdu.codes import BHS_LENGTH
from iscsi_protocol.pdu.raw import Buffer, RawPdu

NO_LIMIT = 0xFFFFFF
"""The largest DataSegmentLength that a header can claim."""

LONG = 128 * 1024
"""Bytes of a data segment from which there is room for it. Several that are shorter are received at once, which saves more
than their copying costs.
"""

Place = Callable[[bytes], memoryview | None]
"""BHS -> writable bytes, DataSegmentLength of them, into which the data segment may be put before its PDU is judged; None has
it gathered. Asked for long PDUs without digests, AHS and padding that did not come whole.
"""

_DIGEST = 4
_LENGTHS = struct.Struct(">4xI")


class FramingError(Exception):
    """The stream cannot be cut any further on its own. `raw` is the PDU as far as it is known; `skip()` trusts its length,
    and so does `forgive()`.
    """

    def __init__(self, raw: RawPdu, message: str) -> None:
        super().__init__(message)
        self.raw = raw


class HeaderDigestError(FramingError):
    """The header digest is wrong, so the length in the header is not to be trusted (7.7)."""


class OversizedDataSegment(FramingError):
    """DataSegmentLength is above the receiver's declared limit (13.12)."""


class Framer:
    """One direction of a connection.

    header_digest, data_digest: whether the next PDU carries them. max_data_segment_length: bytes, above which
    OversizedDataSegment is raised before the data is waited for.
    """

    def __init__(
        self,
        *,
        header_digest: bool = False,
        data_digest: bool = False,
        max_data_segment_length: int = NO_LIMIT,
    ) -> None:
        self.header_digest = header_digest
        self.data_digest = data_digest
        self.max_data_segment_length = max_data_segment_length
        # Bytes fed and not used: the view from _position on, whose bytes are the caller's unless _owned.
        self._view = memoryview(b"")
        self._position = 0
        self._owned = True
        # A PDU that arrives in pieces: its first _filled bytes, and its whole length once that is known.
        self._partial = bytearray()
        self._filled = 0
        self._whole = 0
        # Where its data segment goes that was given a place; only its BHS is in _partial then.
        self._placed: memoryview | None = None
        # What became of a PDU that raised: its length while it does, the bytes of it still to drop, or that it is taken.
        self._stuck = 0
        self._to_skip = 0
        self._forgiven = False

    def __getstate__(self) -> dict[str, object]:
        """What a copy needs: bytes of its own in place of the view."""
        return {
            **self.__dict__,
            "_view": bytes(self._view),
            "_owned": True,
            "_partial": self._gathered(),
            "_placed": None,
        }

    def __setstate__(self, state: dict[str, bytes]) -> None:
        self.__dict__.update(state, _view=memoryview(state["_view"]))

    def receive(self, data: Buffer) -> None:
        """Take the next bytes of the stream. Whatever was left of the bytes before is kept first."""
        if self._position == len(self._view):
            self._view, self._position, self._owned = memoryview(data), 0, isinstance(data, bytes)
        elif len(data):
            joined = b"".join((self._view[self._position :], data))
            self._view, self._position, self._owned = memoryview(joined), 0, True
        else:
            self.keep()

    def keep(self) -> None:
        """Own what is left, so that the caller may use its receive buffer again before all PDUs are taken."""
        if not self._owned:
            self._view, self._position, self._owned = memoryview(bytes(self._view[self._position :])), 0, True

    @property
    def pending(self) -> int:
        """Bytes received that no PDU has used yet."""
        return self._filled + len(self._view) - self._position

    def remainder(self) -> bytes:
        """Those bytes, for evidence of a stream that ended within a PDU."""
        return b"".join((memoryview(self._gathered())[: self._filled], self._view[self._position :]))

    def __iter__(self) -> Iterator[RawPdu]:
        """All PDUs that can be taken now. Raises FramingError."""
        while (raw := self.next_pdu()) is not None:
            yield raw

    def room(self) -> memoryview | None:
        """Where the next bytes of the stream belong: the rest of a long PDU that has begun to come. None for others, while no
        length is known, and while there are bytes that were fed, or a PDU that is whole, and not taken.
        """
        if self._whole < BHS_LENGTH + LONG or not 0 < self._filled < self._whole or self._position != len(self._view):
            return None
        if self._placed is not None:
            return self._placed[self._filled - BHS_LENGTH :]
        return memoryview(self._partial)[self._filled :]

    def took(self, length: int) -> None:
        """So many bytes were put into `room()`, from its start. Raises ValueError where it has not so many."""
        if length > self._whole - self._filled:
            raise ValueError(f"{length} bytes were put where there is room for {self._whole - self._filled}")
        self._filled += length

    def withdraw(self) -> None:
        """Put nothing more into the place that was given. What came of its PDU is kept here, and the rest gathered."""
        self._partial, self._placed = self._gathered(), None

    def _gathered(self) -> bytearray:
        """The partial buffer with all that came of its PDU, as if no place had been given; a copy then, else the buffer."""
        if self._placed is None:
            return self._partial
        gathered = bytearray(self._whole)
        gathered[:BHS_LENGTH] = self._partial
        memoryview(gathered)[BHS_LENGTH : self._filled] = self._placed[: self._filled - BHS_LENGTH]
        return gathered

    def next_pdu(self, place: Place | None = None) -> RawPdu | None:
        """The next PDU, or None when more bytes are needed. place: see `Place`.

        A wrong data digest is a mark on the PDU. Raises HeaderDigestError or OversizedDataSegment, and then again at
        every call until `skip()` or `forgive()`.
        """
        if self._to_skip:
            self._discard()
        if self._filled:
            return self._next_gathered(place)
        view, start = self._view, self._position
        available = len(view) - start
        if not available:
            return None
        length = 0
        if available >= BHS_LENGTH and not (self.header_digest or self.data_digest or self._forgiven):
            # What nearly every PDU is: here as a whole, without digests, AHS and padding. It is cut in one step.
            body = start + BHS_LENGTH
            bhs = bytes(view[start:body])
            lengths = int.from_bytes(bhs[4:8], "big")
            if not lengths:
                self._position = body
                return RawPdu(bhs)
            end = body + lengths
            if lengths <= self.max_data_segment_length and not lengths & 3:
                if end <= start + available:
                    self._position = end
                    return RawPdu(bhs, b"", view[body:end])
                if place is not None and lengths >= LONG and (given := place(bhs)) is not None:
                    self._partial, self._filled, self._whole = bytearray(bhs), BHS_LENGTH, end - start
                    self._placed, self._position = given, body
                    self._fill(self._whole)
                    return None
        if available >= BHS_LENGTH and (not self.header_digest or available >= self._header_length(view, start)):
            length = self._measure(view, start)
            if length <= available:
                self._position = start + length
                return self._cut(view, start)
        self._whole = length
        self._partial = bytearray(max(length, BHS_LENGTH))
        self._fill(min(available, len(self._partial)))
        return self._next_gathered(place)

    def skip(self) -> None:
        """Trust the length of the PDU that raised, and drop it as its bytes come."""
        self._to_skip += self._stuck
        self._stuck = 0
        if self._filled:
            self._view, self._position, self._owned = memoryview(self.remainder()), 0, True
            self._partial, self._filled, self._whole = bytearray(), 0, 0
        self._discard()

    def forgive(self) -> None:
        """Trust the length of the PDU that raised, and take it all the same; a wrong header digest is a mark on it then."""
        self._forgiven = bool(self._stuck)
        self._stuck = 0

    def _discard(self) -> None:
        done = min(self._to_skip, len(self._view) - self._position)
        self._position += done
        self._to_skip -= done

    def _fill(self, size: int) -> bool:
        """Bring the partial buffer to `size` bytes if the view has them."""
        target, at = self._placed, self._filled - BHS_LENGTH
        if target is None:
            if len(self._partial) < size:
                grown = bytearray(size)
                grown[: self._filled] = memoryview(self._partial)[: self._filled]
                self._partial = grown
            # Through a view, since a bytearray makes itself a copy of what is assigned to its slices.
            target, at = memoryview(self._partial), self._filled
        start, end = self._position, min(self._position + size - self._filled, len(self._view))
        if start < end:
            target[at : at + end - start] = self._view[start:end]
            self._filled += end - start
            self._position = end
        return self._filled >= size

    def _next_gathered(self, place: Place | None) -> RawPdu | None:
        if not self._whole:
            if not self._fill(BHS_LENGTH):
                return None
            if self.header_digest and not self._fill(self._header_length(self._partial, 0)):
                return None
            self._whole = self._measure(memoryview(self._partial), 0)
            if place is not None and self._plain():
                self._placed = place(bytes(self._partial))
        if not self._fill(self._whole):
            return None
        if self._placed is None:
            raw = self._cut(memoryview(self._partial), 0)
        else:
            raw, self._placed = RawPdu(bytes(self._partial), b"", self._placed), None
        self._partial, self._filled, self._whole = bytearray(), 0, 0
        return raw

    def _plain(self) -> bool:
        """Whether a place may be asked for the PDU whose header alone was gathered."""
        digests = self.header_digest or self.data_digest or self._forgiven
        lengths = int.from_bytes(self._partial[4:8], "big")
        return not digests and LONG <= lengths <= NO_LIMIT and not lengths & 3

    @staticmethod
    def _header_length(buffer: Buffer, start: int) -> int:
        """With header digests: what has to be there before the header is believed, the AHS and the digest included."""
        return BHS_LENGTH + buffer[start + 4] * 4 + _DIGEST

    def _measure(self, view: memoryview, start: int) -> int:
        """Whole length of the PDU whose header starts there, judged before its lengths are used. Raises FramingError."""
        lengths: int = _LENGTHS.unpack_from(view, start)[0]
        segment = lengths & 0xFFFFFF
        digest_at = start + BHS_LENGTH + (lengths >> 24) * 4
        length = digest_at - start + (segment + 3 & ~3)
        if self.header_digest:
            length += _DIGEST
        if segment and self.data_digest:
            length += _DIGEST
        if self._forgiven:
            return length
        if self.header_digest and not self._header_is_right(view, start, digest_at):
            self._stuck = length
            raw = RawPdu(
                bytes(view[start : start + BHS_LENGTH]),
                ahs=bytes(view[start + BHS_LENGTH : digest_at]),
                header_digest=bytes(view[digest_at : digest_at + _DIGEST]),
                header_digest_error=True,
            )
            raise HeaderDigestError(raw, "header digest error")
        if segment > self.max_data_segment_length:
            self._stuck = length
            raw = RawPdu(bytes(view[start : start + BHS_LENGTH]))
            raise OversizedDataSegment(
                raw, f"data segment of {segment} bytes, the limit is {self.max_data_segment_length}"
            )
        return length

    @staticmethod
    def _header_is_right(view: memoryview, start: int, digest_at: int) -> bool:
        return digest_bytes(view[start:digest_at]) == view[digest_at : digest_at + _DIGEST]

    def _cut(self, view: memoryview, start: int) -> RawPdu:
        """The PDU that starts there, whole, whose header was judged before."""
        bhs = bytes(view[start : start + BHS_LENGTH])
        raw = RawPdu(bhs)
        position = start + BHS_LENGTH
        if bhs[4]:
            raw.ahs = view[position : position + bhs[4] * 4]
            position += bhs[4] * 4
        if self.header_digest:
            raw.header_digest = view[position : position + _DIGEST]
            raw.header_digest_error = self._forgiven and not self._header_is_right(view, start, position)
            position += _DIGEST
        self._forgiven = False
        segment = (bhs[5] << 16) | (bhs[6] << 8) | bhs[7]
        if segment:
            end = position + segment
            raw.data = view[position:end]
            position = end + (-segment & 3)
            if position != end:
                raw.padding = view[end:position]
            if self.data_digest:
                raw.data_digest = view[position : position + _DIGEST]
                raw.data_digest_error = digest_bytes(raw.data, raw.padding) != raw.data_digest
        return raw
