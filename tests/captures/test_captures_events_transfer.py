"""The short way that the oracle has for Data-In comes to the same as the long one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from unittest.mock import patch

from hypothesis import event, given
from hypothesis import strategies as st

from iscsi_captures.events import transfer
from iscsi_captures.events.declared import Declared, OwnTerms
from iscsi_captures.events.gaps import Gaps
from iscsi_captures.events.journal import Journal
from iscsi_captures.events.reception import Reception
from iscsi_captures.events.state import Connection, ScsiTask, Session
from iscsi_protocol.pdu import DataIn, RawPdu, encode

ITT = 7
SEGMENT, BURST, READ = 8, 20, 40
Shape = tuple[int, int, int, int, str]
"""How far DataSN and offset are from those in turn; bytes of data; flags; what else is odd about it."""


def data_ins() -> st.SearchStrategy[list[RawPdu]]:
    """Data-In PDUs, most of which are the next of the task, or all but that."""

    shapes = st.tuples(
        st.sampled_from([*[0] * 20, 1, -1]),
        st.sampled_from([*[0] * 20, 4, -4]),
        st.integers(0, SEGMENT + 1),
        st.sampled_from([0x00, 0x00, 0x80, 0x80, 0xC0, 0x40, 0x81, 0x01]),
        st.sampled_from([*[""] * 20, "header_digest_error", "data_digest_error", "itt"]),
    )
    return st.lists(shapes, max_size=10).map(_pdus)


def _pdus(shapes: Sequence[Shape]) -> list[RawPdu]:
    made: list[RawPdu] = []
    data_sn = offset = 0
    for sn_shift, shift, length, flags, oddity in shapes:
        pdu = DataIn(
            itt=ITT + (oddity == "itt"),
            data_sn=data_sn + sn_shift & 0xFFFFFFFF,
            buffer_offset=max(0, offset + shift),
            data=bytes(length),
        )
        raw = encode(pdu).with_bytes(1, bytes([flags]))
        made.append(
            replace(
                raw,
                header_digest=bytes(4),
                data_digest=bytes(4),
                header_digest_error=oddity == "header_digest_error",
                data_digest_error=oddity == "data_digest_error",
            )
        )
        data_sn, offset = data_sn + 1, offset + length
    return made


def predicted(pdus: list[RawPdu], level: int, write: int) -> tuple[list[object], list[object]]:
    """What is logged for these PDUs, and what is known of their task behind them."""
    events: list[object] = []
    connection, session = Connection(1), Session((bytes(6), "t"), Declared({}), OwnTerms())
    connection.session, connection.full = session, True
    session.connections[0] = connection
    limits = connection.limits
    limits.level, limits.max_recv, limits.max_burst = level, SEGMENT, BURST
    task = ScsiTask(connection, ITT, 1, False, bytes(48), READ, write, 0)
    session.begin(task, 0.0, 60.0)
    reception = Reception(Journal(lambda *logged: events.append(logged)))
    for number, raw in enumerate(pdus):
        reception.take(connection, raw, float(number))
    known = [getattr(task, name) for name in ScsiTask.__slots__]
    known += [connection.high, connection.silent, *session.tasks]
    return events, [(each.missing, each.asked) if isinstance(each, Gaps) else each for each in known]


@given(data_ins(), st.sampled_from([0, 1, 2]), st.sampled_from([0, READ]))
def test_both_ways_predict_the_same(pdus, level, write):
    """And leave the task as far."""
    with patch.object(transfer, "take_next", wraps=transfer.take_next) as taken:
        short = predicted(pdus, level, write)
    event(f"asked {min(3, taken.call_count)} times or more")
    with patch.object(transfer, "take_next", return_value=False):
        assert predicted(pdus, level, write) == short


def test_the_short_way_is_taken():
    """By Data-In that simply follows; not by what brings status, or is out of turn."""
    follow: list[Shape] = [(0, 0, SEGMENT, 0x00, ""), (0, 0, SEGMENT, 0x80, "")]
    for shapes, quick in (
        (follow, [True, True]),
        ([follow[0], (0, 0, SEGMENT, 0x81, "")], [True, False]),
        ([(1, 0, SEGMENT, 0x00, "")], [False]),
    ):
        took: list[bool] = []

        def take_next(*given, took=took, take=transfer.take_next):
            took.append(take(*given))
            return took[-1]

        with patch.object(transfer, "take_next", take_next):
            predicted(_pdus(shapes), 0, 0)
        assert took == quick
