"""`python -m iscsi_conformance.fuzz`: many generated dialogues, or one again, told in full."""

from __future__ import annotations

import json
import time
from typing import TextIO

import click

from iscsi_conformance.fuzz.bulk import play_many
from iscsi_conformance.fuzz.check import run
from iscsi_conformance.fuzz.generate import plan_of
from iscsi_conformance.fuzz.plan import Plan
from iscsi_conformance.fuzz.shrink import shrink
from iscsi_conformance.fuzz.story import story
from iscsi_conformance.fuzz.told import read, told

MOST_SHOWN = 10


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--count", type=click.IntRange(1), default=1000, show_default=True, help="Dialogues.")
@click.option("--seed", type=int, default=None, help="Of the first; without --count: tell this one in full.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--plan", "file", type=click.File(), help="Tell the dialogue of this JSON file in full.")
@click.pass_context
def main(context: click.Context, count: int, seed: int | None, jobs: int, file: TextIO | None) -> None:
    """Play generated dialogues in which something goes wrong, and hold each against what must hold for all.

    Exits with 1 where one did not hold.
    """
    if file is not None:
        context.exit(_tell(read(json.load(file))))
    if seed is not None and context.get_parameter_source("count") is click.core.ParameterSource.DEFAULT:
        context.exit(_tell(plan_of(seed)))
    context.exit(_many(1 if seed is None else seed, count, jobs))


def _tell(plan: Plan) -> int:
    for line in story(plan):
        click.echo(line)
    return 1 if run(plan).wrong else 0


def _many(seed: int, count: int, jobs: int) -> int:
    started = time.perf_counter()
    tally = play_many(seed, count, jobs)
    seconds = time.perf_counter() - started
    failed = list(tally.failed)
    for each in failed[:MOST_SHOWN]:
        _report(each, tally.failed[each])
    click.echo(
        f"{count} dialogues from seed {seed} on, {tally.struck} with a fault that struck, {tally.events.total()} events of "
        f"{len(tally.events)} kinds: {len(failed)} disagree; {count / seconds:.0f} a second over {jobs} process(es)"
    )
    if len(failed) > MOST_SHOWN:
        click.echo(f"not told: seeds {', '.join(map(str, failed[MOST_SHOWN:]))}")
    return 1 if failed else 0


def _report(seed: int, wrong: tuple[str, ...]) -> None:
    kind = wrong[0][:24]
    small = shrink(plan_of(seed), lambda plan: any(each.startswith(kind) for each in run(plan).wrong))
    click.echo(f"seed {seed}: {'; '.join(wrong)}")
    click.echo(f"    {json.dumps(told(small))}")


if __name__ == "__main__":
    main()
