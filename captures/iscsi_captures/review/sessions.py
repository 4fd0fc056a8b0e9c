"""Connections put together to sessions: as the rule book joined them, by initiator name, ISID, TSIH and CID."""

from __future__ import annotations

from collections.abc import Iterable

from iscsi_captures.review.facts import SessionPart
from iscsi_captures.review.model import Kind
from iscsi_captures.review.watch import Watch


def session_parts(watches: Iterable[Watch]) -> list[SessionPart]:
    """The sessions of these connections, by the number of their first one. A connection without PDUs belongs to none."""
    parts: dict[int, SessionPart] = {}
    for watch in sorted(watches, key=lambda watch: watch.number):
        session = watch.session
        if session is None:
            continue
        part = parts.get(id(session))
        if part is None:
            known = bool(session.isid)
            kind: Kind = "discovery" if session.discovery else "normal"
            part = parts[id(session)] = SessionPart(
                order=watch.number,
                kind=kind if known else "unknown",
                initiator_name=session.initiator_name,
                target_name=session.target_name,
                isid=session.isid.hex(),
                tsih=session.tsih,
                negotiated={},
                connections=[],
            )
        part.connections.append(watch.number)
        if watch.negotiated is not None and not part.negotiated:
            part.negotiated = watch.negotiated
    return list(parts.values())
