"""What targets do wrong when one connection of several is lost (RFC 7143 sections 6.3.4, 7.1.4, 7.14, 8.1.2 and 8.2)."""

from __future__ import annotations

from iscsi_protocol.fault import Drop, FieldIs, Relation, Set
from iscsi_protocol.pdu import LogoutResponseCode, Opcode, TaskResponse
from iscsi_target.faults import sends, takes_for
from iscsi_target.faults.login import status
from iscsi_target.faults.retention import retains

_JOINS = FieldIs("tsih", 0, Relation.DIFFERENT)
_LATER = FieldIs("exp_cmd_sn", 1, Relation.ABOVE)
"""Behind the session's first command."""
_OTHER_PORT = bytes.fromhex("80c011ec71ff")

FAULTS = (
    sends(
        "losses.unannounced",
        "The other connections are not told of a loss.",
        Opcode.ASYNC_MESSAGE,
        Drop(),
        renumber=True,
    ),
    sends(
        "losses.no-way-back",
        "Once a connection was lost no other one is let in.",
        Opcode.LOGIN_RESPONSE,
        *status(0x0206),
        cid=2,
    ),
    sends(
        "losses.unknown-when-lost",
        "A lost connection is not found by its CID.",
        Opcode.LOGOUT_RESPONSE,
        Set("response", LogoutResponseCode.CID_NOT_FOUND),
    ),
    sends(
        "losses.never-clean",
        "A lost connection is still there once it was logged out.",
        Opcode.LOGOUT_RESPONSE,
        Set("response", LogoutResponseCode.SUCCESS),
        nth=2,
    ),
    takes_for(
        "losses.one-too-many",
        "A connection in the place of a lost one counts beside it.",
        Opcode.LOGIN_REQUEST,
        Set("tsih", 0x7EEE),
        tests=(_JOINS, FieldIs("cmd_sn", 1, Relation.ABOVE)),
    ),
    sends(
        "losses.failed-logout-forgets",
        "A connection whose logout for recovery failed is not known any more.",
        Opcode.LOGOUT_RESPONSE,
        Set("response", LogoutResponseCode.CID_NOT_FOUND),
        nth=2,
    ),
    sends(
        "losses.pretends-recovery",
        "The logout of a lost connection for recovery succeeds at level 0.",
        Opcode.LOGOUT_RESPONSE,
        Set("response", LogoutResponseCode.SUCCESS),
    ),
    sends(
        "losses.nothing-to-clean-up",
        "A connection whose own logout failed is gone.",
        Opcode.LOGOUT_RESPONSE,
        Set("response", LogoutResponseCode.CID_NOT_FOUND),
        cid=0,
    ),
    retains("losses.kept-for-an-hour", "A lost connection is kept for an hour.", "3600", "1"),
    takes_for(
        "losses.session-recovered-beside",
        "A session in the place of one that lost a connection stands beside it.",
        Opcode.LOGIN_REQUEST,
        Set("isid", _OTHER_PORT),
        tests=(FieldIs("tsih", 0), FieldIs("cid", 9)),
    ),
    takes_for(
        "losses.no-second-connection",
        "A session of one connection lets no other one in.",
        Opcode.LOGIN_REQUEST,
        Set("cid", 0x7FFF),
        tests=(_JOINS,),
    ),
    sends(
        "losses.last-one-only",
        "A session that was continued takes no further connection back.",
        Opcode.LOGIN_RESPONSE,
        *status(0x0206),
        cid=1,
        tests=(_LATER,),
    ),
    sends(
        "losses.failed-logout-blocks",
        "A connection whose own logout failed cannot be reinstated.",
        Opcode.LOGIN_RESPONSE,
        *status(0x0206),
        cid=1,
        tests=(_LATER,),
    ),
    sends(
        "losses.tasks-of-the-lost-stay",
        "Tasks of a lost connection are still there once it was logged out.",
        Opcode.TASK_MANAGEMENT_RESPONSE,
        Set("response", TaskResponse.FUNCTION_COMPLETE),
    ),
)
