"""The options of `iscsi-initiator attach`: which devices are made of the sessions, and how they are served."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import click

from iscsi_initiator.devices import MPIO_TIMERS, Device, Identity, MpioTimers, PersistentReservation
from iscsi_initiator.multipath import MAX_WEIGHT, LoadBalance, Path, check

POLICIES = {policy.name.lower().replace("_", "-"): policy for policy in LoadBalance}
_TIMER_OPTIONS = {
    "pdo_remove_period": "Seconds that a device outlives its last path (PDORemovePeriod).",
    "retry_count": "How often a request that may be tried again is (RetryCount).",
    "retry_interval": "Seconds before it is (RetryInterval).",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be served. export: a name of one's own for the one device; standbys, weights: of paths, which are numbered
    from 1 in the order of the URLs.
    """

    socket: FilePath
    export: str | None = None
    read_only: bool = False
    policy: LoadBalance = LoadBalance.ROUND_ROBIN
    failback: bool = True
    standbys: frozenset[int] = frozenset()
    weights: Mapping[int, int] = field(default_factory=dict)
    timers: MpioTimers = field(default_factory=MpioTimers)
    reservation: PersistentReservation = field(default_factory=PersistentReservation)

    def check(self, paths: int) -> None:
        """Raise Refused where the policy cannot be had with so many paths."""
        check(self.policy, self._paths(range(1, paths + 1)), over_sessions=True)

    def device(self, identity: Identity, link_down_time: float) -> Device:
        """A device without paths."""
        return Device(
            identity,
            policy=self.policy,
            timers=self.timers,
            failback=self.failback,
            reservation=self.reservation,
            link_down_time=link_down_time,
        )

    def configure(self, device: Device) -> None:
        """Set the policy with what was said of the paths that the device has. Raises Refused."""
        device.set_policy(self.policy, self._paths([path.id for path in device.paths]))

    def _paths(self, numbers: Sequence[int]) -> list[Path]:
        standbys = self.standbys
        if self.policy is LoadBalance.FAIL_OVER_ONLY and not standbys:
            standbys = frozenset(numbers[1:])
        return [Path(id=each, active=each not in standbys, weight=self.weights.get(each, 0)) for each in numbers]


def attach_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `attach` alone."""
    options = [
        click.option(
            "--socket",
            type=click.Path(path_type=FilePath, dir_okay=False),
            help="Unix socket to serve at; needed with a URL.",
        ),
        click.option("--export", metavar="NAME", help="Name of the export; with one device only."),
        click.option("--read-only", is_flag=True, help="Take no writes."),
        click.option("--policy", type=click.Choice(list(POLICIES)), default="round-robin", show_default=True),
        click.option(
            "--standby", "standbys", type=click.IntRange(min=1), multiple=True, help="The N-th URL is a standby path."
        ),
        click.option("--weight", "weights", metavar="N=W", multiple=True, help="Weight of the N-th URL's path."),
        click.option("--failback/--no-failback", default=True, help="Whether a path is active again when it is back."),
        click.option(
            "--path-verify",
            type=click.FloatRange(min=MPIO_TIMERS[1].low),
            metavar="S",
            help="Verify all paths every S seconds (PathVerifyEnabled, PathVerificationPeriod).",
        ),
        *(_timer(name, text) for name, text in _TIMER_OPTIONS.items()),
        click.option(
            "--reservation-key",
            metavar="HEX",
            help="Register this key, 16 digits, on every path (UsePersistentReservation, PersistentReservationKey).",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _timer(name: str, text: str) -> Callable[..., Any]:
    row = next(row for row in MPIO_TIMERS if row.field == name)
    kind = click.IntRange if row.unit == "count" else click.FloatRange
    default = getattr(MpioTimers(), name)
    return click.option(
        "--" + name.replace("_", "-"),
        type=kind(int(row.low), int(row.high)),
        default=default,
        show_default=True,
        help=text,
    )


def plan_of(options: dict[str, Any], urls: int) -> Plan:
    """Take the options of `attach` out of a command's. urls: how many there are. Raises click.UsageError."""
    verify = options.pop("path_verify")
    timers = {name: options.pop(name) for name in _TIMER_OPTIONS}
    if verify is not None:
        timers |= {"path_verify_enabled": True, "path_verification_period": verify}
    standbys = frozenset(options.pop("standbys"))
    if standbys and max(standbys) > urls:
        raise click.UsageError(f"--standby {max(standbys)}: there are {urls} URLs")
    return Plan(
        socket=options.pop("socket"),
        export=options.pop("export"),
        read_only=options.pop("read_only"),
        policy=POLICIES[options.pop("policy")],
        failback=options.pop("failback"),
        standbys=standbys,
        weights=dict(_weight(text, urls) for text in options.pop("weights")),
        timers=MpioTimers(**timers),
        reservation=_reservation(options.pop("reservation_key")),
    )


def _weight(text: str, urls: int) -> tuple[int, int]:
    number, _, weight = text.partition("=")
    if not (number.isascii() and number.isdigit() and weight.isascii() and weight.isdigit()):
        raise click.UsageError(f"--weight {text}: the number of a URL, =, and a weight")
    if not 1 <= int(number) <= urls or int(weight) > MAX_WEIGHT:
        raise click.UsageError(f"--weight {text}: URLs are 1 to {urls}, weights 0 to {MAX_WEIGHT}")
    return int(number), int(weight)


def _reservation(text: str | None) -> PersistentReservation:
    if text is None:
        return PersistentReservation()
    try:
        return PersistentReservation(True, bytes.fromhex(text.removeprefix("0x")))
    except ValueError as error:
        raise click.UsageError(f"--reservation-key {text}: 16 hexadecimal digits, not all 0") from error
