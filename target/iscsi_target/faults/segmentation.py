"""What targets do wrong with the stream of a connection as a whole (RFC 7143 sections 4.2.1, 4.2.2)."""

from __future__ import annotations

from iscsi_protocol.fault import Close, Drop, Fault, FieldIs, NamedFault, Plus, Relation, Set, Side, When
from iscsi_protocol.pdu import Opcode
from iscsi_protocol.stream import Direction

_TEST_UNIT_READY = bytes(16)

FAULTS = (
    NamedFault(
        id="tcp.gives-up",
        side=Side.TARGET,
        says="The target ends the connection instead of answering a write.",
        faults=(
            Fault(
                when=When(direction=Direction.TO_INITIATOR, opcode=Opcode.SCSI_RESPONSE),
                what=(Drop(), Close()),
            ),
        ),
    ),
    NamedFault(
        id="tcp.first-only",
        side=Side.TARGET,
        says="Of several commands that arrive together only the first is taken.",
        faults=(
            Fault(
                when=When(
                    direction=Direction.TO_TARGET,
                    opcode=Opcode.SCSI_COMMAND,
                    tests=(FieldIs("cdb", _TEST_UNIT_READY),),
                    nth=2,
                    times=0,
                ),
                what=(Drop(),),
            ),
        ),
    ),
    NamedFault(
        id="tcp.status-number-again",
        side=Side.TARGET,
        says="Two statuses in a row have one StatSN.",
        faults=(
            Fault(
                when=When(
                    direction=Direction.TO_INITIATOR,
                    opcode=Opcode.SCSI_DATA_IN,
                    tests=(FieldIs("status_present", True), FieldIs("data_length", 64, Relation.ABOVE)),
                    nth=3,
                ),
                what=(Set("stat_sn", Plus(-1)),),
            ),
        ),
    ),
)
