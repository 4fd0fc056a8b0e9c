"""The corpus on disk: each breaking capture gives its finding and nothing else, each near miss nothing at all."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from iscsi_captures import chap_secrets
from iscsi_captures.login_digests import LoginDigests
from iscsi_captures.pcapng import read_packets
from iscsi_captures.rulebook import RuleBook
from iscsi_captures.rules import RULES
from iscsi_conformance.corpus.__main__ import main
from iscsi_conformance.corpus.rows import COMPANIONS
from iscsi_conformance.corpus.write import INDEX, SECRETS_FILE, SUFFIX, entries, pcapng, write
from iscsi_protocol.framing import Framer, HeaderDigestError
from iscsi_protocol.history import PduRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import LoginRequest, LoginResponse, decode
from iscsi_protocol.stream import Direction

CORPUS = Path(__file__).resolve().parents[2] / "captures" / "corpus"
ETHERNET, IPV4 = 14, 20
FIN, SYN, RST = 1, 2, 4


class Onlooker:
    """Reads the whole and well-formed TCP of the corpus: in order, with nothing lost."""

    def __init__(self):
        self.records = []
        self.numbers = {}
        self.framers = {}
        self.logins = {}

    def packet(self, time, frame):
        tcp = frame[ETHERNET + IPV4 :]
        ports = int.from_bytes(tcp[:2], "big"), int.from_bytes(tcp[2:4], "big")
        flags, payload = tcp[13], tcp[(tcp[12] >> 4) * 4 :]
        if flags & SYN and flags & 0x10:
            number = self.numbers[ports[1]] = len(self.framers) + 1
            self.framers[number] = (Framer(), Framer())
            self.logins[number] = LoginDigests()
            self.records.append(TransportRecord(number, time, TransportEvent.CONNECTED))
        direction = Direction.TO_TARGET if ports[1] == 3260 else Direction.TO_INITIATOR
        number = self.numbers.get(ports[direction], 0)
        if payload:
            self.framers[number][direction].receive(payload)
            self.pdus(number, time, direction)
        if flags & (FIN | RST):
            event = TransportEvent.RST if flags & RST else TransportEvent.FIN
            self.records.append(TransportRecord(number, time, event, direction=direction))

    def pdus(self, number, time, direction):
        framer = self.framers[number][direction]
        while True:
            try:
                raw = framer.next_pdu()
            except HeaderDigestError:
                framer.forgive()
                continue
            if raw is None:
                return
            raw = raw.kept()
            self.records.append(PduRecord(number, time, direction, raw))
            pdu = decode(raw)
            if isinstance(pdu, LoginRequest | LoginResponse):
                login = self.logins[number]
                login.text(bytes(pdu.data), response=isinstance(pdu, LoginResponse), continued=pdu.continued)
                if isinstance(pdu, LoginResponse) and pdu.transit and pdu.nsg == 3 and not pdu.status_class:
                    agreed = login.agreed()
                    for each in self.framers[number]:
                        each.header_digest, each.data_digest = agreed.header, agreed.data


def findings(data):
    """What the rule book finds in a capture."""
    onlooker, book = Onlooker(), RuleBook(chap_secrets=chap_secrets.read(CORPUS / SECRETS_FILE))
    for packet in read_packets(io.BytesIO(data)):
        onlooker.packet((packet.time_ns or 0) / 1e9, packet.data)
    for record in onlooker.records:
        book.record(record)
    return [finding.rule for finding in book.findings]


def captured(rule, kind):
    """The capture of a rule on disk."""
    return gzip.decompress((CORPUS / rule.partition(".")[0] / f"{rule}.{kind}{SUFFIX}").read_bytes())


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_the_breaking_capture_gives_its_finding_and_the_near_miss_none(rule):
    assert set(findings(captured(rule, "broken"))) == {rule, *COMPANIONS.get(rule, {})}
    assert findings(captured(rule, "kept")) == []


def test_the_corpus_is_what_its_tables_make():
    """No file is stale, none is missing, and none is left over."""
    made = {entry.name: entry for entry in entries()}
    assert {path.relative_to(CORPUS).as_posix() for path in CORPUS.glob(f"*/*{SUFFIX}")} == set(made)
    assert [
        name for name, entry in made.items() if gzip.decompress((CORPUS / name).read_bytes()) != pcapng(entry)
    ] == []
    index = json.loads((CORPUS / INDEX).read_text(encoding="utf-8"))
    assert [(row["file"], tuple(row["finds"]), tuple(row["made"])) for row in index] == [
        (entry.name, entry.finds, entry.steps) for entry in made.values()
    ]


def test_each_capture_says_what_it_shows_and_how_it_was_made():
    (entry, near, *_) = entries()
    assert entry.provenance.startswith(f"Breaks {entry.rule.id} ({entry.rule.clause}): ")
    assert "ready(); command(edit=bits 0x01 of header byte 3 set)" in entry.provenance
    assert near.provenance.startswith("Comes near to breaking, and keeps, ")
    beside = next(entry for entry in entries() if entry.rule.id == "digest.reject-reason")
    assert "With it: digest.data (the damage itself)." in beside.provenance


def test_the_command_writes_the_corpus_and_removes_what_is_left_over(tmp_path):
    stale = tmp_path / "framing" / f"framing.of-old.broken{SUFFIX}"
    stale.parent.mkdir()
    stale.write_bytes(b"")
    result = CliRunner().invoke(main, ["--write", str(tmp_path)])
    assert result.exit_code == 0
    assert f"{2 * len(RULES)} captures" in result.output
    assert not stale.exists()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob(f"*/*{SUFFIX}")}
    write(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob(f"*/*{SUFFIX}")} == before


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "framing").write_text("in the way", encoding="utf-8")
    result = CliRunner().invoke(main, ["--write", str(tmp_path)])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "framing" in result.output
