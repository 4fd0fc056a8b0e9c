"""The peers themselves: tgtd and libiscsi must agree with each other before they say anything about us."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def ask(program, *arguments):
    """Run a peer's program to its end and return (exit code, all it wrote)."""
    done = subprocess.run(
        [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30, check=False
    )
    return done.returncode, done.stdout


def test_two_targets_run_side_by_side(start_tgtd, peer):
    """Each daemon has its own portal, its own control channel and its own LUN."""
    small, large = start_tgtd(size=1 << 20), start_tgtd(size=3 << 20)

    assert small.port != large.port
    for tgtd, blocks in ((small, 2048), (large, 6144)):
        code, said = ask(peer("iscsi-readcapacity16"), tgtd.url)
        assert code == 0, said + tgtd.log
        assert f"RETURNED LOGICAL BLOCK ADDRESS:{blocks - 1}" in said


@pytest.mark.parametrize("tgtd", [{"header_digest": "CRC32C,None", "data_digest": "CRC32C,None"}], indirect=True)
def test_digests_are_offered(tgtd):
    """The digests that a test asks for stand in the daemon's own table, which shows the best of each list."""
    parameters = tgtd.tgtadm("--op", "show", "--mode", "target", "--tid", "1")

    assert "HeaderDigest=CRC32C" in parameters
    assert "DataDigest=CRC32C" in parameters


@pytest.mark.parametrize(("secret", "accepted"), [("correct-horse", True), ("wrong-battery", False)])
def test_chap_is_enforced(start_tgtd, peer, secret, accepted):
    """With an account bound, the right secret opens the LUN and a wrong one does not."""
    tgtd = start_tgtd(chap=("alice", "correct-horse"))

    code, said = ask(peer("iscsi-inq"), tgtd.url.replace("//", f"//alice%{secret}@"))

    assert (code == 0) is accepted, said + tgtd.log


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_missing_peer_is_no_success_in_ci(monkeypatch, peer, ci, outcome):
    """Where CI=true is set, a peer that is not there fails its test; elsewhere it skips, naming the package."""
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(shutil, "which", lambda name, path: None)

    with pytest.raises(outcome, match="Debian package tgt"):
        peer("tgtd")
