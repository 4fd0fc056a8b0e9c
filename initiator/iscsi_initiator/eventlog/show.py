"""Events as people read them: a line that says what and when, and below it the extra data, value by value."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from rich.text import Text

from iscsi_protocol.eventlog.entry import LoggedEvent
from iscsi_protocol.eventlog.explain import details
from iscsi_protocol.eventlog.parts import UNTITLED, Detail, Part, printable
from iscsi_protocol.eventlog.service_rows import SERVICE_EVENTS, SERVICE_SOURCE

_STYLES = {"error": "bold red", "warning": "bold yellow", "information": "bold green"}
_SEVERITY_WIDTH = max(map(len, _STYLES))


def event_json(event: LoggedEvent) -> dict[str, object]:
    """The object of the log, and `details` with what its extra data says: part, offset, name, value, text."""
    return event.as_json() | {
        "details": [
            {"part": part.title, "offset": each.offset, "name": each.name, "value": each.value, "text": each.text}
            for part in _parts(event)
            for each in part.details
        ]
    }


def event_lines(event: LoggedEvent) -> Iterator[Text]:
    """The lines of an event, with styles; `plain` of each is the same without."""
    record = event.record
    style = _STYLES.get(event.severity, "bold")
    yield Text.assemble(
        (event.time.isoformat(timespec="microseconds"), "dim"),
        f" {event.source} ",
        (f"{record.id:>2}", "bold"),
        " ",
        (f"{event.severity:<{_SEVERITY_WIDTH}}", style),
        f" {event.message}{': ' if event.text else ''}{printable(event.text)} ",
        (f"#{record.sequence}", "dim"),
    )
    for part in _parts(event):
        yield from _part_lines(part)


def _parts(event: LoggedEvent) -> tuple[Part, ...]:
    """What the extra data says, or the strings of a service's event, by their places among them."""
    if event.source != SERVICE_SOURCE:
        return tuple(details(event.record.id, event.record.extra))
    row = SERVICE_EVENTS.get(event.record.id)
    names = row.inserts if row is not None else ()
    named = zip_longest(names[: len(event.inserts)], event.inserts, fillvalue="string")
    found = tuple(Detail(place, name, text, printable(text)) for place, (name, text) in enumerate(named))
    return (Part(UNTITLED, found),) if found else ()


def _part_lines(part: Part) -> Iterator[Text]:
    if part.title != UNTITLED:
        yield Text.assemble("    ", (part.title, "bold"))
    width = max((len(each.name) for each in part.details), default=0)
    for each in part.details:
        yield Text.assemble(
            "      ",
            (f"{each.offset:#04x}", "dim"),
            f"  {each.name:<{width}}  ",
            # What rests at its usual value steps back behind what tells something.
            (each.text, "" if each.telling else "dim"),
        )
