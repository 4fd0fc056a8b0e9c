"""What initiators are asked for in event cases."""

from __future__ import annotations

from iscsi_conformance.events.play import READY, Play
from iscsi_protocol.pdu.codes import TaskFunction

BLOCK = 512


async def test(play: Play) -> object:
    """A command without data."""
    return await play.ask(play.session.execute(READY))


async def read(play: Play, blocks: int = 8) -> object:
    """Read some blocks."""
    return await play.ask(play.session.read(0, blocks))


async def write(play: Play, blocks: int = 256) -> object:
    """Write more than goes out unasked."""
    return await play.ask(play.session.write(0, bytes(blocks * BLOCK)))


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
