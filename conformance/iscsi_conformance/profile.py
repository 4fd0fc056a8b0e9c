"""Profiles: what the operator knows of the product under test, in TOML.

    name = "acme 3.1"
    portal = "192.0.2.1:3260"
    target_name = "iqn.2003-01.org.example:disk"
    lun = 1

    [chap]
    user = "tester"
    secret = "at least 12 bytes"

What a profile leaves out the probe finds out, or the cases that need it are UNSUPPORTED.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from iscsi_conformance.feature import Feature
from iscsi_protocol.scsi.lun import MAX_FLAT_LUN
from iscsi_target.config import host_and_port

DEFAULT_PORT = 3260
DEFAULT_INITIATOR_NAME = "iqn.2026-11.org.iscsi-conformance:tester"


class ProfileError(ValueError):
    """A profile that cannot be used; the message is one line."""


class ChapLogin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """CHAP name and secret of the initiator; with the two others the target has to prove itself as well."""

    user: str
    secret: str
    target_user: str | None = None
    target_secret: str | None = None


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One product under test.

    lun: the logical unit that the cases use. destructive: they may write to it. features: offered for certain, whatever
    the probe thinks. absent: not to be tried. The *_target names are further nodes of the same server, for cases about
    logins that end otherwise.
    """

    name: str = "unnamed"
    portal: str | None = None
    target_name: str | None = None
    initiator_name: str = DEFAULT_INITIATOR_NAME
    lun: Annotated[int, msgspec.Meta(ge=0, le=MAX_FLAT_LUN)] = 0
    destructive: bool = False
    chap: ChapLogin | None = None
    chap_target: str | None = None
    other_chap: ChapLogin | None = None
    """Another initiator that `chap_target` knows."""
    mutual: ChapLogin | None = None
    mutual_target: str | None = None
    denied_target: str | None = None
    redirected_target: str | None = None
    removed_target: str | None = None
    second_portal: str | None = None
    """A portal of another portal group."""
    group_portal: str | None = None
    """Another portal of the first one's group."""
    response_time: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    """Seconds that the product may take to answer anything."""
    login_time: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """Seconds after which the product ends a connection whose login does not begin, or does not go on."""
    features: frozenset[Feature] = frozenset()
    absent: frozenset[Feature] = frozenset()


def portal_address(text: str) -> str:
    """HOST:PORT of a portal whose port may be left out. Raises ValueError for what is neither."""
    address = text if ":" in text.rpartition("]")[2] else f"{text}:{DEFAULT_PORT}"
    host_and_port(address)
    return address


def load_profile(path: Path) -> Profile:
    """Read a profile. Raises ProfileError for unknown keys, wrong types and values, and unreadable files."""
    try:
        profile = msgspec.toml.decode(path.read_bytes(), type=Profile)
        portals = {field: getattr(profile, field) for field in ("portal", "second_portal", "group_portal")}
        return profile_with(profile, **{field: portal_address(text) for field, text in portals.items() if text})
    except OSError as error:
        raise ProfileError(f"{path}: {error.strerror}") from None
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
        raise ProfileError(f"{path}: {error}") from None


def profile_with(profile: Profile, **changes: object) -> Profile:
    """The profile with what the command line gave; None changes nothing."""
    return msgspec.structs.replace(profile, **{name: value for name, value in changes.items() if value is not None})
