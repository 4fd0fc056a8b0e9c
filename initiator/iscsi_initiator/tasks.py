"""Tasks and their data transfer (RFC 7143 4.2.5, 11.3, 11.7, 11.8): commands out, Data-Out in answer to R2Ts, and Data-In put
into the requester's buffer.

What the target breaks is raised as a Violation with its event; the connection acts on it. What comes out of its order is left
to `snack` at recovery level 1 and above.
"""

from __future__ import annotations

from iscsi_initiator.holes import Holes, Run
from iscsi_initiator.link import Link
from iscsi_initiator.requests import Failure, Request, ScsiRequest, slots_of
from iscsi_protocol.pdu import NO_TAG, Buffer, DataOut, RawPdu, ScsiCommand
from iscsi_protocol.pdu.ahs import Ahs, bidirectional_read_length, encode_ahs, extended_cdb
from iscsi_protocol.pdu.codes import Flag, Opcode
from iscsi_protocol.pdu.layout import packer, unpacker
from iscsi_protocol.pdu.transfer import R2T

# Plain integers: operators of an enum cost more than all else that is done to a PDU here.
_FINAL, _READ, _WRITE = int(Flag.FINAL), int(Flag.READ), int(Flag.WRITE)
_SCSI_COMMAND, _SCSI_RESPONSE, _SCSI_DATA_OUT = (
    int(Opcode.SCSI_COMMAND),
    int(Opcode.SCSI_RESPONSE),
    int(Opcode.SCSI_DATA_OUT),
)

_command = packer(
    ScsiCommand,
    *("@0", "@1", "@4", "@5", "@6", "@7", "lun", "itt"),
    *("expected_data_transfer_length", "cmd_sn", "exp_stat_sn", "cdb"),
)
_data_out = packer(
    DataOut, "@0", "@1", "@5", "@6", "@7", "lun", "itt", "ttt", "exp_stat_sn", "data_sn", "buffer_offset"
)
_r2t = unpacker(R2T, "lun", "ttt", "r2t_sn", "buffer_offset", "desired_data_transfer_length")


class Violation(Exception):
    """The target broke a rule. event, extra: what is logged; text: in words."""

    def __init__(self, event: int, extra: bytes, text: str) -> None:
        super().__init__(text)
        self.event = event
        self.extra = extra
        self.text = text


class UnusableBuffer(Exception):
    """A requester's buffer that is read-only, released, or not in one piece."""


class SendBufferFull(Exception):
    """The data that an R2T asks for finds no room on its connection. lun, ttt, offset, length: what was asked for."""

    def __init__(self, lun: bytes, ttt: int, offset: int, length: int) -> None:
        super().__init__(lun, ttt, offset, length)
        self.lun = lun
        self.ttt = ttt
        self.offset = offset
        self.length = length


class DataMissing(Exception):
    """Data that was lost and does not come again: the task ends, and nothing is logged."""


class Task:
    """Something that has an Initiator Task Tag. answer: opcode of the response; allowance, deadline: seconds; link: the
    connection that it is allegiant to; tries: how often it was sent.
    """

    __slots__ = ("allowance", "answer", "cmd_sn", "deadline", "immediate", "itt", "link", "opcode", "request", "tries")

    def __init__(
        self, link: Link, opcode: int, answer: int, itt: int, cmd_sn: int, request: Request, *, immediate: bool
    ) -> None:
        self.link = link
        self.opcode = opcode
        self.answer = answer
        self.itt = itt
        self.cmd_sn = cmd_sn
        self.request = request
        self.immediate = immediate
        self.deadline: float | None = None
        self.allowance = 0.0
        self.tries = 1


_NOTHING = memoryview(b"")


def _view(buffer: Buffer, *, writable: bool = False) -> memoryview:
    """The bytes of a buffer. Raises UnusableBuffer."""
    try:
        if not len(buffer):
            return _NOTHING
        view = memoryview(buffer)
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
    except (TypeError, ValueError) as error:
        raise UnusableBuffer(str(error)) from error
    if not view.c_contiguous:
        raise UnusableBuffer("in pieces")
    if writable and view.readonly:
        raise UnusableBuffer("read-only")
    return view


