"""What a target is told before it starts: nodes, logical units, secrets, portals, limits, timers.

Read from TOML; unknown keys, wrong types and values that cannot work are refused with one line that says where. The
structs may just as well be made in Python. What an operator leaves out stands for the conforming default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from iscsi_protocol.chap import MAX_BINARY_LENGTH
from iscsi_protocol.history import Endpoint
from iscsi_protocol.isns.codes import PORT as ISNS_PORT
from iscsi_protocol.names import check_name
from iscsi_protocol.negotiation.keys import KEYS, PRIVATE_PREFIX
from iscsi_target.policy import Policy

_SUFFIXES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

MIN_CHAP_SECRET = 12
MAX_CHAP_SECRET = 255
MAX_RETRY_DELAY = 0x3FEF
"""The longest retry delay, in units of 100 ms (SAM-5 5.3.2)."""

MAX_SIZE = (1 << 63) - 1
"""Bytes of the longest file (off_t)."""

MAX_LUN = 0x3FFF
"""Logical units are numbered 0 to 16383: what peripheral and flat space addressing hold (SAM-5 4.7)."""


class ConfigError(ValueError):
    """A configuration that cannot work; the message is one line that names the place and the remedy."""


class Size(int):
    """A number of bytes; in TOML an integer or text such as "64MiB" (KiB, MiB, GiB, TiB)."""

    @classmethod
    def parse(cls, value: object) -> Size:
        """Raises ValueError for anything but a non-negative integer or such text."""
        text, factor = str(value).strip() if type(value) in (int, str) else "", 1
        for suffix, multiple in _SUFFIXES.items():
            if text.endswith(suffix):
                text, factor = text.removesuffix(suffix).rstrip(), multiple
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f'expected bytes or text like "64MiB", got {value!r}')
        return cls(int(text) * factor)


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration file."""


class LunConfig(_Row, frozen=True, kw_only=True):
    """One logical unit.

    memory: `size` bytes that vanish with the process. file: `path`, made with `size` when it is missing; without `size`
    as long as it is. sparse: like file, and unmapped blocks give their space back to the file system.
    """

    backend: Literal["memory", "file", "sparse"] = "memory"
    path: str | None = None
    size: Size | None = None
    block_size: Literal[512, 4096] = 512
    read_only: bool = False
    removable: bool = False
    physical_block_size: Literal[512, 4096] | None = None
    """Of a memory LUN; None: as the logical block. Files have one of 4096 bytes or more."""
    max_write_same: Size = Size(1 << 30)
    """Bytes that one WRITE SAME may fill."""
    write_same_to_end: bool = False
    """WRITE SAME of no blocks fills the unit to its end (WSNZ=0). Off: it is refused."""
    sanitize_seconds: float = 0.0
    """How long a SANITIZE lasts at least."""
    start_stop: Literal["strict", "ignored"] = "strict"
    """ignored: START STOP UNIT only loads and ejects; it stops nothing and takes any power condition."""
    write_cache: bool = True
    """Initial WCE: writes are stable only after SYNCHRONIZE CACHE or FUA. Off: every write is."""
    vendor: str = "ISCSICNF"
    product: str = "VIRTUAL DISK"
    revision: str = "0001"
    serial: str | None = None
    """Unit serial number (VPD page 80h); None: derived from target name and LUN, so it survives a restart."""
    reservations: Literal["none", "spc2", "persistent", "both"] = "both"
    """Which commands there are: RESERVE and RELEASE (spc2), PERSISTENT RESERVE IN and OUT (persistent)."""
    queue_depth: int = 0
    """Commands in the task set above which the next is answered TASK SET FULL, or BUSY where its sender has none there;
    0: any number."""
    busy: int = 0
    """Every so many-th command is answered BUSY; 0: none is."""
    retry_delay: int = 0
    """Status qualifier of BUSY and TASK SET FULL, in units of 100 ms (SAM-5 5.3.2): when to try again; 0: not said."""
    sendfile_threshold: Size = Size(1 << 20)
    """Reads of file LUNs from this many bytes on are handed out as a slice of the file instead of a buffer. It saves memory
    here, not time: page by page is dear to receive, where sender and receiver share a machine.
    """

    def __post_init__(self) -> None:
        if self.backend == "memory":
            if self.path is not None:
                raise ValueError("a memory LUN has no path")
            if self.size is None:
                raise ValueError("a memory LUN needs a size")
        elif self.path is None:
            raise ValueError(f"a {self.backend} LUN needs a path")
        _check_path(self.path)
        if self.physical_block_size is not None:
            if self.backend != "memory":
                raise ValueError("physical_block_size is for memory LUNs")
            if self.physical_block_size < self.block_size:
                raise ValueError("a physical block is no smaller than a logical one")
        _check_sizes(self)
        if not 0 <= self.sanitize_seconds < float("inf"):
            raise ValueError(f"sanitize_seconds is 0 or more, got {self.sanitize_seconds}")
        _check_queue(self)
        for name, limit in (("vendor", 8), ("product", 16), ("revision", 4), ("serial", 32)):
            value = getattr(self, name)
            if value is not None and not (0 < len(value) <= limit and value.isascii() and value.isprintable()):
                raise ValueError(f"{name} is 1 to {limit} printable ASCII characters, got {value!r}")


