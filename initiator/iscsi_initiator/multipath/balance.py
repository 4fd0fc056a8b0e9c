"""The five policies, as functions of nothing but the paths as they are (guide, Using Multipathing I/O).

Nothing is remembered of failures: a formerly active path that is back is active again by being up, and the standby that
stood in for it is a standby again. A request that was given to a path stays there; only the next one is decided anew.
Among equals the order of the paths decides, except where a policy goes round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from iscsi_initiator.multipath.path import LoadBalance, Path, PathStatus


def _up(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if path.up]


def _first_of(paths: list[Path]) -> list[Path]:
    """Active ones if any is up; else one standby, the first."""
    return [path for path in paths if path.active] or paths[:1]


def _primary(paths: Sequence[Path]) -> list[Path]:
    return _first_of(_up(paths))[:1]


def _subset(paths: Sequence[Path]) -> list[Path]:
    return _first_of(_up(paths))


def _lightest(paths: Sequence[Path]) -> list[Path]:
    up = _up(paths)
    return [min(up, key=lambda path: path.weight)] if up else []


_SERVING: Mapping[LoadBalance, Callable[[Sequence[Path]], list[Path]]] = MappingProxyType(
    {
        LoadBalance.FAIL_OVER_ONLY: _primary,
        LoadBalance.ROUND_ROBIN: _up,
        LoadBalance.ROUND_ROBIN_SUBSET: _subset,
        LoadBalance.WEIGHTED_PATHS: _lightest,
        LoadBalance.LEAST_QUEUE_DEPTH: _up,
    }
)
"""Policy -> the paths that requests may go over now, in their order."""


def _after(paths: Sequence[Path], serving: list[Path], last: int | None) -> int:
    """The next of the serving paths, going round all of them from the last one on."""
    ids = [path.id for path in paths]
    begin = ids.index(last) + 1 if last in ids else 0
    allowed = {path.id for path in serving}
    return next(path for path in ids[begin:] + ids[:begin] if path in allowed)


def choose(policy: LoadBalance, paths: Sequence[Path], last: int | None) -> int | None:
    """The id of the path for the next request; None while no path is up.

    paths: in the order of their configuration, ids all different. last: the path that was chosen before, which may be
    down or gone by now; None at first.
    """
    serving = _SERVING[policy](paths)
    if policy is LoadBalance.LEAST_QUEUE_DEPTH and serving:
        fewest = min(path.queued for path in serving)
        serving = [path for path in serving if path.queued == fewest]
    if len(serving) <= 1:
        return serving[0].id if serving else None
    return _after(paths, serving, last)


def statuses(policy: LoadBalance, paths: Sequence[Path]) -> Mapping[int, PathStatus]:
    """What each path is now, by its id. The one that `choose` gives is always among the active ones."""
    serving = {path.id for path in _SERVING[policy](paths)}
    standing = {True: PathStatus.STANDBY, False: PathStatus.FAILED}
    return {path.id: PathStatus.ACTIVE if path.id in serving else standing[path.up] for path in paths}
