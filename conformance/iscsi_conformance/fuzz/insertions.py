"""Generated PDUs that the target sends beside those of the dialogue: answers nobody waits for, messages unasked, and what no
target sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from iscsi_conformance.fuzz.pdu_faults import DATA, first_possible, when
from iscsi_protocol.fault import Fault, Insert, Of, Template, Value
from iscsi_protocol.pdu import (
    R2T,
    AsyncMessage,
    DataIn,
    DataOut,
    LoginResponse,
    LogoutResponse,
    NopIn,
    NopOut,
    Pdu,
    Reject,
    ScsiCommand,
    ScsiResponse,
    TaskManagementResponse,
    TextResponse,
    UnknownPdu,
)
from iscsi_protocol.pdu.codes import NO_TAG
from iscsi_protocol.stream import Direction


def insertion(dice: Random, answers: Sequence[int]) -> Fault:
    """The target sends one PDU more than it should, beside one with one of these opcodes."""
    opcode = dice.choice(answers)
    renumber = dice.random() < 0.5

    def make() -> Fault:
        inserted = Insert(Template(*_template(dice)), before=dice.random() < 0.5)
        return Fault(when=when(dice, Direction.TO_INITIATOR, opcode), what=(inserted,), renumber=renumber)

    return first_possible(dice, make)


def _template(dice: Random) -> tuple[type[Pdu], dict[str, Value]]:
    """A PDU that the target has no reason to send."""
    tag: Value = dice.choice((Of("open_itt"), Of("closed_itt"), Of("unused_itt"), NO_TAG))
    numbers: dict[str, Value] = {
        "stat_sn": Of("stat_sn", dice.choices((0, 1, -1, 7), (12, 1, 1, 1))[0]),
        "exp_cmd_sn": Of("exp_cmd_sn"),
        "max_cmd_sn": Of("max_cmd_sn"),
    }
    ttt: Value = dice.choice((NO_TAG, 0, 0x1234))
    templates: tuple[tuple[type[Pdu], dict[str, Value]], ...] = (
        (
            AsyncMessage,
            {
                **numbers,
                "async_event": dice.choice((0, 1, 1, 2, 3, 4, 5, 6, 247, 248, 255)),
                "parameter1": dice.choice((0, 0, 1, 0xFFFF)),
                "parameter2": dice.choice((0, 1, 3)),
                "parameter3": dice.choice((0, 1, 5, 40)),
            },
        ),
        (
            Reject,
            {
                **numbers,
                "reason": dice.choice((*range(2, 13), 0, 1, 13, 255)),
                "data": _rejected(dice) if dice.random() < 0.9 else dice.choice(DATA),
            },
        ),
        (NopIn, {**numbers, "itt": NO_TAG, "ttt": ttt, "data": dice.choice((b"", b"ping", bytes(100)))}),
        (NopIn, {**numbers, "itt": tag, "ttt": ttt}),
        (
            DataIn,
            {"itt": tag, "data_sn": dice.randrange(3), "buffer_offset": dice.choice((0, 512)), "data": bytes(512)},
        ),
        (DataIn, {**numbers, "itt": tag, "status_present": True, "data": dice.choice((b"", bytes(512)))}),
        (
            R2T,
            {
                **numbers,
                "itt": tag,
                "ttt": ttt,
                "r2t_sn": dice.randrange(3),
                "buffer_offset": dice.choice((0, 512, 1024)),
                "desired_data_transfer_length": dice.choice((0, 512, 1024, 65536)),
            },
        ),
        (ScsiResponse, {**numbers, "itt": tag, "status": dice.choice((0, 2, 8))}),
        (TaskManagementResponse, {**numbers, "itt": tag, "response": dice.choice((0, 1, 5, 255))}),
        (TextResponse, {**numbers, "itt": tag, "ttt": ttt, "final": ttt == NO_TAG}),
        (LogoutResponse, {**numbers, "itt": tag, "response": dice.randrange(4)}),
        (LoginResponse, {**numbers, "itt": tag, "transit": True, "csg": 1, "nsg": 3}),
        (UnknownPdu, {"opcode": dice.choice((*range(0x27, 0x31), *range(0x33, 0x3F), 0x07, 0x1F))}),
        (NopOut, {}),
        (ScsiCommand, {}),
        (DataOut, {"data": bytes(4)}),
    )
    return dice.choices(templates, (6, 6, 4, 2, 2, 2, 3, 3, 2, 2, 2, 1, 1, 1, 1, 1))[0]


def _rejected(dice: Random) -> bytes:
    """The header of a request with a tag that may be open."""
    opcode = dice.choice((0x01, 0x01, 0x00, 0x02, 0x04, 0x05, 0x06, 0x10))
    header = bytearray(48)
    header[0], header[1] = opcode, 0x80
    header[16:20] = dice.randint(1, 12).to_bytes(4, "big")
    return bytes(header)
