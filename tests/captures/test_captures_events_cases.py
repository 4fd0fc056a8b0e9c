"""Over cases of the initiator role: the events that the history predicts are those that the initiator logged."""

from __future__ import annotations

import pytest

from iscsi_captures.rulebook import RuleBook
from iscsi_conformance import execute
from iscsi_conformance.bundled import bundled_profile
from iscsi_conformance.case import Case, Role, load_cases
from iscsi_conformance.environments import EnvironmentSpec, open_environment
from iscsi_conformance.execute import Options, run_case
from iscsi_conformance.judge import RuleBookJudge
from iscsi_conformance.oracle import disagreement
from iscsi_conformance.recorder import Recorder
from iscsi_conformance.scene import Scene
from iscsi_conformance.virtual import run_virtual


def _one_of_each() -> list[Case]:
    """The first case of each event, and every tenth of the others. A run of the cases holds all against the oracle."""
    events: dict[str, Case] = {}
    others: list[Case] = []
    for case in load_cases().values():
        area, _, rest = case.id.partition(".")
        if case.role is Role.INITIATOR and area == "event":
            events.setdefault(rest.partition(".")[0], case)
        elif case.role is Role.INITIATOR:
            others.append(case)
    return [*events.values(), *others[::10]]


CASES = _one_of_each()


class Stage:
    """Runs a case with the oracle listening, and keeps the scene."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.book = RuleBook(events=True)
        self.scenes: list[Scene] = []
        self.recorder = Recorder(self.book.record)
        stage = self

        class Kept(Scene):
            async def close(self) -> None:
                stage.scenes.append(self)
                await super().close()

        monkeypatch.setattr(execute, "Scene", Kept)

    async def run(self, case: Case) -> None:
        spec = EnvironmentSpec(kind="memory", profile=bundled_profile())
        async with open_environment(spec) as environment:
            await run_case(case, environment, Options(destructive=True, judge=RuleBookJudge), self.recorder)


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_predicted_is_logged(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch)
    run_virtual(stage.run(case))
    logged = [event for scene in stage.scenes for event in scene.events]
    assert disagreement(stage.book.events, logged) == ""
