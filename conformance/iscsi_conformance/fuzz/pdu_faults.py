"""Generated faults of single PDUs: every field that a target sends, at its boundaries and beside them; bits, lengths,
digests; and what becomes of a PDU on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from iscsi_protocol.fault import (
    Action,
    Close,
    Drop,
    Fault,
    Flip,
    Hold,
    Of,
    Part,
    Plus,
    Poke,
    Repeat,
    Replace,
    Reset,
    Segment,
    Set,
    SetKey,
    Silence,
    Split,
    Truncate,
    Value,
    When,
)
from iscsi_protocol.pdu.base import PDU_CLASSES
from iscsi_protocol.pdu.codes import NO_TAG
from iscsi_protocol.stream import Direction

DATA = (
    *(b"", b"\0", b"\0\0", b"\0\0\0\0", b"\0\x12" + bytes(18), b"\0\x13" + bytes(18), b"\0\x11" + bytes(18)),
    *(
        b"\xff\xff" + bytes(20),
        bytes(48),
        bytes(49),
        b"a=b\0",
        b"a=b",
        b"=b\0",
        b"a\0",
        b"\xff\xfe=\xfd\0",
        bytes(1025),
    ),
)
"""Data segments that mean something, or all but do, somewhere."""


def of_answer(dice: Random, answers: Sequence[int]) -> Fault:
    """One PDU of the target is not as it was sent. answers: the opcodes to choose from."""
    opcode = dice.choice(answers)
    return first_possible(dice, lambda: _fault(dice, Direction.TO_INITIATOR, opcode, _CHANGES))


def of_request(dice: Random, requests: Sequence[int]) -> Fault:
    """The target gets another PDU than the initiator sent, or none. requests: the opcodes to choose from."""
    opcode = dice.choice(requests)
    return first_possible(dice, lambda: _fault(dice, Direction.TO_TARGET, opcode, _REQUEST_CHANGES))


def first_possible(dice: Random, make: Callable[[], Fault]) -> Fault:
    """The first that is not refused for what it asks."""
    for _ in range(50):
        try:
            return make()
        except ValueError:
            continue
    return Fault(when=when(dice, Direction.TO_INITIATOR, None), what=(Drop(),))


def when(dice: Random, way: Direction, opcode: int | None) -> When:
    """One PDU of that kind, or some."""
    nth = dice.choices((1, 2, 3, 5), (20, 4, 2, 1))[0]
    times = dice.choices((1, 2, 0), (16, 2, 2))[0]
    return When(direction=way, opcode=opcode, nth=nth, times=times)


_Change = Callable[[Random], Sequence[Action]]


def _fault(dice: Random, way: Direction, opcode: int, changes: Sequence[tuple[int, _Change | None]]) -> Fault:
    change = dice.choices([each for _, each in changes], [weight for weight, _ in changes])[0]
    what = tuple(_field(dice, way, opcode) if change is None else change(dice))
    raw = dice.random() < 0.1
    renumber = what[0] == Drop() and dice.random() < 0.5
    return Fault(when=when(dice, way, opcode), what=what, raw=raw, renumber=renumber)


def _field(dice: Random, way: Direction, opcode: int) -> Sequence[Action]:
    """Another value of a field. What a target is told is nothing that would make it write elsewhere."""
    names = [*PDU_CLASSES[opcode].FIELDS]
    if way is Direction.TO_TARGET:
        names = [name for name in names if name not in ("cdb", "lun", "buffer_offset")]
    name = dice.choice(names)
    return (Set(name, value_of(dice, opcode, name)),)


def value_of(dice: Random, opcode: int, name: str) -> Value:
    """A value that the field can have: a boundary, one beside the value that it has, or any."""
    field = PDU_CLASSES[opcode].FIELDS[name]
    if field.kind is bool:
        return dice.random() < 0.5
    largest = (1 << 8 * field.at.size) - 1 if field.at.mask is None else field.mask
    choices: list[Value] = [0, 1, largest, largest - 1, largest >> 1, dice.randint(0, largest)]
    choices += [Plus(1), Plus(-1), Plus(2), Plus(dice.randint(-600, 600)), Plus(1)]
    if name.endswith("_sn"):
        choices += [Plus(1), Plus(-1), Plus(dice.choice((-(1 << 31) + 1, (1 << 31) - 1)))]
    if name in ("itt", "ttt"):
        choices += [NO_TAG, Of("unused_itt"), Of("closed_itt"), Of("open_itt")]
    if name in ("buffer_offset", "desired_data_transfer_length", "residual_count"):
        choices += [Plus(dice.choice((-512, 512, 4, -4, 1024))), 512, 2048, 65536]
    value = dice.choice(choices)
    if field.kind is bytes and isinstance(value, int):
        return value.to_bytes(field.at.size, "big")
    return value


def _opcode(dice: Random) -> Sequence[Action]:
    return (Set("opcode", dice.randrange(64)),)


def _length(dice: Random) -> Sequence[Action]:
    lengths = (0, 1, 3, 4, 47, 48, 511, 512, 513, 1024, 1025, 0xFFFFFF, dice.randrange(4096))
    if dice.random() < 0.2:
        return (Set("total_ahs_length", dice.choice((1, 2, 255))),)
    value = dice.choice((*lengths, Plus(1), Plus(-1), Plus(4)))
    return (Set("data_segment_length", value),)


def _data(dice: Random) -> Sequence[Action]:
    value = dice.choice((*DATA, dice.randbytes(dice.randrange(100)), bytes(dice.choice((512, 513, 1024, 4096)))))
    if dice.random() < 0.1:
        return (Replace(Part.AHS, bytes(4 * dice.choice((1, 2, 8)))),)
    return (Replace(Part.DATA, value),)


def _sense(dice: Random) -> Sequence[Action]:
    length = dice.choice((0, 8, 18, 19, 252, dice.randrange(300)))
    said = max(0, length + dice.choice((0, 0, 0, 1, -1, 2)))
    status = dice.choice((0, 2, 2, 4, 8, 0x18, 0x28, 0x30, 0x40, 0x99))
    data = said.to_bytes(2, "big") + bytes(length) + bytes(dice.choice((0, 0, 1, 3)))
    return (
        Set("status", status),
        Set("response", dice.choice((0, 0, 0, 1, 2, 0x7F, 0x80, 0xFF))),
        Replace(Part.DATA, data),
    )


def _text(dice: Random) -> Sequence[Action]:
    key = dice.choice(("TargetName", "TargetAddress", "MaxRecvDataSegmentLength", "MaxBurstLength", "X-a", "Nonsense"))
    value = dice.choice(
        (None, "", "0", "511", "512", "1024", "16777216", "Reject", "Irrelevant", "NotUnderstood", "x" * 300)
    )
    return (SetKey(key, value, again=dice.random() < 0.2),)


def _poke(dice: Random) -> Sequence[Action]:
    offset = dice.randrange(48)
    return (Poke(offset, dice.choice((b"\0", b"\xff", dice.randbytes(1), dice.randbytes(min(4, 48 - offset))))),)


def _flip(dice: Random) -> Sequence[Action]:
    part = dice.choices(list(Part), (6, 1, 3, 1, 3, 3))[0]
    return (
        Flip(part, dice.randrange(48) if part is Part.BHS else dice.choice((0, 1, 2, 3, -1)), 1 << dice.randrange(8)),
    )


def _way(dice: Random) -> Sequence[Action]:
    """What becomes of it on its way."""
    length = dice.choice((0, 1, 4, 47, 48, 49, 52, 100, 512))
    ways: tuple[Sequence[Action], ...] = (
        *((Drop(),), (Drop(),), (Repeat(dice.choice((1, 1, 2))),), (Hold(pdus=dice.choice((1, 1, 2, 3))),)),
        *((Hold(seconds=dice.choice((0.53, 5.07, 10.13, 28.9, 31.1, 97.3))),), (Silence(),), (Silence(),)),
        *((Close(),), (Reset(),), (Drop(), Close()), (Drop(), Reset())),
        *((Truncate(length), Close()), (Truncate(length), Reset()), (Truncate(length),)),
        *((Segment(dice.choice((1, 7, 48))),), (Split(dice.choice((1, 4, 100, 512))),)),
    )
    return dice.choice(ways)


def _request_way(dice: Random) -> Sequence[Action]:
    ways: tuple[Sequence[Action], ...] = (
        *(
            (Drop(),),
            (Drop(),),
            (Hold(pdus=dice.choice((1, 2))),),
            (Hold(seconds=dice.choice((0.51, 5.03, 31.3, 98.7))),),
        ),
        *((Silence(),), (Close(),), (Reset(),), (Drop(), Close()), (Drop(), Reset()), (Repeat(),)),
        *((Flip(Part.HEADER_DIGEST),), (Flip(Part.DATA_DIGEST),)),
    )
    return dice.choice(ways)


# None is another value of a field.
_CHANGES: tuple[tuple[int, _Change | None], ...] = (
    *((12, None), (2, _opcode), (3, _length), (4, _data), (2, _poke), (5, _flip), (10, _way)),
    *((1, _sense), (1, _text)),
)
_REQUEST_CHANGES: tuple[tuple[int, _Change | None], ...] = ((4, _request_way), (3, None), (1, _opcode))