def _check_sizes(lun: LunConfig) -> None:
    for name in ("size", "max_write_same"):
        if (getattr(lun, name) or 0) > MAX_SIZE:
            raise ValueError(f"{name} is at most {MAX_SIZE}, got {getattr(lun, name)}")
    if lun.max_write_same < lun.block_size:
        raise ValueError("max_write_same is one block at least")
    if lun.size is not None and (lun.size == 0 or lun.size % lun.block_size):
        raise ValueError(f"size {lun.size} is no positive multiple of the block size {lun.block_size}")


def _check_path(path: str | None) -> None:
    if path is not None and "\0" in path:
        raise ValueError(f"a path has no NUL in it, got {path!r}")


def _check_queue(lun: LunConfig) -> None:
    for name, most in (("queue_depth", 65535), ("busy", 65535), ("retry_delay", MAX_RETRY_DELAY)):
        if not 0 <= getattr(lun, name) <= most:
            raise ValueError(f"{name} is 0 to {most}, got {getattr(lun, name)}")
    if lun.busy == 1:
        raise ValueError("busy=1 would answer every command BUSY; it is 0, or 2 and more")


class ChapMutual(_Row, frozen=True, kw_only=True):
    """How the target proves itself to an initiator that asks (RFC 7143 12.1.3)."""

    name: str
    secret: str

    def __post_init__(self) -> None:
        _check_secret(self.name, self.secret)

    def __repr__(self) -> str:
        return f"ChapMutual(name={self.name!r})"


class ChapConfig(_Row, frozen=True, kw_only=True):
    """CHAP of a node: whom it knows and how it answers. Secrets are text, used as their UTF-8 bytes (12 to 255).

    Secrets of fewer than 96 bits are refused, and one secret for both directions is (RFC 7143 9.2.1).
    """

    users: dict[str, str]
    required: bool = True
    """Off: an initiator may choose AuthMethod=None."""
    mutual: ChapMutual | None = None
    algorithms: list[Literal[5, 6, 7, 8]] = msgspec.field(default_factory=lambda: [8, 7, 6, 5])
    """CHAP_A values in order of preference: 5 MD5, 6 SHA-1, 7 SHA-256, 8 SHA3-256."""
    challenge_length: int = 16
    """Bytes of CHAP_C."""

    def __post_init__(self) -> None:
        if not self.users:
            raise ValueError("CHAP needs at least one user")
        if not self.algorithms or len(set(self.algorithms)) != len(self.algorithms):
            raise ValueError("algorithms is a list without repetition, not empty")
        if not 1 <= self.challenge_length <= MAX_BINARY_LENGTH:
            raise ValueError(f"challenge_length is 1 to {MAX_BINARY_LENGTH}, got {self.challenge_length}")
        for name, secret in self.users.items():
            _check_secret(name, secret)
            if self.mutual is not None and secret == self.mutual.secret:
                raise ValueError(f"user {name!r} and the target share one secret; each direction needs its own")

    def __repr__(self) -> str:
        return f"ChapConfig(users={list(self.users)!r}, required={self.required}, mutual={self.mutual!r})"


class Redirect(_Row, frozen=True, kw_only=True):
    """Every login to the node is sent elsewhere (RFC 7143 11.13.5, status 0101h or 0102h)."""

    address: str | None = None
    """host or host:port, no portal group tag."""
    portal: Literal["next", "same"] | None = None
    """Instead of an address: from each portal to the next one, the last one serving the node; or to the very portal that
    the login came to, for ever."""
    permanent: bool = False

    def __post_init__(self) -> None:
        if (self.address is None) == (self.portal is None):
            raise ValueError("a redirection has an address or a portal, one of the two")

    @property
    def status(self) -> int:
        """Status-Class << 8 | Status-Detail."""
        return 0x0102 if self.permanent else 0x0101


