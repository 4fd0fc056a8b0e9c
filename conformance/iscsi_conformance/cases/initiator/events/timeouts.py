"""Events 8, 9, 39, 43 to 51 and 63: what a careful initiator logs where no answer comes in time (guide, Appendix F)."""

from __future__ import annotations

from iscsi_conformance.events import EventCase, register
from iscsi_conformance.events.acts import ping
from iscsi_conformance.events.play import perform
from iscsi_conformance.stimulus import answer
from iscsi_protocol.fault import Silence
from iscsi_protocol.pdu import Opcode

_PING = (
    EventCase(
        event=48,
        name="silence",
        says="A ping without an answer ends the connection, and the session comes back.",
        spoils=(answer(Opcode.NOP_IN, Silence()),),
        does=ping,
        logged=(48, 34),
        virtual=True,
    ),
)

register(__name__, _PING, perform)
