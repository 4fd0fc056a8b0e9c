"""Logins that the target refuses, or does not finish as it has to: each end has its code (guide, Appendix D: 2 to 0x14, 0x1A,
0x22, 0x25).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from iscsi_conformance.bundled import CHAP, DENIED, GONE, MUTUAL, PLAIN
from iscsi_conformance.pipe import Road
from iscsi_conformance.service import HOST, ServiceBench, of_row, rows, status_case
from iscsi_initiator.limits import Limits
from iscsi_initiator.service import api
from iscsi_initiator.settings import Settings
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.state import LoginFlag
from iscsi_protocol.fault import Action, Close, Drop, Fault, FieldIs, Part, Replace, Set, SetKey, Silence, When
from iscsi_protocol.pdu.codes import LoginStatus, Opcode, Stage
from iscsi_protocol.stream import Direction

GIVEN = api.LoginOptions(auth_type=1, user_name="tester", password=b"one-way-secret-1")
STUBBORN = Settings(portal_retry_count=0, network_ready_retry_count=0, max_login_redirects=0)


def at_login(*what: Action, final: bool = False, cid: int | None = None) -> Fault:
    """Something in the first response of every login, or in the last one."""
    tests = (FieldIs("nsg", Stage.FULL_FEATURE), FieldIs("transit", True)) if final else ()
    way = Direction.TO_INITIATOR
    return Fault(when=When(direction=way, opcode=Opcode.LOGIN_RESPONSE, tests=tests, cid=cid, times=0), what=what)


async def _spoilt(service: ServiceBench, code: StatusCode, fault: Fault, name: str, options: api.LoginOptions) -> None:
    """A login to a target with a fault is refused with the code; one to the target without it is made."""
    one = await service.start(faults=[fault], settings=STUBBORN)
    await one.knows(name)
    asked = api.LoginTarget(target_name=name, options=options)
    await one.gets(asked, code)
    one.mend()
    await one.does(asked)


_REFUSALS: Sequence[tuple[StatusCode, str, int]] = (
    (StatusCode.TARGET_MOVED_TEMPORARILY, "", LoginStatus.MOVED_TEMPORARILY),
    (StatusCode.TARGET_MOVED_PERMANENTLY, "", LoginStatus.MOVED_PERMANENTLY),
    (StatusCode.INITIATOR_ERROR, "", LoginStatus.INITIATOR_ERROR),
    (StatusCode.INITIATOR_ERROR, "session-unknown", LoginStatus.SESSION_DOES_NOT_EXIST),
    (StatusCode.INITIATOR_ERROR, "invalid-request", LoginStatus.INVALID_DURING_LOGIN),
    (StatusCode.INITIATOR_ERROR, "unknown-detail", 0x02EE),
    (StatusCode.AUTHENTICATION_FAILURE, "", LoginStatus.AUTHENTICATION_FAILURE),
    (StatusCode.AUTHORIZATION_FAILURE, "", LoginStatus.AUTHORIZATION_FAILURE),
    (StatusCode.NOT_FOUND, "", LoginStatus.NOT_FOUND),
    (StatusCode.TARGET_REMOVED, "", LoginStatus.TARGET_REMOVED),
    (StatusCode.UNSUPPORTED_VERSION, "", LoginStatus.UNSUPPORTED_VERSION),
    (StatusCode.TOO_MANY_CONNECTIONS, "", LoginStatus.TOO_MANY_CONNECTIONS),
    (StatusCode.MISSING_PARAMETER, "", LoginStatus.MISSING_PARAMETER),
    (StatusCode.CANT_INCLUDE_IN_SESSION, "", LoginStatus.CANNOT_INCLUDE_IN_SESSION),
    (StatusCode.SESSION_TYPE_NOT_SUPPORTED, "", LoginStatus.SESSION_TYPE_NOT_SUPPORTED),
    (StatusCode.TARGET_ERROR, "", LoginStatus.TARGET_ERROR),
    (StatusCode.TARGET_ERROR, "unknown-detail", 0x03EE),
    (StatusCode.SERVICE_UNAVAILABLE, "", LoginStatus.SERVICE_UNAVAILABLE),
    (StatusCode.OUT_OF_RESOURCES, "", LoginStatus.OUT_OF_RESOURCES),
)
"""Code, variant, status of the Login Response."""


def _answered(status: int) -> tuple[Fault, str, api.LoginOptions]:
    """0201 means a failed authentication only where CHAP was offered."""
    fault = at_login(Set("status_class", status >> 8), Set("status_detail", status & 0xFF))
    chap = status == LoginStatus.AUTHENTICATION_FAILURE
    return fault, CHAP if chap else PLAIN, GIVEN if chap else api.LoginOptions()


_ENDS: Sequence[tuple[StatusCode, str, str, Fault]] = (
    (StatusCode.LOGIN_FAILED, "", "A target that is silent during login", at_login(Silence())),
    (StatusCode.LOGIN_FAILED, "closed", "A target that closes the connection during login", at_login(Drop(), Close())),
    (
        StatusCode.VERSION_MISMATCH,
        "",
        "A Version-active outside the range that was offered",
        at_login(Set("version_active", 1)),
    ),
    (
        StatusCode.INVALID_TEXT_KEY,
        "",
        "Text that is no key=value pair",
        at_login(Replace(Part.DATA, b"no pair\0"), final=True),
    ),
    (
        StatusCode.INVALID_TEXT_KEY,
        "value",
        "A value that its key cannot have",
        at_login(SetKey("MaxBurstLength", "none"), final=True),
    ),
    (
        StatusCode.LOGON_FAILED,
        "",
        "A target that insists on data PDUs out of order",
        at_login(SetKey("DataPDUInOrder", "No"), final=True),
    ),
    (
        StatusCode.LOGON_FAILED,
        "sequences",
        "A target that insists on sequences out of order",
        at_login(SetKey("DataSequenceInOrder", "No"), final=True),
    ),
)


async def _no_connection(service: ServiceBench, road: Road) -> None:
    """No login where no connection comes up; one where it does."""
    one = await service.start()
    await one.knows()
    one.connector.road = road
    await one.gets(api.LoginTarget(target_name=PLAIN), StatusCode.CONNECTION_FAILED)
    one.connector.road = Road.OPEN
    await one.does(api.LoginTarget(target_name=PLAIN))


async def _of_itself(service: ServiceBench, code: StatusCode, name: str) -> None:
    """The target refuses of itself, without a fault."""
    one = await service.start()
    await one.knows(name)
    await one.knows()
    await one.gets(api.LoginTarget(target_name=name), code)
    await one.does(api.LoginTarget(target_name=PLAIN))


async def _limited(service: ServiceBench, code: StatusCode, limits: Limits) -> None:
    """One more than the initiator may have is refused, until there is one fewer."""
    one = await service.start(settings=Settings(portal_retry_count=0, limits=limits))
    await one.discover()
    first = await one.log_in()
    more = api.LoginTarget(target_name=PLAIN, options=api.LoginOptions(login_flags=LoginFlag.MULTIPATH_ENABLED))
    await one.gets(more, code)
    await one.ask(api.LogoutTarget(session_id=first.session_id))
    await one.does(more)


def _case(code: StatusCode, variant: str, says: str, function: Any, *row: Any) -> tuple[Any, Any]:
    name = f"status_{code.name}_{variant}".rstrip("_").lower()
    return status_case(code, variant), of_row(function, name, says, *row)


rows(
    __name__,
    (
        *(
            _case(
                code,
                variant,
                f"Login status {status:04X} has its code, and the next login to the target is made.",
                _spoilt,
                code,
                *_answered(status),
            )
            for code, variant, status in _REFUSALS
        ),
        *(
            _case(
                code,
                variant,
                f"{says} has its code; without it the login is made.",
                _spoilt,
                code,
                fault,
                PLAIN,
                api.LoginOptions(),
            )
            for code, variant, says, fault in _ENDS
        ),
        *(
            _case(
                StatusCode.CONNECTION_FAILED,
                variant,
                f"A connection that is {says} has its code; once there is a way the login is made.",
                _no_connection,
                road,
            )
            for variant, says, road in (
                ("", "refused", Road.REFUSED),
                ("unreachable", "out of reach", Road.UNREACHABLE),
                ("swallowed", "not answered within its time", Road.BLACKHOLE),
            )
        ),
        *(
            _case(
                code,
                "own-accord",
                f"A target that {says} is told by its code; another one is logged in to.",
                _of_itself,
                code,
                name,
            )
            for code, says, name in (
                (StatusCode.AUTHORIZATION_FAILURE, "does not let this initiator in", DENIED),
                (StatusCode.TARGET_REMOVED, "is gone for good", GONE),
                (StatusCode.NOT_FOUND, "is not there", "iqn.2026-01.org.example:nobody"),
            )
        ),
        _case(
            StatusCode.TOO_MANY_SESSIONS,
            "",
            "A session beyond the initiator's limit is refused, until one has ended.",
            _limited,
            StatusCode.TOO_MANY_SESSIONS,
            Limits(sessions=1),
        ),
        _case(
            StatusCode.OUT_OF_RESOURCES,
            "connections",
            "A connection beyond the initiator's limit is refused, until one has ended.",
            _limited,
            StatusCode.OUT_OF_RESOURCES,
            Limits(connections=1),
        ),
    ),
)


@status_case(StatusCode.AUTHENTICATION_FAILURE, "wrong-secret")
async def wrong_secret(service: ServiceBench) -> None:
    """A wrong secret is told by its code, the right one logs in."""
    one = await service.start()
    await one.discover()
    wrong = api.LoginOptions(auth_type=1, user_name="tester", password=b"wrong-secret-11")
    await one.gets(api.LoginTarget(target_name=CHAP, options=wrong), StatusCode.AUTHENTICATION_FAILURE)
    await one.does(api.LoginTarget(target_name=CHAP, options=GIVEN))


@status_case(StatusCode.AUTHENTICATION_FAILURE, "wrong-target")
async def wrong_target(service: ServiceBench) -> None:
    """A target whose answer to mutual CHAP is wrong is told by its code; with the target's own secret it is logged in to."""
    both = api.LoginOptions(auth_type=2, user_name="tester", password=b"one-way-secret-1")
    one = await service.start()
    await one.discover()
    await one.ask(api.CHAPSecret(secret=b"not-that-of-the-target"))
    await one.gets(api.LoginTarget(target_name=MUTUAL, options=both), StatusCode.AUTHENTICATION_FAILURE)
    await one.ask(api.CHAPSecret(secret=b"mutual-secret-22"))
    await one.does(api.LoginTarget(target_name=MUTUAL, options=both))


@status_case(StatusCode.CANT_INCLUDE_IN_SESSION, "added-connection")
async def added_connection(service: ServiceBench) -> None:
    """A connection that the target does not take into the session has its code; the next one is added."""
    refusal = at_login(Set("status_class", 2), Set("status_detail", 8), cid=1)
    one = await service.start(faults=[refusal])
    await one.discover()
    session = await one.log_in()
    asked = api.AddConnection(session_id=session.session_id, portal=HOST)
    await one.gets(asked, StatusCode.CANT_INCLUDE_IN_SESSION)
    one.mend()
    await one.does(asked)
