"""What services do wrong: with each status code, tell another one, or go on telling it; with each event, keep it back,
log it twice, or with other strings (guide, Appendices B and D). Ids are permanent.
"""

from __future__ import annotations

from functools import cache, partial

from iscsi_initiator.boot import EVENT as BOOT_EVENT
from iscsi_initiator.status_codes import StatusCode
from iscsi_protocol.eventlog import SERVICE_EVENTS
from iscsi_protocol.fault import NamedFault, Side
from iscsi_protocol.fault.model import table
from iscsi_protocol.fault.named import behaves

_behaves = partial(behaves, Side.SERVICE)

_NO_ANSWERS = frozenset({StatusCode.SERVICE_NOT_RUNNING, StatusCode.PERSISTENT_LOGIN_TIMEOUT})
"""Codes that no operation is answered with: a caller tells the first, and the state of the service has the second."""

_EVENT_KINDS = (
    ("silent", "Event {} is not logged.", "never_logs"),
    ("twice", "Event {} is logged twice.", "logs_twice"),
    ("wrong", "Event {} is logged with other strings, or as another one.", "logs_wrong"),
)
_BOOT_KINDS = (*_EVENT_KINDS[:2], ("wrong-dump", "Event {} is logged with other data.", "logs_wrong"))


def slug(code: StatusCode) -> str:
    """A code as ids have it: "device-busy-on-session"."""
    return code.name.lower().replace("_", "-")


def other(code: StatusCode) -> str:
    """The id of the fault by which another code is told in the place of this one."""
    return f"status.{slug(code)}.other"


def stays(code: StatusCode) -> str:
    """The id of the fault by which the code is told for good."""
    return f"status.{slug(code)}.stays"


def event_faults(event: int) -> tuple[str, ...]:
    """The ids of an event's faults."""
    return tuple(f"event.{event}.{kind}" for kind, _, _ in _kinds(event))


def _kinds(event: int) -> tuple[tuple[str, str, str], ...]:
    return _BOOT_KINDS if event == BOOT_EVENT else _EVENT_KINDS


FAULTS = (
    *(
        _behaves(other(code), f"Tells another code in the place of 0x{code:08X}.", answers_other=frozenset({int(code)}))
        for code in StatusCode
    ),
    *(
        _behaves(
            stays(code),
            f"Once it has answered with 0x{code:08X}, answers every operation of that kind so.",
            keeps_answering=frozenset({int(code)}),
        )
        for code in StatusCode
        if code not in _NO_ANSWERS
    ),
    *(
        _behaves(fault_id, says.format(event), **{switch: frozenset({event})})
        for event in (BOOT_EVENT, *SERVICE_EVENTS)
        for fault_id, (_, says, switch) in zip(event_faults(event), _kinds(event), strict=True)
    ),
)


@cache
def all_faults() -> dict[str, NamedFault]:
    """Every named fault of services by id."""
    return dict(sorted(table(FAULTS).items()))
