"""Logout Request and Logout Response (11.14, 11.15)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from iscsi_protocol.pdu.base import At, Pdu, register
from iscsi_protocol.pdu.codes import NO_TAG, Opcode


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class LogoutRequest(Pdu):
    """Logout Request (11.14). cid does not count for reason 0."""

    OPCODE: ClassVar[int] = Opcode.LOGOUT_REQUEST
    immediate: Annotated[bool, At(0, 1, 0x40)] = False
    final: Annotated[bool, At(1, 1, 0x80)] = True
    reason: Annotated[int, At(1, 1, 0x7F)] = 0
    itt: Annotated[int, At(16, 4)] = NO_TAG
    cid: Annotated[int, At(20, 2)] = 0
    cmd_sn: Annotated[int, At(24, 4)] = 0
    exp_stat_sn: Annotated[int, At(28, 4)] = 0


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class LogoutResponse(Pdu):
    """Logout Response (11.15). The two times are in seconds."""

    OPCODE: ClassVar[int] = Opcode.LOGOUT_RESPONSE
    final: Annotated[bool, At(1, 1, 0x80)] = True
    response: Annotated[int, At(2)] = 0
    itt: Annotated[int, At(16, 4)] = NO_TAG
    stat_sn: Annotated[int, At(24, 4)] = 0
    exp_cmd_sn: Annotated[int, At(28, 4)] = 0
    max_cmd_sn: Annotated[int, At(32, 4)] = 0
    time2wait: Annotated[int, At(40, 2)] = 0
    time2retain: Annotated[int, At(42, 2)] = 0
