"""An adapter in software, as an example of a plug-in and for trying them out: `--adapter example=FILE`.

FILE has what the flash memory of a real adapter has, as JSON:

    {"addresses": ["127.0.0.1"], "isid": "00023d000001", "key_slots": 4,
     "targets": [{"name": "iqn.2026-01.org.example:disk", "alias": null, "portals": ["127.0.0.1:3260"]}]}

All but `targets` may be left out. Without key_slots it keeps no IPsec keys; isid is one that all sessions share.

`management` has what it tells through the management classes, for each class a list of objects; octets are base64. What it
is told there is written into the file. `answering` has the addresses that answer its pings:

     "management": {"MSiSCSI_NICConfig": [{"LinkSpeed": 10000, "LinkState": 1}]}, "answering": ["192.0.2.1"]
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from iscsi_initiator.discovery.adapters import Adapter, AdapterFailure, AdapterTarget, Host, KeyCacheFull
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.state import Portal
from iscsi_protocol.negotiation.values import parse_target_address
from iscsi_protocol.text import ValueFormError


class _Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    alias: str | None = None
    portals: tuple[str, ...] = ()


class _Flash(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    addresses: tuple[str, ...] = ()
    isid: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{12}$")] | None = None
    key_slots: int | None = None
    targets: tuple[_Target, ...] = ()
    management: dict[str, list[dict[str, Any]]] = {}
    answering: tuple[str, ...] = ()


class ExampleAdapter:
    """See `Adapter`."""

    def __init__(self, path: Path, host: Host) -> None:
        self.path = path
        self._host = host
        flash = self._flash()
        self.addresses = flash.addresses
        self.isid = bytes.fromhex(flash.isid) if flash.isid is not None else None

    def discover(self) -> Iterable[AdapterTarget]:
        """What the file says now."""
        return [
            AdapterTarget(target.name, tuple(_portal(text) for text in target.portals), target.alias)
            for target in self._flash().targets
        ]

    def changed(self) -> None:
        """Tell the service that the file says something else."""
        self._host.up_call({"kind": "targets-changed"})

    def management(self, name: str) -> Iterable[Mapping[str, object]]:
        """See `ManagementData`."""
        return self._flash().management.get(name, [])

    def configure(self, name: str, port: int, values: Mapping[str, object]) -> None:
        """See `ManagementData`."""
        flash = self._flash()
        rows = list(flash.management.get(name, []))
        rows[port] = {**rows[port], **_writable(values)}
        kept = msgspec.structs.replace(flash, management={**flash.management, name: rows})
        try:
            self.path.write_bytes(msgspec.json.format(msgspec.json.encode(kept)))
        except OSError as error:
            raise AdapterFailure(f"{self.path}: {error.strerror}") from error

    def ping(self, address: str, count: int, size: int, timeout: float) -> int:
        """See `Pinger`."""
        return count if address in self._flash().answering else 0

    def log(self, event: int, data: bytes, *, log: bool = True) -> None:
        """Have an event of the driver logged."""
        self._host.up_call({"kind": "event-log", "type": event, "data": data, "log": log})

    def _flash(self) -> _Flash:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=_Flash)
        except OSError as error:
            raise AdapterFailure(f"{self.path}: {error.strerror}", StatusCode.CONNECTION_FAILED) from error
        except msgspec.DecodeError as error:
            raise AdapterFailure(f"{self.path}: {error}") from error


class ExampleKeyAdapter(ExampleAdapter):
    """One that keeps IPsec keys, as many as it has slots."""

    def __init__(self, path: Path, host: Host) -> None:
        super().__init__(path, host)
        self.keys: dict[Portal, bytes] = {}

    def cache_key(self, portal: Portal, key: bytes) -> None:
        """See `KeyCache`."""
        if portal not in self.keys and len(self.keys) >= (self._flash().key_slots or 0):
            raise KeyCacheFull
        self.keys[portal] = key


def _writable(values: Mapping[str, object]) -> dict[str, object]:
    """Values as JSON has them."""
    return {name: _json(value) for name, value in values.items()}


def _json(value: object) -> object:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return _writable(value) if isinstance(value, Mapping) else value


def _portal(text: str) -> Portal:
    try:
        address = parse_target_address(text)
    except ValueFormError as error:
        raise AdapterFailure(f"{text!r} is no portal") from error
    return Portal(address=address.host, port=address.port)


def make(host: Host, argument: str) -> Adapter:
    """The entry point. argument: the path of the file."""
    plain = ExampleAdapter(Path(argument), host)
    return plain if plain._flash().key_slots is None else ExampleKeyAdapter(Path(argument), host)  # noqa: SLF001
