"""What the service tells at which place: a message of each flag with it and none without, no secrets, traces by the API."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import re
import threading
from pathlib import Path

import pytest
from tests.initiator.service_bench import DEAD, with_service

from iscsi_conformance.bundled import MUTUAL, PLAIN
from iscsi_conformance.clock import passed
from iscsi_initiator.requests import (
    AsyncReceived,
    ConnectionLost,
    ConnectionRemoved,
    ConnectionUp,
    DeviceGone,
    EventLogged,
    SecretSealed,
    SessionClosed,
    SessionLost,
    SessionUp,
)
from iscsi_initiator.service import api
from iscsi_initiator.service.process import Place, serve
from iscsi_initiator.service.startup import StartFailed
from iscsi_initiator.service.telling import told, words
from iscsi_initiator.service.tracing import MAX_TRACES
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import Store
from iscsi_initiator.store.state import IdType, SettingValue, StoredSettings
from iscsi_initiator.tracing.files import TraceFile
from iscsi_initiator.tracing.flags import (
    CATEGORIES,
    DRIVER_PROBLEM,
    ERROR,
    FATAL,
    INFORMATION,
    MEMORY,
    MESSAGES,
    RECURRING,
    REFCOUNT,
    SPEW_ALL,
    TCP,
    WARNING,
    WMI_API,
)
from iscsi_initiator.tracing.reader import Remark, TraceReader
from iscsi_initiator.tracing.session import SessionTrace
from iscsi_initiator.tracing.teller import Message, Teller
from iscsi_initiator.transport import BindFailed
from iscsi_protocol.eventlog.rows import EVENTS
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import DataOut, LoginRequest, NopOut, encode

SECRETS = (b"one-way-secret-1", b"mutual-secret-22", b"the-group-key-33", b"the-psk-of-a-portal")
BOTH = api.LoginOptions(auth_type=2, user_name="tester", password=SECRETS[0])
SAID = {
    FATAL: "event 106: the initiator's service could not start: no room; store",
    ERROR: "LogoutTarget is refused: ",
    WARNING: "connection 0 was lost: the connection was lost (RST)",
    INFORMATION: "recovery level ",
    RECURRING: "TCP connection 1 -> SCSI Command: ",
    DRIVER_PROBLEM: "event 20, error: the connection to the target was lost (RST)",
    WMI_API: "asked: LoginTarget(target_name=",
    MEMORY: "one more login: ",
    TCP: "TCP connection 1: connecting to 127.0.0.1:3260",
    REFCOUNT: "is let go of; 0 are held",
}
"""Flag to a part of a message that the course of events below has to bring."""


async def everything(bench) -> None:
    """Something of each kind: logins with all secrets, a lost connection, a refusal, a shortage, open devices, a logout."""
    await bench.discover()
    await bench.refused(api.GroupKey(key=SECRETS[2], persist=True))
    await bench.refused(api.PSKey(id_type=IdType.IPV4_ADDRESS, id="192.0.2.1", key=SECRETS[3], persist=True))
    await bench.ask(api.CHAPSecret(secret=SECRETS[1]))
    await bench.ask(api.AddTarget(target_name="iqn.2026-01.org.example:static", options=BOTH, persist=True))
    session = await bench.log_in(MUTUAL, options=BOTH)
    device = bench.core.open_device(session.session_id, 0, "fsck")
    bench.core.handles.close(session.session_id, device.interface_name, "fsck")
    bench.core.journal.tell(106, "no room", "store")
    session.client.driver.lost(1, TransportEvent.RST)
    await bench.refused(api.LogoutTarget(session_id="1-1"))
    await passed(5)
    assert session.client.connections == (0,)
    await bench.ask(api.LogoutTarget(session_id=session.session_id))


def told_with(folder: Path, mask: int) -> list[Message]:
    taken: list[Message] = []

    async def test(bench):
        bench.core.teller.add(mask, taken.append)
        await everything(bench)

    with_service(folder, test)
    return taken


@pytest.mark.parametrize("row", [row for row in CATEGORIES if row.level], ids=lambda row: row.name)
def test_each_flag_has_its_message(tmp_path, row):
    """With the flag alone there are its messages and no others; with all others there are none of it."""
    alone = told_with(tmp_path / "alone", row.mask)
    assert {each.mask for each in alone} == {row.mask}
    assert any(SAID[row.mask] in each.text for each in alone)
    others = told_with(tmp_path / "others", SPEW_ALL & ~row.mask)
    assert {each.mask for each in others} == set(SAID) - {row.mask}
    assert not any(SAID[row.mask] in each.text for each in others)


def test_every_flag_is_tested():
    assert sum(SAID) == MESSAGES


def test_secrets_are_never_told(tmp_path):
    """CHAP both ways and every key that the service takes, with all that there is to tell: in no form, bytes or text."""
    messages = told_with(tmp_path, SPEW_ALL)
    assert any("asked: CHAPSecret(secret=***)" in each.text for each in messages)
    assert any("password=***" in each.text for each in messages)
    assert any("up-call" in each.text and "is answered" in each.text for each in messages)
    text = "\n".join(each.text for each in messages).encode()
    for secret in SECRETS:
        for form in (secret, secret.hex().encode(), secret.hex(" ").encode(), base64.b64encode(secret)):
            assert form not in text
    # Nor what the secrets were proved by.
    assert b"CHAP_R" not in text
    assert b"CHAP_C" not in text


def test_time_is_that_of_the_service(tmp_path):
    """The stamps follow the clock that the service is given, here the virtual one."""
    taken: list[Message] = []

    async def test(bench):
        loop = asyncio.get_running_loop()
        bench.core.journal.wall = lambda: 1_700_000_000 + loop.time()
        bench.core.teller.add(WMI_API, taken.append)
        await bench.ask(api.ServiceStatus())
        await passed(90.5)
        await bench.ask(api.ServiceStatus())

    with_service(tmp_path, test)
    assert [each.time for each in taken] == [1_700_000_000_000_000_000] * 2 + [1_700_000_090_500_000_000] * 2


def test_off_costs_nothing_but_the_test(tmp_path, monkeypatch):
    """With level 0 nothing is worded: a teller that cannot tell is never asked to."""

    def tell(teller, flag, text):
        raise AssertionError(text)

    monkeypatch.setattr(Teller, "tell", tell)
    with_service(tmp_path, everything)


def start(folder: Path, name: str = "t", **fields) -> api.StartTrace:
    return api.StartTrace(name=name, path=str(folder / f"{name}.trace"), **{"flags": SPEW_ALL, **fields})


def read(path: Path) -> tuple[list[Message], list[Remark]]:
    reader = TraceReader(path)
    try:
        found = list(reader.read())
    finally:
        reader.close()
    return [each for each in found if isinstance(each, Message)], [each for each in found if isinstance(each, Remark)]


def test_a_trace_from_start_to_stop(tmp_path):
    async def test(bench):
        started = await bench.ask(start(tmp_path, level=4, buffer_kib=4, minimum_buffers=3))
        assert started.trace.buffers == started.trace.free_buffers == 3
        assert (started.trace.messages, started.trace.lost, started.trace.buffers_written) == (0, 0, 0)
        await everything(bench)
        (entry,) = (await bench.ask(api.QueryTrace(name="T"))).traces
        assert entry.messages > 50
        assert entry.path == str(tmp_path / "t.trace")
        assert (await bench.ask(api.QueryTrace())).traces[0].name == "t"
        stopped = (await bench.ask(api.StopTrace(name="t"))).trace
        messages, remarks = read(tmp_path / "t.trace")
        assert len(messages) == stopped.messages
        assert remarks == []
        assert {each.mask for each in messages} == set(SAID) - {RECURRING, REFCOUNT}
        assert [each.time for each in messages] == sorted(each.time for each in messages)
        assert bench.core.teller.level == 0
        assert (await bench.ask(api.QueryTrace())).traces == ()
        await bench.ask(api.ServiceStatus())
        assert len(read(tmp_path / "t.trace")[0]) == stopped.messages

    with_service(tmp_path, test)


def test_trace_that_begins_in_the_middle_of_a_session(tmp_path):
    """PDUs of a session that was there before are told of, both ways."""

    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        await bench.ask(start(tmp_path, flags=RECURRING))
        await bench.ask(api.ScsiInquiry(session_id=session.session_id, lun=0))
        await bench.ask(api.StopTrace(name="t"))
        messages, _ = read(tmp_path / "t.trace")
        shown = [each.text.partition("TCP connection ")[2] for each in messages]
        assert shown[0].startswith("1 -> SCSI Command: ")
        assert "INQUIRY" in shown[0]
        assert shown[1].startswith("1 <- SCSI Data-In: ")
        assert len(shown) == 2

    with_service(tmp_path, test)


def test_buffers_are_written_after_the_flush_time(tmp_path):
    """A message that fills no buffer is in the file behind the flush time, and not before."""

    async def test(bench):
        await bench.ask(start(tmp_path, flush_time=5, flags=ERROR))
        bench.core.teller.tell(ERROR, "first")
        assert read(tmp_path / "t.trace")[0] == []
        await passed(4.9)
        assert read(tmp_path / "t.trace")[0] == []
        await passed(0.2)
        assert [each.text for each in read(tmp_path / "t.trace")[0]] == ["first"]
        # Nothing is left that would wake the loop.
        assert bench.core.traces._timers == {}

    with_service(tmp_path, test)


def test_full_buffer_is_written_in_the_next_turn(tmp_path):
    async def test(bench):
        await bench.ask(start(tmp_path, flush_time=3600, flags=ERROR, buffer_kib=4))
        for number in range(20):
            bench.core.teller.tell(ERROR, f"{number}".ljust(400, "x"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(read(tmp_path / "t.trace")[0]) == 20
        assert asyncio.get_running_loop().time() == 0

    with_service(tmp_path, test)


def test_adapters_may_tell_from_their_threads(tmp_path):
    async def test(bench):
        await bench.ask(start(tmp_path, flags=ERROR, buffer_kib=4))

        def tell():
            for number in range(100):
                bench.core.teller.tell(ERROR, f"{number}".ljust(100, "x"))

        threads = [threading.Thread(target=tell) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            await asyncio.to_thread(each.join, 20)
        stopped = (await bench.ask(api.StopTrace(name="t"))).trace
        assert (stopped.messages, stopped.lost) == (400, 0)
        assert len(read(tmp_path / "t.trace")[0]) == 400

    with_service(tmp_path, test, virtual=False)


def test_what_traces_are_refused_for(tmp_path, monkeypatch):
    async def test(bench):
        (tmp_path / "text.trace").write_text("not a trace")
        await bench.ask(start(tmp_path))
        parameter = StatusCode.INVALID_PARAMETER
        assert await bench.refused(start(tmp_path, "T")) == parameter
        assert await bench.refused(start(tmp_path, "text")) == parameter
        assert (tmp_path / "text.trace").read_text() == "not a trace"
        assert await bench.refused(api.StartTrace(name="same", path=str(tmp_path / "t.trace"))) == parameter
        assert await bench.refused(api.StartTrace(name="folder", path=str(tmp_path))) == parameter
        assert await bench.refused(api.StartTrace(name="nowhere", path=str(tmp_path / "x" / "y"))) == parameter
        for name in ("none", "t "):
            assert await bench.refused(api.StopTrace(name=name)) == parameter
            assert await bench.refused(api.QueryTrace(name=name)) == parameter
        for number, status in (
            (errno.ENOSPC, StatusCode.OUT_OF_RESOURCES),
            (errno.EIO, StatusCode.NON_SPECIFIC_ERROR),
        ):

            def write(self, offset, data, number=number):
                raise OSError(number, os.strerror(number))

            with monkeypatch.context() as patch:
                patch.setattr(TraceFile, "write", write)
                assert await bench.refused(start(tmp_path, "full")) == status
        assert len((await bench.ask(api.QueryTrace())).traces) == 1
        for number in range(MAX_TRACES - 1):
            await bench.ask(start(tmp_path, f"n{number}", minimum_buffers=2, buffer_kib=4))
        assert await bench.refused(start(tmp_path, "more")) == StatusCode.OUT_OF_RESOURCES
        for number in range(MAX_TRACES - 1):
            await bench.ask(api.StopTrace(name=f"n{number}"))
        # One of 16 MiB runs.
        large = {"minimum_buffers": 2, "maximum_buffers": 256, "buffer_kib": 1024}
        for number in range(3):
            await bench.ask(start(tmp_path, f"n{number}", **large))
        assert await bench.refused(start(tmp_path, "large", **large)) == StatusCode.OUT_OF_RESOURCES
        await bench.ask(start(tmp_path, "less", **{**large, "maximum_buffers": 240}))
        assert await bench.refused(start(tmp_path, "small", maximum_buffers=16)) == StatusCode.OUT_OF_RESOURCES
        bench.core.traces.close()
        assert bench.core.traces.all() == []

    with_service(tmp_path, test)


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "relative"},
        {"path": "/a\nb"},
        {"name": ""},
        {"flags": 0},
        {"level": 9},
        {"buffer_kib": 2},
        {"circular": True},
        {"flush_time": 0},
    ],
)
def test_requests_that_cannot_be(fields):
    with pytest.raises(Refused) as refused:
        api.StartTrace(**{"name": "t", "path": "/t", **fields})
    assert refused.value.status is StatusCode.INVALID_PARAMETER
    assert "\n" not in refused.value.reason


def test_file_that_takes_nothing_is_told_and_holds_nothing_up(tmp_path, monkeypatch):
    async def test(bench):
        await bench.ask(start(tmp_path, flush_time=1, flags=WMI_API))

        def write(self, offset, data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(TraceFile, "write", write)
            await bench.ask(api.ServiceStatus())
            await passed(1.1)
            (entry,) = (await bench.ask(api.QueryTrace())).traces
            assert entry.failure == "No space left on device"
            await bench.discover()
        stopped = (await bench.ask(api.StopTrace(name="t"))).trace
        assert (stopped.failure, stopped.lost) == ("", 0)
        assert len(read(tmp_path / "t.trace")[0]) == stopped.messages

    with_service(tmp_path, test)


def test_defects_are_fatal_and_warnings_are_warnings():
    taken: list[Message] = []
    teller = Teller()
    teller.add(SPEW_ALL, taken.append)

    async def fails():
        raise KeyError("one-way-secret-1")

    async def warns():
        return api.Answer(status=StatusCode.SHORT_CHAP_SECRET, message="short")

    with pytest.raises(KeyError):
        asyncio.run(told(teller, api.ServiceStatus(), fails()))
    asyncio.run(told(teller, api.CHAPSecret(secret=b"short"), warns()))
    assert [(each.mask, each.text) for each in taken] == [
        (WMI_API, "asked: ServiceStatus()"),
        (FATAL, "ServiceStatus: a defect of the service, KeyError"),
        (WMI_API, "asked: CHAPSecret(secret=***)"),
        (WMI_API, "answered: CHAPSecret, 0xafff0048"),
        (WARNING, "CHAPSecret: SHORT_CHAP_SECRET (short)"),
    ]


def test_words_of_a_request_have_no_bytes():
    """Not even where nobody has called them a secret: a settings file may have anything in it."""
    assert words(api.ImportSettings(data=b"secret")) == "ImportSettings(data=***)"
    conditions = {"InstanceName": "secret"}
    asked = api.Invoke(class_name="A", method="M", where=conditions, arguments={"Key": "secret"})
    assert words(asked) == "Invoke(class_name=A, method=M, where=[InstanceName], arguments=***)"
    path = api.PathSetting(connection_id="1-2")
    shown = words(api.SetLoadBalancePolicy(session_id="1-2", policy=1, paths=(path,)))
    assert shown.startswith("SetLoadBalancePolicy(session_id=1-2, policy=1, paths=[PathSetting(connection_id=1-2")


def test_pdus_are_told_one_by_one():
    """What is sent together is taken apart, with digests and without; bytes that are no PDU are told as such."""
    taken: list[Message] = []
    teller = Teller()
    trace = SessionTrace(teller, "s")
    assert not trace.wants_pdus
    teller.add(RECURRING, taken.append)
    assert trace.wants_pdus
    ping, data = encode(NopOut(itt=7, data=b"12345")), encode(DataOut(itt=9, data=bytes(48)))
    parts = [
        *(ping.bhs, b"12345", bytes(3), b"dddd"),
        *(data.bhs, b"hhhh", bytes(48), b"dddd"),
    ]
    trace.sending(1, parts[:3], header_digest=False, data_digest=False)
    trace.sending(1, [*parts[:1], b"hhhh", *parts[1:]], header_digest=True, data_digest=True)
    login = encode(LoginRequest(itt=1, data=b"abcd"))
    trace.sending(1, [*login.buffers(), *login.buffers()], header_digest=True, data_digest=True)
    trace.sending(2, [b"short"], header_digest=False, data_digest=False)
    trace.received(1, ping)
    assert [each.text.partition(", cmd_sn")[0].partition(", ttt")[0] for each in taken] == [
        "s: TCP connection 1 -> NOP-Out: data_segment_length 5, itt 0x00000007",
        "s: TCP connection 1 -> NOP-Out: data_segment_length 5, itt 0x00000007",
        "s: TCP connection 1 -> SCSI Data-Out: data_segment_length 48, itt 0x00000009, data_sn 0",
        "s: TCP connection 1 -> Login Request: data_segment_length 4, itt 0x00000001",
        "s: TCP connection 1 -> Login Request: data_segment_length 4, itt 0x00000001",
        "s: TCP connection 2 -> bytes that are no PDU",
        "s: TCP connection 1 <- NOP-Out: data_segment_length 5, itt 0x00000007",
    ]
    assert "12345" not in str(taken)


def test_what_tcp_tells():
    taken: list[Message] = []
    teller = Teller()
    teller.add(TCP | MEMORY, taken.append)
    trace, here = SessionTrace(teller, "s"), Endpoint("192.0.2.1", 1)
    trace.connecting(1, Endpoint("192.0.2.2", 3260), here)
    trace.not_connected(1, "refused")
    trace.connected(2, here, Endpoint("192.0.2.2", 3260), 1)
    trace.sent(2, [b"12", b"345"], blocked=True)
    trace.send_failed(2, errno.EPIPE)
    trace.ended(2, "closed by us", 0)
    assert [each.text for each in taken] == [
        "s: TCP connection 1: connecting to 192.0.2.2:3260 from 192.0.2.1:1",
        "s: TCP connection 1: not made (refused)",
        "s: TCP connection 2: up, 192.0.2.1:1 to 192.0.2.2:3260",
        "s: TCP connection 2: 5 bytes sent",
        "s: TCP connection 2: the network takes no more; bytes wait in buffers",
        "s: TCP connection 2: not sent (Broken pipe)",
        "s: TCP connection 2: closed by us",
    ]
    assert taken[4].mask == MEMORY


def test_what_the_engine_tells():
    """Each of its events that has a message, and those that have none."""
    taken: list[Message] = []
    teller = Teller()
    teller.add(SPEW_ALL, taken.append)
    trace = SessionTrace(teller, "s")
    for event in (
        SessionUp(1, 7, recovered=True),
        ConnectionUp(1, 0, 4),
        ConnectionLost(1, 0, "RST"),
        ConnectionLost(1, 0, ""),
        SessionLost(1, "RST"),
        ConnectionRemoved(1, 3, "removed"),
        DeviceGone(1),
        AsyncReceived(1, 0, bytes(8), b"sense data"),
        EventLogged(1, 2, b"", 0.0, "no more"),
        EventLogged(1, 56, b"", 0.0),
        SessionClosed(1),
        SecretSealed(1, b"sealed"),
    ):
        trace.event(event)
    trace.answered(5, refused=True)
    assert [(each.mask, each.text.removeprefix("s: ")) for each in taken] == [
        (INFORMATION, "logged in, again, TSIH 7"),
        (INFORMATION, "connection 0 is logged in, over TCP connection 4"),
        (WARNING, "connection 0 was lost: RST"),
        (INFORMATION, "connection 0 is closed"),
        (WARNING, "the session was lost: RST"),
        (INFORMATION, "connection 3 is no part of it any more: removed"),
        (WARNING, "it did not come back in time; requests fail"),
        (INFORMATION, "asynchronous message 0, 10 bytes of data"),
        (MEMORY, "event 2, error: no resources for another session (no more)"),
        (MEMORY, f"event 56, error: {EVENTS[56].message}"),
        (INFORMATION, "over"),
        (WMI_API, "up-call 5 is refused"),
    ]


def test_ends_of_tcp_connections_are_told(tmp_path):
    """Local ends that cannot be had, sends that fail, and a session that is dropped."""
    taken: list[Message] = []

    class NoLocalEnd:
        async def connect(self, endpoint, receiver, source=None):
            raise BindFailed(errno.EADDRNOTAVAIL, endpoint, source)

    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        bench.core.teller.add(TCP, taken.append)
        session.client.driver.send_failed(1, errno.EPIPE)
        session.client.abort()
        bench.core.ended(session)
        bench.core.connectors = NoLocalEnd
        await bench.refused(api.LoginTarget(target_name=PLAIN))

    with_service(tmp_path, test)
    texts = [each.text.partition("TCP connection 1: ")[2] for each in taken]
    assert texts[:3] == ["not sent (Broken pipe)", "reset by us", "connecting to 127.0.0.1:3260"]
    assert texts[3].startswith("not made (127.0.0.1:3260: no local end")


def started_with(folder: Path, **service: SettingValue) -> list[str]:
    """A service with these settings that fails to start for its socket; what it complained about."""
    with Store(folder / "store") as store:
        store.change(lambda state: type(state)(settings=StoredSettings(service=service)))
    (folder / "socket").write_text("no socket")
    complaints: list[str] = []
    place = Place(store=folder / "store", socket=folder / "socket", event_log=folder / "events.jsonl")
    with pytest.raises(StartFailed):
        asyncio.run(serve(place, lambda: None, complaints.append))
    return complaints


def test_service_writes_the_log_of_its_settings(tmp_path):
    """From the stored settings on; why it could not start is the last line."""
    log = tmp_path / "debug.log"
    settings: dict[str, SettingValue] = {
        "ServiceLogFileName": str(log),
        "DebugSpewLevel": FATAL | INFORMATION,
        "ServiceLogMaximumSize": 8192,
    }
    assert started_with(tmp_path, **settings) == []
    lines = log.read_text().splitlines()
    assert lines[0] == "INFORMATION: the service is starting, DebugSpewLevel is 0x00000009"
    assert lines[-1].startswith("FATAL: event 106: the initiator's service could not start: ")


def test_service_starts_without_a_log_that_cannot_be(tmp_path):
    (complaint,) = started_with(tmp_path, ServiceLogFileName=r"C:\log.txt", DebugSpewLevel=SPEW_ALL)
    assert complaint == r"no debug log: ServiceLogFileName 'C:\\log.txt' is no absolute path here"
    assert started_with(tmp_path) == []


REG = (
    "Windows Registry Editor Version 5.00\r\n"
    "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\iSCSI\\Discovery]\r\n"
)


@pytest.mark.parametrize(
    "line", ['"DebugSpewLevel"=dword:006f0007', '"ServiceLogFileName"="/x"', '"ServiceLogMaximumSize"=dword:00002000']
)
def test_settings_of_the_log_count_from_the_next_start_on(tmp_path, line):
    async def test(bench):
        answer = await bench.ask(api.ImportSettings(data=(REG + line + "\r\n").encode()))
        assert answer.status == StatusCode.OPERATION_REQUIRES_REBOOT
        assert bench.core.teller.level == 0

    with_service(tmp_path, test, settings=None)


def test_size_of_the_log_has_bounds(tmp_path):
    async def test(bench):
        small = api.ImportSettings(data=(REG + '"ServiceLogMaximumSize"=dword:00000fff\r\n').encode())
        assert await bench.refused(small) == StatusCode.INVALID_PARAMETER

    with_service(tmp_path, test)


def test_portal_that_is_dead_is_told_of(tmp_path):
    """A TCP connection that does not come up, and the trouble that is left of it."""
    taken: list[Message] = []

    async def test(bench):
        bench.core.teller.add(TCP | WARNING | INFORMATION, taken.append)
        await bench.discover()
        await bench.refused(api.LoginTarget(target_name=PLAIN, portal=DEAD))
        bench.core.trouble = Refused(StatusCode.NOT_FOUND, "gone")
        bench.core.state = "running"
        bench.core.state = "running"

    with_service(tmp_path, test)
    texts = [each.text for each in taken]
    assert any(re.search(r"TCP connection 1: not made \(192.0.2.99:3260: .+\)", text) for text in texts)
    assert texts[-2:] == [f"in the background: {Refused(StatusCode.NOT_FOUND, 'gone')}", "the service is running"]
