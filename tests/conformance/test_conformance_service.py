"""Cases about the initiator's service, one for each code and event, and what their bench makes of other answers."""

from __future__ import annotations

import datetime as dt
import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.case import SERVICE, TARGET, CaseError, code_text, load_cases, validate
from iscsi_conformance.cli import main
from iscsi_conformance.faults import all_faults
from iscsi_conformance.proof import provable, proven_of, run_in_memory
from iscsi_conformance.report.html import write_html
from iscsi_conformance.report.service import coverage_lines, service_rows, status_rows
from iscsi_conformance.result import coverage_of
from iscsi_conformance.service import HOST, ServiceBench, raw
from iscsi_conformance.service.bench import NOTES, cannot_start
from iscsi_conformance.service.isns import IsnsNetwork
from iscsi_conformance.service.scripts import ScriptedIpsec
from iscsi_conformance.show import case_page
from iscsi_conformance.verdict import Failed, Inconclusive, Verdict
from iscsi_conformance.virtual import run_virtual
from iscsi_initiator.discovery.isns import IsnsFailure
from iscsi_initiator.service import api
from iscsi_initiator.service.faults import event_faults, other, stays
from iscsi_initiator.status_codes import StatusCode
from iscsi_protocol.eventlog import SERVICE_EVENTS, SOURCE
from iscsi_protocol.history import Endpoint

CASES = {case.id: case for case in load_cases().values() if case.role is SERVICE}
BUSY = StatusCode.DEVICE_BUSY_ON_SESSION
ABOUT_BUSY = CASES["status.device-busy-on-session"]


def on_bench(test, notes=None):
    """Run a test over a bench of its own, on the virtual clock."""

    async def run():
        bench = ServiceBench("0xEFFF0040", None, [] if notes is None else notes)
        try:
            await test(bench)
        finally:
            bench.close()

    run_virtual(run())


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_the_bundled_service_passes(case):
    result = run_in_memory(case)
    assert result.verdict is Verdict.PASS, (result.reason, result.evidence.notes)
    assert (result.transport, result.clock, result.role) == ("memory", "virtual", "service")
    assert set(case.events) <= set(result.evidence.events)
    assert result.codes == [code_text(code) for code in case.codes]


def test_every_code_and_every_event_of_the_service_has_a_case():
    assert {code for case in CASES.values() for code in case.codes} == set(StatusCode)
    events = {event for case in CASES.values() for event in case.events}
    assert events == {f"MSiSCSI:{number}" for number in SERVICE_EVENTS} | {"iScsiPrt:64"}
    assert all(case.virtual and not case.destructive and not case.clauses for case in CASES.values())


def test_every_code_is_proven():
    proven = proven_of(load_cases())
    assert {code for case in CASES for code in proven[case]} == {code_text(code) for code in StatusCode}


@pytest.mark.parametrize("fault", [other(BUSY), stays(BUSY), *event_faults(116)])
def test_a_case_fails_on_its_faults_and_says_on_what(fault):
    result = run_in_memory(ABOUT_BUSY, all_faults()[fault])
    assert result.verdict is Verdict.FAIL
    assert result.evidence.failed == ["0xEFFF0040"]
    assert any(note.startswith("asked: LogoutTarget(session_id=") for note in result.evidence.notes)


def test_an_event_that_is_due_and_not_there_fails_the_case():
    async def quiet(service):
        await service.start()

    result = run_in_memory(replace(ABOUT_BUSY, function=quiet))
    assert (result.verdict, result.reason) == (Verdict.FAIL, "MSiSCSI:116 was due; seen: nothing")


