"""PDUs in words, and the recorder that keeps them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_captures.describe import all_fields, arrow, one_line, payload, record_line, telling_fields
from iscsi_conformance.recorder import DIALOGUE_LIMIT, RING, Recorder
from iscsi_protocol.history import PduRecord
from iscsi_protocol.pdu import (
    DataIn,
    LoginRequest,
    NopIn,
    NopOut,
    RawPdu,
    ScsiCommand,
    TextRequest,
    decode,
    encode,
)
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.stream import Direction


def test_line_has_name_command_and_telling_fields():
    """A command by its CDB's name; fields at rest are left out, numbers of sequences never."""
    cdb = opcodes.READ_10.build(lba=1, blocks=1).ljust(16, b"\0")
    line = one_line(encode(ScsiCommand(itt=0x10, read=True, cmd_sn=0, exp_stat_sn=5, cdb=cdb)))

    assert line.startswith("SCSI Command READ(10) read=1 ")
    assert " itt=0x10 " in line
    assert " exp_stat_sn=5 " in line
    assert "write" not in line
    assert "lun" not in line


def test_line_names_data_and_digest_errors():
    """How much data there is, and which digest is wrong."""
    raw = encode(NopIn(itt=2, stat_sn=0, data=b"12345"))
    broken = RawPdu(bhs=raw.bhs, data=raw.data, header_digest_error=True, data_digest_error=True)

    assert one_line(raw).startswith("NOP-In itt=0x2 stat_sn=0 ")
    assert one_line(raw).endswith("+5 bytes")
    assert one_line(broken).endswith("+5 bytes HEADER DIGEST ERROR DATA DIGEST ERROR")


@given(st.binary(min_size=48, max_size=48))
def test_any_header_has_a_line_and_fields_in_its_place(bhs):
    """Whatever 48 bytes came: one line, and every field lies within the header and is text."""
    raw = RawPdu(bhs=bhs)

    assert "\n" not in one_line(raw)
    fields: list[Any] = all_fields(raw)
    assert [field["name"] for field in fields] == list(decode(raw).FIELDS)
    assert all(isinstance(field["value"], str) for field in fields)
    assert all(0 <= field["offset"] < field["offset"] + field["size"] <= 48 for field in fields)


def test_telling_fields_leave_out_what_rests():
    """A PDU of zeros tells its sequence numbers alone."""
    assert telling_fields(NopOut(itt=0, cmd_sn=0, exp_stat_sn=0)) == [("cmd_sn", 0)]


@pytest.mark.parametrize(
    ("pdu", "shown"),
    [
        (LoginRequest(data=b"A=1\0B=2\0"), "A=1\nB=2"),
        (TextRequest(data=b"A=\xff\0"), "A=\\xff"),
        (NopOut(data=b"\x01\x02"), "01 02"),
        (NopOut(), ""),
        (DataIn(data=bytes(64)), " ".join(["00"] * 64)),
        (DataIn(data=bytes(65)), " ".join(["00"] * 64) + " …"),
        (LoginRequest(data=b"A=" + b"x" * 700), "A=" + "x" * 598),
    ],
)
def test_payload_for_people(pdu, shown):
    """Text as pairs, other data as its first bytes."""
    assert payload(encode(pdu)) == shown


def test_every_kind_of_record_has_a_line(recorder):
    """An arrow for what crossed, words for the rest."""
    lines = [record_line(record) for record in recorder.records]

    assert lines[0] == "settings of the initiator"
    assert lines[1] == "← TCP connected"
    assert lines[2].startswith("→ Login Request ")
    assert lines[3].startswith("← Login Response ")
    assert lines[-2] == "← 8 bytes that are no PDU (framing was lost before)"
    assert lines[-1] == "← TCP FIN"
    assert [arrow(direction) for direction in Direction] == ["→", "←"]


# ---- recorder ----


def pdu_record(number):
    """A ping with this CmdSN."""
    return PduRecord(1, float(number), Direction.TO_TARGET, encode(NopOut(itt=1, cmd_sn=number)))


def test_recorder_passes_each_record_on_as_it_comes():
    """Listeners of the start and later ones hear everything from then on, in order."""
    first: list[object] = []
    late: list[object] = []
    recorder = Recorder(first.append)
    recorder.record(pdu_record(1))
    recorder.listen(late.append)
    recorder.record(pdu_record(2))

    assert first == list(recorder.records) == [pdu_record(1), pdu_record(2)]
    assert late == [pdu_record(2)]


def test_rows_have_kind_and_decoded_fields(recorder):
    """One row a record: kind, connection, direction, header, fields and payload."""
    rows = recorder.dialogue()

    assert [row["kind"] for row in rows] == ["settings", "transport", *["pdu"] * 5, "bytes", "transport"]
    assert [row["index"] for row in rows] == list(range(9))
    login = rows[2]
    assert (login["connection"], login["direction"], login["time"]) == (1, "TO_TARGET", 0.001)
    assert login["payload"] == "InitiatorName=iqn.x:a"
    assert login["bhs"] == bytes(recorder.records[2].raw.bhs).hex()
    assert {"name": "nsg", "offset": 1, "size": 1, "mask": 3, "value": "3"} in login["fields"]
    assert rows[7]["payload"] == b"\0garbage".hex(" ")


def test_long_dialogue_has_a_gap_in_the_middle():
    """Beginning and end are kept, and the gap says how much it stands for."""
    recorder = Recorder()
    for number in range(DIALOGUE_LIMIT + 10):
        recorder.record(pdu_record(number))
    rows = recorder.dialogue()

    assert len(rows) == DIALOGUE_LIMIT + 1
    gap: Any
    (gap,) = [row for row in rows if row["kind"] == "gap"]
    assert gap["line"].startswith("10 records left out")
    assert [rows[0]["index"], rows[-1]["index"]] == [0, DIALOGUE_LIMIT + 9]


def test_ring_is_bounded_and_rows_keep_their_numbers():
    """Only the last records are kept; a row's number is still that of the whole history."""
    recorder = Recorder(ring=3)
    for number in range(10):
        recorder.record(pdu_record(number))

    assert recorder.count == 10
    assert [row["index"] for row in recorder.dialogue()] == [7, 8, 9]
    assert Recorder().records.maxlen == RING
