"""The reports of a run: complete, well-formed whatever the product sends, and the same facts in each."""

from __future__ import annotations

import datetime as dt
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_captures.catalogue import requirements
from iscsi_captures.describe import all_fields
from iscsi_captures.legible import legible
from iscsi_captures.pages import in_script
from iscsi_conformance.case import load_cases
from iscsi_conformance.report import write_reports
from iscsi_conformance.report.dialogue import Pools, packed_rows
from iscsi_conformance.result import Coverage, FindingRow, read_results
from iscsi_conformance.verdict import Verdict
from iscsi_protocol.pdu import PDU_CLASSES, RawPdu

NOW = dt.datetime(2026, 11, 22, 12, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))
CLAUSE = "R7143-4.2.2.1-07"
HOSTILE = "</script><!--<script>&amp;]]>\x00\x1b[31m\r\u202e\ufffe\U0001f600 \"'<b>"
SHOWN = "</script><!--<script>&amp;]]>\\x00\\x1b[31m\\x0d\\u202e\\ufffe\U0001f600 \"'<b>"


class Page(HTMLParser):
    """The page as a browser cuts it: JSON blocks, other scripts, ids, links, and all text outside of scripts."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.blocks, self.scripts, self.links, self.text, self.attributes = {}, [], [], "", set()
        self._in = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.attributes.update(values)
        if tag == "script":
            self._in = values.get("id") or values.get("data-dialogue") or "code"
            if values.get("type") == "application/json":
                self.blocks[self._in] = ""
        elif tag == "style":
            self._in = "style"
        elif "href" in values:
            self.links.append(values["href"])

    def handle_endtag(self, tag):
        if tag in ("script", "style"):
            self._in = None

    def handle_data(self, data):
        if self._in in self.blocks:
            self.blocks[self._in] += data
        elif self._in == "code":
            self.scripts.append(data)
        elif self._in is None:
            self.text += data

    def json(self, name):
        """A JSON block, decoded."""
        return json.loads(self.blocks[name])


@pytest.fixture
def run(make_result, make_results, recorder):
    """A run with every verdict, an expected failure, news, and hostile text."""
    finding = FindingRow(rule="nop.echo", clause=CLAUSE, level="MUST", role="target", message=HOSTILE, index=5)
    dialogue = recorder.dialogue()
    return make_results(
        make_result("chap.warns", Verdict.WARN, "a SHOULD was missed"),
        make_result("login.known", Verdict.FAIL, "known", expected_failure="as expected: next release (link)"),
        make_result("login.news", Verdict.PASS, expected_failure="passes unexpectedly: next release"),
        make_result("login.opens", dialogue=dialogue, expected_events=("iScsiPrt:22",)),
        make_result("nop.broken", Verdict.ERROR, HOSTILE, notes=[HOSTILE], dialogue=[{"line": HOSTILE}]),
        make_result("nop.echoes", Verdict.FAIL, HOSTILE, findings=[finding], failed=[CLAUSE], dialogue=dialogue),
        make_result("nop.far", Verdict.INCONCLUSIVE, "no login", gone=True, capture="captures/nop.far.pcapng"),
        make_result("text.lacks", Verdict.UNSUPPORTED, "no", probe="chap: no", role="initiator"),
        make_result("text.left", Verdict.SKIPPED, "writes", capture="../../secret"),
        covered={CLAUSE: ["login.opens"]},
    )


@pytest.fixture
def written(run, tmp_path):
    """The folder with the reports of that run, one capture in it."""
    out = tmp_path / "one" / "two"
    (out / "captures").mkdir(parents=True)
    (out / "captures" / "nop.far.pcapng").write_bytes(b"a capture")
    (tmp_path / "secret").write_text("not a capture of this run")
    assert write_reports(run, out, now=NOW) == out / "report.html"
    return out


def test_folder_has_every_report(run, written):
    """Results come back as they were written; beside them stand the other reports."""
    assert read_results(written / "results.json") == run
    assert {path.name for path in written.iterdir()} == {
        "allure-results",
        "captures",
        "junit.xml",
        "report.html",
        "results.json",
    }


def test_reports_of_nothing(make_results, tmp_path):
    """A run without a case has reports all the same, in a folder that is made for them."""
    path = write_reports(make_results(), tmp_path / "new" / "folder", now=NOW)

    assert Page(path.read_text("utf-8")).json("head")["cases"] == []
    assert ET.parse(path.with_name("junit.xml")).getroot().get("tests") == "0"


# ---- report.html ----


@pytest.fixture
def page(written):
    """The page."""
    return Page((written / "report.html").read_text("utf-8"))


def test_page_is_one_file_without_a_network(written):
    """Nothing is loaded: no source, no style sheet, no import, and a policy that would forbid it."""
    text = (written / "report.html").read_text("utf-8")

    assert not re.search(r"\ssrc=|<link|@import|url\(|fetch\(|XMLHttpRequest|https?://(?!www\.w3\.org/2000/svg)", text)
    assert "default-src 'none'" in text


def test_page_has_one_script_and_no_inline_handler(page):
    """Hostile text opens no element: one script, no handler attribute, all links within the report."""
    assert len(page.scripts) == 1
    assert not [name for name in page.attributes if name.startswith("on")]
    assert all(link.startswith("#") for link in page.links)


def test_page_says_what_was_tested(page):
    """Subject, portal, versions, probe evidence, counts and time stand in the document itself."""
    for said in (
        "iqn.2026-11.example:sample",
        "192.0.2.1:3260",
        "0.1.0",
        "the profile does not name chap_target",
        "9 cases",
        "2026-11-22 10:30 UTC",
    ):
        assert said in page.text


def test_page_lists_every_case_and_shows_hostile_text(page, run):
    """Each case has its link; control characters and direction marks show as escapes."""
    for result in run.cases:
        assert f"#{result.id}" in page.links
        assert result.id in page.text
    assert SHOWN in page.text
    assert not set(page.text) & set("\x00\x1b\r\u202e")


def test_attention_is_what_fails_a_run_or_warns(written):
    """An expected failure needs none; an unexpected pass does."""
    text = (written / "report.html").read_text("utf-8")
    part = text[text.index('class="attention"') : text.index('id="matrix"')]

    assert re.findall(r'href="#([^"]+)"', part) == ["chap.warns", "login.news", "nop.broken", "nop.echoes", "nop.far"]


def test_head_has_what_a_case_page_needs(page):
    """Reasons, findings and notes are legible, the capture's link stays below the report, requirements have their text."""
    head = page.json("head")
    cases = {row["id"]: row for row in head["cases"]}

    assert cases["nop.echoes"]["reason"] == SHOWN
    assert cases["nop.echoes"]["findings"][0]["message"] == SHOWN
    assert cases["nop.broken"]["notes"] == [SHOWN]
    assert cases["nop.far"]["capture"] == "captures/nop.far.pcapng"
    assert cases["text.left"]["capture"] is None
    assert head["coverage"]["requirements"] == {CLAUSE: ["login.opens"]}
    assert [row[0] for row in head["requirements"]] == list(requirements())


