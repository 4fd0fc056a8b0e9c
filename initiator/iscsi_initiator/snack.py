"""What is asked for again at recovery level 1 and above (RFC 7143 7.8, 7.9, 11.16): responses by StatSN, Data-In and R2Ts by
their task.

A response that shows that others are missing is used at once, but ExpStatSN waits for them, and for the data of the command
that a response ends. What was asked for may come twice; what was not is judged as at level 0.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import TYPE_CHECKING

from iscsi_initiator.holes import Holes, Run, within
from iscsi_initiator.link import Link
from iscsi_initiator.tasks import ScsiTask, Trouble, Violation
from iscsi_protocol.eventlog.dump import words
from iscsi_protocol.pdu import NO_LUN, NO_TAG, DataIn, RawPdu, Reject, SnackRequest
from iscsi_protocol.pdu.codes import Flag, Opcode, SnackType
from iscsi_protocol.pdu.layout import unpacker
from iscsi_protocol.pdu.transfer import R2T

if TYPE_CHECKING:
    from iscsi_initiator.connection import Connection

ASKINGS = 3
"""How many times the same is asked for."""

REMEMBERED = 256
"""Runs of StatSNs that were asked for, of which a second copy is not held against the target."""

_STATUS = int(Flag.STATUS)
_data_in = unpacker(DataIn, "data_sn", "buffer_offset")
_data_sn = unpacker(DataIn, "data_sn")
_r2t_sn = unpacker(R2T, "r2t_sn")
_snack = unpacker(SnackRequest, "@1", "itt", "ttt", "beg_run", "run_length")


class Kind(Enum):
    """What a SNACK asks for."""

    STATUS = SnackType.STATUS
    DATA = SnackType.DATA_OR_R2T
    ALL_DATA = SnackType.R_DATA


class _Asked:
    """One SNACK under way. shown: the StatSN that showed that something is missing."""

    __slots__ = ("due", "kind", "run", "shown", "task", "times")

    def __init__(self, kind: Kind, task: ScsiTask | None, run: Run, shown: int) -> None:
        self.kind = kind
        self.task = task
        self.run = run
        self.shown = shown
        self.times = 0
        self.due = 0.0


class Snacks:
    """The SNACKs of one link."""

    def __init__(self, connection: Connection, link: Link) -> None:
        self._connection = connection
        self._link = link
        self._under_way: list[_Asked] = []
        self._asked: deque[Run] = deque(maxlen=REMEMBERED)
        self._tag = 0

    # Responses.

    def take_stat_sn(self, stat_sn: int, *, consumes: bool, now: float) -> bool:
        """Whether a PDU with this StatSN, which is not simply the next, is to be used. Raises Violation (42)."""
        link = self._link
        holes = link.holes or Holes(link.exp_stat_sn)
        if holes.ahead(stat_sn):
            if stat_sn != holes.top:
                link.holes = holes
                self._ask_status(holes.reveal(stat_sn), stat_sn, now)
            if consumes:
                self._count(holes, stat_sn)
            return True
        if consumes and holes.missing(stat_sn):
            self._count(holes, stat_sn)
            return True
        if consumes and any(within(stat_sn, run) for run in self._asked):
            return False
        raise Violation(42, words(link.exp_stat_sn, stat_sn), f"StatSN {stat_sn}, expected {link.exp_stat_sn}")

    def damaged(self, raw: RawPdu, opcode: int, now: float) -> None:
        """Ask for a PDU whose data digest is wrong, where it can be had again."""
        itt = raw.initiator_task_tag
        task = self._connection.task_of(itt)
        with_status = opcode != Opcode.SCSI_DATA_IN or bool(raw.bhs[1] & _STATUS)
        if not with_status:
            if isinstance(task, ScsiTask):
                self._data_lost(task, _data_in(raw.bhs, 0)[0], now)
            return
        if opcode == Opcode.NOP_IN and itt == NO_TAG:
            return
        stat_sn = int.from_bytes(raw.bhs[24:28], "big")
        link = self._link
        holes = link.holes or Holes(link.exp_stat_sn)
        if holes.ahead(stat_sn):
            link.holes = holes
            run = holes.reveal((stat_sn + 1) & 0xFFFFFFFF)
        elif holes.missing(stat_sn):
            run = (stat_sn, 1)
            if self._ask_once_more(None, stat_sn, now):
                return
        else:
            return
        if opcode == Opcode.SCSI_DATA_IN and isinstance(task, ScsiTask) and task.trouble and task.trouble.resized:
            # Only an R-Data SNACK has data that was cut for another length (11.16.3).
            self._ask_all_data(task, now)
            task.troubled.status = (None, stat_sn)
            run = (run[0], run[1] - 1)
        if run[1]:
            self._ask_status(run, stat_sn, now)

    def _count(self, holes: Holes, stat_sn: int) -> None:
        holes.take(stat_sn)
        self._settle(holes)

    def _settle(self, holes: Holes) -> None:
        link = self._link
        link.exp_stat_sn = holes.first
        link.holes = None if holes.closed else holes

    def _ask_status(self, run: Run, shown: int, now: float) -> None:
        self._asked.append(run)
        self._ask(_Asked(Kind.STATUS, None, run, shown), now)

    def _withhold(self, stat_sn: int) -> None:
        holes = self._link.holes or Holes(self._link.exp_stat_sn)
        holes.withhold(stat_sn)
        self._settle(holes)

    def release(self, task: ScsiTask) -> None:
        """A task is over: the response that it kept back counts."""
        trouble = task.trouble
        if trouble is None or trouble.status is None:
            return
        stat_sn = trouble.status[1]
        trouble.status = None
        holes = self._link.holes
        if holes is not None:
            self._count(holes, stat_sn)

    # Data and R2Ts.

    def take_data(self, task: ScsiTask, raw: RawPdu, now: float, *, lenient: bool) -> None:
        """A Data-In that is not simply the next of its task. Raises Violation (26), DataMissing."""
        number, offset = _data_in(raw.bhs, 0)
        trouble = task.troubled
        if number == task.next_sn and trouble.lost_nothing:
            task.take_data(raw, offset, lenient=lenient)
            return
        if raw.bhs[1] & _STATUS and task.ending is None:
            # No SNACK for data may acknowledge the status behind it (11.16).
            self._withhold(int.from_bytes(raw.bhs[24:28], "big"))
        if trouble.anew and number != task.next_sn:
            return  # sent before the target heard of the R-Data SNACK
        trouble.anew = False
        if trouble.rebased and task.bidirectional:
            task.next_sn, trouble.rebased = number, False
        end = offset + len(raw.data)
        fault = task.beyond(end)
        if not self._is_news(task, trouble, number, now):
            if self._was_asked(trouble, number):
                return
            fault = fault or f"Data-In {number} again"
        if fault:
            if not lenient:
                raise Violation(26, bytes(raw.bhs), fault)
            return
        if len(raw.data):
            task.read_into[offset:end] = raw.data
        task.next_offset = max(task.next_offset, end)
        task.sequence = 0
        self._arrived(task, trouble, number, len(raw.data))

    def take_r2t(self, task: ScsiTask, raw: RawPdu, now: float, *, lenient: bool) -> None:
        """An R2T that is not simply the next of its task. Raises Violation (28)."""
        (number,) = _r2t_sn(raw.bhs, 0)
        trouble = task.troubled
        if trouble.rebased:
            task.next_sn, trouble.rebased = number, False
        if number == task.next_sn and trouble.holes is None:
            task.take_r2t(raw, lenient=lenient)
            return
        if not len(task.write_from):
            task.take_r2t(raw, lenient=lenient)
        if not self._is_news(task, trouble, number, now):
            if self._was_asked(trouble, number):
                return
            if not lenient:
                raise Violation(28, bytes(raw.bhs), f"R2TSN {number} again")
        task.take_r2t(raw, lenient=lenient, again=True)
        self._arrived(task, trouble, number, 0)

    def _is_news(self, task: ScsiTask, trouble: Trouble, number: int, now: float) -> bool:
        """Whether a number did not come before; those that are missing before it are asked for."""
        holes = trouble.holes or Holes(task.next_sn)
        if not holes.ahead(number):
            return holes.missing(number)
        trouble.holes = holes
        if number != holes.top:
            self._ask_data(task, holes.reveal(number), now)
        return True

    @staticmethod
    def _was_asked(trouble: Trouble, number: int) -> bool:
        return any(within(number, run) for run in trouble.asked)

    def _arrived(self, task: ScsiTask, trouble: Trouble, number: int, size: int) -> None:
        holes = trouble.holes
        if holes is None:
            return
        sizes = holes.take(number, size)
        task.next_sn = holes.first
        task.received += sum(sizes)
        if holes.closed:
            trouble.holes = None

    def _data_lost(self, task: ScsiTask, number: int, now: float) -> None:
        """A Data-In came damaged."""
        trouble = task.troubled
        holes = trouble.holes or Holes(task.next_sn)
        if trouble.anew and number != task.next_sn:
            return
        if holes.ahead(number):
            trouble.holes = holes
            self._ask_data(task, holes.reveal(number + 1), now)
        elif holes.missing(number) and not self._ask_once_more(task, number, now):
            self._ask_data(task, (number, 1), now)

    def _ask_data(self, task: ScsiTask, run: Run, now: float) -> None:
        trouble = task.troubled
        if trouble.resized and len(task.read_into):
            self._ask_all_data(task, now)
            return
        trouble.asked.append(run)
        self._ask(_Asked(Kind.DATA, task, run, 0), now)

    def _ask_all_data(self, task: ScsiTask, now: float) -> None:
        """R-Data SNACK: everything that is not acknowledged, cut for the length that holds now (11.16.3)."""
        kept, asked = task.troubled.status, task.troubled.asked
        task.go_back()
        trouble = task.troubled
        self._tag = self._tag % 0xFFFFFFFE + 1
        trouble.tag, trouble.anew, trouble.asked = self._tag, True, asked
        if kept is not None:
            self._supersede(task, kept[1])
        self._under_way = [each for each in self._under_way if each.task is not task]
        self._ask(_Asked(Kind.ALL_DATA, task, (0, 0), 0), now)

    # The end of a command.

    def complete(self, task: ScsiTask, raw: RawPdu, due: int | None, now: float) -> bool:
        """Whether the data before a response is all there; else the response waits for it, unacknowledged.

        due: the number of Data-In PDUs that the response tells of, None where it tells none.
        """
        stat_sn = int.from_bytes(raw.bhs[24:28], "big")
        trouble = task.trouble
        if trouble is not None and trouble.tag:
            tag = int.from_bytes(raw.bhs[20:24], "big")
            if raw.bhs[0] & 0x3F != Opcode.SCSI_RESPONSE or tag != trouble.tag:
                self._supersede(task, stat_sn)
                return False
            trouble.status = None
        shown = (trouble.holes if trouble else None) or Holes(task.next_sn)
        lacking = due is not None and due != shown.top and shown.ahead(due)
        # R2Ts that are missing of a write, which its response ends, were not needed.
        if not len(task.read_into) or (not lacking and shown.closed and not (trouble and trouble.anew)):
            holes = self._link.holes
            if holes is not None and holes.withheld(stat_sn):
                self._count(holes, stat_sn)
            return True
        self._withhold(stat_sn)
        trouble = task.troubled
        trouble.status = (raw.kept(), stat_sn)
        if lacking and due is not None:
            trouble.holes = shown
            self._ask_data(task, shown.reveal(due), now)
        return False

    def _supersede(self, task: ScsiTask, stat_sn: int) -> None:
        """A response from before an R-Data SNACK: one with the SNACK's tag comes in its place, with the same StatSN."""
        holes = self._link.holes or Holes(self._link.exp_stat_sn)
        holes.reopen(stat_sn)
        self._settle(holes)
        self._asked.append((stat_sn, 1))
        task.troubled.status = (None, stat_sn)

    def kept_response(self, task: ScsiTask) -> RawPdu | None:
        """The response that waited for the data of a task, if that is all there by now."""
        trouble = task.trouble
        if trouble is None or trouble.status is None or trouble.holes is not None or trouble.anew:
            return None
        return trouble.status[0]

    # DataACK.

    def acknowledgement_wanted(self, task: ScsiTask, raw: RawPdu) -> None:
        """A Data-In with the A bit: acknowledge the data up to it, as soon as there are no holes before it (11.7.2)."""
        (number,) = _data_sn(raw.bhs, 0)
        tag = int.from_bytes(raw.bhs[20:24], "big")
        if tag != NO_TAG:  # without a tag of the target there is nothing that a DataACK could name (11.16.5)
            trouble = task.troubled
            if trouble.acknowledgement is None or number > trouble.acknowledgement[2]:
                trouble.acknowledgement = (bytes(raw.bhs[8:16]), tag, number)
        self.acknowledge(task)

    def acknowledge(self, task: ScsiTask) -> None:
        """Send the DataACK that is due, unless there are holes."""
        trouble = task.trouble
        if trouble is None or trouble.acknowledgement is None or trouble.holes is not None or trouble.anew:
            return
        lun, tag, _ = trouble.acknowledgement
        trouble.acknowledgement = None
        task.acknowledge()
        self._send(SnackType.DATA_ACK, NO_TAG, tag, (task.next_sn, 0), lun)

    # Asking.

    def _ask_once_more(self, task: ScsiTask | None, number: int, now: float) -> bool:
        """What was asked for came damaged: ask again at once, unless that was done often enough. Whether it was asked for."""
        for asked in self._under_way:
            left = self._left(asked) if asked.task is task and asked.kind is not Kind.ALL_DATA else None
            if left is not None and within(number, asked.run):
                if asked.times < ASKINGS:
                    asked.run = left
                    self._ask(asked, now)
                return True
        return False

    def _ask(self, asked: _Asked, now: float) -> None:
        asked.times += 1
        asked.due = now + self._connection.session.settings.snack_timeout
        if asked.times == 1:
            self._under_way.append(asked)
        task = asked.task
        tag = NO_TAG
        if asked.kind is Kind.ALL_DATA and task is not None:
            tag = task.troubled.tag
        self._send(asked.kind.value, NO_TAG if task is None else task.itt, tag, asked.run)
        self._arm()

    def _send(self, kind: int, itt: int, tag: int, run: Run, lun: bytes = NO_LUN) -> None:
        link = self._link
        link.send_pdu(
            SnackRequest(
                snack_type=kind,
                lun=lun,
                itt=itt,
                ttt=tag,
                exp_stat_sn=link.exp_stat_sn,
                beg_run=run[0],
                run_length=run[1],
            )
        )

    def _arm(self) -> None:
        timers = self._connection.timers
        if self._under_way:
            timers["snack"] = min(asked.due for asked in self._under_way)
        else:
            timers.pop("snack", None)

    def _left(self, asked: _Asked) -> Run | None:
        """What has not come of what was asked for."""
        task = asked.task
        if task is None:
            holes = self._link.holes
            return holes.left(asked.run) if holes is not None else None
        if not self._connection.runs(task) or task.trouble is None:
            return None
        if asked.kind is Kind.ALL_DATA:
            return (0, 0) if task.trouble.anew else None
        return task.trouble.holes.left(asked.run) if task.trouble.holes is not None else None

    def handle_timer(self, now: float) -> None:
        """Ask again, or give up, what has not come in time."""
        for asked in list(self._under_way):
            if asked.due > now or asked not in self._under_way:
                continue
            left = self._left(asked)
            if left is None:
                self._under_way.remove(asked)
            elif asked.times < ASKINGS and asked.kind is not Kind.ALL_DATA:
                asked.run = left
                self._ask(asked, now)
            else:
                self._under_way.remove(asked)
                self._failed(asked, left, now)
                if not self._link.up:
                    return
        self._arm()

    def _failed(self, asked: _Asked, left: Run, now: float) -> None:
        connection = self._connection
        if asked.task is not None:
            connection.data_missing(asked.task, now)
            return
        text = f"StatSN {left[0]} did not come again"
        if connection.session.log(42, words(left[0], asked.shown), now, text):
            connection.fail(now, text)

    def rejected(self, reject: Reject, now: float) -> None:
        """The target rejected a SNACK."""
        kind, itt, _, begin, _ = _snack(reject.data, 0)
        kind &= 0x0F
        for asked in self._under_way:
            same = asked.kind.value == kind and (asked.task is None or asked.task.itt == itt)
            if same and (asked.kind is Kind.ALL_DATA or asked.run[0] == begin):
                self._under_way.remove(asked)
                left = self._left(asked)
                if left is not None:
                    self._failed(asked, left, now)
                break
        if self._link.up:
            self._arm()
