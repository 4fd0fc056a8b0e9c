"""Settings out of the keys of a `.reg` file: what the file says of each, and the state that comes of it.

A file is taken whole or not at all. What the table does not know is kept for the next export; what Windows has encrypted
cannot be used here and is left out. Both are told.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from iscsi_initiator.devices import PersistentReservation
from iscsi_initiator.node_name import check
from iscsi_initiator.registry.table import (
    ALSO,
    ENCRYPTED_KEYS,
    INSTALLATION,
    KEYS,
    ROW,
    SOFTWARE_DRIVER,
    Home,
    Row,
    instance_of,
    is_below,
    plain_path,
)
from iscsi_initiator.registry.text import RegError
from iscsi_initiator.registry.values import RegKey, RegType, RegValue, to_list, to_number, to_text, type_name
from iscsi_initiator.settings import SETTINGS, Settings
from iscsi_initiator.status_codes import Refused
from iscsi_initiator.store.state import (
    DeviceKind,
    ForeignValue,
    Node,
    PersistentDevice,
    SettingValue,
    State,
    StoredSettings,
)

_SECTION_OF = {key.casefold(): section for section, key in KEYS.items()} | {
    key.casefold(): section for key, section in ALSO.items()
}


@dataclass(frozen=True, slots=True)
class Change:
    """What a file says of one setting. before, after: None for the default. line: where the file says so."""

    row: Row
    before: SettingValue | None
    after: SettingValue | None
    line: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a file. changes: one for each setting that it names, also where nothing changes; unknown: values that no
    table has; installation: those of keys that concern Windows alone; encrypted: those that only Windows can read. The first
    two are in the state, as foreign values.
    """

    state: State
    changes: tuple[Change, ...] = ()
    unknown: tuple[ForeignValue, ...] = ()
    installation: tuple[ForeignValue, ...] = ()
    encrypted: tuple[str, ...] = ()


@dataclass(slots=True)
class _Found:
    """A file, taken apart. said: setting to value, None for one that is deleted."""

    said: dict[tuple[str, str], tuple[Row, SettingValue | None, int]] = field(default_factory=dict)
    foreign: dict[tuple[str, str], ForeignValue | None] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    encrypted: list[str] = field(default_factory=list)


def take(keys: Iterable[RegKey], state: State, *, instance: str | None = None) -> Taken:
    """The state with a file's settings in it. instance: the four digits of the driver's instance, where there are several.

    Raises RegError for a value that is of another type than it has to be, or out of bounds; for several instances, of which
    none is known by its MatchingDeviceId; and for settings that do not go together.
    """
    keys = tuple(keys)
    chosen = instance if instance is not None else _instance(keys)
    found = _Found()
    for key in keys:
        _sort(key, chosen, found)
    changes = []
    for row, after, line in found.said.values():
        changes.append(Change(row, stored(state, row), after, line))
        state = _with(state, row, after)
    state, kept = _with_foreign(state, found)
    try:
        driver_settings(state)
        PersistentReservation.of(state.settings.reservation)
    except ValueError as error:
        raise RegError(str(error)) from None
    installation = tuple(value for value in kept if _is_installation(value.key))
    unknown = tuple(value for value in kept if not _is_installation(value.key))
    return Taken(state, tuple(changes), unknown, installation, tuple(found.encrypted))


def stored(state: State, row: Row) -> SettingValue | None:
    """What the state has for a setting, None where it has nothing but the default. Nothing is told of encrypted ones."""
    match row.home:
        case Home.NODE_NAME:
            return state.node.name if state.node.fixed else None
        case Home.ISNS_SERVERS:
            return state.isns_servers or None
        case Home.DEVICES:
            return tuple(device.path for device in state.persistent_devices) or None
        case Home.ENCRYPTED:
            return None
        case Home.SETTINGS:
            pass
    section: dict[str, SettingValue] = getattr(state.settings, row.section)
    return section.get(row.name)


def driver_settings(state: State, **changes: Any) -> Settings:
    """What the driver is to be told; changes: fields of Settings that are to differ. Raises ValueError for what is no
    combination of settings.
    """
    values: dict[str, Any] = {}
    for row in SETTINGS:
        if row.name in state.settings.driver:
            value = state.settings.driver[row.name]
            values[row.field] = bool(value) if row.unit == "boolean" else value
    if state.node.name:
        values["initiator_name"] = state.node.name
    return Settings(**{**values, **changes})


def _instance(keys: tuple[RegKey, ...]) -> str | None:
    """Which instance of the device class is the software initiator: the one that says so, else the only one with settings."""
    with_parameters = []
    for key in keys:
        place = instance_of(plain_path(key.path) or "")
        if place is None:
            continue
        number, path = place
        if any(_says_software(value) for value in key.values):
            return number
        named = is_below(KEYS["driver"], path) if key.deleted else _has_parameters(key, path)
        if named and number not in with_parameters:
            with_parameters.append(number)
    if len(with_parameters) > 1:
        numbers = ", ".join(with_parameters)
        raise RegError(f"it has driver parameters of the instances {numbers}: say which is meant")
    return with_parameters[0] if with_parameters else None


def _says_software(value: RegValue) -> bool:
    if value.name.casefold() != "matchingdeviceid" or value.type != RegType.SZ:
        return False
    return (to_text(value.data) or "").casefold() == SOFTWARE_DRIVER


def _has_parameters(key: RegKey, path: str) -> bool:
    if path.casefold() != KEYS["driver"].casefold():
        return False
    return any(("driver", value.name.casefold()) in ROW for value in key.values)


