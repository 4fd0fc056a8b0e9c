"""The documents tell the truth: commands and options exist, links lead somewhere, and CI runs what the README says."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from importlib import import_module
from pathlib import Path

import click
import msgspec
import pytest

from iscsi_conformance.case import load_cases
from iscsi_conformance.corpus.__main__ import main as corpus
from iscsi_conformance.events.index import main as event_index
from iscsi_conformance.expected import ExpectedFailure
from iscsi_conformance.faults import all_faults
from iscsi_conformance.feature import Feature
from iscsi_conformance.fuzz.__main__ import main as fuzz
from iscsi_conformance.profile import ChapLogin, Profile
from iscsi_conformance.prove import main as prove
from iscsi_conformance.result import CaseResult, Coverage, Evidence, Results
from iscsi_protocol import fault as vocabulary
from iscsi_protocol.fault import Action
from iscsi_target import config
from iscsi_target.personalities import PERSONALITIES
from iscsi_target.policy import Policy

CHECKOUT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").glob("*.md")])
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
PLAIN = {"iscsicli"}
"""Programs that are no group of click's; their own tests hold their documents."""

SHARING = ("ls", "info", "read", "write", "copy", "attach")
"""Commands of iscsi-initiator that have the options of its own section as well."""

TOGETHER = ("iscsi-target isns-domains",)
"""Groups that have one section for all of their commands."""

STARTS = ("iscsi-conformance ", "iscsi-target ", "iscsi-initiator ", "iscsi-captures ", "python -m iscsi_")
"""How a line of a document begins that somebody may type."""

OPTION = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def commands() -> dict[str, click.Command]:
    """Every command by the words that start it, groups left out."""
    found: dict[str, click.Command] = {
        "python -m iscsi_conformance.corpus": corpus,
        "python -m iscsi_conformance.events.index": event_index,
        "python -m iscsi_conformance.prove": prove,
        "python -m iscsi_conformance.fuzz": fuzz,
    }
    for name, place in PROJECT["project"]["scripts"].items():
        module, _, attribute = place.partition(":")
        if name not in PLAIN:
            found |= below(name, getattr(import_module(module), attribute))
    return found


def below(words: str, group: click.Group) -> dict[str, click.Command]:
    """The commands of a group and of the groups in it."""
    found: dict[str, click.Command] = {}
    for word, command in group.commands.items():
        if isinstance(command, click.Group) and f"{words} {word}" not in TOGETHER:
            found |= below(f"{words} {word}", command)
        else:
            found[f"{words} {word}"] = command
    return found


COMMANDS = commands()


def sections(text: str) -> dict[str, str]:
    """Heading of the second level to what stands below it."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


REFERENCE = sections((CHECKOUT / "docs" / "commands.md").read_text(encoding="utf-8"))


def described(heading: str) -> set[str]:
    """The options in the first column of a section's tables."""
    rows = [line.split(" | ", 1)[0] for line in REFERENCE[heading].splitlines() if line.startswith("| `-")]
    return {option for row in rows for option in OPTION.findall(row)}


def options(command: click.Command) -> set[str]:
    """The options of a command, --help left out."""
    own = [each for each in command.params if isinstance(each, click.Option)]
    return {name for each in own for name in (*each.opts, *each.secondary_opts)}


def invocations(text: str) -> list[list[str]]:
    """The words of each command of ours that an indented line of a document starts, up to its explanation."""
    found = []
    for line in re.findall(r"^ {4,}(?:\$ )?(.+)$", text, re.MULTILINE):
        for part in re.split(r" && |\s{2,}", line):
            words = part.removeprefix(".venv/bin/")
            if words.startswith(STARTS):
                found.append(shlex.split(words))
    return found


