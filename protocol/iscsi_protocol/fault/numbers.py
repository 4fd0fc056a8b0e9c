"""The numbers of a dialogue that a fault may want to put into a PDU (`Of`), followed from the PDUs that pass."""

from __future__ import annotations

from iscsi_protocol import serial
from iscsi_protocol.fault.model import Of
from iscsi_protocol.pdu.base import get_field
from iscsi_protocol.pdu.codes import NO_TAG, Opcode
from iscsi_protocol.pdu.numbering import carries_cmd_sn, carries_stat_sn, consumes_cmd_sn, consumes_stat_sn
from iscsi_protocol.pdu.raw import RawPdu
from iscsi_protocol.stream import Direction

_ANSWERS = frozenset(
    {
        Opcode.SCSI_RESPONSE,
        Opcode.TASK_MANAGEMENT_RESPONSE,
        Opcode.TEXT_RESPONSE,
        Opcode.LOGOUT_RESPONSE,
        Opcode.NOP_IN,
    }
)
_REMEMBERED = 64


class Numbers:
    """What both sides count, as an onlooker sees it."""

    def __init__(self) -> None:
        self._counters = dict.fromkeys(("stat_sn", "exp_stat_sn", "cmd_sn", "exp_cmd_sn", "max_cmd_sn"), 0)
        self._open: list[int] = []
        self._closed: list[int] = []
        self._open_ttt = NO_TAG

    def watch(self, direction: Direction, raw: RawPdu) -> None:
        """Take notice of a PDU that goes out this way."""
        if len(raw.bhs) < 48:
            return
        if direction is Direction.TO_TARGET:
            self._watch_request(raw)
        else:
            self._watch_answer(raw)

    def value(self, of: Of, trigger: RawPdu) -> int | bool | bytes:
        """The number asked for. Raises KeyError for a source that does not exist."""
        if of.source.startswith("trigger."):
            found = get_field(trigger, of.source.removeprefix("trigger."))
            return found if isinstance(found, bytes) else serial.add(int(found), of.amount)
        if of.source in self._counters:
            return serial.add(self._counters[of.source], of.amount)
        tag = {
            "open_itt": self._open[-1] if self._open else NO_TAG,
            "closed_itt": self._closed[-1] if self._closed else NO_TAG,
            "unused_itt": self._unused(),
            "open_ttt": self._open_ttt,
        }[of.source]
        return serial.add(tag, of.amount)

    def _unused(self) -> int:
        taken = {*self._open, *self._closed}
        return next(tag for tag in range(0x7E57_0000, 0x7E58_0000) if tag not in taken)

    def _watch_request(self, raw: RawPdu) -> None:
        counters = self._counters
        if carries_cmd_sn(raw):
            cmd_sn = int.from_bytes(raw.bhs[24:28], "big")
            counters["cmd_sn"] = serial.add(cmd_sn, 1) if consumes_cmd_sn(raw) else cmd_sn
            if raw.opcode != Opcode.LOGIN_REQUEST and raw.initiator_task_tag != NO_TAG:
                self._open.append(raw.initiator_task_tag)
        counters["exp_stat_sn"] = int.from_bytes(raw.bhs[28:32], "big")

    def _watch_answer(self, raw: RawPdu) -> None:
        counters = self._counters
        if raw.opcode == Opcode.LOGIN_RESPONSE and raw.bhs[36]:
            return
        if carries_stat_sn(raw):
            stat_sn = int.from_bytes(raw.bhs[24:28], "big")
            counters["stat_sn"] = serial.add(stat_sn, 1) if consumes_stat_sn(raw) else stat_sn
        counters["exp_cmd_sn"] = int.from_bytes(raw.bhs[28:32], "big")
        counters["max_cmd_sn"] = int.from_bytes(raw.bhs[32:36], "big")
        if raw.opcode == Opcode.R2T:
            self._open_ttt = int.from_bytes(raw.bhs[20:24], "big")
        ends_task = raw.opcode in _ANSWERS or (raw.opcode == Opcode.SCSI_DATA_IN and raw.bhs[1] & 1)
        if ends_task and raw.initiator_task_tag in self._open:
            self._open.remove(raw.initiator_task_tag)
            self._closed.append(raw.initiator_task_tag)
            del self._closed[:-_REMEMBERED]
