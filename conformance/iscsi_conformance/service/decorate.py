"""How cases about the service are declared: by the code or the event that they are about, whose faults prove them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from iscsi_conformance.case import SERVICE, CaseFunction, case
from iscsi_initiator.service.faults import event_faults, slug, stays
from iscsi_initiator.status_codes import StatusCode
from iscsi_protocol.eventlog import SERVICE_EVENTS, SERVICE_SOURCE, SOURCE

F = TypeVar("F", bound=CaseFunction)
PATIENCE = 600.0
"""Seconds of virtual time that a case may take: some wait for the end of a login or of the whole start."""


def status_case(
    code: StatusCode, variant: str = "", *, near: bool = True, events: Iterable[int] = ()
) -> Callable[[F], F]:
    """A case about a status code: it fails where another code is told.

    variant: names a further situation of the code; near: the case ends with an operation of the same kind that is not
    answered so, and fails where the code stays. events: of the service, that the situation logs.
    """
    return case(
        f"status.{slug(code)}" + (f".{variant}" if variant else ""),
        clauses={},
        role=SERVICE,
        codes=[code],
        events=[name_of(event) for event in events],
        proofs=[*([stays(code)] if near else []), *(fault for event in events for fault in event_faults(event))],
        time_limit=PATIENCE,
        virtual=True,
    )


def event_case(event: int, name: str, *, variation: str | None = None) -> Callable[[F], F]:
    """A case about an event: it fails where the event is kept back, logged twice or with other strings.

    variation: in the catalogue of the driver's events.
    """
    return case(
        f"event.{event}.{name}",
        clauses={},
        role=SERVICE,
        events=[name_of(event)],
        proofs=event_faults(event),
        about=None if variation is None else (name_of(event), variation),
        time_limit=PATIENCE,
        virtual=True,
    )


def name_of(event: int) -> str:
    """How results name an event: "MSiSCSI:116"."""
    return f"{SERVICE_SOURCE if event in SERVICE_EVENTS else SOURCE}:{event}"


def of_row(function: Callable[..., Any], name: str, says: str, *row: Any) -> CaseFunction:
    """A case function that does the same for a row of a table."""

    async def run(service: Any) -> None:
        await function(service, *row)

    run.__doc__ = says
    run.__name__ = run.__qualname__ = name.replace("-", "_").replace(".", "_")
    return run


def rows(module: str, made: Iterable[tuple[Callable[[CaseFunction], CaseFunction], CaseFunction]]) -> None:
    """Register cases of a table as functions of this module, where the runner looks for them."""
    home = sys.modules[module]
    for declare, function in made:
        function.__module__ = module
        setattr(home, function.__name__, declare(function))
