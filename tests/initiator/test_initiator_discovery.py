"""Finding targets: what portals answer, static targets, adapters, and the catalogue of what was found."""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import EntryPoint
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator.discovery import adapters, example_adapter
from iscsi_initiator.discovery.adapters import AdapterFailure, AdapterTarget
from iscsi_initiator.discovery.catalogue import Catalogue
from iscsi_initiator.discovery.instance import STATIC, Group, Instance, Kind, Source, portal_text
from iscsi_initiator.discovery.refresh import Discovery, outcome, source_of
from iscsi_initiator.discovery.sendtargets import InvalidSendTargets, read_answer
from iscsi_initiator.discovery.static import merge_static, static_instances
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.errors import SecretBroken
from iscsi_initiator.store.sealed import Sealed
from iscsi_initiator.store.state import (
    AuthType,
    LoginFlag,
    LoginOptions,
    LunMapping,
    Portal,
    StaticTarget,
    TargetFlag,
    TargetPortal,
)

ONE, TWO = "iqn.2026-01.org.example:one", "iqn.2026-01.org.example:two"
PORTAL = Portal(address="192.0.2.1")
SEALED = Sealed(nonce=bytes(12), sealed=bytes(20))


# What a portal answers.


def test_targets_with_their_groups():
    told, dropped = read_answer(
        [
            ("TargetName", ONE),
            ("TargetAddress", "192.0.2.1:3260,1"),
            ("TargetAddress", "192.0.2.2:3261,2"),
            ("TargetAddress", "[2001:db8::1],1"),
            ("TargetAddress", "192.0.2.1:3260,1"),
            ("TargetName", TWO),
        ],
        PORTAL,
    )
    assert dropped == []
    assert [each.name for each in told] == [ONE, TWO]
    assert told[0].groups == (
        Group(1, (PORTAL, Portal(address="2001:db8::1"))),
        Group(2, (Portal(address="192.0.2.2", port=3261),)),
    )
    assert told[1].groups == (Group(None, (PORTAL,)),)


@pytest.mark.parametrize("name", ["iqn.2026-13.org:x", "IQN.2026-01.org.example:A", "no name", "iqn." + "a" * 300, ""])
def test_invalid_names_are_dropped_with_what_is_wrong(name):
    told, dropped = read_answer([("TargetName", name), ("TargetAddress", "h"), ("TargetName", ONE)], PORTAL)
    assert [each.name for each in told] == [ONE]
    assert len(dropped) == 1


@pytest.mark.parametrize(
    "pairs",
    [
        [("TargetAddress", "192.0.2.1"), ("TargetName", ONE)],
        [("TargetName", ONE), ("TargetAddress", "192.0.2.1:0")],
        [("TargetName", ONE), ("TargetAlias", "disk")],
    ],
)
def test_an_answer_that_cannot_be_read(pairs):
    with pytest.raises(InvalidSendTargets):
        read_answer(pairs, PORTAL)


@given(st.lists(st.tuples(st.sampled_from(["TargetName", "TargetAddress", "X"]), st.text(max_size=12)), max_size=6))
def test_whatever_comes_is_read_or_refused(pairs):
    try:
        told, dropped = read_answer(pairs, PORTAL)
    except InvalidSendTargets:
        return
    assert len(told) + len(dropped) == [key for key, _ in pairs].count("TargetName")


# The catalogue.

HBA = Source(Kind.HBA, "hba0", "hba0")
ASKED = Source(Kind.SEND_TARGETS, "192.0.2.1:3260")
SERVER = Source(Kind.ISNS, "192.0.2.9")


def found(source, name=ONE, flags=0):
    return Instance(source=source, name=name, flags=flags)


def test_instances_stand_in_the_order_of_the_guide():
    catalogue = Catalogue()
    for source in (STATIC, SERVER, ASKED, HBA):
        catalogue.put(source, [found(source)])
    assert [each.source for each in catalogue.known(ONE)] == [HBA, ASKED, SERVER, STATIC]
    assert [str(each.source) for each in catalogue.known(ONE)] == [
        "HBA:hba0",
        "SendTargets:192.0.2.1:3260",
        "iSNS:192.0.2.9",
        "Static",
    ]


def test_a_hidden_target_is_told_of_where_something_else_finds_it():
    catalogue = Catalogue()
    catalogue.put(STATIC, [found(STATIC, flags=TargetFlag.HIDE_STATIC_TARGET), found(STATIC, TWO)])
    assert catalogue.names() == [TWO]
    with pytest.raises(Refused) as refused:
        catalogue.known(ONE)
    assert refused.value.status == StatusCode.TARGET_NOT_FOUND
    assert catalogue.static(ONE) is not None
    catalogue.put(ASKED, [found(ASKED)])
    assert catalogue.names() == [ONE, TWO]
    assert [each.source for each in catalogue.known(ONE)] == [ASKED, STATIC]


