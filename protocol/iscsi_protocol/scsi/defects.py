"""Parameter data of READ DEFECT DATA(10) and (12) without defects (SBC-3 5.17, 5.18)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.fields import At, Structure

LAST_DEFECT_LIST_FORMAT = 6
"""The greatest address descriptor format that is defined; 6 is vendor specific, 7 is reserved (SBC-3 6.2)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DefectData10(Structure):
    """Header of the READ DEFECT DATA(10) parameter data: which lists are told, in which format."""

    LENGTH: ClassVar[int] = 4

    primary_valid: Annotated[bool, At(1, 1, 0x10)] = False
    grown_valid: Annotated[bool, At(1, 1, 0x08)] = False
    list_format: Annotated[int, At(1, 1, 0x07)] = 0
    list_length: Annotated[int, At(2, 2)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class DefectData12(Structure):
    """Header of the READ DEFECT DATA(12) parameter data."""

    LENGTH: ClassVar[int] = 8

    primary_valid: Annotated[bool, At(1, 1, 0x10)] = False
    grown_valid: Annotated[bool, At(1, 1, 0x08)] = False
    list_format: Annotated[int, At(1, 1, 0x07)] = 0
    generation: Annotated[int, At(2, 2)] = 0
    list_length: Annotated[int, At(4, 4)] = 0
