"""INQUIRY and its pages, REPORT LUNS, and what is answered where no unit is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.capacity import parse_luns
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.designators import Association, DesignatorType, parse_designators
from iscsi_protocol.scsi.inquiry import NO_UNIT, StandardInquiry, VersionDescriptor
from iscsi_protocol.scsi.lun import decode_lun, encode_lun
from iscsi_protocol.scsi.sense import Sense, parse_sense
from iscsi_protocol.scsi.vpd import (
    BlockDeviceCharacteristics,
    BlockLimits,
    ExtendedInquiryData,
    LogicalBlockProvisioning,
    VpdCode,
    parse_vpd,
)
from iscsi_target.access import is_admitted
from iscsi_target.completion import Completion
from iscsi_target.config import LunConfig, Size

INVALID_FIELD = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.INVALID_FIELD_IN_CDB)
NO_SUCH_UNIT = (SenseKey.ILLEGAL_REQUEST, AdditionalSense.LOGICAL_UNIT_NOT_SUPPORTED)
ONE = "iqn.2026-11.org.example:one"


def sense_of(data: bytes) -> Sense:
    found = parse_sense(data)
    assert found is not None
    return found


def page(disk, code):
    data = disk.good(op.INQUIRY, evpd=1, page_code=code, allocation_length=0xFFFF)
    assert parse_vpd(data).page_code == code
    assert len(data) == 4 + len(parse_vpd(data).body)
    return data


def test_standard_data_says_what_the_configuration_says(make_disk):
    disk = make_disk(vendor="ACME", product="ROCKET", revision="9", removable=True)
    data = disk.good(op.INQUIRY, allocation_length=255)
    standard = StandardInquiry.parse(data)
    assert len(data) == standard.additional_length + 5
    assert (standard.vendor, standard.product, standard.revision) == ("ACME", "ROCKET", "9")
    assert standard.removable
    assert standard.command_queuing
    assert {VersionDescriptor.SPC_4, VersionDescriptor.SBC_3, VersionDescriptor.ISCSI + 1} <= set(
        standard.versions_claimed
    )


@pytest.mark.parametrize("length", [0, 4, 5, 36, 95, 96, 97])
def test_the_allocation_length_cuts(disk, length):
    assert disk.good(op.INQUIRY, allocation_length=length) == disk.good(op.INQUIRY, allocation_length=96)[:length]


def test_all_pages_that_are_supported_can_be_had_in_order(make_disk, tmp_path):
    for disk in (make_disk("memory"), make_disk("file")):
        codes = list(parse_vpd(page(disk, VpdCode.SUPPORTED_PAGES)).body)
        assert codes == sorted(codes)
        for code in codes:
            page(disk, code)
        assert (VpdCode.LOGICAL_BLOCK_PROVISIONING in codes) == disk.device.node.luns[0].backend.startswith("mem")
        for code in set(range(256)) - set(codes):
            assert disk.refusal(op.INQUIRY, evpd=1, page_code=code, allocation_length=255) == INVALID_FIELD


def test_fields_that_do_not_go_together_are_pointed_at(disk):
    assert disk.sense(op.INQUIRY, page_code=0x80).field_pointer.byte == 2
    assert disk.sense(op.INQUIRY, cmddt=1).field_pointer.byte == 1


def test_units_are_told_apart_and_stay_the_same(make_disk):
    two = {0: LunConfig(size=Size(512)), 1: LunConfig(size=Size(512)), 2: LunConfig(size=Size(512), serial="S-2")}
    disk, again = make_disk(luns=two), make_disk(luns=two)
    pages = []
    for lun in two:
        disk.lun = again.lun = lun
        pages.append((page(disk, VpdCode.UNIT_SERIAL_NUMBER)[4:], page(disk, VpdCode.DEVICE_IDENTIFICATION)))
        assert page(again, VpdCode.DEVICE_IDENTIFICATION) == pages[-1][1]
    assert len({serial for serial, _ in pages}) == 3
    assert pages[2][0] == b"S-2"
    names = {
        next(each.value for each in parse_designators(data[4:]) if each.designator_type == DesignatorType.NAA)
        for _, data in pages
    }
    assert len(names) == 3


def test_port_and_device_carry_the_names_of_the_standard(disk):
    found = parse_designators(page(disk, VpdCode.DEVICE_IDENTIFICATION)[4:])
    texts = {each.association: each.text for each in found if each.designator_type == DesignatorType.SCSI_NAME_STRING}
    assert texts == {
        Association.TARGET_PORT: "iqn.2026-11.org.example:disk,t,0x0001",
        Association.TARGET_DEVICE: "iqn.2026-11.org.example:disk",
    }


def test_a_port_of_group_zero_has_no_relative_identifier(disk):
    disk.nexus = replace(disk.nexus, target_portal_group_tag=0)
    kinds = {each.designator_type for each in parse_designators(page(disk, VpdCode.DEVICE_IDENTIFICATION)[4:])}
    assert DesignatorType.RELATIVE_TARGET_PORT not in kinds
    assert DesignatorType.TARGET_PORT_GROUP in kinds


def test_limits_are_in_blocks(make_disk):
    for size in (512, 4096):
        limits = BlockLimits.parse(page(make_disk(block_size=size), VpdCode.BLOCK_LIMITS))
        assert limits.maximum_transfer_length * size == 64 << 20
        assert limits.write_same_non_zero
        assert limits.maximum_compare_and_write_length == 128
        assert limits.maximum_unmap_block_descriptor_count == 256
    assert BlockLimits.parse(page(make_disk("file"), VpdCode.BLOCK_LIMITS)).maximum_unmap_lba_count == 0


def test_the_other_pages(make_disk):
    disk = make_disk()
    characteristics = BlockDeviceCharacteristics.parse(page(disk, VpdCode.BLOCK_DEVICE_CHARACTERISTICS))
    assert characteristics.medium_rotation_rate == 1
    assert characteristics.verify_byte_check_unmapped
    disk.good(op.VERIFY_10, bytes(512), blocks=1, bytchk=1)
    provisioning = LogicalBlockProvisioning.parse(page(disk, VpdCode.LOGICAL_BLOCK_PROVISIONING))
    assert provisioning.unmap
    assert provisioning.read_zeros == 1
    assert not ExtendedInquiryData.parse(page(disk, VpdCode.EXTENDED_INQUIRY_DATA)).volatile_cache
    extended = ExtendedInquiryData.parse(page(make_disk("file"), VpdCode.EXTENDED_INQUIRY_DATA))
    assert extended.volatile_cache


def test_task_attributes_and_the_level_of_the_session_are_told(disk):
    extended = ExtendedInquiryData.parse(page(disk, VpdCode.EXTENDED_INQUIRY_DATA))
    assert (extended.head_of_queue, extended.ordered, extended.simple, extended.priority) == (True,) * 4
    for level in (0, 1, 2):
        nexus = replace(disk.nexus, tsih=30 + level, protocol_level=level)
        standard = StandardInquiry.parse(disk.good(op.INQUIRY, allocation_length=255, nexus=nexus))
        assert VersionDescriptor.ISCSI + level in standard.versions_claimed


def test_luns_are_reported_and_masked(make_disk):
    luns = {lun: LunConfig(size=Size(512)) for lun in (3, 0, 300)}
    disk = make_disk(luns=luns, node={"access": {ONE: [300, 3], "*": [0]}})
    disk.lun = 3
    length, shown = parse_luns(disk.good(op.REPORT_LUNS, allocation_length=4096))
    assert [decode_lun(each) for each in shown] == [3, 300]
    assert length == 16
    assert disk.device.luns() == [0, 3, 300]
    _, shown = parse_luns(disk.good(op.REPORT_LUNS, allocation_length=4096, nexus=disk.other, lun=0))
    assert [decode_lun(each) for each in shown] == [0]
    assert disk.device.has_lun(encode_lun(300), disk.nexus)
    assert not disk.device.has_lun(encode_lun(300), disk.other)
    assert disk.refusal(op.TEST_UNIT_READY, nexus=disk.other, lun=3) == NO_SUCH_UNIT


def test_an_initiator_without_access_sees_nothing(make_disk):
    disk = make_disk(node={"access": {ONE: [0]}})
    assert is_admitted(disk.device.node, ONE)
    assert not is_admitted(disk.device.node, disk.other.initiator_name)
    assert parse_luns(disk.good(op.REPORT_LUNS, allocation_length=64, nexus=disk.other)) == (0, [])


def test_report_luns_selects(disk):
    well_known = bytes.fromhex("c101000000000000")
    for select, luns in {
        0: [bytes(8)],
        1: [well_known],
        2: [bytes(8), well_known],
        0x10: [],
        0x11: [bytes(8)],
        0x12: [],
    }.items():
        data = disk.good(op.REPORT_LUNS, allocation_length=64, select_report=select)
        assert parse_luns(data) == (8 * len(luns), luns)
    assert len(disk.good(op.REPORT_LUNS, allocation_length=9)) == 9
    for select in (3, 0xF, 0x13, 0xF8):
        assert disk.refusal(op.REPORT_LUNS, allocation_length=64, select_report=select) == INVALID_FIELD


def test_a_lun_without_unit_answers_three_commands(disk):
    disk.lun = 5
    data = disk.good(op.INQUIRY, allocation_length=255)
    assert data[0] == NO_UNIT == 0x7F
    assert len(data) == 96
    assert disk.good(op.INQUIRY, evpd=1, allocation_length=255)[0] == NO_UNIT
    assert disk.refusal(op.INQUIRY, evpd=1, page_code=0x83, allocation_length=255) == INVALID_FIELD
    assert disk.refusal(op.INQUIRY, cmddt=1) == INVALID_FIELD
    assert parse_luns(disk.good(op.REPORT_LUNS, allocation_length=64)) == (8, [bytes(8)])
    sense = sense_of(disk.good(op.REQUEST_SENSE, allocation_length=18))
    assert (sense.key, sense.code) == NO_SUCH_UNIT
    for command in (op.TEST_UNIT_READY, op.READ_10, op.WRITE_10, op.MODE_SENSE_6, op.RESERVE_6):
        assert disk.refusal(command) == NO_SUCH_UNIT


def test_a_lun_that_is_no_single_level_lun_has_no_unit(disk):
    for structure in (bytes.fromhex("c102000000000000"), bytes.fromhex("0000000100000000"), b""):
        answer = disk.device.execute(disk.nexus, structure, bytes(16), b"")
        assert isinstance(answer, Completion)
        assert sense_of(answer.sense).code == AdditionalSense.LOGICAL_UNIT_NOT_SUPPORTED
        assert disk.device.data_out_length(structure, op.WRITE_10.build(blocks=1)) == 0
        assert not disk.device.has_lun(structure, disk.nexus)


@pytest.mark.parametrize("structure", ["0005", "4005", "d2000005", "e20000000005"])
def test_every_spelling_of_a_lun_reaches_its_unit(make_disk, structure):
    disk = make_disk(luns={5: LunConfig(size=Size(512))})
    lun = bytes.fromhex(structure).ljust(8, b"\0")
    assert disk.device.has_lun(lun, disk.nexus)
    assert disk.device.data_out_length(lun, op.WRITE_10.build(blocks=1)) == 512
    answer = disk.device.execute(disk.nexus, lun, bytes(6), b"")
    assert answer.status == 0
    disk.device.reset_lun(lun, disk.other)
    assert disk.refusal(op.TEST_UNIT_READY, lun=5)[0] == SenseKey.UNIT_ATTENTION
