from __future__ import annotations

import asyncio
import contextlib

import pytest

from iscsi_initiator.discovery.isns import (
    FoundPortal,
    FoundTarget,
    IsnsFailure,
    describe,
    failure_of,
    target_query,
    targets_of,
)
from iscsi_initiator.discovery.isns_link import IsnsLink
from iscsi_initiator.status_codes import StatusCode
from iscsi_protocol.history import Endpoint
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Request, Response
from iscsi_protocol.isns.client import Inquired, Notified, Trouble
from iscsi_protocol.isns.codes import Function, NodeType, Scn, Status
from iscsi_protocol.isns.description import Description, NodeSpec, PortalSpec
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.pdu import PduStream
from iscsi_protocol.isns.registrar import Left, Registered, Report
from iscsi_protocol.isns.tlv import Attribute, address, number, text
from iscsi_target.isns.config import IsnsConfig
from iscsi_target.isns.shell import IsnsShell

HOST = "iqn.2001-04.com.example:host"
DISK = "iqn.2001-04.com.example:disk"
PATIENCE = 20


def name(value: str) -> Attribute:
    return text(Tag.ISCSI_NAME, value)


def portal(host: str, port: int) -> list[Attribute]:
    return [address(Tag.PORTAL_ADDRESS, host), number(Tag.PORTAL_PORT, port)]


def group(host: str, port: int, tag: int | None) -> list[Attribute]:
    told = [] if tag is None else [number(Tag.PGT, tag)]
    return [address(Tag.PG_ADDRESS, host), number(Tag.PG_PORT, port), *told]


def found(*operating: Attribute):
    return targets_of(Response(function=2, operating=operating))


class TestAnswers:
    def test_targets_with_their_portals(self) -> None:
        answer = found(
            name(DISK),
            number(Tag.NODE_TYPE, 3),
            text(Tag.ALIAS, "big"),
            *portal("192.0.2.1", 3261),
            number(Tag.PORTAL_SECURITY, 3),
            *portal("2001:db8::1", 0),
            number(Tag.PORTAL_SECURITY, 2),
            *portal("192.0.2.3", 0x10005),
            *group("192.0.2.1", 3261, 7),
            *group("2001:db8::1", 0, None),
            name(f"{DISK}2"),
        )
        assert answer.targets == (
            FoundTarget(
                name=DISK,
                alias="big",
                portals=(
                    FoundPortal(address="192.0.2.1", port=3261, tag=7, security=3),
                    FoundPortal(address="2001:db8::1", port=3260),
                ),
            ),
            FoundTarget(name=f"{DISK}2"),
        )

    def test_what_is_no_target_or_no_name_is_left_out(self) -> None:
        answer = found(number(33, 1), name(HOST), number(33, 2), name("disk"), name(DISK), number(27, 1))
        assert [target.name for target in answer.targets] == [DISK]
        assert answer.invalid == ("disk",)

    def test_an_address_without_port_is_refused(self) -> None:
        with pytest.raises(IsnsError):
            found(name(DISK), address(16, "::1"))


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Trouble.NO_SERVER, 0xEFFF003A),
        (Trouble.NO_ANSWER, 0xEFFF003A),
        (Trouble.CLOSED, 0xEFFF003A),
        (Trouble.OTHER_VERSION, 0xEFFF0052),
        (Trouble.BAD_ANSWER, 0xEFFF0001),
        (Response(function=2, status=Status.VERSION_NOT_SUPPORTED), 0xEFFF0052),
        (Response(function=2, status=Status.BUSY), 0xEFFF003A),
        (Response(function=2, status=Status.SOURCE_UNAUTHORIZED), 0xEFFF0001),
        (Response(function=2, status=99), 0xEFFF0001),
    ],
)
def test_failures_have_a_status_code(outcome, code: int) -> None:
    failure = failure_of(outcome)
    assert failure is not None
    assert failure.code == code
    assert failure.reason


def test_success_is_no_failure() -> None:
    assert failure_of(Response(function=2)) is None


