"""Timestamps, identifying information, buffers, defect lists."""

from __future__ import annotations

import pytest
from tests.target.conftest import TARGET

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.defects import DefectData10, DefectData12
from iscsi_protocol.scsi.diagnostic import BufferMode
from iscsi_protocol.scsi.maintenance import InformationType, Timestamp, TimestampOrigin, parse_information
from iscsi_protocol.scsi.sense import FieldPointer
from iscsi_target.config import ConfigError
from iscsi_target.state import StateStore

ILLEGAL = SenseKey.ILLEGAL_REQUEST
INVALID_FIELD = (ILLEGAL, AdditionalSense.INVALID_FIELD_IN_CDB)
BAD_PARAMETER = (ILLEGAL, AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST)
TOO_SHORT = (ILLEGAL, AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
DEVICE, TEXT, SUPPORTED = InformationType


@pytest.fixture
def now(monkeypatch):
    """The system's clock, in a list of one: milliseconds."""
    clock = [1_000_000]
    monkeypatch.setattr("iscsi_target.device.clock._milliseconds", lambda: clock[0])
    return clock


def stamp(disk):
    return Timestamp.parse(disk.good(op.REPORT_TIMESTAMP, allocation_length=12))


def test_time_passes_from_what_was_set(disk, now):
    disk.device.nexus_made(disk.other)
    assert stamp(disk) == Timestamp(origin=TimestampOrigin.OTHERWISE, milliseconds=1_000_000)
    data = Timestamp(milliseconds=5).build()
    disk.good(op.SET_TIMESTAMP, data, parameter_list_length=12)
    now[0] += 7
    assert stamp(disk) == Timestamp(origin=TimestampOrigin.SET_TIMESTAMP, milliseconds=12)
    changed = (SenseKey.UNIT_ATTENTION, AdditionalSense.TIMESTAMP_CHANGED)
    assert disk.refusal(op.TEST_UNIT_READY, nexus=disk.other) == changed
    disk.good(op.SET_TIMESTAMP)
    for length, sent in ((11, 11), (12, 11)):
        assert disk.refusal(op.SET_TIMESTAMP, bytes(sent), parameter_list_length=length) == TOO_SHORT
    assert len(disk.good(op.REPORT_TIMESTAMP, allocation_length=3)) == 3
    before = stamp(disk)
    beyond = disk.sense(op.SET_TIMESTAMP, Timestamp(milliseconds=0xF1 << 40).build(), parameter_list_length=12)
    assert (beyond.key, beyond.code) == BAD_PARAMETER
    assert beyond.field_pointer == FieldPointer(byte=4, in_cdb=False)
    assert stamp(disk) == before
    disk.good(op.SET_TIMESTAMP, Timestamp(milliseconds=0xF0 << 40).build(), parameter_list_length=12)


@pytest.fixture
def kept(make_disk, tmp_path):
    """A disk with a state file."""
    return make_disk(store=StateStore(tmp_path / "state.json"))


def information(disk, kind):
    return parse_information(disk.good(op.REPORT_IDENTIFYING_INFORMATION, information_type=kind, allocation_length=512))


def set_information(disk, kind, data):
    return disk.good(op.SET_IDENTIFYING_INFORMATION, data, information_type=kind, parameter_list_length=len(data))


def test_information_is_kept(make_disk, kept):
    kept.device.nexus_made(kept.other)
    assert information(kept, DEVICE) == information(kept, TEXT) == b""
    set_information(kept, DEVICE, b"\xff" * 64)
    set_information(kept, TEXT, "Gerät 7\0\0".encode())
    changed = (SenseKey.UNIT_ATTENTION, AdditionalSense.DEVICE_IDENTIFIER_CHANGED)
    assert kept.refusal(op.TEST_UNIT_READY, nexus=kept.other) == changed
    set_information(kept, DEVICE, b"\xff" * 64)
    kept.good(op.TEST_UNIT_READY, nexus=kept.other)
    again = make_disk(store=StateStore(kept.device._units[0].store.path))
    assert information(again, DEVICE) == b"\xff" * 64
    assert information(again, TEXT) == "Gerät 7\0\0".encode()
    set_information(again, DEVICE, b"")
    assert information(again, DEVICE) == b""
    assert information(again, SUPPORTED).hex() == "00000040" + "04000100"


@pytest.mark.parametrize("value", [5, {"0": "zz"}, {"0": "00" * 65}, {"1": "00"}, {"x": ""}], ids=str)
def test_information_that_cannot_have_been_set_is_damage(make_disk, tmp_path, value):
    path = tmp_path / "state.json"
    store = StateStore(path)
    store.put(TARGET, 0, "information", value)
    store.save()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=rf"^{path}: information of LUN 0 of [^\n]+$"):
        make_disk(store=StateStore(path))
    assert path.read_bytes() == before


