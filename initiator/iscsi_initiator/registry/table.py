"""Every setting of the guide's Appendices E and F that the registry has: its key, name, type, unit, bounds and default.

The driver's parameters are the rows of `iscsi_initiator.settings` with the defaults of `Settings`, MPIO's timers those of
`iscsi_initiator.devices.timers`. Sections are those of
`StoredSettings`. What the state of the store has a place of its own for (node name, iSNS servers, volumes) is marked so, and
what Windows encrypts can be read by nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from iscsi_initiator.devices.timers import MPIO_TIMERS, MpioTimers
from iscsi_initiator.registry.values import RegType
from iscsi_initiator.settings import SETTINGS, Setting, Settings
from iscsi_initiator.store.state import SettingValue
from iscsi_initiator.tracing.debuglog import DEFAULT_SIZE, SMALLEST_SIZE

_ULONG = 0xFFFFFFFF
CLASS = r"Control\Class\{4D36E97B-E325-11CE-BFC1-08002BE10318}"
"""The device class that the driver's instances are under."""

DISCOVERY = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\iSCSI\Discovery"
SOFTWARE_DRIVER = r"root\iscsiprt"
"""What an instance of the class has for MatchingDeviceId where it is the software initiator."""


class Home(StrEnum):
    """Where a setting is kept."""

    SETTINGS = "settings"
    NODE_NAME = "node name"
    ISNS_SERVERS = "iSNS servers"
    DEVICES = "persistent devices"
    ENCRYPTED = "encrypted"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting. section: of StoredSettings; unit: s, ms, count, bytes, level, boolean, bits, or empty; low, high: bounds
    of a REG_DWORD, where -1 stands for the largest number, or of the length of a REG_BINARY. default: None for none.
    """

    section: str
    name: str
    type: RegType
    unit: str = ""
    low: int = 0
    high: int = _ULONG
    default: SettingValue | None = None
    home: Home = Home.SETTINGS


def _rows(section: str, settings: Iterable[Setting], defaults: Settings | MpioTimers) -> tuple[Row, ...]:
    """The rows of settings that are declared where they are used."""
    return tuple(
        Row(
            section,
            row.name,
            RegType.DWORD,
            row.unit,
            -int(-row.low // 1),
            int(row.high),
            int(getattr(defaults, row.field)),
        )
        for row in settings
    )


ROWS = (
    *_rows("driver", SETTINGS, Settings()),
    Row("service", "DefaultInitiatorName", RegType.SZ, home=Home.NODE_NAME),
    Row("service", "GroupKey", RegType.BINARY, home=Home.ENCRYPTED),
    Row("service", "iSNSServerList", RegType.MULTI_SZ, home=Home.ISNS_SERVERS),
    Row("service", "ServiceLogFileName", RegType.SZ),
    Row("service", "ServiceLogMaximumSize", RegType.DWORD, "bytes", SMALLEST_SIZE, default=DEFAULT_SIZE),
    Row("service", "DefaultSecurityBitmap", RegType.DWORD, "bits", 0, 0x7F, 0),
    Row("service", "DebugSpewLevel", RegType.DWORD, "bits", default=0),
    Row("service", "InitiatorCHAPSecret", RegType.BINARY, home=Home.ENCRYPTED),
    Row("service", "VolumeList", RegType.MULTI_SZ, home=Home.DEVICES),
    Row("service", "VolumeRetryCount", RegType.DWORD, "count", default=120),
    Row("service", "VolumeRetryTimer", RegType.DWORD, "ms", default=1000),
    Row("service", "VolumePostDiscoveryTimer", RegType.DWORD, "ms", default=30000),
    Row("service", "InitiatorArrivalTimer", RegType.DWORD, "ms", default=500),
    Row("service", "AllowiSNSFirewallException", RegType.DWORD, "boolean", 0, 1, 0),
    Row("eventlog", "EventMessageFile", RegType.EXPAND_SZ),
    Row("eventlog", "TypesSupported", RegType.DWORD, "bits"),
    Row("isns", "ServiceLogFileName", RegType.SZ),
    Row("isns", "DebugSpewLevel", RegType.DWORD, "bits", default=0),
    Row("isns", "DHCPRetries", RegType.DWORD, "count", default=2),
    Row("isns", "DHCPTimeout", RegType.DWORD, "s", default=1),
    *_rows("mpio", MPIO_TIMERS, MpioTimers()),
    Row("reservation", "UsePersistentReservation", RegType.DWORD, "boolean", 0, 1, 0),
    Row("reservation", "PersistentReservationKey", RegType.BINARY, "bytes", 8, 8),
)

ROW = {(row.section, row.name.casefold()): row for row in ROWS}
"""By section and name in whatever case: Appendix F writes SRBTimeoutDelta, Appendix E SrbTimeoutDelta."""

KEYS = {
    "driver": rf"SYSTEM\CurrentControlSet\{CLASS}\{{instance}}\Parameters",
    "service": DISCOVERY,
    "eventlog": r"SYSTEM\CurrentControlSet\Services\EventLog\System\MSiSCSI",
    "isns": r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\MSiSNS",
    "mpio": r"SYSTEM\CurrentControlSet\Services\mpio\Parameters",
    "reservation": r"SYSTEM\CurrentControlSet\Services\MSiSCDSM\PersistentReservation",
}
"""Section to the key that it is written under, below HKEY_LOCAL_MACHINE. The guide names none for MPIO's timers; they are
where Windows has them."""

ALSO = {rf"SYSTEM\CurrentControlSet\Services\{name}\Parameters": "mpio" for name in ("msdsm", "MSiSCDSM")}
"""Keys that are read besides: modules for MPIO have its timers under keys of their own."""

ENCRYPTED_KEYS = tuple(
    [rf"{DISCOVERY}\{name}" for name in ("Static Targets", "Persistent Targets", "Authentication Cache")]
    + [
        rf"SYSTEM\CurrentControlSet\{CLASS}\{{instance}}\{name}"
        for name in ("PersistentTargets", "PersistentTargetSecrets")
    ]
)
"""Keys whose values Windows encrypts, or has in a form that the guide does not tell."""

INSTALLATION = (
    r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\Svchost",
    rf"SYSTEM\CurrentControlSet\{CLASS}",
    r"SYSTEM\CurrentControlSet\Enum\Root\LEGACY_MSISCSI",
    r"SYSTEM\CurrentControlSet\Enum\Root\ISCSIPRT",
    r"SYSTEM\CurrentControlSet\Services\iScsiPrt",
    r"SYSTEM\CurrentControlSet\Services\MSiSCSI",
    r"SYSTEM\CurrentControlSet\Services\netbt",
    r"SYSTEM\CurrentControlSet\Services\AFD",
    r"SYSTEM\CurrentControlSet\Services\Tcpip",
)
"""Keys of Appendix E, with all below them, that tell Windows how to start driver and service. Kept, without effect."""

_INSTANCE = re.compile(re.escape(rf"SYSTEM\CurrentControlSet\{CLASS}") + r"\\([0-9]{4})(\\.*)?", re.IGNORECASE)
_CONTROL_SET = re.compile(r"[^\\]+\\(?:CurrentControlSet|ControlSet[0-9]{3})(\\.*)?", re.IGNORECASE)
_SOFTWARE = re.compile(r"[^\\]+(\\Microsoft(?:\\.*)?)", re.IGNORECASE)
_MACHINE = re.compile(r"(?:HKEY_LOCAL_MACHINE|HKLM)\\(.*)", re.IGNORECASE | re.DOTALL)


def plain_path(path: str) -> str | None:
    r"""A key below HKEY_LOCAL_MACHINE as the running system has it; None for any other.

    Appendix E has the hives of an image mounted as PE_Soft and PE_Sys, with ControlSet001; whatever a hive is called, it is
    that of the system where a control set follows, that of the software where Microsoft follows.
    """
    found = _MACHINE.fullmatch(path)
    if found is None:
        return None
    if inside := _CONTROL_SET.fullmatch(found[1]):
        return r"SYSTEM\CurrentControlSet" + (inside[1] or "")
    if inside := _SOFTWARE.fullmatch(found[1]):
        return "SOFTWARE" + inside[1]
    return found[1]


def instance_of(path: str) -> tuple[str, str] | None:
    """The instance number of a plain path below the class, and the path with `{instance}` in its place."""
    found = _INSTANCE.fullmatch(path)
    return None if found is None else (found[1], rf"SYSTEM\CurrentControlSet\{CLASS}\{{instance}}{found[2] or ''}")


def is_below(path: str, key: str) -> bool:
    """Whether a path is that key or below it, in whatever case."""
    return f"{path}\\".casefold().startswith(f"{key}\\".casefold())
