"""The table of commands: each row names the request that it makes, its parameters in the guide's order, and how the answer
is shown. Help, parsing and the list in docs/iscsicli.md are made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from iscsi_initiator.iscsicli import show
from iscsi_initiator.iscsicli.parameters import HEX_SECRET, NUMBER, TEXT, TRUTH, Parameter, Star, Usage
from iscsi_initiator.iscsicli.places import (
    ALL,
    ANY_PORTAL,
    CHAP,
    CONNECTION_ID,
    KEY,
    LUN_NUMBER,
    MAPPING,
    MAPPING_COUNT,
    PORTAL,
    REPORT_TO_PNP,
    SECURITY,
    SESSION_ID,
    TARGET_FLAG,
    TARGET_NAME,
    address,
    instance,
    login,
    payload,
    persist,
    port,
    required_secret,
    socket,
)
from iscsi_initiator.service import api
from iscsi_initiator.service.api.sessions import DEFAULT_INQUIRY_LENGTH
from iscsi_initiator.status_codes import StatusCode

Values = dict[str, Any]
_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Command:
    """One row. name: as the guide writes it; summary: one line; request: what is asked; show: the answer's lines of text.

    fixed: fields of the request that the command does not ask for; aliases: other names; long: the command whose quick form
    this is; guide: whether Appendix C has it; notes: what is easily missed.
    """

    name: str
    summary: str
    request: type[api.Operation[Any]]
    parameters: tuple[Parameter, ...] = ()
    show: Callable[[Any], list[str]] = show.nothing
    fixed: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    aliases: tuple[str, ...] = ()
    long: str = ""
    guide: bool = True
    notes: str = ""

    @property
    def usage(self) -> str:
        """The name and its parameters."""
        words = [self.name, *(each.usage for each in self.parameters)]
        if self.takes_mappings:
            words += [*(each.usage for each in MAPPING), "..."]
        return " ".join(words)

    @property
    def takes_mappings(self) -> bool:
        """Whether mappings may follow the last parameter, which is their count."""
        return bool(self.parameters) and self.parameters[-1] is MAPPING_COUNT

    @property
    def required(self) -> int:
        """How many parameters have to be given."""
        return sum(not each.optional for each in self.parameters)


_LOGIN = (
    TARGET_NAME,
    REPORT_TO_PNP,
    *ANY_PORTAL,
    instance(),
    port("Port Number"),
    SECURITY,
    *login(),
    KEY,
    MAPPING_COUNT,
)
_PORTAL = (*PORTAL, instance("Initiator Name"), port())
_SERVER = Parameter("iSNS Server Address", "server", TEXT, "IP address or DNS name of the iSNS server")
_PATH = Parameter("Device or Volume Path", "path", TEXT, "mount point of a volume, or interface name of a device")

TARGETS = (
    Command(
        "AddTarget",
        "Configure a target by hand.",
        api.AddTarget,
        (
            TARGET_NAME,
            Parameter("TargetAlias", "target_alias", TEXT, "alias of the target", Star(None, "none")),
            *ANY_PORTAL,
            TARGET_FLAG,
            persist("target"),
            *login(),
            MAPPING_COUNT,
        ),
        notes="A hidden target is told of only where something else finds it too.",
    ),
    Command(
        "QAddTarget",
        "Configure a target by hand, to stay, with defaults.",
        api.AddTarget,
        (TARGET_NAME, address()),
        fixed={"persist": True},
        long="AddTarget",
    ),
    Command("RemoveTarget", "Forget a target that was configured by hand.", api.RemoveTarget, (TARGET_NAME,)),
    Command(
        "ListTargets",
        "List the targets that are known.",
        api.ListTargets,
        (Parameter("ForceUpdate", "update", TRUTH, "whether every discovery mechanism is asked first", optional=True),),
        show.targets,
        guide=False,
    ),
    Command(
        "TargetInfo",
        "Tell how a target was found, or what one mechanism told of it.",
        api.TargetInfo,
        (
            TARGET_NAME,
            Parameter(
                "Discovery Mechanism",
                "discovery_mechanism",
                TEXT,
                "the mechanism whose target is told, as this command lists them",
                Star(None, "the list of mechanisms"),
                optional=True,
            ),
        ),
        show.target_information,
    ),
)

DISCOVERY = (
    Command(
        "AddTargetPortal",
        "Ask a portal for its targets, now and at each start.",
        api.AddTargetPortal,
        (*PORTAL, instance(), port(), SECURITY, *login("Maximum Connections")),
    ),
    Command(
        "QAddTargetPortal",
        "Ask a portal for its targets, now and at each start, with defaults.",
        api.AddTargetPortal,
        (address(), *CHAP),
        long="AddTargetPortal",
        notes="With user name and password CHAP is used one way.",
    ),
    Command(
        "RemoveTargetPortal",
        "Ask a portal no more.",
        api.RemoveTargetPortal,
        _PORTAL,
        notes="The targets that it told of stay known.",
    ),
    Command(
        "RefreshTargetPortal",
        "Ask a portal for its targets once.",
        api.RefreshTargetPortal,
        _PORTAL,
        notes="The portal is not added to the list.",
    ),
    Command("ListTargetPortals", "List the portals that are asked.", api.ListTargetPortals, show=show.target_portals),
    Command(
        "AddiSNSServer",
        "Register with an iSNS server and query it, now and at each start.",
        api.AddiSNSServer,
        (_SERVER,),
    ),
    Command(
        "RemoveiSNSServer",
        "Query an iSNS server no more.",
        api.RemoveiSNSServer,
        (_SERVER,),
        notes="The targets that it told of stay known.",
    ),
    Command(
        "RefreshiSNSServer",
        "Query an iSNS server once.",
        api.RefreshiSNSServer,
        (_SERVER,),
        notes="The server need not be in the list, and is not added to it.",
    ),
    Command("ListiSNSServers", "List the iSNS servers that are queried.", api.ListiSNSServers, show=show.isns_servers),
    Command(
        "FirewallExemptiSNSServer",
        "Let notifications of iSNS servers through the firewall of this host.",
        api.FirewallExemptiSNSServer,
        guide=False,
    ),
)

SESSIONS = (
    Command("LoginTarget", "Log in to a target now.", api.LoginTarget, _LOGIN, show.logged_in),
    Command(
        "QLoginTarget",
        "Log in to a target now, with defaults.",
        api.LoginTarget,
        (TARGET_NAME, *CHAP),
        show.logged_in,
        fixed={"report_to_pnp": True},
        long="LoginTarget",
        notes="With user name and password CHAP is used one way.",
    ),
    Command(
        "LogoutTarget",
        "End a session.",
        api.LogoutTarget,
        (SESSION_ID,),
        notes="Refused while a device of the session is in use.",
    ),
    Command(
        "PersistentLoginTarget",
        "Log in to a target at each start.",
        api.PersistentLoginTarget,
        _LOGIN,
        notes="Does not log in now. A target may have several such logins, told apart as TargetName#N.",
    ),
    Command(
        "ListPersistentTargets",
        "List the logins that are made at each start.",
        api.ListPersistentTargets,
        show=show.persistent_logins,
    ),
    Command(
        "RemovePersistentTarget",
        "Make a login no more at each start.",
        api.RemovePersistentTarget,
        (
            instance("Initiator Name"),
            Parameter("TargetName", "target_name", TEXT, "iSCSI name of the target, with #N for one of several logins"),
            port(),
            address("Target Portal Address", Star(None, "any")),
            socket("Target Portal Socket"),
        ),
    ),
    Command(
        "AddConnection",
        "Add a connection to a session.",
        api.AddConnection,
        (
            SESSION_ID,
            instance(),
            port(),
            address("Target Portal Address", Star(None, "the one of the session")),
            socket("Target Portal Socket"),
            SECURITY,
            *login(),
            KEY,
        ),
        show.connection_added,
    ),
    Command(
        "QAddConnection",
        "Add a connection to a session, with defaults.",
        api.AddConnection,
        (SESSION_ID, instance(), address("Target Portal Address"), *CHAP),
        show.connection_added,
        long="AddConnection",
        notes="With user name and password CHAP is used one way.",
    ),
    Command(
        "RemoveConnection",
        "Log one connection of a session out.",
        api.RemoveConnection,
        (SESSION_ID, CONNECTION_ID),
        notes="The last one stays: LogoutTarget ends the session.",
    ),
    Command(
        "SessionList", "List the sessions with their connections and devices.", api.SessionList, show=show.sessions
    ),
)

SCSI = (
    Command(
        "ScsiInquiry",
        "Send INQUIRY to a LUN.",
        api.ScsiInquiry,
        (
            SESSION_ID,
            LUN_NUMBER,
            Parameter("EvpdCmddt", "evpd_cmddt", NUMBER, "1 for a vital product data page", Star(0, "0")),
            Parameter("PageCode", "page_code", NUMBER, "the page", Star(0, "0")),
            Parameter(
                "Length",
                "length",
                NUMBER,
                "allocation length in bytes",
                Star(DEFAULT_INQUIRY_LENGTH, f"{DEFAULT_INQUIRY_LENGTH:#X}".replace("X", "x")),
                optional=True,
            ),
        ),
        show.inquiry,
    ),
    Command("ReadCapacity", "Send READ CAPACITY to a LUN.", api.ReadCapacity, (SESSION_ID, LUN_NUMBER), show.capacity),
    Command("ReportLUNs", "Send REPORT LUNS to a target.", api.ReportLUNs, (SESSION_ID,), show.luns),
    Command(
        "ReportTargetMappings",
        "List where the LUNs of all sessions appear.",
        api.ReportTargetMappings,
        show=show.target_mappings,
    ),
)

SECURITY_COMMANDS = (
    Command(
        "CHAPSecret",
        "Set the secret by which targets prove themselves to this initiator.",
        api.CHAPSecret,
        (required_secret("CHAP secret", "secret", "the secret", HEX_SECRET, Star(None, "an empty secret")),),
    ),
    Command(
        "TunnelAddr",
        "Set the outer address of IPsec tunnels to a destination.",
        api.TunnelAddr,
        (
            instance("Initiator Name", ALL),
            port("Initiator Port", ALL),
            Parameter("Destination Address", "destination", TEXT, "IP address that is reached through the tunnel"),
            Parameter("Tunnel Address", "tunnel", TEXT, "IP address of the tunnel's other end"),
            persist("address"),
        ),
    ),
    Command(
        "GroupKey",
        "Set the key that IKE uses where there is no other.",
        api.GroupKey,
        (required_secret("Key", "key", "group preshared key"), persist("key")),
    ),
    Command(
        "PSKey",
        "Set the preshared key for an IKE identity.",
        api.PSKey,
        (
            instance("Initiator Name", ALL),
            port("Initiator Port", ALL),
            SECURITY,
            *payload(),
            required_secret("Key", "key", "preshared key"),
            persist("key"),
        ),
    ),
    Command(
        "GetPSKey",
        "Tell whether there is a preshared key for an IKE identity; never the key.",
        api.GetPSKey,
        (instance("Initiator Name", ALL), port("Initiator Port", ALL), *payload()),
        show.preshared_key,
        guide=False,
    ),
)

DEVICES = (
    Command(
        "BindPersistentVolumes",
        "Wait at each start for all volumes and devices that are there now.",
        api.BindPersistentDevices,
        show=show.persistent_devices,
        aliases=("BindPersistentDevices",),
    ),
    Command(
        "ReportPersistentDevices",
        "List the volumes and devices that are waited for.",
        api.ReportPersistentDevices,
        show=show.persistent_devices,
        aliases=("ReportPersistentVolumes",),
    ),
    Command(
        "AddPersistentDevice",
        "Wait for one more volume or device.",
        api.AddPersistentDevice,
        (_PATH,),
        aliases=("AddPersistentVolume",),
    ),
    Command(
        "RemovePersistentDevice",
        "Wait for a volume or device no more.",
        api.RemovePersistentDevice,
        (_PATH,),
        aliases=("RemovePersistentVolume",),
    ),
    Command(
        "ClearPersistentDevices",
        "Wait for no volume and no device.",
        api.ClearPersistentDevices,
        aliases=("ClearPersistentVolumes",),
    ),
)

MISCELLANEOUS = (
    Command("ListInitiators", "List the initiator instances.", api.ListInitiators, show=show.initiators),
    Command(
        "NodeName",
        "Set the iSCSI name of this initiator.",
        api.NodeName,
        (
            Parameter(
                "Node Name", "node_name", TEXT, "iSCSI name", Star(None, "made of the names of host and domain again")
            ),
        ),
        show.node_name,
        notes="The name is checked. It follows the host's name until one is set.",
    ),
    Command("VersionInfo", "Tell the versions of the service's parts.", api.VersionInfo, show=show.versions),
)

GROUPS: Mapping[str, tuple[Command, ...]] = MappingProxyType(
    {
        "Targets configured by hand": TARGETS,
        "Discovery": DISCOVERY,
        "Logins and sessions": SESSIONS,
        "SCSI commands": SCSI,
        "Secrets and IPsec": SECURITY_COMMANDS,
        "Volumes and devices": DEVICES,
        "The node": MISCELLANEOUS,
    }
)
"""All commands below headings."""

COMMANDS: Mapping[str, Command] = MappingProxyType(
    {name.lower(): each for group in GROUPS.values() for each in group for name in (each.name, *each.aliases)}
)
"""By name, in lower case."""


def find(name: str) -> Command:
    """The command of that name in whatever case. Raises Usage."""
    try:
        return COMMANDS[name.lower()]
    except KeyError:
        raise Usage(
            StatusCode.REQUEST_NOT_SUPPORTED, "there is no such command; `iscsicli /?` lists those that there are"
        ) from None