def test_what_a_source_finds_takes_the_place_of_what_it_found():
    catalogue = Catalogue()
    catalogue.put(ASKED, [found(ASKED), found(ASKED)])
    catalogue.put(SERVER, [found(SERVER)])
    catalogue.put(ASKED, [found(ASKED, TWO)])
    assert [each.source for each in catalogue.known(ONE)] == [SERVER]
    assert catalogue.names() == [ONE, TWO]


def test_an_instance_is_chosen_by_the_name_of_its_mechanism():
    catalogue = Catalogue()
    catalogue.put(ASKED, [found(ASKED)])
    assert catalogue.by_mechanism(ONE, " sendtargets:192.0.2.1:3260").source == ASKED
    with pytest.raises(Refused) as refused:
        catalogue.by_mechanism(ONE, "Static")
    assert refused.value.status == StatusCode.DISCOVERY_MECHANISM_NOT_FOUND


def test_a_portal_that_is_asked_through_an_instance_is_a_mechanism_of_its_own():
    asked = TargetPortal(portal=Portal(address="2001:db8::1"), initiator="hba0", initiator_port=1)
    assert str(source_of(asked)) == "SendTargets:[2001:db8::1]:3260@hba0/1"
    assert str(source_of(TargetPortal(portal=PORTAL, initiator_port=0))) == "SendTargets:192.0.2.1:3260@*/0"
    assert portal_text(PORTAL) == "192.0.2.1:3260"


# Static targets.


def opens(sealed, place):
    if place.endswith(TWO):
        raise SecretBroken("store.json", "it does not open", place)
    return b"secret"


def test_records_become_instances_and_damaged_ones_are_left_out():
    good = StaticTarget(
        name=ONE,
        alias="disk",
        portals=(PORTAL,),
        options=LoginOptions(auth_type=AuthType.CHAP, password=SEALED),
        mappings=(LunMapping(target_lun=0, os_bus=0, os_target=0, os_lun=0),),
    )
    locked = StaticTarget(name=TWO, options=LoginOptions(password=SEALED))
    instances, damaged = static_instances(
        [good, locked, StaticTarget(name="no name"), StaticTarget(name=ONE, flags=1)], opens
    )
    assert [each.name for each in damaged] == [TWO, "no name", ONE]
    (instance,) = instances
    assert (instance.alias, instance.portals, instance.mappings) == ("disk", (PORTAL,), good.mappings)
    assert (instance.password_place, instance.persistent, instance.group_of(PORTAL)) == (good.place, True, None)


def test_merging_keeps_what_is_not_said():
    there = StaticTarget(
        name=ONE,
        alias="old",
        portals=(PORTAL,),
        options=LoginOptions(
            login_flags=LoginFlag.MULTIPATH_ENABLED, header_digest=True, auth_type=AuthType.CHAP, user_name="u"
        ),
    )
    given_ = StaticTarget(name=ONE, flags=4, persist=False, alias="new", options=LoginOptions(header_digest=False))
    merged = merge_static(there, given_)
    assert (merged.alias, merged.portals, merged.flags, merged.persist) == ("new", (PORTAL,), 4, False)
    assert merged.options == msgspec.structs.replace(there.options, header_digest=False)
    other = StaticTarget(name=ONE, options=LoginOptions(auth_type=AuthType.MUTUAL_CHAP, login_flags=1))
    assert merge_static(there, other).options == msgspec.structs.replace(
        there.options, auth_type=AuthType.MUTUAL_CHAP, user_name=None, login_flags=1
    )


# Adapters.


