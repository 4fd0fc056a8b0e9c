"""What target names are made of, how many a node has, and how LUNs are written (RFC 7143 4.5, 11.2.1.7; RFC 3722)."""

from __future__ import annotations

from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.cases.target.discovery import DISCOVERY, asked, records
from iscsi_conformance.cases.target.names import listed
from iscsi_conformance.feature import Feature
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.verdict import Failed, Inconclusive, require
from iscsi_protocol.names import IscsiNameError, parse_name
from iscsi_protocol.pdu import NopIn
from iscsi_protocol.scsi import opcodes

ABSENT = 3
"""The peripheral qualifier of a logical unit that is not there (SPC-4 6.6.2)."""


@case(
    "name.listed-characters",
    clauses={
        "R3722-4-01": "name.with-soft-hyphen",
        "R3722-5-01": "name.in-full-width",
        "R3722-6-01": "name.with-prohibited-character",
        "R3722-6.1-01": "name.with-ideographic-full-stop",
        "R3722-6.2-01": "name.with-underscore",
    },
    role=TARGET,
    needs=DISCOVERY,
)
async def listed_characters(discovery: Session) -> None:
    """Every target that SendTargets lists has a name of the characters that the stringprep profile leaves."""
    for name in await listed(discovery, "R3722-6-01"):
        try:
            parse_name(name, upper_hex=True)
        except IscsiNameError as error:
            raise Failed(error.clause, str(error), seen=ascii(name)) from None


@case(
    "name.one-a-node",
    clauses={"R7143-4.5-02": "name.two-a-node"},
    role=TARGET,
    needs=[Feature.TEXT_NEGOTIATION],
)
async def one_a_node(session: Session) -> None:
    """In a normal session the target tells one name when it is asked for itself: the one that was logged in to."""
    clause = "R7143-4.5-02"
    names = list(records(await asked(session, "", clause)))
    require(names == [session.target_name], clause, f"{session.target_name} alone was due", seen=names)


@case(
    "identity.lun-of-eight-bytes",
    clauses={"R7143-11.2.1.7-01": "identity.lun-backwards"},
    role=TARGET,
    needs=[Feature.SCSI_DISK],
)
async def lun_of_eight_bytes(disk: Session) -> None:
    """Each LUN that REPORT LUNS tells, put into the LUN field byte by byte, leads to a logical unit that is there."""
    clause = "R7143-11.2.1.7-01"
    report = await disk.execute(opcodes.REPORT_LUNS.build(allocation_length=1024), ALIVE, read=1024)
    length = int.from_bytes(report.data[:4], "big")
    luns = [report.data[start : start + 8] for start in range(8, min(8 + length, len(report.data)), 8)]
    if report.status or not any(any(lun) for lun in luns):
        raise Inconclusive("REPORT LUNS tells no LUN but 0")
    inquiry = opcodes.INQUIRY.build(allocation_length=36)
    for lun in luns:
        outcome = await disk.execute(inquiry, clause, read=36, lun=lun)
        there = outcome.status == 0 and outcome.data[:1] and outcome.data[0] >> 5 != ABSENT
        require(there, clause, "a logical unit was due", seen=f"LUN {lun.hex()}, {outcome.data[:1].hex()}")


@case(
    "logout.connection-lasts-until-then",
    clauses={"R7143-4.2.6-01": "logout.leaves-unasked"},
    role=TARGET,
    level=SHOULD,
)
async def lasts_until_then(session: Session) -> None:
    """Through commands, texts and pings the target does not end the connection before a logout."""
    clause = "R7143-4.2.6-01"
    for _ in range(8):
        await session.execute(opcodes.INQUIRY.build(allocation_length=36), clause, read=36)
        await session.answer(NopIn, session.ping().itt, clause)
    require(session.raw.closed is None, clause, "the target does not close in full feature phase")
    response = await session.logout(clause)
    require(response.response == 0, clause, "the connection is closed by a logout", seen=response.response)
