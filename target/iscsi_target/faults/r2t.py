"""What targets do wrong with Ready To Transfer (RFC 7143 section 11.8)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Action,
    Fault,
    FieldIs,
    Insert,
    NamedFault,
    Of,
    Part,
    Plus,
    Replace,
    Set,
    Side,
    Template,
    Test,
    When,
)
from iscsi_protocol.pdu import NO_TAG, R2T, Opcode
from iscsi_protocol.stream import Direction

_BURST = 4096
"""MaxBurstLength of the cases that count bursts."""


def _r2t(*tests: Test) -> When:
    return When(direction=Direction.TO_INITIATOR, opcode=Opcode.R2T, tests=tests, times=0)


def _fault(slug: str, says: str, when: When, *what: Action) -> NamedFault:
    return NamedFault(id=f"r2t.{slug}", side=Side.TARGET, says=says, faults=(Fault(when=when, what=what),))


def _another(number: int) -> Insert:
    """A further R2T for the burst behind the one that this is about."""
    return Insert(
        Template(
            R2T,
            {
                "itt": Of("trigger.itt"),
                "ttt": Of("trigger.ttt", 0x7700),
                "stat_sn": Of("trigger.stat_sn"),
                "exp_cmd_sn": Of("trigger.exp_cmd_sn"),
                "max_cmd_sn": Of("trigger.max_cmd_sn"),
                "r2t_sn": number,
                "buffer_offset": Of("trigger.buffer_offset", _BURST),
                "desired_data_transfer_length": _BURST,
            },
        )
    )


FAULTS = (
    NamedFault(
        id="r2t.never",
        side=Side.TARGET,
        says="The target waits for data that it does not ask for.",
        policy={"never_ask_for_data": True},
    ),
    _fault("numbers-from-1", "R2TSN starts at 1.", _r2t(), Set("r2t_sn", Plus(1))),
    _fault(
        "gap",
        "The second R2T leaves out 512 bytes.",
        _r2t(FieldIs("r2t_sn", 1)),
        Set("buffer_offset", Plus(512)),
    ),
    _fault("backwards", "The third R2T asks for the beginning.", _r2t(FieldIs("r2t_sn", 2)), Set("buffer_offset", 0)),
    _fault("length-0", "An R2T asks for nothing.", _r2t(), Set("desired_data_transfer_length", 0)),
    _fault(
        "length-above-burst",
        "An R2T asks for more than MaxBurstLength.",
        _r2t(),
        Set("desired_data_transfer_length", Plus(512)),
    ),
    _fault("tag-reserved", "The TTT is the reserved value.", _r2t(), Set("ttt", NO_TAG)),
    _fault(
        "other-lun",
        "The LUN is that of another logical unit.",
        _r2t(),
        Set("lun", bytes((0, 0x63, 0, 0, 0, 0, 0, 0))),
    ),
    _fault("with-data", "An R2T has a data segment.", _r2t(), Replace(Part.DATA, b"data")),
    _fault("stat-sn-ahead", "An R2T takes a StatSN of its own.", _r2t(), Set("stat_sn", Plus(1))),
    _fault(
        "second-outstanding",
        "A second R2T comes at once, whatever MaxOutstandingR2T says.",
        _r2t(FieldIs("r2t_sn", 0)),
        _another(1),
    ),
    _fault(
        "third-outstanding",
        "A third R2T comes behind the second at once, whatever MaxOutstandingR2T says.",
        _r2t(FieldIs("r2t_sn", 1)),
        _another(2),
    ),
)
