"""The counters in the text format of Prometheus, version 0.0.4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.exposition import generate_latest

from iscsi_initiator.counters import SessionFault
from iscsi_initiator.service.management.driver import INSTANCE, told
from iscsi_initiator.service.management.schema import Row
from iscsi_initiator.service.management.table import find
from iscsi_initiator.status_codes import Refused

if TYPE_CHECKING:
    from iscsi_initiator.service.core import Core

_PREFIX = "iscsi_initiator"
_SESSION = ("initiator", "target", "session")
_TRAFFIC = (
    ("bytes_sent", "Bytes sent"),
    ("bytes_received", "Bytes received"),
    ("pdus_sent", "PDUs sent"),
    ("pdus_received", "PDUs received"),
)
_ERRORS = (
    ("digest", "digest_errors", "PDUs with a digest error"),
    ("format", "format_errors", "PDUs with a format error"),
    ("connection_timeouts", "connection_timeouts", "Connections that ended since an answer did not come in time"),
)
_LOGINS = (
    ("accepted", "login_accepts"),
    ("redirected", "login_redirects"),
    ("authentication_refused", "login_auth_refusals"),
    ("refused", "login_other_refusals"),
)
_NIC = (
    ("bytes_sent", "BytesTransmitted"),
    ("bytes_received", "BytesReceived"),
    ("pdus_sent", "PDUTransmitted"),
    ("pdus_received", "PDUReceived"),
)


def _counter(name: str, says: str, labels: tuple[str, ...]) -> CounterMetricFamily:
    return CounterMetricFamily(f"{_PREFIX}_{name}", says, labels=labels)


def families(core: Core) -> Iterator[Metric]:
    """Every metric with its samples as they are now."""
    yield from _of_sessions(core)
    yield from _of_connections(core)
    yield from _of_instances(core)
    yield from _of_adapters(core)


def _of_sessions(core: Core) -> Iterator[Metric]:
    sessions = [(each, (each.initiator, each.target_name, each.session_id)) for each in core.sessions.values()]
    for name, says in _TRAFFIC:
        family = _counter(f"session_{name}", f"{says} over a session", _SESSION)
        for session, labels in sessions:
            family.add_metric(labels, getattr(session.client.session.traffic, name))
        yield family
    for field, name, says in _ERRORS:
        family = _counter(f"session_{name}", f"{says}, of a session", _SESSION)
        for session, labels in sessions:
            family.add_metric(labels, getattr(session.client.session.errors, field))
        yield family


def _of_connections(core: Core) -> Iterator[Metric]:
    labels = (*_SESSION, "connection")
    connections = [
        ((each.initiator, each.target_name, each.session_id, each.connection_id(cid)), connection.traffic)
        for each in core.sessions.values()
        for cid, connection in each.client.session.connections.items()
    ]
    for name, says in _TRAFFIC:
        family = _counter(f"connection_{name}", f"{says} over a connection", labels)
        for values, traffic in connections:
            family.add_metric(values, getattr(traffic, name))
        yield family
    times = SummaryMetricFamily(
        f"{_PREFIX}_request_seconds", "Time that SCSI commands took, of those that ended together one", labels=labels
    )
    longest = GaugeMetricFamily(f"{_PREFIX}_request_longest_seconds", "The longest of these times", labels=labels)
    for values, traffic in connections:
        times.add_metric(values, count_value=traffic.timed, sum_value=traffic.time)
        longest.add_metric(values, traffic.longest)
    yield times
    yield longest


def _of_instances(core: Core) -> Iterator[Metric]:
    nodes = [(each.name, core.counted(each.name)) for each in core.instances]
    sessions = GaugeMetricFamily(f"{_PREFIX}_sessions", "Sessions that there are", labels=("initiator",))
    answers = _counter("login_responses", "Login Responses that ended a login", ("initiator", "result"))
    failures = _counter("login_failures", "Attempts to log in that came to nothing", ("initiator",))
    ended = _counter("login_aborts", "Logins that this side ended", ("initiator", "reason"))
    logouts = _counter("logouts", "Logout Requests", ("initiator", "reason"))
    failed = _counter("session_failures", "Sessions that failed", ("initiator", "fault"))
    for name, node in nodes:
        sessions.add_metric((name,), sum(each.initiator == name for each in core.sessions.values()))
        for result, field in _LOGINS:
            answers.add_metric((name, result), getattr(node, field))
        failures.add_metric((name,), node.login_failures)
        ended.add_metric((name, "authentication"), node.authenticate_failures)
        ended.add_metric((name, "negotiation"), node.negotiate_failures)
        logouts.add_metric((name, "normal"), node.logouts)
        logouts.add_metric((name, "recovery"), node.other_logouts)
        for fault in SessionFault:
            failed.add_metric((name, fault.name.lower()), node.session_faults[fault])
    yield from (sessions, answers, failures, ended, logouts, failed)


def _of_adapters(core: Core) -> Iterator[Metric]:
    """Of those that tell; one that fails is left out, and hides nothing else."""
    properties = find("MSiSCSI_NICPerformance").properties[len(INSTANCE) :]
    rows: list[tuple[tuple[str, str], Row]] = []
    for local in core.instances:
        with suppress(Refused):
            found = told(local, "MSiSCSI_NICPerformance", properties)
            rows += [((local.name, str(port)), row) for port, row in enumerate(found)]
    for name, field in _NIC:
        family = _counter(f"adapter_{name}", f"{field} of an adapter's network port", ("initiator", "port"))
        for labels, row in rows:
            family.add_metric(labels, row.get(field, 0))
        yield family


class _Collector:
    def __init__(self, collect: Callable[[], list[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> list[Metric]:
        """The metrics, as a registry asks for them."""
        return self._collect()

    def describe(self) -> list[Metric]:
        """Nothing beforehand: they are known when they are asked for."""
        return []


def registry(collect: Callable[[], list[Metric]]) -> CollectorRegistry:
    """A registry of these metrics alone. collect: gives them as they are now."""
    found = CollectorRegistry()
    found.register(_Collector(collect))
    return found


def exposition(core: Core) -> str:
    """The text."""
    return generate_latest(registry(lambda: list(families(core)))).decode()
