"""What targets do wrong with CmdSN, StatSN and the command window (RFC 7143 sections 4.2.2.1 and 4.2.2.2)."""

from __future__ import annotations

from collections.abc import Mapping

from iscsi_protocol.fault import Action, Drop, Fault, FieldIs, NamedFault, Of, Plus, Set, Side, Test, When
from iscsi_protocol.pdu import Opcode
from iscsi_protocol.stream import Direction


def _target(fault_id: str, says: str, *faults: Fault, policy: Mapping[str, object] | None = None) -> NamedFault:
    return NamedFault(id=fault_id, side=Side.TARGET, says=says, faults=faults, policy=policy or {})


def _answers(opcode: int, *what: Action, nth: int = 1, times: int = 0, stage: int | None = None) -> Fault:
    when = When(direction=Direction.TO_INITIATOR, opcode=opcode, nth=nth, times=times, stage=stage)
    return Fault(when=when, what=what)


def _requests(opcode: int, *what: Action, test: Test | None = None, times: int = 1) -> Fault:
    tests = () if test is None else (test,)
    return Fault(when=When(direction=Direction.TO_TARGET, opcode=opcode, tests=tests, times=times), what=what)


FAULTS = (
    _target(
        "numbering.status-number-skipped",
        "From the second response on StatSN is one too high.",
        _answers(Opcode.SCSI_RESPONSE, Set("stat_sn", Plus(1)), nth=2),
    ),
    _target(
        "numbering.ping-takes-no-number",
        "The second answer to a ping repeats the StatSN of the first.",
        _answers(Opcode.NOP_IN, Set("stat_sn", Plus(-1)), nth=2),
    ),
    _target(
        "numbering.login-number-jumps",
        "The second Login Response skips StatSNs.",
        _answers(Opcode.LOGIN_RESPONSE, Set("stat_sn", Plus(7)), nth=2),
    ),
    _target(
        "numbering.restarts-after-login",
        "StatSN starts anew in full feature phase.",
        _answers(Opcode.NOP_IN, Set("stat_sn", Plus(0x1000))),
    ),
    _target(
        "numbering.window-negative",
        "MaxCmdSN is two below ExpCmdSN.",
        _answers(Opcode.NOP_IN, Set("max_cmd_sn", Of("exp_cmd_sn", -2))),
    ),
    _target(
        "numbering.response-before-acknowledgement",
        "A response still has the ExpCmdSN from before its command.",
        _answers(Opcode.SCSI_RESPONSE, Set("exp_cmd_sn", Plus(-1))),
    ),
    _target(
        "numbering.acknowledges-two",
        "A response acknowledges a command that was never sent.",
        _answers(Opcode.SCSI_RESPONSE, Set("exp_cmd_sn", Plus(1)), Set("max_cmd_sn", Plus(1))),
    ),
    _target(
        "numbering.acknowledges-across-gap",
        "ExpCmdSN goes past a command that is missing.",
        _answers(Opcode.NOP_IN, Set("exp_cmd_sn", Plus(2)), Set("max_cmd_sn", Plus(2))),
    ),
    _target(
        "numbering.delivers-across-gap",
        "Commands are executed as they come, ahead of missing ones.",
        policy={"deliver_out_of_order": True},
    ),
    _target(
        "numbering.accepts-any-number",
        "Commands outside of the window, and duplicates, are executed.",
        policy={"accept_any_cmd_sn": True},
    ),
    _target(
        "numbering.stuck-at-wrap",
        "The command behind 2^32 - 1 is taken for an old one and lost.",
        _requests(Opcode.SCSI_COMMAND, Drop(), test=FieldIs("cmd_sn", 0), times=0),
    ),
    _target(
        "numbering.one-immediate-request-only",
        "A second immediate request is lost while one is outstanding.",
        _requests(Opcode.NOP_OUT, Drop(), times=0),
    ),
    _target(
        "numbering.first-command-lost",
        "The first command, whose CmdSN is that of the login, is taken for a duplicate.",
        _requests(Opcode.SCSI_COMMAND, Drop()),
    ),
)
