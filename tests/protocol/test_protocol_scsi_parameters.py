"""Capacity, LUN lists, provisioning and supported commands, held against hand-typed bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.capacity import (
    ReadCapacity10,
    ReadCapacity16,
    SelectReport,
    build_luns,
    capacity_10,
    parse_luns,
)
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_protocol.scsi.provisioning import (
    LbaStatus,
    ParameterListError,
    ProvisioningStatus,
    build_lba_status,
    build_unmap,
    parse_lba_status,
    parse_unmap,
)
from iscsi_protocol.scsi.supported import (
    CommandDescriptor,
    CommandTimeouts,
    OneCommand,
    ReportingOptions,
    Support,
    SupportedTaskManagement,
    build_all_commands,
    parse_all_commands,
    parse_one_command,
)


def test_capacities_have_the_bytes_of_the_standard() -> None:
    assert ReadCapacity10(last_lba=0x01020304, block_length=512).build().hex() == "0102030400000200"
    made = ReadCapacity16(
        last_lba=1 << 33,
        block_length=4096,
        protection_type=1,
        protection_enabled=True,
        protection_intervals_exponent=2,
        logical_blocks_per_physical_block_exponent=3,
        provisioning_management_enabled=True,
        provisioning_read_zeros=True,
        lowest_aligned_lba=5,
    )
    assert made.build().hex() == "0000000200000000" + "00001000" + "0323c005" + "00" * 16
    assert ReadCapacity16.parse(made.build()[:12]) == ReadCapacity16(last_lba=1 << 33, block_length=4096)


@pytest.mark.parametrize(
    ("blocks", "last_lba"),
    [(1, 0), (0xFFFFFFFF, 0xFFFFFFFE), (0x100000000, 0xFFFFFFFF), (1 << 40, 0xFFFFFFFF)],
)
def test_the_short_capacity_saturates(blocks: int, last_lba: int) -> None:
    assert capacity_10(blocks, 512) == ReadCapacity10(last_lba=last_lba, block_length=512)


def test_a_lun_list_has_the_bytes_of_the_standard() -> None:
    raw = build_luns([encode_lun(0), encode_lun(256)])
    assert raw.hex() == "0000001000000000" + "0000000000000000" + "4100000000000000"
    assert build_luns([]).hex() == "0000000000000000"
    assert (SelectReport.LUNS, SelectReport.WELL_KNOWN, SelectReport.ALL) == (0, 1, 2)


@given(st.lists(st.binary(min_size=8, max_size=8), max_size=5), st.integers(0, 60))
def test_a_lun_list_survives_and_may_be_cut_off(luns: list[bytes], cut: int) -> None:
    raw = build_luns(luns)
    assert parse_luns(memoryview(raw + b"\xa5" * 9)) == (8 * len(luns), luns)
    there = raw[:cut]
    whole = max(len(there) - 8, 0) // 8
    length, read = parse_luns(there)
    assert read == luns[:whole]
    assert length == (8 * len(luns) if cut >= 4 else 0)


def test_lba_status_has_the_bytes_of_the_standard() -> None:
    ranges = [
        LbaStatus(lba=1, blocks=2, status=ProvisioningStatus.DEALLOCATED),
        LbaStatus(lba=3, blocks=4, status=ProvisioningStatus.ANCHORED),
    ]
    raw = build_lba_status(ranges)
    assert raw.hex() == (
        "0000002400000000" + "0000000000000001" + "00000002" + "01000000" + "0000000000000003" + "00000004" + "02000000"
    )
    assert parse_lba_status(raw) == ranges
    assert parse_lba_status(raw + bytes(16)) == ranges
    assert parse_lba_status(raw[:39]) == ranges[:1]
    assert parse_lba_status(b"") == []
    assert parse_lba_status(build_lba_status([])) == []


def test_an_unmap_list_has_the_bytes_of_the_standard() -> None:
    raw = build_unmap([(1, 2), (3, 4)])
    assert raw.hex() == (
        "0026002000000000" + "0000000000000001" + "00000002" + "00000000" + "0000000000000003" + "00000004" + "00000000"
    )


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)), max_size=5), st.binary(max_size=9))
def test_an_unmap_list_survives(ranges: list[tuple[int, int]], after: bytes) -> None:
    assert parse_unmap(memoryview(build_unmap(ranges) + after)) == ranges


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("", []),
        ("0006000000000000", []),
        ("0015000f00000000" + "00" * 15, []),  # less than one descriptor
        ("0025001f00000000" + "00" * 7 + "0500000006" + "00" * 19, [(5, 6)]),  # the second is incomplete
        ("0006001000000000" + "00" * 16, [(0, 0)]),  # the outer length is not what counts
        ("0016001000000000" + "00" * 15, []),  # the list ends within its only descriptor
        ("0026002000000000" + "00" * 7 + "0500000006" + "00" * 5, [(5, 6)]),  # it ends behind the first one
        ("0026002000000000" + "00" * 7 + "0500000006" + "00" * 19, [(5, 6)]),  # it ends within the second one
    ],
)
def test_odd_unmap_lists_are_read_as_the_standard_has_it(text: str, ranges: list[tuple[int, int]]) -> None:
    assert parse_unmap(bytes.fromhex(text)) == ranges


@pytest.mark.parametrize("text", ["00", "00060000000000", "00160010000000"])
def test_unmap_lists_that_are_too_short_are_refused(text: str) -> None:
    with pytest.raises(ParameterListError, match="is too short") as caught:
        parse_unmap(bytes.fromhex(text))
    assert caught.value.sense.code == AdditionalSense.PARAMETER_LIST_LENGTH_ERROR


COMMANDS = [opcodes.READ_10, opcodes.READ_CAPACITY_16, opcodes.READ_KEYS, opcodes.READ_32]
DESCRIPTORS = ["280000000000000a", "9e0000100001" + "0010", "5e0000000001000a", "7f0000090001" + "0020"]


def test_all_commands_have_the_bytes_of_the_standard() -> None:
    raw = build_all_commands(COMMANDS)
    assert raw.hex() == "00000020" + "".join(DESCRIPTORS)
    read = parse_all_commands(raw + bytes(8))
    assert [(each.opcode, each.service_action, each.cdb_length) for each, _ in read] == [
        (command.opcode, command.service_action or 0, command.length) for command in COMMANDS
    ]
    assert [each.has_service_action for each, _ in read] == [False, True, True, True]
    assert all(timeouts is None for _, timeouts in read)


def test_all_commands_with_timeouts() -> None:
    timeouts = CommandTimeouts(nominal=1, recommended=30, command_specific=2)
    raw = build_all_commands(COMMANDS[:2], timeouts)
    wire = "000a0002" + "00000001" + "0000001e"
    assert raw.hex() == "00000028" + "280000000002000a" + wire + "9e00001000030010" + wire
    read = parse_all_commands(memoryview(raw))
    assert [each.opcode for each, _ in read] == [0x28, 0x9E]
    assert [each for _, each in read] == [timeouts, timeouts]


@given(st.integers(0, 44))
def test_all_commands_may_be_cut_off(cut: int) -> None:
    raw = build_all_commands(COMMANDS[:2], CommandTimeouts(nominal=1))
    read = parse_all_commands(raw[:cut])
    assert len(read) == (2 if cut >= 32 else 1 if cut >= 12 else 0)


@given(st.binary(max_size=60))
def test_arbitrary_command_lists_are_read(raw: bytes) -> None:
    assert len(parse_all_commands(raw)) <= len(raw) // 8
    assert all(isinstance(each, CommandDescriptor) for each, _ in parse_all_commands(raw))
    assert parse_one_command(raw).support <= 7


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (OneCommand(support=Support.NOT_SUPPORTED), "00010000"),
        (
            OneCommand(support=Support.STANDARD, usage=opcodes.READ_10.usage()),
            "0003000a" + "28ffffffffff1fffffff",
        ),
        (
            OneCommand(
                support=Support.STANDARD,
                usage=opcodes.TEST_UNIT_READY.usage(),
                timeouts=CommandTimeouts(recommended=5),
            ),
            "00830006" + "0000000000ff" + "000a0000" + "00000000" + "00000005",
        ),
    ],
)
def test_one_command_has_the_bytes_of_the_standard(made: OneCommand, text: str) -> None:
    assert made.build().hex() == text
    assert parse_one_command(memoryview(bytes.fromhex(text))) == made


def test_one_command_that_is_cut_off() -> None:
    raw = bytes.fromhex("00830006" + "0000")
    assert parse_one_command(raw) == OneCommand(support=3, usage=b"\0\0", timeouts=CommandTimeouts(descriptor_length=0))
    assert parse_one_command(b"") == OneCommand(support=0)


def test_task_management_support_has_the_bytes_of_the_standard() -> None:
    made = SupportedTaskManagement(
        abort_task=True,
        abort_task_set=True,
        clear_task_set=True,
        logical_unit_reset=True,
        i_t_nexus_reset=True,
        timeouts_valid=True,
        logical_unit_reset_timeout=True,
        i_t_nexus_reset_timeout=True,
        long_timeout=600,
        short_timeout=10,
    )
    assert made.build().hex() == "d801000c" + "01000801" + "00000258" + "0000000a"
    assert made.build_short().hex() == "d8010000"
    assert SupportedTaskManagement.parse(made.build()) == made
    short = SupportedTaskManagement.parse(made.build_short())
    assert (short.abort_task, short.query_task, short.additional_length) == (True, False, 0)


def test_query_functions_have_their_bits() -> None:
    made = SupportedTaskManagement(query_task=True, query_task_set=True, query_asynchronous_event=True, clear_aca=True)
    assert made.build_short().hex() == "24060000"


def test_reporting_options() -> None:
    assert [option.value for option in ReportingOptions] == [0, 1, 2, 3]
