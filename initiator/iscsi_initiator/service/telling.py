"""What is told of an operation: what was asked, without anything that may be a secret, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeVar

from msgspec import Struct

from iscsi_initiator.service.api.answers import Answer
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.values import Discreet
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.tracing.flags import ERROR, FATAL, WARNING, WMI_API
from iscsi_initiator.tracing.teller import Teller

A = TypeVar("A", bound=Answer)


async def told(teller: Teller, request: Operation[Any], work: Awaitable[A]) -> A:
    """The outcome of a request's work, told of. Raises what the work raises."""
    name = type(request).__name__
    if teller.level & WMI_API:
        teller.tell(WMI_API, f"asked: {words(request)}")
    try:
        answer = await work
    except Refused as error:
        if teller.level & WMI_API:
            teller.tell(WMI_API, f"answered: {name}, {error.status:#010x}")
        if teller.level & ERROR:
            teller.tell(ERROR, f"{name} is refused: {error}")
        raise
    except Exception as error:
        if teller.level & FATAL:
            teller.tell(FATAL, f"{name}: a defect of the service, {type(error).__name__}")
        raise
    if teller.level & WMI_API:
        teller.tell(WMI_API, f"answered: {name}, {answer.status:#010x}")
    if answer.status and teller.level & WARNING:
        teller.tell(WARNING, f"{name}: {StatusCode(answer.status).name} ({answer.message})")
    return answer


def words(struct: Struct) -> str:
    """A request or a part of one. Bytes are never shown, whatever they are, nor values by names of the caller's own, of which
    the names alone are, nor what a struct calls a secret.
    """
    secret = struct.secret_fields if isinstance(struct, Discreet) else frozenset()
    shown = []
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if value is not None and name not in ("version", "buffer_size"):
            shown.append(f"{name}={'***' if name in secret else _value(value)}")
    return f"{type(struct).__name__}({', '.join(shown)})"


def _value(value: object) -> str:
    if isinstance(value, bytes):
        return "***"
    if isinstance(value, Struct):
        return words(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"[{', '.join(value)}]"
    return str(value)
