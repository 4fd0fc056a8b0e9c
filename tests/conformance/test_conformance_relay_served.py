"""`iscsi-conformance relay` between raw connection and served target: a fault of either side, in its direction alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from iscsi_conformance.bundled import INITIATOR_NAME, PLAIN, bundled_config
from iscsi_initiator.raw import RawConnection
from iscsi_initiator.transport import TcpConnector
from iscsi_protocol.history import Endpoint, PduRecord, Record
from iscsi_protocol.pdu import NO_TAG, NopIn, NopOut, decode
from iscsi_protocol.stream import Direction
from iscsi_target.portal import TargetServer
from iscsi_target.shell import close_devices, make_engine

RELAY = (sys.executable, "-c", "from iscsi_conformance.cli import main; main()", "relay", "--listen", "127.0.0.1:0")
PATIENCE = 20
DATA = bytes(1024)


@contextlib.contextmanager
def relaying(upstream, *faults):
    """A relay in a process of its own: where it listens, and at the end what it says."""
    options = [option for fault in faults for option in ("--fault", fault)]
    said: list[str] = []
    with subprocess.Popen(
        [*RELAY, "--upstream", str(upstream), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            (ready,) = json.loads(process.stdout.readline())["ready"]
            host, _, port = ready.rpartition(":")
            yield Endpoint(host, int(port)), said
        finally:
            process.terminate()
            said += process.communicate(timeout=PATIENCE)[1].splitlines()
    assert process.returncode == 0


async def pings(portal):
    """What is answered to two pings, the first with data: tag and length of each answer, up to the second ping's."""
    connector = TcpConnector()
    connection = await RawConnection.open(connector, portal)
    login = await connection.login([("InitiatorName", INITIATOR_NAME), ("TargetName", PLAIN)])
    assert login.full_feature
    numbers: dict[str, Any] = {"cmd_sn": connection.cmd_sn, "exp_stat_sn": connection.exp_stat_sn}
    connection.send(NopOut(immediate=True, itt=5, data=DATA, **numbers))
    connection.send(NopOut(immediate=True, itt=6, **numbers))
    got: list[Any] = []
    while not got or got[-1].itt != 6:
        got.append((await connection.recv()).pdu)
    connection.close()
    await connector.finish()
    assert all(isinstance(pdu, NopIn) for pdu in got)
    return [(pdu.itt, len(pdu.data)) for pdu in got]


def crossing(*faults):
    """What crossed on either side: pings that the target got, answers that it gave, answers that came, the relay's words."""
    records: list[Record] = []

    async def main():
        engine, devices = make_engine(bundled_config(), random_bytes=os.urandom)
        server = TargetServer(engine, tap=records.append)
        try:
            async with asyncio.timeout(PATIENCE):
                upstream = (await server.start(bundled_config().portals))[0]
                with relaying(upstream, *faults) as (portal, said):
                    got = await pings(portal)
                return got, said
        finally:
            await server.stop()
            close_devices(devices)

    got, said = asyncio.run(main())
    pdus = [(record.direction, decode(record.raw)) for record in records if isinstance(record, PduRecord)]
    asked = [(pdu.itt, len(pdu.data)) for way, pdu in pdus if way is Direction.TO_TARGET and isinstance(pdu, NopOut)]
    given = [(pdu.itt, len(pdu.data)) for way, pdu in pdus if way is Direction.TO_INITIATOR and isinstance(pdu, NopIn)]
    return asked, given, got, said


WHOLE = [(5, 1024), (6, 0)]


@pytest.mark.parametrize(
    ("faults", "asked", "given", "got", "changes"),
    [
        ((), WHOLE, WHOLE, WHOLE, 0),
        (("nop.echo-cut-short",), WHOLE, WHOLE, [(5, 512), (6, 0)], 1),
        (("inop.ping-without-tag",), [(NO_TAG, 1024), (6, 0)], [(6, 0)], [(6, 0)], 1),
    ],
    ids=["none", "of the target", "of the initiator"],
)
def test_fault_strikes_in_the_direction_of_its_side(faults, asked, given, got, changes):
    """The target gets what a faulty initiator would have sent; the initiator, what a faulty target would have."""
    found = crossing(*faults)

    assert found == (asked, given, got, [f"1 connections, {changes} changes by faults"])
