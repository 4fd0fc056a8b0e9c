"""What targets do wrong with immediate data and unsolicited Data-Out (RFC 7143 sections 4.2.5.2, 11.4.7.2, 13.11)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Action,
    Drop,
    Fault,
    FieldIs,
    Flip,
    Insert,
    NamedFault,
    Of,
    Part,
    Relation,
    Replace,
    Set,
    Side,
    Template,
    Test,
    When,
)
from iscsi_protocol.pdu import NO_TAG, R2T, Opcode
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense
from iscsi_protocol.stream import Direction

_UNSOLICITED = FieldIs("ttt", NO_TAG)
_OTHER_LUN = bytes((0, 0x63, 0, 0, 0, 0, 0, 0))
"""What the cases put into a LUN field that is reserved."""

_SENSE = Sense(key=SenseKey.ABORTED_COMMAND, code=AdditionalSense.WRITE_ERROR).build()


def _data_out(*tests: Test) -> When:
    return When(direction=Direction.TO_TARGET, opcode=Opcode.SCSI_DATA_OUT, tests=(_UNSOLICITED, *tests), times=0)


def _sent(opcode: Opcode, *tests: Test) -> When:
    return When(direction=Direction.TO_INITIATOR, opcode=opcode, tests=tests, times=0)


def _fault(slug: str, says: str, when: When, *what: Action) -> NamedFault:
    return NamedFault(id=f"unsolicited.{slug}", side=Side.TARGET, says=says, faults=(Fault(when=when, what=what),))


def _switch(slug: str, says: str, switch: str) -> NamedFault:
    return NamedFault(id=f"unsolicited.{slug}", side=Side.TARGET, says=says, policy={switch: True})


FAULTS = (
    _switch("accepted", "Unsolicited data is taken whatever was agreed on.", "accept_unsolicited_data"),
    _switch("amount-ignored", "Any amount of unsolicited data is taken.", "ignore_data_amount"),
    _fault(
        "sense-unspecific",
        "Unexpected unsolicited data is told as any write error.",
        _sent(Opcode.SCSI_RESPONSE, FieldIs("status", 2)),
        Replace(Part.DATA, len(_SENSE).to_bytes(2, "big") + _SENSE),
    ),
    _fault(
        "asks-again",
        "An R2T asks for data that came unsolicited.",
        _sent(Opcode.R2T, FieldIs("buffer_offset", 0, Relation.ABOVE)),
        Set("buffer_offset", 0),
    ),
    _fault(
        "discarded",
        "Unsolicited Data-Out is thrown away and asked for by R2T.",
        _data_out(),
        Drop(),
        Insert(
            Template(
                R2T,
                {
                    "itt": Of("trigger.itt"),
                    "ttt": 0x7700,
                    "stat_sn": Of("stat_sn"),
                    "exp_cmd_sn": Of("exp_cmd_sn"),
                    "max_cmd_sn": Of("max_cmd_sn"),
                    "desired_data_transfer_length": 512,
                },
            ),
            direction=Direction.TO_INITIATOR,
        ),
    ),
    _fault(
        "reserved-lun-judged",
        "Unsolicited Data-Out is refused for what its reserved LUN field has.",
        _data_out(FieldIs("lun", _OTHER_LUN)),
        Set("ttt", 0x0BADBAD0),
    ),
    _fault("bit-flipped", "The last bit of unsolicited Data-Out is stored wrong.", _data_out(), Flip(Part.DATA, -1)),
)
