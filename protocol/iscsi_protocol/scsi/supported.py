"""Parameter data of REPORT SUPPORTED OPERATION CODES and REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.command import Command
from iscsi_protocol.scsi.fields import At, Buffer, Structure

_CTDP = 0x80


class ReportingOptions(IntEnum):
    """REPORTING OPTIONS of REPORT SUPPORTED OPERATION CODES."""

    ALL = 0
    ONE_OPERATION_CODE = 1
    ONE_SERVICE_ACTION = 2
    ONE_EITHER = 3


class Support(IntEnum):
    """SUPPORT of the one-command format."""

    NOT_AVAILABLE = 0
    NOT_SUPPORTED = 1
    STANDARD = 3
    VENDOR_SPECIFIC = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandTimeouts(Structure):
    """Command timeouts descriptor; times in seconds, 0 = not said."""

    LENGTH: ClassVar[int] = 12

    descriptor_length: Annotated[int, At(0, 2)] = 10
    command_specific: Annotated[int, At(3)] = 0
    nominal: Annotated[int, At(4, 4)] = 0
    recommended: Annotated[int, At(8, 4)] = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class CommandDescriptor(Structure):
    """One command of the all-commands format, without the timeouts that follow when `has_timeouts` is set."""

    LENGTH: ClassVar[int] = 8

    opcode: Annotated[int, At(0)]
    service_action: Annotated[int, At(2, 2)] = 0
    has_timeouts: Annotated[bool, At(5, 1, 0x02)] = False
    has_service_action: Annotated[bool, At(5, 1, 0x01)] = False
    cdb_length: Annotated[int, At(6, 2)]


@dataclass(frozen=True, kw_only=True, slots=True)
class OneCommand:
    """The one-command format: `usage` is the CDB usage data (`Command.usage`), empty unless supported."""

    support: int
    usage: bytes = b""
    timeouts: CommandTimeouts | None = None

    def build(self) -> bytes:
        """The parameter data."""
        timeouts = b"" if self.timeouts is None else self.timeouts.build()
        flags = (0 if self.timeouts is None else _CTDP) | self.support
        return bytes((0, flags)) + len(self.usage).to_bytes(2, "big") + self.usage + timeouts


def build_all_commands(commands: Iterable[Command], timeouts: CommandTimeouts | None = None) -> bytes:
    """Parameter data of the all-commands format; with `timeouts` (RCTD set) each command carries them."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(
            CommandDescriptor(
                opcode=command.opcode,
                service_action=command.service_action or 0,
                has_timeouts=timeouts is not None,
                has_service_action=command.service_action is not None,
                cdb_length=command.length,
            ).build()
        )
        if timeouts is not None:
            parts.append(timeouts.build())
    body = b"".join(parts)
    return len(body).to_bytes(4, "big") + body


def parse_all_commands(data: Buffer) -> list[tuple[CommandDescriptor, CommandTimeouts | None]]:
    """The commands of the all-commands format, each with its timeouts or None, as far as the data says and goes."""
    end = min(len(data), 4 + int.from_bytes(bytes(data[:4]).ljust(4, b"\0"), "big"))
    found: list[tuple[CommandDescriptor, CommandTimeouts | None]] = []
    at = 4
    while at + CommandDescriptor.LENGTH <= end:
        descriptor = CommandDescriptor.parse(data, at)
        at += CommandDescriptor.LENGTH
        timeouts = None
        if descriptor.has_timeouts:
            timeouts = CommandTimeouts.parse(data[:end], at)
            at += 2 + timeouts.descriptor_length
        found.append((descriptor, timeouts))
    return found


def parse_one_command(data: Buffer) -> OneCommand:
    """The one-command format; what is cut off is missing from `usage` or reads as zero in `timeouts`."""
    raw = bytes(data).ljust(4, b"\0")
    end = 4 + int.from_bytes(raw[2:4], "big")
    timeouts = CommandTimeouts.parse(raw, end) if raw[1] & _CTDP else None
    return OneCommand(support=raw[1] & 0x07, usage=raw[4:end], timeouts=timeouts)


@dataclass(frozen=True, kw_only=True, slots=True)
class SupportedTaskManagement(Structure):
    """Parameter data of REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS; build() is the extended format (REPD set).

    Timeouts are in units of 100 ms; a function's `..._timeout` bit says whether the long or short one holds for it.
    TARGET RESET and WAKEUP are obsolete in SPC-4.
    """

    LENGTH: ClassVar[int] = 16

    abort_task: Annotated[bool, At(0, 1, 0x80)] = False
    abort_task_set: Annotated[bool, At(0, 1, 0x40)] = False
    clear_aca: Annotated[bool, At(0, 1, 0x20)] = False
    clear_task_set: Annotated[bool, At(0, 1, 0x10)] = False
    logical_unit_reset: Annotated[bool, At(0, 1, 0x08)] = False
    query_task: Annotated[bool, At(0, 1, 0x04)] = False
    target_reset: Annotated[bool, At(0, 1, 0x02)] = False
    wakeup: Annotated[bool, At(0, 1, 0x01)] = False
    query_asynchronous_event: Annotated[bool, At(1, 1, 0x04)] = False
    query_task_set: Annotated[bool, At(1, 1, 0x02)] = False
    i_t_nexus_reset: Annotated[bool, At(1, 1, 0x01)] = False
    additional_length: Annotated[int, At(3)] = 12
    timeouts_valid: Annotated[bool, At(4, 1, 0x01)] = False
    abort_task_timeout: Annotated[bool, At(6, 1, 0x80)] = False
    abort_task_set_timeout: Annotated[bool, At(6, 1, 0x40)] = False
    clear_aca_timeout: Annotated[bool, At(6, 1, 0x20)] = False
    clear_task_set_timeout: Annotated[bool, At(6, 1, 0x10)] = False
    logical_unit_reset_timeout: Annotated[bool, At(6, 1, 0x08)] = False
    query_task_timeout: Annotated[bool, At(6, 1, 0x04)] = False
    query_asynchronous_event_timeout: Annotated[bool, At(7, 1, 0x04)] = False
    query_task_set_timeout: Annotated[bool, At(7, 1, 0x02)] = False
    i_t_nexus_reset_timeout: Annotated[bool, At(7, 1, 0x01)] = False
    long_timeout: Annotated[int, At(8, 4)] = 0
    short_timeout: Annotated[int, At(12, 4)] = 0

    def build_short(self) -> bytes:
        """The 4 bytes of the format without timeouts (REPD clear)."""
        return Structure.build(self)[:3] + b"\0"
