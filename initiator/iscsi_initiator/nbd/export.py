"""What a client may attach to, and how it is told so."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from iscsi_initiator.nbd.wire import MAX_PAYLOAD, Command, CommandFlag, Errno, ExportFlag, Info

_EXPORT = struct.Struct(">HQH")
_BLOCK_SIZE = struct.Struct(">HIII")
_WRITING = frozenset({Command.WRITE, Command.TRIM, Command.WRITE_ZEROES})
_FLAGS = {
    Command.READ: CommandFlag.NONE,
    Command.WRITE: CommandFlag.FUA,
    Command.FLUSH: CommandFlag.NONE,
    Command.TRIM: CommandFlag.FUA,
    Command.WRITE_ZEROES: CommandFlag.FUA | CommandFlag.NO_HOLE,
}
"""Command → the flags that it may have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """One block device. size, block_size, preferred: bytes; requests are whole blocks. trim: blocks can be given back."""

    name: str
    size: int
    block_size: int
    preferred: int = 4096
    description: str = ""
    read_only: bool = False
    trim: bool = False
    rotational: bool = False

    @property
    def flags(self) -> ExportFlag:
        """The transmission flags. All connections see each other's writes, and a flush is for all of them."""
        flags = ExportFlag.HAS_FLAGS | ExportFlag.SEND_FLUSH | ExportFlag.SEND_FUA | ExportFlag.CAN_MULTI_CONN
        if self.read_only:
            flags |= ExportFlag.READ_ONLY
        else:
            flags |= ExportFlag.SEND_WRITE_ZEROES
            if self.trim:
                flags |= ExportFlag.SEND_TRIM
        return flags | ExportFlag.ROTATIONAL if self.rotational else flags

    def infos(self, wanted: frozenset[int]) -> list[bytes]:
        """The payloads of the NBD_REP_INFO replies: size and block size always, the others where they are asked for."""
        found = [
            _EXPORT.pack(Info.EXPORT, self.size, self.flags),
            _BLOCK_SIZE.pack(Info.BLOCK_SIZE, self.block_size, max(self.preferred, self.block_size), MAX_PAYLOAD),
        ]
        for info, text in ((Info.NAME, self.name), (Info.DESCRIPTION, self.description)):
            if info in wanted:
                found.append(info.to_bytes(2, "big") + text.encode())
        return found

    def check(self, command: int, flags: int, offset: int, length: int) -> Errno | None:
        """Why a request cannot be done, None where it can."""
        allowed = _FLAGS.get(Command(command)) if command in _FLAGS else None
        if allowed is None or flags & ~int(allowed):
            return Errno.EINVAL
        if command == Command.FLUSH:
            return None
        if self.read_only and command in _WRITING:
            return Errno.EPERM
        if command == Command.TRIM and not self.trim:
            return Errno.ENOTSUP
        if offset + length > self.size:
            return Errno.ENOSPC if command in _WRITING else Errno.EINVAL
        if offset % self.block_size or length % self.block_size or not length:
            return Errno.EINVAL
        moves = command in {Command.READ, Command.WRITE}
        return Errno.EOVERFLOW if moves and length > MAX_PAYLOAD else None
