"""The program iscsicli: options, the prompt, secrets out of files and by asking, and the way to the service and back."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import pytest
from tests.initiator.iscsicli.fake_service import DISK, FakeService

from iscsi_initiator.iscsicli import cli
from iscsi_initiator.iscsicli.lines import hex_lines, printable
from iscsi_initiator.iscsicli.parameters import Usage
from iscsi_initiator.iscsicli.prompt import split
from iscsi_initiator.iscsicli.render import complaint, detail, wrap
from iscsi_initiator.iscsicli.secret import MAX_FILE, Secrets
from iscsi_initiator.service import api
from iscsi_initiator.service.listener import Listener
from iscsi_initiator.service.versions import UNKNOWN, file_versions
from iscsi_initiator.status_codes import StatusCode

PROGRAM = [sys.executable, "-c", "from iscsi_initiator.iscsicli.cli import main; main()"]


class Terminal(io.StringIO):
    """A terminal that lines were typed at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the program; its exit status, standard output and standard error."""

    def start(*arguments: str, typed: io.StringIO | None = None) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO() if typed is None else typed)
        monkeypatch.setenv("ISCSI_INITIATOR_SOCKET", str(tmp_path / "s"))
        with pytest.raises(SystemExit) as left:
            cli.main(arguments)
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return start


def served(tmp_path: Path, *scripts):
    """Run functions in a thread, one after the other, while a service listens at the socket."""

    async def scene():
        fake = FakeService()
        listener = Listener(tmp_path / "s", fake.answer, defect=lambda error: None)
        await listener.start()
        try:
            return fake, [await asyncio.to_thread(script) for script in scripts]
        finally:
            await listener.close()

    return asyncio.run(scene())


def test_commands_reach_the_service(run, tmp_path):
    """From the words to the socket and back: text, JSON, a warning that is no failure, an error that is one."""
    _, results = served(
        tmp_path,
        lambda: run("QAddTargetPortal", "192.0.2.10"),
        lambda: run("--json", "listtargets"),
        lambda: run("CHAPSecret", "short"),
        lambda: run("--timeout", "10", "QLoginTarget", DISK + "x"),
    )
    assert results[0] == (0, "Status 0x00000000: done.\n", "")
    assert results[1][0] == 0
    assert DISK in json.loads(results[1][1])["targets"]
    assert results[2][0] == 0
    assert results[2][1] == "Status 0xAFFF0048: done, with a warning.\n"
    assert results[2][2].startswith("iscsicli: warning 0xAFFF0048 ISDSC_SHORT_CHAP_SECRET: ")
    assert results[3] == (1, "", f"iscsicli: error 0xEFFF0029 ISDSC_TARGET_NOT_FOUND: {DISK}x\n")


def test_program_as_a_process(tmp_path):
    """The same, as it is started: one process for each command, and one that reads commands."""

    def start(*arguments: str, typed: str = "") -> tuple[int, str, str]:
        line = [*PROGRAM, "--socket", str(tmp_path / "s"), *arguments]
        ended = subprocess.run(line, input=typed, capture_output=True, text=True, timeout=60, check=False)
        return ended.returncode, ended.stdout, ended.stderr

    script = f"QAddTargetPortal 192.0.2.10\nQLoginTarget {DISK}\nQLoginTarget {DISK}\n"
    fake, (piped, single) = served(tmp_path, lambda: start(typed=script), lambda: start("SessionList"))
    assert piped[0] == 1
    assert piped[1].splitlines()[0] == "Status 0x00000000: done."
    assert "0xEFFF003F" in piped[2]
    assert single[0] == 0
    assert fake.sessions[0].session_id in single[1]


def test_service_that_is_not_there(run):
    """No service: the guide's code for it."""
    status, out, err = run("ListTargets")
    assert (status, out) == (1, "")
    assert err.startswith("iscsicli: error 0xEFFF003E ISDSC_SERVICE_NOT_RUNNING: ")


@pytest.mark.parametrize("arguments", [["/?"], ["-h"], ["--help"], ["help"], ["/HELP"]])
def test_overview(run, arguments):
    """Each way to ask for help lists the commands."""
    status, out, err = run(*arguments)
    assert (status, err) == (0, "")
    assert "LoginTarget" in out
    assert max(len(line) for line in out.splitlines()) < 110


def test_version(run):
    """The version is the project's."""
    status, out, _ = run("--version")
    assert status == 0
    assert out.startswith("iscsicli, version ")


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--timeout", "0", "ListTargets"], ["--socket"]])
def test_options_that_are_wrong(run, arguments):
    """Usage, with a code."""
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("iscsicli: error 0xEFFF0056 ISDSC_INVALID_PARAMETER: ")
    assert err.count("\n") == 1


def test_json_of_an_error(run):
    """An error is an object too, and a line on standard error."""
    status, out, err = run("RemoveTarget", "a_b", "--json")
    told = json.loads(out)
    assert status == 1
    assert (told["command"], told["code"], told["name"]) == ("RemoveTarget", "0xEFFF0051", "ISDSC_INVALID_ISCSI_NAME")
    assert told["message"] in err
    assert json.loads(run("--json", "nonsense")[1])["name"] == "ISDSC_REQUEST_NOT_SUPPORTED"


def test_commands_out_of_a_file(run):
    """Without a command lines are read; the gravest of their statuses is the program's, and a quote has its end."""
    status, out, err = run(typed=io.StringIO('listtargets\n\n  \n"open\nQLoginTarget\nquit\nnot reached\n'))
    assert (status, out) == (2, "")
    assert [line.split(" ")[2] for line in err.splitlines()] == ["0xEFFF003E", "0xEFFF0056", "0xEFFF000F"]
    assert run(typed=io.StringIO("help\n"))[0] == 0
    assert run(typed=io.StringIO("listtargets"))[0] == 1


