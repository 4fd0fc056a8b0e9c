"""What the commands are given that cannot be: an exit code of the documents, one clear line, no traceback, nothing written.

Whatever would serve, connect or run cases stands behind a fence: bad input does not get that far.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import os
import re
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import iscsi_captures.cli
import iscsi_conformance.cli
import iscsi_initiator.cli
import iscsi_target.cli
from iscsi_initiator.iscsicli import cli as iscsicli
from iscsi_initiator.iscsicli.table import COMMANDS as ISCSICLI

PROGRAMS: dict[str, click.Group] = {
    "iscsi-captures": iscsi_captures.cli.main,
    "iscsi-conformance": iscsi_conformance.cli.main,
    "iscsi-initiator": iscsi_initiator.cli.main,
    "iscsi-target": iscsi_target.cli.main,
}
CODES = {0, 1, 2, 3, 4}
USAGE = 2
PATIENCE = 10


def commands(command: click.Command, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command that does something, with the words that lead to it. Groups' own options are left out."""
    if isinstance(command, click.Group):
        for name, inside in sorted(command.commands.items()):
            yield from commands(inside, *path, name)
    else:
        yield path, command


COMMANDS = [(name, *each) for name, main in PROGRAMS.items() for each in commands(main)]
IDS = [" ".join([name, *path]) for name, path, _ in COMMANDS]
BEFORE = {"isns-domains": ["--control", "nowhere.socket"]}
"""What a group has to be given ahead of its commands."""

GOOD = {
    "url": "iscsi://127.0.0.1:1/iqn.2026-01.org.example:disk/0",
    "urls": "iscsi://127.0.0.1:1/iqn.2026-01.org.example:disk/0",
    "source": "iscsi://127.0.0.1:1/iqn.2026-01.org.example:disk/0",
    "target": "out.img",
    "listen": "127.0.0.1:0",
    "upstream": "127.0.0.1:1",
    "id_": "R7143-4.2.2.1-07",
    "number": "1",
    "domains": "1",
}
"""For what has to be there, by the name of the parameter; a file of the folder where it is not here."""

ODD = [
    "",
    " ",
    "a\nb",
    "\x1b[2J",
    "\udc80",
    "--",
    "-",
    "*",
    "%s",
    "é" * 300,
    "x" * 5000,
    "../..",
    "[::1",
    ":",
    "@",
]
BAD: dict[str, list[str]] = {
    "portal": ["", ":", "a:b:c", "h:0x", "h:65536", "h:-1", "[::1", "h:", "a b:1", "h:1:1"],
    "portals": ["", ":", "a:b:c", "h:65536", "[::1"],
    "listen": ["", ":", "a:b:c", "h:65536", "[::1", "h:x"],
    "upstream": ["", ":", "a:b:c", "h:65536", "[::1", "h:x"],
    "url": [
        "",
        "x",
        "iscsi://",
        "iscsi://h:0/x/0",
        "iscsi://h:x/n/0",
        "iscsi://u:p@h/n/0",
        "http://h/n/0",
        "iscsi://[::1/n/0",
    ],
    "urls": ["", "x", "iscsi://", "iscsi://h/n/x", "iscsi://u:p@h/n/0"],
    "source": ["iscsi://", "iscsi://h/n/x", "nowhere.img"],
    "luns": [
        "",
        "0",
        "0=",
        "x=memory:1MiB",
        "0=memory:",
        "0=memory:1XB",
        "0=tape:x",
        "0=memory:1MiB,bs=7",
        "-1=memory:1MiB",
    ],
    "serve name": ["", "no name", "iqn.", "x" * 300, "iqn.2026-01.org.example:" + "x" * 220],
    "isns": [":", "h:x", "[::1", "h:65536"],
    "personality_name": ["", "nobody"],
    "fault_ids": ["", "no.such-fault"],
    "control_nodes": ["", "no name"],
    "initiator_name": ["", "no name", "x" * 300],
    "id_": ["", "no-such-id"],
    "addresses": ["", "h", "1.2.3", "1.2.3.4.5"],
    "adapters": ["", "="],
    "config": ["nowhere.toml", "rubbish"],
    "profile": ["nowhere.toml", "rubbish"],
    "expected_failures": ["nowhere.toml", "rubbish"],
    "chap_file": ["nowhere.txt", "."],
    "secret_file": ["nowhere.txt"],
    "mutual_secret_file": ["nowhere.txt"],
    "chap_secret_file": ["nowhere.txt", "."],
    "boot_table": ["nowhere.bin", "."],
    "weights": ["", "x", "-1"],
    "reservation_key": ["", "x", "0x", "0x11111111111111111"],
    "nodes": ["", "no name"],
    "files": ["nowhere.pcapng", "rubbish", "."],
    "file": ["nowhere.bin", "."],
    "first": ["nowhere.pcapng", "rubbish", "."],
    "second": ["nowhere.pcapng", "rubbish", "."],
    "before": ["nowhere.json", "rubbish", "."],
    "after": ["nowhere.json", "rubbish", "."],
    "conditions": ["", "x", "=1"],
    "words": ["x", "=1"],
    "flags": ["", "0x", "no-such-flag", "0x100000000"],
    "providers": ["nowhere.ctl", "rubbish"],
    "metrics": ["", ":", "h:x", "h:65536", "[::1"],
    "standbys": ["x"],
    "mac": ["", "x", "00:11:22:33:44", "00:11:22:33:44:55:66"],
    "address": ["", "x", "1.2.3"],
    "gateway": ["", "x"],
    "dns": ["", "x"],
    "dhcp_server": ["", "x"],
    "pci": ["", "x", "0:0"],
    "instance": ["", "x", "00000"],
}
"""Values that no option or argument of that name takes; those of numbers and choices follow from their types."""


