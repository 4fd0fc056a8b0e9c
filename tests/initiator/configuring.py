"""Changes of a service's configuration at random, and what a store has to hold behind each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.initiator.nursery import ATTACHED

from iscsi_conformance.bundled import CHAP, PLAIN, SPARE
from iscsi_initiator.service import api
from iscsi_initiator.store import Store
from iscsi_initiator.store.state import IdType, LoginFlag, Portal
from iscsi_protocol.history import Endpoint

Facts = Mapping[tuple[Any, ...], Any]
"""What is configured: from what a record is of, and what tells it from others of its kind, to all that it says."""

SECRET = "one-way-secret-1"
"""What the bundled target knows the user by."""

USER = "tester"
VOLUMES = {"/mnt/one": "/dev/nbd0", "/mnt/two": "/dev/nbd1", "/mnt/three": "/dev/nbd2"}
MOST = 4
"""Of a kind of record that every start has work with."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A request, and what is configured when it was done."""

    request: api.Operation[Any]
    facts: Facts


def facts_of(store: Store) -> Facts:
    """What a store holds, with every secret opened."""
    state = store.state
    opened = {sealed.nonce: store.unseal(sealed, place) for place, sealed in state.sealed()}

    def secret(sealed: Any) -> bytes | None:
        return None if sealed is None else opened[sealed.nonce]

    def chap(options: Any) -> tuple[Any, ...]:
        return options.user_name, secret(options.password), int(options.auth_type), options.default_time2retain

    facts: dict[tuple[Any, ...], Any] = {
        ("static", each.name): (each.alias, each.portals, *chap(each.options)) for each in state.static_targets
    }
    for portal in state.target_portals:
        facts["portal", portal.portal.port, portal.initiator_port] = chap(portal.options)
    for login in state.persistent_logins:
        rest = (login.report_to_pnp, login.portal, secret(login.key), *chap(login.options))
        facts["login", login.target_name, login.number] = rest
    facts |= {("device", each.path): (str(each.kind), each.identifier) for each in state.persistent_devices}
    facts |= {("server", each): True for each in state.isns_servers}
    facts |= {("tunnel", each.destination): secret(each.tunnel) for each in state.tunnel_addresses}
    facts |= {("key", each.id): (secret(each.key), int(each.security_flags)) for each in state.preshared_keys}
    if state.group_key is not None:
        facts["group",] = secret(state.group_key.key)
    if state.secrets.initiator is not None:
        facts["secret",] = secret(state.secrets.initiator)
    if state.node.fixed:
        facts["node",] = state.node.name
    # What nothing here changes.
    facts["rest",] = (state.settings, state.initiators, state.secrets.targets)
    return facts


