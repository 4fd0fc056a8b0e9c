"""What targets do wrong with logins that do not begin or do not end (RFC 7143 sections 8.1 and 8.3)."""

from __future__ import annotations

from iscsi_protocol.fault import Drop
from iscsi_protocol.pdu import Opcode
from iscsi_target.faults import behaves, sends, takes_for
from iscsi_target.faults.login import status

FAULTS = (
    behaves("timeouts.waits-for-a-login", "A connection waits for its login for ever.", wait_for_login_forever=True),
    behaves("timeouts.waits-for-the-rest", "A login that stopped is waited for for ever.", wait_for_login_forever=True),
    behaves("timeouts.waits-for-the-other-half", "Half a Login Request is kept for ever.", wait_for_login_forever=True),
    takes_for("timeouts.late-login-unanswered", "A login that begins late is not heard.", Opcode.LOGIN_REQUEST, Drop()),
    sends(
        "timeouts.failed-login-is-remembered",
        "An initiator port whose login broke off is told that there are too many sessions.",
        Opcode.LOGIN_RESPONSE,
        *status(0x0302),
        cid=5,
    ),
)