def test_known_cases_bring_their_proofs(make_result, make_results, tmp_path):
    """A case of the table names the fault that proves each of its requirements, and the fault its sentence."""
    case = next(case for case in load_cases().values() if case.clauses)
    path = write_reports(make_results(make_result(case.id)), tmp_path, now=NOW)
    head = Page(path.read_text("utf-8")).json("head")

    assert head["cases"][0]["proofs"] == dict(case.clauses)
    assert set(case.clauses.values()) <= set(head["faults"])


@pytest.mark.parametrize("capture", ["javascript:alert(1)", "//elsewhere/x", "/etc/passwd", "../x", "captures/a b#c?d"])
def test_capture_links_lead_nowhere_else(make_result, make_results, tmp_path, capture):
    """Whatever results.json names as a capture, the link is a path below the report or is not there."""
    path = write_reports(make_results(make_result(capture=capture)), tmp_path, now=NOW)
    (row,) = Page(path.read_text("utf-8")).json("head")["cases"]

    assert row["capture"] in (None, "javascript%3Aalert%281%29", "captures/a%20b%23c%3Fd")


# ---- dialogues packed for the page ----


def values(layout, bhs):
    """The fields of a packed row, computed as the page's script does."""
    shown = {}
    for name, offset, size, mask, how in layout:
        text = bhs[2 * offset : 2 * (offset + size)]
        number = int(text, 16)
        if mask:
            number = (number & mask) // (mask & -mask)
        shown[name] = {"d": str(number), "x": f"{number:#x}", "b": text}.get(how, how[1:])
    return shown