def test_an_initiator_describes_itself() -> None:
    made = describe(HOST, "192.0.2.2", alias="me", port=5000, udp=True)
    assert (made.eid, made.nodes[0].bitmap) == (HOST, 0x5C)
    assert (made.portals[0].scn, made.portals[0].esi, made.portals[0].port) == (0x11388, 0, 5000)
    watched = describe(HOST, "192.0.2.2", port=5000, esi_interval=60).portals[0]
    assert (watched.esi, watched.esi_interval) == (5000, 60)
    silent = describe(HOST, "192.0.2.2", eid="host")
    assert (silent.eid, silent.portals[0].scn, silent.nodes[0].bitmap) == ("host", 0, 0)
    assert target_query(HOST).key == (number(Tag.NODE_TYPE, 1),)


@contextlib.asynccontextmanager
async def serving(**settings):
    shell = IsnsShell(IsnsConfig(listen="127.0.0.1:0", default_domain=True, **settings))
    endpoint = await shell.start()
    try:
        yield shell, endpoint
    finally:
        await shell.stop()


def test_two_initiators_of_one_host() -> None:
    """Each has a portal of its own, so that neither keeps the other, or its own earlier name, from registering."""

    async def scenario() -> None:
        async with serving() as (shell, endpoint):
            links = [IsnsLink(endpoint), IsnsLink(endpoint)]
            for link, host in zip(links, (HOST, HOST + "-2"), strict=True):
                await link.listen("127.0.0.1")
                await link.register_initiator(host, "127.0.0.1")
            assert sorted(shell.engine.realm.store.nodes) == [HOST, HOST + "-2"]
            for link in links:
                await link.close()

    asyncio.run(scenario())


DISK_ENTITY = Description(
    eid="disk",
    portals=(PortalSpec(address="192.0.2.1", port=3260, tag=5),),
    nodes=(NodeSpec(name=DISK, type=NodeType.TARGET),),
)


@pytest.mark.parametrize("udp", [False, True])
def test_registering_discovering_being_told_and_leaving(udp: bool) -> None:
    async def scenario() -> None:
        async with serving() as (shell, endpoint):
            told: asyncio.Queue[Report] = asyncio.Queue()
            host, disk = IsnsLink(endpoint, tell=told.put_nowait), IsnsLink(endpoint)
            await host.listen("127.0.0.1")
            assert (await host.register_initiator(HOST, "127.0.0.1", udp=udp)).eid == HOST
            assert isinstance(await told.get(), Registered)
            assert (await disk.register(DISK_ENTITY)).period == 86400
            change = await asyncio.wait_for(told.get(), PATIENCE)
            assert isinstance(change, Notified)
            assert change.notification.changes[0].name == DISK
            answer = await host.targets(HOST)
            assert answer.targets == (
                FoundTarget(name=DISK, portals=(FoundPortal(address="192.0.2.1", port=3260, tag=5),)),
            )
            await disk.leave()
            change = await told.get()
            assert isinstance(change, Notified)
            assert change.notification.changes[0].bitmap == Scn.REMOVED
            await host.leave()
            assert isinstance(await told.get(), Left)
            assert not shell.engine.realm.store.nodes
            await host.close()
            await disk.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("udp", [False, True])
def test_inquiries_are_answered(udp: bool) -> None:
    async def scenario() -> None:
        async with serving(shortest_esi_interval=1, esi_threshold=2) as (shell, endpoint):
            told: asyncio.Queue[Report] = asyncio.Queue()
            link = IsnsLink(endpoint, tell=told.put_nowait)
            port = await link.listen("127.0.0.1")
            where = port | 0x10000 if udp else port
            await link.register(
                Description(
                    eid="host",
                    portals=(PortalSpec(address="127.0.0.1", port=1, esi=where, esi_interval=1),),
                    nodes=(NodeSpec(name=HOST, type=NodeType.INITIATOR),),
                )
            )
            await told.get()
            for _ in range(2):
                assert isinstance(await asyncio.wait_for(told.get(), PATIENCE), Inquired)
            assert HOST in shell.engine.realm.store.nodes
            await link.close()

    asyncio.run(scenario())


async def failing(link: IsnsLink, awaitable) -> StatusCode:
    with pytest.raises(IsnsFailure) as caught:
        await asyncio.wait_for(awaitable, PATIENCE)
    await link.close()
    return caught.value.code


