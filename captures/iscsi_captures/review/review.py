"""Reviewing captures from end to end: read, follow, put together."""

from __future__ import annotations

from collections.abc import Sequence

from iscsi_captures.chap_secrets import ChapSecrets
from iscsi_captures.reading import Progress, Source
from iscsi_captures.review.assemble import assemble
from iscsi_captures.review.jobs import follow, share_out
from iscsi_captures.review.model import Review


def review(
    sources: Sequence[Source],
    *,
    port: int | None = None,
    jobs: int = 1,
    chap_secrets: ChapSecrets | None = None,
    progress: Progress | None = None,
) -> Review:
    """What captures show. Raises CaptureError for a source that cannot be read at all.

    port: what uses this TCP port is iSCSI. jobs: processes that share the
    connections; the review is the same for any number. chap_secrets: to verify CHAP
    responses by. progress: told of bytes read and of all bytes, where that is known.
    """
    if jobs > 1:
        shared = share_out(sources, port=port, jobs=jobs, chap_secrets=chap_secrets)
        if shared is not None:
            return assemble(*shared)
    part, totals = follow(sources, port=port, chap_secrets=chap_secrets, progress=progress)
    return assemble([part], totals)
