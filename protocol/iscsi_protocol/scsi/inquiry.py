"""Standard INQUIRY data (SPC-4 6.6.2) with the version descriptors that an iSCSI disk claims (SPC-4 6.6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.fields import At, Structure


class PeripheralQualifier(IntEnum):
    """Whether a unit is behind the LUN that was asked for."""

    CONNECTED = 0
    NOT_CONNECTED = 1
    NOT_CAPABLE = 3


class PeripheralDeviceType(IntEnum):
    """Device types that an iSCSI target is likely to show."""

    DIRECT_ACCESS = 0x00
    SEQUENTIAL_ACCESS = 0x01
    CD_DVD = 0x05
    STORAGE_ARRAY_CONTROLLER = 0x0C
    ENCLOSURE_SERVICES = 0x0D
    SIMPLIFIED_DIRECT_ACCESS = 0x0E
    WELL_KNOWN = 0x1E
    UNKNOWN = 0x1F


class Version(IntEnum):
    """VERSION field: the SPC that the device claims."""

    SPC_2 = 0x04
    SPC_3 = 0x05
    SPC_4 = 0x06
    SPC_5 = 0x07


class VersionDescriptor(IntEnum):
    """Standards named in version descriptors, without claim to a revision."""

    SAM_2 = 0x0040
    SAM_3 = 0x0060
    SAM_4 = 0x0080
    SAM_5 = 0x00A0
    SPC_2 = 0x0260
    SPC_3 = 0x0300
    SBC_2 = 0x0320
    SPC_4 = 0x0460
    SBC_3 = 0x04C0
    ISCSI = 0x0960


NO_UNIT = PeripheralQualifier.NOT_CAPABLE << 5 | PeripheralDeviceType.UNKNOWN
"""First byte of INQUIRY data for a LUN where no unit can be."""

VERSION_DESCRIPTORS = 8
_VERSION_DESCRIPTORS_AT = 58


@dataclass(frozen=True, kw_only=True, slots=True)
class StandardInquiry(Structure):
    """96 bytes of standard INQUIRY data. An initiator compares `additional_length` + 5 with what it received.

    `vendor`, `product` and `revision` are at most 8, 16 and 4 characters; `versions` is the raw field of eight version
    descriptors, made and read by `version_descriptors` and `versions_claimed`.
    """

    LENGTH: ClassVar[int] = 96

    peripheral_qualifier: Annotated[int, At(0, 1, 0xE0)] = PeripheralQualifier.CONNECTED
    peripheral_device_type: Annotated[int, At(0, 1, 0x1F)] = PeripheralDeviceType.DIRECT_ACCESS
    removable: Annotated[bool, At(1, 1, 0x80)] = False
    logical_unit_conglomerate: Annotated[bool, At(1, 1, 0x40)] = False
    version: Annotated[int, At(2)] = Version.SPC_4
    norm_aca: Annotated[bool, At(3, 1, 0x20)] = False
    hierarchical_support: Annotated[bool, At(3, 1, 0x10)] = True
    response_data_format: Annotated[int, At(3, 1, 0x0F)] = 2
    additional_length: Annotated[int, At(4)] = 91
    scc_supported: Annotated[bool, At(5, 1, 0x80)] = False
    access_controls: Annotated[bool, At(5, 1, 0x40)] = False
    target_port_group_support: Annotated[int, At(5, 1, 0x30)] = 0
    third_party_copy: Annotated[bool, At(5, 1, 0x08)] = False
    protect: Annotated[bool, At(5, 1, 0x01)] = False
    enclosure_services: Annotated[bool, At(6, 1, 0x40)] = False
    multi_port: Annotated[bool, At(6, 1, 0x10)] = False
    command_queuing: Annotated[bool, At(7, 1, 0x02)] = True
    vendor: Annotated[str, At(8, 8)] = ""
    product: Annotated[str, At(16, 16)] = ""
    revision: Annotated[str, At(32, 4)] = ""
    vendor_specific: Annotated[bytes, At(36, 20)] = bytes(20)
    versions: Annotated[bytes, At(_VERSION_DESCRIPTORS_AT, 2 * VERSION_DESCRIPTORS)] = bytes(2 * VERSION_DESCRIPTORS)

    @property
    def versions_claimed(self) -> tuple[int, ...]:
        """The version descriptors that are not zero, in order; `VersionDescriptor` names some."""
        found = (int.from_bytes(self.versions[i : i + 2], "big") for i in range(0, 2 * VERSION_DESCRIPTORS, 2))
        return tuple(each for each in found if each)


def version_descriptors(*claimed: int) -> bytes:
    """The `versions` field for up to eight version descriptors. Raises ValueError for more."""
    if len(claimed) > VERSION_DESCRIPTORS:
        raise ValueError(f"INQUIRY data holds {VERSION_DESCRIPTORS} version descriptors, got {len(claimed)}")
    return b"".join(each.to_bytes(2, "big") for each in claimed).ljust(2 * VERSION_DESCRIPTORS, b"\0")
