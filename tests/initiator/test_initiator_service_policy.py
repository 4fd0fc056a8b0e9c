"""What a service does wrong where a policy says so, and nowhere else: answers, events, and what a caller says of none."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.initiator.service_bench import HOST, with_service

from iscsi_initiator.eventlog import EventLogWriter, LogReader
from iscsi_initiator.service import api
from iscsi_initiator.service.answering import Answering
from iscsi_initiator.service.api.wire import NoRequest, encode_request
from iscsi_initiator.service.client import Client
from iscsi_initiator.service.faults import all_faults, event_faults, other, stays
from iscsi_initiator.service.journal import Journal
from iscsi_initiator.service.policy import CONFORMING, ServicePolicy
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_protocol.eventlog import SERVICE_EVENTS, LoggedEvent
from iscsi_protocol.fault import Side

BUSY, NO_PORTAL, SHORT = StatusCode.SESSION_BUSY, StatusCode.PORTAL_NOT_FOUND, StatusCode.SHORT_CHAP_SECRET


def policy_of(fault_id: str) -> ServicePolicy:
    switches: Any = all_faults()[fault_id].policy
    return ServicePolicy(**switches)


async def told_by(answering: Answering, request) -> dict[str, Any]:
    """What stands in the one answer to a request."""
    line = await answering.answer(encode_request(request))
    assert isinstance(line, bytes)
    answer: dict[str, Any] = msgspec.json.decode(line)
    return answer


def answers(policy: ServicePolicy, *outcomes: Exception | api.Answer, request=None) -> list[int]:
    """The codes that are told for what a handler comes to, one request after the other."""
    left = list(outcomes)

    async def handler(asked):
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def run():
        answering = Answering(handler, lambda error: None, policy)
        return [(await told_by(answering, request or api.ListTargets()))["status"] for _ in outcomes]

    return asyncio.run(run())


def test_a_conforming_service_tells_what_it_came_to():
    told = answers(CONFORMING, Refused(BUSY), api.Answer(), api.Answer(status=SHORT), ValueError("oops"))
    assert told == [BUSY, 0, SHORT, StatusCode.NON_SPECIFIC_ERROR]


@pytest.mark.parametrize("code", list(StatusCode), ids=lambda code: code.name)
def test_another_code_of_the_same_severity_is_told(code):
    policy = policy_of(other(code))
    outcome = api.Answer(status=code) if code.is_warning else Refused(code)
    apart = Refused(NO_PORTAL if code != NO_PORTAL else BUSY)
    (told, untouched, done) = answers(policy, outcome, apart, api.Answer())
    assert told != code
    assert StatusCode(told).is_warning is code.is_warning
    assert (untouched, done) == (apart.status, 0)


def test_a_code_that_stays_stays_for_operations_of_its_kind():
    policy = policy_of(stays(BUSY))
    assert answers(policy, api.Answer(), Refused(BUSY), api.Answer(), Refused(NO_PORTAL)) == [0, BUSY, BUSY, BUSY]
    warned = policy_of(stays(SHORT))
    assert answers(warned, api.Answer(status=SHORT), api.Answer(), Refused(BUSY)) == [SHORT, SHORT, SHORT]

    async def handler(asked):
        if isinstance(asked, api.SessionList):
            return api.Sessions()
        raise Refused(BUSY)

    async def run():
        answering = Answering(handler, print, policy)
        for request, status in ((api.ListTargets(), BUSY), (api.SessionList(), 0), (api.ListTargets(), BUSY)):
            assert (await told_by(answering, request))["status"] == status

    asyncio.run(run())


def test_the_trouble_of_a_start_is_a_code_too():
    code = StatusCode.PERSISTENT_LOGIN_TIMEOUT
    state = api.ServiceState(state="running", pid=1, node_name="x", trouble=code)

    async def handler(asked):
        return state

    async def run(policy):
        return (await told_by(Answering(handler, print, policy), api.ServiceStatus()))["trouble"]

    assert asyncio.run(run(CONFORMING)) == code
    assert asyncio.run(run(policy_of(other(code)))) not in (0, code)


def test_trouble_is_told(tmp_path):
    async def test(bench):
        assert (await bench.ask(api.ServiceStatus())).trouble == 0
        bench.core.trouble = Refused(BUSY)
        assert (await bench.ask(api.ServiceStatus())).trouble == BUSY

    with_service(tmp_path, test)


async def perform_nothing(request):
    raise AssertionError(request)


def test_a_stream_is_told_answer_by_answer():
    stream: Any = object()

    async def handler(asked):
        return stream

    async def run():
        answering = Answering(handler, print, policy_of(other(SHORT)))
        assert await answering.answer(encode_request(api.Watch())) is stream
        assert msgspec.json.decode(answering.told(api.Answer(status=SHORT)))["status"] not in (0, SHORT)

    asyncio.run(run())


def test_what_is_no_request_is_no_answer_either():
    async def run():
        answering = Answering(perform_nothing, print, policy_of(other(StatusCode.INVALID_PARAMETER)))
        with pytest.raises(NoRequest) as refused:
            await answering.answer(b"[]")
        told = msgspec.json.decode(answering.refusal(api.failure_of(refused.value)))
        assert told["status"] == StatusCode.REQUEST_NOT_SUPPORTED

    asyncio.run(run())


def test_an_answer_that_is_too_long_is_kept_back():
    asked = api.ListTargets(buffer_size=10)
    answer = api.TargetNames(targets=("iqn.2026-01.org.example:x",))
    assert answers(CONFORMING, answer, request=asked) == [StatusCode.BUFFER_TOO_SMALL]
    small = policy_of(other(StatusCode.BUFFER_TOO_SMALL))
    assert answers(small, answer, request=asked) == [StatusCode.REQUEST_NOT_SUPPORTED]


def test_a_caller_tells_that_there_is_no_service(tmp_path):
    for policy, code in (
        (CONFORMING, StatusCode.SERVICE_NOT_RUNNING),
        (policy_of(other(StatusCode.SERVICE_NOT_RUNNING)), StatusCode.REQUEST_NOT_SUPPORTED),
    ):
        with pytest.raises(Refused) as refused:
            asyncio.run(Client(tmp_path / "s", policy=policy).ask(api.ServiceStatus()))
        assert refused.value.status == code


def logged(folder, event, *inserts, policy=CONFORMING):
    """What is in the log once the service or the driver told an event."""
    path = folder / "events.jsonl"
    path.unlink(missing_ok=True)
    writer = EventLogWriter(path)
    journal = Journal(writer, policy=policy)
    if event in SERVICE_EVENTS:
        journal.tell(event, *inserts)
    else:
        journal.tell_driver(event)
    writer.close()
    if not path.exists():
        return []
    reader = LogReader(path)
    try:
        return [
            (each.record.id, each.record.extra, *each.inserts)
            for each in reader.read()
            if isinstance(each, LoggedEvent)
        ]
    finally:
        reader.close()


@pytest.mark.parametrize("event", [64, *SERVICE_EVENTS])
def test_events_are_kept_back_doubled_and_spoilt(tmp_path, event):
    inserts = [f"string {place}" for place in range(len(SERVICE_EVENTS[event].inserts))] if event != 64 else []
    silent, twice, wrong = map(policy_of, event_faults(event))
    clean = logged(tmp_path, event, *inserts)
    assert clean == [(event, b"", *inserts)]
    assert logged(tmp_path, event, *inserts, policy=silent) == []
    assert logged(tmp_path, event, *inserts, policy=twice) == clean * 2
    (spoilt,) = logged(tmp_path, event, *inserts, policy=wrong)
    assert spoilt != clean[0]


def test_without_a_log_nothing_is_logged():
    Journal(None).tell_driver(64)


def test_faults_are_those_of_the_service():
    assert len(all_faults()) == 2 * len(StatusCode) - 2 + 3 * (len(SERVICE_EVENTS) + 1)
    assert {fault.side for fault in all_faults().values()} == {Side.SERVICE}
    assert list(all_faults()) == sorted(all_faults())


def test_plug_ins_of_whoever_embeds_the_service(tmp_path):
    class Flash:
        addresses = ()
        isid = None

        def discover(self):
            return []

    async def test(bench):
        from iscsi_initiator.service.startup import load_adapters

        found = load_adapters(bench.core, {}, {"flash": lambda *_: Flash(), "nothing": lambda *_: object()})
        assert list(found) == ["flash"]
        assert bench.events() == [108]
        bench.core.set_up(found)
        assert (await bench.ask(api.ListInitiators())).initiators[1] == "PLUGIN\\FLASH\\0000_0"
        assert HOST.port == 3260

    with_service(tmp_path, test)
