"""What must hold for every dialogue, whatever went wrong in it."""

from __future__ import annotations

from dataclasses import dataclass

from iscsi_conformance.fuzz.honest import honest
from iscsi_conformance.fuzz.plan import Plan
from iscsi_conformance.fuzz.play import Play, fork
from iscsi_conformance.oracle import disagreement


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of a plan. wrong: what must not be, empty where all is well; events: ids that were logged, in order."""

    wrong: tuple[str, ...]
    events: tuple[int, ...]
    fired: int


def run(plan: Plan) -> Outcome:
    """Play a plan, and judge it."""
    play = fork(plan.ground)
    wrong = attempt(play, plan)
    return Outcome(wrong=tuple(wrong), events=tuple(event.id for event in play.logged), fired=play.rig.fired)


def attempt(play: Play, plan: Plan) -> list[str]:
    """Play a plan on a fork of its ground: what is wrong with it."""
    try:
        play.play(plan)
    except Exception as error:  # noqa: BLE001 - whatever an engine raises is what is looked for
        return [f"{type(error).__name__}: {error}"]
    return at_the_end(play, trusted=honest(plan))


def so_far(play: Play, *, trusted: bool) -> list[str]:
    """What is wrong with a play that goes on. trusted: whether what is read is held against the initiator."""
    play.book.finish(play.rig.now)
    return [*play.wrong, *(play.misread if trusted else ()), *_events(play), *_state(play), *_violations(play)]


def at_the_end(play: Play, *, trusted: bool) -> list[str]:
    """What is wrong with a play that is over."""
    held = play.disk.compare(play.image()) if trusted else ""
    lost = [f"in the end {held}"] if held else []
    return [*so_far(play, trusted=trusted), *lost, *_left_over(play)]


def _state(play: Play) -> list[str]:
    """A session is up, over, or has something that will happen."""
    engine = play.rig.initiator
    if not play.session or play.closed or engine.session(play.session).up:
        return []
    waits = engine.next_deadline() is not None or bool(play.rig.lines)
    return [] if waits else ["the session is neither up nor over, and nothing is to happen"]


def _events(play: Play) -> list[str]:
    """Whether what was logged is what the history says that had to be."""
    difference = disagreement(play.book.events, play.logged)
    return [f"events: {difference}"] if difference else []


def _left_over(play: Play) -> list[str]:
    """The session is over: nothing of it is left."""
    engine = play.rig.initiator
    session = engine.session(play.session)
    left = []
    if play.closed != 1:
        left.append(f"SessionClosed came {play.closed} times")
    left += [f"a {type(asked.request).__name__} never ended" for asked in play.asked if not asked.ended]
    if session.work.tasks or session.work.pending:
        left.append(f"{len(session.work.tasks)} tasks and {len(session.work.pending)} requests are left")
    if engine.next_deadline() is not None:
        left.append("a deadline is left")
    if play.rig.up or engine.dirty_connections():
        left.append(f"connections {play.rig.up} are left")
    return left


def _violations(play: Play) -> list[str]:
    """What the rule book says of the initiator."""
    return [
        f"{finding.clause} ({finding.rule}) broken by the initiator: {finding.message}"
        for finding in play.book.findings
        if finding.role == "initiator" and finding.level == "MUST"
    ]
