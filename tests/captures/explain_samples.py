"""One event of each kind, as it comes out of a log."""

from __future__ import annotations

from iscsi_captures.explain.found import Found
from iscsi_protocol.eventlog import EVENTS, SERVICE_EVENTS, SERVICE_SOURCE, SOURCE, Dump, EventRecord, address, words
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import (
    R2T,
    DataIn,
    LoginResponse,
    NopIn,
    ScsiResponse,
    TextRequest,
    encode,
)
from iscsi_protocol.text import encode_pairs

NAME = b"iqn.2026-01.org.example:disk"
SECRET = b"hunter2-7d1"
"""What a careless host leaves in events 35 and 36."""

_REFUSED = LoginResponse(
    status_class=2, status_detail=1, csg=0, nsg=1, itt=1, stat_sn=3, data=encode_pairs([("TargetAlias", "disks")])
)
_EXTRA = {
    Dump.NONE: b"",
    Dump.ADDRESS: address(Endpoint("192.0.2.10", 3260)),
    Dump.COMMAND_NUMBERS: words(9, 4),
    Dump.BURST_LENGTHS: words(65536, 8192),
    Dump.STATUS: words(0xC000020D),
    Dump.FUNCTION: words(3),
    Dump.CDB: bytes.fromhex("28000000100000000800"),
    Dump.PDU: encode(_REFUSED).to_bytes(),
    Dump.TARGET_NAME: NAME,
    Dump.HEADER: bytes(encode(DataIn(itt=0x11, ttt=0xFFFFFFFF, data_sn=2, buffer_offset=8192)).bhs),
    Dump.HEADER_AND_DIGEST: encode(NopIn(stat_sn=9)).with_digests(header=True, data=False).to_bytes(),
    Dump.CHECKSUMS: words(0x12345678, 0x12345679),
    Dump.STATUS_NUMBERS: words(7, 9),
    Dump.REJECTED_HEADER: bytes(encode(TextRequest(itt=5, cmd_sn=8)).bhs),
    Dump.SIZE: words(1025),
    Dump.HIDDEN: SECRET,
}
_TEXTS = {
    12: b"TargetAddress=[2001:db8::1:3260",
    13: b"KRB5",
    14: b"99",
    15: b"0xZZ",
    16: b"CHAP_Q=1",
    17: b"0x0123456789abcdef0123456789abcdef",
}
_OWN = {
    28: bytes(encode(R2T(itt=0x11, ttt=4, desired_data_transfer_length=0)).bhs),
    60: bytes(encode(ScsiResponse(itt=0x11, data=b"more")).bhs),
}


def extra(event: int) -> bytes:
    """Extra data as the event has it."""
    return _OWN.get(event) or _TEXTS.get(event) or _EXTRA[EVENTS[event].dump]


def packet(event: int) -> bytes:
    """A record of the driver."""
    return EventRecord.of(event, extra(event), sequence=7).encode()


def sample(event: int) -> Found:
    """An event of the driver, or of the service where the number is one of those."""
    if event in SERVICE_EVENTS:
        given = {"error": "0xefff0003", "status": "1", "portal": "192.0.2.10 3260"}
        strings = tuple(given.get(name, f"the {name}") for name in SERVICE_EVENTS[event].inserts)
        return Found(place="event 1", source=SERVICE_SOURCE, id=event, strings=strings, level="error")
    return Found(place="event 1", source=SOURCE, id=event, packet=packet(event), time="2026-01-31T12:00:00Z")
