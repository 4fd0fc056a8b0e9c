"""Predicted events held against logged ones: what the rule book reads from the history is what the initiator has to log."""

from __future__ import annotations

from collections.abc import Iterable

from iscsi_captures.rulebook import PredictedEvent
from iscsi_initiator.requests import EventLogged

JUDGED = frozenset({1, 3, 4, *range(8, 30), *range(32, 35), *range(38, 52), *range(59, 64)})
"""Events that the history, with the declared settings, decides. The others are the host's."""


def disagreement(predicted: Iterable[PredictedEvent], logged: Iterable[EventLogged]) -> str:
    """How the two differ in ids, order or extra data, at the first place where they do; empty where they agree.

    Events that the history does not decide are left out.
    """
    due = [(event.id, event.dump) for event in predicted if event.id in JUDGED]
    seen = [(event.id, bytes(event.extra)) for event in logged if event.id in JUDGED]
    if due == seen:
        return ""
    place = next((at for at, (one, other) in enumerate(zip(due, seen, strict=False)) if one != other), None)
    if place is None:
        place = min(len(due), len(seen))
    wanted, found = _shown(due[place:]), _shown(seen[place:])
    return f"event {place + 1}: {wanted} predicted, {found} logged; {_ids(due)} against {_ids(seen)}"


def _shown(events: list[tuple[int, bytes]]) -> str:
    return f"{events[0][0]} [{events[0][1].hex()}]" if events else "nothing more"


def _ids(events: list[tuple[int, bytes]]) -> str:
    return " ".join(str(event) for event, _ in events) or "nothing"
