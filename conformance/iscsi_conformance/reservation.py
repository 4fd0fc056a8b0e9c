"""What cases about reservations share: the commands, and that nothing stays behind on a product (SPC-4 6.16, SPC-2 5.5)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from iscsi_conformance.session import ALIVE, Session, TaskResult
from iscsi_conformance.verdict import Failed, Inconclusive, Unsupported
from iscsi_protocol.pdu import ScsiCommand
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.command import Command
from iscsi_protocol.scsi.persistent import (
    BasicFields,
    FullStatus,
    Reservation,
    ReservationType,
    build_basic,
    parse_full_status,
    parse_keys,
    parse_reservation,
)
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.scsi.transport_id import TransportId, TransportIdError

REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE, REGISTER_AND_MOVE = range(8)
"""Service actions of PERSISTENT RESERVE OUT."""

CONFLICT = Status.RESERVATION_CONFLICT

ROOM = 4096
"""Bytes of parameter data that are asked for."""


def reserve_out(
    session: Session,
    action: int,
    *,
    key: int = 0,
    other: int = 0,
    kind: ReservationType = ReservationType.WRITE_EXCLUSIVE,
    ports: Sequence[bytes] = (),
    **fields: Any,
) -> tuple[ScsiCommand, bytes]:
    """Send PERSISTENT RESERVE OUT, its parameter list as immediate data where that was agreed on; both are given back.

    key: the reservation key; other: the service action reservation key; ports: ISIDs of the initiator's ports that are meant
    as well (SPEC_I_PT).
    """
    listed = [TransportId(session.initiator_name, isid) for isid in ports]
    data = build_basic(BasicFields(key=key, service_action_key=other, specify_initiator_ports=bool(listed)), listed)
    cdb = bytes((0x5F, action, kind, 0, 0)) + len(data).to_bytes(4, "big") + b"\0"
    immediate = data if session.agreed("ImmediateData") == "Yes" else b""
    whole = bool(immediate) or session.agreed("InitialR2T") == "Yes"
    sent = session.command(cdb, write=len(data), data=immediate, **({"final": whole} | fields))
    if not whole:
        session.data_out(sent, data)
    return sent, data


async def reserved(session: Session, action: int, clause: str = ALIVE, **values: Any) -> TaskResult:
    """PERSISTENT RESERVE OUT, to its end; once more where a unit attention came in its place."""
    for _ in range(3):
        sent, data = reserve_out(session, action, **values)
        outcome = await session.result(sent, clause, write_data=data)
        if outcome.status != Status.CHECK_CONDITION:
            break
    return outcome


async def registered(session: Session, key: int) -> None:
    """The session's nexus has this key. Raises Inconclusive otherwise."""
    outcome = await reserved(session, REGISTER_AND_IGNORE, other=key)
    if outcome.status:
        raise Inconclusive(f"REGISTER AND IGNORE EXISTING KEY ends with status {outcome.status:#04x}")


@asynccontextmanager
async def registration(session: Session, key: int) -> AsyncIterator[None]:
    """Meanwhile the session's nexus has this key; behind it all registrations and reservations are cleared by it."""
    await registered(session, key)
    try:
        yield
    finally:
        if session.raw.closed is None:
            await registered(session, key)
            await reserved(session, CLEAR, key=key)


async def settle(session: Session) -> None:
    """Unit attentions of the session's nexus are told."""
    for _ in range(4):
        if (await session.test_unit_ready(ALIVE)).status != Status.CHECK_CONDITION:
            return


async def _told(session: Session, command: Command, clause: str) -> bytes:
    outcome = await session.execute(command.build(allocation_length=ROOM), clause, read=ROOM)
    if outcome.status == Status.CHECK_CONDITION:
        outcome = await session.execute(command.build(allocation_length=ROOM), clause, read=ROOM)
    if outcome.status == Status.CHECK_CONDITION:
        raise Unsupported(command.name, "the command ends with CHECK CONDITION")
    if outcome.status:
        raise Inconclusive(f"{command.name} ends with status {outcome.status:#04x}")
    return outcome.data


async def keys_registered(session: Session, clause: str) -> list[int]:
    """What READ KEYS tells. Raises Unsupported where it is refused."""
    return parse_keys(await _told(session, opcodes.READ_KEYS, clause))[1]


async def reservation_held(session: Session, clause: str) -> Reservation | None:
    """What READ RESERVATION tells. Raises Unsupported where it is refused."""
    return parse_reservation(await _told(session, opcodes.READ_RESERVATION, clause))[1]


async def full_status(session: Session, clause: str) -> list[FullStatus]:
    """What READ FULL STATUS tells. Raises Failed for a TransportID that is none, Unsupported where it is refused."""
    try:
        return parse_full_status(await _told(session, opcodes.READ_FULL_STATUS, clause))[1]
    except TransportIdError as error:
        raise Failed(clause, f"the TransportID of an initiator port was due: {error}") from None
