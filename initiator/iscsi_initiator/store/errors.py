"""Why a store does not open, or does not keep something. Every message is one line that names the file, and holds no secret.

`event` is the service event that tells of it (guide, Appendix B): 106 for what keeps the service from starting, 107 for
secrets that it cannot get at.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class StoreError(Exception):
    """Something is wrong with the store. path: the file; place: where in it, empty where it is the file as a whole."""

    event: ClassVar[int] = 106

    def __init__(self, path: Path | str, reason: str, place: str = "") -> None:
        super().__init__(f"{path}: {place}: {reason}" if place else f"{path}: {reason}")
        self.path = Path(path)
        self.place = place
        self.reason = reason


class StoreLocked(StoreError):
    """Another process has the store open."""


class StoreUnreadable(StoreError):
    """The operating system does not let the store be read or locked."""


class StoreDamaged(StoreError):
    """The file is a store no more: cut off, overwritten, or changed by another hand."""


class StoreForeign(StoreError):
    """The file is something else than a store of the initiator service."""


class StoreTooNew(StoreError):
    """A newer program wrote the store. version: its format's."""

    def __init__(self, path: Path | str, version: int, known: int) -> None:
        super().__init__(
            path, f"a store of version {version}, of a newer program; this one knows up to {known}", "version"
        )
        self.version = version


class StoreNotWritten(StoreError):
    """A change could not be brought to the disk. It does not count, but may be found there after a crash."""


class StateInvalid(StoreError):
    """What was to be kept is not of the kind that the file can hold."""


class SecretError(StoreError):
    """A secret cannot be got at, or not be sealed."""

    event = 107


class KeyMissing(SecretError):
    """Secrets were sealed, and the key is not there any more."""


class KeyExposed(SecretError):
    """Others than the owner can read the key file."""


class KeyDamaged(SecretError):
    """The key file, or what the keyring has, is no key."""


class KeyUnavailable(SecretError):
    """The file or the keyring that is to have the key cannot be used."""


class SecretBroken(SecretError):
    """A sealed secret does not open; place: what it is for."""
