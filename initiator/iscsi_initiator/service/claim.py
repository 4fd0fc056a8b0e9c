"""One node name, one service: a name is claimed on this host while its service runs, and nobody has to clean up behind one
that was killed. What is claimed is an abstract Unix socket (unix(7)), whose name is made from the node's.
"""

from __future__ import annotations

import hashlib
import socket

SPACE = "iscsi-initiator"


class NodeClaim:
    """The name that this service has, if it has one. space: names are claimed from those alone that have the same one."""

    def __init__(self, space: str = SPACE) -> None:
        self._space = space
        self._held: socket.socket | None = None

    def take(self, name: str) -> bool:
        """Have this name instead of the one before; False, with that one kept, where another service has it."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            made.bind(f"\0{self._space}/{hashlib.sha256(name.encode()).hexdigest()}".encode())
        except OSError:
            made.close()
            return False
        self.release()
        self._held = made
        return True

    def release(self) -> None:
        """Have none."""
        if self._held is not None:
            self._held.close()
            self._held = None
