"""The objects that an iSNS server knows (RFC 4171 3), as immutable rows by kind and key, and the journal of a message.

A message changes the store through `put` and `remove`. `commit` tells what it changed, for the database and for
notifications; `rollback` undoes it, so that a request is carried out as a whole or not at all (R4171-5.4-02).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

PortalKey: TypeAlias = tuple[bytes, int]
GroupKey: TypeAlias = tuple[str, bytes, int]
Values: TypeAlias = dict[int, bytes]


class Entity(msgspec.Struct, frozen=True, kw_only=True):
    """A network entity. values: attributes by tag, as on the wire; period: seconds without a message, 0 for no end."""

    eid: str
    index: int
    period: int
    values: Values = {}


class Portal(msgspec.Struct, frozen=True, kw_only=True):
    """A portal of an entity. address: 16 bytes; port: as in tag 17."""

    address: bytes
    port: int
    eid: str
    index: int
    values: Values = {}

    @property
    def key(self) -> PortalKey:
        """Address and port."""
        return self.address, self.port


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A storage node of an entity. type, bitmap: as in tags 33 and 35."""

    name: str
    eid: str
    index: int
    type: int
    bitmap: int = 0
    values: Values = {}


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A portal group: the relation of one node to one portal, either of which may be missing. tag: None for NULL."""

    name: str
    address: bytes
    port: int
    eid: str
    index: int
    tag: int | None = 1

    @property
    def key(self) -> GroupKey:
        """Node and portal."""
        return self.name, self.address, self.port

    @property
    def portal(self) -> PortalKey:
        """Address and port."""
        return self.address, self.port


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    """A discovery domain. nodes, portals: its members, registered or not, in the order in which they came."""

    number: int
    name: str
    features: int = 0
    nodes: tuple[str, ...] = ()
    portals: tuple[PortalKey, ...] = ()


class DomainSet(msgspec.Struct, frozen=True, kw_only=True):
    """A discovery domain set. status: bit 0 enables it."""

    number: int
    name: str
    status: int = 0
    domains: tuple[int, ...] = ()


class Reserved(msgspec.Struct, frozen=True, kw_only=True):
    """The index of a member of a domain that is not registered (R4171-5.6.5.9-14, R4171-6.4.5-02)."""

    index: int


class Counter(msgspec.Struct, frozen=True, kw_only=True):
    """The last number given to a kind of object, so that none is given again soon (R4171-2.10-02)."""

    last: int


Row: TypeAlias = Entity | Portal | Node | Group | Domain | DomainSet | Reserved | Counter
Change: TypeAlias = tuple[str, Any, Any, Any]
"""Table, key, row before, row now; None where there is none."""

R = TypeVar("R", bound=Row)


class Table(Generic[R]):
    """The rows of one kind, by key. Changes are written into the journal that the tables of a store share."""

    def __init__(self, name: str, journal: dict[tuple[str, Any], Any]) -> None:
        self.name = name
        self._rows: dict[Any, R] = {}
        self._journal = journal

    def get(self, key: Any) -> R | None:
        """The row, None where there is none."""
        return self._rows.get(key)

    def __getitem__(self, key: Any) -> R:
        """The row. Raises KeyError."""
        return self._rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Any]:
        """Keys in order (R4171-3.8-01)."""
        return iter(sorted(self._rows))

    def rows(self) -> list[R]:
        """All rows, in the order of their keys."""
        return [self._rows[key] for key in self]

    def put(self, key: Any, row: R) -> None:
        """Set a row."""
        self._journal.setdefault((self.name, key), self._rows.get(key))
        self._rows[key] = row

    def remove(self, key: Any) -> None:
        """Take a row away, if it is there."""
        if key in self._rows:
            self._journal.setdefault((self.name, key), self._rows[key])
            del self._rows[key]

    def restore(self, key: Any, row: R | None) -> None:
        """Set a row, or take it away, without a trace."""
        if row is None:
            self._rows.pop(key, None)
        else:
            self._rows[key] = row


class Store:
    """All objects of a server."""

    def __init__(self) -> None:
        self._journal: dict[tuple[str, Any], Any] = {}
        self.entities: Table[Entity] = Table("entity", self._journal)
        self.portals: Table[Portal] = Table("portal", self._journal)
        self.nodes: Table[Node] = Table("node", self._journal)
        self.groups: Table[Group] = Table("group", self._journal)
        self.domains: Table[Domain] = Table("domain", self._journal)
        self.sets: Table[DomainSet] = Table("set", self._journal)
        self.reserved_nodes: Table[Reserved] = Table("reserved-node", self._journal)
        self.reserved_portals: Table[Reserved] = Table("reserved-portal", self._journal)
        self.counters: Table[Counter] = Table("counter", self._journal)
        tables: list[Table[Any]] = [
            self.entities,
            self.portals,
            self.nodes,
            self.groups,
            self.domains,
            self.sets,
            self.reserved_nodes,
            self.reserved_portals,
            self.counters,
        ]
        self.tables: Mapping[str, Table[Any]] = {table.name: table for table in tables}

    def commit(self) -> list[Change]:
        """What changed since the last commit, and forget how it was."""
        changes = []
        for (name, key), before in self._journal.items():
            after = self.tables[name].get(key)
            if before != after:
                changes.append((name, key, before, after))
        self._journal.clear()
        return changes

    def rollback(self) -> None:
        """Undo what changed since the last commit."""
        for (name, key), before in self._journal.items():
            self.tables[name].restore(key, before)
        self._journal.clear()

    def next_number(self, what: str, taken: Table[Any] | None = None, *, soon: bool = False) -> int:
        """A number that was not given before to this kind. taken: numbers that are rows of this table are left out.

        soon: the smallest that is free, as nobody should do it.
        """
        last = 0 if soon else self._last(what)
        number = last + 1
        while (taken is not None and number in taken) or (soon and number in self.indexes(what)):
            number += 1
        self.counters.put(what, Counter(last=max(number, self._last(what))))
        return number

    def _last(self, what: str) -> int:
        counter = self.counters.get(what)
        return counter.last if counter else 0

    def indexes(self, what: str) -> set[int]:
        """The indexes of a kind that are in use."""
        used = (
            {row.index for row in self.tables[what].rows()} if what in ("entity", "portal", "node", "group") else set()
        )
        if what in ("portal", "node"):
            used |= {row.index for row in self.tables[f"reserved-{what}"].rows()}
        return used
