"""Residuals held against what the CDB asks for (11.4.5.2, 11.4.5.3): the CDB tells a length, or at least the most that comes.

Commands that move blocks are judged where READ CAPACITY told the block length of their unit.
"""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight, Task
from iscsi_captures.dialogue.bits import OVERFLOW, STATUS, UNDERFLOW
from iscsi_captures.dialogue.cdb import allocation_length, exact_length
from iscsi_captures.rules.model import Rules, Stain
from iscsi_protocol.pdu import Opcode

RULES = Rules((Phase.FULL,))
_RESPONSE = Opcode.SCSI_RESPONSE
_IN = Opcode.SCSI_DATA_IN
_BOTH = (_RESPONSE, _IN)
_TASK = Stain.TASK


def _good(sight: Sight) -> Task | None:
    """The command of one direction that this PDU ends with GOOD, nothing of it having been sent twice."""
    task = sight.scsi
    if task is None or (task.read and task.write) or task.disturbed or sight.bhs[3]:
        return None
    if sight.opcode == _IN:
        return task if sight.bhs[1] & STATUS else None
    return None if sight.bhs[2] else task


def _exact(sight: Sight) -> tuple[Task, int] | None:
    """The command, and the bytes that its CDB asks for."""
    task = _good(sight)
    if task is None:
        return None
    length = exact_length(task.bhs, sight.session.block_lengths.get(task.lun))
    return None if length is None else (task, length)


def _at_most(sight: Sight) -> tuple[Task, int] | None:
    """The command, and the bytes that its CDB allows at most."""
    task = _good(sight)
    length = None if task is None else allocation_length(task.bhs)
    return None if task is None or length is None else (task, length)


def _flags(sight: Sight) -> int:
    return sight.bhs[1] & (OVERFLOW | UNDERFLOW)


@RULES("residual.cdb-overflow-missing", "R7143-11.4.5.2-01", *_BOTH, stain=_TASK)
def overflow_missing(sight: Sight) -> str | None:
    """A CDB that asks for more than the expected length ends with an overflow."""
    found = _exact(sight)
    if found is None or sight.bhs[1] & OVERFLOW or found[1] <= found[0].edtl:
        return None
    return f"the CDB asks for {found[1]} bytes, {found[0].edtl} are expected, and O is not set"


@RULES("residual.cdb-overflow-count", "R7143-11.4.5.2-02", *_BOTH, stain=_TASK)
def overflow_count(sight: Sight) -> str | None:
    """The residual of an overflow is what the CDB asks for beyond the expected length."""
    found, count = _exact(sight), sight.word(44)
    if found is None or _flags(sight) != OVERFLOW or not count or count == found[1] - found[0].edtl:
        return None
    return f"residual count {count}, the CDB asks for {found[1]} bytes and {found[0].edtl} are expected"


@RULES("residual.cdb-underflow-missing", "R7143-11.4.5.2-03", *_BOTH, stain=_TASK)
def underflow_missing(sight: Sight) -> str | None:
    """A CDB that asks for less than the expected length ends with an underflow."""
    found = _exact(sight)
    if (
        found is None
        or sight.bhs[1] & UNDERFLOW
        or found[1] >= found[0].edtl
        or _moved(sight, found[0]) < found[0].edtl
    ):
        return None
    return f"the CDB asks for {found[1]} bytes, {found[0].edtl} are expected, and U is not set"


@RULES("residual.cdb-underflow-count", "R7143-11.4.5.2-04", *_BOTH, stain=_TASK)
def underflow_count(sight: Sight) -> str | None:
    """The residual of an underflow is what the CDB asks for short of the expected length, where all of that moved."""
    found, count = _exact(sight), sight.word(44)
    if found is None or _flags(sight) != UNDERFLOW or not found[0].write or found[1] >= found[0].edtl:
        return None
    due = found[0].edtl - found[1]
    return None if count == due else f"residual count {count}, the CDB asks for {due} bytes less than are expected"


def _moved(sight: Sight, task: Task) -> int:
    if task.write:
        return task.out_total
    return task.in_total + (sight.length if sight.opcode == _IN else 0)


@RULES("residual.allocation-is-no-overflow", "R7143-11.4.5.3-01", *_BOTH, stain=_TASK)
def allocation_is_no_overflow(sight: Sight) -> str | None:
    """What ALLOCATION LENGTH cuts off is no overflow."""
    found = _at_most(sight)
    if found is None or not sight.bhs[1] & OVERFLOW or found[1] > found[0].edtl:
        return None
    return f"O is set, the allocation length of {found[1]} is within the {found[0].edtl} bytes expected"


@RULES("residual.beyond-allocation", "R7143-11.4.5.3-02", *_BOTH, stain=_TASK)
def beyond_allocation(sight: Sight) -> str | None:
    """No more comes than ALLOCATION LENGTH, the rest of a longer expected length is an underflow."""
    found = _at_most(sight)
    if found is None or not found[0].read or _moved(sight, found[0]) <= found[1]:
        return None
    return f"{_moved(sight, found[0])} bytes came, the allocation length is {found[1]}"
