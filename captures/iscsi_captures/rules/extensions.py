"""Names and keys beyond the table: extensions, node names (RFC 3722), keys that do not go together (12.1, 13, 14)."""

from __future__ import annotations

import re
import stringprep
import unicodedata
from collections.abc import Callable, Iterator

from iscsi_captures.dialogue import Pair, Phase, Sight
from iscsi_captures.dialogue.agreement import default_number, number
from iscsi_captures.rules.model import BOTH_PHASES, Rules, Stain
from iscsi_protocol.negotiation.keys import KEYS, Kind
from iscsi_protocol.pdu import Opcode

RULES = Rules(BOTH_PHASES, from_start=True)
_LOGIN_PDUS = (Opcode.LOGIN_REQUEST, Opcode.LOGIN_RESPONSE)
_ALL = (*_LOGIN_PDUS, Opcode.TEXT_REQUEST, Opcode.TEXT_RESPONSE)
_IN_LOGIN = (Phase.LOGIN,)
_LABEL = re.compile(r"[A-Z][A-Za-z0-9.\-+@_]*", re.IGNORECASE)
_ITEM = re.compile(r"[A-Za-z0-9.\-+@_/\[\]:#]*")
_METHODS = frozenset({"CHAP", "SRP", "KRB5", "None", "Reject", "Irrelevant", "NotUnderstood"})
_OBSOLETE_METHODS = frozenset({"SPKM1", "SPKM2"})
_DIGESTS = frozenset({"CRC32C", "None", "Reject", "Irrelevant", "NotUnderstood"})
_DIGEST_KEYS = frozenset({"HeaderDigest", "DataDigest"})
_ARCHITECTURE = "X#NodeArchitecture"
_NAMES = frozenset({"InitiatorName", "TargetName"})
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.:")
_FULL_STOP = "\u3002"
_PROHIBITED: tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_c11_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def _pairs(sight: Sight) -> list[Pair]:
    return sight.pairs or []


