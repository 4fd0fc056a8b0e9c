"""`python -m iscsi_conformance.prove`: run cases against the clean bundled peer and against each of their faults, in memory.

A line for each proof that holds or does not; `--write` leaves the list of what is proven in data/proof.json.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from iscsi_conformance.case import Case, load_cases, validate
from iscsi_conformance.faults import all_faults
from iscsi_conformance.proof import PROOF_FILE, NotProven, check_clause, check_clean, check_code, check_proof, provable


def prove(case: Case) -> tuple[list[str], list[str]]:
    """The requirements and status codes that are proven for a case, and what went wrong, a line each."""
    try:
        check_clean(case)
    except NotProven as error:
        return [], [str(error)]
    proven, problems = [], []
    for each in provable(case):
        try:
            (check_clause if each in case.clauses else check_code)(case, each)
        except NotProven as error:
            problems.append(str(error))
        else:
            proven.append(each)
    for fault_id in case.proofs:
        try:
            check_proof(case, fault_id)
        except NotProven as error:
            problems.append(str(error))
    return proven, problems


@click.command()
@click.option("-k", "text", default="", metavar="TEXT", help="Only cases whose id has this.")
@click.option("--write", is_flag=True, help="Write data/proof.json; without -k only.")
def main(text: str, write: bool) -> None:
    """Prove cases."""
    if write and text:
        raise click.UsageError("--write proves everything")
    cases = [case for case in load_cases().values() if text in case.id]
    validate(cases, all_faults())
    listed: dict[str, list[str]] = {}
    failed = 0
    for case in cases:
        proven, problems = prove(case)
        listed[case.id] = proven
        failed += bool(problems)
        click.echo(f"{case.id}: {len(proven)} of {len(provable(case))} proven")
        for problem in problems:
            click.echo(f"    {problem}")
    clauses = {each for proven in listed.values() for each in proven}
    codes = {code for case in cases for code in case.proven_codes}
    click.echo(
        f"{len(cases)} cases, {failed} with problems, {len(clauses - codes)} requirements and "
        f"{len(clauses & codes)} status codes proven"
    )
    if write:
        path = Path(__file__).parent / PROOF_FILE
        path.write_bytes(msgspec.json.format(msgspec.json.encode(listed), indent=1) + b"\n")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
