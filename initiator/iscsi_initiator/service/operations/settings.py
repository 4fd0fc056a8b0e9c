"""Operations about settings (guide, Appendix F)."""

from __future__ import annotations

from dataclasses import replace

from iscsi_initiator.registry.taking import driver_settings, take
from iscsi_initiator.registry.text import RegError, read_reg
from iscsi_initiator.service import api
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.tunables import device_settings, service_settings
from iscsi_initiator.settings import status_of_change
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import State, StoreError


async def import_settings(core: Core, request: api.ImportSettings) -> api.Answer:
    """Take settings from a `.reg` file. Raises Refused: INVALID_PARAMETER for a file that cannot be taken,
    CONNECTION_ALREADY_EXISTS where it has another node name while there are sessions.
    """
    before = core.store.state
    try:
        after = take(read_reg(request.data), before, instance=request.instance).state
    except RegError as error:
        raise Refused(StatusCode.INVALID_PARAMETER, f"the settings: {error}") from error
    if after.node != before.node and (core.sessions or core.logging_in):
        raise Refused(StatusCode.CONNECTION_ALREADY_EXISTS, "the name cannot be changed while there are sessions")
    try:
        core.store.put(after)
    except StoreError as error:
        raise Refused(StatusCode.COULD_NOT_SAVE_PERSISTENT_LOGIN_DATA, str(error)) from error
    status = _status(core, after)
    if status is None:
        return api.Answer()
    return api.Answer(status=status, message="the settings count from the next start of the service on")


def _status(core: Core, after: State) -> StatusCode | None:
    """The warning where something that runs is to be other than it is."""
    declared = replace(driver_settings(after), initiator_name=core.settings.initiator_name)
    changed = service_settings(after.settings) != core.service_settings
    if changed or device_settings(after.settings) != core.device_settings:
        return StatusCode.OPERATION_REQUIRES_REBOOT
    return status_of_change(core.settings, declared)
