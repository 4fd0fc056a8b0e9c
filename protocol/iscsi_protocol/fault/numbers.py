"""The numbers of a dialogue that a fault may want to put into a PDU (`Of`), followed from the PDUs that pass."""

from __future__ import annotations

from itertools import count

from iscsi_protocol import serial
from iscsi_protocol.fault.action import Of
from iscsi_protocol.fault.edit import field_number
from iscsi_protocol.pdu.codes import BHS_LENGTH, NO_TAG, Flag, Opcode
from iscsi_protocol.pdu.numbering import carries_cmd_sn, carries_stat_sn, consumes_cmd_sn, consumes_stat_sn
from iscsi_protocol.pdu.raw import RawPdu
from iscsi_protocol.stream import Direction

_ANSWERS = frozenset(
    {Opcode.SCSI_RESPONSE, Opcode.TASK_MANAGEMENT_RESPONSE, Opcode.LOGOUT_RESPONSE, Opcode.NOP_IN, Opcode.REJECT}
)
_ENDING_FLAG: dict[int, int] = {Opcode.SCSI_DATA_IN: Flag.STATUS, Opcode.TEXT_RESPONSE: Flag.FINAL}
_WITHIN_TASKS = frozenset({Opcode.SCSI_DATA_OUT, Opcode.SNACK_REQUEST})
_FIRST_UNUSED = 0x7E57_0000
_REMEMBERED = 1024


class Numbers:
    """What both sides count, as an onlooker sees it."""

    def __init__(self) -> None:
        self._counters = dict.fromkeys(("stat_sn", "exp_stat_sn", "cmd_sn", "exp_cmd_sn", "max_cmd_sn"), 0)
        # Task tags in the order in which they were opened or closed; the values mean nothing.
        self._open: dict[int, None] = {}
        self._closed: dict[int, None] = {}
        self._open_ttt = NO_TAG

    def watch(self, direction: Direction, raw: RawPdu) -> None:
        """Take notice of a PDU that goes out this way."""
        if direction is Direction.TO_TARGET:
            self._watch_request(raw)
        else:
            self._watch_answer(raw)

    def value(self, of: Of, trigger: RawPdu) -> int:
        """The number asked for, amount added, not yet reduced to a field. Raises KeyError when the trigger lacks the field.

        A tag that there is none of is the reserved one.
        """
        if of.trigger_field is not None:
            return field_number(trigger, of.trigger_field) + of.amount
        if of.source in self._counters:
            return self._counters[of.source] + of.amount
        if of.source == "open_itt":
            tag = next(reversed(self._open), NO_TAG)
        elif of.source == "closed_itt":
            tag = next(reversed(self._closed), NO_TAG)
        elif of.source == "open_ttt":
            tag = self._open_ttt
        else:
            tag = next(tag for tag in count(_FIRST_UNUSED) if tag not in self._open and tag not in self._closed)
        return tag + of.amount

    def _watch_request(self, raw: RawPdu) -> None:
        counters = self._counters
        if carries_cmd_sn(raw):
            cmd_sn = int.from_bytes(raw.bhs[24:28], "big")
            counters["cmd_sn"] = serial.add(cmd_sn, 1) if consumes_cmd_sn(raw) else cmd_sn
            tag = raw.initiator_task_tag
            if raw.opcode != Opcode.LOGIN_REQUEST and tag != NO_TAG:
                self._closed.pop(tag, None)
                _remember(self._open, tag)
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
        if raw.opcode in _ANSWERS or raw.bhs[1] & _ENDING_FLAG.get(raw.opcode, 0):
            tag = raw.initiator_task_tag
            if raw.opcode == Opcode.REJECT:
                # The data are the header of the refused PDU; a refused Data-Out or SNACK ends no task (7.3).
                refuses_task = len(raw.data) >= BHS_LENGTH and raw.data[0] & 0x3F not in _WITHIN_TASKS
                tag = int.from_bytes(raw.data[16:20], "big") if refuses_task else NO_TAG
            if tag in self._open:
                del self._open[tag]
                _remember(self._closed, tag)


def _remember(tags: dict[int, None], tag: int) -> None:
    """Make it the latest of the tags, and forget the oldest of too many."""
    tags.pop(tag, None)
    tags[tag] = None
    if len(tags) > _REMEMBERED:
        del tags[next(iter(tags))]
