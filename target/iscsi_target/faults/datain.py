"""What targets do wrong with SCSI Data-In (RFC 7143 section 11.7)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Drop,
    FieldIs,
    Flip,
    HasKey,
    Insert,
    Of,
    Part,
    Plus,
    Poke,
    Relation,
    Replace,
    Set,
    SetKey,
    Split,
    Template,
)
from iscsi_protocol.pdu import DataIn, Opcode
from iscsi_target.faults import SAME_NUMBERS, sends, takes_for

_LONGER = FieldIs("data_length", 64, Relation.ABOVE)
"""Data of the medium, in distinction to the answers to small questions."""

_LIMIT = "MaxRecvDataSegmentLength"
_CHECK_CONDITION = 2
_BUSY = 8


FAULTS = (
    sends(
        "datain.numbers-from-1", "DataSN starts at 1.", Opcode.SCSI_DATA_IN, Set("data_sn", Plus(1)), tests=(_LONGER,)
    ),
    sends(
        "datain.numbers-all-0", "Every Data-In has DataSN 0.", Opcode.SCSI_DATA_IN, Set("data_sn", 0), tests=(_LONGER,)
    ),
    sends(
        "datain.numbers-by-sequence",
        "DataSN begins anew with the second sequence of 8 PDUs.",
        Opcode.SCSI_DATA_IN,
        Set("data_sn", Plus(-8)),
        tests=(_LONGER, FieldIs("buffer_offset", 4095, Relation.ABOVE)),
    ),
    takes_for(
        "datain.segment-limit-ignored",
        "The initiator's MaxRecvDataSegmentLength is taken for 64 KiB.",
        Opcode.LOGIN_REQUEST,
        SetKey(_LIMIT, "65536"),
        tests=(HasKey(_LIMIT),),
    ),
    takes_for(
        "datain.segment-limit-rounded-up",
        "A MaxRecvDataSegmentLength of 1000 is taken for 1024.",
        Opcode.LOGIN_REQUEST,
        SetKey(_LIMIT, "1024"),
        tests=(HasKey(_LIMIT, "1000"),),
    ),
    sends(
        "datain.split-within-a-word",
        "Data-In is cut within a word.",
        Opcode.SCSI_DATA_IN,
        Split(501),
        tests=(FieldIs("data_length", 501, Relation.ABOVE),),
    ),
    sends(
        "datain.sequences-not-ended",
        "Only the Data-In with the status has the F bit.",
        Opcode.SCSI_DATA_IN,
        Set("final", False),
        tests=(FieldIs("status_present", False),),
    ),
    sends(
        "datain.status-without-f",
        "The Data-In with the status has no F bit.",
        Opcode.SCSI_DATA_IN,
        Set("final", False),
        tests=(_LONGER, FieldIs("status_present", True)),
    ),
    sends(
        "datain.busy-in-data",
        "BUSY is told within Data-In.",
        Opcode.SCSI_DATA_IN,
        Set("status", _BUSY),
        tests=(_LONGER, FieldIs("status_present", True)),
    ),
    sends(
        "datain.error-in-data",
        "CHECK CONDITION is told within Data-In.",
        Opcode.SCSI_RESPONSE,
        Drop(),
        Insert(
            Template(
                DataIn, {"status_present": True, "status": _CHECK_CONDITION, "itt": Of("trigger.itt"), **SAME_NUMBERS}
            )
        ),
        tests=(FieldIs("status", _CHECK_CONDITION),),
    ),
    sends(
        "datain.acknowledge-at-level-0",
        "Data-In has the A bit at ErrorRecoveryLevel 0.",
        Opcode.SCSI_DATA_IN,
        Set("acknowledge", True),
        Set("ttt", 7),
        tests=(_LONGER,),
    ),
    sends(
        "datain.tag-with-other-lun",
        "Data-In has a TTT beside the LUN of another logical unit.",
        Opcode.SCSI_DATA_IN,
        Set("ttt", 7),
        Set("lun", bytes((0, 0x63, 0, 0, 0, 0, 0, 0))),
        tests=(_LONGER,),
    ),
    sends(
        "datain.offset-beyond",
        "The last Data-In lies behind the expected length.",
        Opcode.SCSI_DATA_IN,
        Set("buffer_offset", Plus(0x100000)),
        tests=(_LONGER, FieldIs("status_present", True)),
    ),
    sends(
        "datain.offset-again",
        "The second Data-In has the offset of the first.",
        Opcode.SCSI_DATA_IN,
        Set("buffer_offset", 0),
        tests=(_LONGER, FieldIs("buffer_offset", 512)),
    ),
    sends(
        "datain.sequence-overlaps",
        "The second sequence begins before the end of the first.",
        Opcode.SCSI_DATA_IN,
        Set("buffer_offset", 3584),
        tests=(_LONGER, FieldIs("buffer_offset", 4096)),
    ),
    sends(
        "datain.with-ahs",
        "Data-In has an additional header segment.",
        Opcode.SCSI_DATA_IN,
        Replace(Part.AHS, bytes((0, 1, 2, 0))),
        tests=(_LONGER,),
    ),
    sends(
        "datain.immediate-bit", "Data-In has the I bit.", Opcode.SCSI_DATA_IN, Poke(0, bytes((0x65,))), tests=(_LONGER,)
    ),
    sends(
        "datain.unpadded",
        "5 bytes of data go unpadded.",
        Opcode.SCSI_DATA_IN,
        Replace(Part.PADDING, b""),
        tests=(FieldIs("data_length", 5),),
    ),
    sends(
        "datain.padding-not-0",
        "Pad bytes are not zero.",
        Opcode.SCSI_DATA_IN,
        Flip(Part.PADDING, 0, 0xFF),
        tests=(FieldIs("data_length", 5),),
    ),
    sends(
        "datain.length-with-padding",
        "DataSegmentLength counts the pad bytes.",
        Opcode.SCSI_DATA_IN,
        Set("data_segment_length", Plus(3)),
        tests=(FieldIs("data_length", 5),),
    ),
    sends(
        "datain.bit-flipped",
        "The last bit of every Data-In is wrong.",
        Opcode.SCSI_DATA_IN,
        Flip(Part.DATA, -1),
        tests=(_LONGER,),
    ),
)
