"""The command table: every CDB that a block device's user sends, one row each (SPC-4 6, SBC-3 5).

Left out: FORMAT UNIT, ATA PASS-THROUGH and SECURITY PROTOCOL, whose transfers need more than the CDB or
another standard. With protection information on the medium (RDPROTECT, WRPROTECT) 8 bytes a block come on top
of what the rows say.
"""

from __future__ import annotations

from collections.abc import Mapping

from iscsi_protocol.scsi.command import NO_DATA, Choice, Command, Direction, Transfer, Unit
from iscsi_protocol.scsi.fields import At

VARIABLE_LENGTH = 0x7F

_CONTROL = {6: At(5), 10: At(9), 12: At(11), 16: At(15), 32: At(1)}
_SERVICE_ACTION = At(1, 1, 0x1F)
_VARIABLE_SERVICE_ACTION = At(8, 2)
_ADDITIONAL_CDB_LENGTH = At(7)

_BLOCKS_IN = Transfer(Direction.IN, Unit.BLOCKS, "blocks")
_BLOCKS_OUT = Transfer(Direction.OUT, Unit.BLOCKS, "blocks")
_ONE_BLOCK_OUT = Transfer(Direction.OUT, Unit.BLOCKS, 1)
_ALLOCATION = Transfer(Direction.IN, Unit.BYTES, "allocation_length")
_PARAMETERS = Transfer(Direction.OUT, Unit.BYTES, "parameter_list_length")
_BYTES_IN = Transfer(Direction.IN, Unit.BYTES, "byte_transfer_length")
_BYTES_OUT = Transfer(Direction.OUT, Unit.BYTES, "byte_transfer_length")
_COMPARED = Choice("bytchk", {1: _BLOCKS_OUT, 3: _ONE_BLOCK_OUT})
_UNLESS_NDOB = Choice("ndob", {0: _ONE_BLOCK_OUT})
_UNLESS_WR_UNCOR = Choice("wr_uncor", {0: _BYTES_OUT})

# address, count and group number of the medium access commands, by CDB length
_RANGE_6 = {"lba": At(1, 3, 0x1FFFFF), "blocks": At(4)}
_RANGE_10 = {"lba": At(2, 4), "group_number": At(6, 1, 0x1F), "blocks": At(7, 2)}
_RANGE_12 = {"lba": At(2, 4), "blocks": At(6, 4), "group_number": At(10, 1, 0x1F)}
_RANGE_16 = {"lba": At(2, 8), "blocks": At(10, 4), "group_number": At(14, 1, 0x1F)}
_RANGE_32 = {
    "group_number": At(6, 1, 0x1F),
    "lba": At(12, 8),
    "expected_initial_reference_tag": At(20, 4),
    "expected_application_tag": At(24, 2),
    "application_tag_mask": At(26, 2),
    "blocks": At(28, 4),
}
_RANGES = {6: _RANGE_6, 10: _RANGE_10, 12: _RANGE_12, 16: _RANGE_16, 32: _RANGE_32}

# the flags of byte 1 (byte 10 of the 32-byte CDBs); RELADR and FUA_NV are obsolete, yet sent by older users
_READ = {"rdprotect": 0xE0, "dpo": 0x10, "fua": 0x08, "rarc": 0x04, "fua_nv": 0x02}
_WRITE = {"wrprotect": 0xE0, "dpo": 0x10, "fua": 0x08, "fua_nv": 0x02}
_VERIFY = {"vrprotect": 0xE0, "dpo": 0x10, "bytchk": 0x06}
_WRITE_VERIFY = {"wrprotect": 0xE0, "dpo": 0x10, "bytchk": 0x06}
_WRITE_SAME = {"wrprotect": 0xE0, "anchor": 0x10, "unmap": 0x08, "pbdata": 0x04, "lbdata": 0x02}
_OR_WRITE = {"orprotect": 0xE0, "dpo": 0x10, "fua": 0x08, "fua_nv": 0x02}
_SYNCHRONIZE = {"sync_nv": 0x04, "immed": 0x02}
_XOR = {"wrprotect": 0xE0, "dpo": 0x10, "fua": 0x08, "disable_write": 0x04, "fua_nv": 0x02, "xorpinfo": 0x01}

COMMANDS: list[Command] = []
"""Every row, in the order of this module."""

