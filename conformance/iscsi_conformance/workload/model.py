"""What a disk may hold: the model that every read is held against.

A block says where it is and in which generation it was written, so that a block in the wrong place, an old one and a mixture
are all seen.
"""

from __future__ import annotations

BLOCK = 512


class WrongData(AssertionError):
    """A read gave what the disk cannot hold."""


def content(lba: int, generation: int) -> bytes:
    """A block: zeros in generation 0, which is how the disk begins."""
    return bytes(BLOCK) if not generation else (lba << 32 | generation).to_bytes(8, "big") * (BLOCK // 8)


class ModelDisk:
    """For each block the generations that it may hold. blocks: size."""

    def __init__(self, blocks: int) -> None:
        self._possible: list[set[int]] = [{0} for _ in range(blocks)]
        self._last = 0

    def __len__(self) -> int:
        return len(self._possible)

    def begin_write(self, lba: int, blocks: int) -> tuple[int, bytes]:
        """A write goes out: its generation and its data. Until it is acknowledged nobody knows whether it was carried out."""
        self._last += 1
        for each in range(lba, lba + blocks):
            self._possible[each].add(self._last)
        return self._last, b"".join(content(each, self._last) for each in range(lba, lba + blocks))

    def acknowledge(self, lba: int, blocks: int, generation: int) -> None:
        """The write is over and was acknowledged: the blocks hold it."""
        for each in range(lba, lba + blocks):
            self._possible[each] = {generation}

    def never(self, lba: int, blocks: int, generation: int) -> None:
        """The write did certainly not happen."""
        for each in range(lba, lba + blocks):
            self._possible[each].discard(generation)

    def check(self, lba: int, data: bytes) -> None:
        """A read gave this; from now on the blocks hold it. No write of them is on its way. Raises WrongData."""
        for place in range(0, len(data), BLOCK):
            each = lba + place // BLOCK
            found = data[place : place + BLOCK]
            possible = {generation for generation in self._possible[each] if content(each, generation) == found}
            if not possible:
                expected = sorted(self._possible[each])
                raise WrongData(f"block {each} holds {found[:8].hex()}…, none of the generations {expected}")
            self._possible[each] = possible
