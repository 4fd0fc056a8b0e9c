"""Cutting a TCP stream into PDUs (11.1, 11.2.3, 11.2.4).

Feed bytes as they come, then take PDUs until None. A PDU that arrived whole is a view of the bytes fed; one that arrived in
pieces is gathered once, into a buffer of exactly its size. Views of the fed bytes are good until the caller hands over
more, so whoever keeps a PDU calls `kept()`.

Digests are switched between two PDUs, which is why PDUs are taken singly: the last Login Response and the first PDU of the
full feature phase may come in one segment.
"""

from __future__ import annotations

from collections.abc import Iterator

from iscsi_protocol.digest import digest_bytes
from iscsi_protocol.pdu.codes import BHS_LENGTH
from iscsi_protocol.pdu.raw import Buffer, RawPdu

NO_LIMIT = 0xFFFFFF
"""The largest DataSegmentLength that a header can claim."""

_DIGEST = 4


class FramingError(Exception):
    """The stream cannot be cut any further on its own. `raw` is the PDU as far as it is known; `skip()` trusts its length."""

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
        self._view = memoryview(b"")
        self._position = 0
        self._partial = bytearray()
        self._filled = 0
        self._wanted = 0
        self._to_skip = 0
        self._stuck = 0

    def receive(self, data: Buffer) -> None:
        """Take the next bytes of the stream. Whatever was left of the bytes before is kept first."""
        if self._position < len(self._view):
            rest = bytes(self._view[self._position :])
            self._view = memoryview(rest + bytes(data))
        else:
            self._view = memoryview(data)
        self._position = 0

    def keep(self) -> None:
        """Own what is left, so that the caller may use its receive buffer again before all PDUs are taken."""
        self._view = memoryview(bytes(self._view[self._position :]))
        self._position = 0

    @property
    def pending(self) -> int:
        """Bytes received that no PDU has used yet."""
        return self._filled + len(self._view) - self._position

    def remainder(self) -> bytes:
        """Those bytes, for evidence of a stream that ended within a PDU."""
        return bytes(self._partial[: self._filled]) + bytes(self._view[self._position :])

    def __iter__(self) -> Iterator[RawPdu]:
        """All PDUs that can be taken now. Raises FramingError."""
        while (raw := self.next_pdu()) is not None:
            yield raw

    def next_pdu(self) -> RawPdu | None:
        """The next PDU, or None when more bytes are needed.

        A wrong data digest is a mark on the PDU. Raises HeaderDigestError or OversizedDataSegment, and then again at
        every call until `skip()`.
        """
        if self._to_skip:
            self._discard()
        if self._filled:
            return self._next_gathered()
        available = len(self._view) - self._position
        if available >= BHS_LENGTH and available >= self._header_length(self._view, self._position):
            if self.header_digest:
                self._check_header(self._view, self._position)
            length = self._length(self._view, self._position)
            if available >= length:
                raw = self._cut(self._view, self._position)
                self._position += length
                return raw
            self._wanted = length
        elif available == 0:
            return None
        else:
            self._wanted = 0
        self._gather()
        return None

    def skip(self) -> None:
        """Trust the length of the PDU that raised, and drop it as its bytes come."""
        self._to_skip, self._stuck = self._stuck, 0
        if self._filled:
            done = min(self._filled, self._to_skip)
            self._to_skip -= done
            rest = bytes(self._partial[done : self._filled]) + bytes(self._view[self._position :])
            self._view, self._position = memoryview(rest), 0
            self._partial, self._filled, self._wanted = bytearray(), 0, 0
        self._discard()

    def _discard(self) -> None:
        done = min(self._to_skip, len(self._view) - self._position)
        self._position += done
        self._to_skip -= done

    def _gather(self) -> None:
        """Move what is left of the view into the partial buffer, sized for the whole PDU where that is known."""
        rest = self._view[self._position :]
        self._partial = bytearray(max(self._wanted, BHS_LENGTH))
        self._partial[: len(rest)] = rest
        self._filled = len(rest)
        self._position = len(self._view)

    def _fill(self, size: int) -> bool:
        """Bring the partial buffer to `size` bytes if the view has them."""
        if len(self._partial) < size:
            self._partial.extend(bytes(size - len(self._partial)))
        take = min(size - self._filled, len(self._view) - self._position)
        if take > 0:
            self._partial[self._filled : self._filled + take] = self._view[self._position : self._position + take]
            self._filled += take
            self._position += take
        return self._filled >= size

    def _next_gathered(self) -> RawPdu | None:
        if not self._fill(BHS_LENGTH):
            return None
        if not self._wanted:
            if not self._fill(self._header_length(self._partial, 0)):
                return None
            if self.header_digest:
                self._check_header(memoryview(self._partial), 0)
            self._wanted = self._length(self._partial, 0)
        if not self._fill(self._wanted):
            return None
        raw = self._cut(memoryview(self._partial), 0)
        self._partial, self._filled, self._wanted = bytearray(), 0, 0
        return raw

    def _header_length(self, buffer: Buffer, start: int) -> int:
        """What has to be there before the header is believed: with header digests, the AHS and the digest too."""
        return BHS_LENGTH + buffer[start + 4] * 4 + _DIGEST if self.header_digest else BHS_LENGTH

    def _check_header(self, view: memoryview, start: int) -> None:
        """Judge the header digest before the lengths in the header are used. Raises HeaderDigestError."""
        end = start + self._header_length(view, start)
        if digest_bytes(view[start : end - _DIGEST]) == view[end - _DIGEST : end]:
            return
        self._stuck = self._whole_length(view, start)
        raw = RawPdu(
            bytes(view[start : start + BHS_LENGTH]),
            ahs=bytes(view[start + BHS_LENGTH : end - _DIGEST]),
            header_digest=bytes(view[end - _DIGEST : end]),
            header_digest_error=True,
        )
        raise HeaderDigestError(raw, "header digest error")

    def _whole_length(self, buffer: Buffer, start: int) -> int:
        word = int.from_bytes(buffer[start + 4 : start + 8], "big")
        segment = word & 0xFFFFFF
        length = BHS_LENGTH + (word >> 24) * 4 + (_DIGEST if self.header_digest else 0)
        if segment:
            length += (segment + 3 & ~3) + (_DIGEST if self.data_digest else 0)
        return length

    def _length(self, buffer: Buffer, start: int) -> int:
        """Whole length of the PDU whose BHS starts there. Raises OversizedDataSegment."""
        length = self._whole_length(buffer, start)
        segment = int.from_bytes(buffer[start + 5 : start + 8], "big")
        if segment > self.max_data_segment_length:
            self._stuck = length
            raw = RawPdu(bytes(buffer[start : start + BHS_LENGTH]))
            raise OversizedDataSegment(
                raw, f"data segment of {segment} bytes, the limit is {self.max_data_segment_length}"
            )
        return length

    def _cut(self, view: memoryview, start: int) -> RawPdu:
        """The PDU that starts there, whole, whose header was checked before."""
        bhs = bytes(view[start : start + BHS_LENGTH])
        raw = RawPdu(bhs)
        position = start + BHS_LENGTH
        if bhs[4]:
            raw.ahs = view[position : position + bhs[4] * 4]
            position += bhs[4] * 4
        if self.header_digest:
            raw.header_digest = view[position : position + _DIGEST]
            position += _DIGEST
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
