"""Profiles: what is read, what is refused, and what the command line changes."""

from __future__ import annotations

import pytest

from iscsi_conformance.feature import Feature
from iscsi_conformance.profile import ChapLogin, Profile, ProfileError, load_profile, profile_with

WHOLE = """
name = "acme 3.1"
portal = "192.0.2.1:3260"
target_name = "iqn.2003-01.org.example:disk"
lun = 1
destructive = true
response_time = 2.5
features = ["chap"]
absent = ["multiple-connections"]

[chap]
user = "tester"
secret = "at least 12 bytes"

[mutual]
user = "tester"
secret = "at least 12 bytes"
target_user = "acme"
target_secret = "another 12 bytes"
"""


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a profile and returns its path."""

    def written(content):
        path = tmp_path / "profile.toml"
        path.write_text(content, encoding="utf-8")
        return path

    return written


def test_whole_profile_is_read(write):
    """Every kind of value comes as written; what is left out has its default."""
    profile = load_profile(write(WHOLE))

    assert profile.portal == "192.0.2.1:3260"
    assert (profile.lun, profile.destructive, profile.response_time) == (1, True, 2.5)
    assert profile.features == {Feature.CHAP}
    assert profile.absent == {Feature.MULTIPLE_CONNECTIONS}
    assert profile.chap == ChapLogin(user="tester", secret="at least 12 bytes")
    assert profile.mutual is not None
    assert profile.mutual.target_secret == "another 12 bytes"
    assert profile.chap_target is None


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("nmae = 'x'", "nmae"),
        ("lun = 'zero'", "lun"),
        ("features = ['teleport']", "teleport"),
        ("[chap]\nuser = 'x'", "secret"),
        ("[chap]\nuser = 'x'\nsecret = 'y'\ncolour = 'red'", "colour"),
        ("name =", "profile.toml"),
        ("portal = 'a:b:c'", "IPv6 address stands in brackets"),
        ("second_portal = 'host:port'", "expected HOST:PORT"),
        ("lun = 16384", "lun"),
        ("response_time = 0.0", "response_time"),
    ],
)
def test_bad_profile_is_one_line(write, content, says):
    """Unknown keys, wrong types and bad TOML are refused with the file's name and the trouble."""
    path = write(content)
    with pytest.raises(ProfileError) as caught:
        load_profile(path)

    assert says in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_portal_without_a_port_has_the_standard_one(write):
    """In a profile as on the command line."""
    profile = load_profile(write("portal = '192.0.2.1'\nsecond_portal = '[2001:db8::1]'"))

    assert (profile.portal, profile.second_portal) == ("192.0.2.1:3260", "[2001:db8::1]:3260")


def test_missing_profile_is_one_line(tmp_path):
    """So is a file that is not there."""
    with pytest.raises(ProfileError, match="No such file"):
        load_profile(tmp_path / "none.toml")


def test_command_line_stands_above_the_profile():
    """What is given replaces, None leaves."""
    profile = Profile(portal="192.0.2.1:3260", lun=3)

    assert profile_with(profile, portal="192.0.2.2:3260", lun=None).portal == "192.0.2.2:3260"
    assert profile_with(profile, portal=None, lun=0).lun == 0
    assert profile_with(profile, portal=None, lun=None) == profile