def test_what_the_bench_makes_of_other_answers():
    async def test(bench):
        one = await bench.start()
        with pytest.raises(Inconclusive, match="TargetInfo is answered with target not found"):
            await one.ask(api.TargetInfo(target_name=PLAIN))
        with pytest.raises(Failed, match=r"is answered with session busy .*; seen: success") as failed:
            await one.gets(api.ListTargets(), StatusCode.SESSION_BUSY)
        assert failed.value.clause == bench.about
        with pytest.raises(Failed, match="answered with success; seen: target not found"):
            await one.does(api.RemoveTarget(target_name=PLAIN))
        await one.gets({"op": 5}, StatusCode.INVALID_PARAMETER)
        with pytest.raises(Failed, match="the service does not start"):
            await cannot_start(bench, bench.start("other"))
        one.core.discovery = None
        await one.gets(raw("ListTargets"), StatusCode.NON_SPECIFIC_ERROR)
        with pytest.raises(TypeError, match="a stream of answers"):
            await one.does(api.Watch())

    notes: list[str] = []
    on_bench(test, notes)
    assert any(note.startswith("the service failed: AttributeError: ") for note in notes)


def test_secrets_do_not_get_into_the_notes():
    async def test(bench):
        one = await bench.start()
        await one.ask(api.CHAPSecret(secret=b"one-way-secret-1"))
        await one.gets(raw("CHAPSecret", secret=b"one-way-secret-1"), None)
        for _ in range(NOTES):
            await one.ask(api.ListTargets())

    notes: list[str] = []
    on_bench(test, notes)
    assert notes[:3] == [
        "asked: CHAPSecret(secret='***')",
        'answered: success: {"status":0,"message":""}',
        "asked: CHAPSecret with op, secret",
    ]
    assert len(notes) == NOTES
    assert "one-way" not in str(notes)


def test_the_whole_log_is_compared():
    async def test(bench):
        one = await bench.start()
        bench.require_events()
        one.core.journal.tell(116, "disk", "1-1", "qemu")
        bench.require_events((116, "disk", re.compile("1-."), "qemu"))
        for wanted in (
            (),
            ((116, "disk", "1-1"),),
            ((117, "disk", "1-1", "qemu"),),
            ((116, "disk", re.compile("1"), "qemu"),),
        ):
            with pytest.raises(Failed, match="the log has"):
                bench.require_events(*wanted)
        assert bench.events() == []
        assert bench.events("MSiSCSI") == [116]
        bench.require_events(source=SOURCE)

    on_bench(test)


def test_an_isns_server_in_memory():
    async def test(bench):
        network = IsnsNetwork()
        link = network.link(Endpoint("127.0.0.1", 3205))
        await network.register(PLAIN)
        assert await link.listen("127.0.0.1") == await link.listen("127.0.0.1", 50000)
        await link.register_initiator("iqn.2026-01.org.example:x", "127.0.0.1")
        assert [each.name for each in (await link.targets("iqn.2026-01.org.example:x")).targets] == [PLAIN]
        await link.close()
        network.there = False
        gone = network.link(Endpoint("127.0.0.1", 3205))
        with pytest.raises(IsnsFailure):
            await gone.targets("iqn.2026-01.org.example:x")
        await gone.close()

    on_bench(test)


def test_a_back_end_that_lets_go():
    async def test(bench):
        one = await bench.start(ipsec=ScriptedIpsec())
        await one.knows()
        session = await one.log_in(security_flags=3, key=b"key")
        await one.does(api.LogoutTarget(session_id=session.session_id))
        assert HOST.port == session.portal.port

    on_bench(test)


# The table of cases, and the commands that show it.


def test_codes_are_for_cases_about_the_service():
    with pytest.raises(CaseError) as refused:
        validate([replace(ABOUT_BUSY, role=TARGET)], {})
    lines = str(refused.value).splitlines()
    assert "status.device-busy-on-session: status codes are for cases about the service" in lines
    assert f"{ABOUT_BUSY.id}: 0xEFFF0040 is proven by {other(BUSY)}, which does not exist" in lines
    validate([replace(ABOUT_BUSY, proofs=(), events=())], all_faults())
    assert provable(ABOUT_BUSY) == ["0xEFFF0040"]


