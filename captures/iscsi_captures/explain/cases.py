"""Which conformance cases reproduce an event: out of a file, because the cases themselves are out of reach here.

`python -m iscsi_conformance.events.index` writes it, and a test holds it against the cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import msgspec

CASES_FILE = "cases.json"


class VariationCases(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which a target, or the host, brings the event about, and the ids of the cases that do so."""

    id: str
    says: str
    cases: tuple[str, ...]


class EventCases(msgspec.Struct, frozen=True, kw_only=True):
    """One event. dump_source: whether the guide says what the extra data carries ("guide"), or we do ("ours"); then: what
    follows in the log and on the wire, if anything.
    """

    dump_source: str
    then: str
    variations: tuple[VariationCases, ...]


@cache
def event_cases() -> Mapping[int, EventCases]:
    """Every event of the driver by its id."""
    text = files("iscsi_captures.explain").joinpath(CASES_FILE).read_bytes()
    return MappingProxyType(msgspec.json.decode(text, type=dict[int, EventCases]))
