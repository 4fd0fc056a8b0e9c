"""Instances of management classes, all of them or those with certain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from iscsi_initiator.service.management.schema import (
    Kind,
    ManagementClass,
    Property,
    Row,
    Structure,
    named,
    taken,
    value_of,
)
from iscsi_initiator.status_codes import Refused, StatusCode

if TYPE_CHECKING:
    from iscsi_initiator.service.core import Core


def shown(properties: Iterable[Property], row: Row) -> dict[str, Any]:
    """A row as it is told: in the order of the properties, and without secrets."""
    return {each.name: _value(each, row[each.name]) for each in properties}


def _value(wanted: Property, value: Any) -> Any:
    if wanted.secret:
        return b""
    kind = wanted.kind
    if value is None or not isinstance(kind, Structure):
        return value
    if wanted.array:
        return [shown(kind.properties, each) for each in value]
    return shown(kind.properties, value)


def query(core: Core, wanted: ManagementClass, where: Mapping[str, str]) -> list[dict[str, Any]]:
    """The instances that have these values; text is compared in any case. Raises Refused: REQUEST_NOT_SUPPORTED for a class
    of events, INVALID_PARAMETER for a property that is none or that no value can be asked of.
    """
    if wanted.instances is None:
        raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, f"{wanted.name} is a class of events: watch it")
    conditions = [_condition(wanted, name, value) for name, value in where.items()]
    rows = [shown(wanted.properties, row) for row in wanted.instances(core)]
    return [row for row in rows if all(_plain(row[name]) == value for name, value in conditions)]


def _condition(wanted: ManagementClass, name: str, text: str) -> tuple[str, Any]:
    each = named(wanted.properties, name, wanted.name)
    if each.array or isinstance(each.kind, Structure) or each.secret:
        raise Refused(StatusCode.INVALID_PARAMETER, f"{wanted.name}: {each.name} cannot be compared")
    if each.kind is Kind.OCTETS:
        try:
            return each.name, bytes.fromhex(text)
        except ValueError as error:
            reason = f"{wanted.name}: {each.name} is compared with hexadecimal digits"
            raise Refused(StatusCode.INVALID_PARAMETER, reason) from error
    return each.name, _plain(value_of(each, text, wanted.name))


def _plain(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def one(core: Core, wanted: ManagementClass, where: Mapping[str, str]) -> dict[str, Any]:
    """The one instance that has these values. Raises Refused as `query`, and: the class's own code for none,
    INVALID_PARAMETER for several.
    """
    rows = query(core, wanted, where)
    if not rows:
        raise Refused(wanted.missing, f"{wanted.name} has no such instance")
    if len(rows) > 1:
        keys = ", ".join(each.name for each in wanted.properties if each.key)
        reason = f"{wanted.name} has {len(rows)} such instances; one is to be told apart by {keys}"
        raise Refused(StatusCode.INVALID_PARAMETER, reason)
    return rows[0]


def arguments(wanted: ManagementClass, method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a method in their types. Raises Refused: REQUEST_NOT_SUPPORTED, INVALID_PARAMETER."""
    found = wanted.method(method)
    return taken(found.arguments, given, f"{wanted.name}::{found.name}")
