"""What is to be done: settings of a session, steps, and damage, all plain data so that they can be drawn and repeated."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from iscsi_protocol.pdu import TaskAttribute, TaskFunction


class Damage(Enum):
    """What befalls a PDU on its way."""

    DATA_SENT = "the data digest of a PDU that we send is wrong"
    HEADER_SENT = "the header digest of a PDU that we send is wrong"
    DATA_CAME = "the data of a Data-In that came is given up as damaged"
    PDU_CAME = "a PDU that came is given up as damaged, by an initiator that trusts its length (level 1 and above)"
    HEADER_CAME = "the header of a PDU that came is given up as damaged, and with it the connection"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A session. keys: beside ErrorRecoveryLevel, MaxConnections, digests and times. patience: seconds without progress
    after which the target is asked whether it lives; retain: DefaultTime2Retain.
    """

    level: int
    connections: int
    digests: bool
    keys: tuple[tuple[str, str], ...] = ()
    patience: float = 5.0
    retain: int = 20


@dataclass(frozen=True, slots=True)
class Read:
    """Read blocks over a connection (counted modulo those there are), with a task attribute."""

    connection: int
    lba: int
    blocks: int
    attribute: TaskAttribute = TaskAttribute.UNTAGGED


@dataclass(frozen=True, slots=True)
class Write:
    """Write blocks, likewise."""

    connection: int
    lba: int
    blocks: int
    attribute: TaskAttribute = TaskAttribute.UNTAGGED


@dataclass(frozen=True, slots=True)
class Gather:
    """Wait until everything is answered."""


@dataclass(frozen=True, slots=True)
class Abort:
    """ABORT TASK for one of those that are not answered yet."""

    which: int


@dataclass(frozen=True, slots=True)
class Function:
    """A task management function for all of the logical unit, or the target."""

    connection: int
    function: TaskFunction


@dataclass(frozen=True, slots=True)
class Lose:
    """A connection breaks. logout: whether it is then logged out for recovery over another one, where there is one and the
    level is 2; else its place is taken by a new one with its CID.
    """

    connection: int
    logout: bool


@dataclass(frozen=True, slots=True)
class Harm:
    """The count-th PDU from now on that it fits meets with damage."""

    damage: Damage
    count: int


Step: TypeAlias = Read | Write | Gather | Abort | Function | Lose | Harm
