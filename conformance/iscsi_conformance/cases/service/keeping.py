"""What the service keeps: logins, the node's name, secrets, settings, the store itself (guide, Appendices B and D)."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import msgspec

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.service import HOST, ServiceBench, event_case, raw, status_case
from iscsi_conformance.service.bench import CLAIMS, cannot_start
from iscsi_initiator.service import api
from iscsi_initiator.service.claim import NodeClaim
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store import Sealed, State, Store
from iscsi_initiator.store.state import IdType, Node, PresharedKey, Secrets, SecurityFlag, StaticTarget, StoredSettings

BROKEN = Sealed(nonce=bytes(12), sealed=bytes(28))
SOFTWARE = "ROOT\\ISCSIPRT\\0000_0"
MINE = "iqn.2026-01.org.example:mine"
REG = b"Windows Registry Editor Version 5.00\r\n\r\n"
KEY = b"[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\iSCSI\\Discovery]\r\n"


def _take_away(store: Path) -> Path:
    """Have the store's folder somewhere else, and a file in its place: nothing can be written there."""
    away = store.with_name("away")
    store.rename(away)
    store.write_text("no folder")
    return away


def _give_back(store: Path, away: Path) -> None:
    store.unlink()
    away.rename(store)


@status_case(StatusCode.INITIATOR_NOT_FOUND)
async def unknown_initiator(service: ServiceBench) -> None:
    """A persistent login of an initiator that has none is not removed, one of an initiator that has one is."""
    one = await service.start()
    await one.ask(api.PersistentLoginTarget(target_name=PLAIN, portal=HOST, initiator=SOFTWARE))
    removal = api.RemovePersistentTarget(target_name=PLAIN, initiator="nobody")
    await one.gets(removal, StatusCode.INITIATOR_NOT_FOUND)
    await one.does(api.RemovePersistentTarget(target_name=PLAIN, initiator=SOFTWARE))


@status_case(StatusCode.COULD_NOT_SAVE_PERSISTENT_LOGIN_DATA)
async def not_saved(service: ServiceBench) -> None:
    """A login that the store cannot keep is refused and not in the list; once the store can be written it is kept."""
    one = await service.start()
    away = _take_away(one.folder / "store")
    asked = api.PersistentLoginTarget(target_name=PLAIN, portal=HOST)
    await one.gets(asked, StatusCode.COULD_NOT_SAVE_PERSISTENT_LOGIN_DATA)
    _give_back(one.folder / "store", away)
    await one.does(asked)


@status_case(StatusCode.COULD_NOT_REMOVE_PERSISTENT_LOGIN_DATA)
async def not_removed(service: ServiceBench) -> None:
    """A login that the store cannot forget is not removed; once the store can be written it is."""
    one = await service.start()
    await one.ask(api.PersistentLoginTarget(target_name=PLAIN, portal=HOST))
    away = _take_away(one.folder / "store")
    asked = api.RemovePersistentTarget(target_name=PLAIN)
    await one.gets(asked, StatusCode.COULD_NOT_REMOVE_PERSISTENT_LOGIN_DATA)
    _give_back(one.folder / "store", away)
    await one.does(asked)


@status_case(StatusCode.CONNECTION_ALREADY_EXISTS)
async def renamed_while_connected(service: ServiceBench) -> None:
    """The node's name does not change while it has sessions; without any it does."""
    one = await service.start()
    await one.discover()
    session = await one.log_in()
    await one.gets(api.NodeName(node_name=MINE), StatusCode.CONNECTION_ALREADY_EXISTS)
    await one.ask(api.LogoutTarget(session_id=session.session_id))
    await one.does(api.NodeName(node_name=MINE))


@status_case(StatusCode.INITIATOR_NODE_ALREADY_EXISTS)
async def name_of_another(service: ServiceBench) -> None:
    """A name that another service of this host has is refused, until that one has let go of it."""
    one = await service.start()
    name = f"{MINE}-other"
    other = NodeClaim(CLAIMS)
    other.take(name)
    try:
        await one.gets(api.NodeName(node_name=name), StatusCode.INITIATOR_NODE_ALREADY_EXISTS)
    finally:
        other.release()
    await one.does(api.NodeName(node_name=name))


@status_case(StatusCode.INVALID_ISCSI_NAME, "node")
async def no_node_name(service: ServiceBench) -> None:
    """A node's name that is none is refused, one that is one is taken."""
    one = await service.start()
    await one.gets(raw("NodeName", node_name="no name"), StatusCode.INVALID_ISCSI_NAME)
    await one.does(api.NodeName(node_name=MINE))


@status_case(StatusCode.CACHE_CORRUPTED)
async def broken_key(service: ServiceBench) -> None:
    """A stored IPsec key that does not open has its code; one that was set anew is told of."""
    key = PresharedKey(id_type=IdType.DOMAIN_NAME, id="host.example.org", key=BROKEN, security_flags=SecurityFlag.VALID)
    with Store(service.folder / "one" / "store") as store:
        sealed = store.seal(b"of the host", key.place)
        store.put(State(preshared_keys=(key,)))
    one = await service.start()
    asked = api.GetPSKey(id_type=IdType.DOMAIN_NAME, id=key.id)
    await one.gets(asked, StatusCode.CACHE_CORRUPTED)
    one.core.change(preshared_keys=(msgspec.structs.replace(key, key=sealed),))
    await one.does(asked)


