"""`iscsi-conformance run` against tgt: an honest verdict for every case, and for a tgt that dies on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

RUN = [sys.executable, "-c", "from iscsi_conformance.cli import main; main()", "run"]


def arguments(tgtd: Any, out: Path) -> list[str]:
    """The command line for a run against this tgtd."""
    product = ["--portal", tgtd.portal, "--target-name", tgtd.target_name, "--lun", str(tgtd.lun)]
    return [*RUN, *product, "--out", str(out)]


def results(out: Path) -> dict[str, Any]:
    """What the run left."""
    found: dict[str, Any] = json.loads((out / "results.json").read_bytes())
    return found


def test_every_case_gets_a_verdict(tgtd: Any, tmp_path: Path) -> None:
    done = subprocess.run(arguments(tgtd, tmp_path), capture_output=True, text=True, timeout=180, check=False)
    found = results(tmp_path)
    assert done.returncode in (0, 1), done.stderr
    assert found["summary"]["ERROR"] == 0, [row["reason"] for row in found["cases"] if row["verdict"] == "ERROR"]
    assert found["summary"]["PASS"] > 50
    assert done.stdout.splitlines()[-1] == str(tmp_path / "report.html")


def test_killed_product_is_told(tgtd: Any, tmp_path: Path) -> None:
    """The case in flight is the first suspect, what was found before is kept, and the exit code is 3."""
    with subprocess.Popen(arguments(tgtd, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        judged = 0
        for line in run.stderr:
            judged += line.startswith(("PASS", "FAIL", "WARN"))
            if judged == 8:
                break
        tgtd.process.kill()
        _, errors = run.communicate(timeout=120)
    found = results(tmp_path)
    suspects = [row["id"] for row in found["cases"] if row["verdict"] == "INCONCLUSIVE" and row["evidence"]["gone"]]
    assert run.returncode == 3, errors
    assert len(suspects) == 1
    assert f"{suspects[0]}: the product was gone afterwards" in errors
    assert sum(row["verdict"] in ("PASS", "FAIL", "WARN") for row in found["cases"]) >= 5
