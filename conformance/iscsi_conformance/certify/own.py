"""Telling a case's own connections from others: an initiator may still be looking for the target of an earlier case.

A connection belongs to the case unless its login names another target. What cannot be told yet is held back.
"""

from __future__ import annotations

from iscsi_protocol.history import PduRecord, Record, SettingsRecord, Tap
from iscsi_protocol.pdu import LoginRequest, Opcode, decode
from iscsi_protocol.stream import Direction
from iscsi_protocol.text import scan_pairs


class OwnConnections:
    """A tap that passes on the records of connections which do not name another target. strangers: the others' targets."""

    def __init__(self, target: str, tap: Tap) -> None:
        self.strangers: dict[int, str] = {}
        self._target = target
        self._tap = tap
        self._held: dict[int, list[Record]] = {}
        self._own: set[int] = set()

    def record(self, record: Record) -> None:
        """Take the next record."""
        if isinstance(record, SettingsRecord) or record.connection in self._own:
            self._tap(record)
            return
        number = record.connection
        if number in self.strangers:
            return
        held = self._held.setdefault(number, [])
        held.append(record)
        if not isinstance(record, PduRecord) or record.direction is not Direction.TO_TARGET:
            return
        named = _target_of(record)
        if named is not None and named != self._target:
            self.strangers[number] = named
            del self._held[number]
        else:
            self._pass_on(number)

    def finish(self) -> None:
        """Pass on what is still held: connections on which nothing was said."""
        for number in list(self._held):
            self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        self._own.add(number)
        for record in self._held.pop(number):
            self._tap(record)


def _target_of(record: PduRecord) -> str | None:
    """The target that a Login Request names; None where there is none."""
    if record.raw.opcode != Opcode.LOGIN_REQUEST:
        return None
    request = decode(record.raw)
    if not isinstance(request, LoginRequest):
        return None
    return dict(scan_pairs(bytes(request.data))[0]).get("TargetName")
