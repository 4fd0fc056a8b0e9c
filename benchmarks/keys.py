"""The keys that both sides declare at login, as an onlooker between a client and a target sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from clients import Client
from iscsi_conformance.relay import Relay
from iscsi_initiator.url import parse_url
from iscsi_protocol.history import Endpoint, PduRecord, Record
from iscsi_protocol.pdu import Opcode
from iscsi_protocol.stream import Direction
from iscsi_protocol.text import scan_pairs
from workload import Workload

KEYS = (
    "HeaderDigest",
    "DataDigest",
    "MaxRecvDataSegmentLength",
    "MaxBurstLength",
    "FirstBurstLength",
    "InitialR2T",
    "ImmediateData",
    "MaxOutstandingR2T",
)
"""Keys that decide how fast a session can be."""

_PROBE = Workload(size=4096, depth=1, random=True, write=False)
_LOGIN = (Opcode.LOGIN_REQUEST, Opcode.LOGIN_RESPONSE)

Declared = Mapping[str, tuple[str | None, str | None]]
"""Key → what the initiator said, what the target said."""


def negotiated(client: Client, url: str) -> Declared:
    """Have the client do a few reads through a relay, and read its login. Raises PeerFailed."""
    return asyncio.run(_negotiated(client, url))


async def _negotiated(client: Client, url: str) -> Declared:
    text: dict[Direction, bytes] = dict.fromkeys(Direction, b"")

    def tap(record: Record) -> None:
        if isinstance(record, PduRecord) and record.raw.opcode in _LOGIN:
            text[record.direction] += bytes(record.raw.data)

    target = parse_url(url)
    relay = Relay(target.portal, tap=tap)
    [listening] = await relay.start(Endpoint("127.0.0.1", 0))
    try:
        through = url.replace(str(target.portal), str(listening), 1)
        await asyncio.to_thread(client.run, through, _PROBE, 0.01)
    finally:
        await relay.stop()
    sides = [dict(scan_pairs(text[way])[0]) for way in Direction]
    return {key: (sides[0].get(key), sides[1].get(key)) for key in KEYS}