OPCODE_NAMES: dict[int, str] = {
    0x48: "SANITIZE",
    0x5E: "PERSISTENT RESERVE IN",
    0x5F: "PERSISTENT RESERVE OUT",
    0x7F: "VARIABLE LENGTH CDB",
    0x83: "THIRD-PARTY COPY OUT",
    0x84: "THIRD-PARTY COPY IN",
    0x9E: "SERVICE ACTION IN(16)",
    0x9F: "SERVICE ACTION OUT(16)",
    0xA3: "MAINTENANCE IN",
    0xA4: "MAINTENANCE OUT",
}
"""Names of the operation codes that are split by service action."""


def _row(
    opcode: int,
    name: str,
    length: int,
    fields: Mapping[str, At] | None = None,
    transfer: Transfer | Choice = NO_DATA,
    *,
    service_action: int | None = None,
) -> Command:
    constants: tuple[tuple[At, int], ...] = ()
    if opcode == VARIABLE_LENGTH and service_action is not None:
        constants = ((_ADDITIONAL_CDB_LENGTH, length - 8), (_VARIABLE_SERVICE_ACTION, service_action))
    elif service_action is not None:
        constants = ((_SERVICE_ACTION, service_action),)
    command = Command(
        name=name,
        opcode=opcode,
        length=length,
        fields={**(fields or {}), "control": _CONTROL[length]},
        transfer=transfer,
        service_action=service_action,
        constants=constants,
    )
    COMMANDS.append(command)
    return command


def _medium(
    opcode: int,
    name: str,
    length: int,
    flags: Mapping[str, int],
    transfer: Transfer | Choice = NO_DATA,
    *,
    service_action: int | None = None,
) -> Command:
    """A row of a command that names a range of logical blocks."""
    byte = 10 if length == 32 else 1
    fields = {flag: At(byte, 1, mask) for flag, mask in flags.items()} | _RANGES[length]
    return _row(opcode, f"{name}({length})", length, fields, transfer, service_action=service_action)


def _allocation(at: int, size: int, **fields: At) -> dict[str, At]:
    return {**fields, "allocation_length": At(at, size)}


def _parameters(at: int, size: int, **fields: At) -> dict[str, At]:
    return {**fields, "parameter_list_length": At(at, size)}


def _bit(byte: int, mask: int) -> At:
    return At(byte, 1, mask)


# --- SPC-4: the unit and its parameters
TEST_UNIT_READY = _row(0x00, "TEST UNIT READY", 6)
REQUEST_SENSE = _row(0x03, "REQUEST SENSE", 6, _allocation(4, 1, desc=_bit(1, 0x01)), _ALLOCATION)
INQUIRY = _row(0x12, "INQUIRY", 6, _allocation(3, 2, cmddt=_bit(1, 2), evpd=_bit(1, 1), page_code=At(2)), _ALLOCATION)
_SELECT = {"pf": _bit(1, 0x10), "rtd": _bit(1, 0x02), "sp": _bit(1, 0x01)}
_PAGE = {"page_control": _bit(2, 0xC0), "page_code": _bit(2, 0x3F), "subpage_code": At(3)}
MODE_SELECT_6 = _row(0x15, "MODE SELECT(6)", 6, _parameters(4, 1, **_SELECT), _PARAMETERS)
MODE_SELECT_10 = _row(0x55, "MODE SELECT(10)", 10, _parameters(7, 2, **_SELECT), _PARAMETERS)
MODE_SENSE_6 = _row(0x1A, "MODE SENSE(6)", 6, _allocation(4, 1, dbd=_bit(1, 8), **_PAGE), _ALLOCATION)
MODE_SENSE_10 = _row(
    0x5A, "MODE SENSE(10)", 10, _allocation(7, 2, llbaa=_bit(1, 0x10), dbd=_bit(1, 8), **_PAGE), _ALLOCATION
)
_LOG = {"sp": _bit(1, 1), "page_control": _bit(2, 0xC0), "page_code": _bit(2, 0x3F), "subpage_code": At(3)}
LOG_SENSE = _row(
    0x4D,
    "LOG SENSE",
    10,
    _allocation(7, 2, ppc=_bit(1, 0x02), parameter_pointer=At(5, 2), **_LOG),
    _ALLOCATION,
)
LOG_SELECT = _row(0x4C, "LOG SELECT", 10, _parameters(7, 2, pcr=_bit(1, 0x02), **_LOG), _PARAMETERS)
REPORT_LUNS = _row(0xA0, "REPORT LUNS", 12, _allocation(6, 4, select_report=At(2)), _ALLOCATION)
PREVENT_ALLOW_MEDIUM_REMOVAL = _row(0x1E, "PREVENT ALLOW MEDIUM REMOVAL", 6, {"prevent": _bit(4, 0x03)})
SEND_DIAGNOSTIC = _row(
    0x1D,
    "SEND DIAGNOSTIC",
    6,
    _parameters(
        3,
        2,
        self_test_code=_bit(1, 0xE0),
        pf=_bit(1, 0x10),
        selftest=_bit(1, 0x04),
        devoffl=_bit(1, 0x02),
        unitoffl=_bit(1, 0x01),
    ),
    _PARAMETERS,
)
RECEIVE_DIAGNOSTIC_RESULTS = _row(
    0x1C, "RECEIVE DIAGNOSTIC RESULTS", 6, _allocation(3, 2, pcv=_bit(1, 1), page_code=At(2)), _ALLOCATION
)
_BUFFER = {"mode": _bit(1, 0x1F), "buffer_id": At(2), "buffer_offset": At(3, 3)}
READ_BUFFER = _row(0x3C, "READ BUFFER(10)", 10, _allocation(6, 3, **_BUFFER), _ALLOCATION)
WRITE_BUFFER = _row(
    0x3B,
    "WRITE BUFFER",
    10,
    _parameters(6, 3, mode_specific=_bit(1, 0xE0), **_BUFFER),
    _PARAMETERS,
)

