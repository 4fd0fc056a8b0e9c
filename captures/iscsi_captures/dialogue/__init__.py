"""The dialogue as an onlooker follows it: state, and how a PDU moves it. What is wrong with it is for the rules to say."""

from __future__ import annotations

from iscsi_captures.dialogue.negotiation import Negotiation, Pair
from iscsi_captures.dialogue.sight import Sight
from iscsi_captures.dialogue.state import Connection, Limits, Phase, Session, Side
from iscsi_captures.dialogue.task import Burst, Task
from iscsi_captures.dialogue.tracker import Dialogue

__all__ = [
    "Burst",
    "Connection",
    "Dialogue",
    "Limits",
    "Negotiation",
    "Pair",
    "Phase",
    "Session",
    "Side",
    "Sight",
    "Task",
]
