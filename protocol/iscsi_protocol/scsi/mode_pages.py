"""Further mode pages of a disk: 02 disconnect-reconnect, 0A/01 control extension, 1A power condition (SPC-4 7.5) and
1C/02 logical block provisioning without threshold descriptors (SBC-3 6.5.9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.fields import At, Structure
from iscsi_protocol.scsi.mode import ModePage, ModePageCode

_SUBPAGE_FORMAT = 0x40


@dataclass(frozen=True, kw_only=True, slots=True)
class DisconnectReconnectPage(ModePage):
    """Page 02 (SPC-4 7.5.10). Zero: the target chooses, or there is no limit."""

    PAGE_CODE: ClassVar[int] = ModePageCode.DISCONNECT_RECONNECT
    LENGTH: ClassVar[int] = 16

    buffer_full_ratio: Annotated[int, At(2)] = 0
    buffer_empty_ratio: Annotated[int, At(3)] = 0
    bus_inactivity_limit: Annotated[int, At(4, 2)] = 0
    disconnect_time_limit: Annotated[int, At(6, 2)] = 0
    connect_time_limit: Annotated[int, At(8, 2)] = 0
    maximum_burst_size: Annotated[int, At(10, 2)] = 0
    enable_modify_data_pointers: Annotated[bool, At(12, 1, 0x80)] = False
    fair_arbitration: Annotated[int, At(12, 1, 0x70)] = 0
    disconnect_immediate: Annotated[bool, At(12, 1, 0x08)] = False
    data_transfer_disconnect_control: Annotated[int, At(12, 1, 0x07)] = 0
    first_burst_size: Annotated[int, At(14, 2)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerConditionPage(ModePage):
    """Page 1A (SPC-4 7.5.13): which timers run, and how long, in units of 100 ms."""

    PAGE_CODE: ClassVar[int] = ModePageCode.POWER_CONDITION
    LENGTH: ClassVar[int] = 40

    background_precedence: Annotated[int, At(2, 1, 0xC0)] = 0
    standby_y: Annotated[bool, At(2, 1, 0x01)] = False
    idle_c: Annotated[bool, At(3, 1, 0x08)] = False
    idle_b: Annotated[bool, At(3, 1, 0x04)] = False
    idle_a: Annotated[bool, At(3, 1, 0x02)] = False
    standby_z: Annotated[bool, At(3, 1, 0x01)] = False
    idle_a_timer: Annotated[int, At(4, 4)] = 0
    standby_z_timer: Annotated[int, At(8, 4)] = 0
    idle_b_timer: Annotated[int, At(12, 4)] = 0
    idle_c_timer: Annotated[int, At(16, 4)] = 0
    standby_y_timer: Annotated[int, At(20, 4)] = 0
    check_condition_from_idle: Annotated[int, At(39, 1, 0xC0)] = 0
    check_condition_from_standby: Annotated[int, At(39, 1, 0x30)] = 0
    check_condition_from_stopped: Annotated[int, At(39, 1, 0x0C)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ModeSubpage(ModePage):
    """A page in sub_page format."""

    SUBPAGE_CODE: ClassVar[int]

    def build(self) -> bytes:
        """The page with its header. Raises FieldValueError when a value does not fit."""
        page = bytearray(Structure.build(self))
        page[0] |= _SUBPAGE_FORMAT | self.PAGE_CODE
        page[1] = self.SUBPAGE_CODE
        page[2:4] = (self.LENGTH - 4).to_bytes(2, "big")
        return bytes(page)


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlExtensionPage(ModeSubpage):
    """Page 0A, subpage 01 (SPC-4 7.5.9): `scsi_precedence` lets SET TIMESTAMP win over other clocks."""

    PAGE_CODE: ClassVar[int] = ModePageCode.CONTROL
    SUBPAGE_CODE: ClassVar[int] = 0x01
    LENGTH: ClassVar[int] = 32

    timestamp_changeable_otherwise: Annotated[bool, At(4, 1, 0x04)] = False
    scsi_precedence: Annotated[bool, At(4, 1, 0x02)] = False
    implicit_asymmetric_access: Annotated[bool, At(4, 1, 0x01)] = False
    initial_command_priority: Annotated[int, At(5, 1, 0x0F)] = 0
    maximum_sense_data_length: Annotated[int, At(6)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class LogicalBlockProvisioningModePage(ModeSubpage):
    """Page 1C, subpage 02 (SBC-3 6.5.9), without thresholds."""

    PAGE_CODE: ClassVar[int] = ModePageCode.INFORMATIONAL_EXCEPTIONS_CONTROL
    SUBPAGE_CODE: ClassVar[int] = 0x02
    LENGTH: ClassVar[int] = 16

    single_initiator_threshold_attention: Annotated[bool, At(4, 1, 0x01)] = False
