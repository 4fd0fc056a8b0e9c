"""SCSI Command and SCSI Response (11.3, 11.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from iscsi_protocol.pdu.base import At, Pdu, register
from iscsi_protocol.pdu.codes import NO_LUN, NO_TAG, Opcode


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class ScsiCommand(Pdu):
    """SCSI Command (11.3). `cdb` is the 16 bytes of the header; a longer CDB goes on in an AHS.

    command_priority is RFC 7144's and reserved below protocol level 2.
    """

    OPCODE: ClassVar[int] = Opcode.SCSI_COMMAND
    immediate: Annotated[bool, At(0, 1, 0x40)] = False
    final: Annotated[bool, At(1, 1, 0x80)] = True
    read: Annotated[bool, At(1, 1, 0x40)] = False
    write: Annotated[bool, At(1, 1, 0x20)] = False
    attribute: Annotated[int, At(1, 1, 0x07)] = 1
    command_priority: Annotated[int, At(2, 1, 0xF0)] = 0
    lun: Annotated[bytes, At(8, 8)] = NO_LUN
    itt: Annotated[int, At(16, 4)] = NO_TAG
    expected_data_transfer_length: Annotated[int, At(20, 4)] = 0
    cmd_sn: Annotated[int, At(24, 4)] = 0
    exp_stat_sn: Annotated[int, At(28, 4)] = 0
    cdb: Annotated[bytes, At(32, 16)] = bytes(16)


@register
@dataclass(frozen=True, kw_only=True, slots=True)
class ScsiResponse(Pdu):
    """SCSI Response (11.4). The data segment is SenseLength (2 bytes), sense data, response data.

    status_qualifier is RFC 7144's and reserved below protocol level 2.
    """

    OPCODE: ClassVar[int] = Opcode.SCSI_RESPONSE
    final: Annotated[bool, At(1, 1, 0x80)] = True
    bidi_overflow: Annotated[bool, At(1, 1, 0x10)] = False
    bidi_underflow: Annotated[bool, At(1, 1, 0x08)] = False
    overflow: Annotated[bool, At(1, 1, 0x04)] = False
    underflow: Annotated[bool, At(1, 1, 0x02)] = False
    response: Annotated[int, At(2)] = 0
    status: Annotated[int, At(3)] = 0
    status_qualifier: Annotated[int, At(8, 2)] = 0
    itt: Annotated[int, At(16, 4)] = NO_TAG
    snack_tag: Annotated[int, At(20, 4)] = 0
    stat_sn: Annotated[int, At(24, 4)] = 0
    exp_cmd_sn: Annotated[int, At(28, 4)] = 0
    max_cmd_sn: Annotated[int, At(32, 4)] = 0
    exp_data_sn: Annotated[int, At(36, 4)] = 0
    bidi_residual_count: Annotated[int, At(40, 4)] = 0
    residual_count: Annotated[int, At(44, 4)] = 0
