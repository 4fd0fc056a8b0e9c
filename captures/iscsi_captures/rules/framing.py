"""Every PDU's shape: reserved bits, padding, AHS, opcodes and digests (11, 11.1, 11.2, 13.1)."""

from __future__ import annotations

from iscsi_captures.dialogue import Side, Sight
from iscsi_captures.rules.model import (
    ALL_OPCODES,
    BOTH_PHASES,
    INITIATOR_OPCODES,
    TARGET_OPCODES,
    Rules,
    Stain,
)
from iscsi_protocol.pdu import PDU_CLASSES, AhsError, AhsType, Opcode, decode_ahs, opcode_name
from iscsi_protocol.pdu.ahs import Ahs

RULES = Rules(BOTH_PHASES)

_IMMEDIATE_BIT = 0x40 << 376
RESERVED = {opcode: cls.RESERVED_MASK & ~_IMMEDIATE_BIT for opcode, cls in PDU_CLASSES.items()}
"""Header bits that the format leaves undefined, by opcode, over the header as one number. The I bit is not among them."""
_NO_IMMEDIATE = (*TARGET_OPCODES, Opcode.SCSI_DATA_OUT, Opcode.SNACK_REQUEST)
_LEVEL_2 = {
    Opcode.SCSI_COMMAND: ("command priority", slice(2, 3), 0xF0),
    Opcode.SCSI_RESPONSE: ("status qualifier", slice(8, 10), 0xFFFF),
    Opcode.TASK_MANAGEMENT_RESPONSE: ("additional response information", slice(8, 11), 0xFFFFFF),
}


@RULES("framing.reserved-bits", "R7143-11-02", *ALL_OPCODES, leans=False, stain=Stain.NOTHING)
def reserved_bits(sight: Sight) -> str | None:
    """Header bits that the format leaves undefined are sent as 0."""
    extra = int.from_bytes(sight.bhs, "big") & RESERVED[sight.opcode]
    if not extra:
        return None
    places = [index for index, byte in enumerate(extra.to_bytes(48, "big")) if byte]
    return f"{opcode_name(sight.opcode)} has reserved bits set in header byte {', '.join(map(str, places))}"


@RULES("framing.level-2-field", "R7143-11-02", *_LEVEL_2, leans=False, from_start=True, stain=Stain.NOTHING)
def level_2_field(sight: Sight) -> str | None:
    """Fields of protocol level 2 are reserved where no such level was agreed on."""
    if sight.connection.limits.protocol_level >= 2:
        return None
    name, place, mask = _LEVEL_2[Opcode(sight.opcode)]
    value = int.from_bytes(sight.bhs[place], "big") & mask
    return f"{name} {value:#x} on a session of protocol level 1" if value else None


@RULES("framing.padding-not-zero", "R7143-11.1-02", *ALL_OPCODES, level="SHOULD", leans=False)
def padding(sight: Sight) -> str | None:
    """Pad bytes are sent as zero."""
    return f"padding is {bytes(sight.raw.padding).hex(' ')}" if any(sight.raw.padding) else None


@RULES("framing.immediate-bit", "R7143-11.2.1.1-01", *_NO_IMMEDIATE, leans=False, stain=Stain.NOTHING)
def immediate_bit(sight: Sight) -> str | None:
    """The I bit is 0 where it is reserved: in target PDUs, Data-Out and SNACK."""
    return f"{opcode_name(sight.opcode)} has the I bit set" if sight.immediate else None


@RULES("framing.ahs-in-response", "R7143-11.2-04", *TARGET_OPCODES, leans=False, stain=Stain.NOTHING)
def ahs_in_response(sight: Sight) -> str | None:
    """A target's PDU carries no additional header segment."""
    return f"TotalAHSLength is {sight.bhs[4]}" if sight.bhs[4] else None


@RULES(
    "framing.ahs-in-request",
    "R7143-11.2.1.5-01",
    *(opcode for opcode in INITIATOR_OPCODES if opcode != Opcode.SCSI_COMMAND),
    leans=False,
)
def ahs_in_request(sight: Sight) -> str | None:
    """No request but the SCSI Command carries an additional header segment."""
    return f"TotalAHSLength is {sight.bhs[4]} in a {opcode_name(sight.opcode)}" if sight.bhs[4] else None


def _segments(sight: Sight) -> list[Ahs]:
    try:
        return decode_ahs(bytes(sight.raw.ahs))
    except AhsError:
        return []


@RULES("ahs.length", "R7143-11.2.2.2-01", Opcode.SCSI_COMMAND, leans=False)
def ahs_length(sight: Sight) -> str | None:
    """AHSLength counts the bytes behind the type, and the segments fill TotalAHSLength."""
    try:
        decode_ahs(bytes(sight.raw.ahs))
    except AhsError as error:
        return f"the chain of {len(sight.raw.ahs)} bytes does not add up: {error}"
    return None


