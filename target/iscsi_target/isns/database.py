"""What outlives an iSNS server: its rows in an SQLite file, written message by message, each as a whole.

A file of another program, of another version, or a damaged one is refused and never written to.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from iscsi_target.config import ConfigError
from iscsi_target.isns.store import (
    Change,
    Counter,
    Domain,
    DomainSet,
    Entity,
    Group,
    Node,
    Portal,
    PortalKey,
    Reserved,
    Store,
)

APPLICATION = 0x69534E53
"""The file's application_id: "iSNS"."""
VERSION = 1

_TABLES: dict[str, tuple[Any, Any]] = {
    "entity": (str, Entity),
    "portal": (PortalKey, Portal),
    "node": (str, Node),
    "group": (tuple[str, bytes, int], Group),
    "domain": (int, Domain),
    "set": (int, DomainSet),
    "reserved-node": (str, Reserved),
    "reserved-portal": (PortalKey, Reserved),
    "counter": (str, Counter),
}
"""Table name to the types of key and row."""


class Database:
    """An open file. Raises ConfigError, which names it, for one that cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._prepare()
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: {error}") from None

    def _prepare(self) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not application and not tables:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(
                "CREATE TABLE object (kind TEXT NOT NULL, key BLOB NOT NULL, row BLOB NOT NULL, PRIMARY KEY (kind, key))"
            )
            self._connection.execute(f"PRAGMA application_id = {APPLICATION}")
            self._connection.execute(f"PRAGMA user_version = {VERSION}")
            self._connection.execute("COMMIT")
        elif application != APPLICATION:
            raise ConfigError(f"{self.path}: not the database of an iSNS server")
        elif version != VERSION:
            raise ConfigError(f"{self.path}: version {version}, this program reads {VERSION}")

    def load(self) -> Store:
        """The store as it was written last. Raises ConfigError for rows that make no sense."""
        store = Store()
        try:
            for kind, key, row in self._connection.execute("SELECT kind, key, row FROM object"):
                key_type, row_type = _TABLES[kind]
                store.tables[kind].restore(
                    msgspec.msgpack.decode(key, type=key_type), msgspec.msgpack.decode(row, type=row_type)
                )
        except (sqlite3.Error, KeyError, msgspec.MsgspecError) as error:
            raise ConfigError(f"{self.path}: damaged: {error}") from None
        return store

    def write(self, changes: Sequence[Change]) -> None:
        """Write what a message changed, all of it or nothing. Raises sqlite3.Error."""
        if not changes:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for kind, key, _, after in changes:
                packed = msgspec.msgpack.encode(key)
                if after is None:
                    self._connection.execute("DELETE FROM object WHERE kind = ? AND key = ?", (kind, packed))
                else:
                    self._connection.execute(
                        "INSERT OR REPLACE INTO object VALUES (?, ?, ?)", (kind, packed, msgspec.msgpack.encode(after))
                    )
        except sqlite3.Error:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
