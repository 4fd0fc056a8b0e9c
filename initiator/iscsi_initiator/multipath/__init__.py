"""Several paths to one target: which of them carries the next request (guide, Using Multipathing I/O)."""

from __future__ import annotations

from iscsi_initiator.multipath.balance import choose, statuses
from iscsi_initiator.multipath.check import MAX_WEIGHT, check
from iscsi_initiator.multipath.path import LoadBalance, Path, PathStatus

__all__ = ["MAX_WEIGHT", "LoadBalance", "Path", "PathStatus", "check", "choose", "statuses"]
