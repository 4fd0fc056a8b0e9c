"""Sense data in both formats, held against bytes of a foreign target and hand-typed ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey, additional_sense_name, sense_key_name
from iscsi_protocol.scsi.sense import FieldPointer, Sense, SenseFormat, illegal_request, parse_sense, progress
from iscsi_protocol.scsi.status import Status, status_name

FULL = Sense(
    key=SenseKey.ILLEGAL_REQUEST,
    code=AdditionalSense.INVALID_FIELD_IN_CDB,
    information=0x12345678,
    command_specific=0x77,
    sense_key_specific=FieldPointer(byte=7, bit=3).build(),
    field_replaceable_unit=9,
    incorrect_length=True,
)
FULL_FIXED = "f00025123456780a00000077240009cb0007"
FULL_DESCRIPTOR = "7205240000000028000a80000000000012345678010a0000000000000000007702060000cb0007000302000905020020"


def test_fixed_sense_of_a_foreign_target_is_understood() -> None:
    sense = parse_sense(bytes.fromhex("700006000000000a00000000290000000000"))
    assert sense == Sense(
        key=SenseKey.UNIT_ATTENTION,
        code=AdditionalSense.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED,
        command_specific=0,
    )
    assert (sense.asc, sense.ascq) == (0x29, 0)
    assert str(sense) == "UNIT ATTENTION, POWER ON RESET OR BUS DEVICE RESET OCCURRED"


@pytest.mark.parametrize(
    ("sense_format", "text"), [(SenseFormat.FIXED, FULL_FIXED), (SenseFormat.DESCRIPTOR, FULL_DESCRIPTOR)]
)
def test_each_format_has_the_bytes_of_the_standard(sense_format: SenseFormat, text: str) -> None:
    assert FULL.build(sense_format).hex() == text
    assert parse_sense(memoryview(bytes.fromhex(text))) == FULL


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (AdditionalSense.WRITE_ERROR_UNEXPECTED_UNSOLICITED_DATA, "70000b000000000a000000000c0c00000000"),
        (AdditionalSense.WRITE_ERROR_NOT_ENOUGH_UNSOLICITED_DATA, "70000b000000000a000000000c0d00000000"),
        (AdditionalSense.PROTOCOL_SERVICE_CRC_ERROR, "70000b000000000a00000000470500000000"),
        (AdditionalSense.READ_ERROR_FAILED_RETRANSMISSION_REQUEST, "70000b000000000a00000000111300000000"),
    ],
)
def test_the_codes_of_iscsi_conditions(code: AdditionalSense, text: str) -> None:
    assert Sense(key=SenseKey.ABORTED_COMMAND, code=code).build().hex() == text


def test_commands_cleared_by_an_iscsi_event() -> None:
    code = AdditionalSense.SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT
    assert code == 0x477F
    assert additional_sense_name(code) == "SOME COMMANDS CLEARED BY iSCSI PROTOCOL EVENT"


senses = st.builds(
    Sense,
    key=st.integers(0, 15),
    code=st.integers(0, 0xFFFF),
    deferred=st.booleans(),
    information=st.none() | st.integers(0, 0xFFFFFFFF),
    command_specific=st.integers(0, 0xFFFFFFFF),
    sense_key_specific=st.just(b"")
    | st.binary(min_size=3, max_size=3).map(lambda raw: bytes((raw[0] | 0x80,)) + raw[1:]),
    field_replaceable_unit=st.integers(0, 255),
    filemark=st.booleans(),
    end_of_medium=st.booleans(),
    incorrect_length=st.booleans(),
    overflow=st.booleans(),
)


@given(senses, st.sampled_from(SenseFormat))
def test_what_is_built_is_read_back(sense: Sense, sense_format: SenseFormat) -> None:
    raw = sense.build(sense_format)
    assert raw[0] & 0x7F == sense_format | sense.deferred
    assert len(raw) == 8 + raw[7]
    assert parse_sense(raw) == sense
    assert parse_sense(raw + b"\xa5" * 9) == sense


@given(st.binary(max_size=64))
def test_arbitrary_bytes_are_read_or_are_none(raw: bytes) -> None:
    sense = parse_sense(raw)
    assert (sense is None) == (not raw or raw[0] & 0x7F not in range(0x70, 0x74))


@given(st.sampled_from((0x70, 0x71, 0x72, 0x73, 0xF0, 0xF2)), st.binary(max_size=64))
def test_arbitrary_sense_data_is_read_the_same_after_rebuilding(response_code: int, tail: bytes) -> None:
    sense = parse_sense(bytes((response_code,)) + tail)
    assert sense is not None
    sense_format = SenseFormat(response_code & 0x7E)
    again = parse_sense(sense.build(sense_format))
    assert again is not None
    assert (again.key, again.code, again.deferred) == (sense.key, sense.code, sense.deferred)
    assert again.information == sense.information
    assert str(again) == str(sense)


@pytest.mark.parametrize("cut", range(1, 18))
def test_fixed_sense_that_is_cut_off_reads_as_far_as_it_goes(cut: int) -> None:
    sense = parse_sense(bytes.fromhex(FULL_FIXED)[:cut])
    assert sense is not None
    assert sense.key == (5 if cut > 2 else 0)
    assert sense.asc == (0x24 if cut > 12 else 0)
    assert bool(sense.sense_key_specific) == (cut > 15)


def test_the_additional_length_ends_fixed_sense() -> None:
    sense = parse_sense(bytes.fromhex("7000050000000006000000002400000000000000"))
    assert sense is not None
    assert (sense.asc, sense.field_pointer) == (0x24, None)
    short = parse_sense(bytes.fromhex("700005000000000400000000240000000000"))
    assert short is not None
    assert short.asc == 0


def test_values_beyond_32_bits_are_left_out_of_the_fixed_format() -> None:
    sense = Sense(key=SenseKey.MEDIUM_ERROR, code=0x1100, information=1 << 32, command_specific=1 << 32)
    fixed = parse_sense(sense.build())
    assert fixed == Sense(key=SenseKey.MEDIUM_ERROR, code=0x1100, command_specific=0)
    assert parse_sense(sense.build(SenseFormat.DESCRIPTOR)) == sense


def test_absent_parts_make_no_descriptors() -> None:
    sense = Sense(key=SenseKey.NO_SENSE)
    assert sense.build(SenseFormat.DESCRIPTOR).hex() == "7200000000000000"
    assert parse_sense(bytes.fromhex("7200000000000000")) == sense


def test_tape_bits_use_the_stream_descriptor() -> None:
    sense = Sense(key=SenseKey.NO_SENSE, filemark=True, incorrect_length=True)
    assert sense.build(SenseFormat.DESCRIPTOR).hex() == "7200000000000004040200a0"
    assert parse_sense(sense.build(SenseFormat.DESCRIPTOR)) == sense


@pytest.mark.parametrize(
    ("descriptors", "kept"),
    [
        ("8002abcd", "8002abcd"),  # vendor specific
        ("00020000", "00020000"),  # information, far too short
        ("8004ab", "8004ab"),  # cut off within
        ("80", "80"),  # not even a length
        ("030200010302000203020003", "0302000203020003"),  # the first counts, the others are kept
    ],
)
def test_descriptors_that_are_not_understood_are_kept(descriptors: str, kept: str) -> None:
    raw = bytes.fromhex(descriptors)
    sense = parse_sense(bytes((0x72, 5, 0x24, 0, 0, 0, 0, len(raw))) + raw)
    assert sense is not None
    assert sense.other_descriptors.hex() == kept
    assert parse_sense(sense.build(SenseFormat.DESCRIPTOR)) == sense


def test_invalid_marks_in_descriptors_are_honoured() -> None:
    information = "000a0000" + "00" * 7 + "05"
    specific = "02060000" + "40000700"
    raw = bytes.fromhex(information + specific)
    sense = parse_sense(bytes((0x72, 5, 0x24, 0, 0, 0, 0, len(raw))) + raw)
    assert sense == illegal_request(0x2400)


@pytest.mark.parametrize(
    "pointer",
    [FieldPointer(byte=0), FieldPointer(byte=65535, bit=0), FieldPointer(byte=4, bit=7, in_cdb=False)],
)
def test_field_pointers_survive(pointer: FieldPointer) -> None:
    sense = illegal_request(AdditionalSense.INVALID_FIELD_IN_CDB, pointer.byte, pointer.bit, in_cdb=pointer.in_cdb)
    for sense_format in SenseFormat:
        read = parse_sense(sense.build(sense_format))
        assert read is not None
        assert read.field_pointer == pointer


def test_only_an_illegal_request_has_a_field_pointer() -> None:
    assert illegal_request(0x2000).field_pointer is None
    busy = Sense(key=SenseKey.NOT_READY, code=0x0404, sense_key_specific=progress(0.5))
    assert busy.field_pointer is None


@pytest.mark.parametrize(("fraction", "text"), [(0, "800000"), (0.5, "808000"), (1, "80ffff")])
def test_progress_is_in_65536ths(fraction: float, text: str) -> None:
    assert progress(fraction).hex() == text


@pytest.mark.parametrize(
    "pointer",
    [FieldPointer(byte=-1), FieldPointer(byte=65536), FieldPointer(byte=0, bit=8), FieldPointer(byte=0, bit=-1)],
)
def test_a_pointer_that_does_not_fit_is_refused(pointer: FieldPointer) -> None:
    with pytest.raises(ValueError, match="pointer is 0 to"):
        pointer.build()


@pytest.mark.parametrize(
    "sense",
    [
        Sense(key=16),
        Sense(key=-1),
        Sense(key=0, code=0x10000),
        Sense(key=0, sense_key_specific=b"\x80"),
        Sense(key=0, information=1 << 64),
        Sense(key=0, command_specific=-1),
    ],
)
def test_sense_that_does_not_fit_is_refused(sense: Sense) -> None:
    with pytest.raises(ValueError, match="sense key"):
        sense.build()


def test_sense_data_has_an_upper_length() -> None:
    long = Sense(key=0, other_descriptors=b"\x80\xf2" + bytes(242))
    assert len(long.build(SenseFormat.DESCRIPTOR)) == 252
    with pytest.raises(ValueError, match="at most 252"):
        Sense(key=0, other_descriptors=b"\x80\xf3" + bytes(243)).build(SenseFormat.DESCRIPTOR)


def test_names_for_people() -> None:
    assert str(Sense(key=5, code=0x2400, deferred=True)) == "deferred: ILLEGAL REQUEST, INVALID FIELD IN CDB"
    assert str(Sense(key=0xC, code=0xFE01)) == "sense key 0xc, ASC 0xfe ASCQ 0x01"
    assert sense_key_name(SenseKey.MISCOMPARE) == "MISCOMPARE"
    assert additional_sense_name(0x2907) == "I_T NEXUS LOSS OCCURRED"
    assert status_name(Status.CHECK_CONDITION) == "CHECK CONDITION"
    assert status_name(0x99) == "status 0x99"


def test_status_codes() -> None:
    assert {status.name: status.value for status in Status} == {
        "GOOD": 0x00,
        "CHECK_CONDITION": 0x02,
        "CONDITION_MET": 0x04,
        "BUSY": 0x08,
        "RESERVATION_CONFLICT": 0x18,
        "TASK_SET_FULL": 0x28,
        "ACA_ACTIVE": 0x30,
        "TASK_ABORTED": 0x40,
    }
