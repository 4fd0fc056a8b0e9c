"""Many seeds, over several processes."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any

from iscsi_conformance.fuzz.check import run
from iscsi_conformance.fuzz.generate import plan_of

BATCH = 250
COLLECT_EVERY = 50


@dataclass(slots=True)
class Tally:
    """What came of many dialogues. failed: seed to what was wrong; events: id to how often it was logged; struck: dialogues
    in which a fault changed something.
    """

    dialogues: int = 0
    struck: int = 0
    failed: dict[int, tuple[str, ...]] = field(default_factory=dict)
    events: Counter[int] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Take in another one."""
        self.dialogues += other.dialogues
        self.struck += other.struck
        self.failed.update(other.failed)
        self.events.update(other.events)


def play_seeds(seeds: range) -> Tally:
    """Play them one by one, with collections of garbage between them only: what is forked is alive, or not, as a whole. What
    was there before is not looked through again and again.
    """
    tally = Tally()
    collecting = gc.isenabled()
    gc.disable()
    gc.collect()
    gc.freeze()
    try:
        _play(seeds, tally)
    finally:
        gc.unfreeze()
        if collecting:
            gc.enable()
    return tally


def _play(seeds: range, tally: Tally) -> None:
    for seed in seeds:
        outcome = run(plan_of(seed))
        tally.dialogues += 1
        tally.struck += outcome.fired > 0
        tally.events.update(outcome.events)
        if outcome.wrong:
            tally.failed[seed] = outcome.wrong
        if seed % COLLECT_EVERY == 0:
            gc.collect()


def play_many(seed: int, count: int, jobs: int = 1) -> Tally:
    """Play `count` seeds from `seed` on, in so many processes."""
    batches = [range(start, min(start + BATCH, seed + count)) for start in range(seed, seed + count, BATCH)]
    whole = Tally()
    with _mapping(jobs) as each:
        for tally in each(play_seeds, batches):
            whole.add(tally)
    return whole


@contextmanager
def _mapping(jobs: int) -> Iterator[Any]:
    if jobs == 1:
        yield map
    else:
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
            yield pool.map
