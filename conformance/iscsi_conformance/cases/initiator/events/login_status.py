"""Events 10 and 12: the target refuses a login, or redirects it and does not say where to (RFC 7143 11.13.5)."""

from __future__ import annotations

from typing import Literal

from iscsi_conformance.bundled import CHAP, DENIED, GONE, PLAIN, bundled_config
from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.logins import (
    OPERATIONAL,
    SECURITY,
    UNFINISHED,
    chap_session,
    ends_login,
    response,
    status,
)
from iscsi_conformance.events.play import perform
from iscsi_conformance.stimulus import chap_options
from iscsi_initiator.settings import ChapOptions
from iscsi_protocol.chap import Credentials
from iscsi_protocol.fault import Part, Replace, Set, SetKey
from iscsi_protocol.pdu import LoginStatus
from iscsi_target.config import LunConfig, PortalConfig, Redirect, Size, TargetConfig, TargetNode

_NO_TEXT = Replace(Part.DATA, b"")
_REPETITION = ("R7143-11.13.5-24",)
_KNOWN = tuple(int(each) for each in LoginStatus if each >> 8 in (2, 3))
_UNKNOWN = (0x020C, 0x02FF, 0x0303, 0x03FF, 0x0400, 0x0900, 0x8001, 0xFFFF)
_NEEDS_CHAP = int(LoginStatus.AUTHENTICATION_FAILURE)
"""Where CHAP was not offered this status is event 40."""

_REFUSED = tuple(
    ends_login(
        10,
        f"status-{code:04x}",
        f"Status {code:04x} ends the login, and the initiator does not simply try again.",
        status(code, _NO_TEXT),
        variation="unknown-status" if code in _UNKNOWN else f"class-{code >> 8}",
        touches=_REPETITION,
        **(chap_session() if code == _NEEDS_CHAP else {}),
    )
    for code in (*_KNOWN, *_UNKNOWN)
)

_WRONG_SECRET = ChapOptions(credentials=Credentials(name=chap_options().credentials.name, secret=b"not-this-secret"))

_ELSEWHERE_REFUSED = (
    ends_login(
        10,
        "operational-stage",
        "A refusal behind the security stage ends the login as well.",
        status(0x0302, _NO_TEXT, stage=OPERATIONAL),
        variation="class-3",
    ),
    ends_login(
        10,
        "within-chap",
        "A refusal in place of a challenge ends the login.",
        status(0x0300, _NO_TEXT, nth=2),
        variation="class-3",
        **chap_session(),
    ),
    ends_login(
        10,
        "with-text",
        "What a refusal says besides its status is kept with the event.",
        status(0x0200, SetKey("TargetAlias", "closed on Sundays")),
        variation="class-2",
    ),
    ends_login(
        10,
        "with-illegal-text",
        "The keys of a refusal are not judged.",
        status(0x0207, Replace(Part.DATA, b"AuthMethod=Foo\0MaxBurstLength\0")),
        variation="class-2",
    ),
    ends_login(
        10,
        "wrong-secret",
        "A target that does not take the initiator's secret ends the login.",
        variation="class-2",
        **chap_session(_WRONG_SECRET),
    ),
    *(
        ends_login(
            10,
            name,
            f"The target's own refusal ends the login: {what}.",
            variation="class-2",
            config=bundled_config(),
            options={"target_name": target},
        )
        for name, what, target in (
            ("not-allowed", "the initiator may not use the target", DENIED),
            ("not-found", "there is no such target", f"{PLAIN}:nowhere"),
            ("target-removed", "the target is gone for good", GONE),
        )
    ),
)

# ---- redirection ----

