"""Whether the secrets of a profile can work at all, and who else may read them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from iscsi_conformance.doctor.check import Check, bad, ok, warn
from iscsi_conformance.profile import ChapLogin, Profile
from iscsi_protocol.names import IscsiNameError, check_name

SECRET_BYTES = 12
"""96 bits, the least for a CHAP secret (RFC 7143 section 9.2.1)."""


def profile_checks(profile: Profile, path: Path | None) -> Iterator[Check]:
    """What can be told of a profile without asking the product. path: where it was read from."""
    yield from name_checks(profile)
    logins = [(name, login) for name in ("chap", "mutual") if (login := getattr(profile, name)) is not None]
    for name, login in logins:
        yield login_check(name, login)
    if not logins:
        yield ok("secrets", "the profile has none")
    elif path is not None:
        yield readers(path)


def name_checks(profile: Profile) -> Iterator[Check]:
    """What is no iSCSI name, by the field that has it; nothing where all are names."""
    nodes = ("target_name", "chap_target", "mutual_target", "denied_target", "redirected_target", "removed_target")
    for field in ("initiator_name", *nodes):
        name = getattr(profile, field)
        if name is None:
            continue
        try:
            check_name(name)
        except IscsiNameError as error:
            remedy = f"correct {field}: it begins with iqn., eui. or naa. (RFC 7143 section 4.2.7)"
            yield bad("names", f"{field} {name!r} is no iSCSI name: {error}", remedy)


def login_check(name: str, login: ChapLogin) -> Check:
    """Whether one login's secrets are long enough and differ."""
    title = f"secrets of [{name}]"
    for field in ("secret", "target_secret"):
        secret = getattr(login, field)
        if secret is not None and len(secret.encode()) < SECRET_BYTES:
            says = f"{field} has {len(secret.encode())} bytes; products may refuse fewer than {SECRET_BYTES}"
            return warn(title, says, f"set a {field} of {SECRET_BYTES} to 16 bytes on both sides")
    if login.target_secret == login.secret:
        return bad(title, "both directions have the same secret", "give each direction a secret of its own")
    if login.target_secret is None and name == "mutual":
        return bad(title, "the target has no secret to prove itself with", "add target_user and target_secret")
    return ok(title, "long enough" if login.target_secret is None else "long enough, and not the same")


def readers(path: Path) -> Check:
    """Whether others may read the file with the secrets."""
    mode = path.stat().st_mode
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        return warn("profile", f"others may read the secrets in {path} ({stat.filemode(mode)})", f"chmod 600 {path}")
    return ok("profile", f"the secrets in {path} are the owner's alone")
