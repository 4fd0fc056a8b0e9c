"""Counters for Prometheus: the text, and how it is asked for over HTTP."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from tests.initiator.service_bench import with_service

from iscsi_conformance.bundled import PLAIN
from iscsi_initiator.service import api
from iscsi_initiator.service.client import Client
from iscsi_initiator.service.management import scrape
from iscsi_initiator.service.management.scrape import MetricsServer
from iscsi_initiator.service.process import Place, serve
from iscsi_initiator.service.startup import StartFailed
from iscsi_initiator.store.state import LoginFlag

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (-?[0-9.e+]+|NaN|[+-]Inf)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')
MULTIPATH = api.LoginOptions(login_flags=LoginFlag.MULTIPATH_ENABLED)


def parsed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The samples of a text of format 0.0.4. Every line has to be well formed, families in one piece, samples once."""
    assert text.endswith("\n")
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    kinds: dict[str, str] = {}
    family = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert NAME.fullmatch(family)
            assert family not in kinds
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family
            assert kind in {"counter", "gauge", "summary"}
            kinds[name] = kind
        else:
            found = SAMPLE.fullmatch(line)
            assert found, line
            name, labels = found[1], found[2] or ""
            assert name in ({f"{family}_sum", f"{family}_count"} if kinds[family] == "summary" else {family})
            assert "".join(each[0] for each in LABEL.finditer(labels)) == labels
            key = name, frozenset((each[1], each[2]) for each in LABEL.finditer(labels))
            assert key not in samples
            samples[key] = float(found[3])
            assert kinds[family] == "gauge" or samples[key] >= 0
    return samples


def value(samples, name, **labels):
    wanted = set(labels.items())
    (found,) = [
        number for (each, own), number in samples.items() if each == f"iscsi_initiator_{name}" and wanted <= own
    ]
    return found


def test_the_text_is_well_formed_and_true(tmp_path):
    async def test(bench):
        await bench.discover()
        one = await bench.log_in()
        other = await bench.log_in(options=MULTIPATH)
        text = (await bench.ask(api.Metrics())).text
        samples = parsed(text)
        assert len(list(text_string_to_metric_families(text))) > 10
        for session in (one, other):
            traffic = session.client.session.traffic
            labels = {"session": session.session_id, "target": PLAIN}
            assert value(samples, "session_bytes_received_total", **labels) == traffic.bytes_received
            assert value(samples, "session_pdus_sent_total", **labels) == traffic.pdus_sent
            assert value(samples, "connection_bytes_sent_total", **labels) == traffic.bytes_sent
            assert value(samples, "request_seconds_count", **labels) == traffic.timed > 0
        assert value(samples, "sessions") == 2
        assert value(samples, "login_responses_total", result="accepted") == 3
        assert value(samples, "logouts_total", reason="normal") == 1
        assert value(samples, "session_failures_total", fault="format") == 0

    with_service(tmp_path, test)


def test_the_text_without_sessions(tmp_path):
    async def test(bench):
        assert value(parsed((await bench.ask(api.Metrics())).text), "sessions") == 0

    with_service(tmp_path, test)


@asynccontextmanager
async def answering(bench, host="127.0.0.1"):
    server = MetricsServer(bench.core, host, 0)
    server.start()
    try:
        yield server.address
    finally:
        await server.close()


