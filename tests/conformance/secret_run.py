"""One run of everything that has to do with secrets, and where they would show if they showed.

A target with CHAP both ways, the service, iscsicli with secrets by prompt and out of files, the cases about CHAP with all
their reports, reviews, explained events and exported settings. What each command prints and each file that it leaves is kept,
and the list of processes is watched all the time.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import pty
import re
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
from click.testing import CliRunner
from tests.initiator.service_running import Running, store_settings

from iscsi_captures.cli import main as captures
from iscsi_initiator.cli import main as initiator
from iscsi_initiator.service import api
from iscsi_initiator.service.blocking import BlockingClient
from iscsi_initiator.store.state import SettingValue, StoredSettings
from iscsi_protocol.eventlog import EventRecord

TARGET, USER, TARGET_USER = "iqn.2026-01.org.example:guarded", "somebody", "guard"
SECRETS = {
    "one-way": b"Quiet7Otter?Lamp",
    "mutual": b"Brisk4Heron!Door",
    "wrong": b"Other9Badger+Sea",
    "short": b"Tiny2Wren%x",
    "bytes": bytes.fromhex("a7f31cd4905be82266dd1f7b30c9e5b1"),
    "ipsec": b"Plain8Marten/Key",
    "foreign": b"Faded3Falcon~Ash",
}
"""By what they are for. `bytes` is no text; `foreign` stands in an event of somebody else's initiator."""

METHODS = "MSiSCSIInitiator_MethodClass"
PATIENCE = 120
STARS = ["*"] * 5


def looks(secret: bytes) -> set[bytes]:
    """How a secret would look: as it is, in two bytes a character, in hexadecimal, and in base64 at each place of three."""
    text = secret.decode("latin-1")
    found = {secret, text.encode("utf-16-le"), text.encode("utf-16-be"), text.encode("utf-8")}
    for digits in (secret.hex(), secret.hex(" "), secret.hex(","), secret.hex(":")):
        found |= {
            digits.encode(),
            digits.upper().encode(),
            digits.encode("utf-16-le"),
            digits.upper().encode("utf-16-le"),
        }
    for skipped in range(3):
        coded = base64.b64encode(b"\0" * skipped + secret).rstrip(b"=")
        # the digits that the neighbours of the secret have a part in are left out
        found.add(coded[(0, 2, 3)[skipped] : len(coded) - 1])
    found |= {json.dumps(text).strip('"').encode(), repr(secret)[2:-1].encode(), secret[::-1]}
    return found


def layers(content: bytes) -> Iterator[bytes]:
    """Bytes, and what is packed in them."""
    yield content
    if content.startswith(b"\x1f\x8b"):
        yield from layers(gzip.decompress(content))
    for coded in re.findall(rb"[A-Za-z0-9+/]{64,}={0,2}", content):
        with suppress(ValueError):
            inside = base64.b64decode(coded + b"=" * (-len(coded) % 4))
            yield inside
            with suppress(zlib.error):
                yield zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(inside)


def shown_in(content: bytes) -> set[str]:
    """The names of the secrets that can be read out of bytes."""
    seen = set()
    for layer in layers(content):
        seen |= {name for name, secret in SECRETS.items() if any(look in layer for look in looks(secret))}
    return seen


def program(module: str, *words: object) -> list[str]:
    """A command of the project as a process."""
    return [sys.executable, "-c", f"from {module} import main; main()", *map(str, words)]


