"""What targets do wrong with Logout (RFC 7143 sections 11.14 and 11.15)."""

from __future__ import annotations

from iscsi_protocol.fault import FieldIs, Insert, Of, Part, Plus, Relation, Replace, Set, Template, When
from iscsi_protocol.pdu import Opcode, ScsiResponse
from iscsi_protocol.stream import Direction
from iscsi_target.faults import behaves, changes, sends

_RESPONSE = When(direction=Direction.TO_INITIATOR, opcode=Opcode.LOGOUT_RESPONSE)
_REQUEST = When(direction=Direction.TO_TARGET, opcode=Opcode.LOGOUT_REQUEST)


FAULTS = (
    behaves(
        "logout.connection-stays-open", "The connection is not closed behind a Logout Response.", stay_after_logout=True
    ),
    changes(
        "logout.success-denied",
        "A logout that was carried out is told as a failed cleanup.",
        _RESPONSE,
        Set("response", 3),
    ),
    changes("logout.minds-cid", "A logout of the session is refused for its CID.", _REQUEST, Set("reason", 1)),
    changes("logout.any-cid-will-do", "A logout of an unknown connection succeeds.", _REQUEST, Set("cid", 0)),
    changes("logout.pretends-recovery", "A recovery logout succeeds below level 2.", _RESPONSE, Set("response", 0)),
    changes("logout.takes-any-reason", "A reserved reason is taken for 0.", _REQUEST, Set("reason", 0)),
    changes(
        "logout.response-with-data", "The Logout Response has a data segment.", _RESPONSE, Replace(Part.DATA, b"bye.")
    ),
    changes(
        "logout.response-not-numbered", "The Logout Response repeats a StatSN.", _RESPONSE, Set("stat_sn", Plus(-1))
    ),
    changes(
        "logout.commands-go-on",
        "A pending command is answered behind the Logout Response.",
        _RESPONSE,
        Insert(
            Template(
                ScsiResponse,
                {
                    "itt": Of("open_itt", 0),
                    "stat_sn": Of("stat_sn", 1),
                    "exp_cmd_sn": Of("exp_cmd_sn"),
                    "max_cmd_sn": Of("max_cmd_sn"),
                },
            )
        ),
    ),
    sends(
        "logout.session-lives-on",
        "The session of a closed connection can still be joined.",
        Opcode.LOGIN_RESPONSE,
        Set("status_class", 0),
        Set("status_detail", 0),
        tests=(FieldIs("status_class", 0, Relation.DIFFERENT),),
        times=1,
    ),
)
