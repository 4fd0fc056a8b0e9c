"""The options of the fixed newstyle handshake: how each is answered (proto.md, Option haggling)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from iscsi_initiator.nbd.export import Export
from iscsi_initiator.nbd.wire import MAX_STRING, OPTION_REPLY, OPTION_REPLY_MAGIC, Option, Reply

_INFO_FIXED = 6


@dataclass(slots=True)
class Haggling:
    """What was agreed so far. chosen: the export that the client goes on with; over: it wants no more."""

    exports: Mapping[str, Export]
    structured: bool = False
    chosen: Export | None = None
    over: bool = False
    replies: list[bytes] = field(default_factory=list)

    def take(self, option: int, data: bytes) -> None:
        """Answer an option. EXPORT_NAME, which has no answer of this form, is not for here."""
        handler = _HANDLERS.get(option)
        if handler is None:
            self._reply(option, Reply.ERR_UNSUP, b"not supported")
        else:
            handler(self, option, data)

    def too_big(self, option: int) -> None:
        """Answer an option whose data was not read for its length."""
        self._reply(option, Reply.ERR_TOO_BIG, b"too long")

    def _reply(self, option: int, reply: Reply, data: bytes = b"") -> None:
        self.replies.append(OPTION_REPLY.pack(OPTION_REPLY_MAGIC, option, reply, len(data)) + data)

    def abort(self, option: int, _data: bytes) -> None:
        """ABORT: the client goes."""
        self._reply(option, Reply.ACK)
        self.over = True

    def list(self, option: int, data: bytes) -> None:
        """LIST: the names of the exports."""
        if data:
            self._reply(option, Reply.ERR_INVALID, b"no data belongs to this option")
            return
        for export in dict.fromkeys(self.exports.values()):
            name = export.name.encode()
            self._reply(option, Reply.SERVER, len(name).to_bytes(4, "big") + name)
        self._reply(option, Reply.ACK)

    def structured_reply(self, option: int, data: bytes) -> None:
        """STRUCTURED_REPLY: reads are answered in that form from now on."""
        if data:
            self._reply(option, Reply.ERR_INVALID, b"no data belongs to this option")
            return
        self.structured = True
        self._reply(option, Reply.ACK)

    def meta_context(self, option: int, data: bytes) -> None:
        """LIST_ and SET_META_CONTEXT. There is no context that anybody could ask for: an answer without any says so."""
        length = int.from_bytes(data[:4], "big")
        if not self.structured or len(data) < 8 + length:
            self._reply(option, Reply.ERR_INVALID, b"a name, queries, and structured replies before it")
        elif data[4 : 4 + length].decode("utf-8", "replace") not in self.exports:
            self._reply(option, Reply.ERR_UNKNOWN, b"no such export")
        else:
            self._reply(option, Reply.ACK)

    def info_or_go(self, option: int, data: bytes) -> None:
        """INFO, and GO: what an export is; after GO requests come."""
        length = int.from_bytes(data[:4], "big")
        count = int.from_bytes(data[4 + length : _INFO_FIXED + length], "big")
        if len(data) != _INFO_FIXED + length + 2 * count or length > MAX_STRING:
            self._reply(option, Reply.ERR_INVALID, b"a name, and information types, whose numbers fit")
            return
        export = self.exports.get(data[4 : 4 + length].decode("utf-8", "replace"))
        if export is None:
            self._reply(option, Reply.ERR_UNKNOWN, b"no such export")
            return
        types = data[_INFO_FIXED + length :]
        wanted = frozenset(int.from_bytes(types[at : at + 2], "big") for at in range(0, len(types), 2))
        for info in export.infos(wanted):
            self._reply(option, Reply.INFO, info)
        self._reply(option, Reply.ACK)
        if option == Option.GO:
            self.chosen = export


_HANDLERS: Mapping[int, Callable[[Haggling, int, bytes], None]] = {
    Option.ABORT: Haggling.abort,
    Option.LIST: Haggling.list,
    Option.INFO: Haggling.info_or_go,
    Option.GO: Haggling.info_or_go,
    Option.STRUCTURED_REPLY: Haggling.structured_reply,
    Option.LIST_META_CONTEXT: Haggling.meta_context,
    Option.SET_META_CONTEXT: Haggling.meta_context,
}
