"""Text Requests in full feature phase: SendTargets and renegotiation (RFC 7143 6.2, 6.4, 11.10, 11.11, Appendix C).

One exchange per connection at a time. Its values hold from its last response on, all of them or none (7.12).
"""

from __future__ import annotations

from collections.abc import Iterable

from iscsi_protocol.negotiation.engine import Negotiator
from iscsi_protocol.negotiation.errors import NegotiationError
from iscsi_protocol.pdu import (
    NO_LUN,
    NO_TAG,
    Opcode,
    RawPdu,
    RejectReason,
    Stage,
    TextRequest,
    TextResponse,
    packer,
    unpacker,
)
from iscsi_protocol.text import TextAssembler, TextError, TextTooLong, decode_pairs, encode_pairs, split_text
from iscsi_target import events
from iscsi_target.connection import Connection
from iscsi_target.core import Core
from iscsi_target.node import Node
from iscsi_target.session import Session
from iscsi_target.violation import PeerViolation, format_error, rejected

_FINAL = 0x80
_CONTINUE = 0x40
Pair = tuple[str, str]

_fields = unpacker(TextRequest, "@0", "@1", "lun", "itt", "ttt")
_response = packer(
    TextResponse, "@0", "@1", "@5", "@6", "@7", "lun", "itt", "ttt", "stat_sn", "exp_cmd_sn", "max_cmd_sn"
)


class TextExchange:
    """One sequence of Text Requests and Responses. replies: segments of an answer that took more than one response; ttt: of
    the last response, NO_TAG before it.
    """

    __slots__ = ("assembler", "immediate", "itt", "negotiator", "replies", "ttt")

    def __init__(self, itt: int, immediate: int, negotiator: Negotiator, limit: int) -> None:
        self.itt = itt
        self.immediate = immediate
        self.negotiator = negotiator
        self.assembler = TextAssembler(limit)
        self.replies: list[bytes] = []
        self.ttt = NO_TAG
        negotiator.begin()

    def abandon(self) -> None:
        """Forget it: nothing of it takes effect (7.12)."""
        self.negotiator.abandon()


def execute(core: Core, connection: Connection, session: Session, raw: RawPdu) -> None:
    """A Text Request whose turn it is. Raises PeerViolation."""
    byte0, flags, lun, itt, ttt = _fields(raw.bhs, 0)
    if flags & _FINAL and flags & _CONTINUE:
        raise format_error("a Text Request with F and C", "R7143-6.2-01")
    if itt == NO_TAG:
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.2.1.8-02", "a Text Request with the reserved task tag")
    if session.uses(itt, besides=connection):
        raise rejected(RejectReason.TASK_IN_PROGRESS, "R7143-11.2.1.8-01", f"task tag {itt:#x} is in use")
    exchange = _exchange_of(core, connection, lun, itt, ttt, byte0 & 0x40)
    try:
        pairs = _gather(exchange, raw, bool(flags & _CONTINUE))
        reply = b"" if pairs is None else encode_pairs(_answer(core, connection, session, exchange, pairs))
    except PeerViolation:
        # A Reject resets the negotiation (6.4, 7.12).
        exchange.abandon()
        connection.text = None
        raise
    if pairs is not None:
        exchange.replies = [part for part in split_text(reply, connection.max_send) if part]
    more = len(exchange.replies) > 1
    final = bool(flags & _FINAL) and not more
    if final:
        _finish(core, connection, exchange)
    if not byte0 & 0x40:
        session.reopen()
    _respond(core, connection, session, exchange, final=final, more=more)