class Watch:
    """Looks at the command line and the environment of every process, over and over."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.shown: dict[str, set[str]] = {}
        self.looked = 0
        self.commands: set[bytes] = set()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *rest: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.looked += 1
            for process in Path("/proc").iterdir():
                if process.name.isdecimal() and int(process.name) != os.getpid():
                    self._look_at(process)

    def _look_at(self, process: Path) -> None:
        for name in ("cmdline", "environ"):
            with suppress(OSError):
                content = (process / name).read_bytes()
                if b"iscsi" not in content:
                    continue
                if name == "cmdline":
                    self.commands.add(content)
                for secret, value in SECRETS.items():
                    if value in content:
                        self.shown.setdefault(f"{name} of {content[:200]!r}", set()).add(secret)


@dataclass
class Run:
    """A folder of what was left and said. given: secrets in files, which are the only ones that may have them."""

    folder: Path
    given: Path
    said: dict[str, bytes] = field(default_factory=dict)
    portal: str = ""

    @property
    def left(self) -> list[Path]:
        """Every file of the run but those that secrets were given in."""
        return [each for each in self.folder.rglob("*") if each.is_file() and self.given not in each.parents]

    def file(self, name: str) -> str:
        """A secret as an argument that names a file."""
        return f"@{self.given / name}"

    def tell(self, title: str, *command: object, code: int | None = 0, typed: bytes = b"") -> bytes:
        """Run a command to its end and keep what it says; its standard output. code: that it exits with, None for any."""
        words = [str(each) for each in command]
        ended = subprocess.run(words, input=typed, capture_output=True, timeout=PATIENCE, check=False)
        self.said[title] = self.said.get(title, b"") + ended.stdout + ended.stderr
        assert code in (None, ended.returncode), (title, ended.returncode, ended.stderr[-2000:])
        assert b"Traceback" not in ended.stderr
        return ended.stdout

    def call(self, title: str, main: click.Group, *words: object, code: int | None = 0, typed: bytes = b"") -> None:
        """The same in this process, for commands that reach nothing but files."""
        ended = CliRunner().invoke(main, [str(each) for each in words], input=typed)
        self.said[title] = self.said.get(title, b"") + ended.output.encode()
        assert code in (None, ended.exit_code), (title, words, ended.output)

    def iscsicli(self, *words: object, code: int = 0, typed: bytes = b"") -> bytes:
        """One command of iscsicli, or what is typed."""
        command = program("iscsi_initiator.iscsicli.cli", "--socket", self.folder / "s", *words)
        return self.tell("iscsicli", *command, code=code, typed=typed)

    def ask_on_a_terminal(self, secret: bytes, *words: object) -> None:
        """One command of iscsicli at a terminal, where a secret is typed when it is asked for."""
        ours, theirs = pty.openpty()
        command = program("iscsi_initiator.iscsicli.cli", "--socket", self.folder / "s", *words)
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as process:
            os.close(theirs)
            seen = os.read(ours, 4096)
            while b": " not in seen:
                seen += os.read(ours, 4096)
            os.write(ours, secret + b"\n")
            with suppress(OSError):
                while piece := os.read(ours, 4096):
                    seen += piece
            assert process.wait(PATIENCE) == 0, seen
        os.close(ours)
        self.said["terminal"] = self.said.get("terminal", b"") + seen


def login(*, secret: str, auth: int, key: str = "*") -> list[str]:
    """The arguments of a login behind the target's name; others to the target may be there."""
    return ["T", *STARS, "2", *STARS, USER, secret, str(auth), key, "0"]


@contextmanager
def target_of(run: Run) -> Iterator[subprocess.Popen[bytes]]:
    """The target, whose secrets stand in a file."""
    lines = [f"{USER} {SECRETS['one-way'].decode()}", f"mutual {TARGET_USER} {SECRETS['mutual'].decode()}"]
    (run.given / "chap").write_text("\n".join(lines) + "\n")
    (run.given / "chap").chmod(0o600)
    words = ["serve", "--portal", "127.0.0.1:0", "--name", TARGET, "--lun", "0=memory:1MiB"]
    words += ["--chap-file", str(run.given / "chap"), "--pcap", str(run.folder / "target.pcapng")]
    with (run.folder / "target.complaints").open("wb") as complaints:
        process = subprocess.Popen(program("iscsi_target.cli", *words), stdout=subprocess.PIPE, stderr=complaints)
    with process:
        assert process.stdout is not None
        (run.portal,) = json.loads(process.stdout.readline())["ready"]
        try:
            yield process
        finally:
            process.terminate()


