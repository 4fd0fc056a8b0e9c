"""Boot tables to and from bytes. Reading is lenient and loses nothing: what was read is written again byte for byte.

Judging is `judge`'s. `assemble` lays a new table out: structures in their order at multiples of 8, texts behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

from iscsi_initiator.boot.layout import (
    ALIGNMENT,
    HEADER_LENGTH,
    MOST,
    SIGNATURE,
    Block,
    Control,
    Header,
    Initiator,
    Nic,
    Table,
    Target,
    Text,
)

LARGEST = 0xFFFF
"""Bytes of a table: offsets have 16 bits."""

_B = TypeVar("_B", bound=Block)


class BootTableError(Exception):
    """No boot table, or one that nothing can be started from."""


def decode(image: bytes) -> Table:
    """The table of an image. Raises BootTableError where the bytes are no table at all: no signature, or no room for the
    header and the control structure.
    """
    if image[:4] != SIGNATURE:
        raise BootTableError(f"no iSCSI boot firmware table: it does not begin with {SIGNATURE.decode()}")
    if len(image) < HEADER_LENGTH + Control.LENGTH:
        raise BootTableError(f"{len(image)} bytes are no iSCSI boot firmware table")
    control = Control.parse(image, HEADER_LENGTH)
    initiator, *others = control.offsets
    return Table(
        header=Header.parse(image),
        control=control,
        initiator=_block(Initiator, image, initiator),
        nics=tuple(_block(Nic, image, offset) for offset in others[::2]),
        targets=tuple(_block(Target, image, offset) for offset in others[1::2]),
        image=bytes(image),
    )


def encode(table: Table) -> bytes:
    """The image of a table: its structures and texts at their places, over what the image has besides. The checksum is as
    the header says; `sealed` puts in the right one. Raises BootTableError for what lies beyond the image.
    """
    image = bytearray(table.image)
    _put(image, 0, table.header.build())
    _put(image, table.control.offset, table.control.build())
    for block in table.blocks():
        _put(image, block.offset, block.build())
    for block in table.blocks():
        for text in block.texts().values():
            if text.data:
                _put(image, text.offset, text.data)
    return bytes(image)


def sealed(table: Table) -> Table:
    """The table with length and checksum as they have to be, and the image that goes with them."""
    blank = replace(table, header=replace(table.header, length=len(table.image), checksum=0))
    checksum = -sum(encode(blank)) & 0xFF
    right = replace(blank, header=replace(blank.header, checksum=checksum))
    return replace(right, image=encode(right))


def assemble(
    initiator: Initiator,
    nics: Sequence[Nic | None],
    targets: Sequence[Target | None],
    *,
    oem_id: bytes = b"",
    oem_table_id: bytes = b"",
    failover: bool = False,
) -> Table:
    """A new table of these structures, whose places, indices and lengths of texts are filled in.

    oem_id, oem_table_id: up to 6 and 8 bytes; failover: ControlFlag.BOOT_FAILOVER. Raises BootTableError for more
    than MOST of a kind, or than 64 KiB.
    """
    if max(len(nics), len(targets)) > MOST:
        raise BootTableError(f"a table has {MOST} NICs and targets at most")
    slots: list[Block | None] = [initiator]
    for number in range(max(2, len(nics), len(targets))):
        slots.append(nics[number] if number < len(nics) else None)
        slots.append(targets[number] if number < len(targets) else None)
    length = Control.FORMAT.size + 2 * len(slots)
    end = HEADER_LENGTH + length
    placed: list[Block | None] = []
    for number, block in enumerate(slots):
        if block is None:
            placed.append(None)
            continue
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        index = (number - 1) // 2 if number else 0
        placed.append(replace(block, offset=offset, index=index))
        end = offset + block.FORMAT.size
    heap = -(-end // ALIGNMENT) * ALIGNMENT
    filled: list[Block | None] = []
    for block in placed:
        changes: dict[str, Any] = {}
        for name, text in block.texts().items() if block is not None else ():
            if text.data:
                changes[name] = replace(text, length=len(text.data), offset=heap)
                heap += len(text.data) + 1
            else:
                changes[name] = type(text)()
        filled.append(replace(block, **changes) if block is not None else None)
    if heap > LARGEST:
        raise BootTableError(f"a table of {heap} bytes; {LARGEST} are the most")
    control = Control(
        length=length, flags=int(failover), offsets=tuple(0 if block is None else block.offset for block in filled)
    )
    header = Header(oem_id=oem_id.ljust(6, b"\0"), oem_table_id=oem_table_id.ljust(8, b"\0"))
    table = Table(
        header=header,
        control=control,
        initiator=_of(Initiator, filled[:1])[0],
        nics=_of(Nic, filled[1::2]),
        targets=_of(Target, filled[2::2]),
        image=bytes(heap),
    )
    return sealed(table)


def text(content: str | bytes) -> Text:
    """A text for `assemble`, which finds its place."""
    return Text(content.encode() if isinstance(content, str) else content)


def _of(kind: type[_B], blocks: Sequence[Block | None]) -> tuple[_B | None, ...]:
    return tuple(block if isinstance(block, kind) else None for block in blocks)


def _block(kind: type[_B], image: bytes, offset: int) -> _B | None:
    return kind.parse(image, offset) if offset and offset + kind.FORMAT.size <= len(image) else None


def _put(image: bytearray, offset: int, data: bytes) -> None:
    if offset + len(data) > len(image):
        raise BootTableError(f"{len(data)} bytes at {offset:#x} are beyond the {len(image)} bytes of the table")
    image[offset : offset + len(data)] = data