# --- reservations (RESERVE and RELEASE are of SPC-2)
_THIRD_PARTY = {"third_party": _bit(1, 0x10), "long_id": _bit(1, 0x02), "third_party_device_id": At(3)}
RESERVE_6 = _row(0x16, "RESERVE(6)", 6)
RELEASE_6 = _row(0x17, "RELEASE(6)", 6)
RESERVE_10 = _row(0x56, "RESERVE(10)", 10, _parameters(7, 2, **_THIRD_PARTY), _PARAMETERS)
RELEASE_10 = _row(0x57, "RELEASE(10)", 10, _parameters(7, 2, **_THIRD_PARTY), _PARAMETERS)


def _reserve_in(service_action: int, action: str) -> Command:
    return _row(
        0x5E, f"PERSISTENT RESERVE IN ({action})", 10, _allocation(7, 2), _ALLOCATION, service_action=service_action
    )


def _reserve_out(service_action: int, action: str) -> Command:
    fields = _parameters(5, 4, scope=_bit(2, 0xF0), type=_bit(2, 0x0F))
    return _row(0x5F, f"PERSISTENT RESERVE OUT ({action})", 10, fields, _PARAMETERS, service_action=service_action)


READ_KEYS = _reserve_in(0x00, "READ KEYS")
READ_RESERVATION = _reserve_in(0x01, "READ RESERVATION")
REPORT_CAPABILITIES = _reserve_in(0x02, "REPORT CAPABILITIES")
READ_FULL_STATUS = _reserve_in(0x03, "READ FULL STATUS")
REGISTER = _reserve_out(0x00, "REGISTER")
RESERVE = _reserve_out(0x01, "RESERVE")
RELEASE = _reserve_out(0x02, "RELEASE")
CLEAR = _reserve_out(0x03, "CLEAR")
PREEMPT = _reserve_out(0x04, "PREEMPT")
PREEMPT_AND_ABORT = _reserve_out(0x05, "PREEMPT AND ABORT")
REGISTER_AND_IGNORE_EXISTING_KEY = _reserve_out(0x06, "REGISTER AND IGNORE EXISTING KEY")
REGISTER_AND_MOVE = _reserve_out(0x07, "REGISTER AND MOVE")
REPLACE_LOST_RESERVATION = _reserve_out(0x08, "REPLACE LOST RESERVATION")

