"""Writes that wait for their data, and all that comes behind a request up to a proof that no more will come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from iscsi_conformance.session import Session
from iscsi_conformance.transfer import pattern, write_command
from iscsi_initiator.raw import Received
from iscsi_protocol.pdu import R2T, Reject, ScsiCommand, ScsiResponse


async def pending_write(session: Session, blocks: int = 2) -> tuple[ScsiCommand, R2T]:
    """A write of so many blocks at address 0, and the R2T that it waits behind."""
    command = write_command(session, pattern(blocks * session.block_size))
    return command, await session.expect(R2T, "R7143-11.8-01", "an R2T for the write", itt=command.itt)


def give_data(session: Session, command: ScsiCommand, r2t: R2T, **fields: Any) -> None:
    """Answer the R2T of a pending write; fields as `Session.data_out` has them."""
    end = r2t.buffer_offset + r2t.desired_data_transfer_length
    data = pattern(command.expected_data_transfer_length)[r2t.buffer_offset : end]
    session.data_out(command, data, r2t=r2t, **fields)


async def aftermath(session: Session) -> list[Received]:
    """Everything that comes up to the second of two fences, or the end of the connection (`session.raw.closed` tells)."""
    seen: list[Received] = []
    for _ in range(2):
        fence = session.ping()
        while True:
            received = await session.receive_or_none()
            if received is None:
                return seen
            if received.raw.initiator_task_tag == fence.itt:
                break
            seen.append(received)
    return seen


def rejects_among(seen: Iterable[Received]) -> list[Reject]:
    """The Rejects in the order in which they came."""
    return [each.pdu for each in seen if isinstance(each.pdu, Reject)]


def response_among(seen: Iterable[Received], command: ScsiCommand) -> ScsiResponse | None:
    """The SCSI Response to the command."""
    pdus = (each.pdu for each in seen)
    return next((pdu for pdu in pdus if isinstance(pdu, ScsiResponse) and pdu.itt == command.itt), None)
