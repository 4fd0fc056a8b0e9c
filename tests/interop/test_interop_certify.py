"""certify-initiator against libiscsi's tools and QEMU: no ERROR, in bounded time, and enough that can be concluded."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from iscsi_conformance.certify.product import ADAPTERS
from iscsi_conformance.result import Results, read_results
from iscsi_conformance.verdict import Verdict

CERTIFY = [sys.executable, "-c", "from iscsi_conformance.cli import main; main()", "certify-initiator"]
CONCLUSIVE = {Verdict.PASS, Verdict.WARN, Verdict.FAIL}
PATIENCE = 600
"""Seconds that a whole run may take."""

Peer = Callable[[str], Path]


def certified(folder: Path, *arguments: str) -> Results:
    """The results of a run."""
    command = [*CERTIFY, "--listen", "127.0.0.1:0", "--out", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return read_results(folder / "results.json")


@pytest.mark.parametrize(("adapter", "least"), [("libiscsi", 40), ("qemu-img", 25)])
def test_adapter_concludes_enough(adapter: str, least: int, peer: Peer, tmp_path: Path) -> None:
    """Each adapter ends without ERROR, and what its product cannot be brought to has a reason."""
    for program in ADAPTERS[adapter].programs:
        peer(program)
    results = certified(tmp_path, "--adapter", adapter)
    verdicts = {result.id: result.verdict for result in results.cases}
    assert Verdict.ERROR not in verdicts.values()
    cases = {
        case_id for case_id, verdict in verdicts.items() if verdict in CONCLUSIVE and not case_id.startswith("rule.")
    }
    assert len(cases) >= least
    assert all(result.reason for result in results.cases if result.verdict is not Verdict.PASS)
    # What every initiator in use does right is right here too, so that a broken suite does not pass for a broken product.
    known = ("ilogin.first-request-names-both-nodes", "idata.r2t-answer-place", "inop.target-ping", "ilogout.closes")
    assert {case_id: verdicts[case_id] for case_id in known} == dict.fromkeys(known, Verdict.PASS)


def test_discovery_shows_the_case_in_progress_alone(peer: Peer, tmp_path: Path) -> None:
    """SendTargets has the case's own target, whatever others there are."""
    tool = peer("iscsi-ls")
    results = certified(tmp_path, "--command", f"{tool} iscsi://{{portal}}", "-k", "itext.final or idiscovery")
    for result in results.cases:
        (note, *_) = result.evidence.notes
        own = f"iqn.2026-11.org.iscsi-conformance:{result.id}"
        assert re.findall(r"Target:(\S+)", note) == [own], note


def test_operator_is_told_where_to_log_in(peer: Peer, tmp_path: Path) -> None:
    """Without a command the case waits for whoever logs in to the name that the line on stderr gives."""
    tool = peer("iscsi-inq")
    command = [*CERTIFY, "--listen", "127.0.0.1:0", "--out", str(tmp_path), "--case-time", "30", "-k", "ilogout.fields"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            found = re.match(r"log in to (\S+) at (\S+) and out", line)
            assert found, line
            subprocess.run([str(tool), f"iscsi://{found[2]}/{found[1]}/0"], capture_output=True, timeout=30, check=True)
            assert process.wait(timeout=60) == 0
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
    (result,) = read_results(tmp_path / "results.json").cases
    assert (result.id, result.verdict) == ("ilogout.fields", Verdict.PASS)
