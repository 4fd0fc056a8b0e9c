"""Numbers of which some are missing, against a plain set of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator.holes import Holes, within

MASK = 0xFFFFFFFF
FIRSTS = st.sampled_from([0, 1, 7, MASK - 3, MASK, 0x7FFFFFFF])


def test_a_gap_and_its_end():
    holes = Holes(5)
    assert holes.closed
    assert holes.ahead(8)
    assert holes.reveal(8) == (5, 3)
    assert holes.take(8, 80) == []
    assert [holes.missing(number) for number in (4, 5, 6, 7, 8, 9)] == [False, True, True, True, False, False]
    assert holes.take(6, 60) == []
    assert holes.left((5, 3)) == (5, 3)
    assert holes.take(5, 50) == [50, 60]
    assert holes.left((5, 3)) == (7, 1)
    assert holes.take(7, 70) == [70, 80]
    assert holes.closed
    assert (holes.first, holes.left((5, 3))) == (9, None)


def test_withheld_is_not_missing_and_does_not_count():
    holes = Holes(5)
    holes.take(5)
    holes.take(6)
    holes.withhold(5)
    assert (holes.first, holes.closed, holes.missing(5), holes.withheld(5)) == (5, False, False, True)
    assert holes.left((5, 1)) is None
    holes.take(7)
    assert holes.first == 5
    assert holes.take(5) == [0, 0, 0]
    assert holes.closed


def test_a_jump_of_half_the_numbers_costs_nothing():
    holes = Holes(0)
    assert holes.reveal(0x7FFFFFFF) == (0, 0x7FFFFFFF)
    holes.take(0x7FFFFFFF)
    assert holes.left((0, 0x7FFFFFFF)) == (0, 0x7FFFFFFF)


@pytest.mark.parametrize(("number", "inside"), [(MASK, True), (0, True), (1, False), (MASK - 1, False)])
def test_runs_wrap(number, inside):
    assert within(number, (MASK, 2)) is inside


@given(FIRSTS, st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=40))
def test_like_a_set(first, steps):
    holes, came, top, withheld = Holes(first), set(), 0, set()
    for offset, keep in steps:
        number = (first + offset) & MASK
        if holes.ahead(number) != (offset >= top):
            raise AssertionError(offset)
        if offset >= top:
            holes.reveal(number)
            top = offset + 1
        elif offset in came and offset not in withheld:
            assert not holes.missing(number)
            continue
        holes.take(number)
        came.add(offset)
        withheld.discard(offset)
        if keep:
            holes.withhold(number)
            withheld.add(offset)
        counted = next(place for place in range(top + 1) if place not in came or place in withheld)
        assert (holes.first - first) & MASK == counted
        assert [holes.missing((first + place) & MASK) for place in range(top)] == [p not in came for p in range(top)]
        assert holes.closed is (counted == top)
