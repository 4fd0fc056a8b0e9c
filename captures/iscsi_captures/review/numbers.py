"""Connections have the numbers that one reading of all would give them, whichever part of a review they are in."""

from __future__ import annotations

from collections.abc import Sequence

from iscsi_captures.review.facts import Part
from iscsi_captures.review.model import CommandTrace, Gap, Load, Moment, ReviewEvent, ReviewFinding


def number_anew(parts: Sequence[Part]) -> None:
    """Give the connections of all parts their numbers, from 1, and change whatever names them.

    Connections that are not described (`reviewer.CONNECTIONS_KEPT`) have the number 0.
    """
    rows = [
        (*part.recognised.get(number, (connection.opened.time, 0)), connection.opened.frame, which, number)
        for which, part in enumerate(parts)
        for number, connection in part.connections.items()
    ]
    numbers: list[dict[int, int]] = [{} for _ in parts]
    for new, (*_, which, number) in enumerate(sorted(rows), 1):
        numbers[which][number] = new
    for part, new_of in zip(parts, numbers, strict=True):
        _rename(part, new_of)


def _rename(part: Part, new_of: dict[int, int]) -> None:
    for number, connection in part.connections.items():
        connection.number = new_of[number]
    part.connections = {connection.number: connection for connection in part.connections.values()}
    for number, facts in part.facts.items():
        facts.number = new_of[number]
        places = [*facts.seen.values(), *(place for _, place in facts.slowest)]
        for place in places if facts.syn is None else [*places, facts.syn]:
            place.connection = facts.number
    part.facts = {facts.number: facts for facts in part.facts.values()}
    for session in part.sessions:
        session.connections = [new_of[number] for number in session.connections]
        session.order = min(session.connections)
        session.connections.sort()
    named: list[ReviewFinding | ReviewEvent | Load | CommandTrace] = [*part.findings, *part.events, *part.loads]
    for each in [*named, *part.traces]:
        each.connection = new_of.get(each.connection, 0)
    loose: list[Gap | Moment] = [*part.gaps, *part.moments]
    for item in loose:
        item.connection = None if item.connection is None else new_of.get(item.connection)
    for sighting in (*part.advertised.values(), *part.unanswered.values(), *(each.place for each in part.attempts)):
        sighting.connection = new_of.get(sighting.connection, 0)
