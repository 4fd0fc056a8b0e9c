"""How much of everything one initiator may take: the shortages behind events 2, 6, 30, 31, 55, 57 and 58, each a limit of its
own (guide, Appendix B).
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Self

PLENTY = 1 << 20


class Resource(Enum):
    """What can run short: a field of Limits, and the event that tells of it."""

    SESSION = ("sessions", 2)
    CONNECTION = ("connections", 6)
    WORK_ITEM = ("work_items", 30)
    REQUEST_RESOURCE = ("request_resources", 31)
    SEND_BUFFER = ("send_buffer", 55)
    IO_REQUEST = ("io_requests", 57)
    TAG = ("tags", 58)

    def __init__(self, field: str, event: int) -> None:
        self.field = field
        self.event = event


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How many there may be at once, of the whole initiator where nothing else is said. Raises ValueError below 0.

    sessions: that are not over. connections: TCP connections that are up or being made. work_items: requests that were put
    off, because the command window or the session is closed, MaxPendingRequests are on their way, or another text exchange
    runs; a request that was sent before its connection was lost has its place for certain. request_resources: requests of
    the management kind (pings, text, task management, SCSI through the management interface) that are not finished.
    send_buffer: bytes of payload that one connection holds until the network takes them. io_requests: SCSI requests that
    are not finished, sent or not. tags: Initiator Task Tags that the requests of one session have on their way; what the
    initiator sends on its own account (aborts, pings when idle, logouts) is not held up by it.
    """

    sessions: int = PLENTY
    connections: int = PLENTY
    work_items: int = PLENTY
    request_resources: int = PLENTY
    send_buffer: int = 1 << 30
    io_requests: int = PLENTY
    tags: int = PLENTY

    def __post_init__(self) -> None:
        for field in fields(self):
            if getattr(self, field.name) < 0:
                raise ValueError(f"a limit of {getattr(self, field.name)} {field.name}")

    def lowered(self, events: Container[int]) -> Self:
        """One fewer of what these events tell the shortage of, and never below 0."""
        names = (resource.field for resource in Resource if resource.event in events)
        return replace(self, **{name: max(0, getattr(self, name) - 1) for name in names})


class Usage:
    """What the requests of all sessions have taken of io_requests and request_resources, which bound them together."""

    __slots__ = ("io_requests", "limits", "request_resources")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.io_requests = 0
        self.request_resources = 0
