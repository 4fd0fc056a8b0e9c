"""What targets do wrong in writing and reading keys and values (RFC 7143 sections 6.1, 6.2, 12.1, 13.1, 13.22 and 14)."""

from __future__ import annotations

from iscsi_protocol.fault import HasKey, NamedFault, SetKey
from iscsi_target.faults.login import FINAL, SUCCESS, answer, misread

_LONG_NAME = "X-org.iscsi-conformance.".ljust(63, "k")
_ARCHITECTURE = "X#NodeArchitecture"

ALIENS: tuple[tuple[str, str, str], ...] = (
    ("digest-without-prefix", "HeaderDigest", "org.iscsi-conformance.sum"),
    ("public-digest", "DataDigest", "Y#conformance"),
    ("misnamed-digest", "HeaderDigest", "Y-org.iscsi-conformance:sum/1"),
    ("method-as-digest", "DataDigest", "Z-org.iscsi-conformance.sum"),
    ("method-without-prefix", "AuthMethod", "org.iscsi-conformance.way"),
    ("public-method", "AuthMethod", "Z#conformance"),
    ("misnamed-method", "AuthMethod", "Z-org.iscsi-conformance:way/1"),
    ("obsolete-method", "AuthMethod", "SPKM1"),
)
"""Values by which no extension may be named."""


def _says(fault_id: str, says: str, key: str, value: str) -> NamedFault:
    """The final Login Response has this pair."""
    return answer(fault_id, says, SetKey(key, value), tests=FINAL)


def _refuses(fault_id: str, says: str, *, key: str, prefix: str) -> NamedFault:
    """A login with such a value fails."""
    return misread(fault_id, says, SetKey("SessionType", "Unheard-of"), tests=(HasKey(key, prefix=prefix),))


FAULTS = (
    _says(
        "keys.splits-at-the-last-equals-sign",
        "The last equals sign of a pair, not the first, stands before the value.",
        "InitiatorAlias=rack=7",
        "NotUnderstood",
    ),
    _says("keys.small-initial", "A key of the target's own begins with a small letter.", "targetMood", "good"),
    answer(
        "keys.cuts-names",
        "Of a key's name 32 characters are read.",
        SetKey(_LONG_NAME[:32], "NotUnderstood"),
        SetKey(_LONG_NAME, None),
        tests=(SUCCESS, HasKey(_LONG_NAME)),
    ),
    answer(
        "keys.value-in-braces",
        "A chosen value is written in braces.",
        SetKey("HeaderDigest", "{None}"),
        tests=(SUCCESS, HasKey("HeaderDigest")),
    ),
    _refuses(
        "keys.ascii-aliases-only",
        "An alias that is not ASCII fails the login.",
        key="InitiatorAlias",
        prefix="\u00fcber",
    ),
    answer(
        "keys.small-hexadecimal-only",
        "0X is not taken for the beginning of a number.",
        SetKey("MaxBurstLength", "Reject"),
        tests=(SUCCESS, HasKey("MaxBurstLength")),
    ),
    _refuses(
        "keys.short-values-only",
        "A value of more than 200 bytes fails the login.",
        key="InitiatorAlias",
        prefix="a" * 200,
    ),
    misread(
        "keys.takes-reserved-words",
        "Irrelevant is taken for a value.",
        SetKey("ImmediateData", "No"),
        tests=(HasKey("ImmediateData", "Irrelevant"),),
    ),
    _says("keys.new-public-key", "The target has a public key of its own.", "X#TargetMood", "good"),
    _says("keys.public-prefix-in-use", "The target has a key with a prefix of public methods.", "Z#TargetMood", "good"),
    _says("keys.private-name-no-label", "A private key has blanks in its name.", "X-org.example. my mood", "good"),
    _says("keys.private-key-in-discovery", "A private key is said whatever the session.", "X-org.example.mood", "good"),
    *(
        answer(
            f"keys.chooses-{slug}",
            f"{value} is chosen for {key}.",
            SetKey(key, value),
            tests=(SUCCESS, HasKey(key)),
        )
        for slug, key, value in ALIENS
    ),
    _says("keys.long-architecture", "X#NodeArchitecture has 256 bytes.", _ARCHITECTURE, "Target/1," + "x" * 247),
    answer(
        "keys.architecture-twice",
        "X#NodeArchitecture is told twice.",
        SetKey(_ARCHITECTURE, "Target/1", again=True),
        SetKey(_ARCHITECTURE, "Target/2", again=True),
        tests=FINAL,
    ),
    misread(
        "keys.architecture-matters",
        "Initiators that tell their architecture get shorter bursts.",
        SetKey("MaxBurstLength", "4096"),
        SetKey("FirstBurstLength", "4096"),
        tests=(HasKey(_ARCHITECTURE),),
    ),
    _refuses(
        "keys.architecture-excludes",
        "Initiators of an architecture that is not known are not let in.",
        key=_ARCHITECTURE,
        prefix="Conformance",
    ),
)
