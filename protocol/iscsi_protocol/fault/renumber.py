"""Renumbering: StatSN and CmdSN (4.2.2) once PDUs were inserted or dropped, so that nobody sees a hole.

One side counts on as if nothing had happened; the other sees numbers that are shifted, and acknowledges those.
"""

from __future__ import annotations

from iscsi_protocol import serial
from iscsi_protocol.digest import digest_bytes
from iscsi_protocol.fault.edit import field_number
from iscsi_protocol.pdu.base import has_field, set_field
from iscsi_protocol.pdu.numbering import carries_cmd_sn, carries_stat_sn, consumes_cmd_sn, consumes_stat_sn
from iscsi_protocol.pdu.raw import RawPdu
from iscsi_protocol.stream import Direction


class _Counter:
    """One counter of one connection."""

    def __init__(self) -> None:
        self._shift = 0
        self._settled = 0
        self._recent: list[tuple[int, int]] = []

    @property
    def idle(self) -> bool:
        """Whether nothing was ever inserted or dropped."""
        return not (self._shift or self._settled or self._recent)

    def inserted(self, sn: int) -> None:
        """Another PDU took this number on the wire."""
        self._recent.append((serial.add(sn, 1), 1))
        self._shift += 1

    def dropped(self, sn: int) -> None:
        """The PDU that had this number on the wire will not be seen, and the next one takes it."""
        self._recent.append((sn, -1))
        self._shift -= 1

    def onward(self, sn: int) -> int:
        """A number of what is sent from now on, as it is on the wire."""
        return serial.add(sn, self._shift)

    def back(self, sn: int) -> int:
        """A number from the wire that says what is awaited next, as its sender would have said it had nothing happened."""
        step = self._settled + sum(step for first, step in self._recent if serial.ge(sn, first))
        return serial.add(sn, -step)

    def settle(self, sn: int) -> None:
        """Such a number was seen, and none from before it will be."""
        while self._recent and serial.ge(sn, self._recent[0][0]):
            self._settled += self._recent.pop(0)[1]


_SENT = ("cmd_sn", "stat_sn")
_SEEN = (("exp_stat_sn",), ("exp_cmd_sn", "max_cmd_sn"))
_CARRIES = (carries_cmd_sn, carries_stat_sn)
_CONSUMES = (consumes_cmd_sn, consumes_stat_sn)
"""By direction: the counter of its PDUs, what they say about the other one, who has a number, and who uses one up."""


class Numbering:
    """Both counters of one connection."""

    def __init__(self) -> None:
        self._counters = (_Counter(), _Counter())

    def inserted(self, way: Direction, raw: RawPdu) -> None:
        """This PDU went out besides."""
        if _CONSUMES[way](raw):
            self._counters[way].inserted(field_number(raw, _SENT[way]))

    def dropped(self, way: Direction, raw: RawPdu) -> None:
        """This PDU, already mended, did not go out."""
        if _CONSUMES[way](raw):
            self._counters[way].dropped(field_number(raw, _SENT[way]))

    def behind(self, way: Direction, inserted: RawPdu, raw: RawPdu) -> RawPdu:
        """A PDU, already mended, before which another one was inserted."""
        if not _CONSUMES[way](inserted) or not _CARRIES[way](raw):
            return raw
        return with_number(raw, _SENT[way], serial.add(field_number(raw, _SENT[way]), 1))

    def mended(self, way: Direction, raw: RawPdu) -> RawPdu:
        """The PDU with its numbers as the receiver is to see them."""
        sent, seen = self._counters[way], self._counters[way.other]
        if not sent.idle and _CARRIES[way](raw):
            raw = with_number(raw, _SENT[way], sent.onward(field_number(raw, _SENT[way])))
        if not seen.idle and has_field(raw.opcode, _SEEN[way][0]):
            seen.settle(field_number(raw, _SEEN[way][0]))
            for name in _SEEN[way]:
                raw = with_number(raw, name, seen.back(field_number(raw, name)))
        return raw


def with_number(raw: RawPdu, name: str, number: int) -> RawPdu:
    """The PDU with this number in a header field, and a right header digest if it had one."""
    changed = set_field(raw, name, number)
    if len(changed.header_digest):
        changed.header_digest = digest_bytes(changed.bhs, changed.ahs)
    return changed
