"""What targets do wrong with digests (RFC 7143 sections 7.8, 11.2.3 and 13.1)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Action,
    Drop,
    Fault,
    FieldIs,
    Flip,
    HasKey,
    Insert,
    NamedFault,
    Of,
    Part,
    Plus,
    Relation,
    Replace,
    Set,
    SetKey,
    Side,
    Template,
    Test,
    When,
)
from iscsi_protocol.pdu import NO_TAG, Opcode, RejectReason, ScsiResponse
from iscsi_protocol.stream import Direction

_ANSWERED = (FieldIs("itt", NO_TAG, Relation.DIFFERENT),)
_CHECK_CONDITION = (FieldIs("status", 2),)
_NUMBERS = {"stat_sn": Of("stat_sn"), "exp_cmd_sn": Of("exp_cmd_sn"), "max_cmd_sn": Of("max_cmd_sn")}


def _sent(
    fault_id: str,
    says: str,
    opcode: int,
    *what: Action,
    tests: tuple[Test, ...] = (),
    raw: bool = False,
    renumber: bool = False,
) -> NamedFault:
    """A fault that changes what the target sends."""
    when = When(direction=Direction.TO_INITIATOR, opcode=opcode, tests=tests, times=0)
    fault = Fault(when=when, what=what, raw=raw, renumber=renumber)
    return NamedFault(id=fault_id, side=Side.TARGET, says=says, faults=(fault,))


def _taken(
    fault_id: str,
    says: str,
    opcode: int,
    *what: Action,
    tests: tuple[Test, ...] = (),
    nth: int = 1,
    raw: bool = False,
) -> NamedFault:
    """A fault that changes what the target gets."""
    when = When(direction=Direction.TO_TARGET, opcode=opcode, tests=tests, nth=nth, times=0)
    return NamedFault(id=fault_id, side=Side.TARGET, says=says, faults=(Fault(when=when, what=what, raw=raw),))


FAULTS = (
    _sent(
        "digest.header-digest-left-out",
        "SCSI Responses have zeros for a header digest.",
        Opcode.SCSI_RESPONSE,
        Replace(Part.HEADER_DIGEST, bytes(4)),
    ),
    _sent(
        "digest.data-digest-left-out",
        "Data-In PDUs have zeros for a data digest.",
        Opcode.SCSI_DATA_IN,
        Replace(Part.DATA_DIGEST, bytes(4)),
    ),
    _sent(
        "digest.text-without-digest",
        "Text Responses have zeros for a data digest.",
        Opcode.TEXT_RESPONSE,
        Replace(Part.DATA_DIGEST, bytes(4)),
    ),
    _sent("digest.other-checksum", "The header digest is no CRC32C.", Opcode.NOP_IN, Flip(Part.HEADER_DIGEST, 0, 0x80)),
    _sent(
        "digest.refuses-crc32c",
        "A login that offers only CRC32C for the data digest gets a Reject.",
        Opcode.LOGIN_RESPONSE,
        SetKey("DataDigest", "Reject"),
        tests=(HasKey("DataDigest", "CRC32C"),),
    ),
    _sent(
        "digest.used-by-default",
        "There is a header digest though none was agreed on.",
        Opcode.NOP_IN,
        Replace(Part.HEADER_DIGEST, b"\x01\x02\x03\x04"),
    ),
    _sent(
        "digest.padding-not-covered",
        "The data digest does not cover the padding that was sent.",
        Opcode.NOP_IN,
        Flip(Part.PADDING, -1),
        raw=True,
    ),
    _sent("digest.padding-not-zero", "Padding is not zero.", Opcode.NOP_IN, Flip(Part.PADDING, -1)),
    _taken(
        "digest.assumes-zero-padding",
        "The data digest of a request is held against zero padding.",
        Opcode.NOP_OUT,
        Flip(Part.PADDING, -1),
        raw=True,
    ),
    _sent(
        "digest.for-no-data",
        "An empty data segment has a data digest.",
        Opcode.NOP_IN,
        Replace(Part.DATA_DIGEST, bytes(4)),
        tests=(FieldIs("data_length", 0),),
    ),
    _taken(
        "digest.header-error-ignored",
        "Commands with a wrong header digest are carried out.",
        Opcode.SCSI_COMMAND,
        Set("final", True),
    ),
    NamedFault(
        id="digest.data-error-ignored",
        side=Side.TARGET,
        says="PDUs with a wrong data digest are taken.",
        policy={"ignore_data_digest": True},
    ),
    _sent(
        "digest.data-error-not-told",
        "PDUs with a wrong data digest are dropped without a Reject.",
        Opcode.REJECT,
        Drop(),
        renumber=True,
    ),
    _sent(
        "digest.data-error-is-protocol-error",
        "A wrong data digest is told as a protocol error.",
        Opcode.REJECT,
        Set("reason", RejectReason.PROTOCOL_ERROR),
    ),
    _sent(
        "digest.reject-with-digest",
        "The header in a Reject is followed by its digest.",
        Opcode.REJECT,
        Replace(Part.DATA, bytes(52)),
    ),
    _taken(
        "digest.retry-lost",
        "A write that is sent again behind a Reject is lost.",
        Opcode.SCSI_COMMAND,
        Drop(),
        tests=(FieldIs("write", True),),
        nth=2,
    ),
    _sent(
        "digest.answers-rejected-command",
        "A command that was rejected is answered as well.",
        Opcode.REJECT,
        Insert(Template(ScsiResponse, {"status": 2, "itt": Of("closed_itt"), **_NUMBERS})),
        renumber=True,
    ),
    _sent(
        "digest.rejected-command-counts",
        "The CmdSN of a command that was rejected counts as received.",
        Opcode.NOP_IN,
        Set("exp_cmd_sn", Plus(1)),
        Set("max_cmd_sn", Plus(1)),
        tests=_ANSWERED,
    ),
    _sent(
        "digest.lost-data-is-good",
        "A write of which data was lost ends with GOOD.",
        Opcode.SCSI_RESPONSE,
        Set("status", 0),
        Replace(Part.DATA, b""),
        tests=_CHECK_CONDITION,
    ),
    _sent(
        "digest.lost-data-is-the-end",
        "A write of which data was rejected gets no response.",
        Opcode.SCSI_RESPONSE,
        Drop(),
        tests=_CHECK_CONDITION,
        renumber=True,
    ),
    _sent(
        "digest.lost-data-has-other-sense",
        "The sense of a write of which data was lost is that of another error.",
        Opcode.SCSI_RESPONSE,
        Flip(Part.DATA, 14),
        tests=_CHECK_CONDITION,
    ),
    _sent(
        "digest.ends-before-the-data",
        "A write of which data was rejected ends while data is still to come.",
        Opcode.REJECT,
        Insert(Template(ScsiResponse, {"status": 2, "itt": Of("open_itt"), **_NUMBERS})),
        renumber=True,
    ),
)
