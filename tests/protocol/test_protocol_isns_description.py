from __future__ import annotations

from typing import Any

import pytest

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import request_of
from iscsi_protocol.isns.codes import NodeType, Scn
from iscsi_protocol.isns.description import ClientPolicy, Description, NodeSpec, PortalSpec, Writer, tcp_or_udp
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.tlv import Attribute, number, text

NAME = "iqn.2001-04.com.Example:disk"
PORTAL = PortalSpec(address="192.0.2.1", port=3260, esi=4000, esi_interval=60, scn=4001, tag=2)


def described(**changes) -> Description:
    fields: dict[str, Any] = {
        "eid": "Disk",
        "portals": (PORTAL,),
        "nodes": (NodeSpec(name=NAME, type=NodeType.TARGET, alias="big", bitmap=Scn.ADDED),),
        "period": 600,
    }
    return Description(**fields | changes)


def tags(attributes) -> list[int]:
    return [item.tag for item in attributes]


def test_a_whole_entity() -> None:
    request = Writer().register(described(), "Disk", replace=True)
    assert request_of(request.message(1)) == request
    assert request.key == (text(Tag.EID, "disk"),)
    assert tags(request.operating) == [1, 2, 6, 16, 17, 19, 20, 23, 51, 48, 32, 33, 34]
    assert request.source.text == NAME.lower()
    assert request.replace


def test_a_bare_entity() -> None:
    bare = described(
        eid="",
        portals=(PortalSpec(address="::1", port=0),),
        period=0,
        nodes=(NodeSpec(name=NAME, type=NodeType.INITIATOR),),
    )
    request = Writer().register(bare, "")
    assert request.key == (Attribute(Tag.EID),)
    assert tags(request.operating) == [1, 2, 16, 17, 32, 33]


def test_other_requests() -> None:
    writer, one = Writer(), described()
    assert writer.listen(one.nodes[0]).operating == (number(Tag.SCN_BITMAP, 8),)
    assert tags(writer.own_entity(one, "disk").operating) == [1, 6]
    assert tags(writer.get_next(NAME, (Attribute(32),), (33,)).operating) == [33]
    assert writer.deregister(one, "disk").operating == (text(Tag.EID, "disk"),)
    assert tcp_or_udp(5, udp=True) == 0x10005
    assert tcp_or_udp(5, udp=False) == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"nodes": ()},
        {"nodes": (NodeSpec(name="disk", type=NodeType.TARGET),)},
        {"eid": "ISNS:1"},
        {"portals": (PortalSpec(address="here", port=1),)},
        {"portals": (PortalSpec(address="::1", port=1, esi_interval=5),)},
    ],
)
def test_what_cannot_be_registered(changes) -> None:
    with pytest.raises((IsnsError, ValueError)):
        described(**changes)


@pytest.mark.parametrize(
    ("switches", "check"),
    [
        ({"leaves_out": frozenset({33})}, lambda request: 33 not in tags(request.operating)),
        ({"adds": (number(33, 4),)}, lambda request: request.operating[-1] == number(33, 4)),
        ({"no_key": True}, lambda request: request.key == ()),
        ({"values_first": True}, lambda request: tags(request.operating)[:3] == [2, 6, 1]),
        ({"swap_portal_keys": True}, lambda request: tags(request.operating)[3:5] == [17, 16]),
        ({"nodes_first": True}, lambda request: tags(request.operating)[-3:] == [1, 2, 6]),
        ({"raw_names": True}, lambda request: (request.source.text, request.key[0].text) == (NAME, "Disk")),
        ({"plain_ipv4": True}, lambda request: request.operating[3].value == bytes(12) + b"\xc0\0\2\1"),
        ({"unpadded": True}, lambda request: len(request.key[0].value) == 5),
    ],
)
def test_the_policy_breaks_one_thing(switches, check) -> None:
    request = Writer(ClientPolicy(**switches)).register(described(), "Disk")
    assert check(request)


def test_a_key_where_none_belongs() -> None:
    policy = ClientPolicy(before_delimiter=(number(33, 1),))
    assert Writer(policy).deregister(described(), "disk").key == (number(33, 1),)