def _items(sight: Sight, keys: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Each value of these keys' lists, with its key."""
    return ((pair.key, item) for pair in _pairs(sight) if pair.key in keys for item in pair.value.split(","))


_METHOD_KEYS = frozenset({"AuthMethod"})


@RULES("keys.public-prefix", "R7143-14-01", *_ALL, leans=False)
def public_prefix(sight: Sight) -> str | None:
    """The prefixes X#, Y# and Z# are not used, but for X#NodeArchitecture."""
    for pair in _pairs(sight):
        if pair.key.startswith("X#") and pair.key != _ARCHITECTURE and pair.value != "NotUnderstood":
            return f"the key {pair.key}"
    for key, item in _items(sight, _DIGEST_KEYS | _METHOD_KEYS):
        if item.startswith(("Y#", "Z#")):
            return f"{key} with {item}"
    return None


@RULES("keys.extension-kind", "R7143-14-02", *_LOGIN_PDUS, phases=_IN_LOGIN, leans=False)
def extension_kind(sight: Sight) -> str | None:
    """Y- is for digests, Z- for methods, X- for keys."""
    for keys, others in ((_DIGEST_KEYS, ("X-", "Z-")), (_METHOD_KEYS, ("X-", "Y-"))):
        for key, item in _items(sight, keys):
            if item.startswith(others):
                return f"{key} with {item}"
    return None


@RULES("keys.auth-method-name", "R7143-12.1-06", *_LOGIN_PDUS, phases=_IN_LOGIN, leans=False)
def auth_method_name(sight: Sight) -> str | None:
    """A method that is none of the standard's begins with Z-."""
    for _, item in _items(sight, _METHOD_KEYS):
        if item not in _METHODS | _OBSOLETE_METHODS and item[1:2] not in ("-", "#"):
            return f"AuthMethod with {item}"
    return None


@RULES("keys.auth-method-label", "R7143-12.1-09", *_LOGIN_PDUS, phases=_IN_LOGIN, leans=False)
def auth_method_label(sight: Sight) -> str | None:
    """What follows Z- begins with a letter, and has letters, digits and . - + @ _ behind it."""
    for _, item in _items(sight, _METHOD_KEYS):
        if item.startswith("Z-") and not _LABEL.fullmatch(item[2:]):
            return f"AuthMethod with {item}"
    return None


@RULES("keys.digest-name", "R7143-13.1-07", *_LOGIN_PDUS, phases=_IN_LOGIN, leans=False)
def digest_name(sight: Sight) -> str | None:
    """A digest that is none of the standard's begins with Y-."""
    for key, item in _items(sight, _DIGEST_KEYS):
        if item not in _DIGESTS and item[1:2] not in ("-", "#"):
            return f"{key} with {item}"
    return None


@RULES("keys.digest-label", "R7143-13.1-09", *_LOGIN_PDUS, phases=_IN_LOGIN, leans=False)
def digest_label(sight: Sight) -> str | None:
    """What follows Y- begins with a letter, and has letters, digits and . - + @ _ behind it."""
    for key, item in _items(sight, _DIGEST_KEYS):
        if item.startswith("Y-") and not _LABEL.fullmatch(item[2:]):
            return f"{key} with {item}"
    return None


@RULES("keys.vendor-in-discovery", "R7143-13.22-02", *_ALL, leans=False)
def vendor_in_discovery(sight: Sight) -> str | None:
    """Keys of vendors belong to normal sessions."""
    if not sight.session.discovery:
        return None
    keys = [pair.key for pair in _pairs(sight) if pair.key.startswith("X-") and not pair.refusal]
    return f"{keys[0]} in a discovery session" if keys else None


@RULES("keys.outstanding-r2t-with-recovery", "R7143-13.19-03", *_LOGIN_PDUS, phases=_IN_LOGIN)
def outstanding_r2t_with_recovery(sight: Sight) -> str | None:
    """Above ErrorRecoveryLevel 0 with DataSequenceInOrder=Yes, MaxOutstandingR2T is 1."""
    keys = ("MaxOutstandingR2T", "ErrorRecoveryLevel", "DataSequenceInOrder")
    if not any(pair.answers is not None and pair.key in keys for pair in _pairs(sight)):
        return None
    agreed = sight.connection.login.negotiation.agreed()
    most, level = (number(agreed.get(key, "")) or default_number(key) for key in keys[:2])
    in_order = agreed.get(keys[2], KEYS[keys[2]].default) == "Yes"
    return f"MaxOutstandingR2T={most} with ErrorRecoveryLevel={level}" if most > 1 and level and in_order else None


def _node_names(sight: Sight) -> Iterator[tuple[str, str]]:
    return ((pair.key, pair.value) for pair in _pairs(sight) if pair.key in _NAMES and pair.value.startswith("iqn."))


@RULES("keys.iscsi-name-character", "R3722-6.2-01", *_ALL, leans=False, stain=Stain.NOTHING)
def name_character(sight: Sight) -> str | None:
    """Of ASCII, the name of a node has small letters, digits, dash, dot and colon."""
    for key, value in _node_names(sight):
        odd = [
            each for each in value if each.isascii() and each not in _ALLOWED and not (each.isupper() or each.isspace())
        ]
        if odd:
            return f"{key}={value} has {odd[0]!r}"
    return None


@RULES("keys.iscsi-name-full-stop", "R3722-6.1-01", *_ALL, leans=False, stain=Stain.NOTHING)
def name_full_stop(sight: Sight) -> str | None:
    """The name of a node has no ideographic full stop."""
    names = [f"{key}={value}" for key, value in _node_names(sight) if _FULL_STOP in value]
    return f"{names[0]} has U+3002" if names else None


@RULES("keys.iscsi-name-normalised", "R3722-5-01", *_ALL, leans=False, stain=Stain.NOTHING)
def name_normalised(sight: Sight) -> str | None:
    """The name of a node is in normalisation form KC."""
    for key, value in _node_names(sight):
        if unicodedata.normalize("NFKC", value) != value:
            return f"{key}={value} is not in normalisation form KC"
    return None


@RULES("keys.iscsi-name-prohibited", "R3722-6-01", *_ALL, leans=False, stain=Stain.NOTHING)
def name_prohibited(sight: Sight) -> str | None:
    """The name of a node has no spaces, controls, marks of direction, private or unassigned places beyond ASCII."""
    for key, value in _node_names(sight):
        for each in value:
            if not each.isascii() and any(table(each) for table in _PROHIBITED):
                return f"{key} has U+{ord(each):04X}"
    return None


@RULES("keys.value-character", "R7143-6.1-06", *_LOGIN_PDUS, phases=_IN_LOGIN, leans=False)
def value_character(sight: Sight) -> str | None:
    """The items of a list have letters, digits and . - + @ _ / [ ] : alone."""
    for pair in _pairs(sight):
        if pair.row is not None and pair.row.kind is Kind.LIST:
            odd = [item for item in pair.value.split(",") if not _ITEM.fullmatch(item)]
            if odd:
                return f"{pair.key} with {odd[0]!r}"
    return None
