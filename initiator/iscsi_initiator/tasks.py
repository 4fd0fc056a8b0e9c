"""Tasks and their data transfer (RFC 7143 4.2.5, 11.3, 11.7, 11.8): commands out, Data-Out in answer to R2Ts, and Data-In put
into the requester's buffer.

What the target breaks is raised as a Violation with its event; the session acts on it.
"""

from __future__ import annotations

from iscsi_initiator.link import Link
from iscsi_initiator.requests import Failure, Request, ScsiRequest, slots_of
from iscsi_protocol.pdu import NO_TAG, DataIn, DataOut, RawPdu, ScsiCommand
from iscsi_protocol.pdu.ahs import Ahs, bidirectional_read_length, encode_ahs, extended_cdb
from iscsi_protocol.pdu.codes import Flag, Opcode
from iscsi_protocol.pdu.layout import packer, unpacker
from iscsi_protocol.pdu.transfer import R2T

# Plain integers: operators of an enum cost more than all else that is done to a PDU here.
_FINAL, _READ, _WRITE = int(Flag.FINAL), int(Flag.READ), int(Flag.WRITE)
_SCSI_COMMAND, _SCSI_DATA_OUT = int(Opcode.SCSI_COMMAND), int(Opcode.SCSI_DATA_OUT)

_command = packer(
    ScsiCommand,
    *("@0", "@1", "@4", "@5", "@6", "@7", "lun", "itt"),
    *("expected_data_transfer_length", "cmd_sn", "exp_stat_sn", "cdb"),
)
_data_out = packer(
    DataOut, "@0", "@1", "@5", "@6", "@7", "lun", "itt", "ttt", "exp_stat_sn", "data_sn", "buffer_offset"
)
_data_in = unpacker(DataIn, "data_sn", "buffer_offset")
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
    """What is to be sent finds no room on its connection."""


class DataMissing(Exception):
    """Data-In that shows that data before it was lost. At recovery level 0 the task ends, and nothing is logged."""


class Task:
    """Something that has an Initiator Task Tag. answer: opcode of the response; allowance, deadline: seconds."""

    __slots__ = ("allowance", "answer", "cmd_sn", "deadline", "immediate", "itt", "opcode", "request", "tries")

    def __init__(self, opcode: int, answer: int, itt: int, cmd_sn: int, request: Request, *, immediate: bool) -> None:
        self.opcode = opcode
        self.answer = answer
        self.itt = itt
        self.cmd_sn = cmd_sn
        self.request = request
        self.immediate = immediate
        self.deadline: float | None = None
        self.allowance = 0.0
        self.tries = 1


