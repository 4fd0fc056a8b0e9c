"""What initiators do wrong with each event of the driver: keep it to themselves, log it twice, log it with other data, or do
not react to it (guide, Appendix B).
"""

from __future__ import annotations

from iscsi_initiator.eventlog import EVENTS
from iscsi_initiator.faults import behaves

_LATER = frozenset({64})
"""Events that nothing logs yet."""

_KINDS = (
    ("silent", "Event {} is not logged.", "never_logs"),
    ("twice", "Event {} is logged twice.", "logs_twice"),
    ("wrong-dump", "Event {} is logged with other data.", "logs_wrong_dump"),
    ("does-not-react", "Event {} is logged, and nothing comes of it.", "goes_on_after"),
)

FAULTS = tuple(
    behaves(f"event.{event}.{kind}", says.format(event), **{switch: frozenset({event})})
    for event in sorted(EVENTS.keys() - _LATER)
    for kind, says, switch in _KINDS
)
