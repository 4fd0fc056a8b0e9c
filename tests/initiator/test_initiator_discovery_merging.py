"""The merging rules of the guide, one table for each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from iscsi_initiator.discovery.instance import STATIC, Group, Instance, Kind, Source
from iscsi_initiator.discovery.merging import (
    Authentication,
    Options,
    StoredSecret,
    merge_mappings,
    merge_options,
    merge_portals,
    of_call,
    of_instance,
)
from iscsi_initiator.service.api.values import LoginOptions as CallOptions
from iscsi_initiator.store.sealed import Sealed
from iscsi_initiator.store.state import AuthType, LoginOptions, LunMapping, Portal

NOTHING = Options()
VALUES: dict[str, Any] = {
    "login_flags": (1, 2, 3),
    "header_digest": (False, True, True),
    "data_digest": (True, False, True),
    "maximum_connections": (1, 2, 3),
    "default_time2wait": (0, 5, 9),
    "default_time2retain": (0, 20, 30),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ((True, True, True), 0),
        ((True, False, True), 0),
        ((True, False, False), 0),
        ((False, True, True), 1),
        ((False, True, False), 1),
        ((False, False, True), 2),
    ],
)
def test_rule_1_the_call_before_the_instance_before_what_was_configured(name, said, taken):
    sources: list[Any] = [
        replace(NOTHING, **{name: value}) if says else NOTHING for value, says in zip(VALUES[name], said, strict=True)
    ]
    assert getattr(merge_options(*sources), name) == VALUES[name][taken]


@pytest.mark.parametrize("name", VALUES)
def test_rule_1_where_nobody_says_anything_the_driver_chooses(name):
    assert getattr(merge_options(NOTHING, NOTHING, NOTHING), name) == getattr(NOTHING, name)


A = Authentication(AuthType.CHAP, "call", b"secret of the call")
B = Authentication(AuthType.MUTUAL_CHAP, None, b"secret of the instance")
C = Authentication(AuthType.CHAP, "configured", None)
USELESS = Authentication(AuthType.NONE, "nobody", b"never used")


@pytest.mark.parametrize(
    ("sources", "taken"),
    [
        ((A, B, C), A),
        ((A, USELESS, USELESS), A),
        ((USELESS, B, C), B),
        ((USELESS, B, USELESS), B),
        ((USELESS, USELESS, C), C),
        ((USELESS, USELESS, USELESS), Authentication()),
    ],
)
def test_rule_2_authentication_is_one_unit_from_the_first_that_has_a_type(sources, taken):
    merged = merge_options(*(Options(authentication=each) for each in sources))
    assert merged.authentication == taken


MAPPING = LunMapping(target_lun=0, os_bus=0, os_target=1, os_lun=2)
OTHER = LunMapping(target_lun=0, os_bus=0, os_target=3, os_lun=4)
PORTAL, SECOND = Portal(address="192.0.2.1"), Portal(address="192.0.2.2", port=3261)


@pytest.mark.parametrize(
    ("call", "configured", "taken"),
    [
        ((MAPPING,), (OTHER,), (MAPPING,)),
        ((MAPPING,), (), (MAPPING,)),
        ((), (OTHER,), (OTHER,)),
        ((), (), ()),
        ((), None, ()),
    ],
)
def test_mappings_come_from_the_call_then_from_what_was_configured_then_from_the_driver(call, configured, taken):
    static = None if configured is None else Instance(source=STATIC, name="iqn.x", mappings=configured)
    assert merge_mappings(call, static) == taken


@pytest.mark.parametrize(
    ("call", "groups", "taken"),
    [
        (SECOND, (Group(1, (PORTAL,)),), (SECOND,)),
        (None, (Group(1, (PORTAL,)), Group(2, (SECOND,))), (PORTAL, SECOND)),
        (None, (), ()),
    ],
)
def test_the_portal_comes_from_the_call_then_from_the_instance(call, groups, taken):
    found = Instance(source=Source(Kind.SEND_TARGETS, "p"), name="iqn.x", groups=groups)
    assert merge_portals(call, found) == taken


def test_secrets_stay_as_their_source_has_them():
    sealed = Sealed(nonce=bytes(12), sealed=bytes(20))
    stored = LoginOptions(auth_type=AuthType.CHAP, user_name="u", password=sealed)
    instance = Instance(source=STATIC, name="iqn.x", options=stored, password_place="there")
    assert of_instance(instance).authentication.secret == StoredSecret("there", sealed)
    assert of_call(CallOptions(auth_type=1, password=b"given with it")).authentication.secret == b"given with it"
    assert of_instance(None) == NOTHING
    assert "given" not in repr(of_call(CallOptions(auth_type=1, password=b"given with it")))
