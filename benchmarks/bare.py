"""Initiators that are none: loops that read, and trust the target in everything. An initiator in Python can reach no more.

They log in, then send READ commands and take Data-In PDUs by tag and length alone: no number, status or residual is looked
at, nothing has a time, nothing is recovered. The one waits by epoll itself; the other is what asyncio costs besides, a task
and a future for each transfer.
"""

from __future__ import annotations

import asyncio
import secrets
import select
import socket
import struct
import time
from collections.abc import Iterator

from iscsi_initiator.client.cdbs import read_cdb
from iscsi_initiator.url import parse_url
from iscsi_protocol.framing import Framer
from iscsi_protocol.identity import Isid
from iscsi_protocol.pdu import (
    LoginRequest,
    LoginResponse,
    Pdu,
    ScsiCommand,
    ScsiResponse,
    decode,
    encode,
)
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_protocol.text import encode_pairs
from peers import PeerFailed
from workload import BLOCK, READ_LARGE, SIZE, Workload

_PATIENCE = 30.0
_HEADER = 48
_KEYS = {
    "InitiatorName": "iqn.2026-01.org.example.benchmark:bare",
    "SessionType": "Normal",
    "HeaderDigest": "None",
    "DataDigest": "None",
    "MaxRecvDataSegmentLength": "262144",
    "MaxBurstLength": "262144",
    "InitialR2T": "Yes",
    "ImmediateData": "No",
}
_UNIT_ATTENTIONS = 8
_MOST_AT_ONCE = 4
_command = struct.Struct(">BB6xQIIII16s").pack
_tag_and_number = struct.Struct(">16xI4xI").unpack_from


