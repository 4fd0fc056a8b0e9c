"""Tasks as an onlooker knows them: their transfers (4.2.5, 11.7, 11.8), and what recovery may need (7, 11.16)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from iscsi_captures.dialogue.state import Connection

WATCHED = 4
"""In `broken`, beside the bits of the two sides: the quick tests leave this task to the rules."""

NO_LIMIT = 1 << 62
"""Stands for a length that the history has not shown."""


class Burst(msgspec.Struct, eq=False):
    """One run of Data-Out PDUs: an R2T's answer, or the unsolicited one. `reached` is the offset behind its last byte.

    superseded: a later R2T asks for some of it again, so that the target does not wait for this one any more.
    """

    ttt: int
    lun: bytes
    offset: int
    length: int
    reached: int
    sent: int = 0
    data_sn: int = 0
    superseded: bool = False

    @property
    def complete(self) -> bool:
        """Whether all its data has come; an empty PDU with F may still follow."""
        return self.sent >= self.length


class Sent:
    """A Data-In that went out: where its data lies, how much was sent before it, and its print (None: it was damaged)."""

    __slots__ = ("before", "offset", "print")

    def __init__(self, offset: int, before: int, mark: int | None) -> None:
        self.offset = offset
        self.before = before
        self.print = mark


class Recovery:
    """What a SCSI command needs to be followed through recovery (ErrorRecoveryLevel 1 and 2).

    acked: the data acknowledgement reference, the first DataSN or R2TSN not acknowledged. sent: Data-In by DataSN.
    r2ts: R2Ts by R2TSN. asked: runs (first, end) of SNACKs, end None where open. tags: SNACK Tags of R-Data SNACKs.
    again: Data-In may begin anew after an R-Data SNACK. resumed, resumed_out: the same after a reassignment, for Data-In
    and R2T. segment: the initiator's limit under which the data went out. refused: a SNACK was answered by "SNACK reject".
    status: the StatSN of the status. reassigned: ExpDataSN of the last reassignment.
    """

    __slots__ = (
        "acked",
        "again",
        "asked",
        "r2ts",
        "reassigned",
        "refused",
        "resumed",
        "resumed_out",
        "segment",
        "sent",
        "status",
        "tags",
    )

    def __init__(self) -> None:
        self.acked = 0
        self.sent: dict[int, Sent] = {}
        self.r2ts: dict[int, bytes] = {}
        self.asked: list[tuple[int, int | None]] = []
        self.tags: list[int] = []
        self.again = False
        self.resumed = False
        self.resumed_out = False
        self.segment: int | None = None
        self.refused = False
        self.status: int | None = None
        self.reassigned: int | None = None


class Status:
    """A status that the initiator has not acknowledged.

    task: what it belongs to, if anything. lun: of a SCSI command, else None. exp_cmd_sn: what came with it.
    print: None where none was taken.
    damaged: its data digest was wrong, and no whole one has come since.
    """

    __slots__ = ("damaged", "exp_cmd_sn", "lun", "print", "task")

    def __init__(self, task: Task | None, lun: bytes | None, exp_cmd_sn: int, mark: int | None, damaged: bool) -> None:
        self.task = task
        self.lun = lun
        self.exp_cmd_sn = exp_cmd_sn
        self.print = mark
        self.damaged = damaged


class Task(msgspec.Struct, eq=False):
    """Whatever an Initiator Task Tag stands for. The fields behind `write` count for SCSI commands alone.

    disturbed: PDUs of it may be missing from the history, or be there twice. late: it was over when it was asked about.
    ping: the data of a NOP-Out. unasked_end: the offset behind all that the initiator may send before it is asked.
    """

    itt: int
    opcode: int
    connection: Connection
    bhs: bytes
    cmd_sn: int
    immediate: bool
    broken: int = 0
    disturbed: bool = False
    aborting: bool = False
    late: bool = False
    ping: bytes = b""
    read: bool = False
    write: bool = False
    lun: bytes = b""
    edtl: int = 0
    read_length: int = 0
    in_sn: int = 0
    in_offset: int = 0
    in_sequence: int = 0
    in_total: int = 0
    data_in_pdus: int = 0
    acknowledge_bytes: int = NO_LIMIT
    r2t_sn: int = 0
    r2t_offset: int | None = None
    out_total: int = 0
    unasked_end: int = 0
    bursts: list[Burst] = []
    unsolicited: Burst | None = None
    recovery: Recovery | None = None
