"""Benches for cases about iSNS: the server or client under test in memory, on a clock that the case moves."""

from __future__ import annotations

from iscsi_conformance.case import Role
from iscsi_conformance.isns.client_bench import ClientBench
from iscsi_conformance.isns.server_bench import ServerBench
from iscsi_protocol.fault import NamedFault


def bench_of(role: Role, fault: NamedFault | None, notes: list[str]) -> ServerBench | ClientBench:
    """A fresh bench for a case of this role. fault: what the product does wrong; notes: takes what crosses."""
    switches = dict(fault.policy) if fault else {}
    return ServerBench(switches, notes) if role is Role.SERVER else ClientBench(switches, notes)
