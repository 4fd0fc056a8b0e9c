"""Each rule that holds a residual against the CDB: a history that breaks it, and one that only nearly does."""

from __future__ import annotations

from typing import Any

from iscsi_conformance.corpus.script import Script
from iscsi_conformance.corpus.table import Table

CAPACITY = b"\x25" + bytes(15)
BLOCK = 512


def read_10(blocks: int) -> bytes:
    """READ(10)."""
    return b"\x28" + bytes(6) + blocks.to_bytes(2, "big") + bytes(7)


def write_10(blocks: int) -> bytes:
    """WRITE(10)."""
    return b"\x2a" + read_10(blocks)[1:]


def inquiry(length: int) -> bytes:
    """INQUIRY with this ALLOCATION LENGTH."""
    return b"\x12" + bytes(2) + length.to_bytes(2, "big") + bytes(11)


def mode_select(length: int) -> bytes:
    """MODE SELECT(10) with this PARAMETER LIST LENGTH."""
    return b"\x55" + bytes(6) + length.to_bytes(2, "big") + bytes(7)


def known(s: Script) -> Script:
    """The unit has told that its blocks are of 512 bytes."""
    data = (1 << 20).to_bytes(4, "big") + BLOCK.to_bytes(4, "big")
    return s.ready().read(8, cdb=CAPACITY).data_in(8, data=data)


def wrote(s: Script, length: int, cdb: bytes, **response: Any) -> Script:
    """A write with all its data, and its response."""
    return s.write(length, cdb=cdb).r2t().data_out(length).response(**response)


TABLE: Table = {
    "residual.cdb-overflow-missing": (
        (
            lambda s: known(s).read(BLOCK, cdb=read_10(2)).data_in(BLOCK),
            lambda s: wrote(s.ready(), 20, mode_select(24)),
        ),
        (
            lambda s: known(s).read(BLOCK, cdb=read_10(1)).data_in(BLOCK),
            lambda s: s.ready().read(BLOCK, cdb=read_10(2)).data_in(BLOCK),
            lambda s: known(s).read(BLOCK, cdb=read_10(2)).data_in(BLOCK, overflow=True, residual_count=BLOCK),
            lambda s: wrote(s.ready(), 24, mode_select(24)),
        ),
    ),
    "residual.cdb-overflow-count": (
        (lambda s: known(s).read(BLOCK, cdb=read_10(3)).data_in(BLOCK, overflow=True, residual_count=BLOCK),),
        (lambda s: known(s).read(BLOCK, cdb=read_10(3)).data_in(BLOCK, overflow=True, residual_count=2 * BLOCK),),
    ),
    "residual.cdb-underflow-missing": (
        (
            lambda s: known(s).read(2 * BLOCK, cdb=read_10(1)).data_in(2 * BLOCK),
            lambda s: wrote(s.ready(), 28, mode_select(24)),
        ),
        (
            lambda s: (
                known(s)
                .read(2 * BLOCK, cdb=read_10(1))
                .data_in(BLOCK, final=True, status_present=True, underflow=True, residual_count=BLOCK)
            ),
            lambda s: wrote(s.ready(), 28, mode_select(24), underflow=True, residual_count=4),
        ),
    ),
    "residual.cdb-underflow-count": (
        (lambda s: wrote(known(s), 4 * BLOCK, write_10(1), underflow=True, residual_count=4 * BLOCK),),
        (lambda s: wrote(known(s), 4 * BLOCK, write_10(1), underflow=True, residual_count=3 * BLOCK),),
    ),
    "residual.allocation-is-no-overflow": (
        (lambda s: s.ready().read(36, cdb=inquiry(36)).data_in(36, overflow=True, residual_count=60),),
        (
            lambda s: s.ready().read(36, cdb=inquiry(36)).data_in(36),
            lambda s: s.ready().read(36, cdb=inquiry(96)).data_in(36, overflow=True, residual_count=60),
        ),
    ),
    "residual.beyond-allocation": (
        (lambda s: s.ready().read(96, cdb=inquiry(36)).data_in(96),),
        (
            lambda s: (
                s.ready()
                .read(96, cdb=inquiry(36))
                .data_in(36, final=True, status_present=True, underflow=True, residual_count=60)
            ),
        ),
    ),
}
