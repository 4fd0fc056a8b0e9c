"""INQUIRY: standard data and vital product data pages (SPC-4 6.6, 7.8; SBC-3 6.6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from iscsi_protocol.scsi.designators import device_identification
from iscsi_protocol.scsi.inquiry import (
    NO_UNIT,
    PeripheralDeviceType,
    PeripheralQualifier,
    StandardInquiry,
    VersionDescriptor,
    version_descriptors,
)
from iscsi_protocol.scsi.opcodes import INQUIRY
from iscsi_protocol.scsi.vpd import (
    BlockDeviceCharacteristics,
    BlockLimits,
    ExtendedInquiryData,
    LogicalBlockProvisioning,
    ModePagePolicy,
    PowerConditionSupport,
    ProvisioningType,
    VpdCode,
    supported_pages,
    unit_serial_number,
)
from iscsi_target.completion import Buffer, Completion
from iscsi_target.device import third_party_copy
from iscsi_target.device.answer import data_in, invalid_field
from iscsi_target.device.identity import device_designator, port_designators, ports_page, unit_designators
from iscsi_target.device.unit import ItlNexus
from iscsi_target.nexus import Nexus

MAX_COMPARE_AND_WRITE = 128
"""Blocks of one COMPARE AND WRITE, one byte's worth at most."""

MAX_UNMAP_DESCRIPTORS = 256

_NO_LIMIT = 0xFFFFFFFF
_READS_SUCCEED = 1
"""WABEREQ: after a block erase, blocks can be read without having been written (SBC-3 6.6.2)."""


def inquiry(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """INQUIRY of a unit that is there."""
    fields = INQUIRY.parse(cdb)
    page_code = fields["page_code"]
    if fields["cmddt"]:
        raise invalid_field(1, 1)
    if not fields["evpd"]:
        if page_code:
            raise invalid_field(2, 7)
        return data_in(_standard(path), fields["allocation_length"])
    if page_code == VpdCode.SUPPORTED_PAGES:
        page = supported_pages(code for code in _PAGES if path.unit.backend.thin or code != _THIN_PAGE).build()
    elif page_code in _PAGES and (path.unit.backend.thin or page_code != _THIN_PAGE):
        page = _PAGES[page_code](path)
    else:
        raise invalid_field(2, 7)
    return data_in(page, fields["allocation_length"])


def inquiry_without_unit(cdb: Buffer) -> Completion:
    """INQUIRY of a LUN behind which there is nothing: peripheral qualifier 011b, type 1Fh (SPC-4 6.6.2)."""
    fields = INQUIRY.parse(cdb)
    if fields["cmddt"]:
        raise invalid_field(1, 1)
    if fields["page_code"]:
        raise invalid_field(2, 7)
    if fields["evpd"]:
        return data_in(supported_pages((), NO_UNIT).build(), fields["allocation_length"])
    standard = StandardInquiry(
        peripheral_qualifier=PeripheralQualifier.NOT_CAPABLE, peripheral_device_type=PeripheralDeviceType.UNKNOWN
    )
    return data_in(standard.build(), fields["allocation_length"])


def iscsi_version(nexus: Nexus) -> int:
    """The version descriptor of iSCSI: its base and the iSCSIProtocolLevel of the session (RFC 7144 4.2)."""
    return VersionDescriptor.ISCSI + nexus.protocol_level


def _standard(path: ItlNexus) -> bytes:
    config = path.unit.config
    return StandardInquiry(
        removable=config.removable,
        third_party_copy=True,
        target_port_group_support=path.unit.port_groups.management,
        multi_port=len(path.unit.target_ports) > 1,
        vendor=config.vendor,
        product=config.product,
        revision=config.revision,
        versions=version_descriptors(
            VersionDescriptor.SAM_5, iscsi_version(path.nexus), VersionDescriptor.SPC_4, VersionDescriptor.SBC_3
        ),
    ).build()


def _serial_number(path: ItlNexus) -> bytes:
    return unit_serial_number(path.unit.serial).build()


def _device_identification(path: ItlNexus) -> bytes:
    unit, tag = path.unit, path.nexus.target_portal_group_tag
    name = unit.target_name
    port = port_designators(name, tag, unit.port_groups.number_of(tag))
    return device_identification([*unit_designators(unit), *port, device_designator(name)]).build()


def _extended(path: ItlNexus) -> bytes:
    return ExtendedInquiryData(
        priority=True,
        head_of_queue=True,
        ordered=True,
        simple=True,
        volatile_cache=path.unit.backend.slow,
        maximum_sense_data_length=252,
    ).build()


def _block_limits(path: ItlNexus) -> bytes:
    unit = path.unit
    granularity = unit.physical_blocks
    thin = unit.backend.thin
    return BlockLimits(
        write_same_non_zero=not unit.config.write_same_to_end,
        maximum_compare_and_write_length=MAX_COMPARE_AND_WRITE,
        optimal_transfer_length_granularity=granularity,
        maximum_transfer_length=unit.max_transfer,
        maximum_unmap_lba_count=_NO_LIMIT if thin else 0,
        maximum_unmap_block_descriptor_count=MAX_UNMAP_DESCRIPTORS if thin else 0,
        optimal_unmap_granularity=granularity if thin else 0,
        unmap_granularity_alignment_valid=thin,
        maximum_write_same_length=unit.max_write_same,
        maximum_atomic_transfer_length=unit.max_atomic,
        atomic_alignment=granularity if unit.max_atomic else 0,
        atomic_transfer_length_granularity=granularity if unit.max_atomic else 0,
    ).build()


def _characteristics(path: ItlNexus) -> bytes:
    return BlockDeviceCharacteristics(
        force_unit_access_behaviour=True,
        verify_byte_check_unmapped=True,
        write_after_block_erase=_READS_SUCCEED if path.unit.backend.thin else 0,
    ).build()


def _mode_page_policy(_path: ItlNexus) -> bytes:
    return ModePagePolicy().build()


def _power_conditions(_path: ItlNexus) -> bytes:
    return PowerConditionSupport(idle_a=True, standby_z=True).build()


def _provisioning(_path: ItlNexus) -> bytes:
    return LogicalBlockProvisioning(
        unmap=True,
        unmap_by_write_same_16=True,
        unmap_by_write_same_10=True,
        read_zeros=1,
        provisioning_type=ProvisioningType.THIN,
    ).build()


_THIN_PAGE = VpdCode.LOGICAL_BLOCK_PROVISIONING
_PAGES: Mapping[int, Callable[[ItlNexus], bytes]] = {
    VpdCode.UNIT_SERIAL_NUMBER: _serial_number,
    VpdCode.DEVICE_IDENTIFICATION: _device_identification,
    VpdCode.EXTENDED_INQUIRY_DATA: _extended,
    VpdCode.MODE_PAGE_POLICY: _mode_page_policy,
    VpdCode.POWER_CONDITION: _power_conditions,
    VpdCode.SCSI_PORTS: ports_page,
    VpdCode.THIRD_PARTY_COPY: third_party_copy.page,
    VpdCode.BLOCK_LIMITS: _block_limits,
    VpdCode.BLOCK_DEVICE_CHARACTERISTICS: _characteristics,
    VpdCode.LOGICAL_BLOCK_PROVISIONING: _provisioning,
}
