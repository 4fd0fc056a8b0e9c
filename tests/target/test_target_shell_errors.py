"""Errors of our own in the middle of something: they are reported, and nobody is left hanging."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from iscsi_protocol.framing import Framer
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import LoginRequest, NopOut, ScsiCommand, ScsiResponse, decode, encode
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_protocol.text import encode_pairs
from iscsi_target.completion import Work
from iscsi_target.config import LunConfig, Size, TargetConfig, TargetNode
from iscsi_target.shell import close_devices, make_engine
from iscsi_target.shell.driver import Driver

TARGET = "iqn.2026-11.org.example:disk"
PAIRS = [("InitiatorName", "iqn.2026-11.org.example:host"), ("TargetName", TARGET)]


class Broken(Exception):
    """What nobody thought of."""


class Carrier:
    """A connection below the driver that takes everything."""

    def __init__(self) -> None:
        self.blocked = False
        self.framer = Framer()
        self.ended: str | None = None

    def write(self, pieces):
        self.framer.receive(b"".join(pieces))

    def half_close(self):
        self.ended = "fin"

    def abort(self):
        self.ended = "rst"

    def hold(self, held):
        pass

    def pdus(self):
        return [decode(raw.kept()) for raw in self.framer]


class Served:
    """A driver with logged-in connections of a session each."""

    def __init__(self, count, executor=None):
        node = TargetNode(name=TARGET, luns={0: LunConfig(size=Size(1 << 20))})
        self.engine, self.devices = make_engine(TargetConfig(targets=[node]), random_bytes=os.urandom)
        self.driver = Driver(self.engine, executor=executor)
        self.carriers = [Carrier() for _ in range(count)]
        self.numbers = []
        for port, carrier in enumerate(self.carriers):
            number = self.driver.connected(carrier, Endpoint("127.0.0.1", 3260), Endpoint("127.0.0.1", 5000 + port), 1)
            self.numbers.append(number)
            isid = b"\x80\0\0\0\0" + bytes((port,))
            self.send(
                port, LoginRequest(transit=True, csg=1, nsg=3, isid=isid, itt=1, cmd_sn=1, data=encode_pairs(PAIRS))
            )
            assert carrier.pdus()[0].status_class == 0

    def send(self, place, *pdus):
        self.driver.received(self.numbers[place], b"".join(encode(pdu).to_bytes() for pdu in pdus))

    def close(self):
        self.driver.close()
        close_devices(self.devices)


def fail(*_):
    raise Broken


def test_a_connection_in_the_middle_of_which_the_engine_fails_is_reset(monkeypatch):
    async def play():
        served = Served(2)
        unit_command = ScsiCommand(itt=2, cmd_sn=1, cdb=bytes(16))
        monkeypatch.setattr(served.devices[0], "execute", fail)
        with pytest.raises(Broken):
            served.send(0, unit_command)
        assert served.carriers[0].ended == "rst"
        monkeypatch.undo()
        await asyncio.sleep(0)
        assert list(served.engine.connections) == [served.numbers[1]]
        served.send(1, unit_command)
        assert [type(pdu) for pdu in served.carriers[1].pdus()] == [ScsiResponse]
        served.close()

    asyncio.run(play())


def test_other_connections_are_served_where_sending_to_one_fails(monkeypatch):
    async def play():
        served = Served(3)
        for number in served.numbers:
            served.engine.ping(number, 1.0)
        monkeypatch.setattr(served.carriers[0], "write", fail)
        with pytest.raises(Broken):
            served.driver.pump()
        served.driver.pump()
        assert all(len(carrier.pdus()) == 1 for carrier in served.carriers[1:])
        served.close()

    asyncio.run(play())


@pytest.mark.parametrize("threads", [0, 1])
def test_work_that_fails_ends_with_a_status(monkeypatch, threads):
    async def play():
        reports = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context["exception"]))
        executor = ThreadPoolExecutor(threads) if threads else None
        served = Served(1, executor)
        monkeypatch.setattr(served.devices[0], "execute", lambda *_: Work(fail))
        command = ScsiCommand(itt=2, cmd_sn=1, cdb=bytes(16))
        if executor is None:
            with pytest.raises(Broken):
                served.send(0, command)
        else:
            served.send(0, command)
            executor.shutdown(wait=True)
            for _ in range(4):
                await asyncio.sleep(0)
            assert [type(each) for each in reports] == [Broken]
        served.send(0, NopOut(immediate=True, itt=3, cmd_sn=2))
        response = served.carriers[0].pdus()[0]
        assert response.status == 2
        sense = parse_sense(bytes(response.data[2:]))
        assert sense is not None
        assert sense.key == SenseKey.HARDWARE_ERROR
        served.close()

    asyncio.run(play())
