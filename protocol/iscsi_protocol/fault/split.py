"""Splitting a data PDU in two (11.7), and mending DataSN behind the cut."""

from __future__ import annotations

from dataclasses import replace

from iscsi_protocol import serial
from iscsi_protocol.fault.edit import field_number
from iscsi_protocol.fault.renumber import with_number
from iscsi_protocol.pdu.base import set_field
from iscsi_protocol.pdu.codes import NO_LUN, NO_TAG, Flag, Opcode
from iscsi_protocol.pdu.raw import RawPdu, padding_for

_ONLY_OF_THE_LAST: dict[str, int | bytes] = {
    "final": False,
    "acknowledge": False,
    "status_present": False,
    "overflow": False,
    "underflow": False,
    "status": 0,
    "lun": NO_LUN,
    "ttt": NO_TAG,
    "stat_sn": 0,
    "residual_count": 0,
}
"""What the first half of a Data-In does not say: the end, and what goes with it."""


class Splits:
    """How many PDUs were added to each sequence of one connection, which DataSN counts (4.2.2.3)."""

    def __init__(self) -> None:
        self._added: dict[tuple[int, bytes], int] = {}

    def split(self, raw: RawPdu, at: int) -> list[RawPdu]:
        """The two halves, without digests; or the PDU as it is when it is no data PDU or has no more than `at` bytes."""
        if raw.opcode not in (Opcode.SCSI_DATA_IN, Opcode.SCSI_DATA_OUT) or at >= len(raw.data):
            return [raw]
        bare = replace(raw, header_digest=b"", data_digest=b"")
        first = replace(bare, data=raw.data[:at], padding=bytes(padding_for(at)))
        first = set_field(first, "data_segment_length", at)
        if raw.opcode == Opcode.SCSI_DATA_IN:
            for name, value in _ONLY_OF_THE_LAST.items():
                first = set_field(first, name, value)
        else:
            first = set_field(first, "final", False)
        second = replace(bare, data=raw.data[at:], padding=bytes(padding_for(len(raw.data) - at)))
        second = set_field(second, "data_segment_length", len(second.data))
        second = _moved(_moved(second, "data_sn", 1), "buffer_offset", at)
        if not _ends(raw):
            key = _sequence(raw)
            self._added[key] = self._added.get(key, 0) + 1
        return [first, second]

    def mended(self, raw: RawPdu) -> RawPdu:
        """The PDU with DataSN, or ExpDataSN, moved by what was added before. Its header digest is right again."""
        if not self._added:
            return raw
        key = _sequence(raw)
        added = self._added.get(key)
        if added is None:
            return raw
        if _ends(raw):
            del self._added[key]
        return _moved(raw, "exp_data_sn" if raw.opcode == Opcode.SCSI_RESPONSE else "data_sn", added)


def _sequence(raw: RawPdu) -> tuple[int, bytes]:
    """What a DataSN counts: the Data-In of a task, or the Data-Out for one R2T."""
    if raw.opcode == Opcode.SCSI_DATA_OUT:
        return Opcode.SCSI_DATA_OUT, bytes(raw.bhs[16:24])
    answers = raw.opcode in (Opcode.SCSI_DATA_IN, Opcode.SCSI_RESPONSE)
    return (Opcode.SCSI_DATA_IN if answers else raw.opcode), bytes(raw.bhs[16:20])


def _ends(raw: RawPdu) -> bool:
    """Whether nothing of the sequence comes behind this PDU."""
    if raw.opcode == Opcode.SCSI_DATA_IN:
        return bool(raw.bhs[1] & Flag.STATUS)
    return raw.opcode == Opcode.SCSI_RESPONSE or bool(raw.bhs[1] & Flag.FINAL)


def _moved(raw: RawPdu, name: str, step: int) -> RawPdu:
    return with_number(raw, name, serial.add(field_number(raw, name), step))
