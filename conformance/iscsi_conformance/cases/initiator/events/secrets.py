"""Events 35, 36, 38 and 40: secrets that are too short, and CHAP that only one side wants (RFC 7143 9.2.1, 12.1)."""

from __future__ import annotations

from iscsi_conformance.bundled import CHAP, DISK_SIZE, PLAIN, bundled_config
from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.dumps import words
from iscsi_conformance.events.logins import (
    OPERATIONAL,
    SECURITY,
    chap_session,
    ends_login,
    mutual_session,
    says,
    status,
)
from iscsi_conformance.events.play import Play, perform
from iscsi_conformance.verdict import require
from iscsi_conformance.wire import pairs_of
from iscsi_initiator.settings import ChapOptions
from iscsi_protocol.chap import Credentials
from iscsi_protocol.fault import Part, Replace, SetKey
from iscsi_protocol.pdu import LoginRequest
from iscsi_target.config import ChapConfig, ChapMutual, LunConfig, TargetConfig, TargetNode

_USER, _PEER = "tester", "bundled"
_LONG, _LONG_TOO = "twelve-bytes", "also-twelve-"
_STRENGTH = ("R7143-9.2.1-07",)


def _chap(secret: str, target_secret: str | None = None) -> ChapOptions:
    peer = None if target_secret is None else target_secret.encode()
    return ChapOptions(credentials=Credentials(name=_USER, secret=secret.encode()), target_secret=peer)


def _guarded() -> TargetConfig:
    """A plain node, and one with secrets of 12 bytes."""
    disk = LunConfig(size=DISK_SIZE)
    chap = ChapConfig(users={_USER: _LONG}, mutual=ChapMutual(name=_PEER, secret=_LONG_TOO))
    return TargetConfig(
        targets=[TargetNode(name=PLAIN, luns={0: disk}), TargetNode(name=CHAP, luns={0: disk}, chap=chap)]
    )


def _nothing_of_it_went_out(play: Play) -> None:
    offers = [value for sent in play.sent(LoginRequest) for key, value in pairs_of(sent) if key == "AuthMethod"]
    require(offers == ["None"], play.name, "CHAP is not begun with a short secret", seen=offers)


_SHORT = tuple(
    ends_login(
        event,
        name,
        f"{whose} of {length} bytes is not used without IPsec.",
        variation="eleven-bytes",
        config=_guarded(),
        options={"target_name": CHAP, "chap": chap},
        dumps={event: lambda _, length=length: words(length)},
        then=Then.CLOSED_BEFORE,
        watch=_nothing_of_it_went_out,
        touches=_STRENGTH,
    )
    for event, name, whose, length, chap in (
        (35, "eleven-bytes", "A secret for the target", 11, _chap(_LONG[:11])),
        (35, "one-byte", "A secret for the target", 1, _chap("1")),
        (35, "empty", "A secret for the target", 0, _chap("")),
        (35, "both-short", "The first of two short secrets, one for the target,", 11, _chap(_LONG[:11], _LONG_TOO[:3])),
        (36, "eleven-bytes", "A secret for the initiator", 11, _chap(_LONG, _LONG_TOO[:11])),
        (36, "empty", "A secret for the initiator", 0, _chap(_LONG, "")),
    )
)

_LONG_ENOUGH = tuple(
    EventCase(
        event=event,
        name="twelve-bytes",
        says=f"{whose} of 12 bytes is used.",
        config=_guarded(),
        options={"target_name": CHAP, "chap": chap},
        then=Then.GOES_ON,
        proofs=("event.35.takes-twelve-for-short",),
        touches=_STRENGTH,
    )
    for event, whose, chap in (
        (35, "A secret for the target", _chap(_LONG)),
        (36, "A secret for the initiator", _chap(_LONG, _LONG_TOO)),
    )
)

_WITHOUT_CHAP = (
    *(
        ends_login(
            38,
            name,
            f"AuthMethod={method} where the initiator insists on {what} ends the login.",
            says("AuthMethod", method),
            variation="auth-method-none",
            touches=("R7143-6.2.1-03",),
            **session,
        )
        for name, what, method, session in (
            ("none", "CHAP", "None", chap_session()),
            ("none-mutual", "mutual CHAP", "None", mutual_session()),
            ("reject", "CHAP", "Reject", chap_session()),
        )
    ),
)

_NEEDS_CHAP = (
    ends_login(
        40,
        "chap-only",
        "A target that chooses CHAP where none is configured is left.",
        says("AuthMethod", "CHAP"),
    ),
    ends_login(
        40,
        "status-0201",
        "A target that insists on CHAP says so, and is left.",
        config=bundled_config(),
        options={"target_name": CHAP},
        touches=("R7143-11.13.5-24",),
    ),
    ends_login(
        40,
        "status-0201-later",
        "Status 0201 behind the security stage tells the same.",
        status(0x0201, Replace(Part.DATA, b""), stage=OPERATIONAL),
        variation="status-0201",
    ),
    ends_login(
        40,
        "status-0201-with-text",
        "Status 0201 with text tells the same.",
        status(0x0201, SetKey("AuthMethod", "CHAP"), stage=SECURITY),
        variation="status-0201",
    ),
)

register(__name__, (*_SHORT, *_LONG_ENOUGH, *_WITHOUT_CHAP, *_NEEDS_CHAP), perform)
