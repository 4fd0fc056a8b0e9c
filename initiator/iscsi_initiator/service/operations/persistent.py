"""Operations about logins that are made at each start (guide, Appendix C: PersistentLoginTarget and what goes with it)."""

from __future__ import annotations

import msgspec

from iscsi_initiator.service import api
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.operations.records import seal, shown_login, stored_options
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import PersistentLogin


async def persistent_login_target(core: Core, request: api.PersistentLoginTarget) -> api.Answer:
    """Log in to a target at each start, and not now. Raises Refused COULD_NOT_SAVE_PERSISTENT_LOGIN_DATA, and what is wrong
    with the initiator that is named.
    """
    if request.initiator is not None:
        core.instance(request.initiator)
    login = PersistentLogin(
        target_name=request.target_name,
        number=core.store.state.next_number(request.target_name),
        report_to_pnp=request.report_to_pnp,
        portal=request.portal,
        initiator=request.initiator,
        initiator_port=request.initiator_port,
        security_flags=request.security_flags,
        mappings=request.mappings,
    )
    login = msgspec.structs.replace(
        login,
        options=stored_options(core, request.options, login.place),
        key=seal(core, request.key, login.key_place),
    )
    core.keep(persistent_logins=(*core.store.state.persistent_logins, login))
    return api.Answer()


async def list_persistent_targets(core: Core, request: api.ListPersistentTargets) -> api.PersistentLogins:
    """The logins that are made at each start."""
    del request
    return api.PersistentLogins(logins=tuple(shown_login(each) for each in core.store.state.persistent_logins))


async def remove_persistent_target(core: Core, request: api.RemovePersistentTarget) -> api.Answer:
    """Make logins no more: all that fit what is said. Raises Refused: INITIATOR_NOT_FOUND, TARGET_NOT_FOUND,
    PORTAL_NOT_FOUND, COULD_NOT_REMOVE_PERSISTENT_LOGIN_DATA.
    """
    logins = core.store.state.persistent_logins
    _check_initiator(core, request.initiator)
    fitting = [
        each
        for each in logins
        if request.target_name in (each.target_name, each.name)
        and (request.initiator is None or (each.initiator or "").casefold() == request.initiator.casefold())
        and request.initiator_port in (None, each.initiator_port)
    ]
    if not fitting:
        raise Refused(StatusCode.TARGET_NOT_FOUND, f"there is no such persistent login to {request.target_name}")
    fitting = [each for each in fitting if request.portal in (None, each.portal)]
    if not fitting:
        raise Refused(StatusCode.PORTAL_NOT_FOUND, f"no persistent login to {request.target_name} has that portal")
    left = tuple(each for each in logins if each not in fitting)
    core.keep(status=StatusCode.COULD_NOT_REMOVE_PERSISTENT_LOGIN_DATA, persistent_logins=left)
    return api.Answer()


def _check_initiator(core: Core, name: str | None) -> None:
    known = {each.name.casefold() for each in core.store.state.initiators}
    known |= {each.initiator.casefold() for each in core.store.state.persistent_logins if each.initiator is not None}
    if name is not None and name.casefold() not in known:
        raise Refused(StatusCode.INITIATOR_NOT_FOUND, f"there is no initiator {name}")
