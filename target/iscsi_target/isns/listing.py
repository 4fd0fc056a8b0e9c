"""The operating attributes of a registration, as the objects that they list (RFC 4171 5.6.4, 5.6.5.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from iscsi_protocol.isns.attributes import INDEXES, NEXT_INDEXES, SERVER_TAGS, Kind, Tag, normal_eid, row_of, tag_name
from iscsi_protocol.isns.codes import NodeType, Status
from iscsi_protocol.isns.errors import IsnsError, malformed
from iscsi_protocol.isns.tlv import Attribute
from iscsi_target.isns.store import GroupKey

GROUP_TAGS = frozenset({Tag.PG_NAME, Tag.PG_ADDRESS, Tag.PG_PORT, Tag.PGT})
MAX_TAG = 0xFFFF
"""The highest portal group tag (R4171-6.5.4-02)."""


@dataclass(kw_only=True)
class Listed:
    """One object. key: EID (empty: to be made up), (address, port), name, or all three of a group.

    attributes: all of it as it was listed; tags: portal groups with their tag, None for NULL.
    """

    kind: Kind
    key: Any
    attributes: list[Attribute]
    keys: int
    tags: list[tuple[GroupKey, int | None]] = field(default_factory=list)
    tag: int | None = None
    awaits: bool = False

    @property
    def values(self) -> dict[int, bytes]:
        """What is to be stored: everything behind the keys that is no portal group."""
        return {item.tag: item.value for item in self.attributes[self.keys :] if item.tag not in GROUP_TAGS}


def invalid(clause: str, reason: str) -> IsnsError:
    """An invalid registration: status 3."""
    return IsnsError(Status.INVALID_REGISTRATION, clause, reason)


class Lister:
    """Reads operating attributes. name: makes a name of an attribute."""

    def __init__(self, operating: Sequence[Attribute], name: Callable[[Attribute], str]) -> None:
        self._left = list(operating)
        self._name = name
        self.objects: list[Listed] = []

    def read(self) -> list[Listed]:
        """All objects. Raises IsnsError: 2 for an order that cannot be, 3 for what cannot be registered."""
        readers: dict[int, Callable[[Attribute], None]] = {
            Tag.EID: self._entity,
            Tag.PORTAL_ADDRESS: self._portal,
            Tag.ISCSI_NAME: self._node,
            Tag.PG_NAME: self._group_name,
            Tag.PG_ADDRESS: self._group_portal,
            Tag.PGT: self._tag,
        }
        while self._left:
            item = self._left.pop(0)
            readers.get(item.tag, self._attribute)(item)
        for listed in self.objects:
            if listed.awaits:
                raise malformed("R4171-5.6.5.1-23", "a portal group tag is followed by what it is for")
        return self.objects

    def _take(self, tag: Tag, clause: str) -> Attribute:
        if not self._left or self._left[0].tag != tag or self._left[0].empty:
            raise malformed(clause, f"{tag.name} is missing")
        return self._left.pop(0)

    def _begin(self, kind: Kind, key: Any, attributes: list[Attribute]) -> None:
        if key and any(item.kind is kind and item.key == key for item in self.objects):
            raise invalid("R4171-5.6.5.1-20", f"{kind.value} {key} is listed twice")
        self.objects.append(Listed(kind=kind, key=key, attributes=attributes, keys=len(attributes)))

    def _entity(self, item: Attribute) -> None:
        if self.objects:
            raise malformed("R4171-5.6.4-08", "an entity is listed first, and there is only one")
        self._begin(Kind.ENTITY, "" if item.empty else normal_eid(item.text), [item])

    def _portal(self, item: Attribute) -> None:
        port = self._take(Tag.PORTAL_PORT, "R4171-5.6.4-04")
        if item.empty:
            raise malformed("R4171-5.6.4-04", "PORTAL_ADDRESS is missing")
        self._begin(Kind.PORTAL, (item.value, port.number), [item, port])

    def _node(self, item: Attribute) -> None:
        if item.empty:
            raise invalid("R4171-6.4.1-01", "a node has a name")
        self._begin(Kind.NODE, self._name(item), [item])

    def _tag(self, item: Attribute) -> None:
        if not self.objects or self.objects[-1].kind is Kind.ENTITY:
            raise malformed("R4171-5.6.4-01", "a portal group tag follows a portal or node")
        if not item.empty and item.number > MAX_TAG:
            raise invalid("R4171-6.5.4-02", f"portal group tag {item.number}")
        last = self.objects[-1]
        last.tag = None if item.empty else item.number
        last.attributes.append(item)
        if last.kind is Kind.GROUP:
            last.tags = [(last.key, last.tag)]
        else:
            last.awaits = True

    def _group_name(self, item: Attribute) -> None:
        if item.empty:
            raise invalid("R4171-6.4.1-01", "a portal group has a name")
        last = self.objects[-1] if self.objects else None
        if last is not None and last.kind is Kind.PORTAL and (last.awaits or last.tags):
            self._add(last, (self._name(item), *last.key), [item])
            return
        address = self._take(Tag.PG_ADDRESS, "R4171-5.6.5.1-23")
        port = self._take(Tag.PG_PORT, "R4171-5.6.5.1-23")
        key = (self._name(item), address.value, port.number)
        self._begin(Kind.GROUP, key, [item, address, port])

    def _group_portal(self, item: Attribute) -> None:
        last = self.objects[-1] if self.objects else None
        if last is None or last.kind is not Kind.NODE or not (last.awaits or last.tags):
            raise malformed("R4171-5.6.5.1-23", "PG_ADDRESS follows a node and a tag")
        port = self._take(Tag.PG_PORT, "R4171-5.6.5.1-23")
        self._add(last, (last.key, item.value, port.number), [item, port])

    @staticmethod
    def _add(last: Listed, key: GroupKey, attributes: list[Attribute]) -> None:
        last.tags.append((key, last.tag))
        last.attributes += attributes
        last.awaits = False

    def _attribute(self, item: Attribute) -> None:
        row = row_of(item.tag)
        if item.tag in NEXT_INDEXES or item.tag in SERVER_TAGS or item.tag in INDEXES or not row.registers:
            raise invalid(_FORBIDDEN.get(item.tag, "R4171-6.2.8-01"), f"{tag_name(item.tag)} is the server's to give")
        last = self.objects[-1] if self.objects else None
        if last is None or row.kind is not last.kind or item.tag in (Tag.PORTAL_PORT, Tag.PG_PORT):
            raise malformed("R4171-5.6.4-01", f"{tag_name(item.tag)} does not follow its object")
        if last.awaits or last.tags:
            raise malformed("R4171-5.6.5.1-23", f"{tag_name(item.tag)} stands behind a portal group")
        if any(other.tag == item.tag for other in last.attributes):
            raise invalid("R4171-5.6.5.1-20", f"{tag_name(item.tag)} is given twice")
        _check(item)
        last.attributes.append(item)


_FORBIDDEN: dict[int, str] = {
    Tag.TIMESTAMP: "R4171-6.2.4-01",
    Tag.PORTAL_NEXT_INDEX: "R4171-6.3.8-01",
    Tag.NODE_NEXT_INDEX: "R4171-6.4.7-01",
    Tag.PG_NEXT_INDEX: "R4171-6.5.6-01",
    Tag.SERVER_OUI: "R4171-6.9-01",
}

_NODE_TYPES = int(NodeType.TARGET | NodeType.INITIATOR)


def _check(item: Attribute) -> None:
    """Raise IsnsError (3) for a value that no object can have (R4171-5.7.5.1-08)."""
    if item.tag == Tag.NODE_TYPE and not item.empty:
        if item.number & NodeType.CONTROL:
            raise invalid("R4171-6.4.2-02", "the control bit is the administrator's to set")
        if not item.number or item.number & ~_NODE_TYPES:
            raise invalid("R4171-5.7.5.1-08", f"node type {item.number:#x}")
    if item.tag == Tag.ENTITY_PROTOCOL and not item.empty and item.number not in (1, 2, 3):
        raise invalid("R4171-5.7.5.1-08", f"entity protocol {item.number}")
    if item.tag in (Tag.ESI_PORT, Tag.SCN_PORT) and not item.empty and not item.number & MAX_TAG:
        raise invalid("R4171-5.7.5.1-08", f"{tag_name(item.tag)} is no port")
