"""What the disk may hold while requests are on their way and connections are lost, block by block."""

from __future__ import annotations

from iscsi_conformance.workload.model import BLOCK, content


class Disk:
    """Generations that each block may hold. A write that was not acknowledged may have happened, or may not."""

    def __init__(self, blocks: int) -> None:
        self._possible: list[set[int]] = [{0} for _ in range(blocks)]
        self._writing: list[set[int]] = [set() for _ in range(blocks)]
        self._reading: dict[int, tuple[int, list[set[int]]]] = {}
        self._last = 0

    def begin_write(self, lba: int, blocks: int) -> tuple[int, bytes]:
        """A write begins: its generation and its data."""
        self._last += 1
        generation = self._last
        for each in range(lba, lba + blocks):
            self._possible[each].add(generation)
            self._writing[each].add(generation)
            for start, seen in self._reading.values():
                if start <= each < start + len(seen):
                    seen[each - start].add(generation)
        return generation, b"".join(content(each, generation) for each in range(lba, lba + blocks))

    def end_write(self, lba: int, blocks: int, generation: int, *, acknowledged: bool) -> None:
        """A write is over. Where it was acknowledged, what was there before it is gone."""
        for each in range(lba, lba + blocks):
            self._writing[each].discard(generation)
            if acknowledged:
                self._possible[each] = {generation} | self._writing[each]

    def begin_read(self, lba: int, blocks: int) -> int:
        """A read begins: its number."""
        self._last += 1
        self._reading[self._last] = lba, [set(found) for found in self._possible[lba : lba + blocks]]
        return self._last

    def end_read(self, number: int, data: bytes | None) -> str:
        """A read gave this, None for nothing: what is wrong with it, empty for nothing."""
        lba, seen = self._reading.pop(number)
        return "" if data is None else _wrong(lba, seen, data)

    def compare(self, data: bytes) -> str:
        """The whole disk as it is in the end: what is wrong with it, empty for nothing."""
        return _wrong(0, self._possible, data)


def _wrong(lba: int, possible: list[set[int]], data: bytes) -> str:
    for place in range(0, len(data) - BLOCK + 1, BLOCK):
        each = place // BLOCK
        found = data[place : place + BLOCK]
        if all(found != content(lba + each, generation) for generation in possible[each]):
            return f"block {lba + each} holds {found[:8].hex()}, none of the generations {sorted(possible[each])}"
    return ""
