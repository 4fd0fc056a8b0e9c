"""TCP made up around a recorded history: well-formed conversations (RFC 9293) that carry the recorded bytes unchanged.

The transport records decide what opens and ends a conversation; what they leave out, such as the handshake of a connection
that was recorded from its middle, is implied. Every segment acknowledges all that the other side has sent, so nothing is
ever lost, repeated or out of order. A connection attempt that failed without a segment (timed out, unreachable) is a SYN
without an answer, and a comment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from iscsi_captures.segments import IpAddress, Path, Station, TcpFlag, maximum_segment_size
from iscsi_protocol.history import BytesRecord, Endpoint, PduRecord, Record, TransportEvent, TransportRecord
from iscsi_protocol.stream import Direction

Frame = tuple[float, bytes, tuple[str, ...]]
"""Time in seconds, the Ethernet frame, comments on it."""

DEFAULT_MTU = 1500
ISCSI_PORT = 3260
CLOSED_BY_US = "closed by us"
"""Comment on the closing segment of a side that closed on its own account, as TransportEvent.CLOSED_BY_US has it."""

_WINDOW = 0xFFFF
_WINDOW_SHIFT = 7
_ACKNOWLEDGE_EVERY = 1 << 16
_FIRST_EPHEMERAL_PORT = 49152
_REMEMBERED = 64
_MOST_HELD = 8

_CLOSINGS = frozenset({TransportEvent.FIN, TransportEvent.RST, TransportEvent.CLOSED_BY_US})
_UNANSWERED = frozenset({TransportEvent.TIMED_OUT, TransportEvent.UNREACHABLE})
# Locally administered MACs; hosts for ends that have no address are those set aside for documentation.
_MACS = (b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02")
_HOSTS: dict[int, tuple[IpAddress, IpAddress]] = {
    4: (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")),
    6: (IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")),
}


class _Side:
    """One end's sending half."""

    def __init__(self, path: Path, initial: int) -> None:
        self.path = path
        self.sequence = initial
        self.unacknowledged = 0
        self.finished = False

    def advance(self, count: int) -> None:
        self.sequence = self.sequence + count & 0xFFFFFFFF


