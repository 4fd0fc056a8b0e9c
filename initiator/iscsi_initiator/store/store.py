"""The open store: one state in memory, the same on the disk, and the key for its secrets.

Opening changes nothing that is there. A store that is damaged, foreign or too new stays as it is, and so does one whose key
is missing: no new key is made while secrets are sealed under another.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from iscsi_initiator.store import files
from iscsi_initiator.store import format as form
from iscsi_initiator.store.errors import (
    KeyMissing,
    SecretBroken,
    SecretError,
    StoreDamaged,
    StoreLocked,
    StoreNotWritten,
    StoreUnreadable,
)
from iscsi_initiator.store.keys import KeyFile, KeySource
from iscsi_initiator.store.sealed import KEY_LENGTH, NONCE_LENGTH, Sealed, seal, unseal
from iscsi_initiator.store.state import State

FILE, LOCK, KEY = "store.json", "lock", "key"
"""Names in the folder of a store."""


def default_folder() -> Path:
    """Where the store is unless told otherwise: $ISCSI_INITIATOR_STORE, else in the user's state folder."""
    named = os.environ.get("ISCSI_INITIATOR_STORE")
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(named) if named else Path(state) / "iscsi-conformance" / "initiator"


def read_state(folder: Path) -> State:
    """The state that a store has on the disk, also while a process has it open; an empty one where there is none.

    Raises StoreUnreadable, StoreDamaged, StoreForeign or StoreTooNew.
    """
    path = folder / FILE
    try:
        data = files.read(path, form.SIZE_LIMIT)
    except OSError as error:
        kind = StoreDamaged if error.errno == errno.EFBIG else StoreUnreadable
        raise kind(path, f"the store cannot be read: {error.strerror}") from None
    return State() if data is None else form.decode(data, path)


class Store:
    """What outlives the service, in a folder that is made where it is missing; open until `close`, for one process alone.

    keys: where the key is, a file in the folder unless said; random_bytes: entropy for key and nonces. Raises StoreLocked,
    StoreUnreadable, StoreDamaged, StoreForeign or StoreTooNew; the key is not looked at before a secret is.
    """

    def __init__(
        self, folder: Path, *, keys: KeySource | None = None, random_bytes: Callable[[int], bytes] = os.urandom
    ) -> None:
        self.folder = folder
        self.path = folder / FILE
        self._keys = keys or KeyFile(folder / KEY)
        self._random_bytes = random_bytes
        self._changing = threading.Lock()
        self._lock: int | None = self._take_lock()
        try:
            self._state, self._written = self._load()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @property
    def state(self) -> State:
        """What was put last."""
        return self._state

    def put(self, state: State) -> None:
        """Make this the state. When it returns, what of it lasts is on the disk; when it raises, nothing has changed.

        May run in another thread. Raises StateInvalid, or StoreNotWritten: the one error behind which the change may be
        found on the disk all the same, by a process that starts before the next `put`.
        """
        with self._changing:
            lasting = state.lasting()
            if lasting != self._written:
                data = form.encode(lasting, self.path)
                self._replace(data)
                self._written = lasting
            self._state = state

    def change(self, revise: Callable[[State], State]) -> State:
        """Put what `revise` makes of the state; gives that. For one thread at a time; raises as `put`."""
        state = revise(self._state)
        self.put(state)
        return state

    def seal(self, secret: bytes, place: str) -> Sealed:
        """The secret as it may be put; place: what it is for, as the record that is to have it says. Raises SecretError."""
        with self._changing:
            key = self._keys.load()
            if key is None:
                key = self._make_key()
        return seal(secret, place, key=key, nonce=self._random_bytes(NONCE_LENGTH))

    def unseal(self, sealed: Sealed, place: str) -> bytes:
        """The secret that was sealed for this place. Raises SecretError."""
        key = self._keys.load()
        if key is None:
            raise KeyMissing(self._keys.where, "the key that secrets were sealed under is not there")
        secret = unseal(sealed, place, key=key)
        if secret is None:
            reason = f"it does not open: damaged, moved, or sealed under another key than that of {self._keys.where}"
            raise SecretBroken(self.path, reason, place)
        return secret

    def broken_secrets(self) -> list[SecretError]:
        """What keeps each sealed secret from opening; a missing or unusable key is told once, for all of them."""
        found: list[SecretError] = []
        for place, sealed in self._state.sealed():
            try:
                self.unseal(sealed, place)
            except SecretBroken as error:
                found.append(error)
            except SecretError as error:
                return [error]
        return found

    def close(self) -> None:
        """Let go of the lock. The state can be read afterwards, not put."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> int:
        try:
            files.make_folder(self.folder)
            return files.lock(self.folder / LOCK)
        except files.Busy as busy:
            holder = f"process {busy.holder}" if busy.holder else "another process"
            raise StoreLocked(self.folder, f"{holder} has the store open") from None
        except OSError as error:
            raise StoreUnreadable(error.filename or self.folder, f"no store can be here: {error.strerror}") from None

    def _load(self) -> tuple[State, State | None]:
        """The state, and what the file has of it: None where there is no file yet."""
        state = read_state(self.folder)
        # What a killed process left half written; where the folder takes no writing it does no harm.
        with suppress(OSError):
            files.discard(self.path)
        return state, state if self.path.exists() else None

    def _replace(self, data: bytes) -> None:
        if self._lock is None:
            raise StoreNotWritten(self.path, "the store is closed")
        self._written = None
        try:
            files.replace(self.path, data)
        except OSError as error:
            raise StoreNotWritten(self.path, f"not kept: {error.strerror}") from None

    def _make_key(self) -> bytes:
        if next(self._state.sealed(), None) is not None:
            raise KeyMissing(self._keys.where, "the key that secrets were sealed under is not there; no other is made")
        key = self._random_bytes(KEY_LENGTH)
        self._keys.save(key)
        return key
