"""Vital product data pages of a disk: 00, 80, 86, 87, 8A (SPC-4 7.8) and B0, B1, B2 (SBC-3 6.6).

Page 83 is in designators.py. Places are those of the whole page, its 4 bytes of header included. Pages shorter than
today's (older targets) read as zero beyond their end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.fields import At, Buffer, Structure


class VpdCode(IntEnum):
    """VPD page codes."""

    SUPPORTED_PAGES = 0x00
    UNIT_SERIAL_NUMBER = 0x80
    DEVICE_IDENTIFICATION = 0x83
    EXTENDED_INQUIRY_DATA = 0x86
    MODE_PAGE_POLICY = 0x87
    POWER_CONDITION = 0x8A
    SCSI_PORTS = 0x88
    THIRD_PARTY_COPY = 0x8F
    BLOCK_LIMITS = 0xB0
    BLOCK_DEVICE_CHARACTERISTICS = 0xB1
    LOGICAL_BLOCK_PROVISIONING = 0xB2


@dataclass(frozen=True, kw_only=True, slots=True)
class VpdPage:
    """Any VPD page: `peripheral` is byte 0 (qualifier and device type), `body` what follows the header."""

    page_code: int
    body: bytes = b""
    peripheral: int = 0

    def build(self) -> bytes:
        """The page. Raises OverflowError for a body beyond 65535 bytes."""
        return bytes((self.peripheral, self.page_code)) + len(self.body).to_bytes(2, "big") + self.body


def parse_vpd(data: Buffer) -> VpdPage:
    """The page in INQUIRY data with EVPD set; a page that the allocation length cut off has what is there."""
    raw = bytes(data).ljust(4, b"\0")
    length = int.from_bytes(raw[2:4], "big")
    return VpdPage(page_code=raw[1], body=raw[4 : 4 + length], peripheral=raw[0])


def supported_pages(codes: Iterable[int], peripheral: int = 0) -> VpdPage:
    """Page 00. The codes are put in ascending order, as SPC-4 wants them; 00 itself is added."""
    body = bytes(sorted({VpdCode.SUPPORTED_PAGES, *codes}))
    return VpdPage(page_code=VpdCode.SUPPORTED_PAGES, body=body, peripheral=peripheral)


def unit_serial_number(serial: str, peripheral: int = 0) -> VpdPage:
    """Page 80. Raises UnicodeEncodeError unless the serial number is ASCII."""
    return VpdPage(page_code=VpdCode.UNIT_SERIAL_NUMBER, body=serial.encode("ascii"), peripheral=peripheral)


@dataclass(frozen=True, kw_only=True, slots=True)
class VpdStructure(Structure):
    """A page of fixed layout; the page code and length come from the class, and are not looked at when parsing."""

    PAGE_CODE: ClassVar[int]

    peripheral: Annotated[int, At(0)] = 0

    def build(self) -> bytes:
        """The page with its header. Raises FieldValueError when a value does not fit."""
        page = bytearray(Structure.build(self))
        page[1] = self.PAGE_CODE
        page[2:4] = (self.LENGTH - 4).to_bytes(2, "big")
        return bytes(page)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtendedInquiryData(VpdStructure):
    """Page 86 (SPC-4 7.8.7)."""

    PAGE_CODE: ClassVar[int] = VpdCode.EXTENDED_INQUIRY_DATA
    LENGTH: ClassVar[int] = 64

    activate_microcode: Annotated[int, At(4, 1, 0xC0)] = 0
    supported_protection_type: Annotated[int, At(4, 1, 0x38)] = 0
    guard_check: Annotated[bool, At(4, 1, 0x04)] = False
    application_tag_check: Annotated[bool, At(4, 1, 0x02)] = False
    reference_tag_check: Annotated[bool, At(4, 1, 0x01)] = False
    unit_attention_sense_key_specific: Annotated[bool, At(5, 1, 0x20)] = False
    grouping: Annotated[bool, At(5, 1, 0x10)] = False
    priority: Annotated[bool, At(5, 1, 0x08)] = False
    head_of_queue: Annotated[bool, At(5, 1, 0x04)] = False
    ordered: Annotated[bool, At(5, 1, 0x02)] = False
    simple: Annotated[bool, At(5, 1, 0x01)] = False
    write_uncorrectable: Annotated[bool, At(6, 1, 0x08)] = False
    correction_disable: Annotated[bool, At(6, 1, 0x04)] = False
    non_volatile_cache: Annotated[bool, At(6, 1, 0x02)] = False
    volatile_cache: Annotated[bool, At(6, 1, 0x01)] = False
    protection_interval: Annotated[bool, At(7, 1, 0x10)] = False
    unit_attention_cleared_by_nexus: Annotated[bool, At(7, 1, 0x01)] = False
    referrals: Annotated[bool, At(8, 1, 0x10)] = False
    capability_based_security: Annotated[bool, At(8, 1, 0x01)] = False
    multi_nexus_microcode_download: Annotated[int, At(9, 1, 0x0F)] = 0
    extended_self_test_minutes: Annotated[int, At(10, 2)] = 0
    power_on_activation: Annotated[bool, At(12, 1, 0x80)] = False
    hard_reset_activation: Annotated[bool, At(12, 1, 0x40)] = False
    vendor_specific_activation: Annotated[bool, At(12, 1, 0x20)] = False
    maximum_sense_data_length: Annotated[int, At(13)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ModePagePolicy(VpdStructure):
    """Page 87 (SPC-4 7.8.9) with one descriptor, by default that for all pages; policy 0 = shared by all nexuses."""

    PAGE_CODE: ClassVar[int] = VpdCode.MODE_PAGE_POLICY
    LENGTH: ClassVar[int] = 8

    policy_page_code: Annotated[int, At(4, 1, 0x3F)] = 0x3F
    policy_subpage_code: Annotated[int, At(5)] = 0xFF
    multiple_logical_units_share: Annotated[bool, At(6, 1, 0x80)] = False
    policy: Annotated[int, At(6, 1, 0x03)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerConditionSupport(VpdStructure):
    """Page 8A (SPC-4 7.8.11): power conditions there are; recovery times in milliseconds, 0 = not said."""

    PAGE_CODE: ClassVar[int] = VpdCode.POWER_CONDITION
    LENGTH: ClassVar[int] = 18

    standby_y: Annotated[bool, At(4, 1, 0x02)] = False
    standby_z: Annotated[bool, At(4, 1, 0x01)] = False
    idle_c: Annotated[bool, At(5, 1, 0x04)] = False
    idle_b: Annotated[bool, At(5, 1, 0x02)] = False
    idle_a: Annotated[bool, At(5, 1, 0x01)] = False
    stopped_recovery_time: Annotated[int, At(6, 2)] = 0
    standby_z_recovery_time: Annotated[int, At(8, 2)] = 0
    standby_y_recovery_time: Annotated[int, At(10, 2)] = 0
    idle_a_recovery_time: Annotated[int, At(12, 2)] = 0
    idle_b_recovery_time: Annotated[int, At(14, 2)] = 0
    idle_c_recovery_time: Annotated[int, At(16, 2)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockLimits(VpdStructure):
    """Page B0 (SBC-3 6.6.3): lengths in logical blocks, 0 = not reported, unless SBC-3 says otherwise."""

    PAGE_CODE: ClassVar[int] = VpdCode.BLOCK_LIMITS
    LENGTH: ClassVar[int] = 64

    write_same_non_zero: Annotated[bool, At(4, 1, 0x01)] = False
    maximum_compare_and_write_length: Annotated[int, At(5)] = 0
    optimal_transfer_length_granularity: Annotated[int, At(6, 2)] = 0
    maximum_transfer_length: Annotated[int, At(8, 4)] = 0
    optimal_transfer_length: Annotated[int, At(12, 4)] = 0
    maximum_prefetch_length: Annotated[int, At(16, 4)] = 0
    maximum_unmap_lba_count: Annotated[int, At(20, 4)] = 0
    maximum_unmap_block_descriptor_count: Annotated[int, At(24, 4)] = 0
    optimal_unmap_granularity: Annotated[int, At(28, 4)] = 0
    unmap_granularity_alignment_valid: Annotated[bool, At(32, 1, 0x80)] = False
    unmap_granularity_alignment: Annotated[int, At(32, 4, 0x7FFFFFFF)] = 0
    maximum_write_same_length: Annotated[int, At(36, 8)] = 0
    maximum_atomic_transfer_length: Annotated[int, At(44, 4)] = 0
    atomic_alignment: Annotated[int, At(48, 4)] = 0
    atomic_transfer_length_granularity: Annotated[int, At(52, 4)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockDeviceCharacteristics(VpdStructure):
    """Page B1 (SBC-3 6.6.2): medium rotation rate 1 = not rotating."""

    PAGE_CODE: ClassVar[int] = VpdCode.BLOCK_DEVICE_CHARACTERISTICS
    LENGTH: ClassVar[int] = 64

    medium_rotation_rate: Annotated[int, At(4, 2)] = 1
    product_type: Annotated[int, At(6)] = 0
    write_after_block_erase: Annotated[int, At(7, 1, 0xC0)] = 0
    write_after_cryptographic_erase: Annotated[int, At(7, 1, 0x30)] = 0
    nominal_form_factor: Annotated[int, At(7, 1, 0x0F)] = 0
    force_unit_access_behaviour: Annotated[bool, At(8, 1, 0x02)] = False
    verify_byte_check_unmapped: Annotated[bool, At(8, 1, 0x01)] = False


class ProvisioningType(IntEnum):
    """Provisioning type of page B2."""

    FULL_OR_UNKNOWN = 0
    RESOURCE = 1
    THIN = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class LogicalBlockProvisioning(VpdStructure):
    """Page B2 (SBC-3 6.6.4) without a provisioning group descriptor.

    `read_zeros` has the three bits that SBC-4 made of SBC-3's one: 1 = unmapped blocks read as zeros in either.
    """

    PAGE_CODE: ClassVar[int] = VpdCode.LOGICAL_BLOCK_PROVISIONING
    LENGTH: ClassVar[int] = 8

    threshold_exponent: Annotated[int, At(4)] = 0
    unmap: Annotated[bool, At(5, 1, 0x80)] = False
    unmap_by_write_same_16: Annotated[bool, At(5, 1, 0x40)] = False
    unmap_by_write_same_10: Annotated[bool, At(5, 1, 0x20)] = False
    read_zeros: Annotated[int, At(5, 1, 0x1C)] = 0
    anchor: Annotated[bool, At(5, 1, 0x02)] = False
    descriptor_present: Annotated[bool, At(5, 1, 0x01)] = False
    minimum_percentage: Annotated[int, At(6, 1, 0xF8)] = 0
    provisioning_type: Annotated[int, At(6, 1, 0x07)] = ProvisioningType.FULL_OR_UNKNOWN
    threshold_percentage: Annotated[int, At(7)] = 0
