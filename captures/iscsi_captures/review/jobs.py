"""A review by several processes: each reads all packets and follows its share of the connections.

Connections of one session, and whatever else is judged across connections, belong together. That shows only once the logins
were read: where a share turns out to have cut something in two, `share_out` says so, and one process does it all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from zlib import crc32

from iscsi_captures.chap_secrets import ChapSecrets
from iscsi_captures.reading import ConnectionKey, Progress, Source, Totals, read
from iscsi_captures.review.facts import Part
from iscsi_captures.review.reviewer import Reviewer

REGISTERED_PORTS = frozenset({860, 3260})


def share_out(
    sources: Sequence[Source], *, port: int | None, jobs: int, chap_secrets: ChapSecrets | None
) -> tuple[list[Part], Totals] | None:
    """The parts of a review, one for each process. None where the connections cannot be judged apart.

    Raises CaptureError.
    """
    # A review by one process shall not wait for what only several need.
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415
    from multiprocessing import get_context  # noqa: PLC0415

    context = get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(_share, sources, port, jobs, which, chap_secrets) for which in range(jobs)]
        shares = [future.result() for future in futures]
    parts = [part for part, _ in shares]
    totals = _sum([totals for _, totals in shares])
    return None if entangled(parts, port) else (parts, totals)


def follow(
    sources: Sequence[Source],
    *,
    port: int | None,
    chap_secrets: ChapSecrets | None,
    progress: Progress | None = None,
    share: tuple[int, int] | None = None,
) -> tuple[Part, Totals]:
    """Read captures and follow their connections: all of them, or share (which, of how many). Raises CaptureError."""
    reviewer = Reviewer(chap_secrets)

    def only(key: ConnectionKey) -> bool:
        return share is None or crc32(key) % share[1] == share[0]

    totals = read(sources, reviewer, port=port, only=None if share is None else only, progress=progress)
    return reviewer.finish(totals.last_time or 0.0), totals


def _share(
    sources: Sequence[Source], port: int | None, jobs: int, which: int, chap_secrets: ChapSecrets | None
) -> tuple[Part, Totals]:
    return follow(sources, port=port, chap_secrets=chap_secrets, share=(which, jobs))


def entangled(parts: Sequence[Part], port: int | None) -> bool:
    """Whether one process would have seen more than these parts together.

    So it is where several connections name one session or repeat a CHAP challenge, the only ones whose findings name each
    other, where a login is tried again after it was refused, where a reservation may concern other sessions, and where the
    port is known for iSCSI by what another connection to it looks like.
    """
    identities: Counter[tuple[str, str]] = Counter()
    challenges: Counter[bytes] = Counter()
    for part in parts:
        identities.update((session.target_name, session.isid) for session in part.sessions if session.isid)
        challenges.update(part.challenges)
    logins: Counter[tuple[str, str]] = Counter()
    refused = False
    for attempt in (attempt for part in parts for attempt in part.attempts):
        logins[attempt.initiator_name, attempt.target] += 1
        refused = refused or attempt.outcome.startswith("refused")
    again = refused and any(count > 1 for count in logins.values())
    reserves = any(part.reserves for part in parts) and sum(len(part.sessions) for part in parts) > 1
    several = any(len(session.connections) > 1 for part in parts for session in part.sessions)
    twice = any(count > 1 for counts in (identities, challenges) for count in counts.values())
    known = REGISTERED_PORTS | {port}
    learned = any(
        int(connection.target.rpartition(":")[2] or 0) not in known
        for part in parts
        for connection in part.connections.values()
    )
    return several or twice or learned or again or reserves


def _sum(shares: Sequence[Totals]) -> Totals:
    """The totals of all: packets were counted by each, PDUs and connections by one."""
    pdus: Counter[int] = Counter()
    for share in shares:
        pdus.update(share.pdus)
    return replace(
        shares[0],
        pdus=pdus,
        connections=sum(share.connections for share in shares),
        ignored=sum(share.ignored for share in shares),
    )
