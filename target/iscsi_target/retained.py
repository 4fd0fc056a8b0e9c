"""What was sent and is not acknowledged: responses by StatSN, Data-In and R2T by task (RFC 7143 4.2.2.2, 7.1.3, 11.16).

A connection has one of these at recovery level 1 and above. Status is acknowledged by ExpStatSN and takes the data of its
command along; data alone by a SNACK of type DataACK. Data is kept in pieces of a burst each, so that it can be let go of
burst by burst.
"""

from __future__ import annotations

from iscsi_protocol.pdu import NO_TAG, Opcode
from iscsi_target.completion import Completion, FileSlice, Piece, cut

_MASK = 0xFFFFFFFF
_STATUS = 0x01

EVICTION = 4
"""How many times the number of responses at which commands are held back are kept at all, for a peer that goes on."""

RESPONSE_OVERHEAD = 256
"""Bytes that a kept response counts for beside its data."""


class Sent:
    """A PDU as it went out: header and the pieces of its data, `length` bytes; those of a Data-In are in its exchange."""

    __slots__ = ("bhs", "exchange", "length", "pieces")

    def __init__(self, bhs: bytes, pieces: list[Piece], length: int, exchange: Exchange | None = None) -> None:
        self.bhs = bhs
        self.pieces = pieces
        self.length = length
        self.exchange = exchange


class Exchange:
    """What the target sent for one SCSI command.

    sent: Data-In and R2T PDUs that are not acknowledged, by DataSN or R2TSN. next_sn: the next of those numbers; first_sn:
    the number of the first Data-In, behind the R2Ts of a bidirectional command. acknowledged, offset: the data
    acknowledgement reference number (11.5.6), and the buffer offset of the data there. completion: set when the command
    is over; its data is in `pieces`, the bytes from `base` on. stat_sn: of its status, None until that was sent.
    snack_tag: of the last R-Data SNACK (11.16.3); snack_tags: all of them. ttts: Target Transfer Tags of its Data-In PDUs
    with the A bit. total: bytes of data that go to the initiator. told: whether its status was sent at least once.
    """

    __slots__ = (
        "acknowledged",
        "base",
        "completion",
        "expected",
        "first_sn",
        "flags",
        "itt",
        "lun",
        "next_sn",
        "offset",
        "pieces",
        "read_expected",
        "sent",
        "snack_tag",
        "snack_tags",
        "stat_sn",
        "told",
        "total",
        "ttts",
        "wanted",
    )

    def __init__(self, itt: int) -> None:
        self.itt = itt
        self.lun = bytes(8)
        self.flags = 0
        self.expected = 0
        self.read_expected = 0
        self.wanted = 0
        self.completion: Completion | None = None
        self.pieces: list[bytes] = []
        self.base = 0
        self.sent: dict[int, Sent] = {}
        self.first_sn = 0
        self.next_sn = 0
        self.acknowledged = 0
        self.offset = 0
        self.stat_sn: int | None = None
        self.snack_tag = 0
        self.snack_tags: set[int] = set()
        self.ttts: list[int] = []
        self.told = False
        self.total = 0

    @property
    def held(self) -> int:
        """Bytes of data that are kept."""
        return sum(map(len, self.pieces))

    def offset_of(self, sn: int) -> int:
        """The buffer offset of the data from `sn` on; `sn` is from `acknowledged` to `next_sn`."""
        for number in range(sn, self.next_sn):
            sent = self.sent.get(number)
            if sent is not None and sent.bhs[0] == Opcode.SCSI_DATA_IN:
                return int.from_bytes(sent.bhs[40:44], "big")
        return self.total if self.next_sn > self.first_sn else 0

    def data(self, offset: int, length: int) -> list[Piece]:
        """So many bytes of the data, not copied; they must not be acknowledged."""
        return cut(tuple(self.pieces), offset - self.base, offset - self.base + length)

    def rewind(self) -> None:
        """Forget that the data from the reference number on was sent (11.16.3, 7.2.2)."""
        self.sent.clear()
        self.next_sn = max(self.acknowledged, self.first_sn)


