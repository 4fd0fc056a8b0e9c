"""Third-party copies: parameter list of EXTENDED COPY(LID1), what RECEIVE COPY RESULTS returns, VPD page 8F (SPC-4 5.16,
6.4, 6.20, 7.8.17).

Only what moves blocks: identification descriptors as copy sources and destinations, and segments from block device to
block device. Other descriptors are kept as bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.designators import Designator
from iscsi_protocol.scsi.fields import At, Buffer, Structure
from iscsi_protocol.scsi.vpd import VpdCode, VpdPage

CSCD_LENGTH = 32
"""Bytes of a copy source or copy destination (CSCD) descriptor."""

SEGMENT_HEADER_LENGTH = 4
OWN_UNIT = 0xFFFF
"""CSCD descriptor ID of the logical unit that was sent the command."""

MAX_DESIGNATOR = 20


class ListIdUsage(IntEnum):
    """LIST ID USAGE of the parameter list header: whether results can be asked for."""

    HOLD = 0
    DISCARD = 2
    NONE = 3


class DescriptorCode(IntEnum):
    """Descriptor type codes."""

    BLOCK_TO_BLOCK = 0x02
    BLOCK_TO_BLOCK_OFFSET = 0x0A
    IDENTIFICATION = 0xE4


class CopyState(IntEnum):
    """COPY OPERATION STATUS, without its bit for held data that was discarded."""

    IN_PROGRESS = 0
    DONE = 1
    FAILED = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyHeader(Structure):
    """Header of the parameter list: lengths in bytes."""

    LENGTH: ClassVar[int] = 16

    list_identifier: Annotated[int, At(0)] = 0
    sequential_striped: Annotated[bool, At(1, 1, 0x20)] = False
    list_id_usage: Annotated[int, At(1, 1, 0x18)] = ListIdUsage.HOLD
    priority: Annotated[int, At(1, 1, 0x07)] = 0
    cscd_list_length: Annotated[int, At(2, 2)] = 0
    segment_list_length: Annotated[int, At(8, 4)] = 0
    inline_data_length: Annotated[int, At(12, 4)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class IdentificationCscd(Structure):
    """Identification descriptor of a block device: the designator of its page 83, and its block length."""

    LENGTH: ClassVar[int] = CSCD_LENGTH

    descriptor_type: Annotated[int, At(0)] = DescriptorCode.IDENTIFICATION
    lu_id_type: Annotated[int, At(1, 1, 0xC0)] = 0
    peripheral_device_type: Annotated[int, At(1, 1, 0x1F)] = 0
    relative_initiator_port: Annotated[int, At(2, 2)] = 0
    code_set: Annotated[int, At(4, 1, 0x0F)]
    association: Annotated[int, At(5, 1, 0x30)] = 0
    designator_type: Annotated[int, At(5, 1, 0x0F)]
    designator_length: Annotated[int, At(7)]
    designator: Annotated[bytes, At(8, MAX_DESIGNATOR)]
    pad: Annotated[bool, At(28, 1, 0x04)] = False
    block_length: Annotated[int, At(29, 3)]

    def names(self, other: Designator) -> bool:
        """Whether it is that designator."""
        return (
            (self.code_set, self.association, self.designator_type)
            == (other.code_set, other.association, other.designator_type)
            and self.designator_length == len(other.value)
            and self.designator[: self.designator_length] == other.value
        )


def cscd_of(designator: Designator, block_length: int, *, pad: bool = False) -> IdentificationCscd:
    """The identification descriptor with a designator; one of more than 20 bytes cannot be built (FieldValueError)."""
    return IdentificationCscd(
        code_set=designator.code_set,
        association=designator.association,
        designator_type=designator.designator_type,
        designator_length=len(designator.value),
        designator=designator.value,
        pad=pad,
        block_length=block_length,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockToBlock(Structure):
    """Segment 02h. `dc` (destination count): `blocks` are blocks of the destination, else of the source."""

    LENGTH: ClassVar[int] = 28

    descriptor_type: Annotated[int, At(0)] = DescriptorCode.BLOCK_TO_BLOCK
    dc: Annotated[bool, At(1, 1, 0x02)] = False
    cat: Annotated[bool, At(1, 1, 0x01)] = False
    descriptor_length: Annotated[int, At(2, 2)] = 0x18
    source: Annotated[int, At(4, 2)] = 0
    destination: Annotated[int, At(6, 2)] = 0
    blocks: Annotated[int, At(10, 2)] = 0
    source_lba: Annotated[int, At(12, 8)] = 0
    destination_lba: Annotated[int, At(20, 8)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockToBlockOffset(Structure):
    """Segment 0Ah: bytes, from within a block to within a block."""

    LENGTH: ClassVar[int] = 32

    descriptor_type: Annotated[int, At(0)] = DescriptorCode.BLOCK_TO_BLOCK_OFFSET
    cat: Annotated[bool, At(1, 1, 0x01)] = False
    descriptor_length: Annotated[int, At(2, 2)] = 0x1C
    source: Annotated[int, At(4, 2)] = 0
    destination: Annotated[int, At(6, 2)] = 0
    byte_count: Annotated[int, At(8, 4)] = 0
    source_lba: Annotated[int, At(12, 8)] = 0
    destination_lba: Annotated[int, At(20, 8)] = 0
    source_offset: Annotated[int, At(28, 2)] = 0
    destination_offset: Annotated[int, At(30, 2)] = 0


SEGMENTS: Mapping[int, type[BlockToBlock] | type[BlockToBlockOffset]] = {
    DescriptorCode.BLOCK_TO_BLOCK: BlockToBlock,
    DescriptorCode.BLOCK_TO_BLOCK_OFFSET: BlockToBlockOffset,
}
"""Segment descriptors that are read, by type code."""


def build_copy(
    cscds: Iterable[Structure], segments: Iterable[Structure], *, list_identifier: int = 0, list_id_usage: int = 0
) -> bytes:
    """A whole parameter list without inline data. Raises FieldValueError when a value does not fit."""
    sources = b"".join(each.build() for each in cscds)
    parts = b"".join(each.build() for each in segments)
    header = CopyHeader(
        list_identifier=list_identifier,
        list_id_usage=list_id_usage,
        cscd_list_length=len(sources),
        segment_list_length=len(parts),
    )
    return header.build() + sources + parts


def split_segments(data: Buffer) -> list[bytes] | None:
    """The segment descriptors of a list, each whole; None where the last one does not end with the list."""
    raw = bytes(data)
    found: list[bytes] = []
    at = 0
    while at < len(raw):
        end = at + SEGMENT_HEADER_LENGTH + int.from_bytes(raw[at + 2 : at + 4], "big")
        if end > len(raw):
            return None
        found.append(raw[at:end])
        at = end
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class CopyStatus(Structure):
    """Parameter data of RECEIVE COPY STATUS(LID1); `transfer_count` is in units of 2 ** (10 * units) bytes."""

    LENGTH: ClassVar[int] = 12

    available_data: Annotated[int, At(0, 4)] = 8
    held_data_discarded: Annotated[bool, At(4, 1, 0x80)] = False
    state: Annotated[int, At(4, 1, 0x7F)] = CopyState.IN_PROGRESS
    segments_processed: Annotated[int, At(5, 2)] = 0
    transfer_count_units: Annotated[int, At(7)] = 0
    transfer_count: Annotated[int, At(8, 4)] = 0


def transfer_count(count: int) -> tuple[int, int]:
    """(units, count) for CopyStatus of a number of bytes, rounded down to the smallest units that hold it."""
    units = 0
    while count > 0xFFFFFFFF:
        count >>= 10
        units += 1
    return units, count


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureDetails(Structure):
    """Parameter data of RECEIVE COPY FAILURE DETAILS(LID1) without its sense data."""

    LENGTH: ClassVar[int] = 60

    available_data: Annotated[int, At(0, 4)] = 56
    status: Annotated[int, At(56)] = 0
    sense_length: Annotated[int, At(58, 2)] = 0


def failure_details(status: int, sense: bytes) -> bytes:
    """RECEIVE COPY FAILURE DETAILS(LID1) of a copy that ended with that status and sense data."""
    head = FailureDetails(available_data=FailureDetails.LENGTH - 4 + len(sense), status=status, sense_length=len(sense))
    return head.build() + sense


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatingParameters(Structure):
    """Parameter data of RECEIVE COPY OPERATING PARAMETERS up to its list of descriptor type codes.

    Granularities are powers of two; lengths in bytes, 0 = no limit (of held and inline data: none).
    """

    LENGTH: ClassVar[int] = 44

    available_data: Annotated[int, At(0, 4)] = 40
    supports_no_list_identifier: Annotated[bool, At(4, 1, 0x01)] = False
    maximum_cscd_count: Annotated[int, At(8, 2)] = 0
    maximum_segment_count: Annotated[int, At(10, 2)] = 0
    maximum_list_length: Annotated[int, At(12, 4)] = 0
    maximum_segment_length: Annotated[int, At(16, 4)] = 0
    maximum_inline_data_length: Annotated[int, At(20, 4)] = 0
    held_data_limit: Annotated[int, At(24, 4)] = 0
    maximum_stream_transfer: Annotated[int, At(28, 4)] = 0
    total_concurrent_copies: Annotated[int, At(34, 2)] = 0
    maximum_concurrent_copies: Annotated[int, At(36)] = 0
    data_segment_granularity: Annotated[int, At(37)] = 0
    inline_data_granularity: Annotated[int, At(38)] = 0
    held_data_granularity: Annotated[int, At(39)] = 0
    descriptor_codes: Annotated[int, At(43)] = 0


def operating_parameters(limits: OperatingParameters, codes: Iterable[int]) -> bytes:
    """The parameter data: the limits and the implemented descriptor type codes, which are put in ascending order.

    `available_data` and `descriptor_codes` of `limits` are not looked at.
    """
    listed = bytes(sorted(codes))
    head = bytearray(limits.build())
    head[0:4] = (OperatingParameters.LENGTH - 4 + len(listed)).to_bytes(4, "big")
    head[43] = len(listed)
    return bytes(head) + listed


def _descriptor(code: int, body: bytes) -> bytes:
    """A third-party copy descriptor: padded to a multiple of 4 bytes."""
    body = body.ljust(-(-len(body) // 4) * 4, b"\0")
    return code.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body


def third_party_copy_page(
    commands: Mapping[int, Iterable[int]],
    limits: OperatingParameters,
    codes: Iterable[int],
    cscd_ids: Iterable[int],
    peripheral: int = 0,
) -> VpdPage:
    """Page 8F: commands (operation code to service actions), limits, descriptor type codes, CSCD descriptor IDs."""
    known = b"".join(
        bytes((opcode, len(listed))) + bytes(listed)
        for opcode, listed in ((opcode, sorted(actions)) for opcode, actions in sorted(commands.items()))
    )
    listed_codes = bytes(sorted(codes))
    ids = b"".join(each.to_bytes(2, "big") for each in sorted(cscd_ids))
    parameters = (
        bytes(4)
        + limits.maximum_cscd_count.to_bytes(2, "big")
        + limits.maximum_segment_count.to_bytes(2, "big")
        + limits.maximum_list_length.to_bytes(4, "big")
        + limits.maximum_inline_data_length.to_bytes(4, "big")
        + bytes(12)
    )
    general = (
        limits.total_concurrent_copies.to_bytes(4, "big")
        + limits.maximum_concurrent_copies.to_bytes(4, "big")
        + limits.maximum_segment_length.to_bytes(4, "big")
        + bytes((limits.data_segment_granularity, limits.inline_data_granularity))
        + bytes(18)
    )
    body = (
        _descriptor(0x0001, bytes((len(known),)) + known)
        + _descriptor(0x0004, parameters)
        + _descriptor(0x0008, bytes((len(listed_codes),)) + listed_codes)
        + _descriptor(0x000C, len(ids).to_bytes(2, "big") + ids)
        + _descriptor(0x8001, general)
    )
    return VpdPage(page_code=VpdCode.THIRD_PARTY_COPY, body=body, peripheral=peripheral)