class PortalConfig(_Row, frozen=True, kw_only=True):
    """An address to listen at. Portals of one group serve one session together (RFC 7143 4.4.1)."""

    address: str
    """host:port, IPv6 in brackets; port 0 is any free one."""
    group_tag: int = 1
    advertised: str | None = None
    """host:port that SendTargets tells, when it differs from where the portal listens."""

    def __post_init__(self) -> None:
        host_and_port(self.address)
        if self.advertised is not None:
            host_and_port(self.advertised)
        if not 0 <= self.group_tag <= 0xFFFF:
            raise ValueError(f"group_tag is 0 to 65535, got {self.group_tag}")


AccessStateName: TypeAlias = Literal[
    "active/optimized", "active/non-optimized", "standby", "unavailable", "transitioning"
]


class PortGroup(_Row, frozen=True, kw_only=True):
    """A target port group (SPC-4 5.15): portal groups that share an asymmetric access state."""

    ports: list[int]
    """Portal group tags; each is a SCSI target port."""
    state: AccessStateName = "active/optimized"
    """State at the start, unless the state file knows another."""
    preferred: bool = False

    def __post_init__(self) -> None:
        if not self.ports or len(set(self.ports)) != len(self.ports):
            raise ValueError("ports of a target port group is a list without repetition, not empty")


class TargetNode(_Row, frozen=True, kw_only=True):
    """One iSCSI target node."""

    name: str
    alias: str | None = None
    luns: dict[int, LunConfig] = msgspec.field(default_factory=dict)
    chap: ChapConfig | None = None
    access: dict[str, list[int]] | None = None
    """Initiator name, or "*" for all others, to the LUNs it sees. None: everybody sees all. Who is not listed is refused
    at login (status 0202h)."""
    portal_groups: list[int] | None = None
    """Groups through which the node is reached; None: all of them."""
    port_groups: dict[int, PortGroup] = msgspec.field(default_factory=dict)
    """Target port groups by number; a portal group that is in none is one of its own, active and optimized."""
    port_group_management: Literal["none", "implicit", "explicit", "both"] = "implicit"
    """Who changes access states: the target, initiators by SET TARGET PORT GROUPS, both, or nobody (TPGS of INQUIRY)."""
    lun_addressing: Literal["shortest", "flat", "extended"] = "shortest"
    """How REPORT LUNS writes LUNs: by the shortest method, by flat space or by extended flat space (SAM-5 4.7)."""
    redirect: Redirect | None = None
    keys: dict[str, str] = msgspec.field(default_factory=dict)
    """Text keys that differ from the defaults of all nodes, by the keys' own names (RFC 7143 13)."""
    removed: bool = False
    """Logins are told that the target is gone for good (status 0204h)."""
    unavailable: bool = False
    """Logins are told that the target is not operational now (status 0301h)."""
    keys_left_out: list[str] = msgspec.field(default_factory=list)
    """Keys of which the target wishes and declares nothing by itself: the standard's defaults hold (RFC 7143 13)."""
    keys_proposed: list[str] = msgspec.field(default_factory=list)
    """Keys that the target brings up by itself when an initiator does not."""
    phase_collapse: bool = True
    """Whether the status of a read rides in its last Data-In (RFC 7143 11.7.3). Off: every command has a SCSI Response."""
    judge_exp_stat_sn: bool = False
    """Whether an ExpStatSN beyond what was sent is a protocol error; it acknowledges nothing either way."""
    initial_unit_attention: bool = False
    """Whether a new I_T nexus finds POWER ON, RESET OR BUS DEVICE RESET OCCURRED pending at every LU."""

    def __post_init__(self) -> None:
        check_name(self.name, upper_hex=True)
        _check_keys(self.keys)
        _check_keys(dict.fromkeys((*self.keys_left_out, *self.keys_proposed), ""))
        for lun in self.luns:
            if not 0 <= lun <= MAX_LUN:
                raise ValueError(f"a LUN is 0 to {MAX_LUN}, got {lun}")
        for initiator, luns in (self.access or {}).items():
            unknown = sorted(set(luns) - set(self.luns))
            if unknown:
                raise ValueError(f"access of {initiator!r} names LUN {unknown[0]}, which the target does not have")
        grouped: set[int] = set()
        for number, group in self.port_groups.items():
            if not 0 <= number <= 0xFFFF:
                raise ValueError(f"a target port group is 0 to 65535, got {number}")
            if twice := sorted(grouped & set(group.ports)):
                raise ValueError(f"portal group {twice[0]} is in two target port groups")
            grouped |= set(group.ports)


