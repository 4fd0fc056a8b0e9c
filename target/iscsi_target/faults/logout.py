"""What targets do wrong with Logout (RFC 7143 sections 11.14 and 11.15)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Action,
    Fault,
    FieldIs,
    Insert,
    NamedFault,
    Of,
    Part,
    Plus,
    Relation,
    Replace,
    Set,
    Side,
    Template,
    When,
)
from iscsi_protocol.pdu import Opcode, ScsiResponse
from iscsi_protocol.stream import Direction

_RESPONSE = When(direction=Direction.TO_INITIATOR, opcode=Opcode.LOGOUT_RESPONSE)
_REQUEST = When(direction=Direction.TO_TARGET, opcode=Opcode.LOGOUT_REQUEST)


def _target(fault_id: str, says: str, when: When, *what: Action, renumber: bool = False) -> NamedFault:
    fault = Fault(when=when, what=what, renumber=renumber)
    return NamedFault(id=fault_id, side=Side.TARGET, says=says, faults=(fault,))


FAULTS = (
    NamedFault(
        id="logout.connection-stays-open",
        side=Side.TARGET,
        says="The connection is not closed behind a Logout Response.",
        policy={"stay_after_logout": True},
    ),
    _target(
        "logout.success-denied",
        "A logout that was carried out is told as a failed cleanup.",
        _RESPONSE,
        Set("response", 3),
    ),
    _target(
        "logout.minds-cid",
        "A logout of the session is refused for its CID.",
        _REQUEST,
        Set("reason", 1),
    ),
    _target("logout.any-cid-will-do", "A logout of an unknown connection succeeds.", _REQUEST, Set("cid", 0)),
    _target("logout.pretends-recovery", "A recovery logout succeeds below level 2.", _RESPONSE, Set("response", 0)),
    _target("logout.takes-any-reason", "A reserved reason is taken for 0.", _REQUEST, Set("reason", 0)),
    _target(
        "logout.response-with-data",
        "The Logout Response has a data segment.",
        _RESPONSE,
        Replace(Part.DATA, b"bye."),
    ),
    _target(
        "logout.response-not-numbered", "The Logout Response repeats a StatSN.", _RESPONSE, Set("stat_sn", Plus(-1))
    ),
    _target(
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
    _target(
        "logout.session-lives-on",
        "The session of a closed connection can still be joined.",
        When(
            direction=Direction.TO_INITIATOR,
            opcode=Opcode.LOGIN_RESPONSE,
            tests=(FieldIs("status_class", 0, Relation.DIFFERENT),),
        ),
        Set("status_class", 0),
        Set("status_detail", 0),
    ),
)
