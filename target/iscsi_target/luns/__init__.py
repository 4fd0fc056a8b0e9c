"""Back ends of logical units: where the blocks are. `open_lun` makes one from its configuration."""

from __future__ import annotations

from iscsi_target.config import LunConfig
from iscsi_target.luns.backend import Backend, Extent, LunError
from iscsi_target.luns.contract import ContractBroken, check_backend
from iscsi_target.luns.file import FileLun
from iscsi_target.luns.memory import MemoryLun
from iscsi_target.luns.sparse import SparseLun

__all__ = [
    "Backend",
    "ContractBroken",
    "Extent",
    "FileLun",
    "LunError",
    "MemoryLun",
    "SparseLun",
    "check_backend",
    "open_lun",
]


def open_lun(config: LunConfig) -> Backend:
    """The back end that a configuration asks for. Raises LunError, one line, when a file cannot be had as asked."""
    if config.backend == "memory" or config.path is None:
        return MemoryLun(
            config.size or 0, block_size=config.block_size, granularity=config.physical_block_size or config.block_size
        )
    kind = FileLun if config.backend == "file" else SparseLun
    return kind(
        config.path,
        config.size,
        block_size=config.block_size,
        read_only=config.read_only,
        slice_threshold=config.sendfile_threshold,
    )