def make_run(folder: Path) -> Run:
    """The folders, and a file for each secret."""
    run = Run(folder / "run", folder / "run" / "given")
    run.given.mkdir(parents=True)
    for name, secret in SECRETS.items():
        place = run.given / name
        place.write_bytes(secret + b"\n" if name != "bytes" else b"0x" + secret.hex().encode() + b"\n")
        place.chmod(0o600)
    return run


def served(run: Run, beside: Callable[[str], AbstractContextManager[object]] = nullcontext) -> Watch:
    """Target, service, initiator, reviews and events; what was seen of the processes. beside: given the target's portal, what
    goes on until the initiators are done.
    """
    with Watch() as watch, target_of(run), beside(run.portal):
        _serve(run)
        _reach(run)
    _review(run)
    return watch


def judged(run: Run) -> Watch:
    """The cases about CHAP at that target, with every report; what was seen of the processes."""
    with Watch() as watch, target_of(run):
        _conform(run)
    return watch


@contextmanager
def _service(run: Run) -> Iterator[Running]:
    """The service, whose end is its user's matter."""
    service = Running(run.folder)
    try:
        yield service
    finally:
        service.process.kill()
        run.said["service"] = run.said.get("service", b"") + "".join(service.process.communicate()).encode()


def _serve(run: Run) -> None:
    """The service, over a restart that nobody asked for."""
    told: dict[str, SettingValue] = {"ServiceLogFileName": str(run.folder / "debug.log"), "DebugSpewLevel": 0xFFFFFFFF}
    store_settings(run.folder / "store", StoredSettings(service={"VolumePostDiscoveryTimer": 0, **told}))
    with _service(run):
        place = ["--socket", run.folder / "s"]
        trace = ["--output", run.folder / "trace", "--flags", "0xffffffff"]
        run.call("trace", initiator, "trace", "start", "all", *trace, *place)
        _configure(run)
        secret = f"SharedSecret={run.file('mutual')}"
        run.call("invoke", initiator, "invoke", METHODS, "SetIScsiInitiatorCHAPSharedSecret", secret, *place)
        for each in service_classes(run):
            for option in ([], ["--json"]):
                # classes of events are refused
                run.call("query", initiator, "query", each, *option, *place, code=None)
        run.call("trace", initiator, "trace", "stop", "all", *place)
        run.call("trace", initiator, "trace", "show", run.folder / "trace")
    with _service(run) as service:
        (session,) = service.ask(api.SessionList()).sessions
        assert session.target_name == TARGET
        run.iscsicli("--json", "ReadCapacity", session.session_id, "0")
        service.ask(api.StopService())
        assert service.process.wait(PATIENCE) == 0
    for words in (["show"], ["show", "--json"], ["export", "-"], ["export", "--defaults", run.folder / "all.reg"]):
        run.call("settings", initiator, "settings", words[0], "--store", run.folder / "store", *words[1:])


def service_classes(run: Run) -> list[str]:
    """The management classes that the service has instances of."""
    listed = BlockingClient(run.folder / "s").ask(api.ListClasses())
    return [each.name for each in listed.classes]


