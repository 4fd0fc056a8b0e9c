"""An initiator that plays by hand: PDUs into the engine, PDUs out of it, no loop and no socket."""

from __future__ import annotations

import struct
from collections import deque

import pytest

from iscsi_protocol.framing import Framer
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import (
    NO_TAG,
    R2T,
    DataIn,
    DataOut,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    NopIn,
    NopOut,
    Pdu,
    RawPdu,
    ScsiCommand,
    Stage,
    TaskManagementRequest,
    TextRequest,
    decode,
    encode,
)
from iscsi_protocol.text import decode_pairs, encode_pairs
from iscsi_target.completion import Completion, Work
from iscsi_target.config import TargetConfig, TargetNode
from iscsi_target.engine import TargetEngine

TARGET = "iqn.2026-11.org.example:disk"
INITIATOR = "iqn.2026-11.org.example:host"
ISID = bytes.fromhex("80abcdef0001")
BLOCK = 512
LUN0 = bytes(8)
LUN1 = bytes((0, 1, 0, 0, 0, 0, 0, 0))

TEST_UNIT_READY = bytes(16)
SYNCHRONIZE_CACHE = b"\x35" + bytes(15)


def read10(lba, blocks):
    return struct.pack(">BBIBHB", 0x28, 0, lba, 0, blocks, 0) + bytes(6)


def write10(lba, blocks):
    return struct.pack(">BBIBHB", 0x2A, 0, lba, 0, blocks, 0) + bytes(6)


class FakeDevice:
    """Two logical units of 64 KiB, told what to do by opcode; SYNCHRONIZE CACHE is slow work. `log` holds what happened."""

    def __init__(self):
        self.memory = {LUN0: bytearray(65536), LUN1: bytearray(65536)}
        self.log = []
        self.next = None
        self.attentions = {}
        self.tas = False

    def data_out_length(self, lun, cdb):
        return int.from_bytes(cdb[7:9], "big") * BLOCK if cdb[0] == 0x2A and lun in self.memory else 0

    def length_refusal(self, nexus, lun, cdb, expected):
        return None

    def execute(self, nexus, lun, cdb, data_out):
        self.log.append((cdb[0], len(data_out)))
        if self.next is not None:
            answer, self.next = self.next, None
            return answer
        if lun not in self.memory:
            return Completion(0x02, sense=bytes.fromhex("700005000000000a00000000250000000000"))
        if self.attentions.get((nexus, lun)) and cdb[0] not in (0x03, 0x12, 0xA0):
            code = self.attentions[nexus, lun].pop(0)
            return Completion(
                0x02, sense=bytes.fromhex("700006000000000a00000000") + code.to_bytes(2, "big") + bytes(4)
            )
        start = int.from_bytes(cdb[2:6], "big") * BLOCK
        length = int.from_bytes(cdb[7:9], "big") * BLOCK
        if cdb[0] == 0x28:
            return Completion(0, bytes(self.memory[lun][start : start + length]), length)
        if cdb[0] == 0x2A:
            self.memory[lun][start : start + len(data_out)] = data_out
        if cdb[0] == 0x35:
            return Work(lambda: Completion(0))
        return Completion(0)

    def attach(self, abort):
        self.abort = abort

    def reset_lun(self, lun, by):
        self.log.append(("reset_lun", lun))

    def reset_target(self, by):
        self.log.append(("reset_target",))

    def power_on(self):
        self.log.append(("power_on",))

    def nexus_made(self, nexus):
        self.log.append(("made", nexus.tsih))

    def nexus_lost(self, nexus):
        self.log.append(("lost", nexus.tsih))

    def has_lun(self, lun, nexus):
        return lun in self.memory

    def establish_attention(self, nexus, lun, code):
        pending = self.attentions.setdefault((nexus, lun), [])
        if code not in pending:
            pending.append(code)

    def pending_attentions(self, nexus, lun):
        return tuple(self.attentions.get((nexus, lun), ()))

    def task_aborted_status(self, lun):
        return self.tas


