"""UNMAP parameter list and GET LBA STATUS parameter data (SBC-3 UNMAP, SBC-3 GET LBA STATUS)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.fields import At, Buffer, Structure
from iscsi_protocol.scsi.sense import Sense, illegal_request

UNMAP_HEADER_LENGTH = 8
_STATUS_HEADER_LENGTH = 8


class ParameterListError(ValueError):
    """A parameter list that cannot be carried out; `sense` is what a target answers with CHECK CONDITION."""

    def __init__(self, message: str, sense: Sense) -> None:
        super().__init__(message)
        self.sense = sense


class ProvisioningStatus(IntEnum):
    """State of a range of logical blocks."""

    MAPPED_OR_UNKNOWN = 0
    DEALLOCATED = 1
    ANCHORED = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class LbaStatus(Structure):
    """LBA status descriptor: one range of blocks in one state."""

    LENGTH: ClassVar[int] = 16

    lba: Annotated[int, At(0, 8)]
    blocks: Annotated[int, At(8, 4)]
    status: Annotated[int, At(12, 1, 0x0F)] = ProvisioningStatus.MAPPED_OR_UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class UnmapDescriptor(Structure):
    """UNMAP block descriptor: one range of blocks."""

    LENGTH: ClassVar[int] = 16

    lba: Annotated[int, At(0, 8)]
    blocks: Annotated[int, At(8, 4)]


def build_lba_status(ranges: Iterable[LbaStatus]) -> bytes:
    """Parameter data of GET LBA STATUS."""
    body = b"".join(each.build() for each in ranges)
    return (4 + len(body)).to_bytes(4, "big") + bytes(4) + body


def parse_lba_status(data: Buffer) -> list[LbaStatus]:
    """The whole descriptors in parameter data of GET LBA STATUS, as far as it says and goes."""
    length = int.from_bytes(bytes(data[:4]).ljust(4, b"\0"), "big")
    end = min(len(data), 4 + length) - LbaStatus.LENGTH
    return [LbaStatus.parse(data, at) for at in range(_STATUS_HEADER_LENGTH, end + 1, LbaStatus.LENGTH)]


def build_unmap(ranges: Iterable[tuple[int, int]]) -> bytes:
    """Parameter list of UNMAP from (lba, blocks) pairs. Raises FieldValueError, and OverflowError beyond 64 KiB."""
    body = b"".join(UnmapDescriptor(lba=lba, blocks=blocks).build() for lba, blocks in ranges)
    return (6 + len(body)).to_bytes(2, "big") + len(body).to_bytes(2, "big") + bytes(4) + body


def parse_unmap(data: Buffer) -> list[tuple[int, int]]:
    """(lba, blocks) of each descriptor of an UNMAP parameter list.

    No bytes are no descriptors; what the block descriptor data length or the end of the list cuts off is ignored, as
    SBC-3 has it. Raises ParameterListError for a list shorter than its header.
    """
    if not data:
        return []
    length = int.from_bytes(data[2:4], "big")
    if len(data) < UNMAP_HEADER_LENGTH:
        sense = illegal_request(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
        raise ParameterListError(f"UNMAP parameter list of {len(data)} bytes is too short", sense)
    end = min(UNMAP_HEADER_LENGTH + length, len(data)) - UnmapDescriptor.LENGTH
    found = (UnmapDescriptor.parse(data, at) for at in range(UNMAP_HEADER_LENGTH, end + 1, UnmapDescriptor.LENGTH))
    return [(each.lba, each.blocks) for each in found]
