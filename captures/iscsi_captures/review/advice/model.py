"""What a piece of advice is: a row with what it says, what it means, its thresholds, and a check over the facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from iscsi_captures.review.facts import Attempt, ConnectionFacts, Sighting
from iscsi_captures.review.model import Role
from iscsi_captures.review.thresholds import Threshold
from iscsi_protocol.history import Endpoint


@dataclass(slots=True)
class Whole:
    """The facts of a whole capture."""

    connections: list[ConnectionFacts] = field(default_factory=list)
    advertised: dict[Endpoint, Sighting] = field(default_factory=dict)
    unanswered: dict[Endpoint, Sighting] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    paused: Sighting | None = None


Told = tuple[Sighting, str]
Check = Callable[[Whole], Iterable[Told]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One row. id: permanent. clause: id of a requirement that it leans on, or "-". role: whom it is for.

    says: in a sentence. meaning: what it comes to, and what helps. check: where it applies, and the words for it.
    """

    id: str
    clause: str
    role: Role
    says: str
    meaning: str
    thresholds: tuple[Threshold, ...]
    check: Check


class Table(list[Advice]):
    """The rows. Calling it with a row's facts gives the decorator for its check, whose docstring is `says`."""

    def __call__(
        self, advice_id: str, role: Role, meaning: str, *thresholds: Threshold, clause: str = "-"
    ) -> Callable[[Check], Check]:
        """A row for the decorated check."""

        def file(check: Check) -> Check:
            self.append(
                Advice(
                    id=f"advice.{advice_id}",
                    clause=clause,
                    role=role,
                    says=(check.__doc__ or "").strip(),
                    meaning=meaning,
                    thresholds=thresholds,
                    check=check,
                )
            )
            return check

        return file
