"""What a portal answers to SendTargets (RFC 7143 Appendix C), read and judged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from iscsi_initiator.discovery.instance import Group
from iscsi_initiator.store.state import Portal
from iscsi_protocol.names import IscsiNameError, check_name
from iscsi_protocol.negotiation.values import TargetAddress, parse_target_address
from iscsi_protocol.text import ValueFormError


class InvalidSendTargets(Exception):
    """The answer cannot be read as a list of targets. The text says why."""


@dataclass(frozen=True, slots=True)
class Told:
    """A target that the portal told of."""

    name: str
    groups: tuple[Group, ...]


def read_answer(pairs: Iterable[tuple[str, str]], asked: Portal) -> tuple[list[Told], list[str]]:
    """The targets, and what was wrong with those that were dropped: names that are none.

    asked: the portal, which stands for a target without an address. Raises InvalidSendTargets for an address before any
    name, an address that is none, a key that does not belong there.
    """
    records: list[tuple[str, list[TargetAddress]]] = []
    for key, value in pairs:
        if key == "TargetName":
            records.append((value, []))
        elif key != "TargetAddress":
            raise InvalidSendTargets(f"the key {key[:64]!r} in an answer to SendTargets")
        elif not records:
            raise InvalidSendTargets("TargetAddress before the first TargetName")
        else:
            try:
                records[-1][1].append(parse_target_address(value))
            except ValueFormError as error:
                raise InvalidSendTargets(f"TargetAddress of {records[-1][0]!r}: {error}") from error
    told, dropped = [], []
    for name, addresses in records:
        try:
            check_name(name)
        except IscsiNameError as error:
            dropped.append(str(error))
        else:
            told.append(Told(name, _groups(addresses) or (Group(None, (asked,)),)))
    return told, dropped


def _groups(addresses: Iterable[TargetAddress]) -> tuple[Group, ...]:
    groups: dict[int | None, list[Portal]] = {}
    for address in addresses:
        portal = Portal(address=address.host, port=address.port)
        portals = groups.setdefault(address.tag, [])
        if portal not in portals:
            portals.append(portal)
    return tuple(Group(tag, tuple(portals)) for tag, portals in groups.items())
