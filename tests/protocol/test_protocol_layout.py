"""Precompiled access to chosen fields of a header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.pdu import (
    PDU_CLASSES,
    DataIn,
    LoginResponse,
    LogoutResponse,
    RawPdu,
    ScsiCommand,
    TaskManagementResponse,
    decode,
    encode,
    get_field,
    packer,
    unpacker,
)

WHOLE = {
    cls: [
        name
        for name, field in sorted(cls.FIELDS.items(), key=lambda item: item[1].at.offset)
        if field.at.mask is None and (field.kind is bytes or field.at.size in {1, 2, 4, 8})
    ]
    for cls in PDU_CLASSES.values()
}


@pytest.mark.parametrize("cls", WHOLE, ids=lambda cls: cls.__name__)
@given(rest=st.binary(min_size=47, max_size=47), before=st.binary(max_size=5))
def test_unpacking_gives_what_decoding_gives(cls, rest, before):
    header = bytes([cls.OPCODE]) + rest
    values = unpacker(cls, *WHOLE[cls])(before + header, len(before))
    assert values == tuple(get_field(RawPdu(header), name) for name in WHOLE[cls])
    assert unpacker(cls, "@0", "@1", *WHOLE[cls])(memoryview(header), 0) == (header[0], header[1], *values)


@pytest.mark.parametrize("cls", WHOLE, ids=lambda cls: cls.__name__)
@given(rest=st.binary(min_size=47, max_size=47))
def test_packing_sets_these_fields_and_nothing_else(cls, rest):
    header = bytes([cls.OPCODE]) + rest
    values = unpacker(cls, *WHOLE[cls])(header, 0)
    packed = packer(cls, "@0", *WHOLE[cls])(cls.OPCODE, *values)
    zeros = {name: field.wrap(0) for name, field in cls.FIELDS.items()}
    expected = cls(**{**zeros, **dict(zip(WHOLE[cls], values, strict=True))})
    assert packed == encode(expected).bhs


def test_the_lengths_and_single_bytes():
    raw = encode(ScsiCommand(write=True, ahs=bytes(8), data=b"abc", itt=9))
    assert unpacker(ScsiCommand, "@1", "total_ahs_length", "@7", "itt")(raw.bhs, 0) == (0xA1, 2, 3, 9)
    assert unpacker(ScsiCommand, "@47")(bytes(47) + b"\x07", 0) == (7,)
    assert unpacker(ScsiCommand, "@0:4", "@4:8", "@46:48")(bytes(raw.bhs[:46]) + b"\1\2", 0) == (
        0x01A10000,
        0x02000003,
        0x0102,
    )
    assert decode(RawPdu(packer(ScsiCommand, "@0", "@1", "itt")(1, 0xA1, 9))) == ScsiCommand(write=True, itt=9)


def test_a_short_cdb_is_filled_up_with_zeros():
    assert packer(ScsiCommand, "cdb")(b"\x28abc") == bytes(32) + b"\x28abc" + bytes(12)


@pytest.mark.parametrize(
    ("cls", "names", "complaint"),
    [
        (ScsiCommand, ["itt", "lun"], "lun is out of order"),
        (ScsiCommand, ["itt", "itt"], "itt is out of order"),
        (ScsiCommand, ["read"], "read is part of a byte: ask for @1"),
        (ScsiCommand, ["opcode"], "opcode is part of a byte: ask for @0"),
        (LoginResponse, ["csg"], "csg is part of a byte"),
        (TaskManagementResponse, ["additional_response_information"], "has 3 bytes: ask for them singly"),
        (DataIn, ["data_segment_length"], "has 3 bytes"),
        (DataIn, ["@48"], "@48 is no byte of the BHS"),
        (DataIn, ["@-1"], "@-1 is no byte of the BHS"),
        (DataIn, ["@46:50"], "@46:50 is no byte of the BHS"),
        (DataIn, ["@0:3"], "nor 2, 4 or 8 of them"),
    ],
)
@pytest.mark.parametrize("make", [unpacker, packer])
def test_what_cannot_be_had_is_refused(make, cls, names, complaint):
    with pytest.raises(ValueError, match=complaint):
        make(cls, *names)


def test_a_field_of_another_message_is_refused():
    with pytest.raises(KeyError):
        unpacker(LogoutResponse, "cmd_sn")
