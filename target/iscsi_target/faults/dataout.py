"""What targets do wrong with SCSI Data-Out (RFC 7143 sections 7.9, 11.4.2, 11.7, 11.17.1)."""

from __future__ import annotations

from collections.abc import Mapping

from iscsi_protocol.fault import Drop, FieldIs, Flip, Insert, Of, Part, Replace, Set, Template, Value
from iscsi_protocol.pdu import Opcode, ScsiResponse
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense
from iscsi_protocol.stream import Direction
from iscsi_target.faults import behaves, sends, takes_for

_CHECK_CONDITION = 2
_NO_R2T = 0x0BADBAD0
"""The tag that the cases use where no R2T has it."""

_SENSE = Sense(key=SenseKey.ILLEGAL_REQUEST, code=AdditionalSense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE).build()


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


FAULTS = (
    takes_for(
        "dataout.bit-flipped",
        "The last bit of every Data-Out is stored wrong.",
        Opcode.SCSI_DATA_OUT,
        Flip(Part.DATA, -1),
    ),
    takes_for(
        "dataout.empty-refused",
        "Data-Out without data is refused.",
        Opcode.SCSI_DATA_OUT,
        Set("ttt", _NO_R2T),
        tests=(FieldIs("data_length", 0),),
    ),
    behaves("dataout.numbers-ignored", "Data-Out is taken with any DataSN.", ignore_data_sn=True),
    behaves("dataout.places-ignored", "Data-Out is taken with any LUN and any offset.", ignore_data_out_tags=True),
    behaves(
        "dataout.amount-ignored", "An answer to an R2T may be shorter than was asked for.", ignore_data_amount=True
    ),
    takes_for(
        "dataout.unknown-tag-dropped",
        "Data-Out with an unknown TTT is dropped without a word.",
        Opcode.SCSI_DATA_OUT,
        Drop(),
        tests=(FieldIs("ttt", _NO_R2T),),
    ),
    sends("dataout.no-response", "A write has no response.", Opcode.SCSI_RESPONSE, Drop(), renumber=True),
    sends(
        "dataout.good-after-reject",
        "A command whose data was rejected ends with GOOD.",
        Opcode.SCSI_RESPONSE,
        Set("status", 0),
        Replace(Part.DATA, b""),
        tests=(FieldIs("status", _CHECK_CONDITION),),
    ),
    sends(
        "dataout.response-with-reject",
        "A command whose data was rejected ends at once, with data still due.",
        Opcode.REJECT,
        Insert(_failure(Of("open_itt"), Of("trigger.stat_sn", 1))),
        renumber=True,
    ),
    takes_for(
        "dataout.early-response",
        "A command ends at its first Data-Out, with data still due.",
        Opcode.SCSI_DATA_OUT,
        Drop(),
        Insert(_failure(Of("trigger.itt"), Of("stat_sn")), direction=Direction.TO_INITIATOR),
        tests=(FieldIs("final", False),),
    ),
)
