"""What targets do wrong with the end of a command: SCSI Response, residuals, sense data (RFC 7143 section 11.4)."""

from __future__ import annotations

from iscsi_protocol.fault import Drop, FieldIs, Insert, Of, Part, Plus, Relation, Replace, Set, Template
from iscsi_protocol.pdu import DataIn, Opcode, ScsiResponse
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.sense import Sense
from iscsi_target.faults import SAME_NUMBERS, sends, takes_for

_LONGER = FieldIs("data_length", 64, Relation.ABOVE)
"""Data of the medium, in distinction to the answers to small questions."""

_UNDERFLOW = FieldIs("underflow", True)
_OVERFLOW = FieldIs("overflow", True)
_STATUS = FieldIs("status_present", True)
_FAILED = FieldIs("status", 2)
_NOTHING = Sense(key=SenseKey.NO_SENSE).build()
_SENSE = Sense(key=SenseKey.ILLEGAL_REQUEST, code=0x2100).build()


FAULTS = (
    sends(
        "residual.underflow-unsaid",
        "Data-In with the status does not tell of an underflow.",
        Opcode.SCSI_DATA_IN,
        Set("underflow", False),
        Set("residual_count", 0),
        tests=(_UNDERFLOW,),
    ),
    sends(
        "residual.underflow-count-off",
        "The residual count of a read's underflow is one too high.",
        Opcode.SCSI_DATA_IN,
        Set("residual_count", Plus(1)),
        tests=(_UNDERFLOW,),
    ),
    sends(
        "residual.both-flags",
        "An underflow has the O bit as well.",
        Opcode.SCSI_DATA_IN,
        Set("overflow", True),
        tests=(_UNDERFLOW,),
    ),
    sends(
        "residual.count-lost",
        "An underflow has a residual count of 0.",
        Opcode.SCSI_DATA_IN,
        Set("residual_count", 0),
        tests=(_UNDERFLOW,),
    ),
    sends(
        "residual.count-without-flag",
        "Data-In with the status has a residual count, and neither O nor U.",
        Opcode.SCSI_DATA_IN,
        Set("residual_count", 77),
        tests=(_LONGER, _STATUS),
    ),
    sends(
        "residual.overflow-unsaid",
        "Data-In with the status does not tell of an overflow.",
        Opcode.SCSI_DATA_IN,
        Set("overflow", False),
        Set("residual_count", 0),
        tests=(_OVERFLOW,),
    ),
    sends(
        "residual.overflow-count-off",
        "The residual count of a read's overflow is one too high.",
        Opcode.SCSI_DATA_IN,
        Set("residual_count", Plus(1)),
        tests=(_OVERFLOW,),
    ),
    sends(
        "residual.write-underflow-unsaid",
        "The response to a write does not tell of an underflow.",
        Opcode.SCSI_RESPONSE,
        Set("underflow", False),
        Set("residual_count", 0),
        tests=(_UNDERFLOW,),
    ),
    sends(
        "residual.write-underflow-count-off",
        "The residual count of a write's underflow is one too high.",
        Opcode.SCSI_RESPONSE,
        Set("residual_count", Plus(1)),
        tests=(_UNDERFLOW,),
    ),
    sends(
        "residual.write-overflow-unsaid",
        "The response to a write does not tell of an overflow.",
        Opcode.SCSI_RESPONSE,
        Set("overflow", False),
        Set("residual_count", 0),
        tests=(_OVERFLOW,),
    ),
    sends(
        "residual.write-overflow-count-off",
        "The residual count of a write's overflow is one too high.",
        Opcode.SCSI_RESPONSE,
        Set("residual_count", Plus(1)),
        tests=(_OVERFLOW,),
    ),
    sends(
        "residual.truncation-as-overflow",
        "A list cut by ALLOCATION LENGTH is told as an overflow.",
        Opcode.SCSI_DATA_IN,
        Set("overflow", True),
        Set("residual_count", 8),
        tests=(_STATUS, FieldIs("data_length", 16)),
    ),
    sends(
        "residual.bidirectional-count-off",
        "The bidirectional read residual is one too high.",
        Opcode.SCSI_RESPONSE,
        Set("bidi_residual_count", Plus(1)),
        tests=(FieldIs("bidi_underflow", True),),
    ),
    sends(
        "residual.bidirectional-status-in-data",
        "The status of a bidirectional command comes in Data-In.",
        Opcode.SCSI_RESPONSE,
        Drop(),
        Insert(Template(DataIn, {"status_present": True, "status": 2, "itt": Of("trigger.itt"), **SAME_NUMBERS})),
        tests=(FieldIs("bidi_underflow", True),),
    ),
    sends("residual.reserved-response", "The response code is 0x42.", Opcode.SCSI_RESPONSE, Set("response", 0x42)),
    sends(
        "residual.failure-with-residual",
        "Target Failure comes with the U bit.",
        Opcode.SCSI_RESPONSE,
        Set("response", 1),
        Set("underflow", True),
    ),
    sends("residual.snack-tag", "The SNACK tag is 5 without any SNACK.", Opcode.SCSI_RESPONSE, Set("snack_tag", 5)),
    sends(
        "residual.status-qualifier",
        "The status qualifier is not 0.",
        Opcode.SCSI_RESPONSE,
        Set("status_qualifier", 0x1234),
    ),
    takes_for(
        "residual.priority-refused",
        "A command with a priority is taken for malformed.",
        Opcode.SCSI_COMMAND,
        Set("attribute", 7),
        tests=(FieldIs("command_priority", 0, Relation.DIFFERENT),),
    ),
    sends(
        "residual.sense-missing",
        "CHECK CONDITION has no data segment.",
        Opcode.SCSI_RESPONSE,
        Replace(Part.DATA, b""),
        tests=(_FAILED,),
    ),
    sends(
        "residual.sense-length-0",
        "The sense data is kept back: SenseLength is 0.",
        Opcode.SCSI_RESPONSE,
        Replace(Part.DATA, bytes(2)),
        tests=(_FAILED,),
    ),
    sends(
        "residual.sense-of-nothing",
        "The sense data says NO SENSE.",
        Opcode.SCSI_RESPONSE,
        Replace(Part.DATA, len(_NOTHING).to_bytes(2, "big") + _NOTHING),
        tests=(_FAILED,),
    ),
    sends(
        "residual.sense-without-length",
        "The data segment begins with the sense data.",
        Opcode.SCSI_RESPONSE,
        Replace(Part.DATA, _SENSE),
        tests=(_FAILED,),
    ),
    sends(
        "residual.data-count-off",
        "The status of a read comes in a SCSI Response, with an ExpDataSN of 77.",
        Opcode.SCSI_DATA_IN,
        Set("status_present", False),
        Set("stat_sn", 0),
        Insert(Template(ScsiResponse, {"exp_data_sn": 77, "itt": Of("trigger.itt"), **SAME_NUMBERS})),
        tests=(_LONGER, _STATUS),
    ),
    sends(
        "residual.data-count-without-data",
        "ExpDataSN is 1 without Data-In.",
        Opcode.SCSI_RESPONSE,
        Set("exp_data_sn", 1),
    ),
    sends(
        "residual.stat-sn-skips", "StatSN leaves out a number.", Opcode.SCSI_RESPONSE, Set("stat_sn", Plus(1)), nth=3
    ),
    sends(
        "residual.exp-cmd-sn-behind",
        "A response comes before its command is acknowledged.",
        Opcode.SCSI_RESPONSE,
        Set("exp_cmd_sn", Plus(-1)),
    ),
)
