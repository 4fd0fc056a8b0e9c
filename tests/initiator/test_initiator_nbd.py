"""The server's end of NBD without a network: handshake, options, requests and answers, byte by byte."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator.nbd import Command, CommandFlag, Errno, Export, NbdServer
from iscsi_initiator.nbd.wire import (
    CLIENT_FLAGS,
    GREETING,
    MAX_PAYLOAD,
    NBD_MAGIC,
    OPTION,
    OPTION_MAGIC,
    OPTION_REPLY,
    OPTION_REPLY_MAGIC,
    REQUEST,
    REQUEST_MAGIC,
    SIMPLE_REPLY,
    STRUCTURED_REPLY,
    ExportFlag,
    Info,
    Option,
    Reply,
)

DISK = Export(name="disk", size=1 << 20, block_size=512, description="a disk", trim=True)
EXPORTS = {"disk": DISK, "": DISK, "ro": replace(DISK, name="ro", read_only=True, rotational=True, trim=False)}


class Client:
    """What a client sends, in pieces of any size, and what comes back."""

    def __init__(self, flags: int = 3, piece: int = 1 << 20) -> None:
        self.server = NbdServer(EXPORTS)
        self.piece = piece
        assert self.sent() == GREETING.pack(NBD_MAGIC, OPTION_MAGIC, 3)
        self.feed(CLIENT_FLAGS.pack(flags))

    def feed(self, data: bytes) -> bytes:
        while data and not self.server.over:
            buffer = self.server.buffer
            assert len(buffer)
            here = data[: min(len(buffer), self.piece)]
            buffer[: len(here)] = here
            self.server.received(len(here))
            data = data[len(here) :]
        return self.sent()

    def sent(self) -> bytes:
        data, self.server.to_send = b"".join(self.server.to_send), []
        return data

    def option(self, option: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        """The replies: type and data."""
        answer = self.feed(OPTION.pack(OPTION_MAGIC, option, len(data)) + data)
        replies = []
        while answer:
            magic, about, reply, length = OPTION_REPLY.unpack_from(answer)
            assert (magic, about) == (OPTION_REPLY_MAGIC, option)
            replies.append((reply, answer[OPTION_REPLY.size : OPTION_REPLY.size + length]))
            answer = answer[OPTION_REPLY.size + length :]
        return replies

    def go(self, name: str = "disk", *, structured: bool = True) -> None:
        if structured:
            assert self.option(Option.STRUCTURED_REPLY) == [(Reply.ACK, b"")]
        assert self.option(Option.GO, go(name))[-1] == (Reply.ACK, b"")

    def request(self, command, offset=0, length=0, *, flags=0, data=b"", cookie=7):
        self.feed(REQUEST.pack(REQUEST_MAGIC, flags, command, cookie, offset, length) + data)
        return self.server.requests.popleft() if self.server.requests else None


def go(name: str, *infos: int) -> bytes:
    return struct.pack(f">I{len(name)}sH{len(infos)}H", len(name), name.encode(), len(infos), *infos)


def simple(answer: bytes) -> tuple[int, int]:
    """Error and cookie."""
    _, error, cookie = SIMPLE_REPLY.unpack_from(answer)
    return error, cookie


@pytest.mark.parametrize("flags", [4, 7, 0x80000000])
def test_unknown_flags_end_the_connection(flags):
    assert Client(flags).server.over


def test_list():
    client = Client()
    listed = client.option(Option.LIST)
    assert listed == [(Reply.SERVER, b"\0\0\0\4disk"), (Reply.SERVER, b"\0\0\0\2ro"), (Reply.ACK, b"")]
    assert client.option(Option.LIST, b"x")[0][0] == Reply.ERR_INVALID


def test_info_tells_size_flags_and_blocks_and_go_begins():
    client = Client()
    replies = client.option(Option.INFO, go("disk", Info.NAME, Info.DESCRIPTION, 99))
    flags = (
        ExportFlag.HAS_FLAGS
        | ExportFlag.SEND_FLUSH
        | ExportFlag.SEND_FUA
        | ExportFlag.SEND_TRIM
        | ExportFlag.SEND_WRITE_ZEROES
        | ExportFlag.CAN_MULTI_CONN
    )
    assert replies == [
        (Reply.INFO, struct.pack(">HQH", Info.EXPORT, 1 << 20, flags)),
        (Reply.INFO, struct.pack(">HIII", Info.BLOCK_SIZE, 512, 4096, MAX_PAYLOAD)),
        (Reply.INFO, b"\0\1disk"),
        (Reply.INFO, b"\0\2a disk"),
        (Reply.ACK, b""),
    ]
    assert client.server.export is None
    client.go("ro")
    assert client.server.export is not None
    assert client.server.export.flags & ExportFlag.READ_ONLY
    assert client.server.export.flags & ExportFlag.ROTATIONAL
    assert not client.server.export.flags & (ExportFlag.SEND_TRIM | ExportFlag.SEND_WRITE_ZEROES)


@pytest.mark.parametrize(
    ("data", "reply"),
    [
        (go("other"), Reply.ERR_UNKNOWN),
        (go("disk") + b"x", Reply.ERR_INVALID),
        (b"", Reply.ERR_INVALID),
        (b"\xff\xff\xff\xff", Reply.ERR_INVALID),
        (go("x" * 5000), Reply.ERR_INVALID),
        (b"\0\0\0\2\xff\xfe\0\0", Reply.ERR_UNKNOWN),
    ],
)
def test_go_that_does_not_go(data, reply):
    client = Client()
    assert [each for each, _ in client.option(Option.GO, data)] == [reply]
    client.go()


def test_other_options():
    client = Client()
    assert client.option(Option.STARTTLS)[0][0] == Reply.ERR_UNSUP
    assert client.option(11)[0][0] == Reply.ERR_UNSUP
    context = b"\0\0\0\4disk\0\0\0\1\0\0\0\x0fbase:allocation"
    assert client.option(Option.SET_META_CONTEXT, context)[0][0] == Reply.ERR_INVALID
    assert client.option(Option.STRUCTURED_REPLY, b"x")[0][0] == Reply.ERR_INVALID
    assert client.option(Option.STRUCTURED_REPLY) == [(Reply.ACK, b"")]
    assert client.option(Option.SET_META_CONTEXT, context) == [(Reply.ACK, b"")]
    assert client.option(Option.LIST_META_CONTEXT, context.replace(b"disk", b"tape"))[0][0] == Reply.ERR_UNKNOWN
    assert client.option(Option.LIST_META_CONTEXT, b"\0\0\0\4di")[0][0] == Reply.ERR_INVALID


@pytest.mark.parametrize("piece", [1000, 1 << 20])
def test_an_option_that_is_too_long_is_skipped(piece):
    client = Client(piece=piece)
    assert [reply for reply, _ in client.option(Option.LIST, bytes(100_000))] == [Reply.ERR_TOO_BIG]
    client.go()


def test_an_option_that_is_far_too_long_ends_the_connection():
    client = Client()
    client.feed(OPTION.pack(OPTION_MAGIC, Option.LIST, MAX_PAYLOAD + 1))
    assert client.server.over


def test_abort_and_nonsense_end_the_connection():
    client = Client()
    assert client.option(Option.ABORT) == [(Reply.ACK, b"")]
    assert client.server.over
    client = Client()
    client.feed(OPTION.pack(1, Option.LIST, 0))
    assert client.server.over
    client = Client()
    client.go()
    client.feed(REQUEST.pack(1, 0, 0, 0, 0, 0))
    assert client.server.over


@pytest.mark.parametrize(("flags", "zeros"), [(1, 124), (3, 0)])
def test_export_name(flags, zeros):
    client = Client(flags)
    answer = client.feed(OPTION.pack(OPTION_MAGIC, Option.EXPORT_NAME, 4) + b"disk")
    assert answer == struct.pack(">QH", 1 << 20, DISK.flags) + bytes(zeros)
    assert client.request(Command.READ, 0, 512) is not None
    client = Client(flags)
    assert not client.feed(OPTION.pack(OPTION_MAGIC, Option.EXPORT_NAME, 4) + b"tape")
    assert client.server.over


def test_the_empty_name_is_the_one_device():
    client = Client()
    client.go("")
    assert client.server.export is DISK


@given(
    piece=st.integers(1, 5000),
    requests=st.lists(st.tuples(st.booleans(), st.integers(0, 100), st.integers(1, 6)), max_size=8),
)
def test_requests_come_whole_however_the_bytes_come(piece, requests):
    client = Client(piece=piece)
    client.go()
    wire, wanted = b"", []
    for cookie, (writes, block, blocks) in enumerate(requests):
        offset, length = block * 512, blocks * 512
        data = bytes([cookie + 1]) * length if writes else b""
        command = Command.WRITE if writes else Command.READ
        wire += REQUEST.pack(REQUEST_MAGIC, 0, command, cookie, offset, length) + data
        wanted.append((command, cookie, offset, length, data))
    assert client.feed(wire) == b""
    found = [(each.command, each.cookie, each.offset, each.length, bytes(each.data)) for each in client.server.requests]
    assert found == wanted


@pytest.mark.parametrize("piece", [40_001, 1 << 20])
def test_more_requests_than_the_stage_holds(piece):
    client = Client(piece=piece)
    client.go()
    client.feed(b"".join(REQUEST.pack(REQUEST_MAGIC, 0, Command.READ, cookie, 0, 512) for cookie in range(6000)))
    assert [request.cookie for request in client.server.requests] == list(range(6000))


def test_what_is_written_comes_into_a_buffer_of_its_own():
    client = Client(piece=28)
    client.go()
    assert client.request(Command.WRITE, 0, 512, data=b"a" * 512) is not None
    client.piece = 1 << 20
    header = REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 8, 512, 1024)
    assert len(client.server.buffer) == len(header)
    client.feed(header)
    assert len(client.server.buffer) == 1024
    target = client.server.buffer.obj
    client.feed(b"b" * 1024)
    assert client.server.requests.popleft().data.obj is target


@pytest.mark.parametrize(
    ("name", "command", "flags", "offset", "length", "error"),
    [
        ("disk", Command.READ, 0, 1 << 20, 512, Errno.EINVAL),
        ("disk", Command.READ, 0, 1, 512, Errno.EINVAL),
        ("disk", Command.READ, 0, 0, 511, Errno.EINVAL),
        ("disk", Command.READ, 0, 0, 0, Errno.EINVAL),
        ("disk", Command.READ, CommandFlag.FUA, 0, 512, Errno.EINVAL),
        ("disk", Command.FLUSH, CommandFlag.FUA, 0, 0, Errno.EINVAL),
        ("disk", Command.READ, 0x8000, 0, 512, Errno.EINVAL),
        ("disk", Command.WRITE, 0, (1 << 20) - 512, 1024, Errno.ENOSPC),
        ("disk", Command.WRITE_ZEROES, CommandFlag.NO_HOLE, 1 << 20, 512, Errno.ENOSPC),
        ("disk", 5, 0, 0, 512, Errno.EINVAL),
        ("disk", 99, 0, 0, 512, Errno.EINVAL),
        ("ro", Command.WRITE, 0, 0, 512, Errno.EPERM),
        ("ro", Command.TRIM, 0, 0, 512, Errno.EPERM),
    ],
)
@pytest.mark.parametrize("structured", [False, True])
def test_requests_that_are_refused(name, command, flags, offset, length, error, structured):
    client = Client()
    client.go(name, structured=structured)
    data = bytes(length) if command == Command.WRITE else b""
    answer = client.feed(REQUEST.pack(REQUEST_MAGIC, flags, command, 9, offset, length) + data)
    assert not client.server.requests
    if structured and command == Command.READ:
        _, done, kind, cookie, size = STRUCTURED_REPLY.unpack_from(answer)
        found, words = struct.unpack_from(">IH", answer, STRUCTURED_REPLY.size)
        assert (done, kind, cookie, found, size) == (1, 0x8001, 9, error, 6 + words)
    else:
        assert simple(answer) == (error, 9)
    assert client.request(Command.READ, 0, 512) is not None


def test_a_trim_where_there_is_none_is_refused():
    assert replace(DISK, trim=False).check(Command.TRIM, 0, 0, 512) is Errno.ENOTSUP
    assert DISK.check(Command.TRIM, CommandFlag.FUA, 0, 512) is None
    assert replace(DISK, size=1 << 40).check(Command.READ, 0, 0, MAX_PAYLOAD + 512) is Errno.EOVERFLOW


def test_answers():
    client = Client()
    client.go()
    read = client.request(Command.READ, 1024, 512, cookie=3)
    answer = b"".join(client.server.answer(read, b"d" * 512))
    assert STRUCTURED_REPLY.unpack_from(answer) == (0x668E33EF, 1, 1, 3, 520)
    assert answer[STRUCTURED_REPLY.size :] == struct.pack(">Q", 1024) + b"d" * 512
    flush = client.request(Command.FLUSH, cookie=4)
    assert b"".join(client.server.answer(flush)) == SIMPLE_REPLY.pack(0x67446698, 0, 4)
    client = Client()
    client.go(structured=False)
    read = client.request(Command.READ, 0, 512, cookie=3)
    assert b"".join(client.server.answer(read, b"d" * 512)) == SIMPLE_REPLY.pack(0x67446698, 0, 3) + b"d" * 512
    write = client.request(Command.WRITE, 0, 512, data=bytes(512), flags=CommandFlag.FUA)
    assert write.fua
    assert simple(b"".join(client.server.answer(write, error=Errno.EIO))) == (Errno.EIO, 7)


@pytest.mark.parametrize(("command", "length"), [(Command.DISC, 0), (Command.WRITE, MAX_PAYLOAD + 512)])
def test_the_end(command, length):
    client = Client()
    client.go()
    assert client.request(command, 0, length) is None
    assert client.server.over
