"""Generated dialogues in bulk, and what the corpus keeps: seeds of the past that once went wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from iscsi_conformance.fuzz.__main__ import main
from iscsi_conformance.fuzz.bulk import play_many
from iscsi_conformance.fuzz.check import attempt, run
from iscsi_conformance.fuzz.generate import plan_of
from iscsi_conformance.fuzz.ground import Ground
from iscsi_conformance.fuzz.plan import Plan, Step, Verb
from iscsi_conformance.fuzz.play import fork
from iscsi_conformance.fuzz.shrink import shrink
from iscsi_conformance.fuzz.told import read, told
from iscsi_initiator.policy import Policy
from iscsi_protocol.fault import Fault, Flip, Part, When
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.stream import Direction

CORPUS = json.loads(Path(__file__).with_name("corpus.json").read_text(encoding="utf-8"))
FIRST_SEED, DIALOGUES = 1, 1000


def test_a_thousand_dialogues_agree() -> None:
    tally = play_many(FIRST_SEED, DIALOGUES)
    assert tally.failed == {}
    assert tally.dialogues == DIALOGUES
    # They are worth something only as long as faults strike, and all sorts of events come of them.
    assert tally.struck > DIALOGUES // 3
    assert len(tally.events) > 25


@pytest.mark.parametrize("entry", CORPUS, ids=[entry["what"] for entry in CORPUS])
def test_what_once_went_wrong_does_not_any_more(entry) -> None:
    assert run(read(entry["plan"])).wrong == ()


def test_plans_are_told_and_read() -> None:
    for seed in range(300):
        plan = plan_of(seed)
        assert read(json.loads(json.dumps(told(plan)))) == plan
        assert plan_of(seed) == plan


LOST = Plan(
    ground=Ground(logged_in=False),
    script=(Step(verb=Verb.READ, size=2), Step(verb=Verb.CUT), Step(verb=Verb.WRITE, pause=1.3), Step(verb=Verb.PING)),
)


@pytest.mark.parametrize(
    ("policy", "wrong"),
    [
        (Policy(never_logs=frozenset({20})), "events: event 1: 20"),
        (Policy(logs_twice=frozenset({34})), "events: event 3: nothing more predicted, 34"),
        (Policy(logs_wrong_dump=frozenset({34})), "events: event 2: 34"),
    ],
)
def test_an_initiator_that_logs_something_else_is_found_out(policy, wrong) -> None:
    assert run(LOST).wrong == ()
    assert any(each.startswith(wrong) for each in misled(LOST, policy))


def test_an_initiator_that_gives_wrong_data_is_found_out() -> None:
    damage = Fault(
        when=When(direction=Direction.TO_INITIATOR, opcode=Opcode.SCSI_DATA_IN),
        what=(Flip(Part.DATA, 1),),
        raw=True,
    )
    ground = Ground(logged_in=False, data_digest="required")
    plan = Plan(ground=ground, script=(Step(verb=Verb.READ),), faults=(damage,))
    assert run(plan).wrong == ()
    assert any(each.startswith("a read ended well, and block 0") for each in misled(plan, BLIND))


BLIND = Policy(accept_data_digest_errors=True)


def misled(plan: Plan, policy: Policy) -> list[str]:
    play = fork(plan.ground)
    play.rig.initiator.policy = policy
    return attempt(play, plan)


def test_a_failing_plan_is_made_small() -> None:
    policy = Policy(never_logs=frozenset({20}))
    small = shrink(LOST, lambda plan: bool(misled(plan, policy)))
    assert small.script == (Step(verb=Verb.CUT),)


def test_one_dialogue_is_told_and_many_are_counted() -> None:
    many = CliRunner().invoke(main, ["--seed", "7", "--count", "20"])
    assert many.exit_code == 0
    assert "20 dialogues from seed 7 on" in many.output
    assert ": 0 disagree" in many.output
    one = CliRunner().invoke(main, ["--seed", "7"])
    assert one.exit_code == 0
    assert "->" in one.output


def test_a_disagreement_is_shrunk_and_fails(monkeypatch) -> None:
    monkeypatch.setattr("iscsi_conformance.fuzz.check.disagreement", lambda predicted, logged: "made up")
    found = CliRunner().invoke(main, ["--seed", "7", "--count", "2"])
    assert found.exit_code == 1
    assert "seed 7: events: made up" in found.output
    assert '{"is": "Plan"' in found.output
