"""What targets do wrong with Ready To Transfer (RFC 7143 section 11.8)."""

from __future__ import annotations

from iscsi_protocol.fault import FieldIs, Insert, Of, Part, Plus, Replace, Set, Template
from iscsi_protocol.pdu import NO_TAG, R2T, Opcode
from iscsi_target.faults import SAME_NUMBERS, behaves, sends

_BURST = 4096
"""MaxBurstLength of the cases that count bursts."""


def _another(number: int) -> Insert:
    """A further R2T for the burst behind the one that this is about."""
    return Insert(
        Template(
            R2T,
            {
                "itt": Of("trigger.itt"),
                "ttt": Of("trigger.ttt", 0x7700),
                **SAME_NUMBERS,
                "r2t_sn": number,
                "buffer_offset": Of("trigger.buffer_offset", _BURST),
                "desired_data_transfer_length": _BURST,
            },
        )
    )


FAULTS = (
    behaves("r2t.never", "The target waits for data that it does not ask for.", never_ask_for_data=True),
    sends("r2t.numbers-from-1", "R2TSN starts at 1.", Opcode.R2T, Set("r2t_sn", Plus(1))),
    sends(
        "r2t.gap",
        "The second R2T leaves out 512 bytes.",
        Opcode.R2T,
        Set("buffer_offset", Plus(512)),
        tests=(FieldIs("r2t_sn", 1),),
    ),
    sends(
        "r2t.backwards",
        "The third R2T asks for the beginning.",
        Opcode.R2T,
        Set("buffer_offset", 0),
        tests=(FieldIs("r2t_sn", 2),),
    ),
    sends("r2t.length-0", "An R2T asks for nothing.", Opcode.R2T, Set("desired_data_transfer_length", 0)),
    sends(
        "r2t.length-above-burst",
        "An R2T asks for more than MaxBurstLength.",
        Opcode.R2T,
        Set("desired_data_transfer_length", Plus(512)),
    ),
    sends("r2t.tag-reserved", "The TTT is the reserved value.", Opcode.R2T, Set("ttt", NO_TAG)),
    sends(
        "r2t.other-lun",
        "The LUN is that of another logical unit.",
        Opcode.R2T,
        Set("lun", bytes((0, 0x63, 0, 0, 0, 0, 0, 0))),
    ),
    sends("r2t.with-data", "An R2T has a data segment.", Opcode.R2T, Replace(Part.DATA, b"data")),
    sends("r2t.stat-sn-ahead", "An R2T takes a StatSN of its own.", Opcode.R2T, Set("stat_sn", Plus(1))),
    sends(
        "r2t.second-outstanding",
        "A second R2T comes at once, whatever MaxOutstandingR2T says.",
        Opcode.R2T,
        _another(1),
        tests=(FieldIs("r2t_sn", 0),),
    ),
    sends(
        "r2t.third-outstanding",
        "A third R2T comes behind the second at once, whatever MaxOutstandingR2T says.",
        Opcode.R2T,
        _another(2),
        tests=(FieldIs("r2t_sn", 1),),
    ),
)
