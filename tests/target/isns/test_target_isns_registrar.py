"""The target registers itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner
from tests.target.isns.bench import HOST

from iscsi_protocol.history import Endpoint
from iscsi_protocol.isns.tlv import address_text
from iscsi_target.cli import main
from iscsi_target.config import (
    ConfigError,
    IsnsRegistration,
    PortalConfig,
    TargetConfig,
    TargetNode,
    config_from,
    isns_server,
)
from iscsi_target.isns.config import IsnsConfig
from iscsi_target.isns.registrar import TargetRegistrar, describe
from iscsi_target.isns.shell import IsnsShell

DISK = "iqn.2001-04.com.example:disk"
TAPE = "iqn.2001-04.com.example:tape"
HERE = Endpoint("127.0.0.1", 3260)
PATIENCE = 20


def target(**changes) -> TargetConfig:
    fields: dict[str, Any] = {
        "targets": [TargetNode(name=DISK, alias="big"), TargetNode(name=TAPE), TargetNode(name=HOST, removed=True)],
        "portals": [PortalConfig(address="127.0.0.1:3260", group_tag=4)],
    }
    return TargetConfig(**fields | changes)


def section(**changes) -> IsnsRegistration:
    return IsnsRegistration(**{"server": "127.0.0.1"} | changes)


def test_what_is_registered() -> None:
    made = describe(target(), section(esi_interval=60), [HERE], 5000)
    assert (made.eid, [node.name for node in made.nodes]) == (DISK, [DISK, TAPE])
    (portal,) = made.portals
    assert (portal.address, portal.port, portal.tag, portal.esi, portal.esi_interval) == (
        "127.0.0.1",
        3260,
        4,
        5000,
        60,
    )
    other = target(portals=[PortalConfig(address="0.0.0.0:3260", advertised="192.0.2.1:99")])
    named = describe(other, section(entity="store", period=600), [Endpoint("0.0.0.0", 3260)], 0)
    assert (named.eid, named.period, named.portals[0].address, named.portals[0].port) == ("store", 600, "192.0.2.1", 99)


@pytest.mark.parametrize(
    ("config", "registration", "endpoint", "reason"),
    [
        (target(), section(), Endpoint("0.0.0.0", 1), "advertised"),
        (target(portals=[PortalConfig(address="[::1]:0", advertised="disk.example:1")]), section(), HERE, "advertised"),
        (target(), section(entity="isns:1"), HERE, "isns:"),
        (target(targets=[]), section(), HERE, "isns"),
    ],
)
def test_what_cannot_be_registered(config, registration, endpoint, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        describe(config, registration, [endpoint], 0)


def test_the_section_of_a_configuration() -> None:
    made = config_from({"targets": [{"name": DISK}], "isns": {"server": "192.0.2.1", "esi_interval": 30}})
    assert made.isns is not None
    assert isns_server(made.isns.server) == Endpoint("192.0.2.1", 3205)
    for wrong in ({"server": "192.0.2.1:x"}, {"server": "a", "period": -1}, {"server": "a", "speed": 1}):
        with pytest.raises(ConfigError, match="isns"):
            config_from({"targets": [{"name": DISK}], "isns": wrong})


@contextlib.asynccontextmanager
async def serving(listen: str = "127.0.0.1:0", **settings):
    shell = IsnsShell(IsnsConfig(listen=listen, **settings))
    endpoint = await shell.start()
    try:
        yield shell, endpoint
    finally:
        await shell.stop()


def test_a_target_registers_answers_inquiries_and_leaves() -> None:
    async def scenario() -> None:
        async with serving(shortest_esi_interval=1, esi_threshold=1) as (shell, endpoint):
            registrar = TargetRegistrar(target(), section(server=str(endpoint), esi_interval=1))
            await registrar.start([HERE])
            await asyncio.wait_for(registrar.registered.wait(), PATIENCE)
            store = shell.engine.realm.store
            assert list(store.nodes) == [DISK, TAPE]
            assert [(address_text(row.address), row.port) for row in store.portals.rows()] == [("127.0.0.1", 3260)]
            assert {row.tag for row in store.groups.rows()} == {4}
            asked = asyncio.Event()
            answered = shell.engine._inquiries.answered

            def noticed(*arguments):
                asked.set()
                return answered(*arguments)

            shell.engine._inquiries.answered = noticed
            await asyncio.wait_for(asked.wait(), PATIENCE)
            await registrar.stop()
            assert not store.nodes

    asyncio.run(scenario())


def test_a_server_that_is_not_there_is_tried_again(caplog) -> None:
    async def scenario() -> None:
        registrar = TargetRegistrar(target(), section(server="127.0.0.1:1"))
        with caplog.at_level(logging.INFO):
            await registrar.start([HERE])
            assert registrar._connecting is not None
            await asyncio.wait_for(asyncio.shield(registrar._connecting), PATIENCE)
        assert "not registered" in caplog.text
        assert registrar.agent.registrar is not None
        assert registrar.agent.registrar.next_deadline() is not None
        await registrar.stop()

    asyncio.run(scenario())


def test_a_server_that_forgot_is_reminded(caplog) -> None:
    async def scenario() -> None:
        async with serving() as (shell, endpoint):
            registrar = TargetRegistrar(target(), section(server=str(endpoint)))
            await registrar.start([HERE])
            await asyncio.wait_for(registrar.registered.wait(), PATIENCE)
            registrar.registered.clear()
            from iscsi_target.isns.removal import remove_entity

            remove_entity(shell.engine.realm, DISK)
            shell.engine._commit(shell.now())
            assert registrar.agent.registrar is not None
            registrar.agent.registrar._due = 0
            registrar.agent.wake()
            await asyncio.wait_for(registrar.registered.wait(), PATIENCE)
            assert "forgotten" in caplog.text
            assert list(shell.engine.realm.store.nodes) == [DISK, TAPE]
            await registrar.stop()

    asyncio.run(scenario())


def test_a_server_that_does_not_answer_does_not_hold_the_target_up(monkeypatch, caplog) -> None:
    monkeypatch.setattr("iscsi_target.isns.registrar.LEAVE_TIME", 0.01)

    async def scenario() -> None:
        async with serving() as (shell, endpoint):
            registrar = TargetRegistrar(target(), section(server=str(endpoint)))
            await registrar.start([HERE])
            await asyncio.wait_for(registrar.registered.wait(), PATIENCE)
            monkeypatch.setattr(shell.engine, "receive", lambda *_: None)
            await registrar.stop()
        assert "no answer to the deregistration" in caplog.text

    asyncio.run(scenario())


def test_a_refused_registration_is_told(caplog) -> None:
    async def scenario() -> None:
        async with serving() as (_, endpoint):
            first = TargetRegistrar(target(), section(server=str(endpoint)))
            await first.start([HERE])
            await asyncio.wait_for(first.registered.wait(), PATIENCE)
            second = TargetRegistrar(target(), section(server=str(endpoint), entity="another"))
            refused = asyncio.Event()
            told = second._told

            def noticed(report) -> None:
                told(report)
                refused.set()

            second.agent._tell = noticed
            await second.start([HERE])
            await asyncio.wait_for(refused.wait(), PATIENCE)
            assert "INVALID_REGISTRATION" in caplog.text
            await second.stop()
            await first.stop()

    asyncio.run(scenario())


def test_the_command_registers() -> None:
    program = (sys.executable, "-c", "from iscsi_target.cli import main; main()", "serve", "--portal", "127.0.0.1:0")

    async def scenario() -> None:
        async with serving() as (shell, endpoint):
            registered, gone = asyncio.Event(), asyncio.Event()
            flush = shell._flush

            def flushed() -> None:
                flush()
                (registered if len(shell.engine.realm.store.nodes) else gone).set()

            shell._flush = flushed
            options = ("--name", DISK, "--lun", "0=memory:1MiB", "--isns", str(endpoint))
            process = await asyncio.create_subprocess_exec(*program, *options, stdout=subprocess.PIPE)
            assert process.stdout is not None
            ready = json.loads(await process.stdout.readline())["ready"]
            await asyncio.wait_for(registered.wait(), PATIENCE)
            (portal,) = shell.engine.realm.store.portals.rows()
            assert ready == [f"127.0.0.1:{portal.port}"]
            process.send_signal(signal.SIGTERM)
            await process.communicate()
            await asyncio.wait_for(gone.wait(), PATIENCE)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("options", "reason"),
    [(["--isns", "here:x"], "HOST:PORT"), (["--portal", "0.0.0.0:0", "--isns", "127.0.0.1:1"], "advertised")],
)
def test_what_cannot_be_served(options, reason: str) -> None:
    result = CliRunner().invoke(main, ["serve", "--lun", "0=memory:1MiB", *options])
    assert result.exit_code == 2
    assert reason in result.output
