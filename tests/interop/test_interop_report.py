"""report.html in a browser: headless Chromium, asked through its debugging pipe, sees what a reader sees."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import tempfile

import pytest
from tests.interop.browser import LOGGED, OPTIONS

from iscsi_conformance.recorder import Recorder
from iscsi_conformance.report import write_reports
from iscsi_conformance.result import CaseResult, Coverage, Evidence, FindingRow, Results, summary_of
from iscsi_conformance.verdict import Verdict
from iscsi_protocol.history import Endpoint, PduRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import LoginRequest, LoginResponse, NopIn, NopOut, encode
from iscsi_protocol.stream import Direction

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
CLAUSE = "R7143-4.2.2.1-07"
HOSTILE = "</script><script>document.title='taken over'</script><img src=x onerror=alert(1)>\x00\u202e"


def dialogue():
    """A login and a ping, as a recorder keeps them."""
    recorder = Recorder()
    ends = Endpoint("127.0.0.1", 40000), Endpoint("127.0.0.1", 3260)
    recorder.record(TransportRecord(1, 0.0, TransportEvent.CONNECTED, *ends))
    steps = (
        (Direction.TO_TARGET, LoginRequest(itt=1, csg=1, nsg=3, transit=True, data=b"InitiatorName=iqn.x:tester\0")),
        (Direction.TO_INITIATOR, LoginResponse(itt=1, csg=1, nsg=3, transit=True, tsih=7, stat_sn=3)),
        (Direction.TO_TARGET, NopOut(itt=2, cmd_sn=1, exp_stat_sn=4, data=b"ping")),
        (Direction.TO_INITIATOR, NopIn(itt=2, stat_sn=0x1234, exp_cmd_sn=2, max_cmd_sn=9, data=b"pong")),
    )
    for number, (direction, pdu) in enumerate(steps, start=1):
        recorder.record(PduRecord(1, number / 1000, direction, encode(pdu)))
    recorder.record(TransportRecord(1, 0.01, TransportEvent.FIN, *ends))
    return recorder.dialogue()


def case_result(case_id, verdict, reason="", **evidence):
    """A case as a run leaves it."""
    return CaseResult(
        id=case_id,
        title=f"What {case_id} is about.",
        role="target",
        clauses=[CLAUSE],
        level="MUST",
        expected_events=[],
        verdict=verdict,
        reason=reason,
        ending="FIN",
        duration_s=0.25,
        transport="tcp",
        clock="real",
        evidence=Evidence(**evidence),
    )


@pytest.fixture
def page(tmp_path):
    """The address of a report on three cases, one of which has hostile text in it."""
    finding = FindingRow(rule="nop.echo", clause=CLAUSE, level="MUST", role="target", message="pong for ping", index=4)
    cases = [
        case_result("login.opens", Verdict.PASS, dialogue=dialogue()),
        case_result(
            "nop.echoes",
            Verdict.FAIL,
            "the data is another",
            failed=[CLAUSE],
            findings=[finding],
            dialogue=dialogue(),
            capture="captures/nop.echoes.pcapng",
        ),
        case_result("text.hostile", Verdict.ERROR, HOSTILE, notes=[HOSTILE], dialogue=[{"line": HOSTILE}]),
    ]
    results = Results(
        profile="sample",
        dut={"target_name": "iqn.2026-11.example:sample", "probe": ["chap: no (not asked)"]},
        cases=cases,
        coverage=Coverage(requirements={CLAUSE: ["login.opens"]}),
        summary=summary_of(cases),
    )
    return write_reports(results, tmp_path, now=NOW).as_uri()


def test_overview_shows_matrix_and_filters(browser, page):
    """The matrix counts by area and verdict, and a click on a count leaves only these cases."""
    browser.open(page)

    assert "iqn.2026-11.example:sample" in browser.text("h1")
    assert browser.run("document.querySelectorAll('#matrix tbody tr').length") == 3
    browser.run("document.querySelector('#matrix button[data-verdict=FAIL]').click()")
    shown = (
        "[...document.querySelectorAll('#cases tbody tr')].filter(row => row.offsetParent).map(row => row.innerText)"
    )
    (row,) = browser.run(shown)
    assert "nop.echoes" in row
    assert browser.text("#shown") == "1 of 3 cases"
    assert browser.complaints() == []


def test_search_looks_into_requirements(browser, page):
    """A requirement's id finds the cases that have to do with it; nonsense finds none."""
    browser.open(page)

    for words, found in ((CLAUSE.lower(), "3 cases"), ("another", "1 of 3 cases"), ("no such thing", "0 of 3 cases")):
        browser.run(
            f"(() => {{ const box = document.getElementById('search'); box.value = {json.dumps(words)};"
            " box.dispatchEvent(new Event('input')); })()"
        )
        assert browser.text("#shown") == found
    assert browser.complaints() == []


