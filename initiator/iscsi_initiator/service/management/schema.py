"""What a class of management data is made of: properties with types, and methods; and how values that somebody gives are
brought into those types.

Names are taken in any case, as they are in WMI. Octets (uint8[]) are bytes, in JSON base64.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from iscsi_initiator.status_codes import Refused, StatusCode

if TYPE_CHECKING:
    from iscsi_initiator.service.api.operation import Operation
    from iscsi_initiator.service.core import Core

Row = dict[str, Any]
"""An instance: values by the names of its properties, None for what is not known."""

MAX_ELEMENTS = 1024
"""Elements of an array that somebody gives."""


class Kind(Enum):
    """The types of CIM that are used; octets are what it has as uint8[]."""

    BOOLEAN = "boolean"
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    UINT64 = "uint64"
    STRING = "string"
    OCTETS = "uint8[]"

    @property
    def limit(self) -> int | None:
        """The highest number; None for what is no number."""
        return _LIMITS.get(self)


_LIMITS = {Kind.UINT8: 0xFF, Kind.UINT16: 0xFFFF, Kind.UINT32: 0xFFFF_FFFF, Kind.UINT64: 0xFFFF_FFFF_FFFF_FFFF}
_TRUE, _FALSE = frozenset({"true", "t", "1"}), frozenset({"false", "f", "0"})


@dataclass(frozen=True, slots=True)
class Structure:
    """A class that stands inside of others only."""

    name: str
    properties: tuple[Property, ...]


@dataclass(frozen=True, slots=True)
class Property:
    """A property, or an argument or a result of a method. array: several of the kind; key: by which an instance is told
    from others; required: of an argument, that it cannot be left out; secret: it goes in and never comes out.
    """

    name: str
    kind: Kind | Structure
    array: bool = False
    key: bool = False
    required: bool = False
    secret: bool = False

    @property
    def type(self) -> str:
        """The type as a class's definition has it."""
        name = self.kind.name if isinstance(self.kind, Structure) else self.kind.value
        return f"{name}[]" if self.array else name


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method. request: the operation of the API that it is, made of the instance and the arguments; results: what it
    gives, out of the answer. act: what it does where no operation does it, which gives the results.
    """

    name: str
    says: str
    arguments: tuple[Property, ...] = ()
    gives: tuple[Property, ...] = ()
    request: Callable[[Row, Row], Operation[Any]] | None = None
    results: Callable[[Any], Row] = lambda _answer: {}
    act: Callable[[Core, Row, Row], Awaitable[Row]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementClass:
    """A class. instances: of a running service, None for a class of events, which are watched; aliases: what else it is
    called; missing: the code for an instance that is not there.
    """

    name: str
    says: str
    properties: tuple[Property, ...]
    instances: Callable[[Core], Iterable[Row]] | None = None
    methods: tuple[Method, ...] = ()
    aliases: tuple[str, ...] = ()
    missing: StatusCode = StatusCode.INITIATOR_INSTANCE_NOT_FOUND

    @property
    def is_event(self) -> bool:
        """Whether it is watched instead of queried."""
        return self.instances is None

    def method(self, name: str) -> Method:
        """A method by its name. Raises Refused REQUEST_NOT_SUPPORTED."""
        for each in self.methods:
            if each.name.casefold() == name.casefold():
                return each
        raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, f"{self.name} has no method {name}")


def named(properties: Iterable[Property], name: str, what: str) -> Property:
    """A property by its name. what: whose it is, for the message. Raises Refused INVALID_PARAMETER."""
    for each in properties:
        if each.name.casefold() == name.casefold():
            return each
    raise Refused(StatusCode.INVALID_PARAMETER, f"{what} has no {name}")


def taken(properties: Iterable[Property], given: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Values that somebody gives, by the names and in the types of the properties; what is None is left out.

    Raises Refused INVALID_PARAMETER: a name that is none or that stands there twice, a value that does not fit, one that
    is required and missing.
    """
    every = tuple(properties)
    values: dict[str, Any] = {}
    for name, value in given.items():
        each = named(every, name, what)
        if each.name in values:
            raise Refused(StatusCode.INVALID_PARAMETER, f"{what}: {each.name} is given twice")
        if value is not None:
            values[each.name] = value_of(each, value, what)
    for each in every:
        if each.required and each.name not in values:
            raise Refused(StatusCode.INVALID_PARAMETER, f"{what}: {each.name} is needed")
    return values


def value_of(wanted: Property, value: Any, what: str) -> Any:
    """A value in the type of a property. Raises Refused INVALID_PARAMETER, never with the value of a secret in it."""
    if not wanted.array:
        return _one(wanted, value, what)
    if not isinstance(value, list | tuple) or len(value) > MAX_ELEMENTS:
        raise _misfit(wanted, what)
    return [_one(wanted, each, what) for each in value]


def _one(wanted: Property, value: Any, what: str) -> Any:
    kind = wanted.kind
    if isinstance(kind, Structure):
        if not isinstance(value, Mapping):
            raise _misfit(wanted, what)
        return taken(kind.properties, value, f"{what}: {wanted.name}")
    found = _READERS[kind](kind, value)
    if found is None:
        raise _misfit(wanted, what)
    return found


def _misfit(wanted: Property, what: str) -> Refused:
    return Refused(StatusCode.INVALID_PARAMETER, f"{what}: {wanted.name} is of type {wanted.type}")


def _boolean(_kind: Kind, value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    word = value.casefold() if isinstance(value, str) else None
    return True if word in _TRUE else False if word in _FALSE else None


def _number(kind: Kind, value: Any) -> int | None:
    if isinstance(value, str) and value.isascii():
        try:
            value = int(value, 0)
        except ValueError:
            return None
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= (kind.limit or 0)
    return value if fits else None


def _string(_kind: Kind, value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _octets(_kind: Kind, value: Any) -> bytes | None:
    if isinstance(value, bytes):
        return value
    try:
        return b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        return None


_READERS: Mapping[Kind, Callable[[Kind, Any], Any]] = {
    Kind.BOOLEAN: _boolean,
    Kind.UINT8: _number,
    Kind.UINT16: _number,
    Kind.UINT32: _number,
    Kind.UINT64: _number,
    Kind.STRING: _string,
    Kind.OCTETS: _octets,
}


def structures(classes: Iterable[ManagementClass]) -> dict[str, Structure]:
    """Every structure that stands in properties, arguments and results, by its name."""
    found: dict[str, Structure] = {}

    def look(properties: Iterable[Property]) -> None:
        for each in properties:
            if isinstance(each.kind, Structure) and each.kind.name not in found:
                found[each.kind.name] = each.kind
                look(each.kind.properties)

    for each in classes:
        look(each.properties)
        for method in each.methods:
            look((*method.arguments, *method.gives))
    return dict(sorted(found.items()))
