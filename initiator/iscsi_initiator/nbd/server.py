"""One connection of an NBD client, as its server sees it: from the greeting to the last answer.

Bytes are received in place: `buffer` is where the next ones go, and `received` tells how many did. What a client writes so
comes into a buffer of its own, and is not copied again. Answers are lists of buffers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from iscsi_initiator.nbd.export import Export
from iscsi_initiator.nbd.options import Haggling
from iscsi_initiator.nbd.wire import (
    CHUNK_DONE,
    CLIENT_FLAGS,
    ERROR_CHUNK,
    GREETING,
    MAX_PAYLOAD,
    NBD_MAGIC,
    OFFSET,
    OPTION,
    OPTION_MAGIC,
    REQUEST,
    REQUEST_MAGIC,
    SIMPLE_REPLY,
    SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY,
    STRUCTURED_REPLY_MAGIC,
    ChunkType,
    Command,
    Errno,
    HandshakeFlag,
    NbdRequest,
    Option,
)
from iscsi_protocol.pdu import Buffer

_STAGE: Final = 64 * 1024
MAX_WORDS = 1024
"""Bytes of an error in words."""
_NOTHING = memoryview(b"")
_OURS = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES


class NbdServer:
    """The protocol's state. exports: by the names that clients may use; to_send: what is to go out, in order; requests: what
    is to be done, each to be answered by `answer`; export: the one that was chosen; over: the connection is to be closed,
    once all that is to be sent was.
    """

    def __init__(self, exports: Mapping[str, Export]) -> None:
        self.export: Export | None = None
        self.over = False
        self.requests: deque[NbdRequest] = deque()
        self.to_send: list[Buffer] = [GREETING.pack(NBD_MAGIC, OPTION_MAGIC, _OURS)]
        self._haggling = Haggling(exports)
        self._no_zeroes = False
        self._stage = memoryview(bytearray(_STAGE))
        self._begin = self._end = 0
        self._payload: memoryview = _NOTHING
        self._filled = 0
        self._header: tuple[int, int, int, int, int] | None = None
        self._skip = 0
        self._writes = False
        self._step: Callable[[], bool] = self._client_flags

    @property
    def buffer(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        if self._header is not None:
            return self._payload[self._filled :]
        if self._begin == self._end:
            self._begin = self._end = 0
        elif self._end == _STAGE or self._begin > _STAGE // 2:
            left = bytes(self._stage[self._begin : self._end])
            self._stage[: len(left)] = left
            self._begin, self._end = 0, len(left)
        if self._writes and self._end - self._begin < REQUEST.size:
            # Who wrote will mostly write again: its data is not to come in here with the header.
            return self._stage[self._end : self._begin + REQUEST.size]
        return self._stage[self._end :]

    def received(self, length: int) -> None:
        """So many bytes were put into `buffer`."""
        if self._header is not None:
            self._filled += length
        else:
            self._end += length
        while not self.over and self._step():
            pass

    def _take(self, length: int) -> memoryview | None:
        """The next bytes of the stage, None where they are not there yet."""
        if self._end - self._begin < length:
            return None
        self._begin += length
        return self._stage[self._begin - length : self._begin]

    # The handshake.

    def _client_flags(self) -> bool:
        data = self._take(CLIENT_FLAGS.size)
        if data is None:
            return False
        (flags,) = CLIENT_FLAGS.unpack(data)
        self._no_zeroes = bool(flags & HandshakeFlag.NO_ZEROES)
        self.over = bool(flags & ~int(_OURS))
        self._step = self._option
        return True

    def _option(self) -> bool:
        if self._end - self._begin < OPTION.size:
            return False
        magic, option, length = OPTION.unpack_from(self._stage, self._begin)
        if magic != OPTION_MAGIC:
            self.over = True
            return False
        if length > _STAGE // 4:
            self._begin += OPTION.size
            self._skip = length
            self._haggling.too_big(option)
            self._step = self._skip_option
            self.over = length > MAX_PAYLOAD
            return True
        if self._end - self._begin < OPTION.size + length:
            return False
        self._begin += OPTION.size
        data = bytes(self._take(length) or b"")
        if option == Option.EXPORT_NAME:
            self._export_name(data)
        else:
            self._haggling.take(option, data)
            self._haggled()
        return True

    def _haggled(self) -> None:
        haggling = self._haggling
        self.to_send += haggling.replies
        haggling.replies.clear()
        self.over = haggling.over
        if haggling.chosen is not None:
            self.export = haggling.chosen
            self._step = self._request

    def _skip_option(self) -> bool:
        skipped = min(self._skip, self._end - self._begin)
        self._begin += skipped
        self._skip -= skipped
        if self._skip:
            return False
        self._haggled()
        self._step = self._option
        return True

    def _export_name(self, data: bytes) -> None:
        """The oldest way to choose: there is no answer for a name that is none but the end."""
        export = self._haggling.exports.get(data.decode("utf-8", "replace"))
        if export is None:
            self.over = True
            return
        self.export = export
        self.to_send.append(export.size.to_bytes(8, "big") + export.flags.to_bytes(2, "big"))
        if not self._no_zeroes:
            self.to_send.append(bytes(124))
        self._step = self._request

    # Transmission.

    def _request(self) -> bool:
        data = self._take(REQUEST.size)
        if data is None:
            return False
        magic, flags, command, cookie, offset, length = REQUEST.unpack(data)
        if magic != REQUEST_MAGIC or command == Command.DISC:
            self.over = True
            return False
        self._writes = command == Command.WRITE
        if not self._writes:
            self._add(command, flags, cookie, offset, length, _NOTHING)
            return True
        if length > MAX_PAYLOAD:
            # So much is not taken in only to be refused.
            self.over = True
            return False
        self._header = command, flags, cookie, offset, length
        self._payload = memoryview(bytearray(length))
        here = min(length, self._end - self._begin)
        self._payload[:here] = self._stage[self._begin : self._begin + here]
        self._begin += here
        self._filled = here
        self._step = self._payload_of_write
        return True

    def _payload_of_write(self) -> bool:
        if self._header is None or self._filled < len(self._payload):
            return False
        header, self._header = self._header, None
        payload, self._payload = self._payload, _NOTHING
        self._step = self._request
        self._add(*header, payload)
        return True

    def _add(self, command: int, flags: int, cookie: int, offset: int, length: int, data: memoryview) -> None:
        error = None if self.export is None else self.export.check(command, flags, offset, length)
        request = NbdRequest(command, flags, cookie, offset, length, data, error)
        if error is None:
            self.requests.append(request)
        else:
            self.to_send += self.answer(request, error=error, text="refused")

    def answer(
        self, request: NbdRequest, data: Buffer = b"", *, error: Errno | None = None, text: str = ""
    ) -> list[Buffer]:
        """The answer to a request: the data of a read, or an error, with words for it where the client takes them."""
        if request.command != Command.READ or not self._haggling.structured:
            head = SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, error or 0, request.cookie)
            return [head, data] if len(data) else [head]
        if error is not None:
            words = text.encode()[:MAX_WORDS]
            body = ERROR_CHUNK.pack(error, len(words)) + words
            return [_chunk(ChunkType.ERROR, request.cookie, len(body)) + body]
        head = _chunk(ChunkType.OFFSET_DATA, request.cookie, OFFSET.size + len(data))
        return [head + OFFSET.pack(request.offset), data]


def _chunk(kind: ChunkType, cookie: int, length: int) -> bytes:
    return STRUCTURED_REPLY.pack(STRUCTURED_REPLY_MAGIC, CHUNK_DONE, kind, cookie, length)