def unpacked_line(row, pools):
    """The line of a packed row with its numbers put back in."""
    known = values(pools.layouts[row[8]], row[7]) if len(row) > 7 else {}
    return re.sub("(\\w+)=\x01", lambda match: f"{match[1]}={known[match[1]]}", pools.lines[row[5]])


def test_packed_dialogue_gives_back_every_line_and_field(recorder):
    """Nothing is lost by packing: line, field values, payload, time and direction come out as they went in."""
    dialogue = recorder.dialogue()
    pools = Pools()
    rows = packed_rows(dialogue, pools)

    for packed, row in zip(rows, dialogue, strict=True):
        assert unpacked_line(packed, pools) == row["line"].lstrip("→← ")
        assert packed[1] == row["index"]
        assert packed[2] == row["time"]
        assert packed[6] == row.get("payload", "")
        if row["kind"] == "pdu":
            assert packed[4] == ("TO_TARGET", "TO_INITIATOR").index(row["direction"])
            assert values(pools.layouts[packed[8]], packed[7]) == {
                each["name"]: each["value"] for each in row["fields"]
            }


@given(opcode=st.sampled_from(sorted(PDU_CLASSES)), rest=st.binary(min_size=47, max_size=47))
def test_fields_follow_from_any_header(opcode, rest):
    """For any 48 bytes the page computes the very values that the dialogue has, without one kept beside the header."""
    raw = RawPdu(bhs=bytes([opcode]) + rest)
    fields = all_fields(raw)
    pools = Pools()
    bhs = bytes(raw.bhs).hex()
    (row,) = packed_rows([{"kind": "pdu", "line": "", "fields": fields, "bhs": bhs}], pools)

    assert not [how for *_, how in pools.layouts[row[8]] if how.startswith("=")]
    assert values(pools.layouts[row[8]], bhs) == {each["name"]: each["value"] for each in fields}


def test_value_that_the_header_does_not_bear_out_is_kept(recorder):
    """A recorded value that contradicts the bytes is shown as recorded."""
    row = next(row for row in recorder.dialogue() if row["kind"] == "pdu")
    fields = [{**row["fields"][0], "value": "odd\x00"}]
    pools = Pools()
    (packed,) = packed_rows([{**row, "fields": fields}], pools)

    assert list(values(pools.layouts[packed[8]], packed[7]).values()) == ["odd\\x00"]


def test_lines_and_layouts_are_kept_once(recorder):
    """Rows that differ in their numbers alone share line and layout."""
    pools = Pools()
    packed_rows(recorder.dialogue(), pools)
    lines, layouts = len(pools.lines), len(pools.layouts)
    packed_rows(recorder.dialogue(), pools)

    assert (len(pools.lines), len(pools.layouts)) == (lines, layouts)
    assert not [line for line in pools.lines if "stat_sn=4660" in line]


def test_large_run_stays_small(make_result, make_results, recorder, tmp_path):
    """A row of a dialogue costs the page less than 300 bytes, however many fields it has."""
    dialogue = [row for row in recorder.dialogue() if row["kind"] == "pdu"] * 100
    small = write_reports(make_results(make_result()), tmp_path / "small", now=NOW).stat().st_size
    large = write_reports(make_results(make_result(dialogue=dialogue)), tmp_path / "large", now=NOW).stat().st_size

    assert (large - small) / len(dialogue) < 300


@given(st.text())
def test_json_in_a_script_cannot_leave_it(text):
    """No text ends the element or begins a comment in it, and the JSON still says the same."""
    made = str(in_script({"text": text}))

    assert not set(made) & set("<>&\u2028\u2029")
    assert json.loads(made) == {"text": text}


