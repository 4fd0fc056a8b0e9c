"""One read or write on its way: what came of its data, and how it ended."""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING

from iscsi_conformance.workload.model import BLOCK
from iscsi_protocol.pdu import R2T, DataIn, ScsiCommand

if TYPE_CHECKING:
    from iscsi_conformance.workload.link import Link


class Ending(Enum):
    """How a task ended."""

    GOOD = "good"
    REFUSED = "a status other than GOOD"
    ABORTED = "aborted, without a status"
    LOST = "lost with its session"


class Task:
    """A command and its data. generation: of a write, 0 for a read. link: the connection it belongs to now; None while it
    waits for another one. data_sns: DataSNs that came; due: how many Data-In PDUs there are in all, once that is known;
    r2t_sn: the next R2TSN; asked: what a SNACK was sent for and is still missing; aborting: an abort is on its way;
    stopped: a fast abort is to end it, and R2Ts stay unanswered meanwhile (4.2.3.4); held: StatSN of a status that came
    before all data did; rejected: the command was rejected once, and what data followed it has no task.
    """

    def __init__(self, command: ScsiCommand, lba: int, blocks: int, generation: int, data: bytes) -> None:
        self.command = command
        self.lba = lba
        self.blocks = blocks
        self.generation = generation
        self.data = data
        self.link: Link | None = None
        self.buffer = bytearray(0 if generation else blocks * BLOCK)
        self.data_sns: set[int] = set()
        self.due: int | None = None
        self.status: int | None = None
        self.sense = b""
        self.r2t_sn = 0
        self.asked: set[int] = set()
        self.aborting = False
        self.stopped = False
        self.rejected = False
        self.held: int | None = None
        self.spoilt = False
        self.ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    @property
    def itt(self) -> int:
        """The task tag."""
        return self.command.itt

    @property
    def contiguous(self) -> int:
        """The first DataSN that did not come."""
        sn = 0
        while sn in self.data_sns:
            sn += 1
        return sn

    @property
    def over(self) -> bool:
        """Whether it ended."""
        return self.ending.done()

    def overlaps(self, lba: int, blocks: int) -> bool:
        """Whether it is about any of these blocks."""
        return self.lba < lba + blocks and lba < self.lba + self.blocks

    def take(self, pdu: DataIn) -> None:
        """The data of a Data-In. Raises AssertionError for data beside what was asked for."""
        end = pdu.buffer_offset + len(pdu.data)
        if end > len(self.buffer):
            raise AssertionError(f"Data-In up to byte {end} of {len(self.buffer)}")
        self.buffer[pdu.buffer_offset : end] = pdu.data
        self.data_sns.add(pdu.data_sn)
        self.asked.discard(pdu.data_sn)

    def requested(self, r2t: R2T) -> bytes:
        """The bytes that an R2T asks for. Raises AssertionError where there are none such."""
        end = r2t.buffer_offset + r2t.desired_data_transfer_length
        if end > len(self.data):
            raise AssertionError(f"R2T up to byte {end} of {len(self.data)}")
        return self.data[r2t.buffer_offset : end]

    def finish(self, ending: Ending) -> None:
        """It is over."""
        if not self.ending.done():
            self.ending.set_result(ending)

    @property
    def whole(self) -> bool:
        """Whether all data came, as far as it is known how much there is."""
        return self.due is None or all(sn in self.data_sns for sn in range(self.due))
