"""The command iscsi-captures: text, JSON, exit codes, comparison, dissection, progress, and several processes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console
from tests.captures.reviewing import recording, reviewed

from iscsi_captures.cli import main
from iscsi_captures.progress import LONG, Progress
from iscsi_captures.reading import CaptureError
from iscsi_captures.review import review
from iscsi_captures.review.facts import Part
from iscsi_captures.review.jobs import entangled
from iscsi_captures.review.schema import SCHEMA, as_json
from iscsi_captures.review.text import lines
from iscsi_conformance.corpus.script import Script
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.stream import Direction

GOLDEN = Path(__file__).parent / "golden" / "review.txt"


def clean() -> Script:
    """A dialogue without fault."""
    script = Script().ready().read().data_in().logout().logout_response()
    return script.transport(TransportEvent.FIN)


def broken() -> Script:
    """Two reads: one with the wrong DataSN, the other with more data than was asked for, and a ping that is not echoed."""
    script = Script().ready(MaxRecvDataSegmentLength="65536").read().data_in(data_sn=5)
    script.nop_out(data=b"ping").nop_in(data=b"pong")
    script.read(512).data_in(1024, final=True, status_present=True)
    return script.transport(TransportEvent.FIN)


def run(*arguments: str, stdin: bytes | None = None):
    return CliRunner().invoke(main, list(arguments), input=stdin)


@pytest.fixture
def capture(tmp_path):
    return str(recording(tmp_path / "broken.pcapng", broken().records))


@pytest.fixture
def fine(tmp_path):
    return str(recording(tmp_path / "clean.pcapng", clean().records))


def test_golden_text(tmp_path, monkeypatch):
    """The whole text of a review, as it stands in a pipe."""
    monkeypatch.chdir(tmp_path)
    recording(Path("broken.pcapng"), broken().records)
    text = run("review", "broken.pcapng").stdout
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_text_of_what_is_odd():
    """Gaps, dropped findings, many alike, several files: each has its words."""
    script = Script().ready()
    for _ in range(15):
        script.read().data_in(data_sn=5)
    script.junk()
    made = reviewed(script.records[3:])
    made.dropped["datain.data-sn"] = 7
    made.ignored = 3
    made.first_time, made.last_time = 1_700_000_000.0, 1_700_000_100.0
    made.timeline = made.timeline * 200
    made.gaps = made.gaps * 60
    text = "\n".join(line.plain for line in lines(made))
    assert "its login is not in the capture" in text
    assert "digests not known" in text
    assert "bytes that are no PDU: framing was lost" in text
    assert "3 TCP connections that are not iSCSI" in text
    assert "datain.data-sn: 7 more were counted and not kept" in text
    assert "lines left out" in text
    assert "10 more; --json has them" in text


def test_exit_codes(capture, fine, tmp_path):
    """0 no MUST broken, 1 some, 2 usage, 3 unreadable."""
    assert run("review", fine).exit_code == 0
    assert run("review", capture).exit_code == 1
    assert run("review").exit_code == 2
    assert run("review", "-", "-").exit_code == 2
    assert run("review", "--jobs", "2", "-").exit_code == 2
    assert run("review", "--chap-secret-file", str(tmp_path / "none"), fine).exit_code == 2
    gone = run("review", str(tmp_path / "missing.pcapng"))
    assert gone.exit_code == 3
    assert gone.stderr.count("\n") == 1
    (tmp_path / "noise").write_bytes(b"this is no capture at all, whatever it may be called")
    noise = run("review", str(tmp_path / "noise"))
    assert noise.exit_code == 3
    assert noise.stderr.count("\n") == 1
    assert "Traceback" not in noise.output


def test_advice_alone_breaks_no_must(tmp_path):
    """It does not count for the exit code."""
    script = Script().ready().read()
    script.tmf(1, referenced_task_tag=script.task["itt"], ref_cmd_sn=script.cmd_sn - 1).tmf_response()
    result = run("review", str(recording(tmp_path / "a.pcapng", script.records)))
    assert "advice.command-timed-out" in result.output
    assert result.exit_code == 0


def test_standard_input_is_read(capture):
    """As a file is."""
    result = run("review", "--json", "-", stdin=Path(capture).read_bytes())
    assert result.exit_code == 1
    assert [finding["rule"] for finding in json.loads(result.stdout)["findings"]]


def test_json_has_the_schema(capture):
    """Every key that is promised is there, and its value of the kind that is promised."""
    result = run("review", "--json", capture)
    found = json.loads(result.stdout)
    assert found["schema"] == SCHEMA == "iscsi-captures/review/1"
    assert isinstance(found["packets"], int)
    assert isinstance(found["pdus"], int)
    assert found["packets"] >= found["pdus"] == 8
    finding = found["findings"][0]
    for key, kind in {
        "rule": str,
        "clause": str,
        "level": str,
        "role": str,
        "frame": int,
        "time": float,
        "pdu": dict,
        "message": str,
    }.items():
        assert isinstance(finding[key], kind), key
    assert finding["level"] in {"MUST", "SHOULD", "ADVICE"}
    (event,) = found["events"]
    assert {"source", "id", "frame", "dump", "finding"} <= event.keys()
    bytes.fromhex(event["dump"])
    assert found["findings"][event["finding"]]["events"] == [event["id"]]
    assert found["gaps"] == []
    assert "file" not in finding
    assert found["conforms"] is False
    (session,) = found["sessions"]
    assert session["connections"][0]["digests"]["known"] == "login"


def test_json_of_several_files_names_them(tmp_path):
    """A frame belongs to a file then; the paths of a session are put together."""
    script = Script().ready(MaxConnections="2").connect(2)
    script.cid = 1
    script.login_request().login_response().on(1).read().data_in(data_sn=5).on(2).read().data_in()
    names = []
    for path in (1, 2):
        records = [record for record in script.records if getattr(record, "connection", 0) == path]
        names.append(str(recording(tmp_path / f"path-{path}.pcapng", records)))
    found = json.loads(run("review", "--json", *names).stdout)
    assert [connection["cid"] for connection in found["sessions"][0]["connections"]] == [0, 1]
    assert len(found["sessions"]) == 1
    assert {finding["file"] for finding in found["findings"]} == {0}
    assert len(found["files"]) == 2


def test_same_review_twice(capture):
    """Findings are deterministic, and so is all else."""
    first, second = (run("review", "--json", capture).stdout for _ in range(2))
    assert first == second


def test_same_for_every_number_of_processes(tmp_path):
    """Connections that have nothing to do with each other are shared out; the review is the same."""
    records = []
    for number in (1, 2, 3):
        script = Script()
        script.records.clear()
        script.connect(number)
        isid = bytes([0x80, 0, 0, 0, 0, number])
        script.login_request(isid=isid).login_response(isid=isid).read().data_in(data_sn=number)
        records += script.records
    path = recording(tmp_path / "three.pcapng", records)
    alone, shared = (as_json(review([path], jobs=jobs)) for jobs in (1, 2))
    assert alone == shared
    assert len({finding["connection"] for finding in alone["findings"]}) == 3


def test_connections_of_one_session_are_not_shared_out(tmp_path):
    """One process does it all then, and the review is the same."""
    script = Script().ready(MaxConnections="2").connect(2)
    script.cid = 1
    script.login_request().login_response(()).on(1).read().data_in(data_sn=5).on(2).read().data_in()
    path = recording(tmp_path / "two.pcapng", script.records)
    assert as_json(review([path], jobs=1)) == as_json(review([path], jobs=2))


def test_what_cannot_be_judged_apart():
    """A challenge that comes again, reservations beside another session, and connections to a port that was learned."""

    def part(**facts: object) -> Part:
        made = Part()
        for name, value in facts.items():
            setattr(made, name, value)
        return made

    assert not entangled([part(), part()], None)
    assert entangled([part(challenges=[b"a"]), part(challenges=[b"a"])], None)
    assert entangled([part(challenges=[b"a", b"a"])], None)
    assert not entangled([part(challenges=[b"a"]), part(challenges=[b"b"])], None)


def test_compare(capture, fine, tmp_path):
    """0 where the findings are the same, 1 where they differ; captures and reviews may be mixed."""
    saved = tmp_path / "broken.json"
    saved.write_bytes(run("review", "--json", capture).stdout_bytes)
    same = run("compare", str(saved), capture)
    assert (same.exit_code, same.stdout.splitlines()[-1][:22]) == (0, "0 new, 0 gone, 0 chang")
    gone = run("compare", capture, fine)
    assert gone.exit_code == 1
    assert "gone     MUST   target    datain.data-sn: 1 -> 0" in gone.stdout
    new = json.loads(run("compare", "--json", fine, str(saved)).stdout)
    assert {row["rule"] for row in new["new"]} >= {"datain.data-sn", "nop.echo"}
    assert new["gone"] == new["changed"] == []
    changed = json.loads(saved.read_text(encoding="utf-8"))
    changed["findings"].append(changed["findings"][0])
    saved.write_text(json.dumps(changed), encoding="utf-8")
    more = run("compare", capture, str(saved))
    assert "changed  MUST" in more.stdout
    assert more.exit_code == 1


def test_compare_with_what_is_no_review(capture, tmp_path):
    """One line, and exit code 3; standard input twice is usage."""
    other = tmp_path / "other.json"
    for text in ('{"schema": "something else", "findings": []}', "{", '{"findings": 3}'):
        other.write_text(text, encoding="utf-8")
        result = run("compare", str(other), capture)
        assert result.exit_code == 3
        assert result.stderr.count("\n") == 1
    assert run("compare", str(tmp_path / "missing"), capture).exit_code == 3
    assert run("compare", "-", "-").exit_code == 2


def test_dissect(capture):
    """scapy's view, each PDU behind its frames."""
    whole = run("dissect", capture)
    assert whole.exit_code == 0
    assert whole.stdout.count("###[ Login Re") == 2
    assert "###[ SCSI Data-In ]###" in whole.stdout
    assert run("dissect", capture, "--count", "1").stdout.count(", connection 1, to the ") == 1
    frame = int(whole.stdout.split("frame ")[3].split(",")[0])
    one = run("dissect", capture, "--frame", str(frame))
    assert f"frame {frame}, " in one.stdout
    assert one.stdout.count("connection 1") == 1
    assert run("dissect", capture + "x").exit_code == 3


