"""A text exchange of full feature phase, as far as events hang on it: whether it goes on (RFC 7143 6.4, 11.10, 11.11)."""

from __future__ import annotations

from iscsi_captures.events.keys import Negotiated
from iscsi_captures.events.state import Connection, Task
from iscsi_captures.events.values import number
from iscsi_protocol.pdu import RawPdu, Stage
from iscsi_protocol.text import TEXT_LIMIT, scan_pairs

_FINAL, _CONTINUE = 0x80, 0x40
_LENGTH = "MaxRecvDataSegmentLength"


class TextTask(Task):
    """A Text Request and all that belongs to its exchange. send_targets: it asks for targets, and nothing is negotiated."""

    __slots__ = ("_heard", "_keys", "_said", "_total", "_unfinished", "send_targets")

    def __init__(self, connection: Connection, first: Task, *, discovery: bool) -> None:
        super().__init__(connection, first.opcode, first.itt, first.cmd_sn, first.immediate, first.bhs)
        self.send_targets = False
        self._keys = Negotiated(discovery=discovery, leading=False)
        self._said = bytearray()
        self._heard = bytearray()
        self._total = 0
        self._unfinished = False

    def say(self, raw: RawPdu) -> None:
        """A request of the exchange."""
        self._unfinished = bool(raw.bhs[1] & _CONTINUE)
        self._said += raw.data[: TEXT_LIMIT - min(len(self._said), TEXT_LIMIT)]
        if self._unfinished:
            return
        pairs, _ = scan_pairs(bytes(self._said))
        self._said.clear()
        self.send_targets |= any(key == "SendTargets" for key, _ in pairs)
        self._keys.say(pairs)

    def hear(self, raw: RawPdu) -> bool:
        """A response: whether the exchange goes on behind it."""
        if self._unfinished:
            return True
        self._total += len(raw.data)
        if self._total > TEXT_LIMIT:
            return False
        self._heard += raw.data
        final = bool(raw.bhs[1] & _FINAL)
        if raw.bhs[1] & _CONTINUE:
            return not final
        pairs, broken = scan_pairs(bytes(self._heard))
        self._heard.clear()
        faulty = bool(broken)
        if not self.send_targets:
            faulty |= bool(self._keys.hear(pairs, Stage.FULL_FEATURE, last=final))
        if final and not faulty and not self.send_targets and not self._keys.unanswered():
            self._adopt()
        return not final and not faulty

    def _adopt(self) -> None:
        """What was declared anew is in force."""
        length = number(self._keys.offered.get(_LENGTH, ""))
        if length is not None:
            self.connection.limits.max_recv = length
