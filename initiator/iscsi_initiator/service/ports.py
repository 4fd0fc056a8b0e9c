"""Initiator instances as they run: the software initiator or an adapter, and the ports that connections begin at."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from iscsi_initiator.discovery.adapters import Adapter
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import InitiatorInstance
from iscsi_protocol.history import Endpoint

_NODE_NAMES = ("iqn.", "eui.", "naa.")


@dataclass(frozen=True, slots=True)
class LocalInstance:
    """record: its name and ISID; addresses: of its ports in their order, empty for one port that begins anywhere; adapter:
    None for the software initiator.
    """

    record: InitiatorInstance
    addresses: tuple[str, ...] = ()
    adapter: Adapter | None = None

    @property
    def name(self) -> str:
        """By which commands choose it."""
        return self.record.name

    @property
    def fixed_isid(self) -> bytes | None:
        """The ISID that all its sessions have, where it can have but one."""
        return None if self.adapter is None else self.adapter.isid

    def source(self, port: int | None, address: str) -> Endpoint | None:
        """Where a connection to a numeric address begins: at the port's address, or the first of the same family; None for
        anywhere. Raises Refused: INVALID_PORT_NUMBER, ADDRESS_TYPE_NOT_SUPPORTED.
        """
        if port is not None and port >= max(1, len(self.addresses)):
            raise Refused(StatusCode.INVALID_PORT_NUMBER, f"{self.name} has no port {port}")
        if not self.addresses:
            return None
        version = ipaddress.ip_address(address).version
        usable = self.addresses if port is None else self.addresses[port : port + 1]
        for own in usable:
            if ipaddress.ip_address(own).version == version:
                return Endpoint(own, 0)
        raise Refused(StatusCode.ADDRESS_TYPE_NOT_SUPPORTED, f"{self.name} has no IPv{version} address there")


def choose(
    instances: Iterable[LocalInstance], name: str | None, node_name: str, *, preferred: str | None = None
) -> LocalInstance:
    """The instance of a name in any case; where none is named, the one that is preferred or the first. The node's own name
    stands for all of its instances.

    Raises Refused: INITIATOR_NODE_NOT_FOUND for another node's name, INITIATOR_INSTANCE_NOT_FOUND for any other.
    """
    every = list(instances)
    if name is None or name.lower() == node_name:
        name = preferred
    if name is None:
        return every[0]
    for each in every:
        if each.name.casefold() == name.casefold():
            return each
    if name.lower().startswith(_NODE_NAMES):
        raise Refused(StatusCode.INITIATOR_NODE_NOT_FOUND, f"there is no initiator node {name} here")
    raise Refused(StatusCode.INITIATOR_INSTANCE_NOT_FOUND, f"there is no initiator instance {name}")
