"""What an iSNS server is told before it starts: the administrator's settings (RFC 4171 2.4), read from TOML."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from iscsi_protocol.isns.attributes import normal_name
from iscsi_protocol.isns.codes import PORT
from iscsi_protocol.isns.errors import IsnsError
from iscsi_target.config import ConfigError, host_and_port
from iscsi_target.isns.policy import IsnsPolicy

Modifier = Literal["control", "target", "initiator"]


class IsnsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings; what is left out has the standard's default (R4171-2.4-02).

    listen: HOST:PORT for TCP and UDP. control_nodes: names that may do everything. domain_managers: the kinds of nodes that
    may change discovery domains. periods and intervals are seconds.
    """

    listen: str = f"127.0.0.1:{PORT}"
    database: str | None = None
    control: str | None = None
    control_nodes: list[str] = []
    domain_managers: list[Modifier] = msgspec.field(default_factory=lambda: ["control"])
    management_notifications: bool = True
    default_domain: bool = False
    registration_period: int = 86400
    shortest_period: int = 60
    longest_period: int = 2592000
    inquiries: bool = True
    esi_threshold: int = 3
    shortest_esi_interval: int = 5
    scn_retries: int = 2
    scn_retry_interval: float = 2.0
    vendor_oui: int = 0
    policy: IsnsPolicy = msgspec.field(default_factory=IsnsPolicy)

    def __post_init__(self) -> None:
        host_and_port(self.listen)
        for name in self.control_nodes:
            try:
                normal_name(name)
            except IsnsError as error:
                raise ValueError(f"control_nodes: {error.reason}") from None
        if not 0 < self.shortest_period <= self.registration_period <= self.longest_period <= 0xFFFFFFFF:
            raise ValueError("shortest_period, registration_period and longest_period rise from 1 second")
        if not 1 <= self.esi_threshold <= 100:
            raise ValueError(f"esi_threshold is 1 to 100, got {self.esi_threshold}")
        if self.shortest_esi_interval < 1:
            raise ValueError("shortest_esi_interval is 1 second or more")
        if not 0 <= self.scn_retries <= 100 or not self.scn_retry_interval > 0:
            raise ValueError("scn_retries is 0 to 100, and scn_retry_interval is more than 0 seconds")
        if not 0 <= self.vendor_oui <= 0xFFFFFF:
            raise ValueError("vendor_oui has 24 bits")


def load_isns_config(path: Path) -> IsnsConfig:
    """Read a TOML file. Raises ConfigError, which names file and place."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if "policy" in raw:
        raise ConfigError(f"{path}: policy is no setting of a file")
    try:
        return msgspec.convert(raw, IsnsConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
