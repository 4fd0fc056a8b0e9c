"""What initiators do wrong with CmdSN, ExpStatSN and task tags (RFC 7143 sections 4.2.2 and 11.2.1.8)."""

from __future__ import annotations

from iscsi_initiator.faults import behaves, sends, takes_for
from iscsi_protocol.fault import Drop, FieldIs, Hold, Of, Plus, Poke, Relation, Set
from iscsi_protocol.pdu import NO_TAG, Opcode

_COMMAND = Opcode.SCSI_COMMAND

FAULTS = (
    sends(
        "inumbering.number-twice",
        "A command has the CmdSN of the one before.",
        _COMMAND,
        Set("cmd_sn", Plus(-1)),
        nth=3,
    ),
    sends("inumbering.number-left-out", "A CmdSN is left out.", _COMMAND, Set("cmd_sn", Plus(1)), nth=3, times=0),
    sends("inumbering.overtaken", "A command is overtaken by the next one.", _COMMAND, Hold(pdus=1), nth=2),
    sends(
        "inumbering.immediate-has-any-number",
        "An immediate request has an old CmdSN.",
        Opcode.NOP_OUT,
        Set("cmd_sn", Plus(-1)),
    ),
    sends(
        "inumbering.immediate-uses-number",
        "The command behind an immediate request skips a CmdSN.",
        _COMMAND,
        Set("cmd_sn", Plus(1)),
        nth=2,
        times=0,
    ),
    behaves("inumbering.ignores-window", "Commands beyond MaxCmdSN are sent.", ignore_command_window=True),
    takes_for(
        "inumbering.believes-impossible-window",
        "MaxCmdSN counts even where it is below ExpCmdSN - 1.",
        Opcode.NOP_IN,
        Set("exp_cmd_sn", Of("trigger.max_cmd_sn")),
        tests=(FieldIs("itt", NO_TAG),),
    ),
    sends(
        "inumbering.window-goes-back",
        "Nothing is sent behind counters that went back.",
        _COMMAND,
        Drop(),
        nth=2,
        times=0,
    ),
    sends("inumbering.acknowledges-too-much", "ExpStatSN is ahead.", _COMMAND, Set("exp_stat_sn", Plus(2)), nth=2),
    sends("inumbering.acknowledges-late", "ExpStatSN is behind.", _COMMAND, Set("exp_stat_sn", Plus(-1)), nth=2),
    behaves("inumbering.ignores-status-gap", "A gap in StatSN does not matter.", accept_any_stat_sn=True),
    sends("inumbering.one-tag-for-all", "All commands have the same task tag.", _COMMAND, Set("itt", 0x77), times=0),
    sends("inumbering.reserved-tag", "A command has task tag 0xffffffff.", _COMMAND, Set("itt", NO_TAG), nth=2),
    sends("inumbering.target-opcode", "The initiator sends a NOP-In.", Opcode.NOP_OUT, Set("opcode", Opcode.NOP_IN)),
    sends("inumbering.reserved-bits", "Reserved bytes are not zero.", Opcode.NOP_OUT, Poke(40, b"\x01")),
    sends(
        "inumbering.ahs-length",
        "TotalAHSLength is 1 without an AHS.",
        _COMMAND,
        Set("total_ahs_length", 1),
    ),
    sends(
        "inumbering.lun-shifted", "The LUN stands in the wrong bytes.", _COMMAND, Poke(8, b"\x00\x00\x00\x01"), times=0
    ),
    takes_for(
        "inumbering.takes-any-tag",
        "A response with an unknown tag is that of the task that waits.",
        Opcode.SCSI_RESPONSE,
        Set("itt", Of("open_itt")),
        tests=(FieldIs("itt", 0x7E000000, Relation.ABOVE),),
    ),
    behaves("inumbering.accepts-invalid-pdus", "PDUs that are wrong in themselves are used.", accept_invalid_pdus=True),
)
