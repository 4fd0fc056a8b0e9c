"""Copies between disks and files, with every odd length."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator import copying
from iscsi_initiator.copying import CopyError, DiskSide, FileSide, copy

BLOCK = 512


class Disk:
    """A disk in memory."""

    def __init__(self, blocks: int, fill: bytes = b"\0") -> None:
        self.data = bytearray(fill * (blocks * BLOCK))[: blocks * BLOCK]
        self.flushed = 0

    async def capacity(self):
        return len(self.data) // BLOCK, BLOCK

    async def read_into(self, lba, buffer):
        assert len(buffer) % BLOCK == 0
        await asyncio.sleep(0)
        buffer[:] = self.data[lba * BLOCK : lba * BLOCK + len(buffer)]

    async def write(self, lba, data):
        assert len(data) % BLOCK == 0
        await asyncio.sleep(0)
        self.data[lba * BLOCK : lba * BLOCK + len(data)] = data

    async def flush(self):
        self.flushed += 1


@given(
    blocks=st.integers(1, 40),
    length=st.integers(0, 40 * BLOCK),
    source_block=st.integers(0, 5),
    target_block=st.integers(0, 5),
    piece=st.sampled_from([512, 1024, 4096, 20480]),
)
def test_disk_to_disk(blocks, length, source_block, target_block, piece):
    source, target = Disk(blocks, b"0123456789"), Disk(48, b"x")
    before = bytes(target.data)
    length = min(length, (blocks - source_block) * BLOCK)
    moved: list[int] = []

    async def run():
        return await copy(
            await DiskSide.of(source),
            await DiskSide.of(target),
            source_offset=source_block * BLOCK,
            target_offset=target_block * BLOCK,
            length=length,
            progress=moved.append,
            start=asyncio.ensure_future,
        )

    if length < 0:
        with pytest.raises(CopyError):
            asyncio.run(run())
        return
    usual, copying.PIECE = copying.PIECE, piece
    try:
        assert asyncio.run(run()) == length
    finally:
        copying.PIECE = usual
    at = target_block * BLOCK
    assert target.data[at : at + length] == source.data[source_block * BLOCK : source_block * BLOCK + length]
    assert target.data[:at] == before[:at]
    assert target.data[at + length :] == before[at + length :]
    assert sum(moved) == length
    assert target.flushed == 1


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, 5000])
def test_file_to_disk_and_back(tmp_path, length):
    content = bytes(range(256)) * 20
    (tmp_path / "a").write_bytes(content[:length])
    disk = Disk(10, b"z")

    async def run():
        source = FileSide(tmp_path / "a", writing=False)
        await copy(source, await DiskSide.of(disk), start=asyncio.ensure_future)
        target = FileSide(tmp_path / "b", writing=True)
        await copy(await DiskSide.of(disk), target, length=length, start=asyncio.ensure_future)
        source.close()
        target.close()

    asyncio.run(run())
    assert (tmp_path / "b").read_bytes() == content[:length]
    assert disk.data[length:] == b"z" * (10 * BLOCK - length)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"length": 11 * BLOCK}, "the source has 5120 bytes"),
        ({"source_offset": 1}, "multiple of 512"),
        ({"target_offset": 3 * BLOCK, "length": 8 * BLOCK}, "the target has 5120 bytes"),
        ({"source_offset": 20 * BLOCK}, "begin"),
    ],
)
def test_what_does_not_fit(arguments, text):
    async def run():
        sides = [await DiskSide.of(Disk(10)) for _ in range(2)]
        await copy(*sides, start=asyncio.ensure_future, **arguments)

    with pytest.raises(CopyError, match=text):
        asyncio.run(run())
