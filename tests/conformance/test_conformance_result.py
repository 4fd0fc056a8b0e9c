"""results.json: written and read back, refused when it is something else; coverage, summary, comparison of two runs."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_conformance.compare import compare, read_run
from iscsi_conformance.result import (
    SCHEMA,
    Results,
    ResultsError,
    coverage_of,
    read_results,
    summary_of,
    write_results,
)
from iscsi_conformance.verdict import Verdict

CLAUSE = "R7143-4.2.2.1-07"
KEYS = {
    "id",
    "title",
    "role",
    "clauses",
    "level",
    "expected_events",
    "verdict",
    "reason",
    "ending",
    "duration_s",
    "transport",
    "clock",
    "evidence",
    "fault",
}
"""What everybody outside relies on in a case's row."""


def test_results_come_back(make_result, make_results, recorder, tmp_path):
    """Everything that was written is read again."""
    results = make_results(make_result(dialogue=recorder.dialogue(), failed=[CLAUSE]), covered={CLAUSE: ["nop.echoes"]})
    write_results(results, tmp_path / "results.json")

    assert read_results(tmp_path / "results.json") == results
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_names_that_others_rely_on(make_result, make_results, tmp_path):
    """The keys of the file are those of the schema."""
    write_results(make_results(make_result()), tmp_path / "results.json")
    content = json.loads((tmp_path / "results.json").read_text("utf-8"))

    assert content["schema"] == "iscsi-conformance/results/1" == SCHEMA
    assert set(content) == {"schema", "versions", "seed", "profile", "dut", "cases", "coverage", "summary"}
    assert set(content["coverage"]) == {"requirements", "events", "status_codes", "synthetic"}
    assert set(content["cases"][0]) >= KEYS
    assert content["summary"]["PASS"] == 1


@given(reason=st.text(), verdict=st.sampled_from(sorted(Verdict)), seed=st.integers(0, 2**32 - 1))
def test_any_text_survives(tmp_path_factory, reason, verdict, seed):
    """Reasons hold whatever text there is."""
    results = Results(seed=seed, profile=reason, dut={"target_name": reason}, summary={verdict.value: 1})
    path = tmp_path_factory.getbasetemp() / "any.json"
    write_results(results, path)

    assert read_results(path) == results


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "not a results.json"),
        (b"[]", "not a results.json"),
        (b'{"cases": [{}]}', "not a results.json"),
        (b'{"schema": "iscsi-conformance/results/2"}', "schema 'iscsi-conformance/results/2'"),
        (b'{"cases": 1, "schema": "iscsi-captures/review/1"}', "not a results.json"),
        (b"\xff\xfe", "not a results.json"),
    ],
)
def test_other_files_are_refused(tmp_path, content, says):
    """In one line, with the file's name."""
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ResultsError) as caught:
        read_results(path)

    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_only_passed_cases_cover(make_result):
    """A requirement counts where it is proven and its case passed; events where they were expected."""
    cases = [
        make_result("nop.b", expected_events=("iScsiPrt:22", "MSiSCSI:5")),
        make_result("nop.a", expected_events=("iScsiPrt:22",)),
        make_result("nop.c", Verdict.FAIL, expected_events=("iScsiPrt:23",)),
    ]
    coverage = coverage_of(cases, {"nop.b": ("R2", "R1"), "nop.a": ("R2",), "nop.c": ("R3",), "nop.d": ("R4",)})

    assert coverage.requirements == {"R1": ["nop.b"], "R2": ["nop.b", "nop.a"]}
    assert list(coverage.requirements) == ["R1", "R2"]
    assert coverage.events == {"iScsiPrt": {"22": ["nop.b", "nop.a"]}, "MSiSCSI": {"5": ["nop.b"]}}


def test_summary_names_every_verdict(make_result):
    """Also those that nothing had."""
    summary = summary_of([make_result(), make_result(verdict=Verdict.FAIL), make_result(verdict=Verdict.FAIL)])

    assert summary == {
        "PASS": 1,
        "WARN": 0,
        "FAIL": 2,
        "UNSUPPORTED": 0,
        "SKIPPED": 0,
        "INCONCLUSIVE": 0,
        "ERROR": 0,
    }


# ---- comparison ----


def test_comparison_sorts_the_differences(make_result, make_results):
    """Other verdicts, other reasons, new and gone cases, each with both sides."""
    before = make_results(
        make_result("a.same"),
        make_result("a.verdict", Verdict.FAIL, "why"),
        make_result("a.reason", Verdict.FAIL, "this"),
        make_result("a.gone", Verdict.WARN, "gone"),
    )
    after = make_results(
        make_result("a.new", Verdict.ERROR, "new"),
        make_result("a.reason", Verdict.FAIL, "that"),
        make_result("a.same"),
        make_result("a.verdict"),
    )
    found = compare(before, after)

    assert [(each.case, each.before, each.after) for each in found.changed] == [("a.verdict", "FAIL", "PASS")]
    assert [(each.reason_before, each.reason_after) for each in found.reasons] == [("this", "that")]
    assert [(each.case, each.before, each.after) for each in found.new] == [("a.new", None, "ERROR")]
    assert [(each.case, each.before, each.after) for each in found.gone] == [("a.gone", "WARN", None)]
    assert found.compared == 3
    assert not found.same


def test_change_of_expectation_is_a_change(make_result, make_results):
    """A failure that nobody expects any more is another outcome, though the verdict is the same."""
    known = make_result(verdict=Verdict.FAIL, reason="why", expected_failure="as expected: soon")
    found = compare(make_results(known), make_results(make_result(verdict=Verdict.FAIL, reason="why")))

    assert [each.reason_before for each in found.changed] == ["why [as expected: soon]"]


def test_what_means_nothing_is_no_difference(make_result, make_results, recorder):
    """Durations, dialogues, captures, seeds and versions may differ."""
    before = make_results(make_result())
    after = make_results(make_result(dialogue=recorder.dialogue(), capture="captures/x"))
    after.cases[0].duration_s = 9
    after = msgspec.structs.replace(after, seed=99, versions={})

    assert compare(before, after).same


def test_comparison_is_the_same_the_other_way_round(make_result, make_results):
    """New on one side is gone on the other."""
    one, two = make_results(make_result("a.one")), make_results(make_result("a.two"))
    there, back = compare(one, two), compare(two, one)

    assert [each.case for each in there.new] == [each.case for each in back.gone] == ["a.two"]


def test_run_is_read_from_its_folder_too(make_result, make_results, tmp_path):
    """A folder stands for the results.json in it."""
    results = make_results(make_result())
    write_results(results, tmp_path / "results.json")

    assert read_run(tmp_path) == read_run(tmp_path / "results.json") == results