# --- MAINTENANCE IN and OUT
_INFORMATION = {"information_type": _bit(10, 0xFE)}
REPORT_IDENTIFYING_INFORMATION = _row(
    0xA3, "REPORT IDENTIFYING INFORMATION", 12, _allocation(6, 4, **_INFORMATION), _ALLOCATION, service_action=0x05
)
REPORT_TARGET_PORT_GROUPS = _row(
    0xA3,
    "REPORT TARGET PORT GROUPS",
    12,
    _allocation(6, 4, parameter_data_format=_bit(1, 0xE0)),
    _ALLOCATION,
    service_action=0x0A,
)
REPORT_SUPPORTED_OPERATION_CODES = _row(
    0xA3,
    "REPORT SUPPORTED OPERATION CODES",
    12,
    _allocation(
        6,
        4,
        rctd=_bit(2, 0x80),
        reporting_options=_bit(2, 0x07),
        requested_operation_code=At(3),
        requested_service_action=At(4, 2),
    ),
    _ALLOCATION,
    service_action=0x0C,
)
REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS = _row(
    0xA3,
    "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS",
    12,
    _allocation(6, 4, repd=_bit(2, 0x80)),
    _ALLOCATION,
    service_action=0x0D,
)
REPORT_TIMESTAMP = _row(0xA3, "REPORT TIMESTAMP", 12, _allocation(6, 4), _ALLOCATION, service_action=0x0F)
SET_IDENTIFYING_INFORMATION = _row(
    0xA4, "SET IDENTIFYING INFORMATION", 12, _parameters(6, 4, **_INFORMATION), _PARAMETERS, service_action=0x06
)
SET_TARGET_PORT_GROUPS = _row(0xA4, "SET TARGET PORT GROUPS", 12, _parameters(6, 4), _PARAMETERS, service_action=0x0A)
SET_TIMESTAMP = _row(0xA4, "SET TIMESTAMP", 12, _parameters(6, 4), _PARAMETERS, service_action=0x0F)

# --- copying
_LIST_1, _LIST_4 = {"list_identifier": At(2)}, {"list_identifier": At(2, 4)}
_TOKEN = {"list_identifier": At(6, 4), "group_number": _bit(14, 0x1F)}


def _copy_out(service_action: int, name: str, fields: Mapping[str, At]) -> Command:
    return _row(0x83, name, 16, _parameters(10, 4, **fields), _PARAMETERS, service_action=service_action)


def _copy_in(service_action: int, name: str, fields: Mapping[str, At]) -> Command:
    return _row(0x84, name, 16, _allocation(10, 4, **fields), _ALLOCATION, service_action=service_action)


EXTENDED_COPY_LID1 = _copy_out(0x00, "EXTENDED COPY(LID1)", {})
EXTENDED_COPY_LID4 = _copy_out(0x01, "EXTENDED COPY(LID4)", {})
POPULATE_TOKEN = _copy_out(0x10, "POPULATE TOKEN", _TOKEN)
WRITE_USING_TOKEN = _copy_out(0x11, "WRITE USING TOKEN", _TOKEN)
COPY_OPERATION_ABORT = _row(0x83, "COPY OPERATION ABORT", 16, _LIST_4, NO_DATA, service_action=0x1C)
RECEIVE_COPY_STATUS_LID1 = _copy_in(0x00, "RECEIVE COPY STATUS(LID1)", _LIST_1)
RECEIVE_COPY_DATA_LID1 = _copy_in(0x01, "RECEIVE COPY DATA(LID1)", _LIST_1)
RECEIVE_COPY_OPERATING_PARAMETERS = _copy_in(0x03, "RECEIVE COPY OPERATING PARAMETERS", {})
RECEIVE_COPY_FAILURE_DETAILS_LID1 = _copy_in(0x04, "RECEIVE COPY FAILURE DETAILS(LID1)", _LIST_1)
RECEIVE_COPY_STATUS_LID4 = _copy_in(0x05, "RECEIVE COPY STATUS(LID4)", _LIST_4)
RECEIVE_COPY_DATA_LID4 = _copy_in(0x06, "RECEIVE COPY DATA(LID4)", _LIST_4)
RECEIVE_ROD_TOKEN_INFORMATION = _copy_in(0x07, "RECEIVE ROD TOKEN INFORMATION", _LIST_4)
REPORT_ALL_ROD_TOKENS = _copy_in(0x08, "REPORT ALL ROD TOKENS", {})

