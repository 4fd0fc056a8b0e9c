"""What targets do wrong with the identity of a session's connections (RFC 7143 section 9.2)."""

from __future__ import annotations

from iscsi_protocol.fault import FieldIs
from iscsi_protocol.pdu import Opcode
from iscsi_target.faults import behaves, sends
from iscsi_target.faults.login import FINAL, status

FAULTS = (
    sends(
        "connection-identity.one-proof-a-session",
        "The proof of a further connection is not accepted.",
        Opcode.LOGIN_RESPONSE,
        *status(0x0201),
        tests=(*FINAL, FieldIs("status_detail", 0)),
        cid=1,
    ),
    behaves("connection-identity.anybody-joins", "Any identity that is known joins any session.", mix_identities=True),
    behaves(
        "connection-identity.nobody-joins",
        "A connection without authentication joins an authenticated session.",
        mix_identities=True,
        skip_authentication=True,
    ),
)
