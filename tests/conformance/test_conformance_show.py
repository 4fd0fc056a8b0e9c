"""What the commands print: plain in a pipe, coloured on a terminal, JSON on request, and text always as it is."""

from __future__ import annotations

import io
import json
import re

import pytest
from rich.console import Console

from iscsi_captures.catalogue import requirements
from iscsi_conformance import progress as progress_module
from iscsi_conformance import show
from iscsi_conformance.case import Case, load_cases
from iscsi_conformance.compare import compare
from iscsi_conformance.doctor.check import bad, ok, warn
from iscsi_conformance.progress import Progress
from iscsi_conformance.verdict import Verdict
from iscsi_protocol.fault import Drop, Fault, NamedFault, Side, When
from iscsi_protocol.stream import Direction

ESCAPE = re.compile(r"\x1b\[")
TRICKY = "[bold]not markup[/] :smile: [/x]"


@pytest.fixture
def first_case() -> Case:
    """A case that has a proven requirement."""
    return next(case for case in load_cases().values() if case.clauses)


def named(says):
    """A fault that says this."""
    fault = Fault(when=When(direction=Direction.TO_INITIATOR), what=(Drop(),))
    return NamedFault(id="test.fault", side=Side.TARGET, says=says, faults=(fault,))


def printed(capsys):
    """What went to the pipe; nothing of it is for a terminal."""
    said = capsys.readouterr().out
    assert not ESCAPE.search(said)
    return said


def test_summary_in_a_pipe(make_result, make_results, capsys):
    """Areas by verdicts, then what did not pass with its reason and expectation, then the coverage."""
    show.summary_table(
        make_results(
            make_result("chap.one"),
            make_result("nop.one"),
            make_result("nop.two", Verdict.FAIL, TRICKY),
            make_result("nop.three", Verdict.SKIPPED, "left out"),
            make_result("nop.four", Verdict.FAIL, "known", expected_failure="as expected: soon"),
            covered={"R7143-4.2.2.1-07": ["nop.one"]},
        )
    )
    said = printed(capsys)

    assert "iqn.2026-11.example:sample: 5 cases" in said
    assert re.search(r"nop\W+1\W+2\W+1\W", said)
    assert f"FAIL         nop.two: {TRICKY}\n" in said
    assert "FAIL         nop.four: known [as expected: soon]\n" in said
    assert "left out" not in said
    assert said.endswith("requirements covered, each by a fault that makes its case fail: 1\n")


def test_summary_as_json(make_result, make_results, capsys):
    """The whole of results.json, and nothing else."""
    show.summary_table(make_results(make_result(reason=TRICKY)), as_json=True)

    assert json.loads(printed(capsys))["cases"][0]["reason"] == TRICKY


def test_long_json_lines_are_not_broken(capsys):
    """However narrow the terminal is thought to be."""
    show.print_json({"text": "x y " * 500})

    assert json.loads(printed(capsys)) == {"text": "x y " * 500}


def test_cases_as_table_and_json(first_case, capsys):
    """Each case has a line; as JSON it has its clauses with their faults."""
    show.case_table([first_case])
    said = printed(capsys)
    show.case_table([first_case], as_json=True)
    (row,) = json.loads(printed(capsys))

    assert first_case.id in said
    assert "1 cases" in said
    assert row["clauses"] == dict(first_case.clauses)
    assert (row["id"], row["role"], row["level"]) == (first_case.id, first_case.role, first_case.level)


def test_page_of_a_case(first_case, capsys):
    """Its requirements with their statements and the faults that prove them."""
    show.case_page(first_case)
    said = printed(capsys)
    clause, fault = next(iter(first_case.clauses.items()))

    assert said.startswith(f"{first_case.id} ({first_case.role}, {first_case.level})\n  {first_case.title}\n")
    assert requirements()[clause].statement in said
    assert f"proven by the fault {fault}" in said
    show.case_page(first_case, as_json=True)
    assert json.loads(printed(capsys))["id"] == first_case.id


def test_page_of_a_requirement(first_case, capsys):
    """Where it stands, what it says, and the cases about it, or that there are none."""
    clause, fault = next(iter(first_case.clauses.items()))
    row = requirements()[clause]
    show.requirement_page(row, [first_case])
    said = printed(capsys)
    show.requirement_page(row, [])
    none = printed(capsys)
    show.requirement_page(row, [first_case], as_json=True)

    assert row.statement in said
    assert f"{first_case.id}: {first_case.title}, proven by the fault {fault}" in said
    assert "no case covers it" in none
    assert json.loads(printed(capsys))["cases"] == [first_case.id]


