"""What a row of the dispatch table says about a command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from iscsi_protocol.scsi.command import Command
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.unit import ItlNexus

Handler: TypeAlias = Callable[[ItlNexus, Buffer, Buffer], Completion | Work]
"""handler(path, cdb, data_out). The CDB is whole. May raise CheckCondition and OSError. `data_out` may be shorter than
the CDB wants, and is gone when the handler returns: work for later has its own copy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A command that the device server knows.

    medium: it needs a medium that is loaded and started. writes: it changes the medium, so write protection refuses it.
    passes_attention: it is carried out although a unit attention is pending (SAM-5 5.14). thin: only thin provisioned
    units know it.
    """

    command: Command
    handler: Handler
    medium: bool = True
    writes: bool = False
    passes_attention: bool = False
    thin: bool = False