@status_case(StatusCode.OPERATION_REQUIRES_REBOOT)
async def settings_for_the_next_start(service: ServiceBench) -> None:
    """Settings that count from the next start on are taken with a warning, such as count at once without."""
    one = await service.start(settings=None)
    counted = REG + KEY + b'"VolumeRetryCount"=dword:00000005\r\n'
    await one.gets(api.ImportSettings(data=counted), StatusCode.OPERATION_REQUIRES_REBOOT)
    back = REG + KEY + b'"VolumeRetryCount"=dword:%08x\r\n' % one.core.service_settings.volume_retry_count
    await one.does(api.ImportSettings(data=back))


# Events of the start.


@event_case(106, "damaged-store")
async def damaged_store(service: ServiceBench) -> None:
    """A service does not start from a damaged store, and event 106 names the checkpoint; a sound one is opened."""
    folder = service.folder / "damaged" / "store"
    folder.mkdir(parents=True)
    (folder / "store.json").write_bytes(b"no store")
    await cannot_start(service, service.start("damaged"))
    await service.start("sound")
    service.require_events((106, re.compile(r".*store\.json.*[^?]"), "store"))


@event_case(106, "locked-store")
async def locked_store(service: ServiceBench) -> None:
    """A service does not start while another one has its store open, and event 106 says so; afterwards it starts."""
    with Store(service.folder / "one" / "store"):
        await cannot_start(service, service.start())
    await service.start()
    service.require_events((106, re.compile(r".*has the store open"), "store"))


@event_case(106, "node-name-not-kept")
async def node_name_not_kept(service: ServiceBench) -> None:
    """A store that takes no node name ends the start at that checkpoint, with event 106."""
    await cannot_start(service, service.start(before=_unwritable))
    service.require_events((106, re.compile(r".*not kept: .*[^?]"), "node name"))
    await service.start("other")


@event_case(106, "instances-not-kept")
async def instances_not_kept(service: ServiceBench) -> None:
    """A store that takes no initiator instance ends the start at that checkpoint, with event 106."""
    state = State(node=Node(name=MINE, fixed=True))
    await cannot_start(service, service.start(state=state, before=_unwritable))
    service.require_events((106, re.compile(r".*not kept: .*[^?]"), "instances"))
    await service.start("other", state=state)


@event_case(106, "settings-out-of-bounds")
async def settings_out_of_bounds(service: ServiceBench) -> None:
    """A stored setting above its bound ends the start at that checkpoint, with event 106; one at its bound does not."""
    above, highest = (State(settings=StoredSettings(driver={"ErrorRecoveryLevel": level})) for level in (3, 2))
    await cannot_start(service, service.start(state=above, settings=None))
    service.require_events((106, re.compile(r"ErrorRecoveryLevel is 0 to 2, not 3"), "settings"))
    await service.start("other", state=highest, settings=None)
    service.require_events((106, re.compile(r"ErrorRecoveryLevel is 0 to 2, not 3"), "settings"))


@event_case(106, "socket-not-free")
async def socket_not_free(service: ServiceBench) -> None:
    """A service that cannot listen ends its start at that checkpoint, with event 106; at a free path it listens."""
    one = await service.start()
    (one.folder / "taken").write_text("no socket")
    await cannot_start(service, one.listens(one.folder / "taken"))
    await one.listens(one.folder / "free")
    service.require_events((106, re.compile(r".*is no socket: '.*/taken'"), "socket"))


@event_case(106, "metrics-not-free")
async def metrics_not_free(service: ServiceBench) -> None:
    """A port for metrics that another one has ends the start at that checkpoint, with event 106; any free one does not."""
    one = await service.start()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        await cannot_start(service, one.offers_metrics(*taken.getsockname()))
    await one.offers_metrics("127.0.0.1", 0)
    service.require_events((106, re.compile(r".*in use"), "metrics"))


def _unwritable(store: Store) -> None:
    _take_away(store.folder)


@event_case(107, "secret-does-not-open")
async def secret_does_not_open(service: ServiceBench) -> None:
    """An initiator's secret that does not open is told by event 107, and the service starts; one that opens is not told."""
    with Store(service.folder / "one" / "store") as store:
        store.seal(b"anything", "so that there is a key")
        store.put(State(secrets=Secrets(initiator=BROKEN)))
    one = await service.start()
    await one.go_through_start()
    service.require_events((107, re.compile(r".*does not open.*[^?]")))
    with Store(service.folder / "two" / "store") as other:
        other.put(State(secrets=Secrets(initiator=other.seal(b"mutual-secret-22", Secrets.initiator_place))))
    await service.start("two")
    service.require_events((107, re.compile(r".*does not open.*[^?]")))


@event_case(111, "damaged-static-target")
async def damaged_static_target(service: ServiceBench) -> None:
    """A record of a static target that is damaged is left out with event 111; the others are taken over."""
    records = (StaticTarget(name="no name"), StaticTarget(name=PLAIN, portals=(HOST,)))
    one = await service.start(state=State(static_targets=records))
    await one.go_through_start()
    await one.does(api.LoginTarget(target_name=PLAIN))
    service.require_events((111, re.compile(r"no name: .*[^?]")))
