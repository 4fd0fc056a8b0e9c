"""The events that an initiator has to log, predicted from the history: a second reading that shares no code with the engine.

A module is an area: `login` with `keys` and `chap`, `reception` with `fields`, `numbering` and `transfer`, `tasks`,
`deadlines`, `closes`. `oracle` takes the records.
"""

from __future__ import annotations

from iscsi_captures.events.oracle import EventOracle

__all__ = ["EventOracle"]
