"""What targets do wrong with SCSI Data-In (RFC 7143 section 11.7)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Action,
    Drop,
    Fault,
    FieldIs,
    Flip,
    HasKey,
    Insert,
    NamedFault,
    Of,
    Part,
    Plus,
    Poke,
    Relation,
    Replace,
    Set,
    SetKey,
    Side,
    Split,
    Template,
    Test,
    When,
)
from iscsi_protocol.pdu import DataIn, Opcode
from iscsi_protocol.stream import Direction

_LONGER = FieldIs("data_length", 64, Relation.ABOVE)
"""Data of the medium, in distinction to the answers to small questions."""

_LIMIT = "MaxRecvDataSegmentLength"
_CHECK_CONDITION = 2
_BUSY = 8


def _data_in(*tests: Test) -> When:
    return When(direction=Direction.TO_INITIATOR, opcode=Opcode.SCSI_DATA_IN, tests=tests, times=0)


def _fault(slug: str, says: str, when: When, *what: Action, raw: bool = False) -> NamedFault:
    return NamedFault(id=f"datain.{slug}", side=Side.TARGET, says=says, faults=(Fault(when=when, what=what, raw=raw),))


def _limit(value: str | None) -> When:
    return When(direction=Direction.TO_TARGET, opcode=Opcode.LOGIN_REQUEST, tests=(HasKey(_LIMIT, value),), times=0)


FAULTS = (
    _fault("numbers-from-1", "DataSN starts at 1.", _data_in(_LONGER), Set("data_sn", Plus(1))),
    _fault("numbers-all-0", "Every Data-In has DataSN 0.", _data_in(_LONGER), Set("data_sn", 0)),
    _fault(
        "numbers-by-sequence",
        "DataSN begins anew with the second sequence of 8 PDUs.",
        _data_in(_LONGER, FieldIs("buffer_offset", 4095, Relation.ABOVE)),
        Set("data_sn", Plus(-8)),
    ),
    _fault(
        "segment-limit-ignored",
        "The initiator's MaxRecvDataSegmentLength is taken for 64 KiB.",
        _limit(None),
        SetKey(_LIMIT, "65536"),
    ),
    _fault(
        "segment-limit-rounded-up",
        "A MaxRecvDataSegmentLength of 1000 is taken for 1024.",
        _limit("1000"),
        SetKey(_LIMIT, "1024"),
    ),
    _fault(
        "split-within-a-word",
        "Data-In is cut within a word.",
        _data_in(FieldIs("data_length", 501, Relation.ABOVE)),
        Split(501),
    ),
    _fault(
        "sequences-not-ended",
        "Only the Data-In with the status has the F bit.",
        _data_in(FieldIs("status_present", False)),
        Set("final", False),
    ),
    _fault(
        "status-without-f",
        "The Data-In with the status has no F bit.",
        _data_in(_LONGER, FieldIs("status_present", True)),
        Set("final", False),
    ),
    _fault(
        "busy-in-data",
        "BUSY is told within Data-In.",
        _data_in(_LONGER, FieldIs("status_present", True)),
        Set("status", _BUSY),
    ),
    _fault(
        "error-in-data",
        "CHECK CONDITION is told within Data-In.",
        When(
            direction=Direction.TO_INITIATOR,
            opcode=Opcode.SCSI_RESPONSE,
            tests=(FieldIs("status", _CHECK_CONDITION),),
            times=0,
        ),
        Drop(),
        Insert(
            Template(
                DataIn,
                {
                    "status_present": True,
                    "status": _CHECK_CONDITION,
                    "itt": Of("trigger.itt"),
                    "stat_sn": Of("trigger.stat_sn"),
                    "exp_cmd_sn": Of("trigger.exp_cmd_sn"),
                    "max_cmd_sn": Of("trigger.max_cmd_sn"),
                },
            )
        ),
    ),
    _fault(
        "acknowledge-at-level-0",
        "Data-In has the A bit at ErrorRecoveryLevel 0.",
        _data_in(_LONGER),
        Set("acknowledge", True),
        Set("ttt", 7),
    ),
    _fault(
        "tag-with-other-lun",
        "Data-In has a TTT beside the LUN of another logical unit.",
        _data_in(_LONGER),
        Set("ttt", 7),
        Set("lun", bytes((0, 0x63, 0, 0, 0, 0, 0, 0))),
    ),
    _fault(
        "offset-beyond",
        "The last Data-In lies behind the expected length.",
        _data_in(_LONGER, FieldIs("status_present", True)),
        Set("buffer_offset", Plus(0x100000)),
    ),
    _fault(
        "offset-again",
        "The second Data-In has the offset of the first.",
        _data_in(_LONGER, FieldIs("buffer_offset", 512)),
        Set("buffer_offset", 0),
    ),
    _fault(
        "sequence-overlaps",
        "The second sequence begins before the end of the first.",
        _data_in(_LONGER, FieldIs("buffer_offset", 4096)),
        Set("buffer_offset", 3584),
    ),
    _fault(
        "with-ahs",
        "Data-In has an additional header segment.",
        _data_in(_LONGER),
        Replace(Part.AHS, bytes((0, 1, 2, 0))),
    ),
    _fault("immediate-bit", "Data-In has the I bit.", _data_in(_LONGER), Poke(0, bytes((0x65,)))),
    _fault("unpadded", "5 bytes of data go unpadded.", _data_in(FieldIs("data_length", 5)), Replace(Part.PADDING, b"")),
    _fault(
        "padding-not-0", "Pad bytes are not zero.", _data_in(FieldIs("data_length", 5)), Flip(Part.PADDING, 0, 0xFF)
    ),
    _fault(
        "length-with-padding",
        "DataSegmentLength counts the pad bytes.",
        _data_in(FieldIs("data_length", 5)),
        Set("data_segment_length", Plus(3)),
    ),
    _fault("bit-flipped", "The last bit of every Data-In is wrong.", _data_in(_LONGER), Flip(Part.DATA, -1)),
)
