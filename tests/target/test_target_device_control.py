"""Mode parameters, medium, unit attentions, sense data, capacity, and what the device server says that it can."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.capacity import ReadCapacity10, ReadCapacity16
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.mode import (
    DPO_FUA,
    WRITE_PROTECT,
    CachingPage,
    ControlPage,
    InformationalExceptionsControlPage,
    LongBlockDescriptor,
    ModeHeader6,
    ModePage,
    ModeParameters,
    ReadWriteErrorRecoveryPage,
    ShortBlockDescriptor,
    parse_mode,
)
from iscsi_protocol.scsi.mode_pages import DisconnectReconnectPage, PowerConditionPage
from iscsi_protocol.scsi.sense import FieldPointer, Sense, parse_sense
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.scsi.supported import (
    ReportingOptions,
    Support,
    SupportedTaskManagement,
    parse_all_commands,
    parse_one_command,
)
from iscsi_target.config import LunConfig, Size, TargetNode
from iscsi_target.device import open_device
from iscsi_target.device.maintenance import usage
from iscsi_target.device.table import ROWS
from iscsi_target.luns import LunError

ILLEGAL = SenseKey.ILLEGAL_REQUEST
INVALID_FIELD = (ILLEGAL, AdditionalSense.INVALID_FIELD_IN_CDB)
BAD_PARAMETER = (ILLEGAL, AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST)
TOO_SHORT = (ILLEGAL, AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
UNKNOWN = (ILLEGAL, AdditionalSense.INVALID_COMMAND_OPERATION_CODE)
STOPPED = (SenseKey.NOT_READY, AdditionalSense.LOGICAL_UNIT_NOT_READY_INITIALIZING_COMMAND_REQUIRED)
EMPTY = (SenseKey.NOT_READY, AdditionalSense.MEDIUM_NOT_PRESENT)
SENSES = {6: op.MODE_SENSE_6, 10: op.MODE_SENSE_10}
SELECTS = {6: op.MODE_SELECT_6, 10: op.MODE_SELECT_10}
PAGES: list[type[ModePage]] = [
    ReadWriteErrorRecoveryPage,
    DisconnectReconnectPage,
    CachingPage,
    ControlPage,
    PowerConditionPage,
    InformationalExceptionsControlPage,
]
CHANGEABLE: dict[type[ModePage], bytes] = {
    CachingPage: bytes((0, 0, 4)),
    ControlPage: bytes((0, 0, 4, 0, 8, 0x40)),
    InformationalExceptionsControlPage: bytes((0, 0, 0x0C)),
}

both_sizes = pytest.mark.parametrize("size", [6, 10])


def sense_of(data: bytes) -> Sense:
    found = parse_sense(data)
    assert found is not None
    return found


def pointer(data: bytes) -> FieldPointer:
    found = sense_of(data).field_pointer
    assert found is not None
    return found


def mode(disk, size=10, page_code=0x3F, **fields):
    data = disk.good(SENSES[size], page_code=page_code, allocation_length=255, **fields)
    return parse_mode(data, size)


def select(disk, size, *pages, descriptors=b"", long_lba=False, **fields):
    """MODE SELECT of whole pages; the completion."""
    parameters = ModeParameters(block_descriptors=descriptors, pages=pages, long_lba=long_lba)
    data = parameters.build(size, select=True)
    return disk.run(SELECTS[size], data, parameter_list_length=len(data), **({"pf": 1} | fields))


def refused(completion):
    sense = sense_of(completion.sense)
    return sense.key, sense.code


@both_sizes
def test_all_pages_come_in_order_and_each_alone(disk, size):
    everything = mode(disk, size)
    assert not everything.truncated
    assert [page[0] for page in everything.pages] == [kind.PAGE_CODE for kind in PAGES]
    assert everything.device_specific == DPO_FUA
    for kind, page in zip(PAGES, everything.pages, strict=True):
        assert mode(disk, size, kind.PAGE_CODE).pages == (page,)
        assert mode(disk, size, kind.PAGE_CODE, page_control=2, subpage_code=0xFF).pages[0] == page
    assert CachingPage.parse(everything.pages[2]).write_cache_enable


@both_sizes
def test_changeable_values_are_what_can_be_changed(disk, size):
    for kind in PAGES:
        mask = mode(disk, size, kind.PAGE_CODE, page_control=1).pages[0]
        assert mask[2:] == CHANGEABLE.get(kind, b"").ljust(kind.LENGTH, b"\0")[2:]
        current = mode(disk, size, kind.PAGE_CODE).pages[0]
        for at in range(2, kind.LENGTH):
            for bit in range(8):
                page = bytearray(current)
                page[at] ^= 1 << bit
                answer = select(disk, size, bytes(page))
                if mask[at] >> bit & 1:
                    assert answer.status == Status.GOOD
                    assert mode(disk, size, kind.PAGE_CODE).pages == (bytes(page),)
                    assert select(disk, size, current).status == Status.GOOD
                else:
                    assert refused(answer) == BAD_PARAMETER
                    assert mode(disk, size, kind.PAGE_CODE).pages == (current,)
                    assert pointer(answer.sense).byte == (4 if size == 6 else 8) + at


@pytest.mark.parametrize("fields", [{"page_code": 3}, {"page_code": 0x3E}, {"page_code": 8, "subpage_code": 1}])
@both_sizes
def test_pages_that_are_not_there_are_refused(disk, size, fields):
    assert disk.refusal(SENSES[size], allocation_length=255, **fields) == INVALID_FIELD


@both_sizes
def test_nothing_is_saved(disk, size):
    not_supported = (ILLEGAL, AdditionalSense.SAVING_PARAMETERS_NOT_SUPPORTED)
    assert disk.refusal(SENSES[size], page_code=8, page_control=3, allocation_length=255) == not_supported
    assert refused(select(disk, size, CachingPage().build(), sp=1)) == INVALID_FIELD


def test_block_descriptors(make_disk):
    disk = make_disk(block_size=4096)
    for size in (6, 10):
        short = ShortBlockDescriptor.parse(mode(disk, size).block_descriptors)
        assert (short.blocks, short.block_length) == (256, 4096)
        assert mode(disk, size, dbd=1).block_descriptors == b""
    parameters = mode(disk, llbaa=1)
    assert parameters.long_lba
    found = LongBlockDescriptor.parse(parameters.block_descriptors)
    assert (found.blocks, found.block_length) == (256, 4096)
    assert not mode(disk, llbaa=1, dbd=1).long_lba


@both_sizes
def test_block_descriptors_may_only_say_what_is_so(disk, size):
    page = CachingPage(write_cache_enable=True).build()
    for blocks, length, fits in (
        (256, 512, True),
        (0, 512, True),
        (0xFFFFFFFF, 512, True),
        (8, 512, False),
        (0, 4096, False),
    ):
        descriptor = ShortBlockDescriptor(blocks=blocks, block_length=length).build()
        answer = select(disk, size, page, descriptors=descriptor)
        assert answer.status == Status.GOOD if fits else refused(answer) == BAD_PARAMETER
    assert refused(select(disk, size, page, descriptors=bytes(7))) == BAD_PARAMETER
    if size == 10:
        descriptor = LongBlockDescriptor(blocks=256, block_length=512).build()
        assert select(disk, size, page, descriptors=descriptor, long_lba=True).status == Status.GOOD


@both_sizes
def test_parameter_lists_that_are_no_lists(disk, size):
    page = CachingPage().build()
    data = ModeParameters(pages=(page,)).build(size, select=True)
    header = len(data) - len(page)
    select_row = SELECTS[size]
    assert disk.refusal(select_row, data, parameter_list_length=len(data)) == INVALID_FIELD
    for length in (1, header - 1, header + 1, header + 10, len(data) - 1):
        assert disk.refusal(select_row, data[:length], parameter_list_length=length, pf=1) == TOO_SHORT
    assert disk.refusal(select_row, data[:-1], parameter_list_length=len(data), pf=1) == TOO_SHORT
    wrong_medium = bytearray(data)
    wrong_medium[1 if size == 6 else 2] = 1
    assert disk.refusal(select_row, wrong_medium, parameter_list_length=len(data), pf=1) == BAD_PARAMETER
    assert disk.good(select_row, parameter_list_length=0, pf=1) == b""
    assert disk.good(select_row, data[:header], parameter_list_length=header, pf=1) == b""
    for strange in (bytes((0x02, 2, 0, 0)), bytes((0x48, 1, 0, 2, 0, 0)), bytes((0x08, 2, 0, 0))):
        assert refused(select(disk, size, strange)) == BAD_PARAMETER
    assert CachingPage.parse(mode(disk, page_code=8).pages[0]).write_cache_enable


def test_a_list_with_one_bad_page_changes_nothing(disk):
    answer = select(disk, 10, CachingPage().build(), ControlPage(queue_algorithm_modifier=1, queue_error=1).build())
    assert refused(answer) == BAD_PARAMETER
    assert CachingPage.parse(mode(disk, page_code=8).pages[0]).write_cache_enable


def test_reverting_to_defaults(disk):
    assert select(disk, 10, CachingPage().build()).status == Status.GOOD
    data = ModeHeader6().build()
    disk.good(op.MODE_SELECT_6, data, parameter_list_length=len(data), pf=1, rtd=1)
    assert CachingPage.parse(mode(disk, page_code=8).pages[0]).write_cache_enable


def test_changed_parameters_are_told_to_others_once(disk):
    disk.device.nexus_made(disk.other)
    for _ in range(2):
        select(disk, 10, ControlPage(queue_algorithm_modifier=1, descriptor_sense=True).build())
        select(disk, 10, ControlPage(queue_algorithm_modifier=1).build())
    assert disk.refusal(op.TEST_UNIT_READY, nexus=disk.other) == (
        SenseKey.UNIT_ATTENTION,
        AdditionalSense.MODE_PARAMETERS_CHANGED,
    )
    disk.good(op.TEST_UNIT_READY, nexus=disk.other)
    disk.good(op.TEST_UNIT_READY)
    select(disk, 10, ControlPage(queue_algorithm_modifier=1).build())
    disk.good(op.TEST_UNIT_READY, nexus=disk.other)


def test_software_write_protection(disk):
    select(disk, 6, ControlPage(queue_algorithm_modifier=1, software_write_protect=True).build())
    assert mode(disk).device_specific == DPO_FUA | WRITE_PROTECT
    key, code = disk.refusal(op.WRITE_10, bytes(512), blocks=1)
    assert (key, code) == (SenseKey.DATA_PROTECT, AdditionalSense.LOGICAL_UNIT_SOFTWARE_WRITE_PROTECTED)
    select(disk, 6, ControlPage(queue_algorithm_modifier=1).build())
    disk.good(op.WRITE_10, bytes(512), blocks=1)


def test_sense_data_in_the_format_that_was_chosen(make_disk):
    disk = make_disk("file")
    assert disk.run(op.READ_10, lba=9999, blocks=1).sense[0] == 0x70
    select(disk, 6, ControlPage(queue_algorithm_modifier=1, descriptor_sense=True).build())
    assert disk.run(op.READ_10, lba=9999, blocks=1).sense[0] == 0x72
    assert disk.run(op.VERIFY_10, b"x" * 512, blocks=1, bytchk=3).sense[0] == 0x72
    assert disk.good(op.REQUEST_SENSE, allocation_length=252)[0] == 0x70
    assert disk.good(op.REQUEST_SENSE, allocation_length=252, desc=1)[0] == 0x72


def test_stopping_and_starting(make_disk):
    for disk in (make_disk(), make_disk("file")):
        disk.good(op.START_STOP_UNIT)
        for command in (op.TEST_UNIT_READY, op.READ_10, op.WRITE_10, op.READ_CAPACITY_10, op.SYNCHRONIZE_CACHE_16):
            assert disk.refusal(command) == STOPPED
        sense = sense_of(disk.good(op.REQUEST_SENSE, allocation_length=18))
        assert (sense.key, sense.code) == STOPPED
        for command in (op.INQUIRY, op.REPORT_LUNS, op.MODE_SENSE_10):
            disk.good(command, allocation_length=255, **({"page_code": 8} if command is op.MODE_SENSE_10 else {}))
        disk.good(op.START_STOP_UNIT, no_flush=1)
        disk.good(op.START_STOP_UNIT, start=1)
        disk.good(op.TEST_UNIT_READY)


def test_fixed_disks_are_not_ejected(disk):
    assert disk.refusal(op.START_STOP_UNIT, loej=1) == INVALID_FIELD
    for condition in (4, 5, 6, 8, 9, 0xC, 0xD, 0xE, 0xF):
        assert disk.refusal(op.START_STOP_UNIT, power_condition=condition, start=1) == INVALID_FIELD
    disk.good(op.TEST_UNIT_READY)


def test_ejecting_and_loading(make_disk):
    disk = make_disk(removable=True)
    disk.device.nexus_made(disk.other)
    disk.good(op.START_STOP_UNIT, loej=1)
    assert disk.refusal(op.TEST_UNIT_READY) == EMPTY
    assert disk.refusal(op.READ_10, blocks=1, nexus=disk.other) == EMPTY
    disk.good(op.START_STOP_UNIT, start=1)
    assert disk.refusal(op.TEST_UNIT_READY) == EMPTY
    disk.good(op.START_STOP_UNIT, loej=1, start=1)
    disk.good(op.TEST_UNIT_READY)
    assert disk.refusal(op.TEST_UNIT_READY, nexus=disk.other) == (
        SenseKey.UNIT_ATTENTION,
        AdditionalSense.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED,
    )


def test_removal_is_prevented_until_all_allow(make_disk):
    prevented = (ILLEGAL, AdditionalSense.MEDIUM_REMOVAL_PREVENTED)
    disk = make_disk(removable=True)
    disk.device.nexus_made(disk.other)
    for nexus in (disk.nexus, disk.other):
        disk.good(op.PREVENT_ALLOW_MEDIUM_REMOVAL, prevent=1, nexus=nexus)
    disk.good(op.PREVENT_ALLOW_MEDIUM_REMOVAL, prevent=0)
    assert disk.refusal(op.START_STOP_UNIT, loej=1) == prevented
    disk.device.nexus_lost(disk.other)
    disk.good(op.START_STOP_UNIT, loej=1)
    disk.good(op.PREVENT_ALLOW_MEDIUM_REMOVAL, prevent=1)
    assert disk.refusal(op.START_STOP_UNIT, loej=1, start=1) == prevented
    disk.good(op.PREVENT_ALLOW_MEDIUM_REMOVAL, prevent=0)
    disk.good(op.START_STOP_UNIT, loej=1, start=1)
    disk.good(op.PREVENT_ALLOW_MEDIUM_REMOVAL, prevent=1)
    disk.device.reset_lun(bytes(8))
    disk.good(op.REQUEST_SENSE, allocation_length=18)
    disk.good(op.START_STOP_UNIT, loej=1)
    assert disk.refusal(op.PREVENT_ALLOW_MEDIUM_REMOVAL, prevent=2) == INVALID_FIELD


def test_a_reset_is_told_to_all(make_disk):
    reset = (SenseKey.UNIT_ATTENTION, AdditionalSense.BUS_DEVICE_RESET_FUNCTION_OCCURRED)
    disk = make_disk(luns={lun: LunConfig(size=Size(512)) for lun in (0, 1)})
    disk.device.nexus_made(disk.other)
    select(disk, 6, ControlPage(queue_algorithm_modifier=1, software_write_protect=True).build())
    disk.device.reset_lun(bytes(8), by=disk.nexus)
    for nexus in (disk.nexus, disk.other):
        assert disk.refusal(op.TEST_UNIT_READY, nexus=nexus) == reset
        disk.good(op.TEST_UNIT_READY, nexus=nexus)
        disk.good(op.TEST_UNIT_READY, nexus=nexus, lun=1)
    assert mode(disk).device_specific == DPO_FUA
    disk.device.reset_target(by=disk.other)
    for lun in (0, 1):
        for nexus in (disk.nexus, disk.other):
            assert disk.refusal(op.TEST_UNIT_READY, lun=lun, nexus=nexus) == reset
            disk.good(op.TEST_UNIT_READY, lun=lun, nexus=nexus)
    disk.device.reset_target()
    assert disk.refusal(op.WRITE_10, nexus=disk.other) == reset
    disk.device.reset_lun(b"\xff" * 8)


def test_three_commands_pass_a_unit_attention(disk):
    attention = (SenseKey.UNIT_ATTENTION, AdditionalSense.BUS_DEVICE_RESET_FUNCTION_OCCURRED)
    disk.device.reset_lun(bytes(8))
    disk.good(op.INQUIRY, allocation_length=96)
    disk.good(op.REPORT_LUNS, allocation_length=96)
    sense = sense_of(disk.good(op.REQUEST_SENSE, allocation_length=18))
    assert (sense.key, sense.code) == attention
    disk.good(op.TEST_UNIT_READY)
    assert sense_of(disk.good(op.REQUEST_SENSE, allocation_length=18)).key == SenseKey.NO_SENSE
    disk.device.reset_lun(bytes(8))
    assert refused(disk.raw(bytes((0xC0,)).ljust(16, b"\0"))) == attention
    assert refused(disk.raw(bytes((0xC0,)).ljust(16, b"\0"))) == UNKNOWN


def test_new_nexuses_find_a_unit_attention_where_that_is_wanted(make_disk):
    disk = make_disk(node={"initial_unit_attention": True})
    power_on = (SenseKey.UNIT_ATTENTION, AdditionalSense.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED)
    for nexus in (disk.nexus, disk.other):
        assert disk.refusal(op.TEST_UNIT_READY, nexus=nexus) == power_on
        disk.good(op.TEST_UNIT_READY, nexus=nexus)
    disk.device.nexus_lost(disk.nexus)
    disk.device.nexus_made(disk.nexus)
    assert disk.refusal(op.TEST_UNIT_READY) == power_on


LOST = (SenseKey.UNIT_ATTENTION, AdditionalSense.I_T_NEXUS_LOSS_OCCURRED)


def test_who_was_there_at_power_on_finds_a_unit_attention(disk):
    disk.device.power_on()
    for nexus in (disk.nexus, disk.other):
        disk.device.nexus_lost(nexus)
        disk.device.nexus_made(nexus)
    power_on = (SenseKey.UNIT_ATTENTION, AdditionalSense.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED)
    assert disk.refusal(op.TEST_UNIT_READY) == power_on
    disk.good(op.TEST_UNIT_READY)
    disk.good(op.TEST_UNIT_READY, nexus=disk.other)
    disk.device.nexus_lost(disk.nexus)
    disk.device.nexus_made(disk.nexus)
    assert disk.refusal(op.TEST_UNIT_READY) == LOST
    disk.good(op.TEST_UNIT_READY)


def test_a_lost_nexus_is_forgotten_but_its_port_is_told(disk):
    disk.device.nexus_lost(disk.nexus)
    disk.device.nexus_lost(disk.nexus)
    disk.device.reset_target()
    assert disk.device._units[0].paths == {}
    assert disk.refusal(op.TEST_UNIT_READY) == LOST
    disk.good(op.TEST_UNIT_READY)


def test_capacity(make_disk):
    for size, backend, exponent, thin in ((512, "memory", 0, True), (512, "file", 3, False), (4096, "sparse", 0, True)):
        disk = make_disk(backend, blocks=300, block_size=size)
        ten = ReadCapacity10.parse(disk.good(op.READ_CAPACITY_10))
        assert (ten.last_lba, ten.block_length) == (299, size)
        data = disk.good(op.READ_CAPACITY_16, allocation_length=32)
        sixteen = ReadCapacity16.parse(data)
        assert (sixteen.last_lba, sixteen.block_length) == (299, size)
        assert sixteen.logical_blocks_per_physical_block_exponent == exponent
        assert sixteen.provisioning_management_enabled == sixteen.provisioning_read_zeros == thin
        assert disk.good(op.READ_CAPACITY_16, allocation_length=12) == data[:12]
        for command in (op.READ_CAPACITY_10, op.READ_CAPACITY_16):
            assert disk.refusal(command, lba=1) == INVALID_FIELD
            assert disk.run(command, lba=1, pmi=1).status == Status.GOOD


def test_a_disk_beyond_32_bits(make_disk):
    disk = make_disk("sparse", blocks=(1 << 32) + 8)
    assert ReadCapacity10.parse(disk.good(op.READ_CAPACITY_10)).last_lba == 0xFFFFFFFF
    assert ReadCapacity16.parse(disk.good(op.READ_CAPACITY_16, allocation_length=32)).last_lba == (1 << 32) + 7
    assert ShortBlockDescriptor.parse(mode(disk).block_descriptors).blocks == 0xFFFFFFFF
    disk.good(op.WRITE_16, b"e" * 512, lba=(1 << 32) + 7, blocks=1)
    assert disk.good(op.READ_16, lba=(1 << 32) + 7, blocks=1) == b"e" * 512


def test_what_is_reported_is_what_is_known(make_disk):
    for backend in ("memory", "file"):
        disk = make_disk(backend)
        found = parse_all_commands(disk.good(op.REPORT_SUPPORTED_OPERATION_CODES, allocation_length=0xFFFF))
        reported = {(each.opcode, each.service_action, each.cdb_length) for each, _ in found}
        rows = [row for row in ROWS if row.known_to(disk.device._units[0])]
        assert reported == {(row.command.opcode, row.command.service_action or 0, row.command.length) for row in rows}
        for command in op.COMMANDS:
            known = any(command is row.command for row in rows)
            answer = disk.run(command)
            if known:
                assert not answer.sense or refused(answer) != UNKNOWN, command.name
            elif refused(answer) != UNKNOWN:
                assert refused(answer) == INVALID_FIELD
                assert pointer(answer.sense) == FieldPointer(byte=1, bit=4)


def one(disk, opcode, action=0, options=ReportingOptions.ONE_EITHER, **fields):
    data = disk.good(
        op.REPORT_SUPPORTED_OPERATION_CODES,
        reporting_options=options,
        requested_operation_code=opcode,
        requested_service_action=action,
        allocation_length=255,
        **fields,
    )
    return parse_one_command(data)


def known(disk):
    """The commands that the unit has."""
    return [row.command for row in ROWS if row.known_to(disk.device._units[0])]


def test_single_commands_are_reported_with_their_usage(disk):
    for command in known(disk):
        found = one(disk, command.opcode, command.service_action or 0)
        assert (found.support, found.usage, found.timeouts) == (Support.STANDARD, usage(command), None)
        assert one(disk, command.opcode, command.service_action or 0, rctd=1).timeouts is not None
        plain = command.service_action is None
        fits = ReportingOptions.ONE_OPERATION_CODE if plain else ReportingOptions.ONE_SERVICE_ACTION
        assert one(disk, command.opcode, command.service_action or 0, fits).support == Support.STANDARD
        misfit = ReportingOptions.ONE_SERVICE_ACTION if plain else ReportingOptions.ONE_OPERATION_CODE
        fields = {"requested_operation_code": command.opcode, "requested_service_action": command.service_action or 0}
        assert disk.refusal(op.REPORT_SUPPORTED_OPERATION_CODES, reporting_options=misfit, **fields) == INVALID_FIELD
    for opcode, action in ((0x01, 0), (0x9E, 0x1F), (0x28, 1), (0x7F, 9), (0xFF, 0)):
        assert one(disk, opcode, action).support == Support.NOT_SUPPORTED
    assert disk.refusal(op.REPORT_SUPPORTED_OPERATION_CODES, reporting_options=4) == INVALID_FIELD
    timed = parse_all_commands(disk.good(op.REPORT_SUPPORTED_OPERATION_CODES, rctd=1, allocation_length=0xFFFF))
    assert all(timeouts is not None for _, timeouts in timed)


def level_2(disk):
    """Another session of another port, which agreed on iSCSIProtocolLevel 2."""
    nexus = replace(disk.nexus, isid=b"level2", tsih=22, protocol_level=2)
    if not disk.device._paths.get(nexus):
        disk.device.nexus_made(nexus)
    return nexus


def test_usage_data_has_ones_for_what_is_looked_at():
    assert usage(op.READ_10).hex() == "28f8ffffffff00ffff04"
    assert usage(op.WRITE_16).hex() == "8af8" + "ff" * 12 + "0004"
    assert usage(op.SYNCHRONIZE_CACHE_10).hex() == "3502ffffffff00ffff04"
    assert usage(op.READ_CAPACITY_16).hex() == "9e10" + "ff" * 12 + "0104"
    assert usage(op.REPORT_SUPPORTED_OPERATION_CODES).hex() == "a30c87" + "ff" * 7 + "0004"


def test_task_management_functions(disk):
    for repd, length in ((0, 4), (1, 16)):
        data = disk.good(op.REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS, repd=repd, allocation_length=64)
        assert len(data) == length
        found = SupportedTaskManagement.parse(data)
        assert found.abort_task
        assert found.logical_unit_reset
        assert not found.clear_aca
        assert not found.query_task
        answer = disk.good(
            op.REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS, repd=repd, allocation_length=64, nexus=level_2(disk)
        )
        found = SupportedTaskManagement.parse(answer)
        assert (found.query_task, found.query_task_set, found.i_t_nexus_reset, found.query_asynchronous_event) == (
            True,
        ) * 4


def test_naca_and_short_cdbs_are_refused(disk):
    for command in known(disk):
        assert refused(disk.raw(command.build(control=4))) == INVALID_FIELD
        assert refused(disk.raw(command.build()[:-1])) in (INVALID_FIELD, UNKNOWN)
    assert refused(disk.raw(b"")) == INVALID_FIELD
    assert refused(disk.raw(b"\x9e")) == INVALID_FIELD
    assert refused(disk.raw(b"\x12", lun=9)) == INVALID_FIELD


def test_the_device_is_copied_with_its_memory(disk):
    disk.good(op.WRITE_10, b"a" * 512, blocks=1)
    disk.device.reset_lun(bytes(8))
    twin = copy.deepcopy(disk.device)
    disk.good(op.REQUEST_SENSE, allocation_length=18)
    disk.good(op.WRITE_10, b"b" * 512, blocks=1)
    original, disk.device = disk.device, twin
    assert disk.refusal(op.READ_10, blocks=1)[0] == SenseKey.UNIT_ATTENTION
    assert disk.good(op.READ_10, blocks=1) == b"a" * 512
    disk.device = original


def test_a_node_whose_luns_cannot_be_opened_opens_none(tmp_path):
    luns = {
        0: LunConfig(backend="file", path=str(tmp_path / "a.img"), size=Size(512)),
        1: LunConfig(backend="file", path=str(tmp_path / "absent.img")),
    }
    with pytest.raises(LunError, match=r"^LUN 1 of iqn\.2026-11\.org\.example:a: .*No such file"):
        open_device(TargetNode(name="iqn.2026-11.org.example:a", luns=luns))
