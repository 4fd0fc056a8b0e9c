"""Node names are made from the computer's name, follow it until one is set, and are checked; instances keep theirs."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator import node_name
from iscsi_initiator.instances import choose, complete, instance_name
from iscsi_initiator.node_name import check, follow, generate, host_and_domain, name_node
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import InitiatorInstance, Node
from iscsi_protocol.names import parse_name


@pytest.mark.parametrize(
    ("host", "domain", "name"),
    [
        ("Computer1_Dept1", "", "computer1-dept1"),
        ("HOST", "Example.ORG", "host.example.org"),
        ("host", "example.org.", "host.example.org"),
        ("a b", "", "a-b"),
        ("größe", "", "gr--e"),
        ("日本", "", "--"),
        ("x\U0001f600", "", "x-"),
        ("İ", "", "i-"),
        ("", "", "localhost"),
        ("..", "example.org", "localhost.example.org"),
        ("a:b", "", "a:b"),
        ("a\n", "", "a-"),
    ],
)
def test_generated_names(host, domain, name):
    assert generate(host, domain) == f"iqn.1991-05.com.microsoft:{name}"


def test_a_long_name_is_cut():
    assert generate("a" * 300) == "iqn.1991-05.com.microsoft:" + "a" * 197
    assert len(generate("a" * 300)) == 223


@given(st.text(), st.text())
def test_every_generated_name_is_a_name(host, domain):
    name = generate(host, domain)
    assert parse_name(name).text == check(name) == name


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("iqn.2026-01.org.example:Disk", "iqn.2026-01.org.example:disk"),
        ("EUI.02004567A425678D", "eui.02004567a425678d"),
        ("naa.52004567BA64678D", "naa.52004567ba64678d"),
        ("iqn.2026-01.org.example:größe", "iqn.2026-01.org.example:grösse"),
        ("iqn.2026-01.org.example:" + "x" * 199, "iqn.2026-01.org.example:" + "x" * 199),
    ],
)
def test_checked_names(typed, name):
    assert check(typed) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "*",
        "disk",
        "iqn.2026-13.org.example",
        "iqn.2026-01.org.example:a_b",
        "iqn.2026-01.org.example:a b",
        "iqn.2026-01.org.example:" + "x" * 200,
        "eui.02004567",
        "iqn.2026-01.org.example:\ud800",
        "iqn.2026-01.org.example:\U00020000",
    ],
)
def test_what_is_no_name(name):
    with pytest.raises(Refused) as caught:
        check(name)
    assert caught.value.status == StatusCode.INVALID_ISCSI_NAME
    assert caught.value.reason


def test_ucs_4_is_told_apart():
    """A name that RFC 7143 allows and the guide does not."""
    parse_name("iqn.2026-01.org.example:\U00020000")
    with pytest.raises(Refused, match=r"U\+20000"):
        check("iqn.2026-01.org.example:\U00020000")


def test_a_name_follows_the_host_until_it_is_set():
    node = follow(Node(), "one")
    assert node == Node(name=generate("one"))
    node = follow(node, "two", "example.org")
    assert node == Node(name=generate("two", "example.org"))
    node = name_node("iqn.2026-01.org.example:Mine", "two")
    assert node == Node(name="iqn.2026-01.org.example:mine", fixed=True)
    assert follow(node, "three") == node


@pytest.mark.parametrize("back", ["*", ""])
def test_a_name_goes_back_to_the_hosts(back):
    assert name_node(back, "host", "example.org") == Node(name=generate("host", "example.org"))


def test_a_fixed_node_without_a_name_follows_the_host():
    assert follow(Node(fixed=True), "host") == Node(name=generate("host"))


def test_a_name_that_is_set_is_checked():
    with pytest.raises(Refused):
        name_node("disk", "host")


@pytest.mark.parametrize(
    ("full", "hosts", "resolver", "expected"),
    [
        ("host.example.org", "", "", ("host", "example.org")),
        ("host.example.org", "127.0.1.1 host.other.org", "domain third.org", ("host", "example.org")),
        ("host", "127.0.0.1 localhost\n127.0.1.1\thost.example.org host # mine", "", ("host", "example.org")),
        ("host", "127.0.1.1 host host.example.org.", "", ("host", "example.org")),
        ("host", "127.0.1.1 host\n# 127.0.1.1 host.no.org", "search a.org\ndomain b.org", ("host", "b.org")),
        ("host", "127.0.1.1 hostess.example.org", "domain", ("host", "")),
        ("host", "", "", ("host", "")),
        ("", "127.0.1.1 host.example.org", "domain b.org", ("", "")),
    ],
)
def test_where_the_domain_comes_from(full, hosts, resolver, expected):
    assert host_and_domain(full, hosts, resolver) == expected


def test_this_host(tmp_path, monkeypatch):
    monkeypatch.setattr("iscsi_initiator.node_name.socket.gethostname", lambda: "host")
    assert node_name.this_host(tmp_path) == ("host", "")
    (tmp_path / "hosts").write_bytes(b"127.0.1.1 \xff host.example.org host\n")
    assert node_name.this_host(tmp_path) == ("host", "example.org")
    (tmp_path / "hosts").unlink()
    (tmp_path / "resolv.conf").write_text("domain b.org\n")
    assert node_name.this_host(tmp_path) == ("host", "b.org")


def test_names_of_instances():
    assert instance_name(None) == r"ROOT\ISCSIPRT\0000_0"
    assert instance_name("example-hba", 12) == r"PLUGIN\EXAMPLE_HBA\0012_0"
    for number in (-1, 10_000):
        with pytest.raises(ValueError, match="0 to 9999"):
            instance_name(None, number)


def test_instances_keep_name_and_isid():
    entropy = (bytes([number]) * 3 for number in itertools.count())
    first = complete((), ["a-b", "a.b"], lambda _: next(entropy))
    assert [each.name for each in first] == [
        r"ROOT\ISCSIPRT\0000_0",
        r"PLUGIN\A_B\0000_0",
        r"PLUGIN\A_B\0001_0",
    ]
    assert len({each.isid for each in first}) == 3
    assert all(len(each.isid) == 6 and each.isid[0] >> 6 == 2 for each in first)
    assert complete(first, ["a-b"], lambda _: next(entropy)) == first
    assert complete(first, ["c"], lambda _: next(entropy))[:3] == first


def test_a_new_isid_differs_from_all():
    known = InitiatorInstance(name=instance_name("a"), plug_in="a", isid=bytes([0x80, 0, 0, 0, 0, 0]))
    draws = iter([bytes(3), bytes(3), b"\1\2\3"])
    assert complete((known,), [], lambda _: next(draws))[1].isid == bytes([0x80, 1, 2, 3, 0, 0])


def test_an_instance_is_chosen_by_name():
    one = InitiatorInstance(name=instance_name(None), isid=bytes(6))
    assert choose((one,), r"root\iscsiprt\0000_0") is one
    with pytest.raises(Refused) as caught:
        choose((one,), "x")
    assert caught.value.status == StatusCode.INITIATOR_NOT_FOUND
