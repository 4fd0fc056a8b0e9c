"""Events 4, 11, 18, 19, 41, 61 and 62: keys that are left out, illegal, or not agreed on (RFC 7143 6, 7.12, 13)."""

from __future__ import annotations

from typing import Any

from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.dumps import words
from iscsi_conformance.events.logins import (
    SECURITY,
    chap_session,
    ends_login,
    mutual_session,
    response,
    says,
)
from iscsi_conformance.events.play import perform, spoilable
from iscsi_initiator.settings import REQUIRE_DIGEST
from iscsi_protocol.fault import Flip, Part, Replace, SetKey
from iscsi_target.config import TargetConfig

_NEGOTIATION = ("R7143-7.12-01",)

# ---- 11: text that is none, keys and values that are illegal ----

_NO_TEXT = tuple(
    ends_login(
        11,
        name,
        f"Text {what} cannot be read, and ends the login.",
        response(Replace(Part.DATA, text)),
        variation="bad-text",
    )
    for name, what, text in (
        ("no-equals", "without an equals sign", b"DataPDUInOrder\0"),
        ("no-key", "with a value but no key", b"=Yes\0"),
        ("long-key", "with a key of 64 characters", b"X-" + b"k" * 62 + b"=1\0"),
        ("strange-key", "with a key that has a blank", b"Data Digest=None\0"),
        ("only-nul", "of NUL bytes alone", b"\0\0\0\0"),
        ("no-utf-8", "that is no UTF-8", b"TargetAlias=\xff\xfe\0"),
    )
)

_ILLEGAL = tuple(
    ends_login(
        11,
        name,
        f"{key}={shown} {what}, and ends the login.",
        response(SetKey(key, value)),
        variation="bad-text",
        touches=touches,
    )
    for name, key, value, shown, what, touches in (
        ("no-number", "MaxBurstLength", "many", "many", "is no number", _NEGOTIATION),
        ("too-small", "MaxOutstandingR2T", "0", "0", "is below what the key can be", _NEGOTIATION),
        ("too-large", "MaxRecvDataSegmentLength", "16777216", "16777216", "is beyond the key", _NEGOTIATION),
        ("no-boolean", "ImmediateData", "maybe", "maybe", "is neither Yes nor No", _NEGOTIATION),
        ("more-than-offered", "MaxBurstLength", "524288", "524288", "is more than was offered", ("R7143-6.2.2-04",)),
        ("higher-level", "ErrorRecoveryLevel", "1", "1", "is more than was offered", ("R7143-6.2.2-04",)),
        ("no-such-level", "ErrorRecoveryLevel", "3", "3", "is no level", _NEGOTIATION),
        ("digest-not-offered", "HeaderDigest", "CRC32C", "CRC32C", "was not offered", ("R7143-6.2.1-06",)),
        ("list-as-answer", "DataDigest", "None,CRC32C", "None,CRC32C", "is a list for an answer", ()),
        ("not-understood", "MaxBurstLength", "NotUnderstood", "NotUnderstood", "must be understood", ("R7143-6.2-11",)),
        ("out-of-place", "SendTargets", "All", "All", "is for the full feature phase", ("R7143-6.3-11",)),
        ("initiators-key", "InitiatorName", "iqn.2026-01.org.example:a", "...", "is not the target's to say", ()),
        ("method-again", "AuthMethod", "None", "None", "is for the security stage", ("R7143-6.3-11",)),
        ("chap-afterwards", "CHAP_N", "bundled", "bundled", "is for the security stage", ("R7143-6.3-11",)),
        ("late-proposal", "MaxConnections", None, "nothing", "leaves an offer open", _NEGOTIATION),
        ("long-alias", "TargetAlias", "a" * 256, "a...", "is longer than a value may be", ()),
        ("order-not-understood", "DataPDUInOrder", "NotUnderstood", "NotUnderstood", "must be understood", ()),
    )
)