def test_no_server_is_told() -> None:
    async def scenario() -> None:
        link = IsnsLink(Endpoint("127.0.0.1", 1))
        assert await failing(link, link.targets(HOST)) == StatusCode.ISNS_SERVER_NOT_FOUND
        other = IsnsLink(Endpoint("127.0.0.1", 1))
        assert await failing(other, other.register_initiator(HOST, "127.0.0.1")) == StatusCode.ISNS_SERVER_NOT_FOUND

    asyncio.run(scenario())


@contextlib.asynccontextmanager
async def scripted(answer):
    """A server that answers each PDU with what `answer` makes of it."""

    async def serve(reader, writer) -> None:
        stream = PduStream()
        while data := await reader.read(65536):
            for pdu in stream.feed(data):
                writer.write(answer(pdu))
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Endpoint(*listener.sockets[0].getsockname()[:2])
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("answer", "code", "patience"),
    [
        (lambda pdu: bytes.fromhex("00028002000440000001") + bytes(2) + bytes(4), 0xEFFF0052, 30),
        (lambda pdu: Response(function=pdu.function, status=8).message(pdu.transaction).encode(), 0xEFFF0001, 30),
        (
            lambda pdu: (
                Response(function=pdu.function, operating=(name(DISK), address(16, "::1")))
                .message(pdu.transaction)
                .encode()
            ),
            0xEFFF0001,
            30,
        ),
        (lambda pdu: b"", 0xEFFF003A, 0.05),
    ],
)
def test_what_a_server_says_becomes_a_code(answer, code: int, patience: float) -> None:
    async def scenario() -> None:
        async with scripted(answer) as endpoint:
            link = IsnsLink(endpoint, timeout=patience, retries=1)
            assert await failing(link, link.targets(HOST)) == code

    asyncio.run(scenario())


def test_a_refused_registration_is_told() -> None:
    async def scenario() -> None:
        async with serving() as (_, endpoint):
            link = IsnsLink(endpoint)
            await link.register(DISK_ENTITY)
            other = IsnsLink(endpoint)
            again = Description(eid="other", portals=(), nodes=DISK_ENTITY.nodes)
            assert await failing(other, other.register(again)) == StatusCode.NON_SPECIFIC_ERROR
            await link.close()

    asyncio.run(scenario())


def test_closing_while_asking() -> None:
    async def scenario() -> None:
        async with scripted(lambda pdu: b"") as endpoint:
            link = IsnsLink(endpoint)
            request = Request(function=Function.DEV_ATTR_QRY, source=name(HOST), operating=(Attribute(32),))
            asking = asyncio.get_running_loop().create_task(link.ask(request))
            await asyncio.sleep(0)
            await link.close()
            with pytest.raises(IsnsFailure):
                await asking
            other = IsnsLink(endpoint)
            given_up = asyncio.get_running_loop().create_task(other.ask(request))
            await asyncio.sleep(0)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            await other.leave()
            await other.close()

    asyncio.run(scenario())


def test_leaving_while_registering() -> None:
    """Whoever registers is told that it came to nothing; a link that is closed does nothing any more."""

    async def scenario() -> None:
        async with scripted(lambda pdu: b"") as endpoint:
            link = IsnsLink(endpoint, timeout=0.05, retries=0)
            registering = asyncio.get_running_loop().create_task(link.register_initiator(HOST, "127.0.0.1"))
            await asyncio.sleep(0)
            await link.leave()
            with pytest.raises(IsnsFailure):
                await registering
            await link.close()
            assert link.closed
            for awaitable in (link.targets(HOST), link.register_initiator(HOST, "127.0.0.1"), link.listen("127.0.0.1")):
                with pytest.raises(IsnsFailure, match="was left"):
                    await awaitable

    asyncio.run(scenario())


def test_a_port_that_is_taken_for_datagrams() -> None:
    """Nothing listens where one of the two cannot be had."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        taken, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
        port = taken.get_extra_info("sockname")[1]
        link = IsnsLink(Endpoint("127.0.0.1", 1))
        with pytest.raises(OSError, match="in use"):
            await link.listen("127.0.0.1", port)
        taken.close()
        assert await link.listen("127.0.0.1")
        await link.close()

    asyncio.run(scenario())
