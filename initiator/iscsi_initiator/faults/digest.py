"""What initiators do wrong with digests (RFC 7143 sections 7.8, 11.2.3 and 13.1)."""

from __future__ import annotations

from iscsi_initiator.faults import behaves, sends, takes_for
from iscsi_protocol.digest import digest_bytes
from iscsi_protocol.fault import FieldIs, Flip, HasKey, Part, Relation, Replace, SetKey
from iscsi_protocol.pdu import Opcode

_RESPONSE = Opcode.LOGIN_RESPONSE
_WITH_DATA = (FieldIs("data_length", 0, Relation.ABOVE),)

FAULTS = (
    sends(
        "idigest.header-digest-left-out",
        "A NOP-Out has zeros in place of its header digest.",
        Opcode.NOP_OUT,
        Replace(Part.HEADER_DIGEST, bytes(4)),
    ),
    sends(
        "idigest.wrong-crc",
        "The data digest is not the CRC of the data.",
        Opcode.SCSI_COMMAND,
        Flip(Part.DATA_DIGEST),
        tests=_WITH_DATA,
    ),
    sends(
        "idigest.padding-not-covered",
        "The data digest is computed without the padding.",
        Opcode.NOP_OUT,
        Replace(Part.DATA_DIGEST, digest_bytes(b"ab")),
        tests=_WITH_DATA,
    ),
    sends("idigest.padding-not-zero", "Pad bytes are not zero.", Opcode.NOP_OUT, Flip(Part.PADDING), tests=_WITH_DATA),
    behaves(
        "idigest.ignores-header-digest",
        "A PDU with a wrong header digest is used.",
        accept_header_digest_errors=True,
    ),
    behaves("idigest.ignores-data-digest", "Data with a wrong digest is used.", accept_data_digest_errors=True),
    takes_for(
        "idigest.does-not-insist-on-header",
        "A target without header digests is accepted though they are required.",
        _RESPONSE,
        SetKey("HeaderDigest", "CRC32C"),
        tests=(HasKey("HeaderDigest"),),
    ),
    takes_for(
        "idigest.does-not-insist-on-data",
        "A target without data digests is accepted though they are required.",
        _RESPONSE,
        SetKey("DataDigest", "CRC32C"),
        tests=(HasKey("DataDigest"),),
    ),
)
