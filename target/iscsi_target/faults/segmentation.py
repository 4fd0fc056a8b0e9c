"""What targets do wrong with the stream of a connection as a whole (RFC 7143 sections 4.2.1, 4.2.2)."""

from __future__ import annotations

from iscsi_protocol.fault import Close, Drop, FieldIs, Plus, Relation, Set
from iscsi_protocol.pdu import Opcode
from iscsi_target.faults import sends, takes_for

_TEST_UNIT_READY = bytes(16)

FAULTS = (
    sends(
        "tcp.gives-up",
        "The target ends the connection instead of answering a write.",
        Opcode.SCSI_RESPONSE,
        Drop(),
        Close(),
        times=1,
    ),
    takes_for(
        "tcp.first-only",
        "Of several commands that arrive together only the first is taken.",
        Opcode.SCSI_COMMAND,
        Drop(),
        tests=(FieldIs("cdb", _TEST_UNIT_READY),),
        nth=2,
    ),
    sends(
        "tcp.status-number-again",
        "Two statuses in a row have one StatSN.",
        Opcode.SCSI_DATA_IN,
        Set("stat_sn", Plus(-1)),
        tests=(FieldIs("status_present", True), FieldIs("data_length", 64, Relation.ABOVE)),
        nth=3,
        times=1,
    ),
)
