"""What the service's events mean, and what usually leads to them (guide, Appendix B)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from iscsi_captures.explain.meaning import Meaning

_ADAPTER = ("a defect of an adapter's driver or plug-in",)

SERVICE_MEANINGS: Mapping[int, Meaning] = MappingProxyType(
    {
        102: Meaning(
            "The service could not find out about the volumes that it waits for when the system starts.",
            ("the list of bound volumes is damaged", "the disk devices cannot be listed"),
        ),
        103: Meaning(
            "The service gave up waiting for a volume that was bound to it. Services and programs that keep their data "
            "there may not start, or start with errors.",
            ("a target was off or out of reach when the system started", "the network came up too late"),
        ),
        104: Meaning(
            "A dynamic disk on an iSCSI target could not be brought online.",
            ("the disk is not ready", "parts of the dynamic disk are missing"),
        ),
        105: Meaning(
            "The service could not get at the system's IPsec service.",
            ("the IPsec service does not run or refuses",),
        ),
        106: Meaning(
            "The service could not start. The checkpoint says how far it got.",
            ("its stored settings are damaged, locked or not writable",),
        ),
        107: Meaning(
            "The secret of this initiator could not be set up, so CHAP that needs it fails.",
            ("the stored secret cannot be decrypted",),
        ),
        108: Meaning(
            "A device that looked like an iSCSI initiator does not answer like one. It can be ignored if the device is no "
            "iSCSI adapter.",
            ("an adapter whose driver lacks the interface",),
        ),
        109: Meaning("A driver asked the service for something in a malformed way.", _ADAPTER),
        110: Meaning("A driver refused or failed a request of the service.", _ADAPTER),
        111: Meaning(
            "Targets that somebody had entered by hand could not be taken over into the list of targets.",
            ("the stored record of a target is damaged",),
        ),
        112: Meaning(
            "The iSNS server could not be asked for targets, or its answer was no use.",
            ("the server is off, out of reach or wrongly entered", "the server answered with an error or malformed"),
        ),
        113: Meaning(
            "A portal could not be asked for its targets.",
            ("the portal is off or out of reach", "the login for discovery was refused, for instance for want of CHAP"),
        ),
        114: Meaning(
            "A portal told its targets in a text that breaks the rules.",
            ("a target name at the portal is invalid or too long", "a defect of the target's discovery"),
        ),
        115: Meaning("A host bus adapter could not find targets.", _ADAPTER),
        116: Meaning(
            "A session was to be logged out, but somebody still uses a device of it.",
            ("a program or a service has a file or the disk open",),
        ),
        117: Meaning(
            "A connection has to be protected by IPsec, and that could not be set up, so there is no connection.",
            ("key or policy do not match the target's", "the IPsec service refuses"),
        ),
        118: Meaning("A trial version of the service has ended and works no more.", ("the evaluation period is over",)),
        119: Meaning(
            "The iSNS client could not list the addresses of this host, so it cannot register.",
            ("the network was not ready", "no adapter has an address"),
        ),
        120: Meaning(
            "The firewall has no entry that lets the service in. It may not stay registered with an iSNS server, or not "
            "hear of changes there.",
            ("the entry was removed or switched off",),
        ),
        121: Meaning(
            "The service could not find out whether the firewall lets it in.",
            ("the firewall does not run or refuses",),
        ),
    }
)
"""Every event of the service by its id."""
