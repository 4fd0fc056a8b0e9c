"""Event 42: StatSN (RFC 7143 section 4.2.2.2)."""

from __future__ import annotations

import msgspec

from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.acts import ANSWERS, ping_often, test_twice
from iscsi_conformance.events.dumps import words
from iscsi_conformance.events.play import Play, perform, spoilable
from iscsi_conformance.stimulus import answer, request
from iscsi_conformance.verdict import require
from iscsi_protocol.fault import Drop, Plus, Repeat, Set
from iscsi_protocol.pdu import Opcode, SnackRequest

_RESPONSE = Opcode.SCSI_RESPONSE
_NUMBERED = ("scsi-response", "task-management-response", "text-response", "nop-in", "asynchronous-message", "reject")


def _given(play: Play) -> int:
    return int.from_bytes(play.culprit().bhs[24:28], "big")


def _off_by(amount: int) -> object:
    """Expected and given StatSN, where the given one is wrong by so much."""
    return lambda play: words((_given(play) - amount) & 0xFFFFFFFF, _given(play))


_WRONG = tuple(
    EventCase(
        event=42,
        name=f"{kind}-{name}",
        variation=variation,
        says=f"A {kind.replace('-', ' ')} whose StatSN is wrong ({name.replace('-', ' ')}) ends the connections.",
        spoils=(answer(ANSWERS[kind].opcode, Set("stat_sn", Plus(amount))), *ANSWERS[kind].spoils),
        does=ANSWERS[kind].act,
        logged=(42, 34),
        dumps={42: _off_by(amount)},  # type: ignore[dict-item]
        then=Then.RECOVERS,
        touches=("R7143-4.2.2.2-05",),
    )
    for kind in _NUMBERED
    for name, variation, amount in (("gap", "gap", 1), ("far-gap", "gap", 1000), ("step-back", "step-back", -1))
)

_REPEATED = (
    EventCase(
        event=42,
        name="repeat",
        says="The same response twice ends the connections.",
        spoils=(answer(_RESPONSE, Repeat()),),
        does=ANSWERS["scsi-response"].act,
        logged=(42, 34),
        dumps={42: lambda play: words((_given(play) + 1) & 0xFFFFFFFF, _given(play))},
    ),
)


def _asks(play: Play) -> None:
    require(play.sent(SnackRequest), play.name, "a SNACK asks for the status that is missing")


def _first_missing(play: Play) -> bytes:
    numbers = [int.from_bytes(raw.bhs[24:28], "big") for raw in play.received_raw() if raw.opcode == _RESPONSE]
    return words((numbers[0] - 1) & 0xFFFFFFFF, numbers[0])


_ASKED = (
    *(
        EventCase(
            event=42,
            name=f"gap-filled-level-{level}",
            variation="gap-filled",
            says=f"At recovery level {level} a status that was lost is asked for, and there is nothing to log.",
            spoils=(answer(_RESPONSE, Drop()),),
            level=level,
            does=test_twice,
            then=Then.DONE,
            watch=_asks,
            proofs=("event.42.takes-gap-for-step-back",),
        )
        for level in (1, 2)
    ),
    *(
        EventCase(
            event=42,
            name=f"snack-fails-level-{level}",
            variation="snack-fails",
            says=f"At recovery level {level} a gap that no SNACK fills ends the connections.",
            spoils=(answer(_RESPONSE, Drop()), request(Opcode.SNACK_REQUEST, Drop(), times=0)),
            level=level,
            does=test_twice,
            logged=(42, 34),
            dumps={42: _first_missing},
            then=Then.RECOVERS,
            virtual=True,
        )
        for level in (1, 2)
    ),
)

_WRAP = (
    EventCase(
        event=42,
        name="wrap",
        says="StatSN goes from 2^32 - 1 to 0, and there is nothing to log.",
        config=msgspec.structs.replace(spoilable(), first_stat_sn=0xFFFFFFFC),
        does=ping_often,
        then=Then.DONE,
        watch=lambda play: require(0 in _status_numbers(play), play.name, "StatSN wraps", seen=_status_numbers(play)),
        proofs=("event.42.does-not-wrap",),
    ),
)


def _status_numbers(play: Play) -> list[int]:
    return [int.from_bytes(raw.bhs[24:28], "big") for raw in play.received_raw()]


register(__name__, (*_WRONG, *_REPEATED, *_ASKED, *_WRAP), perform)