async def ask(address, request: bytes) -> tuple[bytes, bytes]:
    """Head and body of the answer."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request)
    async with asyncio.timeout(30):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return head, body


GET = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_prometheus_asks(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        async with answering(bench) as address:
            head, body = await ask(address, GET)
            assert head.splitlines()[0].endswith(b"200 OK")
            assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
            samples = parsed(body.decode())
            assert value(samples, "session_bytes_sent_total") == session.client.session.traffic.bytes_sent
            head, _ = await ask(address, b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
            assert b"405" in head.splitlines()[0]

    with_service(tmp_path, test, virtual=False)


def test_prometheus_asks_for_openmetrics(tmp_path):
    """As the real one does by default."""

    async def test(bench):
        await bench.discover()
        await bench.log_in()
        async with answering(bench) as address:
            asked = b"GET /metrics HTTP/1.1\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n"
            head, body = await ask(address, asked)
            assert b"application/openmetrics-text" in head
            names = {each.name for each in openmetrics(body.decode())}
            assert "iscsi_initiator_session_bytes_sent" in names

    with_service(tmp_path, test, virtual=False)


def test_metrics_that_cannot_be_collected_in_time(tmp_path, monkeypatch, capfd):
    async def test(bench):
        monkeypatch.setattr(scrape, "families", lambda core: 1 / 0)
        async with answering(bench) as address:
            head, body = await ask(address, GET)
            assert b" 500 " in head.splitlines()[0]
            assert b"Traceback" not in body

    with_service(tmp_path, test, virtual=False)
    assert capfd.readouterr().err == ""


def test_over_ipv6(tmp_path):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this host has no IPv6")

    async def test(bench):
        async with answering(bench, "::1") as address:
            assert (await ask(address, GET))[1]

    with_service(tmp_path, test, virtual=False)


@pytest.mark.parametrize(
    "request_", [b"\r\n\r\n", b"GET\r\n\r\n", b"\xff\xfe\r\n\r\n", b"GET " + b"x" * 70000 + b" HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_request_hurts_nobody(tmp_path, request_):
    async def test(bench):
        async with answering(bench) as address:
            head, body = await ask(address, request_)
            assert b"200" not in head
            assert b"iscsi_initiator" not in body
            assert parsed((await ask(address, GET))[1].decode())

    with_service(tmp_path, test, virtual=False)


def test_one_who_says_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(scrape._Handler, "timeout", 0.05)

    async def test(bench):
        async with answering(bench) as address:
            assert await ask(address, b"GET /metrics") == (b"", b"")
            assert parsed((await ask(address, GET))[1].decode())

    with_service(tmp_path, test, virtual=False)


def test_many_at_once_are_turned_away(tmp_path):
    async def test(bench):
        async with answering(bench) as address:
            waiting = [await asyncio.open_connection(*address) for _ in range(scrape.MAX_REQUESTS)]
            assert await refused(address) in (b"", None)
            for _, writer in waiting:
                writer.close()
            answers = [await refused(address) for _ in range(200)]
            assert any((each or b"").startswith(b"HTTP") for each in answers)

    with_service(tmp_path, test, virtual=False)


async def refused(address) -> bytes | None:
    """What comes of a request; None for a connection that is reset."""
    try:
        return (await ask(address, GET))[0]
    except ConnectionError:
        return None


def test_an_address_that_is_taken(tmp_path):
    async def test(bench):
        async with answering(bench) as (host, port):
            with pytest.raises(OSError, match="in use"):
                MetricsServer(bench.core, host, port)

    with_service(tmp_path, test, virtual=False)


def test_one_that_never_answered_is_closed(tmp_path):
    async def test(bench):
        server = MetricsServer(bench.core, "127.0.0.1", 0)
        await server.close()

    with_service(tmp_path, test, virtual=False)


def place(folder, **fields):
    return Place(store=folder / "store", socket=folder / "s", event_log=folder / "events.jsonl", **fields)


def events(folder):
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [(line["id"], line["inserts"]) for line in map(json.loads, lines)]


def test_no_start_where_metrics_cannot_be_asked(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        there = taken.getsockname()
        with pytest.raises(StartFailed, match="metrics"):
            asyncio.run(serve(place(tmp_path, metrics=there), print, print))
    ((number, inserts),) = events(tmp_path)
    assert (number, inserts[-1]) == (106, "metrics")


def test_a_start_that_fails_leaves_the_port_free(tmp_path):
    (tmp_path / "s").write_text("no socket")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        there = probe.getsockname()
    with pytest.raises(StartFailed, match="socket"):
        asyncio.run(serve(place(tmp_path, metrics=there), print, print))
    socket.create_server(there).close()


def test_where_metrics_are_is_told_before_the_start_is_complete(tmp_path):
    async def run():
        told: list[Any] = []
        ready = asyncio.Event()

        def done():
            told.append("ready")
            ready.set()

        served = asyncio.create_task(serve(place(tmp_path, metrics=("127.0.0.1", 0)), done, print, told.append))
        await ready.wait()
        (host, port), last = told
        assert (host, last) == ("127.0.0.1", "ready")
        assert (await ask((host, port), GET))[1]
        await Client(tmp_path / "s").ask(api.StopService())
        await served
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, port)

    asyncio.run(run())
