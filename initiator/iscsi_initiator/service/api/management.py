"""Requests about management data (guide, "WMI"): classes, their instances and methods, their events, and the counters."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from iscsi_initiator.service.api.answers import Answer
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.values import check_text
from iscsi_initiator.status_codes import Refused, StatusCode

MAX_VALUES = 64
"""Conditions, arguments or classes of one request."""


class PropertyEntry(Struct, frozen=True, kw_only=True):
    """A property, an argument or a result. type: a CIM type or the name of a structure, with [] behind it for an array."""

    name: str
    type: str
    key: bool = False
    required: bool = False
    secret: bool = False


class MethodEntry(Struct, frozen=True, kw_only=True):
    """A method of a class."""

    name: str
    says: str = ""
    arguments: tuple[PropertyEntry, ...] = ()
    results: tuple[PropertyEntry, ...] = ()


class ClassEntry(Struct, frozen=True, kw_only=True):
    """A class. event: it is watched instead of queried; aliases: what else it is called."""

    name: str
    says: str = ""
    event: bool = False
    aliases: tuple[str, ...] = ()
    properties: tuple[PropertyEntry, ...] = ()
    methods: tuple[MethodEntry, ...] = ()


class StructureEntry(Struct, frozen=True, kw_only=True):
    """What stands inside of properties, arguments and results."""

    name: str
    properties: tuple[PropertyEntry, ...] = ()


class ManagementClasses(Answer, frozen=True, kw_only=True):
    """ListClasses."""

    classes: tuple[ClassEntry, ...] = ()
    structures: tuple[StructureEntry, ...] = ()


class Instances(Answer, frozen=True, kw_only=True):
    """Query: objects of all the properties of the class; octets are base64."""

    class_name: str = ""
    instances: tuple[dict[str, Any], ...] = ()


class Invoked(Answer, frozen=True, kw_only=True):
    """Invoke: what the method gives, by name."""

    results: dict[str, Any] = field(default_factory=dict)


class Notice(Answer, frozen=True, kw_only=True):
    """Watch: an event as an instance of its class; without a class where there is none. lost: events before it that were
    not told, since they came faster than they were taken.
    """

    class_name: str | None = None
    instance: dict[str, Any] = field(default_factory=dict)
    lost: int = 0


class Counters(Answer, frozen=True, kw_only=True):
    """Metrics: text in the format of Prometheus, 0.0.4."""

    text: str = ""


def _check_names(names: Any, what: str) -> None:
    if len(names) > MAX_VALUES:
        raise Refused(StatusCode.INVALID_PARAMETER, f"at most {MAX_VALUES} {what}, not {len(names)}")
    for name in names:
        check_text(name, "a name")


class ListClasses(Operation[ManagementClasses], frozen=True, kw_only=True):
    """The classes, their properties and methods."""


class Query(Operation[Instances], frozen=True, kw_only=True):
    """The instances of a class. where: values that they have, as text; octets in hexadecimal."""

    class_name: str
    where: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        check_text(self.class_name, "the name of a class")
        _check_names(self.where, "conditions")


class Invoke(Operation[Invoked], frozen=True, kw_only=True):
    """Call a method of the one instance that has these values."""

    secret_fields = frozenset({"arguments"})

    class_name: str
    method: str
    where: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        check_text(self.class_name, "the name of a class")
        check_text(self.method, "the name of a method")
        _check_names(self.where, "conditions")
        _check_names(self.arguments, "arguments")


class Watch(Operation[Notice], frozen=True, kw_only=True):
    """Tell of events as they happen, an answer for each, until the connection is closed. classes: of events, none for all."""

    classes: tuple[str, ...] = ()

    def check(self) -> None:
        _check_names(self.classes, "classes")


class Metrics(Operation[Counters], frozen=True, kw_only=True):
    """The counters as Prometheus reads them."""
