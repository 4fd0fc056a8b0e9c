"""What outlives the initiator service: node name, initiators, where targets are looked for, what is logged in to at each
start, what is waited for, secrets and settings (guide, Appendix F, "Microsoft iSCSI Initiator Service Timers" and its
subkeys; the parameters are those of the commands of Appendix C).

Plain frozen data. Secrets stand in it sealed and in no other form: `sealed.Sealed` is opaque, and each record that has one
tells by `place` what it is sealed for. Records whose `persist` is False are state of the running service alone: `lasting`
leaves them out, and so does the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum, IntFlag, StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from iscsi_initiator.store.sealed import Sealed
from iscsi_initiator.url import DEFAULT_PORT

Port = Annotated[int, Meta(ge=1, le=65535)]
InitiatorPort = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
Count = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[int, Meta(ge=0, le=3600)]
Ulong = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
Text = Annotated[str, Meta(min_length=1)]
SettingValue = int | str | tuple[str, ...]
"""A number, text (hexadecimal digits where the table of settings says binary), or a list of texts."""


class AuthType(IntEnum):
    """Who proves itself at login: nobody, the initiator, or both sides."""

    NONE = 0
    CHAP = 1
    MUTUAL_CHAP = 2


class LoginFlag(IntFlag):
    """How the service logs in: only under IPsec; also where a session to the target exists."""

    REQUIRE_IPSEC = 0x1
    MULTIPATH_ENABLED = 0x2


class TargetFlag(IntFlag):
    """A static target is told of only where something else finds it too; it is merged with what is configured for it."""

    HIDE_STATIC_TARGET = 0x2
    MERGE_TARGET_INFORMATION = 0x4


class SecurityFlag(IntFlag):
    """How IPsec protects a connection: the bits of iSNS' security bitmap (RFC 4171, 6.3.9)."""

    VALID = 0x1
    IPSEC_ENABLED = 0x2
    MAIN_MODE = 0x4
    AGGRESSIVE_MODE = 0x8
    PFS = 0x10
    TRANSPORT_MODE = 0x20
    TUNNEL_MODE = 0x40


class IdType(IntEnum):
    """What an IKE identification payload is."""

    IPV4_ADDRESS = 1
    DOMAIN_NAME = 2


class DeviceKind(StrEnum):
    """What is waited for at the start: a volume by its mount point, or a device by its interface name."""

    VOLUME = "volume"
    DEVICE = "device"


class _Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class LunMapping(_Record, frozen=True, kw_only=True):
    """Where a LUN of the target is to appear. target_lun: the 8 bytes of the LUN structure as a number, big-endian."""

    target_lun: Annotated[int, Meta(ge=0)]
    os_bus: Ulong
    os_target: Ulong
    os_lun: Ulong


class LoginOptions(_Record, frozen=True, kw_only=True):
    """How to log in; None is what the guide's `*` is: the driver chooses, and user_name is the node name.

    login_flags: of LoginFlag. default_time2wait, default_time2retain: seconds. password: the secret that the target knows.
    """

    login_flags: Ulong = 0
    header_digest: bool | None = None
    data_digest: bool | None = None
    maximum_connections: Count | None = None
    default_time2wait: Seconds | None = None
    default_time2retain: Seconds | None = None
    user_name: str | None = None
    password: Sealed | None = None
    auth_type: AuthType = AuthType.NONE


class Portal(_Record, frozen=True, kw_only=True):
    """A TCP portal. address: IP address or DNS name, IPv6 without brackets."""

    address: Text
    port: Port = DEFAULT_PORT


class TargetPortal(_Record, frozen=True, kw_only=True):
    """A portal that SendTargets asks, via the named initiator and its port, None for any. security_flags: SecurityFlag."""

    portal: Portal
    initiator: str | None = None
    initiator_port: InitiatorPort | None = None
    security_flags: Ulong = 0
    options: LoginOptions = LoginOptions()

    @property
    def place(self) -> str:
        """What its password is sealed for."""
        via = f"{self.initiator or '*'}/{'*' if self.initiator_port is None else self.initiator_port}"
        return f"target portal {self.portal.address} {self.portal.port} via {via}"


class StaticTarget(_Record, frozen=True, kw_only=True):
    """A target that was configured by hand. flags: TargetFlag; portals: its portal group, empty where none was given."""

    name: Text
    alias: str | None = None
    flags: Ulong = 0
    persist: bool = True
    options: LoginOptions = LoginOptions()
    portals: tuple[Portal, ...] = ()
    mappings: tuple[LunMapping, ...] = ()

    @property
    def place(self) -> str:
        """What its password is sealed for."""
        return f"static target {self.name}"


class PersistentLogin(_Record, frozen=True, kw_only=True):
    """A login that is made at each start. number: tells several to one target apart, as in the guide's TargetName#Number.

    portal: None for any that the target has. key: the IPsec key of the connection. report_to_pnp: whether the LUNs become
    devices; otherwise they take INQUIRY, REPORT LUNS and READ CAPACITY alone.
    """

    target_name: Text
    number: Annotated[int, Meta(ge=0)] = 0
    report_to_pnp: bool = True
    portal: Portal | None = None
    initiator: str | None = None
    initiator_port: InitiatorPort | None = None
    security_flags: Ulong = 0
    options: LoginOptions = LoginOptions()
    key: Sealed | None = None
    mappings: tuple[LunMapping, ...] = ()

    @property
    def name(self) -> str:
        """TargetName#Number."""
        return f"{self.target_name}#{self.number}"

    @property
    def place(self) -> str:
        """What its password is sealed for."""
        return f"persistent login {self.name}"

    @property
    def key_place(self) -> str:
        """What its IPsec key is sealed for."""
        return f"key of persistent login {self.name}"


