"""The load-balance policies: by table, by properties, and a machine in which paths fail and come back under load."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from iscsi_initiator.multipath import MAX_WEIGHT, LoadBalance, Path, PathStatus, check, choose, statuses
from iscsi_initiator.status_codes import Refused
from iscsi_protocol.status_codes import StatusCode

FOO, RR, SUBSET, WEIGHTED, LEAST = LoadBalance
A, S, F = PathStatus.ACTIVE, PathStatus.STANDBY, PathStatus.FAILED


def paths(*words: str) -> list[Path]:
    """Paths 1, 2, ... from words such as "a" (active), "s" (standby), "a-" (down), "s5" (weight and queue 5)."""
    return [
        Path(
            id=number,
            active=word[0] == "a",
            up="-" not in word,
            weight=int(word[1:].strip("-") or 0),
            queued=int(word[1:].strip("-") or 0),
        )
        for number, word in enumerate(words, 1)
    ]


@pytest.mark.parametrize(
    ("policy", "words", "last", "chosen", "standing"),
    [
        (FOO, "s a s", None, 2, [S, A, S]),
        (FOO, "s a s", 1, 2, [S, A, S]),
        (FOO, "s a- s", 2, 1, [A, F, S]),
        (FOO, "s- a- s", 1, 3, [F, F, A]),
        (FOO, "s- a- s-", 1, None, [F, F, F]),
        (RR, "a s a", None, 1, [A, A, A]),
        (RR, "a s a", 1, 2, [A, A, A]),
        (RR, "a s a", 3, 1, [A, A, A]),
        (RR, "a s- a", 1, 3, [A, F, A]),
        (RR, "a s a-", 3, 1, [A, A, F]),
        (RR, "a s a", 9, 1, [A, A, A]),
        (SUBSET, "a s a s", 1, 3, [A, S, A, S]),
        (SUBSET, "a s a s", 3, 1, [A, S, A, S]),
        (SUBSET, "a- s a s", 3, 3, [F, S, A, S]),
        (SUBSET, "a- s a- s", 3, 2, [F, A, F, S]),
        (SUBSET, "a- s a- s", 2, 2, [F, A, F, S]),
        (SUBSET, "a- s a s", 2, 3, [F, S, A, S]),
        (WEIGHTED, "a5 a2 a2", 2, 2, [S, A, S]),
        (WEIGHTED, "a5 a2- a3", 2, 3, [S, F, A]),
        (WEIGHTED, "s0 a2 a3", 2, 1, [A, S, S]),
        (LEAST, "a5 a2 a3", 2, 2, [A, A, A]),
        (LEAST, "a2 a2 a3", 1, 2, [A, A, A]),
        (LEAST, "a2 a2 a3", 2, 1, [A, A, A]),
        (LEAST, "a5 a2- a3", 2, 3, [A, F, A]),
        (LEAST, "", None, None, []),
    ],
)
def test_which_path_is_next(policy, words, last, chosen, standing):
    state = paths(*words.split())
    assert choose(policy, state, last) == chosen
    assert list(statuses(policy, state).values()) == standing


@pytest.mark.parametrize(
    ("policy", "words", "status"),
    [
        (0, "a", StatusCode.INVALID_LOAD_BALANCE_POLICY),
        (6, "", StatusCode.INVALID_LOAD_BALANCE_POLICY),
        (RR, "", StatusCode.INVALID_PARAMETER),
        (WEIGHTED, "a4294967296", StatusCode.INVALID_PARAMETER),
        (FOO, "a a", StatusCode.MULTIPLE_PRIMARY_PATHS_SPECIFIED),
        (FOO, "s s", StatusCode.NO_PRIMARY_PATH_SPECIFIED),
        (SUBSET, "s s", StatusCode.NO_PRIMARY_PATH_SPECIFIED),
    ],
)
def test_what_cannot_be_set(policy, words, status):
    with pytest.raises(Refused) as refused:
        check(policy, paths(*words.split()))
    assert refused.value.status is status


@pytest.mark.parametrize(
    ("ids", "status"),
    [
        ([1, 1], StatusCode.DUPLICATE_PATH_SPECIFIED),
        ([1, 2, 2], StatusCode.DUPLICATE_PATH_SPECIFIED),
        ([1], StatusCode.PATH_COUNT_MISMATCH),
        ([1, 2, 3], StatusCode.PATH_COUNT_MISMATCH),
        ([1, 3], StatusCode.INVALID_PATH_ID),
    ],
)
def test_ids_have_to_be_those_of_the_paths_that_there_are(ids, status):
    with pytest.raises(Refused) as refused:
        check(RR, [Path(id=number) for number in ids], known={1, 2})
    assert refused.value.status is status
    if status is not StatusCode.DUPLICATE_PATH_SPECIFIED:
        check(RR, [Path(id=number) for number in ids])


@pytest.mark.parametrize(("field", "value"), [("weight", -1), ("queued", -1)])
def test_numbers_have_their_ranges(field, value):
    with pytest.raises(Refused, match="path 7 has"):
        check(RR, [replace(Path(id=7), **{field: value})])


def test_what_can_be_set():
    for policy, words in ((FOO, "s a- s"), (RR, "s"), (SUBSET, "a a s"), (WEIGHTED, f"a{MAX_WEIGHT}"), (LEAST, "a")):
        check(policy, paths(*words.split()), known=range(1, len(words.split()) + 1))
    check(2, [Path(id=1)])


def test_queues_are_not_compared_over_sessions():
    with pytest.raises(Refused) as refused:
        check(LEAST, [Path(id=1)], over_sessions=True)
    assert refused.value.status is StatusCode.LB_POLICY_NOT_SUPPORTED
    check(WEIGHTED, [Path(id=1)], over_sessions=True)


states = st.lists(
    st.builds(
        Path,
        id=st.integers(0, 30),
        active=st.booleans(),
        weight=st.integers(0, 3),
        queued=st.integers(0, 3),
        up=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda path: path.id,
)
policies = st.sampled_from(LoadBalance)


@given(policy=policies, state=states, last=st.none() | st.integers(0, 30))
def test_the_choice_is_up_and_active_and_there_is_one_if_any_is_up(policy, state, last):
    chosen = choose(policy, state, last)
    standing = statuses(policy, state)
    assert (chosen is None) == (not any(path.up for path in state))
    assert chosen is None or standing[chosen] is PathStatus.ACTIVE
    assert {path.id for path in state if not path.up} == {number for number, was in standing.items() if was is F}


@given(policy=st.sampled_from([RR, SUBSET]), state=states, last=st.none() | st.integers(0, 30))
def test_a_round_meets_every_serving_path_once(policy, state, last):
    serving = [number for number, was in statuses(policy, state).items() if was is PathStatus.ACTIVE]
    met = []
    for _ in serving:
        last = choose(policy, state, last)
        met.append(last)
    assert sorted(met) == sorted(serving)


@given(policy=policies, state=states.filter(bool), last=st.none() | st.integers(0, 30), data=st.data())
def test_a_path_that_fails_and_comes_back_leaves_no_trace(policy, state, last, data):
    index = data.draw(st.integers(0, len(state) - 1))
    state[index] = replace(state[index], up=True)
    before = statuses(policy, state)
    down = [*state]
    down[index] = replace(state[index], up=False)
    assert choose(policy, down, last) != state[index].id
    down[index] = replace(down[index], up=True)
    assert statuses(policy, down) == before


@given(state=states, last=st.none() | st.integers(0, 30), policy=st.sampled_from([FOO, SUBSET]))
def test_a_standby_serves_only_while_every_active_path_is_down(state, last, policy):
    chosen = next((path for path in state if path.id == choose(policy, state, last)), None)
    if chosen is not None and not chosen.active:
        assert not any(path.up and path.active for path in state)
        assert list(statuses(policy, state).values()).count(PathStatus.ACTIVE) == 1


@given(state=states, last=st.none() | st.integers(0, 30))
def test_no_path_is_lighter_or_idler_than_the_chosen_one(state, last):
    by_id = {path.id: path for path in state}
    up = [path for path in state if path.up]
    if up:
        assert by_id[choose(WEIGHTED, state, last)].weight == min(path.weight for path in up)
        assert by_id[choose(LEAST, state, last)].queued == min(path.queued for path in up)


class Multipathing(RuleBasedStateMachine):
    """Requests over three to five paths that fail and return while the policy changes.

    The model is told of failures and returns as they happen, and keeps whose turn it is in a ring; what it compares with
    sees nothing but the paths as they are.
    """

    @initialize(roles=st.lists(st.booleans(), min_size=3, max_size=5), policy=policies)
    def begin(self, roles, policy):
        self.policy = policy
        self.roles = dict(enumerate(roles))
        self.weights = dict.fromkeys(self.roles, 0)
        self.alive = set(self.roles)
        self.running: Counter[int] = Counter()
        self.ring = deque(self.roles)
        self.last: int | None = None
        self.held = 0
        self.sent = self.ended = self.asked = 0

    def state(self) -> list[Path]:
        return [
            Path(
                id=number,
                active=role,
                weight=self.weights[number],
                queued=self.running[number],
                up=number in self.alive,
            )
            for number, role in self.roles.items()
        ]

    def eligible(self) -> set[int]:
        """Said in the guide's order of words: the active path, failing that a standby."""
        active = {number for number in self.alive if self.roles[number]}
        if self.policy is FOO:
            return {min(active or self.alive)}
        if self.policy is SUBSET:
            return active or {min(self.alive)}
        if self.policy is WEIGHTED:
            return {min(self.alive, key=lambda number: (self.weights[number], number))}
        if self.policy is LEAST:
            return {n for n in self.alive if all(self.running[n] <= self.running[other] for other in self.alive)}
        return set(self.alive)

    def send(self) -> None:
        chosen = choose(self.policy, self.state(), self.last)
        if not self.alive:
            assert chosen is None
            self.held += 1
            return
        allowed = self.eligible()
        while self.ring[0] not in allowed:
            self.ring.rotate(-1)
        assert chosen == self.ring[0]
        self.ring.rotate(-1)
        self.last = chosen
        self.running[chosen] += 1
        self.sent += 1

    @rule(count=st.integers(1, 7))
    def submit(self, count):
        self.asked += count
        for _ in range(count):
            self.send()

    @precondition(lambda self: self.running.total())
    @rule(data=st.data())
    def finish(self, data):
        number = data.draw(st.sampled_from(sorted(self.running.elements())))
        self.running[number] -= 1
        self.ended += 1

    @precondition(lambda self: self.alive)
    @rule(data=st.data())
    def fail(self, data):
        number = data.draw(st.sampled_from(sorted(self.alive)))
        self.alive.discard(number)
        again = self.running.pop(number, 0)
        self.sent -= again
        for _ in range(again):
            self.send()

    @precondition(lambda self: len(self.alive) < len(self.roles))
    @rule(data=st.data())
    def come_back(self, data):
        number = data.draw(st.sampled_from(sorted(set(self.roles) - self.alive)))
        self.alive.add(number)
        waiting, self.held = self.held, 0
        for _ in range(waiting):
            self.send()

    @rule(policy=policies)
    def change_policy(self, policy):
        self.policy = policy

    @rule(data=st.data())
    def configure(self, data):
        number = data.draw(st.sampled_from(sorted(self.roles)))
        self.roles[number] = data.draw(st.booleans())
        self.weights[number] = data.draw(st.integers(0, 3))

    @invariant()
    def nothing_is_lost_and_only_serving_paths_serve(self):
        if not hasattr(self, "policy"):
            return
        assert self.sent + self.held == self.asked
        assert self.sent == self.ended + self.running.total()
        assert not self.held or not self.alive
        standing = statuses(self.policy, self.state())
        if self.policy is FOO:
            assert list(standing.values()).count(PathStatus.ACTIVE) == bool(self.alive)
        for number, was in standing.items():
            assert (was is PathStatus.FAILED) == (number not in self.alive)
            if was is PathStatus.STANDBY:
                assert self.policy in {FOO, SUBSET, WEIGHTED}


TestMultipathing = Multipathing.TestCase
