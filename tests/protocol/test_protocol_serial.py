"""Serial number arithmetic against RFC 1982, with its own small examples scaled up to 32 bits."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iscsi_protocol import serial

TOP = 2**32 - 1
HALF = 2**31

NUMBERS = st.integers(0, TOP) | st.sampled_from([0, 1, HALF - 1, HALF, HALF + 1, TOP - 1, TOP])
STEPS = st.integers(0, HALF - 1) | st.sampled_from([0, 1, HALF - 1])


def rfc1982_less(s1: int, s2: int) -> bool:
    """Section 3.2, word for word."""
    return s1 != s2 and ((s1 < s2 and s2 - s1 < HALF) or (s1 > s2 and s1 - s2 > HALF))


@given(NUMBERS, NUMBERS)
@example(0, HALF)
@example(TOP, 0)
@example(HALF, 0)
@example(HALF - 1, TOP)
def test_order_is_that_of_the_rfc(a: int, b: int):
    assert serial.lt(a, b) == rfc1982_less(a, b)
    assert serial.gt(a, b) == rfc1982_less(b, a)
    assert serial.le(a, b) == (a == b or rfc1982_less(a, b))
    assert serial.ge(a, b) == (a == b or rfc1982_less(b, a))
    assert serial.comparable(a, b) == (a == b or rfc1982_less(a, b) or rfc1982_less(b, a))


@given(NUMBERS, STEPS)
def test_adding_goes_forward(sn: int, n: int):
    """Corollary 1, and that diff undoes add in both directions."""
    later = serial.add(sn, n)
    assert later == (sn + n) % 2**32
    assert serial.ge(later, sn)
    assert serial.gt(later, sn) == (n > 0)
    assert serial.diff(later, sn) == n
    assert serial.diff(sn, later) == -n
    assert serial.add(later, -n) == sn


@given(NUMBERS, NUMBERS)
def test_diff_is_a_signed_distance(a: int, b: int):
    distance = serial.diff(a, b)
    assert -HALF <= distance < HALF
    assert (b + distance) % 2**32 == a
    assert (distance == -HALF) == (not serial.comparable(a, b))


@pytest.mark.parametrize(
    ("sn", "n", "sum_"),
    [(TOP, 1, 0), (0, -1, TOP), (HALF - 1, 1, HALF), (TOP, HALF - 1, HALF - 2), (0, -(HALF - 1), HALF + 1)],
)
def test_wraps(sn: int, n: int, sum_: int):
    assert serial.add(sn, n) == sum_


def test_one_place_is_the_default_step():
    assert serial.add(TOP) == 0


@pytest.mark.parametrize("step", [HALF, -HALF, 2**32])
def test_undefined_step_is_refused(step: int):
    with pytest.raises(serial.SerialRangeError, match=rf"not by {step}$") as caught:
        serial.add(0, step)
    assert caught.value.step == step
    assert caught.value.clause == "R7143-4.2.2.1-10"


@given(NUMBERS, STEPS, STEPS)
@example(TOP - 1, 3, 1)
@example(0, HALF - 1, HALF - 1)
@example(5, 0, 0)
def test_range_holds_what_lies_between_its_ends(low: int, span: int, offset: int):
    high = serial.add(low, span)
    assert serial.in_range(serial.add(low, offset), low, high) == (offset <= span)
    assert serial.in_range(low, low, high)
    assert serial.in_range(high, low, high)
    if span < HALF - 1:
        assert not serial.in_range(serial.add(low, -1), low, high)
    assert serial.window(low, high) == span + 1


@given(NUMBERS, NUMBERS, st.integers(1, HALF))
def test_range_turned_round_is_empty(sn: int, low: int, back: int):
    """MaxCmdSN = ExpCmdSN - 1 is a closed window; ends 2^31 apart have no order, so nothing lies between."""
    high = (low - back) % 2**32
    assert not serial.in_range(sn, low, high)
    assert serial.window(low, high) == 0


@pytest.mark.parametrize(
    ("exp_cmd_sn", "max_cmd_sn", "size"),
    [
        (1, 0, 0),
        (0, TOP, 0),
        (0, 0, 1),
        (TOP, 0, 2),
        (0xFFFFFFF0, 0x0F, 32),
        (0, HALF - 2, HALF - 1),
        (0, HALF - 1, HALF),
    ],
)
def test_window_counts_both_ends(exp_cmd_sn: int, max_cmd_sn: int, size: int):
    assert serial.window(exp_cmd_sn, max_cmd_sn) == size
