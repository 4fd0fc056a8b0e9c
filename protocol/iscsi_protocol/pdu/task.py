"""Task Management Function Request and Response (11.5, 11.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from iscsi_protocol.pdu.base import At, Pdu, register
from iscsi_protocol.pdu.codes import NO_LUN, NO_TAG, Opcode


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class TaskManagementRequest(Pdu):
    """Task Management Function Request (11.5). exp_data_sn counts only for TASK REASSIGN."""

    OPCODE: ClassVar[int] = Opcode.TASK_MANAGEMENT_REQUEST
    immediate: Annotated[bool, At(0, 1, 0x40)] = True
    final: Annotated[bool, At(1, 1, 0x80)] = True
    function: Annotated[int, At(1, 1, 0x7F)] = 1
    lun: Annotated[bytes, At(8, 8)] = NO_LUN
    itt: Annotated[int, At(16, 4)] = NO_TAG
    referenced_task_tag: Annotated[int, At(20, 4)] = NO_TAG
    cmd_sn: Annotated[int, At(24, 4)] = 0
    exp_stat_sn: Annotated[int, At(28, 4)] = 0
    ref_cmd_sn: Annotated[int, At(32, 4)] = 0
    exp_data_sn: Annotated[int, At(36, 4)] = 0


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class TaskManagementResponse(Pdu):
    """Task Management Function Response (11.6). additional_response_information is RFC 7144's."""

    OPCODE: ClassVar[int] = Opcode.TASK_MANAGEMENT_RESPONSE
    final: Annotated[bool, At(1, 1, 0x80)] = True
    response: Annotated[int, At(2)] = 0
    additional_response_information: Annotated[int, At(8, 3)] = 0
    itt: Annotated[int, At(16, 4)] = NO_TAG
    stat_sn: Annotated[int, At(24, 4)] = 0
    exp_cmd_sn: Annotated[int, At(28, 4)] = 0
    max_cmd_sn: Annotated[int, At(32, 4)] = 0
