"""A cluster's disk whose target is killed, and a state file that cannot be one, with `iscsi-target serve`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys

import pytest

from iscsi_initiator.client import Client
from iscsi_protocol.history import Endpoint
from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.persistent import BasicFields, ReservationType, build_basic, parse_keys, parse_reservation
from iscsi_protocol.scsi.status import Status
from iscsi_target.cli import DEFAULT_NAME, EXIT_USAGE

SERVE = (sys.executable, "-c", "from iscsi_target.cli import main; main()", "serve", "--portal", "127.0.0.1:0")
ISIDS = {number: bytes((0x80, 0, 0, 0, 0, number)) for number in (1, 2)}
KEY = 0xAABBCCCCBBAA0001
SHARED = ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY
PATIENCE = 20


@contextlib.contextmanager
def served(folder):
    """The portal of a target that is killed in the end."""
    options = ["--lun", f"0=file:{folder / 'disk.img'}:1MiB", "--state", str(folder / "state.json")]
    with subprocess.Popen([*SERVE, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            (portal,) = json.loads(process.stdout.readline())["ready"]
            host, _, port = portal.rpartition(":")
            yield Endpoint(host, int(port))
        finally:
            process.kill()
            process.wait(PATIENCE)


async def as_node(portal, number, talk):
    async with asyncio.timeout(PATIENCE):
        async with await Client.connect(portal, target_name=DEFAULT_NAME, isid=ISIDS[number]) as client:
            return await talk(client)


def reserve_out(command, **keys):
    data = build_basic(BasicFields(aptpl=command is op.REGISTER, **keys))
    return {"cdb": command.build(parameter_list_length=len(data), type=SHARED), "data_out": data}


async def own(client):
    await client.command(**reserve_out(op.REGISTER, service_action_key=KEY))
    await client.command(**reserve_out(op.RESERVE, key=KEY))


async def look(client):
    """Keys, reservation, and the status of a write."""
    keys = await client.command(op.READ_KEYS.build(allocation_length=64), data_in=64)
    reservation = await client.command(op.READ_RESERVATION.build(allocation_length=64), data_in=64)
    held = parse_reservation(reservation)[1]
    assert held is not None
    result, _ = await client.execute(op.WRITE_10.build(blocks=1), data_out=bytes(512))
    return parse_keys(keys)[1], (held.key, held.type), result.status


def test_a_reservation_outlives_the_process_that_kept_it(tmp_path):
    with served(tmp_path) as portal:
        asyncio.run(as_node(portal, 1, own))
    with served(tmp_path) as portal:
        found = asyncio.run(as_node(portal, 2, look))
        assert found == ([KEY], (KEY, SHARED), Status.RESERVATION_CONFLICT)
        found = asyncio.run(as_node(portal, 1, look))
        assert found == ([KEY], (KEY, SHARED), Status.GOOD)


@pytest.mark.parametrize("content", [b'{"format": "iscsi-target state", "vers', b"something else\n"])
def test_a_state_file_that_is_none_ends_it_with_one_line(tmp_path, content):
    path = tmp_path / "state.json"
    path.write_bytes(content)
    command = [*SERVE, "--lun", "0=memory:1MiB", "--state", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == EXIT_USAGE
    assert done.stdout == ""
    assert done.stderr.startswith(f"Error: {path}: ")
    assert done.stderr.count("\n") == 1
    assert path.read_bytes() == content
