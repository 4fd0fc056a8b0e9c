"""StatSN as the initiator counts it (RFC 7143 4.2.2.2, 7.2, 11.16): event 42, and the gaps that SNACK asks about.

At recovery level 0 a StatSN that is not the next one ends the session's connections. Above it a gap is asked for, and what
stands behind it is used; ExpStatSN waits. What is asked for has to come before the third asking has run out of time.
"""

from __future__ import annotations

from enum import Enum

from iscsi_captures.events.gaps import ahead, within
from iscsi_captures.events.state import Connection, Run
from iscsi_protocol import serial

ASKED = 3
"""How many times a gap is asked for."""

RUNS_KEPT = 256


class Take(Enum):
    """What becomes of a PDU by its StatSN."""

    USED = "used"
    DROPPED = "a second copy of what was asked for again"
    WRONG = "event 42"


def take(connection: Connection, stat_sn: int, *, uses: bool) -> Take:
    """A StatSN came. uses: the PDU uses it up; an R2T and a NOP-In that answers nothing only show the next one."""
    high = connection.high
    if stat_sn == high:
        if uses:
            connection.high = serial.add(stat_sn)
        return Take.USED
    if not connection.limits.level:
        return Take.WRONG
    if ahead(stat_sn, high):
        miss(connection, high, serial.add(stat_sn, -1), stat_sn)
        connection.high = serial.add(stat_sn) if uses else stat_sn
        return Take.USED
    if not uses:
        return Take.WRONG
    for run in connection.runs:
        if run.gaps.fill(stat_sn):
            if not run.gaps:
                connection.runs.remove(run)
            return Take.USED
    return Take.DROPPED if connection.repeated.may_come(stat_sn) else Take.WRONG


def take_damaged(connection: Connection, stat_sn: int) -> None:
    """A PDU that uses a StatSN came with a wrong data digest: its StatSN is missing, and all between."""
    if ahead(stat_sn, connection.high):
        miss(connection, connection.high, stat_sn, stat_sn)
        connection.high = serial.add(stat_sn)


def miss(connection: Connection, first: int, last: int, shown: int) -> None:
    """StatSNs first to last are missing."""
    connection.runs.append(Run(first, last, shown))
    connection.repeated.ask(first, last)
    del connection.runs[:-RUNS_KEPT]


def ask(connection: Connection, begin: int, length: int, now: float, allowance: float) -> None:
    """The initiator asks for statuses by SNACK; length 0: for all from there on."""
    last = serial.add(begin, length - 1) if length else serial.add(connection.high, -1)
    for run in connection.runs:
        if any(within(first, begin, last) for first, _ in run.gaps.missing):
            run.asked += 1
            run.due = now + allowance


def failed(connection: Connection, now: float) -> Run | None:
    """A gap that was asked for often enough and did not come in time, if there is one."""
    for run in connection.runs:
        if run.due is not None and run.due <= now:
            if run.asked >= ASKED:
                return run
            run.due = None
    return None
