"""Events 1, 10, 11, 45 and 59 at logins of connections that are added to a session or come back (RFC 7143 6.3, 7.1.4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from iscsi_conformance.bundled import CHAP, bundled_config
from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.dumps import received
from iscsi_conformance.events.host_acts import another_connection, connector_of, link_of, logged
from iscsi_conformance.events.logins import OPERATIONAL, RESPONSE, SECURITY, UNFINISHED
from iscsi_conformance.events.many import LEVELS, again, came_back, given_up, in_turn, of_several
from iscsi_conformance.events.play import Play, perform, spoilable
from iscsi_conformance.events.roads import CLOSED, CLOSED_IPV6
from iscsi_conformance.pipe import MemoryTransport, Road
from iscsi_conformance.stimulus import answer, chap_options
from iscsi_conformance.verdict import require
from iscsi_protocol.fault import Action, Close, Drop, Fault, FieldIs, Reset, Set
from iscsi_protocol.history import Endpoint, TransportEvent


def _refused(code: int) -> tuple[Action, ...]:
    return (Set("status_class", code >> 8), Set("status_detail", code & 0xFF), *UNFINISHED)


# Added from above


def _added(event: int, name: str, *spoils: Fault, level: int, **more: Any) -> EventCase:
    """A second connection is added to a session, and comes to nothing: the first one works on."""
    fields: dict[str, Any] = {
        "event": event,
        "config": spoilable(level, 2),
        "level": level,
        "spoilt": 2,
        "does": another_connection,
        "logged": (event,),
        "then": Then.FAILS_REQUEST,
        "watch": given_up,
        **more,
    }
    return EventCase(name=f"added-{name}-level-{level}", spoils=spoils, **fields)


def _over(road: Road) -> Callable[[Play], Any]:
    async def add(play: Play) -> None:
        connector = connector_of(play)
        connector.connect_time = play.settings.tcp_connect_time
        connector.road = road
        await another_connection(play)
        connector.road = Road.OPEN

    return add


def _to(portal: Endpoint) -> Callable[[Play], Any]:
    return partial(another_connection, portal=portal)


_UNREACHED = (
    *(
        _added(
            1,
            name,
            level=level,
            variation=variation,
            says="An added connection to a portal that takes none comes to nothing, and the session works on.",
            does=_to(portal),
        )
        for level in LEVELS
        for name, variation, portal in (("refused", "refused", CLOSED), ("ipv6", "ipv6", CLOSED_IPV6))
    ),
    *(
        _added(
            1,
            variation,
            level=0,
            variation=variation,
            says="An added connection whose attempt is lost on its way comes to nothing, and the session works on.",
            does=_over(road),
            virtual=True,
        )
        for variation, road in (("black-hole", Road.BLACKHOLE), ("unreachable", Road.UNREACHABLE))
    ),
)

_BROKEN_OFF = tuple(
    _added(
        59,
        name,
        answer(RESPONSE, *what, stage=stage, cid=1),
        level=level,
        variation=variation,
        says="An added connection that the target ends during its login comes to nothing, and the session works on.",
    )
    for level in LEVELS
    for name, variation, stage, what in (
        ("before-any-answer", "before-any-answer", SECURITY, (Drop(), Close())),
        ("behind-an-answer", "security-stage", SECURITY, (Close(),)),
        ("operational-stage", "operational-stage", OPERATIONAL, (Drop(), Close())),
        ("reset", "reset", OPERATIONAL, (Drop(), Reset())),
    )
)

_TURNED_AWAY = tuple(
    _added(
        10,
        f"{code:04x}",
        answer(RESPONSE, *_refused(code), cid=1),
        level=level,
        variation=variation,
        says=f"An added connection that is refused with status {code:04x} comes to nothing, and the session works on.",
    )
    for level in LEVELS
    for code, variation in ((0x0206, "class-2"), (0x0208, "class-2"), (0x0302, "class-3"), (0x0500, "unknown-status"))
)

_NOT_OF_THE_SESSION = tuple(
    _added(
        11,
        name,
        answer(RESPONSE, Set("tsih", tsih), tests=(FieldIs("transit", True), FieldIs("nsg", 3)), cid=1),
        level=level,
        variation="tsih-zero",
        says=f"A final Login Response with TSIH {tsih:#x} adds no connection to a session that has another.",
    )
    for level in (0, 2)
    for name, tsih in (("tsih-zero", 0), ("tsih-of-another-session", 0x7777))
)


# 45: silence on one of them


def _closed(play: Play) -> None:
    """The initiator ends the connection on which nothing comes; the others stay."""
    closed = len(play.scene.transport(TransportEvent.CLOSED_BY_US))
    require(closed == 1, play.name, "the silent connection is closed, and no other", seen=closed)


_SILENT = tuple(
    of_several(
        45,
        f"{name}-{cid}-of-{count}",
        answer(RESPONSE, Drop(), stage=stage, times=0, cid=cid),
        count=count,
        level=level,
        joining=count - 1,
        variation="second-connection",
        says=f"Connection {cid} of {count} that is not answered in its login is given up, and the session works on.",
        logged=(45,),
        then=Then.GOES_ON,
        watch=_closed,
        virtual=True,
    )
    for level in LEVELS
    for name, stage in (("first-request", SECURITY), ("operational-stage", OPERATIONAL))
    for count, cid in ((2, 1), (3, 1), (4, 3))
)

_SILENT_CHAP = (
    of_several(
        45,
        "security-stage",
        answer(RESPONSE, Drop(), stage=SECURITY, nth=2, times=0, cid=1),
        count=2,
        level=0,
        joining=1,
        variation="second-connection",
        config=msgspec.structs.replace(bundled_config(), keys={"MaxConnections": "2", "ErrorRecoveryLevel": "0"}),
        options={"target_name": CHAP, "chap": chap_options()},
        says="A second connection whose CHAP is not answered is given up, and the session works on.",
        logged=(45,),
        then=Then.GOES_ON,
        watch=_closed,
        virtual=True,
    ),
)


# Coming back


async def _whole_at_first(play: Play) -> None:
    """Log in to a target that does nothing wrong yet."""
    (await play.bring_up()).operator.mend()
    await play.log_in()


def _lost(cid: int, spoilt: int) -> Callable[[Play], Any]:
    """A connection is dropped, and so many of those that are made then are spoilt."""

    async def lose(play: Play) -> None:
        play.stage.operator.mend_behind(spoilt)
        play.stage.operator.announce_connection_drop(cid=cid)

    return lose


def _refusal(play: Play) -> bytes:
    """The Login Response that refuses."""
    return received(play, lambda raw: raw.opcode == RESPONSE and raw.bhs[36], "refusal").to_bytes()


def _back_at_second_try(event: int, *what: Action, level: int, virtual: bool = False, times: int = 1) -> EventCase:
    """Connection 1 of two is lost; when it logs in again this goes wrong once, and all is well the next time."""
    made = again(level, 2)
    variation = {10: "class-3", 45: "second-connection", 59: "before-any-answer"}[event]
    return of_several(
        event,
        "coming-back",
        answer(RESPONSE, *what, times=times, cid=1),
        count=2,
        level=level,
        variation=variation,
        before=_whole_at_first,
        does=_lost(1, made),
        says=f"Event {event} when a connection logs in again costs one attempt: the next one ends well.",
        logged=(20, event, 34) if level == 2 else (20, 34, event),
        dumps={10: _refusal} if event == 10 else {},
        watch=came_back(made + 1),
        virtual=virtual,
    )


_BACK_AGAIN = tuple(
    case
    for level in LEVELS
    for case in (
        _back_at_second_try(10, *_refused(0x0302), level=level),
        _back_at_second_try(45, Drop(), times=0, level=level, virtual=True),
        _back_at_second_try(59, Drop(), Close(), level=level),
    )
)


def _refusing_behind(connected: int) -> Callable[[Play], Any]:
    """Connection 1 is cut; the portal takes so many connections then, refuses the next, and takes all behind it."""

    async def lose(play: Play) -> None:
        connector = connector_of(play)
        taken: list[MemoryTransport] = []

        def count(link: MemoryTransport) -> None:
            taken.append(link)
            if len(taken) == connected:
                connector.road = Road.REFUSED

        connector.on_connected = count
        if not connected:
            connector.road = Road.REFUSED
        link_of(play, 1).cut()
        await play.scene.until(lambda: any(event.id == 1 for event in play.scene.events))
        connector.road, connector.on_connected = Road.OPEN, None

    return lose


_UNREACHED_AGAIN = tuple(
    of_several(
        1,
        f"coming-back-{name}",
        count=2,
        level=level,
        variation="refused",
        settings={"delay_between_reconnect": 1},
        does=in_turn(_refusing_behind(connected), lambda play: logged(play, 3)),
        says="A portal that takes no connection for a while costs attempts: the session is whole in the end.",
        logged=events,
        watch=came_back(again(level, 2) + 1),
        virtual=True,
    )
    for level, name, connected, events in (
        (0, "first", 0, (20, 1, 34)),
        (0, "second", 1, (20, 34, 1)),
        (1, "first", 0, (20, 1, 34)),
        (1, "second", 1, (20, 34, 1)),
        (2, "alone", 0, (20, 1, 34)),
    )
)

register(
    __name__,
    (
        *_UNREACHED,
        *_BROKEN_OFF,
        *_TURNED_AWAY,
        *_NOT_OF_THE_SESSION,
        *_SILENT,
        *_SILENT_CHAP,
        *_BACK_AGAIN,
        *_UNREACHED_AGAIN,
    ),
    perform,
)