def _sort(key: RegKey, instance: str | None, found: _Found) -> None:
    """Put the values of one key where they belong."""
    plain = plain_path(key.path)
    path = plain or key.path
    general = path
    if (place := instance_of(path)) is not None and place[0] == instance:
        general = place[1]
    full = path if plain is None else rf"HKEY_LOCAL_MACHINE\{path}"
    if key.deleted:
        _delete(full, general, key.line, found)
        return
    section = _SECTION_OF.get(general.casefold())
    encrypted = any(is_below(general, each) for each in ENCRYPTED_KEYS)
    for value in key.values:
        if _is_broken(full + value.name):
            raise RegError("half a character in a name", value.line)
        row = ROW.get((section, value.name.casefold())) if section is not None else None
        if row is not None and row.home is not Home.ENCRYPTED:
            found.said[row.section, row.name] = (row, None if value.deleted else _read(row, value), value.line)
        elif row is not None or encrypted:
            if value.data.strip(b"\0") and not value.deleted:
                found.encrypted.append(rf"{full}\{value.name or '@'}")
        elif value.deleted:
            found.foreign[full.casefold(), value.name.casefold()] = None
        else:
            kept = ForeignValue(key=full, name=value.name, type=value.type, data=value.data)
            found.foreign[full.casefold(), value.name.casefold()] = kept


def _delete(full: str, general: str, line: int, found: _Found) -> None:
    """A key goes with all below it: the settings there have their defaults again."""
    for row in ROW.values():
        if row.home is not Home.ENCRYPTED and is_below(KEYS[row.section], general):
            found.said[row.section, row.name] = (row, None, line)
    found.gone.append(full)
    found.foreign = {key: value for key, value in found.foreign.items() if not is_below(key[0], full)}


def _read(row: Row, value: RegValue) -> SettingValue:
    """The value of a setting, judged. Raises RegError."""
    if value.type != row.type:
        raise RegError(f"{row.name} is {type_name(row.type)}, not {type_name(value.type)}", value.line)
    result: SettingValue | None
    match row.type:
        case RegType.DWORD:
            result = to_number(value.data)
            if result is not None and row.low < 0 and result >= 1 << 31:
                result -= 1 << 32
        case RegType.MULTI_SZ:
            result = to_list(value.data)
        case RegType.BINARY:
            result = value.data.hex()
        case _:
            result = to_text(value.data)
    if result is None:
        raise RegError(f"{row.name}: {len(value.data)} bytes are no {type_name(row.type)}", value.line)
    return _judged(row, result, value.line)


def _judged(row: Row, value: SettingValue, line: int) -> SettingValue:
    if isinstance(value, int) and not row.low <= value <= row.high:
        unit = f" {row.unit}" if row.unit in ("s", "ms", "bytes") else ""
        raise RegError(f"{row.name} is {row.low} to {row.high}{unit}, not {value}", line)
    if row.type == RegType.BINARY and not row.low <= len(str(value)) // 2 <= row.high:
        raise RegError(f"{row.name} has {row.low} bytes, not {len(str(value)) // 2}", line)
    if row.home is Home.NODE_NAME and value:
        try:
            return check(str(value))
        except Refused as error:
            raise RegError(f"{row.name}: {error.reason}", line) from None
    texts = value if isinstance(value, tuple) else (value,)
    if any(_is_broken(text) for text in texts if isinstance(text, str)):
        raise RegError(f"{row.name} has half a character", line)
    return value


def _is_broken(text: str) -> bool:
    """Whether there is half a surrogate pair in it, which UTF-16 text of Windows may have."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _with(state: State, row: Row, value: SettingValue | None) -> State:
    """The state with one setting changed; None takes it back."""
    match row.home:
        case Home.NODE_NAME:
            return replace(state, node=Node(name=str(value), fixed=True) if value else Node())
        case Home.ISNS_SERVERS:
            return replace(state, isns_servers=_each_once(value))
        case Home.DEVICES:
            known = {device.path: device for device in state.persistent_devices}
            found = tuple(known.get(path) or _device(path) for path in _each_once(value))
            return replace(state, persistent_devices=found)
        case Home.SETTINGS | Home.ENCRYPTED:
            pass
    section = dict(getattr(state.settings, row.section))
    section.pop(row.name, None)
    if value is not None:
        section[row.name] = value
    settings: StoredSettings = msgspec.structs.replace(state.settings, **{row.section: section})
    return replace(state, settings=settings)


def _each_once(value: SettingValue | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value)) if isinstance(value, tuple) else ()


def _device(path: str) -> PersistentDevice:
    r"""A device interface begins with \\?\ in Windows, a device with /dev/ here; anything else is where a volume is."""
    lower = path.casefold()
    device = lower.startswith("/dev/") or (lower.startswith("\\\\?\\") and not lower.startswith("\\\\?\\volume{"))
    return PersistentDevice(path=path, kind=DeviceKind.DEVICE if device else DeviceKind.VOLUME)


def _with_foreign(state: State, found: _Found) -> tuple[State, tuple[ForeignValue, ...]]:
    """The state with the values that no table has, and those that this file brought."""
    merged = {(each.key.casefold(), each.name.casefold()): each for each in state.settings.foreign}
    merged = {key: each for key, each in merged.items() if not any(is_below(key[0], gone) for gone in found.gone)}
    for key, value in found.foreign.items():
        merged.pop(key, None)
        if value is not None:
            merged[key] = value
    settings = replace(state.settings, foreign=tuple(merged.values()))
    return replace(state, settings=settings), tuple(value for value in found.foreign.values() if value is not None)


def _is_installation(key: str) -> bool:
    plain = plain_path(key)
    return plain is not None and any(is_below(plain, each) for each in INSTALLATION)
