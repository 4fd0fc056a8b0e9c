"""A failing plan made smaller, as long as it fails in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from iscsi_conformance.fuzz.chunks import WHOLE
from iscsi_conformance.fuzz.ground import Ground, settings_of
from iscsi_conformance.fuzz.plan import Plan
from iscsi_protocol.fault import Fault

MOST_TRIES = 400


def shrink(plan: Plan, fails: Callable[[Plan], bool]) -> Plan:
    """The smallest plan that is found greedily, within a bounded number of tries."""
    tries = 0
    smaller = True
    while smaller and tries < MOST_TRIES:
        smaller = False
        for candidate in _simpler(plan):
            tries += 1
            if fails(candidate):
                plan, smaller = candidate, True
                break
            if tries >= MOST_TRIES:
                break
    return plan


def _simpler(plan: Plan) -> Iterator[Plan]:
    """Plans with one thing less, the largest steps first."""
    for place in range(len(plan.faults)):
        yield replace(plan, faults=plan.faults[:place] + plan.faults[place + 1 :])
    for place in range(len(plan.script)):
        yield replace(plan, script=plan.script[:place] + plan.script[place + 1 :])
    for place in range(len(plan.mutations)):
        if len(plan.mutations) > 1:
            yield replace(plan, mutations=plan.mutations[:place] + plan.mutations[place + 1 :])
    if plan.roads:
        yield replace(plan, roads=plan.roads[:-1])
    if plan.chunks != WHOLE:
        yield replace(plan, chunks=WHOLE)
    if plan.faulty is None:
        yield replace(plan, faulty=1)
    yield from _simpler_ground(plan)
    yield from _simpler_parts(plan)


def _simpler_parts(plan: Plan) -> Iterator[Plan]:
    for place, fault in enumerate(plan.faults):
        for changed in _simpler_fault(fault):
            yield replace(plan, faults=(*plan.faults[:place], changed, *plan.faults[place + 1 :]))
    for place, step in enumerate(plan.script):
        shorter = (
            replace(step, size=1),
            replace(step, pause=0.0),
            replace(step, together=False),
            replace(step, place=0),
        )
        for simpler in shorter:
            if simpler != step:
                yield replace(plan, script=(*plan.script[:place], simpler, *plan.script[place + 1 :]))


def _simpler_fault(fault: Fault) -> Iterator[Fault]:
    if len(fault.what) > 1:
        for place in range(len(fault.what)):
            with suppress(ValueError):
                yield replace(fault, what=fault.what[:place] + fault.what[place + 1 :])
    for when in (replace(fault.when, nth=1), replace(fault.when, times=1)):
        if when != fault.when:
            yield replace(fault, when=when)
    for changed in (replace(fault, raw=False), replace(fault, renumber=False)):
        if changed != fault:
            yield changed


def _simpler_ground(plan: Plan) -> Iterator[Plan]:
    ground, plain = plan.ground, Ground()
    names = ("level", "connections", "header_digest", "data_digest", "chap", "keys", "recover", "target")
    for name in names:
        if getattr(ground, name) != getattr(plain, name):
            yield replace(plan, ground=replace(ground, **{name: getattr(plain, name)}))
    for place in range(len(ground.settings)):
        settings = ground.settings[:place] + ground.settings[place + 1 :]
        try:
            settings_of(replace(ground, settings=settings))
        except ValueError:
            continue
        yield replace(plan, ground=replace(ground, settings=settings))