def anchors(path: Path) -> set[str]:
    """The fragments that a document's headings can be reached by."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_command_has_its_section():
    """docs/commands.md has a section for each command, and none for one that is not there."""
    assert set(REFERENCE) - {"iscsi-initiator"} - PLAIN == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_those_that_exist(name):
    """The table of a command has each of its options and no other."""
    group, _, word = name.partition(" ")
    shared = described("iscsi-initiator") if group == "iscsi-initiator" and word in SHARING else set()
    assert described(name) | shared == options(COMMANDS[name])


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_documents_exist(path):
    """Every command that a document shows as a line to type exists, and so do the options on that line."""
    for words in invocations(path.read_text(encoding="utf-8")):
        size = 2 if " ".join(words[:2]) in COMMANDS else 3
        command = COMMANDS[" ".join(words[:size])]
        given = {word for word in words[size:] if OPTION.fullmatch(word)}
        assert given <= options(command), words


def test_commands_in_documents_are_found():
    """The search for commands takes the README's run line apart."""
    line = "    python3 -m venv .venv && .venv/bin/iscsi-conformance run --out report\n"
    assert invocations(line) == [["iscsi-conformance", "run", "--out", "report"]]
    assert len(invocations((CHECKOUT / "README.md").read_text(encoding="utf-8"))) > 10


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_relative_links_resolve(path):
    """A link to a file leads to one, and its fragment to a heading in it."""
    text = path.read_text(encoding="utf-8")
    for link in LINK.findall(text):
        if "://" in link:
            continue
        place, _, fragment = link.partition("#")
        target = path.parent / place if place else path
        assert target.is_file(), link
        assert not fragment or fragment in anchors(target), link


def test_readme_links_every_document():
    """Whoever starts at the README finds all others."""
    linked = {(CHECKOUT / link.partition("#")[0]) for link in LINK.findall((CHECKOUT / "README.md").read_text("utf-8"))}
    assert set(DOCUMENTS) - {CHECKOUT / "README.md"} <= linked


def test_ci_finds_the_command_of_the_readme():
    """The section on tests has one command, found by the very expression of .ci/run, and it starts tox."""
    script = (CHECKOUT / ".ci" / "run").read_text(encoding="utf-8")
    (expression,) = re.findall(r"readme_command=\$\(sed -n '([^']+)' README\.md\)", script)
    found = subprocess.run(
        ["sed", "-n", expression, "README.md"], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=10
    ).stdout.splitlines()
    assert len(found) == 1
    assert found[0].endswith("&& .venv/bin/pip install -q tox && .venv/bin/tox")


