"""Log pages: parameters and lists of pages (SPC-4 7.3), and the parameters that are more than a counter (SPC-4, SBC-3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.fields import At, Buffer, Structure

ALL_SUBPAGES = 0xFF
_SUBPAGE_FORMAT = 0x40
_DISABLE_SAVE = 0x80
DATA_COUNTER = 0x02
"""FORMAT AND LINKING of a counter that others do not stop when it has reached its maximum (SPC-4 table 352)."""

BINARY_LIST = 0x03
"""FORMAT AND LINKING of a list of binary values."""

_HEADER = 4


class LogPageCode(IntEnum):
    """Log page codes of a disk."""

    SUPPORTED_PAGES = 0x00
    WRITE_ERROR_COUNTERS = 0x02
    READ_ERROR_COUNTERS = 0x03
    VERIFY_ERROR_COUNTERS = 0x05
    NON_MEDIUM_ERRORS = 0x06
    LOGICAL_BLOCK_PROVISIONING = 0x0C
    TEMPERATURE = 0x0D
    START_STOP_CYCLES = 0x0E
    SELF_TEST_RESULTS = 0x10
    INFORMATIONAL_EXCEPTIONS = 0x2F


class ErrorCounter(IntEnum):
    """Parameter codes of the error counter pages (SPC-4 7.3.6)."""

    CORRECTED_WITHOUT_DELAY = 0
    CORRECTED_WITH_DELAY = 1
    RETRIES = 2
    CORRECTED = 3
    CORRECTIONS_PROCESSED = 4
    BYTES_PROCESSED = 5
    UNCORRECTED = 6


class PageValues(IntEnum):
    """PAGE CONTROL of LOG SENSE and LOG SELECT."""

    THRESHOLD = 0
    CUMULATIVE = 1
    DEFAULT_THRESHOLD = 2
    DEFAULT_CUMULATIVE = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class LogParameter:
    """A log parameter: `control` is its control byte, by default that of a list of binary values."""

    code: int
    value: bytes
    control: int = BINARY_LIST

    def build(self) -> bytes:
        """The parameter. Raises OverflowError for a code beyond 65535 or a value beyond 255 bytes."""
        return self.code.to_bytes(2, "big") + bytes((self.control,)) + len(self.value).to_bytes(1, "big") + self.value


@dataclass(frozen=True, kw_only=True, slots=True)
class LogPage:
    """Any log page; `body` is what follows the header. `saving_disabled`: DS, parameters are not saved."""

    code: int
    subpage: int = 0
    body: bytes = b""
    saving_disabled: bool = True

    def build(self) -> bytes:
        """The page. Raises OverflowError for a body beyond 65535 bytes."""
        head = self.code | (_DISABLE_SAVE if self.saving_disabled else 0) | (_SUBPAGE_FORMAT if self.subpage else 0)
        return bytes((head, self.subpage)) + len(self.body).to_bytes(2, "big") + self.body


def parse_log(data: Buffer) -> LogPage:
    """The page in LOG SENSE data; one that the allocation length cut off has what is there."""
    raw = bytes(data).ljust(_HEADER, b"\0")
    end = _HEADER + int.from_bytes(raw[2:4], "big")
    return LogPage(
        code=raw[0] & 0x3F, subpage=raw[1], body=raw[_HEADER:end], saving_disabled=bool(raw[0] & _DISABLE_SAVE)
    )


def parse_parameters(body: Buffer) -> list[LogParameter]:
    """The whole parameters of a page's body, in their order."""
    raw = bytes(body)
    found: list[LogParameter] = []
    at = 0
    while at + _HEADER <= len(raw) and at + _HEADER + raw[at + 3] <= len(raw):
        end = at + _HEADER + raw[at + 3]
        code = int.from_bytes(raw[at : at + 2], "big")
        found.append(LogParameter(code=code, control=raw[at + 2], value=raw[at + _HEADER : end]))
        at = end
    return found


def supported_log_pages(codes: Iterable[int]) -> LogPage:
    """Page 00: page codes in ascending order."""
    return LogPage(code=LogPageCode.SUPPORTED_PAGES, body=bytes(sorted(codes)))


def supported_log_subpages(keys: Iterable[tuple[int, int]], code: int = LogPageCode.SUPPORTED_PAGES) -> LogPage:
    """Subpage FF of a page: page and subpage codes in ascending order."""
    body = b"".join(map(bytes, sorted(keys)))
    return LogPage(code=code, subpage=ALL_SUBPAGES, body=body)


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceCount(Structure):
    """Value of a logical block provisioning parameter (SBC-3 6.4.5): threshold sets, and who shares them."""

    LENGTH: ClassVar[int] = 8

    count: Annotated[int, At(0, 4)]
    scope: Annotated[int, At(4, 1, 0x03)] = 0


AVAILABLE_RESOURCES, USED_RESOURCES = 0x0001, 0x0002
DEDICATED, SHARED = 1, 2


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfTestResult(Structure):
    """Value of a self-test results parameter (SPC-4 7.3.19); `result` 0 is success, `hours` those of power on."""

    LENGTH: ClassVar[int] = 16

    self_test_code: Annotated[int, At(0, 1, 0xE0)] = 0
    result: Annotated[int, At(0, 1, 0x0F)] = 0
    self_test_number: Annotated[int, At(1)] = 0
    hours: Annotated[int, At(2, 2)] = 0
    first_failure: Annotated[int, At(4, 8)] = 0
    sense_key: Annotated[int, At(12, 1, 0x0F)] = 0
    additional_sense: Annotated[int, At(13, 2)] = 0
