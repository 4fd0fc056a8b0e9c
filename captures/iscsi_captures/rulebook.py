"""The rule book: reads a history once, in bounded memory, and tells what in it breaks RFC 7143.

`RuleBook.record` takes the records as they come and can stand as a tap; `findings` holds what was found, and `events`, where
they are asked for, what the initiator has to log. No side is judged
for what follows from the other's violation: a finding stains its task, connection or session, and rules that lean on the
other side's good behaviour are silent there. What a history does not show from its start is not judged by guesswork.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from iscsi_captures.chap_secrets import NO_SECRETS, ChapSecrets
from iscsi_captures.dialogue import Connection, Dialogue, Side, Sight
from iscsi_captures.events import EventOracle
from iscsi_captures.rules import FAST, TABLE, Rule, is_plain
from iscsi_captures.rules.model import ROLE_NAMES, Level, Stain
from iscsi_protocol.history import PduRecord, Record, SettingsRecord, TransportRecord
from iscsi_protocol.pdu import RawPdu

FINDINGS_PER_RULE = 1000
EVENTS_KEPT = 100_000
SOURCE = "iScsiPrt"
_SIDES = Side.INITIATOR | Side.TARGET


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One violation.

    rule: id of the row. clause: requirement id. level: MUST, SHOULD or ADVICE. role: who broke it, "target" or "initiator".
    connection: its number in the history. index: number of the record, from 0. time: seconds. message: one sentence.
    """

    rule: str
    clause: str
    level: Level
    role: str
    connection: int
    index: int
    time: float
    pdu: RawPdu | None
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedEvent:
    """An event that the initiator has to log for what the history shows. finding: the violation behind it, if any."""

    source: str
    id: int
    connection: int
    index: int
    time: float
    dump: bytes
    finding: Finding | None = None


