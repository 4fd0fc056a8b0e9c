"""What cases about task management share: how a function is waited for, and that nothing comes for the tasks it ended."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.verdict import Inconclusive, Unsupported, require
from iscsi_protocol.pdu import (
    R2T,
    DataIn,
    ScsiCommand,
    ScsiResponse,
    TaskManagementRequest,
    TaskManagementResponse,
    TaskResponse,
)


async def concluded(session: Session, request: TaskManagementRequest, clause: str) -> TaskManagementResponse:
    """The response to the function; answers of tasks that came before it, as they may, are passed over."""
    while True:
        pdu = (await session.receive(clause, "the response to the function")).pdu
        if isinstance(pdu, TaskManagementResponse) and pdu.itt == request.itt:
            return pdu


async def carried_out(session: Session, function: int) -> None:
    """The function is answered with function complete. Raises Inconclusive otherwise: where tasks of other sessions await
    data, it may wait for that (4.2.3.3).
    """
    request = session.manage_task(function)
    while (received := await session.receive_or_none()) is not None:
        pdu = received.pdu
        if isinstance(pdu, TaskManagementResponse) and pdu.itt == request.itt:
            if pdu.response != TaskResponse.FUNCTION_COMPLETE:
                raise Inconclusive(f"function {int(function)} is answered with response {pdu.response}")
            return
    raise Inconclusive(f"function {int(function)} is not answered while another session's data is awaited")


async def no_answer_behind(session: Session, clause: str, *tasks: ScsiCommand) -> None:
    """Nothing comes any more for these tasks: proved by two fences."""
    tags = {task.itt for task in tasks}
    for _ in range(2):
        fence = session.ping()
        while True:
            received = await session.receive(ALIVE, "the answer to a ping")
            if received.raw.initiator_task_tag == fence.itt:
                break
            late = isinstance(received.pdu, ScsiResponse | DataIn | R2T) and received.raw.initiator_task_tag in tags
            require(not late, clause, "nothing comes for an ended task", seen=one_line(received.raw))


async def held_back(session: Session, request: TaskManagementRequest, clause: str, what: str) -> None:
    """The function is not answered yet: proved by two fences. Raises Unsupported where it is answered with 5."""
    for _ in range(2):
        fence = session.ping()
        while True:
            received = await session.receive(ALIVE, "the answer to a ping")
            if received.raw.initiator_task_tag == fence.itt:
                break
            pdu = received.pdu
            if isinstance(pdu, TaskManagementResponse) and pdu.response == TaskResponse.FUNCTION_NOT_SUPPORTED:
                raise Unsupported(f"task-management-{request.function}", "the function is answered with response 5")
            early = received.raw.initiator_task_tag == request.itt
            require(not early, clause, what, seen=one_line(received.raw))


def require_response(
    answer: TaskManagementResponse, clause: str, *allowed: TaskResponse, what: str = "the function"
) -> None:
    """The response is one of these."""
    names = " or ".join(str(int(code)) for code in allowed)
    require(answer.response in allowed, clause, f"{what} is answered with {names}", seen=answer.response)
