"""docs/iscsicli.md and docs/service-api.md keep in step with the tables that they are made of."""

from __future__ import annotations

import re

import click
import pytest
from tests.initiator.iscsicli.document import DOCS, MADE, filled

from iscsi_initiator.iscsicli.cli import program
from iscsi_initiator.iscsicli.table import COMMANDS


@pytest.mark.parametrize("name", MADE)
def test_document_is_in_step(name):
    """What is made of the code stands in the document as it is made now."""
    assert (DOCS / name).read_text(encoding="utf-8") == filled(name)


def test_examples_are_commands():
    """What the document shows to type begins with a command that there is."""
    text = (DOCS / "iscsicli.md").read_text(encoding="utf-8")
    shown = re.findall(r"^    iscsicli (\w+)", text, re.MULTILINE)
    assert len(shown) >= 5
    assert {each.lower() for each in shown} <= set(COMMANDS)


def test_options_are_those_that_exist():
    """docs/commands.md has each option of the program and no other."""
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    section = re.search(r"^## iscsicli$(.*?)^## ", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    described = set(re.findall(r"(?<=^\| `)--[a-z]+", section[1], re.MULTILINE))
    assert described == {name for each in program.params if isinstance(each, click.Option) for name in each.opts}
