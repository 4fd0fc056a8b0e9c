"""A dialogue told in lines, for whoever looks into why it failed."""

from __future__ import annotations

from collections.abc import Iterator

from iscsi_conformance.fuzz.check import attempt
from iscsi_conformance.fuzz.plan import Plan
from iscsi_conformance.fuzz.play import fork
from iscsi_protocol.history import BytesRecord, PduRecord, Record, SettingsRecord, TransportRecord
from iscsi_protocol.pdu import decode
from iscsi_protocol.pdu.base import declared_defaults, opcode_name
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.stream import Direction

_TEXT = frozenset({Opcode.LOGIN_REQUEST, Opcode.LOGIN_RESPONSE, Opcode.TEXT_REQUEST, Opcode.TEXT_RESPONSE})
_SHOWN = 16


def story(plan: Plan) -> Iterator[str]:
    """The history of the plan, line by line, with what was predicted, logged and wrong behind it."""
    play = fork(plan.ground)
    play.records = []
    wrong = attempt(play, plan)
    for index, record in enumerate(play.records):
        yield f"{index:4} {_line(record)}"
    for event in play.book.events:
        yield f"predicted {event.id} at {event.time:.3f} on {event.connection}, record {event.index}: {event.dump.hex()}"
    for logged in play.logged:
        yield f"logged    {logged.id} at {logged.time:.3f}: {logged.extra.hex()} {logged.text}"
    for asked in play.asked:
        request = asked.request
        yield f"{type(request).__name__}: {request.failure or request.result}"
    for each in wrong:
        yield f"wrong: {each}"


def _line(record: Record) -> str:
    head = f"{record.time:10.3f}"
    if isinstance(record, SettingsRecord):
        return f"{head} settings"
    if isinstance(record, TransportRecord):
        return f"{head} {record.connection} {record.event.value} {record.target or ''}"
    arrow = "->" if record.direction is Direction.TO_TARGET else "<-"
    if isinstance(record, BytesRecord):
        return f"{head} {record.connection} {arrow} {len(record.data)} bytes: {record.reason}"
    return f"{head} {record.connection} {arrow} {_pdu(record)}"


def _pdu(record: PduRecord) -> str:
    raw = record.raw
    message = decode(raw)
    usual = declared_defaults(type(message))
    fields = [f"{name}={_value(getattr(message, name))}" for name in usual if getattr(message, name) != usual[name]]
    if message.data_segment_length is not None:
        fields.append(f"data_segment_length={message.data_segment_length}")
    data = repr(message.data) if raw.opcode in _TEXT else message.data[:_SHOWN].hex()
    marks = [
        word
        for word, set_ in (("HEADER DIGEST", raw.header_digest_error), ("DATA DIGEST", raw.data_digest_error))
        if set_
    ]
    return " ".join([opcode_name(raw.opcode), *fields, f"{len(message.data)} bytes", data, *marks])


def _value(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
