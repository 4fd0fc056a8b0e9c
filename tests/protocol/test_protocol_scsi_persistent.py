"""Parameter data and lists of persistent reservations, and the TransportIDs in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.persistent import (
    BasicFields,
    Capabilities,
    FullStatus,
    MoveFields,
    Reservation,
    ReservationType,
    build_basic,
    build_full_status,
    build_keys,
    build_move,
    build_reservation,
    parse_basic,
    parse_full_status,
    parse_initiator_ports,
    parse_keys,
    parse_move,
    parse_reservation,
    type_mask,
)
from iscsi_protocol.scsi.provisioning import ParameterListError
from iscsi_protocol.scsi.sense import FieldPointer
from iscsi_protocol.scsi.transport_id import (
    TransportId,
    TransportIdError,
    TruncatedTransportId,
    parse_transport_id,
    parse_transport_ids,
)

NAME = "iqn.2026-11.org.example:one"
ISID = bytes.fromhex("80ab00cdef01")
PORT = TransportId(NAME, ISID)
NODE = TransportId(NAME)
TOO_SHORT = AdditionalSense.PARAMETER_LIST_LENGTH_ERROR
INVALID = AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
transport_ids = st.builds(TransportId, names, st.none() | st.binary(min_size=6, max_size=6)).filter(
    lambda each: each.isid is not None or ",i,0x" not in each.name
)


def test_a_port_is_name_and_isid():
    """Format 01b, NUL behind the text, padded to a multiple of four."""
    text = b"iqn.2026-11.org.example:one,i,0x80ab00cdef01\0"
    assert PORT.build() == bytes.fromhex("45000030") + text.ljust(48, b"\0")


def test_a_name_alone_is_format_0_and_at_least_20_bytes_long():
    assert TransportId("iqn.x").build() == bytes.fromhex("05000014") + b"iqn.x".ljust(20, b"\0")
    assert NODE.build() == bytes.fromhex("0500001c") + NAME.encode() + b"\0"


@given(transport_ids)
def test_transport_ids_come_back(transport_id):
    built = transport_id.build()
    assert len(built) % 4 == 0
    assert parse_transport_id(b"ab" + built + b"c", 2) == (transport_id, 2 + len(built))


def test_isids_are_hexadecimal_in_either_case():
    upper = bytearray(PORT.build())
    upper[4:] = bytes(upper[4:]).replace(b"80ab00cdef01", b"80AB00CDEF01")
    assert parse_transport_id(upper)[0] == PORT


def test_an_isid_of_another_length_cannot_be_built():
    with pytest.raises(ValueError, match="6 bytes"):
        TransportId(NAME, b"12345").build()


def bent(transport_id, at, *values):
    data = bytearray(transport_id.build())
    data[at : at + len(values)] = bytes(values)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "kind", "at"),
    [
        (b"\x05\0\0", TruncatedTransportId, 0),
        (NODE.build()[:-1], TruncatedTransportId, 2),
        (bent(NODE, 0, 0x00), TransportIdError, 0),
        (bent(NODE, 0, 0x85), TransportIdError, 0),
        (bytes.fromhex("05000010") + bytes(16), TransportIdError, 2),
        (bytes.fromhex("05000016") + bytes(22), TransportIdError, 2),
        (bytes.fromhex("05000014") + b"x" * 20, TransportIdError, 4),
        (bytes.fromhex("05000014") + b"\xff" + bytes(19), TransportIdError, 4),
        (bent(NODE, 0, 0x45), TransportIdError, 4),
        (bytes.fromhex("45000014") + b"a,i,0x80ab00cdef0".ljust(20, b"\0"), TransportIdError, 4),
        (bytes.fromhex("45000014") + b"a,i,0x80ab00cdef0g".ljust(20, b"\0"), TransportIdError, 4),
    ],
)
def test_what_is_no_transport_id(data, kind, at):
    with pytest.raises(TransportIdError) as caught:
        parse_transport_id(data)
    assert type(caught.value) is kind
    assert caught.value.at == at


def test_a_list_says_where_in_it_the_mistake_is():
    assert parse_transport_ids(b"") == []
    assert parse_transport_ids(PORT.build() + NODE.build()) == [PORT, NODE]
    with pytest.raises(TransportIdError) as caught:
        parse_transport_ids(PORT.build() + bent(NODE, 0, 0))
    assert caught.value.at == len(PORT.build())
    with pytest.raises(TruncatedTransportId):
        parse_transport_ids(PORT.build() + b"\x05")


def test_types_say_who_may_do_what():
    table = {each: (each.exclusive_access, each.registrants, each.all_registrants) for each in ReservationType}
    assert table == {
        ReservationType.WRITE_EXCLUSIVE: (False, False, False),
        ReservationType.EXCLUSIVE_ACCESS: (True, False, False),
        ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY: (False, True, False),
        ReservationType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: (True, True, False),
        ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS: (False, True, True),
        ReservationType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS: (True, True, True),
    }


def test_capabilities_as_bytes():
    capabilities = Capabilities(
        compatible_reservation_handling=True,
        specify_initiator_ports=True,
        all_target_ports=True,
        persist_through_power_loss=True,
        type_mask_valid=True,
        allow_commands=3,
        persist_through_power_loss_activated=True,
        type_mask=type_mask(ReservationType),
    )
    assert capabilities.build().hex() == "00081db1ea010000"
    assert Capabilities.parse(capabilities.build()) == capabilities
    assert Capabilities(replace_lost_reservation=True).build()[2] == 0x80
    assert type_mask([ReservationType.WRITE_EXCLUSIVE]) == 0x0200


def test_keys():
    data = build_keys(7, [1, 0xAABBCCCCBBAA0002])
    assert data.hex() == "00000007000000100000000000000001aabbccccbbaa0002"
    assert parse_keys(data) == (7, [1, 0xAABBCCCCBBAA0002])
    assert parse_keys(data[:20]) == (7, [1])
    assert parse_keys(b"") == (0, [])


def test_reservations():
    assert build_reservation(3, None).hex() == "0000000300000000"
    assert parse_reservation(build_reservation(3, None)) == (3, None)
    held = Reservation(key=0x0102, type=ReservationType.EXCLUSIVE_ACCESS)
    data = build_reservation(3, held)
    assert data.hex() == "0000000300000010" + "0000000000000102" + "00000000" + "0003" + "0000"
    assert parse_reservation(data) == (3, held)


def test_full_status():
    one = FullStatus(key=5, transport_id=PORT, relative_target_port=2, holder=True, type=6)
    two = FullStatus(key=6, transport_id=NODE, all_target_ports=True)
    data = build_full_status(9, [one, two])
    assert one.build()[:24].hex() == "0000000000000005" + "00000000" + "0106" + "00000000" + "0002" + "00000034"
    assert two.build()[12] == 2
    assert parse_full_status(data) == (9, [one, two])
    assert parse_full_status(data[:-1]) == (9, [one])
    assert parse_full_status(data[:20]) == (9, [])


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.booleans(), st.lists(transport_ids, max_size=4))
def test_parameter_lists_come_back(key, new_key, aptpl, initiators):
    fields = BasicFields(key=key, service_action_key=new_key, specify_initiator_ports=True, aptpl=aptpl)
    data = build_basic(fields, initiators)
    assert parse_basic(data) == fields
    assert parse_initiator_ports(data) == initiators
    plain = BasicFields(key=key, all_target_ports=True)
    assert len(build_basic(plain, initiators)) == 24
    assert parse_basic(build_basic(plain)) == plain


def listed(*transport_ids):
    return build_basic(BasicFields(specify_initiator_ports=True), transport_ids)


@pytest.mark.parametrize(
    ("parse", "data", "code", "byte"),
    [
        (parse_basic, bytes(23), TOO_SHORT, None),
        (parse_initiator_ports, listed()[:27], TOO_SHORT, None),
        (parse_initiator_ports, listed(PORT)[:-4], TOO_SHORT, None),
        (parse_initiator_ports, listed(PORT) + bytes(4), TOO_SHORT, None),
        (parse_initiator_ports, listed()[:24] + b"\0\0\0\x08" + PORT.build()[:8], INVALID, 24),
        (parse_initiator_ports, bytes(24) + b"\0\0\0\x20" + bent(NODE, 0, 0), INVALID, 28),
        (parse_move, bytes(23), TOO_SHORT, None),
        (parse_move, build_move(MoveFields(), PORT)[:-1], TOO_SHORT, None),
        (parse_move, bytes(23) + b"\x08" + PORT.build()[:8], INVALID, 20),
        (parse_move, bytes(23) + b"\x20" + bent(NODE, 0, 0), INVALID, 24),
        (parse_move, bytes(23) + b"\x40" + NODE.build() * 2, INVALID, 20),
    ],
)
def test_lists_that_are_refused(parse, data, code, byte):
    with pytest.raises(ParameterListError) as caught:
        parse(data)
    assert caught.value.sense.code == code
    pointer = None if byte is None else FieldPointer(byte=byte, in_cdb=False)
    assert caught.value.sense.field_pointer == pointer


def test_moves():
    fields = MoveFields(key=1, service_action_key=2, unregister=True, aptpl=True, relative_target_port=3)
    data = build_move(fields, PORT)
    assert data[:24].hex() == "0000000000000001" + "0000000000000002" + "00" + "03" + "0003" + "00000034"
    found, to = parse_move(data)
    assert (found.key, found.service_action_key, found.unregister, found.aptpl) == (1, 2, True, True)
    assert (found.relative_target_port, to) == (3, PORT)