class Host:
    """An initiator port on one connection of the engine. `inbox` has every PDU that came and was not asked for yet."""

    def __init__(self, engine, clock, *, name=INITIATOR, isid=ISID, tag=1, portal="127.0.0.1", cid=0):
        self.engine, self.clock, self.name, self.isid, self.cid = engine, clock, name, isid, cid
        self.number = engine.connection_made(
            Endpoint(portal, 3260), Endpoint("127.0.0.1", 50000), clock.now, portal_group_tag=tag
        )
        self.framer = Framer()
        self.digests = (False, False)
        self.inbox: deque[Pdu] = deque()
        self.cmd_sn = 100
        self.exp_stat_sn = 0
        self.itt = 0
        self.tsih = 0

    # Raw

    def feed(self, data):
        """Bytes to the engine; then everything that it says."""
        self.engine.receive(self.number, data, self.clock.now)
        self.collect()

    def collect(self):
        data = b"".join(bytes(piece) for piece in self.engine.data_to_send(self.number))
        while self.engine.has_backlog(self.number):
            self.engine.receive(self.number, b"", self.clock.now)
            data += b"".join(bytes(piece) for piece in self.engine.data_to_send(self.number))
        self.framer.receive(data)
        for raw in self.framer:
            assert not raw.data_digest_error
            pdu = decode(raw.kept())
            stat_sn = getattr(pdu, "stat_sn", None)
            consumes = not isinstance(pdu, R2T) and not (isinstance(pdu, NopIn) and pdu.itt == NO_TAG)
            if isinstance(pdu, DataIn):
                consumes = pdu.status_present
            if consumes and stat_sn is not None and getattr(pdu, "status_class", 0) == 0:
                self.exp_stat_sn = (stat_sn + 1) & 0xFFFFFFFF
            self.inbox.append(pdu)

    def send(self, *pdus):
        """Send PDUs with right digests."""
        parts = []
        for pdu in pdus:
            raw = pdu if isinstance(pdu, RawPdu) else encode(pdu)
            parts.append(raw.with_digests(header=self.digests[0], data=self.digests[1]).to_bytes())
        self.feed(b"".join(parts))
        return self

    def take(self, kind=None):
        """The next PDU; it has to be of that class."""
        pdu = self.inbox.popleft()
        assert kind is None or isinstance(pdu, kind), pdu
        return pdu

    def ask(self, pdu, kind=None):
        """Send one PDU, and the only answer to it."""
        self.send(pdu)
        answer = self.take(kind)
        assert not self.inbox, list(self.inbox)
        return answer

    @property
    def closed(self):
        return self.engine.wants_close(self.number)

    def hang_up(self):
        self.engine.connection_lost(self.number, "FIN", self.clock.now)

    # Login

    def login_request(self, pairs=(), **fields):
        values = {
            "isid": self.isid, "itt": 7, "cid": self.cid, "tsih": self.tsih, "cmd_sn": self.cmd_sn,
            "exp_stat_sn": self.exp_stat_sn,
            "transit": True, "csg": Stage.OPERATIONAL, "nsg": Stage.FULL_FEATURE,
        }  # fmt: skip
        values.update(fields)
        return LoginRequest(data=encode_pairs(pairs), **values)

    def names(self, target=TARGET):
        return [("InitiatorName", self.name), ("TargetName", target)]

    def try_login(self, *pairs, target=TARGET, discovery=False, **fields):
        """The answer to a login in one request."""
        names = [("InitiatorName", self.name), ("SessionType", "Discovery")] if discovery else self.names(target)
        return self.ask(self.login_request([*names, *pairs], **fields), LoginResponse)

    def login(self, *pairs, **fields):
        """Log in and expect success."""
        response = self.try_login(*pairs, **fields)
        assert response.status == 0, f"{response.status:#06x}"
        assert response.transit
        assert response.nsg == Stage.FULL_FEATURE
        self.joined(response)
        return self

    def joined(self, response):
        self.tsih = response.tsih
        self.cmd_sn = response.exp_cmd_sn
        answers = dict(decode_pairs(response.data))
        self.digests = (answers.get("HeaderDigest") == "CRC32C", answers.get("DataDigest") == "CRC32C")
        self.framer.header_digest, self.framer.data_digest = self.digests

    # Full feature phase

    def _numbered(self, immediate):
        cmd_sn = self.cmd_sn
        if not immediate:
            self.cmd_sn = (cmd_sn + 1) & 0xFFFFFFFF
        self.itt += 1
        return {"immediate": immediate, "itt": self.itt, "cmd_sn": cmd_sn, "exp_stat_sn": self.exp_stat_sn}

    def command(self, cdb=TEST_UNIT_READY, *, immediate=False, lun=LUN0, **fields):
        return ScsiCommand(**{**self._numbered(immediate), "cdb": cdb, "lun": lun, **fields})

    def read(self, lba=0, blocks=1, **fields):
        return self.command(
            read10(lba, blocks), **{"read": True, "expected_data_transfer_length": blocks * BLOCK, **fields}
        )

    def write(self, lba=0, blocks=1, **fields):
        return self.command(
            write10(lba, blocks), **{"write": True, "expected_data_transfer_length": blocks * BLOCK, **fields}
        )

    def data_out(self, r2t_or_command, data, *, data_sn=0, offset=None, final=True, **fields):
        """A Data-Out for an R2T, or unsolicited for a command."""
        ttt = getattr(r2t_or_command, "ttt", NO_TAG)
        values = {
            "lun": r2t_or_command.lun,
            "itt": r2t_or_command.itt,
            "ttt": ttt,
            "exp_stat_sn": self.exp_stat_sn,
            "data_sn": data_sn,
            "buffer_offset": r2t_or_command.buffer_offset if offset is None else offset,
            "final": final,
            "data": data,
        }
        return DataOut(**{**values, **fields})

    def function(self, function, *, immediate=True, lun=LUN0, **fields):
        return TaskManagementRequest(**{**self._numbered(immediate), "function": function, "lun": lun, **fields})

    def nop_out(self, data=b"", *, immediate=False, **fields):
        return NopOut(**{**self._numbered(immediate), "data": data, **fields})

    def text(self, *pairs, immediate=False, data=None, **fields):
        text = encode_pairs(pairs) if data is None else data
        return TextRequest(**{**self._numbered(immediate), "data": text, **fields})

    def logout(self, reason=0, *, immediate=False, **fields):
        return LogoutRequest(**{**self._numbered(immediate), "reason": reason, "cid": self.cid, **fields})

    def acknowledge(self):
        """A NOP-Out that only carries ExpStatSN."""
        self.send(self.nop_out(immediate=True, itt=NO_TAG))

    def alive(self):
        """A ping is answered: the fence behind which silence was meant."""
        pong = self.ask(self.nop_out(b"fence"))
        assert bytes(pong.data) == b"fence"


