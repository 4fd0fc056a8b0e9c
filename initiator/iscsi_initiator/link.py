"""The initiator's end of one TCP connection: how it cuts what comes and what it has to send (RFC 7143 4.2.1, 11.2).

Numbers of the session are the session's; here are ExpStatSN and what the login agreed on for the connection. A connection
that logs in again under its CID has a new link; tasks stay allegiant to the link that they were sent on.
"""

from __future__ import annotations

from iscsi_initiator.counters import Traffic
from iscsi_initiator.holes import Holes
from iscsi_initiator.requests import slots_of
from iscsi_protocol.digest import digest_bytes
from iscsi_protocol.framing import NO_LIMIT, Framer
from iscsi_protocol.negotiation.keys import Role
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.pdu import Buffer, Pdu, RawPdu, encode

_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")
MAX_LOGIN_SEGMENT = NO_LIMIT


class Link:
    """One connection. number: the engine's; cid: the target's name of it; outbox: buffers to send; drained: how many times
    the outbox was taken; level: ErrorRecoveryLevel; up: in full feature phase; holes: StatSNs that do not count yet, None
    while all do; queued: SCSI tasks that are allegiant to it; last_activity: when something went or came;
    parts: buffers in the outbox besides the header of each PDU; payload: bytes of data segments in it, which send_buffer
    bounds; max_send: bytes of a data segment that the target takes; max_immediate: bytes of data that a command may carry;
    traffic: what is counted of its connection; timing: whether the next command that ends has its time taken.
    """

    __slots__ = (
        "cid",
        "data_digest",
        "drained",
        "exp_stat_sn",
        "framer",
        "header_digest",
        "holes",
        "last_activity",
        "level",
        "max_immediate",
        "max_send",
        "number",
        "outbox",
        "parameters",
        "parts",
        "payload",
        "queued",
        "send_buffer",
        "timing",
        "traffic",
        "up",
    )

    def __init__(self, number: int, cid: int = 0, send_buffer: int = NO_LIMIT, traffic: Traffic | None = None) -> None:
        self.number = number
        self.traffic = Traffic() if traffic is None else traffic
        self.cid = cid
        self.level = 0
        self.up = False
        self.queued = 0
        self.timing = False
        self.last_activity = 0.0
        self.holes: Holes | None = None
        self.framer = Framer(max_data_segment_length=MAX_LOGIN_SEGMENT)
        self.outbox: list[Buffer] = []
        self.drained = 0
        self.exp_stat_sn = 0
        self.header_digest = False
        self.data_digest = False
        self.max_send = 8192
        self.max_immediate = 0
        self.parameters = OperationalParameters()
        self.parts = 0
        self.payload = 0
        self.send_buffer = send_buffer

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        """What a copy needs: bytes of its own in place of the requesters' buffers."""
        return None, {**slots_of(self), "outbox": [bytes(buffer) for buffer in self.outbox]}

    def enter_full_feature(self, parameters: OperationalParameters, exp_stat_sn: int, receive_limit: int) -> None:
        """From the next PDU on: digests and lengths as agreed."""
        self.exp_stat_sn = exp_stat_sn
        self.level = parameters.error_recovery_level
        self.up = True
        self.header_digest = self.framer.header_digest = parameters.header_digest
        self.data_digest = self.framer.data_digest = parameters.data_digest
        self.adopt(parameters, receive_limit)

    def adopt(self, parameters: OperationalParameters, receive_limit: int) -> None:
        """Other lengths, agreed on in full feature phase. receive_limit: bytes above which a data segment is refused."""
        self.parameters = parameters
        self.max_send = parameters.received_by(Role.TARGET)
        self.max_immediate = min(self.max_send, parameters.first_burst_length) if parameters.immediate_data else 0
        self.framer.max_data_segment_length = receive_limit

    def take(self) -> list[Buffer]:
        """What there is to send, which is thereby on its way."""
        buffers, self.outbox = self.outbox, []
        self.payload = 0
        self.drained += 1
        traffic = self.traffic
        traffic.bytes_sent += sum(map(len, buffers))
        traffic.pdus_sent += len(buffers) - self.parts
        self.parts = 0
        return buffers

    def has_room(self, length: int) -> bool:
        """Whether so many bytes of payload may be queued besides."""
        return self.payload + length <= self.send_buffer

    def send(self, bhs: bytes, data: Buffer = b"", ahs: bytes = b"") -> None:
        """Queue a PDU whose header says the truth about its parts. The data is passed on, not copied."""
        outbox = self.outbox
        before = len(outbox)
        outbox.append(bhs)
        if ahs:
            outbox.append(ahs)
        if self.header_digest:
            outbox.append(digest_bytes(bhs, ahs))
        length = len(data)
        if length:
            self.payload += length
            outbox.append(data)
            padding = _PADDING[length & 3]
            if padding:
                outbox.append(padding)
            if self.data_digest:
                outbox.append(digest_bytes(data, padding))
        self.parts += len(outbox) - before - 1

    def send_pdu(self, pdu: Pdu) -> None:
        """Queue a message."""
        raw = encode(pdu)
        self.send(bytes(raw.bhs), raw.data, bytes(raw.ahs))

    def send_raw(self, raw: RawPdu) -> None:
        """Queue a raw PDU without digests, as login has it."""
        buffers = raw.buffers()
        self.parts += len(buffers) - 1
        self.outbox += buffers
