"""The rows of event cases, and how they become cases.

A row says how the target misbehaves, what the initiator is asked to do meanwhile, the whole sequence of events that it has
to log with their extra data, and what it does next. Of each row four faults of the initiator make a proof: it keeps the
event to itself, logs it twice, logs it with other data, or does not react to it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from iscsi_conformance.case import INITIATOR, case
from iscsi_conformance.events.catalogue import name_of
from iscsi_conformance.service_peer import Reaction
from iscsi_initiator.upcalls import UpCallKind
from iscsi_protocol.chap import Hasher
from iscsi_protocol.fault import Fault
from iscsi_target.config import TargetConfig

if TYPE_CHECKING:
    from iscsi_conformance.events.play import Act, DumpOf, Watch


class Then(Enum):
    """What the initiator does behind the event."""

    RECOVERS = "it comes back, and the session works on"
    GOES_ON = "nothing ends: the same connection works on"
    FAILS_REQUEST = "the request fails, and the session works on"
    DONE = "the request is done, and the connection stays"
    FAILS_AND_RECOVERS = "the request fails, and the session comes back"
    GIVES_UP = "the login comes to nothing, and the initiator closes the connection"
    CLOSED_BEFORE = "the login comes to nothing, and the connection is gone already"
    REFUSED = "nothing goes out: the request or the session fails at once"
    OVER = "the session is over"


_SHORT, _LONG = 20.0, 500.0
"""Seconds that a case may take, on a real clock and on the virtual one."""

PROOFS = ("silent", "twice", "wrong-dump", "does-not-react")
"""What each event's own faults of the initiator are called behind its number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EventCase:
    """One case.

    event: what it is about; name: last part of its id; variation: of the catalogue, the name where empty; says: a sentence.
    spoils: what the target does wrong on the first connections, `spoilt` of them (0: on all of them until the end).
    config: of the target; level: ErrorRecoveryLevel of both; connections: of the session, of which `joining` come up
    at first, all of them where it is None.
    switches: of the initiator's policy, which an operator may set. settings, options: what differs from `play.SETTINGS` and
    from plain `SessionOptions`.
    service: what becomes of the driver's up-calls, None where there is no service. hasher: of the initiator's host.
    does: what is asked of the initiator once it is logged in, or instead of that where `before` is given.
    logged: ids in order, () for a near miss. dumps: id to what its extra data has to be, where `dumps` has no rule for it.
    then: see there. watch: further requirements on what was seen.
    proofs: faults of the initiator under which the case has to fail, None for the event's own four; a near miss names
    its own.
    touches: requirements that it has to do with; clauses: those that a fault proves. virtual: on the virtual clock alone.
    excused: rules that its setting makes the initiator break.
    """

    event: int
    name: str
    says: str
    variation: str = ""
    spoils: tuple[Fault, ...] = ()
    spoilt: int = 1
    config: TargetConfig | None = None
    level: int = 0
    connections: int = 1
    joining: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    service: Mapping[UpCallKind, Reaction | float] | None = None
    hasher: Hasher | None = None
    switches: Mapping[str, object] = field(default_factory=dict)
    before: Act | None = None
    does: Act | None = None
    logged: tuple[int, ...] = ()
    dumps: Mapping[int, DumpOf] = field(default_factory=dict)
    then: Then = Then.RECOVERS
    watch: Watch | None = None
    proofs: tuple[str, ...] | None = None
    clauses: Mapping[str, str] = field(default_factory=dict)
    touches: tuple[str, ...] = ()
    virtual: bool = False
    excused: tuple[str, ...] = ()

    @property
    def case_id(self) -> str:
        """Permanent."""
        return f"event.{self.event}.{self.name}"

    @property
    def faults(self) -> tuple[str, ...]:
        """The initiator's faults that prove the case."""
        if self.proofs is not None:
            return self.proofs
        return tuple(f"event.{self.event}.{kind}" for kind in PROOFS)


def register(module: str, rows: Iterable[EventCase], perform: Callable[[Any, EventCase], Any]) -> None:
    """Make a case of each row, as functions of this module, where the runner looks for them. Raises CaseError."""
    home = sys.modules[module]
    for row in rows:
        function = _function(row, perform)
        function.__module__ = module
        case(
            row.case_id,
            clauses=row.clauses,
            touches=row.touches,
            role=INITIATOR,
            events=[name_of(event) for event in row.logged],
            proofs=row.faults,
            about=(name_of(row.event), row.variation or row.name),
            time_limit=_LONG if row.virtual else _SHORT,
            virtual=row.virtual,
            excused=row.excused,
        )(function)
        setattr(home, function.__name__, function)


def _function(row: EventCase, perform: Callable[[Any, EventCase], Any]) -> Callable[..., Any]:
    async def run(scene: Any) -> None:
        await perform(scene, row)

    run.__doc__ = row.says
    run.__name__ = run.__qualname__ = row.case_id.replace(".", "_").replace("-", "_")
    return run
