"""What outlives the process: a small JSON file that is replaced as a whole, or not at all.

Kept are registrations with APTPL (SPC-4 5.12.5), saved mode pages, and what else a logical unit promises to keep. Each
value belongs to a target, a LUN and a subject; whoever owns the subject says what its values look like.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from iscsi_target.config import ConfigError

FORMAT = "iscsi-target state"
VERSION = 1

_SAVING = threading.Lock()
"""Two savers never write at once. One for all stores, so that a store is plain data."""

_CHANGING = threading.Lock()
"""A value that is put is never lost to another that is put at the same time."""

T = TypeVar("T")
_Key = tuple[str, int, str]


class _File(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The file: target name, then LUN, then subject."""

    format: str
    version: int
    targets: dict[str, dict[int, dict[str, msgspec.Raw]]]


class _Head(msgspec.Struct):
    """What is looked at first, so that another version is told from damage."""

    format: str
    version: int


class StateStore:
    """Values by (target, lun, what). Values are what JSON can hold.

    path: the file, made by the first `save`; None: nothing outlives the process. Raises ConfigError, which names the
    file, for one that is damaged, of another program, or of another version; such a file is never written to.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._values: dict[_Key, bytes] = {}
        self._saved = self._values
        if self.path is not None:
            self._values = self._saved = _load(self.path)

    @property
    def persistent(self) -> bool:
        """Whether there is a file."""
        return self.path is not None

    def get(self, target: str, lun: int, what: str) -> object | None:
        """The value, None where there is none."""
        found = self._values.get((target, lun, what))
        return None if found is None else msgspec.json.decode(found)

    def read(self, target: str, lun: int, what: str, kind: type[T]) -> T | None:
        """The value as that type. Raises ConfigError, which names the file, where it is something else."""
        found = self._values.get((target, lun, what))
        if found is None:
            return None
        try:
            return msgspec.json.decode(found, type=kind)
        except (msgspec.ValidationError, ValueError) as error:
            raise self.damaged(target, lun, what, str(error)) from error

    def damaged(self, target: str, lun: int, what: str, reason: str) -> ConfigError:
        """The error that says that a value cannot be what was saved."""
        return ConfigError(f"{self.path}: {what} of LUN {lun} of {target}: {reason}")

    def put(self, target: str, lun: int, what: str, value: object | None) -> None:
        """Set a value, to be saved later; None removes it. The value may be changed afterwards without effect here."""
        encoded = None if value is None else msgspec.json.encode(value)
        with _CHANGING:
            values = dict(self._values)
            if encoded is None:
                values.pop((target, lun, what), None)
            else:
                values[target, lun, what] = encoded
            self._values = values

    def save(self) -> None:
        """Bring what was put so far to stable storage, if it is not there. May run in another thread. Raises OSError."""
        if self.path is None:
            return
        with _SAVING:
            values = self._values
            if values != self._saved:
                _replace(self.path, _encode(values))
                self._saved = values


def _encode(values: dict[_Key, bytes]) -> bytes:
    targets: dict[str, dict[int, dict[str, Any]]] = {}
    for (target, lun, what), value in sorted(values.items()):
        targets.setdefault(target, {}).setdefault(lun, {})[what] = msgspec.Raw(value)
    encoded = msgspec.json.encode(_File(format=FORMAT, version=VERSION, targets=targets))
    return msgspec.json.format(encoded, indent=1) + b"\n"


def _load(path: Path) -> dict[_Key, bytes]:
    """What a file holds; a missing one holds nothing. Raises ConfigError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise ConfigError(f"{path}: there is no folder {path.parent}") from None
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.format != FORMAT:
            raise ConfigError(f"{path}: this is no state file of iscsi-target")
        if head.version != VERSION:
            raise ConfigError(f"{path}: a state file of version {head.version}; this program reads version {VERSION}")
        file = msgspec.json.decode(data, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: damaged, or no state file of iscsi-target: {error}") from error
    return {
        (target, lun, what): msgspec.json.encode(msgspec.json.decode(value))
        for target, luns in file.targets.items()
        for lun, subjects in luns.items()
        for what, value in subjects.items()
    }


def _replace(path: Path, data: bytes) -> None:
    """Put a new file in the old one's place: whoever reads finds one or the other whole. Raises OSError."""
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