class PersistentDevice(_Record, frozen=True, kw_only=True):
    """What the start-up waits for. path: as it was bound; identifier: by which it is known again, empty where it has none."""

    path: Text
    kind: DeviceKind = DeviceKind.DEVICE
    identifier: str = ""


class InitiatorInstance(_Record, frozen=True, kw_only=True):
    """One initiator that the service speaks through. plug_in: the entry point of an adapter, None for the software one.

    isid: 6 bytes that its sessions' identifiers are made from, the same at each start (RFC 7143, 10.1.1).
    """

    name: Text
    plug_in: str | None = None
    isid: Annotated[bytes, Meta(min_length=6, max_length=6)]


class TunnelAddress(_Record, frozen=True, kw_only=True):
    """The outer address of an IPsec tunnel to destination. initiator, initiator_port: None for all."""

    destination: Text
    tunnel: Sealed
    initiator: str | None = None
    initiator_port: InitiatorPort | None = None
    persist: bool = True

    @property
    def place(self) -> str:
        """What the outer address is sealed for."""
        via = f"{self.initiator or '*'}/{'*' if self.initiator_port is None else self.initiator_port}"
        return f"tunnel address to {self.destination} via {via}"


class PresharedKey(_Record, frozen=True, kw_only=True):
    """The key that IKE uses with who identifies itself by id. initiator, initiator_port: None for all."""

    id_type: IdType
    id: Text
    key: Sealed
    security_flags: Ulong = 0
    initiator: str | None = None
    initiator_port: InitiatorPort | None = None
    persist: bool = True

    @property
    def place(self) -> str:
        """What the key is sealed for."""
        via = f"{self.initiator or '*'}/{'*' if self.initiator_port is None else self.initiator_port}"
        return f"preshared key for {int(self.id_type)} {self.id} via {via}"


class GroupKey(_Record, frozen=True, kw_only=True):
    """The key that IKE uses where there is no other."""

    key: Sealed
    persist: bool = True

    place = "group key"


class Node(_Record, frozen=True, kw_only=True):
    """The iSCSI node. name: the last in use, empty before the first start; fixed: it was set and follows no host any more."""

    name: str = ""
    fixed: bool = False


class Secrets(_Record, frozen=True, kw_only=True):
    """CHAP secrets. initiator: what a target has to know in mutual CHAP; targets: one for each target name."""

    initiator: Sealed | None = None
    targets: dict[str, Sealed] = {}

    initiator_place = "initiator secret"

    @staticmethod
    def target_place(target_name: str) -> str:
        """What the secret for a target is sealed for."""
        return f"secret of target {target_name}"


class ForeignValue(_Record, frozen=True, kw_only=True):
    """A registry value that no table knows, kept as it came. name: empty for the key's default value; type: REG_ number."""

    key: Text
    name: str
    type: Ulong
    data: bytes


class StoredSettings(_Record, frozen=True, kw_only=True):
    """What was set, by the names of the guide's Appendices E and F; what is not here has its default.

    driver, service, eventlog, isns, mpio, reservation: the keys that Appendix F has them under. foreign: all that
    an import brought besides.
    """

    driver: dict[str, SettingValue] = {}
    service: dict[str, SettingValue] = {}
    eventlog: dict[str, SettingValue] = {}
    isns: dict[str, SettingValue] = {}
    mpio: dict[str, SettingValue] = {}
    reservation: dict[str, SettingValue] = {}
    foreign: tuple[ForeignValue, ...] = ()


class State(_Record, frozen=True, kw_only=True):
    """All of it. isns_servers: addresses or DNS names; `format` has the version."""

    node: Node = Node()
    initiators: tuple[InitiatorInstance, ...] = ()
    target_portals: tuple[TargetPortal, ...] = ()
    isns_servers: tuple[Text, ...] = ()
    static_targets: tuple[StaticTarget, ...] = ()
    persistent_logins: tuple[PersistentLogin, ...] = ()
    persistent_devices: tuple[PersistentDevice, ...] = ()
    secrets: Secrets = Secrets()
    tunnel_addresses: tuple[TunnelAddress, ...] = ()
    preshared_keys: tuple[PresharedKey, ...] = ()
    group_key: GroupKey | None = None
    settings: StoredSettings = StoredSettings()

    def lasting(self) -> State:
        """What of it a restart leaves."""
        return msgspec.structs.replace(
            self,
            static_targets=tuple(each for each in self.static_targets if each.persist),
            tunnel_addresses=tuple(each for each in self.tunnel_addresses if each.persist),
            preshared_keys=tuple(each for each in self.preshared_keys if each.persist),
            group_key=self.group_key if self.group_key is not None and self.group_key.persist else None,
        )

    def next_number(self, target_name: str) -> int:
        """The lowest number that no persistent login to the target has."""
        taken = {each.number for each in self.persistent_logins if each.target_name == target_name}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def sealed(self) -> Iterator[tuple[str, Sealed]]:
        """Every sealed secret with its place."""
        found: list[tuple[str, Sealed | None]] = [(Secrets.initiator_place, self.secrets.initiator)]
        found += [(Secrets.target_place(name), secret) for name, secret in self.secrets.targets.items()]
        found += [(portal.place, portal.options.password) for portal in self.target_portals]
        found += [(target.place, target.options.password) for target in self.static_targets]
        found += [(login.place, login.options.password) for login in self.persistent_logins]
        found += [(login.key_place, login.key) for login in self.persistent_logins]
        found += [(address.place, address.tunnel) for address in self.tunnel_addresses]
        found += [(key.place, key.key) for key in self.preshared_keys]
        if self.group_key is not None:
            found.append((GroupKey.place, self.group_key.key))
        for place, secret in found:
            if secret is not None:
                yield place, secret
