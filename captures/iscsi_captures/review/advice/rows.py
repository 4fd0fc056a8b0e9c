"""The rows of advice. Where a row speaks of a connection it speaks once, of the first place, and counts the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from iscsi_captures.reading import frame_of
from iscsi_captures.review import thresholds as limits
from iscsi_captures.review.advice.model import Table, Told, Whole
from iscsi_captures.review.facts import Attempt, Sighting
from iscsi_captures.review.findings import statement
from iscsi_captures.review.model import ReviewFinding

ADVICE = Table()


def advise(whole: Whole) -> Iterator[ReviewFinding]:
    """Every piece of advice that the facts of a capture give reason for; the session is not known here."""
    for row in ADVICE:
        for place, message in row.check(whole):
            yield ReviewFinding(
                rule=row.id,
                clause=row.clause,
                level="ADVICE",
                role=row.role,
                connection=place.connection,
                session=None,
                frame=frame_of(place.frame),
                first_frame=frame_of(place.first_frame),
                time=place.time,
                pdu=place.pdu,
                field=None,
                message=message,
                says=row.says,
                statement=statement(row.clause),
                meaning=row.meaning,
                itt=None if place.pdu is None else int.from_bytes(place.pdu.raw[16:20], "big"),
                events=[],
                counted=place.count,
            )


def _seen(whole: Whole, what: str, least: int = 1) -> Iterator[Sighting]:
    """The sightings of this name, connection by connection."""
    for facts in whole.connections:
        place = facts.seen.get(what)
        if place is not None and place.count >= least:
            yield place


def _times(place: Sighting) -> str:
    return "once" if place.count == 1 else f"{place.count} times"


@ADVICE(
    "small-r2ts",
    "target",
    "Each R2T that waits for the answer to the one before costs the write a round trip. A target that asks for "
    "MaxBurstLength at once, or MaxOutstandingR2T above 1, takes them away.",
    limits.SERIAL_R2TS,
    limits.SMALL_R2T,
    clause="R7143-11.8-08",
)
def _small_r2ts(whole: Whole) -> Iterable[Told]:
    """A write is asked for in few large R2Ts rather than in many small ones, one after the other."""
    for place in _seen(whole, "small R2Ts"):
        yield place, f"writes were asked for in serial R2Ts of at most {place.most:.0f} bytes, {_times(place)}"


_DELAYED = (
    "A sender with a small segment waits for an acknowledgement (Nagle's algorithm), which the receiver holds back. On "
    "Windows TcpAckFrequency=1 (older systems: TcpDelAckTicks=0) for the iSCSI interfaces ends it; elsewhere TCP_NODELAY "
    "at the side that waits."
)


@ADVICE("delayed-ack-40", "network", _DELAYED, limits.STALL_SHORT, limits.STALLS)
def _stalls_of_40(whole: Whole) -> Iterable[Told]:
    """No side waits 40 ms for a delayed acknowledgement."""
    for place in _seen(whole, "stall of 40 ms", int(limits.STALLS.value)):
        yield place, f"a segment waited {place.most:.0f} ms for a delayed acknowledgement, {_times(place)}"


@ADVICE("delayed-ack-200", "network", _DELAYED, limits.STALL_LONG, limits.STALLS)
def _stalls_of_200(whole: Whole) -> Iterable[Told]:
    """No side waits 200 ms for a delayed acknowledgement."""
    for place in _seen(whole, "stall of 200 ms", int(limits.STALLS.value)):
        yield place, f"a segment waited {place.most:.0f} ms for a delayed acknowledgement, {_times(place)}"


@ADVICE(
    "window-closed",
    "target",
    "While MaxCmdSN does not move the initiator may send no command, whatever the host asks for. The target is "
    "overloaded, or its queue is too short for this host.",
    limits.CLOSED_WINDOW,
    clause="R7143-4.2.2.1-14",
)
def _closed_window(whole: Whole) -> Iterable[Told]:
    """The command window does not stay closed for long."""
    for place in _seen(whole, "closed window"):
        yield place, f"the command window stayed closed for up to {place.most:.3f} s, {_times(place)}"


@ADVICE(
    "retransmission-storm",
    "network",
    "The path loses packets in bursts: a congested switch, a duplex mismatch, a bad cable. Each loss holds up every "
    "command of the connection.",
    limits.STORM,
    limits.STORM_SECONDS,
)
def _storm(whole: Whole) -> Iterable[Told]:
    """Retransmissions are rare."""
    for facts in whole.connections:
        place = facts.seen.get("storm")
        if place is not None:
            resent = facts.seen["retransmission"]
            words = f"{resent.count} segments with {resent.total:.0f} bytes were sent again, in {place.count} bursts"
            yield place, words


@ADVICE(
    "zero-window",
    "network",
    "A receiver that takes no more bytes stops the connection: its host or its disks are too slow for what comes in.",
    limits.ZERO_WINDOW,
)
def _zero_window(whole: Whole) -> Iterable[Told]:
    """No side keeps the TCP window shut for long."""
    for place in _seen(whole, "zero window"):
        yield place, f"the TCP window was shut for up to {place.most:.3f} s, {_times(place)}"


@ADVICE(
    "block-length",
    "target",
    "The initiator of the guide supports disks with blocks of 512 bytes alone; applications may fail with any other.",
    limits.USUAL_BLOCK,
)
def _blocks(whole: Whole) -> Iterable[Told]:
    """A logical unit has blocks of 512 bytes."""
    for place in _seen(whole, "blocks"):
        yield place, f"READ CAPACITY tells blocks of {place.most:.0f} bytes"


@ADVICE(
    "portal-silent",
    "target",
    "Initiators that use this portal wait for the TCP time-out first. The target should not advertise it, or the network "
    "should let it be reached.",
    clause="R7143-13.8-01",
)
def _silent(whole: Whole) -> Iterable[Told]:
    """A portal that a target advertises answers."""
    for endpoint, place in whole.unanswered.items():
        if endpoint in whole.advertised:
            yield place, f"{endpoint} was advertised and does not answer, SYNs: {max(1, int(place.most))}"


@ADVICE(
    "second-connection-refused",
    "target",
    "The initiator asks for several connections in a session and the target takes one alone (status 0206). Multipath over "
    "sessions, or MaxConnections above 1 at the target, is what is wanted.",
    clause="R7143-13.2-01",
)
def _refused(whole: Whole) -> Iterable[Told]:
    """A further connection of a session is taken."""
    for place in _seen(whole, "connection refused"):
        yield place, f"a further connection of the session was refused with 0206, {_times(place)}"


@ADVICE(
    "no-jumbo-frames",
    "network",
    "The two sides agreed on small segments, so that a large transfer is many frames. Jumbo frames at both ends and all "
    "that is between them spare work.",
    limits.JUMBO,
    limits.BUSY,
)
def _segments(whole: Whole) -> Iterable[Told]:
    """A storage network uses jumbo frames."""
    for facts in whole.connections:
        small = facts.segment is not None and facts.segment < limits.JUMBO.value
        if facts.syn is not None and small and facts.moved >= limits.BUSY.value:
            yield facts.syn, f"an MSS of {facts.segment} bytes and {facts.moved} bytes of data"


@ADVICE(
    "paused-link",
    "network",
    "Somebody on the link could not keep up and had it stopped (802.3x flow control); all of its traffic waits.",
    limits.PAUSES,
)
def _paused(whole: Whole) -> Iterable[Told]:
    """The link is not paused."""
    if whole.paused is not None and whole.paused.count >= limits.PAUSES.value:
        yield whole.paused, f"pause frames: {whole.paused.count}, the longest of {whole.paused.most:.0f} quanta"


@ADVICE(
    "slow-command",
    "target",
    "Single commands take far longer than the others: a disk that recovers, a cache that is flushed, a path that lost a "
    "packet. The trace of the command shows where the time went.",
    limits.SLOW,
    limits.SLOW_FACTOR,
    limits.SLOW_OUT_OF,
)
def _slow(whole: Whole) -> Iterable[Told]:
    """No command takes far longer than the others."""
    for facts in whole.connections:
        latency = facts.latency
        if latency is None or latency.count < limits.SLOW_OUT_OF.value:
            continue
        limit = max(limits.SLOW.value, limits.SLOW_FACTOR.value * latency.median)
        slow = [(seconds, place) for seconds, place in facts.slowest if seconds >= limit]
        if slow:
            seconds, place = slow[0]
            place.count = len(slow)
            yield place, f"a command took {seconds:.3f} s where the median is {latency.median:.6f} s"


@ADVICE(
    "command-timed-out",
    "target",
    "The host gave a command up and aborted it. What took so long is to be found at the target, or on the path.",
)
def _aborts(whole: Whole) -> Iterable[Told]:
    """The host does not have to abort commands."""
    for place in _seen(whole, "abort"):
        yield place, f"ABORT TASK was sent, {_times(place)}"


@ADVICE(
    "login-retries",
    "initiator",
    "The initiator tries again what the target refuses or drops each time. The status of the responses tells why: a name, a "
    "secret, a missing right.",
    limits.RETRIES,
    limits.RETRY_SECONDS,
)
def _retries(whole: Whole) -> Iterable[Told]:
    """A login that fails is not tried again and again."""

    def pair(attempt: Attempt) -> tuple[str, str]:
        return attempt.initiator_name, attempt.target

    ordered = sorted(whole.attempts, key=lambda attempt: (*pair(attempt), attempt.place.time, attempt.place.frame))
    for (initiator, target), attempts in groupby(ordered, pair):
        run: list[Attempt] = []
        longest: list[Attempt] = []
        for attempt in attempts:
            if run and attempt.place.time - run[-1].place.time > limits.RETRY_SECONDS.value:
                run = []
            failed = attempt.outcome == "unfinished" or attempt.outcome.startswith("refused")
            run = [*run, attempt] if failed else []
            longest = max(longest, run, key=len)
        if len(longest) >= limits.RETRIES.value:
            place = longest[-1].place
            place.count = len(longest)
            why = longest[-1].outcome
            yield place, f"{initiator} tried {target or 'discovery'} {len(longest)} times in vain, last: {why}"