def test_faults_with_the_cases_that_they_prove(first_case, capsys):
    """A fault's sentence is printed as it is; the JSON names the cases."""
    show.fault_table([named(TRICKY)], [first_case])
    said = printed(capsys)
    show.fault_table([named(TRICKY)], [], as_json=True)
    (row,) = json.loads(printed(capsys))

    assert TRICKY.split(maxsplit=1)[0] in said
    assert row == {"id": "test.fault", "side": "target", "says": TRICKY, "proves": []}


def test_comparison_in_words(make_result, make_results, capsys):
    """Each difference with both verdicts and reasons; nothing different is said too."""
    before = make_results(make_result("a.one", Verdict.FAIL, TRICKY), make_result("a.gone"))
    after = make_results(make_result("a.one"), make_result("a.new", Verdict.ERROR, "broken"))
    show.comparison_page(compare(before, after))
    said = printed(capsys)
    show.comparison_page(compare(before, before))
    same = printed(capsys)
    show.comparison_page(compare(before, after), as_json=True)
    content = json.loads(printed(capsys))

    assert f"other verdicts: 1\n  a.one: FAIL → PASS\n      before: {TRICKY}\n" in said
    assert "new cases: 1\n  a.new: ERROR\n      after: broken\n" in said
    assert "gone cases: 1\n  a.gone: PASS\n" in said
    assert same == "2 cases in both runs, nothing different\n"
    assert (content["schema"], content["same"]) == ("iscsi-conformance/compare/1", False)
    assert content["changed"][0]["case"] == "a.one"


def test_comparison_of_two_products_names_them(make_result, make_results, capsys):
    """Where the product or the profile is another one, that is said first."""
    one, two = make_results(make_result()), make_results(make_result())
    two.profile = "other"
    show.comparison_page(compare(one, two))

    assert printed(capsys).startswith("before: iqn.2026-11.example:sample (profile sample)\nafter:  ")


@pytest.mark.parametrize(
    ("check", "lines"),
    [
        (ok("ports", TRICKY), f"ok    ports: {TRICKY}\n"),
        (warn("limits", "few", "more"), "warn  limits: few\n      remedy: more\n"),
        (bad("portal", "refused", "start it"), "bad   portal: refused\n      remedy: start it\n"),
    ],
)
def test_check_is_a_line_and_a_remedy(check, lines, capsys):
    """One line, and one more where there is something to do."""
    show.check_line(check)

    assert printed(capsys) == lines


# ---- progress ----


@pytest.fixture
def terminal(monkeypatch):
    """Make progress believe that it writes to a terminal; what it wrote is returned."""
    written = io.StringIO()

    def console(**options):
        quiet = options.get("quiet", False)
        return Console(file=written, force_terminal=True, width=200, highlight=False, emoji=False, quiet=quiet)

    monkeypatch.setattr(progress_module, "Console", console)
    monkeypatch.setenv("TERM", "xterm")
    return written


def test_progress_in_a_pipe_is_a_line_a_case(make_result, capsys):
    """On standard error, so that results alone are in the pipe."""
    with Progress() as progress:
        progress.selected(2)
        progress.done(make_result("nop.one"))
        progress.done(make_result("nop.two", Verdict.FAIL, TRICKY))
    said = capsys.readouterr()

    assert said.out == ""
    assert said.err == f"PASS         nop.one (0.25 s)\nFAIL         nop.two (0.25 s) {TRICKY}\n"


def test_progress_is_quiet_when_the_output_is_json(make_result, capsys):
    """Nothing at all."""
    with Progress(quiet=True) as progress:
        progress.selected(1)
        progress.done(make_result())

    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_is_a_bar(terminal, make_result):
    """Counts by verdict in the bar; above it the cases that did not pass."""
    with Progress() as progress:
        progress.selected(3)
        progress.done(make_result("nop.one"))
        progress.done(make_result("nop.two", Verdict.FAIL, TRICKY))
        progress.done(make_result("nop.three", Verdict.UNSUPPORTED, "no"))
    said = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())

    assert "3/3" in said
    assert "FAIL 1  PASS 1  UNSUPPORTED 1" in said
    assert f"nop.two (0.25 s) {TRICKY}" in said
    assert "nop.one" not in said
    assert "nop.three" not in said
