"""Events out of .evtx files, whole and damaged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.captures.evtx_file import CHUNK, HEADER, chunk, event, evtx
from tests.captures.explain_samples import packet

from iscsi_captures.explain import sources
from iscsi_captures.explain.found import Found, Trouble
from iscsi_captures.explain.sources import Unreadable, events_in, events_of

WHOLE = evtx(
    chunk([event("iScsiPrt", 20, packet(20), [r"\Device\RaidPort0"]), event("disk", 7, b"\1")]),
    chunk([event("MSiSCSI", 113, strings=["0xefff0003", "192.0.2.10"]), event("iScsiPrt", 10, packet(10))], 3),
)


def ours(found):
    return [each for each in found if isinstance(each, Found) and each.is_ours]


def troubles(found):
    return [str(each) for each in found if isinstance(each, Trouble)]


def test_the_events_of_a_file(tmp_path):
    path = tmp_path / "System.evtx"
    path.write_bytes(WHOLE)
    found = list(events_in(path))
    first, service, last = ours(found)
    assert len(found) == 4
    assert first == Found(
        place="record 1",
        source="iScsiPrt",
        id=20,
        packet=packet(20),
        strings=(r"\Device\RaidPort0",),
        time="2026-01-31T12:00:00.000000Z",
        computer="HOST",
        number="7",
        level="error",
    )
    assert (service.source, service.id, service.strings) == ("MSiSCSI", 113, ("0xefff0003", "192.0.2.10"))
    assert (last.place, last.packet) == ("record 4", packet(10))
    assert list(events_of(WHOLE)) == found


def test_a_damaged_record_does_not_hide_the_others():
    damaged = bytearray(WHOLE)
    place = damaged.index("EventID".encode("utf-16-le")) - 12
    damaged[place : place + 12] = b"\xff" * 12
    found = list(events_of(bytes(damaged)))
    assert [each.id for each in ours(found)] == [113, 10]
    assert troubles(found) == ["damage: failed to parse record number 1; passed over"]


def test_a_damaged_chunk_does_not_hide_the_others():
    damaged = WHOLE[:HEADER] + bytes(8) + WHOLE[HEADER + 8 :]
    found = list(events_of(damaged))
    assert [each.id for each in ours(found)] == [113, 10]
    assert troubles(found) == ["damage: failed to parse chunk number 0; passed over"]


@pytest.mark.parametrize("length", [HEADER + CHUNK, HEADER + CHUNK + 100, HEADER + CHUNK + 700])
def test_a_file_that_is_cut_off_is_read_as_far_as_it_goes(length):
    assert [each.id for each in ours(events_of(WHOLE[:length]))] == [20]


@pytest.mark.parametrize("damaged", [WHOLE[:8], WHOLE[:100], WHOLE[:4095]])
def test_a_header_that_is_damaged_or_cut_off_is_said_to_be(damaged):
    with pytest.raises(Unreadable, match=r"^no usable \.evtx file: its header is damaged or cut off$"):
        list(events_of(damaged))


def test_damage_without_end_has_one(monkeypatch):
    monkeypatch.setattr(sources, "_MOST_ERRORS", 2)
    damaged = evtx(*[bytes(CHUNK - 1) + b"\1"] * 5)
    assert len(troubles(events_of(damaged))) == 2


@given(
    edits=st.lists(st.tuples(st.integers(8, HEADER + CHUNK + 3000), st.integers(0, 255)), max_size=12),
    length=st.integers(8, len(WHOLE)) | st.just(len(WHOLE)),
)
def test_whatever_is_wrong_with_a_file_it_is_read_or_refused(edits, length):
    damaged = bytearray(WHOLE)
    for place, value in edits:
        damaged[place] = value
    try:
        found = list(events_of(bytes(damaged[:length])))
    except Unreadable:
        return
    assert all(isinstance(each, Found | Trouble) for each in found)
