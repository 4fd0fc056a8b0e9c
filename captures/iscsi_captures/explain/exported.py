"""Events in XML: as the Event Viewer and wevtutil export them, and as they are read out of .evtx files.

Each `<Event>` is read by itself, so that one which is damaged does not hide the others. There may be none around them, or
`<Events>`, or any text: the Event Viewer copies an event with its description in front. A document type in front is not
read either, so there are no entities that grow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

from iscsi_captures.explain.found import Found, Trouble

_START = re.compile(r"<(?:\w+:)?Event(?=[\s>])")
_NO_CHARACTERS = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_LEVELS = {"0": "information", "1": "critical", "2": "error", "3": "warning", "4": "information", "5": "verbose"}
_NUMBER = re.compile(r"[0-9]{1,10}")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*")


@dataclass(slots=True)
class _Event:
    """What was read of an event so far: pieces of text by the local names of the elements, and those of each Data."""

    pieces: dict[str, list[str]] = field(default_factory=dict)
    data: list[list[str]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition(":")[2]
        self.open.append(name)
        if name == "Data":
            self.data.append([])
        elif name == "Provider":
            self.pieces[name] = [attributes.get("EventSourceName") or attributes.get("Name", "")]
        elif name == "TimeCreated":
            self.pieces[name] = [attributes.get("SystemTime", "")]

    def end(self, _tag: str) -> None:
        self.open.pop()

    def characters(self, text: str) -> None:
        name = self.open[-1]
        pieces = self.data[-1] if name == "Data" else self.pieces.setdefault(name, [])
        pieces.append(text)

    def text(self, name: str) -> str:
        return "".join(self.pieces.get(name, ())).strip()


def has_events(text: str) -> bool:
    """Whether there is the beginning of an event in the text."""
    return _START.search(text) is not None


def exported(text: str, place: str = "") -> Iterator[Found | Trouble]:
    """The events in a text. place: what they are called if there is but one; else they are counted."""
    position, number = 0, 0
    while match := _START.search(text, position):
        number += 1
        # An event without an end goes as far as the next one, or as the text.
        following = _START.search(text, match.end())
        position = following.start() if following else len(text)
        closing = f"</{match[0][1:]}>"
        end = text.find(closing, match.end(), position)
        position = position if end < 0 else end + len(closing)
        yield from _event(text[match.start() : position], place or f"event {number}")


def _event(text: str, place: str) -> Iterator[Found | Trouble]:
    event, broken = _Event(), False
    parser = expat.ParserCreate()
    parser.StartElementHandler = event.start
    parser.EndElementHandler = event.end
    parser.CharacterDataHandler = event.characters
    try:
        parser.Parse(_NO_CHARACTERS.sub("�", text).encode(), True)
    except expat.ExpatError as error:
        broken = True
        yield Trouble(place, f"its XML breaks off or is damaged (line {error.lineno}); read as far as it goes")
    number = event.text("EventID")
    if not event.text("Provider") or not _NUMBER.fullmatch(number):
        yield Trouble(place, "an event without source or number")
        return
    packet = None
    if "Binary" in event.pieces:
        digits = "".join(event.text("Binary").split())
        read = _HEX.match(digits)
        packet = bytes.fromhex(read[0]) if read else b""
        broken = broken or 2 * len(packet) < len(digits)
    yield Found(
        place=place,
        source=event.text("Provider"),
        id=int(number),
        packet=packet,
        strings=tuple("".join(each).strip() for each in event.data),
        broken=broken,
        time=event.text("TimeCreated"),
        computer=event.text("Computer"),
        number=event.text("EventRecordID"),
        level=_LEVELS.get(event.text("Level"), ""),
    )