def _exchange_of(core: Core, connection: Connection, lun: bytes, itt: int, ttt: int, immediate: int) -> TextExchange:
    """The exchange that goes on, or a new one, which resets what was under way (11.10.4)."""
    exchange = connection.text
    if ttt == NO_TAG:
        if exchange is not None:
            exchange.abandon()
        negotiator = connection.negotiator
        if negotiator is None:
            raise RuntimeError(f"connection {connection.number} never logged in")
        exchange = TextExchange(itt, immediate, negotiator, core.limits.text_bytes)
        connection.text = exchange
        return exchange
    if exchange is None or exchange.ttt != ttt or exchange.itt != itt:
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.11.4-05", f"no text exchange has the tag {ttt:#x}")
    if lun != NO_LUN:
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.11.4-03", "the LUN is not that of the Text Response")
    if immediate != exchange.immediate:
        exchange.abandon()
        connection.text = None
        raise rejected(RejectReason.PROTOCOL_ERROR, "R7143-11.10.3-02", "the I bit changes within the exchange")
    return exchange


def _gather(exchange: TextExchange, raw: RawPdu, more: bool) -> list[Pair] | None:
    """The pairs of the request once its C-bit chain is complete. Raises PeerViolation."""
    if exchange.replies and len(raw.data):
        raise rejected(
            RejectReason.PROTOCOL_ERROR, "R7143-6.2-02", "text where the rest of the answer is to be fetched"
        )
    if exchange.replies:
        return None
    try:
        whole = exchange.assembler.add(raw.data, more)
        return None if whole is None else decode_pairs(whole)
    except TextTooLong as error:
        raise rejected(RejectReason.LONG_OPERATION_REJECT, error.clause, str(error)) from error
    except TextError as error:
        raise rejected(RejectReason.PROTOCOL_ERROR, error.clause, str(error)) from error


def _answer(
    core: Core, connection: Connection, session: Session, exchange: TextExchange, pairs: list[Pair]
) -> list[Pair]:
    negotiator = exchange.negotiator
    try:
        answers = negotiator.receive(pairs, Stage.FULL_FEATURE)
        if core.policy.apply_partial_negotiation:
            _apply(core, connection, negotiator)
    except NegotiationError as error:
        raise rejected(RejectReason(error.reject_reason), error.clause, str(error)) from error
    asked = [value for key, value in pairs if key == "SendTargets"]
    if asked:
        answers += _send_targets(core, connection, session, asked[0])
    return answers


def _respond(
    core: Core, connection: Connection, session: Session, exchange: TextExchange, *, final: bool, more: bool
) -> None:
    """The next response: a part of a long answer (C), the end of the exchange (F), or neither."""
    data = exchange.replies.pop(0) if exchange.replies else b""
    flags = _FINAL if final else _CONTINUE if more else 0
    ttt = exchange.ttt = NO_TAG if final else core.new_tag()
    length = len(data)
    connection.send(
        _response(
            Opcode.TEXT_RESPONSE,
            flags,
            length >> 16,
            length >> 8 & 0xFF,
            length & 0xFF,
            NO_LUN,
            exchange.itt,
            ttt,
            connection.next_stat_sn(),
            session.exp_cmd_sn,
            session.max_cmd_sn,
        ),
        data,
    )


def _finish(core: Core, connection: Connection, exchange: TextExchange) -> None:
    connection.text = None
    try:
        _apply(core, connection, exchange.negotiator)
    except NegotiationError as error:
        exchange.abandon()
        raise rejected(RejectReason(error.reject_reason), error.clause, str(error)) from error


def _apply(core: Core, connection: Connection, negotiator: Negotiator) -> None:
    before = connection.max_send
    values = tuple((key, value) for key, texts in negotiator.declared.items() for value in texts)
    result = negotiator.commit()
    connection.max_send = result.max_recv_data_segment_length_initiator
    if values or connection.max_send != before:
        core.tell(events.Negotiated(connection=connection.number, values=values))


def _send_targets(core: Core, connection: Connection, session: Session, value: str) -> list[Pair]:
    """The records that SendTargets asks for (Appendix C); a value that the session type does not support is rejected."""
    own = session.key.target_name
    if session.discovery:
        if value == "All":
            return list(_records(core, connection, session, core.nodes.values()))
        wanted = value or own
    elif value in ("", own):
        wanted = own
    else:
        return [("SendTargets", "Reject")]
    if not wanted:
        return [("SendTargets", "Reject")]
    node = core.nodes.get(wanted)
    return list(_records(core, connection, session, [node] if node is not None else []))


def _records(core: Core, connection: Connection, session: Session, nodes: Iterable[Node]) -> Iterable[Pair]:
    """TargetName and every TargetAddress of each node that this initiator may use, with portal group tags (13.8)."""
    for node in nodes:
        if node.config.removed or not node.admits(session.key.initiator_name):
            continue
        addresses = [
            (f"{address}", tag)
            for tag, group in sorted(core.portal_addresses.items())
            if node.behind(tag)
            for address in group
        ]
        if not addresses and not node.behind(connection.portal_group_tag):
            continue
        yield "TargetName", node.name
        for address, tag in addresses:
            yield "TargetAddress", f"{address},{tag}"
