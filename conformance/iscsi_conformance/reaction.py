"""What an initiator did about a PDU of the target's that it should not have been sent.

Seen from the wire, from either end: that the connection ended says nothing by itself, since every initiator leaves in the
end. One that went on behind the PDU did not drop the connection because of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from iscsi_protocol.history import PduRecord, Record, TransportEvent, TransportRecord
from iscsi_protocol.pdu import Pdu, RawPdu, decode
from iscsi_protocol.stream import Direction


@dataclass(frozen=True, slots=True)
class Reaction:
    """What followed on that connection. to: the PDU; answers: the PDUs of the initiator's; closed: whether it ended it.

    connects: how many connections it opened behind that PDU, or tried to.
    """

    to: PduRecord
    answers: Sequence[PduRecord]
    closed: bool
    connects: int

    @property
    def sent(self) -> list[Pdu]:
        """The PDUs of the initiator's."""
        return [decode(record.raw) for record in self.answers]

    @property
    def dropped(self) -> bool:
        """Whether the initiator ended the connection and said nothing more."""
        return self.closed and not self.answers

    def within(self, seconds: float) -> list[Pdu]:
        """The PDUs of the initiator's that came within so many seconds."""
        return [decode(record.raw) for record in self.answers if record.time <= self.to.time + seconds]

    def __str__(self) -> str:
        names = ", ".join(type(decode(record.raw)).__name__ for record in self.answers[:3]) or "nothing"
        return f"{names} was sent, and the connection {'closed' if self.closed else 'kept'}"


_BEGIN = (TransportEvent.CONNECT, TransportEvent.CONNECTED)
"""An initiator's own history has both; from the target only the second is seen."""


def closed_by_initiator(record: TransportRecord) -> bool:
    """Whether this is the initiator's end of a connection, in a history of either side's."""
    if record.event in (TransportEvent.FIN, TransportEvent.RST):
        return record.direction is Direction.TO_TARGET
    return record.event is TransportEvent.CLOSED_BY_US


def reaction_to(records: Iterable[Record], to: Callable[[RawPdu], object]) -> Reaction | None:
    """What came of the first PDU to the initiator for which this holds; None when there is none."""
    found: PduRecord | None = None
    answers: list[PduRecord] = []
    closed = reused = False
    tried: Counter[TransportEvent] = Counter()
    for record in records:
        if found is None:
            if isinstance(record, PduRecord) and record.direction is Direction.TO_INITIATOR and to(record.raw):
                found = record
        elif isinstance(record, PduRecord):
            if record.connection == found.connection and record.direction is Direction.TO_TARGET and not reused:
                answers.append(record)
        elif isinstance(record, TransportRecord):
            tried[record.event] += 1
            if record.connection == found.connection:
                reused = reused or record.event in _BEGIN
                closed = closed or (closed_by_initiator(record) and not reused)
    if found is None:
        return None
    return Reaction(found, answers, closed, max(tried[event] for event in _BEGIN))


def by_connection(records: Iterable[Record]) -> list[list[PduRecord]]:
    """The PDUs of each connection, in the order in which the connections began."""
    open_now: dict[int, list[PduRecord]] = {}
    found: list[list[PduRecord]] = []
    for record in records:
        if isinstance(record, TransportRecord) and record.event is TransportEvent.CONNECTED:
            open_now.pop(record.connection, None)
        elif isinstance(record, PduRecord):
            if record.connection not in open_now:
                found.append(open_now.setdefault(record.connection, []))
            open_now[record.connection].append(record)
    return found
