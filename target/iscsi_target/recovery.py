"""Recovery levels 1 and 2 at the target: what is kept when, and for how long (RFC 7143 7.1.4, 7.2.2, 7.5, 11.14, 11.15)."""

from __future__ import annotations

from iscsi_target.connection import Connection
from iscsi_target.core import Core
from iscsi_target.retained import Retained
from iscsi_target.session import Session


def begin(core: Core, connection: Connection, session: Session) -> None:
    """The full feature phase begins: from here on, and no sooner, PDUs are retained at level 1 and above (7.1.4)."""
    if session.parameters.error_recovery_level and not session.discovery:
        connection.retained = Retained(
            burst=session.parameters.max_burst_length,
            max_held=core.limits.retained_bytes,
            max_responses=core.limits.retained_responses,
        )
        connection.in_memory = True