class Retained:
    """The retained part of one connection.

    responses: what used a StatSN, in its order. exchanges: SCSI commands with something to be sent again, by task tag; at
    most one a tag. tags: exchange by the Target Transfer Tag of a Data-In with the A bit (11.7.2); settled: such tags of the
    commands that were acknowledged last, perhaps by the very DataACK. held: bytes.
    """

    __slots__ = ("_last_tag", "burst", "exchanges", "held", "max_held", "max_responses", "responses", "settled", "tags")

    def __init__(self, *, burst: int, max_held: int, max_responses: int) -> None:
        self.burst = burst
        self.max_held = max_held
        self.max_responses = max_responses
        self.responses: dict[int, Sent] = {}
        self.exchanges: dict[int, Exchange] = {}
        self.tags: dict[int, Exchange] = {}
        self.settled: set[int] = set()
        self.held = 0
        self._last_tag = 0

    @property
    def full(self) -> bool:
        """Whether so much waits for its acknowledgement that no further command is to be taken."""
        return self.held >= self.max_held or len(self.responses) >= self.max_responses

    @property
    def has_finished(self) -> bool:
        """Whether commands are over whose status is not acknowledged."""
        return any(each.completion is not None for each in self.exchanges.values())

    # What is sent

    def keep(self, bhs: bytes, pieces: list[Piece], length: int) -> None:
        """A PDU goes out, for the first time or again; it is kept if it has a number that the initiator can ask for."""
        opcode = bhs[0] & 0x3F
        exchange = None
        if opcode in (Opcode.SCSI_DATA_IN, Opcode.R2T):
            itt = int.from_bytes(bhs[16:20], "big")
            exchange = self.exchanges.get(itt)
            sn = int.from_bytes(bhs[36:40], "big")
            if exchange is None or (opcode == Opcode.R2T and exchange.completion is not None):
                exchange = self.exchanges[itt] = Exchange(itt)
                exchange.next_sn = exchange.acknowledged = sn
            # The exchange has the data.
            pieces = []
            exchange.sent[sn] = Sent(bhs, pieces, length, exchange)
            exchange.next_sn = max(exchange.next_sn, sn + 1)
            if opcode == Opcode.R2T or not bhs[1] & _STATUS:
                return
        elif opcode == Opcode.NOP_IN and bhs[16:20] == b"\xff\xff\xff\xff":
            return
        elif opcode == Opcode.SCSI_RESPONSE:
            exchange = self.exchanges.get(int.from_bytes(bhs[16:20], "big"))
        stat_sn = int.from_bytes(bhs[24:28], "big")
        if exchange is not None:
            exchange.stat_sn = stat_sn
            exchange.told = True
        before = self.responses.get(stat_sn)
        self.held += RESPONSE_OVERHEAD if before is None else 0
        if exchange is None:
            self.held += length - (before.length if before is not None else 0)
        self.responses[stat_sn] = Sent(bhs, pieces, length, exchange)
        if len(self.responses) > EVICTION * self.max_responses:
            self._let_go(next(iter(self.responses)))

    def begin(self, itt: int) -> Exchange:
        """Something is known of a task that nothing was sent for."""
        exchange = self.exchanges[itt] = Exchange(itt)
        return exchange

    def complete(
        self,
        itt: int,
        lun: bytes,
        flags: int,
        expected: int,
        read_expected: int,
        wanted: int,
        completion: Completion,
        r2ts: int,
    ) -> Exchange:
        """A command is over; its data, which must be in memory, is kept from now on. r2ts: how many were sent for it."""
        exchange = self.exchanges.get(itt)
        if exchange is None or exchange.completion is not None:
            exchange = self.begin(itt)
        exchange.next_sn = exchange.first_sn = r2ts
        exchange.acknowledged = r2ts
        exchange.lun = lun
        exchange.flags = flags
        exchange.expected = expected
        exchange.read_expected = read_expected
        exchange.wanted = wanted
        without_data = Completion(completion.status, b"", completion.length, completion.sense)
        exchange.completion = without_data if completion.length else completion
        exchange.total = min(completion.length, (0, 0, expected, read_expected)[flags >> 5 & 3])
        exchange.pieces = in_bursts(completion, exchange.total, self.burst)
        self.held += exchange.held
        return exchange

    def new_tag(self, exchange: Exchange) -> int:
        """A Target Transfer Tag for a Data-In PDU whose acknowledgement is wanted; it is not reserved, and in use for nothing
        else here.
        """
        while True:
            self._last_tag = (self._last_tag + 1) % NO_TAG
            if self._last_tag not in self.tags:
                break
        self.tags[self._last_tag] = exchange
        exchange.ttts.append(self._last_tag)
        return self._last_tag

    def answered(self, itt: int, r2t_sn: int) -> None:
        """An R2T was answered, or holds no longer: there is nothing to ask for again."""
        exchange = self.exchanges.get(itt)
        if exchange is not None and exchange.completion is None:
            exchange.sent.pop(r2t_sn, None)

    def ended(self, itt: int) -> None:
        """A task is over; R2Ts of it mean nothing any more."""
        exchange = self.exchanges.get(itt)
        if exchange is not None and exchange.completion is None:
            del self.exchanges[itt]

    # What is acknowledged

    def acknowledge(self, exp_stat_sn: int) -> None:
        """All responses before ExpStatSN have come, and with them everything of their commands (4.2.2.4)."""
        self.settled.clear()
        while self.responses:
            stat_sn = next(iter(self.responses))
            if (exp_stat_sn - stat_sn - 1) & _MASK >= 0x80000000:
                return
            self._let_go(stat_sn)

    def _let_go(self, stat_sn: int) -> None:
        sent = self.responses.pop(stat_sn)
        self.held -= RESPONSE_OVERHEAD
        if sent.exchange is None:
            self.held -= sent.length
        else:
            self.drop(sent.exchange)

    def acknowledge_data(self, exchange: Exchange, sn: int) -> None:
        """All Data-In and R2T PDUs before `sn`, which is from `acknowledged` to `next_sn`, have come (11.16.2)."""
        if sn == exchange.acknowledged:
            return
        exchange.offset = exchange.offset_of(sn)
        # The last PDU may carry the status, and can be asked for as such.
        needed = min(exchange.offset, exchange.offset_of(exchange.next_sn - 1))
        for number in range(exchange.acknowledged, sn):
            exchange.sent.pop(number, None)
        exchange.acknowledged = sn
        while exchange.pieces and exchange.base + len(exchange.pieces[0]) <= needed:
            gone = exchange.pieces.pop(0)
            exchange.base += len(gone)
            self.held -= len(gone)

    def drop(self, exchange: Exchange) -> None:
        """Forget a command."""
        self.held -= exchange.held
        exchange.pieces = []
        exchange.sent.clear()
        if self.exchanges.get(exchange.itt) is exchange:
            del self.exchanges[exchange.itt]
        for ttt in exchange.ttts:
            self.tags.pop(ttt, None)
            self.settled.add(ttt)

    def adopt(self, exchange: Exchange) -> None:
        """Take over a command from another connection, with nothing of its status and tags (7.2.2)."""
        exchange.stat_sn = None
        exchange.snack_tag = 0
        exchange.snack_tags.clear()
        exchange.ttts.clear()
        self.exchanges[exchange.itt] = exchange
        self.held += exchange.held

    def keep_commands(self) -> None:
        """The connection is gone: nothing but commands is of use any more (Appendix E.1). Their StatSNs may still be
        acknowledged, with the logout (11.14.4).
        """
        for stat_sn, sent in list(self.responses.items()):
            if sent.exchange is None:
                self._let_go(stat_sn)
        self.tags.clear()

    def forget_numbers(self) -> None:
        """The connection was logged out: its StatSNs mean nothing any more, commands wait for another (Appendix E.1)."""
        self.keep_commands()
        for stat_sn in list(self.responses):
            exchange = self.responses.pop(stat_sn).exchange
            self.held -= RESPONSE_OVERHEAD
            # A command whose tag was taken by a later one was over for the initiator.
            if exchange is not None and self.exchanges.get(exchange.itt) is not exchange:
                self.drop(exchange)
        for exchange in self.exchanges.values():
            exchange.stat_sn = None


def in_bursts(completion: Completion, total: int, burst: int) -> list[bytes]:
    """The first `total` bytes of a completion's data, which must be in memory, in pieces of `burst` bytes and the rest; they
    belong to nobody else.
    """
    data = completion.data
    if type(data) is bytes and len(data) == total <= burst:
        return [data] if data else []
    pieces = (data,) if isinstance(data, (FileSlice, bytes, bytearray, memoryview)) else data
    whole = memoryview(b"".join(piece for piece in pieces if not isinstance(piece, FileSlice)))[:total]
    return [bytes(whole[start : start + burst]) for start in range(0, len(whole), burst)]
