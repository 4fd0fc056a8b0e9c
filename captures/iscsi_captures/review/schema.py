"""A review as JSON: the schema "iscsi-captures/review/1", whose keys may become more and never change their meaning.

Frames are numbers in their file, and `file` is its place in `files`; bytes are hex digits.
"""

from __future__ import annotations

from typing import Any

import msgspec

from iscsi_captures.reading import FrameRef
from iscsi_captures.review.model import (
    CommandTrace,
    ConnectionReview,
    Gap,
    Mark,
    Moment,
    PduShown,
    Review,
    ReviewEvent,
    ReviewFinding,
    SessionReview,
)

SCHEMA = "iscsi-captures/review/1"


def as_json(review: Review) -> dict[str, Any]:
    """The review as values that JSON has."""
    several = len(review.files) > 1

    def at(frame: FrameRef, key: str = "frame") -> dict[str, Any]:
        return {key: frame.number} | ({"file": frame.file} if several else {})

    return {
        "schema": SCHEMA,
        "conforms": review.conforms,
        "files": msgspec.to_builtins(review.files),
        "packets": review.packets,
        "bytes": review.bytes,
        "pdus": review.pdus,
        "opcodes": {f"{opcode:#04x}": count for opcode, count in review.opcodes.items()},
        "link_types": review.link_types,
        "ignored_connections": review.ignored,
        "first_time": review.first_time,
        "last_time": review.last_time,
        "sessions": [_session(session, at) for session in review.sessions],
        "findings": [_finding(finding, at) for finding in review.findings],
        "dropped_findings": review.dropped,
        "events": [_event(event, at) for event in review.events],
        "gaps": [_gap(gap, at) for gap in review.gaps],
        "timeline": [_moment(moment, at) for moment in review.timeline],
        "loads": msgspec.to_builtins(review.loads),
        "traces": [_trace(trace, at) for trace in review.traces],
    }


def encode(review: Review) -> bytes:
    """The JSON text, indented, with a line end."""
    return msgspec.json.format(msgspec.json.encode(as_json(review)), indent=1) + b"\n"


_Place = Any


def _session(session: SessionReview, at: _Place) -> dict[str, Any]:
    return {
        "number": session.number,
        "kind": session.kind,
        "initiator_name": session.initiator_name,
        "target_name": session.target_name,
        "isid": session.isid,
        "tsih": session.tsih,
        "negotiated": session.negotiated,
        "connections": [_connection(connection, at) for connection in session.connections],
    }


def _connection(connection: ConnectionReview, at: _Place) -> dict[str, Any]:
    return {
        "number": connection.number,
        "cid": connection.cid,
        "initiator": connection.initiator,
        "target": connection.target,
        "login": connection.login,
        "digests": msgspec.to_builtins(connection.digests),
        "opcodes": connection.opcodes,
        "bytes_to_target": connection.bytes_to_target,
        "bytes_to_initiator": connection.bytes_to_initiator,
        "opened": _mark(connection.opened, at),
        "closed": None if connection.closed is None else _mark(connection.closed, at),
        "first_frame": connection.first.number,
        "last_frame": connection.last.number,
    }


def _mark(mark: Mark, at: _Place) -> dict[str, Any]:
    return {"how": mark.how, "time": mark.time, **at(mark.frame)}


def _finding(finding: ReviewFinding, at: _Place) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "clause": finding.clause,
        "level": finding.level,
        "role": finding.role,
        "connection": finding.connection,
        "session": finding.session,
        **at(finding.frame),
        "first_frame": finding.first_frame.number,
        "time": finding.time,
        "itt": finding.itt,
        "pdu": None if finding.pdu is None else _pdu(finding.pdu),
        "field": msgspec.to_builtins(finding.field),
        "message": finding.message,
        "says": finding.says,
        "statement": finding.statement,
        "meaning": finding.meaning,
        "events": finding.events,
        "counted": finding.counted,
    }


def _pdu(pdu: PduShown) -> dict[str, Any]:
    return {
        "opcode": pdu.opcode,
        "name": pdu.name,
        "direction": pdu.way,
        "length": pdu.length,
        "data_offset": pdu.data_offset,
        "bytes": pdu.raw.hex(),
    }


def _event(event: ReviewEvent, at: _Place) -> dict[str, Any]:
    return {
        "source": event.source,
        "id": event.id,
        "connection": event.connection,
        **at(event.frame),
        "time": event.time,
        "dump": event.dump.hex(),
        "finding": event.finding,
        "name": event.name,
        "severity": event.severity,
        "meaning": event.meaning,
    }


def _gap(gap: Gap, at: _Place) -> dict[str, Any]:
    return {
        "kind": gap.kind,
        "connection": gap.connection,
        "direction": gap.way,
        **at(gap.frame),
        "time": gap.time,
        "bytes": gap.bytes,
        "message": gap.message,
    }


def _moment(moment: Moment, at: _Place) -> dict[str, Any]:
    facts = {"time": moment.time, "connection": moment.connection, "kind": moment.kind, "what": moment.what}
    return {**facts, **at(moment.frame)}


def _trace(trace: CommandTrace, at: _Place) -> dict[str, Any]:
    return {
        "session": trace.session,
        "connection": trace.connection,
        "itt": trace.itt,
        "lun": trace.lun,
        "cdb": trace.cdb.hex(),
        "name": trace.name,
        "length": trace.length,
        "started": trace.started,
        "ended": trace.ended,
        "status": trace.status,
        "reason": trace.reason,
        "omitted": trace.omitted,
        "findings": trace.findings,
        "steps": [
            {"time": step.time, "direction": step.way, "label": step.label} | at(step.frame) for step in trace.steps
        ],
    }
