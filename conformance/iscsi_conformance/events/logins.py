"""What rows about logins have in common: the Login Response that is spoilt, how CHAP is asked for, and how a login ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from iscsi_conformance.bundled import CHAP, MUTUAL, bundled_config, bundled_profile
from iscsi_conformance.events.row import EventCase, Then
from iscsi_conformance.profile import ChapLogin
from iscsi_conformance.stimulus import answer, chap_options
from iscsi_initiator.settings import ChapOptions
from iscsi_protocol.fault import Action, Fault, HasKey, Set, SetKey
from iscsi_protocol.pdu import Opcode

RESPONSE = Opcode.LOGIN_RESPONSE
SECURITY, OPERATIONAL = 0, 1
UNFINISHED = (Set("transit", False), Set("nsg", 0), Set("tsih", 0))
"""What makes any Login Response one that leaves no stage."""


def ends_login(event: int, name: str, says: str, *spoils: Fault, **more: Any) -> EventCase:
    """A row about a login that the initiator ends with this event. more: fields of EventCase."""
    fields: dict[str, Any] = {"logged": (event,), "then": Then.GIVES_UP, **more}
    return EventCase(event=event, name=name, says=says, spoils=spoils, **fields)


def response(*what: Action, stage: int = OPERATIONAL, nth: int = 1) -> Fault:
    """The nth Login Response of a stage is spoilt."""
    return answer(RESPONSE, *what, stage=stage, nth=nth)


def status(code: int, *what: Action, stage: int = SECURITY, nth: int = 1) -> Fault:
    """A Login Response refuses, or redirects, with this status."""
    refusal = (Set("status_class", code >> 8), Set("status_detail", code & 0xFF), *UNFINISHED)
    return answer(RESPONSE, *refusal, *what, stage=stage, nth=nth)


def says(key: str, value: str | None) -> Fault:
    """The response that has this key has it with another value, or not at all."""
    return answer(RESPONSE, SetKey(key, value), tests=(HasKey(key),))


def mutual_login() -> ChapLogin:
    """The bundled target's mutual CHAP. Raises LookupError where there is none."""
    login = bundled_profile().mutual
    if login is None:
        raise LookupError("the bundled target has mutual CHAP")
    return login


def chap_session(chap: ChapOptions | None = None) -> dict[str, Any]:
    """Fields of a row whose session is with the bundled target that wants CHAP; the right one where none is given."""
    return {"config": bundled_config(), "options": {"target_name": CHAP, "chap": chap or chap_options()}}


def mutual_session(policy: Mapping[str, object] | None = None, **changes: Any) -> dict[str, Any]:
    """As `chap_session`, with the target that proves itself too. policy: of the target; changes: to the CHAP options."""
    chap = replace(chap_options(mutual_login()), **changes)
    return {"config": bundled_config(policy), "options": {"target_name": MUTUAL, "chap": chap}}
