"""What a case is: a short test function with a permanent id, the requirements it covers and the fault that proves each.

Cases register themselves when their module is imported; `validate` refuses what does not hold together, and the runner
refuses to start then.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from pkgutil import walk_packages
from typing import TypeVar

from iscsi_captures.catalogue import Level, requirements
from iscsi_conformance.feature import Feature
from iscsi_initiator.service.faults import other
from iscsi_initiator.status_codes import StatusCode
from iscsi_protocol.fault import NamedFault, Side

CaseFunction = Callable[..., Awaitable[None]]
F = TypeVar("F", bound=CaseFunction)

MUST = Level.MUST
SHOULD = Level.SHOULD
MAY = Level.MAY

_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)+")

RETIRED_IDS: frozenset[str] = frozenset()
"""Ids of cases that were given up; never used again."""


class Role(StrEnum):
    """Who is under test: of iSCSI a target or an initiator, of iSNS a server or a client; or the initiator's service."""

    TARGET = "target"
    INITIATOR = "initiator"
    SERVER = "server"
    CLIENT = "client"
    SERVICE = "service"


TARGET = Role.TARGET
INITIATOR = Role.INITIATOR
SERVER = Role.SERVER
CLIENT = Role.CLIENT
SERVICE = Role.SERVICE

ISCSI_ROLES = frozenset({TARGET, INITIATOR})
ISNS_ROLES = frozenset({SERVER, CLIENT})
BENCH_ROLES = ISNS_ROLES | {SERVICE}
"""Roles whose cases bring all that they need with them, and use no network: always the bundled product."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case. clauses: requirement id to the id of the fault that makes the case fail on it. proofs: further faults under
    which it has to fail, whatever it then says. about: the event that it provokes, or nearly, and in which variation.
    virtual: it waits for time-outs, and runs in memory on the virtual clock wherever the bundled pair does.
    excused: rules that its setting makes the product break, which count neither against the case nor against the product.
    codes: the status codes of the initiator's service that it is about; each counts as covered because another code in its
    place makes the case fail (`iscsi_initiator.service.faults.other`).
    """

    id: str
    title: str
    role: Role
    level: Level
    clauses: Mapping[str, str]
    touches: tuple[str, ...]
    needs: tuple[Feature, ...]
    destructive: bool
    events: tuple[str, ...]
    time_limit: float
    wire_only: bool
    function: CaseFunction = field(compare=False)
    proofs: tuple[str, ...] = ()
    about: tuple[str, str] | None = None
    virtual: bool = False
    excused: tuple[str, ...] = ()
    codes: tuple[StatusCode, ...] = ()

    @property
    def area(self) -> str:
        """The first part of the id."""
        return self.id.split(".", 1)[0]

    @property
    def subject(self) -> str:
        """What fails when the whole does: its first requirement, its first code, or the event that it is about."""
        about = self.about[:1] if self.about else self.events
        return next(iter((*self.requirements, *self.proven_codes, *about)), self.id)

    @property
    def requirements(self) -> tuple[str, ...]:
        """All requirement ids that the case has to do with, proven ones first."""
        return (*self.clauses, *self.touches)

    @property
    def proven_codes(self) -> dict[str, str]:
        """Each code, as results name it, with the fault that makes the case fail on it."""
        return {code_text(code): other(code) for code in self.codes}


class CaseError(ValueError):
    """A case that cannot stand. The message names the case and what is wrong with it."""


def code_text(code: int) -> str:
    """A status code as results name it: "0xEFFF0040"."""
    return f"0x{code:08X}"


CASES: dict[str, Case] = {}
"""Every registered case by id."""


def case(
    case_id: str,
    *,
    clauses: Mapping[str, str],
    role: Role,
    level: Level = Level.MUST,
    touches: Iterable[str] = (),
    needs: Iterable[Feature] = (),
    destructive: bool = False,
    events: Iterable[str] = (),
    time_limit: float = 20.0,
    proofs: Iterable[str] = (),
    about: tuple[str, str] | None = None,
    virtual: bool = False,
    excused: Iterable[str] = (),
    wire_only: bool = False,
    codes: Iterable[StatusCode] = (),
) -> Callable[[F], F]:
    """Register the decorated test function as a case.

    level MUST makes a failed expectation FAIL, SHOULD makes it WARN. touches: requirements that the case exercises
    without a fault of their own. destructive: the case writes to the logical unit. events: "iScsiPrt:22" and the like,
    logged by the bundled initiator. time_limit: seconds. wire_only: the case has its initiator do things by `Scene.perform`
    alone and looks at nothing but the history, so that any initiator can be judged by it. proofs, about, virtual, excused,
    codes: see `Case`. Raises CaseError.
    """

    def registered(function: F) -> F:
        title = (function.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " ")
        if not _ID.fullmatch(case_id) or case_id in RETIRED_IDS:
            raise CaseError(f"{case_id}: not a usable case id")
        if not title:
            raise CaseError(f"{case_id}: the docstring says what the case is about, and it is missing")
        if wire_only and role is not Role.INITIATOR:
            raise CaseError(f"{case_id}: wire_only is for cases that judge an initiator")
        if case_id in CASES and CASES[case_id].function.__qualname__ != function.__qualname__:
            raise CaseError(f"{case_id}: given twice")
        CASES[case_id] = Case(
            id=case_id,
            title=title,
            role=role,
            level=level,
            clauses=dict(clauses),
            touches=tuple(touches),
            needs=tuple(needs),
            destructive=destructive,
            events=tuple(events),
            time_limit=time_limit,
            wire_only=wire_only,
            function=function,
            proofs=tuple(proofs),
            about=about,
            virtual=virtual,
            excused=tuple(excused),
            codes=tuple(codes),
        )
        return function

    return registered


def load_cases() -> Mapping[str, Case]:
    """Import every case module and return all cases, by id, in the order of their ids."""
    package = import_module("iscsi_conformance.cases")
    for module in walk_packages(package.__path__, "iscsi_conformance.cases."):
        import_module(module.name)
    return dict(sorted(CASES.items()))


def validate(cases: Iterable[Case], faults: Mapping[str, NamedFault]) -> None:
    """Refuse unknown requirements and faults, and faults of the wrong side. Raises CaseError with every problem found.

    A fault of a target-role case is a target fault, that of an initiator-role case an initiator fault. Cases that are about
    codes or events of the guide need no requirement.
    """
    known = requirements()
    problems = []
    for item in cases:
        problems += [f"{item.id}: unknown requirement {clause}" for clause in item.requirements if clause not in known]
        for clause, fault_id in item.clauses.items():
            fault = faults.get(fault_id)
            if fault is None:
                problems.append(f"{item.id}: {clause} names the fault {fault_id}, which does not exist")
            elif fault.side is not Side(item.role.value):
                problems.append(f"{item.id}: {fault_id} is a fault of the {fault.side.value}")
            elif known.get(clause) and known[clause].role not in (item.role.value, "both"):
                problems.append(f"{item.id}: {clause} binds the {known[clause].role}")
        for fault_id in item.proofs:
            if fault_id not in faults:
                problems.append(f"{item.id}: is to fail with {fault_id}, which does not exist")
        if item.codes and item.role is not Role.SERVICE:
            problems.append(f"{item.id}: status codes are for cases about the service")
        for code, fault_id in item.proven_codes.items():
            if fault_id not in faults:
                problems.append(f"{item.id}: {code} is proven by {fault_id}, which does not exist")
        if not item.requirements and not item.codes and not item.proofs:
            problems.append(f"{item.id}: names no requirement")
    if problems:
        raise CaseError("\n".join(problems))
