"""Login Request and Login Response (11.12, 11.13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from iscsi_protocol.pdu.base import At, Pdu, register
from iscsi_protocol.pdu.codes import NO_TAG, Opcode


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class LoginRequest(Pdu):
    """Login Request (11.12). The opcode byte is always 0x43: login is always immediate."""

    OPCODE: ClassVar[int] = Opcode.LOGIN_REQUEST
    immediate: Annotated[bool, At(0, 1, 0x40)] = True
    transit: Annotated[bool, At(1, 1, 0x80)] = False
    continued: Annotated[bool, At(1, 1, 0x40)] = False
    csg: Annotated[int, At(1, 1, 0x0C)] = 0
    nsg: Annotated[int, At(1, 1, 0x03)] = 0
    version_max: Annotated[int, At(2)] = 0
    version_min: Annotated[int, At(3)] = 0
    isid: Annotated[bytes, At(8, 6)] = bytes(6)
    tsih: Annotated[int, At(14, 2)] = 0
    itt: Annotated[int, At(16, 4)] = NO_TAG
    cid: Annotated[int, At(20, 2)] = 0
    cmd_sn: Annotated[int, At(24, 4)] = 0
    exp_stat_sn: Annotated[int, At(28, 4)] = 0


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class LoginResponse(Pdu):
    """Login Response (11.13). StatSN, ExpCmdSN and MaxCmdSN count only with status class 0."""

    OPCODE: ClassVar[int] = Opcode.LOGIN_RESPONSE
    transit: Annotated[bool, At(1, 1, 0x80)] = False
    continued: Annotated[bool, At(1, 1, 0x40)] = False
    csg: Annotated[int, At(1, 1, 0x0C)] = 0
    nsg: Annotated[int, At(1, 1, 0x03)] = 0
    version_max: Annotated[int, At(2)] = 0
    version_active: Annotated[int, At(3)] = 0
    isid: Annotated[bytes, At(8, 6)] = bytes(6)
    tsih: Annotated[int, At(14, 2)] = 0
    itt: Annotated[int, At(16, 4)] = NO_TAG
    stat_sn: Annotated[int, At(24, 4)] = 0
    exp_cmd_sn: Annotated[int, At(28, 4)] = 0
    max_cmd_sn: Annotated[int, At(32, 4)] = 0
    status_class: Annotated[int, At(36)] = 0
    status_detail: Annotated[int, At(37)] = 0

    @property
    def status(self) -> int:
        """Class and detail as one number, comparable with `LoginStatus`."""
        return self.status_class << 8 | self.status_detail
