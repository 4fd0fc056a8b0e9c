"""What initiators are asked for in event cases."""

from __future__ import annotations

from iscsi_conformance.events.play import READY, Play
from iscsi_protocol.pdu.codes import TaskFunction
from iscsi_protocol.scsi.opcodes import READ_10, WRITE_10

BLOCK = 512


async def test(play: Play) -> object:
    """A command without data."""
    return await play.ask(play.session.execute(READY))


async def read(play: Play, blocks: int = 8) -> object:
    """Read some blocks in one command."""
    cdb = READ_10.build(lba=0, blocks=blocks)
    return await play.ask(play.session.execute(cdb, data_in=blocks * BLOCK))


async def write(play: Play, blocks: int = 256) -> object:
    """Write more in one command than goes out unasked."""
    cdb = WRITE_10.build(lba=0, blocks=blocks)
    return await play.ask(play.session.execute(cdb, data_out=bytes(blocks * BLOCK)))


async def ping(play: Play) -> object:
    """A NOP-Out that wants an answer."""
    return await play.ask(play.session.ping(b"are you there"))


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
