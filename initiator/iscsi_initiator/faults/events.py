"""What initiators do wrong with each event of the driver: keep it to themselves, log it twice, log it with other data, or do
not react to it (guide, Appendix B).
"""

from __future__ import annotations

from iscsi_initiator.faults import behaves, takes_for
from iscsi_protocol.eventlog import EVENTS
from iscsi_protocol.fault import FieldIs, HasKey, Plus, Relation, Set, SetKey
from iscsi_protocol.pdu import NO_TAG, Opcode

_OF_SERVICE = frozenset({64})
"""Events that the service has logged; its faults are with the service."""

_KINDS = (
    ("silent", "Event {} is not logged.", "never_logs"),
    ("twice", "Event {} is logged twice.", "logs_twice"),
    ("wrong-dump", "Event {} is logged with other data.", "logs_wrong_dump"),
    ("does-not-react", "Event {} is logged, and nothing comes of it.", "goes_on_after"),
)

_TOLD_ALONE = frozenset({7, 27, 34})
"""Events that nothing comes of: what follows comes of the end of the connection, or is that the PDU is not used."""

_OF_EACH = tuple(
    behaves(f"event.{event}.{kind}", says.format(event), **{switch: frozenset({event})})
    for event in sorted(EVENTS.keys() - _OF_SERVICE)
    for kind, says, switch in _KINDS
    if event not in _TOLD_ALONE or switch != "goes_on_after"
)

_RESPONSE = Opcode.SCSI_RESPONSE

_TOO_STRICT = (
    takes_for(
        "event.23.judges-reserved-fields",
        "What stands in the reserved bytes of a SCSI Response counts as a residual.",
        _RESPONSE,
        Set("underflow", True),
        Set("overflow", True),
    ),
    takes_for(
        "event.23.judges-reserved-nop-in",
        "What stands in the reserved bytes of a NOP-In counts as a second tag.",
        Opcode.NOP_IN,
        Set("ttt", 7),
    ),
    takes_for(
        "event.23.judges-vendor-responses",
        "A vendor's response code counts as a reserved one.",
        _RESPONSE,
        Set("response", 0x7F),
        tests=(FieldIs("response", 0x7F, Relation.ABOVE),),
    ),
    takes_for(
        "event.27.takes-stranger-for-reserved-tag",
        "A NOP-In with an unknown task tag counts as one without a tag, and other PDUs as such NOP-Ins.",
        Opcode.NOP_IN,
        Set("itt", NO_TAG),
    ),
    takes_for(
        "event.60.takes-target-failure-for-completed",
        "A response code other than 0 is not looked at.",
        _RESPONSE,
        Set("response", 0),
    ),
    takes_for(
        "event.60.forgets-protocol-level",
        "That iSCSIProtocolLevel 2 was agreed on does not count.",
        Opcode.LOGIN_RESPONSE,
        SetKey("iSCSIProtocolLevel", "1"),
        tests=(HasKey("iSCSIProtocolLevel"),),
    ),
    takes_for(
        "event.26.takes-gap-for-excess",
        "Data behind a gap counts as data that came before.",
        Opcode.SCSI_DATA_IN,
        Set("data_sn", 0),
        tests=(FieldIs("data_sn", 1, Relation.ABOVE),),
    ),
    takes_for(
        "event.28.takes-late-r2t-for-wrong",
        "An R2T behind a gap counts as one for bytes that are not there.",
        Opcode.R2T,
        Set("buffer_offset", 1 << 24),
        tests=(FieldIs("r2t_sn", 0, Relation.ABOVE),),
    ),
    takes_for(
        "event.42.takes-gap-for-step-back",
        "The StatSN of the second command's response, beyond the expected one, counts as an old one.",
        Opcode.SCSI_RESPONSE,
        Set("stat_sn", Plus(-1000)),
        tests=(FieldIs("itt", 3),),
    ),
    takes_for(
        "event.42.does-not-wrap",
        "StatSN 0 behind 2^32 - 1 counts as another number.",
        Opcode.NOP_IN,
        Set("stat_sn", Plus(1)),
    ),
    takes_for(
        "event.32.takes-drop-for-logout",
        "An announced drop counts as a request to log out.",
        Opcode.ASYNC_MESSAGE,
        Set("async_event", 1),
    ),
)
"""Near misses that are taken for the real thing."""

FAULTS = (*_OF_EACH, *_TOO_STRICT)
