"""The corpus on disk: each breaking capture gives its finding and nothing else, each near miss nothing at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from iscsi_captures import chap_secrets
from iscsi_captures.reading import read
from iscsi_captures.rulebook import RuleBook
from iscsi_captures.rules import RULES
from iscsi_conformance.corpus.__main__ import main
from iscsi_conformance.corpus.rows import COMPANIONS
from iscsi_conformance.corpus.write import INDEX, SECRETS_FILE, SUFFIX, captures, entries, pcapng, write

CORPUS = Path(__file__).resolve().parents[2] / "captures" / "corpus"


class Judge:
    """Gives what is read to the rule book."""

    def __init__(self):
        self.book = RuleBook(chap_secrets=chap_secrets.read(CORPUS / SECRETS_FILE))

    def record(self, record, first, last):
        self.book.record(record)

    def note(self, note):
        pass


def findings(path):
    """What the rule book finds in a capture, read as a review reads it."""
    judge = Judge()
    read([path], judge)
    return [finding.rule for finding in judge.book.findings]


def captured(rule, kind):
    """The capture of a rule."""
    return CORPUS / rule.partition(".")[0] / f"{rule}.{kind}{SUFFIX}"


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_the_breaking_capture_gives_its_finding_and_the_near_miss_none(rule):
    assert set(findings(captured(rule, "broken"))) == {rule, *COMPANIONS.get(rule, {})}
    assert findings(captured(rule, "kept")) == []


def test_the_corpus_is_what_its_tables_make():
    """No file is stale, none is missing, and none is left over."""
    made = {entry.name: entry for entry in entries()}
    assert {path.relative_to(CORPUS).as_posix() for path in captures(CORPUS)} == set(made)
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
    foreign = tmp_path / "framing" / f"somebody-elses{SUFFIX}"
    foreign.write_bytes(b"")
    result = CliRunner().invoke(main, ["--write", str(tmp_path)])
    assert result.exit_code == 0
    assert f"{2 * len(RULES)} captures" in result.output
    assert not stale.exists()
    assert foreign.exists()
    before = {path: path.stat().st_mtime_ns for path in captures(tmp_path)}
    write(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in captures(tmp_path)} == before


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "framing").write_text("in the way", encoding="utf-8")
    result = CliRunner().invoke(main, ["--write", str(tmp_path)])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "framing" in result.output
