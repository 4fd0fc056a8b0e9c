"""Parameter data of REPORT and SET TIMESTAMP and of REPORT and SET IDENTIFYING INFORMATION (SPC-4 6.32, 6.38, 6.44, 6.47)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.fields import At, Buffer, Structure


class TimestampOrigin(IntEnum):
    """Who set the timestamp."""

    POWER_ON = 0
    SET_TIMESTAMP = 2
    OTHERWISE = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Timestamp(Structure):
    """Parameter data of REPORT TIMESTAMP; the list of SET TIMESTAMP has its milliseconds in the same place.

    `milliseconds` since 1970-01-01 UTC, 48 bits.
    """

    LENGTH: ClassVar[int] = 12

    additional_length: Annotated[int, At(0, 2)] = 10
    origin: Annotated[int, At(2, 1, 0x07)] = TimestampOrigin.POWER_ON
    milliseconds: Annotated[int, At(4, 6)]


class InformationType(IntEnum):
    """INFORMATION TYPE of the identifying information commands."""

    PERIPHERAL_DEVICE = 0x00
    TEXT = 0x02
    SUPPORTED = 0x7F


@dataclass(frozen=True, kw_only=True, slots=True)
class SupportedInformation(Structure):
    """One type of identifying information, and how many bytes it may have."""

    LENGTH: ClassVar[int] = 4

    information_type: Annotated[int, At(0, 1, 0xFE)]
    maximum_length: Annotated[int, At(2, 2)]


def build_information(information: bytes) -> bytes:
    """Parameter data of REPORT IDENTIFYING INFORMATION. Raises OverflowError beyond 65535 bytes."""
    return bytes(2) + len(information).to_bytes(2, "big") + information


def parse_information(data: Buffer) -> bytes:
    """The information in such data, as far as it says and goes."""
    raw = bytes(data).ljust(4, b"\0")
    return raw[4 : 4 + int.from_bytes(raw[2:4], "big")]


def build_supported_information(types: Iterable[SupportedInformation]) -> bytes:
    """Parameter data for information type 7Fh."""
    return build_information(b"".join(each.build() for each in types))