class Limits(_Row, frozen=True, kw_only=True):
    """Shortage, made real: what is beyond a limit is answered with the protocol's own way to say so."""

    sessions: int = 256
    connections: int = 1024
    logins: int = 256
    """Connections that may be in login at once. One more ends the oldest of them, which is the likeliest to be dead: whoever
    means it logs in at once."""
    commands: int = 128
    """Width of the command window of a session (MaxCmdSN - ExpCmdSN + 1)."""
    work_items: int = 64
    """Slow tasks that may wait for the shell at once, all sessions together."""
    text_bytes: int = 65536
    """Longest text of one negotiation, gathered over its PDUs."""
    send_buffer: Size = Size(4 << 20)
    """Bytes queued for a connection, above which no further commands are taken from it."""
    data_out_bytes: Size = Size(64 << 20)
    """Bytes of write data gathered at once, all sessions together."""
    waiting_bytes: Size = Size(32 << 20)
    """Bytes of requests that a session may send ahead of a missing one, above which further ones are rejected."""
    retained_bytes: Size = Size(32 << 20)
    """Bytes that a connection of recovery level 1 or 2 may leave unacknowledged, above which its next commands wait until it
    has acknowledged some."""
    retained_responses: int = 1024
    """Responses that such a connection may leave unacknowledged, likewise."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1")


class Timers(_Row, frozen=True, kw_only=True):
    """Seconds; 0 switches a timer off."""

    login: float = 30.0
    ping_interval: float = 0.0
    """Silence after which the target sends a NOP-In ping."""
    ping_timeout: float = 10.0
    """Time for the answer to a ping, after which the connection is given up."""
    data_out: float = 60.0
    """Time for the next Data-Out PDU that an R2T asked for. Where a task management function waits for it, the connection
    is given up then."""
    command_gap: float = 60.0
    """Time for a missing CmdSN while later ones wait, beyond Time2Wait and Time2Retain; then the session is given up."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is a number of seconds, 0 or more")


class IsnsRegistration(_Row, frozen=True, kw_only=True):
    """The section `isns` of a target's configuration.

    server: HOST or HOST:PORT. entity: the entity's identifier, by default the first target's name. period: seconds, 0 leaves
    it to the server. esi_interval: seconds, 0 for no inquiries.
    """

    server: str
    entity: str | None = None
    period: int = 0
    esi_interval: int = 0

    def __post_init__(self) -> None:
        isns_server(self.server)
        for name in ("period", "esi_interval"):
            if not 0 <= getattr(self, name) <= 0xFFFFFFFF:
                raise ValueError(f"{name} is 0 to 4294967295 seconds")


class TargetConfig(_Row, frozen=True, kw_only=True):
    """A whole server: several nodes behind common portals."""

    targets: list[TargetNode]
    portals: list[PortalConfig] = msgspec.field(default_factory=lambda: [PortalConfig(address="127.0.0.1:3260")])
    keys: dict[str, str] = msgspec.field(default_factory=dict)
    """Text keys for all nodes and for discovery, by the keys' own names."""
    discovery_chap: ChapConfig | None = None
    state: str | None = None
    """File of what has to outlive the process (persistent reservations with APTPL, saved mode pages); None: nothing does."""
    isns: IsnsRegistration | None = None
    """The iSNS server that the target registers itself with."""
    first_stat_sn: int | None = None
    """StatSN at which every connection begins, so that what happens around 2^32 can be seen; None: drawn anew each time."""
    limits: Limits = Limits()
    timers: Timers = Timers()
    policy: Policy = msgspec.field(default_factory=Policy)

    def __post_init__(self) -> None:
        _check_keys(self.keys)
        _check_path(self.state)
        if self.first_stat_sn is not None and not 0 <= self.first_stat_sn <= 0xFFFFFFFF:
            raise ValueError(f"first_stat_sn is 0 to 4294967295, got {self.first_stat_sn}")
        names = [node.name for node in self.targets]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two targets are named {name!r}")
        if not self.portals:
            raise ValueError("at least one portal is needed")
        tags = {portal.group_tag for portal in self.portals}
        for node in self.targets:
            for tag in node.portal_groups or ():
                if tag not in tags:
                    raise ValueError(f"target {node.name!r} names portal group {tag}, which has no portal")
            for number, group in node.port_groups.items():
                for tag in group.ports:
                    if tag not in tags or (node.portal_groups is not None and tag not in node.portal_groups):
                        raise ValueError(
                            f"target port group {number} of {node.name!r} names portal group {tag}, "
                            "through which the target is not reached"
                        )
            for tag in (node.portal_groups or tags) if node.port_groups else ():
                if tag in node.port_groups and all(tag not in group.ports for group in node.port_groups.values()):
                    raise ValueError(
                        f"portal group {tag} of {node.name!r} is in no target port group, and there is one of its number"
                    )

    def node(self, name: str) -> TargetNode | None:
        """The node of that name (normalised, RFC 7143 4.2.7.2), None when there is none."""
        return next((node for node in self.targets if node.name == name), None)


