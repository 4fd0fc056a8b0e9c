"""Sequences of Text Requests, their ends and their failures (RFC 7143 sections 6.2, 6.3, 6.4, 7.12, 11.10, 11.11 and 13)."""

from __future__ import annotations

from collections.abc import Sequence

from iscsi_captures.describe import one_line
from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.cases.target.discovery import DISCOVERY
from iscsi_conformance.cases.target.text import LENGTH, UNKNOWN
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_conformance.wire import pairs_of, value_of
from iscsi_protocol.negotiation.keys import KEYS, Function
from iscsi_protocol.pdu import NO_TAG, Reject, TextResponse

TEXT = (Feature.TEXT_NEGOTIATION,)
READING = (Feature.SCSI_DISK, Feature.TEXT_NEGOTIATION)
SHORT = 512
MANY = [(f"{UNKNOWN}{number}", "1") for number in range(24)]
"""Keys whose answers take more than one response of 512 bytes."""


async def long_answer(peer: Peer, clause: str) -> tuple[Session, TextResponse]:
    """The first response of an answer that takes several. Raises Inconclusive when one is enough."""
    session = await peer.login([(LENGTH, str(SHORT))])
    answer = await session.text_exchange(clause, *MANY)
    if answer.final and not answer.continued:
        raise Inconclusive("the target answers this text in one response")
    return session, answer


async def go_on(session: Session, answer: TextResponse, clause: str) -> TextResponse:
    """Ask for what follows a response with F=0."""
    return await session.text_exchange(clause, itt=answer.itt, ttt=answer.ttt, lun=answer.lun)


