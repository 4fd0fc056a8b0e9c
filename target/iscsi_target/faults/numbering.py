"""What targets do wrong with CmdSN, StatSN and the command window (RFC 7143 sections 4.2.2.1 and 4.2.2.2)."""

from __future__ import annotations

from iscsi_protocol.fault import Drop, FieldIs, Of, Plus, Set
from iscsi_protocol.pdu import Opcode
from iscsi_target.faults import behaves, sends, takes_for

FAULTS = (
    sends(
        "numbering.status-number-skipped",
        "From the second response on StatSN is one too high.",
        Opcode.SCSI_RESPONSE,
        Set("stat_sn", Plus(1)),
        nth=2,
    ),
    sends(
        "numbering.ping-takes-no-number",
        "The second answer to a ping repeats the StatSN of the first.",
        Opcode.NOP_IN,
        Set("stat_sn", Plus(-1)),
        nth=2,
    ),
    sends(
        "numbering.login-number-jumps",
        "The second Login Response skips StatSNs.",
        Opcode.LOGIN_RESPONSE,
        Set("stat_sn", Plus(7)),
        nth=2,
    ),
    sends(
        "numbering.restarts-after-login",
        "StatSN starts anew in full feature phase.",
        Opcode.NOP_IN,
        Set("stat_sn", Plus(0x1000)),
    ),
    sends(
        "numbering.window-negative",
        "MaxCmdSN is two below ExpCmdSN.",
        Opcode.NOP_IN,
        Set("max_cmd_sn", Of("exp_cmd_sn", -2)),
    ),
    sends(
        "numbering.response-before-acknowledgement",
        "A response still has the ExpCmdSN from before its command.",
        Opcode.SCSI_RESPONSE,
        Set("exp_cmd_sn", Plus(-1)),
    ),
    sends(
        "numbering.acknowledges-two",
        "A response acknowledges a command that was never sent.",
        Opcode.SCSI_RESPONSE,
        Set("exp_cmd_sn", Plus(1)),
        Set("max_cmd_sn", Plus(1)),
    ),
    sends(
        "numbering.acknowledges-across-gap",
        "ExpCmdSN goes past a command that is missing.",
        Opcode.NOP_IN,
        Set("exp_cmd_sn", Plus(2)),
        Set("max_cmd_sn", Plus(2)),
    ),
    behaves(
        "numbering.delivers-across-gap",
        "Commands are executed as they come, ahead of missing ones.",
        deliver_out_of_order=True,
    ),
    behaves(
        "numbering.accepts-any-number",
        "Commands outside of the window, and duplicates, are executed.",
        accept_any_cmd_sn=True,
    ),
    takes_for(
        "numbering.stuck-at-wrap",
        "The command behind 2^32 - 1 is taken for an old one and lost.",
        Opcode.SCSI_COMMAND,
        Drop(),
        tests=(FieldIs("cmd_sn", 0),),
    ),
    takes_for(
        "numbering.one-immediate-request-only",
        "A second immediate request is lost while one is outstanding.",
        Opcode.NOP_OUT,
        Drop(),
    ),
    takes_for(
        "numbering.first-command-lost",
        "The first command, whose CmdSN is that of the login, is taken for a duplicate.",
        Opcode.SCSI_COMMAND,
        Drop(),
        times=1,
    ),
)
