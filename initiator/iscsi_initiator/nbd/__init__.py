"""The server's end of the Network Block Device protocol, without input or output (the NBD project's doc/proto.md)."""

from __future__ import annotations

from iscsi_initiator.nbd.export import Export
from iscsi_initiator.nbd.server import NbdServer
from iscsi_initiator.nbd.wire import Command, CommandFlag, Errno, NbdError, NbdRequest

__all__ = ["Command", "CommandFlag", "Errno", "Export", "NbdError", "NbdRequest", "NbdServer"]
