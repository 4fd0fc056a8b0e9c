"""Target port groups: what is told of them, who may change them, and what a port lets through in each state."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.target.conftest import NEXUS, OTHER, TARGET, content

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.capacity import parse_luns
from iscsi_protocol.scsi.codes import AdditionalSense as Code
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.designators import Association, DesignatorType, parse_designators
from iscsi_protocol.scsi.inquiry import StandardInquiry
from iscsi_protocol.scsi.lun import WELL_KNOWN_REPORT_LUNS, decode_lun
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.scsi.target_ports import (
    AccessState,
    DataFormat,
    GroupSetting,
    GroupStatus,
    build_settings,
    parse_groups,
)
from iscsi_protocol.scsi.vpd import VpdCode, parse_vpd
from iscsi_target.completion import Completion, Work
from iscsi_target.config import AccessStateName, ConfigError, LunConfig, PortGroup, Size, TargetNode, config_from
from iscsi_target.device import open_device
from iscsi_target.device.table import ROWS
from iscsi_target.state import StateStore

ILLEGAL = SenseKey.ILLEGAL_REQUEST
NOT_READY = SenseKey.NOT_READY
FIRST = NEXUS
SECOND = replace(OTHER, target_portal_group_tag=2)
THIRD = replace(OTHER, tsih=3, isid=bytes(6), target_portal_group_tag=3)
CHANGED = (SenseKey.UNIT_ATTENTION, Code.ASYMMETRIC_ACCESS_STATE_CHANGED)


class Ports:
    """A node with two units behind the portal groups 1 to 3."""

    def __init__(self, store=None, **settings):
        settings = {"port_group_management": "both"} | settings
        luns = {0: LunConfig(size=Size(65536)), 1: LunConfig(size=Size(65536))}
        node = TargetNode(name=TARGET, luns=luns, **settings)
        self.device = open_device(node, store, target_ports=(1, 2, 3))
        for nexus in (FIRST, SECOND, THIRD):
            self.device.nexus_made(nexus)

    def run(self, command, data_out=b"", *, nexus=FIRST, lun=bytes(8), **fields) -> Completion:
        answer = self.device.execute(nexus, lun, command.build(**fields).ljust(16, b"\0"), data_out)
        while isinstance(answer, Work):
            answer = answer.run()
        return answer

    def good(self, command, data_out=b"", **fields):
        answer = self.run(command, data_out, **fields)
        assert answer.status == Status.GOOD, str(parse_sense(answer.sense))
        return content(answer)

    def refusal(self, command, data_out=b"", **fields):
        sense = parse_sense(self.run(command, data_out, **fields).sense)
        assert sense is not None
        return sense.key, sense.code

    def groups(self, data_format=DataFormat.LENGTH_ONLY, nexus=FIRST):
        data = self.good(
            op.REPORT_TARGET_PORT_GROUPS, nexus=nexus, parameter_data_format=data_format, allocation_length=1024
        )
        return {group.group: (group, ports) for group, ports in parse_groups(data, data_format)}

    def set(self, *settings, nexus=FIRST):
        data = build_settings(GroupSetting(group=group, state=state) for group, state in settings)
        return self.run(op.SET_TARGET_PORT_GROUPS, data, nexus=nexus, parameter_list_length=len(data))

    def set_refusal(self, *settings, **fields):
        sense = parse_sense(self.set(*settings, **fields).sense)
        assert sense is not None
        return sense


TWO_GROUPS = {
    10: PortGroup(ports=[1, 3], preferred=True),
    20: PortGroup(ports=[2], state="active/non-optimized"),
}


def test_without_configuration_every_port_is_a_group_of_its_own():
    groups = Ports().groups()
    assert {number: ports for number, (_, ports) in groups.items()} == {1: [1], 2: [2], 3: [3]}
    for group, _ in groups.values():
        assert (group.state, group.status, group.preferred) == (0, GroupStatus.NOTHING_TO_REPORT, False)


@pytest.mark.parametrize("data_format", DataFormat)
def test_groups_are_told_in_both_formats(data_format):
    groups = Ports(port_groups=TWO_GROUPS).groups(data_format)
    assert {number: ports for number, (_, ports) in groups.items()} == {10: [1, 3], 20: [2]}
    first, second = groups[10][0], groups[20][0]
    assert (first.preferred, first.state) == (True, AccessState.ACTIVE_OPTIMIZED)
    assert (second.preferred, second.state) == (False, AccessState.ACTIVE_NON_OPTIMIZED)
    assert first.standby_supported
    assert not first.offline_supported


def test_other_formats_are_refused():
    refusal = Ports().refusal(op.REPORT_TARGET_PORT_GROUPS, parameter_data_format=2, allocation_length=64)
    assert refusal == (ILLEGAL, Code.INVALID_FIELD_IN_CDB)


@pytest.mark.parametrize(("management", "tpgs"), [("none", 0), ("implicit", 1), ("explicit", 2), ("both", 3)])
def test_management_says_which_commands_there_are(management, tpgs):
    ports = Ports(port_group_management=management)
    inquiry = StandardInquiry.parse(ports.good(op.INQUIRY, allocation_length=96))
    assert (inquiry.target_port_group_support, inquiry.multi_port) == (tpgs, True)
    report = ports.run(op.REPORT_TARGET_PORT_GROUPS, allocation_length=64).status
    assert (report == Status.GOOD) == (tpgs > 0)
    assert (ports.set((1, 1)).status == Status.GOOD) == (tpgs > 1)
    if tpgs & 1:
        ports.device.set_access_state(1, AccessState.STANDBY)
    else:
        with pytest.raises(ValueError, match="not managed by the target"):
            ports.device.set_access_state(1, AccessState.STANDBY)


LET_THROUGH = {
    AccessState.STANDBY: {0x03, 0x12, 0x15, 0x55, 0x1A, 0x5A, 0xA0, 0x4C, 0x4D, 0x1C, 0x1D, 0x5E, 0x5F},
    AccessState.UNAVAILABLE: {0x03, 0x12, 0xA0},
    AccessState.TRANSITIONING: {0x03, 0x12, 0xA0},
}
GROUP_COMMANDS = {
    AccessState.STANDBY: {op.REPORT_TARGET_PORT_GROUPS, op.SET_TARGET_PORT_GROUPS},
    AccessState.UNAVAILABLE: {op.REPORT_TARGET_PORT_GROUPS, op.SET_TARGET_PORT_GROUPS},
    AccessState.TRANSITIONING: {op.REPORT_TARGET_PORT_GROUPS},
}
REFUSED = {
    AccessState.STANDBY: Code.LOGICAL_UNIT_NOT_ACCESSIBLE_TARGET_PORT_IN_STANDBY_STATE,
    AccessState.UNAVAILABLE: Code.LOGICAL_UNIT_NOT_ACCESSIBLE_TARGET_PORT_IN_UNAVAILABLE_STATE,
    AccessState.TRANSITIONING: Code.LOGICAL_UNIT_NOT_ACCESSIBLE_ASYMMETRIC_ACCESS_STATE_TRANSITION,
}
NAMES: dict[AccessState, AccessStateName] = {
    AccessState.STANDBY: "standby",
    AccessState.UNAVAILABLE: "unavailable",
    AccessState.TRANSITIONING: "transitioning",
}


@pytest.mark.parametrize("state", LET_THROUGH)
def test_a_state_lets_through_what_the_standard_says(state):
    for row in ROWS:
        command = row.command
        ports = Ports(port_groups={7: PortGroup(ports=[2], state=NAMES[state])})
        if not row.known_to(ports.device._units[0]):
            continue
        sense = parse_sense(ports.run(command, nexus=SECOND).sense)
        refused = sense is not None and (sense.key, sense.code) == (NOT_READY, REFUSED[state])
        passes = command.opcode in LET_THROUGH[state] or command in GROUP_COMMANDS[state]
        assert refused is not passes, command.name
        elsewhere = parse_sense(ports.run(command, nexus=FIRST).sense)
        assert elsewhere is None or elsewhere.key != NOT_READY


def test_ports_that_are_not_optimized_work():
    ports = Ports(port_groups=TWO_GROUPS)
    ports.good(op.WRITE_10, b"x" * 512, nexus=SECOND, blocks=1)
    assert ports.good(op.READ_10, nexus=FIRST, blocks=1) == b"x" * 512


def test_setting_states_takes_effect_and_is_told_to_all_others():
    ports = Ports(port_groups=TWO_GROUPS)
    assert ports.set((10, AccessState.STANDBY), (20, AccessState.ACTIVE_OPTIMIZED), nexus=SECOND).status == Status.GOOD
    groups = ports.groups(nexus=SECOND)
    assert (groups[10][0].state, groups[10][0].status) == (AccessState.STANDBY, GroupStatus.SET_BY_COMMAND)
    assert (groups[20][0].state, groups[20][0].status) == (AccessState.ACTIVE_OPTIMIZED, GroupStatus.SET_BY_COMMAND)
    for lun in (bytes(8), b"\0\1" + bytes(6)):
        ports.good(op.TEST_UNIT_READY, nexus=SECOND, lun=lun)
        for nexus in (FIRST, THIRD):
            assert ports.refusal(op.TEST_UNIT_READY, nexus=nexus, lun=lun) == CHANGED
            assert ports.refusal(op.TEST_UNIT_READY, nexus=nexus, lun=lun) == (NOT_READY, REFUSED[AccessState.STANDBY])
    assert ports.set((10, AccessState.ACTIVE_OPTIMIZED), nexus=FIRST).status == Status.GOOD
    ports.good(op.TEST_UNIT_READY, nexus=FIRST)
    assert ports.refusal(op.TEST_UNIT_READY, nexus=SECOND) == CHANGED


def test_setting_the_state_that_a_group_has_is_told_to_nobody():
    ports = Ports(port_groups=TWO_GROUPS)
    assert ports.set((10, AccessState.ACTIVE_OPTIMIZED)).status == Status.GOOD
    assert ports.set().status == Status.GOOD
    ports.good(op.SET_TARGET_PORT_GROUPS)
    ports.good(op.TEST_UNIT_READY, nexus=SECOND)


def test_what_the_target_changes_is_told_to_all():
    ports = Ports()
    ports.device.set_access_state(2, AccessState.UNAVAILABLE)
    for nexus in (FIRST, SECOND):
        assert ports.refusal(op.TEST_UNIT_READY, nexus=nexus) == CHANGED
    assert ports.groups()[2][0].status == GroupStatus.CHANGED_BY_TARGET
    with pytest.raises(KeyError):
        ports.device.set_access_state(9, AccessState.STANDBY)


@pytest.mark.parametrize(
    ("setting", "byte", "bit"),
    [((1, 0xF), 8, 3), ((1, 0xE), 8, 3), ((1, 4), 8, 3), ((9, AccessState.STANDBY), 10, None)],
)
def test_what_cannot_be_set_leaves_all_as_it_was(setting, byte, bit):
    ports = Ports()
    sense = ports.set_refusal((2, AccessState.STANDBY), setting)
    assert (sense.key, sense.code) == (ILLEGAL, Code.INVALID_FIELD_IN_PARAMETER_LIST)
    assert sense.field_pointer is not None
    assert (sense.field_pointer.byte, sense.field_pointer.bit) == (byte, bit)
    assert ports.groups()[2][0].state == AccessState.ACTIVE_OPTIMIZED


@pytest.mark.parametrize(
    ("data", "length", "code"),
    [
        (bytes(3), 3, Code.INVALID_FIELD_IN_CDB),
        (bytes(7), 7, Code.INVALID_FIELD_IN_CDB),
        (bytes(4), 8, Code.PARAMETER_LIST_LENGTH_ERROR),
    ],
)
def test_lists_that_are_cut_off_are_refused(data, length, code):
    refusal = Ports().refusal(op.SET_TARGET_PORT_GROUPS, data, parameter_list_length=length)
    assert refusal == (ILLEGAL, code)


@pytest.mark.parametrize(
    ("settings", "code"), [(16383, Code.INVALID_FIELD_IN_PARAMETER_LIST), (16384, Code.INVALID_FIELD_IN_CDB)]
)
def test_lists_are_as_long_as_a_field_pointer_reaches(settings, code):
    good = GroupSetting(state=AccessState.STANDBY, group=1)
    data = build_settings([good] * (settings - 1) + [GroupSetting(state=0xF, group=1)])
    assert Ports().refusal(op.SET_TARGET_PORT_GROUPS, data, parameter_list_length=len(data)) == (ILLEGAL, code)


def test_states_outlive_a_restart(tmp_path):
    path = tmp_path / "state.json"
    ports = Ports(StateStore(path), port_groups=TWO_GROUPS)
    assert ports.set((10, AccessState.STANDBY)).status == Status.GOOD
    again = Ports(StateStore(path), port_groups={10: PortGroup(ports=[1])})
    assert again.groups()[10][0].state == AccessState.STANDBY
    assert 20 not in again.groups()


def test_a_state_that_there_is_not_is_damage(tmp_path):
    path = tmp_path / "state.json"
    store = StateStore(path)
    store.put(TARGET, -1, "target port groups", {"1": 4})
    store.save()
    with pytest.raises(ConfigError, match=rf"^{path}: target port groups of [^\n]+ cannot be in state 4$"):
        Ports(StateStore(path))


def test_a_state_that_cannot_be_kept_is_no_success(tmp_path, monkeypatch):
    store = StateStore(tmp_path / "state.json")
    ports = Ports(store)

    def broken():
        raise OSError(28, "full")

    monkeypatch.setattr(store, "save", broken)
    sense = ports.set_refusal((1, AccessState.STANDBY))
    assert (sense.key, sense.code) == (SenseKey.HARDWARE_ERROR, Code.SET_TARGET_PORT_GROUPS_COMMAND_FAILED)


def test_a_port_is_named_by_its_group_and_number():
    ports = Ports(port_groups=TWO_GROUPS)
    page = parse_vpd(ports.good(op.INQUIRY, nexus=THIRD, evpd=1, page_code=0x83, allocation_length=1024))
    named = {
        each.designator_type: each.value
        for each in parse_designators(page.body)
        if each.association == Association.TARGET_PORT
    }
    assert named[DesignatorType.RELATIVE_TARGET_PORT] == bytes((0, 0, 0, 3))
    assert named[DesignatorType.TARGET_PORT_GROUP] == bytes((0, 0, 0, 10))
    assert named[DesignatorType.SCSI_NAME_STRING].rstrip(b"\0") == f"{TARGET},t,0x0003".encode()
    page = parse_vpd(ports.good(op.INQUIRY, evpd=1, page_code=VpdCode.SCSI_PORTS, allocation_length=1024))
    for number in (1, 2, 3):
        assert bytes((0, 0, 0, number)) + bytes(6) in page.body
        assert f"{TARGET},t,0x000{number}".encode() in page.body


# The well known logical unit


def test_the_well_known_unit_answers_four_commands():
    ports = Ports()
    lun = WELL_KNOWN_REPORT_LUNS
    assert ports.device.has_lun(lun, FIRST)
    ports.good(op.TEST_UNIT_READY, lun=lun)
    inquiry = StandardInquiry.parse(ports.good(op.INQUIRY, lun=lun, allocation_length=96))
    assert (inquiry.peripheral_device_type, inquiry.target_port_group_support) == (0x1E, 3)
    pages = ports.good(op.INQUIRY, lun=lun, evpd=1, allocation_length=96)
    assert pages == bytes((0x1E, 0, 0, 2, 0, 0x83))
    page = ports.good(op.INQUIRY, lun=lun, evpd=1, page_code=0x83, allocation_length=1024)
    assert page[:2] == bytes((0x1E, 0x83))
    assert {each.association for each in parse_designators(page[4:])} == {1, 2}
    luns = ports.good(op.REPORT_LUNS, lun=lun, select_report=2, allocation_length=64)
    assert parse_luns(luns)[1] == [bytes(8), b"\0\1" + bytes(6), lun]
    sense = parse_sense(ports.good(op.REQUEST_SENSE, lun=lun, allocation_length=18))
    assert sense is not None
    assert sense.key == 0


def test_the_well_known_unit_refuses_all_else():
    ports = Ports()
    lun = WELL_KNOWN_REPORT_LUNS
    for row in ROWS:
        if row.command not in (op.TEST_UNIT_READY, op.INQUIRY, op.REPORT_LUNS, op.REQUEST_SENSE):
            assert ports.refusal(row.command, lun=lun) == (ILLEGAL, Code.INVALID_COMMAND_OPERATION_CODE)
    invalid = (ILLEGAL, Code.INVALID_FIELD_IN_CDB)
    assert ports.refusal(op.INQUIRY, lun=lun, cmddt=1) == invalid
    assert ports.refusal(op.INQUIRY, lun=lun, page_code=0x83) == invalid
    assert ports.refusal(op.INQUIRY, lun=lun, evpd=1, page_code=0x80) == invalid
    assert ports.refusal(op.TEST_UNIT_READY, lun=lun, control=4) == invalid
    cut = ports.device.execute(FIRST, lun, b"\x12\0", b"")
    assert isinstance(cut, Completion)
    assert cut.status == Status.CHECK_CONDITION


@pytest.mark.parametrize(("addressing", "first"), [("shortest", 0x00), ("flat", 0x40), ("extended", 0xD2)])
def test_luns_are_reported_as_configured_and_found_again(addressing, first):
    ports = Ports(lun_addressing=addressing)
    _, luns = parse_luns(ports.good(op.REPORT_LUNS, allocation_length=64))
    assert [(lun[0], decode_lun(lun)) for lun in luns] == [(first, 0), (first, 1)]
    for lun in luns:
        ports.good(op.TEST_UNIT_READY, lun=lun)


# Configuration


def tables(**node):
    return {
        "portals": [{"address": f"127.0.0.{tag}:0", "group_tag": tag} for tag in (1, 2)],
        "targets": [{"name": TARGET, "luns": {"0": {"size": 512}}, **node}],
    }


def test_groups_are_read_from_tables():
    config = config_from(tables(port_groups={"5": {"ports": [1, 2], "state": "standby", "preferred": True}}))
    assert config.targets[0].port_groups == {5: PortGroup(ports=[1, 2], state="standby", preferred=True)}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"port_groups": {"5": {"ports": [3]}}}, "names portal group 3, through which the target is not reached"),
        ({"port_groups": {"5": {"ports": [2]}}, "portal_groups": [1]}, "names portal group 2, through which"),
        ({"port_groups": {"5": {"ports": []}}}, "not empty"),
        ({"port_groups": {"5": {"ports": [1, 1]}}}, "without repetition"),
        ({"port_groups": {"5": {"ports": [1]}, "6": {"ports": [1]}}}, "in two target port groups"),
        ({"port_groups": {"65536": {"ports": [1]}}}, "0 to 65535"),
        ({"port_groups": {"2": {"ports": [1]}}}, "in no target port group, and there is one of its number"),
        ({"port_groups": {"5": {"ports": [1], "state": "offline"}}}, "offline"),
        ({"port_group_management": "sometimes"}, "sometimes"),
    ],
)
def test_groups_that_cannot_be_are_refused(node, message):
    with pytest.raises(ConfigError, match=message):
        config_from(tables(**node))
