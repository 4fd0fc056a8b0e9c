"""One connection as the target sees it: its state (RFC 7143 8.1), its numbers (4.2.2.2), and what is to be sent on it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, TypeAlias

from iscsi_protocol.digest import digest_bytes
from iscsi_protocol.framing import Framer
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import Buffer
from iscsi_target.completion import FileSlice, Piece

if TYPE_CHECKING:
    from iscsi_protocol.negotiation.engine import Negotiator
    from iscsi_target.login import Login
    from iscsi_target.retained import Retained
    from iscsi_target.session import Session
    from iscsi_target.task import ScsiTask
    from iscsi_target.text import TextExchange

LOGIN_DATA_LIMIT = 8192
"""The longest data segment during login, whatever was declared (6.3)."""

Output: TypeAlias = list[Piece]

RIDING = frozenset({0x00, 0x04, 0x10, 0x14})
"""GOOD, CONDITION MET and the two INTERMEDIATE ones, which may ride in Data-In (11.7.3)."""

NOTHING_RIDES: frozenset[int] = frozenset()

_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class State(Enum):
    """Target connection states (8.1.2)."""

    FREE = "S1"
    XPT_UP = "S3"
    IN_LOGIN = "S4"
    LOGGED_IN = "S5"
    IN_LOGOUT = "S6"
    LOGOUT_REQUESTED = "S7"
    CLEANUP_WAIT = "S8"


class Connection:
    """Plain state; what happens to it is decided elsewhere.

    stat_sn: the next StatSN to be used; acknowledged: the initiator's ExpStatSN. max_send: MaxRecvDataSegmentLength of the
    initiator. up: whether anything may still be sent. closing: how TCP ends once the outbox is empty. backlog: whether
    there is more to do once the outbox, which is full, is sent; stopped: whether nothing is read any more until then, or,
    beside other connections of the session, all but the data of reads goes on. mark: how much was queued when the outbox
    was found full. held: reads that wait for room in it. retained: what may be asked for again, None at recovery level 0;
    in_memory: whether pieces of files are read before they are queued, for a digest or to be retained. riding: statuses that
    are told in Data-In.
    """

    __slots__ = (
        "acknowledged",
        "backlog",
        "cid",
        "closing",
        "data_digest",
        "data_watched",
        "deadline",
        "dirty",
        "framer",
        "header_digest",
        "heard",
        "held",
        "immediate_tasks",
        "in_memory",
        "local",
        "login",
        "mark",
        "max_send",
        "negotiator",
        "number",
        "outbox",
        "pings",
        "portal_group_tag",
        "queued",
        "remote",
        "retained",
        "riding",
        "session",
        "stat_sn",
        "state",
        "stopped",
        "text",
        "up",
        "user",
    )

    def __init__(
        self, number: int, local: Endpoint, remote: Endpoint, portal_group_tag: int, stat_sn: int, dirty: set[int]
    ) -> None:
        self.number = number
        self.local = local
        self.remote = remote
        self.portal_group_tag = portal_group_tag
        self.state = State.XPT_UP
        self.framer = Framer(max_data_segment_length=LOGIN_DATA_LIMIT)
        self.outbox: Output = []
        self.queued = 0
        self.dirty = dirty
        self.stat_sn = stat_sn
        self.acknowledged = stat_sn
        self.header_digest = False
        self.data_digest = False
        self.max_send = LOGIN_DATA_LIMIT
        self.cid = 0
        self.session: Session | None = None
        self.login: Login | None = None
        self.text: TextExchange | None = None
        self.negotiator: Negotiator | None = None
        self.user: str | None = None
        self.pings: dict[int, tuple[bytes, float]] = {}
        self.immediate_tasks = 0
        self.heard = 0.0
        self.deadline = 0.0
        self.data_watched = False
        self.up = True
        self.closing: str | None = None
        self.backlog = False
        self.stopped = False
        self.mark = 0
        self.held: list[ScsiTask] = []
        self.retained: Retained | None = None
        self.in_memory = False
        self.riding = RIDING

    @property
    def in_session(self) -> Session:
        """The session that the connection belongs to. Raises RuntimeError before the login is over."""
        if self.session is None:
            raise RuntimeError(f"connection {self.number} belongs to no session")
        return self.session

    def send(self, bhs: bytes, data: Buffer | FileSlice = b"") -> None:
        """Queue a PDU without AHS, with padding and digests as agreed; DataSegmentLength stands in the header already."""
        if not self.up:
            return
        out = self.outbox
        out.append(bhs)
        if self.header_digest:
            out.append(digest_bytes(bhs))
        length = data.length if type(data) is FileSlice else len(data)
        if self.retained is not None:
            self.retained.keep(bhs, [data], length)
        if length:
            out.append(data)
            padding = _PADDING[length & 3]
            if padding:
                out.append(padding)
            if self.data_digest and not isinstance(data, FileSlice):  # pieces of files were read by then
                out.append(digest_bytes(data, padding))
        self.queued += 48 + length
        self.dirty.add(self.number)

    def send_pieces(self, bhs: bytes, pieces: list[Buffer | FileSlice], length: int) -> None:
        """Queue a PDU whose data, `length` bytes, comes in pieces."""
        if not self.up:
            return
        out = self.outbox
        out.append(bhs)
        if self.header_digest:
            out.append(digest_bytes(bhs))
        out.extend(pieces)
        if self.retained is not None:
            self.retained.keep(bhs, pieces, length)
        padding = _PADDING[length & 3]
        if padding:
            out.append(padding)
        if self.data_digest:
            out.append(digest_bytes(*[piece for piece in pieces if not isinstance(piece, FileSlice)], padding))
        self.queued += 48 + length
        self.dirty.add(self.number)

    def next_stat_sn(self) -> int:
        """The StatSN for a response that consumes one (4.2.2.2)."""
        used = self.stat_sn
        self.stat_sn = (used + 1) & 0xFFFFFFFF
        return used

    def congest(self) -> None:
        """The outbox is full, if that was not known yet."""
        if not self.backlog:
            self.backlog = True
            self.mark = self.queued

    def shed(self) -> None:
        """TCP is gone: partial PDUs of either direction are of no use (Appendix E.1)."""
        self.outbox = []
        self.queued = 0
        self.framer = Framer()

    def close(self, how: str) -> None:
        """End the connection behind what is queued: "fin", or "rst", which drops what is queued."""
        if how == "rst":
            self.outbox = []
            self.queued = 0
        if self.closing is None or how == "rst":
            self.closing = how
        self.up = False
        self.dirty.add(self.number)
