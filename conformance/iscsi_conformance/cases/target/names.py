"""iSCSI names: those that a target takes and those that it has (RFC 7143 section 4.2.7)."""

from __future__ import annotations

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.login import OPEN, ping
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import Failed, Inconclusive, require
from iscsi_protocol.names import NAME_LIMIT, IscsiNameError, parse_name
from iscsi_protocol.pdu import LoginStatus
from iscsi_protocol.text import decode_pairs

BEGINNING = "iqn.2026-11.org.iscsi-conformance:long."
NOT_LET_IN = (LoginStatus.AUTHENTICATION_FAILURE, LoginStatus.AUTHORIZATION_FAILURE)


async def listed(session: Session, clause: str) -> list[str]:
    """The target names that SendTargets=All tells, over as many responses as they take."""
    response = await session.text_exchange(clause, ("SendTargets", "All"))
    text = response.data
    while not response.final:
        response = await session.text_exchange(clause, ttt=response.ttt, lun=response.lun)
        text += response.data
    return [value for key, value in decode_pairs(text) if key == "TargetName"]


@case(
    "name.longest",
    clauses={"R7143-4.2.7.1-03": "name.takes-shorter-ones-only"},
    role=TARGET,
    needs=OPEN,
)
async def longest_name(peer: Peer) -> None:
    """An initiator with a name of 223 bytes is let in."""
    clause = "R7143-4.2.7.1-03"
    wire = await peer.connect()
    wire.initiator_name = BEGINNING.ljust(NAME_LIMIT, "x")
    login = await wire.raw.login(wire.names(), timeout=wire.response_time)
    if login.status in NOT_LET_IN:
        raise Inconclusive("only known initiators are let in")
    seen = "no answer" if login.status is None else f"status {login.status:04x}"
    require(login.full_feature, clause, "a name of 223 bytes is taken", seen=seen)
    await ping(wire, clause)


@case(
    "name.listed-targets",
    clauses={
        "R7143-4.2.7.1-01": "name.target-without-type",
        "R7143-4.2.7.1-07": "name.target-in-capitals",
        "R7143-4.2.7.2-01": "name.target-too-long",
        "R7143-4.2.7.4-01": "name.iqn-without-date",
        "R7143-4.2.7.5-01": "name.short-eui",
        "R7143-4.2.7.6-01": "name.short-naa",
    },
    role=TARGET,
    needs=[Feature.DISCOVERY],
)
async def listed_targets(discovery: Session) -> None:
    """Every target that SendTargets lists has a name that is built as its type asks."""
    names = await listed(discovery, "R7143-4.2.7.1-01")
    require(names, "R7143-4.2.7.1-01", "the target has a name", seen="no TargetName")
    for name in names:
        try:
            parse_name(name, upper_hex=True)
        except IscsiNameError as error:
            raise Failed(error.clause, str(error), seen=name) from None
