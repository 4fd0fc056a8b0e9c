"""EXTENDED COPY: what its parameter list says wrong is refused before anything moves, each with its own sense."""

from __future__ import annotations

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense as Code
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.designators import naa_locally_assigned, relative_target_port, t10_vendor_id
from iscsi_protocol.scsi.fields import places_of
from iscsi_protocol.scsi.inquiry import StandardInquiry
from iscsi_protocol.scsi.third_party_copy import (
    OWN_UNIT,
    BlockToBlock,
    BlockToBlockOffset,
    CopyHeader,
    IdentificationCscd,
    OperatingParameters,
    build_copy,
    cscd_of,
)
from iscsi_protocol.scsi.vpd import VpdCode
from iscsi_target.device.third_party_copy import LIMITS, MAX_SEGMENT_LENGTH

ILLEGAL = SenseKey.ILLEGAL_REQUEST
ONE_BLOCK = BlockToBlock(source=OWN_UNIT, destination=OWN_UNIT, blocks=1, destination_lba=9)
SOMEBODY = cscd_of(naa_locally_assigned(1), 512)


def copy(disk, data, **fields):
    return disk.refusal(op.EXTENDED_COPY_LID1, data, parameter_list_length=len(data), **fields)


def listed(*segments, cscds=(), **fields):
    return build_copy(cscds, segments or [ONE_BLOCK], **fields)


def test_a_list_of_no_bytes_is_nothing_to_do(disk):
    disk.good(op.EXTENDED_COPY_LID1)


@pytest.mark.parametrize("length", [1, 15, 16, 16 + 31, 16 + 32, 16 + 32 + 27])
def test_a_list_that_is_cut_off_is_refused(disk, length):
    assert copy(disk, listed(cscds=[SOMEBODY])[:length]) == (ILLEGAL, Code.PARAMETER_LIST_LENGTH_ERROR)


def test_less_data_than_announced_is_refused(disk):
    data = listed()
    found = disk.refusal(op.EXTENDED_COPY_LID1, data[:-1], parameter_list_length=len(data))
    assert found == (ILLEGAL, Code.PARAMETER_LIST_LENGTH_ERROR)


def test_a_segment_that_leaves_the_segment_list_is_refused(disk):
    data = bytearray(listed())
    data[11] -= 1
    assert copy(disk, bytes(data)) == (ILLEGAL, Code.PARAMETER_LIST_LENGTH_ERROR)
    data = bytearray(listed(cscds=[SOMEBODY]))
    data[3] -= 1
    assert copy(disk, bytes(data)) == (ILLEGAL, Code.PARAMETER_LIST_LENGTH_ERROR)


def test_too_much_of_anything_is_refused(disk):
    many = LIMITS.maximum_cscd_count + 1
    assert copy(disk, listed(cscds=[SOMEBODY] * many)) == (ILLEGAL, Code.TOO_MANY_TARGET_DESCRIPTORS)
    many = LIMITS.maximum_segment_count + 1
    assert copy(disk, listed(*[ONE_BLOCK] * many)) == (ILLEGAL, Code.TOO_MANY_SEGMENT_DESCRIPTORS)
    many = LIMITS.maximum_list_length // 28 + 1
    assert copy(disk, listed(*[ONE_BLOCK] * many)) == (ILLEGAL, Code.PARAMETER_LIST_LENGTH_ERROR)
    inline = bytearray(listed())
    inline[15] = 1
    assert copy(disk, bytes(inline) + b"x") == (ILLEGAL, Code.INLINE_DATA_LENGTH_EXCEEDED)


def test_descriptors_of_other_types_are_refused_where_they_stand(disk):
    data = bytearray(listed(cscds=[SOMEBODY, SOMEBODY]))
    data[48] = 0xE0
    sense = disk.sense(op.EXTENDED_COPY_LID1, bytes(data), parameter_list_length=len(data))
    assert (sense.key, sense.code) == (ILLEGAL, Code.UNSUPPORTED_TARGET_DESCRIPTOR_TYPE_CODE)
    assert (sense.field_pointer.byte, sense.field_pointer.in_cdb) == (48, False)
    data = bytearray(listed(ONE_BLOCK, ONE_BLOCK))
    data[44] = 0x03
    sense = disk.sense(op.EXTENDED_COPY_LID1, bytes(data), parameter_list_length=len(data))
    assert (sense.key, sense.code) == (ILLEGAL, Code.UNSUPPORTED_SEGMENT_DESCRIPTOR_TYPE_CODE)
    assert sense.field_pointer.byte == 44
    longer = (
        CopyHeader(segment_list_length=32).build() + ONE_BLOCK.build()[:3] + b"\x1c" + ONE_BLOCK.build()[4:] + bytes(4)
    )
    assert copy(disk, longer) == (ILLEGAL, Code.INVALID_FIELD_IN_PARAMETER_LIST)


@pytest.mark.parametrize(("usage", "identifier", "bit"), [(1, 0, (1, 4)), (3, 1, (0, None))])
def test_list_id_usage_is_held_to(disk, usage, identifier, bit):
    data = listed(list_identifier=identifier, list_id_usage=usage)
    sense = disk.sense(op.EXTENDED_COPY_LID1, data, parameter_list_length=len(data))
    assert (sense.key, sense.code) == (ILLEGAL, Code.INVALID_FIELD_IN_PARAMETER_LIST)
    assert (sense.field_pointer.byte, sense.field_pointer.bit) == bit