def _check_secret(name: str, secret: str) -> None:
    length = len(secret.encode())
    if not name:
        raise ValueError("a CHAP name is not empty")
    if not MIN_CHAP_SECRET <= length <= MAX_CHAP_SECRET:
        raise ValueError(
            f"the CHAP secret of {name!r} is {length} bytes long; {MIN_CHAP_SECRET} to {MAX_CHAP_SECRET} are needed"
        )


def _check_keys(keys: Mapping[str, str]) -> None:
    for name in keys:
        if name not in KEYS and not name.startswith(PRIVATE_PREFIX):
            raise ValueError(f"{name!r} is no text key")


def host_and_port(address: str) -> tuple[str, int]:
    """("::1", 3260) from "[::1]:3260". Raises ValueError when it is no host:port."""
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"an IPv6 address stands in brackets, got {address!r}")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 0xFFFF:
        raise ValueError(f"expected HOST:PORT, got {address!r}")
    return host, int(port)


def isns_server(text: str) -> Endpoint:
    """Where an iSNS server is; without a port at that of iSNS. Raises ValueError."""
    if ":" not in text.rpartition("]")[2]:
        text = f"{text}:{ISNS_PORT}"
    return Endpoint(*host_and_port(text))


def parse_lun(text: str) -> tuple[int, LunConfig]:
    """A LUN of the command line: `N=memory:SIZE`, `N=file:PATH[:SIZE]` or `N=sparse:PATH[:SIZE]`. Raises ConfigError."""
    number, equals, rest = text.partition("=")
    backend, colon, where = rest.partition(":")
    if not (equals and colon and number.isascii() and number.isdigit() and int(number) <= MAX_LUN):
        raise ConfigError(f"{text}: expected N=memory:SIZE or N=file:PATH[:SIZE]")
    try:
        if backend == "memory":
            return int(number), LunConfig(size=Size.parse(where))
        if backend not in ("file", "sparse"):
            raise ConfigError(f"{text}: {backend!r} is no backend; there are memory, file and sparse")
        path, _, size = where.rpartition(":")
        try:
            parsed = Size.parse(size) if path else None
        except ValueError:
            parsed = None
        if parsed is None:
            path = where
        return int(number), LunConfig(backend="file" if backend == "file" else "sparse", path=path, size=parsed)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{text}: {error}") from error


def _decode(kind: type[Any], value: object) -> Size:
    if kind is Size:
        return Size.parse(value)
    raise TypeError(f"no way to read {kind.__name__}")


def config_from(tables: Mapping[str, Any]) -> TargetConfig:
    """The configuration that nested tables (as of TOML) describe. Raises ConfigError."""
    policy = tables.get("policy", {})
    if isinstance(policy, Mapping):
        unknown = sorted(set(policy) - {each.name for each in fields(Policy)})
        if unknown:
            raise ConfigError(f"unknown policy switch {unknown[0]!r} - at `$.policy`")
    try:
        return msgspec.convert(tables, TargetConfig, str_keys=True, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise ConfigError(str(error)) from error


def parse_config(text: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None) -> TargetConfig:
    """The configuration in TOML text, whose tables are changed first where that is asked for. Raises ConfigError."""
    try:
        tables = tomllib.loads(text)
        return config_from(tables if change is None else change(tables))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from error
    except RecursionError as error:
        raise ConfigError("not TOML that can be read: nested too deeply") from error


def load_config(
    path: str | Path, change: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
) -> TargetConfig:
    """The configuration in a TOML file. change: what to do to its tables first. Raises ConfigError, which then names the
    file, for unreadable files as well.
    """
    try:
        return parse_config(Path(path).read_text(encoding="utf-8"), change)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