# ---- text ----


@given(st.text(st.characters()))
def test_legible_text_is_xml_and_utf8(text):
    """Any text, lone surrogates included, becomes text that UTF-8 and XML 1.0 can carry."""
    root = ET.Element("a", b=legible(text))
    root.text = legible(text)
    again = ET.fromstring(ET.tostring(root, encoding="utf-8"))

    assert again.text == (legible(text) or None)


def test_legible_keeps_lines_and_tabs():
    """Escapes for what cannot be seen, nothing else touched."""
    assert legible("a\tb\nc\u00e9\U0001f600") == "a\tb\nc\u00e9\U0001f600"
    assert legible("\x00\r\x7f\x85\u2066\udc80\uffff") == r"\x00\x0d\x7f\x85\u2066\udc80\uffff"


# ---- junit.xml ----


@pytest.fixture
def junit(written):
    """The root of junit.xml, as a strict parser reads it."""
    return ET.parse(written / "junit.xml").getroot()


def outcome(case):
    """The element below a test case that says how it ended, None for a pass."""
    return next((child for child in case if child.tag in ("failure", "error", "skipped")), None)


def test_junit_outcomes(junit):
    """Failures, errors and skips as every CI understands them; an expected failure is skipped, news is a failure."""
    found = {case.get("name"): outcome(case) for case in junit.iter("testcase")}

    assert {name: None if element is None else element.tag for name, element in found.items()} == {
        "chap.warns": None,
        "login.known": "skipped",
        "login.news": "failure",
        "login.opens": None,
        "nop.broken": "error",
        "nop.echoes": "failure",
        "nop.far": "failure",
        "text.lacks": "skipped",
        "text.left": "skipped",
    }
    assert found["nop.far"].get("type") == "INCONCLUSIVE"
    assert "as expected" in found["login.known"].get("message")


def test_junit_counts_add_up(junit):
    """Every suite counts its own; the root counts all."""
    kinds = {"tests": None, "failures": "failure", "errors": "error", "skipped": "skipped"}
    for element in (junit, *junit.iter("testsuite")):
        cases = list(element.iter("testcase"))
        for attribute, kind in kinds.items():
            wanted = [
                case for case in cases if kind is None or (outcome(case) is not None and outcome(case).tag == kind)
            ]
            assert element.get(attribute) == str(len(wanted))
        assert float(element.get("time")) == pytest.approx(0.25 * len(cases))


def test_junit_properties_and_evidence(junit):
    """A case has its clauses as properties; a failure says what broke and ends with the dialogue."""
    case = next(case for case in junit.iter("testcase") if case.get("name") == "nop.echoes")
    properties = [(each.get("name"), each.get("value")) for each in case.iter("property")]

    assert ("clause", CLAUSE) in properties
    assert ("broken", CLAUSE) in properties
    assert case.get("classname") == "target.nop"
    assert case.find("failure").get("message") == SHOWN
    assert case.find("failure").text.startswith(SHOWN)
    assert "← NOP-In itt=0x2" in case.find("failure").text
    assert next(junit.iter("testsuite")).get("timestamp") == "2026-11-22T10:30:00"


def test_junit_shows_the_end_of_a_long_dialogue(make_result, make_results, tmp_path):
    """Of a long dialogue the last lines are shown, and how many are not."""
    dialogue = [{"line": f"line {number}"} for number in range(100)]
    results = make_results(make_result(verdict=Verdict.FAIL, reason="why", dialogue=dialogue))
    write_reports(results, tmp_path, now=NOW)
    text = ET.parse(tmp_path / "junit.xml").getroot().findtext(".//failure") or ""

    assert "(40 lines of dialogue before these)\nline 40\n" in text
    assert text.endswith("line 99")


# ---- allure-results ----


@pytest.fixture
def allure(written):
    """The results by the names of the cases."""
    files = (written / "allure-results").glob("*-result.json")
    return {row["name"]: row for row in map(json.loads, (path.read_text("utf-8") for path in files))}


def labels(row, name):
    """The values of a label."""
    return [label["value"] for label in row["labels"] if label["name"] == name]


