"""Entity status inquiries: when which portal is asked, and what becomes of one that does not answer (RFC 4171 5.6.5.13,
6.3.4).
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from iscsi_protocol.isns.attributes import Tag
from iscsi_target.isns.removal import remove_entity, remove_portal
from iscsi_target.isns.scope import Realm
from iscsi_target.isns.store import Portal, PortalKey


@dataclass(kw_only=True)
class Watch:
    """One portal under watch. since: its last answer or registration; sent: ESIs since then, in one transaction."""

    interval: float
    since: float
    sent: int = 0
    transaction: int = 0


def interval_of(realm: Realm, portal: Portal) -> float:
    """Seconds between inquiries of a portal with an ESI port: its own, else the shortest of its entity; 0 for none."""
    if Tag.ESI_PORT not in portal.values:
        return 0
    own = int.from_bytes(portal.values.get(Tag.ESI_INTERVAL, b""))
    others = [int.from_bytes(row.values.get(Tag.ESI_INTERVAL, b"")) for row in realm.portals_of(portal.eid)]
    return own or min((each for each in others if each), default=0)


class Inquiries:
    """All portals under watch."""

    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self._watches: dict[PortalKey, Watch] = {}

    def follow(self, now: float) -> None:
        """Watch the portals that are registered for it now, and no others."""
        if self._realm.policy.silent_inquiries:
            return
        watches: dict[PortalKey, Watch] = {}
        for portal in self._realm.store.portals.rows():
            interval = interval_of(self._realm, portal)
            if not interval:
                continue
            watch = self._watches.get(portal.key)
            if watch is None or watch.interval != interval:
                watch = Watch(interval=interval, since=now)
            watches[portal.key] = watch
        self._watches = watches

    def answered(self, transaction: int, now: float) -> str | None:
        """A portal answered: the EID of its entity, None where nobody was asked."""
        for key, watch in self._watches.items():
            if watch.sent and watch.transaction == transaction:
                watch.since, watch.sent = now, 0
                return self._realm.store.portals[key].eid
        return None

    def _due(self, watch: Watch) -> float:
        """The first after the interval; all that are repeated before twice the interval (R4171-6.3.4-03)."""
        if watch.sent >= self._allowed():
            return watch.since + 2 * watch.interval
        if self._realm.policy.late_inquiries:
            return watch.since + (watch.sent + 1) * watch.interval
        return watch.since + watch.interval * (1 + watch.sent / self._realm.config.esi_threshold)

    def _allowed(self) -> int:
        return 1 if self._realm.policy.one_inquiry else self._realm.config.esi_threshold

    def next_deadline(self) -> float | None:
        """When `due` has something to say."""
        return min((self._due(watch) for watch in self._watches.values()), default=None)

    def due(self, now: float) -> tuple[list[tuple[Portal, Watch]], list[Portal]]:
        """Whom to ask now, and who did not answer. Asking is counted."""
        ask, dead = [], []
        for key, watch in self._watches.items():
            if self._due(watch) > now:
                continue
            portal = self._realm.store.portals[key]
            if watch.sent >= self._allowed():
                if self._realm.policy.keep_dead_portals:
                    watch.since, watch.sent = now, 0
                else:
                    dead.append(portal)
            else:
                ask.append((portal, watch))
                watch.sent += 1
        for portal in dead:
            del self._watches[portal.key]
        return ask, dead


def bury(realm: Realm, portal: Portal, now: float) -> None:
    """Remove a portal that did not answer, and its entity if no other is watched (R4171-6.3.4-04, R4171-6.3.4-05).

    Where it had the interval of the others, they go on with it.
    """
    interval = interval_of(realm, portal)
    remove_portal(realm, portal.key)
    others = [row for row in realm.portals_of(portal.eid) if Tag.ESI_PORT in row.values]
    for row in others:
        if not interval_of(realm, row):
            values = {**row.values, int(Tag.ESI_INTERVAL): int(interval).to_bytes(4)}
            realm.store.portals.put(row.key, msgspec.structs.replace(row, values=values))
    silent = now - realm.registered.get(portal.eid, 0) >= 2 * interval
    if not others and silent and not realm.policy.keep_dead_entities:
        remove_entity(realm, portal.eid)
