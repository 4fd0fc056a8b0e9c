"""The contract of a back end, as a test that anybody can run against theirs."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

from iscsi_target.completion import Buffer, FileSlice
from iscsi_target.luns.backend import Backend

_STEPS = 200


class ContractBroken(AssertionError):
    """A back end does not do what `Backend` says."""


def _require(held: object, message: str) -> None:
    if not held:
        raise ContractBroken(message)


def bytes_of(piece: Buffer | FileSlice) -> bytes:
    """The bytes that a read gave, whichever way it gave them."""
    if isinstance(piece, FileSlice):
        return os.pread(piece.fd, piece.length, piece.offset)
    return bytes(piece)


def check_backend(factory: Callable[[], Backend], *, seed: int = 0) -> None:
    """Put fresh, writable back ends from the factory (64 blocks or more each) to the test. Raises ContractBroken."""
    for check in (_check_shape, _check_ownership, _check_edges, _check_unmap, _check_extents, _check_against_model):
        backend = factory()
        try:
            check(backend, Random(seed))
        finally:
            backend.close()
            backend.close()


def _check_shape(backend: Backend, random: Random) -> None:
    _require(backend.block_size in (512, 4096), f"the block size is 512 or 4096, not {backend.block_size}")
    _require(backend.blocks >= 64, f"the test needs 64 blocks, there are {backend.blocks}")
    _require(not backend.read_only, "the test needs a back end that can be written")
    whole = backend.granularity > 0 and backend.granularity % backend.block_size == 0
    _require(whole, f"the granularity {backend.granularity} is no multiple of the block size")
    _require(bytes_of(backend.read(0, 0)) == b"", "a read of nothing gives nothing")
    backend.write(0, b"")
    backend.prefetch(0, backend.block_size * random.randint(1, 64))
    backend.flush()


def _check_ownership(backend: Backend, random: Random) -> None:
    size = backend.block_size
    before, after = random.randbytes(size), random.randbytes(size)
    buffer = bytearray(before)
    backend.write(0, buffer)
    buffer[:] = after
    got, loaded = backend.read(0, size), backend.load(0, size)
    backend.write(0, after)
    _require(isinstance(got, FileSlice) or bytes(got) == before, "a later write changed bytes that had been read")
    _require(bytes(loaded) == before, "a write kept the caller's buffer, or a later write changed loaded bytes")


def _check_edges(backend: Backend, random: Random) -> None:
    size, end = backend.block_size, backend.blocks * backend.block_size
    for offset in (0, end - size):
        data = random.randbytes(size)
        backend.write(offset, memoryview(data))
        backend.flush()
        _require(bytes(backend.load(offset, size)) == data, f"block at {offset} does not read as written")
    with backend.uninterrupted():
        data = bytes(backend.load(0, size))
        backend.write(0, data)
        backend.unmap(size, size)
    everything = bytes_of(backend.read(0, end))
    _require(len(everything) == end, f"a read of all {end} bytes gave {len(everything)}")


def _check_unmap(backend: Backend, random: Random) -> None:
    size = backend.block_size
    data = random.randbytes(64 * size)
    backend.write(0, data)
    backend.unmap(size, 3 * size)
    _require(bytes_of(backend.read(0, size)) == data[:size], "unmap changed the block before it")
    _require(not any(bytes_of(backend.read(size, 3 * size))), "unmapped blocks do not read as zeros")
    _require(bytes_of(backend.read(4 * size, 60 * size)) == data[4 * size :], "unmap changed what is behind it")


def _check_extents(backend: Backend, random: Random) -> None:
    end = backend.blocks * backend.block_size
    offset = backend.granularity * random.randrange(end // backend.granularity)
    backend.write(offset, bytes([1]) * backend.block_size)
    _require(backend.extent(offset).mapped, "a written block has no storage")
    at = 0
    while at < end:
        length = backend.extent(at).length
        _require(0 < length <= end - at, f"the extent at {at} is {length} bytes long")
        at += length


def _check_against_model(backend: Backend, random: Random) -> None:
    size, end = backend.block_size, 64 * backend.block_size
    model = bytearray(bytes_of(backend.read(0, end)))
    for step in range(_STEPS):
        first = random.randrange(64)
        offset, length = first * size, random.randint(1, 64 - first) * size
        action = random.choice(("read", "load", "write", "unmap", "flush"))
        if action == "write":
            model[offset : offset + length] = data = random.randbytes(length)
            backend.write(offset, data)
        elif action == "unmap":
            model[offset : offset + length] = bytes(length)
            backend.unmap(offset, length)
        elif action == "flush":
            backend.flush()
        else:
            got = bytes_of(backend.read(offset, length) if action == "read" else backend.load(offset, length))
            _require(got == model[offset : offset + length], f"step {step}: {action} at {offset} does not match")
