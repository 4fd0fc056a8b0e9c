"""How logical units and target ports are named (SPC-4 7.8.6, RFC 7143 4.4.1): portal groups are the SCSI target ports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from iscsi_protocol.scsi.designators import (
    Association,
    Designator,
    naa_locally_assigned,
    relative_target_port,
    scsi_name,
    t10_vendor_id,
    target_port_group,
)
from iscsi_protocol.scsi.target_ports import scsi_ports

if TYPE_CHECKING:
    from iscsi_target.device.unit import ItlNexus, LogicalUnit


def unit_designators(unit: LogicalUnit) -> list[Designator]:
    """What names the logical unit, by any port."""
    return [naa_locally_assigned(unit.number), t10_vendor_id(unit.config.vendor, unit.serial)]


def port_name(target_name: str, tag: int) -> Designator:
    """The SCSI name of the target port that a portal group is."""
    return scsi_name(f"{target_name},t,{tag:#06x}", Association.TARGET_PORT)


def port_designators(target_name: str, tag: int, group: int) -> list[Designator]:
    """What names a target port; portal group 0 has no relative identifier, which would be a reserved one."""
    numbered = [relative_target_port(tag)] if tag else []
    return [port_name(target_name, tag), *numbered, target_port_group(group)]


def device_designator(target_name: str) -> Designator:
    """The name of the target device."""
    return scsi_name(target_name, Association.TARGET_DEVICE)


def ports_page(path: ItlNexus) -> bytes:
    """VPD page 88: the target ports through which the unit is reached."""
    return ports_of(path.unit.target_name, path.unit.target_ports)


def ports_of(target_name: str, tags: Iterable[int]) -> bytes:
    """VPD page 88 of these portal groups."""
    return scsi_ports((tag, [port_name(target_name, tag)]) for tag in tags if tag).build()
