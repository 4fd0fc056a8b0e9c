"""The I_T nexus as the device server sees it (RFC 7143 4.4.2): initiator port and target portal group."""

from __future__ import annotations

from dataclasses import dataclass, field


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
