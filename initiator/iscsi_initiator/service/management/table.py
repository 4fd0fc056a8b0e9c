"""Every class of management data, a row each. Whoever adds one adds its row to a module's `CLASSES`, or a module to
`_ROOMS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from iscsi_initiator.service.management import adapters, driver, initiator, multipath, statistics
from iscsi_initiator.service.management.schema import ManagementClass
from iscsi_initiator.status_codes import Refused, StatusCode

_ROOMS = (driver, initiator, statistics, adapters, multipath)

CLASSES: Mapping[str, ManagementClass] = MappingProxyType({each.name: each for room in _ROOMS for each in room.CLASSES})
"""By name, in the order in which they are shown."""

_NAMES = {name.casefold(): each for each in CLASSES.values() for name in (each.name, *each.aliases)}


def find(name: str) -> ManagementClass:
    """A class by its name or another name of it, in any case. Raises Refused REQUEST_NOT_SUPPORTED."""
    found = _NAMES.get(name.casefold())
    if found is None:
        raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, f"there is no management class {name}")
    return found
