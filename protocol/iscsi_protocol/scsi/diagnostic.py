"""Diagnostic page 00 and self-test codes (SPC-4 6.27, 6.42, 7.2), and what READ BUFFER tells of buffers (SPC-4 6.18)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.fields import At, Structure


class SelfTestCode(IntEnum):
    """SELF-TEST CODE of SEND DIAGNOSTIC."""

    NONE = 0
    BACKGROUND_SHORT = 1
    BACKGROUND_EXTENDED = 2
    ABORT_BACKGROUND = 4
    FOREGROUND_SHORT = 5
    FOREGROUND_EXTENDED = 6


SUPPORTED_DIAGNOSTIC_PAGES = 0x00


def supported_diagnostic_pages(codes: Iterable[int]) -> bytes:
    """Diagnostic page 00: page codes in ascending order; 00 itself is added."""
    body = bytes(sorted({SUPPORTED_DIAGNOSTIC_PAGES, *codes}))
    return bytes(2) + len(body).to_bytes(2, "big") + body


class BufferMode(IntEnum):
    """MODE of READ BUFFER and WRITE BUFFER, without vendor specific ones and those that load microcode."""

    DATA = 0x02
    DESCRIPTOR = 0x03
    ECHO = 0x0A
    ECHO_DESCRIPTOR = 0x0B


@dataclass(frozen=True, kw_only=True, slots=True)
class BufferDescriptor(Structure):
    """Mode 03: offsets are multiples of 2 to the power of `offset_boundary`."""

    LENGTH: ClassVar[int] = 4

    offset_boundary: Annotated[int, At(0)] = 0
    capacity: Annotated[int, At(1, 3)]


@dataclass(frozen=True, kw_only=True, slots=True)
class EchoBufferDescriptor(Structure):
    """Mode 0B. `overwritten_separately`: EBOS, another nexus that writes is told by COMMAND SEQUENCE ERROR."""

    LENGTH: ClassVar[int] = 4

    overwritten_separately: Annotated[bool, At(0, 1, 0x01)] = False
    capacity: Annotated[int, At(2, 2, 0x1FFF)]
