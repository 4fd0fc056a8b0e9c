"""The file of CHAP secrets, and that no secret is ever shown."""

from __future__ import annotations

import pytest

from iscsi_captures.chap_secrets import ChapSecrets, ChapSecretsError, read
from iscsi_captures.dialogue.chap import Chap, is_response
from iscsi_captures.rulebook import RuleBook
from iscsi_conformance.corpus.chap import OWN, WRONG, answered, authenticated, challenged
from iscsi_conformance.corpus.script import Script
from iscsi_conformance.corpus.secrets import DISK, MUTUAL, SECRETS, USER, USERS
from iscsi_protocol.chap import ALGORITHMS, response


def written(folder, text):
    path = folder / "secrets"
    path.write_bytes(text)
    return path


def test_users_and_targets_are_read(tmp_path):
    """The format is that of the target's file, but for any number of targets; the same name may stand for both sides."""
    text = b"# a comment\n\n  alice  open sesame\n".replace(b"open sesame", b"sesame") + (
        "bob gr\u00fcn\nmutual disk wood\nmutual alice stone\n".encode()
    )
    secrets = read(written(tmp_path, text))
    assert dict(secrets) == {"alice": b"sesame", "bob": "gr\u00fcn".encode(), "disk": b"wood"}
    assert len(secrets) == 3
    assert (secrets.of_initiator("alice"), secrets.of_target("alice")) == (b"sesame", b"stone")
    assert (secrets.of_initiator("disk"), secrets.of_target("bob")) == (None, None)
    with pytest.raises(KeyError):
        secrets["nobody"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"alice\n", "secrets, line 1: expected 'user secret' or 'mutual name secret'"),
        (b"alice sesame\nmutual disk very secret\n", "line 2: expected"),
        (b"alice sesame\nalice barley\n", "line 2: alice has a secret already"),
        (b"mutual disk a\nmutual disk b\n", "line 2: disk has a secret already"),
        (b"alice \xff\n", "not UTF-8"),
        (b"# nothing\n", "no secret in it"),
    ],
)
def test_a_wrong_file_is_one_clear_line_without_a_secret(tmp_path, text, says):
    with pytest.raises(ChapSecretsError) as caught:
        read(written(tmp_path, text))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("sesame", "barley", "very"))


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(ChapSecretsError, match="none: No such file or directory"):
        read(tmp_path / "none")


def test_no_repr_and_no_finding_shows_a_secret():
    assert repr(SECRETS) == "ChapSecrets(users=['user.known', 'user.short'], mutual=['disk.known', 'disk.twin'])"
    findings = [
        *answered(challenged(Script()), ("CHAP_N", USER), WRONG).findings(),
        *authenticated(Script(), user="user.short").findings(),
    ]
    assert {finding.rule for finding in findings} == {"chap.response-wrong", "chap.secret-short"}
    shown = repr(findings) + repr(SECRETS)
    assert not any(secret in shown for secret in (*USERS.values(), *MUTUAL.values()) if secret != "short")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_is_verified(algorithm):
    """The rule book's hash, worked out on its own, is the codec's."""
    challenge = bytes(range(24))
    given = response(algorithm, 7, b"secret", challenge)
    said = (
        {"CHAP_N": "a", "CHAP_R": f"0x{given.hex()}"},
        {"CHAP_A": str(algorithm), "CHAP_I": "7", "CHAP_C": f"0x{challenge.hex()}"},
    )
    assert is_response(said, 0, b"secret") is True
    assert is_response(said, 0, b"Secret") is False
    assert is_response(({**said[0], "CHAP_R": "0xzz"}, said[1]), 0, b"secret") is False


@pytest.mark.parametrize(
    "change", [{"CHAP_A": "99"}, {"CHAP_I": "256"}, {"CHAP_I": "x"}, {"CHAP_C": "0xzz"}, {"CHAP_C": ""}]
)
def test_an_exchange_that_is_not_whole_is_not_judged(change):
    said = ({"CHAP_N": "a", "CHAP_R": "0x00"}, {"CHAP_A": "5", "CHAP_I": "7", "CHAP_C": "0x1234"} | change)
    assert is_response(said, 0, b"secret") is None
    assert Chap(ChapSecrets({"a": b"secret"})).is_right(said, 0) is None


def test_without_secrets_no_response_is_judged():
    """A rule book that knows no secret says nothing about a wrong response."""
    book = RuleBook()
    for record in answered(challenged(Script()), ("CHAP_N", USER), WRONG).records:
        book.record(record)
    assert book.findings == []


def test_challenges_are_forgotten_one_day():
    """Memory does not grow with the number of logins."""
    chap = Chap()
    for number in range(5000):
        chap.issue(0, "a", number.to_bytes(16, "big"), number)
    assert chap.issued(0, "a", (0).to_bytes(16, "big")) is None
    assert chap.issued(0, "a", (4999).to_bytes(16, "big")) == 4999
    assert chap.issued(1, "a", (4999).to_bytes(16, "big")) is None
    assert chap.issued(0, "b", (4999).to_bytes(16, "big")) is None


def test_a_challenge_of_another_connection_is_known_when_it_comes_back():
    """The reflection may go over a second connection."""
    s = challenged(Script())
    s.connect(2)
    challenged(s, bytes(range(50, 66)))
    own = ("CHAP_I", "1"), ("CHAP_C", f"0x{bytes(range(16)).hex()}")
    s = answered(s, ("CHAP_N", "user.unknown"), OWN[1], *own)
    (finding,) = s.findings()
    assert (finding.rule, finding.role) == ("chap.challenge-reflected", "initiator")
    assert finding.message.endswith("of connection 1")


def test_the_name_of_the_disk_is_no_users():
    """A secret of the other direction proves nothing."""
    wrong = answered(challenged(Script()), ("CHAP_N", DISK), WRONG)
    assert wrong.findings() == []
