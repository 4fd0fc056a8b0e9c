"""The CRC32C digest of RFC 7143 section 13.1 and its place on the wire (11.2.3, 11.2.4).

`crc32c` gives the usual reflected value; the digest word carries it least significant byte first. Padding is part of what
a data digest covers: the caller passes it as one more buffer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

Buffer = bytes | bytearray | memoryview

DIGEST_LENGTH = 4

RESIDUE = 0x48674BC7
"""crc32c() over any data followed by its right digest: 0x1c2d19ed of section 13.1, in the reflected reading."""


@cache
def _instruction() -> Callable[[Buffer, int], int]:
    """What computes it. Loaded for the first digest, because loading takes longer than many a command does."""
    from crc32c import crc32c as loaded  # noqa: PLC0415

    return loaded


def crc32c(data: Buffer, value: int = 0) -> int:
    """The reflected CRC32C of data; `value` is the CRC of what went before. 0..2^32-1."""
    return _instruction()(data, value)


def crc32c_of(*buffers: Buffer) -> int:
    """The reflected CRC32C over the concatenation of the buffers, which are not joined."""
    value = 0
    update = _instruction()
    for buffer in buffers:
        value = update(buffer, value)
    return value


def digest_bytes(*buffers: Buffer) -> bytes:
    """The four digest bytes as they follow the buffers on the wire."""
    return crc32c_of(*buffers).to_bytes(DIGEST_LENGTH, "little")


def digest_value(digest: Buffer) -> int:
    """The reflected CRC32C that four digest bytes from the wire stand for. Raises ValueError for any other length."""
    word = bytes(digest)
    if len(word) != DIGEST_LENGTH:
        raise ValueError(f"a digest has {DIGEST_LENGTH} bytes, got {len(word)}")
    return int.from_bytes(word, "little")
