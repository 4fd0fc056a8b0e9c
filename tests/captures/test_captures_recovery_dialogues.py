"""Recovery and several connections with the bundled target's engine, in memory: both sides do what they have to, and the rule
book says nothing, but of the digests that are wrong on purpose.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from iscsi_captures.rulebook import RuleBook
from iscsi_protocol.framing import Framer
from iscsi_protocol.history import ConnectionTap, Endpoint, TransportEvent
from iscsi_protocol.pdu import (
    NO_TAG,
    R2T,
    AsyncMessage,
    DataIn,
    DataOut,
    LoginRequest,
    LoginResponse,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Pdu,
    Reject,
    RejectReason,
    ScsiCommand,
    ScsiResponse,
    SnackRequest,
    SnackType,
    Stage,
    TaskFunction,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
    decode,
    encode,
)
from iscsi_protocol.stream import Direction
from iscsi_protocol.text import decode_pairs, encode_pairs
from iscsi_target.completion import FileSlice
from iscsi_target.config import LunConfig, Size, TargetConfig, TargetNode, Timers
from iscsi_target.shell import close_devices, make_engine

TARGET = "iqn.2026-11.org.example:disk"
NAMES = (("InitiatorName", "iqn.2026-11.org.example:host"), ("TargetName", TARGET))
BLOCK = 512
KEYS = {
    "MaxConnections": "4",
    "ErrorRecoveryLevel": "2",
    "DefaultTime2Wait": "2",
    "DefaultTime2Retain": "20",
    "MaxRecvDataSegmentLength": "512",
    "MaxBurstLength": "2048",
    "FirstBurstLength": "512",
    "DataDigest": "CRC32C",
    "HeaderDigest": "CRC32C",
}
DIGESTS = ["digest.data"]
REPORTING = {
    "RFC3720": "RFC3720,ResponseFence",
    "ResponseFence": "ResponseFence,RFC3720",
    "FastAbort": "FastAbort,ResponseFence,RFC3720",
}


class Line:
    """One connection to the engine. inbox: what came and was not asked for."""

    def __init__(self, host: Host, cid: int) -> None:
        self.host, self.cid = host, cid
        here = Endpoint("127.0.0.1", 50000)
        self.number = host.engine.connection_made(Endpoint("127.0.0.1", 3260), here, host.now, portal_group_tag=1)
        self.tap = ConnectionTap(self.number, host.book.record)
        self.tap.transport(TransportEvent.CONNECTED, host.now)
        self.framer = Framer()
        self.digests = (False, False)
        self.inbox: list[Pdu] = []
        self.exp_stat_sn = 0

    def send(self, pdu: Pdu, *, spoil: str = "") -> None:
        """Send, with one of the digests wrong; then hear everything."""
        raw = encode(pdu).with_digests(header=self.digests[0], data=self.digests[1])
        if spoil:
            digest = bytes(getattr(raw, spoil))
            setattr(raw, spoil, bytes([digest[0] ^ 1]) + digest[1:])
        data = raw.to_bytes()
        self.tap.bytes_crossed(Direction.TO_TARGET, data, self.host.now)
        self.host.engine.receive(self.number, data, self.host.now)
        self.host.hear()

    def hear(self) -> None:
        pieces = self.host.engine.data_to_send(self.number)
        data = b"".join(bytes(piece) for piece in pieces if not isinstance(piece, FileSlice))
        self.tap.bytes_crossed(Direction.TO_INITIATOR, data, self.host.now)
        self.framer.receive(data)
        for raw in self.framer:
            pdu: Any = decode(raw.kept())
            counts = not isinstance(pdu, R2T) and not (isinstance(pdu, NopIn) and pdu.itt == NO_TAG)
            if pdu.status_present if isinstance(pdu, DataIn) else counts:
                self.exp_stat_sn = max(self.exp_stat_sn, pdu.stat_sn + 1)
            self.inbox.append(pdu)

    def take(self, *kinds: type[Pdu]) -> Any:
        """The next PDUs, which have to be of these kinds; the last of them."""
        pdus, self.inbox = self.inbox[: len(kinds)], self.inbox[len(kinds) :]
        assert [type(pdu) for pdu in pdus] == list(kinds)
        return pdus[-1]

    def all(self, kind: type[Pdu]) -> list[Any]:
        """Everything that came, which has to be of this kind."""
        pdus, self.inbox = self.inbox, []
        assert {type(pdu) for pdu in pdus} == {kind}
        return pdus

    def fail(self) -> None:
        """The connection breaks."""
        self.tap.transport(TransportEvent.RST, self.host.now)
        self.host.engine.connection_lost(self.number, "RST", self.host.now)
        self.host.lines.remove(self)
        self.host.hear()

    # Requests with the numbers of the session

    def numbers(self, immediate: bool) -> dict[str, Any]:
        host = self.host
        host.itt += 1
        number, host.cmd_sn = host.cmd_sn, host.cmd_sn + (not immediate)
        return {"itt": host.itt, "cmd_sn": number, "exp_stat_sn": self.exp_stat_sn, "immediate": immediate}

    def read(self, blocks: int = 4) -> ScsiCommand:
        cdb = struct.pack(">BBIBHB", 0x28, 0, 0, 0, blocks, 0) + bytes(6)
        command = ScsiCommand(
            read=True, cdb=cdb, expected_data_transfer_length=blocks * BLOCK, **self.numbers(immediate=False)
        )
        self.send(command)
        return command

    def write(self, blocks: int = 4, data: bytes = b"", **sending: Any) -> ScsiCommand:
        cdb = struct.pack(">BBIBHB", 0x2A, 0, 0, 0, blocks, 0) + bytes(6)
        command = ScsiCommand(
            write=True,
            cdb=cdb,
            expected_data_transfer_length=blocks * BLOCK,
            data=data,
            **self.numbers(immediate=False),
        )
        self.send(command, **sending)
        return command

    def answer(self, r2t: R2T, spoilt: int | None = None) -> None:
        """All the data that an R2T asks for, of which one PDU may come damaged."""
        count = r2t.desired_data_transfer_length // BLOCK
        for sn in range(count):
            piece = DataOut(
                itt=r2t.itt, ttt=r2t.ttt, lun=r2t.lun, data=bytes([sn]) * BLOCK, data_sn=sn, final=sn == count - 1,
                buffer_offset=r2t.buffer_offset + sn * BLOCK, exp_stat_sn=self.exp_stat_sn,
            )  # fmt: skip
            self.send(piece, spoil="data_digest" if sn == spoilt else "")

    def snack(self, kind: SnackType, **fields: Any) -> None:
        self.send(SnackRequest(snack_type=kind, **{"exp_stat_sn": self.exp_stat_sn} | fields))

    def ping(self) -> None:
        self.send(NopOut(data=b"ping", **self.numbers(immediate=False)))
        assert bytes(self.take(NopIn).data) == b"ping"

    def acknowledge(self) -> None:
        self.send(NopOut(immediate=True, cmd_sn=self.host.cmd_sn, exp_stat_sn=self.exp_stat_sn))

    def function(self, function: TaskFunction, **fields: Any) -> None:
        self.send(TaskManagementRequest(function=function, **self.numbers(immediate=True) | fields))

    def log_out(self, reason: int, cid: int, **fields: Any) -> None:
        self.send(LogoutRequest(reason=reason, cid=cid, **self.numbers(immediate=True) | fields))
        assert self.take(LogoutResponse).response == 0


class Host:
    """An initiator with one session on the engine; the clock stands still unless it waits."""

    def __init__(self, **keys: str) -> None:
        node = TargetNode(name=TARGET, luns={0: LunConfig(size=Size(65536))})
        config = TargetConfig(
            targets=[node], keys={"ErrorRecoveryLevel": "2", "MaxConnections": "4"}, timers=Timers(data_out=5)
        )
        self.engine, self.devices = make_engine(config, random_bytes=Random(7).randbytes)
        self.book = RuleBook()
        self.now = 0.0
        self.lines: list[Line] = []
        self.keys = KEYS | keys
        self.cmd_sn, self.itt, self.tsih = 100, 0, 0

    def login(self, cid: int = 0) -> Line:
        """One more connection of the session, or the first."""
        line = Line(self, cid)
        self.lines.append(line)
        offered = self.keys
        if self.tsih:
            offered = {key: self.keys[key] for key in ("MaxRecvDataSegmentLength", "DataDigest", "HeaderDigest")}
        self.itt += 1
        request = LoginRequest(
            isid=bytes.fromhex("80abcdef0001"), itt=self.itt, cid=cid, tsih=self.tsih, cmd_sn=self.cmd_sn, transit=True,
            csg=Stage.OPERATIONAL, nsg=Stage.FULL_FEATURE, immediate=True,
            data=encode_pairs([*NAMES, *offered.items()]),
        )  # fmt: skip
        line.send(request)
        response = line.take(LoginResponse)
        assert response.status == 0
        self.tsih = response.tsih
        agreed = dict(decode_pairs(response.data))
        line.digests = (agreed["HeaderDigest"] == "CRC32C", agreed["DataDigest"] == "CRC32C")
        line.framer.header_digest, line.framer.data_digest = line.digests
        return line

    def hear(self) -> None:
        for work in self.engine.work_to_do():
            self.engine.work_done(work.token, work.run(), self.now)
        for line in self.lines:
            line.hear()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.engine.handle_timer(self.now)
        self.hear()

    def found(self) -> list[str]:
        """The rules that were broken."""
        return [finding.rule for finding in self.book.findings]


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    close_devices(host.devices)


@pytest.fixture
def level_1() -> Iterator[Host]:
    host = Host(ErrorRecoveryLevel="1")
    yield host
    close_devices(host.devices)


def test_data_is_asked_for_again(level_1):
    """A Data SNACK for some, for the rest, and for all of the data of a read."""
    line = level_1.login()
    command, before = line.read(8), line.exp_stat_sn - 1
    line.all(DataIn)
    for begin, length, due in ((1, 2, 2), (3, 0, 5), (0, 0, 8)):
        line.snack(SnackType.DATA_OR_R2T, itt=command.itt, beg_run=begin, run_length=length, exp_stat_sn=before)
        assert len([pdu for pdu in line.all(DataIn) if pdu.data]) == due
    line.ping()
    assert level_1.found() == []


def test_data_is_acknowledged(level_1):
    """DataACKs free data; what is not acknowledged comes again."""
    line = level_1.login()
    command, before = line.read(16), line.exp_stat_sn - 1
    asked = [pdu for pdu in line.all(DataIn) if pdu.acknowledge]
    assert asked
    line.snack(SnackType.DATA_ACK, ttt=asked[0].ttt, lun=asked[0].lun, beg_run=asked[0].data_sn + 1, exp_stat_sn=before)
    line.snack(SnackType.DATA_OR_R2T, itt=command.itt, exp_stat_sn=before)
    assert line.all(DataIn)[0].data_sn == asked[0].data_sn + 1
    line.ping()
    assert level_1.found() == []


def test_data_is_cut_anew(level_1):
    """After another MaxRecvDataSegmentLength an R-Data SNACK brings the data in other pieces, and another response."""
    line = level_1.login()
    command, before = line.read(8), line.exp_stat_sn - 1
    line.all(DataIn)
    pairs = encode_pairs([("MaxRecvDataSegmentLength", "1024")])
    line.send(TextRequest(data=pairs, **line.numbers(immediate=False) | {"exp_stat_sn": before}))
    line.take(TextResponse)
    line.snack(SnackType.R_DATA, itt=command.itt, ttt=0x77, exp_stat_sn=before)
    response = line.inbox.pop()
    assert isinstance(response, ScsiResponse)
    assert (response.snack_tag, response.stat_sn) == (0x77, before)
    assert [len(pdu.data) for pdu in line.all(DataIn)] == [1024] * 4
    line.ping()
    assert level_1.found() == []


def test_statuses_come_again(level_1):
    """Status SNACKs for one and for all of the responses that are not acknowledged."""
    line = level_1.login()
    first = line.exp_stat_sn
    for _ in range(3):
        line.send(NopOut(**line.numbers(immediate=False) | {"exp_stat_sn": first}))
    line.all(NopIn)
    line.snack(SnackType.STATUS, beg_run=first + 1, run_length=1, exp_stat_sn=first)
    assert line.take(NopIn).stat_sn == first + 1
    line.snack(SnackType.STATUS, exp_stat_sn=first)
    assert [pdu.stat_sn for pdu in line.all(NopIn)] == [first, first + 1, first + 2]
    line.ping()
    assert level_1.found() == []


@pytest.mark.parametrize("length", [2, (1 << 31) - 1, 1 << 31, (1 << 32) - 1])
def test_statuses_that_were_never_sent_are_not_had(level_1, length):
    """A status SNACK whose run goes beyond all that was sent, however far, is rejected."""
    line = level_1.login()
    first = line.exp_stat_sn
    line.send(NopOut(**line.numbers(immediate=False) | {"exp_stat_sn": first}))
    response = line.take(NopIn)
    numbers = {"beg_run": first, "exp_stat_sn": first}
    line.snack(SnackType.STATUS, run_length=length, **numbers)
    assert line.take(Reject).reason == RejectReason.PROTOCOL_ERROR
    line.snack(SnackType.STATUS, run_length=1, **numbers)
    assert line.take(NopIn).itt == response.itt
    line.ping()
    assert level_1.found() == []


@pytest.mark.parametrize("spoilt", [0, 1, 3])
def test_damaged_data_is_recovered(level_1, spoilt):
    """A Data-Out with a wrong digest is rejected, and comes again for a recovery R2T."""
    line = level_1.login()
    line.write(8)
    line.answer(line.take(R2T), spoilt)
    while not isinstance(line.inbox[-1], ScsiResponse):
        pending = [pdu for pdu in line.inbox if isinstance(pdu, R2T)]
        line.inbox.clear()
        for r2t in pending:
            line.answer(r2t)
    assert line.inbox[-1].status == 0
    line.inbox.clear()
    line.ping()
    assert level_1.found() == DIGESTS


def test_damaged_commands_are_sent_again(level_1):
    """A write whose immediate data is damaged is rejected; its number stays free until it comes whole."""
    line = level_1.login()
    command = line.write(1, bytes(BLOCK), spoil="data_digest")
    line.take(Reject)
    line.send(replace(command, exp_stat_sn=line.exp_stat_sn))
    assert line.take(ScsiResponse).status == 0
    line.ping()
    assert level_1.found() == DIGESTS


def test_a_lost_command_is_sent_again(level_1):
    """A retry fills the gap that a damaged header left, over a connection that takes the place of the old one."""
    line = level_1.login()
    command = line.write(1, bytes(BLOCK), spoil="header_digest")
    assert level_1.engine.wants_close(line.number)
    line.fail()
    level_1.wait(2)
    line = level_1.login()
    line.send(replace(command, exp_stat_sn=line.exp_stat_sn))
    assert line.take(ScsiResponse).status == 0
    line.ping()
    assert level_1.found() == ["digest.header"]


def test_several_connections(host):
    """Requests of all kinds over three connections, one of which another one logs out."""
    lines = [host.login(cid) for cid in range(3)]
    for _ in range(3):
        for line in lines:
            line.read(2)
            line.take(DataIn, DataIn)
            line.write(2)
            line.answer(line.take(R2T))
            line.take(ScsiResponse)
            line.ping()
    lines[0].log_out(1, 2, exp_stat_sn=lines[2].exp_stat_sn)
    host.lines.remove(lines[2])
    for line in lines[:2]:
        line.ping()
    lines[1].log_out(0, 1)
    assert host.found() == []


@pytest.mark.parametrize("acknowledged", [0, 2, 4])
def test_a_read_is_reassigned(host, acknowledged):
    """Its connection breaks; another one logs that out and takes the read on from what had come."""
    first, second = host.login(0), host.login(1)
    command = first.read(4)
    first.fail()
    notice = second.take(AsyncMessage)
    assert (notice.async_event, notice.parameter1) == (2, 0)
    host.wait(2)
    second.log_out(2, 0, exp_stat_sn=first.exp_stat_sn - 1)
    host.wait(2)
    second.function(TaskFunction.TASK_REASSIGN, referenced_task_tag=command.itt, exp_data_sn=acknowledged)
    assert second.take(TaskManagementResponse).response == 0
    numbers = [pdu.data_sn for pdu in second.inbox if isinstance(pdu, DataIn) and pdu.data]
    assert numbers == list(range(acknowledged, 4))
    second.inbox.clear()
    second.ping()
    assert host.found() == []


def test_a_write_is_reassigned(host):
    """The only connection breaks in the middle of a write, and a login takes its place."""
    line = host.login()
    command = line.write(8)
    r2t = line.take(R2T)
    line.answer(r2t)
    line.fail()
    host.wait(2)
    line = host.login()
    line.function(TaskFunction.TASK_REASSIGN, referenced_task_tag=command.itt)
    assert line.take(TaskManagementResponse).response == 0
    while not isinstance(line.inbox[-1], ScsiResponse):
        line.answer(line.take(R2T))
    line.inbox.clear()
    line.ping()
    assert host.found() == []


def test_nothing_is_kept_for_no_time():
    """The connection broke, which the target has not noticed: a login takes its place, and where Time2Retain is 0 that ends
    the tasks.
    """
    host = Host(DefaultTime2Retain="0")
    line = host.login()
    write = line.write(8)
    line.take(R2T)
    line.tap.transport(TransportEvent.RST, host.now)
    host.lines.remove(line)
    host.wait(2)
    line = host.login()
    line.function(TaskFunction.ABORT_TASK, referenced_task_tag=write.itt, ref_cmd_sn=write.cmd_sn)
    assert line.take(TaskManagementResponse).response == 1
    close_devices(host.devices)
    assert host.found() == []


def test_commands_go_on_where_they_are_queried():
    """QUERY TASK asks after a write that lacks its data, and after a read whose status may be lost."""
    host = Host(iSCSIProtocolLevel="2")
    first, second = host.login(0), host.login(1)
    write, read = first.write(8), first.read(2)
    first.fail()
    second.take(AsyncMessage)
    host.wait(2)
    second.log_out(2, 0, exp_stat_sn=first.exp_stat_sn - 1)
    host.wait(2)
    second.function(TaskFunction.QUERY_TASK, referenced_task_tag=write.itt, ref_cmd_sn=write.cmd_sn)
    assert second.take(TaskManagementResponse).response == 7
    for _ in range(2):
        second.answer(second.take(R2T))
    assert second.take(ScsiResponse).status == 0
    second.function(TaskFunction.QUERY_TASK, referenced_task_tag=read.itt, ref_cmd_sn=read.cmd_sn)
    assert second.take(TaskManagementResponse).response == 0
    assert [pdu.data_sn for pdu in second.all(DataIn)] == [0, 1]
    second.ping()
    close_devices(host.devices)
    assert host.found() == []


@pytest.mark.parametrize("how", REPORTING)
@pytest.mark.parametrize("function", [TaskFunction.ABORT_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET])
def test_functions_over_connections(how, function):
    """A write of the other connection ends by a function, once everything before is acknowledged."""
    host = Host(TaskReporting=REPORTING[how])
    first, second = host.login(0), host.login(1)
    second.read(2)
    second.take(DataIn, DataIn)
    second.write(4)
    r2t = second.take(R2T)
    first.function(function)
    if how != "FastAbort":
        second.answer(r2t)
    for _ in range(3):
        for line in (second, first):
            events: list[Any] = [pdu for pdu in line.inbox if isinstance(pdu, AsyncMessage)]
            pings = [pdu for pdu in line.inbox if isinstance(pdu, NopIn) and pdu.ttt != NO_TAG]
            line.inbox = [pdu for pdu in line.inbox if pdu not in events and pdu not in pings]
            for pdu in [*events, *pings]:
                ttt = pdu.ttt if isinstance(pdu, NopIn) else NO_TAG
                line.send(
                    NopOut(immediate=True, lun=pdu.lun, ttt=ttt, cmd_sn=host.cmd_sn, exp_stat_sn=line.exp_stat_sn)
                )
            line.acknowledge()
    assert first.take(TaskManagementResponse).response == 0
    first.acknowledge()
    second.read(1)
    close_devices(host.devices)
    assert host.found() == []
