"""Events 8, 20, 22, 32, 34, 48, 49 and 51 in sessions of several connections, of which one is lost or asked to leave
(RFC 7143 7.1.4, 7.2, 7.8, 11.9, 11.14).
"""

from __future__ import annotations

from iscsi_conformance.events import EventCase, register
from iscsi_conformance.events.host_acts import logged
from iscsi_conformance.events.many import (
    LEVELS,
    PLACES,
    again,
    back_soon,
    both,
    came_back,
    everywhere,
    in_turn,
    of_several,
    recovered,
)
from iscsi_conformance.events.play import Act, Play, perform
from iscsi_conformance.stimulus import answer, damaged, request
from iscsi_initiator.settings import REQUIRE_DIGEST
from iscsi_protocol.fault import Action, Close, Drop, Part, Reset, Set, Silence, Truncate
from iscsi_protocol.pdu import LogoutReason, LogoutRequest, Opcode

_RESPONSE = Opcode.SCSI_RESPONSE
_LOGOUT, _FUNCTION = Opcode.LOGOUT_RESPONSE, Opcode.TASK_MANAGEMENT_RESPONSE
_DIGESTS = {"header_digest": REQUIRE_DIGEST, "data_digest": REQUIRE_DIGEST}


# 20: one is lost

_ENDS: tuple[tuple[str, str, tuple[Action, ...]], ...] = (
    ("rst", "rst", (Drop(), Reset())),
    ("fin", "fin", (Drop(), Close())),
    ("half-a-header", "fin-within-a-pdu", (Truncate(20), Close())),
)

_LOST = tuple(
    of_several(
        20,
        f"{name}-on-{cid}-of-{count}",
        answer(_RESPONSE, *what, cid=cid),
        count=count,
        level=level,
        variation=variation,
        says=f"Connection {cid} of {count} ends ({name.replace('-', ' ')}): at level {level} the session gets over it.",
        does=everywhere(count),
        logged=(20, 34),
        watch=recovered(level, count, cid),
        touches=("R7143-7.1.4.4-02",),
    )
    for level in LEVELS
    for name, variation, what in _ENDS
    for count, cid in (PLACES if name == "rst" else PLACES[1:2])
)


async def _session_dropped(play: Play) -> None:
    play.stage.operator.announce_session_drop()


_ALL_LOST = tuple(
    case
    for level in LEVELS
    for count in (2, 3)
    for case in (
        of_several(
            20,
            f"all-{count}-announced",
            count=count,
            level=level,
            variation="fin",
            says=f"The target drops all {count} connections, and keeps nothing: the session is made anew.",
            does=_session_dropped,
            logged=(*(20,) * (count if level == 2 else 1), 34),
            watch=came_back(count, logouts=()),
            virtual=True,
        ),
        of_several(
            20,
            f"all-{count}",
            answer(_RESPONSE, Drop(), Reset()),
            count=count,
            level=level,
            variation="rst",
            says=f"All {count} connections end: at level {level} the session comes back with all of them.",
            does=everywhere(count),
            logged=(20,) * count + (34,) * count if level == 2 else (20, 34),
            watch=came_back(count),
            virtual=True,
        ),
    )
)


def _refused_recovery(name: str, what: tuple[Action, ...], opcode: int, made: int, says: str) -> EventCase:
    """made: connections, until the session is there again."""
    return of_several(
        20,
        name,
        answer(_RESPONSE, Drop(), Reset(), cid=1),
        answer(opcode, *what, cid=0),
        count=2,
        level=2,
        variation="rst",
        says=says,
        does=everywhere(2),
        logged=(20, 34),
        watch=came_back(made, logouts=((int(LogoutReason.RECOVERY), 1),)),
    )


_REFUSED = (
    *(
        _refused_recovery(
            f"logout-answered-{code}",
            (Set("response", code),),
            _LOGOUT,
            2,
            f"A logout for recovery that is answered with {code} leaves the session to be made anew.",
        )
        for code in (1, 2, 3)
    ),
    *(
        _refused_recovery(
            f"reassignment-answered-{code}",
            (Set("response", code),),
            _FUNCTION,
            3,
            f"TASK REASSIGN that is answered with {code} leaves the session to be made anew.",
        )
        for code in (3, 4, 255)
    ),
)

_UNANSWERED_REASSIGNMENT = (
    of_several(
        49,
        "reassignment",
        answer(_RESPONSE, Drop(), Reset(), cid=1),
        request(Opcode.TASK_MANAGEMENT_REQUEST, Drop(), cid=0),
        count=2,
        level=2,
        variation="silence",
        says="TASK REASSIGN that is not answered leaves the session to be made anew.",
        does=everywhere(2),
        logged=(20, 34, 49, 34),
        watch=came_back(3),
        virtual=True,
    ),
)


# 8: its logout for recovery is not answered

