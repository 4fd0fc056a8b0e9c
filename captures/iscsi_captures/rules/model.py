"""What a rule is: a row with its clause, who has to keep it, where it applies, and a check that words the violation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from iscsi_captures.dialogue import Phase, Side, Sight
from iscsi_protocol.pdu import Opcode

Level = Literal["MUST", "SHOULD", "ADVICE"]
Check = Callable[[Sight], str | None]


class Stain(IntEnum):
    """How far a violation reaches: on what the other side may not be judged any more, where that leans on it."""

    NOTHING = 0
    TASK = 1
    CONNECTION = 2
    SESSION = 3


INITIATOR_OPCODES = tuple(opcode for opcode in Opcode if opcode < 0x20)
TARGET_OPCODES = tuple(opcode for opcode in Opcode if opcode >= 0x20)
ALL_OPCODES = (*INITIATOR_OPCODES, *TARGET_OPCODES)
BOTH_PHASES = (Phase.LOGIN, Phase.FULL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    id: dotted and permanent.  clause: id of the requirement.  sides: whose PDUs are judged.  opcodes, phases: where.
    leans: the check supposes that the other side kept its rules, and is silent where it did not.
    from_start: the check supposes that the connection was seen from its start.
    foreign: filed for opcodes that belong to the other side.  damaged: for PDUs with a digest error, which no other row sees.
    says: the rule in a sentence.  check: the violation in a sentence, or None.
    """

    id: str
    clause: str
    level: Level
    sides: int
    opcodes: frozenset[int]
    phases: frozenset[Phase]
    leans: bool
    from_start: bool
    stain: Stain
    foreign: bool
    damaged: bool
    says: str
    check: Check

    @property
    def roles(self) -> tuple[str, ...]:
        """The role names that its findings can carry."""
        return tuple(name for side, name in ROLE_NAMES.items() if side & self.sides)


ROLE_NAMES = {Side.INITIATOR: "initiator", Side.TARGET: "target"}


class Rules(list[Rule]):
    """The rows of one area. Calling it with a row's facts gives the decorator for its check, whose docstring is `says`."""

    def __init__(self, phases: Iterable[Phase], *, from_start: bool = False) -> None:
        super().__init__()
        self._from_start = from_start
        self._phases = frozenset(phases)

    def __call__(
        self,
        rule_id: str,
        clause: str,
        *opcodes: int,
        sides: int | None = None,
        level: Level = "MUST",
        phases: Iterable[Phase] | None = None,
        leans: bool = True,
        from_start: bool = False,
        stain: Stain | None = None,
        foreign: bool = False,
        damaged: bool = False,
    ) -> Callable[[Check], Check]:
        """A row for the decorated check.

        Without `sides` they follow from the opcodes. Unless said, a MUST stains the connection, anything less nothing.
        """
        usual = Stain.CONNECTION if level == "MUST" else Stain.NOTHING
        derived = 0
        for opcode in opcodes:
            derived |= Side.TARGET if opcode >= 0x20 else Side.INITIATOR

        def file(check: Check) -> Check:
            self.append(
                Rule(
                    id=rule_id,
                    clause=clause,
                    level=level,
                    sides=derived if sides is None else sides,
                    opcodes=frozenset(opcodes),
                    phases=self._phases if phases is None else frozenset(phases),
                    leans=leans,
                    from_start=from_start or self._from_start,
                    stain=usual if stain is None else stain,
                    foreign=foreign,
                    damaged=damaged,
                    says=(check.__doc__ or "").strip(),
                    check=check,
                )
            )
            return check

        return file


def above_segment(sight: Sight) -> str | None:
    """Data above the receiver's MaxRecvDataSegmentLength (13.12)."""
    limits = sight.connection.limits
    if sight.side is Side.INITIATOR:
        receiver, limit = "target", limits.target_segment
    else:
        receiver, limit = "initiator", limits.initiator_segment
    return f"{sight.length} bytes of data, the {receiver} takes {limit}" if sight.length > limit else None
