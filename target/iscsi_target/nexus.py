"""The I_T nexus as the device server sees it (RFC 7143 4.4.2): initiator port and target portal group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True, slots=True)
class Nexus:
    """One session of one initiator port. The initiator port is name and ISID together; `isid` is 6 bytes.

    `tsih` tells a session from its reinstatement: same initiator port, new nexus. protocol_level: the
    iSCSIProtocolLevel that was agreed on.
    """

    initiator_name: str
    isid: bytes
    tsih: int
    target_portal_group_tag: int
    protocol_level: int = field(default=1, compare=False)


AbortTasks: TypeAlias = Callable[[Nexus, bytes | None, Nexus], None]
"""abort(nexus, lun, by): ends the tasks of a nexus at a LUN, or at all with None, because of a command of `by`."""
