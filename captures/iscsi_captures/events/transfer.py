"""Data-In and R2T as the initiator has to judge them (RFC 7143 4.2.5, 11.7, 11.8, 11.16): events 26 and 28.

Each function takes one PDU of a task and says whether it raises its event. What is missing raises none: at level 0 the task
is aborted, above it SNACK asks for the rest, and what was asked for may come twice.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from iscsi_captures.events.gaps import Gaps, ahead
from iscsi_captures.events.state import Connection, ScsiTask, Task
from iscsi_protocol.pdu import NO_TAG, RawPdu

_MASK = 0xFFFFFFFF
_FINAL = 0x80
_data_in = struct.Struct(">36xII").unpack_from
_r2t = struct.Struct(">20xI12xIII").unpack_from
_next = struct.Struct(">16xI16xII").unpack_from
_STATUS_OR_ACKNOWLEDGE = 0x41


def take_next(connection: Connection, tasks: Mapping[int, Task], raw: RawPdu) -> bool:
    """Whether a Data-In without status is simply the next of its task, as most are. It is taken then; all others go the long
    way, which comes to the same for these.
    """
    bhs = raw.bhs
    flags = bhs[1]
    if flags & _STATUS_OR_ACKNOWLEDGE:
        return False
    itt, data_sn, offset = _next(bhs, 0)
    task = tasks.get(itt)
    if type(task) is not ScsiTask or data_sn != task.data_sn or offset != task.offset:
        return False
    limits = connection.limits
    length = len(raw.data)
    end, burst = offset + length, task.burst + length
    if (
        task.connection is not connection
        or task.holes is not None
        or task.anew
        or task.rebased
        or task.status is not None
        or raw.header_digest_error
        or raw.data_digest_error
        or length > limits.max_recv
        or end > task.read
        or burst > limits.max_burst
    ):
        return False
    task.data_sn = task.r2t_sn = (data_sn + 1) & _MASK
    task.offset = end
    task.burst = 0 if flags & _FINAL else burst
    return True


def take_data(connection: Connection, task: ScsiTask, raw: RawPdu) -> bool:
    """A Data-In: whether it brings what was not asked for (26)."""
    data_sn, offset = _data_in(raw.bhs, 0)
    length = len(raw.data)
    end = offset + length
    if data_sn != task.data_sn or task.anew or task.rebased:
        if task.anew and data_sn != task.data_sn:
            return False  # sent before the target heard of the R-Data SNACK
        task.anew = False
        if task.rebased and task.write:
            _number(task, data_sn)
            task.rebased = False
        if data_sn != task.data_sn:
            if not connection.limits.level:
                return not ahead(data_sn, task.data_sn)
            if not ahead(data_sn, task.data_sn):
                return _again(task, data_sn, end)
            _lose(task, data_sn)
    _number(task, (data_sn + 1) & _MASK)
    final = bool(raw.bhs[1] & _FINAL)
    if task.holes is not None:
        # Once data was asked for again, neither its order nor the length of its sequences can be told.
        task.offset, task.burst = max(task.offset, end), 0
        return bool(end > task.read)
    task.burst += length
    excess = (
        end > task.read
        or task.burst > connection.limits.max_burst
        or (length > 0 and offset < task.offset and connection.limits.data_pdu_in_order)
    )
    if final:
        task.burst = 0
    if offset <= task.offset and not excess:
        task.offset = max(task.offset, end)
    return excess


def _number(task: ScsiTask, following: int) -> None:
    """The next DataSN and R2TSN: a task has one count for both (11.8.2)."""
    task.data_sn = task.r2t_sn = following


def _again(task: ScsiTask, data_sn: int, end: int) -> bool:
    """A DataSN below the next one, above level 0."""
    holes = task.holes
    if holes is None:
        return True
    if holes.fill(data_sn):
        return end > task.read
    return not holes.may_come(data_sn)


def take_damaged_data(task: ScsiTask, raw: RawPdu) -> None:
    """A Data-In with a wrong data digest, above level 0: it is asked for again by its DataSN."""
    data_sn, _ = _data_in(raw.bhs, 0)
    if ahead(data_sn, task.data_sn) and not (task.anew and data_sn != task.data_sn):
        _lose(task, (data_sn + 1) & _MASK)
        _number(task, (data_sn + 1) & _MASK)


def take_tail(task: ScsiTask, exp_data_sn: int) -> None:
    """A SCSI Response says how many Data-In PDUs there were: what is missing of them is asked for above level 0."""
    if task.read and not task.write and exp_data_sn != task.data_sn and ahead(exp_data_sn, task.data_sn):
        _lose(task, exp_data_sn)
        task.data_sn = exp_data_sn


def _lose(task: ScsiTask, data_sn: int) -> None:
    """All from the next DataSN up to this one is missing."""
    if task.holes is None:
        task.holes = Gaps()
    task.holes.add(task.data_sn, (data_sn - 1) & _MASK)


def begin_anew(task: ScsiTask, tag: int) -> None:
    """R-Data SNACK: what is not acknowledged comes again, cut otherwise (11.16.3)."""
    task.data_sn = task.acknowledged
    task.offset = 0
    task.burst = 0
    asked = [] if task.holes is None else task.holes.asked
    task.holes = Gaps()
    task.holes.asked = asked
    task.tag = tag
    task.anew = True


def reassign(task: ScsiTask) -> None:
    """TASK REASSIGN: data comes from the first that is missing on, R2Ts with whatever number (7.2.2, 11.5.6)."""
    first = task.data_sn
    if task.holes is not None and task.holes.missing:
        first = task.holes.missing[0][0]
    task.holes = Gaps()
    if first:
        task.holes.ask(0, first - 1)
    task.r2t_holes = None
    task.data_sn = first
    task.status = None
    task.rebased = bool(task.write)
    task.asked_to = 0
    task.r2t_mark = -1


def take_r2t(connection: Connection, task: ScsiTask, raw: RawPdu) -> bool:
    """An R2T: whether it is invalid (28)."""
    ttt, r2t_sn, offset, desired = _r2t(raw.bhs, 0)
    limits = connection.limits
    if task.rebased:
        task.rebased = False
        _number(task, r2t_sn)
    behind = r2t_sn != task.r2t_sn and not ahead(r2t_sn, task.r2t_sn)
    if task.write and limits.level and behind:
        holes = task.r2t_holes
        if holes is None or not holes.may_come(r2t_sn):
            return True
        if not holes.fill(r2t_sn):
            return False
    if not task.write or ttt == NO_TAG or not 0 < desired <= limits.max_burst or offset + desired > task.write:
        return True
    in_order = r2t_sn == task.r2t_sn and not task.r2t_holes
    if not limits.level and (not in_order or (offset < task.asked_to and limits.data_sequence_in_order)):
        return True
    if task.r2t_mark != connection.sent:
        task.r2t_mark, task.r2t_waiting = connection.sent, 0
    if in_order and task.r2t_waiting >= limits.max_r2t:
        return True
    if not behind:
        if r2t_sn != task.r2t_sn:
            task.r2t_holes = task.r2t_holes or Gaps()
            task.r2t_holes.add(task.r2t_sn, (r2t_sn - 1) & _MASK)
        _number(task, (r2t_sn + 1) & _MASK)
    task.r2t_waiting += 1
    task.asked_to = max(task.asked_to, offset + desired)
    return False
