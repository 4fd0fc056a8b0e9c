"""Adapters: host bus adapters as plug-ins of the service, which find targets on their own (guide, "Discovery mechanisms").

A plug-in is an entry point of the group `iscsi_initiator.adapters`. It is a callable that takes a `Host` and a text (what
stands behind the = of `--adapter NAME=TEXT`, else empty) and gives an `Adapter`. What an adapter raises should be an
`AdapterFailure`; anything else, and an answer of another type than the one promised, breaks the contract (DRIVER_BUG).

What an adapter has besides `discover` is optional: `KeyCache`, `ManagementData`, `Pinger`.

    event 108  the plug-in cannot be loaded, or what it gives is no adapter
    event 109  an up-call of an adapter is malformed
    event 110  a request to an adapter failed
    event 115  an adapter's discovery failed
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol, runtime_checkable

from iscsi_initiator.discovery.instance import NO_OPTIONS, Group, Instance, Kind, Source
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import LoginOptions, Portal
from iscsi_protocol.eventlog.rows import EVENTS as DRIVER_EVENTS
from iscsi_protocol.names import IscsiNameError, check_name

GROUP = "iscsi_initiator.adapters"
MAX_EVENT_DATA = 4096
"""Bytes of data that an adapter may have logged with an event."""

Teller = Callable[..., None]
"""Logs an event of the service: its number, and its insertion strings."""


class AdapterFailure(Exception):
    """An adapter could not do what it was asked for. status: why, NON_SPECIFIC_ERROR where it does not say."""

    def __init__(self, text: str = "", status: StatusCode = StatusCode.NON_SPECIFIC_ERROR) -> None:
        super().__init__(text or "the adapter does not say why")
        self.status = status


class KeyCacheFull(AdapterFailure):
    """The adapter has no room for another IPsec key."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text or "the key cache of the adapter is full", StatusCode.HBA_SECURITY_CACHE_FULL)


class Host(Protocol):
    """What an adapter may call, from the thread of the service's event loop."""

    def up_call(self, request: object) -> None:
        """Tell the service something: a mapping with `kind`, of which there are

        "targets-changed": what `discover` gives is not what it was;
        "event-log": `type` is the number of an event of the driver, `data` its dump data (bytes), and `log` says whether it
        goes to the event log; those who watch management data are told in either case.
        """


@dataclass(frozen=True, slots=True)
class AdapterTarget:
    """A target that an adapter found."""

    name: str
    portals: tuple[Portal, ...]
    alias: str | None = None
    options: LoginOptions = NO_OPTIONS


@runtime_checkable
class Adapter(Protocol):
    """addresses: of its ports, in the order of their numbers, empty for one port at any address; isid: the one that all its
    sessions have, 6 bytes, None where it can have any.
    """

    addresses: tuple[str, ...]
    isid: bytes | None

    def discover(self) -> Iterable[AdapterTarget]:
        """The targets that it sees now; may block. Raises AdapterFailure."""


@runtime_checkable
class KeyCache(Protocol):
    """What an adapter has besides that protects connections by IPsec itself."""

    def cache_key(self, portal: Portal, key: bytes) -> None:
        """Keep the preshared key for a portal. Raises AdapterFailure, KeyCacheFull."""


PlugIn = Callable[[Host, str], object]
"""What an entry point is: takes the service and a text, and gives an adapter."""


@runtime_checkable
class ManagementData(Protocol):
    """What an adapter has besides that tells of itself through the management classes."""

    def management(self, name: str) -> Iterable[Mapping[str, object]]:
        """The instances of a class (`service.management`), one for each port: values by the names of its properties, of
        which InstanceName and Active are not the adapter's. Structures are mappings, arrays lists, octets bytes. Nothing
        for a class that it does not have. Raises AdapterFailure.
        """

    def configure(self, name: str, port: int, values: Mapping[str, object]) -> None:
        """Take other values of a class's properties, of a port by its place in what `management` gives. Raises
        AdapterFailure.
        """


@runtime_checkable
class Pinger(Protocol):
    """What an adapter has besides that sends ICMP echo requests itself."""

    def ping(self, address: str, count: int, size: int, timeout: float) -> int:
        """How many of so many requests with `size` bytes of data were answered, each within `timeout` seconds. Called from
        a thread of its own. Raises AdapterFailure.
        """


@dataclass(frozen=True, slots=True)
class TargetsChanged:
    """An up-call: the adapter sees other targets now."""


@dataclass(frozen=True, slots=True)
class EventWanted:
    """An up-call: the adapter has an event. log: whether it goes to the event log."""

    event: int
    data: bytes
    log: bool


