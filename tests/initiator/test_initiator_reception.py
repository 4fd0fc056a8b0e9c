"""Full feature PDUs that break a rule: each event from the wire, beside the PDU that just does not break it."""

from __future__ import annotations

import pytest

from iscsi_initiator.policy import Policy
from iscsi_initiator.requests import Failure, Ping, ScsiRequest, TaskManagement, TextNegotiation
from iscsi_initiator.settings import REQUIRE_DIGEST, SessionOptions, Settings
from iscsi_protocol.digest import crc32c
from iscsi_protocol.eventlog import words
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import (
    R2T,
    AsyncMessage,
    DataIn,
    DataOut,
    LoginResponse,
    LogoutResponse,
    NopIn,
    NopOut,
    Reject,
    ScsiCommand,
    ScsiResponse,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
    UnknownPdu,
    encode,
)

READ = bytes([0x28]) + bytes(9)
WRITE = bytes([0x2A]) + bytes(9)
DIGESTS = SessionOptions(
    portal=Endpoint("192.0.2.10", 3260),
    target_name="iqn.2026-01.org.example:disk",
    header_digest=REQUIRE_DIGEST,
    data_digest=REQUIRE_DIGEST,
)
SENSE = bytes.fromhex("700006000000000a00000000290000000000")


def reading(up, length=1024, **arguments):
    bench = up(**arguments)
    request = ScsiRequest(0, READ, data_in=length)
    bench.submit(request)
    return bench, request, bench.take(ScsiCommand)


def writing(up, data, **arguments):
    bench = up(**arguments)
    request = ScsiRequest(0, WRITE, data_out=data)
    bench.submit(request)
    return bench, request, bench.take(ScsiCommand)


def gone(bench):
    """The connection was closed by the initiator, and no loss was logged for that."""
    assert bench.closed == [bench.connection]
    assert bench.losses == 1
    assert 20 not in bench.log


def test_a_read_that_breaks_nothing_logs_nothing(up):
    bench, request, command = reading(up)
    assert command.read
    assert not command.write
    assert command.expected_data_transfer_length == 1024
    bench.give(bench.read_response(command, bytes(range(256)) * 4))
    assert bench.done(request)
    assert request.result.status == 0
    assert bytes(request.data_in) == bytes(range(256)) * 4
    assert bench.log == []


# 21, 22, 24, 25


@pytest.mark.parametrize("excess", [1, 4096])
def test_21_a_segment_over_the_declared_limit(up, excess):
    limit = Settings().max_recv_data_segment_length
    bench, _request, command = reading(up, 200_000)
    raw = encode(DataIn(itt=command.itt, data=b"", data_segment_length=limit + excess))
    bench.give(raw)
    assert bench.log == [21]
    assert bench.dump(21) == raw.bhs
    gone(bench)


def test_21_not_at_the_limit(up):
    limit = Settings().max_recv_data_segment_length
    bench, request, command = reading(up, limit)
    bench.give(bench.read_response(command, bytes(limit)))
    assert bench.done(request)
    assert bench.log == []


def test_21_not_where_the_policy_takes_them(up):
    limit = Settings().max_recv_data_segment_length
    bench, request, command = reading(up, limit + 4, policy=Policy(accept_oversized_segments=True))
    bench.give(bench.read_response(command, bytes(limit + 4)))
    assert request.result is not None
    assert bench.log == []


@pytest.mark.parametrize("byte", [0, 1, 5, 6, 7, 16, 24, 47])
def test_22_a_bit_of_the_header(up, byte):
    bench, _request, command = reading(up, options=DIGESTS)
    raw = encode(bench.read_response(command, bytes(1024))).with_digests(header=True, data=True)
    header = bytearray(raw.bhs)
    header[byte] ^= 1
    bench.give_bytes(bytes(header) + raw.to_bytes()[48:])
    assert bench.log == [22]
    assert bench.dump(22) == bytes(header) + raw.header_digest
    gone(bench)


