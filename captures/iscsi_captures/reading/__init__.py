"""Captures as histories: files → packets → TCP segments → streams of bytes → records.

One pass, bounded memory, linear time. Nothing is judged here: `Sink.record` gets the history's records, `Sink.note` what
the capture shows below iSCSI, gaps included.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from iscsi_captures.reading.engine import Engine
from iscsi_captures.reading.files import Input
from iscsi_captures.reading.frames import NO_FRAME, FrameNumber, FrameRef, frame_number, frame_of
from iscsi_captures.reading.notes import FileDamaged, Note
from iscsi_captures.reading.packets import CaptureFile, Packet
from iscsi_captures.reading.sink import CaptureError, ConnectionKey, FileFacts, Progress, Sink, Source, Totals


def read(
    sources: Sequence[Source],
    sink: Sink,
    *,
    port: int | None = None,
    only: Callable[[ConnectionKey], bool] | None = None,
    progress: Progress | None = None,
) -> Totals:
    """Read captures into a sink. Several are merged by time.

    port: connections of this TCP port are iSCSI whatever they look like; others are recognised by their shape. only: leaves
    out the connections it says no to. Raises CaptureError for a source that cannot be opened or is no capture; a file
    that is damaged further on is read up to there, which a note tells.
    """
    engine = Engine(sink, port=port, only=only)
    inputs: list[Input] = []
    try:
        inputs += map(Input, sources)
        if progress is not None:
            _watch(inputs, progress)
        files = [CaptureFile(source, index) for index, source in enumerate(inputs)]
        engine.run(_packets(files))
        for file in files:
            if file.damage is not None:
                message = f"{file.source.name}: {file.damage}"
                sink.note(
                    FileDamaged(
                        frame=frame_number(file.index, file.frames), time=file.last_time or 0.0, message=message
                    )
                )
        engine.finish()
    finally:
        for source in inputs:
            source.close()
    return _totals(engine, files)


def _packets(files: Sequence[CaptureFile]) -> Iterable[Packet]:
    """The packets of all files in the order of time; each file is taken to be in order."""
    return files[0] if len(files) == 1 else heapq.merge(*files, key=_time)


def _time(packet: Packet) -> float:
    return packet[1]


def _watch(inputs: Sequence[Input], progress: Progress) -> None:
    """Have each piece told that is read from now on, with all that was read before."""
    sizes = [source.size for source in inputs]
    whole = None if None in sizes else sum(size or 0 for size in sizes)

    def tell() -> None:
        progress(sum(source.taken for source in inputs), whole)

    for source in inputs:
        source.told = tell
    tell()


def _totals(engine: Engine, files: Sequence[CaptureFile]) -> Totals:
    facts = tuple(file.facts() for file in files)
    return Totals(
        packets=sum(fact.frames for fact in facts),
        bytes=sum(fact.bytes for fact in facts),
        link_types=engine.link_types,
        pdus=Counter({opcode: count for opcode, count in enumerate(engine.counts) if count}),
        connections=engine.connections,
        ignored=engine.ignored,
        first_time=min((fact.first_time for fact in facts if fact.first_time is not None), default=None),
        last_time=max((fact.last_time for fact in facts if fact.last_time is not None), default=None),
        files=facts,
    )


__all__ = [
    "NO_FRAME",
    "CaptureError",
    "ConnectionKey",
    "FileFacts",
    "FrameNumber",
    "FrameRef",
    "Note",
    "Progress",
    "Sink",
    "Source",
    "Totals",
    "frame_number",
    "frame_of",
    "read",
]
