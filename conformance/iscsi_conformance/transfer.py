"""What cases about data transfer share: login keys, test data, and how a target may take a violation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from iscsi_conformance.session import Session, TaskResult
from iscsi_conformance.verdict import require
from iscsi_protocol.pdu import R2T, Reject, ScsiCommand, ScsiResponse
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.sense import Sense

R2T_MODE = (("InitialR2T", "Yes"), ("ImmediateData", "No"))
"""Nothing unsolicited; no target can decline (13.10, 13.11)."""

SMALL_BURST = (("MaxBurstLength", "4096"), ("FirstBurstLength", "4096"))

BEHIND_THE_END = 1 << 60
"""A logical block address that no unit has."""

UNEXPECTED = (SenseKey.ABORTED_COMMAND, 0x0C0C)
"""Sense key and code of unexpected unsolicited data (11.4.7.2)."""

AMOUNT = (SenseKey.ABORTED_COMMAND, 0x0C0D)
"""Sense key and code of an incorrect amount of data (11.4.7.2)."""


def pattern(length: int, seed: str = "") -> bytes:
    """So many bytes in which no two words are likely to be alike."""
    return hashlib.shake_128(seed.encode()).digest(length)


def blocks_for(session: Session, length: int) -> int:
    """The number of blocks that hold at least so many bytes."""
    return -(-length // session.block_size)


def write_command(
    session: Session, data: bytes, lba: int = 0, *, immediate: int = 0, final: bool = True
) -> ScsiCommand:
    """Send WRITE(10) for this data, with so many bytes of it as immediate data."""
    cdb = opcodes.WRITE_10.build(lba=lba, blocks=blocks_for(session, len(data)))
    return session.command(cdb, write=len(data), data=data[:immediate], final=final)


def read_command(session: Session, blocks: int, lba: int = 0) -> ScsiCommand:
    """Send READ(10) of so many blocks."""
    return session.command(opcodes.READ_10.build(lba=lba, blocks=blocks), read=blocks * session.block_size)


def sense_of(response: ScsiResponse, command: ScsiCommand) -> Sense | None:
    """The sense data of a response."""
    return TaskResult(command, response, b"").sense


@dataclass(slots=True)
class Reaction:
    """How a target took a violation: Rejects, further R2Ts, a response, the end of the connection."""

    command: ScsiCommand
    rejects: list[Reject] = field(default_factory=list)
    r2ts: list[R2T] = field(default_factory=list)
    response: ScsiResponse | None = None
    closed: bool = False

    @property
    def refused(self) -> bool:
        """Whether the target let the violation be known in one of the ways that are allowed (7.3, 11.4.7.2, 11.8)."""
        if self.response is not None:
            return bool(self.response.status or self.response.response)
        return bool(self.rejects or self.closed or self.r2ts)

    @property
    def sense(self) -> tuple[int, int] | None:
        """Sense key and code of the response."""
        sense = None if self.response is None else sense_of(self.response, self.command)
        return None if sense is None else (sense.key, sense.code)

    def __str__(self) -> str:
        parts = [f"Reject {reject.reason:#04x}" for reject in self.rejects]
        parts += [f"R2T for {r2t.desired_data_transfer_length} bytes from {r2t.buffer_offset}" for r2t in self.r2ts]
        if self.response is not None:
            parts.append(f"status {self.response.status:#04x}")
            if self.sense is not None:
                parts.append(f"sense {self.sense[0]:x}/{self.sense[1]:04x}")
        if self.closed:
            parts.append("the end of the connection")
        return ", ".join(parts) or "nothing"


async def reaction(session: Session, command: ScsiCommand, *, write_data: bytes | None = None) -> Reaction:
    """What comes about a command up to its response, a new R2T, the end of the connection, or silence.

    write_data: R2Ts are answered from it, and the waiting goes on.
    """
    seen = Reaction(command)
    while True:
        received = await session.receive_or_none()
        if received is None:
            seen.closed = session.raw.closed is not None
            return seen
        pdu = received.pdu
        if isinstance(pdu, Reject):
            seen.rejects.append(pdu)
        elif isinstance(pdu, ScsiResponse) and pdu.itt == command.itt:
            seen.response = pdu
            return seen
        elif isinstance(pdu, R2T) and pdu.itt == command.itt:
            seen.r2ts.append(pdu)
            if write_data is None:
                return seen
            stop = pdu.buffer_offset + pdu.desired_data_transfer_length
            session.data_out(command, write_data[pdu.buffer_offset : stop], r2t=pdu)


def require_good(outcome: TaskResult, clause: str, what: str) -> None:
    """The command ended with GOOD."""
    sense = outcome.sense
    seen = f"status {outcome.status:#04x}" + (f", sense {sense.key:x}/{sense.code:04x}" if sense else "")
    require(outcome.status == 0, clause, f"{what} ends with GOOD", seen=seen)