_UNANSWERED_RECOVERY = tuple(
    of_several(
        8,
        f"logout-of-{cid}-of-{count}",
        answer(_RESPONSE, Drop(), Reset(), cid=cid),
        request(Opcode.LOGOUT_REQUEST, Drop()),
        count=count,
        level=2,
        variation="logout-for-recovery",
        says=f"No answer to the logout for recovery of connection {cid} of {count}: the session is made anew.",
        does=everywhere(count),
        logged=(20, 8, 34),
        watch=both(came_back(count, logouts=((int(LogoutReason.RECOVERY), cid),)), back_soon(8)),
        virtual=True,
    )
    for count, cid in PLACES
)


# 22: one has a damaged header

_DAMAGED = tuple(
    of_several(
        22,
        f"on-{cid}-of-{count}-{name}",
        damaged(_RESPONSE, part, offset, cid=cid),
        count=count,
        level=level,
        variation=name,
        says=f"A damaged header on connection {cid} of {count} ends it; at level {level} the session gets over it.",
        options=_DIGESTS,
        does=everywhere(count),
        logged=(22, 34),
        watch=recovered(level, count, cid),
        touches=("R7143-7.8-01",),
    )
    for level in LEVELS
    for name, part, offset, places in (
        ("header-bit", Part.BHS, 47, PLACES),
        ("digest-bit", Part.HEADER_DIGEST, 0, PLACES[1:2]),
    )
    for count, cid in places
)


# 32 and 51: one is asked to leave


def _asked_to_log_out(cid: int) -> Act:
    async def ask(play: Play) -> None:
        play.stage.operator.request_logout(3, cid=cid)
        await play.scene.until(lambda: play.sent(LogoutRequest))

    return ask


def _dropped(cid: int) -> Act:
    async def drop(play: Play) -> None:
        play.stage.operator.announce_connection_drop(cid=cid)

    return drop


_ASKED = tuple(
    of_several(
        32,
        f"on-{cid}-of-{count}",
        count=count,
        level=level,
        variation="logout-wanted",
        says=f"Connection {cid} of {count} is asked to log out: it alone does, and comes back.",
        settings={"async_logout_pause_timeout": 0},
        does=_asked_to_log_out(cid),
        logged=(32, 34),
        watch=came_back(1, logouts=((int(LogoutReason.CLOSE_CONNECTION), cid),)),
        touches=("R7143-11.9.1-02",),
    )
    for level in LEVELS
    for count, cid in PLACES
)

_ANNOUNCED = tuple(
    of_several(
        32,
        f"drop-of-{cid}-of-2",
        count=2,
        level=level,
        variation="connection-drop",
        says=f"That connection {cid} of 2 will be dropped is no request to log out: what is logged is the drop.",
        does=_dropped(cid),
        logged=(20, 34),
        watch=came_back(again(level, 2)),
        proofs=("event.32.takes-drop-for-logout",),
    )
    for level, cid in ((0, 1), (1, 1), (2, 0), (2, 1))
)

_UNANSWERED_LOGOUT = tuple(
    of_several(
        51,
        f"on-{cid}-of-{count}",
        request(Opcode.LOGOUT_REQUEST, Drop(), cid=cid),
        count=count,
        level=level,
        variation="silence",
        says=f"Connection {cid} of {count} is asked to log out, and gets no answer when it does.",
        does=_asked_to_log_out(cid),
        logged=(32, 51, 34),
        watch=came_back(again(level, count)),
        virtual=True,
    )
    for level in LEVELS
    for count, cid in PLACES
)


# 34: one comes back, and then another


async def _both_dropped(play: Play) -> None:
    for cid in (1, 0):
        play.stage.operator.announce_connection_drop(cid=cid)
        await logged(play, 4 if cid == 0 else 2)
        await play.scene.until(lambda: len(play.session.connections) == play.row.connections)


_BACK = tuple(
    of_several(
        34,
        name,
        count=count,
        level=level,
        variation="reconnected",
        says=f"At level {level} the log tells once for each of {times} losses that the connection is back.",
        does=act,
        logged=(20, 34) * times,
        watch=came_back(times * again(level, count)),
        proofs=("event.34.silent", "event.34.twice", "event.34.wrong-dump"),
    )
    for level in LEVELS
    for name, count, times, act in (
        ("one-behind-the-other-of-2", 2, 2, _both_dropped),
        ("one-of-4", 4, 1, _dropped(2)),
    )
)


# 48: one does not answer pings

_DEAF = tuple(
    of_several(
        48,
        f"on-{cid}-of-{count}",
        answer(Opcode.NOP_IN, Silence(), cid=cid),
        count=count,
        level=level,
        variation="silence",
        says=f"With EnableNOPOut each connection is pinged; {cid} of {count} does not answer, and is left.",
        settings={"enable_nop_out": True, "nop_out_interval": 2},
        does=in_turn(lambda play: logged(play, 2)),
        logged=(48, 34),
        watch=recovered(level, count, cid),
        virtual=True,
    )
    for level in LEVELS
    for count, cid in PLACES
)

register(
    __name__,
    (
        *_LOST,
        *_ALL_LOST,
        *_REFUSED,
        *_UNANSWERED_REASSIGNMENT,
        *_UNANSWERED_RECOVERY,
        *_DAMAGED,
        *_ASKED,
        *_ANNOUNCED,
        *_UNANSWERED_LOGOUT,
        *_BACK,
        *_DEAF,
    ),
    perform,
)
