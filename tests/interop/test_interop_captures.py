"""Captures of other people's products, read by us and by tshark: as many PDUs of every opcode."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from iscsi_captures.reading import Note, read
from iscsi_protocol.history import BytesRecord, Record

FOREIGN = Path(__file__).parents[2] / "captures" / "corpus" / "foreign"
CUT_SHORT = ("linux-tgt-both-digests", "qemu-tgt-write-read-2m")
CAPTURES = sorted(path for path in FOREIGN.iterdir() if path.suffix != ".md")


class Seen:
    """A sink that counts what is no PDU."""

    def __init__(self) -> None:
        self.undecodable = 0
        self.notes: list[Note] = []

    def record(self, record: Record, first: int, last: int) -> None:
        self.undecodable += isinstance(record, BytesRecord)

    def note(self, note: Note) -> None:
        self.notes.append(note)


def told_by_tshark(program: Path, path: Path) -> Counter[int]:
    command = [str(program), "-r", str(path), "-T", "fields", "-e", "iscsi.opcode", "-d", "tcp.port==3281,iscsi"]
    command += ["-o", "tcp.reassemble_out_of_order:TRUE"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Counter(int(code, 0) for line in done.stdout.split() for code in line.split(","))


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name.split(".")[0])
def test_as_many_pdus_of_every_opcode_as_tshark_sees(path, peer):
    sink = Seen()
    totals = read([path], sink)
    assert totals.pdus == told_by_tshark(peer("tshark"), path)
    assert totals.ignored == 0
    assert sink.undecodable == 0 or path.name.startswith(CUT_SHORT)


def test_six_captures_are_there():
    assert len(CAPTURES) == 6
