"""What the rule book costs: microseconds per PDU with all rules on and events predicted, over a synthetic run of reads and
writes.

    python benchmarks/rulebook.py [commands]

The budget is 15 microseconds per PDU on average.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

from iscsi_captures.rulebook import RuleBook
from iscsi_captures.rules import RULES
from iscsi_protocol.history import PduRecord, Record, TransportEvent, TransportRecord
from iscsi_protocol.pdu import (
    R2T,
    DataIn,
    DataOut,
    LoginRequest,
    LoginResponse,
    Pdu,
    ScsiCommand,
    ScsiResponse,
    encode,
)
from iscsi_protocol.stream import Direction
from iscsi_protocol.text import encode_pairs

SEGMENT = 8192
LENGTH = 65536
BUDGET = 15.0
_NAMES = [("InitiatorName", "iqn.2026-01.example:i"), ("TargetName", "iqn.2026-01.example:t")]


def _pdus(commands: int) -> Iterator[Pdu]:
    """A login, then reads of 64 KiB and writes of 64 KiB by turns, with every fourth command a small one."""
    flags: dict[str, Any] = {"transit": True, "csg": 1, "nsg": 3, "itt": 1}
    yield LoginRequest(**flags, cmd_sn=1, data=encode_pairs(_NAMES))
    window: dict[str, Any] = {"exp_cmd_sn": 1, "max_cmd_sn": 65}
    yield LoginResponse(**flags, **window, tsih=1, stat_sn=1, data=encode_pairs([("TargetPortalGroupTag", "1")]))
    stat_sn, data = 2, bytes(SEGMENT)
    for number in range(1, commands + 1):
        window = {"exp_cmd_sn": number + 1, "max_cmd_sn": number + 65}
        length = 4096 if number % 4 == 0 else LENGTH
        if number & 1:
            yield ScsiCommand(
                read=True, itt=number, cmd_sn=number, exp_stat_sn=stat_sn, expected_data_transfer_length=length
            )
            for offset in range(0, length, SEGMENT):
                last = offset + SEGMENT >= length
                yield DataIn(
                    final=last,
                    status_present=last,
                    itt=number,
                    stat_sn=stat_sn if last else 0,
                    data_sn=offset // SEGMENT,
                    buffer_offset=offset,
                    data=data[: length - offset],
                    **window,
                )
        else:
            yield ScsiCommand(
                write=True,
                itt=number,
                cmd_sn=number,
                exp_stat_sn=stat_sn,
                expected_data_transfer_length=length,
                data=data[: min(length, SEGMENT)],
            )
            if length > SEGMENT:
                yield R2T(
                    itt=number,
                    ttt=7,
                    stat_sn=stat_sn,
                    buffer_offset=SEGMENT,
                    desired_data_transfer_length=length - SEGMENT,
                    **window,
                )
            for index, offset in enumerate(range(SEGMENT, length, SEGMENT)):
                yield DataOut(
                    final=offset + SEGMENT >= length,
                    itt=number,
                    ttt=7,
                    exp_stat_sn=stat_sn,
                    data_sn=index,
                    buffer_offset=offset,
                    data=data,
                )
            yield ScsiResponse(itt=number, stat_sn=stat_sn, **window)
        stat_sn += 1


def history(commands: int) -> list[Record]:
    """The run as records, ready before the clock starts."""
    records: list[Record] = [TransportRecord(1, 0.0, TransportEvent.CONNECTED)]
    for pdu in _pdus(commands):
        direction = Direction.TO_TARGET if pdu.OPCODE < 0x20 else Direction.TO_INITIATOR
        records.append(PduRecord(1, 0.0, direction, encode(pdu)))
    return records


def measure(commands: int, *, events: bool) -> tuple[float, int, int]:
    """Microseconds per PDU (the best of three), PDUs, findings and events. events: whether they are predicted."""
    records = history(commands)
    best = float("inf")
    for _ in range(3):
        book = RuleBook(events=events)
        started = time.perf_counter()
        for record in records:
            book.record(record)
        best = min(best, time.perf_counter() - started)
    return best / len(records) * 1e6, len(records), len(book.findings) + len(book.events)


def main() -> int:
    """Measure, print one line; 1 when the budget is missed or the clean run has findings."""
    commands = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
    alone, _, _ = measure(commands, events=False)
    per_pdu, pdus, findings = measure(commands, events=True)
    print(
        f"rule book: {per_pdu:.2f} us per PDU with {len(RULES)} rules and the events over {pdus} PDUs "
        f"(budget {BUDGET:g}; {alone:.2f} without the events), {findings} findings"
    )
    return int(per_pdu > BUDGET or bool(findings))


if __name__ == "__main__":
    sys.exit(main())
