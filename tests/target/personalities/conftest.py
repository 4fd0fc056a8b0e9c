"""A target in memory that has a personality, and what the tests say to it."""

from __future__ import annotations

import random
from contextlib import contextmanager

import pytest

from iscsi_conformance.judge import RuleBookJudge
from iscsi_conformance.pipe import MemoryConnector
from iscsi_conformance.virtual import run_virtual
from iscsi_initiator.client import Client
from iscsi_initiator.raw import RawConnection
from iscsi_protocol.pdu import DataOut, ScsiCommand
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_target.config import config_from
from iscsi_target.loopback import MemoryPortal
from iscsi_target.personalities import personality
from iscsi_target.personalities.apply import faults_of, under, with_further_nodes
from iscsi_target.shell import close_devices, make_engine

NAME = "iqn.2026-11.org.example:imitated"
HOST = "iqn.2026-11.org.example:host"
BLOCK = 512


def tables(**node):
    """A configuration as TOML would have it: one node, one small disk."""
    return {"targets": [{"name": NAME, "luns": {"0": {"size": "1MiB"}}, **node}]}


class Imitation:
    """A served personality. `target` is its portal in memory, `connector` the way there; `judge` reads along."""

    def __init__(self, name, given):
        self.judge = RuleBookJudge()
        imitated = personality(name)
        self.config = with_further_nodes(imitated, config_from(under(imitated, given)))
        self.engine, self.devices = make_engine(self.config, random_bytes=random.Random(1).randbytes)
        self.target = MemoryPortal(self.engine, self.config.portals, tap=self.judge.record, faults=faults_of(imitated))
        self.connector = MemoryConnector(self.target)

    def endpoint(self, place=0):
        return self.target.endpoints[place]

    async def client(self, *, place=0, target=NAME, **options):
        return await Client.connect(
            self.endpoint(place), target_name=target, lun=0, connector=self.connector, **options
        )

    async def raw(self, *keys, place=0, target=NAME, discovery=False, **options):
        """A connection, and how its login went."""
        connection = await RawConnection.open(self.connector, self.endpoint(place))
        whom = ("SessionType", "Discovery") if discovery else ("TargetName", target)
        login = await connection.login([("InitiatorName", HOST), whom, *keys], **options)
        return connection, login


@contextmanager
def imitating(name, given):
    served = Imitation(name, given)
    try:
        yield served
    finally:
        served.target.close()
        close_devices(served.devices)


@pytest.fixture
def imitate():
    """imitate(name, test, given=tables()): run a coroutine that takes the Imitation, in virtual time."""

    def run(name, test, given=None):
        async def within():
            with imitating(name, tables() if given is None else given) as served:
                return await test(served)

        return run_virtual(within())

    return run


def command(connection, cdb, *, read=0, write=0, data=b"", **fields):
    """A SCSI Command with the connection's next numbers."""
    values = {
        "final": True,
        "read": bool(read),
        "write": bool(write),
        "expected_data_transfer_length": read or write,
        "lun": encode_lun(0),
        "itt": connection.next_itt(),
        "cmd_sn": connection.next_cmd_sn(),
        "exp_stat_sn": connection.exp_stat_sn,
        "cdb": bytes(cdb).ljust(16, b"\0"),
        "data": data,
    }
    return ScsiCommand(**{**values, **fields})


def read10(blocks, lba=0):
    return bytes((0x28, 0, 0, 0, 0, lba, 0, 0, blocks, 0))


def write10(blocks, lba=0):
    return bytes((0x2A, 0, 0, 0, 0, lba, 0, 0, blocks, 0))


def data_out(connection, r2t, data, **fields):
    """The Data-Out that answers an R2T whole."""
    values = {
        "final": True,
        "lun": r2t.lun,
        "itt": r2t.itt,
        "ttt": r2t.ttt,
        "exp_stat_sn": connection.exp_stat_sn,
        "buffer_offset": r2t.buffer_offset,
        "data": data,
    }
    return DataOut(**{**values, **fields})