class Clock:
    """Time stands still unless a test moves it."""

    def __init__(self):
        self.now = 1000.0


class Bench:
    """An engine on fake devices, and the hosts that a test connects to it."""

    def __init__(self, **config):
        nodes = config.pop("targets", [TargetNode(name=TARGET)])
        self.devices = {node.name: FakeDevice() for node in nodes}
        self.device = self.devices[nodes[0].name]
        self.clock = Clock()
        self.config = TargetConfig(targets=nodes, **config)
        self.engine = TargetEngine(self.config, self.devices, random_bytes=lambda count: bytes(range(1, count + 1)))

    def host(self, **fields):
        return Host(self.engine, self.clock, **fields)

    def session(self, *pairs, **fields):
        return self.host(**fields).login(*pairs)

    def pass_time(self, seconds):
        self.clock.now += seconds
        self.engine.handle_timer(self.clock.now)

    def events(self, kind=object):
        found = []
        while (event := self.engine.poll_event()) is not None:
            if isinstance(event, kind):
                found.append(event)
        return found

    def work(self):
        """Do the slow work."""
        for each in self.engine.work_to_do():
            self.engine.work_done(each.token, each.run(), self.clock.now)


class Several:
    """The connections of one session as hosts, numbered from 0 on; CmdSN and task tags are given out in common."""

    def __init__(self, bench, count, *pairs, **fields):
        self.bench, self.fields = bench, fields
        self.hosts = [bench.host(cid=0, **fields).login(("MaxConnections", "4"), *pairs)]
        self.cmd_sn, self.itt = self.hosts[0].cmd_sn, 1000 * len(bench.engine.sessions)
        self.session = bench.engine.core.sessions.of_tsih(self.hosts[0].tsih)
        for cid in range(1, count):
            self.add(cid)

    def add(self, cid):
        host = self.bench.host(cid=cid, **self.fields)
        host.tsih, host.cmd_sn = self.hosts[0].tsih, self.cmd_sn
        self.hosts.append(host.login())
        return host

    def __getitem__(self, place):
        return self.hosts[place]

    def make(self, place, kind, *args, **fields):
        """A request for that connection with the next numbers of the session."""
        host = self.hosts[place]
        host.cmd_sn, host.itt = self.cmd_sn, self.itt
        pdu = getattr(host, kind)(*args, **fields)
        self.cmd_sn, self.itt = host.cmd_sn, host.itt
        return pdu

    def send(self, place, kind, *args, **fields):
        pdu = self.make(place, kind, *args, **fields)
        self.hosts[place].send(pdu)
        self.collect()
        return pdu

    def collect(self):
        for host in self.hosts:
            host.collect()

    def acknowledge(self, place):
        """Answer the oldest ping of a connection, or just acknowledge everything."""
        host = self.hosts[place]
        host.cmd_sn = self.cmd_sn
        ping = next((each for each in host.inbox if isinstance(each, NopIn) and each.ttt != NO_TAG), None)
        if ping is None:
            host.acknowledge()
        else:
            host.inbox.remove(ping)
            numbers = {"cmd_sn": self.cmd_sn, "exp_stat_sn": host.exp_stat_sn}
            host.send(NopOut(immediate=True, ttt=ping.ttt, lun=ping.lun, **numbers))
        self.collect()

    def seen(self, place):
        """The kinds of PDUs that a connection has got, pings apart; they are taken."""
        host = self.hosts[place]
        found = [type(each).__name__ for each in host.inbox if not isinstance(each, NopIn)]
        host.inbox.clear()
        return found


@pytest.fixture(scope="session")
def make_several():
    return Several


@pytest.fixture(scope="session")
def make_bench():
    return Bench


@pytest.fixture
def bench():
    return Bench()
