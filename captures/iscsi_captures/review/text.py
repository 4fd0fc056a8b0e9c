"""A review as text: lines for a terminal, or for a pipe, where the field in question stands in brackets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from rich.text import Text

from iscsi_captures.legible import legible
from iscsi_captures.reading import FrameRef
from iscsi_captures.review.dissection import fields, parts, texts
from iscsi_captures.review.filters import finding_filters
from iscsi_captures.review.model import ConnectionReview, Gap, Latency, Moment, Review, ReviewFinding, SessionReview
from iscsi_captures.review.units import duration, size
from iscsi_captures.review.units import moment as date
from iscsi_protocol.eventlog import EVENTS

TIMELINE_SHOWN = 100
GAPS_SHOWN = 50
FRAMES_SHOWN = 10
LINES_SHOWN = 4
PAIRS_PER_LINE = 4
_PARTS = {"Basic": "BHS", "Additional": "AHS", "Header": "CRC", "Data": "data"}
STYLES = {"MUST": "bold red", "SHOULD": "yellow", "ADVICE": "cyan"}
_HEAD = "bold"
_MARK = "bold reverse"


def lines(review: Review) -> Iterator[Text]:
    """Everything that the text shows, line by line."""
    yield from _files(review)
    connections = {each.number: each for session in review.sessions for each in session.connections}
    known: dict[tuple[tuple[str, str], ...], int] = {}
    for session in review.sessions:
        yield Text()
        values = tuple(session.negotiated.items())
        yield from _session(session, known.get(values))
        known.setdefault(values, session.number)
    yield from _loads(review)
    yield from _timeline(review)
    yield from _gaps(review)
    yield from _findings(review, connections)
    yield from _events(review)
    yield Text()
    yield _sum(review)


def _files(review: Review) -> Iterator[Text]:
    for file in review.files:
        yield Text(f"{legible(file.name)}: {file.form}, {file.packets} packets, {size(file.bytes)}", _HEAD)
        if file.damage:
            yield Text(f"  {legible(file.damage)}", "yellow")
    if review.first_time:
        span = duration(max(0.0, review.last_time - review.first_time))
        yield Text(f"from {date(review.first_time)}, {span}; {', '.join(review.link_types)}")
    ignored = f"; {review.ignored} TCP connections that are not iSCSI" if review.ignored else ""
    yield Text(f"{review.packets} packets, {review.pdus} PDUs in {len(review.sessions)} sessions{ignored}")


def _session(session: SessionReview, before: int | None) -> Iterator[Text]:
    """before: the number of a session with the same values."""
    names = f"{session.initiator_name or 'an initiator'} -> {session.target_name or 'the discovery service'}"
    if session.kind == "unknown":
        yield Text(f"Session {session.number}: its login is not in the capture", _HEAD)
    else:
        identity = f"ISID {session.isid}, TSIH {session.tsih}"
        yield Text(f"Session {session.number} ({session.kind}): {legible(names)}, {identity}", _HEAD)
    for connection in session.connections:
        yield from _connection(connection)
    if not session.negotiated:
        return
    if before is not None:
        yield Text(f"  values in force: as in session {before}")
        return
    yield Text("  values in force:")
    pairs = [f"{legible(key)}={legible(value)}" for key, value in session.negotiated.items()]
    for start in range(0, len(pairs), PAIRS_PER_LINE):
        yield Text(f"    {', '.join(pairs[start : start + PAIRS_PER_LINE])}")


def _connection(connection: ConnectionReview) -> Iterator[Text]:
    ends = f"{connection.initiator or '?'} -> {connection.target or '?'}"
    yield Text(f"  connection {connection.number} (CID {connection.cid}): {ends}, login {connection.login}")
    closed = (
        "open at the end"
        if connection.closed is None
        else f"{connection.closed.how} ({frame(connection.closed.frame)})"
    )
    yield Text(f"    {connection.opened.how} ({frame(connection.opened.frame)}), {closed}; {_digests(connection)}")
    counts = ", ".join(f"{name} {count}" for name, count in connection.opcodes.items())
    if counts:
        moved = f"{size(connection.bytes_to_target)} to the target, {size(connection.bytes_to_initiator)} back"
        yield Text(f"    {counts}; {moved}")


def _digests(connection: ConnectionReview) -> str:
    digests = connection.digests
    if digests.known == "none":
        return "digests not known"
    names = [name for name, there in (("header", digests.header), ("data", digests.data)) if there]
    words = f"{' and '.join(names)} digest" if names else "no digests"
    return words if digests.known == "login" else f"{words}, by their looks (confidence {digests.confidence:.2f})"


def _loads(review: Review) -> Iterator[Text]:
    totals = [(load.connection, load.total) for load in review.loads if load.total is not None]
    if not totals:
        return
    yield Text()
    yield Text("Commands", _HEAD)
    for connection, total in totals:
        yield Text(f"  connection {connection}: {_latency(total)}")


def _latency(total: Latency) -> str:
    shares = (("median", total.median), ("90 %", total.p90), ("99 %", total.p99), ("longest", total.longest))
    return f"{total.count} commands, " + ", ".join(f"{name} {duration(value)}" for name, value in shares)


def _timeline(review: Review) -> Iterator[Text]:
    if not review.timeline:
        return
    yield Text()
    yield Text("Timeline", _HEAD)
    shown = review.timeline
    half = TIMELINE_SHOWN // 2
    left_out = len(shown) - TIMELINE_SHOWN
    for place, each in enumerate(shown):
        if left_out > 0 and half <= place < len(shown) - half:
            if place == half:
                yield Text(f"  ... {left_out} lines left out; --json has more ...", "dim")
            continue
        yield _moment(each, review.first_time)


def _moment(moment: Moment, start: float) -> Text:
    where = "" if moment.connection is None else f" connection {moment.connection}:"
    style = "red" if moment.kind == "finding" and moment.what.startswith("MUST") else ""
    return Text(f"  {moment.time - start:+12.6f} s  {frame(moment.frame)}{where} {legible(moment.what)}", style)


def _gaps(review: Review) -> Iterator[Text]:
    if not review.gaps:
        return
    yield Text()
    yield Text("What the capture lacks", _HEAD)
    for gap in review.gaps[:GAPS_SHOWN]:
        yield Text(f"  {_gap(gap)}")
    if len(review.gaps) > GAPS_SHOWN:
        yield Text(f"  ... {len(review.gaps) - GAPS_SHOWN} more; --json has them", "dim")


def _gap(gap: Gap) -> str:
    connection = "" if gap.connection is None else f" connection {gap.connection}"
    way = "" if gap.way is None else f" {gap.way}"
    return f"{frame(gap.frame)}{connection}{way}: {gap.kind}: {legible(gap.message)}"


def _findings(review: Review, connections: dict[int, ConnectionReview]) -> Iterator[Text]:
    """Findings of the same kind stand under the first of them."""
    first_of: dict[tuple[str, int, str], list[tuple[int, ReviewFinding]]] = {}
    for number, finding in enumerate(review.findings, 1):
        first_of.setdefault((finding.rule, finding.connection, finding.role), []).append((number, finding))
    for alike in first_of.values():
        number, finding = alike[0]
        yield Text()
        yield from _finding(number, finding, review.first_time, connections.get(finding.connection))
        if len(alike) > 1:
            frames = [str(other.frame.number) for _, other in alike[1 : FRAMES_SHOWN + 1]]
            more = ", ..." if len(alike) > FRAMES_SHOWN + 1 else ""
            yield Text(f"   and {len(alike) - 1} more, in frames {', '.join(frames)}{more}")
    for rule, count in review.dropped.items():
        yield Text(f"{rule}: {count} more were counted and not kept", "dim")


def _finding(number: int, finding: ReviewFinding, start: float, connection: ConnectionReview | None) -> Iterator[Text]:
    head = Text(f"{number}. ")
    head.append(finding.level, STYLES[finding.level])
    head.append(f" {finding.role}: {legible(finding.message)}", _HEAD)
    yield head
    begins = "" if finding.first_frame == finding.frame else f" (begins in {frame(finding.first_frame)})"
    on = f", connection {finding.connection}" if finding.connection else ""
    yield Text(f"   {frame(finding.frame)}{begins}, {finding.time - start:+.6f} s{on}; rule {finding.rule}")
    yield Text(f"   {finding.says}")
    if finding.statement:
        yield Text(f"   {finding.clause}: {finding.statement}")
    if finding.meaning:
        yield Text(f"   Meaning: {finding.meaning}")
    for event in dict.fromkeys(finding.events):
        yield Text(
            f"   Logged as iScsiPrt {event}: {EVENTS[event].message}" if event in EVENTS else f"   Logged as {event}"
        )
    for text in finding_filters(finding, connection):
        yield Text(f"   Filter: {text}", "dim")
    if finding.pdu is not None:
        yield from _pdu(finding)


def _pdu(finding: ReviewFinding) -> Iterator[Text]:
    """The bytes of the header and of what is marked, then the fields that say something."""
    pdu, field = finding.pdu, finding.field
    if pdu is None:
        return
    yield Text(
        f"   {pdu.name}, {pdu.way}, {pdu.length} bytes" + ("" if field is None else f"; it is about {field.name}")
    )
    pairs = texts(pdu, field)
    for part in parts(pdu, field):
        if pairs and part.title.startswith("Data"):
            continue
        for line in part.lines[:LINES_SHOWN]:
            row = Text(f"     {_PARTS[part.title.split()[0]]:<5}{line.offset:04x}  ", "dim")
            for place, run in enumerate(line.runs):
                row.append(" " if place else "", "none")
                row.append(f"[{run.text}]" if run.marked else run.text, _MARK if run.marked else "none")
            row.append(f"  {line.letters}", "dim")
            yield row
    for each in fields(pdu, field):
        if each.marked or each.value.strip("0 ") not in ("", "0x"):
            says = f" ({each.says})" if each.says else ""
            mark = "=>" if each.marked else "  "
            yield Text(f"     {mark} {each.name} = {each.value}{says}", "bold" if each.marked else "")
    for text in pairs:
        yield Text(f"     {'=>' if text.marked else '  '} {legible(text.text)}", "bold" if text.marked else "")


def _events(review: Review) -> Iterator[Text]:
    if not review.events:
        return
    yield Text()
    yield Text("What the initiator of the guide logs", _HEAD)
    for (name, severity, meaning), alike in groupby(
        sorted(review.events, key=lambda event: event.id), lambda event: (event.name, event.severity, event.meaning)
    ):
        frames = [frame(event.frame) for event in alike]
        shown = ", ".join(frames[:FRAMES_SHOWN]) + (", ..." if len(frames) > FRAMES_SHOWN else "")
        yield Text(f"  {name} ({severity}): {meaning}; {len(frames)} at {shown}")


def _sum(review: Review) -> Text:
    counts: Counter[str] = Counter(finding.level for finding in review.findings)
    words = ", ".join(f"{counts[level]} {level}" for level in STYLES if counts[level])
    verdict = "no MUST was broken, as far as the capture shows" if review.conforms else "MUST was broken"
    return Text(f"{words or 'no findings'}: {verdict}", _HEAD)


def frame(ref: FrameRef) -> str:
    """A frame for people."""
    where = f"file {ref.file + 1} " if ref.file else ""
    return f"{where}frame {ref.number}" if ref.number else "no frame"
