"""`python -m iscsi_conformance.events.index`: which cases reproduce which event, for those who may not import the cases.

The index stands in `iscsi_captures.explain`, whose command names the cases. A test holds the file against what is made here.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click
import msgspec

from iscsi_captures.explain.cases import CASES_FILE, EventCases, VariationCases
from iscsi_conformance.case import load_cases
from iscsi_conformance.events.catalogue import events, name_of


def index() -> dict[int, EventCases]:
    """Each event with its variations, and the cases that are about each; near misses, which must not log it, are left out."""
    cases: dict[tuple[str, str], list[str]] = {}
    for case in load_cases().values():
        if case.about is not None and case.about[0] in case.events:
            cases.setdefault(case.about, []).append(case.id)
    return {
        row.id: EventCases(
            dump_source=row.dump_source,
            then=row.then,
            variations=tuple(
                VariationCases(id=each.id, says=each.says, cases=tuple(cases.get((name_of(row.id), each.id), ())))
                for each in row.variations
                if not each.near_miss
            ),
        )
        for row in events().values()
    }


def text() -> bytes:
    """What stands in the file."""
    return msgspec.json.format(msgspec.json.encode(index()), indent=1) + b"\n"


def index_path() -> Path:
    """Where the file is."""
    return Path(str(files("iscsi_captures.explain").joinpath(CASES_FILE)))


@click.command()
def main() -> None:
    """Write the index."""
    path = index_path()
    path.write_bytes(text())
    click.echo(f"{path.name}: {sum(len(each.cases) for row in index().values() for each in row.variations)} cases")


if __name__ == "__main__":
    main()