def test_22_a_bit_of_the_digest_and_a_length_that_would_never_come(up):
    bench, _, command = reading(up, options=DIGESTS)
    raw = encode(DataIn(itt=command.itt, data_segment_length=0xFFFFFF))
    bench.give_bytes(bytes(raw.bhs) + b"\1\2\3\4")
    assert bench.log == [22]
    gone(bench)


def test_22_before_21_and_24(up):
    bench, _, _ = reading(up, options=DIGESTS)
    raw = encode(UnknownPdu(opcode=0x2B, data_segment_length=0xFFFFFF))
    bench.give_bytes(bytes(raw.bhs) + b"\1\2\3\4")
    assert bench.log == [22]


def test_22_where_the_policy_drops_the_pdu_alone(up):
    bench, request, command = reading(up, options=DIGESTS, policy=Policy(drop_on_header_digest_error=True))
    bench.give(NopIn(**bench.numbers(consume=False)), break_header=True)
    assert bench.log == [22]
    assert bench.losses == 0
    bench.give(bench.read_response(command, bytes(1024)))
    assert request.result.status == 0


def test_22_where_the_policy_believes_the_header(up):
    bench, request, command = reading(up, options=DIGESTS, policy=Policy(accept_header_digest_errors=True))
    bench.give(bench.read_response(command, bytes(1024)), break_header=True)
    assert request.result.status == 0
    assert bench.log == []


@pytest.mark.parametrize("opcode", [*range(0x07), 0x10, 0x1C, 0x1F, 0x27, 0x30, 0x33, 0x3B, 0x3C, 0x3E])
def test_24_opcodes_that_no_target_sends(up, opcode):
    bench, _, _ = reading(up)
    raw = encode(UnknownPdu(opcode=opcode, data=b"four"))
    bench.give(raw)
    assert bench.log == [24]
    assert bench.dump(24) == raw.bhs
    gone(bench)


def test_24_before_21(up):
    bench, _, _ = reading(up)
    bench.give(encode(UnknownPdu(opcode=0x2B, data_segment_length=0xFFFFFF)))
    assert bench.log == [24]


def test_25_data_digest(up):
    bench, request, command = reading(up, options=DIGESTS)
    bench.give(bench.read_response(command, bytes(1024)), break_data=True)
    assert bench.log == [25]
    right = crc32c(bytes(1024))
    assert bench.dump(25) == words(right, right ^ 1)
    gone(bench)
    assert not bench.done(request)  # it waits for the recovery


def test_25_padding_counts_and_is_covered(up):
    bench, _, command = reading(up, 1022, options=DIGESTS)
    raw = encode(bench.read_response(command, bytes(1022))).with_digests(header=True, data=True)
    raw.padding = b"\1\0"
    bench.give_bytes(raw.to_bytes())
    assert bench.log == [25]


def test_25_before_23(up):
    bench, _, command = reading(up, options=DIGESTS)
    response = bench.response(command, overflow=True, underflow=True, status=2, data=b"\0\x12" + SENSE)
    bench.give(response, break_data=True)
    assert bench.log == [25]


def test_25_not_where_the_policy_takes_it(up):
    bench, request, command = reading(up, options=DIGESTS, policy=Policy(accept_data_digest_errors=True))
    bench.give(bench.read_response(command, bytes(1024)), break_data=True)
    assert request.result.status == 0
    assert bench.log == []


# 23


@pytest.mark.parametrize(
    "fields",
    [
        {"overflow": True, "underflow": True},
        {"bidi_overflow": True, "bidi_underflow": True},
        {"response": 0x02},
        {"response": 0x7F},
        {"response": 0x01, "underflow": True},
        {"status": 0x01},
        {"status": 0x02},
        {"status": 0x02, "data": b"\0\0"},
    ],
)
def test_23_scsi_response(up, fields):
    bench, request, command = reading(up)
    response = bench.response(command, **fields)
    bench.give(response)
    assert bench.log == [23]
    assert bench.dump(23) == encode(response).bhs
    assert request.failure is Failure.PROTOCOL_ERROR
    gone(bench)


