"""The PDUs of chapter 11: every field's place against a table typed by hand, and the codec by properties."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from iscsi_protocol import pdu as module
from iscsi_protocol.pdu import (
    NO_TAG,
    PDU_CLASSES,
    R2T,
    At,
    DataIn,
    LayoutError,
    LoginRequest,
    LoginResponse,
    NopIn,
    NopOut,
    Opcode,
    Pdu,
    RawPdu,
    ScsiCommand,
    ScsiResponse,
    TextRequest,
    UnknownPdu,
    decode,
    derive,
    encode,
    field_of,
    get_field,
    has_field,
    opcode_name,
    register,
    set_field,
)
from iscsi_protocol.pdu.base import declared_defaults
from iscsi_protocol.pdu.codes import (
    VENDOR_INITIATOR_OPCODES,
    VENDOR_TARGET_OPCODES,
    is_initiator_opcode,
    login_status_text,
)
from iscsi_protocol.pdu.numbering import carries_cmd_sn, carries_stat_sn, consumes_cmd_sn, consumes_stat_sn

# Name, first byte, size, mask: typed from chapter 11 and from RFC 7144, not from the code.
REQUEST_TAIL = "cmd_sn 24 4 -, exp_stat_sn 28 4 -"
RESPONSE_TAIL = "stat_sn 24 4 -, exp_cmd_sn 28 4 -, max_cmd_sn 32 4 -"
LUN_ITT = "lun 8 8 -, itt 16 4 -"
GOLDEN = {
    0x00: ("NopOut", "immediate 0 1 40, final 1 1 80, ttt 20 4 -", LUN_ITT, REQUEST_TAIL),
    0x01: (
        "ScsiCommand",
        "immediate 0 1 40, final 1 1 80, read 1 1 40, write 1 1 20, attribute 1 1 07, command_priority 2 1 f0",
        "expected_data_transfer_length 20 4 -, cdb 32 16 -",
        LUN_ITT,
        REQUEST_TAIL,
    ),
    0x02: (
        "TaskManagementRequest",
        "immediate 0 1 40, final 1 1 80, function 1 1 7f, referenced_task_tag 20 4 -",
        "ref_cmd_sn 32 4 -, exp_data_sn 36 4 -",
        LUN_ITT,
        REQUEST_TAIL,
    ),
    0x03: (
        "LoginRequest",
        "immediate 0 1 40, transit 1 1 80, continued 1 1 40, csg 1 1 0c, nsg 1 1 03, version_max 2 1 -",
        "version_min 3 1 -, isid 8 6 -, tsih 14 2 -, itt 16 4 -, cid 20 2 -",
        REQUEST_TAIL,
    ),
    0x04: ("TextRequest", "immediate 0 1 40, final 1 1 80, continued 1 1 40, ttt 20 4 -", LUN_ITT, REQUEST_TAIL),
    0x05: (
        "DataOut",
        "final 1 1 80, ttt 20 4 -, exp_stat_sn 28 4 -, data_sn 36 4 -, buffer_offset 40 4 -",
        LUN_ITT,
    ),
    0x06: ("LogoutRequest", "immediate 0 1 40, final 1 1 80, reason 1 1 7f, itt 16 4 -, cid 20 2 -", REQUEST_TAIL),
    0x10: (
        "SnackRequest",
        "final 1 1 80, snack_type 1 1 0f, ttt 20 4 -, exp_stat_sn 28 4 -, beg_run 40 4 -, run_length 44 4 -",
        LUN_ITT,
    ),
    0x20: ("NopIn", "final 1 1 80, ttt 20 4 -", LUN_ITT, RESPONSE_TAIL),
    0x21: (
        "ScsiResponse",
        "final 1 1 80, bidi_overflow 1 1 10, bidi_underflow 1 1 08, overflow 1 1 04, underflow 1 1 02",
        "response 2 1 -, status 3 1 -, status_qualifier 8 2 -, itt 16 4 -, snack_tag 20 4 -, exp_data_sn 36 4 -",
        "bidi_residual_count 40 4 -, residual_count 44 4 -",
        RESPONSE_TAIL,
    ),
    0x22: (
        "TaskManagementResponse",
        "final 1 1 80, response 2 1 -, additional_response_information 8 3 -, itt 16 4 -",
        RESPONSE_TAIL,
    ),
    0x23: (
        "LoginResponse",
        "transit 1 1 80, continued 1 1 40, csg 1 1 0c, nsg 1 1 03, version_max 2 1 -, version_active 3 1 -",
        "isid 8 6 -, tsih 14 2 -, itt 16 4 -, status_class 36 1 -, status_detail 37 1 -",
        RESPONSE_TAIL,
    ),
    0x24: ("TextResponse", "final 1 1 80, continued 1 1 40, ttt 20 4 -", LUN_ITT, RESPONSE_TAIL),
    0x25: (
        "DataIn",
        "final 1 1 80, acknowledge 1 1 40, overflow 1 1 04, underflow 1 1 02, status_present 1 1 01, status 3 1 -",
        "ttt 20 4 -, data_sn 36 4 -, buffer_offset 40 4 -, residual_count 44 4 -",
        LUN_ITT,
        RESPONSE_TAIL,
    ),
    0x26: (
        "LogoutResponse",
        "final 1 1 80, response 2 1 -, itt 16 4 -, time2wait 40 2 -, time2retain 42 2 -",
        RESPONSE_TAIL,
    ),
    0x31: (
        "R2T",
        "final 1 1 80, ttt 20 4 -, r2t_sn 36 4 -, buffer_offset 40 4 -, desired_data_transfer_length 44 4 -",
        LUN_ITT,
        RESPONSE_TAIL,
    ),
    0x32: (
        "AsyncMessage",
        "final 1 1 80, async_event 36 1 -, async_vcode 37 1 -, parameter1 38 2 -, parameter2 40 2 -, parameter3 42 2 -",
        LUN_ITT,
        RESPONSE_TAIL,
    ),
    0x3F: ("Reject", "final 1 1 80, reason 2 1 -, itt 16 4 -, data_sn 36 4 -", RESPONSE_TAIL),
}
PLACES = [
    (opcode, name, int(offset), int(size), None if mask == "-" else int(mask, 16))
    for opcode, (_, *rows) in GOLDEN.items()
    for name, offset, size, mask in (row.split() for row in ", ".join(rows).split(", "))
]


def test_every_opcode_has_its_message():
    assert {opcode: cls.__name__ for opcode, cls in PDU_CLASSES.items()} == {
        opcode: row[0] for opcode, row in GOLDEN.items()
    }
    assert set(PDU_CLASSES) == set(Opcode)
    assert all(getattr(module, cls.__name__) is cls for cls in PDU_CLASSES.values())


def test_every_message_has_these_fields_and_no_others():
    declared = {(opcode, name) for opcode, cls in PDU_CLASSES.items() for name in cls.FIELDS}
    assert declared == {(opcode, name) for opcode, name, *_ in PLACES}


@pytest.mark.parametrize(("opcode", "name", "offset", "size", "mask"), PLACES)
def test_field_lies_where_the_standard_puts_it(opcode, name, offset, size, mask):
    bits = (1 << 8 * size) - 1 if mask is None else mask
    only = bytes(offset) + bits.to_bytes(size, "big") + bytes(48 - offset - size)
    header = bytearray(only)
    header[0] |= opcode
    field = field_of(opcode, name)
    low = (bits & -bits).bit_length() - 1
    full = bits >> low

    assert field.header_mask == int.from_bytes(only, "big")
    raw = RawPdu(bytes(header))
    found = getattr(decode(raw), name)
    assert (int.from_bytes(found, "big") if isinstance(found, bytes) else found) == full
    assert get_field(raw, name) == found
    assert isinstance(found, bytes) is (name in {"lun", "isid", "cdb"})
    assert isinstance(found, bool) is (size == 1 and full == 1)
    assert bytes(set_field(RawPdu(bytes([opcode]) + bytes(47)), name, found).bhs) == bytes(header)
    assert bytes(set_field(raw, name, field.wrap(0)).bhs) == bytes([opcode]) + bytes(47)


LENGTH_BYTES = int.from_bytes(bytes(4) + b"\xff" * 4 + bytes(40), "big")


@pytest.mark.parametrize("opcode", range(0x40))
def test_what_is_no_field_is_reserved(opcode):
    mine = {row[1:] for row in PLACES if row[0] == opcode}
    claimed = LENGTH_BYTES | int.from_bytes(b"\x3f" + bytes(47), "big")
    for _, offset, size, mask in mine:
        bits = (1 << 8 * size) - 1 if mask is None else mask
        claimed |= bits << 8 * (48 - offset - size)
    everything = RawPdu(bytes([0xC0 | opcode]) + b"\xff" * 47)
    assert decode(everything).reserved == (1 << 384) - 1 & ~claimed


@given(header=st.binary(min_size=48, max_size=48), ahs=st.binary(max_size=12), data=st.binary(max_size=9))
def test_decoding_forgets_nothing(header, ahs, data):
    ahs = ahs[: len(ahs) & ~3]
    raw = RawPdu(header, ahs=ahs, data=data)
    back = encode(decode(raw))
    assert back.bhs == header
    assert (back.ahs, back.data) == (ahs, data)


@pytest.mark.parametrize("opcode", range(0x40))
@given(rest=st.binary(min_size=47, max_size=47), top=st.sampled_from([0, 0x40, 0x80, 0xC0]))
def test_any_header_of_any_opcode_comes_back(opcode, rest, top):
    header = bytes([top | opcode]) + rest
    message = decode(RawPdu(header))
    assert encode(message).bhs == header
    assert isinstance(message, PDU_CLASSES.get(opcode, UnknownPdu))


@st.composite
def messages(draw: DrawFn, cls: type[Pdu]) -> Pdu:
    """A message with any field values, reserved bits, parts, and lengths that may lie."""
    values: dict[str, object] = {}
    for name, field in cls.FIELDS.items():
        if field.kind is bytes:
            values[name] = draw(st.binary(min_size=field.at.size, max_size=field.at.size))
        elif field.kind is bool:
            values[name] = draw(st.booleans())
        else:
            values[name] = draw(st.integers(0, field.mask))
    ahs, data = bytes(4 * draw(st.integers(0, 3))), draw(st.binary(max_size=9))
    words = draw(st.none() | st.integers(0, 0xFF).filter(lambda n: n * 4 != len(ahs)))
    length = draw(st.none() | st.integers(0, 0xFFFFFF).filter(lambda n: n != len(data)))
    reserved = draw(st.integers(0, (1 << 384) - 1)) & cls.RESERVED_MASK
    return cls(total_ahs_length=words, data_segment_length=length, ahs=ahs, data=data, reserved=reserved, **values)


@pytest.mark.parametrize("cls", PDU_CLASSES.values(), ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_any_message_comes_back(cls, data):
    message = data.draw(messages(cls))
    raw = encode(message)
    assert len(raw.bhs) == 48
    assert decode(raw) == message
    assert raw.padding == bytes(-len(message.data) % 4)
    assert len(raw.to_bytes()) % 4 == 0


def test_the_read_command_of_the_sheet():
    cdb = bytes.fromhex("28000000 00000000 02000000 00000000")
    message = ScsiCommand(
        read=True,
        attribute=0,
        itt=0x14000000,
        expected_data_transfer_length=0x400,
        cmd_sn=0x14,
        exp_stat_sn=0x18,
        cdb=cdb,
    )
    raw = encode(message)
    assert raw.bhs.hex(" ", 4) == (
        "01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018 28000000 00000000 02000000 00000000"
    )
    assert raw.with_digests(header=True, data=True).header_digest == bytes.fromhex("563a96d9")


@pytest.mark.parametrize(
    ("message", "first_byte"),
    [
        (LoginRequest(), 0x43),
        (NopOut(immediate=True), 0x40),
        (NopOut(), 0x00),
        (ScsiCommand(immediate=True), 0x41),
        (TextRequest(immediate=True), 0x44),
        (module.TaskManagementRequest(), 0x42),
        (module.LogoutRequest(immediate=True), 0x46),
        (module.DataOut(), 0x05),
        (module.SnackRequest(), 0x10),
        (UnknownPdu(opcode=0x1C), 0x1C),
    ],
)
def test_first_byte(message, first_byte):
    assert encode(message).bhs[0] == first_byte


def test_default_tags_are_the_reserved_value():
    for cls in PDU_CLASSES.values():
        defaults = declared_defaults(cls)
        for name in {"itt", "ttt", "referenced_task_tag"} & set(defaults):
            assert defaults[name] == 0xFFFFFFFF, (cls, name)
        assert set(defaults) == set(cls.FIELDS)


def test_a_status_of_a_login_is_one_number():
    assert LoginResponse(status_class=2, status_detail=5).status == module.LoginStatus.UNSUPPORTED_VERSION


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (NopOut(itt=1 << 32), "itt takes 0 to 0xffffffff"),
        (NopOut(itt=-1), "itt takes"),
        (NopOut(lun=b"1234567"), "lun takes 8 bytes, got 7"),
        (NopOut(lun=b"123456789"), "lun takes 8 bytes, got 9"),
        (LoginRequest(csg=4), "csg takes 0 to 0x3, got 0x4"),
        (NopOut(ahs=b"abc"), "multiple of 4"),
        (NopOut(ahs=bytes(1024)), "total_ahs_length takes"),
        (NopOut(data_segment_length=1 << 24), "data_segment_length takes"),
        (NopOut(reserved=1 << 383 >> 7), "reserved has bits of a field"),
        (UnknownPdu(opcode=0x40), "opcode takes 0 to 0x3f"),
    ],
)
def test_what_does_not_fit_is_refused(message, complaint):
    with pytest.raises(ValueError, match=complaint):
        encode(message)


def test_bytes_may_come_in_any_buffer():
    lun = bytes(range(8))
    for buffer in (bytearray(lun), memoryview(lun)):
        assert field_of(Opcode.NOP_OUT, "lun").put(buffer) == field_of(Opcode.NOP_OUT, "lun").put(lun)


@pytest.mark.parametrize(
    ("name", "number", "value"),
    [("itt", 1 << 32 | 7, 7), ("itt", -1, NO_TAG), ("final", 2, False), ("final", 3, True), ("lun", -1, b"\xff" * 8)],
)
def test_a_number_is_wrapped_to_its_field(name, number, value):
    wrapped = field_of(Opcode.NOP_OUT, name).wrap(number)
    assert wrapped == value
    assert type(wrapped) is type(value)


def test_common_fields_are_fields_of_every_opcode():
    raw = RawPdu(bytes([0x5C]) + bytes(3) + b"\x02\x00\x01\x03" + bytes(40))
    assert [get_field(raw, name) for name in ("opcode", "total_ahs_length", "data_segment_length")] == [0x1C, 2, 0x103]
    assert set_field(raw, "opcode", 0).bhs[0] == 0x40
    assert has_field(0x1C, "opcode")
    assert not has_field(0x1C, "itt")
    assert not has_field(Opcode.R2T, "cmd_sn")
    assert has_field(Opcode.R2T, "r2t_sn")


def test_a_field_that_the_message_lacks_raises():
    with pytest.raises(KeyError):
        get_field(RawPdu(bytes(48)), "stat_sn")
    with pytest.raises(KeyError):
        set_field(RawPdu(bytes([0x1C]) + bytes(47)), "itt", 1)


def test_setting_a_field_keeps_everything_else():
    raw = RawPdu(bytes(48), b"ahs.", b"data!", b"pad", b"hdig", b"ddig", True, True)
    assert set_field(raw, "itt", 0x01020304) == replace(raw, bhs=bytes(16) + b"\1\2\3\4" + bytes(28))


def test_names_of_opcodes():
    assert {opcode: opcode_name(opcode) for opcode in GOLDEN} == {
        0x00: "NOP-Out",
        0x01: "SCSI Command",
        0x02: "Task Management Function Request",
        0x03: "Login Request",
        0x04: "Text Request",
        0x05: "SCSI Data-Out",
        0x06: "Logout Request",
        0x10: "SNACK Request",
        0x20: "NOP-In",
        0x21: "SCSI Response",
        0x22: "Task Management Function Response",
        0x23: "Login Response",
        0x24: "Text Response",
        0x25: "SCSI Data-In",
        0x26: "Logout Response",
        0x31: "Ready To Transfer",
        0x32: "Asynchronous Message",
        0x3F: "Reject",
    }
    assert opcode_name(0x1C) == "opcode 0x1c"


@dataclass(frozen=True, kw_only=True, slots=True)
class Overlapping(Pdu):
    OPCODE: ClassVar[int] = 0x1D
    one: Annotated[int, At(8, 4)] = 0
    other: Annotated[int, At(11, 2)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class OnTheLength(Pdu):
    OPCODE: ClassVar[int] = 0x1D
    one: Annotated[int, At(7)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class BehindTheEnd(Pdu):
    OPCODE: ClassVar[int] = 0x1D
    one: Annotated[int, At(46, 4)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class WideMask(Pdu):
    OPCODE: ClassVar[int] = 0x1D
    one: Annotated[int, At(9, 1, 0x1FF)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Twice(Pdu):
    """Twice (11.18)."""

    OPCODE: ClassVar[int] = 0x00


@pytest.mark.parametrize(
    ("cls", "complaint"),
    [
        (Overlapping, "Overlapping.other overlaps"),
        (OnTheLength, "OnTheLength.one overlaps"),
        (BehindTheEnd, "one does not fit"),
        (WideMask, "one does not fit"),
    ],
)
def test_a_layout_that_cannot_stand_is_refused(cls, complaint):
    with pytest.raises(LayoutError, match=complaint):
        derive(cls)


def test_an_opcode_is_declared_once():
    with pytest.raises(LayoutError, match="opcode 0x00 is declared twice"):
        register(Twice)
    assert PDU_CLASSES[0] is NopOut


def test_whose_an_opcode_is():
    initiators = {opcode for opcode in range(0x40) if is_initiator_opcode(opcode)}
    assert initiators == set(range(0x20))
    assert list(VENDOR_INITIATOR_OPCODES) == [0x1C, 0x1D, 0x1E]
    assert list(VENDOR_TARGET_OPCODES) == [0x3C, 0x3D, 0x3E]


CODES = {
    "LoginStatus": "0000 0101 0102 0200 0201 0202 0203 0204 0205 0206 0207 0208 0209 020a 020b 0300 0301 0302",
    "RejectReason": "02 03 04 05 06 07 08 09 0a 0b 0c",
    "AsyncEvent": "0 1 2 3 4 5 f8",
    "LogoutReason": "0 1 2",
    "LogoutResponseCode": "0 1 2 3",
    "TaskFunction": "1 2 3 4 5 6 7 8 9 a b c",
    "TaskResponse": "0 1 2 3 4 5 6 7 ff",
    "SnackType": "0 1 2 3",
    "ScsiResponseCode": "0 1 80",
    "TaskAttribute": "0 1 2 3 4",
    "AhsType": "1 2",
    "Stage": "0 1 3",
}


@pytest.mark.parametrize("name", CODES)
def test_code_points(name):
    assert [int(member) for member in getattr(module, name)] == [int(word, 16) for word in CODES[name].split()]


# Opcode: CmdSN is there, it is used up unless immediate, StatSN is there, it is used up (wire order of 11.2).
NUMBERED = {0x00, 0x01, 0x02, 0x04, 0x06}
STATUS = {0x21, 0x22, 0x23, 0x24, 0x26, 0x32, 0x3F}


@pytest.mark.parametrize("opcode", range(0x40))
@pytest.mark.parametrize("flags", [0x80, 0x81])
@pytest.mark.parametrize("itt", [b"\0\0\0\1", b"\xff\xff\xff\xff"])
def test_who_uses_up_a_number(opcode, flags, itt):
    for immediate in (0, 0x40):
        raw = RawPdu(memoryview(bytes([opcode | immediate, flags]) + bytes(14) + itt + bytes(28)))
        assert carries_cmd_sn(raw) is (opcode in NUMBERED | {0x03})
        assert consumes_cmd_sn(raw) is (opcode in NUMBERED and not immediate)
        with_status = opcode == 0x25 and flags == 0x81
        assert carries_stat_sn(raw) is (opcode in STATUS | {0x20, 0x31} or with_status)
        answer = opcode == 0x20 and itt != b"\xff\xff\xff\xff"
        assert consumes_stat_sn(raw) is (opcode in STATUS or with_status or answer)


@pytest.mark.parametrize("cls", [NopIn, R2T, ScsiResponse, DataIn])
def test_messages_are_values(cls):
    assert cls() == cls()
    assert hash(cls(itt=1)) == hash(cls(itt=1))
    with pytest.raises(AttributeError):
        cls().itt = 5


@pytest.mark.parametrize(
    ("status", "text"), [(0x0203, "0203 (not found)"), (0, "0000 (success)"), (0x02FF, "02ff"), (0x1, "0001")]
)
def test_a_login_status_in_words(status, text):
    assert login_status_text(status) == text
