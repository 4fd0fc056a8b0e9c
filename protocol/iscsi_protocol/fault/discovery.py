"""Finding the fault tables of a package, every module below it that has FAULTS, and one fault in them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from iscsi_protocol.fault.model import NamedFault, Side, UnknownFault, table


def faults_of(package: str, side: Side) -> dict[str, NamedFault]:
    """All faults of a package's modules by id, in the order of the ids.

    Raises ValueError for an id given twice, a fault of the other side, or a module without FAULTS.
    """
    groups: list[tuple[NamedFault, ...]] = []
    for module in iter_modules(import_module(package).__path__, f"{package}."):
        group = getattr(import_module(module.name), "FAULTS", None)
        if group is None:
            raise ValueError(f"{module.name} has no FAULTS")
        groups.append(group)
    faults = table(*groups)
    for fault in faults.values():
        if fault.side is not side:
            raise ValueError(f"{fault.id} is a fault of the {fault.side.value}")
    return dict(sorted(faults.items()))


def find(faults: Mapping[str, NamedFault], fault_id: str) -> NamedFault:
    """The fault with that id. Raises UnknownFault."""
    try:
        return faults[fault_id]
    except KeyError:
        raise UnknownFault(fault_id, list(faults)) from None
