"""Events 2, 6, 30, 31, 55, 57, 58: what this host has too little of; 56: buffers that it cannot use (guide, Appendix B)."""

from __future__ import annotations

from functools import partial

from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.acts import BLOCK
from iscsi_conformance.events.host_acts import (
    Make,
    another_connection,
    another_session,
    at_once,
    connector_of,
    logged,
    ping,
    read_into,
    ready,
    write_blocks,
    write_from,
)
from iscsi_conformance.events.play import READY, Act, Play, perform, spoilable
from iscsi_conformance.verdict import require
from iscsi_initiator.client import Client
from iscsi_initiator.client.errors import ConnectionFailed, RequestFailed
from iscsi_initiator.limits import Limits
from iscsi_initiator.requests import Failure
from iscsi_protocol.pdu.codes import TaskFunction
from iscsi_protocol.scsi.opcodes import INQUIRY


def _takes(event: int) -> tuple[str, ...]:
    return (f"event.{event}.takes-limit-for-exceeded",)


def _lacked(play: Play) -> None:
    """What failed did so for want of something, and not otherwise."""
    failed = isinstance(play.error, RequestFailed) and play.error.failure is Failure.NO_RESOURCES
    require(failed, play.name, "the request fails for want of resources", seen=play.error)


def _given_up(play: Play) -> None:
    """A connection was given up, and not merely waited for."""
    require(isinstance(play.error, ConnectionFailed), play.name, "the connection is given up", seen=play.error)


# 2 and 6: sessions and connections


_SESSIONS = (
    EventCase(
        event=2,
        name="session-limit",
        says="A second session where there may be one is over at once, and the first one works on.",
        settings={"limits": Limits(sessions=1)},
        does=another_session,
        logged=(2,),
        then=Then.FAILS_REQUEST,
    ),
    EventCase(
        event=2,
        name="no-session-at-all",
        variation="session-limit",
        says="Where there may be no session, the first one is over before it connects.",
        settings={"limits": Limits(sessions=0)},
        logged=(2,),
        then=Then.CLOSED_BEFORE,
    ),
    EventCase(
        event=2,
        name="session-limit-met",
        says="A second session where there may be two comes up.",
        settings={"limits": Limits(sessions=2)},
        does=another_session,
        then=Then.DONE,
        proofs=_takes(2),
    ),
    EventCase(
        event=2,
        name="one-session",
        variation="session-limit-met",
        says="One session where there may be one comes up.",
        settings={"limits": Limits(sessions=1)},
        then=Then.GOES_ON,
        proofs=_takes(2),
    ),
)

_CONNECTIONS = (
    EventCase(
        event=6,
        name="connection-limit",
        says="A second session where there may be one connection is over at once.",
        settings={"limits": Limits(connections=1)},
        does=another_session,
        logged=(6,),
        then=Then.FAILS_REQUEST,
    ),
    EventCase(
        event=6,
        name="no-connection-at-all",
        variation="connection-limit",
        says="Where there may be no connection, the first session is over before it connects.",
        settings={"limits": Limits(connections=0)},
        logged=(6,),
        then=Then.CLOSED_BEFORE,
    ),
    *(
        EventCase(
            event=6,
            name=f"added-level-{level}",
            variation="connection-limit",
            says=f"At recovery level {level} a connection too many is not added, and the session works on.",
            config=spoilable(level, 2),
            level=level,
            settings={"limits": Limits(connections=1)},
            does=another_connection,
            logged=(6,),
            then=Then.FAILS_REQUEST,
            watch=_given_up,
        )
        for level in (0, 2)
    ),
    EventCase(
        event=6,
        name="connection-limit-met",
        says="A second session where there may be two connections comes up.",
        settings={"limits": Limits(connections=2)},
        does=another_session,
        then=Then.DONE,
        proofs=_takes(6),
    ),
    EventCase(
        event=6,
        name="added-limit-met",
        variation="connection-limit-met",
        says="A second connection where there may be two is added.",
        config=spoilable(0, 2),
        settings={"limits": Limits(connections=2)},
        does=another_connection,
        then=Then.DONE,
        proofs=_takes(6),
    ),
)


