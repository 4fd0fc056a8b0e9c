"""Every command does and prints what its transcript says."""

from __future__ import annotations

import pytest
from tests.initiator.iscsicli.test_initiator_iscsicli_arguments import FORMS
from tests.initiator.iscsicli.transcript import FILES, GOLDEN, commands, outcomes, play

from iscsi_initiator.iscsicli.table import COMMANDS, GROUPS

NAMES = [each.name for group in GROUPS.values() for each in group]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_transcript_comes_out_again(path):
    """What the commands of a transcript print is what stands there."""
    text = path.read_text(encoding="utf-8")
    assert play(text) == text


@pytest.mark.parametrize("name", NAMES)
def test_command_has_its_transcript(name):
    """Each command has a file of its own, in which it succeeds or says why it cannot."""
    text = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert any(COMMANDS[each.lower()].name == name for each in commands(text) if each.lower() in COMMANDS)


@pytest.mark.parametrize("name", FORMS)
def test_commands_of_the_guide_succeed_in_a_transcript(name):
    """Each command of Appendix C: it is done, and it is refused or takes no argument."""
    row = COMMANDS[name.lower()]
    played = [each for path in FILES for each in outcomes(path.read_text("utf-8"))]
    statuses = [status for each, status in played if COMMANDS.get(each.lower()) is row]
    assert 0 in statuses
    if row.parameters:
        assert {1, 2} & set(statuses)


def test_aliases_are_played():
    """Every other name of a command is used in some transcript."""
    played = {each.lower() for path in FILES for each in commands(path.read_text(encoding="utf-8"))}
    assert set(COMMANDS) <= played


def test_transcripts_show_no_secret():
    """A secret stands in a line that was typed, and in no line that was printed."""
    secrets = ("secret-of-12-bytes", "group-key", "a-key", "asked for, long", "000102030405060708090a0b")
    for path in FILES:
        printed = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("$ ")]
        assert [line for line in printed if any(secret in line for secret in secrets)] == []