# --- SBC-3: reading and writing
READ_6 = _medium(0x08, "READ", 6, {}, Transfer(Direction.IN, Unit.BLOCKS, "blocks", when_zero=256))
READ_10 = _medium(0x28, "READ", 10, {**_READ, "reladr": 0x01}, _BLOCKS_IN)
READ_12 = _medium(0xA8, "READ", 12, _READ, _BLOCKS_IN)
READ_16 = _medium(0x88, "READ", 16, _READ, _BLOCKS_IN)
READ_32 = _medium(VARIABLE_LENGTH, "READ", 32, _READ, _BLOCKS_IN, service_action=0x0009)
WRITE_6 = _medium(0x0A, "WRITE", 6, {}, Transfer(Direction.OUT, Unit.BLOCKS, "blocks", when_zero=256))
WRITE_10 = _medium(0x2A, "WRITE", 10, {**_WRITE, "reladr": 0x01}, _BLOCKS_OUT)
WRITE_12 = _medium(0xAA, "WRITE", 12, _WRITE, _BLOCKS_OUT)
WRITE_16 = _medium(0x8A, "WRITE", 16, _WRITE, _BLOCKS_OUT)
WRITE_32 = _medium(VARIABLE_LENGTH, "WRITE", 32, _WRITE, _BLOCKS_OUT, service_action=0x000B)
VERIFY_10 = _medium(0x2F, "VERIFY", 10, _VERIFY, _COMPARED)
VERIFY_12 = _medium(0xAF, "VERIFY", 12, _VERIFY, _COMPARED)
VERIFY_16 = _medium(0x8F, "VERIFY", 16, _VERIFY, _COMPARED)
VERIFY_32 = _medium(VARIABLE_LENGTH, "VERIFY", 32, _VERIFY, _COMPARED, service_action=0x000A)
WRITE_AND_VERIFY_10 = _medium(0x2E, "WRITE AND VERIFY", 10, _WRITE_VERIFY, _BLOCKS_OUT)
WRITE_AND_VERIFY_12 = _medium(0xAE, "WRITE AND VERIFY", 12, _WRITE_VERIFY, _BLOCKS_OUT)
WRITE_AND_VERIFY_16 = _medium(0x8E, "WRITE AND VERIFY", 16, _WRITE_VERIFY, _BLOCKS_OUT)
WRITE_AND_VERIFY_32 = _medium(
    VARIABLE_LENGTH, "WRITE AND VERIFY", 32, _WRITE_VERIFY, _BLOCKS_OUT, service_action=0x000C
)
WRITE_SAME_10 = _medium(0x41, "WRITE SAME", 10, _WRITE_SAME, _ONE_BLOCK_OUT)
WRITE_SAME_16 = _medium(0x93, "WRITE SAME", 16, {**_WRITE_SAME, "ndob": 0x01}, _UNLESS_NDOB)
WRITE_SAME_32 = _medium(
    VARIABLE_LENGTH, "WRITE SAME", 32, {**_WRITE_SAME, "ndob": 0x01}, _UNLESS_NDOB, service_action=0x000D
)
OR_WRITE_16 = _medium(0x8B, "ORWRITE", 16, _OR_WRITE, _BLOCKS_OUT)
WRITE_ATOMIC_16 = _row(
    0x9C,
    "WRITE ATOMIC(16)",
    16,
    {
        "wrprotect": _bit(1, 0xE0),
        "dpo": _bit(1, 0x10),
        "fua": _bit(1, 0x08),
        "lba": At(2, 8),
        "atomic_boundary": At(10, 2),
        "blocks": At(12, 2),
        "group_number": _bit(14, 0x1F),
    },
    _BLOCKS_OUT,
)
COMPARE_AND_WRITE = _row(
    0x89,
    "COMPARE AND WRITE",
    16,
    {
        **{flag: At(1, 1, mask) for flag, mask in _WRITE.items()},
        "lba": At(2, 8),
        "blocks": At(13),
        "group_number": _bit(14, 0x1F),
    },
    Transfer(Direction.OUT, Unit.BLOCKS, "blocks", factor=2),
)
XDWRITEREAD_10 = _medium(0x53, "XDWRITEREAD", 10, _XOR, Transfer(Direction.BIDI, Unit.BLOCKS, "blocks"))
XDWRITEREAD_32 = _medium(
    VARIABLE_LENGTH, "XDWRITEREAD", 32, _XOR, Transfer(Direction.BIDI, Unit.BLOCKS, "blocks"), service_action=0x0007
)
PRE_FETCH_10 = _medium(0x34, "PRE-FETCH", 10, {"immed": 0x02})
PRE_FETCH_16 = _medium(0x90, "PRE-FETCH", 16, {"immed": 0x02})
SYNCHRONIZE_CACHE_10 = _medium(0x35, "SYNCHRONIZE CACHE", 10, _SYNCHRONIZE)
SYNCHRONIZE_CACHE_16 = _medium(0x91, "SYNCHRONIZE CACHE", 16, _SYNCHRONIZE)
UNMAP = _row(0x42, "UNMAP", 10, _parameters(7, 2, anchor=_bit(1, 0x01), group_number=_bit(6, 0x1F)), _PARAMETERS)
_LONG_10 = {"lba": At(2, 4), "byte_transfer_length": At(7, 2)}
_LONG_16 = {"lba": At(2, 8), "byte_transfer_length": At(12, 2)}
_WRITE_LONG = {"cor_dis": _bit(1, 0x80), "wr_uncor": _bit(1, 0x40), "pblock": _bit(1, 0x20)}
READ_LONG_10 = _row(
    0x3E, "READ LONG(10)", 10, {**_LONG_10, "pblock": _bit(1, 0x04), "correct": _bit(1, 0x02)}, _BYTES_IN
)
READ_LONG_16 = _row(
    0x9E,
    "READ LONG(16)",
    16,
    {**_LONG_16, "pblock": _bit(14, 0x02), "correct": _bit(14, 0x01)},
    _BYTES_IN,
    service_action=0x11,
)
WRITE_LONG_10 = _row(0x3F, "WRITE LONG(10)", 10, {**_WRITE_LONG, **_LONG_10}, _UNLESS_WR_UNCOR)
WRITE_LONG_16 = _row(0x9F, "WRITE LONG(16)", 16, {**_WRITE_LONG, **_LONG_16}, _UNLESS_WR_UNCOR, service_action=0x11)
_DEFECTS = {"req_plist": 0x10, "req_glist": 0x08, "defect_list_format": 0x07}
READ_DEFECT_DATA_10 = _row(
    0x37,
    "READ DEFECT DATA(10)",
    10,
    _allocation(7, 2, **{name: At(2, 1, mask) for name, mask in _DEFECTS.items()}),
    _ALLOCATION,
)
READ_DEFECT_DATA_12 = _row(
    0xB7,
    "READ DEFECT DATA(12)",
    12,
    _allocation(6, 4, **{name: At(1, 1, mask) for name, mask in _DEFECTS.items()}, address_descriptor_index=At(2, 4)),
    _ALLOCATION,
)

