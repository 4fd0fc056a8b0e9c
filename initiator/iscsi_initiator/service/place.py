"""Where the service listens, and how a caller tells that it does not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from iscsi_initiator.service.api.answers import Answer
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.wire import MAX_ANSWER, decode_answer
from iscsi_initiator.service.policy import CONFORMING, ServicePolicy
from iscsi_initiator.status_codes import Refused, StatusCode

A = TypeVar("A", bound=Answer)


def default_socket() -> Path:
    """$ISCSI_INITIATOR_SOCKET, else in the user's runtime folder, else below /run for root, or in the state folder."""
    named, runtime = os.environ.get("ISCSI_INITIATOR_SOCKET"), os.environ.get("XDG_RUNTIME_DIR")
    if named:
        return Path(named)
    if runtime:
        folder = Path(runtime)
    elif os.geteuid() == 0:
        folder = Path("/run")
    else:
        folder = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return folder / "iscsi-conformance" / "initiator.sock"


def exports_beside(path: Path) -> Path:
    """The folder for the sockets that a service serves devices at. path: the service's own."""
    return path.with_name(path.name + ".nbd")


def unreachable(path: Path, error: OSError, policy: ServicePolicy = CONFORMING) -> Refused:
    """What a caller is told where no connection comes up or one is lost."""
    status = StatusCode(policy.told(StatusCode.SERVICE_NOT_RUNNING))
    return Refused(status, f"{path}: {error.strerror or error}")


def silent(seconds: float | None) -> Refused:
    """What a caller is told whose time is over."""
    return Refused(StatusCode.SERVICE_DID_NOT_RESPOND, f"no answer within {seconds:g} seconds")


def read_answer(line: bytes, request: Operation[A], path: Path) -> A:
    """The answer out of what came, up to the end of the line or of the connection. Raises Refused for all but an answer."""
    if not line:
        raise Refused(StatusCode.SERVICE_NOT_RUNNING, f"{path}: the service closed the connection without an answer")
    if not line.endswith(b"\n"):
        what = f"over {MAX_ANSWER} bytes" if len(line) > MAX_ANSWER else "cut off"
        raise Refused(StatusCode.SERVICE_DID_NOT_RESPOND, f"the answer is {what}")
    try:
        return decode_answer(line, type(request))
    except ValueError as error:
        raise Refused(StatusCode.SERVICE_DID_NOT_RESPOND, str(error)) from error
