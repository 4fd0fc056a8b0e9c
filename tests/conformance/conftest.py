"""What the tests of the conformance room share: results made by hand, and a short dialogue."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from iscsi_conformance.recorder import Recorder
from iscsi_conformance.result import CaseResult, Coverage, Evidence, Results, summary_of
from iscsi_conformance.verdict import Verdict
from iscsi_protocol.history import BytesRecord, Endpoint, PduRecord, SettingsRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import DataIn, LoginRequest, LoginResponse, NopIn, NopOut, encode
from iscsi_protocol.stream import Direction

CLAUSE = "R7143-4.2.2.1-07"
NO_EVIDENCE = Evidence()
MakeResult = Callable[..., CaseResult]
MakeResults = Callable[..., Results]


def _made_result(
    case_id: str = "nop.echoes",
    verdict: Verdict = Verdict.PASS,
    reason: str = "",
    *,
    role: str = "target",
    expected_failure: str | None = None,
    expected_events: tuple[str, ...] = (),
    codes: tuple[str, ...] = (),
    **evidence: object,
) -> CaseResult:
    return CaseResult(
        id=case_id,
        title=f"What {case_id} is about.",
        role=role,
        clauses=[CLAUSE],
        level="MUST",
        expected_events=list(expected_events),
        verdict=verdict,
        reason=reason,
        ending="closed by us",
        duration_s=0.25,
        transport="tcp",
        clock="real",
        evidence=Evidence(**evidence),  # type: ignore[arg-type]  # whatever Evidence takes
        expected_failure=expected_failure,
        codes=list(codes),
    )


@pytest.fixture
def make_result() -> MakeResult:
    """Return a function that makes one case's result; keywords it does not know go into the evidence."""
    return _made_result


@pytest.fixture
def make_results() -> MakeResults:
    """Return a function that makes a run of the results given."""

    def made(*cases: CaseResult, covered: dict[str, list[str]] | None = None) -> Results:
        return Results(
            versions={"iscsi-conformance": "0.1.0", "python": "3.11"},
            seed=7,
            profile="sample",
            dut={
                "kind": "foreign",
                "portal": "192.0.2.1:3260",
                "target_name": "iqn.2026-11.example:sample",
                "lun": 0,
                "probe": ["chap: no (the profile does not name chap_target)", "discovery: yes (a session was opened)"],
            },
            cases=list(cases),
            coverage=Coverage(requirements=covered or {}),
            summary=summary_of(cases),
        )

    return made


@pytest.fixture
def recorder() -> Recorder:
    """Return a recorder with every kind of record in it."""
    recorder = Recorder()
    ends = Endpoint("127.0.0.1", 40000), Endpoint("127.0.0.1", 3260)
    recorder.record(SettingsRecord(0.0, {"MaxSomething": 1}))
    recorder.record(TransportRecord(1, 0.0, TransportEvent.CONNECTED, *ends))
    steps = (
        (Direction.TO_TARGET, LoginRequest(itt=1, csg=1, nsg=3, transit=True, data=b"InitiatorName=iqn.x:a\0")),
        (Direction.TO_INITIATOR, LoginResponse(itt=1, csg=1, nsg=3, transit=True, tsih=7, stat_sn=3)),
        (Direction.TO_TARGET, NopOut(itt=2, cmd_sn=1, exp_stat_sn=4, data=b"ping")),
        (Direction.TO_INITIATOR, NopIn(itt=2, stat_sn=0x1234, exp_cmd_sn=2, max_cmd_sn=9, data=b"pong")),
        (Direction.TO_INITIATOR, DataIn(itt=3, data_sn=1, buffer_offset=512, data=bytes(range(100)))),
    )
    for number, (direction, pdu) in enumerate(steps, start=1):
        recorder.record(PduRecord(1, number / 1000, direction, encode(pdu)))
    recorder.record(BytesRecord(1, 0.008, Direction.TO_INITIATOR, b"\0garbage", "framing was lost before"))
    recorder.record(TransportRecord(1, 0.01, TransportEvent.FIN, *ends))
    return recorder


@pytest.fixture
def unused_endpoint() -> Iterator[str]:
    """Return a loopback HOST:PORT that is bound and does not listen: every connection to it is refused."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"
