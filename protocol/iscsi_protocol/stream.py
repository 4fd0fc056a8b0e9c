"""Both directions of one connection as PDUs, for whoever stands beside or between the two ends.

An onlooker has only the bytes. It learns from the login itself which digests the full feature phase will use (13.1): the
second value seen of HeaderDigest and of DataDigest is the answer, and it counts from the first PDU behind the final Login
Response on. The recorder, the fault injector and the relay all look through this one pair.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from iscsi_protocol.framing import NO_LIMIT, Framer, FramingError, HeaderDigestError
from iscsi_protocol.pdu.codes import Opcode, Stage
from iscsi_protocol.pdu.raw import Buffer, RawPdu


class Direction(IntEnum):
    """Which way something went."""

    TO_TARGET = 0
    TO_INITIATOR = 1

    @property
    def other(self) -> Direction:
        """The opposite way."""
        return Direction(1 - self)


@dataclass(slots=True)
class Undecodable:
    """Bytes that cannot be cut into a PDU, and why: a stream that lost its framing or ended within a PDU."""

    data: bytes
    reason: str


_DIGEST_KEYS = (b"HeaderDigest", b"DataDigest")


class StreamPair:
    """The two framers of a connection, with digests switched as the login agreed."""

    def __init__(self) -> None:
        self.framers = (Framer(max_data_segment_length=NO_LIMIT), Framer(max_data_segment_length=NO_LIMIT))
        self.full_feature = False
        self.stage: int = Stage.SECURITY
        self._login_text = (bytearray(), bytearray())
        self._values: dict[bytes, list[bytes]] = {key: [] for key in _DIGEST_KEYS}
        self._lost = [False, False]

    @property
    def header_digest(self) -> bool:
        """Whether PDUs carry header digests now."""
        return self.framers[0].header_digest

    @property
    def data_digest(self) -> bool:
        """Whether PDUs with data carry data digests now."""
        return self.framers[0].data_digest

    def receive(self, direction: Direction, data: Buffer) -> Iterator[RawPdu | Undecodable]:
        """The PDUs that these bytes complete. After a header digest error the length in the header is trusted, since an
        onlooker has no better guess; the PDU is yielded with its mark and without its data.
        """
        framer = self.framers[direction]
        if self._lost[direction]:
            yield Undecodable(bytes(data), "framing was lost before")
            return
        framer.receive(data)
        while True:
            try:
                raw = framer.next_pdu()
            except HeaderDigestError as error:
                yield error.raw
                framer.skip()
                continue
            except FramingError as error:
                self._lost[direction] = True
                yield Undecodable(framer.remainder(), str(error))
                return
            if raw is None:
                return
            if not self.full_feature:
                self._watch_login(direction, raw)
            yield raw

    def finish(self) -> Iterator[tuple[Direction, Undecodable]]:
        """What was left over in both directions when the connection ended."""
        for direction in Direction:
            rest = self.framers[direction].remainder()
            if rest:
                yield direction, Undecodable(rest, "the stream ended within a PDU")

    def _watch_login(self, direction: Direction, raw: RawPdu) -> None:
        opcode, flags = raw.opcode, raw.bhs[1]
        if opcode not in (Opcode.LOGIN_REQUEST, Opcode.LOGIN_RESPONSE):
            return
        self.stage = flags >> 2 & 3
        text = self._login_text[direction]
        text += raw.data
        if not flags & 0x40:
            for pair in bytes(text).split(b"\0"):
                key, _, value = pair.partition(b"=")
                if key in self._values:
                    self._values[key].append(value)
            text.clear()
        final = opcode == Opcode.LOGIN_RESPONSE and flags & 0x80 and flags & 3 == Stage.FULL_FEATURE
        if final and raw.bhs[36] == 0:
            self.full_feature = True
            self.stage = Stage.FULL_FEATURE
            for framer in self.framers:
                framer.header_digest = self._agreed(b"HeaderDigest")
                framer.data_digest = self._agreed(b"DataDigest")

    def _agreed(self, key: bytes) -> bool:
        values = self._values[key]
        return len(values) > 1 and values[1] == b"CRC32C"