class RuleBook:
    """Judge of one history.

    settings: what the initiator declares about itself, as a `SettingsRecord` would; such records add to it. At most
    FINDINGS_PER_RULE findings of a rule are kept; `counts` has them all. events: predict them too; at most EVENTS_KEPT are.
    chap_secrets: by which CHAP responses are verified; no finding shows one.
    """

    def __init__(
        self,
        settings: Mapping[str, object] | None = None,
        *,
        events: bool = False,
        chap_secrets: ChapSecrets | None = None,
    ) -> None:
        self.settings: dict[str, object] = dict(settings or {})
        self.findings: list[Finding] = []
        self.events: list[PredictedEvent] = []
        self.counts: Counter[str] = Counter()
        self._dialogue = Dialogue(chap_secrets or NO_SECRETS)
        self._connections = self._dialogue.connections
        self._index = -1
        self._oracle = EventOracle(self._predict, settings) if events else None
        # Up to which record all is normal, up to which one events are predicted, and those whose turn has not come.
        self._passed = self._foreseen = -1
        self._ahead: deque[tuple[int, int, int, float, bytes]] = deque()

    @property
    def dialogue(self) -> Dialogue:
        """What is known of the connections and sessions that are up; to be looked at only."""
        return self._dialogue

    def record(self, record: Record) -> None:
        """Take the next record of the history. Never raises, whatever the bytes are."""
        self._index = index = self._index + 1
        if index <= self._passed:
            pass
        elif type(record) is PduRecord:
            connection = self._connections.get(record.connection)
            raw = record.raw
            if connection is None:
                connection = self._dialogue.begin_in_the_middle(record.connection, raw)
            normal = FAST[record.direction].get(raw.bhs[0]) if connection.plain else None
            if normal is None or not normal(connection, raw):
                self._judge(connection, record)
        else:
            self._beside(record)
        if self._oracle is not None:
            if index > self._foreseen:
                self._oracle.record(record)
            elif self._ahead:
                self._come_true(index)

    def foresee(self, records: Sequence[Record]) -> None:
        """Look at the records that `record` takes next. It may be left out: many at once are quicker.

        The dialogue goes ahead as long as nothing unusual comes, at most to where a command window is closed.
        """
        self._passed = self._index + self._normal(records)
        if self._oracle is not None:
            predict = self._oracle.record
            self._foreseen = self._index
            for record in records:
                self._foreseen += 1
                predict(record)

    def _normal(self, records: Iterable[Record]) -> int:
        """How many of the records in a row break no rule. They are taken then."""
        count = 0
        for record in records:
            if type(record) is not PduRecord:
                break
            connection = self._connections.get(record.connection)
            if connection is None or not connection.plain or connection.session.window_closed:
                break
            raw = record.raw
            normal = FAST[record.direction].get(raw.bhs[0])
            if normal is None or not normal(connection, raw):
                break
            count += 1
        return count

    def finish(self, now: float) -> None:
        """The history is over at this time (seconds): events whose time-out has passed by then are due too."""
        if self._oracle is not None:
            self._oracle.finish(now)

    def _beside(self, record: Record) -> None:
        """What is no PDU."""
        if isinstance(record, TransportRecord):
            former = self._connections.get(record.connection)
            self._dialogue.transport(record)
            if former is not None:
                _review(former)
        elif isinstance(record, SettingsRecord):
            self.settings.update(record.settings)
        else:
            lost = self._connections.get(record.connection)
            if lost is not None:
                lost.lost = True
                lost.broken |= Side.INITIATOR | Side.TARGET
                lost.plain = False

    def _predict(self, event: int, connection: int, now: float, dump: bytes) -> None:
        if self._foreseen > self._index:
            self._ahead.append((self._foreseen, event, connection, now, dump))
        else:
            self._keep(event, connection, now, dump)

    def _come_true(self, index: int) -> None:
        """The record is judged whose events were predicted before."""
        ahead = self._ahead
        while ahead and ahead[0][0] == index:
            self._keep(*ahead.popleft()[1:])

    def _keep(self, event: int, connection: int, now: float, dump: bytes) -> None:
        if len(self.events) >= EVENTS_KEPT:
            return
        latest = self.findings[-1] if self.findings else None
        behind = latest is not None and latest.index == self._index and latest.role == "target"
        self.events.append(
            PredictedEvent(
                source=SOURCE,
                id=event,
                connection=connection,
                index=self._index,
                time=now,
                dump=dump,
                finding=latest if behind else None,
            )
        )

    def _judge(self, connection: Connection, record: PduRecord) -> None:
        """The long way: every row that is filed for this PDU."""
        dialogue = self._dialogue
        sight = dialogue.look(connection, record.raw, record.direction, record.time)
        damaged = record.raw.header_digest_error or record.raw.data_digest_error
        filed = TABLE.get((sight.side, sight.opcode, sight.phase))
        rows: Sequence[Rule] = filed[damaged] if filed is not None else ()
        other_broke, known = _broken_by_the_other(sight), connection.known
        if other_broke or not known:
            rows = [rule for rule in rows if not (other_broke and rule.leans) and (known or not rule.from_start)]
        broken = [(rule, message) for rule in rows if (message := rule.check(sight)) is not None]
        for rule, message in broken:
            self._find(rule, sight, message)
        dialogue.advance(sight)
        for rule, _ in broken:
            _stain(rule, sight)
        if filed is None:
            # An opcode that no rule knows: what it does to the dialogue cannot be told.
            connection.broken |= sight.side
        _review(connection)

    def _find(self, rule: Rule, sight: Sight, message: str) -> None:
        self.counts[rule.id] += 1
        if self.counts[rule.id] > FINDINGS_PER_RULE:
            return
        self.findings.append(
            Finding(
                rule=rule.id,
                clause=rule.clause,
                level=rule.level,
                role=ROLE_NAMES[sight.side],
                connection=sight.connection.number,
                index=self._index,
                time=sight.time,
                pdu=sight.raw.kept(),
                message=message,
            )
        )


def _review(connection: Connection) -> None:
    """See anew which connections of the session the quick tests may judge."""
    connection.plain = is_plain(connection)
    for other in connection.session.connections.values():
        other.plain = is_plain(other)


def _broken_by_the_other(sight: Sight) -> bool:
    """Whether the other side has broken something that reaches this PDU."""
    broken = sight.connection.broken | sight.session.broken
    if sight.task is not None:
        broken |= sight.task.broken
    return bool(broken & _SIDES & ~sight.side)


def _stain(rule: Rule, sight: Sight) -> None:
    """Mark what the violation reaches."""
    if rule.stain is Stain.SESSION:
        sight.session.broken |= sight.side
    elif rule.stain is Stain.CONNECTION:
        sight.connection.broken |= sight.side
    elif rule.stain is Stain.TASK:
        task = sight.session.tasks.get(sight.itt) or sight.task
        if task is None:
            sight.connection.broken |= sight.side
        else:
            task.broken |= sight.side
