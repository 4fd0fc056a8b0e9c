"""The text keys of RFC 7143 chapters 12 and 13, and iSCSIProtocolLevel of RFC 7144 section 7.1.1, one row each.

Pure data: who may send a key, when, which values it takes, how a result comes about. The keys of the authentication
methods (12.1.1 to 12.1.3) are listed by name only, because their exchanges belong to the methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType


class Role(Enum):
    """A side of the connection."""

    INITIATOR = "initiator"
    TARGET = "target"

    @property
    def peer(self) -> Role:
        """The other side."""
        return Role.TARGET if self is Role.INITIATOR else Role.INITIATOR


class SessionType(Enum):
    """The values of the key SessionType (13.21)."""

    NORMAL = "Normal"
    DISCOVERY = "Discovery"


class Kind(Enum):
    """What the value of a key is (6.1 and the key's own section)."""

    LIST = "list-of-values"
    BOOLEAN = "boolean-value"
    NUMBER = "numerical-value"
    BINARY = "binary-value of 16 bits"
    ISCSI_NAME = "iSCSI-name-value"
    LOCAL_NAME = "iSCSI-local-name-value"
    ADDRESS = "domainname[:port][,portal-group-tag]"
    CHOICE = "one of the values"
    ANY = "private or obsolete, not interpreted"


class Function(Enum):
    """How a result comes about: the result function of chapter 13, or why there is none."""

    FIRST_SUPPORTED = "list"
    MINIMUM = "Minimum"
    MAXIMUM = "Maximum"
    AND = "AND"
    OR = "OR"
    DECLARATION = "Declarative"
    REQUEST = "request"
    PRIVATE = "key specific"
    OBSOLETE = "obsolete"


class Use(Enum):
    """In which phase a key may stand (introduction of chapter 13)."""

    LEADING_ONLY = "LO"
    INITIALIZE_ONLY = "IO"
    ALL = "ALL"
    FULL_FEATURE_ONLY = "FFPO"
    SECURITY = "security stage"


class Scope(Enum):
    """For what a value holds."""

    SESSION = "SW"
    CONNECTION = "CO"
    KEY_SPECIFIC = "key"


Condition = tuple[tuple[str, str], ...]
"""Results (key, value) that hold together."""


NEGOTIATED = frozenset({Function.FIRST_SUPPORTED, Function.MINIMUM, Function.MAXIMUM, Function.AND, Function.OR})


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyRule:
    """One key.

    low, high: the bounds of a number, inclusive.  values: the values of a list or a choice that have a meaning.
    extension_prefix: how private values of a list begin.  default: None where the standard gives none.
    initiator_use, target_use: None where that side may not send the key (but as an answer to the other's).
    any_stage: also in the security stage.  irrelevant_when: any of these conditions makes the key irrelevant.
    target_may_repeat: the target may send it more than once in a negotiation.
    may_be_unknown: NotUnderstood is a legal answer.  answer_optional: the negotiation goes on without an answer.
    refusals: the answers to an obsolete key, preferred first.
    informative: behaviour must not depend on the value, so it is not judged.
    clause: id of the requirement that says all this.
    """

    name: str
    kind: Kind
    function: Function
    initiator_use: Use | None
    target_use: Use | None
    scope: Scope
    clause: str
    default: str | None = None
    low: int = 0
    high: int = 0
    values: tuple[str, ...] = ()
    extension_prefix: str = ""
    any_stage: bool = False
    irrelevant_when: tuple[Condition, ...] = ()
    target_may_repeat: bool = False
    may_be_unknown: bool = False
    answer_optional: bool = False
    refusals: tuple[str, ...] = ()
    informative: bool = False
    max_length: int = 255
    negotiated: bool = field(init=False)
    """Whether one side proposes and the other answers, in contrast to declarations and requests."""

    def __post_init__(self) -> None:
        """Note what every negotiation asks of every key."""
        object.__setattr__(self, "negotiated", self.function in NEGOTIATED)

    def use_by(self, role: Role) -> Use | None:
        """When that side may send the key, None for never."""
        return self.initiator_use if role is Role.INITIATOR else self.target_use

    @property
    def senders(self) -> tuple[Role, ...]:
        """The sides that may send the key other than as an answer."""
        return tuple(role for role in Role if self.use_by(role) is not None)


_LO = Use.LEADING_ONLY
_IO = Use.INITIALIZE_ONLY
_ALL = Use.ALL
_SW = Scope.SESSION
_CO = Scope.CONNECTION
_IN_DISCOVERY: tuple[Condition, ...] = ((("SessionType", "Discovery"),),)
_NOTHING_UNSOLICITED: Condition = (("InitialR2T", "Yes"), ("ImmediateData", "No"))
_LONGEST_DATA = 2**24 - 1


def _boolean(name: str, function: Function, clause: str) -> KeyRule:
    return KeyRule(
        name=name,
        kind=Kind.BOOLEAN,
        function=function,
        initiator_use=_LO,
        target_use=_LO,
        scope=_SW,
        clause=clause,
        default="Yes",
        irrelevant_when=_IN_DISCOVERY,
    )


def _number(
    name: str,
    function: Function,
    low: int,
    high: int,
    default: int,
    clause: str,
    irrelevant_when: tuple[Condition, ...] = (),
    answer_optional: bool = False,
) -> KeyRule:
    return KeyRule(
        name=name,
        kind=Kind.NUMBER,
        function=function,
        initiator_use=_LO,
        target_use=_LO,
        scope=_SW,
        clause=clause,
        default=str(default),
        low=low,
        high=high,
        irrelevant_when=irrelevant_when,
        # Whoever may leave a key unanswered may as well not understand it (RFC 7144 section 7.1.1 names both together).
        may_be_unknown=answer_optional,
        answer_optional=answer_optional,
    )


def _digest(name: str) -> KeyRule:
    return KeyRule(
        name=name,
        kind=Kind.LIST,
        function=Function.FIRST_SUPPORTED,
        initiator_use=_IO,
        target_use=_IO,
        scope=_CO,
        clause="R7143-13.1-10",
        default="None",
        values=("CRC32C", "None"),
        extension_prefix="Y-",
    )


def _alias(name: str, initiator_use: Use | None, target_use: Use | None, clause: str) -> KeyRule:
    return KeyRule(
        name=name,
        kind=Kind.LOCAL_NAME,
        function=Function.DECLARATION,
        initiator_use=initiator_use,
        target_use=target_use,
        scope=_SW,
        clause=clause,
        any_stage=True,
    )


def _obsolete(name: str, refusals: tuple[str, ...], clause: str) -> KeyRule:
    return KeyRule(
        name=name,
        kind=Kind.ANY,
        function=Function.OBSOLETE,
        initiator_use=_IO,
        target_use=_IO,
        scope=_CO,
        clause=clause,
        refusals=refusals,
    )


_ROWS = (
    KeyRule(
        name="InitiatorName",
        kind=Kind.ISCSI_NAME,
        function=Function.DECLARATION,
        initiator_use=_IO,
        target_use=None,
        scope=_SW,
        clause="R7143-13.5-01",
        any_stage=True,
        max_length=223,
    ),
    _alias("InitiatorAlias", _ALL, None, "R7143-13.7-01"),
    KeyRule(
        name="TargetName",
        kind=Kind.ISCSI_NAME,
        function=Function.DECLARATION,
        initiator_use=_IO,
        target_use=Use.FULL_FEATURE_ONLY,  # in answers to SendTargets, once for each target
        scope=_SW,
        clause="R7143-13.4-03",
        any_stage=True,
        target_may_repeat=True,
        max_length=223,
    ),
    KeyRule(
        name="SessionType",
        kind=Kind.CHOICE,
        function=Function.DECLARATION,
        initiator_use=_LO,
        target_use=None,
        scope=_SW,
        clause="R7143-13.21-01",
        default="Normal",
        values=("Discovery", "Normal"),
        any_stage=True,
    ),
    _alias("TargetAlias", None, _ALL, "R7143-13.6-01"),
    KeyRule(
        name="TargetAddress",
        kind=Kind.ADDRESS,
        function=Function.DECLARATION,
        initiator_use=None,
        target_use=_ALL,
        scope=_SW,
        clause="R7143-13.8-03",
        any_stage=True,
        target_may_repeat=True,
    ),
    KeyRule(
        name="TargetPortalGroupTag",
        kind=Kind.BINARY,
        function=Function.DECLARATION,
        initiator_use=None,
        target_use=_IO,
        scope=_SW,
        clause="R7143-13.9-01",
        any_stage=True,
        high=65535,
    ),
    KeyRule(
        name="AuthMethod",
        kind=Kind.LIST,
        function=Function.FIRST_SUPPORTED,
        initiator_use=Use.SECURITY,
        target_use=Use.SECURITY,
        scope=_CO,
        clause="R7143-6.3.2-02",
        values=("KRB5", "SRP", "CHAP", "None"),
        extension_prefix="Z-",
    ),
    _digest("HeaderDigest"),
    _digest("DataDigest"),
    KeyRule(
        name="MaxRecvDataSegmentLength",
        kind=Kind.NUMBER,
        function=Function.DECLARATION,
        initiator_use=_ALL,
        target_use=_ALL,
        scope=_CO,
        clause="R7143-13.12-01",
        default="8192",
        low=512,
        high=_LONGEST_DATA,
    ),
    _number("MaxConnections", Function.MINIMUM, 1, 65535, 1, "R7143-13.2-01", _IN_DISCOVERY),
    _boolean("InitialR2T", Function.OR, "R7143-13.10-01"),
    _boolean("ImmediateData", Function.AND, "R7143-13.11-01"),
    _number("MaxBurstLength", Function.MINIMUM, 512, _LONGEST_DATA, 262144, "R7143-13.13-01", _IN_DISCOVERY),
    _number(
        "FirstBurstLength",
        Function.MINIMUM,
        512,
        _LONGEST_DATA,
        65536,
        "R7143-13.14-01",
        (*_IN_DISCOVERY, _NOTHING_UNSOLICITED),
    ),
    _number("DefaultTime2Wait", Function.MAXIMUM, 0, 3600, 2, "R7143-13.15-01"),
    _number("DefaultTime2Retain", Function.MINIMUM, 0, 3600, 20, "R7143-13.16-01"),
    _boolean("DataPDUInOrder", Function.OR, "R7143-13.18-01"),
    _boolean("DataSequenceInOrder", Function.OR, "R7143-13.19-01"),
    _number("ErrorRecoveryLevel", Function.MINIMUM, 0, 2, 0, "R7143-13.20-01"),
    _number("MaxOutstandingR2T", Function.MINIMUM, 1, 65535, 1, "R7143-13.17-01", _IN_DISCOVERY),
    KeyRule(
        name="TaskReporting",
        kind=Kind.LIST,
        function=Function.FIRST_SUPPORTED,
        initiator_use=_LO,
        target_use=_LO,
        scope=_SW,
        clause="R7143-13.23-01",
        default="RFC3720",
        values=("RFC3720", "ResponseFence", "FastAbort"),
        irrelevant_when=_IN_DISCOVERY,
    ),
    _number(
        "iSCSIProtocolLevel",
        Function.MINIMUM,
        0,
        31,
        1,
        "R7144-7.1.1-01",
        _IN_DISCOVERY,
        answer_optional=True,
    ),
    KeyRule(
        name="X#NodeArchitecture",
        kind=Kind.LIST,
        function=Function.DECLARATION,
        initiator_use=_LO,
        target_use=_LO,
        scope=_SW,
        clause="R7143-13.26.1-02",
        default="None",
        may_be_unknown=True,
        informative=True,
    ),
    KeyRule(
        name="SendTargets",
        kind=Kind.ISCSI_NAME,  # or All, or nothing
        function=Function.REQUEST,
        initiator_use=Use.FULL_FEATURE_ONLY,
        target_use=None,
        scope=_SW,
        clause="R7143-13.3-01",
        max_length=223,
    ),
    _obsolete("IFMarker", ("Reject", "No"), "R7143-13.25-01"),
    _obsolete("OFMarker", ("Reject", "No"), "R7143-13.25-01"),
    _obsolete("IFMarkInt", ("Reject",), "R7143-13.25-04"),
    _obsolete("OFMarkInt", ("Reject",), "R7143-13.25-04"),
)

KEYS: Mapping[str, KeyRule] = MappingProxyType({row.name: row for row in _ROWS})
"""Every key by its name, in an order that suits sending: a key never stands before one that its result depends on."""

PRIVATE_PREFIX = "X-"
PRIVATE_KEY = KeyRule(
    name=PRIVATE_PREFIX,
    kind=Kind.ANY,
    function=Function.PRIVATE,
    initiator_use=_ALL,
    target_use=_ALL,
    scope=Scope.KEY_SPECIFIC,
    clause="R7143-13.22-02",
    irrelevant_when=_IN_DISCOVERY,
    may_be_unknown=True,
    answer_optional=True,
)
"""The row of all keys that begin with X- (13.22), in normal sessions only."""

AUTHENTICATION_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "KRB5": ("KRB_AP_REQ", "KRB_AP_REP"),
        "SRP": ("SRP_U", "TargetAuth", "SRP_GROUP", "SRP_A", "SRP_s", "SRP_B", "SRP_M", "SRP_HM"),
        "CHAP": ("CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"),
    }
)
"""The keys of each authentication method (12.1.1, 12.1.2, 12.1.3)."""

AUTHENTICATION_PREFIXES = ("CHAP_", "SRP_", "KRB_", "SPKM_")
"""How keys of the methods begin, also those that no method has; SPKM_ is obsolete and not used again (chapter 15)."""
