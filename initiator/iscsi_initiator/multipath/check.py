"""What is refused when a policy is set, with the code that says so (guide, Appendix D)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from iscsi_initiator.multipath.path import LoadBalance, Path
from iscsi_initiator.status_codes import Refused
from iscsi_protocol.status_codes import StatusCode

MAX_WEIGHT = 0xFFFFFFFF


def check(
    policy: LoadBalance | int,
    paths: Sequence[Path],
    *,
    known: Collection[int] | None = None,
    over_sessions: bool = False,
) -> None:
    """Raise Refused where the policy cannot be set with these paths; the first that applies, in this order.

    INVALID_LOAD_BALANCE_POLICY, LB_POLICY_NOT_SUPPORTED (Least Queue Depth where over_sessions: the paths are sessions of
    their own instead of connections of one), INVALID_PARAMETER (no path, a weight outside 0 to 2^32-1, a negative queue),
    DUPLICATE_PATH_SPECIFIED, PATH_COUNT_MISMATCH and INVALID_PATH_ID (against the ids in known, unless that is None),
    MULTIPLE_PRIMARY_PATHS_SPECIFIED (Fail Over Only has one active path), NO_PRIMARY_PATH_SPECIFIED (neither it nor the
    round robin over a subset can do without any).
    """
    try:
        policy = LoadBalance(policy)
    except ValueError as error:
        raise Refused(StatusCode.INVALID_LOAD_BALANCE_POLICY, f"there is no policy {policy}") from error
    if over_sessions and policy is LoadBalance.LEAST_QUEUE_DEPTH:
        raise Refused(StatusCode.LB_POLICY_NOT_SUPPORTED, "queues are known of the connections of one session only")
    _check_parameters(paths)
    _check_ids([path.id for path in paths], known)
    _check_active(policy, sum(path.active for path in paths))


def _check_parameters(paths: Sequence[Path]) -> None:
    if not paths:
        raise Refused(StatusCode.INVALID_PARAMETER, "no path was given")
    for path in paths:
        if not 0 <= path.weight <= MAX_WEIGHT:
            raise Refused(StatusCode.INVALID_PARAMETER, f"path {path.id} has weight {path.weight}")
        if path.queued < 0:
            raise Refused(StatusCode.INVALID_PARAMETER, f"path {path.id} has {path.queued} requests queued")


def _check_ids(ids: Sequence[int], known: Collection[int] | None) -> None:
    for path in ids:
        if ids.count(path) > 1:
            raise Refused(StatusCode.DUPLICATE_PATH_SPECIFIED, f"path {path} was given {ids.count(path)} times")
    if known is None:
        return
    if len(ids) != len(known):
        raise Refused(StatusCode.PATH_COUNT_MISMATCH, f"{len(ids)} were given, there are {len(known)}")
    for path in ids:
        if path not in known:
            raise Refused(StatusCode.INVALID_PATH_ID, f"there is no path {path}")


def _check_active(policy: LoadBalance, active: int) -> None:
    if policy is LoadBalance.FAIL_OVER_ONLY and active > 1:
        raise Refused(StatusCode.MULTIPLE_PRIMARY_PATHS_SPECIFIED, f"{active} are active")
    if policy in {LoadBalance.FAIL_OVER_ONLY, LoadBalance.ROUND_ROBIN_SUBSET} and not active:
        raise Refused(StatusCode.NO_PRIMARY_PATH_SPECIFIED, "none is active")