def test_case_page_shows_its_dialogue(browser, page):
    """Reached by its hash alone: reason, broken requirement, finding, arrows, and the fields that the header's bytes give."""
    browser.open(f"{page}#nop.echoes")

    text = browser.text("#view-case")
    for said in ("nop.echoes", "the data is another", CLAUSE, "broken", "pong for ping", "NOP-In", "stat_sn=4660"):
        assert said in text
    assert browser.run("document.querySelector('a[download]').getAttribute('href')") == "captures/nop.echoes.pcapng"
    browser.run("document.querySelector('#record-4 summary').click()")
    browser.run("new Promise(requestAnimationFrame)")
    fields = browser.run("[...document.querySelectorAll('#record-4 .fields tbody tr')].map(row => row.innerText)")
    assert "stat_sn\t24–27\t\t4660" in fields
    assert browser.text("#record-4 .payload").startswith("70 6f 6e 67")
    assert browser.complaints() == []


def test_coverage_by_requirement_hash(browser, page):
    """A requirement's id as hash leads to its row with its state and its cases."""
    browser.open(f"{page}#{CLAUSE}")

    row = browser.text("tr.here")
    assert CLAUSE in row
    assert "covered" in row
    assert "login.opens" in row
    assert browser.complaints() == []


def test_text_of_the_product_stays_text(browser, page):
    """Neither the overview nor the case's page runs or loads anything that the product sent."""
    browser.open(f"{page}#text.hostile")

    assert browser.run("document.title") == "ERROR text.hostile"
    assert "onerror=alert(1)" in browser.text("#view-case")
    assert browser.run("document.images.length") == 0
    assert browser.complaints() == []


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("part", ["", "#nop.echoes", "#coverage"])
def test_no_page_is_wider_than_the_window(browser, page, width, part):
    """Nothing has to be scrolled sideways, on a desk or on a telephone."""
    browser.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    browser.open(page + part)
    browser.run("document.querySelectorAll('details').forEach(row => { row.open = true; })")
    browser.run("new Promise(requestAnimationFrame)")

    assert browser.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert browser.complaints() == []


def test_page_is_there_without_a_debugger(peer, page):
    """What --dump-dom prints has the matrix and, behind a hash, the dialogue of the case."""
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [peer("chromium"), *OPTIONS, f"--user-data-dir={profile}", *LOGGED, "--dump-dom", f"{page}#nop.echoes"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    assert 'id="matrix"' in done.stdout
    assert "record-4" in done.stdout
    assert "CONSOLE" not in done.stderr


def test_pdu_opened_by_keyboard(browser, page):
    """The row that a finding names is reached by its button and opened without a mouse."""
    browser.open(f"{page}#nop.echoes")
    browser.run("document.querySelector('#view-case button.plain').focus()")

    for kind in ("keyDown", "keyUp"):
        text = {"text": "\r"} if kind == "keyDown" else {}
        browser.ask("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, **text)

    assert browser.run("document.activeElement.closest('li').id") == "record-4"
    assert browser.run("document.querySelector('#record-4 details').open") is True
    assert browser.complaints() == []
