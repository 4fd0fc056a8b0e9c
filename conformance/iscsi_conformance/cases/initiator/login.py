"""The login of an initiator (RFC 7143 sections 6.3, 11.12 and 11.13)."""

from __future__ import annotations

from iscsi_conformance.case import INITIATOR, case
from iscsi_conformance.scene import Scene
from iscsi_conformance.verdict import require
from iscsi_protocol.pdu import LoginRequest
from iscsi_protocol.text import decode_pairs


@case(
    "ilogin.first-request-names-both-nodes",
    clauses={"R7143-13.5-01": "ilogin.no-initiator-name"},
    role=INITIATOR,
)
async def first_request_names(scene: Scene) -> None:
    """The first Login Request of a connection has InitiatorName."""
    await scene.attempt(scene.login())
    first = scene.sent(LoginRequest)[0]
    keys = dict(decode_pairs(first.data))
    require("InitiatorName" in keys, "R7143-13.5-01", "InitiatorName is in the first request", seen=sorted(keys))
