r"""Initiator instances: the software initiator and each adapter, under the names by which commands choose one of them
(guide, Initiator Instance).

A name has the form of the device instances that the guide's Appendix E shows, with the number of the port driver's instance
behind it: ROOT\ISCSIPRT\0000_0 for the software initiator, PLUGIN\NAME\0000_0 for an adapter. An instance keeps its ISID,
so that a target takes a login after a restart for the same initiator port (RFC 7143, 10.1.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import InitiatorInstance
from iscsi_protocol.identity import Isid

SOFTWARE = "ROOT\\ISCSIPRT"
ADAPTER = "PLUGIN"


def instance_name(plug_in: str | None, number: int = 0) -> str:
    """The name of an instance. plug_in: the adapter's entry point, None for the software initiator; number: 0 to 9999."""
    if not 0 <= number <= 9999:
        raise ValueError(f"an instance has a number from 0 to 9999, not {number}")
    device = SOFTWARE if plug_in is None else f"{ADAPTER}\\{re.sub(r'[^A-Z0-9]', '_', plug_in.upper())}"
    return f"{device}\\{number:04}_0"


def complete(
    known: Iterable[InitiatorInstance], plug_ins: Iterable[str], random_bytes: Callable[[int], bytes]
) -> tuple[InitiatorInstance, ...]:
    """The instances that there are to be: the software initiator, then an adapter for each entry point, in their order.

    Those that are known keep name and ISID; those that are known and not there any more stay, so that an adapter which
    comes back is the same. random_bytes: entropy for the ISIDs of new ones, which differ from all others.
    """
    found = list(known)
    isids = {each.isid for each in found}
    names = {each.name for each in found}
    for plug_in in (None, *plug_ins):
        if any(each.plug_in == plug_in for each in found):
            continue
        number = next(number for number in range(10_000) if instance_name(plug_in, number) not in names)
        isid = bytes(Isid.draw(random_bytes))
        while isid in isids:
            isid = bytes(Isid.draw(random_bytes))
        found.append(InitiatorInstance(name=instance_name(plug_in, number), plug_in=plug_in, isid=isid))
        names.add(found[-1].name)
        isids.add(isid)
    return tuple(found)


def choose(instances: Iterable[InitiatorInstance], name: str) -> InitiatorInstance:
    """The instance of that name, in whatever case. Raises Refused with INITIATOR_NOT_FOUND."""
    for each in instances:
        if each.name.casefold() == name.casefold():
            return each
    raise Refused(StatusCode.INITIATOR_NOT_FOUND, f"no initiator instance {name}")