@pytest.mark.parametrize(
    "fields",
    [
        {"response": 0x80},
        {"response": 0xFF},
        {"response": 0x01},
        {"status": 0x08},
        {"status": 0x22},
        {"status": 0x02, "data": b"\0\x12" + SENSE},
        {"underflow": True, "residual_count": 1024},
        {"reserved": ScsiResponse.RESERVED_MASK},
    ],
)
def test_23_not_for_what_is_legal_or_reserved(up, fields):
    bench, request, command = reading(up)
    bench.give(bench.response(command, **fields))
    assert bench.log == []
    assert bench.done(request)


@pytest.mark.parametrize(
    "fields", [{"final": False}, {"overflow": True, "underflow": True}, {"status": 2}, {"status": 0x28}]
)
def test_23_data_in_with_status(up, fields):
    bench, _, command = reading(up)
    bench.give(bench.read_response(command, bytes(1024), **fields))
    assert bench.log == [23]


def test_23_not_for_flags_that_mean_nothing_without_status(up):
    bench, request, command = reading(up)
    bench.give(DataIn(itt=command.itt, overflow=True, underflow=True, acknowledge=True, status=9, data=bytes(512)))
    assert bench.log == []
    bench.give(bench.read_response(command, bytes(512), data_sn=1, buffer_offset=512))
    assert request.result.status == 0


