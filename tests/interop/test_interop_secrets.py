"""What tshark reads of a run with secrets: out of the target's own capture and, where that is allowed, of the network."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from tests.conformance.secret_run import make_run, served, shown_in

FORMS = {
    "text": ["-V", "-x"],
    "pdml": ["-T", "pdml"],
    "json": ["-T", "json"],
    "follow": ["-q", "-z", "follow,tcp,ascii,0"],
}
PATIENCE = 120


@contextlib.contextmanager
def network_captured(program: Path, capture: Path, portal: str):
    """dumpcap on the loopback, where it is allowed: then the capture is there."""
    words: list[str | Path] = [program, "-i", "lo", "-f", f"tcp port {portal.rpartition(':')[2]}", "-w", capture]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "File: " in line:
                break
        try:
            yield
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def captures(tmp_path_factory, peer):
    """The captures of a run, which has logins both ways in it."""
    folder = tmp_path_factory.mktemp("secrets")
    run, network = make_run(folder), folder / "network.pcapng"
    served(run, lambda portal: network_captured(peer("dumpcap"), network, portal))
    assert shown_in(b"".join(run.said.values())) == set()
    found = {"target": run.folder / "target.pcapng", **({"network": network} if network.exists() else {})}
    return found, run.portal.rpartition(":")[2]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("source", ["target", "network"])
def test_a_reading_shows_no_secret(captures, peer, source, form):
    found, port = captures
    if source not in found:
        pytest.skip("the loopback may not be listened to here")
    command = [peer("tshark"), "-r", found[source], "-d", f"tcp.port=={port},iscsi", "-Y", "tcp", *FORMS[form]]
    read = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
    assert read.returncode == 0, read.stderr
    if form != "follow":
        assert b"CHAP_R" in read.stdout
    assert shown_in(read.stdout) == set()
    assert shown_in(found[source].read_bytes()) == set()
