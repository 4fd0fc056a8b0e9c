"""The driver's events as the guide's Appendix B has them: when each is due, what it carries, and in which variations a target
(or the host) really produces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import msgspec

SOURCE = "iScsiPrt"
OF_SERVICE = frozenset({64})
"""Events that the service has logged: 64 belongs to its start from a boot firmware table."""


class Variation(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which the condition is met; for a near miss, one in which it is just not met, and nothing is logged."""

    id: str
    says: str
    near_miss: bool


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """One event. severity: error, warning or information; judge: history, history+settings or host; dump: the extra data;
    then: what follows in the log and on the wire.
    """

    id: int
    severity: str
    judge: str
    when: str
    dump: str
    dump_source: str
    wire: str
    then: str
    variations: tuple[Variation, ...]


@cache
def events() -> Mapping[int, EventRow]:
    """All events by number."""
    text = files("iscsi_conformance").joinpath("data/events.json").read_bytes()
    return MappingProxyType({row.id: row for row in msgspec.json.decode(text, type=list[EventRow])})


def name_of(event: int) -> str:
    """How results name an event: "iScsiPrt:22"."""
    return f"{SOURCE}:{event}"