def test_information_that_cannot_be_is_refused(kept):
    command = op.SET_IDENTIFYING_INFORMATION
    for kind in (1, SUPPORTED):
        assert kept.refusal(command, bytes(4), information_type=kind, parameter_list_length=4) == INVALID_FIELD
    assert kept.refusal(op.REPORT_IDENTIFYING_INFORMATION, information_type=1) == INVALID_FIELD
    for kind, length in ((DEVICE, 65), (TEXT, 257)):
        data = bytes(length)
        assert kept.refusal(command, data, information_type=kind, parameter_list_length=length) == INVALID_FIELD
    assert kept.refusal(command, bytes(3), information_type=DEVICE, parameter_list_length=4) == TOO_SHORT
    for text in (b"no end", b"a\0b\0", b"\xff\xfe\0"):
        length = len(text)
        assert kept.refusal(command, text, information_type=TEXT, parameter_list_length=length) == BAD_PARAMETER


def test_without_a_state_file_there_is_no_information(disk):
    for command in (op.REPORT_IDENTIFYING_INFORMATION, op.SET_IDENTIFYING_INFORMATION):
        assert disk.refusal(command) == INVALID_FIELD


def read_buffer(disk, mode, **fields):
    return disk.good(op.READ_BUFFER, mode=mode, **({"allocation_length": 0x20000} | fields))


def write_buffer(disk, mode, data, **fields):
    return disk.run(op.WRITE_BUFFER, data, mode=mode, parameter_list_length=len(data), **fields)


def test_buffers_give_back_what_was_written(disk):
    assert read_buffer(disk, BufferMode.DATA) == bytes(65536)
    assert write_buffer(disk, BufferMode.DATA, b"abcdef").status == 0
    assert write_buffer(disk, BufferMode.DATA, b"XY", buffer_offset=2).status == 0
    assert write_buffer(disk, BufferMode.DATA, b"end", buffer_offset=65533).status == 0
    assert read_buffer(disk, BufferMode.DATA, allocation_length=7) == b"abXYef\0"
    assert read_buffer(disk, BufferMode.DATA, buffer_offset=65533) == b"end"
    assert disk.refusal(op.READ_BUFFER, mode=BufferMode.ECHO) == (ILLEGAL, AdditionalSense.COMMAND_SEQUENCE_ERROR)
    assert write_buffer(disk, BufferMode.ECHO, b"echo").status == 0
    assert read_buffer(disk, BufferMode.ECHO) == b"echo"
    assert read_buffer(disk, BufferMode.DESCRIPTOR).hex() == "00010000"
    assert read_buffer(disk, BufferMode.DESCRIPTOR, buffer_id=1).hex() == "00000000"
    assert read_buffer(disk, BufferMode.ECHO_DESCRIPTOR).hex() == "00001000"


def test_everybody_has_an_echo_buffer_of_their_own(disk):
    assert write_buffer(disk, BufferMode.ECHO, b"one").status == 0
    sequence = (ILLEGAL, AdditionalSense.COMMAND_SEQUENCE_ERROR)
    assert disk.refusal(op.READ_BUFFER, mode=BufferMode.ECHO, nexus=disk.other) == sequence
    assert write_buffer(disk, BufferMode.ECHO, b"other", nexus=disk.other).status == 0
    assert read_buffer(disk, BufferMode.ECHO) == b"one"
    assert read_buffer(disk, BufferMode.ECHO, nexus=disk.other) == b"other"


def test_buffers_that_are_not_there_are_refused(disk):
    for mode in (0, 1, 4, 5, 0x1C):
        assert disk.refusal(op.READ_BUFFER, mode=mode) == INVALID_FIELD
        assert disk.refusal(op.WRITE_BUFFER, mode=mode) == INVALID_FIELD
    for command in (op.READ_BUFFER, op.WRITE_BUFFER):
        for fields in ({"buffer_id": 1}, {"buffer_offset": 65537}):
            assert disk.refusal(command, mode=BufferMode.DATA, **fields) == INVALID_FIELD
    assert disk.refusal(op.WRITE_BUFFER, mode=BufferMode.DATA, mode_specific=1) == INVALID_FIELD
    for mode, length, offset in ((BufferMode.DATA, 2, 65535), (BufferMode.ECHO, 4097, 0)):
        fields = {"mode": mode, "parameter_list_length": length, "buffer_offset": offset}
        assert disk.refusal(op.WRITE_BUFFER, bytes(length), **fields) == INVALID_FIELD
    assert disk.refusal(op.WRITE_BUFFER, b"x", mode=BufferMode.ECHO, parameter_list_length=2) == TOO_SHORT


def test_there_are_no_defects(disk):
    fields = {"req_plist": 1, "req_glist": 1, "defect_list_format": 5, "allocation_length": 64}
    ten = DefectData10.parse(disk.good(op.READ_DEFECT_DATA_10, **fields))
    assert ten == DefectData10(primary_valid=True, grown_valid=True, list_format=5)
    twelve = DefectData12.parse(disk.good(op.READ_DEFECT_DATA_12, **fields))
    assert twelve == DefectData12(primary_valid=True, grown_valid=True, list_format=5)
    for command in (op.READ_DEFECT_DATA_10, op.READ_DEFECT_DATA_12):
        assert disk.refusal(command, defect_list_format=7) == INVALID_FIELD
