"""The cheap test for the PDUs that reads and writes are made of: whether one is as it should be in every way.

A PDU that passes breaks no row, and the dialogue has moved on. Everything else takes the long way through the rows.
"""

from __future__ import annotations

from collections.abc import Callable

from iscsi_captures.dialogue import Connection
from iscsi_protocol.pdu import RawPdu

Test = Callable[[Connection, RawPdu], bool]

FAST: tuple[dict[int, Test], dict[int, Test]] = ({}, {})
"""By direction, then by byte 0 of the header."""
