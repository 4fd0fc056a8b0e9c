"""The quick tests of the read and write path: they let pass what the rows have nothing against, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from tests.captures.reviewing import reviewed

from iscsi_captures.review import reviewer
from iscsi_captures.review.schema import encode as as_json
from iscsi_captures.rulebook import RuleBook
from iscsi_captures.rules.framing import RESERVED
from iscsi_conformance.corpus.script import Script
from iscsi_protocol.history import PduRecord, Record
from iscsi_protocol.pdu import Opcode, opcode_name

OPCODES = (Opcode.SCSI_COMMAND, Opcode.SCSI_DATA_OUT, Opcode.SCSI_DATA_IN, Opcode.SCSI_RESPONSE, Opcode.R2T)


def script() -> Script:
    """A read and a write, in several PDUs each."""
    made = Script().ready(InitialR2T="Yes", ImmediateData="No", MaxRecvDataSegmentLength="2048")
    made.read().data_in(2048, final=False).data_in(2048, status_present=True)
    return made.write().r2t().data_out(2048, final=False).data_out(2048).response()


def place_of(records: Sequence[Record], opcode: int) -> tuple[int, PduRecord]:
    """The first PDU with this opcode."""
    return next(
        (place, record)
        for place, record in enumerate(records)
        if isinstance(record, PduRecord) and record.raw.opcode == opcode
    )


def test_a_calm_dialogue_is_not_looked_at_twice(monkeypatch):
    """Each PDU of it passes its quick test."""
    book = RuleBook()
    records = script().records
    first, _ = place_of(records, Opcode.SCSI_COMMAND)
    for record in records[:first]:
        book.record(record)
    monkeypatch.setattr(RuleBook, "_judge", lambda *_arguments: pytest.fail("the long way"))
    for record in records[first:]:
        book.record(record)
    assert {record.raw.opcode for record in records[first:] if isinstance(record, PduRecord)} == set(OPCODES)


@pytest.mark.parametrize("opcode", OPCODES, ids=opcode_name)
def test_every_reserved_bit_is_seen(opcode):
    """Set alone in a PDU in which all else is right."""
    records = script().records
    place, record = place_of(records, opcode)
    bits = [bit for bit in range(376) if RESERVED[opcode] >> bit & 1]
    assert bits
    for bit in bits:
        header = int.from_bytes(record.raw.bhs, "big") | 1 << bit
        raw = record.raw.with_bytes(0, header.to_bytes(48, "big"))
        book = RuleBook()
        for each in (*records[:place], PduRecord(record.connection, record.time, record.direction, raw)):
            book.record(each)
        assert "framing.reserved-bits" in book.counts, f"byte {47 - bit // 8}, bit {bit % 8}"


def odd() -> Script:
    """Findings and events among PDUs that are in order, and a command that is never answered."""
    made = script()
    made.read().response(itt=999)
    made.data_in(2048, data_sn=3, final=False).data_in(2048, status_present=True)
    made.read().data_in(2048, edit=lambda raw: raw.with_bytes(2, b"\1"), final=False)
    made.data_in(2048, status_present=True)
    made.write().r2t().data_out(2048, final=False).response()
    return made.read().check_condition()


def narrow() -> Script:
    """Each command closes the window, and its status opens it for one more."""
    made = Script()
    made.login_request().login_response(max_cmd_sn=made.cmd_sn)
    for seconds in (2.0, 0.1, 3.0):
        made.read().wait(seconds)
        made.data_in(max_cmd_sn=made.cmd_sn)
    return made


@pytest.mark.parametrize(
    ("make", "finding"), [(script, None), (odd, "datain.data-sn"), (narrow, "advice.window-closed")]
)
def test_how_many_records_are_judged_in_a_row_changes_nothing(make, finding, monkeypatch):
    """Not the findings, not the predicted events, not the advice."""
    records = make().records
    review = reviewed(records)
    assert finding is None or finding in {each.rule for each in review.findings}
    assert bool(review.events) is (make is odd)
    seen = []
    for together in (1, 2, 3, 64):
        monkeypatch.setattr(reviewer, "TOGETHER", together)
        seen.append(as_json(reviewed(records)))
    assert all(one == other for one, other in pairwise(seen))
