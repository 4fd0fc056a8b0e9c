"""The rule book as two documents: what it judges, and which requirements of the wire it leaves alone, with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby

from iscsi_captures.catalogue import Requirement, requirements
from iscsi_captures.rules import RULES, Rule

RULES_FILE = "rules.md"
UNJUDGED_FILE = "rules-unjudged.md"

REASONS: Mapping[str, str] = {
    "omission": (
        "Broken only by something that does not come, with no time set for it. A capture ends, and what it does not show"
        " may have come later, or have been lost before the place of the capture."
    ),
    "history": (
        "It takes what the capture does not hold: other sessions, names and paths that the target has, what it is"
        " configured for, or what was so before."
    ),
    "inside": (
        "It is about what a side makes of what it hears. That shows, if at all, in the answer to a provocation: the"
        " conformance cases do that, an onlooker cannot."
    ),
    "ability": "A side has to be able to do it, which only who asks for it can tell.",
    "scsi": "It belongs to the SCSI layer, whose state and data this rule book does not follow.",
    "meaning": "It says what something means, or what is free to be done. No bytes break it by themselves.",
}
"""Why no rule judges a requirement, by the name that the list gives the reason."""


@dataclass(frozen=True, slots=True)
class Unjudged:
    """What no rule has as its clause. same: the rule that finds it under another clause; reasons: ids by reason."""

    same: Mapping[str, str]
    reasons: Mapping[str, list[str]]


def unjudged() -> Unjudged:
    """The list of those that no rule judges."""
    return Unjudged(**json.loads((files("iscsi_conformance") / "data" / "unjudged.json").read_text(encoding="utf-8")))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _area(rule: Rule) -> str:
    return rule.id.partition(".")[0]


def rules_document() -> str:
    """`docs/rules.md`."""
    count = len(RULES)
    lines = [
        "# The rules",
        "",
        f"The {count} rules by which dialogues and captures are judged. MUST and SHOULD are those of the requirement that a",
        "rule has as its clause; ADVICE is worth knowing and breaks nothing by itself. Who: whose PDUs are judged. For each",
        "rule `captures/corpus` has a capture that breaks it and one that only nearly does.",
        f"[{UNJUDGED_FILE}]({UNJUDGED_FILE})",
        "has what is visible on the wire and judged by none. This file is made by `python -m iscsi_conformance.corpus`.",
    ]
    for area, rows in groupby(sorted(RULES, key=_area), key=_area):
        lines += ["", f"## {area}", "", _row("rule", "clause", "level", "who", "what holds"), _row(*["---"] * 5)]
        lines += [_row(f"`{rule.id}`", rule.clause, rule.level, ", ".join(rule.roles), rule.says) for rule in rows]
    return "\n".join(lines) + "\n"


def unjudged_document() -> str:
    """`docs/rules-unjudged.md`."""
    listed, clauses = unjudged(), requirements()
    lines = [
        "# What no rule judges",
        "",
        "Requirements (MUST and SHOULD) that are visible on the wire at least in part, and that no rule has as its clause.",
        "[rules.md](rules.md) has the rules. This file is made by `python -m iscsi_conformance.corpus`.",
    ]
    for name, reason in REASONS.items():
        lines += ["", f"## {name}", "", reason, "", *_requirements(listed.reasons[name], clauses)]
    lines += ["", "## judged under another clause", "", _row("requirement", "rule", "what it asks"), _row(*["---"] * 3)]
    lines += [_row(each, f"`{rule}`", clauses[each].statement) for each, rule in listed.same.items()]
    return "\n".join(lines) + "\n"


def _requirements(ids: Iterable[str], clauses: Mapping[str, Requirement]) -> list[str]:
    rows = [clauses[each] for each in ids]
    return [
        _row("requirement", "level", "who", "what it asks"),
        _row(*["---"] * 4),
        *(_row(row.id, row.level, row.role, row.statement) for row in rows),
    ]
