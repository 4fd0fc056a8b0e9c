"""Data-In and R2T as the initiator has to judge them (RFC 7143 4.2.5, 11.7, 11.8): events 26 and 28.

Each function takes one PDU of a task and says whether it raises its event. What is missing raises none: at level 0 the task
is aborted, above it SNACK asks for the rest.
"""

from __future__ import annotations

import struct

from iscsi_captures.events.gaps import Gaps, ahead
from iscsi_captures.events.state import Connection, ScsiTask
from iscsi_protocol.pdu import NO_TAG, RawPdu

_MASK = 0xFFFFFFFF
_FINAL = 0x80
_data_in = struct.Struct(">36xII").unpack_from
_r2t = struct.Struct(">20xI12xIII").unpack_from


def take_data(connection: Connection, task: ScsiTask, raw: RawPdu) -> bool:
    """A Data-In: whether it brings what was not asked for (26)."""
    data_sn, offset = _data_in(raw.bhs, 0)
    length = len(raw.data)
    limits = connection.limits
    if data_sn != task.data_sn:
        if task.resumed and ahead(task.data_sn, data_sn):
            task.data_sn, task.offset, task.burst = data_sn, offset, 0
        elif ahead(data_sn, task.data_sn):
            if not limits.level:
                return False
            _lose(task, data_sn, offset)
        elif limits.level and task.holes is not None and task.holes.may_come(data_sn):
            task.holes.fill(data_sn)
            return bool(offset + length > task.read)
        else:
            return True
    task.resumed = False
    task.data_sn = (data_sn + 1) & _MASK
    if task.write:
        task.r2t_sn = task.data_sn
    task.burst += length
    end = offset + length
    excess = (
        end > task.read
        or task.burst > limits.max_burst
        or (length > 0 and offset < task.offset and limits.data_pdu_in_order)
    )
    if raw.bhs[1] & _FINAL:
        task.burst = 0
    if excess:
        return True
    if offset <= task.offset:
        task.offset = max(task.offset, end)
    return False


def take_damaged_data(task: ScsiTask, raw: RawPdu) -> None:
    """A Data-In with a wrong data digest, above level 0: it is asked for again by its DataSN."""
    data_sn, offset = _data_in(raw.bhs, 0)
    if not ahead(data_sn, task.data_sn):
        return
    if task.holes is None:
        task.holes = Gaps()
    task.holes.add(task.data_sn, data_sn)
    task.data_sn = (data_sn + 1) & _MASK
    task.offset = max(task.offset, offset + len(raw.data))
    task.burst = 0 if raw.bhs[1] & _FINAL else task.burst + len(raw.data)
    if task.write:
        task.r2t_sn = task.data_sn


def take_tail(task: ScsiTask, exp_data_sn: int) -> None:
    """A SCSI Response says how many Data-In PDUs there were: what is missing of them is asked for above level 0."""
    if task.read and not task.write and exp_data_sn != task.data_sn and ahead(exp_data_sn, task.data_sn):
        _lose(task, exp_data_sn, task.read)
        task.data_sn = exp_data_sn


def _lose(task: ScsiTask, data_sn: int, offset: int) -> None:
    """What lies before this DataSN is missing; its place, and how much of the sequence it was, are not known."""
    if task.holes is None:
        task.holes = Gaps()
    task.holes.add(task.data_sn, (data_sn - 1) & _MASK)
    task.offset = max(task.offset, offset)
    task.burst = 0


def take_r2t(connection: Connection, task: ScsiTask, raw: RawPdu) -> bool:
    """An R2T: whether it is invalid (28)."""
    ttt, r2t_sn, offset, desired = _r2t(raw.bhs, 0)
    limits = connection.limits
    if not task.write or ttt == NO_TAG or not 0 < desired <= limits.max_burst or offset + desired > task.write:
        return True
    numbered = True
    if r2t_sn != task.r2t_sn and not (task.resumed and ahead(task.r2t_sn, r2t_sn)):
        if not limits.level:
            return True
        if ahead(r2t_sn, task.r2t_sn):
            if task.r2t_holes is None:
                task.r2t_holes = Gaps()
            task.r2t_holes.add(task.r2t_sn, (r2t_sn - 1) & _MASK)
        elif task.r2t_holes is None or not task.r2t_holes.may_come(r2t_sn):
            return True
        else:
            task.r2t_holes.fill(r2t_sn)
            numbered = False
    if not limits.level and offset < task.asked_to and limits.data_sequence_in_order:
        return True
    if task.r2t_mark != connection.sent:
        task.r2t_mark, task.r2t_waiting = connection.sent, 0
    if task.r2t_waiting >= limits.max_r2t:
        return True
    task.r2t_waiting += 1
    task.resumed = False
    task.asked_to = max(task.asked_to, offset + desired)
    if numbered:
        task.r2t_sn = (r2t_sn + 1) & _MASK
        if task.read:
            task.data_sn = task.r2t_sn
    return False
