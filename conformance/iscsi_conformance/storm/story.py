"""What happened in one session, in order, and whether what was injected explains what was logged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from iscsi_captures.rulebook import PredictedEvent
from iscsi_conformance.oracle import JUDGED
from iscsi_conformance.storm.kinds import Kind
from iscsi_initiator.requests import EventLogged
from iscsi_protocol.history import Endpoint

RETURNED = 34
"""Follows any loss."""

HERE = frozenset({10, *range(20, 27), 28, 29, 32, 42, 60})
"""Events of the connection on which something struck; the others may be another one's."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault changed something. initiator: that end of the connection."""

    initiator: Endpoint
    kind: Kind


@dataclass(slots=True)
class Story:
    """happened: strikes and events as they came; ends: connection number of the history to its initiator's end."""

    happened: list[Strike | EventLogged] = field(default_factory=list)
    ends: dict[int, Endpoint] = field(default_factory=dict)

    @property
    def strikes(self) -> Counter[str]:
        """How often each kind struck."""
        return Counter(each.kind.name for each in self.happened if isinstance(each, Strike))

    @property
    def logged(self) -> list[EventLogged]:
        """The events."""
        return [each for each in self.happened if isinstance(each, EventLogged)]

    def unexplained(self, predicted: Sequence[PredictedEvent]) -> list[str]:
        """The events that nothing which struck before accounts for, in words. predicted: the same events, with their
        connections.
        """
        places = iter(event for event in predicted if event.id in JUDGED)
        everywhere: set[int] = set()
        here: dict[Endpoint, set[int]] = {}
        found = []
        for each in self.happened:
            if isinstance(each, Strike):
                everywhere |= each.kind.events
                here.setdefault(each.initiator, set()).update(each.kind.events)
                continue
            place = next(places, None) if each.id in JUDGED else None
            end = None if place is None else self.ends.get(place.connection)
            if each.id in HERE and end is not None:
                if each.id not in here.get(end, ()):
                    found.append(f"{each.id} on {end}, where {_told(self.happened, end)}")
            elif each.id == RETURNED:
                if not everywhere:
                    found.append(f"{each.id} without a loss")
            elif each.id not in everywhere:
                found.append(f"{each.id} ({each.text})")
        return found


def _told(happened: Sequence[Strike | EventLogged], end: Endpoint) -> str:
    struck = [each.kind.name for each in happened if isinstance(each, Strike) and each.initiator == end]
    return f"there was {', '.join(struck)}" if struck else "nothing struck"