RUBBISH = b"\x7f neither = [ this { nor \xff that"
ENDLESS = {"--follow", "-f"}


class Accepted(BaseException):
    """A command went on to serve, to connect or to run cases."""


class Fence:
    """Ends whatever gets to the network, also behind the back of a command that would try again."""

    def __init__(self) -> None:
        self._run = asyncio.run
        self._reach: Callable[[], object] = lambda: None

    def __call__(self, *_: Any, **__: Any) -> Any:
        self._reach()
        raise Accepted

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A socket's call, which ends there where it is one of the network or of this host."""

        def fenced(which: socket.socket, *arguments: Any) -> Any:
            if which.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
                which.close()
                self()
            return call(which, *arguments)

        return fenced

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """In the place of asyncio.run."""

        async def fenced() -> Any:
            reached, loop = asyncio.Event(), asyncio.get_running_loop()
            self._reach = lambda: loop.call_soon_threadsafe(reached.set)
            task, waiting = loop.create_task(work), loop.create_task(reached.wait())
            await asyncio.wait({task, waiting}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task}, timeout=PATIENCE)
                raise Accepted
            return task.result()

        try:
            return self._run(fenced())
        finally:
            self._reach = lambda: None


def _nowhere(name: str | bytes | None, *_: Any, **__: Any) -> Any:
    try:
        address = ipaddress.ip_address(str(name))
    except ValueError:
        raise socket.gaierror(-2, "Name or service not known") from None
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return [(family, socket.SOCK_STREAM, 6, "", (str(address), 1))]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to be in, with a file that is none of any format; whatever has a default place has it there."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(home))
    # where libraries keep what they like
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in [each for each in os.environ if each.startswith("ISCSI_")]:
        monkeypatch.delenv(name)
    (home / "rubbish").write_bytes(RUBBISH)
    monkeypatch.chdir(home)
    fence = Fence()
    for name in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, name, fence.around(getattr(socket.socket, name)))
    monkeypatch.setattr(asyncio, "run", fence.run)
    monkeypatch.setattr(socket, "getaddrinfo", _nowhere)
    monkeypatch.setattr("iscsi_conformance.cli.run", fence)
    return home