# 30: work items


async def _text(client: Client) -> object:
    return await client.negotiate(("MaxRecvDataSegmentLength", "32768"))


async def _asked_meanwhile(play: Play) -> None:
    """A command while the session is being recovered."""
    connector_of(play).links[-1].cut()
    await logged(play, 1)
    await play.ask(play.session.execute(READY))


_ITEMS: tuple[tuple[str, Make, int], ...] = (("", ready, 0), ("two", ready, 2), ("text", _text, 1))
"""Name; what is asked for; how many may wait behind the one that is on its way."""

_WORK_ITEMS = tuple(
    case
    for name, make, items in _ITEMS
    for case in (
        EventCase(
            event=30,
            name=f"{name}-work-item-limit".strip("-"),
            variation="work-item-limit",
            says=f"One request more than may wait ({items}) fails, the others are done.",
            settings={"max_pending_requests": 1, "limits": Limits(work_items=items)},
            does=partial(at_once, count=items + 2, make=make),
            logged=(30,),
            then=Then.FAILS_REQUEST,
            watch=_lacked,
        ),
        EventCase(
            event=30,
            name=f"{name}-work-item-limit-met".strip("-"),
            variation="work-item-limit-met",
            says=f"As many requests as may wait ({items or 1}) are done.",
            settings={"max_pending_requests": 1, "limits": Limits(work_items=items or 1)},
            does=partial(at_once, count=(items or 1) + 1, make=make),
            then=Then.DONE,
            proofs=_takes(30),
        ),
    )
)

_WORK_ITEMS_WHILE_DOWN = (
    EventCase(
        event=30,
        name="during-recovery",
        variation="work-item-limit",
        says="A request that may not wait for a session to come back fails, and the session does come back.",
        config=spoilable(DefaultTime2Wait="1"),
        settings={"default_time2wait": 1, "limits": Limits(work_items=0)},
        does=_asked_meanwhile,
        logged=(20, 30, 34),
        then=Then.FAILS_AND_RECOVERS,
        watch=_lacked,
        virtual=True,
    ),
)


# 31, 57 and 58: resources of requests, I/O requests, tags


async def _reset_unit(client: Client) -> object:
    return await client.task_management(TaskFunction.LOGICAL_UNIT_RESET)


async def _managed(client: Client) -> object:
    return await client.execute(INQUIRY.build(allocation_length=36), data_in=36, management=True)


def _limited(event: int, name: str, what: str, make: Make, count: int, **limits: int) -> tuple[EventCase, EventCase]:
    """One request more than there may be, and as many."""
    of_kind = {31: "request-limit", 57: "io-request-limit"}[event]
    return (
        EventCase(
            event=event,
            name=f"{of_kind}-{name}",
            variation=of_kind,
            says=f"{what} beyond the limit ({count}) fails, and the session works on.",
            settings={"limits": Limits(**limits)},
            does=partial(at_once, count=count + 1, make=make),
            logged=(event,),
            then=Then.FAILS_REQUEST,
            watch=_lacked,
        ),
        EventCase(
            event=event,
            name=f"{of_kind}-met-{name}",
            variation=f"{of_kind}-met",
            says=f"{what} within the limit ({count or 1}) is done.",
            settings={"limits": Limits(**dict.fromkeys(limits, count or 1))},
            does=partial(at_once, count=count or 1, make=make),
            then=Then.DONE,
            proofs=_takes(event),
        ),
    )


_REQUESTS = (
    *_limited(31, "ping", "A ping", ping, 1, request_resources=1),
    *_limited(31, "two-pings", "A ping", ping, 2, request_resources=2),
    *_limited(31, "text", "A renegotiation", _text, 1, request_resources=1),
    *_limited(31, "task-management", "A LUN reset", _reset_unit, 1, request_resources=1),
    *_limited(31, "management", "A SCSI request of the management interface", _managed, 1, request_resources=1),
    *_limited(57, "one", "A SCSI request", ready, 1, io_requests=1),
    *_limited(57, "four", "A SCSI request", ready, 4, io_requests=4),
)

