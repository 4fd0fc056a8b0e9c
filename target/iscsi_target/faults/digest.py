"""What targets do wrong with digests (RFC 7143 sections 7.8, 11.2.3 and 13.1)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Drop,
    FieldIs,
    Flip,
    HasKey,
    Insert,
    Of,
    Part,
    Plus,
    Relation,
    Replace,
    Set,
    SetKey,
    Template,
)
from iscsi_protocol.pdu import NO_TAG, Opcode, RejectReason, ScsiResponse
from iscsi_target.faults import NEXT_NUMBERS, behaves, sends, takes_for

_ANSWERED = (FieldIs("itt", NO_TAG, Relation.DIFFERENT),)
_CHECK_CONDITION = (FieldIs("status", 2),)


FAULTS = (
    sends(
        "digest.header-digest-left-out",
        "SCSI Responses have zeros for a header digest.",
        Opcode.SCSI_RESPONSE,
        Replace(Part.HEADER_DIGEST, bytes(4)),
    ),
    sends(
        "digest.data-digest-left-out",
        "Data-In PDUs have zeros for a data digest.",
        Opcode.SCSI_DATA_IN,
        Replace(Part.DATA_DIGEST, bytes(4)),
    ),
    sends(
        "digest.text-without-digest",
        "Text Responses have zeros for a data digest.",
        Opcode.TEXT_RESPONSE,
        Replace(Part.DATA_DIGEST, bytes(4)),
    ),
    sends("digest.other-checksum", "The header digest is no CRC32C.", Opcode.NOP_IN, Flip(Part.HEADER_DIGEST, 0, 0x80)),
    sends(
        "digest.refuses-crc32c",
        "A login that offers only CRC32C for the data digest gets a Reject.",
        Opcode.LOGIN_RESPONSE,
        SetKey("DataDigest", "Reject"),
        tests=(HasKey("DataDigest", "CRC32C"),),
    ),
    sends(
        "digest.used-by-default",
        "There is a header digest though none was agreed on.",
        Opcode.NOP_IN,
        Replace(Part.HEADER_DIGEST, b"\x01\x02\x03\x04"),
    ),
    sends(
        "digest.padding-not-covered",
        "The data digest does not cover the padding that was sent.",
        Opcode.NOP_IN,
        Flip(Part.PADDING, -1),
        raw=True,
    ),
    sends("digest.padding-not-zero", "Padding is not zero.", Opcode.NOP_IN, Flip(Part.PADDING, -1)),
    takes_for(
        "digest.assumes-zero-padding",
        "The data digest of a request is held against zero padding.",
        Opcode.NOP_OUT,
        Flip(Part.PADDING, -1),
        raw=True,
    ),
    sends(
        "digest.for-no-data",
        "An empty data segment has a data digest.",
        Opcode.NOP_IN,
        Replace(Part.DATA_DIGEST, bytes(4)),
        tests=(FieldIs("data_length", 0),),
    ),
    takes_for(
        "digest.header-error-ignored",
        "Commands with a wrong header digest are carried out.",
        Opcode.SCSI_COMMAND,
        Set("final", True),
    ),
    behaves("digest.data-error-ignored", "PDUs with a wrong data digest are taken.", ignore_data_digest=True),
    sends(
        "digest.data-error-not-told",
        "PDUs with a wrong data digest are dropped without a Reject.",
        Opcode.REJECT,
        Drop(),
        renumber=True,
    ),
    sends(
        "digest.data-error-is-protocol-error",
        "A wrong data digest is told as a protocol error.",
        Opcode.REJECT,
        Set("reason", RejectReason.PROTOCOL_ERROR),
    ),
    sends(
        "digest.reject-with-digest",
        "The header in a Reject is followed by its digest.",
        Opcode.REJECT,
        Replace(Part.DATA, bytes(52)),
    ),
    takes_for(
        "digest.retry-lost",
        "A write that is sent again behind a Reject is lost.",
        Opcode.SCSI_COMMAND,
        Drop(),
        tests=(FieldIs("write", True),),
        nth=2,
    ),
    sends(
        "digest.answers-rejected-command",
        "A command that was rejected is answered as well.",
        Opcode.REJECT,
        Insert(Template(ScsiResponse, {"status": 2, "itt": Of("closed_itt"), **NEXT_NUMBERS})),
        renumber=True,
    ),
    sends(
        "digest.rejected-command-counts",
        "The CmdSN of a command that was rejected counts as received.",
        Opcode.NOP_IN,
        Set("exp_cmd_sn", Plus(1)),
        Set("max_cmd_sn", Plus(1)),
        tests=_ANSWERED,
    ),
    sends(
        "digest.lost-data-is-good",
        "A write of which data was lost ends with GOOD.",
        Opcode.SCSI_RESPONSE,
        Set("status", 0),
        Replace(Part.DATA, b""),
        tests=_CHECK_CONDITION,
    ),
    sends(
        "digest.lost-data-is-the-end",
        "A write of which data was rejected gets no response.",
        Opcode.SCSI_RESPONSE,
        Drop(),
        tests=_CHECK_CONDITION,
        renumber=True,
    ),
    sends(
        "digest.lost-data-has-other-sense",
        "The sense of a write of which data was lost is that of another error.",
        Opcode.SCSI_RESPONSE,
        Flip(Part.DATA, 14),
        tests=_CHECK_CONDITION,
    ),
    sends(
        "digest.ends-before-the-data",
        "A write of which data was rejected ends while data is still to come.",
        Opcode.REJECT,
        Insert(Template(ScsiResponse, {"status": 2, "itt": Of("open_itt"), **NEXT_NUMBERS})),
        renumber=True,
    ),
)