class ScsiTask(Task):
    """A SCSI command on its way.

    ending: what is to become of the request once the task was aborted, None while it runs. next_sn: the first DataSN or R2TSN
    that did not come (11.8.2: they share one count); received: bytes of the data before it. acknowledged: next_sn and
    received as of the last DataACK. trouble: what only a task that lost something has. landing: the part of read_into that
    was last given to receive payload in.
    """

    __slots__ = (
        "acknowledged",
        "ending",
        "first_drained",
        "in_flight",
        "landing",
        "next_offset",
        "next_sn",
        "next_write",
        "read_into",
        "received",
        "scsi",
        "sequence",
        "timed_out",
        "trouble",
        "write_from",
    )

    def __init__(self, link: Link, itt: int, cmd_sn: int, request: ScsiRequest) -> None:
        self.link = link
        self.opcode = _SCSI_COMMAND
        self.answer = _SCSI_RESPONSE
        self.itt = itt
        self.cmd_sn = cmd_sn
        self.request = self.scsi = request
        self.immediate = False
        self.deadline = None
        self.tries = 1
        self.ending: Failure | None = None
        self.timed_out = False
        try:
            self.read_into = _view(request.data_in, writable=True) if len(request.data_in) else _NOTHING
            self.write_from = _view(request.data_out) if len(request.data_out) else _NOTHING
        except ValueError as error:  # of a view that was released
            raise UnusableBuffer(str(error)) from error
        self.next_sn = self.received = self.next_offset = self.sequence = 0
        self.next_write = self.in_flight = 0
        self.first_drained = -1
        self.acknowledged = _START
        self.trouble: Trouble | None = None
        self.landing: memoryview | None = None

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        """What a copy needs: all but the views, which are those of the copied request."""
        views = ("read_into", "write_from", "landing")
        return None, {name: value for name, value in slots_of(self).items() if name not in views}

    def __setstate__(self, state: tuple[None, dict[str, object]]) -> None:
        for name, value in state[1].items():
            setattr(self, name, value)
        self.read_into = _view(self.scsi.data_in, writable=True)
        self.write_from = _view(self.scsi.data_out)
        self.landing = None

    def restart(self) -> None:
        """Begin the data transfer from its start."""
        self.acknowledged = _START
        self.go_back()
        self.next_write = self.in_flight = 0
        self.first_drained = -1

    def go_back(self) -> None:
        """Forget what came and was not acknowledged: it comes again."""
        self.let_go()
        self.next_sn, self.received = self.acknowledged
        self.next_offset = self.received
        self.sequence = 0
        self.trouble = None

    def acknowledge(self) -> None:
        """All data before next_sn is acknowledged."""
        self.acknowledged = (self.next_sn, self.received)

    @property
    def bidirectional(self) -> bool:
        """Whether it reads and writes."""
        return bool(len(self.read_into) and len(self.write_from))

    @property
    def troubled(self) -> Trouble:
        """What it has lost; made at the first call."""
        if self.trouble is None:
            self.trouble = Trouble()
        return self.trouble

    def first_burst(self) -> tuple[int, int]:
        """Bytes of immediate data, and of unsolicited Data-Out behind it, as far as agreed (13.10, 13.11)."""
        link, length = self.link, len(self.write_from)
        if length <= link.max_immediate:
            return length, 0
        parameters = link.parameters
        immediate = link.max_immediate
        return immediate, 0 if parameters.initial_r2t else min(length, parameters.first_burst_length) - immediate

    def send(self) -> None:
        """The command, with the data that goes out unasked."""
        request, data, link = self.scsi, self.write_from, self.link
        length = len(data)
        reading = len(self.read_into)
        immediate, unsolicited = self.first_burst() if length else (0, 0)
        flags = request.attribute
        if not unsolicited:
            flags |= _FINAL
        if reading:
            flags |= _READ
        if length:
            flags |= _WRITE
        ahs = b""
        cdb = request.cdb
        if len(cdb) > 16 or (reading and length):
            ahs = self._ahs()
        # Named one by one: a starred tuple would be copied twice for every command.
        bhs = _command(
            _SCSI_COMMAND,
            flags,
            len(ahs) // 4,
            immediate >> 16,
            immediate >> 8 & 0xFF,
            immediate & 0xFF,
            request.lun,
            self.itt,
            length or reading,
            self.cmd_sn,
            link.exp_stat_sn,
            cdb,  # of which the field takes the first 16 bytes
        )
        if not immediate and not ahs and not link.header_digest:
            link.outbox.append(bhs)
        else:
            link.send(bhs, data if immediate == length else data[:immediate], ahs)
        if length:
            self.next_write = immediate
            if unsolicited:
                # Data-Out without a valid Target Transfer Tag carries no LUN (11.7.4).
                self.send_data(bytes(8), NO_TAG, immediate, unsolicited)
                self.next_write += unsolicited

    def _ahs(self) -> bytes:
        segments: list[Ahs] = []
        if len(self.scsi.cdb) > 16:
            segments.append(extended_cdb(self.scsi.cdb))
        if self.bidirectional:
            segments.append(bidirectional_read_length(len(self.read_into)))
        return encode_ahs(segments)

    def send_data(self, lun: bytes, ttt: int, offset: int, length: int) -> None:
        """One sequence of Data-Out PDUs."""
        data, link, itt = self.write_from, self.link, self.itt
        size, exp_stat_sn = link.max_send, link.exp_stat_sn
        end = offset + length
        last = end - size
        high, middle, low = size >> 16, size >> 8 & 0xFF, size & 0xFF
        flags = data_sn = 0
        # A target may take as little as it likes in one PDU, so that one R2T makes dozens of them.
        send, pack = link.send, _data_out
        while offset < end:
            if offset >= last:
                size = end - offset
                flags, high, middle, low = _FINAL, size >> 16, size >> 8 & 0xFF, size & 0xFF
            bhs = pack(_SCSI_DATA_OUT, flags, high, middle, low, lun, itt, ttt, exp_stat_sn, data_sn, offset)
            send(bhs, data[offset : offset + size])
            offset += size
            data_sn += 1

    def in_order(self, number: int) -> bool:
        """Whether a DataSN or R2TSN is the next, with nothing missing before it."""
        return number == self.next_sn and self.trouble is None

    def take_r2t(self, raw: RawPdu, *, lenient: bool, again: bool = False) -> None:
        """Answer an R2T. lenient: also one that should be refused, as far as there is data; again: it was asked for, and its
        number is not judged. Raises Violation (28); SendBufferFull, and none of the data was sent.
        """
        lun, ttt, r2t_sn, offset, desired = _r2t(raw.bhs, 0)
        fault = self._r2t_fault(ttt, offset, desired, again=again)
        if not fault and not again and r2t_sn != self.next_sn:
            fault = f"R2TSN {r2t_sn}"
        if fault:
            if not lenient:
                raise Violation(28, bytes(raw.bhs), fault)
            desired = max(0, min(desired, len(self.write_from) - offset))
        if self.first_drained == self.link.drained:
            self.in_flight += 1
        else:
            self.first_drained, self.in_flight = self.link.drained, 1
        if not again:
            self.next_sn += 1
        self.next_write = max(self.next_write, offset + desired)
        if self.timed_out:
            return
        if not self.link.has_room(desired):
            raise SendBufferFull(lun, ttt, offset, desired)
        self.send_data(lun, ttt, offset, desired)

    def _r2t_fault(self, ttt: int, offset: int, desired: int, *, again: bool) -> str:
        parameters = self.link.parameters
        if not len(self.write_from):
            return "R2T for a task that does not write"
        if ttt == NO_TAG:
            return "the reserved Target Transfer Tag"
        if not desired or desired > parameters.max_burst_length:
            return f"desired length {desired}, MaxBurstLength is {parameters.max_burst_length}"
        if offset + desired > len(self.write_from):
            return f"bytes up to {offset + desired} of {len(self.write_from)} are asked for"
        if self.link.level:
            if again:
                return ""
        elif offset < self.next_write and parameters.data_sequence_in_order:
            return f"bytes from {offset} on, which were asked for or sent before"
        # R2Ts that came before the answer to the one before could leave (11.8): no drain of the outbox lay between.
        waiting = self.in_flight if self.first_drained == self.link.drained else 0
        if waiting >= parameters.max_outstanding_r2t:
            return f"more than {parameters.max_outstanding_r2t} outstanding R2Ts"
        return ""

    def take_data(self, raw: RawPdu, offset: int, *, lenient: bool) -> None:
        """Put the next Data-In where it belongs. lenient: pass over what was not asked for. Raises Violation (26),
        DataMissing.
        """
        data = raw.data
        length = len(data)
        end = offset + length
        self.sequence += length
        self.next_sn += 1
        fault = self.beyond(end)
        if not fault:
            if self.sequence > self.link.parameters.max_burst_length:
                fault = "a sequence longer than MaxBurstLength"
            elif length and offset < self.next_offset and self.link.parameters.data_pdu_in_order:
                fault = f"data from byte {offset} on again"
        if fault:
            if not lenient:
                raise Violation(26, bytes(raw.bhs), fault)
            return
        if raw.bhs[1] & _FINAL:
            self.sequence = 0
        if length and offset > self.next_offset:
            raise DataMissing
        if length:
            if data is self.landing:
                self.landing = None
            else:
                self.read_into[offset:end] = data
            self.received += length
            self.next_offset = max(self.next_offset, end)

    def land(self, data_sn: int, offset: int, length: int) -> memoryview | None:
        """The part of the buffer that so much data belongs in, if it is what is due next, and no more than is allowed."""
        end = offset + length
        if (
            data_sn != self.next_sn
            or offset != self.next_offset
            or self.trouble is not None
            or self.ending is not None
            or end > len(self.read_into)
            or self.sequence + length > self.link.parameters.max_burst_length
        ):
            return None
        self.landing = self.read_into[offset:end]
        return self.landing

    def let_go(self) -> None:
        """From now on nothing is received in the buffer before it was judged, which the requester may have back."""
        if self.landing is not None:
            self.link.framer.withdraw()
            self.landing = None

    def beyond(self, end: int) -> str:
        """How data up to this byte is too much, empty where it is not."""
        return f"data up to byte {end} of {len(self.read_into)}" if end > len(self.read_into) else ""


