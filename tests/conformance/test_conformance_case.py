"""The table of cases and the catalogue: what registers, what is refused, what holds together."""

from __future__ import annotations

import re

import pytest

from iscsi_captures.catalogue import Level, UnknownRequirement, requirement, requirements
from iscsi_conformance import case as cases_module
from iscsi_conformance.case import (
    CASES,
    INITIATOR,
    MUST,
    TARGET,
    Case,
    CaseError,
    Role,
    case,
    load_cases,
    validate,
)
from iscsi_conformance.feature import Feature
from iscsi_initiator.faults import all_faults as initiator_faults
from iscsi_protocol.fault import Drop, Fault, NamedFault, Side, When
from iscsi_protocol.stream import Direction
from iscsi_target.faults import all_faults as target_faults

CLAUSE = next(row.id for row in requirements().values() if row.role == "target")
OTHER = next(row.id for row in requirements().values() if row.role == "initiator")
BOTH = next(row.id for row in requirements().values() if row.role == "both")


@pytest.fixture(autouse=True)
def own_table(monkeypatch):
    """Cases registered here stay here."""
    table: dict[str, Case] = {}
    monkeypatch.setattr(cases_module, "CASES", table)
    return table


async def ping_case(peer):
    """A peer is
    a peer.

    More is said here.
    """


async def bare(peer):
    pass


bare.__doc__ = None


def named(fault_id, side=Side.TARGET):
    """A fault with this id."""
    fault = Fault(when=When(direction=Direction.TO_INITIATOR), what=(Drop(),))
    return NamedFault(id=fault_id, side=side, says="does it", faults=(fault,))


def registered(own_table, **options):
    """Register the function with these options and return its case."""
    values = {"clauses": {CLAUSE: "nop.broken"}, "role": TARGET, **options}
    assert case("nop.echoes", **values)(ping_case) is ping_case
    return own_table["nop.echoes"]


def test_case_is_registered_as_declared(own_table):
    """Title from the docstring's first paragraph; area, requirements and defaults as documented."""
    made = registered(own_table, touches=[BOTH], needs=[Feature.CHAP], events=["iScsiPrt:22"])

    assert made.title == "A peer is a peer."
    assert (made.area, made.role, made.level, made.destructive) == ("nop", Role.TARGET, Level.MUST, False)
    assert made.requirements == (CLAUSE, BOTH)
    assert made.needs == (Feature.CHAP,)
    assert made.events == ("iScsiPrt:22",)
    assert made.function is ping_case


@pytest.mark.parametrize("case_id", ["nop", "Nop.echoes", "nop.", ".nop", "nop.echo_es", "nop.echo es", "nop..x", ""])
def test_unusable_ids_are_refused(case_id):
    """An id is dotted lower-case slugs."""
    with pytest.raises(CaseError, match="not a usable case id"):
        case(case_id, clauses={}, role=TARGET)(ping_case)


def test_retired_id_is_refused(monkeypatch):
    """An id that was given up is never used again."""
    monkeypatch.setattr(cases_module, "RETIRED_IDS", frozenset({"nop.old"}))
    with pytest.raises(CaseError, match="not a usable case id"):
        case("nop.old", clauses={}, role=TARGET)(ping_case)


def test_case_without_a_sentence_is_refused():
    """The docstring says what the case is about."""
    with pytest.raises(CaseError, match="docstring"):
        case("nop.bare", clauses={}, role=TARGET)(bare)


def test_id_given_twice_is_refused(own_table):
    """Another function cannot take an id; the same one may be imported again."""
    registered(own_table)
    registered(own_table)

    async def other(peer):
        """Another."""

    with pytest.raises(CaseError, match="given twice"):
        case("nop.echoes", clauses={}, role=TARGET)(other)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"clauses": {"R0000-1-01": "nop.broken"}}, "unknown requirement R0000-1-01"),
        ({"touches": ["R0000-1-02"]}, "unknown requirement R0000-1-02"),
        ({"clauses": {CLAUSE: "nop.none"}}, "names the fault nop.none, which does not exist"),
        ({"clauses": {CLAUSE: "initiator.broken"}}, "initiator.broken is a fault of the initiator"),
        ({"clauses": {OTHER: "nop.broken"}}, f"{OTHER} binds the initiator"),
        ({"clauses": {}}, "names no requirement"),
    ],
)
def test_validation_names_each_problem(own_table, options, says):
    """A case that does not hold together is refused by its id, with what is wrong."""
    made = registered(own_table, **options)
    faults = {"nop.broken": named("nop.broken"), "initiator.broken": named("initiator.broken", Side.INITIATOR)}
    with pytest.raises(CaseError, match=f"^nop.echoes: .*{re.escape(says)}"):
        validate([made], faults)


def test_validation_tells_all_problems_at_once(own_table):
    """One line each."""
    made = registered(own_table, clauses={"R0000-1-01": "nop.none"}, touches=["R0000-1-02"])
    with pytest.raises(CaseError) as caught:
        validate([made, made], {})

    assert len(str(caught.value).splitlines()) == 6


def test_clauses_of_both_roles_are_anyones(own_table):
    """What binds both sides may be proven on either."""
    validate([registered(own_table, clauses={BOTH: "nop.broken"})], {"nop.broken": named("nop.broken")})


def test_shipped_cases_hold_together(monkeypatch):
    """Every case of the suite passes its own validation, in the order of the ids."""
    monkeypatch.setattr(cases_module, "CASES", CASES)
    shipped = load_cases()

    assert list(shipped) == sorted(shipped)
    assert all(isinstance(each, Case) for each in shipped.values())
    assert {each.role for each in shipped.values()} <= {TARGET, INITIATOR}
    assert all(each.time_limit > 0 for each in shipped.values())
    validate(shipped.values(), {**target_faults(), **initiator_faults()})


def test_catalogue_is_whole():
    """Unique ids that name source and section; levels, roles and testability from their closed sets."""
    rows = requirements()

    assert len(rows) > 1000
    for row in rows.values():
        source, section, _number = row.id.split("-")
        assert source == row.source.replace("RFC ", "R")
        assert section == row.section
        assert row.role in ("target", "initiator", "both")
        assert row.testable in ("yes", "partial", "no")
        assert row.statement.endswith(".")
        assert row.how


def test_requirement_by_its_id():
    """A known id gives its row, an unknown one a clear error."""
    assert requirement(CLAUSE).id == CLAUSE
    with pytest.raises(UnknownRequirement, match="no requirement has the id 'R0000-1-01'"):
        requirement("R0000-1-01")


def test_levels_are_ordered_as_names():
    """The names of the levels are the words of the standard."""
    assert [level.value for level in Level] == ["MUST", "SHOULD", "MAY"]
    assert MUST is Level.MUST