async def longest_segment(disk: Session, clause: str) -> int:
    """The longest data segment of a read of 4096 bytes or more."""
    outcome = await disk.read(clause, blocks=max(1, 4096 // disk.block_size))
    return max((len(pdu.data) for pdu in outcome.data_ins), default=0)


def offers_in(answer: TextResponse, asked: Sequence[str]) -> list[str]:
    """Keys of a response that the initiator would have to answer: neither answers nor declarations."""
    return [
        key
        for key, _ in pairs_of(answer)
        if key not in asked and (key not in KEYS or KEYS[key].function is not Function.DECLARATION)
    ]


# ---- the bits F and C, and the transfer tag ----


@case(
    "text.continued-is-not-final",
    clauses={"R7143-6.2-01": "text.final-at-once"},
    role=TARGET,
    needs=TEXT,
)
async def continued_is_not_final(peer: Peer) -> None:
    """A Text Response with C=1, whose text goes on, has F=0."""
    clause = "R7143-6.2-01"
    _, answer = await long_answer(peer, clause)
    if not answer.continued:
        raise Inconclusive("the target ends its responses with whole pairs")
    require(not answer.final, clause, "C=1 goes with F=0")


@case(
    "text.one-response-at-a-time",
    clauses={"R7143-6.2-05": "text.does-not-wait"},
    role=TARGET,
    needs=TEXT,
)
async def one_response_at_a_time(peer: Peer) -> None:
    """Behind a response whose text goes on nothing more comes until the initiator asks for it."""
    clause = "R7143-6.2-05"
    session, answer = await long_answer(peer, clause)
    await session.silence(clause, "one Text Response is outstanding at most", about=answer.itt)


@case(
    "text.parts-have-tags",
    clauses={"R7143-6.4-08": "text.goes-on-without-tag", "R7143-11.10.4-02": "text.tag-of-no-use"},
    role=TARGET,
    needs=TEXT,
)
async def parts_have_tags(peer: Peer) -> None:
    """Each response of a long answer but the last has a transfer tag, by which the next one is fetched."""
    session, answer = await long_answer(peer, "R7143-6.4-08")
    text = answer.data
    for _ in range(64):
        if answer.final:
            break
        require(answer.ttt != NO_TAG, "R7143-6.4-08", "a response with F=0 has a transfer tag")
        answer = await go_on(session, answer, "R7143-11.10.4-02")
        text += answer.data
    pairs = text.count(b"\0")
    require(pairs >= len(MANY), "R7143-11.10.4-02", "the whole answer was due", seen=f"{pairs} pairs")


@case(
    "text.tag-is-of-use",
    clauses={"R7143-11.11.4-01": "text.tag-of-no-use", "R7143-11.11.4-02": "text.final-with-tag"},
    role=TARGET,
    needs=TEXT,
)
async def tag_is_of_use(session: Session) -> None:
    """A sequence that the initiator keeps open goes on by the tag that it was given, and ends without one."""
    answer = await session.text_exchange("R7143-11.11.4-01", (LENGTH, "65536"), final=False)
    if answer.final:
        raise Inconclusive("the target ends the sequence at once")
    last = await go_on(session, answer, "R7143-11.11.4-01")
    require(
        last.ttt == NO_TAG, "R7143-11.11.4-02", "without more to do the tag is the reserved one", seen=hex(last.ttt)
    )


@case(
    "text.final-is-not-put-off",
    clauses={"R7143-6.4-06": "text.puts-off-its-end"},
    role=TARGET,
    level=SHOULD,
    needs=TEXT,
)
async def final_is_not_put_off(session: Session) -> None:
    """F=1 is not answered by an empty response with F=0."""
    answer = await session.text_exchange("R7143-6.4-06", (LENGTH, "65536"))
    empty = not answer.final and not answer.data
    require(not empty, "R7143-6.4-06", "an empty response with F=0 does not answer F=1")


@case(
    "text.last-response-asks-nothing",
    clauses={"R7143-6.4-07": "text.asks-at-its-end"},
    role=TARGET,
    needs=TEXT,
)
async def last_response_asks_nothing(session: Session) -> None:
    """A response with F=1 proposes nothing that needs another request."""
    answer = await session.text_exchange("R7143-6.4-07", (LENGTH, "65536"), (UNKNOWN, "1"))
    asked = offers_in(answer, (LENGTH, UNKNOWN)) if answer.final else []
    require(not asked, "R7143-6.4-07", "nothing is proposed with F=1", seen=asked)


@case(
    "text.list-of-targets-asks-nothing",
    clauses={"R7143-11.11.1-02": "text.asks-behind-the-list"},
    role=TARGET,
    needs=DISCOVERY,
)
async def list_asks_nothing(discovery: Session) -> None:
    """The last response to SendTargets has no pair that the initiator would have to answer."""
    clause = "R7143-11.11.1-02"
    answer = await discovery.text_exchange(clause, ("SendTargets", "All"))
    while not answer.final:
        answer = await go_on(discovery, answer, clause)
    asked = offers_in(answer, ("SendTargets",))
    require(not asked, clause, "F=1 comes without proposals", seen=asked)


@case(
    "text.each-key-once",
    clauses={"R7143-6.4-11": "text.says-it-again"},
    role=TARGET,
    level=SHOULD,
    needs=TEXT,
)
async def each_key_once(session: Session) -> None:
    """Over a sequence of two exchanges the target says no key twice."""
    clause = "R7143-6.4-11"
    first = await session.text_exchange(clause, (UNKNOWN, "1"), final=False)
    answers = [first]
    if not first.final:
        answers.append(await go_on(session, first, clause))
    keys = [key for answer in answers for key, _ in pairs_of(answer)]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    require(not twice, clause, "a key is said once in a sequence", seen=twice)


# ---- sequences that fail or begin anew ----


@case(
    "text.new-sequence-forgets-the-old",
    clauses={"R7143-11.10.4-01": "text.remembers-the-old-sequence"},
    role=TARGET,
    needs=TEXT,
)
async def new_sequence(session: Session) -> None:
    """A request with the reserved transfer tag and the old task tag begins anew: a key may be said again then."""
    clause = "R7143-11.10.4-01"
    first = await session.text_exchange(clause, (LENGTH, "4096"), final=False)
    if first.final:
        raise Inconclusive("the target ends the sequence at once")
    again = await session.text_exchange(clause, (LENGTH, "8192"), itt=first.itt)
    require(again.final, clause, "the new sequence ends with its first response")


async def failed_sequence(disk: Session, clause: str) -> None:
    """A sequence that declares a segment length of 512 and fails behind that. Raises Inconclusive where it does not.

    Its requests are immediate, since the CmdSN of a rejected one would not count (11.17).
    """
    first = await disk.text_exchange(clause, (LENGTH, str(SHORT)), final=False, immediate=True)
    if first.final:
        raise Inconclusive("the target ends the sequence at once")
    disk.text((LENGTH, "1024"), itt=first.itt, ttt=first.ttt, lun=first.lun, immediate=True)
    received = await disk.receive(clause, "a Reject")
    if not isinstance(received.pdu, Reject):
        raise Inconclusive(f"a repeated key is not rejected: {one_line(received.raw)}")


@case(
    "text.failed-sequence-changes-nothing",
    clauses={"R7143-7.12-03": "text.applies-at-once"},
    role=TARGET,
    needs=READING,
)
async def failed_changes_nothing(disk: Session) -> None:
    """Behind a sequence that was rejected the segment length from before it holds."""
    clause = "R7143-7.12-03"
    await failed_sequence(disk, clause)
    longest = await longest_segment(disk, clause)
    require(longest > SHORT, clause, "the earlier segment length holds", seen=f"{longest} bytes at most")


@case(
    "text.failed-sequence-is-discarded",
    clauses={"R7143-7.12-05": "text.keeps-half-a-result"},
    role=TARGET,
    needs=READING,
)
async def failed_is_discarded(disk: Session) -> None:
    """What was declared in a sequence that was rejected does not take effect by the next one that ends well either."""
    clause = "R7143-7.12-05"
    await failed_sequence(disk, clause)
    await disk.text_exchange(clause)
    longest = await longest_segment(disk, clause)
    require(longest > SHORT, clause, "the partial result is discarded", seen=f"{longest} bytes at most")


@case(
    "text.all-or-nothing",
    clauses={"R7143-6.2-23": "text.heeds-half-a-request"},
    role=TARGET,
    needs=READING,
)
async def all_or_nothing(disk: Session) -> None:
    """Of a request that is rejected for one of its keys no other key takes effect."""
    clause = "R7143-6.2-23"
    disk.text((LENGTH, str(SHORT)), ("InitiatorAlias", "one"), ("InitiatorAlias", "two"), immediate=True)
    received = await disk.receive(clause, "a Reject")
    if not isinstance(received.pdu, Reject):
        raise Inconclusive(f"a repeated key is not rejected: {one_line(received.raw)}")
    longest = await longest_segment(disk, clause)
    require(longest > SHORT, clause, "the earlier segment length holds", seen=f"{longest} bytes at most")


# ---- keys that have no place here ----


async def refused(session: Session, key: str, value: str, clause: str) -> None:
    """A key of the login is refused in full feature phase: as a value, as a PDU, or by the end of the connection."""
    session.text((key, value))
    received = await session.receive_or_none()
    if received is None:
        await session.expect_closed(clause, f"{key} is refused in full feature phase")
        return
    answer = value_of(received.pdu, key) if isinstance(received.pdu, TextResponse) else None
    good = isinstance(received.pdu, Reject) or answer in ("Reject", "Irrelevant", "NotUnderstood")
    require(good, clause, f"{key} is refused in full feature phase", seen=one_line(received.raw))


@case("text.digests-stay", clauses={"R7143-13-02": "text.digest-anew"}, role=TARGET, needs=TEXT)
async def digests_stay(session: Session) -> None:
    """HeaderDigest, a key of the login alone, is not negotiated in full feature phase."""
    await refused(session, "HeaderDigest", "None", "R7143-13-02")


@case("text.no-authentication", clauses={"R7143-6.3-09": "text.authenticates-late"}, role=TARGET, needs=TEXT)
async def no_authentication(session: Session) -> None:
    """AuthMethod is not negotiated in full feature phase: authentication is over with the login."""
    await refused(session, "AuthMethod", "None", "R7143-6.3-09")
