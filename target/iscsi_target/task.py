"""A SCSI task that outlives the PDU that began it: data still to come, or a device still at work (RFC 7143 4.2.2.1, 11.8).

Commands that finish at once never get one of these.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from iscsi_protocol.pdu import NO_TAG
from iscsi_target.completion import Completion
from iscsi_target.extents import Extents, holes

if TYPE_CHECKING:
    from iscsi_target.connection import Connection


class TaskState(Enum):
    """What a task waits for."""

    GATHERING = "data from the initiator"
    DRAINING = "data from the initiator, to be thrown away"
    EXECUTING = "the device"


class Burst:
    """One expected Data-Out sequence: the unsolicited one, or the answer to an R2T.

    offset, length: the range asked for, in bytes; received: bytes so far; data_sn: the next DataSN (11.7.5); r2t_sn: of the
    R2T. got: which bytes have come, at recovery level 1 and above.
    """

    __slots__ = ("data_sn", "got", "length", "offset", "r2t_sn", "received", "ttt")

    def __init__(self, ttt: int, offset: int, length: int, r2t_sn: int = 0) -> None:
        self.ttt = ttt
        self.r2t_sn = r2t_sn
        self.got: Extents = []
        self.offset = offset
        self.length = length
        self.received = 0
        self.data_sn = 0


class ScsiTask:
    """One task.

    connection: the one it is allegiant to (4.2.5.1). expected: Expected Data Transfer Length of the write part;
    read_expected: of the read part. wanted: bytes that the CDB takes; needed: bytes to be gathered, the lesser of the
    two. buffer: those bytes. failure: what it will end with, as soon as no more data is on its way. aborted: it ends
    without a response. at_work: a device is busy with it, even where it is over for its initiator. dormant: others in its
    task set come first (SAM-5 8); priority: 1 (highest) to 15, 0 for none.

    At recovery level 1 and above: missing: bytes that were lost, to be asked for again; fruitless: losses since the last
    byte that was new; void: tags of bursts that were given up, NO_TAG for the unsolicited one; heard: R2Ts that the
    initiator has had for certain, since data came for the last of them.
    """

    __slots__ = (
        "aborted",
        "at_work",
        "bidirectional",
        "buffer",
        "cdb",
        "cmd_sn",
        "connection",
        "dormant",
        "expected",
        "failure",
        "flags",
        "fruitless",
        "heard",
        "immediate",
        "itt",
        "lun",
        "missing",
        "needed",
        "next_offset",
        "priority",
        "r2t_sn",
        "r2ts",
        "read_expected",
        "reserved",
        "state",
        "touched",
        "unsolicited",
        "void",
        "wanted",
    )

    def __init__(
        self,
        *,
        connection: Connection,
        itt: int,
        lun: bytes,
        cdb: bytes,
        flags: int,
        cmd_sn: int,
        immediate: bool,
        expected: int,
        read_expected: int,
        wanted: int,
    ) -> None:
        self.connection = connection
        self.itt = itt
        self.lun = lun
        self.cdb = cdb
        self.flags = flags
        self.cmd_sn = cmd_sn
        self.immediate = immediate
        self.expected = expected
        self.read_expected = read_expected
        self.wanted = wanted
        self.needed = min(expected, wanted)
        self.bidirectional = flags & 0x60 == 0x60
        self.state = TaskState.GATHERING
        self.buffer = bytearray()
        self.reserved = 0
        self.next_offset = 0
        self.unsolicited: Burst | None = None
        self.r2ts: dict[int, Burst] = {}
        self.r2t_sn = 0
        self.failure: Completion | None = None
        self.aborted = False
        self.at_work = False
        self.dormant = False
        self.priority = 0
        self.touched = 0.0
        self.missing: Extents = []
        self.fruitless = 0
        self.void: set[int] = set()
        self.heard = 0

    @property
    def data_outstanding(self) -> bool:
        """Whether Data-Out PDUs up to one with the F bit are still to come."""
        return self.unsolicited is not None or bool(self.r2ts)

    def burst_of(self, ttt: int) -> Burst | None:
        """The burst under way with that Target Transfer Tag, the unsolicited one for NO_TAG."""
        return self.unsolicited if ttt == NO_TAG else self.r2ts.get(ttt)

    def interrupt(self) -> None:
        """Give up the bursts that are under way; what they lack is missing (7.8, 7.9, Appendix E.1)."""
        for burst in [self.unsolicited, *self.r2ts.values()]:
            if burst is not None:
                self.void.add(burst.ttt)
                self.burst_over(burst)

    def burst_over(self, burst: Burst) -> bool:
        """No more of a burst comes at recovery level 1 or above; whether anything of it is missing."""
        if burst.ttt == NO_TAG:
            self.unsolicited = None
            self.next_offset = burst.offset + burst.length
        else:
            self.r2ts.pop(burst.ttt, None)
            if self.connection.retained is not None:
                self.connection.retained.answered(self.itt, burst.r2t_sn)
        lost = holes(burst.got, burst.offset, min(burst.offset + burst.length, self.needed))
        self.missing = sorted([*self.missing, *lost])
        return bool(lost)