def test_dissect_bytes_that_are_no_pdu(tmp_path):
    """They are printed as they are."""
    script = Script().ready().junk(Direction.TO_TARGET).transport(TransportEvent.FIN).transport(TransportEvent.FIN)
    text = run("dissect", str(recording(tmp_path / "junk.pcapng", script.records))).stdout
    assert "4 bytes that are no PDU" in text
    assert "6a 75 6e 6b" in text


def test_help_begins_with_examples():
    """As that of the other commands does."""
    for arguments in (["-h"], ["review", "-h"], ["compare", "-h"], ["dissect", "-h"]):
        text = run(*arguments).output
        assert text.index("Examples:") < text.index("Options:")


def test_colours_only_on_a_terminal(capture, monkeypatch):
    """And not with NO_COLOR either."""
    assert "\x1b[" not in run("review", capture).stdout
    made = review([capture])
    for refused, wanted in ((False, True), (True, False)):
        if refused:
            monkeypatch.setenv("NO_COLOR", "1")
        else:
            monkeypatch.delenv("NO_COLOR", raising=False)
        out = io.StringIO()
        console = Console(file=out, force_terminal=True, color_system="standard", highlight=False, markup=False)
        for line in lines(made):
            console.print(line)
        assert ("\x1b[1;31m" in out.getvalue()) is wanted


def test_progress_bar_only_on_a_terminal_and_for_long_files():
    """Nothing is written in a pipe, or for what is short."""
    for terminal, size, shown in (
        (True, LONG, True),
        (True, None, True),
        (True, LONG - 1, False),
        (False, LONG, False),
    ):
        out = io.StringIO()
        with Progress(Console(file=out, force_terminal=terminal, width=80)) as progress:
            progress.read(LONG // 2, size)
            progress.read(LONG, size)
        assert ("reading" in out.getvalue()) is shown


def test_reading_tells_its_progress(capture):
    """So many bytes of so many."""
    told = []
    review([capture], progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (Path(capture).stat().st_size, Path(capture).stat().st_size)


def test_interrupted(capture, monkeypatch):
    """One line, no traceback."""

    def interrupted(*_arguments, **_named):
        raise KeyboardInterrupt

    monkeypatch.setattr("iscsi_captures.cli.review", interrupted)
    result = run("review", capture)
    assert (result.exit_code, result.stderr) == (3, "iscsi-captures: interrupted\n")


def test_unreadable_file_with_several_processes(tmp_path):
    """The worker's complaint is that of one process."""
    with pytest.raises(CaptureError):
        review([tmp_path / "missing"], jobs=2)
