"""Every case passes on the clean bundled peer and fails, for the expected reason, on each of its faults."""

from __future__ import annotations

from importlib.resources import files

import msgspec
import pytest

from iscsi_conformance.case import Case, load_cases, validate
from iscsi_conformance.faults import all_faults
from iscsi_conformance.proof import PROOF_FILE, check_clause, check_clean, check_code, check_proof, provable

CASES = load_cases()
PAIRS = [(case, clause) for case in CASES.values() for clause in case.clauses]
CODES = [(case, code) for case in CASES.values() for code in case.proven_codes]
PROOFS = [(case, fault) for case in CASES.values() for fault in case.proofs]


def test_the_case_table_holds_together() -> None:
    validate(CASES.values(), all_faults())


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_clean_peer_passes(case: Case) -> None:
    check_clean(case)


@pytest.mark.parametrize(("case", "clause"), PAIRS, ids=[f"{case.id}-{clause}" for case, clause in PAIRS])
def test_fault_is_caught(case: Case, clause: str) -> None:
    check_clause(case, clause)


@pytest.mark.parametrize(("case", "code"), CODES, ids=[f"{case.id}-{code}" for case, code in CODES])
def test_another_code_is_caught(case: Case, code: str) -> None:
    check_code(case, code)


@pytest.mark.parametrize(("case", "fault"), PROOFS, ids=[f"{case.id}-{fault}" for case, fault in PROOFS])
def test_case_fails_with(case: Case, fault: str) -> None:
    check_proof(case, fault)


def test_shipped_list_is_what_the_cases_name() -> None:
    """The list that coverage is counted from; `python -m iscsi_conformance.prove --write` makes it."""
    listed = msgspec.json.decode(files("iscsi_conformance").joinpath(PROOF_FILE).read_bytes())
    assert listed == {case.id: provable(case) for case in CASES.values()}


def test_every_fault_proves_something() -> None:
    used = {
        fault
        for case in CASES.values()
        for fault in (*case.clauses.values(), *case.proven_codes.values(), *case.proofs)
    }
    assert sorted(all_faults().keys() - used) == []