def _configure(run: Run) -> None:
    host, port = run.portal.split(":")
    oneway, wrong, short = run.file("one-way"), run.file("wrong"), run.file("short")
    run.ask_on_a_terminal(SECRETS["mutual"], "CHAPSecret", "?")
    run.ask_on_a_terminal(SECRETS["one-way"], "PersistentLoginTarget", TARGET, *login(secret="?", auth=2))
    run.iscsicli("AddTargetPortal", host, port, "*", "*", "*", "0", *STARS, USER, oneway, "0")
    commands: list[tuple[str, ...]] = [
        ("LoginTarget", TARGET, *login(secret=oneway, auth=1)),
        ("LoginTarget", TARGET, *login(secret=oneway, auth=2)),
        ("AddTarget", TARGET, "alias", "*", "*", "0", "T", "2", *STARS, USER, oneway, "2", "0"),
        ("LoginTarget", TARGET, *login(secret=wrong, auth=1)),
        ("LoginTarget", TARGET, *login(secret=short, auth=1)),
        ("CHAPSecret", short),
        ("LoginTarget", TARGET, *login(secret=oneway, auth=2)),
        ("CHAPSecret", wrong),
        ("LoginTarget", TARGET, *login(secret=oneway, auth=2)),
        ("CHAPSecret", run.file("bytes")),
        ("GroupKey", run.file("ipsec"), "T"),
        ("PersistentLoginTarget", TARGET, *login(secret=oneway, auth=1, key=run.file("ipsec"))),
        ("CHAPSecret", run.file("mutual")),
        ("ListTargets", "T"),
        ("TargetInfo", TARGET, "Static"),
        ("RemovePersistentTarget", "*", f"{TARGET}#1", "*", "*", "*"),
        *((name,) for name in ("ListPersistentTargets", "ListTargetPortals", "SessionList", "ReportTargetMappings")),
    ]
    lines = "".join(" ".join(words) + "\n" for words in commands)
    run.iscsicli(typed=lines.encode(), code=1)


def _profile(run: Run) -> Path:
    one_way, mutual = SECRETS["one-way"].decode(), SECRETS["mutual"].decode()
    chap = f'user = "{USER}"\nsecret = "{one_way}"\n'
    sides = f'[chap]\n{chap}[mutual]\n{chap}target_user = "{TARGET_USER}"\ntarget_secret = "{mutual}"\n'
    (run.given / "profile").write_text(f'mutual_target = "{TARGET}"\n{sides}')
    return run.given / "profile"


def _conform(run: Run) -> None:
    """The cases about CHAP at that target, and between the bundled pair."""
    words = ["run", "-k", "chap", "--profile", _profile(run), "--portal", run.portal, "--target-name", TARGET]
    out = run.folder / "conformance"
    run.tell("run", *program("iscsi_conformance.cli", *words, "--out", out), code=0)
    assert {each.name for each in out.iterdir()} == {
        "allure-results",
        "captures",
        "junit.xml",
        "report.html",
        "results.json",
    }
    doctor = ["doctor", "--profile", _profile(run), "--portal", run.portal, "--target-name", TARGET]
    run.tell("doctor", *program("iscsi_conformance.cli", *doctor), code=None)


def _reach(run: Run) -> None:
    """The initiator without the service."""
    url = f"iscsi://{USER}@{run.portal}/{TARGET}/0"
    log = ["--event-log", run.folder / "client.jsonl"]
    secrets = ["--secret-file", run.given / "one-way", "--mutual-secret-file", run.given / "mutual"]
    run.tell("info", *program("iscsi_initiator.cli", "info", *log, *secrets, url))
    wrong = ["--secret-file", run.given / "wrong"]
    run.tell("info", *program("iscsi_initiator.cli", "info", *log, *wrong, url), code=1)


def _review(run: Run) -> None:
    """Reviews and events."""
    capture, page, notes = run.folder / "target.pcapng", run.folder / "review.html", run.folder / "annotated.pcapng"
    known = ["--chap-secret-file", run.given / "chap"]
    rows: list[tuple[int, list[object]]] = [
        # the logins with wrong secrets
        (1, ["review", "--html", page, "--annotate", notes, *known, capture]),
        (1, ["review", "--json", *known, capture]),
        (0, ["dissect", capture]),
        (0, ["compare", capture, notes]),
        (0, ["explain-event", run.folder / "events.jsonl"]),
        (0, ["explain-event", "--json", run.folder / "events.jsonl"]),
        (0, ["explain-event", run.folder / "client.jsonl"]),
    ]
    for code, words in rows:
        run.call("captures", captures, *words, code=code)
    for option in ([], ["--json"]):
        run.call("events", initiator, "events", *option, "--log", run.folder / "events.jsonl")
        for number in (35, 36):
            dump = EventRecord.of(number, SECRETS["foreign"]).encode().hex(" ").encode()
            run.call("foreign", captures, "explain-event", *option, typed=dump)
