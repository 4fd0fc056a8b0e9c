"""The secrets that the captures of the rules about CHAP were made with; they are nobody's."""

from __future__ import annotations

from iscsi_captures.chap_secrets import ChapSecrets

USER, SHORT, DISK, TWIN = "user.known", "user.short", "disk.known", "disk.twin"
USERS = {USER: "the-secret-of-the-user", SHORT: "short"}
MUTUAL = {DISK: "the-secret-of-the-disk", TWIN: USERS[USER]}
SECRETS = ChapSecrets(
    {name: secret.encode() for name, secret in USERS.items()},
    {name: secret.encode() for name, secret in MUTUAL.items()},
)
"""What the corpus's file of secrets has."""


def secrets_text() -> str:
    """The file of secrets, as `--chap-secret-file` takes it."""
    users = [f"{name} {secret}" for name, secret in USERS.items()]
    mutual = [f"mutual {name} {secret}" for name, secret in MUTUAL.items()]
    return "\n".join(["# What the captures of the rules about CHAP were made with.", *users, *mutual]) + "\n"
