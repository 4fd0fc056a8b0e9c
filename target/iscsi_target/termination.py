"""What FastAbort leaves behind (RFC 7143 4.2.3.4 c, g): transfer tags of terminated tasks stay valid, and their data is
thrown away, until the initiator acknowledges the message that told of it (11.9.1, event 5).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iscsi_protocol import serial
from iscsi_protocol.pdu import AsyncEvent
from iscsi_protocol.scsi.lun import same_lun
from iscsi_target import notices

if TYPE_CHECKING:
    from iscsi_target.connection import Connection
    from iscsi_target.session import Session
    from iscsi_target.task import ScsiTask


TERMINATIONS = 1024
"""How many messages wait for their acknowledgement in a session; the oldest are forgotten, as are tags (`Session.forget`)."""


@dataclass(slots=True, eq=False)
class Termination:
    """A message of event 5 that waits for its acknowledgement. stat_sn: its own; tags: of the tasks with open tags."""

    connection: Connection
    lun: bytes
    stat_sn: int
    tags: tuple[int, ...]


def announce(
    session: Session,
    tasks: list[ScsiTask],
    without: Connection | None = None,
    unbegun: Iterable[tuple[Connection, bytes]] = (),
) -> None:
    """Event 5 on each connection that has some of these tasks, once for each logical unit; not on `without`. unbegun: where
    commands came that were ended before they began, and their LUNs.
    """
    parts: dict[tuple[Connection, int], list[int]] = {}
    units: list[bytes] = []
    places: list[tuple[Connection, bytes, ScsiTask | None]] = [(task.connection, task.lun, task) for task in tasks]
    for connection, lun, task in [*places, *((connection, lun, None) for connection, lun in unbegun)]:
        if connection is without or not connection.up:
            continue
        unit = next((at for at, known in enumerate(units) if same_lun(known, lun)), len(units))
        if unit == len(units):
            units.append(lun)
        tags = parts.setdefault((connection, unit), [])
        if task is not None and task.data_outstanding:
            tags.append(task.itt)
    for (connection, unit), tags in parts.items():
        session.terminations.append(Termination(connection, units[unit], connection.stat_sn, tuple(tags)))
        notices.send(connection, AsyncEvent.TASKS_TERMINATED, lun=units[unit])
    del session.terminations[:-TERMINATIONS]


def acknowledged(session: Session, connection: Connection, lun: bytes) -> None:
    """A NOP-Out that is no ping, with the LUN of a message (11.9.1): its transfer tags are free."""
    left = []
    for each in session.terminations:
        heard = serial.lt(each.stat_sn, connection.acknowledged)
        if each.connection is connection and heard and same_lun(each.lun, lun):
            for tag in each.tags:
                session.forgotten.pop(tag, None)
        else:
            left.append(each)
    session.terminations = left