@pytest.mark.parametrize("text", ["0xEFFF0040", "0xefff0040", "ISDSC_DEVICE_BUSY_ON_SESSION", "device_busy_on_session"])
def test_a_code_is_explained(text):
    shown = CliRunner().invoke(main, ["explain", text])
    assert shown.exit_code == 0
    assert shown.output.startswith("0xEFFF0040: ISDSC_DEVICE_BUSY_ON_SESSION, an error")
    assert "status.device-busy-on-session: " in shown.output
    row = json.loads(CliRunner().invoke(main, ["explain", text, "--json"]).output)
    assert row == {
        "code": "0xEFFF0040",
        "symbol": "ISDSC_DEVICE_BUSY_ON_SESSION",
        "warning": False,
        "cases": ["status.device-busy-on-session"],
    }
    assert "a warning" in CliRunner().invoke(main, ["explain", "0xAFFF0048"]).output
    assert CliRunner().invoke(main, ["explain", "0xEFFF0060"]).exit_code == 2


def test_cases_of_a_code_are_listed(capsys):
    listed = json.loads(CliRunner().invoke(main, ["list", "-k", "0xEFFF0040", "--json"]).output)
    assert [(row["id"], row["codes"]) for row in listed] == [(ABOUT_BUSY.id, {"0xEFFF0040": other(BUSY)})]
    assert "MSiSCSI:118" in CliRunner().invoke(main, ["list", "--role", "service"]).output
    case_page(ABOUT_BUSY)
    shown = capsys.readouterr().out
    assert f"0xEFFF0040 (ISDSC_DEVICE_BUSY_ON_SESSION)\n      proven by the fault {other(BUSY)}" in shown
    assert "logs MSiSCSI:116" in shown
    assert stays(BUSY) in CliRunner().invoke(main, ["faults", "--role", "service"]).output


# Coverage and the report.


@pytest.fixture
def results(make_result, make_results):
    cases = [
        make_result(ABOUT_BUSY.id, role="service", codes=("0xEFFF0040",), expected_events=("MSiSCSI:116",)),
        make_result("status.logon-failed", Verdict.FAIL, role="service", codes=("0xEFFF0022",), failed=["0xEFFF0022"]),
        make_result("status.logon-failed.sequences", role="service", codes=("0xEFFF0022",)),
        make_result("event.118.at-the-start", role="service", expected_events=("MSiSCSI:118",)),
    ]
    made = make_results(*cases)
    proven = {ABOUT_BUSY.id: ("0xEFFF0040",), "status.logon-failed": ("0xEFFF0022",)}
    made.coverage = coverage_of(cases, proven)
    return made


def test_codes_and_events_are_covered_by_what_passed_and_is_proven(results):
    coverage = results.coverage
    assert coverage.status_codes == {"0xEFFF0040": [ABOUT_BUSY.id]}
    assert coverage.events == {"MSiSCSI": {"116": [ABOUT_BUSY.id], "118": ["event.118.at-the-start"]}}
    assert coverage.synthetic == {"MSiSCSI": ["118"]}
    assert coverage.requirements == {}
    assert coverage_lines(coverage) == [
        "status codes covered: 1 of 100",
        "events of MSiSCSI covered: 2 of 20, 1 of them synthetic",
    ]


def test_the_report_has_every_code_and_every_event_of_the_service(results, tmp_path):
    rows = {row.id: row for row in status_rows(results.cases)}
    assert list(rows) == [code_text(code) for code in StatusCode]
    assert (rows["0xEFFF0022"].verdict, rows["0xEFFF0040"].verdict, rows["0xEFFF0001"].verdict) == (
        "FAIL",
        "PASS",
        None,
    )
    events = {row.id: row for row in service_rows(results.cases)}
    assert list(events) == [str(number) for number in SERVICE_EVENTS]
    assert [number for number, row in events.items() if row.synthetic] == ["104", "118", "120", "121"]
    assert (status_rows([]), service_rows([])) == ([], [])
    page = write_html(results, tmp_path / "report.html", dt.datetime(2026, 1, 1, tzinfo=dt.UTC)).read_text("utf-8")
    assert "ISDSC_DEVICE_BUSY_ON_SESSION" in page
    assert "ISCSIEXE_EVENTMSG_TIMEBOMB" in page
    assert "4 are synthetic and counted apart" in page
    assert "status codes covered: 1 of 100" in page
    assert "<option>service</option>" in page


def test_a_report_without_the_service_has_neither(make_result, make_results, tmp_path):
    page = write_html(make_results(make_result()), tmp_path / "r.html", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    assert "ISDSC_" not in page.read_text("utf-8")
