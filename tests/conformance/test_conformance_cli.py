"""The command line: usage errors in one clear line with the documented exit code, and what each command leaves behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

from iscsi_captures.catalogue import requirements
from iscsi_captures.pcapng import SYNTHESISED, read_packets
from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.case import load_cases
from iscsi_conformance.cli import main
from iscsi_conformance.faults import all_faults
from iscsi_conformance.result import read_results, write_results
from iscsi_conformance.verdict import Verdict
from iscsi_protocol.fault import Side
from iscsi_protocol.pdu import NopOut, encode

ONE_CASE = next(case.id for case in load_cases().values() if case.id.startswith("nop.") and case.role == "target")
FAULTS = all_faults()
SWITCH = next(fault.id for fault in FAULTS.values() if fault.policy)
ON_THE_WIRE = next(
    fault.id for fault in FAULTS.values() if fault.side is Side.TARGET and fault.faults and not fault.policy
)
COMMAND = (sys.executable, "-c", "from iscsi_conformance.cli import main; main()")
PING = encode(NopOut(itt=7, cmd_sn=1, exp_stat_sn=2, data=b"ping")).to_bytes()


@pytest.fixture
def command():
    """Return a function that runs a command line and returns its result."""

    def run(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["run", "--portal", "x"], 2, "--portal needs --target-name"),
        (["run", "--portal", "a:b:c", "--target-name", "iqn.x"], 2, "IPv6 address stands in brackets"),
        (["run", "--portal", "host:port", "--target-name", "iqn.x"], 2, "expected HOST:PORT"),
        (["run", "--target-name", "iqn.x"], 2, "--target-name needs --portal"),
        (["run", "--lun", "16384"], 2, "--lun"),
        (["run", "--role", "bystander"], 2, "bystander"),
        (["run", "--jobs", "0"], 2, "--jobs"),
        (["run", "--time-limit", "0"], 2, "--time-limit"),
        (["run", "--profile", "/nonexistent/profile.toml"], 2, "No such file"),
        (["run", "--expected-failures", "/nonexistent/expected.toml"], 2, "No such file"),
        (["run", "--role", "initiator", "--portal", "h", "--target-name", "iqn.x"], 2, "--role target"),
        (["run", "--out", "/proc/nowhere"], 3, "/proc/nowhere"),
        (["run", "-k", "no-case-has-this"], 4, ""),
        (["run", "-k", "not ( even an expression"], 2, "-k"),
        (["list", "-k", "no-case-has-this"], 4, "0 cases"),
        (["explain", "no.such-thing"], 2, "no case, requirement, fault or status code has this id"),
        (
            ["relay", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1", "--fault", "no.such"],
            2,
            "no fault is named",
        ),
        (["relay", "--listen", "127.0.0.1:0", "--upstream", "h", "--fault", SWITCH], 2, "switch inside the bundled"),
        (["relay", "--listen", "127.0.0.1:0"], 2, "--upstream"),
        (["relay", "--listen", "192.0.2.1:0", "--upstream", "127.0.0.1:1"], 3, "192.0.2.1"),
        (["relay", "--listen", "127.0.0.1:0", "--upstream", "h", "--pcap", "/proc/nowhere/x"], 3, "/proc/nowhere/x"),
        (["doctor", "--target-name", "iqn.x"], 2, "--target-name needs --portal"),
        (["compare", "/nonexistent", "/nonexistent"], 2, "/nonexistent: No such file"),
        (["compare", "one"], 2, "AFTER"),
        (["no-such-command"], 2, "no-such-command"),
    ],
)
def test_refusals(command, arguments, code, says):
    """One clear line, no traceback, and the exit code that the help promises."""
    result = command(*arguments)

    assert result.exit_code == code, result.output
    assert says in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("name", ["run", "doctor"])
def test_unknown_key_in_a_profile(command, tmp_path, name):
    """It is named, with the file."""
    path = tmp_path / "profile.toml"
    path.write_text("colour = 'red'\n", encoding="utf-8")
    result = command(name, "--profile", path)

    assert result.exit_code == 2
    assert "colour" in result.output
    assert str(path) in result.output


@pytest.mark.parametrize(
    "arguments", [(), ("run",), ("list",), ("explain",), ("faults",), ("relay",), ("doctor",), ("compare",)]
)
def test_help_is_there(command, arguments):
    """With -h as with --help; the group's has examples and every command."""
    short, long = command(*arguments, "-h"), command(*arguments, "--help")

    assert (short.exit_code, short.output) == (0, long.output)
    if not arguments:
        assert "Examples:" in short.output
        for name in ("run", "list", "explain", "compare", "faults", "relay", "doctor"):
            assert f"\n  {name} " in short.output


# ---- run, explain, list ----