def own(disk, **changes):
    unit = disk.device._units[0]
    descriptor = cscd_of(naa_locally_assigned(unit.number), 512)
    values = {name: getattr(descriptor, name) for name in places_of(IdentificationCscd)}
    return IdentificationCscd(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"peripheral_device_type": 1}, Code.INCORRECT_COPY_TARGET_DEVICE_TYPE),
        ({"block_length": 4096}, Code.INVALID_FIELD_IN_PARAMETER_LIST),
        ({"designator_length": 7}, Code.COPY_TARGET_DEVICE_NOT_REACHABLE),
        ({"code_set": 2}, Code.COPY_TARGET_DEVICE_NOT_REACHABLE),
        ({"association": 1}, Code.COPY_TARGET_DEVICE_NOT_REACHABLE),
        ({"designator_type": 2}, Code.COPY_TARGET_DEVICE_NOT_REACHABLE),
        ({"designator": b"\x31" + bytes(7)}, Code.COPY_TARGET_DEVICE_NOT_REACHABLE),
    ],
)
def test_copy_sources_that_are_none_abort_the_copy(disk, changes, code):
    data = listed(BlockToBlock(blocks=1), cscds=[own(disk, **changes)])
    assert copy(disk, data) == (SenseKey.COPY_ABORTED, code)


def test_the_relative_initiator_port_and_the_lu_id_type_are_not_looked_at(disk):
    data = listed(BlockToBlock(blocks=1), cscds=[own(disk, lu_id_type=3, relative_initiator_port=7)])
    disk.good(op.EXTENDED_COPY_LID1, data, parameter_list_length=len(data))


def test_other_designators_of_the_unit_serve_as_well(make_disk):
    disk = make_disk(serial="SN")
    for designator, reached in ((t10_vendor_id("ISCSICNF", "SN"), True), (relative_target_port(1), False)):
        data = listed(BlockToBlock(blocks=1), cscds=[cscd_of(designator, 512)])
        if reached:
            disk.good(op.EXTENDED_COPY_LID1, data, parameter_list_length=len(data))
        else:
            assert copy(disk, data) == (SenseKey.COPY_ABORTED, Code.COPY_TARGET_DEVICE_NOT_REACHABLE)


@pytest.mark.parametrize("place", ["source", "destination"])
@pytest.mark.parametrize("number", [1, 0x7FF, 0x800, 0xC000, 0xF800, 0xFFFE])
def test_descriptor_identifiers_of_nothing_abort_the_copy(disk, place, number):
    segment = BlockToBlock(**{"source": OWN_UNIT, "destination": OWN_UNIT, place: number}, blocks=1)
    sense = disk.sense(op.EXTENDED_COPY_LID1, listed(segment), parameter_list_length=16 + 28)
    assert (sense.key, sense.code) == (SenseKey.COPY_ABORTED, Code.UNREACHABLE_COPY_TARGET)
    assert sense.sense_key_specific[1:] == bytes((0, 16 + (4 if place == "source" else 6)))


@pytest.mark.parametrize(
    "fields", [{"byte_count": MAX_SEGMENT_LENGTH + 1}, {"source_offset": 512}, {"destination_offset": 512}]
)
def test_impossible_byte_ranges_abort_the_copy(disk, fields):
    segment = BlockToBlockOffset(**{"source": OWN_UNIT, "destination": OWN_UNIT, "byte_count": 1} | fields)
    assert copy(disk, listed(segment)) == (SenseKey.COPY_ABORTED, Code.INVALID_FIELD_IN_PARAMETER_LIST)


def test_the_limits_are_told_alike_everywhere(disk):
    data = disk.good(op.RECEIVE_COPY_OPERATING_PARAMETERS, allocation_length=255)
    limits = OperatingParameters.parse(data)
    assert limits.available_data == len(data) - 4
    assert data[44:] == b"\x02\x0a\xe4"
    assert len(disk.good(op.RECEIVE_COPY_OPERATING_PARAMETERS, allocation_length=9)) == 9
    page = disk.good(op.INQUIRY, evpd=1, page_code=VpdCode.THIRD_PARTY_COPY, allocation_length=1024)
    assert page[:2] == b"\x00\x8f"
    assert int.from_bytes(page[2:4], "big") == len(page) - 4
    assert bytes((0, 1, 0, 12, 9, 0x83, 1, 0, 0x84, 4, 0, 1, 3, 4)) in page
    assert limits.maximum_list_length.to_bytes(4, "big") in page
    assert StandardInquiry.parse(disk.good(op.INQUIRY, allocation_length=96)).third_party_copy
    supported = disk.good(op.INQUIRY, evpd=1, allocation_length=255)
    assert VpdCode.THIRD_PARTY_COPY in supported[4:]


def test_other_service_actions_are_refused(disk):
    for command in (op.EXTENDED_COPY_LID4, op.POPULATE_TOKEN, op.RECEIVE_COPY_STATUS_LID4, op.REPORT_ALL_ROD_TOKENS):
        assert disk.refusal(command) == (ILLEGAL, Code.INVALID_FIELD_IN_CDB)


def test_the_data_of_a_list_is_asked_for(disk):
    wanted = disk.device.data_out_length
    assert wanted(bytes(8), op.EXTENDED_COPY_LID1.build(parameter_list_length=77)) == 77
    assert wanted(bytes(8), op.EXTENDED_COPY_LID4.build(parameter_list_length=77)) == 0
    assert wanted(bytes(8), op.RECEIVE_COPY_STATUS_LID1.build(allocation_length=77)) == 0
