"""Declared layouts: every structure survives building and parsing, and a declaration that cannot stand is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.scsi import (
    capacity,
    defects,
    diagnostic,
    inquiry,
    log,
    maintenance,
    mode,
    mode_pages,
    provisioning,
    sanitize,
    supported,
    vpd,
)
from iscsi_protocol.scsi.fields import At, FieldValueError, LayoutError, Structure, places_of

MODULES = (
    capacity,
    defects,
    diagnostic,
    inquiry,
    log,
    maintenance,
    mode,
    mode_pages,
    provisioning,
    sanitize,
    supported,
    vpd,
)
BASES = (Structure, vpd.VpdStructure, mode.ModePage, mode_pages.ModeSubpage)
STRUCTURES: list[type[Structure]] = [
    each
    for module in MODULES
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, Structure) and each not in BASES
]


def values(cls: type[Structure]) -> st.SearchStrategy[dict[str, Any]]:
    kinds: dict[str, st.SearchStrategy[Any]] = {}
    for name, (at, kind) in places_of(cls).items():
        if kind is bool:
            kinds[name] = st.booleans()
        elif kind is str:
            text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=at.size)
            kinds[name] = text.map(lambda value: value.rstrip(" "))
        elif kind is bytes:
            kinds[name] = st.binary(min_size=at.size, max_size=at.size)
        else:
            kinds[name] = st.integers(0, at.maximum)
    return st.fixed_dictionaries(kinds)


def test_all_structures_are_tried() -> None:
    # inquiry 1, VPD pages 6, mode headers, block descriptors and pages 12, capacity 2, provisioning 2, supported 3,
    # defects 2, diagnostic 2, log 2, maintenance 2, sanitize 1
    assert len(STRUCTURES) == len(set(STRUCTURES)) == 35


@pytest.mark.parametrize("cls", STRUCTURES, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_what_is_built_is_read_back_at_any_offset(cls: type[Structure], data: st.DataObject) -> None:
    made = cls(**data.draw(values(cls)))
    before = data.draw(st.binary(max_size=4))
    raw = made.build()
    assert len(raw) == cls.LENGTH
    assert cls.parse(memoryview(before + raw), len(before)) == made


@pytest.mark.parametrize("cls", STRUCTURES, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_arbitrary_bytes_are_read_and_written_back_but_for_reserved_bits(
    cls: type[Structure], data: st.DataObject
) -> None:
    raw = data.draw(st.binary(min_size=cls.LENGTH, max_size=cls.LENGTH))
    # text is padded with spaces, so it does not come back to the bit
    texts = {i for at, kind in places_of(cls).values() if kind is str for i in range(at.offset, at.offset + at.size)}
    rebuilt = Structure.build(cls.parse(raw))
    for i, mask in enumerate(cls.claimed()):
        if i not in texts:
            assert rebuilt[i] == raw[i] & mask


@pytest.mark.parametrize("cls", STRUCTURES, ids=lambda cls: cls.__name__)
def test_what_is_cut_off_reads_as_zero(cls: type[Structure]) -> None:
    empty = cls.parse(b"")
    assert all(not any(value) if isinstance(value, bytes) else not value for value in as_dict(empty).values())
    raw = bytes(range(1, cls.LENGTH + 1))
    for cut in range(cls.LENGTH):
        assert cls.parse(raw[:cut]) == cls.parse(raw[:cut].ljust(cls.LENGTH, b"\0"))


def as_dict(made: Structure) -> dict[str, Any]:
    return {name: getattr(made, name) for name in places_of(type(made))}


def test_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(FieldValueError, match="last_lba takes 0 to 0xffffffff, got 0x100000000"):
        capacity.ReadCapacity10(last_lba=1 << 32, block_length=512).build()
    with pytest.raises(FieldValueError, match="vendor takes at most 8 bytes, got 9"):
        inquiry.StandardInquiry(vendor="123456789").build()
    with pytest.raises(FieldValueError, match="versions takes at most 16 bytes"):
        inquiry.StandardInquiry(versions=bytes(17)).build()


def test_a_place_has_a_mask_a_shift_and_a_maximum() -> None:
    assert (At(4, 2).mask, At(4, 2).shift, At(4, 2).maximum) == (0xFFFF, 0, 0xFFFF)
    assert (At(1, 1, 0x30).shift, At(1, 1, 0x30).maximum) == (4, 3)
    buffer = bytearray(b"\xff\xff")
    At(1, 1, 0x30).put(buffer, 2)
    assert buffer.hex() == "ffef"
    assert At(0, 1, 0x30).get(buffer, 1) == 2


def test_declarations_that_cannot_stand_are_refused() -> None:
    @dataclass(frozen=True, kw_only=True, slots=True)
    class Overlapping(Structure):
        LENGTH: ClassVar[int] = 2
        one: Annotated[int, At(0, 2)] = 0
        two: Annotated[bool, At(1, 1, 0x01)] = False

    @dataclass(frozen=True, kw_only=True, slots=True)
    class Placeless(Structure):
        LENGTH: ClassVar[int] = 2
        one: int = 0

    with pytest.raises(LayoutError, match="Overlapping: two overlaps"):
        Overlapping().build()
    with pytest.raises(LayoutError, match="Placeless: one has no place"):
        Placeless.parse(b"")
