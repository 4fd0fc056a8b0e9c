"""What targets do wrong at recovery level 1 (RFC 7143 sections 7.3, 7.8, 11.7.2, 11.8, 11.16 and Appendix D).

The cases read 8 segments, so that a Data-In behind the eighth of the medium is one that was asked for again.
"""

from __future__ import annotations

from iscsi_protocol.fault import (
    Action,
    Drop,
    FieldIs,
    Flip,
    Hold,
    Insert,
    NamedFault,
    Of,
    Part,
    Plus,
    Relation,
    Set,
    Template,
)
from iscsi_protocol.pdu import NO_TAG, Opcode, Reject, RejectReason, SnackType
from iscsi_protocol.stream import Direction
from iscsi_target.faults import NEXT_NUMBERS, sends, takes_for

_MEDIUM = FieldIs("data_length", 64, Relation.ABOVE)
_SEGMENTS = 8


def _resent(fault_id: str, says: str, *what: Action, cid: int | None = None, renumber: bool = False) -> NamedFault:
    """A fault in the Data-In that comes behind the 8 of the read."""
    opcode = Opcode.SCSI_DATA_IN
    return sends(fault_id, says, opcode, *what, tests=(_MEDIUM,), nth=_SEGMENTS + 1, cid=cid, renumber=renumber)


def _snack(fault_id: str, says: str, *what: Action, snack_type: int | None = None) -> NamedFault:
    """A fault in how SNACKs, or those of a type, are taken."""
    tests = () if snack_type is None else (FieldIs("snack_type", snack_type),)
    return takes_for(fault_id, says, Opcode.SNACK_REQUEST, *what, tests=tests)


FAULTS = (
    _resent("level1.resent-data-altered", "Data that comes again has a wrong bit.", Flip(Part.DATA, -1)),
    takes_for(
        "level1.knows-no-snack",
        "SNACKs are refused as unknown.",
        Opcode.SNACK_REQUEST,
        Drop(),
        Insert(
            Template(Reject, {"reason": RejectReason.COMMAND_NOT_SUPPORTED, **NEXT_NUMBERS, "data": bytes(48)}),
            direction=Direction.TO_INITIATOR,
        ),
        times=1,
    ),
    takes_for(
        "level1.run-of-one",
        "A run without a length is taken for one of a single PDU.",
        Opcode.SNACK_REQUEST,
        Set("run_length", 1),
        tests=(FieldIs("run_length", 0),),
    ),
    sends(
        "level1.unsent-told-otherwise",
        "A SNACK for what was never sent is rejected as one that is not served.",
        Opcode.REJECT,
        Set("reason", RejectReason.SNACK_REJECT),
    ),
    sends("level1.no-next-number", "The Reject of a data SNACK has no DataSN.", Opcode.REJECT, Set("data_sn", 0)),
    _snack("level1.acknowledged-passed-over", "SNACKs for what was acknowledged are passed over.", Drop()),
    sends(
        "level1.resent-status-altered",
        "A response that comes again has another status.",
        Opcode.SCSI_RESPONSE,
        Set("status", 8),
        nth=2,
    ),
    sends(
        "level1.resent-status-renumbered",
        "A response that comes again takes a new StatSN.",
        Opcode.SCSI_RESPONSE,
        Set("stat_sn", Plus(1)),
        nth=2,
    ),
    sends(
        "level1.resends-scsi-alone",
        "Only SCSI Responses come again.",
        Opcode.NOP_IN,
        Drop(),
        nth=2,
        times=1,
    ),
    sends(
        "level1.window-of-then",
        "A response that comes again has the ExpCmdSN from before.",
        Opcode.SCSI_RESPONSE,
        Set("exp_cmd_sn", Plus(-1)),
        nth=3,
    ),
    takes_for(
        "level1.one-response-of-all",
        "A status SNACK for all brings one response.",
        Opcode.SNACK_REQUEST,
        Set("beg_run", Of("trigger.exp_stat_sn")),
        Set("run_length", 1),
        tests=(FieldIs("run_length", 0),),
    ),
    sends(
        "level1.resent-r2t-altered",
        "An R2T that comes again has another transfer tag.",
        Opcode.R2T,
        Set("ttt", Plus(1)),
        nth=2,
    ),
    sends(
        "level1.r2t-status-number-of-then",
        "An R2T that comes again has the StatSN from before.",
        Opcode.R2T,
        Set("stat_sn", Plus(-1)),
        nth=2,
    ),
    sends(
        "level1.acknowledge-everything",
        "Every Data-In has the A bit.",
        Opcode.SCSI_DATA_IN,
        Set("acknowledge", True),
        Set("ttt", 7),
        tests=(_MEDIUM,),
    ),
    sends(
        "level1.acknowledge-without-tag",
        "Data-In with the A bit has no transfer tag.",
        Opcode.SCSI_DATA_IN,
        Set("ttt", NO_TAG),
        tests=(FieldIs("acknowledge", True),),
    ),
    _snack("level1.acknowledgement-forgotten", "DataACKs are not heeded.", Drop(), snack_type=SnackType.DATA_ACK),
    _snack(
        "level1.all-from-the-first", "All data comes again, acknowledged or not.", Drop(), snack_type=SnackType.DATA_ACK
    ),
    _resent(
        "level1.resegmented-numbers-go-on",
        "DataSN goes on where all data comes again.",
        Set("data_sn", Plus(_SEGMENTS)),
    ),
    sends(
        "level1.no-snack-tag",
        "The response behind an R-Data SNACK has no SNACK tag.",
        Opcode.SCSI_RESPONSE,
        Set("snack_tag", 0),
    ),
    sends(
        "level1.second-status-number",
        "The response behind an R-Data SNACK takes a StatSN of its own.",
        Opcode.SCSI_RESPONSE,
        Set("stat_sn", Plus(1)),
    ),
    sends(
        "level1.other-snack-tag",
        "A second R-Data SNACK brings the first one's tag.",
        Opcode.SCSI_RESPONSE,
        Set("snack_tag", Plus(-1)),
        nth=2,
    ),
    _snack(
        "level1.resegmented-from-the-first",
        "An R-Data SNACK brings acknowledged data as well.",
        Drop(),
        snack_type=SnackType.DATA_ACK,
    ),
    _resent(
        "level1.resent-elsewhere",
        "Data that comes again does not come on the connection of its SNACK.",
        Drop(),
        cid=1,
    ),
    takes_for("level1.snack-within-login", "A SNACK within a login is passed over.", Opcode.SNACK_REQUEST, Drop()),
    sends(
        "level1.recovery-r2t-repeats-number",
        "A recovery R2T has the R2TSN of the first one.",
        Opcode.R2T,
        Set("r2t_sn", 0),
        nth=2,
    ),
    sends(
        "level1.asks-for-everything-again",
        "For one damaged Data-Out the whole burst is asked for again.",
        Opcode.R2T,
        Set("desired_data_transfer_length", Plus(1024)),
        nth=2,
    ),
    takes_for(
        "level1.retry-ignored",
        "A command that is retried after its data was damaged is not seen.",
        Opcode.SCSI_COMMAND,
        Drop(),
        tests=(FieldIs("write", True),),
        nth=2,
    ),
    sends(
        "level1.r2ts-change-places",
        "The second of several R2Ts comes before the first.",
        Opcode.R2T,
        Hold(pdus=1),
        times=1,
    ),
)
