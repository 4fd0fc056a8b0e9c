"""What targets do wrong with reservations when an I_T nexus is lost (RFC 7143 sections 4.2.2.3.4, 4.4.3.2, 6.3.5.1 and E.2).

In the cases the onlooker's connection has CID 1, and the holder comes back with CID 2.
"""

from __future__ import annotations

from iscsi_protocol.fault import FieldIs, Of, Set
from iscsi_protocol.pdu import Opcode
from iscsi_protocol.scsi.status import Status
from iscsi_target.faults import sends, takes_for

_CONFLICT = Status.RESERVATION_CONFLICT

FAULTS = (
    sends(
        "nexus.loss-untold",
        "A reservation stays when its session is over.",
        Opcode.SCSI_RESPONSE,
        Set("status", _CONFLICT),
        tests=(FieldIs("status", 0),),
        cid=1,
        nth=2,
    ),
    sends(
        "nexus.reservation-lost",
        "A persistent reservation ends with its session.",
        Opcode.SCSI_RESPONSE,
        Set("status", 0),
        tests=(FieldIs("status", _CONFLICT),),
        cid=1,
    ),
    sends(
        "nexus.holder-unknown",
        "The holder of a persistent reservation is not known again in a new session.",
        Opcode.SCSI_RESPONSE,
        Set("status", _CONFLICT),
        tests=(FieldIs("status", 0),),
        cid=2,
        nth=2,
        times=1,
    ),
    takes_for(
        "nexus.preemption-at-once",
        "PREEMPT AND ABORT is answered though earlier responses are not acknowledged.",
        Opcode.NOP_OUT,
        Set("exp_stat_sn", Of("stat_sn")),
        cid=1,
    ),
)
