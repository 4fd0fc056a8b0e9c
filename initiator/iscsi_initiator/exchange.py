"""Text exchanges in full feature phase (RFC 7143 6.4, 11.10, 11.11, Appendix C): SendTargets, and new parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_initiator.requests import Failure, TextNegotiation, TextResult
from iscsi_initiator.tasks import Task
from iscsi_protocol.negotiation.errors import NegotiationError
from iscsi_protocol.pdu import NO_LUN, NO_TAG, RawPdu, TextRequest, TextResponse, decode
from iscsi_protocol.pdu.codes import Stage
from iscsi_protocol.text import (
    PairError,
    TextAssembler,
    TextTooLong,
    decode_pairs,
    encode_pairs,
    split_text,
)

if TYPE_CHECKING:
    from iscsi_initiator.connection import Connection


class TextExchange:
    """The text exchange of one connection; there is one at a time (6.4).

    unanswered: task tag of a request that ran out of time. No other may be sent before the target has answered it (11.10).
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._assembler = TextAssembler()
        self._chunks: list[bytes] = []
        self._pairs: list[tuple[str, str]] = []
        self.task: Task | None = None
        self.unanswered: int | None = None

    @property
    def idle(self) -> bool:
        """Whether an exchange may begin: none is under way, and none was given up whose answer may still come (11.10)."""
        return self.task is None and self.unanswered is None

    def give_up(self, task: Task) -> None:
        """The answer did not come in time. Until it does come no other request may be sent."""
        self.unanswered = task.itt

    def heard(self, itt: int) -> None:
        """An answer came, or a Reject, that is for no task any more."""
        if itt == self.unanswered:
            self.unanswered = None

    def reset(self) -> None:
        """Forget all: the connection is gone."""
        self.unanswered = None
        self._forget()

    def _forget(self) -> None:
        self.task = None
        self._assembler.reset()
        self._chunks = []
        self._pairs = []

    def begin(self, task: Task, request: TextNegotiation) -> None:
        """Send the first request of an exchange."""
        self._forget()
        self.task = task
        pairs = list(request.pairs)
        if not request.send_targets:
            negotiator = self._connection.negotiator
            negotiator.begin()
            try:
                pairs = [negotiator.offer(key, value, Stage.FULL_FEATURE) for key, value in pairs]
            except ValueError:
                negotiator.abandon()
                self._fail(Failure.REJECTED)
                return
        self._ask(pairs, NO_TAG, NO_LUN)

    def answered(self, raw: RawPdu, task: Task) -> None:
        """Take a Text Response."""
        response = decode(raw)
        if not isinstance(response, TextResponse) or task is not self.task:
            return
        if self._chunks:
            self._send(self._chunks.pop(0), response.ttt, response.lun)
            return
        try:
            text = self._assembler.add(response.data, response.continued)
            pairs = None if text is None else decode_pairs(text)
            answers = None if pairs is None else self._take(pairs, final=response.final)
        except (TextTooLong, PairError, NegotiationError):
            self._connection.negotiator.abandon()
            self._fail(Failure.PROTOCOL_ERROR)
            return
        if pairs is not None:
            self._pairs += pairs
        if not response.final:
            self._ask(answers or [], response.ttt, response.lun)
            return
        self._finish(task)

    def over(self, task: Task) -> None:
        """A task ended: if it is that of the exchange, then by a time-out or a reject."""
        if task is self.task:
            self._connection.negotiator.abandon()
            self._forget()

    def _take(self, pairs: list[tuple[str, str]], *, final: bool) -> list[tuple[str, str]]:
        request = self.task.request if self.task else None
        if isinstance(request, TextNegotiation) and request.send_targets:
            return []
        return self._connection.negotiator.receive(pairs, Stage.FULL_FEATURE, last=final)

    def _finish(self, task: Task) -> None:
        connection, pairs = self._connection, tuple(self._pairs)
        request = task.request
        if isinstance(request, TextNegotiation) and not request.send_targets:
            try:
                connection.adopt(connection.negotiator.commit(Stage.FULL_FEATURE))
            except NegotiationError:
                connection.negotiator.abandon()
                self._fail(Failure.PROTOCOL_ERROR)
                return
        self._forget()
        connection.session.work.finish(task, result=TextResult(pairs))

    def _fail(self, failure: Failure) -> None:
        task = self.task
        self._forget()
        if task is not None:
            self._connection.session.work.finish(task, failure=failure)

    def _ask(self, pairs: list[tuple[str, str]], ttt: int, lun: bytes) -> None:
        link = self._connection.link
        self._chunks = split_text(encode_pairs(pairs), link.max_send if link else 512)
        self._send(self._chunks.pop(0), ttt, lun)

    def _send(self, data: bytes, ttt: int, lun: bytes) -> None:
        link, work, task = self._connection.link, self._connection.session.work, self.task
        if link is None or task is None:
            return
        if ttt != NO_TAG and not task.immediate:
            # Each numbered request of the exchange has a CmdSN of its own (11.10.3).
            task.cmd_sn = work.next_cmd_sn()
        more = bool(self._chunks)
        link.send_pdu(
            TextRequest(
                immediate=task.immediate,
                final=not more,
                continued=more,
                lun=lun,
                itt=task.itt,
                ttt=ttt,
                cmd_sn=task.cmd_sn if not task.immediate else work.cmd_sn,
                exp_stat_sn=link.exp_stat_sn,
                data=data,
            )
        )
