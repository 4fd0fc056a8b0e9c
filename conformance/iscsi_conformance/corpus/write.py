"""Histories as capture files: two a rule, one that breaks it and one that only nearly does, with how each was made."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from iscsi_captures.pcapng import SYNTHESISED, PcapngWriter
from iscsi_captures.rules import RULES, Rule
from iscsi_captures.tcp import Frame, TcpSynthesis
from iscsi_conformance.corpus.rows import COMPANIONS, HISTORIES
from iscsi_conformance.corpus.script import Script
from iscsi_conformance.corpus.secrets import secrets_text
from iscsi_protocol.history import Record

SUFFIX = ".pcapng.gz"
INDEX = "index.json"
SECRETS_FILE = "chap-secrets.txt"
BEGINNING = 1_767_225_600
"""Seconds since the epoch: when every capture of the corpus begins, the first moment of 2026."""

_NANOSECONDS = 10**9
_WORDS = {True: "broken", False: "kept"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the corpus. finds: the rules that it breaks. steps: the verbs of the script that made it."""

    rule: Rule
    breaking: bool
    finds: tuple[str, ...]
    steps: tuple[str, ...]
    records: tuple[Record, ...]

    @property
    def name(self) -> str:
        """Its path within the corpus."""
        area = self.rule.id.partition(".")[0]
        return f"{area}/{self.rule.id}.{_WORDS[self.breaking]}{SUFFIX}"

    @property
    def provenance(self) -> str:
        """What it shows and how it was made, as the file's comment says it."""
        shows = "Breaks" if self.breaking else "Comes near to breaking, and keeps,"
        others = [
            f"{rule} ({reason})" for rule, reason in COMPANIONS.get(self.rule.id, {}).items() if rule in self.finds
        ]
        return (
            f"{shows} {self.rule.id} ({self.rule.clause}): {self.rule.says}"
            + (f" With it: {'; '.join(others)}." if others else "")
            + " Made from a scripted dialogue of an honest pair by iscsi_conformance.corpus, a second from each PDU to the"
            f" next: {'; '.join(self.steps)}."
        )


def entries() -> Iterator[Entry]:
    """All files of the corpus, in the order of the rules."""
    for rule in RULES:
        for breaking in (True, False):
            script = HISTORIES[rule.id][0 if breaking else 1][0](Script())
            finds = (rule.id, *COMPANIONS.get(rule.id, {})) if breaking else ()
            yield Entry(rule, breaking, finds, tuple(script.steps), tuple(script.records))


def pcapng(entry: Entry) -> bytes:
    """The capture, not yet compressed. The same bytes each time."""
    stream, synthesis = io.BytesIO(), TcpSynthesis()
    writer = PcapngWriter(stream, application="iscsi-conformance", comments=[entry.provenance, SYNTHESISED])
    writer.add_interface(name="synthesised")
    for record in entry.records:
        _write(writer, synthesis.record(record))
    _write(writer, synthesis.flush())
    return stream.getvalue()


def _write(writer: PcapngWriter, frames: Iterable[Frame]) -> None:
    for time, frame, comments in frames:
        writer.write_packet((BEGINNING + round(time)) * _NANOSECONDS, frame, comments=comments)


def write(folder: Path) -> list[Path]:
    """Write the corpus, and remove captures that are no longer part of it; the files written. Raises OSError."""
    written = []
    index = []
    for entry in entries():
        path = folder / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        _put(path, pcapng(entry))
        written.append(path)
        index.append({"file": entry.name, "rule": entry.rule.id, "finds": entry.finds, "made": entry.steps})
    (folder / SECRETS_FILE).write_text(secrets_text(), encoding="utf-8")
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    for path in set(folder.glob(f"*/*{SUFFIX}")) - set(written):
        path.unlink()
    return written


def _put(path: Path, data: bytes) -> None:
    """Compress into the file; one with the same contents stays as it is, whatever library compressed it."""
    if path.exists() and gzip.decompress(path.read_bytes()) == data:
        return
    path.write_bytes(gzip.compress(data, mtime=0))