class ScsiTask(Task):
    """A SCSI command on its way. ending: what is to become of the request once the task was aborted, None while it runs."""

    __slots__ = (
        "data_sn",
        "ending",
        "first_drained",
        "in_flight",
        "next_offset",
        "next_write",
        "r2t_sn",
        "read_into",
        "received",
        "scsi",
        "sequence",
        "timed_out",
        "write_from",
    )

    def __init__(self, itt: int, cmd_sn: int, request: ScsiRequest) -> None:
        super().__init__(_SCSI_COMMAND, Opcode.SCSI_RESPONSE, itt, cmd_sn, request, immediate=False)
        self.scsi = request
        self.ending: Failure | None = None
        self.timed_out = False
        self._open_buffers()
        self.restart()

    def _open_buffers(self) -> None:
        try:
            self.read_into = memoryview(self.scsi.data_in).cast("B")
            self.write_from = memoryview(self.scsi.data_out).cast("B")
        except (TypeError, ValueError) as error:
            raise UnusableBuffer(str(error)) from error
        if self.read_into.readonly:
            raise UnusableBuffer("read-only")

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        """What a copy needs: all but the views, which are those of the copied request."""
        kept = {name: value for name, value in slots_of(self).items() if name not in ("read_into", "write_from")}
        return None, kept

    def __setstate__(self, state: tuple[None, dict[str, object]]) -> None:
        for name, value in state[1].items():
            setattr(self, name, value)
        self._open_buffers()

    def restart(self) -> None:
        """Begin the data transfer from its start."""
        self.received = 0
        self.next_offset = 0
        self.sequence = 0
        self.data_sn = 0
        self.r2t_sn = 0
        self.next_write = 0
        self.first_drained = -1
        self.in_flight = 0

    @property
    def bidirectional(self) -> bool:
        """Whether it reads and writes; R2Ts and Data-In PDUs then share one count (11.8.2)."""
        return bool(len(self.read_into) and len(self.write_from))

    def _first_burst(self, link: Link) -> tuple[int, int]:
        """Bytes of immediate data, and of unsolicited Data-Out behind it, as far as agreed (13.10, 13.11)."""
        parameters = link.parameters
        burst = min(len(self.write_from), parameters.first_burst_length)
        immediate = min(burst, link.max_send) if parameters.immediate_data else 0
        return immediate, 0 if parameters.initial_r2t else burst - immediate

    def send(self, link: Link) -> None:
        """The command, with the data that goes out unasked. Raises SendBufferFull, and nothing was sent."""
        request, data = self.scsi, self.write_from
        length = len(data)
        reading = len(self.read_into)
        immediate = unsolicited = 0
        if length:
            immediate, unsolicited = self._first_burst(link)
            if not link.has_room(immediate + unsolicited):
                raise SendBufferFull
        flags = request.attribute | (0 if unsolicited else _FINAL)
        if reading:
            flags |= _READ
        if length:
            flags |= _WRITE
        ahs = b""
        if len(request.cdb) > 16 or self.bidirectional:
            ahs = self._ahs()
        bhs = _command(
            *(_SCSI_COMMAND, flags, len(ahs) // 4, immediate >> 16, immediate >> 8 & 0xFF, immediate & 0xFF),
            *(request.lun, self.itt, length or reading, self.cmd_sn, link.exp_stat_sn, request.cdb[:16]),
        )
        link.send(bhs, data[:immediate] if immediate else b"", ahs)
        self.next_write = immediate
        if unsolicited:
            # Data-Out without a valid Target Transfer Tag carries no LUN (11.7.4).
            self._send_data(link, bytes(8), NO_TAG, immediate, unsolicited)
            self.next_write += unsolicited

    def _ahs(self) -> bytes:
        segments: list[Ahs] = []
        if len(self.scsi.cdb) > 16:
            segments.append(extended_cdb(self.scsi.cdb))
        if self.bidirectional:
            segments.append(bidirectional_read_length(len(self.read_into)))
        return encode_ahs(segments)

    def _send_data(self, link: Link, lun: bytes, ttt: int, offset: int, length: int) -> None:
        """One sequence of Data-Out PDUs."""
        data, limit, itt, exp_stat_sn = self.write_from, link.max_send, self.itt, link.exp_stat_sn
        end = offset + length
        data_sn = 0
        while offset < end:
            size = min(limit, end - offset)
            bhs = _data_out(
                *(_SCSI_DATA_OUT, _FINAL if offset + size == end else 0),
                *(size >> 16, size >> 8 & 0xFF, size & 0xFF, lun, itt, ttt, exp_stat_sn, data_sn, offset),
            )
            link.send(bhs, data[offset : offset + size])
            offset += size
            data_sn += 1

    def take_r2t(self, raw: RawPdu, link: Link, *, lenient: bool) -> None:
        """Answer an R2T. lenient: also one that should be refused, as far as there is data.

        Raises Violation (28); SendBufferFull, and none of the data was sent.
        """
        lun, ttt, r2t_sn, offset, desired = _r2t(raw.bhs, 0)
        fault = self._r2t_fault(link, ttt, r2t_sn, offset, desired)
        if fault:
            if not lenient:
                raise Violation(28, bytes(raw.bhs), fault)
            desired = max(0, min(desired, len(self.write_from) - offset))
        if self.first_drained == link.drained:
            self.in_flight += 1
        else:
            self.first_drained, self.in_flight = link.drained, 1
        if self.bidirectional:
            self.data_sn += 1
        self.r2t_sn += 1
        self.next_write = max(self.next_write, offset + desired)
        if self.timed_out:
            return
        if not link.has_room(desired):
            raise SendBufferFull
        self._send_data(link, lun, ttt, offset, desired)

    def _r2t_fault(self, link: Link, ttt: int, r2t_sn: int, offset: int, desired: int) -> str:
        parameters = link.parameters
        if not len(self.write_from):
            return "R2T for a task that does not write"
        if ttt == NO_TAG:
            return "the reserved Target Transfer Tag"
        if not desired or desired > parameters.max_burst_length:
            return f"desired length {desired}, MaxBurstLength is {parameters.max_burst_length}"
        if offset + desired > len(self.write_from):
            return f"bytes up to {offset + desired} of {len(self.write_from)} are asked for"
        if r2t_sn != (self.data_sn if self.bidirectional else self.r2t_sn):
            return f"R2TSN {r2t_sn}"
        if offset < self.next_write and parameters.data_sequence_in_order:
            return f"bytes from {offset} on, which were asked for or sent before"
        # R2Ts that came before the answer to the one before could leave (11.8): no drain of the outbox lay between.
        waiting = self.in_flight if self.first_drained == link.drained else 0
        if waiting >= parameters.max_outstanding_r2t:
            return f"more than {parameters.max_outstanding_r2t} outstanding R2Ts"
        return ""

    def take_data(self, raw: RawPdu, link: Link, *, lenient: bool) -> None:
        """Put a Data-In where it belongs. lenient: pass over what was not asked for. Raises Violation (26), DataMissing."""
        data_sn, offset = _data_in(raw.bhs, 0)
        data = raw.data
        length = len(data)
        final = raw.bhs[1] & _FINAL
        if data_sn != self.data_sn:
            if (data_sn - self.data_sn) & 0xFFFFFFFF < 0x80000000:
                raise DataMissing
            if lenient:
                return
            raise Violation(26, bytes(raw.bhs), f"Data-In {data_sn} again")
        end = offset + length
        self.sequence += length
        fault = ""
        if end > len(self.read_into):
            fault = f"data up to byte {end} of {len(self.read_into)}"
        elif self.sequence > link.parameters.max_burst_length:
            fault = "a sequence longer than MaxBurstLength"
        elif length and offset < self.next_offset and link.parameters.data_pdu_in_order:
            fault = f"data from byte {offset} on again"
        self.data_sn += 1
        if self.bidirectional:
            self.r2t_sn += 1
        if fault:
            if not lenient:
                raise Violation(26, bytes(raw.bhs), fault)
            return
        if length and offset > self.next_offset:
            raise DataMissing
        self.read_into[offset:end] = data
        self.received += length
        self.next_offset = max(self.next_offset, end)
        if final:
            self.sequence = 0
