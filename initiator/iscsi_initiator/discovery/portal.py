"""Asking a portal for its targets: a discovery session of its own for each time (RFC 7143 4.3, Appendix C)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

from iscsi_initiator.client import Client
from iscsi_initiator.client.errors import ClientError, RequestFailed
from iscsi_initiator.discovery.sendtargets import InvalidSendTargets, Told, read_answer
from iscsi_initiator.failures import refusal_of
from iscsi_initiator.requests import Failure
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import Portal

Connect = Callable[[], Awaitable[Client]]
"""Makes the discovery session. Raises ClientError, Refused."""


async def ask_portal(connect: Connect, asked: Portal) -> tuple[list[Told], list[str]]:
    """The targets that a portal tells of, and what was wrong with those that were dropped.

    Raises Refused: INVALID_SENDTARGETS_TEXT for an answer that cannot be read, else what the login or the request came to.
    """
    try:
        client = await connect()
    except ClientError as error:
        raise refusal_of(error) from error
    try:
        pairs = await client.negotiate(("SendTargets", "All"))
        told = read_answer(pairs, asked)
    except InvalidSendTargets as error:
        raise Refused(StatusCode.INVALID_SENDTARGETS_TEXT, str(error)) from error
    except RequestFailed as error:
        if error.failure is Failure.PROTOCOL_ERROR:
            raise Refused(StatusCode.INVALID_SENDTARGETS_TEXT, "the answer is no text of keys and values") from error
        raise refusal_of(error) from error
    finally:
        # The targets are known by now, or the reason why they are not; how the session ends adds nothing.
        with suppress(ClientError):
            await client.logout()
    return told
