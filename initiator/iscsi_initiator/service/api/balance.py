"""How the requests of a session are spread over its connections; no command of Appendix C does it (guide, "Management
Interfaces": the methods of the load-balance classes).
"""

from __future__ import annotations

from msgspec import Struct

from iscsi_initiator.service.api.answers import Answer
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.values import check_range, set_field, unique_id
from iscsi_initiator.status_codes import StatusCode

MAX_WEIGHT = 0xFFFFFFFF


class PathSetting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A connection as a path. active: not a standby, where the policy tells them apart; weight: the lower the sooner."""

    connection_id: str
    active: bool = True
    weight: int = 0

    def __post_init__(self) -> None:
        set_field(self, "connection_id", unique_id(self.connection_id, StatusCode.INVALID_PATH_ID))
        check_range(self.weight, 0, MAX_WEIGHT, "a path's weight", StatusCode.INVALID_PARAMETER)


class SetLoadBalancePolicy(Operation[Answer], frozen=True, kw_only=True):
    """policy: 1 Fail Over Only, 2 Round Robin, 3 Round Robin with Subset, 4 Weighted Paths, 5 Least Queue Depth.

    paths: every connection of the session once; none at all for all alike.
    """

    session_id: str
    policy: int
    paths: tuple[PathSetting, ...] = ()

    def check(self) -> None:
        set_field(self, "session_id", unique_id(self.session_id, StatusCode.INVALID_SESSION_ID))
