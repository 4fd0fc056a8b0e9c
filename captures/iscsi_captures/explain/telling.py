"""Reading, explaining and printing what an input holds, event by event."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console

from iscsi_captures.explain.explanation import Explanation, explained
from iscsi_captures.explain.found import Found, Trouble
from iscsi_captures.explain.show import SCHEMA, explanation_json, explanation_lines
from iscsi_captures.explain.sources import MAX_TEXT, Unreadable, events_in, events_of

OK, NOTHING = 0, 3
_STDIN = Path("-")
_TROUBLES_SHOWN = 20
_PIPE_WIDTH = 100_000
"""Columns: in a pipe no sentence is broken into lines."""
_NO_EVENT = "no event in it: neither a hex dump, nor XML, nor lines of our event log, nor an .evtx file"


class _Reading:
    """Explains what an input holds, and counts what is not explained."""

    def __init__(self, found: Iterator[Found | Trouble]) -> None:
        self._found = found
        self.troubles: list[str] = []
        self.number_of_troubles = 0
        self.others = 0
        self.explained = 0

    def __iter__(self) -> Iterator[Explanation]:
        for each in self._found:
            if isinstance(each, Trouble):
                self.number_of_troubles += 1
                if len(self.troubles) < _TROUBLES_SHOWN:
                    self.troubles.append(str(each))
            elif each.is_ours:
                self.explained += 1
                yield explained(each)
            else:
                self.others += 1

    @property
    def remarks(self) -> list[str]:
        """What could not be read, a line each; only the first ones where there are many."""
        more = self.number_of_troubles - len(self.troubles)
        return [*self.troubles, f"{more} more like these"] if more else self.troubles

    @property
    def nothing(self) -> str:
        """Why nothing was explained."""
        reasons = []
        if self.others:
            reasons.append(f"none of its {self.others} readable events is of iScsiPrt or MSiSCSI")
        if self.troubles:
            more = f" (and {self.number_of_troubles - 1} more)" if self.number_of_troubles > 1 else ""
            reasons.append(f"{self.troubles[0]}{more}")
        return "; ".join(reasons) or _NO_EVENT


def tell(file: Path, *, as_json: bool) -> int:
    """Print what a file or standard input ("-") holds; on standard error what cannot be read. Returns the exit code."""
    name = "standard input" if file == _STDIN else str(file)
    found = events_of(sys.stdin.buffer.read(MAX_TEXT + 1)) if file == _STDIN else events_in(file)
    reading = _Reading(found)
    try:
        if as_json:
            _print_json(reading)
        else:
            _print_lines(reading)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _nothing(name, error.strerror or str(error))
    except Unreadable as error:
        return _nothing(name, str(error))
    if not reading.explained:
        return _nothing(name, reading.nothing)
    if not as_json:
        for remark in reading.remarks:
            click.echo(f"iscsi-captures: {name}: {remark}", err=True)
    return OK


def _print_json(reading: _Reading) -> None:
    events = [explanation_json(each) for each in reading]
    if events:
        content = {"schema": SCHEMA, "events": events, "remarks": reading.remarks, "others": reading.others}
        click.echo(json.dumps(content, indent=2))


def _print_lines(reading: _Reading) -> None:
    console = Console(highlight=False, soft_wrap=True, emoji=False, markup=False)
    width = min(console.width, 110) if console.is_terminal else _PIPE_WIDTH
    for number, event in enumerate(reading):
        if number:
            console.print()
        for line in explanation_lines(event, width):
            console.print(line)


def _nothing(name: str, why: str) -> int:
    click.echo(f"iscsi-captures: {name}: {why}", err=True)
    return NOTHING
