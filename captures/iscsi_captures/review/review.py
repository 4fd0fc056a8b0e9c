"""Reviewing captures from end to end: read, follow, put together."""

from __future__ import annotations

from collections.abc import Sequence

from iscsi_captures.reading import Progress, Source, read
from iscsi_captures.review.assemble import assemble
from iscsi_captures.review.model import Review
from iscsi_captures.review.reviewer import Reviewer


def review(
    sources: Sequence[Source], *, port: int | None = None, jobs: int = 1, progress: Progress | None = None
) -> Review:
    """What captures show. Raises CaptureError for a source that cannot be read at all.

    port: what uses this TCP port is iSCSI. jobs: processes that share the connections. progress: told of bytes read and
    of all bytes, where that is known.
    """
    reviewer = Reviewer()
    totals = read(sources, reviewer, port=port, progress=progress)
    return assemble([reviewer.finish(totals.last_time or 0.0)], totals)
