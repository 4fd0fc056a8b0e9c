"""The benches of the iSNS cases: what they make of products that stay silent or talk nonsense."""

from __future__ import annotations

import asyncio

import pytest

from iscsi_captures.catalogue import requirements
from iscsi_conformance.case import BENCH_ROLES, ISCSI_ROLES, ISNS_ROLES, Role, load_cases
from iscsi_conformance.faults import all_faults, fault_of
from iscsi_conformance.isns import bench_of
from iscsi_conformance.isns.client_bench import ClientBench
from iscsi_conformance.isns.server_bench import ServerBench
from iscsi_conformance.isns.words import (
    ADMIN,
    DISK,
    HOST,
    NOTES,
    expect,
    expect_each,
    name,
    node,
    require_each,
    require_rows,
    want,
)
from iscsi_conformance.proof import run_in_memory
from iscsi_conformance.verdict import Failed, Inconclusive, Verdict
from iscsi_protocol.fault import UnknownFault
from iscsi_protocol.isns.body import Request, Response
from iscsi_protocol.isns.pdu import Message

CLAUSE = "R4171-5.4-01"


def server(**switches) -> ServerBench:
    return ServerBench(switches, [])


def test_roles_and_their_benches() -> None:
    assert set(Role) == ISCSI_ROLES | BENCH_ROLES
    assert ISNS_ROLES | {Role.SERVICE} == BENCH_ROLES
    assert isinstance(bench_of(Role.SERVER, None, []), ServerBench)
    fault = all_faults()["isns-client.silent"]
    bench = bench_of(Role.CLIENT, fault, [])
    assert isinstance(bench, ClientBench)
    assert bench.policy.silent


def test_each_role_has_its_faults() -> None:
    assert fault_of(Role.SERVER, "isns-server.version").side.value == "server"
    with pytest.raises(UnknownFault):
        fault_of(Role.CLIENT, "isns-server.version")


def test_cases_stand_on_the_catalogue() -> None:
    own = [case for case in load_cases().values() if case.role in ISNS_ROLES]
    assert len(own) > 60
    assert all(case.virtual for case in own)
    clauses = {clause for case in own for clause in case.clauses}
    assert all(requirements()[clause].source == "RFC 4171" for clause in clauses)
    assert len(clauses) > 200


def test_what_crossed_is_kept_with_a_failure() -> None:
    case = load_cases()["isns-server.header"]
    result = run_in_memory(case, all_faults()["isns-server.version"])
    assert result.verdict is Verdict.FAIL
    assert result.evidence.notes[0].startswith("client: DEV_ATTR_QRY 1.0")
    assert result.evidence.notes[1].startswith("server: DEV_ATTR_QRY_RSP 1.0 SUCCESSFUL")
    assert (result.transport, result.clock) == ("memory", "virtual")


def test_a_silent_server_fails() -> None:
    async def scenario() -> None:
        bench = server(silent_functions=frozenset({1, 2}))
        bench.about = CLAUSE
        with pytest.raises(Failed, match="nothing came") as caught:
            await bench.names(ADMIN)
        assert caught.value.clause == CLAUSE
        with pytest.raises(Failed):
            await bench.pdus(Request(function=2, source=name(ADMIN)))

    asyncio.run(scenario())


def test_nonsense_fails() -> None:
    async def scenario() -> None:
        bench = server(xor_header={"version": 3})
        with pytest.raises(Failed, match="cannot be read"):
            await bench.names(ADMIN)
        refused = server(answers={(1, 0): 3})
        with pytest.raises(Inconclusive, match="status 3"):
            await refused.disk()

    asyncio.run(scenario())


def test_unreadable_notices_fail() -> None:
    async def scenario() -> None:
        bench = server(scn_bitmap_last=True, scrambled_inquiries=True)
        await bench.listener()
        await bench.disk()
        with pytest.raises(Failed, match="an SCN"):
            bench.changes(CLAUSE)
        with pytest.raises(Failed, match="an ESI"):
            bench.inquiry(Message(function=13, transaction=1, payload=name(DISK).encode()), CLAUSE)

    asyncio.run(scenario())


def test_notes_have_an_end() -> None:
    async def scenario() -> None:
        notes: list[str] = []
        bench = ServerBench({}, notes)
        for _ in range(NOTES):
            await bench.query(ADMIN, *want(32))
        assert len(notes) == NOTES
        talk: list[str] = []
        client = ClientBench({}, talk)
        for _ in range(NOTES + 5):
            await client.ask(client.writer.query(HOST, (), (32,)))
        pdu = client.sent[-1][1]
        await client.answer(pdu)
        assert len(talk) == NOTES
        assert isinstance(client.outcomes[0], Response)

    asyncio.run(scenario())


def test_a_client_that_says_too_much_or_nothing() -> None:
    async def scenario() -> None:
        bench = ClientBench({}, [])
        with pytest.raises(Failed, match="nothing came"):
            bench.last(CLAUSE)
        for _ in range(2):
            await bench.ask(bench.writer.query(HOST, (), (32,)))
        with pytest.raises(Inconclusive, match="2 PDUs"):
            bench.last(CLAUSE)

    asyncio.run(scenario())


def test_expectations_name_all_that_broke() -> None:
    bad = Response(function=1, status=3)
    with pytest.raises(Failed, match="INVALID_REGISTRATION"):
        expect(bad, CLAUSE, what="a good request is taken")
    assert expect(bad, CLAUSE, 3, what="a bad request is refused") is bad
    with pytest.raises(Failed) as caught:
        expect_each(("a", "b"), bad, what="taken")
    assert (caught.value.clause, caught.value.also) == ("a", ("b",))
    with pytest.raises(Failed) as rows:
        require_rows([("a", True, "x"), ("b", False, "y"), ("c", False, "z")])
    assert (rows.value.clause, rows.value.reason, rows.value.also) == ("b", "y", ("c",))
    require_rows([("a", True, "x")])
    require_each((), True, "never")
    expect_each(("a",), Response(function=1), what="taken")


def test_time_passes_as_the_case_wants() -> None:
    async def scenario() -> None:
        bench = server()
        await bench.register(DISK, *node(DISK))
        await bench.wait(10 * 86400)
        assert await bench.names(ADMIN) == []

    asyncio.run(scenario())
