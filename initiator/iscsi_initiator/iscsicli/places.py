"""The parameters that commands share, in the guide's words and order."""

from __future__ import annotations

from enum import IntFlag

from iscsi_initiator.iscsicli.parameters import (
    CONNECTION,
    DIGEST,
    FLAGS,
    LUN,
    LUN_STRUCTURE,
    NUMBER,
    SECRET,
    SESSION,
    TEXT,
    TRUTH,
    Kind,
    Parameter,
    Star,
)
from iscsi_initiator.store.state import AuthType, LoginFlag, SecurityFlag, TargetFlag
from iscsi_initiator.url import DEFAULT_PORT

_DRIVER = Star(None, "the driver chooses")
_ANY = Star(None, "any")
_NO_FLAGS = Star(0, "0")


def flags(kind: type[IntFlag]) -> str:
    """Flags with their names, for the description of a parameter."""
    return ", ".join(f"{each.value:#x} {each.name}" for each in kind)


TARGET_NAME = Parameter("TargetName", "target_name", TEXT, "iSCSI name of the target")
SESSION_ID = Parameter("SessionId", "session_id", SESSION, "the session, as SessionList shows it")
CONNECTION_ID = Parameter("ConnectionId", "connection_id", CONNECTION, "the connection, as SessionList shows it")
LUN_NUMBER = Parameter("LUN", "lun", LUN, "the LUN at the target")


def address(name: str = "TargetPortalAddress", star: Star | None = None) -> Parameter:
    """Where a portal is."""
    return Parameter(name, "address", TEXT, "IP address or DNS name of the target portal", star)


def socket(name: str = "TargetPortalSocket") -> Parameter:
    """The TCP port of a portal."""
    return Parameter(name, "port", NUMBER, "TCP port of the target portal", Star(None, str(DEFAULT_PORT)))


PORTAL = (address(), socket())
ANY_PORTAL = (address(star=Star(None, "one that discovery found")), socket())


def instance(name: str = "Initiator Instance Name", star: Star = _ANY) -> Parameter:
    """An initiator instance."""
    return Parameter(name, "initiator", TEXT, "initiator instance, as ListInitiators shows it", star)


def port(name: str = "Initiator Port Number", star: Star = _ANY) -> Parameter:
    """A physical port of an initiator instance."""
    return Parameter(name, "initiator_port", NUMBER, "physical port of the initiator", star)


SECURITY = Parameter("Security Flags", "security_flags", FLAGS, f"how IPsec is used: {flags(SecurityFlag)}", _NO_FLAGS)
TARGET_FLAG = Parameter("Target Flags", "target_flags", FLAGS, flags(TargetFlag), _NO_FLAGS)


def login(connections: str = "Max Connections") -> tuple[Parameter, ...]:
    """How to log in: from the login flags to AuthType."""
    return (
        Parameter("Login Flags", "login_flags", FLAGS, flags(LoginFlag), _NO_FLAGS),
        Parameter("Header Digest", "header_digest", DIGEST, "whether PDU headers have a digest", _DRIVER),
        Parameter("Data Digest", "data_digest", DIGEST, "whether PDU data has a digest", _DRIVER),
        Parameter(connections, "maximum_connections", NUMBER, "connections that a session may have", _DRIVER),
        Parameter("DefaultTime2Wait", "default_time2wait", NUMBER, "seconds", _DRIVER),
        Parameter("DefaultTime2Retain", "default_time2retain", NUMBER, "seconds", _DRIVER),
        user_name("Username"),
        password("Password"),
        Parameter(
            "AuthType",
            "auth_type",
            NUMBER,
            "0 none, 1 CHAP (the target asks), 2 mutual CHAP (both ask)",
            Star(AuthType.NONE, "0"),
        ),
    )


def user_name(name: str, *, optional: bool = False) -> Parameter:
    """Who CHAP says this is."""
    return Parameter(name, "user_name", TEXT, "CHAP user name", Star(None, "the node name"), optional)


def password(name: str, *, optional: bool = False) -> Parameter:
    """The secret that the target knows."""
    return Parameter(
        name, "password", SECRET, "CHAP secret of the target", Star(None, "the one that is stored"), optional
    )


CHAP = (user_name("CHAP Username", optional=True), password("CHAP Password", optional=True))
KEY = Parameter("Key", "key", SECRET, "IPsec preshared key of the connection", Star(None, "none"))
MAPPING_COUNT = Parameter("Mapping Count", "mapping_count", NUMBER, "how many mappings follow", Star(0, "0"))
MAPPING = (
    Parameter("Target Lun", "target_lun", LUN_STRUCTURE, "the LUN at the target"),
    Parameter("OS Bus", "os_bus", NUMBER, "bus to give it, the same in all mappings"),
    Parameter("OS Target", "os_target", NUMBER, "target number to give it, the same in all mappings"),
    Parameter("OS LUN", "os_lun", NUMBER, "LUN to give it, another in each mapping"),
)


def persist(what: str) -> Parameter:
    """Whether something outlives the service."""
    return Parameter("Persist", "persist", TRUTH, f"whether the {what} is there after a restart")


REPORT_TO_PNP = Parameter(
    "ReportToPNP",
    "report_to_pnp",
    TRUTH,
    "whether the LUNs become devices; if not they take INQUIRY, REPORT LUNS and READ CAPACITY alone",
)


def payload() -> tuple[Parameter, ...]:
    """Who identifies itself to IKE."""
    return (
        Parameter("Id Type", "id_type", NUMBER, "1 IPv4 address, 2 fully qualified domain name"),
        Parameter("Id", "id", TEXT, "what it identifies itself by"),
    )


def required_secret(name: str, field: str, about: str, kind: Kind = SECRET, star: Star | None = None) -> Parameter:
    """A secret that has to be given."""
    return Parameter(name, field, kind, about, star)


ALL = Star(None, "all")
