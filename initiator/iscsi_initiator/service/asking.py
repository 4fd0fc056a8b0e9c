"""What commands that speak to the service have in common: where it is, how they ask it, and how they end.

Exit codes: 1 it failed, 3 no service is there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from iscsi_initiator.command_help import FAILED
from iscsi_initiator.service.api.answers import Answer
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.blocking import BlockingClient
from iscsi_initiator.service.place import default_socket
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_protocol.eventlog.parts import printable

NOT_RUNNING = 3
A = TypeVar("A", bound=Answer)

socket_option = click.option(
    "--socket",
    "path",
    type=click.Path(path_type=Path),
    default=default_socket,
    help="The service's Unix socket; $ISCSI_INITIATOR_SOCKET, else in the runtime folder.",
)


def complain(text: str) -> None:
    """Say what is wrong."""
    click.echo(f"iscsi-initiator: {printable(text)}", err=True)


def fail(text: str) -> NoReturn:
    """Say why, and end."""
    complain(text)
    sys.exit(FAILED)


def answer_to(path: Path, request: Operation[A]) -> A:
    """The answer of the service to a request; what goes wrong becomes one line and an exit code."""
    try:
        return BlockingClient(path).ask(request)
    except Refused as error:
        complain(str(error))
        sys.exit(NOT_RUNNING if error.status is StatusCode.SERVICE_NOT_RUNNING else FAILED)


def ask(path: Path, kind: type[Operation[A]], **fields: Any) -> A:
    """As `answer_to`, of a request of these fields, which may be refused as it is made."""
    try:
        request = kind(**fields)
    except Refused as error:
        fail(str(error))
    return answer_to(path, request)
