"""The file of a store: one JSON object with a schema id, a version, a checksum and the state, in plain bytes in and out.

The checksum (SHA-256 over schema, version and the state without white space) tells a file that was damaged, or changed by
another hand, from one that is whole; it is no protection against an attacker, for whom the secrets are sealed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from iscsi_initiator.store.errors import StateInvalid, StoreDamaged, StoreForeign, StoreTooNew
from iscsi_initiator.store.state import State

SCHEMA = "iscsi-initiator/store"
VERSION = 1
SIZE_LIMIT = 64 << 20
"""Bytes of a file; beyond it nothing is read."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""The state of one version, as JSON has it, to that of the next."""

MIGRATIONS: Mapping[int, Migration] = MappingProxyType({})
"""Version to what makes it the next one; every version below VERSION has its row."""


class _Head(msgspec.Struct):
    schema: str
    version: int


class _File(msgspec.Struct, forbid_unknown_fields=True):
    schema: str
    version: int
    sha256: str
    state: msgspec.Raw


def encode(state: State, path: Path) -> bytes:
    """The file of a state. path: for the error. Raises StateInvalid for one that would not come back the same."""
    try:
        raw = msgspec.json.encode(state)
        whole = msgspec.json.decode(raw, type=State) == state
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
        raise StateInvalid(path, f"not kept: {error}") from None
    if not whole:
        raise StateInvalid(path, "not kept: it would not come back the same")
    file = _File(SCHEMA, VERSION, _checksum(SCHEMA, VERSION, raw), msgspec.Raw(raw))
    return msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n"


def decode(
    data: bytes, path: Path, *, version: int = VERSION, migrations: Mapping[int, Migration] = MIGRATIONS
) -> State:
    """The state that a file holds. path: for errors; version, migrations: what the program knows.

    Raises StoreDamaged, StoreForeign or StoreTooNew.
    """
    if not data.strip():
        raise StoreDamaged(path, "the file is empty")
    try:
        head = msgspec.json.decode(data, type=_Head)
    except (msgspec.ValidationError, RecursionError):
        raise StoreForeign(path, f"no store of the initiator service: it does not say {SCHEMA}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreDamaged(path, f"no JSON: {error}") from None
    if head.schema != SCHEMA:
        raise StoreForeign(path, f"no store of the initiator service: its schema is not {SCHEMA}", "schema")
    if head.version > version:
        raise StoreTooNew(path, head.version, version)
    if head.version < 1:
        raise StoreDamaged(path, f"there is no version {head.version}", "version")
    try:
        file = msgspec.json.decode(data, type=_File)
        raw = msgspec.json.format(file.state, indent=-1)
        if _checksum(file.schema, file.version, raw) != file.sha256:
            raise StoreDamaged(path, "it is not what was written: damaged, or changed by another hand", "state")
        return _state(raw, file.version, version, migrations)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason, _, place = str(error).partition(" - at ")
        raise StoreDamaged(path, reason[:1].lower() + reason[1:], place.strip("`")) from None


def _state(raw: bytes, written: int, version: int, migrations: Mapping[int, Migration]) -> State:
    if written == version:
        return msgspec.json.decode(raw, type=State)
    values = msgspec.json.decode(raw, type=dict[str, Any])
    for step in range(written, version):
        values = migrations[step](values)
    return msgspec.convert(values, State)


def _checksum(schema: str, version: int, raw: bytes) -> str:
    return hashlib.sha256(f"{schema}\n{version}\n".encode() + raw).hexdigest()
