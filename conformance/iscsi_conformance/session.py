"""A logged-in session as cases use it, or one connection of several: commands, data, pings, task management, text, logout.

Numbers are the well-behaved ones unless a case gives others. Nothing is retried or mended. What belongs to recovery is in
`recovery`, what belongs to several connections in `several`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from iscsi_captures.describe import one_line
from iscsi_conformance.verdict import Failed, Inconclusive, require
from iscsi_conformance.wire import P, Wire
from iscsi_initiator.raw import RawConnection, Received
from iscsi_initiator.raw_login import RawLogin
from iscsi_protocol.negotiation.keys import KEYS, Scope
from iscsi_protocol.pdu import (
    NO_LUN,
    NO_TAG,
    R2T,
    DataIn,
    DataOut,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Reject,
    ScsiCommand,
    ScsiResponse,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
)
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_protocol.scsi.sense import Sense, parse_sense
from iscsi_protocol.text import encode_pairs

ALIVE = "R7143-11.18.1-03"


@dataclass(slots=True)
class TaskResult:
    """How a command ended. data: what the Data-In PDUs carried, by offset; ending: the PDU with the status."""

    command: ScsiCommand
    ending: ScsiResponse | DataIn
    data: bytes
    data_ins: list[DataIn] = field(default_factory=list)
    r2ts: list[R2T] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    @property
    def status(self) -> int:
        """The SCSI status."""
        return self.ending.status

    @property
    def sense(self) -> Sense | None:
        """The sense data, if there is any."""
        if not isinstance(self.ending, ScsiResponse) or len(self.ending.data) < 2:
            return None
        length = int.from_bytes(self.ending.data[:2], "big")
        return parse_sense(self.ending.data[2 : 2 + length])


class Session(Wire):
    """A full feature phase. login: how it was reached; lun: the 8-byte LUN field that commands use.

    cid: of the connection. leading: the session's first connection, where this is a further one; command numbers and task
    tags are counted together then, and what was agreed on for the session holds for both.
    """

    def __init__(
        self,
        raw: RawConnection,
        login: RawLogin,
        wire: Wire,
        lun: int,
        *,
        cid: int = 0,
        leading: Session | None = None,
    ) -> None:
        super().__init__(raw, wire.response_time, wire.initiator_name, wire.target_name)
        self.login = login
        self.isid = wire.isid
        self.lun = encode_lun(lun)
        self.tsih = login.tsih
        self.cid = cid
        self.leading = leading
        self.block_size: int = leading.block_size if leading else 512
        self.blocks: int = leading.blocks if leading else 0

    def agreed(self, key: str) -> str:
        """What the login agreed on for a negotiated key, its default where it was not talked of.

        Raises KeyError for an unknown key.
        """
        rule = KEYS[key]
        if self.leading is not None and rule.scope is Scope.SESSION:
            return self.leading.agreed(key)
        return self.login.agreed(key) or rule.default or ""

    def agreed_number(self, key: str) -> int:
        """The same as a number."""
        return int(self.agreed(key), 0)

    @property
    def target_segment_limit(self) -> int:
        """The MaxRecvDataSegmentLength that the target declared, in bytes."""
        return int(self.login.value("MaxRecvDataSegmentLength") or 8192)

    # ---- requests ----

    def numbered(self, *, immediate: bool = False) -> dict[str, Any]:
        """itt, cmd_sn and exp_stat_sn for a request; an immediate one uses up no CmdSN (4.2.2.1)."""
        cmd_sn = self.raw.cmd_sn if immediate else self.raw.next_cmd_sn()
        return {"itt": self.raw.next_itt(), "cmd_sn": cmd_sn, "exp_stat_sn": self.raw.exp_stat_sn}

    def command(
        self, cdb: bytes, *, read: int | None = None, write: int | None = None, data: bytes = b"", **fields: Any
    ) -> ScsiCommand:
        """Send a SCSI Command. read, write: expected length of the transfer in bytes; data: immediate data.

        fields override any field of the PDU, cmd_sn and itt included (then no CmdSN is used up).
        """
        immediate = bool(fields.get("immediate", False))
        numbers = {"itt": self.raw.next_itt(), "exp_stat_sn": self.raw.exp_stat_sn}
        if "cmd_sn" not in fields:
            numbers["cmd_sn"] = self.raw.cmd_sn if immediate else self.raw.next_cmd_sn()
        length = write if write is not None else read or 0
        values: dict[str, Any] = {
            "read": read is not None,
            "write": write is not None,
            "lun": self.lun,
            "expected_data_transfer_length": length,
            "cdb": cdb[:16].ljust(16, b"\0"),
            "data": data,
            **numbers,
        }
        sent = ScsiCommand(**(values | fields))
        self.send(sent)
        return sent

    def data_out(
        self, command: ScsiCommand, data: bytes, *, r2t: R2T | None = None, offset: int = 0, **fields: Any
    ) -> None:
        """Send data as well-behaved Data-Out PDUs: for an R2T (data is what it asked for) or unsolicited from `offset` on.

        fields override fields of every PDU.
        """
        start = r2t.buffer_offset if r2t else offset
        step = min(self.target_segment_limit, len(data)) or 1
        for data_sn, position in enumerate(range(0, max(len(data), 1), step)):
            piece = data[position : position + step]
            values: dict[str, Any] = {
                "final": position + step >= len(data),
                "lun": r2t.lun if r2t else NO_LUN,
                "itt": command.itt,
                "ttt": r2t.ttt if r2t else NO_TAG,
                "exp_stat_sn": self.raw.exp_stat_sn,
                "data_sn": data_sn,
                "buffer_offset": start + position,
                "data": piece,
            }
            self.send(DataOut(**(values | fields)))

    async def result(self, command: ScsiCommand, clause: str, *, write_data: bytes = b"") -> TaskResult:
        """Take everything up to the command's status, answering R2Ts from write_data. PDUs of other tasks are put back.

        Raises Failed when the connection ends or stays silent before.
        """
        data_ins: list[DataIn] = []
        r2ts: list[R2T] = []
        rejects: list[Reject] = []
        others: list[Received] = []
        content = bytearray()
        while True:
            received = await self.receive(clause, "the command's status")
            pdu = received.pdu
            if isinstance(pdu, Reject):
                rejects.append(pdu)
                if pdu.data[16:20] == command.itt.to_bytes(4, "big") and pdu.data[0] & 0x3F == ScsiCommand.OPCODE:
                    raise Failed(clause, f"the command was rejected with reason {pdu.reason:#04x}")
                continue
            if received.raw.initiator_task_tag != command.itt:
                others.append(received)
                continue
            if isinstance(pdu, R2T):
                r2ts.append(pdu)
                end = pdu.buffer_offset + pdu.desired_data_transfer_length
                self.data_out(command, write_data[pdu.buffer_offset : end], r2t=pdu)
                continue
            if isinstance(pdu, DataIn):
                data_ins.append(pdu)
                end = pdu.buffer_offset + len(pdu.data)
                content.extend(bytes(max(0, end - len(content))))
                content[pdu.buffer_offset : end] = pdu.data
            if isinstance(pdu, ScsiResponse) or (isinstance(pdu, DataIn) and pdu.status_present):
                for other in others:
                    self.put_back(other)
                return TaskResult(command, pdu, bytes(content), data_ins, r2ts, rejects)
            if not isinstance(pdu, DataIn):
                raise Failed(clause, "an answer to a SCSI command was due", seen=one_line(received.raw))

    async def execute(
        self, cdb: bytes, clause: str, *, read: int | None = None, write_data: bytes | None = None, **fields: Any
    ) -> TaskResult:
        """Run a command to its end, with immediate and unsolicited data as the session agreed on it."""
        if write_data is None:
            return await self.result(self.command(cdb, read=read, **fields), clause)
        length = len(write_data)
        first = min(self.agreed_number("FirstBurstLength"), length)
        immediate = min(first, self.target_segment_limit) if self.agreed("ImmediateData") == "Yes" else 0
        unsolicited = first if self.agreed("InitialR2T") == "No" else immediate
        sent = self.command(
            cdb, write=length, data=write_data[:immediate], **({"final": unsolicited <= immediate} | fields)
        )
        if unsolicited > immediate:
            self.data_out(sent, write_data[immediate:unsolicited], offset=immediate)
        return await self.result(sent, clause, write_data=write_data)

    async def read(self, clause: str, lba: int = 0, blocks: int = 1, **fields: Any) -> TaskResult:
        """READ(10) of so many blocks, to its end."""
        cdb = opcodes.READ_10.build(lba=lba, blocks=blocks)
        return await self.execute(cdb, clause, read=blocks * self.block_size, **fields)

    async def write(self, clause: str, data: bytes, lba: int = 0, **fields: Any) -> TaskResult:
        """WRITE(10) of whole blocks, to its end."""
        cdb = opcodes.WRITE_10.build(lba=lba, blocks=len(data) // self.block_size)
        return await self.execute(cdb, clause, write_data=data, **fields)

    async def test_unit_ready(self, clause: str, **fields: Any) -> TaskResult:
        """TEST UNIT READY, to its end."""
        return await self.execute(opcodes.TEST_UNIT_READY.build(), clause, **fields)

    def ping(self, data: bytes = b"", **fields: Any) -> NopOut:
        """Send a NOP-Out that asks for an answer; immediate unless told otherwise."""
        immediate = bool(fields.get("immediate", True))
        values: dict[str, Any] = {"immediate": immediate, "data": data, **self.numbered(immediate=immediate)}
        sent = NopOut(**(values | fields))
        self.send(sent)
        return sent

    def manage_task(self, function: int, **fields: Any) -> TaskManagementRequest:
        """Send a task management request; immediate unless told otherwise."""
        immediate = bool(fields.get("immediate", True))
        values: dict[str, Any] = {"function": function, "lun": self.lun, **self.numbered(immediate=immediate)}
        sent = TaskManagementRequest(**(values | {"immediate": immediate} | fields))
        self.send(sent)
        return sent

    async def task_response(self, request: TaskManagementRequest, clause: str) -> TaskManagementResponse:
        """The answer to a task management request; PDUs of other tasks are put back."""
        return await self.answer(TaskManagementResponse, request.itt, clause)

    async def answer(self, kind: type[P], itt: int, clause: str) -> P:
        """The next PDU with this task tag, which has to be of this kind; what else comes is put back."""
        others: list[Received] = []
        while True:
            received = await self.receive(clause, f"{kind.__name__} for task {itt:#x}")
            if received.raw.initiator_task_tag == itt:
                break
            others.append(received)
        for other in others:
            self.put_back(other)
        if not isinstance(received.pdu, kind):
            raise Failed(clause, f"{kind.__name__} was due", seen=one_line(received.raw))
        return received.pdu

    def text(self, *pairs: tuple[str, str], **fields: Any) -> TextRequest:
        """Send a Text Request."""
        immediate = bool(fields.get("immediate", False))
        values: dict[str, Any] = {"data": encode_pairs(pairs), **self.numbered(immediate=immediate)}
        sent = TextRequest(**(values | fields))
        self.send(sent)
        return sent

    async def text_exchange(self, clause: str, *pairs: tuple[str, str], **fields: Any) -> TextResponse:
        """Send a Text Request and take its Text Response."""
        sent = self.text(*pairs, **fields)
        return await self.expect(TextResponse, clause, itt=sent.itt)

    async def logout(self, clause: str, reason: int = 0, **fields: Any) -> LogoutResponse:
        """Log out and take the answer; what else comes before it is put back."""
        immediate = bool(fields.get("immediate", False))
        values: dict[str, Any] = {"reason": reason, **self.numbered(immediate=immediate)}
        sent = LogoutRequest(**(values | fields))
        self.send(sent)
        return await self.answer(LogoutResponse, sent.itt, clause)

    # ---- proofs ----

    async def alive(self, clause: str = ALIVE) -> None:
        """The session still answers a ping."""
        sent = self.ping()
        await self.answer(NopIn, sent.itt, clause)

    async def silence(self, clause: str, what: str, *, about: int) -> None:
        """Nothing comes with this task tag: proved by two fences that are answered, not by waiting alone."""
        for _ in range(2):
            fence = self.ping()
            while True:
                received = await self.receive(clause, "the answer to a ping")
                tag = received.raw.initiator_task_tag
                if tag == fence.itt:
                    break
                rejected = isinstance(received.pdu, Reject) and received.pdu.data[16:20] == about.to_bytes(4, "big")
                require(tag != about and not rejected, clause, what, seen=one_line(received.raw))

    async def measure(self) -> None:
        """Learn block size and number of blocks. Raises Inconclusive when the product does not say."""
        outcome = await self.execute(opcodes.READ_CAPACITY_10.build(), ALIVE, read=8)
        if outcome.status == 2:
            outcome = await self.execute(opcodes.READ_CAPACITY_10.build(), ALIVE, read=8)
        if outcome.status or len(outcome.data) < 8:
            raise Inconclusive("the logical unit does not tell its capacity")
        self.blocks = int.from_bytes(outcome.data[:4], "big") + 1
        self.block_size = int.from_bytes(outcome.data[4:8], "big")
