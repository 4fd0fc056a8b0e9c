"""The counters of the case authors' instrument."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator.raw_numbers import SessionNumbers, StatusNumbers
from iscsi_protocol import serial

SERIAL = st.integers(0, 0xFFFFFFFF)


def status(first: int, *came: int) -> StatusNumbers:
    numbers = StatusNumbers()
    numbers.begin(first)
    for number in came:
        numbers.came(number)
    return numbers


@given(SERIAL, st.permutations(range(6)))
def test_statuses_count_once_all_before_them_came(first, order):
    numbers = status(first)
    for step in range(6):
        numbers.came(serial.add(first, order[step]))
        here = set(order[: step + 1])
        whole = next(number for number in range(7) if number not in here)
        assert numbers.told == serial.add(first, whole)


def test_the_first_number_is_that_of_the_first_response():
    numbers = status(7, 7)
    numbers.begin(40)
    assert numbers.told == 8


def test_a_number_that_came_before_moves_nothing():
    assert status(7, 7, 8, 7).told == 9


def test_a_lost_status_is_awaited_again_and_those_behind_it_count():
    numbers = status(0xFFFFFFFE, 0xFFFFFFFE, 0xFFFFFFFF, 0, 1)
    numbers.lost(0xFFFFFFFF)
    assert numbers.told == 0xFFFFFFFF
    numbers.came(0xFFFFFFFF)
    assert numbers.told == 2


def test_a_status_that_never_counted_can_be_lost():
    numbers = status(5, 6)
    numbers.lost(6)
    numbers.came(5)
    assert numbers.told == 6


def test_acknowledgements_can_be_kept_back():
    numbers = status(5, 5)
    numbers.withheld = numbers.due
    numbers.came(6)
    assert (numbers.told, numbers.due) == (6, 7)
    numbers.withheld = None
    assert numbers.told == 7


def test_a_case_may_tell_any_number():
    numbers = status(5, 7)
    numbers.told = 6
    numbers.came(6)
    assert numbers.told == 7
    numbers.withheld = 7
    numbers.told = 9
    assert (numbers.told, numbers.due) == (9, 9)


def test_older_counters_of_another_connection_move_nothing():
    numbers = SessionNumbers()
    numbers.begin(100, 110)
    numbers.heard(90, 105)
    numbers.heard(101, 90)
    assert (numbers.exp_cmd_sn, numbers.max_cmd_sn) == (100, 110)
    numbers.heard(104, 120)
    assert (numbers.exp_cmd_sn, numbers.max_cmd_sn) == (104, 120)
