"""Operations about targets that are configured by hand (guide, Appendix C: Manually Configured Targets)."""

from __future__ import annotations

from contextlib import suppress

from iscsi_initiator.discovery.static import merge_static
from iscsi_initiator.service import api
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.operations.records import stored_options
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import StaticTarget, TargetFlag


async def add_target(core: Core, request: api.AddTarget) -> api.Answer:
    """Configure a target. Raises Refused TARGET_ALREADY_EXISTS without the flag that merges."""
    place = StaticTarget(name=request.target_name).place
    given = StaticTarget(
        name=request.target_name,
        alias=request.target_alias,
        flags=request.target_flags,
        persist=request.persist,
        options=stored_options(core, request.options, place),
        portals=() if request.portal is None else (request.portal,),
        mappings=request.mappings,
    )
    known = core.store.state.static_targets
    there = next((each for each in known if each.name == given.name), None)
    if there is None:
        records = (*known, given)
    elif request.target_flags & TargetFlag.MERGE_TARGET_INFORMATION:
        records = tuple(merge_static(each, given) if each is there else each for each in known)
    else:
        raise Refused(StatusCode.TARGET_ALREADY_EXISTS, f"{given.name} is configured")
    core.keep(static_targets=records)
    _taken_over(core)
    return api.Answer()


async def remove_target(core: Core, request: api.RemoveTarget) -> api.Answer:
    """Forget a target that was configured. Raises Refused TARGET_NOT_FOUND."""
    known = core.store.state.static_targets
    left = tuple(each for each in known if each.name != request.target_name)
    if len(left) == len(known):
        raise Refused(StatusCode.TARGET_NOT_FOUND, f"{request.target_name} was not configured by hand")
    core.keep(status=StatusCode.COULD_NOT_REMOVE_PERSISTENT_LOGIN_DATA, static_targets=left)
    _taken_over(core)
    return api.Answer()


def _taken_over(core: Core) -> None:
    """Damage of other records is logged, and no matter of this request."""
    with suppress(Refused):
        core.discovery.static(core.store.state.static_targets)
