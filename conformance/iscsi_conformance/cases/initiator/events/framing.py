"""Events 21 to 25: what is wrong with a PDU before anybody asks what it means (RFC 7143 sections 7.7, 7.8 and 11.2)."""

from __future__ import annotations

from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.acts import ping, read, reset_unit, test, write
from iscsi_conformance.events.play import perform
from iscsi_conformance.stimulus import answer
from iscsi_initiator.settings import REQUIRE_DIGEST
from iscsi_protocol.fault import Flip, Part, Set
from iscsi_protocol.pdu import Opcode

_DIGESTS = {"header_digest": REQUIRE_DIGEST, "data_digest": REQUIRE_DIGEST}

_HEADER_DIGEST = tuple(
    EventCase(
        event=22,
        name=f"{name}-{what}",
        variation=f"{what}-bit",
        says=f"A {name.replace('-', ' ')} whose {what} was damaged ends the connection, and the session comes back.",
        spoils=(answer(opcode, Flip(part, -1)),),
        options=_DIGESTS,
        does=act,
        logged=(22, 34),
    )
    for name, opcode, act in (
        ("scsi-response", Opcode.SCSI_RESPONSE, test),
        ("data-in", Opcode.SCSI_DATA_IN, read),
        ("r2t", Opcode.R2T, write),
        ("nop-in", Opcode.NOP_IN, ping),
        ("task-management", Opcode.TASK_MANAGEMENT_RESPONSE, reset_unit),
    )
    for what, part in (("digest", Part.HEADER_DIGEST),)
)

_FIELDS = (
    EventCase(
        event=23,
        name="scsi-response-both-residuals",
        variation="scsi-response",
        says="A SCSI Response with O and U both is invalid: the command fails, and the session comes back.",
        spoils=(answer(Opcode.SCSI_RESPONSE, Set("overflow", True), Set("underflow", True)),),
        does=test,
        logged=(23, 34),
        then=Then.FAILS_REQUEST,
    ),
)

register(__name__, (*_HEADER_DIGEST, *_FIELDS), perform)
