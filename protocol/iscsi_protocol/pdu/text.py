"""Text Request and Text Response (11.10, 11.11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from iscsi_protocol.pdu.base import At, Pdu, register
from iscsi_protocol.pdu.codes import NO_LUN, NO_TAG, Opcode


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class TextRequest(Pdu):
    """Text Request (11.10)."""

    OPCODE: ClassVar[int] = Opcode.TEXT_REQUEST
    immediate: Annotated[bool, At(0, 1, 0x40)] = False
    final: Annotated[bool, At(1, 1, 0x80)] = True
    continued: Annotated[bool, At(1, 1, 0x40)] = False
    lun: Annotated[bytes, At(8, 8)] = NO_LUN
    itt: Annotated[int, At(16, 4)] = NO_TAG
    ttt: Annotated[int, At(20, 4)] = NO_TAG
    cmd_sn: Annotated[int, At(24, 4)] = 0
    exp_stat_sn: Annotated[int, At(28, 4)] = 0


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class TextResponse(Pdu):
    """Text Response (11.11). ttt is the reserved value exactly when final."""

    OPCODE: ClassVar[int] = Opcode.TEXT_RESPONSE
    final: Annotated[bool, At(1, 1, 0x80)] = True
    continued: Annotated[bool, At(1, 1, 0x40)] = False
    lun: Annotated[bytes, At(8, 8)] = NO_LUN
    itt: Annotated[int, At(16, 4)] = NO_TAG
    ttt: Annotated[int, At(20, 4)] = NO_TAG
    stat_sn: Annotated[int, At(24, 4)] = 0
    exp_cmd_sn: Annotated[int, At(28, 4)] = 0
    max_cmd_sn: Annotated[int, At(32, 4)] = 0
