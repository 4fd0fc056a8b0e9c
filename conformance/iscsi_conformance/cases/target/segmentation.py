"""How TCP cuts the stream means nothing: PDUs in pieces, and several in one piece (RFC 7143 sections 4.2.1, 4.2.2)."""

from __future__ import annotations

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.clock import passed
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.transfer import R2T_MODE, pattern, require_good
from iscsi_conformance.verdict import require
from iscsi_protocol import serial
from iscsi_protocol.pdu import R2T, DataIn, DataOut, ScsiCommand, ScsiResponse
from iscsi_protocol.scsi import opcodes

DISK = (Feature.SCSI_DISK,)
WRITABLE = (Feature.WRITABLE_LUN,)
BATCH = 8


def unsent(disk: Session, cdb: bytes, **fields: object) -> ScsiCommand:
    """A SCSI Command with the next numbers, not sent."""
    values = {"lun": disk.lun, "cdb": cdb.ljust(16, b"\0"), **disk.numbered(), **fields}
    return ScsiCommand(**values)


async def send_in_pieces(session: Session, data: bytes, size: int, pause: float = 0.0) -> None:
    """Hand the bytes over in pieces of this size, one send each, with room for other work between them."""
    for start in range(0, len(data), size):
        session.send(data[start : start + size])
        await passed(pause)


async def write_in_pieces(disk: Session, size: int, pause: float = 0.0) -> None:
    """A write of two blocks whose command and data arrive in pieces, read back afterwards in the same way."""
    data = pattern(2 * disk.block_size, f"pieces of {size}")
    cdb = opcodes.WRITE_10.build(lba=0, blocks=2)
    command = unsent(disk, cdb, write=True, expected_data_transfer_length=len(data))
    await send_in_pieces(disk, disk.packed(command), size, pause)
    r2t = await disk.answer(R2T, command.itt, "R7143-4.2.1-01")
    wanted = data[: r2t.desired_data_transfer_length]
    half = len(wanted) // 2 & ~3
    stream = b"".join(
        disk.packed(
            DataOut(
                final=stop == len(wanted),
                lun=r2t.lun,
                itt=command.itt,
                ttt=r2t.ttt,
                exp_stat_sn=disk.raw.exp_stat_sn,
                data_sn=number,
                buffer_offset=start,
                data=wanted[start:stop],
            )
        )
        for number, (start, stop) in enumerate(((0, half), (half, len(wanted))))
    )
    await send_in_pieces(disk, stream, size, pause)
    outcome = await disk.result(command, "R7143-4.2.1-01", write_data=data)
    require_good(outcome, "R7143-4.2.1-01", "the write")
    again = unsent(disk, opcodes.READ_10.build(lba=0, blocks=2), read=True, expected_data_transfer_length=len(data))
    await send_in_pieces(disk, disk.packed(again), size, pause)
    outcome = await disk.result(again, "R7143-4.2.1-01")
    require(outcome.data == data, "R7143-4.2.1-01", "the data comes back unchanged")


@case(
    "tcp.byte-by-byte",
    clauses={"R7143-4.2.1-01": "tcp.gives-up"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
    time_limit=60.0,
)
async def byte_by_byte(peer: Peer) -> None:
    """Commands and data that arrive one byte at a time are carried out like others."""
    await write_in_pieces(await peer.disk(R2T_MODE), 1)


@case(
    "tcp.cut-across-pdus",
    clauses={"R7143-4.2.1-01": "tcp.gives-up"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def cut_across_pdus(peer: Peer) -> None:
    """Pieces that begin in one PDU and end in another, within headers and within data, are put together again."""
    disk = await peer.disk(R2T_MODE)
    for size in (47, 49, 100, 511, 613):
        await write_in_pieces(disk, size)


@case(
    "tcp.slow-sender",
    clauses={"R7143-4.2.1-01": "tcp.gives-up"},
    needs=WRITABLE,
    destructive=True,
    role=TARGET,
)
async def slow_sender(peer: Peer) -> None:
    """A pause within headers and within data ends nothing."""
    await write_in_pieces(await peer.disk(R2T_MODE), 401, pause=0.2)


@case("tcp.several-in-one-piece", clauses={"R7143-4.2.2.1-18": "tcp.first-only"}, needs=DISK, role=TARGET)
async def several_in_one_piece(disk: Session) -> None:
    """Commands that arrive in one piece are all acknowledged and answered."""
    room = serial.diff(disk.raw.max_cmd_sn, disk.raw.cmd_sn) + 1
    commands = [unsent(disk, opcodes.TEST_UNIT_READY.build()) for _ in range(min(BATCH, room))]
    disk.send(b"".join(disk.packed(command) for command in commands))
    for command in commands:
        outcome = await disk.result(command, "R7143-4.2.2.1-18")
        covered = serial.gt(outcome.ending.exp_cmd_sn, command.cmd_sn)
        require(covered, "R7143-4.2.2.1-18", f"CmdSN {command.cmd_sn} is acknowledged", seen=outcome.ending.exp_cmd_sn)


@case("tcp.answers-in-a-row", clauses={"R7143-4.2.2.2-05": "tcp.status-number-again"}, needs=DISK, role=TARGET)
async def answers_in_a_row(disk: Session) -> None:
    """Reads that arrive in one piece are answered with one StatSN after the other, whatever their order is."""
    room = serial.diff(disk.raw.max_cmd_sn, disk.raw.cmd_sn) + 1
    length = disk.block_size
    due = disk.raw.exp_stat_sn
    commands = [
        unsent(disk, opcodes.READ_10.build(lba=lba, blocks=1), read=True, expected_data_transfer_length=length)
        for lba in range(min(BATCH, room))
    ]
    disk.send(b"".join(disk.packed(command) for command in commands))
    waiting = {command.itt for command in commands}
    while waiting:
        pdu = (await disk.receive("R7143-4.2.2.2-05", "the status of a read")).pdu
        if isinstance(pdu, ScsiResponse) or (isinstance(pdu, DataIn) and pdu.status_present):
            require(pdu.stat_sn == due, "R7143-4.2.2.2-05", f"StatSN {due}", seen=pdu.stat_sn)
            due = serial.add(due)
            waiting.discard(pdu.itt)
