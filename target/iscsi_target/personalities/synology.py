"""Disk stations, whose targets ping whenever they like."""

from __future__ import annotations

from iscsi_protocol.fault import Insert, Template
from iscsi_protocol.pdu import NopIn, Opcode
from iscsi_target.faults import NEXT_NUMBERS
from iscsi_target.personalities.model import Personality, Quirk, sent

_FOUND = (
    "https://www.directdefense.com/compromising-a-backup-system-by-iscsi-interface-during-a-routine-penetration-test/"
)
_NEWS = Insert(Template(NopIn, NEXT_NUMBERS), before=True)
"""A NOP-In that asks for nothing: ITT and TTT have the reserved value."""

PERSONALITY = Personality(
    name="synology-like",
    says="Disk stations for the home and the office.",
    quirks=(
        Quirk(
            says="NOP-In comes unasked at any time: ahead of Data-In, R2Ts and responses, and in a silent connection.",
            sources=(
                "https://github.com/ipxe/ipxe/commit/711df439df",
                "https://github.com/ipxe/ipxe/commit/4524cc11bf",
                "https://github.com/LTRData/DiscUtils/pull/64",
            ),
            timers={"ping_interval": 5.0},
            own=tuple(
                sent(opcode, _NEWS, times=0) for opcode in (Opcode.SCSI_DATA_IN, Opcode.R2T, Opcode.SCSI_RESPONSE)
            ),
        ),
        Quirk(
            says="INQUIRY tells SYNOLOGY and iSCSI Storage.",
            sources=(_FOUND,),
            lun={"vendor": "SYNOLOGY", "product": "iSCSI Storage", "revision": "4.0"},
        ),
        Quirk(
            says="One connection makes a session, as with most open targets, and recovery is that of the session.",
            sources=("https://github.com/spdk/spdk/blob/master/test/iscsi_tgt/calsoft/calsoft.py",),
            keys={"MaxConnections": "1", "ErrorRecoveryLevel": "0"},
        ),
    ),
)
