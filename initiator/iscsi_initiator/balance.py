"""Which connection of a session carries the next request: the policy in force, over the paths as they are (guide, Using
Multipathing I/O). Without one, and with the policies that need none, they take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from iscsi_initiator.link import Link
from iscsi_initiator.multipath import LoadBalance, Path, PathStatus, check, choose, statuses

if TYPE_CHECKING:
    from iscsi_initiator.session import Session


class Balance:
    """The policy of one session. A path's id is the CID of its connection."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.policy = LoadBalance.ROUND_ROBIN
        self._configured: dict[int, tuple[bool, int]] = {}
        self._last: int | None = None
        self._paths: list[Path] | None = None

    def changed(self) -> None:
        """A connection came, went, or is up or down."""
        self._paths = None

    def set(self, policy: LoadBalance, paths: Sequence[Path]) -> None:
        """Have this policy from the next request on. paths: activity and weight by CID, empty for all active and alike;
        whether a path is up is the session's to know. Raises Refused.
        """
        if paths:
            check(policy, paths, known=list(self._session.connections))
        else:
            policy = LoadBalance(policy)
        self._configured = {path.id: (path.active, path.weight) for path in paths}
        self.policy = policy
        self._paths = None

    @property
    def paths(self) -> list[Path]:
        """The paths as they are, in the order of their CIDs."""
        ready = {link.cid: link for link in self._session.ready}
        found = []
        for place, cid in enumerate(sorted(self._session.connections)):
            active, weight = self._configured.get(cid, (not self._configured and self._first_alone(place), 0))
            link = ready.get(cid)
            queued = 0 if link is None else link.queued
            found.append(Path(id=cid, active=active, weight=weight, queued=queued, up=link is not None))
        return found

    def _first_alone(self, place: int) -> bool:
        return place == 0 or self.policy is not LoadBalance.FAIL_OVER_ONLY

    def serves_alone(self, cid: int) -> bool:
        """Whether all requests go over this connection because the policy has it so."""
        if self.policy is not LoadBalance.FAIL_OVER_ONLY:
            return False
        return statuses(self.policy, self.paths).get(cid) is PathStatus.ACTIVE

    def choose(self, ready: Sequence[Link]) -> Link:
        """The link for the next request, of those that take any."""
        if len(ready) == 1:
            return ready[0]
        if self._paths is None or self.policy is LoadBalance.LEAST_QUEUE_DEPTH:
            self._paths = self.paths
        chosen = choose(self.policy, self._paths, self._last)
        self._last = chosen
        return next((link for link in ready if link.cid == chosen), ready[0])
