"""An explanation for people, line by line, and for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from rich.text import Text

from iscsi_captures.explain.cases import EventCases
from iscsi_captures.explain.explanation import Explanation, at_record
from iscsi_protocol.eventlog import SOURCE, Detail
from iscsi_protocol.eventlog.parts import UNTITLED

SCHEMA = "iscsi-captures/explain-event/1"
_STYLES = {"error": "bold red", "warning": "bold yellow", "information": "bold green"}
_CASES_SHOWN = 3
_EXTRA = "extra data"


def explanation_json(event: Explanation) -> dict[str, object]:
    """The object of one event; see docs/explain-event.md."""
    return {
        "place": event.place,
        "source": event.source,
        "id": event.id,
        "known": event.known,
        "severity": event.severity or None,
        "message": event.message,
        "text": event.text,
        "time": event.time,
        "computer": event.computer,
        "number": event.number,
        "meaning": event.meaning.says if event.meaning else None,
        "causes": list(event.meaning.causes) if event.meaning else [],
        "afterwards": event.cases.then if event.cases else "",
        "notes": list(event.notes),
        "record": {each.name: each.value for each in event.header},
        "missing": event.missing,
        "strings": [{"name": each.name, "value": each.value, "text": each.text} for each in event.strings],
        "details": [
            {"part": part.title, "offset": each.offset, "name": each.name, "value": each.value, "text": each.text}
            for part in event.parts
            for each in part.details
        ],
        "cases": [
            {"variation": each.id, "says": each.says, "cases": list(each.cases)}
            for each in (event.cases.variations if event.cases else ())
        ],
        "dump": None if event.dump is None else event.dump.hex(),
    }


def explanation_lines(event: Explanation, width: int = 100) -> Iterator[Text]:
    """The lines about one event, with styles; `plain` of each is the same without. width: columns that sentences fill."""
    yield Text.assemble(
        (f"{event.source} {event.id}", "bold"),
        "  ",
        (event.severity, _STYLES.get(event.severity, "bold")),
        "  " if event.severity else "",
        event.message,
        f": {event.text}" if event.text else "",
    )
    logged = [event.time, f"on {event.computer}" if event.computer else "", f"#{event.number}" if event.number else ""]
    if any(logged):
        yield Text(f"  {' '.join(filter(None, logged))}", "dim")
    if event.meaning is not None:
        yield from _wrapped(event.meaning.says, width)
        yield _title("usual causes")
        for cause in event.meaning.causes:
            yield from _wrapped(cause, width, first="    - ", others="      ")
    if event.cases is not None and event.cases.then:
        yield _title("afterwards (numbers are those of events)")
        yield from _wrapped(event.cases.then, width, first="    ", others="    ")
    for note in event.notes:
        yield from _wrapped(note, width, first="  ! ", others="    ")
    telling = [each for each in event.header if each.telling]
    if telling:
        yield _title("record")
        yield from _rows(telling)
    for part in map(at_record, event.parts) if event.source == SOURCE else event.parts:
        yield _title(_EXTRA if part.title == UNTITLED else part.title)
        yield from _rows(part.details)
    if event.strings:
        yield _title("strings")
        yield from _rows(event.strings, "%{}")
    if event.known:
        yield from _cases(event)


def _title(text: str) -> Text:
    return Text(f"  {text}", "bold")


def _wrapped(text: str, width: int, first: str = "  ", others: str = "  ") -> Iterator[Text]:
    for line in textwrap.wrap(
        text, max(width, 40), initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    ):
        yield Text(line)


def _rows(details: Iterable[Detail], place: str = "{:#04x}") -> Iterator[Text]:
    rows = list(details)
    width = max((len(each.name) for each in rows), default=0)
    for each in rows:
        yield Text.assemble(
            "    ",
            (place.format(each.offset), "dim"),
            f"  {each.name:<{width}}  ",
            # What rests at its usual value steps back behind what tells something.
            (each.text, "" if each.telling else "dim"),
        )


def _cases(event: Explanation) -> Iterator[Text]:
    cases: EventCases | None = event.cases
    ways = [each for each in cases.variations if each.cases] if cases else []
    if not ways:
        yield Text("  No conformance case reproduces it.")
        return
    yield _title(f"conformance cases that reproduce it (iscsi-conformance list -k event.{event.id}.)")
    for way in ways:
        more = f", and {len(way.cases) - _CASES_SHOWN} more" if len(way.cases) > _CASES_SHOWN else ""
        yield Text(f"    {way.says}")
        yield Text(f"      {', '.join(way.cases[:_CASES_SHOWN])}{more}", "dim")