def test_readme_runs_what_tox_certifies():
    """The README's first command runs the bundled pair, as `tox -e certify` does."""
    (line,) = re.findall(
        r"^ {4}(python3\.11 -m venv .*run.*)$", (CHECKOUT / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert line.endswith("pip install -q . && .venv/bin/iscsi-conformance run --out report")
    assert "iscsi-conformance run --out " in (CHECKOUT / "tox.ini").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_tox_environments_exist(path):
    """Every environment that a document names for `tox -e` is one of tox.ini."""
    known = set(re.findall(r"^\[testenv:(\w+)\]", (CHECKOUT / "tox.ini").read_text(encoding="utf-8"), re.MULTILINE))
    known |= {"py311", "py312", "py313"}
    named = re.findall(r"tox (?:run )?-e (\w+)", path.read_text(encoding="utf-8"))
    assert set(named) <= known


@pytest.mark.parametrize("struct", [Results, CaseResult, Evidence, Coverage, Profile, ChapLogin, ExpectedFailure])
def test_results_and_profiles_are_described(struct):
    """docs/results.md names every field of what a run writes and what an operator may write."""
    text = (CHECKOUT / "docs" / "results.md").read_text(encoding="utf-8")
    assert [name for name in msgspec.structs.fields(struct) if f"`{name.encode_name}`" not in text] == []


def test_features_are_described():
    """docs/results.md names every feature that a profile may name."""
    text = (CHECKOUT / "docs" / "results.md").read_text(encoding="utf-8")
    assert [feature for feature in Feature if f"`{feature}`" not in text] == []


def test_target_configuration_is_described():
    """docs/target-config.md names every key and every switch, and its sample is one that the target takes."""
    text = (CHECKOUT / "docs" / "target-config.md").read_text(encoding="utf-8")
    tables = [each for each in vars(config).values() if isinstance(each, type) and issubclass(each, msgspec.Struct)]
    names = {name for each in tables for name in each.__struct_fields__} | set(Policy.__slots__)
    assert sorted(name for name in names if f"`{name}`" not in text) == []
    sample = "\n".join(line.removeprefix("    ") for line in text.splitlines() if line.startswith("    ") or not line)
    assert len(config.parse_config(sample).targets) == 2


def test_personalities_are_described():
    """docs/personalities.md has each personality with each of its quirks and where that goes back to, and no other."""
    described = sections((CHECKOUT / "docs" / "personalities.md").read_text(encoding="utf-8"))
    rows = {
        name: [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| what it does")]
        for name, text in described.items()
        if "| what it does" in text
    }
    assert rows == {
        name: [f"| {quirk.says} | {', '.join(f'<{source}>' for source in quirk.sources)} |" for quirk in each.quirks]
        for name, each in PERSONALITIES.items()
    }
    assert [name for name, each in PERSONALITIES.items() if each.says not in described[name]] == []


def test_vocabulary_of_faults_is_described():
    """docs/faults.md names every action, and whatever else it shows of the vocabulary exists."""
    text = (CHECKOUT / "docs" / "faults.md").read_text(encoding="utf-8")
    actions = {action.__name__ for action in Action.__args__}
    assert sorted(name for name in actions if f"`{name}`" not in text) == []
    shown = set(re.findall(r"`([A-Z][A-Za-z]+)[`(]", text)) - {"FAULTS"}
    assert shown <= set(vocabulary.__all__)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_faults_and_cases_in_documents_exist(path):
    """An id behind --fault is that of a fault, one behind `case =` that of a case."""
    text = path.read_text(encoding="utf-8")
    faults = all_faults()
    assert {each for each in re.findall(r"--fault ([a-z0-9.-]+)", text) if each not in faults} == set()
    assert {each for each in re.findall(r'case = "([^"]+)"', text) if each not in load_cases()} == set()


def test_architecture_names_modules_that_exist():
    """Each module in the table of chapters is one of its column's package."""
    text = sections((CHECKOUT / "ARCHITECTURE.md").read_text(encoding="utf-8"))["Where the chapters of RFC 7143 live"]
    rooms = {2: "protocol", 3: "target", 4: "initiator", 5: "captures"}
    missing = []
    for row in (line.strip("|").split("|") for line in text.splitlines() if re.match(r"\| [\d.]", line)):
        for column, room in rooms.items():
            for name in re.findall(r"`([\w.]+)`", row[column]):
                inner = f"rules{name}" if name.startswith(".") else name
                place = CHECKOUT / room / f"iscsi_{room}" / inner.replace(".", "/")
                if not (place.is_dir() or place.with_suffix(".py").is_file()):
                    missing.append(f"{room}: {name}")
    assert missing == []


def test_modules_of_the_import_contracts_exist():
    """A contract about a module that is not there would hold for ever."""
    names = set()
    for contract in PROJECT["tool"]["importlinter"]["contracts"]:
        for ignored in contract.get("ignore_imports", ()):
            names.add(ignored.partition(" -> ")[0])
        for layer in contract.get("layers", ()):
            for part in re.split(r" [:|] ", layer):
                for container in contract.get("containers", [""]):
                    names.add(f"{container}.{part}".lstrip("."))
    missing = []
    for name in names:
        package, _, inner = name.removesuffix(".**").partition(".")
        place = CHECKOUT / package.removeprefix("iscsi_") / package / inner.replace(".", "/")
        if not (place.is_dir() or place.with_suffix(".py").is_file()):
            missing.append(name)
    assert sorted(missing) == []
