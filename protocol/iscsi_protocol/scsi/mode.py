"""Mode parameters: headers, block descriptors and the pages of a disk (SPC-4 7.5, SBC-3 6.5).

Pages: 01 read-write error recovery, 08 caching, 0A control, 1C informational exceptions control. 3F asks for all.
More pages are in mode_pages.py. A mask of changeable values (MODE SENSE page control 1) is a page built with all ones where
the target lets change.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, Literal, TypeAlias

from iscsi_protocol.scsi.fields import At, Buffer, FieldValueError, Structure

WRITE_PROTECT = 0x80
"""In the device-specific parameter: the medium is write protected."""

DPO_FUA = 0x10
"""In the device-specific parameter: the unit honours DPO and FUA."""

CdbSize: TypeAlias = Literal[6, 10]


class ModePageCode(IntEnum):
    """Mode page codes."""

    READ_WRITE_ERROR_RECOVERY = 0x01
    DISCONNECT_RECONNECT = 0x02
    CACHING = 0x08
    CONTROL = 0x0A
    POWER_CONDITION = 0x1A
    INFORMATIONAL_EXCEPTIONS_CONTROL = 0x1C
    ALL_PAGES = 0x3F


class PageControl(IntEnum):
    """Which values MODE SENSE asks for."""

    CURRENT = 0
    CHANGEABLE = 1
    DEFAULT = 2
    SAVED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class ModeHeader6(Structure):
    """Header of MODE SENSE(6) and MODE SELECT(6)."""

    LENGTH: ClassVar[int] = 4

    mode_data_length: Annotated[int, At(0)] = 0
    medium_type: Annotated[int, At(1)] = 0
    device_specific: Annotated[int, At(2)] = 0
    block_descriptor_length: Annotated[int, At(3)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ModeHeader10(Structure):
    """Header of MODE SENSE(10) and MODE SELECT(10)."""

    LENGTH: ClassVar[int] = 8

    mode_data_length: Annotated[int, At(0, 2)] = 0
    medium_type: Annotated[int, At(2)] = 0
    device_specific: Annotated[int, At(3)] = 0
    long_lba: Annotated[bool, At(4, 1, 0x01)] = False
    block_descriptor_length: Annotated[int, At(6, 2)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ShortBlockDescriptor(Structure):
    """Block descriptor without LONGLBA; `blocks` is 0xffffffff for more than fit."""

    LENGTH: ClassVar[int] = 8

    blocks: Annotated[int, At(0, 4)]
    block_length: Annotated[int, At(5, 3)]


@dataclass(frozen=True, kw_only=True, slots=True)
class LongBlockDescriptor(Structure):
    """Block descriptor with LONGLBA."""

    LENGTH: ClassVar[int] = 16

    blocks: Annotated[int, At(0, 8)]
    block_length: Annotated[int, At(12, 4)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModePage(Structure):
    """A page of fixed layout in page_0 format; its code and length come from the class, not from parsed bytes."""

    PAGE_CODE: ClassVar[int]

    parameters_saveable: Annotated[bool, At(0, 1, 0x80)] = False

    def build(self) -> bytes:
        """The page with its header. Raises FieldValueError when a value does not fit."""
        page = bytearray(Structure.build(self))
        page[0] |= self.PAGE_CODE
        page[1] = self.LENGTH - 2
        return bytes(page)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadWriteErrorRecoveryPage(ModePage):
    """Page 01 (SBC-3 6.5.8)."""

    PAGE_CODE: ClassVar[int] = ModePageCode.READ_WRITE_ERROR_RECOVERY
    LENGTH: ClassVar[int] = 12

    automatic_write_reassignment: Annotated[bool, At(2, 1, 0x80)] = False
    automatic_read_reassignment: Annotated[bool, At(2, 1, 0x40)] = False
    transfer_block: Annotated[bool, At(2, 1, 0x20)] = False
    read_continuous: Annotated[bool, At(2, 1, 0x10)] = False
    enable_early_recovery: Annotated[bool, At(2, 1, 0x08)] = False
    post_error: Annotated[bool, At(2, 1, 0x04)] = False
    data_terminate_on_error: Annotated[bool, At(2, 1, 0x02)] = False
    disable_correction: Annotated[bool, At(2, 1, 0x01)] = False
    read_retry_count: Annotated[int, At(3)] = 0
    provisioning_error_reporting: Annotated[bool, At(7, 1, 0x80)] = False
    write_retry_count: Annotated[int, At(8)] = 0
    recovery_time_limit: Annotated[int, At(10, 2)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class CachingPage(ModePage):
    """Page 08 (SBC-3 6.5.5): `write_cache_enable` and `read_cache_disable` are what initiators act on."""

    PAGE_CODE: ClassVar[int] = ModePageCode.CACHING
    LENGTH: ClassVar[int] = 20

    initiator_control: Annotated[bool, At(2, 1, 0x80)] = False
    abort_pre_fetch: Annotated[bool, At(2, 1, 0x40)] = False
    caching_analysis_permitted: Annotated[bool, At(2, 1, 0x20)] = False
    discontinuity: Annotated[bool, At(2, 1, 0x10)] = False
    size_enable: Annotated[bool, At(2, 1, 0x08)] = False
    write_cache_enable: Annotated[bool, At(2, 1, 0x04)] = False
    multiplication_factor: Annotated[bool, At(2, 1, 0x02)] = False
    read_cache_disable: Annotated[bool, At(2, 1, 0x01)] = False
    demand_read_retention_priority: Annotated[int, At(3, 1, 0xF0)] = 0
    write_retention_priority: Annotated[int, At(3, 1, 0x0F)] = 0
    disable_pre_fetch_transfer_length: Annotated[int, At(4, 2)] = 0
    minimum_pre_fetch: Annotated[int, At(6, 2)] = 0
    maximum_pre_fetch: Annotated[int, At(8, 2)] = 0
    maximum_pre_fetch_ceiling: Annotated[int, At(10, 2)] = 0
    force_sequential_write: Annotated[bool, At(12, 1, 0x80)] = False
    cache_segment_size_in_blocks: Annotated[bool, At(12, 1, 0x40)] = False
    disable_read_ahead: Annotated[bool, At(12, 1, 0x20)] = False
    sync_cache_progress: Annotated[int, At(12, 1, 0x06)] = 0
    non_volatile_cache_disable: Annotated[bool, At(12, 1, 0x01)] = False
    cache_segments: Annotated[int, At(13)] = 0
    cache_segment_size: Annotated[int, At(14, 2)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlPage(ModePage):
    """Page 0A (SPC-4 7.5.8): D_SENSE, QERR, SWP and the like; the busy timeout is in units of 100 ms."""

    PAGE_CODE: ClassVar[int] = ModePageCode.CONTROL
    LENGTH: ClassVar[int] = 12

    task_set_type: Annotated[int, At(2, 1, 0xE0)] = 0
    task_management_functions_only: Annotated[bool, At(2, 1, 0x10)] = False
    disable_protection_if_control_zero: Annotated[bool, At(2, 1, 0x08)] = False
    descriptor_sense: Annotated[bool, At(2, 1, 0x04)] = False
    global_logging_target_save_disable: Annotated[bool, At(2, 1, 0x02)] = False
    report_log_exception: Annotated[bool, At(2, 1, 0x01)] = False
    queue_algorithm_modifier: Annotated[int, At(3, 1, 0xF0)] = 0
    no_unit_attention_on_release: Annotated[bool, At(3, 1, 0x08)] = False
    queue_error: Annotated[int, At(3, 1, 0x06)] = 0
    report_a_check: Annotated[bool, At(4, 1, 0x40)] = False
    unit_attention_interlocks: Annotated[int, At(4, 1, 0x30)] = 0
    software_write_protect: Annotated[bool, At(4, 1, 0x08)] = False
    application_tag_owner: Annotated[bool, At(5, 1, 0x80)] = False
    task_aborted_status: Annotated[bool, At(5, 1, 0x40)] = False
    application_tag_mode_page: Annotated[bool, At(5, 1, 0x20)] = False
    reject_write_without_protection: Annotated[bool, At(5, 1, 0x10)] = False
    autoload_mode: Annotated[int, At(5, 1, 0x07)] = 0
    busy_timeout_period: Annotated[int, At(8, 2)] = 0
    extended_self_test_seconds: Annotated[int, At(10, 2)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class InformationalExceptionsControlPage(ModePage):
    """Page 1C (SPC-4 7.5.11): `interval_timer` is in units of 100 ms."""

    PAGE_CODE: ClassVar[int] = ModePageCode.INFORMATIONAL_EXCEPTIONS_CONTROL
    LENGTH: ClassVar[int] = 12

    performance: Annotated[bool, At(2, 1, 0x80)] = False
    enable_background_function: Annotated[bool, At(2, 1, 0x20)] = False
    enable_warning: Annotated[bool, At(2, 1, 0x10)] = False
    disable_exception_control: Annotated[bool, At(2, 1, 0x08)] = False
    test: Annotated[bool, At(2, 1, 0x04)] = False
    enable_background_error: Annotated[bool, At(2, 1, 0x02)] = False
    log_errors: Annotated[bool, At(2, 1, 0x01)] = False
    method_of_reporting: Annotated[int, At(3, 1, 0x0F)] = 0
    interval_timer: Annotated[int, At(4, 4)] = 0
    report_count: Annotated[int, At(8, 4)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ModeParameters:
    """Mode data or a mode parameter list: what stands in the header, the block descriptors, the pages as bytes.

    `truncated` says that the bytes ended within a header, a block descriptor or a page; building ignores it.
    """

    medium_type: int = 0
    device_specific: int = 0
    long_lba: bool = False
    block_descriptors: bytes = b""
    pages: tuple[bytes, ...] = ()
    truncated: bool = False

    def build(self, cdb_size: CdbSize, *, select: bool = False) -> bytes:
        """The data of MODE SENSE, or with `select` the parameter list of MODE SELECT, whose mode data length is 0.

        Raises FieldValueError when it is longer than the header of this size can say, or for LONGLBA in size 6.
        """
        body = self.block_descriptors + b"".join(self.pages)
        if cdb_size == 6:
            if self.long_lba:
                raise FieldValueError("the header of a 6-byte mode command has no LONGLBA")
            return (
                ModeHeader6(
                    mode_data_length=0 if select else ModeHeader6.LENGTH - 1 + len(body),
                    medium_type=self.medium_type,
                    device_specific=self.device_specific,
                    block_descriptor_length=len(self.block_descriptors),
                ).build()
                + body
            )
        return (
            ModeHeader10(
                mode_data_length=0 if select else ModeHeader10.LENGTH - 2 + len(body),
                medium_type=self.medium_type,
                device_specific=self.device_specific,
                long_lba=self.long_lba,
                block_descriptor_length=len(self.block_descriptors),
            ).build()
            + body
        )


def parse_mode(data: Buffer, cdb_size: CdbSize) -> ModeParameters:
    """Mode data (MODE SENSE) or a mode parameter list (MODE SELECT); never fails.

    A mode data length that is not 0 ends the data where it says, when it is shorter than the buffer.
    """
    raw = bytes(data)
    header = ModeHeader6.parse(raw) if cdb_size == 6 else ModeHeader10.parse(raw)
    if header.mode_data_length:
        raw = raw[: header.mode_data_length + (1 if cdb_size == 6 else 2)]
    at = header.LENGTH + header.block_descriptor_length
    truncated = len(raw) < at
    pages: list[bytes] = []
    while at < len(raw):
        length = page_length(raw[at : at + 4])
        pages.append(raw[at : at + length])
        at += length
        truncated = len(raw) < at
    return ModeParameters(
        medium_type=header.medium_type,
        device_specific=header.device_specific,
        long_lba=isinstance(header, ModeHeader10) and header.long_lba,
        block_descriptors=raw[header.LENGTH : header.LENGTH + header.block_descriptor_length],
        pages=tuple(pages),
        truncated=truncated,
    )


def page_length(head: Buffer) -> int:
    """Whole length of a mode page from its first 4 bytes, in page_0 or sub_page format; missing bytes count as 0."""
    raw = bytes(head[:4]).ljust(4, b"\0")
    return 4 + int.from_bytes(raw[2:4], "big") if raw[0] & 0x40 else 2 + raw[1]


def page_key(page: Buffer) -> tuple[int, int]:
    """Page code and subpage code of a mode page that is not empty; the subpage is 0 in page_0 format."""
    return page[0] & 0x3F, page[1] if page[0] & 0x40 and len(page) > 1 else 0


def unchangeable_byte(current: bytes, changeable: bytes, received: bytes) -> int | None:
    """First byte of a page sent by MODE SELECT that changes what may not change; None when all may (SPC-4 6.12).

    The three are whole pages; PS is not compared. Another length than the current one is a change of the length byte.
    """
    if len(received) != len(current):
        return 3 if current[0] & 0x40 else 1
    for i, (old, mask, new) in enumerate(zip(current, changeable, received, strict=True)):
        allowed = 0x80 if i == 0 else mask if i > 1 else 0
        if (old ^ new) & ~allowed:
            return i
    return None