class Changes:
    """Draws changes that a service is bound to make. portals: of the bundled target; host: what its names begin with."""

    def __init__(self, chance: Random, portals: Sequence[Endpoint], host: str) -> None:
        self._chance = chance
        self._host = host
        self._portals = [Portal(address=each.host, port=each.port) for each in portals]
        self._count = 0
        self.made: dict[str, int] = {}
        """How many changes there were, by the request."""

    def next(self, facts: Facts, devices: Sequence[str], *, sessions: bool) -> Change:
        """devices: interface names that the service has now; sessions: whether it has any."""
        self._count += 1
        kinds: list[Callable[[Facts], Change | None]] = [
            self._target,
            self._portal,
            self._login,
            self._server,
            self._tunnel,
            self._key,
            self._group_key,
            self._secret,
            lambda facts: self._device(facts, devices),
        ]
        if not sessions:
            kinds.append(self._node)
        while True:
            change = self._chance.choice(kinds)(facts)
            if change is not None and change.facts != facts:
                name = type(change.request).__name__
                self.made[name] = self.made.get(name, 0) + 1
                return change

    def _old(self, facts: Facts, kind: str, most: int = 2 * MOST) -> tuple[Any, ...] | None:
        """One that there is of a kind, to be taken away; None where one more is to come."""
        known = [key for key in facts if key[0] == kind]
        return self._chance.choice(known) if known and self._chance.random() < len(known) / most else None

    def _fresh(self) -> bytes:
        return f"a secret with number {self._count}".encode()

    def _target(self, facts: Facts) -> Change:
        old = self._old(facts, "static")
        if old is not None and self._chance.random() < 0.6:
            return Change(request=api.RemoveTarget(target_name=old[1]), facts=_without(facts, old))
        name = old[1] if old is not None else f"iqn.2026-01.org.example:{self._count}"
        alias, password, retain = f"alias {self._count}", self._fresh(), self._count % 3600
        portal = Portal(address="192.0.2.7", port=3260 + self._count % 100)
        request = api.AddTarget(
            target_name=name,
            target_alias=alias,
            portal=portal,
            target_flags=4,
            options=api.LoginOptions(auth_type=1, user_name=USER, password=password, default_time2retain=retain),
        )
        return Change(request=request, facts={**facts, ("static", name): (alias, (portal,), USER, password, 1, retain)})

    def _portal(self, facts: Facts) -> Change | None:
        old = self._old(facts, "portal", MOST)
        if old is not None:
            portal = next(each for each in self._portals if each.port == old[1])
            remove = api.RemoveTargetPortal(portal=portal, initiator_port=old[2])
            return Change(request=remove, facts=_without(facts, old))
        portal, port = self._chance.choice(self._portals), self._chance.choice([None, 0])
        key = ("portal", portal.port, port)
        if key in facts:
            return None
        password, retain = self._fresh(), self._count % 3600
        options = api.LoginOptions(user_name=USER, password=password, default_time2retain=retain)
        request = api.AddTargetPortal(portal=portal, initiator_port=port, options=options)
        return Change(request=request, facts={**facts, key: (USER, password, 0, retain)})

    def _login(self, facts: Facts) -> Change:
        old = self._old(facts, "login", MOST)
        if old is not None:
            named = api.RemovePersistentTarget(target_name=f"{old[1]}#{old[2]}")
            return Change(request=named, facts=_without(facts, old))
        name, report = self._chance.choice([PLAIN, CHAP, SPARE]), self._chance.random() < 0.8
        number = next(each for each in range(MOST + 1) if ("login", name, each) not in facts)
        portal, key, retain = self._chance.choice(self._portals), self._fresh(), self._count % 3600
        chap = (USER, SECRET.encode(), 1) if name == CHAP else (None, None, 0)
        request = api.PersistentLoginTarget(
            target_name=name,
            report_to_pnp=report,
            portal=portal,
            key=key,
            options=api.LoginOptions(
                login_flags=LoginFlag.MULTIPATH_ENABLED,
                user_name=chap[0],
                password=chap[1],
                auth_type=chap[2],
                default_time2retain=retain,
            ),
        )
        return Change(request=request, facts={**facts, ("login", name, number): (report, portal, key, *chap, retain)})

    def _server(self, facts: Facts) -> Change:
        old = self._old(facts, "server", MOST)
        if old is not None:
            return Change(request=api.RemoveiSNSServer(server=old[1]), facts=_without(facts, old))
        name = f"isns-{self._count}.example"
        return Change(request=api.AddiSNSServer(server=name), facts={**facts, ("server", name): True})

    def _tunnel(self, facts: Facts) -> Change:
        destination, tunnel = f"192.0.2.{self._count % 250 + 1}", f"198.51.100.{self._chance.randrange(1, 255)}"
        while ("tunnel", destination) in facts:
            destination = f"203.0.113.{self._chance.randrange(1, 255)}"
        request = api.TunnelAddr(destination=destination, tunnel=tunnel, persist=True)
        return Change(request=request, facts={**facts, ("tunnel", destination): tunnel.encode()})

    def _key(self, facts: Facts) -> Change:
        identity, key = f"host-{self._chance.randrange(6)}.example", self._fresh()
        flags = self._chance.choice([0x1, 0x3, 0x23])
        request = api.PSKey(id_type=IdType.DOMAIN_NAME, id=identity, security_flags=flags, key=key, persist=True)
        return Change(request=request, facts={**facts, ("key", identity): (key, flags)})

    def _group_key(self, facts: Facts) -> Change:
        key = self._fresh()
        return Change(request=api.GroupKey(key=key, persist=True), facts={**facts, ("group",): key})

    def _secret(self, facts: Facts) -> Change:
        if ("secret",) in facts and self._chance.random() < 0.3:
            return Change(request=api.CHAPSecret(secret=None), facts=_without(facts, ("secret",)))
        secret = self._fresh()
        return Change(request=api.CHAPSecret(secret=secret), facts={**facts, ("secret",): secret})

    def _node(self, facts: Facts) -> Change:
        if ("node",) in facts and self._chance.random() < 0.3:
            return Change(request=api.NodeName(node_name=None), facts=_without(facts, ("node",)))
        name = f"iqn.2026-01.org.example:{self._host}-{self._count}"
        return Change(request=api.NodeName(node_name=name), facts={**facts, ("node",): name})

    def _device(self, facts: Facts, devices: Sequence[str]) -> Change | None:
        draw = self._chance.random()
        if draw < 0.1:
            left = {key: value for key, value in facts.items() if key[0] != "device"}
            return Change(request=api.ClearPersistentDevices(), facts=left)
        if draw < 0.2:
            left = {key: value for key, value in facts.items() if key[0] != "device"}
            bound = {("device", each): ("device", each) for each in devices}
            return Change(request=api.BindPersistentDevices(), facts=left | bound)
        old = self._old(facts, "device")
        if old is not None:
            return Change(request=api.RemovePersistentDevice(path=old[1]), facts=_without(facts, old))
        path = self._chance.choice([*devices, *VOLUMES])
        if ("device", path) in facts:
            return None
        value = ("volume", ATTACHED[VOLUMES[path]]) if path in VOLUMES else ("device", path)
        return Change(request=api.AddPersistentDevice(path=path), facts={**facts, ("device", path): value})


def _without(facts: Facts, key: tuple[Any, ...]) -> Facts:
    return {each: value for each, value in facts.items() if each != key}
