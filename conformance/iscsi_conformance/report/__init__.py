"""What a run leaves in its folder: results.json, and rendered from it report.html, junit.xml and allure-results/."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from iscsi_conformance.report.allure import write_allure
from iscsi_conformance.report.html import write_html
from iscsi_conformance.report.junit import write_junit
from iscsi_conformance.result import Results, write_results


def write_reports(results: Results, out: Path, *, now: dt.datetime | None = None) -> Path:
    """Write every report into `out`, which is made where it is missing; the path of report.html.

    now: the time that the reports name as their own, with a time zone; None is the present. Captures are looked for
    below `out`. Raises OSError.
    """
    written = dt.datetime.now(tz=dt.UTC) if now is None else now.astimezone(dt.UTC)
    out.mkdir(parents=True, exist_ok=True)
    write_results(results, out / "results.json")
    write_junit(results, out / "junit.xml", written)
    write_allure(results, out, written)
    return write_html(results, out / "report.html", written)


__all__ = ["write_reports"]
