"""CDBs by the command table: held against bytes of foreign initiators and against hand-typed rows."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.scsi import cdb, opcodes
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.command import Command, Direction
from iscsi_protocol.scsi.fields import At, FieldValueError, LayoutError
from iscsi_protocol.scsi.sense import FieldPointer

NONE, IN, OUT, BIDI = Direction.NONE, Direction.IN, Direction.OUT, Direction.BIDI

# CDBs and expected data transfer lengths as Linux and libiscsi put them on the wire, 512-byte blocks
RECORDED = [
    ("00000000000000000000000000000000", NONE, 0, "TEST UNIT READY"),
    ("12000000240000000000000000000000", IN, 36, "INQUIRY"),
    ("12010000040000000000000000000000", IN, 4, "INQUIRY"),
    ("1a003f00040000000000000000000000", IN, 4, "MODE SENSE(6)"),
    ("28000000000000000800000000000000", IN, 4096, "READ(10)"),
    ("2a000000000000020000000000000000", OUT, 262144, "WRITE(10)"),
    ("2a080000000200000200000000000000", OUT, 1024, "WRITE(10)"),
    ("35000000000000000000000000000000", NONE, 0, "SYNCHRONIZE CACHE(10)"),
    ("42000000000000001800000000000000", OUT, 24, "UNMAP"),
    ("9300000000000001ff80000000800000", OUT, 512, "WRITE SAME(16)"),
    ("9308000000000000022c000003fa0000", OUT, 512, "WRITE SAME(16)"),
    ("9e100000000000000000000000200000", IN, 32, "READ CAPACITY(16)"),
    ("a0000000000000000010000000000000", IN, 16, "REPORT LUNS"),
    ("a30c011200000000000a000000000000", IN, 10, "REPORT SUPPORTED OPERATION CODES"),
]

# built by field names on the left, typed from the standards' tables on the right
BUILT = [
    (opcodes.TEST_UNIT_READY, {}, "000000000000", NONE, 0),
    (opcodes.REQUEST_SENSE, {"desc": 1, "allocation_length": 252}, "03010000fc00", IN, 252),
    (opcodes.INQUIRY, {"evpd": 1, "page_code": 0x83, "allocation_length": 0x1234}, "120183123400", IN, 0x1234),
    (
        opcodes.MODE_SENSE_6,
        {"dbd": 1, "page_control": 2, "page_code": 8, "allocation_length": 9},
        "1a0888000900",
        IN,
        9,
    ),
    (opcodes.MODE_SENSE_10, {"llbaa": 1, "page_code": 0x3F}, "5a103f00000000000000", IN, 0),
    (opcodes.MODE_SELECT_6, {"pf": 1, "sp": 1, "parameter_list_length": 24}, "151100001800", OUT, 24),
    (opcodes.MODE_SELECT_10, {"pf": 1, "parameter_list_length": 28}, "55100000000000001c00", OUT, 28),
    (opcodes.READ_6, {"lba": 0x1FFFFF, "blocks": 1}, "081fffff0100", IN, 512),
    (opcodes.READ_6, {"lba": 1, "blocks": 0}, "080000010000", IN, 256 * 512),
    (opcodes.WRITE_6, {"blocks": 0}, "0a0000000000", OUT, 256 * 512),
    (opcodes.READ_10, {"rdprotect": 7, "lba": 0x01020304, "blocks": 5}, "28e00102030400000500", IN, 5 * 512),
    (opcodes.READ_12, {"lba": 1, "blocks": 0x10000}, "a80000000001000100000000", IN, 0x10000 * 512),
    (opcodes.READ_16, {"dpo": 1, "fua": 1, "lba": 1 << 40, "blocks": 2}, "88180000010000000000000000020000", IN, 1024),
    (
        opcodes.READ_32,
        {"fua": 1, "lba": 5, "blocks": 3},
        "7f000000000000180009080000000000000000050000000000000000" + "00000003",
        IN,
        1536,
    ),
    (opcodes.WRITE_10, {"group_number": 0x1F, "blocks": 1}, "2a00000000001f000100", OUT, 512),
    (opcodes.WRITE_12, {"group_number": 0x1F}, "aa0000000000000000001f00", OUT, 0),
    (opcodes.WRITE_16, {"control": 4, "blocks": 1}, "8a000000000000000000000000010004", OUT, 512),
    (opcodes.VERIFY_10, {"blocks": 9}, "2f000000000000000900", NONE, 0),
    (opcodes.VERIFY_10, {"bytchk": 1, "blocks": 9}, "2f020000000000000900", OUT, 9 * 512),
    (opcodes.VERIFY_16, {"bytchk": 3, "blocks": 9}, "8f060000000000000000000000090000", OUT, 512),
    (opcodes.VERIFY_12, {"bytchk": 2, "blocks": 9}, "af0400000000000000090000", NONE, 0),
    (opcodes.WRITE_AND_VERIFY_10, {"blocks": 2}, "2e000000000000000200", OUT, 1024),
    (opcodes.WRITE_AND_VERIFY_16, {"bytchk": 1, "blocks": 2}, "8e020000000000000000000000020000", OUT, 1024),
    (opcodes.WRITE_SAME_10, {"unmap": 1, "blocks": 100}, "41080000000000006400", OUT, 512),
    (opcodes.WRITE_SAME_16, {"ndob": 1, "blocks": 100}, "93010000000000000000000000640000", NONE, 0),
    (opcodes.COMPARE_AND_WRITE, {"lba": 7, "blocks": 3}, "89000000000000000007000000030000", OUT, 3072),
    (opcodes.OR_WRITE_16, {"blocks": 3}, "8b000000000000000000000000030000", OUT, 1536),
    (opcodes.WRITE_ATOMIC_16, {"blocks": 3}, "9c000000000000000000000000030000", OUT, 1536),
    (opcodes.XDWRITEREAD_10, {"blocks": 3}, "53000000000000000300", BIDI, 1536),
    (opcodes.PRE_FETCH_10, {"immed": 1, "blocks": 3}, "34020000000000000300", NONE, 0),
    (opcodes.PRE_FETCH_16, {"lba": 1}, "90000000000000000001000000000000", NONE, 0),
    (opcodes.SYNCHRONIZE_CACHE_16, {"immed": 1}, "91020000000000000000000000000000", NONE, 0),
    (opcodes.UNMAP, {"anchor": 1, "parameter_list_length": 24}, "42010000000000001800", OUT, 24),
    (opcodes.READ_CAPACITY_10, {}, "25000000000000000000", IN, 8),
    (opcodes.GET_LBA_STATUS, {"lba": 1, "allocation_length": 24}, "9e120000000000000001000000180000", IN, 24),
    (opcodes.REPORT_LUNS, {"select_report": 2, "allocation_length": 16}, "a00002000000000000100000", IN, 16),
    (opcodes.START_STOP_UNIT, {"immed": 1, "loej": 1, "start": 1}, "1b0100000300", NONE, 0),
    (opcodes.PREVENT_ALLOW_MEDIUM_REMOVAL, {"prevent": 1}, "1e0000000100", NONE, 0),
    (
        opcodes.SANITIZE_BLOCK_ERASE,
        {"immed": 1, "ause": 1, "parameter_list_length": 4},
        "48a20000000000000400",
        OUT,
        4,
    ),
    (
        opcodes.LOG_SENSE,
        {"page_control": 1, "page_code": 0x0D, "allocation_length": 64},
        "4d004d00000000004000",
        IN,
        64,
    ),
    (opcodes.READ_FULL_STATUS, {"allocation_length": 8}, "5e030000000000000800", IN, 8),
    (opcodes.RESERVE, {"type": 5, "parameter_list_length": 24}, "5f010500000000001800", OUT, 24),
    (opcodes.RESERVE_6, {}, "160000000000", NONE, 0),
    (opcodes.RELEASE_10, {}, "57000000000000000000", OUT, 0),
    (opcodes.REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS, {"repd": 1}, "a30d80000000000000000000", IN, 0),
    (
        opcodes.REPORT_TARGET_PORT_GROUPS,
        {"parameter_data_format": 1, "allocation_length": 128},
        "a32a00000000000000800000",
        IN,
        128,
    ),
    (opcodes.SET_TARGET_PORT_GROUPS, {"parameter_list_length": 8}, "a40a00000000000000080000", OUT, 8),
    (opcodes.REPORT_IDENTIFYING_INFORMATION, {"information_type": 1}, "a30500000000000000000200", IN, 0),
    (opcodes.EXTENDED_COPY_LID1, {"parameter_list_length": 88}, "83000000000000000000000000580000", OUT, 88),
    (
        opcodes.RECEIVE_COPY_OPERATING_PARAMETERS,
        {"allocation_length": 1024},
        "84030000000000000000000004000000",
        IN,
        1024,
    ),
    (opcodes.COPY_OPERATION_ABORT, {"list_identifier": 5}, "831c0000000500000000000000000000", NONE, 0),
    (opcodes.READ_LONG_10, {"correct": 1, "byte_transfer_length": 520}, "3e020000000000020800", IN, 520),
    (opcodes.READ_LONG_16, {"correct": 1, "byte_transfer_length": 520}, "9e110000000000000000000002080100", IN, 520),
    (opcodes.WRITE_LONG_10, {"wr_uncor": 1, "byte_transfer_length": 520}, "3f400000000000020800", NONE, 0),
    (opcodes.WRITE_LONG_16, {"byte_transfer_length": 520}, "9f110000000000000000000002080000", OUT, 520),
    (opcodes.WRITE_BUFFER, {"mode": 2, "parameter_list_length": 0x010203}, "3b020000000001020300", OUT, 0x010203),
]


@pytest.mark.parametrize(("text", "direction", "length", "name"), RECORDED)
def test_cdbs_of_foreign_initiators_are_understood(text: str, direction: Direction, length: int, name: str) -> None:
    raw = bytes.fromhex(text)
    assert cdb.transfer(raw, 512) == (direction, length)
    assert cdb.opcode_name(raw) == name
    assert not any(cdb.parse(raw).stray)


@pytest.mark.parametrize(("command", "fields", "text", "direction", "length"), BUILT)
def test_layouts_are_those_of_the_standards(
    command: Command, fields: dict[str, int], text: str, direction: Direction, length: int
) -> None:
    raw = command.build(**fields)
    assert raw.hex() == text
    assert cdb.transfer(raw, 512) == (direction, length)
    read = cdb.parse(raw)
    assert read.command is command
    assert {name: value for name, value in read.fields.items() if value} == {n: v for n, v in fields.items() if v}


def test_no_two_rows_are_for_the_same_cdb() -> None:
    keys = [(command.opcode, command.service_action) for command in opcodes.COMMANDS]
    assert len(set(keys)) == len(keys)
    split = {opcode for opcode, action in keys if action is not None}
    assert not split & {opcode for opcode, action in keys if action is None}
    assert split == set(opcodes.OPCODE_NAMES)
    assert len({command.name for command in opcodes.COMMANDS}) == len(keys)


@pytest.mark.parametrize("command", opcodes.COMMANDS, ids=lambda command: command.name)
def test_every_row_is_found_named_and_as_long_as_its_group_says(command: Command) -> None:
    raw = command.build().ljust(16, b"\0")
    assert cdb.find(raw) is command
    assert cdb.opcode_name(raw) == command.name
    assert cdb.cdb_length(raw) == command.length
    assert cdb.service_action(raw) == command.service_action


@given(st.data(), st.sampled_from(opcodes.COMMANDS), st.binary(max_size=5), st.binary(max_size=5))
def test_what_is_built_is_read_back_anywhere(
    data: st.DataObject, command: Command, before: bytes, after: bytes
) -> None:
    fields = {name: data.draw(st.integers(0, at.maximum)) for name, at in command.fields.items()}
    raw = before + command.build(**fields) + after
    read = cdb.parse(memoryview(raw), len(before))
    assert read.command is command
    assert read.fields == fields
    assert read.stray == bytes(command.length)
    assert cdb.transfer(raw, 4096, len(before)) == command.data(command.build(**fields), 4096)


@given(st.sampled_from(opcodes.COMMANDS), st.binary(min_size=32, max_size=32))
def test_no_bit_of_a_cdb_is_lost(command: Command, noise: bytes) -> None:
    at = command.constants[-1][0] if command.constants else None
    raw = bytearray(noise[: command.length])
    raw[0] = command.opcode
    if at is not None:
        at.put(raw, command.service_action or 0)
    if command.opcode == opcodes.VARIABLE_LENGTH:
        raw[7] = command.length - 8
    read = cdb.parse(raw)
    assert read.command is command
    rebuilt = command.build(**read.fields)
    assert bytes(a | b for a, b in zip(rebuilt, read.stray, strict=True)) == raw
    assert not any(a & b for a, b in zip(rebuilt, read.stray, strict=True))


@given(st.binary(max_size=40), st.integers(0, 45))
def test_arbitrary_bytes_never_break_the_lenient_readers(raw: bytes, offset: int) -> None:
    assert cdb.opcode_name(raw, offset)
    cdb.cdb_length(raw, offset)
    found = cdb.find(raw, offset)
    assert (cdb.transfer(raw, 512, offset) is None) == (found is None)
    if found is None:
        with pytest.raises(cdb.CdbError):
            cdb.parse(raw, offset)


@given(st.sampled_from([c for c in opcodes.COMMANDS if {"lba", "blocks"} <= set(c.fields)]), st.data())
def test_block_range_agrees_with_the_fields(command: Command, data: st.DataObject) -> None:
    lba = data.draw(st.integers(0, command.fields["lba"].maximum))
    blocks = data.draw(st.integers(0, command.fields["blocks"].maximum))
    raw = b"\xff" * 7 + command.build(lba=lba, blocks=blocks)
    wanted = 256 if blocks == 0 and command in (opcodes.READ_6, opcodes.WRITE_6) else blocks
    assert cdb.block_range(raw, 7) == (lba, wanted)


def test_the_hot_commands_are_read_by_a_bare_struct() -> None:
    hot = (0x28, 0x2A, 0xA8, 0xAA, 0x88, 0x8A)
    raw = bytes(32) + opcodes.WRITE_16.build(lba=1 << 63, blocks=0xFFFFFFFF)
    assert all(cdb.BLOCK_RANGE[opcode] is not None for opcode in hot)
    reader = cdb.BLOCK_RANGE[0x8A]
    assert reader is not None
    assert reader(memoryview(raw), 32) == (1 << 63, 0xFFFFFFFF)
    assert cdb.BLOCK_RANGE[0x08] is None
    assert cdb.BLOCK_RANGE[0x12] is None
    with pytest.raises(struct.error):
        cdb.block_range(raw[:40], 32)


def test_zero_means_256_in_the_six_byte_commands_alone() -> None:
    assert cdb.block_range(opcodes.READ_6.build()) == (0, 256)
    assert cdb.block_range(opcodes.READ_10.build()) == (0, 0)
    assert cdb.block_range(opcodes.READ_32.build()) == (0, 0)


@pytest.mark.parametrize("raw", [opcodes.INQUIRY.build(), opcodes.GET_LBA_STATUS.build(), b"\xc1" + bytes(15)])
def test_a_command_without_blocks_has_no_range(raw: bytes) -> None:
    with pytest.raises(cdb.NoBlockRange) as caught:
        cdb.block_range(raw)
    assert caught.value.sense.code == AdditionalSense.INVALID_COMMAND_OPERATION_CODE


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("00", 6),
        ("1f", 6),
        ("20", 10),
        ("5f", 10),
        ("60", None),
        ("7e", None),
        ("80", 16),
        ("9f", 16),
        ("a0", 12),
        ("bf", 12),
        ("c0", None),
        ("ff", None),
        ("7f000000000000180009", 32),
        ("7f000000000000f8", 256),
        ("7f000000000000", None),
        ("", None),
    ],
)
def test_length_comes_from_the_group_code(text: str, length: int | None) -> None:
    assert cdb.cdb_length(b"\x12" + bytes.fromhex(text), 1) == length


def refusal(text: str) -> cdb.CdbError:
    with pytest.raises(cdb.CdbError) as caught:
        cdb.parse(bytes.fromhex(text))
    return caught.value


def test_an_unknown_opcode_is_answered_with_invalid_opcode() -> None:
    error = refusal("c1" + "00" * 15)
    assert type(error) is cdb.UnknownOpcode
    assert error.sense.code == AdditionalSense.INVALID_COMMAND_OPERATION_CODE
    assert error.sense.field_pointer == FieldPointer(byte=0)
    assert cdb.service_action(b"\xc1\x00") is None


@pytest.mark.parametrize(
    ("text", "pointer", "name"),
    [
        ("a31e" + "00" * 14, FieldPointer(byte=1, bit=4), "MAINTENANCE IN service action 0x1e"),
        (
            "7f000000000000180019" + "00" * 22,
            FieldPointer(byte=8, bit=7),
            "VARIABLE LENGTH CDB service action 0x19",
        ),
    ],
)
def test_an_unknown_service_action_is_an_invalid_field(text: str, pointer: FieldPointer, name: str) -> None:
    error = refusal(text)
    assert type(error) is cdb.UnknownServiceAction
    assert error.sense.code == AdditionalSense.INVALID_FIELD_IN_CDB
    assert error.sense.field_pointer == pointer
    assert cdb.opcode_name(bytes.fromhex(text)) == name
    assert str(error) == f"{name} is no command of the table"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "empty CDB"),
        ("28000000", "READ(10)"),
        ("9e", "SERVICE ACTION IN(16)"),
        ("7f00000000000018", "VARIABLE LENGTH CDB"),
        ("7f000000000000180009", "READ(32)"),
        ("7f000000000000140009" + "00" * 22, "READ(32)"),
    ],
)
def test_a_cdb_that_ends_too_early_is_no_command(text: str, name: str) -> None:
    error = refusal(text)
    assert type(error) is cdb.TruncatedCdb
    assert error.sense.code == AdditionalSense.INVALID_FIELD_IN_CDB
    assert cdb.opcode_name(bytes.fromhex(text)) == name
    assert cdb.transfer(bytes.fromhex(text), 512) is None


def test_reserved_bits_are_reported() -> None:
    raw = bytearray(opcodes.READ_10.build(lba=1))
    raw[6] |= 0x80
    assert cdb.parse(raw).stray.hex() == "00000000000080000000"


def test_building_refuses_what_does_not_fit() -> None:
    with pytest.raises(FieldValueError, match=r"READ\(10\) has no field page; it has rdprotect"):
        opcodes.READ_10.build(page=1)
    with pytest.raises(FieldValueError, match="blocks takes 0 to 0xffff, got 0x10000"):
        opcodes.READ_10.build(blocks=0x10000)
    with pytest.raises(FieldValueError, match="lba"):
        opcodes.READ_10.build(lba=-1)


def test_usage_data_has_the_opcode_the_service_action_and_a_mask() -> None:
    assert opcodes.TEST_UNIT_READY.usage().hex() == "0000000000ff"
    assert opcodes.READ_10.usage().hex() == "28ffffffffff1fffffff"
    assert opcodes.READ_CAPACITY_16.usage().hex() == "9e10ffffffffffffffffffffffff01ff"
    assert opcodes.READ_32.usage()[:11].hex() == "7fff000000001f180009fe"


def test_a_row_cannot_claim_a_bit_twice_or_beyond_its_end() -> None:
    lba = opcodes.READ_6.fields["lba"]
    with pytest.raises(LayoutError, match="flag overlaps"):
        Command(name="X", opcode=1, length=6, fields={"lba": lba, "flag": At(3, 1, 0x01)})
    with pytest.raises(LayoutError, match="opcode overlaps"):
        Command(name="X", opcode=1, length=6, fields={"opcode": At(0, 1, 0x01)})
    with pytest.raises(LayoutError, match="lba does not fit"):
        Command(name="X", opcode=1, length=3, fields={"lba": lba})
    with pytest.raises(LayoutError, match="wide does not fit"):
        Command(name="X", opcode=1, length=6, fields={"wide": At(3, 1, 0x100)})
