"""The rows of the rule book, filed by who sends which opcode in which phase."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType

from iscsi_captures.dialogue import Phase, Side
from iscsi_captures.rules import (
    aborts,
    chap,
    command,
    connections,
    data_in,
    data_out,
    extensions,
    framing,
    keys,
    login,
    notices,
    numbering,
    r2t,
    reactions,
    reassign,
    rejects,
    resent,
    reservations,
    residuals,
    response,
    snack,
    text,
)
from iscsi_captures.rules.hot import FAST, is_plain
from iscsi_captures.rules.model import Rule

RULES: tuple[Rule, ...] = tuple(
    rule
    for area in (
        framing,
        login,
        keys,
        extensions,
        chap,
        reactions,
        connections,
        numbering,
        command,
        data_in,
        data_out,
        r2t,
        response,
        residuals,
        reservations,
        text,
        notices,
        rejects,
        aborts,
        snack,
        resent,
        reassign,
    )
    for rule in area.RULES
)


Rows = tuple[Rule, ...]
Key = tuple[Side, int, Phase]


def _file() -> dict[Key, tuple[Rows, Rows]]:
    table: dict[Key, tuple[list[Rule], list[Rule]]] = defaultdict(lambda: ([], []))
    for rule in RULES:
        for opcode in rule.opcodes:
            natural = Side.TARGET if opcode >= 0x20 else Side.INITIATOR
            side = Side(3 & ~natural) if rule.foreign else natural
            if side & rule.sides:
                for phase in rule.phases:
                    table[side, opcode, phase][rule.damaged].append(rule)
    return {key: (tuple(intact), tuple(damaged)) for key, (intact, damaged) in table.items()}


TABLE: Mapping[Key, tuple[Rows, Rows]] = MappingProxyType(_file())
"""What is checked for a PDU, by its sender, its opcode and the phase of its connection: where it is intact, and where not."""

__all__ = ["FAST", "RULES", "TABLE", "Rule", "is_plain"]
