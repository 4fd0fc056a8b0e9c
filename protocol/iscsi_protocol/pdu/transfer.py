"""SCSI Data-Out, SCSI Data-In and Ready To Transfer (11.7, 11.8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from iscsi_protocol.pdu.base import At, Pdu, register
from iscsi_protocol.pdu.codes import NO_LUN, NO_TAG, Opcode


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class DataOut(Pdu):
    """SCSI Data-Out (11.7)."""

    OPCODE: ClassVar[int] = Opcode.SCSI_DATA_OUT
    final: Annotated[bool, At(1, 1, 0x80)] = True
    lun: Annotated[bytes, At(8, 8)] = NO_LUN
    itt: Annotated[int, At(16, 4)] = NO_TAG
    ttt: Annotated[int, At(20, 4)] = NO_TAG
    exp_stat_sn: Annotated[int, At(28, 4)] = 0
    data_sn: Annotated[int, At(36, 4)] = 0
    buffer_offset: Annotated[int, At(40, 4)] = 0


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class DataIn(Pdu):
    """SCSI Data-In (11.7). status, stat_sn and residual_count count only with status_present."""

    OPCODE: ClassVar[int] = Opcode.SCSI_DATA_IN
    final: Annotated[bool, At(1, 1, 0x80)] = True
    acknowledge: Annotated[bool, At(1, 1, 0x40)] = False
    overflow: Annotated[bool, At(1, 1, 0x04)] = False
    underflow: Annotated[bool, At(1, 1, 0x02)] = False
    status_present: Annotated[bool, At(1, 1, 0x01)] = False
    status: Annotated[int, At(3)] = 0
    lun: Annotated[bytes, At(8, 8)] = NO_LUN
    itt: Annotated[int, At(16, 4)] = NO_TAG
    ttt: Annotated[int, At(20, 4)] = NO_TAG
    stat_sn: Annotated[int, At(24, 4)] = 0
    exp_cmd_sn: Annotated[int, At(28, 4)] = 0
    max_cmd_sn: Annotated[int, At(32, 4)] = 0
    data_sn: Annotated[int, At(36, 4)] = 0
    buffer_offset: Annotated[int, At(40, 4)] = 0
    residual_count: Annotated[int, At(44, 4)] = 0


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class R2T(Pdu):
    """Ready To Transfer (11.8). stat_sn is the next one and is not consumed."""

    OPCODE: ClassVar[int] = Opcode.R2T
    final: Annotated[bool, At(1, 1, 0x80)] = True
    lun: Annotated[bytes, At(8, 8)] = NO_LUN
    itt: Annotated[int, At(16, 4)] = NO_TAG
    ttt: Annotated[int, At(20, 4)] = NO_TAG
    stat_sn: Annotated[int, At(24, 4)] = 0
    exp_cmd_sn: Annotated[int, At(28, 4)] = 0
    max_cmd_sn: Annotated[int, At(32, 4)] = 0
    r2t_sn: Annotated[int, At(36, 4)] = 0
    buffer_offset: Annotated[int, At(40, 4)] = 0
    desired_data_transfer_length: Annotated[int, At(44, 4)] = 0
