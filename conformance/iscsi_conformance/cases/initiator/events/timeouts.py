"""Events 43, 44, 46 to 48, 50 and 51: what is logged where an answer does not come in time (guide, Appendices B and F)."""

from __future__ import annotations

from functools import partial

from iscsi_conformance.bundled import CHAP, bundled_config
from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.acts import log_out, managed, negotiate, ping, send_targets
from iscsi_conformance.events.dumps import last_header
from iscsi_conformance.events.play import Play, perform
from iscsi_conformance.stimulus import answer, chap_options, request
from iscsi_protocol.fault import Drop, Hold, Set, Silence
from iscsi_protocol.pdu import NO_TAG, LogoutRequest, Opcode
from iscsi_protocol.scsi.opcodes import INQUIRY, READ_CAPACITY_10, REPORT_LUNS

_LOGIN, _TEXT = Opcode.LOGIN_RESPONSE, Opcode.TEXT_RESPONSE

_LOGIN_ROWS = (
    EventCase(
        event=43,
        name="first-request",
        says="A target that never answers a login is given up.",
        spoils=(answer(_LOGIN, Drop(), times=0),),
        logged=(43,),
        then=Then.GIVES_UP,
        virtual=True,
    ),
    EventCase(
        event=43,
        name="security-stage",
        says="A target that falls silent while it authenticates is given up.",
        spoils=(answer(_LOGIN, Drop(), nth=2, times=0, stage=0),),
        config=bundled_config(),
        options={"target_name": CHAP, "chap": chap_options()},
        logged=(43,),
        then=Then.GIVES_UP,
        virtual=True,
    ),
    EventCase(
        event=43,
        name="operational-stage",
        says="A target that falls silent while it negotiates is given up.",
        spoils=(answer(_LOGIN, Drop(), times=0, stage=1),),
        logged=(43,),
        then=Then.GIVES_UP,
        virtual=True,
    ),
)

_LOGOUT_ROWS = (
    EventCase(
        event=44,
        name="silence",
        says="A logout that is not answered ends the session all the same.",
        spoils=(request(Opcode.LOGOUT_REQUEST, Drop()),),
        does=log_out,
        logged=(44,),
        then=Then.OVER,
        virtual=True,
    ),
)


async def _asked_to_log_out(play: Play) -> None:
    play.stage.operator.request_logout(3)
    await play.scene.until(lambda: play.sent(LogoutRequest))


_ASKED_ROWS = (
    EventCase(
        event=51,
        name="silence",
        says="A logout that the target asked for and does not answer ends the connection, and the session comes back.",
        spoils=(request(Opcode.LOGOUT_REQUEST, Drop()),),
        does=_asked_to_log_out,
        logged=(32, 51, 34),
        virtual=True,
    ),
)

_TEXT_ROWS = (
    EventCase(
        event=46,
        name="silence",
        says="SendTargets without an answer fails, and the session works on.",
        spoils=(answer(_TEXT, Drop(), renumber=True),),
        does=send_targets,
        logged=(46,),
        then=Then.FAILS_REQUEST,
        virtual=True,
    ),
    EventCase(
        event=46,
        name="without-end",
        says="SendTargets whose answer goes on and on fails in its time, and what comes later has no task.",
        spoils=(
            answer(_TEXT, Set("final", False), Set("continued", True), Set("ttt", 7), Hold(seconds=0.15), times=8),
            request(Opcode.TEXT_REQUEST, Set("ttt", NO_TAG), times=8),
        ),
        does=send_targets,
        logged=(46, 27),
        dumps={27: last_header},
        then=Then.FAILS_REQUEST,
        virtual=True,
    ),
    EventCase(
        event=50,
        name="silence",
        says="A renegotiation without an answer fails, and the session works on.",
        spoils=(answer(_TEXT, Drop(), renumber=True),),
        does=negotiate,
        logged=(50,),
        then=Then.FAILS_REQUEST,
        virtual=True,
    ),
)

_MANAGEMENT_ROWS = tuple(
    EventCase(
        event=47,
        name=name,
        says=f"{name.replace('-', ' ').upper()} of the management interface fails where it is not answered.",
        spoils=(answer(Opcode.SCSI_DATA_IN, Drop(), renumber=True),),
        does=partial(managed, cdb=cdb, length=length),
        logged=(47,),
        then=Then.FAILS_REQUEST,
        virtual=True,
    )
    for name, cdb, length in (
        ("inquiry", INQUIRY.build(allocation_length=36), 36),
        ("read-capacity", READ_CAPACITY_10.build(), 8),
        ("report-luns", REPORT_LUNS.build(allocation_length=16), 16),
    )
)

_PING_ROWS = (
    EventCase(
        event=48,
        name="silence",
        says="A ping without an answer ends the connection, and the session comes back.",
        spoils=(answer(Opcode.NOP_IN, Silence()),),
        does=ping,
        logged=(48, 34),
        virtual=True,
    ),
    EventCase(
        event=48,
        name="idle-line",
        variation="silence",
        says="With EnableNOPOut an idle connection is pinged, and one that does not answer is left.",
        spoils=(answer(Opcode.NOP_IN, Silence()),),
        settings={"enable_nop_out": True, "nop_out_interval": 2},
        logged=(48, 34),
        virtual=True,
    ),
)

register(__name__, (*_LOGIN_ROWS, *_LOGOUT_ROWS, *_ASKED_ROWS, *_TEXT_ROWS, *_MANAGEMENT_ROWS, *_PING_ROWS), perform)
