"""The table of management classes: names and types, what may be given to methods, and that instances are what it says."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.initiator.service_bench import with_service

from iscsi_conformance.bundled import PLAIN
from iscsi_initiator.service import api
from iscsi_initiator.service.management.schema import (
    Kind,
    ManagementClass,
    Method,
    Property,
    Structure,
    structures,
    taken,
    value_of,
)
from iscsi_initiator.service.management.table import CLASSES, find
from iscsi_initiator.status_codes import Refused, StatusCode

GOLDEN = Path(__file__).with_name("management.golden")

GUIDE = (
    "MSiSCSI_HBAInformation",
    "MSiSCSI_HBASessionConfig",
    "MSiSCSI_PortalInfoClass",
    "MSiSCSI_InitiatorSessionInfo",
    "MSiSCSI_InitiatorNodeFailureEvent",
    "MSiSCSI_InitiatorInstanceFailureEvent",
    "MSiSCSI_TCPIPConfig",
    "MSiSCSI_NICConfig",
    "MSiSCSI_BootConfiguration",
    "MSiSCSI_SecurityCapabilities",
    "MSiSCSI_DiscoveryConfig",
    "MSiSCSI_RADIUSConfig",
    "MSiSCSI_QueryLBPolicy",
    "MSiSCSI_Eventlog",
    "MSiSCSI_Redirect_PortalInfoClass",
    "MSiSCSI_ManagementOperation",
    "MSiSCSIInitiator_TargetClass::Login",
    "MSiSCSIInitiator_PersistentLoginClass",
    "MSiSCSIInitiator_iSNSServerClass::Refresh",
    "MSiSCSIInitiator_SendTargetPortalClass::Refresh",
    "MSiSCSIInitiator_InitiatorClass",
    "MSiSCSIInitiator_SessionClass::Logout",
    "MSiSCSIInitiator_SessionClass::SendScsiInquiry",
    "MSiSCSIInitiator_SessionClass::SendScsiReadCapacity",
    "MSiSCSIInitiator_SessionClass::SendScsiReportLuns",
    "MSiSCSIInitiator_SessionClass::AddConnection",
    "MSiSCSIInitiator_SessionClass::RemoveConnection",
    "MSiSCSIInitiator_MethodClass::RefreshTargetList",
    "MSiSCSIInitiator_MethodClass::SetIScsiTunnelModeOuterAddress",
    "MSiSCSIInitiator_MethodClass::SetIScsiIKEInfo",
    "MSiSCSIInitiator_MethodClass::SetIScsiGroupPresharedKey",
    "MSiSCSIInitiator_MethodClass::SetIScsiInitiatorCHAPSharedSecret",
    "MSiSCSIInitiator_MethodClass::SetIScsiInitiatorNodeName",
    "MSiSCSIInitiator_MethodClass::SetupPersistentIScsiVolumes",
    "MSiSCSIInitiator_PersistentDevices",
    "MSiSCSI_ConnectionStatistics",
    "MSiSCSI_SessionStatistics",
    "MSiSCSI_InitiatorLoginStatistics",
    "MSiSCSI_InitiatorInstanceStatistics",
    "MSiSCSI_RequestTimeStatistics",
    "MSiSCSI_NICPerformance",
)
"""What the guide names, "WMI" and "Perfmon/Sysmon"."""

PYTHON = {Kind.BOOLEAN: bool, Kind.STRING: str, Kind.OCTETS: bytes}
INNER = Structure(
    "Inner", (Property("Number", Kind.UINT8, required=True), Property("Secret", Kind.OCTETS, secret=True))
)
PLACES = (
    Property("Flag", Kind.BOOLEAN),
    Property("Small", Kind.UINT8),
    Property("Big", Kind.UINT64),
    Property("Text", Kind.STRING),
    Property("Octets", Kind.OCTETS),
    Property("Inside", INNER),
    Property("Several", INNER, array=True),
    Property("Numbers", Kind.UINT16, array=True),
)


def line(each: Property) -> str:
    marks = [name for name in ("key", "secret", "required") if getattr(each, name)]
    return " ".join([f"  {each.name}: {each.type}", *marks])


def described() -> dict[str, list[str]]:
    """Each class and structure, as the golden file has it."""
    found: dict[str, list[str]] = {}
    for name, each in CLASSES.items():
        lines = found[f"{'event' if each.is_event else 'class'} {name}"] = [line(own) for own in each.properties]
        for method in each.methods:
            lines.append(f"  {method.name}()")
            lines += [f"  {line(own)}" for own in method.arguments]
            lines += [f"  -> {line(own).strip()}" for own in method.gives]
    for name, structure in structures(CLASSES.values()).items():
        found[f"structure {name}"] = [line(own) for own in structure.properties]
    return found


def golden() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for text in GOLDEN.read_text(encoding="utf-8").splitlines():
        if text.startswith(" "):
            lines.append(text)
        else:
            lines = found[text] = []
    return found


@pytest.mark.parametrize("heading", golden())
def test_names_and_types_of_a_class(heading):
    assert described()[heading] == golden()[heading]


def test_there_is_no_other_class():
    assert list(described()) == list(golden())


@pytest.mark.parametrize("name", GUIDE)
def test_every_class_and_method_of_the_guide(name):
    wanted, _, method = name.partition("::")
    assert find(wanted).name == wanted
    if method:
        assert find(wanted).method(method.lower()).name == method


@pytest.mark.parametrize(
    "name", ["MSiSCSI_RedirectPortalInfoClass", "msiscsi_managementoperations", "msiscsi_tcpipconfig"]
)
def test_other_names(name):
    assert find(name).name in GUIDE


def test_no_name_stands_for_two_classes():
    names = [name.casefold() for each in CLASSES.values() for name in (each.name, *each.aliases)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("each", CLASSES.values(), ids=lambda each: each.name)
def test_a_class_is_whole(each):
    """It has properties with names of their own, and each method does something in one way."""
    names = [own.name.casefold() for own in each.properties]
    assert names
    assert len(set(names)) == len(names)
    assert each.is_event or any(own.key for own in each.properties)
    for method in each.methods:
        assert (method.request is None) is not (method.act is None)


def fits(wanted: Property, value: object) -> bool:
    if wanted.array:
        return isinstance(value, list) and all(one_fits(wanted.kind, each) for each in value)
    return one_fits(wanted.kind, value)


def one_fits(kind, value) -> bool:
    if isinstance(kind, Structure):
        return value is None or (
            list(value) == [own.name for own in kind.properties]
            and all(fits(own, value[own.name]) for own in kind.properties)
        )
    if kind.limit is not None:
        return value is None or (type(value) is int and 0 <= value <= kind.limit)
    return type(value) is PYTHON[kind]


@pytest.mark.parametrize("name", [name for name, each in CLASSES.items() if not each.is_event])
def test_instances_have_the_properties_and_types_that_the_table_says(tmp_path, name):
    async def test(bench):
        await bench.discover()
        await bench.log_in()
        await bench.ask(api.PersistentLoginTarget(target_name=PLAIN))
        await bench.ask(api.BindPersistentDevices())
        wanted = CLASSES[name]
        answer = await bench.ask(api.Query(class_name=name.upper()))
        assert answer.class_name == name
        for row in answer.instances:
            assert list(row) == [own.name for own in wanted.properties]
            assert [own.name for own in wanted.properties if not fits(own, row[own.name])] == []
        keys = [tuple(row[own.name] for own in wanted.properties if own.key) for row in answer.instances]
        assert len(set(keys)) == len(keys)

    with_service(tmp_path, test)


# What may be given.


def refused(properties, given_) -> Refused:
    with pytest.raises(Refused) as refusal:
        taken(properties, given_, "Class::Method")
    assert refusal.value.status is StatusCode.INVALID_PARAMETER
    assert "\n" not in refusal.value.reason
    return refusal.value


def test_what_is_given_gets_its_type():
    given_ = {
        "flag": "True",
        "SMALL": "0x10",
        "Big": 1 << 63,
        "text": "x",
        "Octets": b64encode(b"\xff").decode(),
        "Inside": {"number": 7},
        "Several": [{"Number": "1", "Secret": ""}],
        "Numbers": ["1", 2],
    }
    assert taken(PLACES, given_, "") == {
        "Flag": True,
        "Small": 16,
        "Big": 1 << 63,
        "Text": "x",
        "Octets": b"\xff",
        "Inside": {"Number": 7},
        "Several": [{"Number": 1, "Secret": b""}],
        "Numbers": [1, 2],
    }
    assert taken(PLACES, {"Text": None}, "") == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Flag", "yes"),
        ("Flag", 2),
        ("Small", 256),
        ("Small", -1),
        ("Small", True),
        ("Small", "1.5"),
        ("Small", "\u0661"),
        ("Big", 1 << 64),
        ("Text", 3),
        ("Octets", "not base64"),
        ("Octets", 3),
        ("Inside", "x"),
        ("Inside", {}),
        ("Inside", {"Number": 1, "Other": 2}),
        ("Inside", {"Number": 1, "NUMBER": 2}),
        ("Several", {"Number": 1}),
        ("Several", [1]),
        ("Numbers", [1] * 1025),
        ("Numbers", [65536]),
        ("Nothing", 1),
    ],
)
def test_what_does_not_fit_is_refused(name, value):
    assert name in refused(PLACES, {name: value}).reason


def outcome(properties, given_):
    """What comes out, or the code of the refusal."""
    try:
        return taken(properties, given_, "")
    except Refused as refusal:
        return refusal.status


def test_a_secret_is_in_no_refusal():
    assert "hunter2" not in refused(PLACES, {"Inside": {"Number": 1, "Secret": "hunter2!"}}).reason


def test_names_that_differ_in_case_alone_are_one():
    refused(PLACES, {"Small": 1, "small": 2})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(["Number", "Secret", "x"]), inside),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([each.name for each in PLACES]) | st.text(max_size=4), JSON, max_size=4))
def test_whatever_is_given_fits_or_is_refused(given_):
    """Nothing else comes out, and what fits fits again."""
    found = outcome(PLACES, given_)
    if isinstance(found, dict):
        assert taken(PLACES, found, "") == found
    else:
        assert found is StatusCode.INVALID_PARAMETER


@given(st.sampled_from(CLASSES["MSiSCSIInitiator_SessionClass"].methods), st.dictionaries(st.text(max_size=6), JSON))
def test_methods_take_what_they_name_alone(method, given_):
    found = outcome(method.arguments, given_)
    if isinstance(found, dict):
        assert set(found) <= {each.name for each in method.arguments}
    else:
        assert found is StatusCode.INVALID_PARAMETER


def test_a_method_that_is_none():
    with pytest.raises(Refused) as refusal:
        CLASSES["MSiSCSIInitiator_SessionClass"].method("Login")
    assert refusal.value.status is StatusCode.REQUEST_NOT_SUPPORTED


def test_a_value_of_a_plain_kind():
    assert value_of(Property("Octets", Kind.OCTETS), b"\0", "") == b"\0"


def test_structures_are_found_in_methods_too():
    inner = ManagementClass(
        name="C",
        says="",
        properties=(),
        methods=(Method(name="M", says="", gives=(Property("Inside", INNER),)),),
    )
    assert structures([inner]) == {"Inner": INNER}
