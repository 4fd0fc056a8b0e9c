"""Events 27 and 29: answers that nothing waits for, and Rejects (RFC 7143 sections 11.2.1.8 and 11.17)."""

from __future__ import annotations

from functools import partial

from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.acts import negotiate, ping, rejected, send_targets, test
from iscsi_conformance.events.dumps import last_header
from iscsi_conformance.events.play import Play, perform
from iscsi_conformance.stimulus import answer
from iscsi_protocol.fault import Hold, Insert, Of, Set, Template
from iscsi_protocol.pdu import (
    DataIn,
    LogoutResponse,
    NopIn,
    Opcode,
    Pdu,
    RejectReason,
    ScsiResponse,
    TaskManagementResponse,
    TextResponse,
)
from iscsi_protocol.stream import Direction

_RESPONSE = Opcode.SCSI_RESPONSE
_LOGS = ("event.27.silent", "event.27.twice", "event.27.wrong-dump", "event.27.takes-stranger-for-reserved-tag")
_NUMBERS = {"stat_sn": Of("stat_sn"), "exp_cmd_sn": Of("exp_cmd_sn"), "max_cmd_sn": Of("max_cmd_sn")}


def _stranger(kind: type[Pdu], tag: object, **values: object) -> Template:
    return Template(kind, {**_NUMBERS, "itt": tag, **values})  # type: ignore[dict-item]


def _extra_header(kind: type[Pdu], play: Play) -> bytes:
    """The header of the PDU of this class that was put into the dialogue: it has a tag that no request has."""
    sent = {raw.initiator_task_tag for raw in play.scene.raw(Direction.TO_TARGET)}
    found = [
        raw
        for raw in play.received_raw()
        if raw.opcode == kind.OPCODE and (raw.initiator_task_tag not in sent or play.row.variation == "finished")
    ]
    return bytes(found[-1].bhs)


_KINDS: tuple[tuple[str, type[Pdu], dict[str, object]], ...] = (
    ("scsi-response", ScsiResponse, {}),
    ("data-in-with-status", DataIn, {"status_present": True, "final": True}),
    ("nop-in", NopIn, {}),
    ("text-response", TextResponse, {}),
    ("task-management-response", TaskManagementResponse, {}),
    ("logout-response", LogoutResponse, {}),
)

_UNUSED = tuple(
    EventCase(
        event=27,
        name=f"never-used-{name}",
        variation="never-used",
        says=f"A {name.replace('-', ' ')} with a task tag that was never used is dropped, and the connection works on.",
        spoils=(answer(Opcode.NOP_IN, Insert(_stranger(kind, Of("unused_itt"), **values)), renumber=True),),
        does=ping,
        logged=(27,),
        dumps={27: partial(_extra_header, kind)},
        then=Then.DONE,
        proofs=_LOGS,
        touches=("R7143-11.2.1.8-01",),
    )
    for name, kind, values in _KINDS
)

_FINISHED = tuple(
    EventCase(
        event=27,
        name=f"finished-{name}",
        variation="finished",
        says=f"A second {name.replace('-', ' ')} for a task that is over is dropped, and the connection works on.",
        spoils=(answer(_RESPONSE, Insert(_stranger(kind, Of("trigger.itt"), **values)), renumber=True),),
        does=test,
        logged=(27,),
        dumps={27: partial(_extra_header, kind)},
        then=Then.DONE,
        proofs=_LOGS[:3],
    )
    for name, kind, values in _KINDS[:3]
)

_LATE = (
    EventCase(
        event=27,
        name="after-time-out",
        says="An answer that comes when its request has timed out has no task any more, and the connection works on.",
        spoils=(answer(Opcode.TEXT_RESPONSE, Hold(seconds=1)),),
        does=send_targets,
        logged=(46, 27),
        dumps={27: last_header},
        then=Then.FAILS_REQUEST,
        proofs=_LOGS[:3],
        virtual=True,
    ),
)

_REJECTS = (
    *(
        EventCase(
            event=29,
            name=f"reason-{reason:02x}",
            variation="every-reason",
            says=f"A Reject with reason {reason:#04x} ends the request that it is about, and the connection works on.",
            spoils=(*rejected(), answer(Opcode.REJECT, Set("reason", reason))),
            does=negotiate,
            logged=(29,),
            then=Then.FAILS_REQUEST,
        )
        for reason in sorted(RejectReason)
    ),
)

register(__name__, (*_UNUSED, *_FINISHED, *_LATE, *_REJECTS), perform)
