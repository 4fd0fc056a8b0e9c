"""Task sets (SAM-5 8): one for each logical unit, for all nexuses together (TST 000b). SIMPLE commands run as they can, a
write when its data has come (QAM 0001b).

A SIMPLE command waits for older ORDERED and for all HEAD OF QUEUE commands, an ORDERED one for everything older and for HEAD
OF QUEUE, a HEAD OF QUEUE command for nothing. UNTAGGED is SIMPLE. Only the execution waits: the data of a write is asked
for before, into the buffers of the target port. As long as all commands are SIMPLE and no limit is set, there are no sets
(`active`), and commands pass by.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from iscsi_protocol.pdu import TaskAttribute
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.lun import decode_lun
from iscsi_protocol.scsi.sense import illegal_request
from iscsi_protocol.scsi.status import Status
from iscsi_target.completion import Completion, QualifiedCompletion

if TYPE_CHECKING:
    from iscsi_target.config import LunConfig, TargetNode
    from iscsi_target.session import Session
    from iscsi_target.task import ScsiTask

CONSTRAINED = 0x06
"""Bits of the attribute (byte 1 of a command) that only ORDERED, HEAD OF QUEUE and ACA have."""

_ATTRIBUTE = 0x07
_NO_PRIORITY = 16
_NO_ACA = Completion(Status.CHECK_CONDITION, sense=illegal_request(AdditionalSense.INVALID_MESSAGE_ERROR).build())


class _Unit:
    """The task set of a logical unit: its members in the order in which they came, and what limits them."""

    __slots__ = ("config", "count", "dormant", "members")

    def __init__(self, config: LunConfig | None) -> None:
        self.config = config
        self.count = 0
        self.members: dict[ScsiTask, None] = {}
        self.dormant = 0

    @property
    def limited(self) -> bool:
        """Whether commands may be turned away."""
        return self.config is not None and bool(self.config.queue_depth or self.config.busy)

    @property
    def needed(self) -> bool:
        """Whether the order matters, now or for commands to come."""
        return self.limited or self.dormant > 0 or any(_attribute(task) in _ORDERING for task in self.members)


class TaskSets:
    """The task sets of a node. active: whether a SIMPLE command has to be looked at."""

    __slots__ = ("_units", "active", "changed")

    def __init__(self, node: TargetNode | None = None) -> None:
        luns = {} if node is None else node.luns
        units = {lun: _Unit(config) for lun, config in luns.items()}
        self._units = {lun: unit for lun, unit in units.items() if unit.limited}
        self.active = bool(self._units)
        self.changed = False

    def enter(self, session: Session, task: ScsiTask, others: Iterable[ScsiTask]) -> Completion | None:
        """A command comes in; `others` are all tasks of the node, older first, looked at when its task set is new. What it is
        turned away with, or None; it may be dormant then.
        """
        attribute = _attribute(task)
        if attribute == TaskAttribute.ACA:
            return _NO_ACA
        number = decode_lun(task.lun)
        if number is None or not session.device.has_lun(task.lun, session.nexus):
            return None
        unit = self._units.get(number)
        if unit is None:
            if attribute not in _ORDERING:
                return None
            unit = self._units[number] = _Unit(None)
            unit.members.update((each, None) for each in others if decode_lun(each.lun) == number and each is not task)
        refusal = _refusal(unit, session)
        if refusal is not None:
            return refusal
        task.dormant = _waits(unit, attribute)
        unit.dormant += task.dormant
        unit.members[task] = None
        self.active = True
        return None

    def leave(self, task: ScsiTask) -> bool:
        """A task is over; whether others may run now."""
        number = decode_lun(task.lun)
        unit = None if number is None else self._units.get(number)
        if number is None or unit is None or task not in unit.members:
            return False
        del unit.members[task]
        unit.dormant -= task.dormant
        task.dormant = False
        if not unit.needed:
            del self._units[number]
            self.active = bool(self._units)
        self.changed = self.changed or unit.dormant > 0
        return self.changed

    def enable(self) -> list[ScsiTask]:
        """Wake the dormant tasks whose turn it is: ORDERED ones in order, SIMPLE ones by their priority."""
        if not self.changed:
            return []
        self.changed = False
        found = []
        for unit in self._units.values():
            if unit.dormant:
                woken = sorted(_runnable(unit), key=lambda task: task.priority or _NO_PRIORITY)
                unit.dormant -= len(woken)
                for task in woken:
                    task.dormant = False
                found += woken
        return found


NO_TASK_SETS = TaskSets()
"""Of sessions without logical units; nothing ever enters."""

_ORDERING = frozenset({int(TaskAttribute.ORDERED), int(TaskAttribute.HEAD_OF_QUEUE)})


def _attribute(task: ScsiTask) -> int:
    return task.flags & _ATTRIBUTE


def _refusal(unit: _Unit, session: Session) -> Completion | None:
    """TASK SET FULL or, for who has nothing in the set, BUSY (SAM-5 5.3.1); and BUSY by setting."""
    config = unit.config
    if config is None:
        return None
    if config.busy:
        unit.count += 1
        if unit.count % config.busy == 0:
            return QualifiedCompletion(Status.BUSY, config.retry_delay)
    if config.queue_depth and len(unit.members) >= config.queue_depth:
        own = any(task.connection.session is session for task in unit.members)
        return QualifiedCompletion(Status.TASK_SET_FULL if own else Status.BUSY, config.retry_delay)
    return None


def _waits(unit: _Unit, attribute: int) -> bool:
    """Whether a command that comes now has to wait."""
    if attribute == TaskAttribute.HEAD_OF_QUEUE:
        return False
    if attribute == TaskAttribute.ORDERED:
        return bool(unit.members)
    return any(_attribute(task) in _ORDERING for task in unit.members)


def _runnable(unit: _Unit) -> list[ScsiTask]:
    """Dormant tasks that nothing holds back any more."""
    if any(_attribute(task) == TaskAttribute.HEAD_OF_QUEUE for task in unit.members):
        return []
    found: list[ScsiTask] = []
    for position, task in enumerate(unit.members):
        if _attribute(task) == TaskAttribute.ORDERED:
            return [task] if task.dormant and position == 0 else found
        if task.dormant:
            found.append(task)
    return found