class Conversation:
    """One TCP connection. Its methods yield (time, frame, comments); all take the time in seconds.

    number: tells conversations apart in their initial sequence numbers; asked: when the connection was asked for, None
    where that was not recorded. succeeded is set from outside: a later conversation took the same ends, whose numbers
    anything added to this one would not fit.
    """

    def __init__(
        self, number: int, stations: tuple[Station, Station], *, mtu: int = DEFAULT_MTU, asked: float | None = None
    ) -> None:
        initiator, target = stations
        self.ends = (initiator.address, initiator.port, target.address, target.port)
        self.mss = maximum_segment_size(initiator.address.version, mtu)
        # Indexed by the direction that a side sends in.
        self._sides = (
            _Side(Path(initiator, target), number * 0x9E3779B1 & 0xFFFFFFFF),
            _Side(Path(target, initiator), number * 0x85EBCA77 & 0xFFFFFFFF),
        )
        self._syn_sent = False
        self._established = False
        self._reset = False
        self._asked = asked
        self._given_up = False
        self.succeeded = False
        self.comments: list[str] = []

    @property
    def over(self) -> bool:
        """Whether both sides have closed, one has reset, or nothing more is expected."""
        return self._reset or self._given_up or all(side.finished for side in self._sides)

    @property
    def _attempted(self) -> bool:
        """Whether the connection was asked for, as far as is recorded without an answer."""
        return not self._established and (self._syn_sent or self._asked is not None)

    def give_up(self) -> None:
        """Expect nothing more."""
        self._given_up = True

    def syn(self, time: float) -> Iterator[Frame]:
        """The connection request, unless it was made already; at the time it was asked for where that is known."""
        if not self._syn_sent:
            self._syn_sent = True
            asked = time if self._asked is None else self._asked
            yield self._frame(asked, Direction.TO_TARGET, TcpFlag.SYN, options=self._syn_options())
            self._sides[Direction.TO_TARGET].advance(1)

    def establish(self, time: float) -> Iterator[Frame]:
        """The handshake as far as it is missing."""
        yield from self.syn(time)
        if not self._established and not self._reset:
            self._established = True
            flags = TcpFlag.SYN | TcpFlag.ACK
            yield self._frame(time, Direction.TO_INITIATOR, flags, options=self._syn_options())
            self._sides[Direction.TO_INITIATOR].advance(1)
            yield self._frame(time, Direction.TO_TARGET, TcpFlag.ACK)

    def refuse(self, time: float) -> Iterator[Frame]:
        """The reset that answers a SYN."""
        yield from self.syn(time)
        yield from self.reset(time, Direction.TO_INITIATOR)

    def data(self, time: float, direction: Direction, payload: bytes) -> Iterator[Frame]:
        """Bytes that went this way, in as many segments as they need. What comes after a close is written all the same."""
        yield from self.establish(time)
        side, other = self._sides[direction], self._sides[direction.other]
        if side.finished or self._reset:
            self.comments.append("recorded after this way of the connection was closed")
        view = memoryview(payload)
        for start in range(0, len(view), self.mss):
            part = view[start : start + self.mss]
            last = start + self.mss >= len(view)
            yield self._frame(time, direction, TcpFlag.ACK | (TcpFlag.PSH if last else 0), payload=part)
            side.advance(len(part))
            side.unacknowledged += len(part)
            other.unacknowledged = 0
            if side.unacknowledged >= _ACKNOWLEDGE_EVERY:
                yield from self._acknowledge(time, direction)

    def finish(self, time: float, direction: Direction, *, comment: str | None = None) -> Iterator[Frame]:
        """The end of what goes this way, and its acknowledgement. An attempt given up unanswered ends without a segment.
        comment: goes on the closing segment.
        """
        side = self._sides[direction]
        if side.finished or self._reset:
            return
        if direction is Direction.TO_TARGET and self._attempted:
            yield from self.syn(time)
            self.give_up()
            return
        yield from self.establish(time)
        side.finished = True
        self.comments += [] if comment is None else [comment]
        yield self._frame(time, direction, TcpFlag.FIN | TcpFlag.ACK)
        side.advance(1)
        yield from self._acknowledge(time, direction)

    def reset(self, time: float, direction: Direction) -> Iterator[Frame]:
        """A reset that went this way, if none did before. An attempt aborted unanswered ends without a segment."""
        if self._reset:
            return
        if not self._attempted:
            yield from self.establish(time)
        yield from self.syn(time)
        if direction is Direction.TO_TARGET and not self._established:
            self.give_up()
            return
        self._reset = True
        if direction is Direction.TO_INITIATOR and not self._established:
            self._sides[direction].sequence = 0
        yield self._frame(time, direction, TcpFlag.RST | TcpFlag.ACK, window=0)

    def _acknowledge(self, time: float, direction: Direction) -> Iterator[Frame]:
        yield self._frame(time, direction.other, TcpFlag.ACK)
        self._sides[direction].unacknowledged = 0

    def _syn_options(self) -> bytes:
        return b"\x02\x04" + self.mss.to_bytes(2, "big") + b"\x01\x03\x03" + bytes([_WINDOW_SHIFT])

    def _frame(
        self,
        time: float,
        direction: Direction,
        flags: int,
        *,
        window: int = _WINDOW,
        options: bytes = b"",
        payload: bytes | memoryview = b"",
    ) -> Frame:
        side, other = self._sides[direction], self._sides[direction.other]
        acknowledgement = other.sequence if flags & TcpFlag.ACK else 0
        frame = side.path.frame(
            TcpFlag(flags), side.sequence, acknowledgement, window, options=options, payload=payload
        )
        comments, self.comments = tuple(self.comments), []
        return time, frame, comments


