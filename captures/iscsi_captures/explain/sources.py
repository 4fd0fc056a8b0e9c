"""Events in whatever a file holds: an .evtx file, exported XML, lines of our own event log, a pasted dump."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from evtx import PyEvtxParser

from iscsi_captures.explain.exported import exported, has_events
from iscsi_captures.explain.found import OURS, Found, Trouble
from iscsi_captures.explain.pasted import pasted
from iscsi_protocol.eventlog import SERVICE_SOURCE, LogError, parse_line

EVTX_MAGIC = b"ElfFile\0"
MAX_TEXT = 64 << 20
"""Bytes of a text, or of standard input, that are read; .evtx files are read record by record and may have any size."""
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_MOST_ERRORS = 100_000


class Unreadable(ValueError):
    """An input that is none of the forms, and why."""


def events_in(path: Path) -> Iterator[Found | Trouble]:
    """What a file holds. Raises OSError and Unreadable."""
    with path.open("rb") as file:
        if file.read(len(EVTX_MAGIC)) == EVTX_MAGIC:
            file.seek(0)
            yield from _evtx(file)
            return
        file.seek(0)
        yield from events_of(file.read(MAX_TEXT + 1))


def events_of(data: bytes) -> Iterator[Found | Trouble]:
    """What these bytes hold. Raises Unreadable."""
    if len(data) > MAX_TEXT:
        raise Unreadable(f"over {MAX_TEXT >> 20} MiB; export fewer events, or give the .evtx file by its name")
    if data.startswith(EVTX_MAGIC):
        yield from _evtx(io.BytesIO(data))
        return
    text = _text(data)
    if has_events(text):
        yield from exported(text)
    elif text.lstrip()[:1] == "{":
        yield from _lines(text)
    else:
        yield from pasted(text)


def _text(data: bytes) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    # Exports of some tools are UTF-16 without a mark; ASCII has no NUL at every other place.
    head = data[:64]
    if len(head) > 3 and not any(head[1::2]):
        return data.decode("utf-16-le", "replace")
    return data.decode("utf-8", "replace")


def _lines(text: str) -> Iterator[Found | Trouble]:
    """Events of our own log."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            event = parse_line(line, number)
        except LogError as error:
            yield Trouble(place, "the line breaks off" if error.torn else "no event of our log")
            continue
        yield Found(
            place=place,
            source=event.source,
            id=event.record.id,
            packet=b"" if event.source == SERVICE_SOURCE else event.record.encode(),
            strings=event.inserts,
            time=event.time.isoformat(timespec="microseconds"),
            number=str(event.record.sequence),
            text=event.text,
        )


def _evtx(file: BinaryIO) -> Iterator[Found | Trouble]:
    """Records of an .evtx file; chunks and records that are damaged are passed over. Raises Unreadable."""
    try:
        records = cast("Iterator[Mapping[str, Any]]", PyEvtxParser(file, 1).records())
    except (RuntimeError, OSError) as error:
        raise Unreadable("no usable .evtx file: its header is damaged or cut off") from error
    names = tuple(OURS)
    errors = 0
    while errors < _MOST_ERRORS:
        try:
            record = next(records)
        except StopIteration:
            return
        except (RuntimeError, OSError) as error:
            errors += 1
            yield Trouble("damage", _damage(str(error)))
            continue
        text, place = record["data"], f"record {record['event_record_id']}"
        small = text.lower()
        if any(name in small for name in names):
            yield from exported(text, place)
        else:
            yield Found(place=place, source="")


def _damage(message: str) -> str:
    """The first part of the library's message, which says which record or chunk it is; what follows may quote the file."""
    beginning = message.partition(":")[0]
    return f"{beginning[:1].lower()}{beginning[1:80]}; passed over"
