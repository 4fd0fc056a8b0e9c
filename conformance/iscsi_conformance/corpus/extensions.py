"""Each rule about names and keys beyond the table: a history that breaks it, and one that only nearly does."""

from __future__ import annotations

from iscsi_conformance.corpus.keys import login, pair
from iscsi_conformance.corpus.script import DISCOVERY, NAMES, TAG, Script
from iscsi_conformance.corpus.table import Sample, Table

PREFIX = "iqn.2026-01.com.example:"


def method(offer: str) -> Sample:
    """A login that offers these methods, of which the target takes none."""
    return lambda s: s.security([*NAMES, ("AuthMethod", offer)]).security_response([*TAG, ("AuthMethod", "Reject")])


def named(name: str) -> Sample:
    """A login to a target of this name."""
    return lambda s: s.login_request([NAMES[0], ("TargetName", name)]).login_response()


def recovering(level: str, most: str, in_order: str) -> Sample:
    """A login that agrees on these."""
    return lambda s: s.ready(ErrorRecoveryLevel=level, MaxOutstandingR2T=most, DataSequenceInOrder=in_order)


def asked(s: Script, *pairs: tuple[str, str]) -> Script:
    """A discovery session with something more."""
    return s.login_request([*DISCOVERY, *pairs]).login_response(
        [("X-com.example.key", "NotUnderstood")] if pairs else ()
    )


TABLE: Table = {
    "keys.public-prefix": (
        (
            pair("HeaderDigest", "Y#crc,None", "None"),
            pair("X#Word", "1", "NotUnderstood"),
            method("Z#kerberos,None"),
        ),
        (pair("X#NodeArchitecture", "arm"), pair("X-com.example.key", "1")),
    ),
    "keys.extension-kind": (
        (pair("HeaderDigest", "Z-com.example.crc,None", "None"), method("Y-com.example.word,None")),
        (pair("HeaderDigest", "Y-com.example.crc,None", "None"), method("Z-com.example.word,None")),
    ),
    "keys.auth-method-name": (
        (method("Password,None"),),
        (method("Z-com.example.password,SPKM1,KRB5,None"),),
    ),
    "keys.auth-method-label": (
        (method("Z-1word,None"), method("Z-,None")),
        (method("Z-word1,None"),),
    ),
    "keys.digest-name": (
        (pair("DataDigest", "SHA1,None", "None"),),
        (pair("DataDigest", "Y-com.example.sha1,None", "None"),),
    ),
    "keys.digest-label": (
        (pair("DataDigest", "Y-9,None", "None"),),
        (pair("DataDigest", "Y-n,None", "None"),),
    ),
    "keys.vendor-in-discovery": (
        (lambda s: asked(s, ("X-com.example.key", "1")),),
        (asked, login([("X-com.example.key", "1")], ("X-com.example.key", "NotUnderstood"))),
    ),
    "keys.outstanding-r2t-with-recovery": (
        (recovering("1", "2", "Yes"),),
        (recovering("1", "1", "Yes"), recovering("1", "2", "No"), recovering("0", "2", "Yes")),
    ),
    "keys.value-character": (
        (pair("TaskReporting", "RFC3720,ResponseFence,Fast;Abort", "RFC3720"),),
        (pair("HeaderDigest", "Y-com.example.a+b@c_d,None", "None"),),
    ),
    "keys.iscsi-name-character": (
        (named(f"{PREFIX}disk_1"), named(f"{PREFIX}disk/1")),
        (named(f"{PREFIX}disk-1.b:c"),),
    ),
    "keys.iscsi-name-full-stop": (
        (named(f"{PREFIX}disk\u30021"),),
        (named(f"{PREFIX}disk.1"),),
    ),
    "keys.iscsi-name-normalised": (
        (named(f"{PREFIX}e\u0301"),),
        (named(f"{PREFIX}\u00e9"),),
    ),
    "keys.iscsi-name-prohibited": (
        (named(f"{PREFIX}a\u200eb"), named(f"{PREFIX}\ue000")),
        (named(f"{PREFIX}\u00e9"),),
    ),
}
