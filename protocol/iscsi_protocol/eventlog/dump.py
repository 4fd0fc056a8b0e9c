"""How extra data is put together where it is more than bytes from the wire."""

from __future__ import annotations

import ipaddress
import struct

from iscsi_protocol.history import Endpoint

AF_INET = 2
AF_INET6 = 23
"""Address families as the log's own system numbers them."""


def address(endpoint: Endpoint) -> bytes:
    """The extra data of event 1. A host that is a name, which was never resolved, has family 0 and its text."""
    try:
        numeric = ipaddress.ip_address(endpoint.host.partition("%")[0])
    except ValueError:
        return struct.pack("<HH", 0, endpoint.port) + endpoint.host.encode("utf-8", "surrogateescape")
    family = AF_INET if numeric.version == 4 else AF_INET6
    return struct.pack("<HH", family, endpoint.port) + numeric.packed


def words(*numbers: int) -> bytes:
    """Numbers as the log has them."""
    return struct.pack(f"<{len(numbers)}I", *numbers)
