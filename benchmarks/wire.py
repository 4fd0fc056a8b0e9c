"""How fast the wire is: encoding, decoding, cutting a stream into PDUs, and passing it through a FaultyWire.

Things per second in one process, for PDUs of the header alone and with 4 KiB of data, with digests and without.
"""

from __future__ import annotations

from collections.abc import Callable

from iscsi_protocol.fault import Drop, Fault, FaultyWire, FieldIs, When
from iscsi_protocol.framing import Framer
from iscsi_protocol.pdu import DataIn, LoginRequest, LoginResponse, Opcode, Pdu, ScsiCommand, decode, encode
from iscsi_protocol.stream import Direction
from iscsi_protocol.text import encode_pairs
from measure import rate

BATCH = 64
"""PDUs in what one receive brings."""

_COMMAND = ScsiCommand(final=True, read=True, itt=7, cmd_sn=9, exp_stat_sn=11, expected_data_transfer_length=4096)
_DATA = DataIn(final=True, status_present=True, itt=7, stat_sn=11, data=bytes(range(256)) * 16)
_PDUS: tuple[tuple[str, Pdu, Direction], ...] = (
    ("48 bytes", _COMMAND, Direction.TO_TARGET),
    ("48 bytes + 4 KiB", _DATA, Direction.TO_INITIATOR),
)


def speeds(seconds: float) -> list[tuple[str, str, bool, float]]:
    """(what, PDU, digests, things per second); each measured for so many seconds."""
    found = []
    for label, pdu, direction in _PDUS:
        for digests in (False, True):
            for what, once in _works(pdu, direction, digests=digests):
                found.append((what, label, digests, rate(once, seconds)))
    return found


def _works(pdu: Pdu, direction: Direction, *, digests: bool) -> list[tuple[str, Callable[[], int]]]:
    raw = encode(pdu).with_digests(header=digests, data=digests)
    batch = raw.to_bytes() * BATCH

    def encodes() -> int:
        for _ in range(BATCH):
            made = encode(pdu)
            if digests:
                made = made.with_digests(header=True, data=True)
            made.buffers()
        return BATCH

    def decodes() -> int:
        for _ in range(BATCH):
            decode(raw)
        return BATCH

    def cuts() -> int:
        framer.receive(batch)
        return sum(1 for _ in framer)

    def passes() -> int:
        untouched.forward(direction, batch, 0.0)
        return BATCH

    def looks() -> int:
        watched.forward(direction, batch, 0.0)
        return BATCH

    framer = Framer(header_digest=digests, data_digest=digests)
    untouched = _logged_in(direction.other, digests=digests)
    watched = _logged_in(direction, digests=digests)
    works = [("encode", encodes), ("framer", cuts), ("FaultyWire, no fault that way", passes)]
    works.append(("FaultyWire, a fault that looks at each", looks))
    if not digests:
        works.insert(1, ("decode", decodes))  # of what a framer has cut, which has seen to the digests
    return works


def _logged_in(direction: Direction, *, digests: bool) -> FaultyWire:
    """A connection behind its login, with a fault that waits for what never comes."""
    opcode = Opcode.SCSI_COMMAND if direction is Direction.TO_TARGET else Opcode.SCSI_DATA_IN
    when = When(direction=direction, opcode=opcode, tests=(FieldIs("itt", 0),), times=0)
    wire = FaultyWire([Fault(when=when, what=(Drop(),))])
    value = "CRC32C" if digests else "None"
    data = encode_pairs([("HeaderDigest", value), ("DataDigest", value)])
    wire.forward(Direction.TO_TARGET, encode(LoginRequest(transit=True, csg=1, nsg=3, data=data)).to_bytes(), 0.0)
    wire.forward(Direction.TO_INITIATOR, encode(LoginResponse(transit=True, csg=1, nsg=3, data=data)).to_bytes(), 0.0)
    return wire