class Stream:
    """A session that is logged in, and its reads. Raises PeerFailed, OSError."""

    def __init__(self, url: str) -> None:
        where = parse_url(url)
        self.lun = int.from_bytes(encode_lun(where.lun or 0), "big")
        self.socket = socket.create_connection((where.portal.host, where.portal.port), _PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._framer = Framer()
        self._cmd_sn = 1
        self._exp_stat_sn = 0
        self._log_in({**_KEYS, "TargetName": where.target_name or ""})
        self._clear()
        self.socket.setblocking(False)
        # The header that is being received, the buffer of each tag, and where the next bytes belong.
        self._header = memoryview(bytearray(_HEADER))
        self.buffers: dict[int, memoryview] = {}
        self._tag = 0
        self._place: memoryview | None = None
        self._filled = 0

    def _ask(self, pdu: Pdu) -> Pdu:
        self.socket.sendall(encode(pdu).to_bytes())
        while (raw := self._framer.next_pdu()) is None:
            data = self.socket.recv(65536)
            if not data:
                raise PeerFailed("the target closed the connection")
            self._framer.receive(data)
        return decode(raw)

    def _log_in(self, keys: dict[str, str]) -> None:
        isid = bytes(Isid.draw(secrets.token_bytes))
        request = LoginRequest(transit=True, csg=1, nsg=3, isid=isid, itt=1, cmd_sn=1, data=encode_pairs(keys.items()))
        answer = self._ask(request)
        if not isinstance(answer, LoginResponse) or answer.status or not answer.transit:
            raise PeerFailed(f"no login: {answer}")
        self._exp_stat_sn = answer.stat_sn + 1 & 0xFFFFFFFF

    def _clear(self) -> None:
        """Have unit attention conditions out of the way, by TEST UNIT READY."""
        for _ in range(_UNIT_ATTENTIONS):
            lun = self.lun.to_bytes(8, "big")
            command = ScsiCommand(itt=1, lun=lun, cmd_sn=self._cmd_sn, exp_stat_sn=self._exp_stat_sn)
            answer = self._ask(command)
            self._cmd_sn = self._cmd_sn + 1 & 0xFFFFFFFF
            if not isinstance(answer, ScsiResponse):
                break
            self._exp_stat_sn = answer.stat_sn + 1 & 0xFFFFFFFF
            if not answer.status:
                return
        raise PeerFailed(f"the unit is not ready: {answer}")

    def read(self, tag: int, lba: int, buffer: memoryview) -> bytes:
        """The PDU that reads into a buffer."""
        self.buffers[tag] = buffer
        length = len(buffer)
        cdb = read_cdb(lba, length // BLOCK)
        pdu = _command(0x01, 0xC1, self.lun, tag, length, self._cmd_sn, self._exp_stat_sn, cdb)
        self._cmd_sn = self._cmd_sn + 1 & 0xFFFFFFFF
        return pdu

    def arrived(self) -> Iterator[int]:
        """Receive what there is, and give the tags whose buffers are full. Raises PeerFailed."""
        for _ in range(_MOST_AT_ONCE):
            header, place = self._header, self._place
            try:
                if place is None:
                    got = self.socket.recv_into(header[self._filled :])
                else:
                    got = self.socket.recvmsg_into((place[self._filled :], header))[0]
            except BlockingIOError:
                return
            if not got:
                raise PeerFailed("the target closed the connection")
            self._filled += got
            if place is not None:
                behind = self._filled - len(place)
                if behind < 0:
                    return
                yield self._tag
                self._place, self._filled = None, behind
            if self._filled < _HEADER:
                return
            self._tag, stat_sn = _tag_and_number(header)
            if header[0] != 0x25 or not header[1] & 1:
                raise PeerFailed("something else than a whole answer to a read")
            self._exp_stat_sn = stat_sn + 1 & 0xFFFFFFFF
            self._place, self._filled = self.buffers[self._tag], 0


class Bare:
    """Over epoll. See `clients.Client`."""

    name = "bare epoll loop"
    shortest = 0.0

    def fits(self, workload: Workload) -> bool:
        """See `Client`."""
        return workload == READ_LARGE

    def run(self, url: str, workload: Workload, seconds: float) -> float:
        """See `Client`."""
        stream = Stream(url)
        with stream.socket, select.epoll() as epoll:
            epoll.register(stream.socket, select.EPOLLIN)
            buffers = [memoryview(bytearray(workload.size)) for _ in range(workload.depth)]
            places = list(range(workload.depth))
            blocks, most = workload.size // BLOCK, SIZE // workload.size
            started = time.monotonic()
            until, done, under_way = started + seconds, 0, workload.depth
            stream.socket.sendmsg([stream.read(tag, places[tag] * blocks, buffers[tag]) for tag in range(under_way)])
            while under_way:
                if not epoll.poll(_PATIENCE):
                    raise PeerFailed("no answer")
                going_on = []
                more = time.monotonic() < until
                for tag in stream.arrived():
                    done += 1
                    if more:
                        places[tag] = (places[tag] + workload.depth) % most
                        going_on.append(stream.read(tag, places[tag] * blocks, buffers[tag]))
                    else:
                        under_way -= 1
                if going_on:
                    stream.socket.sendmsg(going_on)
            return done / (time.monotonic() - started)


class BareAsyncio(Bare):
    """Over asyncio, as a program would use an initiator: a coroutine for each place in the queue."""

    name = "bare asyncio loop"

    def run(self, url: str, workload: Workload, seconds: float) -> float:
        """See `Client`."""
        return asyncio.run(self._load(Stream(url), workload, seconds))

    async def _load(self, stream: Stream, workload: Workload, seconds: float) -> float:
        loop = asyncio.get_running_loop()
        clock = loop.time
        waiting: dict[int, asyncio.Future[None]] = {}
        outbox: list[bytes] = []

        def flush() -> None:
            if outbox:
                stream.socket.sendmsg(outbox)
                outbox.clear()

        def readable() -> None:
            try:
                for tag in stream.arrived():
                    waiting.pop(tag).set_result(None)
            except PeerFailed as failure:
                for future in waiting.values():
                    future.set_exception(failure)
            loop.call_soon(flush)

        async def work(tag: int) -> int:
            blocks, most = workload.size // BLOCK, SIZE // workload.size
            buffer, place, done = memoryview(bytearray(workload.size)), tag, 0
            while clock() < until:
                outbox.append(stream.read(tag, place * blocks, buffer))
                waiting[tag] = loop.create_future()
                await waiting[tag]
                place = (place + workload.depth) % most
                done += 1
            return done

        with stream.socket:
            loop.add_reader(stream.socket, readable)
            started = clock()
            until = started + seconds
            try:
                async with asyncio.timeout(seconds + _PATIENCE):
                    workers = [loop.create_task(work(tag)) for tag in range(workload.depth)]
                    loop.call_soon(flush)
                    return sum(await asyncio.gather(*workers)) / (clock() - started)
            except TimeoutError as error:
                raise PeerFailed("no answer") from error
            finally:
                loop.remove_reader(stream.socket)
