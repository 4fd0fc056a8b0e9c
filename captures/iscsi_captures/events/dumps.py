"""The extra data of an event, as the log has it: numbers are little-endian u32, everything else the bytes of the wire."""

from __future__ import annotations

import ipaddress
import struct

from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import AhsError, AhsType, Buffer, decode_ahs

_FAMILIES = {4: 2, 6: 23}
_GROUP_LENGTHS = {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}
_HEADER_CDB = 16
_VARIABLE = 3


def words(*numbers: int) -> bytes:
    """Numbers, each cut to 32 bits."""
    return b"".join((number & 0xFFFFFFFF).to_bytes(4, "little") for number in numbers)


def address(endpoint: Endpoint) -> bytes:
    """Family, port and address; family 0 and the text of a host that is a name."""
    try:
        host = ipaddress.ip_address(endpoint.host.split("%", 1)[0])
    except ValueError:
        return struct.pack("<HH", 0, endpoint.port & 0xFFFF) + endpoint.host.encode("utf-8", "surrogateescape")
    return struct.pack("<HH", _FAMILIES[host.version], endpoint.port & 0xFFFF) + host.packed


def command_block(bhs: Buffer, ahs: Buffer) -> bytes:
    """The CDB of a SCSI Command, without what pads it in the header: its group code says how long it is (SAM, SPC)."""
    cdb = bytes(bhs[32:48])
    group = cdb[0] >> 5
    if group != _VARIABLE:
        return cdb[: _GROUP_LENGTHS.get(group, _HEADER_CDB)]
    length = 8 + cdb[7]
    try:
        for segment in decode_ahs(bytes(ahs)):
            if segment.code == AhsType.EXTENDED_CDB:
                cdb += segment.contents[1:]
    except AhsError:
        return cdb
    return cdb[:length]
