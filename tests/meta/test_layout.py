"""The layout rules that no linter knows: top folders, sleeping, and words that do not belong in the project."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ROOMS = ("protocol", "target", "initiator", "captures", "conformance")
OUR_FOLDERS = (*ROOMS, "tests", "benchmarks", "docs", ".ci")
TEXT_SUFFIXES = {".cfg", ".html", ".ini", ".j2", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}

# Written so that none of them matches itself.
STRANGE_WORDS = {
    "a path of one machine": re.compile(r"(?<![\w.<{])/(?:work|root|home|Users)/\w"),
    "a package registry": re.compile(r"\b(?:pypi[.]org|pythonhosted[.]org|deb[.]debian[.]org)\b"),
    "a mark left for later": re.compile(r"\b(?:TO[D]O|FIX[M]E|XX[X]|HA[C]K)\b"),
    "a line hidden from coverage": re.compile(r"pragma[:] no (?:cover|branch)"),
}


def modules(*folders: str) -> Iterator[Path]:
    """Yield every Python file below the given folders of the checkout."""
    for folder in folders:
        yield from sorted((CHECKOUT / folder).rglob("*.py"))


def texts() -> Iterator[Path]:
    """Yield every text file that the project consists of, without what tools leave behind."""
    yield CHECKOUT / ".ci" / "run"
    ours = [*CHECKOUT.iterdir(), *(path for folder in OUR_FOLDERS for path in (CHECKOUT / folder).rglob("*"))]
    yield from (path for path in sorted(ours) if path.suffix in TEXT_SUFFIXES and path.is_file())


def sleeps(tree: ast.AST) -> list[int]:
    """Return the line of every time.sleep, and of every asyncio.sleep that is given anything but a literal 0."""
    lines = []
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr="sleep"), args=[ast.Constant(value=0)]):
                pass
            case ast.Call(func=ast.Attribute(value=ast.Name(id="time" | "asyncio"), attr="sleep")):
                lines.append(node.lineno)
            case ast.ImportFrom(module="time" | "asyncio", names=names) if any(name.name == "sleep" for name in names):
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("room", ROOMS)
def test_top_folder_is_not_a_package(room: str):
    """A top folder holds one package and no Python of its own, so that no module can be imported twice."""
    assert [path.name for path in (CHECKOUT / room).glob("*.py")] == []
    assert [path.parent.name for path in (CHECKOUT / room).glob("*/__init__.py")] == [f"iscsi_{room}"]


def test_nothing_is_imported_through_a_top_folder():
    """`import target.iscsi_target` would be a second copy of iscsi_target; imports inside strings count as well."""
    through_a_room = re.compile(rf"^\s*(?:from|import) (?:{'|'.join(ROOMS)})(?:\.| import )", re.MULTILINE)
    found = [
        f"{path.relative_to(CHECKOUT)}: {match.group().strip()}"
        for path in modules(*ROOMS, "tests", "benchmarks")
        for match in through_a_room.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("import time\ntime.sleep(0)", [2]),
        ("import asyncio\nawait asyncio.sleep(0)", []),
        ("import asyncio\nawait asyncio.sleep(0.1)", [2]),
        ("import asyncio\nawait asyncio.sleep(delay)", [2]),
        ("from time import sleep", [1]),
        ("from asyncio import sleep as pause, wait", [1]),
        ("event.wait(1)", []),
    ],
)
def test_sleeping_is_recognised(source: str, lines: list[int]):
    """The search for sleeping finds each way to write it, and leaves a bare turn of the loop alone."""
    assert sleeps(compile(source, "sample", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)) == lines


def test_nothing_sleeps():
    """Tests and cases wait for what they wait for; asyncio.sleep(0) alone is a turn of the loop."""
    found = [
        f"{path.relative_to(CHECKOUT)}:{line}"
        for path in modules("tests", "conformance")
        for line in sleeps(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []


@pytest.mark.parametrize("kind", STRANGE_WORDS)
def test_text_speaks_of_the_project_alone(kind: str):
    """No path of one machine, no registry, no mark left for later and no line hidden from coverage."""
    found = [
        f"{path.relative_to(CHECKOUT)}: {match.group()}"
        for path in texts()
        for match in STRANGE_WORDS[kind].finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("a path of one machine", "see /" + "root/notes"),
        ("a package registry", "https://" + "pypi" + ".org/simple"),
        ("a mark left for later", "# TO" + "DO: later"),
        ("a line hidden from coverage", "# pragma" + ": no cover"),
    ],
)
def test_strange_word_is_recognised(kind: str, text: str):
    """Each pattern finds what it is there for."""
    assert STRANGE_WORDS[kind].search(text)
