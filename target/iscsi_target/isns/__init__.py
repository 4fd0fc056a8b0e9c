"""The iSNS server (RFC 4171): a sans-IO engine over a store of objects, a database, and an asyncio shell.

`server` speaks the protocol, `store` holds the objects, `shell` owns sockets and clock, `database` what outlives the
process. `registrar` is the other side: how the bundled target registers itself.
"""

from __future__ import annotations
