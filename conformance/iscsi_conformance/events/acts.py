"""What initiators are asked for in event cases."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from iscsi_conformance.events.play import READY, Act, Play
from iscsi_conformance.stimulus import request
from iscsi_protocol.fault import Fault, Flip, Part
from iscsi_protocol.pdu import Opcode
from iscsi_protocol.pdu.codes import TaskFunction
from iscsi_protocol.scsi.opcodes import READ_10, WRITE_10

BLOCK = 512


async def test(play: Play) -> object:
    """A command without data."""
    return await play.ask(play.session.command(READY))


async def read(play: Play, blocks: int = 8) -> object:
    """Read some blocks in one command."""
    cdb = READ_10.build(lba=0, blocks=blocks)
    return await play.ask(play.session.command(cdb, data_in=blocks * BLOCK))


async def read_in_pieces(play: Play) -> object:
    """Read more in one command than fits a PDU."""
    return await read(play, blocks=256)


async def test_twice(play: Play) -> object:
    """Two commands without data at once."""
    await play.ask(asyncio.gather(*(play.session.execute(READY) for _ in range(2))))
    return play.error


async def write(play: Play, blocks: int = 256) -> object:
    """Write more in one command than goes out unasked."""
    cdb = WRITE_10.build(lba=0, blocks=blocks)
    return await play.ask(play.session.command(cdb, data_out=bytes(blocks * BLOCK)))


async def ping(play: Play) -> object:
    """A NOP-Out that wants an answer."""
    return await play.ask(play.session.ping(b"are you there"))


async def ping_often(play: Play) -> object:
    """Several pings, one behind the other."""
    for _ in range(8):
        await ping(play)
    return play.error


async def negotiate(play: Play) -> object:
    """A renegotiation in full feature phase."""
    return await play.ask(play.session.negotiate(("MaxRecvDataSegmentLength", "32768")))


async def reset_unit(play: Play) -> object:
    """LOGICAL UNIT RESET."""
    return await play.ask(play.session.task_management(TaskFunction.LOGICAL_UNIT_RESET))


async def log_out(play: Play) -> object:
    """Log out of the session."""
    return await play.ask(play.session.logout())


async def send_targets(play: Play) -> object:
    """SendTargets within the session."""
    return await play.ask(play.session.send_targets(""))


async def managed(play: Play, cdb: bytes, length: int) -> object:
    """A SCSI command of the management interface."""
    return await play.ask(play.session.execute(cdb, data_in=length, management=True))


async def check_condition(play: Play) -> object:
    """A command that no device has: it ends with sense data."""
    return await play.ask(play.session.execute(b"\xff" + bytes(15)))


async def tell(play: Play) -> None:
    """Have the target report a SCSI event."""
    play.stage.operator.report_scsi_event(bytes.fromhex("7000060000000a00000000290000000000") + b"\0")


async def be_told(play: Play) -> None:
    """The same, awaited by nobody."""
    await tell(play)


def rejected() -> tuple[Fault, ...]:
    """What makes the target reject a Text Request: the request arrives with a wrong data digest, or none of its own tag."""
    return (request(Opcode.TEXT_REQUEST, Flip(Part.BHS, 20)),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One kind of PDU that a target sends. act: what brings it about, with these faults; leaves: the session closes then."""

    opcode: int
    act: Act
    spoils: tuple[Fault, ...] = ()
    leaves: bool = False


ANSWERS: Mapping[str, Answer] = MappingProxyType(
    {
        "scsi-response": Answer(opcode=Opcode.SCSI_RESPONSE, act=test),
        "data-in": Answer(opcode=Opcode.SCSI_DATA_IN, act=read),
        "r2t": Answer(opcode=Opcode.R2T, act=write),
        "task-management-response": Answer(opcode=Opcode.TASK_MANAGEMENT_RESPONSE, act=reset_unit),
        "text-response": Answer(opcode=Opcode.TEXT_RESPONSE, act=negotiate),
        "logout-response": Answer(opcode=Opcode.LOGOUT_RESPONSE, act=log_out, leaves=True),
        "nop-in": Answer(opcode=Opcode.NOP_IN, act=ping),
        "asynchronous-message": Answer(opcode=Opcode.ASYNC_MESSAGE, act=tell),
        "reject": Answer(opcode=Opcode.REJECT, act=negotiate, spoils=rejected()),
    }
)
"""Every kind of PDU that a target may send in full feature phase, and how it is brought about."""
