"""Settings into the keys of a `.reg` file, under the names that a running Windows has or those of the guide's Appendix E."""

from __future__ import annotations

import re
from collections.abc import Iterator

from iscsi_initiator.registry.table import KEYS, ROWS, Home, Row, plain_path
from iscsi_initiator.registry.taking import stored
from iscsi_initiator.registry.values import RegKey, RegType, RegValue, from_list, from_number, from_text
from iscsi_initiator.store.state import SettingValue, State

_MACHINE = "HKEY_LOCAL_MACHINE\\"
_HIVES = (
    (re.compile(r"SYSTEM\\CurrentControlSet", re.IGNORECASE), r"PE_Sys\\ControlSet001"),
    (re.compile(r"SOFTWARE(?=\\)", re.IGNORECASE), "PE_Soft"),
)


def give(state: State, *, instance: str = "0000", defaults: bool = False, mounted: bool = False) -> Iterator[RegKey]:
    """The keys of the state's settings in the order of the table, then those that no table has; keys without values not.

    instance: the four digits of the driver's instance; defaults: also what was not set and has a default; mounted: under the
    hives PE_Soft and PE_Sys of an image (guide, Appendix E), instead of those of the running system. Secrets are not given.
    """
    for section, key in KEYS.items():
        values = []
        for row in ROWS:
            if row.section == section and row.home is not Home.ENCRYPTED:
                value = stored(state, row)
                if value is None and defaults:
                    value = row.default
                if value is not None:
                    values.append(RegValue(row.name, row.type, _data(row, value)))
        if values:
            yield RegKey(_placed(_MACHINE + key.format_map(_Instance(instance)), mounted=mounted), tuple(values))
    foreign: dict[str, list[RegValue]] = {}
    for each in state.settings.foreign:
        foreign.setdefault(each.key, []).append(RegValue(each.name, each.type, each.data))
    for path, found in foreign.items():
        yield RegKey(_placed(path, mounted=mounted), tuple(found))


class _Instance(dict[str, str]):
    """Fills {instance} in, and leaves the braces of the class's number as they are."""

    def __init__(self, number: str) -> None:
        super().__init__(instance=number)

    def __missing__(self, name: str) -> str:
        return "{" + name + "}"


def _placed(path: str, *, mounted: bool) -> str:
    plain = plain_path(path)
    if plain is None or not mounted:
        return path
    for hive, name in _HIVES:
        if found := hive.match(plain):
            return _MACHINE + found.expand(name) + plain[found.end() :]
    return path


def _data(row: Row, value: SettingValue) -> bytes:
    if isinstance(value, int):
        return from_number(value)
    if isinstance(value, tuple):
        return from_list(value)
    return bytes.fromhex(value) if row.type == RegType.BINARY else from_text(value)