@RULES("ahs.reserved-type", "R7143-11.2.2.1-01", Opcode.SCSI_COMMAND, leans=False)
def ahs_type(sight: Sight) -> str | None:
    """AHS types other than 1 and 2 are reserved."""
    codes = [segment.code for segment in _segments(sight) if segment.code not in tuple(AhsType)]
    return f"AHSType {codes[0]} is reserved" if codes else None


@RULES("ahs.extended-cdb-too-short", "R7143-11.2.2.3-01", Opcode.SCSI_COMMAND, leans=False)
def extended_cdb(sight: Sight) -> str | None:
    """The extended CDB segment is for CDBs of 17 bytes and more."""
    for segment in _segments(sight):
        if segment.code == AhsType.EXTENDED_CDB and len(segment.contents) < 2:
            return f"an extended CDB segment with AHSLength {len(segment.contents)} makes no CDB over 16 bytes"
    return None


@RULES("ahs.bidirectional-length", "R7143-11.2.2.4-01", Opcode.SCSI_COMMAND, leans=False)
def bidirectional_length(sight: Sight) -> str | None:
    """The bidirectional read length segment has AHSLength 5."""
    for segment in _segments(sight):
        if segment.code == AhsType.BIDIRECTIONAL_READ_LENGTH and len(segment.contents) != 5:
            return f"a bidirectional read length segment has AHSLength {len(segment.contents)}, not 5"
    return None


@RULES("framing.target-opcode", "R7143-11.2.1.2-01", *TARGET_OPCODES, sides=Side.INITIATOR, foreign=True, leans=False)
def target_opcode(sight: Sight) -> str | None:
    """An initiator does not use a target's opcode."""
    return f"the initiator sent opcode {sight.opcode:#04x}, {opcode_name(sight.opcode)}"


@RULES(
    "framing.initiator-opcode", "R7143-11.2.1.2-02", *INITIATOR_OPCODES, sides=Side.TARGET, foreign=True, leans=False
)
def initiator_opcode(sight: Sight) -> str | None:
    """A target does not use an initiator's opcode."""
    return f"the target sent opcode {sight.opcode:#04x}, {opcode_name(sight.opcode)}"


@RULES("digest.header", "R7143-13.1-04", *ALL_OPCODES, leans=False, damaged=True)
def header_digest(sight: Sight) -> str | None:
    """The header digest is the CRC32C of the header."""
    if not sight.raw.header_digest_error:
        return None
    return f"header digest {bytes(sight.raw.header_digest).hex()} does not belong to the header"


@RULES("digest.data", "R7143-11.2.3-01", *ALL_OPCODES, leans=False, damaged=True, stain=Stain.NOTHING)
def data_digest(sight: Sight) -> str | None:
    """The data digest is the CRC32C of the data segment with its padding."""
    if not sight.raw.data_digest_error:
        return None
    return f"data digest {bytes(sight.raw.data_digest).hex()} does not belong to the {sight.length} bytes of data"


_EMPTY = {
    Opcode.TASK_MANAGEMENT_REQUEST: ("tmf.request-with-data", "R7143-11.5.2-01"),
    Opcode.TASK_MANAGEMENT_RESPONSE: ("tmf.response-with-data", "R7143-11.6.2-01"),
    Opcode.R2T: ("r2t.with-data", "R7143-11.8.1-01"),
    Opcode.LOGOUT_REQUEST: ("logout.request-with-data", "R7143-11.14.2-01"),
    Opcode.LOGOUT_RESPONSE: ("logout.response-with-data", "R7143-11.15.2-01"),
}


def _no_data(sight: Sight) -> str | None:
    """The PDU has no data segment."""
    return f"{opcode_name(sight.opcode)} has a data segment of {sight.length} bytes" if sight.length else None


for _opcode, (_id, _clause) in _EMPTY.items():
    RULES(_id, _clause, _opcode, leans=False, stain=Stain.NOTHING)(_no_data)


_VENDOR = frozenset({0x1C, 0x1D, 0x1E, 0x3C, 0x3D, 0x3E})
UNASSIGNED = frozenset(opcode for opcode in range(0x40) if opcode not in PDU_CLASSES and opcode not in _VENDOR)


@RULES("framing.reserved-opcode", "R7143-11-04", *UNASSIGNED, leans=False)
def reserved_opcode(sight: Sight) -> str | None:
    """Opcodes that are neither assigned nor left to vendors are not used."""
    return f"opcode {sight.opcode:#04x} is reserved"