class TcpSynthesis:
    """Turns history records into frames. Yields must be used up before the next call.

    A closing record is held until the next record, because the unfinished bytes of a stream are known, and recorded, only
    once it is over; `flush` gives out what is held at the end.
    """

    def __init__(self, mtu: int = DEFAULT_MTU) -> None:
        """mtu: bytes of an IP packet, at least 576 and at most 65535; segments are cut to it. Raises ValueError."""
        if not 576 <= mtu <= 0xFFFF:
            raise ValueError(f"an MTU of {mtu} bytes")
        self._mtu = mtu
        self._made = 0
        self._conversations: dict[int, Conversation] = {}
        self._ends_in_use: dict[tuple[IpAddress, int, IpAddress, int], Conversation] = {}
        self._comments: list[str] = []
        self._over: deque[int] = deque()
        self._attempts: dict[int, TransportRecord] = {}
        self._held: list[TransportRecord] = []

    def record(self, record: Record) -> Iterator[Frame]:
        """The frames for one record; none for settings."""
        if self._held and not self._goes_before_held(record):
            yield from self._release()
        match record:
            case PduRecord():
                yield from self._data(record, record.raw.to_bytes(), _marks(record))
            case BytesRecord():
                yield from self._data(record, record.data, [record.reason])
            case TransportRecord(event=event) if event in _CLOSINGS:
                self._held.append(record)
            case TransportRecord():
                yield from self._opening(record)
            case _:
                pass

    def flush(self) -> Iterator[Frame]:
        """The frames of what is held: closing segments, and connection attempts that nothing is known of."""
        yield from self._release()
        for attempt in list(self._attempts.values()):
            yield from self._conversation(attempt.connection, attempt).syn(attempt.time)

    def take_comments(self) -> list[str]:
        """Comments that found no frame to stand on."""
        comments, self._comments = self._comments, []
        return comments

    def _goes_before_held(self, record: Record) -> bool:
        """Whether the held closing segments come after this record's bytes."""
        closing = self._held[0].connection
        match record:
            case BytesRecord(connection=connection):
                return connection == closing
            case PduRecord(connection=connection, direction=direction):
                return connection == closing and any(_closes(held, direction) for held in self._held)
            case TransportRecord(connection=connection, event=event):
                return connection == closing and event in _CLOSINGS and len(self._held) < _MOST_HELD
            case _:
                return True

    def _release(self) -> Iterator[Frame]:
        held, self._held = self._held, []
        for record in held:
            conversation = self._conversation(record.connection, record)
            if conversation.succeeded:
                continue
            if record.event is TransportEvent.RST:
                yield from conversation.reset(record.time, record.direction)
            else:
                ours = record.event is TransportEvent.CLOSED_BY_US
                way = Direction.TO_TARGET if ours else record.direction
                yield from conversation.finish(record.time, way, comment=CLOSED_BY_US if ours else None)
            if conversation.over:
                self._retire(record.connection, conversation)

    def _data(self, record: PduRecord | BytesRecord, payload: bytes, comments: list[str]) -> Iterator[Frame]:
        if not payload:
            self._comments += [f"connection {record.connection}: {comment}" for comment in comments]
            return
        conversation = self._conversation(record.connection)
        if conversation.succeeded:
            self._forget(record.connection)
            conversation = self._conversation(record.connection)
        yield from conversation.establish(record.time)
        conversation.comments += comments
        yield from conversation.data(record.time, record.direction, payload)

    def _opening(self, record: TransportRecord) -> Iterator[Frame]:
        number = record.connection
        if record.event is TransportEvent.CONNECT:
            self._forget(number)
            self._attempts[number] = record
            # The initiator's port is often known only once the connection stands; until then the SYN waits.
            if record.initiator is not None and record.initiator.port:
                yield from self._conversation(number, record).syn(record.time)
            return
        previous = self._conversations.get(number)
        if previous is not None and previous.over:
            self._forget(number)
        conversation = self._conversation(number, record)
        yield from conversation.syn(record.time)
        if record.event is TransportEvent.CONNECTED:
            yield from conversation.establish(record.time)
        elif record.event is TransportEvent.REFUSED:
            yield from conversation.refuse(record.time)
            self._retire(number, conversation)
        elif record.event in _UNANSWERED:
            self._comments.append(f"connection {number}: {record.event.value}")
            conversation.give_up()
            self._retire(number, conversation)

    def _conversation(self, number: int, record: TransportRecord | None = None) -> Conversation:
        """The conversation of a connection, begun with what the attempt and this record tell of its ends."""
        conversation = self._conversations.get(number)
        if conversation is not None:
            return conversation
        attempt = self._attempts.pop(number, None)
        known = [source for source in (record, attempt) if source is not None]
        initiator = next((source.initiator for source in known if source.initiator is not None), None)
        target = next((source.target for source in known if source.target is not None), None)
        self._made += 1
        stations, comments = self._stations(number, initiator, target)
        asked = None if attempt is None else attempt.time
        conversation = Conversation(self._made, stations, mtu=self._mtu, asked=asked)
        conversation.comments += comments
        for earlier in self._conversations.values():
            earlier.succeeded |= earlier.ends == conversation.ends
        self._conversations[number] = conversation
        self._ends_in_use[conversation.ends] = conversation
        return conversation

    def _stations(
        self, number: int, initiator: Endpoint | None, target: Endpoint | None
    ) -> tuple[tuple[Station, Station], list[str]]:
        """Both ends, with an address and port made up where there is none or where another open connection has the same."""
        first, second = _addresses(initiator, target)
        port = (initiator.port if initiator else 0) or self._port(number)
        target_port = (target.port if target else 0) or ISCSI_PORT
        while (first, port, second, target_port) in self._ends_in_use:
            port = self._port(number)
            number += 1
        comments = []
        stations = (Station(_MACS[0], first, port), Station(_MACS[1], second, target_port))
        for name, given, shown in zip(("initiator", "target"), (initiator, target), stations, strict=True):
            if given is not None and (_address(given.host) is None or given.port != shown.port):
                comments.append(f"{name} {given} is shown as {Endpoint(str(shown.address), shown.port)}")
        return stations, comments

    @staticmethod
    def _port(number: int) -> int:
        return _FIRST_EPHEMERAL_PORT + number % (0x10000 - _FIRST_EPHEMERAL_PORT)

    def _forget(self, number: int) -> None:
        """Let a new conversation take this connection's number."""
        self._attempts.pop(number, None)
        conversation = self._conversations.pop(number, None)
        if conversation is not None:
            self._free_ends(conversation)

    def _retire(self, number: int, conversation: Conversation) -> None:
        """Remember only so many of the conversations that are over."""
        self._free_ends(conversation)
        self._over.append(number)
        if len(self._over) > _REMEMBERED:
            oldest = self._over.popleft()
            if (old := self._conversations.get(oldest)) is not None and old.over:
                del self._conversations[oldest]

    def _free_ends(self, conversation: Conversation) -> None:
        if self._ends_in_use.get(conversation.ends) is conversation:
            del self._ends_in_use[conversation.ends]


def _closes(record: TransportRecord, direction: Direction) -> bool:
    match record.event:
        case TransportEvent.RST:
            return True
        case TransportEvent.CLOSED_BY_US:
            return direction is Direction.TO_TARGET
        case _:
            return record.direction is direction


def _marks(record: PduRecord) -> list[str]:
    marks = (
        (record.raw.header_digest_error, "header digest error"),
        (record.raw.data_digest_error, "data digest error"),
    )
    return [text for marked, text in marks if marked]


def _address(host: str) -> IpAddress | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _addresses(initiator: Endpoint | None, target: Endpoint | None) -> tuple[IpAddress, IpAddress]:
    """Addresses of one version for both ends."""
    found = [_address(end.host) if end else None for end in (initiator, target)]
    version = max((address.version for address in found if address is not None), default=4)
    first, second = (
        standing if address is None else _in_version(address, version)
        for address, standing in zip(found, _HOSTS[version], strict=True)
    )
    return first, second


def _in_version(address: IpAddress, version: int) -> IpAddress:
    return address if address.version == version else IPv6Address(f"::ffff:{address}")
