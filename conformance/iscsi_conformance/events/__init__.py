"""Cases about the events that an initiator logs: rows that say how a target provokes one, and what has to come of it."""

from __future__ import annotations

from iscsi_conformance.events.row import EventCase, Then, register

__all__ = ["EventCase", "Then", "register"]