_NO_ADDRESSES = (
    ("empty", "malformed", ""),
    ("no-host", "malformed", ":3260"),
    ("port-name", "malformed", "127.0.0.1:iscsi"),
    ("port-empty", "malformed", "127.0.0.1:"),
    ("port-negative", "malformed", "127.0.0.1:-1"),
    ("two-ports", "malformed", "127.0.0.1:3260:3260"),
    ("octet-256", "malformed", "127.0.0.256:3260"),
    ("bare-ipv6", "malformed", "fe80::1:3260"),
    ("no-ipv6", "malformed", "[::g]:3260"),
    ("space", "malformed", "some where:3260"),
    ("group-tag", "malformed", "127.0.0.1:3260,1"),
    ("port-0", "port-out-of-range", "127.0.0.1:0"),
    ("port-65536", "port-out-of-range", "127.0.0.1:65536"),
    ("ipv6-port-0", "port-out-of-range", "[::1]:0"),
    ("open-bracket", "unterminated-bracket", "[::1"),
    ("open-bracket-port", "unterminated-bracket", "[::1:3260"),
    ("behind-bracket", "unterminated-bracket", "[::1]3260"),
)
_STATUSES = ((LoginStatus.MOVED_TEMPORARILY, "0101"), (LoginStatus.MOVED_PERMANENTLY, "0102"))


def _text(*addresses: str) -> Replace:
    return Replace(Part.DATA, b"".join(f"TargetAddress={address}\0".encode() for address in addresses))


_MISDIRECTED = tuple(
    ends_login(
        12,
        f"{name}-{digits}",
        f"Status {digits} with the address {address!r} leads nowhere, and ends the login.",
        status(code, _text(address), stage=SECURITY),
        variation=variation,
    )
    for code, digits in _STATUSES
    for name, variation, address in _NO_ADDRESSES
)

_WITHOUT_ADDRESS = tuple(
    ends_login(
        12,
        f"{name}-{digits}",
        f"Status {digits} {what} leads nowhere, and ends the login.",
        status(code, data, stage=stage),
        variation=variation,
    )
    for code, digits in _STATUSES
    for name, variation, what, data, stage in (
        ("no-text", "no-address", "without any text", _NO_TEXT, SECURITY),
        ("no-address", "no-address", "without TargetAddress", Replace(Part.DATA, b"TargetAlias=moved\0"), SECURITY),
        ("no-address-later", "no-address", "behind the security stage, without an address", _NO_TEXT, OPERATIONAL),
        ("two-addresses", "malformed", "with two addresses", _text("127.0.0.1:1", "127.0.0.1:2"), SECURITY),
    )
)


def _moving(portal: Literal["next", "same"]) -> TargetConfig:
    """A node that sends every login elsewhere, beside the plain one."""
    disk = LunConfig(size=Size(1 << 20))
    moved = TargetNode(name=CHAP, luns={0: disk}, redirect=Redirect(portal=portal))
    portals = [PortalConfig(address="127.0.0.1:0") for _ in range(3)]
    return TargetConfig(targets=[TargetNode(name=PLAIN, luns={0: disk}), moved], portals=portals)


_FOLLOWED = (
    ends_login(
        12,
        "in-a-circle",
        "Redirections that lead back to where they began end the login.",
        variation="malformed",
        config=_moving("same"),
        options={"target_name": CHAP},
        settings={"max_login_redirects": 2},
    ),
    EventCase(
        event=12,
        name="good-address",
        variation="followed",
        says="Redirections with an address are followed without an event.",
        config=_moving("next"),
        options={"target_name": CHAP},
        then=Then.GOES_ON,
        proofs=("ilogin.redirect-ignored", "event.12.takes-any-address-for-none"),
        touches=("R7143-11.13.5-23",),
    ),
    ends_login(
        12,
        "unknown-detail",
        "An unknown redirection without an address leads nowhere, and ends the login.",
        response(Set("status_class", 1), Set("status_detail", 3), *UNFINISHED, _NO_TEXT, stage=SECURITY),
        variation="no-address",
    ),
)

register(__name__, (*_REFUSED, *_ELSEWHERE_REFUSED, *_MISDIRECTED, *_WITHOUT_ADDRESS, *_FOLLOWED), perform)