def test_commands_that_are_typed(run, monkeypatch):
    """At a terminal there is a prompt, and the end of what is typed is an end of the line."""
    lines = iter(["help logouttarget"])
    prompts = []

    def read(prompt: str) -> str:
        prompts.append(prompt)
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", read)
    status, out, _ = run(typed=Terminal())
    assert status == 0
    assert prompts == ["iscsicli> "] * 2
    assert out.endswith("a session id\n\n")


def test_interrupted(run, monkeypatch):
    """An interrupt ends the program with one line."""

    def interrupt(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupt)
    assert run(typed=Terminal()) == (1, "", "\niscsicli: interrupted\n")


def test_secret_is_asked_for(run, monkeypatch, tmp_path):
    """At a terminal a secret is read without being shown; elsewhere there is nobody to ask."""
    asked = []

    def hidden(prompt: str) -> str:
        asked.append(prompt)
        return "typed with care"

    monkeypatch.setattr(click.termui, "hidden_prompt_func", hidden)
    fake, (typed,) = served(tmp_path, lambda: run("CHAPSecret", "?", typed=Terminal()))
    assert typed == (0, "Status 0x00000000: done.\n", "")
    assert len(asked) == 1
    assert fake.asked == [api.CHAPSecret(secret=b"typed with care")]
    status, _, err = run("CHAPSecret", "?")
    assert status == 2
    assert "no terminal" in err


def test_output_that_nobody_reads():
    """A reader that goes away ends the program without a traceback."""
    with subprocess.Popen([*PROGRAM, "/?"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.wait(60) == 1
        assert program.stderr.read() == b""


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"plain", b"plain"),
        (b"line\n", b"line"),
        (b"dos\r\n", b"dos"),
        (b" two \n\n", b" two \n"),
        (b"\xff\0", b"\xff\0"),
    ],
)
def test_secret_from_a_file(tmp_path, content, secret):
    """A file is the secret but for the end of its last line."""
    (tmp_path / "f").write_bytes(content)
    assert Secrets(None)(f"@{tmp_path / 'f'}", "Password") == secret


def test_secret_from_a_pipe(tmp_path):
    """What another program writes does as well."""
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor() as other:
        written = other.submit((tmp_path / "pipe").write_bytes, b"piped\n")
        assert Secrets(None)(f"@{tmp_path / 'pipe'}", "Password") == b"piped"
        assert written.result() == 6


def test_file_that_gives_no_secret(tmp_path):
    """One line says why, with the name of the place and of the file."""
    (tmp_path / "big").write_bytes(b"x" * (MAX_FILE + 1))
    reasons = {
        "none": "No such file or directory",
        "": "Is a directory",
        "big": "has over 65536 bytes",
        "a\0b": "no path of a file",
    }
    for name, reason in reasons.items():
        with pytest.raises(Usage, match=reason) as refused:
            Secrets(None)(f"@{tmp_path}/{name}", "Password")
        assert refused.value.status is StatusCode.INVALID_PARAMETER
        assert refused.value.reason.startswith("<Password>: ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("a  b\tc", ["a", "b", "c"]),
        ('a "b c" \'d "e\'', ["a", "b c", 'd "e']),
        ("Root\\ISCSIPRT\\0000_0 #1 *", ["Root\\ISCSIPRT\\0000_0", "#1", "*"]),
        ("a '' b", ["a", "", "b"]),
    ],
)
def test_words_of_a_line(line, words):
    """Quotes keep words together; backslashes and number signs are themselves."""
    assert split(line) == words


def test_text_from_afar_moves_no_cursor():
    """Control characters are shown, also in what the service says."""
    assert printable("a\x1b[2J\nb") == "a\\x1b[2J\\x0ab"
    assert complaint(StatusCode.NOT_FOUND, "a\nb") == "iscsicli: error 0xEFFF000B ISDSC_NOT_FOUND: a\\x0ab"
    assert complaint(StatusCode.NOT_FOUND, "") == "iscsicli: error 0xEFFF000B ISDSC_NOT_FOUND: not found"


def test_what_a_lun_said():
    """The sense is told where there is some."""
    failure = api.Failure(status=StatusCode.SCSI_REQUEST_FAILED, scsi_status=8)
    assert detail(failure) == "BUSY"


def test_bytes_in_lines():
    """Sixteen a line."""
    assert hex_lines(b"") == []
    assert hex_lines(b"\0" * 15 + b"ab", 0) == [
        "0000  " + "00 " * 15 + "61  ...............a",
        "0010  62" + " " * 47 + "b",
    ]


def test_help_is_wrapped():
    """Lines have a width, and the name of a parameter is not parted."""
    text = wrap("x " * 49 + "<Initiator Instance Name>", "  ")
    assert text[1:] == ["  <Initiator Instance Name>"]


def test_versions_of_the_parts(monkeypatch):
    """The packages, the libraries and Python have versions; without metadata it is said that there is none."""
    found = {each.name: each.version for each in file_versions()}
    assert found["iscsi_initiator"] == found["iscsi_protocol"]
    assert {"msgspec", "cryptography", "python"} < found.keys()
    monkeypatch.setattr("iscsi_initiator.service.versions.LIBRARIES", ("no-such-distribution",))
    assert {each.name: each.version for each in file_versions()}["no-such-distribution"] == UNKNOWN
