"""The file in which iscsi-captures finds the cases about an event is what the cases themselves say."""

from __future__ import annotations

from click.testing import CliRunner

from iscsi_captures.explain import cases
from iscsi_captures.explain.cases import event_cases
from iscsi_conformance.case import load_cases
from iscsi_conformance.events import index as index_module
from iscsi_conformance.events.catalogue import events, name_of
from iscsi_conformance.events.index import index, main, text
from iscsi_protocol.eventlog import EVENTS


def test_the_file_is_up_to_date():
    """`python -m iscsi_conformance.events.index` writes it."""
    written = index_module.index_path().read_bytes()
    assert written == text()
    assert event_cases() == index()


def test_every_case_about_an_event_stands_in_it_once():
    listed = [
        (name_of(event), way.id, case) for event, row in index().items() for way in row.variations for case in way.cases
    ]
    about = [(*case.about, case.id) for case in load_cases().values() if case.about and case.about[0] in case.events]
    assert sorted(listed) == sorted(about)


def test_every_event_stands_in_it():
    assert list(index()) == list(events()) == list(EVENTS)


def test_severities_are_those_of_the_catalogue():
    assert {event: row.severity for event, row in events().items()} == {
        event: row.severity.name.lower() for event, row in EVENTS.items()
    }


def test_the_command_writes_the_file(tmp_path, monkeypatch):
    path = tmp_path / cases.CASES_FILE
    monkeypatch.setattr(index_module, "index_path", lambda: path)
    result = CliRunner().invoke(main)
    assert result.exit_code == 0
    assert result.stdout.startswith("cases.json: ")
    assert path.read_bytes() == text()
