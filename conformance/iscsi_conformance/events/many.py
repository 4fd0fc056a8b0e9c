"""What rows about sessions of several connections have in common: which one it is about, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from iscsi_conformance.events.host_acts import at_once, ready
from iscsi_conformance.events.play import Act, Play, Watch
from iscsi_conformance.events.row import EventCase
from iscsi_conformance.verdict import require
from iscsi_initiator.client.errors import ConnectionFailed
from iscsi_protocol.fault import Fault
from iscsi_protocol.pdu import LogoutReason, LogoutRequest

LEVELS = (0, 1, 2)
PLACES = ((2, 0), (2, 1), (3, 1), (4, 3))
"""(connections, CID of the one that it is about)."""


def of_several(event: int, name: str, *spoils: Fault, count: int, level: int, **more: Any) -> EventCase:
    """A row about a session of so many connections, all of them spoilt. more: fields of EventCase."""
    fields: dict[str, Any] = {"event": event, "connections": count, "spoilt": count, "level": level, **more}
    return EventCase(name=f"{name}-level-{level}", spoils=spoils, **fields)


def everywhere(count: int) -> Act:
    """Two commands on each of so many connections, all at once."""
    return partial(at_once, count=2 * count, make=ready)


def again(level: int, count: int) -> int:
    """How many connections are made anew when one of so many is lost: at level 2 it alone, below all of them (7.1.4)."""
    return 1 if level == 2 else count


def came_back(count: int, *, logouts: tuple[tuple[int, int], ...] | None = None, done: bool = True) -> Watch:
    """Just so many connections were made anew; these (reason, CID) were logged out; what was asked was done all the same."""

    def watch(play: Play) -> None:
        require(play.connected_since == count, play.name, f"{count} connections are made", seen=play.connected_since)
        if logouts is not None:
            seen = [(pdu.reason, pdu.cid) for pdu in play.sent(LogoutRequest)]
            require(seen == list(logouts), play.name, f"logouts (reason, CID): {list(logouts)}", seen=seen)
        if done:
            require(play.error is None, play.name, "what was asked is done", seen=play.error)

    return watch


def recovered(level: int, count: int, cid: int) -> Watch:
    """One connection is lost: the recovery of the level, as the standard has it."""
    logouts = ((int(LogoutReason.RECOVERY), cid),) if level == 2 else ()
    return came_back(again(level, count), logouts=logouts)


def back_soon(event: int) -> Watch:
    """It comes back right behind this event, and not once the target's patience (Time2Retain) is over."""

    def watch(play: Play) -> None:
        times = {each.id: each.time for each in play.scene.events}
        waited = times[34] - times[event]
        require(waited < 1, play.name, f"the way back begins with event {event}", seen=f"{waited:g} s later")

    return watch


def both(*watches: Watch) -> Watch:
    """All of these."""

    def watch(play: Play) -> None:
        for each in watches:
            each(play)

    return watch


def given_up(play: Play) -> None:
    """A connection was given up, and not merely waited for."""
    require(isinstance(play.error, ConnectionFailed), play.name, "the connection is given up", seen=play.error)


def in_turn(*acts: Callable[[Play], Any]) -> Act:
    """One act behind the other."""

    async def all_of_them(play: Play) -> None:
        for act in acts:
            await act(play)

    return all_of_them
