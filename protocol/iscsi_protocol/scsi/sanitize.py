"""SANITIZE: the parameter list of the OVERWRITE service action (SBC-3 5.26)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.fields import At, Buffer, Structure
from iscsi_protocol.scsi.provisioning import ParameterListError
from iscsi_protocol.scsi.sense import illegal_request

OVERWRITE_HEADER_LENGTH = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class OverwriteHeader(Structure):
    """What stands before the initialization pattern. `test` other than 0 is vendor specific."""

    LENGTH: ClassVar[int] = OVERWRITE_HEADER_LENGTH

    invert: Annotated[bool, At(0, 1, 0x80)] = False
    test: Annotated[int, At(0, 1, 0x60)] = 0
    overwrite_count: Annotated[int, At(0, 1, 0x1F)] = 1
    pattern_length: Annotated[int, At(2, 2)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Overwrite:
    """How to overwrite: `count` passes (1 to 31), the pattern complemented in every second one where `invert` is set."""

    pattern: bytes
    count: int = 1
    invert: bool = False

    def build(self) -> bytes:
        """The parameter list. Raises FieldValueError for a count above 31 or a pattern above 65535 bytes."""
        header = OverwriteHeader(
            invert=self.invert, overwrite_count=self.count, pattern_length=len(self.pattern)
        ).build()
        return header + self.pattern

    def block(self, number: int, block_length: int) -> bytes:
        """The content of a logical block after pass `number` (from 0 on): the pattern, repeated and cut off."""
        pattern = self.pattern
        if self.invert and number % 2:
            pattern = bytes(each ^ 0xFF for each in pattern)
        return (pattern * -(-block_length // len(pattern)))[:block_length]


def parse_overwrite(data: Buffer, block_length: int) -> Overwrite:
    """The parameter list of SANITIZE (OVERWRITE); the CDB's length was 5 to block_length + 4.

    Raises ParameterListError where a field cannot be what it is, or where the list ends within the pattern.
    """
    header = OverwriteHeader.parse(data)
    if header.test:
        raise _wrong("a vendor specific test", 0, 6)
    if not header.overwrite_count:
        raise _wrong("no overwrite pass", 0, 4)
    if not 0 < header.pattern_length <= block_length:
        raise _wrong(f"a pattern of {header.pattern_length} bytes for blocks of {block_length}", 2, 7)
    pattern = bytes(data[OVERWRITE_HEADER_LENGTH : OVERWRITE_HEADER_LENGTH + header.pattern_length])
    if len(pattern) < header.pattern_length:
        sense = illegal_request(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
        raise ParameterListError(f"a pattern of {header.pattern_length} bytes, {len(pattern)} came", sense)
    return Overwrite(pattern=pattern, count=header.overwrite_count, invert=header.invert)


def _wrong(message: str, byte: int, bit: int) -> ParameterListError:
    sense = illegal_request(AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST, byte, bit, in_cdb=False)
    return ParameterListError(message, sense)
