"""What targets do wrong in PDUs of many kinds, and with the command window (RFC 7143 sections 10.2, 11, 11.4 and 11.19)."""

from __future__ import annotations

from iscsi_protocol.fault import Drop, FieldIs, Part, Plus, Relation, Replace, Set
from iscsi_protocol.pdu import NO_TAG, Opcode
from iscsi_target.faults import behaves, sends, takes_for

FAULTS = (
    sends(
        "formats.little-endian",
        "Counts are sent with their lowest byte first.",
        Opcode.SCSI_DATA_IN,
        Set("residual_count", 0xDF010100),
        tests=(FieldIs("residual_count", 0x0101DF),),
    ),
    sends(
        "formats.claims-header-segments",
        "A PDU without additional header segments says that it has a word of them.",
        Opcode.NOP_IN,
        Set("total_ahs_length", 1),
    ),
    sends(
        "formats.no-autosense",
        "CHECK CONDITION has no sense data.",
        Opcode.SCSI_RESPONSE,
        Replace(Part.DATA, b""),
        tests=(FieldIs("status", 2),),
    ),
    sends(
        "formats.counter-update-with-data",
        "A counter update has data.",
        Opcode.NOP_IN,
        Replace(Part.DATA, b"news"),
        tests=(FieldIs("itt", NO_TAG), FieldIs("ttt", NO_TAG)),
    ),
    sends(
        "formats.ping-of-no-unit",
        "A ping of the target's names a logical unit that is not there.",
        Opcode.NOP_IN,
        Set("lun", bytes((0, 0x63, 0, 0, 0, 0, 0, 0))),
        tests=(FieldIs("ttt", NO_TAG, Relation.DIFFERENT),),
    ),
    sends(
        "formats.window-too-wide",
        "MaxCmdSN is one more than the target takes.",
        Opcode.R2T,
        Set("max_cmd_sn", Plus(1)),
    ),
    behaves("formats.shut-window-lets-in", "Commands are executed when the window is shut.", accept_any_cmd_sn=True),
    sends(
        "formats.reopened-window-untold",
        "A window that opens without a response is not told.",
        Opcode.NOP_IN,
        Drop(),
        tests=(FieldIs("itt", NO_TAG), FieldIs("ttt", NO_TAG)),
    ),
    takes_for(
        "formats.one-connection-alone",
        "A session of one connection never lets another one in.",
        Opcode.LOGIN_REQUEST,
        Set("tsih", 0x7EEE),
        tests=(FieldIs("tsih", 0, Relation.DIFFERENT),),
    ),
)
