"""Both directions of one connection as PDUs, for whoever stands beside or between the two ends.

An onlooker has only the bytes. It learns from the login itself which digests the full feature phase will use (13.1): the
second value seen of HeaderDigest and of DataDigest is the answer, and it counts from the first PDU behind the final Login
Response on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from iscsi_protocol.framing import Framer, HeaderDigestError
from iscsi_protocol.pdu.codes import Flag, Opcode, Stage
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
_TEXT_LIMIT = 1 << 16


class LoginWatch:
    """What the PDUs of a connection tell about its login: where it stands, and the digests that are in force.

    stage: CSG of the latest login PDU, 3 once the final Login Response was seen. cid: of the latest Login Request.
    """

    def __init__(self) -> None:
        self.stage: int = Stage.SECURITY
        self.cid: int | None = None
        self.full_feature = False
        self.header_digest = False
        self.data_digest = False
        self._text = (bytearray(), bytearray())
        self._values: dict[bytes, list[bytes]] = {key: [] for key in _DIGEST_KEYS}

    def watch(self, direction: Direction, raw: RawPdu) -> None:
        """Take notice of the next PDU. Behind the login nothing changes any more."""
        opcode, flags = raw.opcode, raw.bhs[1]
        if self.full_feature or opcode not in (Opcode.LOGIN_REQUEST, Opcode.LOGIN_RESPONSE):
            return
        self.stage = flags >> 2 & 3
        if opcode == Opcode.LOGIN_REQUEST:
            self.cid = int.from_bytes(raw.bhs[20:22], "big")
        text = self._text[direction]
        if len(text) + len(raw.data) <= _TEXT_LIMIT:
            text += raw.data
        if flags & Flag.CONTINUE:
            # C excludes T (11.12.2, 11.13.7): more text is to come, so the login is not over, whatever T says.
            return
        self._read(bytes(text))
        text.clear()
        final = opcode == Opcode.LOGIN_RESPONSE and flags & Flag.TRANSIT and flags & 3 == Stage.FULL_FEATURE
        if final and raw.bhs[36] == 0:
            self.full_feature = True
            self.stage = Stage.FULL_FEATURE
            self.header_digest, self.data_digest = (self._values[key][1:] == [b"CRC32C"] for key in _DIGEST_KEYS)

    def _read(self, text: bytes) -> None:
        for pair in text.split(b"\0"):
            key, _, value = pair.partition(b"=")
            values = self._values.get(key)
            if values is not None and len(values) < 2:
                values.append(value)


class StreamPair:
    """The two framers of a connection, with digests switched as the login agreed."""

    def __init__(self) -> None:
        self.framers = (Framer(), Framer())
        self.login = LoginWatch()
        # Length of a header with a wrong digest that was handed out, and whose data is awaited.
        self._told = [0, 0]

    def receive(self, direction: Direction, data: Buffer) -> Iterator[RawPdu | Undecodable]:
        """The PDUs that these bytes complete.

        A PDU whose header digest is wrong comes at once, marked and without its data. Its length is trusted all the same,
        since an onlooker has no better guess, and what it covers follows as undecodable.
        """
        framer = self.framers[direction]
        framer.receive(data)
        while True:
            try:
                raw = framer.next_pdu()
            except HeaderDigestError as error:
                framer.forgive()
                self._told[direction] = len(error.raw.to_bytes())
                yield error.raw
                continue
            if raw is None:
                return
            if raw.header_digest_error:
                self._told[direction] = 0
                if raw.data:
                    rest = b"".join((raw.data, raw.padding, raw.data_digest))
                    yield Undecodable(rest, "the data of a header whose digest is wrong")
                continue
            if not self.login.full_feature:
                self._watch(direction, raw)
            yield raw

    def finish(self) -> Iterator[tuple[Direction, Undecodable]]:
        """What was left over in both directions when the connection ended."""
        for direction in Direction:
            rest = self.framers[direction].remainder()[self._told[direction] :]
            if rest:
                yield direction, Undecodable(rest, "the stream ended within a PDU")

    def _watch(self, direction: Direction, raw: RawPdu) -> None:
        self.login.watch(direction, raw)
        for framer in self.framers:
            framer.header_digest = self.login.header_digest
            framer.data_digest = self.login.data_digest