def test_allure_statuses(allure):
    """One result a case; what fails a run is failed or broken there too."""
    assert {name: row["status"] for name, row in allure.items()} == {
        "chap.warns": "passed",
        "login.known": "skipped",
        "login.news": "failed",
        "login.opens": "passed",
        "nop.broken": "broken",
        "nop.echoes": "failed",
        "nop.far": "failed",
        "text.lacks": "skipped",
        "text.left": "skipped",
    }
    assert allure["login.known"]["statusDetails"]["known"] is True
    assert allure["nop.echoes"]["statusDetails"]["message"] == f"FAIL: {SHOWN}"


def test_allure_labels_and_links(allure):
    """Labels sort the cases; each requirement links to its section in the standard and stands in the description."""
    row = allure["login.opens"]

    assert labels(row, "feature") == ["login"]
    assert labels(row, "story") == [CLAUSE]
    assert labels(row, "severity") == ["critical"]
    assert labels(row, "epic") == ["iSCSI target"]
    assert "iScsiPrt:22" in labels(row, "tag")
    assert row["links"][0]["url"] == "https://www.rfc-editor.org/rfc/rfc7143.html#section-4.2.2.1"
    assert requirements()[CLAUSE].statement in row["description"]
    assert row["stop"] - row["start"] == 250


def test_allure_attachments(allure, written):
    """Dialogue and capture are attached; a capture that is not there, or lies elsewhere, is not."""
    folder = written / "allure-results"
    (dialogue,) = allure["nop.echoes"]["attachments"]
    (capture,) = allure["nop.far"]["attachments"]
    text = (folder / dialogue["source"]).read_text("utf-8")

    assert "NOP-In itt=0x2 stat_sn=4660" in text
    assert f"MUST {CLAUSE} nop.echo: {SHOWN}" in text
    assert (folder / capture["source"]).read_bytes() == b"a capture"
    assert "attachments" not in allure["text.left"]


def test_allure_history_does_not_depend_on_the_place(run, written, allure, tmp_path_factory):
    """A rerun elsewhere meets its history: same ids of case and history, another of the result."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    moved = msgspec.structs.replace(run, dut={"portal": "192.0.2.9:1"}, seed=8)
    write_reports(moved, elsewhere, now=NOW)
    files = (elsewhere / "allure-results").glob("*-result.json")

    for row in map(json.loads, (path.read_text("utf-8") for path in files)):
        assert row["historyId"] == allure[row["name"]]["historyId"]
        assert row["uuid"] != allure[row["name"]]["uuid"]


def test_allure_folder_holds_one_run(run, written, make_results):
    """A second run into the same folder leaves nothing of the first, and nothing else is touched."""
    folder = written / "allure-results"
    (folder / "history").mkdir()
    write_reports(make_results(run.cases[0]), written, now=NOW)

    assert len(list(folder.glob("*-result.json"))) == 1
    assert (folder / "history").is_dir()


def test_allure_environment_and_categories(written):
    """The product, the versions and the probe, escaped as a properties file; categories for each way to fail."""
    folder = written / "allure-results"
    lines = (folder / "environment.properties").read_text("utf-8").splitlines()

    assert "dut.target_name = iqn.2026-11.example\\:sample" in lines
    assert "probe.discovery = yes\\ (a\\ session\\ was\\ opened)" in lines
    assert {each["name"] for each in json.loads((folder / "categories.json").read_text())} >= {"Requirement broken"}


def test_coverage_of_events_is_in_the_page(make_result, make_results, tmp_path):
    """Events and status codes that cases cover are there for the coverage table."""
    results = make_results(make_result())
    results.coverage = Coverage(events={"iScsiPrt": {"22": ["nop.echoes"]}}, status_codes={"0201": ["nop.echoes"]})
    head = Page(write_reports(results, tmp_path, now=NOW).read_text("utf-8")).json("head")

    assert head["coverage"]["events"] == {"iScsiPrt": {"22": ["nop.echoes"]}}
    assert head["coverage"]["status_codes"] == {"0201": ["nop.echoes"]}
