"""The command: what it prints, where, and with which exit code."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tests.captures.evtx_file import chunk, event, evtx
from tests.captures.explain_samples import NAME, SECRET, packet

from iscsi_captures.explain import telling
from iscsi_captures.explain.command import explain_event
from iscsi_captures.explain.show import SCHEMA
from iscsi_protocol.eventlog import EVENTS, SECRETS, EventRecord


def run(*arguments, text=None):
    return CliRunner().invoke(explain_event, arguments, input=text, catch_exceptions=False)


def dump(event):
    data = packet(event)
    return "".join(f"{place:04x}: {data[place : place + 8].hex(' ')}\n" for place in range(0, len(data), 8))


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_a_pasted_dump(arguments):
    result = run(*arguments, text=dump(20))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("iScsiPrt 20  error  the connection to the target was lost\n")
    assert f"    0x28  target name  {NAME.decode()}\n" in result.stdout
    assert "\n      event.20." in result.stdout


def test_events_of_a_file_are_apart(tmp_path):
    path = tmp_path / "dumps.txt"
    path.write_text(dump(20) + dump(34))
    result = run(str(path))
    assert result.exit_code == 0
    assert "\n\niScsiPrt 34  information  " in result.stdout


def test_json(tmp_path):
    path = tmp_path / "System.evtx"
    events = [event("iScsiPrt", 9, packet(9), ["x"]), event("disk", 7), event("MSiSCSI", 103)]
    path.write_bytes(evtx(chunk(events), bytes(65535) + b"\1"))
    result = run(str(path), "--json")
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    assert list(content) == ["schema", "events", "remarks", "others"]
    assert (content["schema"], content["others"]) == (SCHEMA, 1)
    assert content["remarks"] == ["damage: failed to parse chunk number 1; passed over"]
    first, service = content["events"]
    assert (first["source"], first["id"], first["known"], first["severity"]) == ("iScsiPrt", 9, True, "error")
    assert first["record"] | {"size": 10, "error_code": 0xC0000009} == first["record"]
    assert first["details"][0] == {
        "part": "READ(10)",
        "offset": 0,
        "name": "bytes",
        "value": "28000000100000000800",
        "text": "28 00 00 00 10 00 00 00 08 00",
    }
    assert first["strings"] == [{"name": "%1", "value": "x", "text": "x"}]
    assert first["cases"][0]["variation"] == "silence"
    assert first["dump"] == packet(9).hex()
    assert (service["id"], service["record"], service["dump"], service["cases"]) == (103, {}, None, [])


def test_what_cannot_be_read_is_remarked_on(tmp_path):
    text = dump(20) + "\n" + EventRecord(error_code=0).encode().hex(" ")
    result = run(text=text)
    assert result.exit_code == 0
    assert result.stderr == (
        "iscsi-captures: standard input: line 1: a dump that is no event's record: there is no error code at 0x0c\n"
    )


def test_many_remarks_are_cut_short(monkeypatch):
    monkeypatch.setattr(telling, "_TROUBLES_SHOWN", 2)
    result = run(text=dump(20) + "0000: 00\n" * 5)
    assert result.exit_code == 0
    assert len(result.stderr.splitlines()) == 3
    assert result.stderr.endswith(": 3 more like these\n")
    result = run(text="0000: 00\n" * 5)
    assert result.stderr.endswith("ends before the event's number at 0x0c (and 4 more)\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no event in it: neither a hex dump, nor XML, nor lines of our event log, nor an .evtx file"),
        ("Source: disk\nEvent ID: 7\n", "none of its 1 readable events is of iScsiPrt or MSiSCSI"),
        (
            "Source: disk\nEvent ID: 7\nSource: x\n0008: 00\n",
            "none of its 1 readable events is of iScsiPrt or MSiSCSI; line 3: a dump that does not begin at 0000",
        ),
        ("0000: 00 01\n", "line 1: a dump of 2 bytes, which ends before the event's number at 0x0c"),
        ("<Event>", "event 1: its XML breaks off or is damaged (line 1); read as far as it goes (and 1 more)"),
        ("{}\n", "line 1: no event of our log"),
        (b"ElfFile\0", "no usable .evtx file: its header is damaged or cut off"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_nothing_found_is_one_line_and_code_3(text, why, options):
    result = run(*options, text=text)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == f"iscsi-captures: standard input: {why}\n"


def test_files_that_cannot_be_read(tmp_path):
    missing = tmp_path / "missing"
    result = run(str(missing))
    assert (result.exit_code, result.stderr) == (3, f"iscsi-captures: {missing}: No such file or directory\n")
    result = run(str(tmp_path))
    assert (result.exit_code, result.stderr) == (3, f"iscsi-captures: {tmp_path}: Is a directory\n")


@pytest.mark.parametrize("arguments", [("--nonsense",), ("a", "b")])
def test_usage_is_code_2(arguments):
    assert run(*arguments).exit_code == 2


def test_a_reader_that_goes_away_is_not_the_inputs_fault(monkeypatch):
    def broken(_reading):
        raise BrokenPipeError

    monkeypatch.setattr(telling, "_print_lines", broken)
    with pytest.raises(BrokenPipeError):
        CliRunner().invoke(explain_event, [], input=dump(20), catch_exceptions=False, standalone_mode=False)


def test_help_begins_with_examples():
    result = run("--help")
    assert "iscsi-captures explain-event System.evtx" in result.stdout


@pytest.mark.parametrize("number", sorted(SECRETS))
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_no_secret_is_printed(number, options, tmp_path):
    path = tmp_path / "x"
    inputs = [
        dump(number).encode(),
        packet(number).hex().encode(),
        evtx(chunk([event("iScsiPrt", number, packet(number), [SECRET.decode()])])),
        evtx(chunk([event("iScsiPrt", number, SECRET)])),
        f"Source: iScsiPrt\nEvent ID: {number}\n0000: {SECRET.hex(' ')}  {SECRET.decode()}\n".encode(),
        f"<Event><System><Provider Name='iScsiPrt'/><EventID>{number}</EventID></System><Binary>{SECRET.hex()}!".encode(),
    ]
    for data in inputs:
        path.write_bytes(data)
        result = run(str(path), *options)
        assert result.exit_code == 0
        for form in (SECRET.decode(), SECRET.hex(), SECRET.hex(" "), SECRET[:6].hex(), SECRET[:6].hex(" ")):
            assert form not in result.output


def test_every_event_of_one_file(tmp_path):
    path = tmp_path / "all.txt"
    path.write_text("".join(dump(number) for number in EVENTS))
    content = json.loads(run(str(path), "--json").stdout)
    assert [each["id"] for each in content["events"]] == list(EVENTS)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")), st.booleans())
def test_arbitrary_input_never_fails(data, as_json):
    result = run(*(["--json"] if as_json else []), text=data)
    assert result.exit_code in {0, 3}
    assert result.exit_code == 0 or (result.stdout == "" and result.stderr.count("\n") == 1)
