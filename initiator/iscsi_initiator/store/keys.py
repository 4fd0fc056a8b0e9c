"""Where the key is that secrets are sealed under: a file that only its owner reads, or the system's keyring."""

from __future__ import annotations

import importlib
import os
import re
import stat
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from iscsi_initiator.store import files
from iscsi_initiator.store.errors import KeyDamaged, KeyExposed, KeyUnavailable
from iscsi_initiator.store.sealed import KEY_LENGTH

SERVICE = "iscsi-initiator"
"""The name under which the keyring has the key."""

_HEAD = "iscsi-initiator key 1"
_TEXT = re.compile(rf"{_HEAD}\n([0-9a-f]{{{2 * KEY_LENGTH}}})\n?")
_OPEN = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class KeySource(ABC):
    """Something that has one key, or none yet. where: to be named in errors."""

    where: str

    @abstractmethod
    def load(self) -> bytes | None:
        """The key, 32 bytes; None where there is none. Raises KeyExposed, KeyDamaged or KeyUnavailable."""

    @abstractmethod
    def save(self, key: bytes) -> None:
        """Keep the key, durably; the caller has the store's lock, and `load` gave None. Raises KeyUnavailable."""


class KeyFile(KeySource):
    """A key in a file of two lines, a heading and 64 hexadecimal digits. path: made by `save`, with mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.where = str(path)

    def load(self) -> bytes | None:
        """The key. Refused are files that are no regular ones, are another user's, or that group or others may use."""
        try:
            fd = os.open(self.path, _OPEN)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise KeyUnavailable(self.path, f"the key cannot be read: {error.strerror}") from None
        with open(fd, "rb") as file:  # noqa: PTH123 - it is open already
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise KeyDamaged(self.path, "no regular file, so no key")
            if status.st_uid not in (os.geteuid(), 0):
                raise KeyExposed(self.path, "the key file belongs to another user")
            if status.st_mode & 0o077:
                mode = stat.S_IMODE(status.st_mode)
                raise KeyExposed(
                    self.path, f"the key file has mode {mode:04o}, so that others may use it; chmod 0600 it"
                )
            found = _TEXT.fullmatch(file.read(256).decode("ascii", "replace"))
        if found is None:
            raise KeyDamaged(self.path, "no key of the initiator service")
        return bytes.fromhex(found[1])

    def save(self, key: bytes) -> None:
        """Write the file."""
        try:
            files.make_folder(self.path.parent)
            files.replace(self.path, f"{_HEAD}\n{key.hex()}\n".encode())
        except OSError as error:
            raise KeyUnavailable(self.path, f"the key cannot be kept: {error.strerror}") from None


class KeyringKey(KeySource):
    """A key in the keyring, through the library `keyring`. name: which key, the path of the store as a rule."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.where = "the keyring"

    def load(self) -> bytes | None:
        """The key. Raises KeyUnavailable where the library or a keyring is missing."""
        found = self._ask("get_password", SERVICE, self.name)
        if found is None:
            return None
        if not re.fullmatch(rf"[0-9a-f]{{{2 * KEY_LENGTH}}}", str(found)):
            raise KeyDamaged(self.where, f"what it has for {self.name} is no key")
        return bytes.fromhex(found)

    def save(self, key: bytes) -> None:
        """Put it there, and look whether it is there: some keyrings forget."""
        self._ask("set_password", SERVICE, self.name, key.hex())
        if self.load() != key:
            raise KeyUnavailable(self.where, "it does not keep the key")

    def _ask(self, what: str, *arguments: str) -> Any:
        try:
            keyring = importlib.import_module("keyring")
        except ImportError:
            raise KeyUnavailable(
                self.where, "the library `keyring` is not installed: pip install 'iscsi-conformance[keyring]'"
            ) from None
        try:
            return getattr(keyring, what)(*arguments)
        except Exception as error:  # noqa: BLE001 - back ends raise what they like; the kind is all that may be told
            raise KeyUnavailable(self.where, f"it cannot be used ({type(error).__name__})") from None
