"""What targets do wrong with reservations of initiator ports (RFC 7143 sections 4.4.2, 4.4.3, 11.4, 11.7 and E.2).

In the cases a port's connection has the port's number as its CID, and 5 when the port comes back.
"""

from __future__ import annotations

from iscsi_protocol.fault import (
    Drop,
    FieldIs,
    Flip,
    Insert,
    NamedFault,
    Of,
    Part,
    Relation,
    Replace,
    Set,
    Template,
)
from iscsi_protocol.pdu import DataIn, Opcode, ScsiResponse
from iscsi_protocol.scsi.status import Status
from iscsi_target.faults import SAME_NUMBERS, behaves, sends

_CONFLICT = Status.RESERVATION_CONFLICT
_RESPONSE = Opcode.SCSI_RESPONSE
_DATA = Opcode.SCSI_DATA_IN
_IS_CONFLICT = (FieldIs("status", _CONFLICT),)
_IS_GOOD = (FieldIs("status", 0),)
_IS_CHECK = (FieldIs("status", Status.CHECK_CONDITION),)
_LISTS = (FieldIs("data_length", 64, Relation.ABOVE),)
"""Data of READ FULL STATUS."""

_HEADER, _DESCRIPTOR, _TRANSPORT_ID_HEADER = 8, 24, 4
_NAME_AT = _HEADER + _DESCRIPTOR + _TRANSPORT_ID_HEADER
_MIRRORED = tuple(one ^ other for one, other in zip(range(1, 9), range(8, 0, -1), strict=True))
"""What turns the key 0102030405060708 round."""


def _passes(fault_id: str, says: str, cid: int, nth: int = 1) -> NamedFault:
    """A fault of a target that carries out, on this connection, what it has to refuse."""
    return sends(fault_id, says, _RESPONSE, Set("status", 0), tests=_IS_CONFLICT, cid=cid, nth=nth)


FAULTS = (
    sends(
        "reservations.port-of-another-isid",
        "A registered port is listed with another ISID.",
        _DATA,
        Flip(Part.DATA, _NAME_AT + 4),
        tests=_LISTS,
    ),
    sends(
        "reservations.port-without-isid",
        "A registered port is listed as though its TransportID were an initiator's name.",
        _DATA,
        Flip(Part.DATA, _HEADER + _DESCRIPTOR, 0x40),
        tests=_LISTS,
    ),
    sends(
        "reservations.ports-listed-as-one",
        "READ FULL STATUS has one port where several registered the same key.",
        _DATA,
        Replace(Part.DATA, b""),
        tests=_LISTS,
    ),
    _passes("reservations.key-of-all-ports", "A key lets in every port of the initiator that registered it.", 1),
    sends(
        "reservations.one-port-is-told",
        "Of a preemption only one of the ports that lost their key is told.",
        _RESPONSE,
        Set("status", 0),
        Replace(Part.DATA, b""),
        tests=_IS_CHECK,
        cid=2,
    ),
    sends(
        "reservations.told-without-sense",
        "CHECK CONDITION behind a preemption comes without sense data.",
        _RESPONSE,
        Replace(Part.DATA, b""),
        tests=_IS_CHECK,
        cid=1,
    ),
    _passes("reservations.released-by-another-port", "Any port releases what another one reserved.", 1),
    sends(
        "reservations.nexus-of-a-connection",
        "A reservation keeps out the other connections of its own session.",
        _RESPONSE,
        Set("status", _CONFLICT),
        tests=_IS_GOOD,
        cid=1,
    ),
    sends(
        "reservations.named-port-unknown",
        "A port that was registered by its TransportID is not known when it logs in.",
        _RESPONSE,
        Set("status", _CONFLICT),
        tests=_IS_GOOD,
        cid=1,
    ),
    sends(
        "reservations.moved-nowhere",
        "A port that a reservation was moved to by its TransportID is not known as its holder.",
        _RESPONSE,
        Set("status", _CONFLICT),
        tests=_IS_GOOD,
        cid=1,
        nth=2,
    ),
    sends(
        "reservations.key-reversed",
        "The bytes of a key come back in reverse order.",
        _DATA,
        *(Flip(Part.DATA, _HEADER + at, mask) for at, mask in enumerate(_MIRRORED)),
        tests=(FieldIs("data_length", 8, Relation.ABOVE),),
        cid=5,
    ),
    sends(
        "reservations.holds-by-old-key",
        "A reservation keeps the key by which it was made.",
        _DATA,
        Flip(Part.DATA, _HEADER + 7, 0x01),
        tests=(FieldIs("data_length", 8, Relation.ABOVE),),
        cid=5,
    ),
    _passes("reservations.all-registrants-lost", "A reservation ends with the session that made it.", 2),
    sends(
        "reservations.arbitration-finds-nothing",
        "A reservation whose holder has no session is not told.",
        _DATA,
        Replace(Part.DATA, bytes(8)),
        tests=(FieldIs("data_length", 24),),
        cid=1,
        nth=2,
    ),
    _passes("reservations.reset-ends-persistent", "LOGICAL UNIT RESET ends a persistent reservation.", 1),
    sends(
        "reservations.reserve-outlives-reset",
        "A reservation of SPC-2 stays behind LOGICAL UNIT RESET.",
        _RESPONSE,
        Set("status", _CONFLICT),
        tests=_IS_GOOD,
        cid=1,
        nth=2,
    ),
    sends(
        "reservations.conflict-as-target-failure",
        "RESERVATION CONFLICT comes with the response code of a target failure.",
        _RESPONSE,
        Set("response", 1),
        tests=_IS_CONFLICT,
    ),
    sends(
        "reservations.conflict-in-data-in",
        "RESERVATION CONFLICT rides in a Data-In.",
        _RESPONSE,
        Drop(),
        Insert(
            Template(
                DataIn,
                {"final": True, "status_present": True, "status": _CONFLICT, "itt": Of("trigger.itt"), **SAME_NUMBERS},
            )
        ),
        tests=_IS_CONFLICT,
    ),
    sends(
        "reservations.conflict-counts-data",
        "RESERVATION CONFLICT counts a Data-In that was not sent.",
        _RESPONSE,
        Set("exp_data_sn", 1),
        tests=_IS_CONFLICT,
    ),
    sends(
        "reservations.conflict-before-data",
        "RESERVATION CONFLICT does not wait for unsolicited data.",
        Opcode.NOP_IN,
        Insert(
            Template(
                ScsiResponse,
                {"status": _CONFLICT, "itt": Of("trigger.itt", -1), **SAME_NUMBERS},
            ),
            before=True,
        ),
        cid=1,
        times=1,
        renumber=True,
    ),
    behaves("reservations.out-of-order", "RESERVE overtakes the REGISTER before it.", deliver_out_of_order=True),
)
