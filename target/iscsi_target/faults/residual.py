"""What targets do wrong with the end of a command: SCSI Response, residuals, sense data (RFC 7143 section 11.4)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Action,
    Drop,
    Fault,
    FieldIs,
    Insert,
    NamedFault,
    Of,
    Part,
    Plus,
    Relation,
    Replace,
    Set,
    Side,
    Template,
    Test,
    Value,
    When,
)
from iscsi_protocol.pdu import DataIn, Opcode, ScsiResponse
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.sense import Sense
from iscsi_protocol.stream import Direction

_LONGER = FieldIs("data_length", 64, Relation.ABOVE)
"""Data of the medium, in distinction to the answers to small questions."""

_UNDERFLOW = FieldIs("underflow", True)
_OVERFLOW = FieldIs("overflow", True)
_STATUS = FieldIs("status_present", True)
_FAILED = FieldIs("status", 2)
_NOTHING = Sense(key=SenseKey.NO_SENSE).build()
_SENSE = Sense(key=SenseKey.ILLEGAL_REQUEST, code=0x2100).build()
_NUMBERS: dict[str, Value] = {name: Of(f"trigger.{name}") for name in ("itt", "stat_sn", "exp_cmd_sn", "max_cmd_sn")}


def _data_in(*tests: Test) -> When:
    return When(direction=Direction.TO_INITIATOR, opcode=Opcode.SCSI_DATA_IN, tests=tests, times=0)


def _response(*tests: Test, nth: int = 1) -> When:
    return When(direction=Direction.TO_INITIATOR, opcode=Opcode.SCSI_RESPONSE, tests=tests, nth=nth, times=0)


def _fault(slug: str, says: str, when: When, *what: Action) -> NamedFault:
    return NamedFault(id=f"residual.{slug}", side=Side.TARGET, says=says, faults=(Fault(when=when, what=what),))


FAULTS = (
    _fault(
        "underflow-unsaid",
        "Data-In with the status does not tell of an underflow.",
        _data_in(_UNDERFLOW),
        Set("underflow", False),
        Set("residual_count", 0),
    ),
    _fault(
        "underflow-count-off",
        "The residual count of a read's underflow is one too high.",
        _data_in(_UNDERFLOW),
        Set("residual_count", Plus(1)),
    ),
    _fault("both-flags", "An underflow has the O bit as well.", _data_in(_UNDERFLOW), Set("overflow", True)),
    _fault("count-lost", "An underflow has a residual count of 0.", _data_in(_UNDERFLOW), Set("residual_count", 0)),
    _fault(
        "count-without-flag",
        "Data-In with the status has a residual count, and neither O nor U.",
        _data_in(_LONGER, _STATUS),
        Set("residual_count", 77),
    ),
    _fault(
        "overflow-unsaid",
        "Data-In with the status does not tell of an overflow.",
        _data_in(_OVERFLOW),
        Set("overflow", False),
        Set("residual_count", 0),
    ),
    _fault(
        "overflow-count-off",
        "The residual count of a read's overflow is one too high.",
        _data_in(_OVERFLOW),
        Set("residual_count", Plus(1)),
    ),
    _fault(
        "write-underflow-unsaid",
        "The response to a write does not tell of an underflow.",
        _response(_UNDERFLOW),
        Set("underflow", False),
        Set("residual_count", 0),
    ),
    _fault(
        "write-underflow-count-off",
        "The residual count of a write's underflow is one too high.",
        _response(_UNDERFLOW),
        Set("residual_count", Plus(1)),
    ),
    _fault(
        "write-overflow-unsaid",
        "The response to a write does not tell of an overflow.",
        _response(_OVERFLOW),
        Set("overflow", False),
        Set("residual_count", 0),
    ),
    _fault(
        "write-overflow-count-off",
        "The residual count of a write's overflow is one too high.",
        _response(_OVERFLOW),
        Set("residual_count", Plus(1)),
    ),
    _fault(
        "truncation-as-overflow",
        "A list cut by ALLOCATION LENGTH is told as an overflow.",
        _data_in(_STATUS, FieldIs("data_length", 16)),
        Set("overflow", True),
        Set("residual_count", 8),
    ),
    _fault(
        "bidirectional-count-off",
        "The bidirectional read residual is one too high.",
        _response(FieldIs("bidi_underflow", True)),
        Set("bidi_residual_count", Plus(1)),
    ),
    _fault(
        "bidirectional-status-in-data",
        "The status of a bidirectional command comes in Data-In.",
        _response(FieldIs("bidi_underflow", True)),
        Drop(),
        Insert(Template(DataIn, {"status_present": True, "status": 2, **_NUMBERS})),
    ),
    _fault("reserved-response", "The response code is 0x42.", _response(), Set("response", 0x42)),
    _fault(
        "failure-with-residual",
        "Target Failure comes with the U bit.",
        _response(),
        Set("response", 1),
        Set("underflow", True),
    ),
    _fault("snack-tag", "The SNACK tag is 5 without any SNACK.", _response(), Set("snack_tag", 5)),
    _fault("status-qualifier", "The status qualifier is not 0.", _response(), Set("status_qualifier", 0x1234)),
    _fault(
        "priority-refused",
        "A command with a priority is taken for malformed.",
        When(
            direction=Direction.TO_TARGET,
            opcode=Opcode.SCSI_COMMAND,
            tests=(FieldIs("command_priority", 0, Relation.DIFFERENT),),
            times=0,
        ),
        Set("attribute", 7),
    ),
    _fault("sense-missing", "CHECK CONDITION has no data segment.", _response(_FAILED), Replace(Part.DATA, b"")),
    _fault(
        "sense-length-0",
        "The sense data is kept back: SenseLength is 0.",
        _response(_FAILED),
        Replace(Part.DATA, bytes(2)),
    ),
    _fault(
        "sense-of-nothing",
        "The sense data says NO SENSE.",
        _response(_FAILED),
        Replace(Part.DATA, len(_NOTHING).to_bytes(2, "big") + _NOTHING),
    ),
    _fault(
        "sense-without-length",
        "The data segment begins with the sense data.",
        _response(_FAILED),
        Replace(Part.DATA, _SENSE),
    ),
    _fault(
        "data-count-off",
        "The status of a read comes in a SCSI Response, with an ExpDataSN of 77.",
        _data_in(_LONGER, _STATUS),
        Set("status_present", False),
        Set("stat_sn", 0),
        Insert(Template(ScsiResponse, {"exp_data_sn": 77, **_NUMBERS})),
    ),
    _fault("data-count-without-data", "ExpDataSN is 1 without Data-In.", _response(), Set("exp_data_sn", 1)),
    _fault("stat-sn-skips", "StatSN leaves out a number.", _response(nth=3), Set("stat_sn", Plus(1))),
    _fault(
        "exp-cmd-sn-behind",
        "A response comes before its command is acknowledged.",
        _response(),
        Set("exp_cmd_sn", Plus(-1)),
    ),
)