_START = (0, 0)


class Trouble:
    """What a task keeps that has lost something.

    holes: DataSNs and R2TSNs that are missing; asked: runs of them that were asked for; status: the response that came before
    all data did, None for one that is to come anew, with its StatSN; acknowledgement: LUN, tag and DataSN of the Data-In
    whose DataACK is due when the holes are closed; tag: of the last R-Data SNACK, 0 for none; anew: its data has yet to
    begin; rebased: whatever number comes next is the next (7.2.2); resized: its data was cut for another length than now.
    """

    __slots__ = ("acknowledgement", "anew", "asked", "holes", "rebased", "resized", "status", "tag")

    def __init__(self) -> None:
        self.holes: Holes | None = None
        self.asked: list[Run] = []
        self.status: tuple[RawPdu | None, int] | None = None
        self.acknowledgement: tuple[bytes, int, int] | None = None
        self.tag = 0
        self.anew = False
        self.rebased = False
        self.resized = False

    @property
    def lost_nothing(self) -> bool:
        """Whether nothing was asked for again or is expected anew, so that all comes once and in its order."""
        return not (self.holes or self.asked or self.tag or self.anew or self.rebased)


class RecoveryLogout(Request):
    """The logout of a lost connection, by its CID, over another one."""

    __slots__ = ("cid",)

    def __init__(self, cid: int) -> None:
        super().__init__()
        self.cid = cid


class Reassignment(Request):
    """TASK REASSIGN for a task of a lost connection."""

    __slots__ = ("task",)

    def __init__(self, task: ScsiTask) -> None:
        super().__init__()
        self.task = task
