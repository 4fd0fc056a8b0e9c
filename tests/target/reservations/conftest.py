"""A disk that several initiator ports share, restarts included."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_protocol.scsi.persistent import (
    BasicFields,
    Capabilities,
    MoveFields,
    build_basic,
    build_move,
    parse_full_status,
    parse_keys,
    parse_reservation,
)
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.scsi.transport_id import TransportId
from iscsi_target.completion import FileSlice, Work
from iscsi_target.config import LunConfig, Size, TargetNode
from iscsi_target.device import open_device
from iscsi_target.nexus import Nexus
from iscsi_target.state import StateStore

TARGET = "iqn.2026-11.org.example:disk"


class Port:
    """An initiator port and its way to LUN 0. Outcomes are "good", "conflict", or sense key and additional sense code."""

    def __init__(self, disk, name, *, isid=b"\x80\0\0\0\0\x01", tag=1):
        self.disk = disk
        disk.tsih += 1
        name = f"iqn.2026-11.org.example:{name}"
        self.nexus = Nexus(initiator_name=name, isid=isid, tsih=disk.tsih, target_portal_group_tag=tag)
        self.here = False
        disk.ports.append(self)
        self.arrive()

    # Sessions

    def arrive(self):
        """Log in; what the lost nexus has to be told is read."""
        self.disk.tsih += 1
        self.nexus = replace(self.nexus, tsih=self.disk.tsih)
        self.disk.device.nexus_made(self.nexus)
        self.here = True
        return self.news()

    def leave(self):
        """The session is gone: I_T nexus loss."""
        self.disk.device.nexus_lost(self.nexus)
        self.here = False

    # Commands

    def raw(self, command, data=b"", **fields):
        cdb = command.build(**fields).ljust(16, b"\0")
        answer = self.disk.device.execute(self.nexus, encode_lun(0), cdb, data)
        while isinstance(answer, Work):
            answer = answer.run()
        return answer

    def run(self, command, data=b"", **fields):
        answer = self.raw(command, data, **fields)
        if answer.status == Status.CHECK_CONDITION:
            sense = parse_sense(answer.sense)
            assert sense is not None
            return sense.key, sense.code
        return {Status.GOOD: "good", Status.RESERVATION_CONFLICT: "conflict"}.get(answer.status, answer.status)

    def news(self):
        """The unit attentions that wait, read with REQUEST SENSE."""
        found: list[int] = []
        while True:
            sense = parse_sense(self.read_in(op.REQUEST_SENSE, 18))
            assert sense is not None
            if sense.key != SenseKey.UNIT_ATTENTION:
                return found
            found.append(sense.code)

    def read_in(self, command, length=0xFFFF):
        answer = self.raw(command, allocation_length=length)
        assert answer.status == Status.GOOD, answer
        assert not isinstance(answer.data, FileSlice)
        return bytes(answer.data)

    # Persistent reservations

    def out(self, command, key=0, new=0, *, kind=0, scope=0, initiators=None, **flags):
        """PERSISTENT RESERVE OUT with a list of the usual form."""
        basic = BasicFields(key=key, service_action_key=new, specify_initiator_ports=initiators is not None, **flags)
        data = build_basic(basic, initiators or ())
        return self.run(command, data, parameter_list_length=len(data), type=kind, scope=scope)

    def register(self, key, new, **flags):
        return self.out(op.REGISTER, key, new, **flags)

    def join(self, new, **flags):
        return self.out(op.REGISTER_AND_IGNORE_EXISTING_KEY, 0, new, **flags)

    def reserve(self, key, kind, scope=0):
        return self.out(op.RESERVE, key, kind=kind, scope=scope)

    def release(self, key, kind, scope=0):
        return self.out(op.RELEASE, key, kind=kind, scope=scope)

    def clear(self, key):
        return self.out(op.CLEAR, key)

    def preempt(self, key, victim, kind, scope=0, command=op.PREEMPT):
        return self.out(command, key, victim, kind=kind, scope=scope)

    def move(self, key, new, to, port=1, **flags):
        fields = MoveFields(key=key, service_action_key=new, relative_target_port=port, **flags)
        data = build_move(fields, to)
        return self.run(op.REGISTER_AND_MOVE, data, parameter_list_length=len(data))

    def registered(self):
        return parse_keys(self.disk.ask(op.READ_KEYS))[1]

    def generation(self):
        return parse_keys(self.disk.ask(op.READ_KEYS))[0]

    def reservation(self):
        """(key, type), None without one."""
        found = parse_reservation(self.disk.ask(op.READ_RESERVATION))[1]
        return None if found is None else (found.key, found.type)

    def full_status(self):
        return parse_full_status(self.disk.ask(op.READ_FULL_STATUS))[1]

    def capabilities(self):
        return Capabilities.parse(self.disk.ask(op.REPORT_CAPABILITIES))

    # Data

    def read(self):
        return self.run(op.READ_10, blocks=1)

    def write(self, data=bytes(512)):
        return self.run(op.WRITE_10, data, blocks=1)


class SharedDisk:
    """One target with LUN 0; `path`: its state file, None without one."""

    def __init__(self, path=None, tags=(1, 2), **settings):
        self.path, self.tags, self.settings = path, tags, {"size": Size(64 * 512), **settings}
        self.ports = []
        self.tsih = 0
        self.open()

    def open(self):
        node = TargetNode(name=TARGET, luns={0: LunConfig(**self.settings)})
        self.device = open_device(node, StateStore(self.path), target_ports=self.tags)

    def port(self, name, **fields):
        return Port(self, name, **fields)

    def lose_power(self):
        """What is in memory only is gone; initiators come back and have read the news."""
        self.device.close()
        self.open()
        for port in self.ports:
            port.here = False
            port.arrive()

    def ask(self, command):
        """What a bystander, who has no unit attentions, reads."""
        watcher = next((port for port in self.ports if "watcher" in port.nexus.initiator_name), None)
        watcher = watcher or self.port("watcher")
        watcher.news()
        return watcher.read_in(command)

    @property
    def unit(self):
        return self.device._units[0]


@pytest.fixture
def make_shared(tmp_path):
    """make_shared(kept=False, **lun settings) -> SharedDisk, with a state file if it is kept; closed after the test."""
    made = []

    def make(kept=False, **settings):
        made.append(SharedDisk(str(tmp_path / "state.json") if kept else None, **settings))
        return made[-1]

    yield make
    for each in made:
        each.device.close()


@pytest.fixture
def shared(make_shared):
    return make_shared()


@pytest.fixture(scope="session")
def make_disk_of():
    """The class itself, for what hypothesis makes many of."""
    return SharedDisk


@pytest.fixture(scope="session")
def make_transport_id():
    return TransportId
