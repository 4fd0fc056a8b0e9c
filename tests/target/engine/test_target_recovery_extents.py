"""Bytes that have come, and those that have not."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from iscsi_target.extents import cover, holes

spans = st.tuples(st.integers(0, 40), st.integers(0, 12)).map(lambda span: (span[0], span[0] + span[1]))


@given(parts=st.lists(spans, max_size=12), asked=spans)
def test_extents_are_a_set_of_bytes(parts, asked):
    extents: list[tuple[int, int]] = []
    model: set[int] = set()
    for start, end in parts:
        new = set(range(start, end)) - model
        assert cover(extents, start, end) == bool(new)
        model |= new
    assert extents == sorted(extents)
    assert {byte for start, end in extents for byte in range(start, end)} == model
    assert all(before[1] < after[0] for before, after in pairwise(extents))
    missing = holes(extents, *asked)
    assert {byte for start, end in missing for byte in range(start, end)} == set(range(*asked)) - model
    assert all(start < end for start, end in missing)
