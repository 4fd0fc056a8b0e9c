"""Target ports and their groups: REPORT and SET TARGET PORT GROUPS, VPD page 88 (SPC-4 5.15, 6.37, 6.45, 7.8.16)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.designators import Designator
from iscsi_protocol.scsi.fields import At, Buffer, Structure
from iscsi_protocol.scsi.vpd import VpdCode, VpdPage

SETTINGS_HEADER_LENGTH = 4


class AccessState(IntEnum):
    """Asymmetric access state of a target port group."""

    ACTIVE_OPTIMIZED = 0x0
    ACTIVE_NON_OPTIMIZED = 0x1
    STANDBY = 0x2
    UNAVAILABLE = 0x3
    OFFLINE = 0xE
    TRANSITIONING = 0xF


class GroupStatus(IntEnum):
    """Why a group is in its state."""

    NOTHING_TO_REPORT = 0
    SET_BY_COMMAND = 1
    CHANGED_BY_TARGET = 2


class DataFormat(IntEnum):
    """PARAMETER DATA FORMAT of REPORT TARGET PORT GROUPS."""

    LENGTH_ONLY = 0
    EXTENDED = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupDescriptor(Structure):
    """Target port group descriptor without its ports; the `..._supported` bits say which states there are."""

    LENGTH: ClassVar[int] = 8

    preferred: Annotated[bool, At(0, 1, 0x80)] = False
    state: Annotated[int, At(0, 1, 0x0F)] = AccessState.ACTIVE_OPTIMIZED
    transitioning_supported: Annotated[bool, At(1, 1, 0x80)] = False
    offline_supported: Annotated[bool, At(1, 1, 0x40)] = False
    unavailable_supported: Annotated[bool, At(1, 1, 0x08)] = False
    standby_supported: Annotated[bool, At(1, 1, 0x04)] = False
    active_non_optimized_supported: Annotated[bool, At(1, 1, 0x02)] = False
    active_optimized_supported: Annotated[bool, At(1, 1, 0x01)] = False
    group: Annotated[int, At(2, 2)] = 0
    status: Annotated[int, At(5)] = GroupStatus.NOTHING_TO_REPORT
    port_count: Annotated[int, At(7)] = 0


def build_groups(
    groups: Iterable[tuple[GroupDescriptor, Iterable[int]]],
    data_format: int = DataFormat.LENGTH_ONLY,
    implicit_transition_time: int = 0,
) -> bytes:
    """Parameter data of REPORT TARGET PORT GROUPS: each group with its relative target port identifiers.

    `port_count` of the descriptors is not looked at. `implicit_transition_time`: seconds, of the extended format alone.
    """
    body = b""
    if data_format == DataFormat.EXTENDED:
        body = bytes((DataFormat.EXTENDED << 4, implicit_transition_time, 0, 0))
    for descriptor, ports in groups:
        listed = [bytes(2) + port.to_bytes(2, "big") for port in ports]
        body += descriptor.build()[:7] + bytes((len(listed),)) + b"".join(listed)
    return len(body).to_bytes(4, "big") + body


def parse_groups(data: Buffer, data_format: int = DataFormat.LENGTH_ONLY) -> list[tuple[GroupDescriptor, list[int]]]:
    """The whole groups in parameter data of REPORT TARGET PORT GROUPS, each with its ports, as far as it goes."""
    raw = bytes(data)
    end = min(len(raw), 4 + int.from_bytes(raw[:4].ljust(4, b"\0"), "big"))
    at = 8 if data_format == DataFormat.EXTENDED else 4
    found: list[tuple[GroupDescriptor, list[int]]] = []
    while at + GroupDescriptor.LENGTH <= end:
        descriptor = GroupDescriptor.parse(raw, at)
        at += GroupDescriptor.LENGTH
        stop = at + 4 * descriptor.port_count
        if stop > end:
            break
        found.append((descriptor, [int.from_bytes(raw[each + 2 : each + 4], "big") for each in range(at, stop, 4)]))
        at = stop
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSetting(Structure):
    """Set target port group descriptor: the state that a group is to have."""

    LENGTH: ClassVar[int] = 4

    state: Annotated[int, At(0, 1, 0x0F)]
    group: Annotated[int, At(2, 2)]


def build_settings(settings: Iterable[GroupSetting]) -> bytes:
    """Parameter list of SET TARGET PORT GROUPS."""
    return bytes(SETTINGS_HEADER_LENGTH) + b"".join(each.build() for each in settings)


def parse_settings(data: Buffer) -> list[GroupSetting] | None:
    """What a parameter list of SET TARGET PORT GROUPS asks for; None where it ends within a descriptor or its header."""
    if len(data) < SETTINGS_HEADER_LENGTH or len(data) % GroupSetting.LENGTH:
        return None
    return [GroupSetting.parse(data, at) for at in range(SETTINGS_HEADER_LENGTH, len(data), GroupSetting.LENGTH)]


def scsi_ports(ports: Iterable[tuple[int, Iterable[Designator]]], peripheral: int = 0) -> VpdPage:
    """Page 88: relative port identifier and target port descriptors of each port; initiator port names are not kept."""
    body = b""
    for relative, designators in ports:
        names = b"".join(each.build() for each in designators)
        body += bytes(2) + relative.to_bytes(2, "big") + bytes(6) + len(names).to_bytes(2, "big") + names
    return VpdPage(page_code=VpdCode.SCSI_PORTS, body=body, peripheral=peripheral)
