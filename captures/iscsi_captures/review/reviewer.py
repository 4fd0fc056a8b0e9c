"""The reviewer: a sink for what the reading hands out. It has the rule book judge and keeps beside it what a review shows.

Most PDUs cost a few counters here; what is kept is bounded (`model`). `finish` gives the part of a review that these
connections are, and `assemble` makes a review of parts.
"""

from __future__ import annotations

from iscsi_captures.chap_secrets import ChapSecrets
from iscsi_captures.dialogue import Phase
from iscsi_captures.reading import FrameNumber, frame_of
from iscsi_captures.reading.notes import Note
from iscsi_captures.review import notes
from iscsi_captures.review.commands import Budget
from iscsi_captures.review.facts import UNANSWERED_KEPT, Attempt, Part, Sighting
from iscsi_captures.review.findings import event_of, finding_of
from iscsi_captures.review.model import DUMPS_KEPT, EVENTS_KEPT, FINDINGS_KEPT, GAPS_KEPT, Digests, Gap, Mark, Moment
from iscsi_captures.review.moments import Moments
from iscsi_captures.review.negotiated import values_in_force
from iscsi_captures.review.sessions import session_parts
from iscsi_captures.review.shown import WAYS
from iscsi_captures.review.steps import STEPS
from iscsi_captures.review.watch import Watch
from iscsi_captures.rulebook import RuleBook
from iscsi_protocol.history import BytesRecord, Endpoint, PduRecord, Record, TransportEvent, TransportRecord

TOGETHER = 64
"""Records that are judged in a row. Where reading, predicting and judging take turns seldom, each finds its code in the
processor's caches, which is worth a sixth of all the time.
"""

LARGE = 1 << 16
"""Bytes of data that are not kept waiting for others."""

DUMP_LEAST = 256
"""Bytes of a dump that are kept where DUMPS_KEPT are there already."""

CONNECTIONS_KEPT = 4096
"""Connections that are described. More are judged all the same."""

NOBODY = 1 << 40
"""Stands for the number of all connections that are too many to be described."""

_ENDS = {
    TransportEvent.FIN: "FIN",
    TransportEvent.RST: "RST",
    TransportEvent.REFUSED: "refused",
    TransportEvent.TIMED_OUT: "no answer",
    TransportEvent.UNREACHABLE: "unreachable",
    TransportEvent.CLOSED_BY_US: "closed by the initiator",
}


