"""What outlives the initiator service: versioned, replaced atomically, with secrets sealed."""

from __future__ import annotations

from iscsi_initiator.store.errors import (
    KeyDamaged,
    KeyExposed,
    KeyMissing,
    KeyUnavailable,
    SecretBroken,
    SecretError,
    StateInvalid,
    StoreDamaged,
    StoreError,
    StoreForeign,
    StoreLocked,
    StoreNotWritten,
    StoreTooNew,
    StoreUnreadable,
)
from iscsi_initiator.store.keys import KeyFile, KeyringKey, KeySource
from iscsi_initiator.store.sealed import Sealed
from iscsi_initiator.store.state import State
from iscsi_initiator.store.store import Store, default_folder, read_state

__all__ = [
    "KeyDamaged",
    "KeyExposed",
    "KeyFile",
    "KeyMissing",
    "KeySource",
    "KeyUnavailable",
    "KeyringKey",
    "Sealed",
    "SecretBroken",
    "SecretError",
    "State",
    "StateInvalid",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreForeign",
    "StoreLocked",
    "StoreNotWritten",
    "StoreTooNew",
    "StoreUnreadable",
    "default_folder",
    "read_state",
]
