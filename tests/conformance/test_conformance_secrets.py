"""No secret of a whole run shows: in no output, event, report, capture, list of processes, nor in a file that it leaves."""

from __future__ import annotations

import gzip
import json
import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from tests.conformance.secret_run import SECRETS, Run, Watch, judged, looks, make_run, program, served, shown_in

from iscsi_initiator.eventlog import LogReader
from iscsi_protocol.eventlog import LoggedEvent

CODES = ["0xEFFF0009", "0xEFFF004B", "0xEFFF004C", "0xEFFF0009", "0xEFFF0046"]
"""Of what is refused: a wrong secret, a short one for the target, one for the initiator, a target with another one, IPsec."""

KINDS = {"served": served, "judged": judged}
SAID = {
    "served": {
        "iscsicli",
        "terminal",
        "service",
        "settings",
        "info",
        "captures",
        "events",
        "foreign",
        "trace",
        "invoke",
        "query",
    },
    "judged": {"run", "doctor"},
}
LEFT = {
    "served": {
        "store/store.json",
        "debug.log",
        "trace",
        "store/key",
        "events.jsonl",
        "target.pcapng",
        "review.html",
        "all.reg",
        "annotated.pcapng",
    },
    "judged": {f"conformance/{name}" for name in ("report.html", "results.json", "junit.xml")} | {"target.pcapng"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Gives what came of a kind of run, which is done once."""
    done: dict[str, tuple[Run, Watch]] = {}

    def of(kind: str) -> tuple[Run, Watch]:
        if kind not in done:
            run = make_run(tmp_path_factory.mktemp(kind))
            done[kind] = run, KINDS[kind](run)
        return done[kind]

    return of


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_was_said_has_a_secret(runs, kind):
    run, _ = runs(kind)
    assert run.said.keys() == SAID[kind]
    assert {title: shown for title, said in run.said.items() if (shown := shown_in(said))} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_was_left_has_a_secret(runs, kind):
    run, _ = runs(kind)
    assert {str(each.relative_to(run.folder)) for each in run.left} >= LEFT[kind]
    assert {each.name: shown for each in run.left if (shown := shown_in(each.read_bytes()))} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_no_process_showed_a_secret(runs, kind):
    _, watch = runs(kind)
    assert watch.looked > 10
    assert any(b"--chap-file" in each for each in watch.commands)
    assert watch.shown == {}


def test_what_has_secrets_is_their_owners_alone(runs):
    run, _ = runs("served")
    assert stat.S_IMODE((run.folder / "store").stat().st_mode) == 0o700
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (run.folder / "store").iterdir()}
    assert modes == {"store.json": 0o600, "key": 0o600, "lock": 0o600}
    key = (run.folder / "store" / "key").read_text().split("\n")[1]
    for path in run.left:
        if path.name != "key":
            assert key.encode() not in path.read_bytes()
    assert not any(key.encode() in said for said in run.said.values())


def test_the_secrets_were_in_use(runs):
    """Logins both ways came about, and short secrets were logged: what is looked for was there."""
    run, _ = runs("served")
    assert run.said["terminal"].count(b"Status 0x00000000") == 2
    told = run.said["iscsicli"].decode()
    codes = [line.split()[2] for line in told.splitlines() if line.startswith("iscsicli: error ")]
    assert codes == CODES
    reader = LogReader(run.folder / "events.jsonl")
    events = {each.record.id for each in reader.read() if isinstance(each, LoggedEvent) and each.source != "MSiSCSI"}
    reader.close()
    assert {35, 36} <= events
    run, _ = runs("judged")
    cases = json.loads((run.folder / "conformance" / "results.json").read_text())["cases"]
    passed = {each["id"] for each in cases if each["verdict"] == "PASS"}
    assert "chap.target-proves-itself" in passed
    assert shown_in((run.given / "chap").read_bytes()) == {"one-way", "mutual"}


@pytest.mark.parametrize("name", SECRETS)
def test_what_looks_for_secrets_finds_them(name):
    """In each of their looks, and packed."""
    for look in looks(SECRETS[name]):
        assert shown_in(b"abc" + look + b"xyz") == {name}
        assert shown_in(gzip.compress(look)) == {name}


def test_a_secret_as_an_argument_stands_in_the_list_of_processes(tmp_path):
    """As the guide has it, and as docs/iscsicli.md says: only `?` and `@FILE` keep it out."""
    secret = SECRETS["one-way"]
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "s"))
        mute.listen()
        command = program("iscsi_initiator.iscsicli.cli", "--socket", tmp_path / "s", "CHAPSecret", os.fsdecode(secret))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            connection, _ = mute.accept()
            with connection:
                assert secret in Path(f"/proc/{process.pid}/cmdline").read_bytes()
            said = b"".join(process.communicate(timeout=60))
    assert process.returncode == 1
    assert shown_in(said) == set()