def inventory(place: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {str(each.relative_to(place)): each.read_bytes() for each in place.rglob("*") if each.is_file()}


def required(command: click.Command, *, without: str = "") -> list[str]:
    """What has to be there, each of it good as far as can be told without a peer."""
    words: list[str] = []
    for each in command.params:
        if each.required and each.name != without:
            good = GOOD.get(each.name or "", "rubbish")
            words += [good] if isinstance(each, click.Argument) else [each.opts[0], good]
    return words


def start(name: str, path: tuple[str, ...], words: list[str]) -> Any:
    """Run a command; None where it went on to do something."""
    line = [word for part in path for word in (part, *BEFORE.get(part, []))]
    try:
        return CliRunner().invoke(PROGRAMS[name], [*line, *words])
    except Accepted:
        return None


def check(result: Any, place: Path, before: dict[str, bytes], *, printable: bool = True) -> None:
    """What holds of every refusal. printable: whether all that was given is; click shows some of it as it is."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in CODES
    if result.exit_code == 0:
        return
    assert "Traceback" not in result.output
    assert inventory(place) == before
    if result.exit_code == USAGE:
        assert result.stdout == ""
    if not printable:
        return
    lines = [each for each in result.stderr.splitlines() if each]
    usage = next((place for place, each in enumerate(lines) if each.startswith("Try '")), -1)
    said = lines[usage + 1 :]
    assert len(said) == 1, said
    assert said[0].isprintable(), said
    assert said[0].startswith(("Error: ", "iscsi-")), said


@pytest.mark.parametrize(("name", "path", "command"), COMMANDS, ids=IDS)
def test_unknown_options_and_surplus_words(place, name, path, command):
    before = inventory(place)
    for words in (["--no-such-option"], ["--no-such-option=1"], ["-Q"], *([each] * 3 for each in ("one", "a b"))):
        if (
            not any(isinstance(each, click.Argument) and each.nargs == -1 for each in command.params)
            or words[0][0] == "-"
        ):
            result = start(name, path, [*required(command), *words])
            assert result is not None
            assert result.exit_code == USAGE, result.output
            check(result, place, before)


@pytest.mark.parametrize(("name", "path", "command"), COMMANDS, ids=IDS)
def test_what_is_missing(place, name, path, command):
    """Each parameter that has to be there, left out; each option, without its value."""
    before = inventory(place)
    lacking = [required(command, without=each.name) for each in command.params if each.required]
    options = [
        each for each in command.params if isinstance(each, click.Option) and not each.is_flag and not each.count
    ]
    for words in (*lacking, *([*required(command), each.opts[0]] for each in options)):
        result = start(name, path, words)
        assert result is not None, words
        assert result.exit_code == USAGE, (words, result.output)
        check(result, place, before)


def bad_values(parameter: click.Parameter, command: str = "") -> list[str]:
    """Values that a parameter does not take, of any command or of one that is named."""
    kind = parameter.type
    if isinstance(kind, click.IntRange | click.FloatRange):
        low = [] if kind.min is None else [str(kind.min - 1)]
        high = [] if kind.max is None else [str(kind.max + 1)]
        return ["", "x", "1x", "0x", "nan" if isinstance(kind, click.IntRange) else "one", *low, *high]
    if isinstance(kind, click.types.FloatParamType):
        return ["", "x", "0x1"]
    if isinstance(kind, click.types.IntParamType):
        return ["", "x", "1.5", "0x1"]
    if isinstance(kind, click.Choice):
        return ["", "no-such-choice", str(next(iter(kind.choices))).upper() + "x"]
    return BAD.get(parameter.name or "", []) + BAD.get(f"{command} {parameter.name}", [])


MADE_FILES = {("read", "file"), ("export", "file"), ("write", "file")}
"""What is written, where a name that nothing has is a good one."""


CASES = [
    pytest.param(name, path, command, each, value, id=f"{' '.join([name, *path])}-{each.name}-{value[:20]!r}")
    for name, path, command in COMMANDS
    for each in command.params
    for value in bad_values(each, path[-1])
    # What members and names of domains may be is the server's to say.
    if "isns-domains" not in path or isinstance(each.type, click.types.IntParamType)
    if not (value == "nowhere.bin" and (path[-1], each.name) in MADE_FILES)
]


@pytest.mark.parametrize(("name", "path", "command", "parameter", "value"), CASES)
def test_values_that_cannot_be(place, name, path, command, parameter, value):
    before = inventory(place)
    words = required(command, without=parameter.name)
    if isinstance(parameter, click.Argument):
        place_of = [each.name for each in command.params if isinstance(each, click.Argument) and each.required]
        words.insert(place_of.index(parameter.name) if parameter.name in place_of else 0, value)
    else:
        words += [parameter.opts[0], value]
    result = start(name, path, words)
    assert result is not None, "it was taken"
    assert result.exit_code != 0, result.output
    check(result, place, before)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(COMMANDS), st.data())
def test_whatever_is_given(place, row, data):
    """Options of the command and of others, with values that are good, bad and odd."""
    name, path, command = row
    options = [each.opts[0] for each in command.params if isinstance(each, click.Option)]
    values = [value for each in command.params for value in bad_values(each)] + [*GOOD.values(), "rubbish", "1", "0"]
    word = st.sampled_from([*options, "--json", "--port"]) | st.sampled_from(values) | st.sampled_from(ODD)
    words = data.draw(st.lists(word.filter(lambda word: word not in ENDLESS), max_size=8))
    if data.draw(st.booleans()):
        words = [*required(command), *words]
    (place / "rubbish").write_bytes(RUBBISH)
    before = inventory(place)
    result = start(name, path, words)
    if result is not None:
        check(result, place, before, printable=all(each.isprintable() for each in words))
    for each in inventory(place):
        (place / each).unlink()


ISCSICLI_WORDS = [
    *ISCSICLI,
    "--json",
    "--socket",
    "--timeout",
    "nowhere.socket",
    "1",
    "T",
    "*",
    "?",
    "@nowhere",
    "@rubbish",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(ISCSICLI_WORDS) | st.sampled_from(ODD), max_size=24))
def test_whatever_iscsicli_is_given(place, words):
    """A status code in one line, or the way to the service; nothing else is said, and nothing written."""
    before = inventory(place)
    out, err = io.TextIOWrapper(io.BytesIO()), io.TextIOWrapper(io.BytesIO())
    with redirect_stdout(out), redirect_stderr(err), patch("sys.stdin", io.StringIO()):
        try:
            iscsicli.main(words)
        except SystemExit as left:
            status = left.code
        except Accepted:
            return
    assert inventory(place) == before
    said = err.buffer.getvalue().decode()
    if status:
        assert status in (1, USAGE)
        assert re.fullmatch(r"iscsicli: error 0xEFFF[0-9A-F]{4} ISDSC_\w+: .+\n", said), said
        assert said[:-1].isprintable()
    else:
        assert said == ""
