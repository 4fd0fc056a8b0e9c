"""The settings that the service and its devices run with, out of what the store has by the names of Appendix F."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from iscsi_initiator.devices import MpioTimers, PersistentReservation
from iscsi_initiator.store.state import SettingValue, StoredSettings
from iscsi_initiator.tracing.debuglog import DEFAULT_SIZE


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceSettings:
    """volume_retry_count: how often the start looks for bound volumes; volume_retry_timer, volume_post_discovery_timer:
    seconds between two looks, and behind the one that found them all.

    log_file, log_size, spew_level: of the debug log, see `tracing.debuglog`; empty for no file, and bytes.
    """

    volume_retry_count: int = 120
    volume_retry_timer: float = 1.0
    volume_post_discovery_timer: float = 30.0
    log_file: str = ""
    log_size: int = DEFAULT_SIZE
    spew_level: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceSettings:
    """Of multipath devices: the timers of MPIO, and the key that every path is registered with."""

    timers: MpioTimers
    reservation: PersistentReservation


def device_settings(stored: StoredSettings) -> DeviceSettings:
    """The settings of multipath devices. Raises ValueError where a key is to be used and there is none."""
    return DeviceSettings(timers=MpioTimers.of(stored.mpio), reservation=PersistentReservation.of(stored.reservation))


_MILLISECONDS = 1000


def service_settings(stored: StoredSettings) -> ServiceSettings:
    """The service's own settings."""
    given = _folded(stored.service)
    default = ServiceSettings()

    def number(name: str, otherwise: float, unit: int = 1) -> float:
        value = given.get(name)
        return value / unit if isinstance(value, int) else otherwise

    return ServiceSettings(
        volume_retry_count=int(number("volumeretrycount", default.volume_retry_count)),
        volume_retry_timer=number("volumeretrytimer", default.volume_retry_timer, _MILLISECONDS),
        volume_post_discovery_timer=number(
            "volumepostdiscoverytimer", default.volume_post_discovery_timer, _MILLISECONDS
        ),
        log_file=str(given.get("servicelogfilename", default.log_file)),
        log_size=int(number("servicelogmaximumsize", default.log_size)),
        spew_level=int(number("debugspewlevel", default.spew_level)),
    )


def _folded(values: Mapping[str, SettingValue]) -> dict[str, SettingValue]:
    return {name.casefold(): value for name, value in values.items()}