class Reviewer:
    """Takes a history with its frames."""

    def __init__(self, chap_secrets: ChapSecrets | None = None) -> None:
        """chap_secrets: by which CHAP responses are verified."""
        self.book = RuleBook(events=True, chap_secrets=chap_secrets)
        self.moments = Moments()
        self.part = Part()
        self.watches: dict[int, Watch] = {}
        # What every PDU needs is at hand.
        self._judge = self.book.record
        self._findings = self.book.findings
        self._events = self.book.events
        self._waiting: list[tuple[Record, FrameNumber, FrameNumber]] = []
        self._met_with: dict[int, Watch] = {}
        self._known = self._met_with.get
        self._room = DUMPS_KEPT
        self._budget = Budget()
        self._uncounted = Watch(NOBODY, 0.0, 0, "", self._budget)

    def record(self, record: Record, first: FrameNumber, last: FrameNumber) -> None:
        """A record of the history and the frames that it begins and ends in."""
        waiting = self._waiting
        waiting.append((record, first, last))
        if len(waiting) >= TOGETHER or (type(record) is PduRecord and len(record.raw.data) > LARGE):
            self._catch_up()

    def note(self, note: Note) -> None:
        """Something below iSCSI."""
        self._catch_up()
        notes.take(self, note)

    def finish(self, now: float) -> Part:
        """The capture is over at this time (seconds since the epoch): what these connections bring to the review."""
        self._catch_up()
        self.book.finish(now)
        self._take_events(self._uncounted, now, 0)
        part = self.part
        for watch in self.watches.values():
            watch.leave_all()
            part.connections[watch.number] = watch.review()
            part.recognised[watch.number] = watch.recognised
            load = watch.load()
            if load.total is not None or any(load.bytes_in) or any(load.bytes_out):
                part.loads.append(load)
            part.traces += watch.traces()
            part.facts[watch.number] = watch.facts_at_the_end()
        part.counts = dict(self.book.counts)
        part.sessions = session_parts(self.watches.values())
        part.moments = self.moments.all()
        return part

    # What a step or a note may ask for.

    def watch_of(self, number: int, time: float, frame: FrameNumber, how: str = "in the middle") -> Watch:
        """The watch of a connection, a new one where it is met first; one for all that are too many."""
        watch = self.watches.get(number)
        if watch is None:
            if len(self.watches) >= CONNECTIONS_KEPT or not number:
                return self._uncounted
            watch = self.watches[number] = Watch(number, time, frame, how, self._budget)
        if not watch.begun:
            watch.begin_at(time, frame, how)
        return watch

    def recognised(self, number: int, time: float, frame: FrameNumber) -> None:
        """The reading has given a connection its number here; it begins where something of it is seen."""
        watch = self.watch_of(number, time, frame)
        watch.begun = False
        watch.recognised = time, frame

    def tell(self, time: float, frame: FrameNumber, connection: int, kind: str, what: str) -> None:
        """Put a line on the timeline."""
        self.moments.add(Moment(time=time, frame=frame_of(frame), connection=connection or None, kind=kind, what=what))

    def gap(self, gap: Gap) -> None:
        """Tell of something that the capture lacks."""
        if len(self.part.gaps) < GAPS_KEPT:
            self.part.gaps.append(gap)

    def logged_in(self, watch: Watch) -> None:
        """A Login Response went by: what the rule book made of it."""
        connection = watch.dialogue
        if connection is None or connection.phase is not Phase.FULL or watch.negotiated is not None:
            return
        watch.session = connection.session
        watch.login = "full feature"
        if watch.attempt is not None:
            watch.attempt.outcome = watch.login
        agreed = connection.login.negotiation.agreed()
        watch.digests = Digests(
            header=agreed.get("HeaderDigest", "None") != "None",
            data=agreed.get("DataDigest", "None") != "None",
            known="login",
            confidence=1.0,
        )
        watch.negotiated = values_in_force(connection)
        watch.facts.max_burst = connection.limits.max_burst_length

    def unanswered(self, endpoint: Endpoint, place: Sighting, tries: int) -> None:
        """Nobody answered at this end."""
        unanswered = self.part.unanswered
        if endpoint in unanswered or len(unanswered) < UNANSWERED_KEPT:
            kept = unanswered.setdefault(endpoint, place)
            kept.most = max(kept.most, tries)

    def attempt(self, watch: Watch, initiator: str, target: str, place: Sighting) -> None:
        """A leading login began."""
        if len(self.part.attempts) < CONNECTIONS_KEPT:
            watch.attempt = Attempt(initiator, target, place)
            self.part.attempts.append(watch.attempt)

    # Inside.

    def _catch_up(self) -> None:
        """Take what waits, record by record."""
        judge, known, findings, events = self._judge, self._known, self._findings, self._events
        self.book.foresee([record for record, _, _ in self._waiting])
        for record, first, last in self._waiting:
            judge(record)
            if type(record) is PduRecord:
                watch = known(record.connection)
                if watch is None:
                    watch = self._met(record, first)
                if findings or events:
                    self._judged(watch, record, first, last)
                raw, now = record.raw, record.time
                opcode = raw.bhs[0] & 0x3F
                watch.opcodes[opcode] += 1
                watch.last = last
                if now >= watch.until:
                    watch.turn(now)
                size = len(raw.data)
                if size:
                    watch.moved[record.direction] += size
                step = STEPS[opcode]
                if step is not None:
                    step(self, watch, record, first, last)
            else:
                self._other(record, first, last)
        self._waiting.clear()

    def _met(self, record: PduRecord, first: FrameNumber) -> Watch:
        """The first PDU of a connection."""
        watch = self.watch_of(record.connection, record.time, first)
        watch.dialogue = self.book.dialogue.connections.get(record.connection)
        if watch.dialogue is not None:
            watch.session = watch.dialogue.session
        if watch is not self._uncounted:
            self._met_with[record.connection] = watch
        return watch

    def _other(self, record: Record, first: FrameNumber, last: FrameNumber) -> None:
        number = getattr(record, "connection", 0)
        if isinstance(record, TransportRecord):
            self._transport(record, first, last)
        elif isinstance(record, BytesRecord):
            watch = self.watch_of(number, record.time, first)
            watch.last = last
            self.gap(
                Gap(
                    kind="bytes that are no PDU",
                    connection=number,
                    way=WAYS[record.direction],
                    frame=frame_of(last),
                    time=record.time,
                    bytes=len(record.data),
                    message=record.reason,
                )
            )
        if self.book.findings or self.book.events:
            self._judged(self.watches.get(number, self._uncounted), record, first, last)

    def _transport(self, record: TransportRecord, first: FrameNumber, last: FrameNumber) -> None:
        event, number = record.event, record.connection
        begins = event in (TransportEvent.CONNECT, TransportEvent.CONNECTED)
        watch = self.watch_of(number, record.time, first)
        watch.initiator = watch.initiator or record.initiator
        watch.target = watch.target or record.target
        watch.last = max(watch.last, last)
        if begins and watch.dialogue is None:
            watch.opened = Mark(how="SYN", time=watch.opened.time, frame=watch.opened.frame)
        if event is TransportEvent.CONNECT:
            return
        if event is TransportEvent.CONNECTED:
            ends = f"{watch.initiator or 'somebody'} connects to {watch.target or 'a target'}"
            self.tell(record.time, last, number, "connect", ends)
            return
        if event is TransportEvent.TIMED_OUT and watch.target is not None:
            self.unanswered(watch.target, Sighting(number, first, last, record.time), 1)
        watch.leave_all()
        how = _ENDS[event]
        if event in (TransportEvent.FIN, TransportEvent.RST):
            how = f"{how} by the {'initiator' if record.direction == 0 else 'target'}"
        if watch.closed is None or event is TransportEvent.RST:
            kind = "reset" if event is TransportEvent.RST else "close"
            self.tell(record.time, last, number, kind, how)
        if watch.closed is None:
            watch.closed = Mark(how=how, time=record.time, frame=frame_of(last))

    def _judged(self, watch: Watch, record: Record, first: FrameNumber, last: FrameNumber) -> None:
        """The rule book has found something, or predicts an event."""
        book, part = self.book, self.part
        base = len(part.findings)
        for finding in book.findings:
            if len(part.findings) >= FINDINGS_KEPT:
                break
            made = finding_of(finding, record, first, last)
            part.findings.append(made)
            part.finding_order.append(watch.no_earlier(finding.time, last))
            if made.itt is not None:
                watch.found(made.itt.to_bytes(4, "big"), len(part.findings) - 1)
            if watch.tell_once(f"{finding.level} {finding.rule} {finding.role}"):
                what = f"{finding.level} {finding.rule}: {finding.message}"
                self.tell(finding.time, last, finding.connection, "finding", what)
        self._take_events(watch, record.time, last, base)
        book.findings.clear()

    def _take_events(self, watch: Watch, now: float, last: FrameNumber, base: int = 0) -> None:
        """Note predicted events. One that a time-out brings stands at the last frame of its connection by then."""
        book, part = self.book, self.part
        for event in book.events:
            if len(part.events) >= EVENTS_KEPT:
                break
            own = self.watches.get(event.connection, watch)
            frame = last if own is watch and event.time >= now and last else own.last
            finding = None
            if event.finding is not None and event.finding in book.findings:
                place = base + book.findings.index(event.finding)
                finding = place if place < len(part.findings) else None
            made = event_of(event, frame, finding, max(DUMP_LEAST, self._room))
            self._room -= len(made.dump)
            part.events.append(made)
            part.event_order.append(own.no_earlier(event.time, frame))
            self.tell(event.time, frame, event.connection, "event", f"{made.name}: {made.meaning}")
        book.events.clear()