_TAGS = (
    *(
        EventCase(
            event=58,
            name=name,
            variation="tag-limit",
            says=f"{what} for which there is no task tag fails, and the session works on.",
            settings={"limits": Limits(tags=2)},
            does=partial(at_once, count=3, make=make),
            logged=(58,),
            then=Then.FAILS_REQUEST,
            watch=_lacked,
        )
        for name, what, make in (
            ("tag-limit", "A SCSI request", ready),
            ("tag-limit-ping", "A ping", ping),
            ("tag-limit-task-management", "A LUN reset", _reset_unit),
        )
    ),
    EventCase(
        event=58,
        name="pending-limit",
        says="Requests beyond MaxPendingRequests wait for a tag, and all are done.",
        settings={"max_pending_requests": 2, "limits": Limits(tags=2)},
        does=partial(at_once, count=6, make=ready),
        then=Then.DONE,
        proofs=_takes(58),
    ),
)


# 55: room to send

_SOLICITED = {"initial_r2t": True, "immediate_data": False}
_UNSOLICITED = {"immediate_data": False}

_SENDS: tuple[tuple[str, str, int, dict[str, bool]], ...] = (
    ("immediate", "Immediate data", 1, {}),
    ("unsolicited", "Unsolicited data", 4, _UNSOLICITED),
    ("solicited", "Data that an R2T asks for", 8, _SOLICITED),
)

_SEND_BUFFER = tuple(
    case
    for name, what, blocks, settings in _SENDS
    for case in (
        EventCase(
            event=55,
            name=f"send-buffer-limit-{name}",
            variation="send-buffer-limit",
            says=f"{what} for which a byte of room is missing fails its request alone.",
            settings={**settings, "limits": Limits(send_buffer=blocks * BLOCK - 1)},
            does=partial(write_blocks, blocks=blocks),
            logged=(55,),
            then=Then.FAILS_REQUEST,
            watch=_lacked,
        ),
        EventCase(
            event=55,
            name=f"send-buffer-limit-met-{name}",
            variation="send-buffer-limit-met",
            says=f"{what} for which there is just room is sent.",
            settings={**settings, "limits": Limits(send_buffer=blocks * BLOCK)},
            does=partial(write_blocks, blocks=blocks),
            then=Then.DONE,
            proofs=_takes(55),
        ),
    )
)


# 56: buffers


def _unusable(play: Play) -> None:
    failed = isinstance(play.error, RequestFailed) and play.error.failure is Failure.UNUSABLE_BUFFER
    require(failed, play.name, "the request fails for its buffer", seen=play.error)


def _released() -> memoryview:
    view = memoryview(bytearray(BLOCK))
    view.release()
    return view


async def _read_released(play: Play) -> None:
    await read_into(play, _released())


async def _write_released(play: Play) -> None:
    await write_from(play, _released())


_BUFFERS: tuple[tuple[str, str, Act], ...] = (
    ("read-only", "read-only", partial(read_into, buffer=memoryview(bytes(BLOCK)))),
    ("released", "released", _read_released),
    ("not-contiguous", "not-contiguous", partial(read_into, buffer=memoryview(bytearray(2 * BLOCK))[::2])),
    ("released-for-a-write", "released", _write_released),
    ("not-contiguous-for-a-write", "not-contiguous", partial(write_from, buffer=memoryview(bytes(2 * BLOCK))[::2])),
)

_MAPPING = tuple(
    EventCase(
        event=56,
        name=name,
        variation=variation,
        says=f"A buffer that is {name.replace('-', ' ')} fails its request, of which nothing goes out.",
        does=act,
        logged=(56,),
        then=Then.FAILS_REQUEST,
        watch=_unusable,
    )
    for name, variation, act in _BUFFERS
)

register(
    __name__,
    (
        *_SESSIONS,
        *_CONNECTIONS,
        *_WORK_ITEMS,
        *_WORK_ITEMS_WHILE_DOWN,
        *_REQUESTS,
        *_TAGS,
        *_SEND_BUFFER,
        *_MAPPING,
    ),
    perform,
)
