"""From the line of a request to the line of its answer. Whatever is told about an operation leaves here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from iscsi_initiator.service.api.answers import Answer, Failure, ServiceState, Stream, failure_of
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.wire import decode_request, encode_answer, fitting, operation_of
from iscsi_initiator.service.policy import CONFORMING, ServicePolicy
from iscsi_initiator.status_codes import Refused, StatusCode

Handler = Callable[[Operation[Any]], Awaitable[Answer | Stream]]
"""Does what is asked; a stream is told answer by answer, until the caller hangs up.

Raises Refused or RequestFailed; what else it raises is a defect, told as NON_SPECIFIC_ERROR."""


class Answering:
    """Answers requests by a handler. defect: is handed what the handler should not have raised."""

    def __init__(
        self, handler: Handler, defect: Callable[[Exception], None], policy: ServicePolicy = CONFORMING
    ) -> None:
        self._handler = handler
        self._defect = defect
        self._policy = policy
        self._kept: dict[str, int] = {}

    async def answer(self, line: bytes) -> bytes | Stream:
        """The answer to a line, or the stream of them. Raises NoRequest for what is not even a request."""
        operation = operation_of(line)
        buffer_size = None
        answer: Answer | Failure
        try:
            request = decode_request(line)
            buffer_size = request.buffer_size
            outcome = await self._handler(request)
            if not isinstance(outcome, Answer):
                return outcome
            answer = outcome
        except Refused as error:
            answer = failure_of(error)
        except Exception as error:  # noqa: BLE001 - one defect must not end the service
            self._defect(error)
            answer = Failure(
                status=StatusCode.NON_SPECIFIC_ERROR, message=f"the service failed ({type(error).__name__})"
            )
        return self._told(operation, answer, buffer_size)

    def refusal(self, failure: Failure) -> bytes:
        """What is told where there is no request to be answered."""
        return self._told("", failure, None)

    def told(self, answer: Answer) -> bytes:
        """An answer out of a stream."""
        return self._told("", answer, None)

    def _told(self, operation: str, answer: Answer | Failure, buffer_size: int | None) -> bytes:
        answer = fitting(answer, buffer_size)
        if self._policy is not CONFORMING:
            answer = self._misled(operation, answer)
        return encode_answer(answer)

    def _misled(self, operation: str, answer: Answer | Failure) -> Answer | Failure:
        """What the policy makes of an answer."""
        kept = self._kept.get(operation)
        if kept is None and answer.status in self._policy.keeps_answering:
            self._kept[operation] = answer.status
        if kept is not None and not StatusCode(kept).is_warning:
            return Failure(status=kept, message="as before")
        changes: dict[str, Any] = {"status": self._policy.told(answer.status if kept is None else kept)}
        if isinstance(answer, ServiceState):
            changes["trouble"] = self._policy.told(answer.trouble)
        return msgspec.structs.replace(answer, **changes)
