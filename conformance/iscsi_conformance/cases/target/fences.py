"""Response fences in sessions of several connections (RFC 7143 4.2.2.3, 4.2.3.3, 4.2.3.6, 13.23)."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.connections import SEVERAL, TUR
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.recovery import acknowledge, withholding
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.several import nothing_on, two_connections
from iscsi_conformance.task_functions import concluded, held_back, require_response
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_conformance.wire import Pairs
from iscsi_protocol.pdu import ScsiResponse, TaskFunction, TaskManagementResponse, TaskResponse
from iscsi_protocol.scsi.codes import SenseKey

FENCED = (("TaskReporting", "ResponseFence"),)
NEEDS = (*SEVERAL, Feature.RESPONSE_FENCE)
NEEDS_DISK = (*NEEDS, Feature.SCSI_DISK)
OTHER_ISID = bytes.fromhex("80fe4ce00001")
COMPLETE = TaskResponse.FUNCTION_COMPLETE


async def fenced(peer: Peer, keys: Pairs = FENCED) -> tuple[Session, Session]:
    """Two connections of a session in which responses are fenced; no unit attention is pending, all is acknowledged."""
    first, second = await two_connections(peer, keys)
    key, value = keys[0]
    if first.agreed(key) != value:
        raise Inconclusive(f"{key}={first.agreed(key)} was agreed on")
    await first.test_unit_ready(ALIVE)
    for session in (first, second):
        await session.alive()
        acknowledge(session)
    return first, second


async def waits_for_the_other(first: Session, second: Session, function: TaskFunction, clause: str) -> None:
    """A function on the first connection is answered only once a response on the second one was acknowledged."""
    with withholding(second):
        await second.test_unit_ready(ALIVE)
        request = first.manage_task(function)
        await second.alive()
        await held_back(first, request, clause, "the response waits for what is not acknowledged elsewhere")
    await second.alive()
    answer = await concluded(first, request, clause)
    require_response(answer, clause, COMPLETE, what="the function")


@case(
    "fences.wait-for-all-connections",
    clauses={"R7143-4.2.2.3.3-03": "fences.any-ping-acknowledges"},
    role=TARGET,
    needs=NEEDS,
)
async def wait_for_all_connections(peer: Peer) -> None:
    """The response to ABORT TASK SET waits until a response on another connection was acknowledged."""
    first, second = await fenced(peer)
    await waits_for_the_other(first, second, TaskFunction.ABORT_TASK_SET, "R7143-4.2.2.3.3-03")


@case(
    "fences.of-clear-task-set",
    clauses={"R7143-4.2.3.3-13": "fences.functions-are-not-fenced"},
    role=TARGET,
    needs=NEEDS,
    destructive=True,
)
async def of_clear_task_set(peer: Peer) -> None:
    """The response to CLEAR TASK SET is fenced: it waits for what is not acknowledged on another connection."""
    first, second = await fenced(peer)
    await waits_for_the_other(first, second, TaskFunction.CLEAR_TASK_SET, "R7143-4.2.3.3-13")


@case(
    "fences.of-a-reset",
    clauses={"R7143-4.2.2.3.4-02": "fences.functions-are-not-fenced"},
    role=TARGET,
    needs=NEEDS,
    destructive=True,
)
async def of_a_reset(peer: Peer) -> None:
    """The response to LOGICAL UNIT RESET is fenced: it waits for what is not acknowledged on another connection."""
    first, second = await fenced(peer)
    await waits_for_the_other(first, second, TaskFunction.LOGICAL_UNIT_RESET, "R7143-4.2.2.3.4-02")


@case(
    "fences.stand-on-both-connections",
    clauses={"R7143-4.2.3.3-15": "fences.functions-are-not-fenced"},
    role=TARGET,
    needs=NEEDS,
)
async def stand_on_both(peer: Peer) -> None:
    """With responses that are not acknowledged on both connections, a function is answered behind both acknowledgements."""
    clause = "R7143-4.2.3.3-15"
    first, second = await fenced(peer)
    with withholding(second):
        await second.test_unit_ready(ALIVE)
        with withholding(first):
            await first.test_unit_ready(ALIVE)
            request = first.manage_task(TaskFunction.ABORT_TASK_SET)
            await held_back(first, request, clause, "the response waits for both acknowledgements")
        await held_back(first, request, clause, "the response waits for the other connection's acknowledgement")
    await second.alive()
    await concluded(first, request, clause)


@case(
    "fences.agreed-on-are-kept",
    clauses={"R7143-13.23-03": "fences.agreed-on-for-show"},
    role=TARGET,
    needs=NEEDS,
)
async def agreed_on_are_kept(peer: Peer) -> None:
    """Where ResponseFence was agreed on, a command behind a fenced response waits for its acknowledgement."""
    await later_waits(peer, "R7143-13.23-03")


async def later_waits(peer: Peer, clause: str) -> None:
    """A command on another connection is answered only once a fenced response was acknowledged."""
    first, second = await fenced(peer)
    with withholding(first):
        request = first.manage_task(TaskFunction.ABORT_TASK_SET)
        await concluded(first, request, clause)
        later = second.command(TUR)
        await first.alive()
        await nothing_on(second, later.itt, clause, "later responses wait until the fenced one was acknowledged")
    await first.alive()
    await second.result(later, clause)


@case(
    "fences.lifted-by-acknowledgement",
    clauses={"R7143-4.2.2.3.3-04": "fences.lifted-by-any-ping"},
    role=TARGET,
    needs=NEEDS,
)
async def lifted_by_acknowledgement(peer: Peer) -> None:
    """The fence stands until the fenced response was acknowledged: a later command on another connection waits."""
    await later_waits(peer, "R7143-4.2.2.3.3-04")


@case(
    "fences.queue-later-responses",
    clauses={"R7143-4.2.2.3.3-05": "fences.lose-later-responses"},
    role=TARGET,
    needs=NEEDS,
)
async def queue_later(peer: Peer) -> None:
    """Responses that a fence held back come once it is lifted, each on its connection."""
    clause = "R7143-4.2.2.3.3-05"
    first, second = await fenced(peer)
    with withholding(first):
        request = first.manage_task(TaskFunction.ABORT_TASK_SET)
        await concluded(first, request, clause)
        here, there = first.command(TUR), second.command(TUR)
        await nothing_on(second, there.itt, clause, "later responses wait behind a fence")
    await first.alive()
    await second.result(there, clause)
    await first.result(here, clause)


@case(
    "fences.before-later-responses",
    clauses={"R7143-4.2.2.3.2-02": "fences.overtaken"},
    role=TARGET,
    needs=NEEDS,
)
async def before_later(peer: Peer) -> None:
    """A fenced response comes before the response to a command that was sent behind its function."""
    clause = "R7143-4.2.2.3.2-02"
    first, _ = await fenced(peer)
    request = first.manage_task(TaskFunction.ABORT_TASK_SET)
    first.command(TUR)
    received = await first.receive(clause, "the response to the function")
    due = isinstance(received.pdu, TaskManagementResponse) and received.pdu.itt == request.itt
    require(due, clause, "the fenced response comes first", seen=one_line(received.raw))


@case(
    "fences.behind-earlier-responses",
    clauses={"R7143-4.2.2.3.2-01": "fences.overtake"},
    role=TARGET,
    needs=NEEDS,
)
async def behind_earlier(peer: Peer) -> None:
    """A fenced response comes behind the response to a command that was sent before its function."""
    clause = "R7143-4.2.2.3.2-01"
    first, _ = await fenced(peer)
    earlier = first.command(TUR)
    request = first.manage_task(TaskFunction.ABORT_TASK_SET, immediate=False)
    answered = False
    while True:
        pdu = (await first.receive(clause, "the response to the function")).pdu
        answered = answered or (isinstance(pdu, ScsiResponse) and pdu.itt == earlier.itt)
        if isinstance(pdu, TaskManagementResponse) and pdu.itt == request.itt:
            break
    if not answered:
        await first.silence(clause, "no earlier response comes behind the fenced one", about=earlier.itt)


@case(
    "fences.hold-both-ways",
    clauses={
        "R7143-4.2.2.3.2-03": "fences.one-way-only",
        "R7143-4.2.2.3.3-01": "fences.functions-are-not-fenced",
    },
    role=TARGET,
    needs=NEEDS,
)
async def hold_both_ways(peer: Peer) -> None:
    """One fenced response waits for what is before it on another connection, and holds up what is behind it there."""
    clause = "R7143-4.2.2.3.2-03"
    first, second = await fenced(peer)
    await waits_for_the_other(first, second, TaskFunction.ABORT_TASK_SET, "R7143-4.2.2.3.3-01")
    for session in (first, second):
        acknowledge(session)
    with withholding(first):
        request = first.manage_task(TaskFunction.ABORT_TASK_SET)
        await concluded(first, request, clause)
        later = second.command(TUR)
        await first.alive()
        await nothing_on(second, later.itt, clause, "later responses wait as well")
    await first.alive()
    await second.result(later, clause)


# ---- unit attentions behind a reset ----


async def attention_waits(first: Session, second: Session, issuing: Session, clause: str) -> None:
    """Behind a reset the first response with its unit attention waits for what is not acknowledged elsewhere."""
    with withholding(second):
        await second.test_unit_ready(ALIVE)
        reset = issuing.manage_task(TaskFunction.LOGICAL_UNIT_RESET)
        answer = await concluded(issuing, reset, ALIVE)
        require_response(answer, ALIVE, COMPLETE, what="LOGICAL UNIT RESET")
        told = first.command(TUR)
        await second.alive()
        await nothing_on(first, told.itt, clause, "the unit attention waits for what is not acknowledged elsewhere")
    await second.alive()
    outcome = await first.result(told, clause)
    sense = outcome.sense
    right = outcome.status == 2 and sense is not None and sense.key == SenseKey.UNIT_ATTENTION
    if not right:
        raise Inconclusive("no unit attention tells of the reset")
    for session in (first, second):
        await session.alive()
        acknowledge(session)


@case(
    "fences.of-a-third-partys-attention",
    clauses={"R7143-4.2.3.3-14": "fences.any-ping-acknowledges"},
    touches=["R7143-4.2.2.3.4-01"],
    role=TARGET,
    needs=NEEDS,
    destructive=True,
)
async def of_third_party(peer: Peer) -> None:
    """The unit attention that tells another session of a reset is fenced there."""
    issuing = await peer.login(isid=OTHER_ISID)
    await issuing.test_unit_ready(ALIVE)
    first, second = await fenced(peer)
    await attention_waits(first, second, issuing, "R7143-4.2.3.3-14")


@case(
    "fences.attention-passes-no-response",
    clauses={"R7143-4.2.3.6-01": "fences.any-ping-acknowledges", "R7143-4.2.2.3.4-01": "fences.attention-at-once"},
    role=TARGET,
    needs=NEEDS,
    destructive=True,
)
async def attention_passes_no_response(peer: Peer) -> None:
    """A third party's unit attention comes behind its earlier responses, and its later ones behind the unit attention."""
    issuing = await peer.login(isid=OTHER_ISID)
    await issuing.test_unit_ready(ALIVE)
    first, second = await fenced(peer)
    await attention_waits(first, second, issuing, "R7143-4.2.3.6-01")
    answer = await concluded(issuing, issuing.manage_task(TaskFunction.LOGICAL_UNIT_RESET), ALIVE)
    require_response(answer, ALIVE, COMPLETE, what="LOGICAL UNIT RESET")
    with withholding(first):
        await first.test_unit_ready(ALIVE)
        later = second.command(TUR)
        await first.alive()
        await nothing_on(second, later.itt, "R7143-4.2.2.3.4-01", "later responses wait for its acknowledgement")
    await first.alive()
    await second.result(later, "R7143-4.2.2.3.4-01")
