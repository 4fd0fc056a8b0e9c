"""NOP-Out and NOP-In (11.18, 11.19)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from iscsi_protocol.pdu.base import At, Pdu, register
from iscsi_protocol.pdu.codes import NO_LUN, NO_TAG, Opcode


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class NopOut(Pdu):
    """NOP-Out (11.18): a ping when itt is valid, the answer to a ping when ttt is."""

    OPCODE: ClassVar[int] = Opcode.NOP_OUT
    immediate: Annotated[bool, At(0, 1, 0x40)] = False
    final: Annotated[bool, At(1, 1, 0x80)] = True
    lun: Annotated[bytes, At(8, 8)] = NO_LUN
    itt: Annotated[int, At(16, 4)] = NO_TAG
    ttt: Annotated[int, At(20, 4)] = NO_TAG
    cmd_sn: Annotated[int, At(24, 4)] = 0
    exp_stat_sn: Annotated[int, At(28, 4)] = 0


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class NopIn(Pdu):
    """NOP-In (11.19): stat_sn is consumed only when itt is valid."""

    OPCODE: ClassVar[int] = Opcode.NOP_IN
    final: Annotated[bool, At(1, 1, 0x80)] = True
    lun: Annotated[bytes, At(8, 8)] = NO_LUN
    itt: Annotated[int, At(16, 4)] = NO_TAG
    ttt: Annotated[int, At(20, 4)] = NO_TAG
    stat_sn: Annotated[int, At(24, 4)] = 0
    exp_cmd_sn: Annotated[int, At(28, 4)] = 0
    max_cmd_sn: Annotated[int, At(32, 4)] = 0
