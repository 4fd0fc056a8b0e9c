"""The sequence diagram of one command, as geometry for an SVG: initiator left, target right, time downwards.

Arrows stand at equal distances. Where much of the command's time went by between two of them, the diagram says so. What
was found again and again is told once, and then by colour alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from iscsi_captures.reading import FrameRef
from iscsi_captures.review.model import CommandTrace, ReviewFinding, Step

WIDTH = 1140
INITIATOR, TARGET = 168, 1030
HEAD = 46
ARROW, PAUSE, CALLOUT = 38, 30, 18
"""Pixels that an arrow, a pause, and a finding below its arrow take."""
_PAUSE_SHARE = 0.2
_PAUSE_LEAST = 1e-3
_LABEL_SHOWN = 112
_TELLING = re.compile(r" (?:\w+=|\+\d+ bytes|HEADER DIGEST|DATA DIGEST)")
_SAME = re.compile(r" (?:itt|lun)=\S+")
_CALLOUT_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Callout:
    """A finding on an arrow. index: into the review's findings. y: pixels."""

    index: int
    level: str
    text: str
    y: int


@dataclass(frozen=True, slots=True)
class Arrow:
    """One PDU. y: pixels. telling: the fields beside its name. level: of the gravest finding on it, "" for none.

    since: seconds from the command's start. later: seconds since the arrow before, None for the first.
    """

    y: int
    outward: bool
    name: str
    telling: str
    since: float
    later: float | None
    frame: FrameRef
    level: str
    callouts: tuple[Callout, ...]


@dataclass(frozen=True, slots=True)
class Rest:
    """A place between two arrows. says: how long nothing came, or how many PDUs are not drawn."""

    y: int
    says: str


@dataclass(frozen=True, slots=True)
class Diagram:
    """All of it. unplaced: findings whose PDU has no arrow, as the index of a rule's first one and how many they are."""

    height: int
    arrows: tuple[Arrow, ...]
    rests: tuple[Rest, ...]
    unplaced: tuple[tuple[int, int], ...]


def diagram(trace: CommandTrace, findings: Sequence[ReviewFinding]) -> Diagram:
    """Draw a trace. findings: all of the review, which the trace's indexes mean."""
    places = _places(trace, findings)
    total = max(trace.steps[-1].time - trace.steps[0].time, 0.0) if trace.steps else 0.0
    arrows: list[Arrow] = []
    rests: list[Rest] = []
    y = HEAD
    before: Step | None = None
    said: set[str] = set()
    # The first steps and the last are kept: what is missing is missing before the last.
    cut = len(trace.steps) - 1 if trace.omitted else -1
    for index, step in enumerate(trace.steps):
        later = None if before is None else step.time - before.time
        if index == cut:
            rests.append(Rest(y + 20, f"{trace.omitted} PDUs are left out"))
            y += PAUSE
        elif later is not None and later >= _PAUSE_LEAST and later >= _PAUSE_SHARE * total:
            rests.append(Rest(y + 20, f"nothing for {_milliseconds(later)}"))
            y += PAUSE
        y += ARROW
        name, telling = _label(step.label)
        own = places.get(index, [])
        new = [each for each in own if _said(findings[each]) not in said]
        said.update(_said(findings[each]) for each in own)
        callouts = tuple(
            Callout(each, findings[each].level, cut_to(_said(findings[each]), _CALLOUT_SHOWN), y + 15 + CALLOUT * line)
            for line, each in enumerate(new)
        )
        level = min((findings[each].level for each in own), key=_LEVELS.index, default="")
        arrows.append(
            Arrow(
                y=y,
                outward=step.way == "to target",
                name=name,
                telling=telling,
                since=step.time - trace.started,
                later=later,
                frame=step.frame,
                level=level,
                callouts=callouts,
            )
        )
        y += CALLOUT * len(callouts)
        before = step
    placed = {each for own in places.values() for each in own}
    unplaced: dict[str, list[int]] = {}
    for each in trace.findings:
        if each not in placed:
            unplaced.setdefault(findings[each].rule, []).append(each)
    return Diagram(y + 24, tuple(arrows), tuple(rests), tuple((own[0], len(own)) for own in unplaced.values()))


_LEVELS = ("MUST", "SHOULD", "ADVICE")


def cut_to(text: str, length: int) -> str:
    """The text, with an ellipsis in place of what is beyond `length` characters."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _label(text: str) -> tuple[str, str]:
    """The PDU's name, and the fields behind it but for those that are the same on every arrow."""
    found = _TELLING.search(text)
    name, telling = (text, "") if found is None else (text[: found.start()], text[found.start() :])
    return cut_to(name, _LABEL_SHOWN), cut_to(
        " ".join(_SAME.sub("", telling).split()), max(0, _LABEL_SHOWN - len(name))
    )


def _said(finding: ReviewFinding) -> str:
    return f"{finding.rule}: {finding.message}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 1 else f"{seconds * 1e3:.1f} ms"


def _places(trace: CommandTrace, findings: Sequence[ReviewFinding]) -> dict[int, list[int]]:
    """Step → the findings about its PDU: of the same frame and direction, and of the same name where several are."""
    places: dict[int, list[int]] = {}
    for index in trace.findings:
        finding = findings[index]
        here = [
            place
            for place, step in enumerate(trace.steps)
            if step.frame == finding.frame and (finding.pdu is None or step.way == finding.pdu.way)
        ]
        named = [
            place for place in here if finding.pdu is not None and trace.steps[place].label.startswith(finding.pdu.name)
        ]
        if here:
            places.setdefault((named or here)[0], []).append(index)
    return places
