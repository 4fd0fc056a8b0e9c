"""`iscsi-target serve --fault ID` over TCP: it misbehaves as the fault is named, and without the fault it does not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from iscsi_initiator.raw import Digest, RawConnection
from iscsi_initiator.transport import TcpConnector
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import NO_TAG, NopOut, Reject
from iscsi_target.cli import DEFAULT_NAME

SERVE = (sys.executable, "-c", "from iscsi_target.cli import main; main()", "serve", "--portal", "127.0.0.1:0")
PATIENCE = 20


@contextlib.contextmanager
def served(*faults):
    """The portal of a target in a process of its own, one disk in memory."""
    options = [option for fault in faults for option in ("--fault", fault)]
    with subprocess.Popen([*SERVE, "--lun", "0=memory:1MiB", *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            (portal,) = json.loads(process.stdout.readline())["ready"]
            host, _, port = portal.rpartition(":")
            yield Endpoint(host, int(port))
        finally:
            process.terminate()
            process.wait(PATIENCE)
    assert process.returncode == 0


async def answer_to(portal, ping, *, keys=(), data_digest=Digest.AS_AGREED):
    """The first PDU that the target sends about a ping, or the next one behind it."""
    async with asyncio.timeout(PATIENCE):
        connector = TcpConnector()
        connection = await RawConnection.open(connector, portal)
        names = [("InitiatorName", "iqn.2026-11.org.example:host"), ("TargetName", DEFAULT_NAME)]
        login = await connection.login([*names, *keys])
        assert login.full_feature
        numbers: dict[str, Any] = {"cmd_sn": connection.cmd_sn, "exp_stat_sn": connection.exp_stat_sn}
        connection.send(NopOut(immediate=True, **numbers, **ping), data_digest=data_digest)
        connection.send(NopOut(immediate=True, itt=0x77, **numbers))
        pdu = (await connection.recv()).pdu
        connection.close()
        await connector.finish()
        return pdu


LONG = {"itt": 5, "data": bytes(range(256)) * 4}
UNTAGGED = {"itt": NO_TAG}
CASES: list[tuple[str, dict[str, Any], Callable[[Any], object], object, object]] = [
    ("nop.echo-cut-short", {"ping": LONG}, lambda pdu: (pdu.itt, len(pdu.data)), (5, 512), (5, 1024)),
    ("nop.answers-everything", {"ping": UNTAGGED}, lambda pdu: pdu.itt, 0x1234, 0x77),
    (
        "digest.data-error-ignored",
        {"ping": LONG, "keys": [("DataDigest", "CRC32C")], "data_digest": Digest.WRONG},
        lambda pdu: getattr(pdu, "reason", None),
        None,
        0x02,
    ),
]
"""Fault (of what is sent, of what is taken, a switch of the engine), what is asked, how the answer is looked at, the answer
with the fault, and without."""


@pytest.mark.parametrize(("fault", "asked", "look", "wrong", "right"), CASES, ids=[case[0] for case in CASES])
def test_a_served_fault_shows(fault, asked, look, wrong, right):
    del right
    with served(fault) as portal:
        assert look(asyncio.run(answer_to(portal, **asked))) == wrong


def test_without_a_fault_nothing_is_wrong():
    with served() as portal:
        for _, asked, look, _, right in CASES:
            assert look(asyncio.run(answer_to(portal, **asked))) == right


def test_faults_add_up():
    """Every --fault counts, whichever kind it is."""
    with served(*(case[0] for case in CASES)) as portal:
        for _, asked, look, wrong, _ in CASES:
            answer = asyncio.run(answer_to(portal, **asked))
            assert not isinstance(answer, Reject)
            assert look(answer) == wrong
