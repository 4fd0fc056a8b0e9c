"""What the target says unasked or against a request, and how data is asked for again: Asynchronous Message, Reject, SNACK
(11.9, 11.16, 11.17).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from iscsi_protocol.pdu.base import At, Pdu, register
from iscsi_protocol.pdu.codes import NO_LUN, NO_TAG, Opcode


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class AsyncMessage(Pdu):
    """Asynchronous Message (11.9). itt is the reserved value; what the parameters mean depends on async_event."""

    OPCODE: ClassVar[int] = Opcode.ASYNC_MESSAGE
    final: Annotated[bool, At(1, 1, 0x80)] = True
    lun: Annotated[bytes, At(8, 8)] = NO_LUN
    itt: Annotated[int, At(16, 4)] = NO_TAG
    stat_sn: Annotated[int, At(24, 4)] = 0
    exp_cmd_sn: Annotated[int, At(28, 4)] = 0
    max_cmd_sn: Annotated[int, At(32, 4)] = 0
    async_event: Annotated[int, At(36)] = 0
    async_vcode: Annotated[int, At(37)] = 0
    parameter1: Annotated[int, At(38, 2)] = 0
    parameter2: Annotated[int, At(40, 2)] = 0
    parameter3: Annotated[int, At(42, 2)] = 0


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class Reject(Pdu):
    """Reject (11.17). The data segment is the header of the refused PDU, its AHS included, without digest."""

    OPCODE: ClassVar[int] = Opcode.REJECT
    final: Annotated[bool, At(1, 1, 0x80)] = True
    reason: Annotated[int, At(2)] = 0
    itt: Annotated[int, At(16, 4)] = NO_TAG
    stat_sn: Annotated[int, At(24, 4)] = 0
    exp_cmd_sn: Annotated[int, At(28, 4)] = 0
    max_cmd_sn: Annotated[int, At(32, 4)] = 0
    data_sn: Annotated[int, At(36, 4)] = 0


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class SnackRequest(Pdu):
    """SNACK Request (11.16). ttt is the SNACK Tag for R-Data."""

    OPCODE: ClassVar[int] = Opcode.SNACK_REQUEST
    final: Annotated[bool, At(1, 1, 0x80)] = True
    snack_type: Annotated[int, At(1, 1, 0x0F)] = 0
    lun: Annotated[bytes, At(8, 8)] = NO_LUN
    itt: Annotated[int, At(16, 4)] = NO_TAG
    ttt: Annotated[int, At(20, 4)] = NO_TAG
    exp_stat_sn: Annotated[int, At(28, 4)] = 0
    beg_run: Annotated[int, At(40, 4)] = 0
    run_length: Annotated[int, At(44, 4)] = 0