def load(name: str, argument: str, host: Host, tell: Teller) -> Adapter:
    """Make the adapter of a plug-in. Raises Refused DRIVER_BUG, with event 108 logged."""
    found = entry_points(group=GROUP, name=name)
    factory: PlugIn | None
    try:
        factory = next(iter(found)).load() if found else None
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything while it is imported
        return _refuse(tell, name, f"it cannot be imported ({type(error).__name__}: {error})")
    if factory is None:
        return _refuse(tell, name, f"no entry point of this name in the group {GROUP}")
    return attach(name, factory, argument, host, tell)


def attach(name: str, factory: PlugIn, argument: str, host: Host, tell: Teller) -> Adapter:
    """As `load`, of a plug-in that is imported already."""
    try:
        adapter = factory(host, argument)
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything while it starts
        return _refuse(tell, name, f"it does not start ({type(error).__name__}: {error})")
    if not isinstance(adapter, Adapter) or not callable(adapter.discover):
        return _refuse(tell, name, "it does not answer as an iSCSI initiator: no addresses, isid or discover")
    return adapter


def _refuse(tell: Teller, name: str, reason: str) -> Adapter:
    tell(108, StatusCode.DRIVER_BUG.text, f"{name}: {reason}")
    raise Refused(StatusCode.DRIVER_BUG, f"adapter {name}: {reason}")


def told_by_adapter(request: object) -> TargetsChanged | EventWanted | None:
    """What an up-call says; None for one that is not well formed."""
    if not isinstance(request, Mapping):
        return None
    match dict(request):
        case {"kind": "targets-changed", **rest} if not rest:
            return TargetsChanged()
        case {"kind": "event-log", "type": int(event), "data": bytes(data), "log": bool(log), **rest} if not rest:
            known = event in DRIVER_EVENTS and not isinstance(event, bool) and len(data) <= MAX_EVENT_DATA
            return EventWanted(event, data, log) if known else None
    return None


def discovered(name: str, adapter: Adapter) -> tuple[list[Instance], list[str]]:
    """The targets that an adapter finds, and what was wrong with those that were dropped. name: the initiator instance that
    the adapter is. Raises Refused.
    """
    answer = _ask(name, adapter.discover)
    try:
        targets = list(answer)
    except TypeError:
        targets = [answer]
    if not all(isinstance(target, AdapterTarget) for target in targets):
        raise Refused(StatusCode.DRIVER_BUG, f"adapter {name}: discover gives something else than targets")
    source = Source(Kind.HBA, name, name)
    instances, dropped = [], []
    for target in targets:
        try:
            check_name(target.name)
        except IscsiNameError as error:
            dropped.append(str(error))
            continue
        groups = (Group(None, target.portals),) if target.portals else ()
        instances.append(
            Instance(source=source, name=target.name, alias=target.alias, groups=groups, options=target.options)
        )
    return instances, dropped


def cache_key(name: str, adapter: Adapter, portal: Portal, key: bytes, tell: Teller) -> None:
    """Have an adapter keep an IPsec key. Raises Refused: HBA_SECURITY_CACHE_NOT_SUPPORTED, HBA_SECURITY_CACHE_FULL, what
    else the adapter says; event 110 for a failure.
    """
    if not isinstance(adapter, KeyCache):
        raise Refused(StatusCode.HBA_SECURITY_CACHE_NOT_SUPPORTED, f"adapter {name} keeps no keys")
    try:
        _ask(name, lambda: adapter.cache_key(portal, key))
    except Refused as error:
        tell(110, str(error))
        raise


def management(name: str, adapter: Adapter, class_name: str) -> list[Mapping[str, Any]]:
    """What an adapter tells of itself for a class; nothing for one that has no such data. Raises Refused."""
    if not isinstance(adapter, ManagementData):
        return []
    rows = _ask(name, lambda: list(adapter.management(class_name)))
    if not all(isinstance(row, Mapping) for row in rows):
        raise Refused(StatusCode.DRIVER_BUG, f"adapter {name}: management gives something else than mappings")
    return list(rows)


def configure(
    name: str, adapter: ManagementData, class_name: str, port: int, values: Mapping[str, Any], tell: Teller
) -> None:
    """Have an adapter take values. Raises Refused, with event 110 logged."""
    try:
        _ask(name, lambda: adapter.configure(class_name, port, values))
    except Refused as error:
        tell(110, str(error))
        raise


def ping(name: str, adapter: Pinger, address: str, count: int, size: int, timeout: float) -> int:
    """How many pings through an adapter were answered. Raises Refused."""
    answered = _ask(name, lambda: adapter.ping(address, count, size, timeout))
    if not isinstance(answered, int) or not 0 <= answered <= count:
        raise Refused(StatusCode.DRIVER_BUG, f"adapter {name}: ping gives something else than a number of answers")
    return answered


def _ask(name: str, request: Callable[[], Any]) -> Any:
    try:
        return request()
    except AdapterFailure as error:
        raise Refused(error.status, f"adapter {name}: {error}") from error
    except Exception as error:
        reason = f"adapter {name} raised {type(error).__name__}: {error}"
        raise Refused(StatusCode.DRIVER_BUG, reason) from error
