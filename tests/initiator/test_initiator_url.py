"""iscsi:// URLs."""

from __future__ import annotations

import pytest

from iscsi_initiator.url import IscsiUrl, UrlError, is_url, parse_url
from iscsi_protocol.history import Endpoint

NAME = "iqn.2026-01.org.example:disk"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (f"iscsi://192.0.2.1/{NAME}/0", IscsiUrl(portal=Endpoint("192.0.2.1", 3260), target_name=NAME, lun=0)),
        (f"iscsi://h:1/{NAME}/16383", IscsiUrl(portal=Endpoint("h", 1), target_name=NAME, lun=16383)),
        (f"iscsi://[2001:db8::1]:860/{NAME}", IscsiUrl(portal=Endpoint("2001:db8::1", 860), target_name=NAME)),
        ("iscsi://[::1]", IscsiUrl(portal=Endpoint("::1", 3260))),
        ("ISCSI://h/", IscsiUrl(portal=Endpoint("h", 3260))),
        (f"iscsi://me@h/{NAME}/1", IscsiUrl(portal=Endpoint("h", 3260), target_name=NAME, lun=1, user="me")),
        ("iscsi://a%40b@h", IscsiUrl(portal=Endpoint("h", 3260), user="a@b")),
    ],
)
def test_urls_are_read_and_written(text, url):
    assert parse_url(text) == url
    assert parse_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "http://h/x",
        "iscsi://",
        "iscsi:///x",
        "iscsi://h:0",
        "iscsi://h:65536",
        "iscsi://h:x",
        "iscsi://h:",
        "iscsi://::1",
        "iscsi://[::1",
        "iscsi://[::1]x",
        "iscsi://[h]",
        "iscsi://u:secret@h",
        "iscsi://u%25secret@h",
        "iscsi://@h",
        "iscsi://h/notaname/0",
        "iscsi://h/IQN.2026-01.org.example/0",
        f"iscsi://h/{NAME}/x",
        f"iscsi://h/{NAME}/-1",
        f"iscsi://h/{NAME}/1/2",
        f"iscsi://h/{NAME}/²",
    ],
)
def test_what_is_no_url(text):
    with pytest.raises(UrlError) as caught:
        parse_url(text)
    assert text in str(caught.value)


def test_what_is_meant_as_one():
    assert is_url("iscsi://nonsense")
    assert not is_url("/dev/sda")