def test_run_of_one_case_leaves_every_report(command, tmp_path):
    """Against the bundled target: results, reports, capture; the exit code says that it conforms."""
    result = command("run", "--role", "target", "-k", ONE_CASE, "--seed", "5", "--out", tmp_path)
    results = read_results(tmp_path / "results.json")

    assert result.exit_code == 0, result.output
    assert [(case.id, case.verdict) for case in results.cases] == [(ONE_CASE, Verdict.PASS)]
    assert results.seed == 5
    assert results.dut["target_name"] == PLAIN
    assert results.cases[0].evidence.dialogue
    assert {path.name for path in tmp_path.iterdir()} == {
        "allure-results",
        "captures",
        "junit.xml",
        "report.html",
        "results.json",
    }
    capture = (tmp_path / results.cases[0].evidence.capture).read_bytes()
    assert SYNTHESISED.encode() in capture
    assert str(tmp_path / "report.html") in result.output


def test_unreachable_product_is_exit_code_3(command, unused_endpoint):
    """With a line that names it."""
    result = command("run", "--portal", unused_endpoint, "--target-name", "iqn.2026-11.org.example:disk")

    assert result.exit_code == 3
    assert unused_endpoint in result.output


def test_explain_knows_cases_requirements_and_faults(command):
    """Each by its id, in words and as JSON."""
    case = load_cases()[ONE_CASE]
    clause, fault = next(iter(case.clauses.items()))

    assert case.title in command("explain", ONE_CASE).output
    assert requirements()[clause].statement in command("explain", clause).output
    assert FAULTS[fault].says in command("explain", fault).output
    assert json.loads(command("explain", clause, "--json").output)["id"] == clause


def test_lists_are_complete(command):
    """Every case and every fault, as JSON and as lines."""
    assert [row["id"] for row in json.loads(command("list", "--json").output)] == list(load_cases())
    assert {row["id"] for row in json.loads(command("faults", "--json").output)} == set(FAULTS)
    listed = command("list").output
    assert all(case_id in listed for case_id in load_cases())
    one_side = json.loads(command("faults", "--role", "target", "--json").output)
    assert {row["side"] for row in one_side} == {"target"}


# ---- compare ----


def test_compare_exit_codes(command, make_result, make_results, tmp_path):
    """0 for the same, 1 for a difference, 2 for a file that is none; as JSON too."""
    for name, verdict in (("one", Verdict.PASS), ("two", Verdict.FAIL)):
        (tmp_path / name).mkdir()
        write_results(make_results(make_result(verdict=verdict)), tmp_path / name / "results.json")
    (tmp_path / "other.json").write_text("[]", encoding="utf-8")

    assert command("compare", tmp_path / "one", tmp_path / "one" / "results.json").exit_code == 0
    different = command("compare", tmp_path / "one", tmp_path / "two", "--json")
    assert different.exit_code == 1
    assert json.loads(different.output)["changed"][0]["after"] == "FAIL"
    assert command("compare", tmp_path / "one", tmp_path / "other.json").exit_code == 2
    assert command("compare", tmp_path / "one", tmp_path).exit_code == 2


# ---- doctor ----


def test_doctor_of_an_absent_product(command, unused_endpoint):
    """Its lines end with the portal and the remedy; the exit code is that of an environment that will not do."""
    result = command("doctor", "--portal", unused_endpoint, "--target-name", "iqn.2026-11.org.example:disk")

    assert result.exit_code == 3
    assert result.output.endswith("refused\n      remedy: start the product, or correct --portal\n")


def test_doctor_as_json(command):
    """A list of checks; nothing stands in the way of the bundled target."""
    result = command("doctor", "--json")

    assert result.exit_code == 0
    assert {"name", "state", "says", "remedy"} == set(json.loads(result.output)[0])


# ---- relay ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_relay_says_when_it_is_ready_and_stops_on_a_signal(tmp_path, number):
    """One line of JSON, connections passed on, a capture, and an orderly end with what happened."""
    pcap = tmp_path / "relay.pcapng"
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        options = ["--listen", "127.0.0.1:0", "--upstream", f"127.0.0.1:{upstream.getsockname()[1]}"]
        with subprocess.Popen(
            [*COMMAND, "relay", *options, "--fault", ON_THE_WIRE, "--pcap", pcap],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stdout is not None
                (ready,) = json.loads(process.stdout.readline())["ready"]
                host, _, port = ready.rpartition(":")
                with socket.create_connection((host, int(port)), timeout=20) as client:
                    served, _ = upstream.accept()
                    with served:
                        client.sendall(PING)
                        served.settimeout(20)
                        assert served.recv(len(PING), socket.MSG_WAITALL) == PING
                        process.send_signal(number)
                        said, complained = process.communicate(timeout=20)
            finally:
                process.kill()

    assert process.returncode == 0
    assert said == ""
    assert complained == "1 connections, 0 changes by faults\n"
    with pcap.open("rb") as stream:
        assert list(read_packets(stream))
