"""What a row of the dispatch table says about a command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from iscsi_protocol.scsi.command import Command
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.reservations.conflict import Access
from iscsi_target.device.unit import ItlNexus, LogicalUnit

Handler: TypeAlias = Callable[[ItlNexus, Buffer, Buffer], Completion | Work]
"""handler(path, cdb, data_out). The CDB is whole. May raise CheckCondition and OSError. `data_out` may be shorter than
the CDB wants, and is gone when the handler returns: work for later has its own copy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A command that the device server knows.

    access: what it is to the reservation of another nexus. only: which units know it; None: all do.
    medium: it needs a medium that is loaded and started. writes: it changes the medium, so write protection refuses it.
    passes_attention: it is carried out although a unit attention is pending (SAM-5 5.14). thin: only thin provisioned
    units know it. while_sanitizing: it is carried out during a sanitize operation, sanitizes: also after one that failed.
    exact: it is refused when the initiator announced another amount of data than its CDB means.
    """

    command: Command
    access: Access
    handler: Handler
    medium: bool = True
    writes: bool = False
    passes_attention: bool = False
    thin: bool = False
    while_sanitizing: bool = False
    sanitizes: bool = False
    exact: bool = False
    only: Callable[[LogicalUnit], bool] | None = None
    optional: bool = field(init=False)

    def __post_init__(self) -> None:
        """Note whether there are units without the command, since every execution asks."""
        object.__setattr__(self, "optional", self.thin or self.only is not None)

    def known_to(self, unit: LogicalUnit) -> bool:
        """Whether this unit has the command."""
        return (unit.backend.thin or not self.thin) and (self.only is None or self.only(unit))