class Told:
    """What was logged, and the up-calls that were made."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.calls: list[object] = []

    def __call__(self, event: int, *inserts: str) -> None:
        self.events.append((event, *inserts))

    def up_call(self, request: object) -> None:
        self.calls.append(request)


class Card:
    """An adapter that does what its test says."""

    addresses: tuple[str, ...] = ()
    isid: bytes | None = None

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def discover(self) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def flash(tmp_path, **content):
    path = tmp_path / "flash.json"
    path.write_text(json.dumps(content))
    return path


def entry(monkeypatch, value):
    point = EntryPoint("card", value, adapters.GROUP)
    monkeypatch.setattr(adapters, "entry_points", lambda group, name: [point] if name == "card" else [])


def test_the_example_is_a_plug_in(tmp_path, monkeypatch):
    entry(monkeypatch, "iscsi_initiator.discovery.example_adapter:make")
    path = flash(tmp_path, isid="00023d000001", targets=[{"name": ONE, "portals": ["192.0.2.1"], "alias": "disk"}])
    host = Told()
    adapter = adapters.load("card", str(path), host, host)
    assert (adapter.addresses, adapter.isid) == ((), bytes.fromhex("00023d000001"))
    instances, dropped = adapters.discovered("example0", adapter)
    assert dropped == []
    assert [(each.name, each.portals, str(each.source)) for each in instances] == [(ONE, (PORTAL,), "HBA:example0")]
    assert isinstance(adapter, example_adapter.ExampleAdapter)
    adapter.changed()
    assert [adapters.told_by_adapter(call) for call in host.calls] == [adapters.TargetsChanged()]
    assert host.events == []


@pytest.mark.parametrize("value", ["iscsi_initiator.discovery.nothing:make", "json:dumps", "builtins:isinstance"])
@pytest.mark.parametrize("name", ["card", "other"])
def test_a_plug_in_that_is_no_adapter(monkeypatch, value, name):
    entry(monkeypatch, value)
    host = Told()
    with pytest.raises(Refused) as refused:
        adapters.load(name, "", host, host)
    assert refused.value.status == StatusCode.DRIVER_BUG
    assert [event[0] for event in host.events] == [108]
    assert host.events[0][2].startswith(f"{name}: ")


def test_an_adapter_without_its_interface():
    host = Told()
    with pytest.raises(Refused):
        adapters.attach("card", lambda host, argument: object(), "", host, host)
    assert [event[0] for event in host.events] == [108]


@pytest.mark.parametrize(
    "request_", [None, "targets-changed", {}, {"kind": "x"}, {"kind": ["targets-changed"]}, {"kind": 1, "more": 2}]
)
def test_up_calls_that_are_not_well_formed(request_):
    assert adapters.told_by_adapter(request_) is None


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (AdapterFailure(), StatusCode.NON_SPECIFIC_ERROR),
        (AdapterFailure("no link", StatusCode.CONNECTION_FAILED), StatusCode.CONNECTION_FAILED),
        (ZeroDivisionError("oops"), StatusCode.DRIVER_BUG),
        (None, StatusCode.DRIVER_BUG),
        ([ONE], StatusCode.DRIVER_BUG),
    ],
)
def test_how_an_adapter_fails(answer, status):
    with pytest.raises(Refused) as refused:
        adapters.discovered("hba0", Card(answer))
    assert refused.value.status == status


def test_an_adapter_drops_names_too():
    instances, dropped = adapters.discovered("hba0", Card([AdapterTarget("no name", ()), AdapterTarget(ONE, ())]))
    assert [each.name for each in instances] == [ONE]
    assert len(dropped) == 1


def test_keys_of_adapters(tmp_path):
    host = Told()
    bare = example_adapter.make(host, str(flash(tmp_path)))
    with pytest.raises(Refused) as refused:
        adapters.cache_key("hba0", bare, PORTAL, b"key", host)
    assert refused.value.status == StatusCode.HBA_SECURITY_CACHE_NOT_SUPPORTED
    card = example_adapter.make(host, str(flash(tmp_path, key_slots=1)))
    adapters.cache_key("hba0", card, PORTAL, b"key", host)
    adapters.cache_key("hba0", card, PORTAL, b"another", host)
    assert host.events == []
    with pytest.raises(Refused) as refused:
        adapters.cache_key("hba0", card, Portal(address="192.0.2.7"), b"key", host)
    assert refused.value.status == StatusCode.HBA_SECURITY_CACHE_FULL
    assert [event[0] for event in host.events] == [110]


@pytest.mark.parametrize("content", [b"{", b'{"targets": [{"name": "x", "portals": [":"]}]}', None])
def test_an_example_with_a_bad_file(tmp_path, content):
    path = tmp_path / "flash.json"
    host = Told()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Refused):
        adapters.discovered("hba0", adapters.attach("example", example_adapter.make, str(path), host, host))


# All together.


def discovery(told):
    async def connect(portal):
        raise Refused(StatusCode.CONNECTION_FAILED, "nobody there")

    return Discovery(told, connect, opens)


def test_each_mechanism_logs_its_failure_and_leaves_what_was_found():
    told = Told()
    made = discovery(told)
    made.catalogue.put(ASKED, [found(ASKED)])

    async def static():
        made.static([StaticTarget(name=TWO, options=LoginOptions(password=SEALED)), StaticTarget(name=ONE)])

    card, dead = Card([AdapterTarget(TWO, ()), AdapterTarget("no", ())]), Card(AdapterFailure("dead"))
    failures = asyncio.run(
        made.all(
            [
                lambda: made.portal(TargetPortal(portal=PORTAL)),
                lambda: made.adapter("hba0", card),
                lambda: made.adapter("hba1", dead),
                static,
            ]
        )
    )
    assert sorted(event[0] for event in told.events) == [111, 113, 115, 115]
    assert {error.status for error in failures} == {
        StatusCode.CONNECTION_FAILED,
        StatusCode.NON_SPECIFIC_ERROR,
        StatusCode.CACHE_CORRUPTED,
    }
    assert made.catalogue.names() == [ONE, TWO]
    warning = outcome(4, failures)
    assert warning is not None
    assert warning.status == StatusCode.OPERATION_NOT_ALL_SUCCESS
    assert outcome(3, failures) is failures[0]
    assert outcome(3, []) is None


def test_a_defect_of_ours_is_not_taken_for_a_failure_of_discovery():
    async def broken():
        raise KeyError("ours")

    with pytest.raises(KeyError):
        asyncio.run(discovery(Told()).all([broken]))