_OTHERS = (
    ends_login(
        11,
        "not-terminated",
        "Text whose last pair does not end with a NUL cannot be read, and ends the login.",
        response(Flip(Part.DATA, -1, 0x41)),
        variation="bad-text",
    ),
    ends_login(
        11,
        "key-twice",
        "A key that is negotiated a second time ends the login.",
        response(SetKey("MaxBurstLength", "131072", again=True)),
        variation="bad-text",
        touches=("R7143-6.3-23",),
    ),
    ends_login(
        11,
        "method-twice",
        "A target that chooses its method twice in one response ends the login.",
        response(SetKey("AuthMethod", "None", again=True), stage=SECURITY),
        variation="bad-text",
    ),
    ends_login(
        11,
        "group-tag-too-large",
        "A TargetPortalGroupTag beyond 65535 ends the login.",
        response(SetKey("TargetPortalGroupTag", "65536"), stage=SECURITY),
        variation="bad-text",
    ),
    *(
        ends_login(
            11,
            f"without-{key[5:].lower()}",
            f"A target that leaves out {key} has not done its part, and ends the login.",
            says(key, None),
            variation="bad-text",
            touches=("R7143-9.2-03",),
            **mutual_session(target_name=None),
        )
        for key in ("CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R")
    ),
)

# ---- 41: no method ----

_NO_METHOD = (
    *(
        ends_login(
            41,
            name,
            f"A security stage without AuthMethod ends the login {where}.",
            response(change, stage=SECURITY),
            variation="no-auth-method",
            touches=_NEGOTIATION,
            **session,
        )
        for where, kind, session in (("without CHAP", "", {}), ("with CHAP", "-chap", chap_session()))
        for name, change in (
            (f"left-out{kind}", SetKey("AuthMethod", None)),
            (f"no-text{kind}", Replace(Part.DATA, b"")),
            (f"something-else{kind}", Replace(Part.DATA, b"TargetAlias=nameless\0")),
        )
    ),
)

# ---- 18 and 19: digests that are insisted on ----

_DIGESTS = tuple(
    ends_login(
        event,
        name,
        f"A target that answers {key} with {value or 'nothing'} where it is insisted on is left.",
        response(SetKey(key, value)),
        variation=name if name in ("missing", "reject") else "none",
        options={option: REQUIRE_DIGEST},
    )
    for event, key, option in ((18, "HeaderDigest", "header_digest"), (19, "DataDigest", "data_digest"))
    for name, value in (("none", "None"), ("missing", None), ("reject", "Reject"), ("irrelevant", "Irrelevant"))
)


def _without(key: str) -> TargetConfig:
    """A target that has no digest of this kind."""
    keys: dict[str, Any] = {key: "None"}
    return spoilable(**keys)


_DIGESTS_UNKNOWN = tuple(
    ends_login(
        event,
        "not-there",
        f"A target that has no {key} of its own is left where it is insisted on.",
        variation="reject",
        config=_without(key),
        options={option: REQUIRE_DIGEST},
    )
    for event, key, option in ((18, "HeaderDigest", "header_digest"), (19, "DataDigest", "data_digest"))
)

# ---- 4, 61 and 62 ----

_BURSTS = (
    *(
        ends_login(
            4,
            f"max-{value.lower()}",
            f"MaxBurstLength={value} is below the FirstBurstLength of 65536 that was agreed on, and ends the login.",
            says("MaxBurstLength", value),
            variation="max-below-first",
            dumps={4: lambda _, value=value: words(65536, int(value, 0))},
            touches=("R7143-13.14-02",),
        )
        for value in ("512", "1024", "65535", "0x200")
    ),
    ends_login(
        4,
        "both-answered",
        "A FirstBurstLength that was answered lower, and MaxBurstLength lower still, end the login.",
        response(SetKey("FirstBurstLength", "8192"), SetKey("MaxBurstLength", "4096")),
        variation="max-below-first",
        dumps={4: lambda _: words(8192, 4096)},
    ),
    EventCase(
        event=4,
        name="max-is-first",
        says="A MaxBurstLength that is just the FirstBurstLength is no mistake.",
        spoils=(says("MaxBurstLength", "65536"),),
        then=Then.GOES_ON,
        proofs=("event.4.takes-equal-for-less",),
    ),
)

_ORDERS = tuple(
    ends_login(
        event,
        "answer-no",
        f"{key}=No where Yes was asked for ends the login.",
        response(SetKey(key, "No")),
        touches=("R7143-6.2.2-04", clause),
    )
    for event, key, clause in (
        (61, "DataPDUInOrder", "R7143-13.18-01"),
        (62, "DataSequenceInOrder", "R7143-13.19-01"),
    )
)

register(
    __name__,
    (*_NO_TEXT, *_ILLEGAL, *_OTHERS, *_NO_METHOD, *_DIGESTS, *_DIGESTS_UNKNOWN, *_BURSTS, *_ORDERS),
    perform,
)