# --- SBC-3: the medium and the unit
READ_CAPACITY_10 = _row(
    0x25,
    "READ CAPACITY(10)",
    10,
    {"reladr": _bit(1, 0x01), "lba": At(2, 4), "pmi": _bit(8, 0x01)},
    Transfer(Direction.IN, Unit.BYTES, 8),
)
READ_CAPACITY_16 = _row(
    0x9E,
    "READ CAPACITY(16)",
    16,
    _allocation(10, 4, lba=At(2, 8), pmi=_bit(14, 0x01)),
    _ALLOCATION,
    service_action=0x10,
)
GET_LBA_STATUS = _row(
    0x9E, "GET LBA STATUS", 16, _allocation(10, 4, lba=At(2, 8), report_type=At(14)), _ALLOCATION, service_action=0x12
)
START_STOP_UNIT = _row(
    0x1B,
    "START STOP UNIT",
    6,
    {
        "immed": _bit(1, 0x01),
        "power_condition_modifier": _bit(3, 0x0F),
        "power_condition": _bit(4, 0xF0),
        "no_flush": _bit(4, 0x04),
        "loej": _bit(4, 0x02),
        "start": _bit(4, 0x01),
    },
)


def _sanitize(service_action: int, action: str) -> Command:
    fields = _parameters(7, 2, immed=_bit(1, 0x80), znr=_bit(1, 0x40), ause=_bit(1, 0x20))
    return _row(0x48, f"SANITIZE ({action})", 10, fields, _PARAMETERS, service_action=service_action)


SANITIZE_OVERWRITE = _sanitize(0x01, "OVERWRITE")
SANITIZE_BLOCK_ERASE = _sanitize(0x02, "BLOCK ERASE")
SANITIZE_CRYPTOGRAPHIC_ERASE = _sanitize(0x03, "CRYPTOGRAPHIC ERASE")
SANITIZE_EXIT_FAILURE_MODE = _sanitize(0x1F, "EXIT FAILURE MODE")