BROKEN = {
    "both tags": NopIn(itt=1, ttt=2),
    "f with c": TextResponse(final=True, continued=True, itt=1),
    "f with ttt": TextResponse(final=True, itt=1, ttt=5),
    "no f, no ttt": TextResponse(final=False, itt=1),
    "tmf response": TaskManagementResponse(response=8, itt=1),
    "tmf data": TaskManagementResponse(itt=1, data=b"x"),
    "logout response": LogoutResponse(response=4, itt=1),
    "async event": AsyncMessage(async_event=6),
    "async event 247": AsyncMessage(async_event=247),
    "reject reason 0": Reject(reason=0, data=bytes(48)),
    "reject reason 13": Reject(reason=13, data=bytes(48)),
    "reject without header": Reject(reason=4, data=bytes(47)),
    "r2t with data": R2T(itt=1, data=b"x"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_23_the_other_opcodes(up, name):
    bench, _, _ = reading(up)
    bench.give(BROKEN[name])
    assert bench.log == [23]
    gone(bench)


def test_23_not_where_the_policy_passes_over(up):
    bench, _, _ = reading(up, policy=Policy(accept_invalid_pdus=True))
    bench.give(AsyncMessage(async_event=6, **bench.numbers()), UnknownPdu(opcode=0x2B))
    assert bench.losses == 0
    assert bench.log == [24]


def test_a_vendor_event_and_sense_are_passed_up(up):
    bench = up()
    bench.give(
        AsyncMessage(async_event=0, data=b"\0\x12" + SENSE, **bench.numbers()),
        AsyncMessage(async_event=255, async_vcode=3, **bench.numbers()),
    )
    assert bench.log == []
    assert [(e.event, e.vcode) for e in bench.events[-2:]] == [(0, 0), (255, 3)]


# 42


@pytest.mark.parametrize("step", [1, -1, 5, 2**31 - 1])
def test_42_gaps_and_steps_back(up, step):
    bench, _, command = reading(up)
    expected = bench.stat_sn
    bench.stat_sn = (expected + step) & 0xFFFFFFFF
    bench.give(bench.response(command, status=8))
    assert bench.log == [42]
    assert bench.dump(42) == words(expected, (expected + step) & 0xFFFFFFFF)
    gone(bench)


def test_42_a_repeat(up):
    bench = up()
    note = NopIn(**bench.numbers(consume=False))
    ping = Ping(b"x")
    bench.submit(ping)
    answer = NopIn(itt=bench.take(NopOut).itt, data=b"x", **bench.numbers())
    bench.give(note, answer)
    assert bench.log == []
    bench.give(answer)
    assert bench.log == [42]


def test_42_not_at_the_wrap(up):
    bench = up()
    bench.engine.session(bench.session).leading.link.exp_stat_sn = bench.stat_sn = 0xFFFFFFFF
    for _ in range(3):
        ping = Ping()
        bench.submit(ping)
        bench.give(NopIn(itt=bench.take(NopOut).itt, **bench.numbers()))
        assert bench.done(ping)
    assert bench.log == []
    assert bench.stat_sn == 2


@pytest.mark.parametrize("kind", [NopIn, R2T])
def test_42_the_next_number_without_using_it(up, kind):
    bench, _request, command = writing(up, bytes(200_000))
    wrong = {**bench.numbers(consume=False), "stat_sn": bench.stat_sn + 1}
    pdu = NopIn(**wrong) if kind is NopIn else R2T(itt=command.itt, ttt=1, desired_data_transfer_length=4, **wrong)
    bench.give(pdu)
    assert bench.log == [42]


def test_42_not_where_the_policy_takes_any(up):
    bench, request, command = reading(up, policy=Policy(accept_any_stat_sn=True))
    bench.stat_sn += 7
    bench.give(bench.response(command, status=8))
    assert bench.done(request)
    assert bench.log == []


# 27


@pytest.mark.parametrize("kind", [ScsiResponse, TaskManagementResponse, LogoutResponse, LoginResponse, R2T, DataIn])
def test_27_a_tag_that_nobody_has(up, kind):
    bench, request, command = reading(up)
    consume = kind not in (R2T, DataIn)
    fields = {"itt": 0x77, **bench.numbers(consume=consume)}
    if kind is R2T:
        fields |= {"ttt": 1, "desired_data_transfer_length": 4}
    pdu = kind(**fields)
    bench.give(pdu)
    assert bench.log == [27]
    assert bench.dump(27) == encode(pdu).bhs
    assert bench.losses == 0
    bench.give(bench.read_response(command, bytes(1024)))  # and the session goes on, StatSN included
    assert request.result.status == 0


def test_27_the_tag_of_a_finished_task_and_of_one_of_another_kind(up):
    bench, request, command = reading(up)
    bench.give(NopIn(itt=command.itt, **bench.numbers()))
    assert bench.log == [27]
    bench.give(bench.read_response(command, bytes(1024)))
    bench.give(bench.response(command))
    assert bench.log == [27, 27]
    assert request.result.status == 0


def test_42_before_27(up):
    bench, _, _ = reading(up)
    bench.give(ScsiResponse(itt=0x77, **{**bench.numbers(), "stat_sn": 5}))
    assert bench.log == [42]


# 26


@pytest.mark.parametrize(
    "pdus",
    [
        [{"data": bytes(1025)}],
        [{"data": bytes(4), "buffer_offset": 1024}],
        [{"data": bytes(512)}, {"data": bytes(512), "buffer_offset": 508, "data_sn": 1}],
        [{"data": bytes(512)}, {"data": bytes(512)}],
    ],
)
def test_26_more_than_was_asked_for(up, pdus):
    bench, request, command = reading(up)
    for fields in pdus:
        bench.give(DataIn(**{"itt": command.itt, "final": False, **fields}))
    assert bench.log == [26]
    assert len(bench.dump(26)) == 48
    assert request.failure is Failure.PROTOCOL_ERROR
    gone(bench)


def test_26_for_a_task_that_does_not_read(up):
    bench, _, command = writing(up, b"data")
    bench.give(DataIn(itt=command.itt, data=b"data"))
    assert bench.log == [26]


def test_26_a_sequence_over_max_burst_length(up):
    settings = Settings(max_burst_length=1024, first_burst_length=1024)
    bench, _, command = reading(up, 4096, settings=settings)
    bench.give(DataIn(itt=command.itt, data=bytes(1024), final=False))
    assert bench.log == []
    bench.give(DataIn(itt=command.itt, data=bytes(4), data_sn=1, buffer_offset=1024, final=False))
    assert bench.log == [26]


def test_26_not_for_sequences_that_end(up):
    settings = Settings(max_burst_length=1024, first_burst_length=1024)
    bench, request, command = reading(up, 4096, settings=settings)
    for sn in range(4):
        bench.give(DataIn(itt=command.itt, data=bytes(1024), data_sn=sn, buffer_offset=sn * 1024))
    bench.give(bench.response(command, exp_data_sn=4))
    assert request.result.status == 0
    assert bench.log == []


def test_26_not_where_the_policy_takes_it(up):
    bench, _request, command = reading(up, policy=Policy(accept_excess_data=True))
    bench.give(DataIn(itt=command.itt, data=bytes(2048)))
    assert bench.log == []


def test_a_data_sn_gap_ends_the_task_without_an_event(up):
    bench, request, command = reading(up)
    bench.give(DataIn(itt=command.itt, data=bytes(512), data_sn=1, buffer_offset=512))
    abort = bench.take(TaskManagementRequest)
    assert (abort.function, abort.referenced_task_tag, abort.ref_cmd_sn) == (1, command.itt, command.cmd_sn)
    bench.give(TaskManagementResponse(itt=abort.itt, **bench.numbers()))
    assert request.failure is Failure.DATA_MISSING
    assert bench.log == []
    assert bench.losses == 0


@pytest.mark.parametrize(
    "fields", [{"exp_data_sn": 2}, {"exp_data_sn": 1}, {"exp_data_sn": 0, "underflow": True, "residual_count": 8}]
)
def test_missing_data_is_never_taken_for_success(up, fields):
    bench, request, command = reading(up)
    bench.give(DataIn(itt=command.itt, data=bytes(512), final=False))
    bench.give(bench.response(command, **fields))
    assert request.failure is Failure.DATA_MISSING
    assert bench.log == []


def test_a_read_with_underflow(up):
    bench, request, command = reading(up)
    bench.give(bench.read_response(command, bytes(100), underflow=True, residual_count=924))
    assert (request.result.received, request.result.underflow) == (100, 924)
    bench, request, command = reading(up)
    bench.give(bench.read_response(command, bytes(1024), overflow=True, residual_count=5))
    assert request.result.overflow == 5


# 28


@pytest.mark.parametrize(
    "fields",
    [
        {"desired_data_transfer_length": 0},
        {"desired_data_transfer_length": 262145},
        {"buffer_offset": 300_000, "desired_data_transfer_length": 1},
        {"buffer_offset": 299_000, "desired_data_transfer_length": 1001},
        {"r2t_sn": 1},
        {"ttt": 0xFFFFFFFF},
        {"buffer_offset": 4096},
    ],
)
def test_28_invalid_r2ts(up, fields):
    bench, request, command = writing(up, bytes(300_000))
    r2t = R2T(
        **{
            "itt": command.itt,
            "ttt": 9,
            "buffer_offset": 65536,
            "desired_data_transfer_length": 8192,
            **bench.numbers(consume=False),
            **fields,
        }
    )
    bench.give(r2t)
    assert bench.log == [28]
    assert bench.dump(28) == encode(r2t).bhs
    assert request.failure is Failure.PROTOCOL_ERROR
    gone(bench)


def test_28_for_a_task_that_does_not_write(up):
    bench, _, command = reading(up)
    bench.give(R2T(itt=command.itt, ttt=9, desired_data_transfer_length=4, **bench.numbers(consume=False)))
    assert bench.log == [28]


def test_28_more_than_max_outstanding_r2t(up):
    bench, _, command = writing(up, bytes(300_000), settings=Settings(max_outstanding_r2t=2))
    numbers = bench.numbers(consume=False)
    r2ts = [
        R2T(
            itt=command.itt,
            ttt=9 + n,
            r2t_sn=n,
            buffer_offset=65536 + n * 512,
            desired_data_transfer_length=512,
            **numbers,
        )
        for n in range(5)
    ]
    bench.give(*r2ts[:2])
    assert len([pdu for pdu in bench.sent if isinstance(pdu, DataOut) and pdu.ttt != 0xFFFFFFFF]) == 2
    assert bench.log == []
    bench.give(*r2ts[2:])
    assert bench.log == [28]


def test_28_not_where_the_policy_answers_all(up):
    bench, _, command = writing(
        up, bytes(100), policy=Policy(accept_invalid_r2t=True), answers={"ImmediateData": "No", "InitialR2T": "Yes"}
    )
    bench.give(R2T(itt=command.itt, ttt=9, desired_data_transfer_length=4096, **bench.numbers(consume=False)))
    assert bench.take(DataOut).data == bytes(100)
    assert bench.log == []


# 60


@pytest.mark.parametrize(
    "fields",
    [
        {"status": 0, "data": b"\0\0"},
        {"status": 0, "data": b"\0\x12" + SENSE},
        {"status": 8, "data": b"\0\x12" + SENSE},
        {"status": 2, "data": b"\0\x13" + SENSE},
        {"status": 2, "data": b"\0\x12" + SENSE + b"more"},
        {"status": 2, "data": b"\1"},
    ],
)
def test_60_data_that_is_no_sense_data(up, fields):
    bench, request, command = reading(up)
    response = bench.response(command, **fields)
    bench.give(response)
    assert bench.log == [60]
    assert bench.dump(60) == encode(response).bhs
    assert request.failure is Failure.PROTOCOL_ERROR


def test_60_not_for_response_data(up):
    bench, request, command = reading(up)
    bench.give(bench.response(command, response=0x80, data=b"\0\0vendor"))
    assert bench.log == []
    assert request.result.response_data == b"vendor"


def test_60_not_for_sense_with_any_status_at_level_2(up):
    options = SessionOptions(
        portal=Endpoint("192.0.2.10", 3260),
        target_name="iqn.2026-01.org.example:disk",
        extra_keys=(("iSCSIProtocolLevel", "2"),),
    )
    bench, request, command = reading(up, options=options)
    bench.give(bench.response(command, status=8, data=b"\0\x12" + SENSE))
    assert bench.log == []
    assert request.result.sense == SENSE


# 29


def reject(bench, command, reason):
    return Reject(reason=reason, data=bytes(encode(command).bhs), **bench.numbers())


@pytest.mark.parametrize("reason", [3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
def test_29_every_reason_ends_the_request_and_closes_the_gap(up, reason):
    bench, request, command = reading(up)
    bench.give(reject(bench, command, reason))
    assert bench.log == [29]
    assert bench.dump(29) == encode(command).bhs
    told = {5: Failure.UNSUPPORTED, 6: Failure.TARGET_FULL, 10: Failure.TARGET_FULL}
    assert request.failure is told.get(reason, Failure.REJECTED)
    filler = bench.take(NopOut)
    assert not filler.immediate
    assert filler.cmd_sn == command.cmd_sn
    assert bench.losses == 0


def test_29_a_command_rejected_for_its_data_digest_is_sent_again(up):
    bench, request, command = writing(up, bytes(1000), options=DIGESTS)
    for _ in range(3):
        bench.give(reject(bench, command, 2))
        again = bench.take(ScsiCommand)
        assert (again.cmd_sn, again.itt, again.data) == (command.cmd_sn, command.itt, bytes(1000))
    bench.give(reject(bench, command, 2))
    assert bench.log == [29] * 4
    assert request.failure is Failure.REJECTED


def test_29_a_rejected_data_out_waits_for_the_response(up):
    bench, request, command = writing(up, bytes(20_000))
    data_out = bench.take(DataOut)
    bench.give(reject(bench, data_out, 2))
    assert bench.log == [29]
    assert not bench.done(request)
    bench.give(bench.response(command, status=2, data=b"\0\x12" + SENSE))
    assert request.result.sense == SENSE


def test_29_no_gap_where_the_target_counted_the_command(up):
    bench, request, command = reading(up)
    bench.exp_cmd_sn = command.cmd_sn + 1
    bench.give(reject(bench, command, 4))
    assert request.failure is Failure.REJECTED
    assert bench.sent == []


def test_29_other_requests(up):
    bench = up()
    for request, kind in (
        (Ping(), NopOut),
        (TaskManagement(5), TaskManagementRequest),
        (TextNegotiation((("SendTargets", ""),)), TextRequest),
    ):
        bench.submit(request)
        bench.give(reject(bench, bench.take(kind), 4))
        assert request.failure is Failure.REJECTED
    assert bench.log == [29] * 3
