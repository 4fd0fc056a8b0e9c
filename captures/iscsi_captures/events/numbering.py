"""StatSN as the initiator counts it (RFC 7143 4.2.2.2, 7.2, 11.16): event 42, and the gaps that SNACK asks about.

At recovery level 0 a StatSN that is not the next one ends the session's connections. Above it a gap is asked for, and what
stands behind it is used; ExpStatSN waits, as it does for a status whose data is missing. What is asked for has to come before
the third asking has run out of time.
"""

from __future__ import annotations

from enum import Enum

from iscsi_captures.events.gaps import ahead, within
from iscsi_captures.events.state import Asked, Connection, ScsiTask
from iscsi_protocol import serial

ASKINGS = 3
"""How many times a gap is asked for."""

ASKED_KEPT = 1024


class Take(Enum):
    """What becomes of a PDU by its StatSN."""

    USED = "used"
    DROPPED = "a second copy of what was asked for again"
    WRONG = "event 42"


# A member found through its class is a function call in Python 3.11.
USED, DROPPED, WRONG = Take.USED, Take.DROPPED, Take.WRONG


def take(connection: Connection, stat_sn: int, *, uses: bool) -> Take:
    """A StatSN came. uses: the PDU uses it up; an R2T and a NOP-In that answers nothing only show the next one."""
    high = connection.high
    if stat_sn == high:
        if uses:
            connection.high = (stat_sn + 1) & 0xFFFFFFFF
        return USED
    if not connection.limits.level:
        return WRONG
    if ahead(stat_sn, high):
        miss(connection, high, serial.add(stat_sn, -1), stat_sn)
        connection.high = serial.add(stat_sn) if uses else stat_sn
        return USED
    if not uses:
        return WRONG
    if connection.missing.fill(stat_sn):
        return USED
    return DROPPED if connection.missing.may_come(stat_sn) else WRONG


def take_damaged(connection: Connection, stat_sn: int) -> None:
    """A PDU that uses a StatSN came with a wrong data digest: it is asked for again, with all that is missing before it. What
    is being asked for already is asked for once more, as long as that was not done often enough.
    """
    if ahead(stat_sn, connection.high):
        miss(connection, connection.high, stat_sn, stat_sn)
        connection.high = serial.add(stat_sn)
    elif connection.missing.lacks(stat_sn) and not _asked_for(connection, stat_sn):
        _await(connection, Asked(None, stat_sn, stat_sn, stat_sn))


def _asked_for(connection: Connection, stat_sn: int) -> bool:
    return any(asked.task is None and within(stat_sn, asked.first, asked.last) for asked in connection.asked)


def miss(connection: Connection, first: int, last: int, shown: int) -> None:
    """StatSNs first to last are missing."""
    connection.missing.add(first, last)
    _await(connection, Asked(None, first, last, shown))


def reopen(connection: Connection, stat_sn: int) -> None:
    """A status that came does not hold: one with the same StatSN is to come in its place."""
    connection.withheld.pop(stat_sn, None)
    connection.missing.add(stat_sn, stat_sn)


def ask(connection: Connection, task: ScsiTask | None, begin: int, last: int, due: float) -> None:
    """The initiator asks by SNACK. task: whose data, None for statuses; due: until when it waits."""
    same = [asked for asked in connection.asked if asked.task is task and within(begin, asked.first, asked.last)]
    found = min(same, key=lambda asked: (asked.times > 0, asked.due or due), default=None)
    if found is None:
        found = Asked(task, begin, last, 0)
        _await(connection, found)
    found.first = begin
    found.times += 1
    found.due = due


def _await(connection: Connection, asked: Asked) -> None:
    connection.asked.append(asked)
    del connection.asked[:-ASKED_KEPT]


def overdue(connection: Connection, now: float) -> list[tuple[Asked, int]]:
    """What was asked for in vain for the last time, with the first number of it that is missing."""
    failed = []
    for asked in list(connection.asked):
        if asked.due is None or asked.due > now:
            continue
        left = left_of(connection, asked)
        if left is None or asked.times >= ASKINGS:
            connection.asked.remove(asked)
        else:
            asked.due = None  # it is asked for again now
        if left is not None and asked.times >= ASKINGS:
            failed.append((asked, left))
    return failed


def refused(connection: Connection, task: ScsiTask | None, begin: int) -> tuple[Asked, int] | None:
    """The target rejected a SNACK: what it was for, with its first number that is missing; None if nothing is."""
    for asked in connection.asked:
        if asked.task is task and asked.first == begin and asked.times:
            connection.asked.remove(asked)
            left = left_of(connection, asked)
            return None if left is None else (asked, left)
    return None


def left_of(connection: Connection, asked: Asked) -> int | None:
    """The first number that is missing of what was asked for, None for none."""
    gaps = connection.missing if asked.task is None else asked.task.holes
    return None if gaps is None else gaps.first_in(asked.first, asked.last)
