"""What targets do wrong with SCSI Data-Out (RFC 7143 sections 7.9, 11.4.2, 11.7, 11.17.1)."""

from __future__ import annotations

from collections.abc import Mapping

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
    Replace,
    Set,
    Side,
    Template,
    Test,
    Value,
    When,
)
from iscsi_protocol.pdu import Opcode, ScsiResponse
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense
from iscsi_protocol.stream import Direction

_CHECK_CONDITION = 2
_NO_R2T = 0x0BADBAD0
"""The tag that the cases use where no R2T has it."""

_SENSE = Sense(key=SenseKey.ILLEGAL_REQUEST, code=AdditionalSense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE).build()


def _data_out(*tests: Test) -> When:
    return When(direction=Direction.TO_TARGET, opcode=Opcode.SCSI_DATA_OUT, tests=tests, times=0)


def _sent(opcode: Opcode, *tests: Test) -> When:
    return When(direction=Direction.TO_INITIATOR, opcode=opcode, tests=tests, times=0)


def _failure(itt: Of, stat_sn: Of) -> Template:
    values: Mapping[str, Value] = {
        "status": _CHECK_CONDITION,
        "itt": itt,
        "stat_sn": stat_sn,
        "exp_cmd_sn": Of("exp_cmd_sn"),
        "max_cmd_sn": Of("max_cmd_sn"),
        "data": len(_SENSE).to_bytes(2, "big") + _SENSE,
    }
    return Template(ScsiResponse, values)


def _fault(slug: str, says: str, when: When, *what: Action, renumber: bool = False) -> NamedFault:
    return NamedFault(
        id=f"dataout.{slug}",
        side=Side.TARGET,
        says=says,
        faults=(Fault(when=when, what=what, renumber=renumber),),
    )


def _switch(slug: str, says: str, switch: str) -> NamedFault:
    return NamedFault(id=f"dataout.{slug}", side=Side.TARGET, says=says, policy={switch: True})


FAULTS = (
    _fault("bit-flipped", "The last bit of every Data-Out is stored wrong.", _data_out(), Flip(Part.DATA, -1)),
    _fault(
        "empty-refused",
        "Data-Out without data is refused.",
        _data_out(FieldIs("data_length", 0)),
        Set("ttt", _NO_R2T),
    ),
    _switch("numbers-ignored", "Data-Out is taken with any DataSN.", "ignore_data_sn"),
    _switch("places-ignored", "Data-Out is taken with any LUN and any offset.", "ignore_data_out_tags"),
    _switch("amount-ignored", "An answer to an R2T may be shorter than was asked for.", "ignore_data_amount"),
    _fault(
        "unknown-tag-dropped",
        "Data-Out with an unknown TTT is dropped without a word.",
        _data_out(FieldIs("ttt", _NO_R2T)),
        Drop(),
    ),
    _fault("no-response", "A write has no response.", _sent(Opcode.SCSI_RESPONSE), Drop(), renumber=True),
    _fault(
        "good-after-reject",
        "A command whose data was rejected ends with GOOD.",
        _sent(Opcode.SCSI_RESPONSE, FieldIs("status", _CHECK_CONDITION)),
        Set("status", 0),
        Replace(Part.DATA, b""),
    ),
    _fault(
        "response-with-reject",
        "A command whose data was rejected ends at once, with data still due.",
        _sent(Opcode.REJECT),
        Insert(_failure(Of("open_itt"), Of("trigger.stat_sn", 1))),
        renumber=True,
    ),
    _fault(
        "early-response",
        "A command ends at its first Data-Out, with data still due.",
        _data_out(FieldIs("final", False)),
        Drop(),
        Insert(_failure(Of("trigger.itt"), Of("stat_sn")), direction=Direction.TO_INITIATOR),
    ),
)
