"""The bench of cases about the initiator's service: the service in memory on the virtual clock, with everything around it."""

from __future__ import annotations

from iscsi_conformance.service.bench import HOST, QUICK, Running, ServiceBench, raw
from iscsi_conformance.service.decorate import event_case, of_row, rows, status_case

__all__ = [
    "HOST",
    "QUICK",
    "Running",
    "ServiceBench",
    "event_case",
    "of_row",
    "raw",
    "rows",
    "status_case",
]
