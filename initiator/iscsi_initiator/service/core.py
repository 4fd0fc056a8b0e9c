"""What the running service knows: the store, the initiator instances, what discovery found, and the sessions.

The operations (`operations`) are functions over it. Time, entropy, name resolution and the network are given to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from iscsi_initiator.client import Client
from iscsi_initiator.counters import NodeCounters
from iscsi_initiator.devices import MPIO_TIMERS, MpioTimers
from iscsi_initiator.discovery.adapters import Adapter, EventWanted, TargetsChanged, told_by_adapter
from iscsi_initiator.discovery.isns_link import IsnsLink
from iscsi_initiator.discovery.isns_servers import PORT, MakeLink, Servers
from iscsi_initiator.discovery.refresh import Discovery, InThread, Refresh, in_thread, outcome
from iscsi_initiator.eventlog import EventLogWriter
from iscsi_initiator.instances import complete
from iscsi_initiator.node_name import this_host
from iscsi_initiator.registry.taking import driver_settings
from iscsi_initiator.requests import Event, EventLogged, NodeFailure, RequestDone, SessionClosed, SessionFailure
from iscsi_initiator.service.attachments import Attachments
from iscsi_initiator.service.claim import SPACE, NodeClaim
from iscsi_initiator.service.devices import Device, Handles
from iscsi_initiator.service.hooks import Hooks
from iscsi_initiator.service.ipsec import IpsecBackend
from iscsi_initiator.service.journal import Journal
from iscsi_initiator.service.live import LiveSession
from iscsi_initiator.service.logins import connect_discovery
from iscsi_initiator.service.management.failures import EVENT_LOG, failure, logged
from iscsi_initiator.service.notices import Notices
from iscsi_initiator.service.paths import Paths
from iscsi_initiator.service.ports import LocalInstance, choose
from iscsi_initiator.service.resolving import Resolver, resolve, system_resolver
from iscsi_initiator.service.tracing import Traces
from iscsi_initiator.service.tunables import device_settings, service_settings
from iscsi_initiator.service.volumes import host_mounts, volumes
from iscsi_initiator.settings import Settings
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import State, Store, StoreError
from iscsi_initiator.store.state import LunMapping, Portal, TargetPortal
from iscsi_initiator.tracing.flags import INFORMATION, MEMORY, REFCOUNT, WARNING
from iscsi_initiator.tracing.teller import Teller
from iscsi_initiator.transport import Connector
from iscsi_protocol.history import Endpoint

_FIRST_SESSION = 0x4000_0137_0000_0000
NO_HOOKS = Hooks()
Connectors = Callable[[], Connector | None]


class Core:
    """addresses: of the software initiator's ports; settings: instead of those that the store has; resolver: finds hosts
    by name; connectors: makes what connections are opened by, TCP where it gives None; host: this computer's name and domain;
    mounts: the text of its mountinfo; isns_port: where iSNS servers listen; isns_link: how one is asked; ipsec: the back end,
    None for no IPsec; exports: the folder for the sockets that devices are served at, None where they are not to be served;
    in_thread: runs what an adapter does, which may block; claims: the space of names that this host's services share.

    logging_in: target name and ISID of each login that is being made; attached: devices of this host that serve a LUN, and
    the interface name of that; trouble: what went wrong last in the background; say: takes a line about what becomes of
    paths; notices: tells events of management data to those who watch. Raises ValueError for stored settings that are out
    of bounds.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        *,
        addresses: Sequence[str] = (),
        settings: Settings | None = None,
        random_bytes: Callable[[int], bytes] = os.urandom,
        resolver: Resolver = system_resolver,
        connectors: Connectors = lambda: None,
        host: Callable[[], tuple[str, str]] = this_host,
        mounts: Callable[[], str] = host_mounts,
        isns_port: int = PORT,
        isns_link: MakeLink = IsnsLink,
        ipsec: IpsecBackend | None = None,
        exports: Path | None = None,
        hooks: Hooks = NO_HOOKS,
        in_thread: InThread = in_thread,
        claims: str = SPACE,
    ) -> None:
        self.store = store
        self.journal = journal
        self.random_bytes = random_bytes
        self.resolver = resolver
        self.connectors = connectors
        self.host = host
        self.mounts = mounts
        self.attached: dict[str, str] = {}
        self.ipsec = ipsec
        self.hooks = hooks
        self.missed_ipsec = False
        self._claim = NodeClaim(claims)
        self.settings = settings or driver_settings(store.state)
        self.service_settings = service_settings(store.state.settings)
        self.device_settings = device_settings(store.state.settings)
        self.discovery = Discovery(journal.tell, self._discover, store.unseal, in_thread)
        self.handles = Handles(journal.tell, journal.teller)
        self.traces = Traces(journal.teller, journal.wall)
        self.say: Callable[[str], None] = lambda _line: None
        self.paths = Paths(self)
        self.attachments = Attachments(self, exports)
        self.notices = Notices()
        self._counters: dict[str, NodeCounters] = {}
        self.sessions: dict[str, LiveSession] = {}
        self.logging_in: list[tuple[str, bytes]] = []
        self.instances: tuple[LocalInstance, ...] = ()
        self._state = "starting"
        self._trouble: Refused | None = None
        self.stop_wanted: Callable[[], None] = lambda: None
        self.changed: Callable[[Refresh], None] = lambda _refresh: None
        self.servers = Servers(
            journal.tell,
            self._where,
            lambda: self.node_name,
            tuple(addresses),
            self._server_changed,
            isns_port,
            isns_link,
        )
        self._addresses = tuple(addresses)
        self._prefix = int.from_bytes(random_bytes(7), "big") | 1 << 56
        self._last_session = 0

    @property
    def teller(self) -> Teller:
        """Where debug messages are told."""
        return self.journal.teller

    @property
    def state(self) -> str:
        """starting, running or stopping."""
        return self._state

    @state.setter
    def state(self, state: str) -> None:
        if self.teller.level & INFORMATION and state != self._state:
            self.teller.tell(INFORMATION, f"the service is {state}")
        self._state = state

    @property
    def trouble(self) -> Refused | None:
        """What went wrong last in the background."""
        return self._trouble

    @trouble.setter
    def trouble(self, trouble: Refused | None) -> None:
        if trouble is not None and self.teller.level & WARNING:
            self.teller.tell(WARNING, f"in the background: {trouble}")
        self._trouble = trouble

    # The node and its instances.

    @property
    def node_name(self) -> str:
        """The name that sessions log in with."""
        return self.store.state.node.name

    def set_up(self, adapters: Mapping[str, Adapter]) -> None:
        """Make the initiator instances. Raises StoreError."""
        known = complete(self.store.state.initiators, adapters, self.random_bytes)
        if known != self.store.state.initiators:
            self.change(initiators=known)
        self.instances = tuple(
            LocalInstance(record, self._addresses)
            if record.plug_in is None
            else LocalInstance(record, tuple(adapters[record.plug_in].addresses), adapters[record.plug_in])
            for record in known
            if record.plug_in is None or record.plug_in in adapters
        )

    def claim(self, name: str) -> bool:
        """Have a node name to oneself on this host; False where another service has it."""
        return self._claim.take(name)

    def release(self) -> None:
        """Have no node name any more."""
        self._claim.release()

    def number_of(self, instance: str) -> int:
        """The place of an instance in the list."""
        return next((place for place, each in enumerate(self.instances) if each.name == instance), 0)

    def instance(self, name: str | None, *, preferred: str | None = None) -> LocalInstance:
        """See `ports.choose`."""
        return choose(self.instances, name, self.node_name, preferred=preferred)

    def adapter_id(self, instance: str) -> int:
        """What tells an instance from all others, and stands in front of the ids of its sessions and connections."""
        return self._prefix + self.number_of(instance)

    def counted(self, instance: str) -> NodeCounters:
        """What is counted of an instance since the start."""
        return self._counters.setdefault(instance, NodeCounters())

    def up_call(self, request: object, plug_in: str | None = None) -> None:
        """An adapter tells something; event 109 for what is not well formed. plug_in: its entry point."""
        said = told_by_adapter(request)
        if isinstance(said, TargetsChanged):
            for each in self.instances:
                if each.adapter is not None:
                    self.changed(self._asks_adapter(each.name, each.adapter))
        elif isinstance(said, EventWanted):
            if said.log and self.event_log is not None:
                self.event_log.attempt(said.event, said.data, self.journal.wall())
            name = next((each.name for each in self.instances if each.record.plug_in == plug_in), plug_in or "")
            self.notices.tell(EVENT_LOG, logged(name, said.event, said.data, log=said.log))
        else:
            self.journal.tell(109)

    # The store.

    def change(self, **changes: Any) -> State:
        """Put these fields of the state. Raises StoreError."""
        return self.store.change(lambda state: msgspec.structs.replace(state, **changes))

    def keep(self, *, status: StatusCode = StatusCode.COULD_NOT_SAVE_PERSISTENT_LOGIN_DATA, **changes: Any) -> None:
        """Put these fields of the state. Raises Refused with the status where that cannot be."""
        try:
            self.change(**changes)
        except StoreError as error:
            raise Refused(status, str(error)) from error

    def set_mpio_timers(self, timers: MpioTimers) -> None:
        """Have other timers of multipath devices, from now on and at later starts. Raises Refused."""
        settings = self.store.state.settings
        values = {row.name: int(getattr(timers, row.field)) for row in MPIO_TIMERS}
        self.keep(settings=msgspec.structs.replace(settings, mpio={**settings.mpio, **values}))
        self.device_settings = replace(self.device_settings, timers=timers)
        self.paths.set_timers(timers)

    # Discovery.

    def mechanisms(self) -> list[Refresh]:
        """What a refresh of all asks."""
        state = self.store.state
        asked: list[Refresh] = [self._asks_portal(portal) for portal in state.target_portals]
        asked += [self._asks_adapter(each.name, each.adapter) for each in self.instances if each.adapter is not None]
        asked += [self._asks_server(server) for server in state.isns_servers]
        if state.static_targets:
            asked.append(self._asks_static)
        return asked

    def _asks_portal(self, portal: TargetPortal) -> Refresh:
        return lambda: self.discovery.portal(portal)

    def _asks_adapter(self, name: str, adapter: Adapter) -> Refresh:
        return lambda: self.discovery.adapter(name, adapter)

    async def _asks_static(self) -> None:
        self.discovery.static(self.store.state.static_targets)

    async def refresh_all(self) -> Refused | None:
        """Ask every mechanism; see `outcome`."""
        asked = self.mechanisms()
        if self.teller.level & INFORMATION:
            self.teller.tell(INFORMATION, f"{len(asked)} mechanisms of discovery are asked")
        if not self.store.state.static_targets:
            await self._asks_static()
        return outcome(len(asked), await self.discovery.all(asked))

    async def ask_server(self, server: str, *, stay: bool = True) -> None:
        """Ask an iSNS server. stay: remain registered with it. Raises Refused."""
        self.discovery.server(server, await self.servers.ask(server, stay=stay))

    def _asks_server(self, server: str) -> Refresh:
        return lambda: self.ask_server(server)

    def register_again(self) -> None:
        """Have all iSNS servers asked, in the background."""
        for server in self.store.state.isns_servers:
            self._server_changed(server)

    def _server_changed(self, server: str) -> None:
        self.changed(self._asks_server(server))

    async def _where(self, portal: Portal) -> Endpoint:
        return await resolve(portal, self.resolver)

    async def _discover(self, portal: TargetPortal) -> Client:
        return await connect_discovery(self, portal)

    # Sessions.

    def session(self, session_id: str) -> LiveSession:
        """A session that is logged in. Raises Refused INVALID_SESSION_ID."""
        found = self.sessions.get(session_id)
        if found is None:
            raise Refused(StatusCode.INVALID_SESSION_ID, f"there is no session {session_id}")
        return found

    def hold(self, session: LiveSession) -> None:
        """A session was made."""
        self.sessions[session.session_id] = session
        if self.teller.level & REFCOUNT:
            text = f"session {session.session_id} to {session.target_name} is held; {len(self.sessions)} are"
            self.teller.tell(REFCOUNT, text)

    def _let_go(self, session_id: str) -> None:
        """A session is over, or was let go of before."""
        if self.sessions.pop(session_id, None) is not None and self.teller.level & REFCOUNT:
            self.teller.tell(REFCOUNT, f"session {session_id} is let go of; {len(self.sessions)} are held")

    def next_session(self, instance: str) -> tuple[str, str, int]:
        """The id of a new session of an instance, the prefix of its connections' ids, and its number."""
        self._last_session += 1
        prefix = f"{self.adapter_id(instance):x}"
        return f"{prefix}-{_FIRST_SESSION + self._last_session:x}", prefix, self._last_session

    def sessions_to(self, target_name: str) -> list[LiveSession]:
        """The sessions to a target."""
        return [each for each in self.sessions.values() if each.target_name == target_name]

    def logins_to(self, target_name: str) -> list[bytes]:
        """The ISIDs of the logins to a target that are being made."""
        return [isid for name, isid in self.logging_in if name == target_name]

    def mappings(self) -> list[LunMapping]:
        """Where the LUNs of all sessions appear."""
        return [mapping for session in self.sessions.values() for mapping in session.mappings]

    def devices(self) -> list[tuple[LiveSession, Device]]:
        """Every device with its session."""
        return [(session, device) for session in self.sessions.values() for device in session.devices]

    def open_device(self, session_id: str, lun: int, who: str) -> Device:
        """Somebody opens a LUN, a structure as a number, until `handles.close`. Raises Refused: INVALID_SESSION_ID,
        REQUEST_NOT_SUPPORTED for a session that is not reported to the system, INVALID_PARAMETER for a LUN without a device.
        """
        session = self.session(session_id)
        if not session.report_to_pnp:
            reason = "a session that is not reported to the system takes INQUIRY, REPORT LUNS and READ CAPACITY alone"
            raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, reason)
        for device in session.devices:
            if device.mapping.target_lun == lun:
                self.handles.open(session_id, device.interface_name, who)
                return device
        raise Refused(StatusCode.INVALID_PARAMETER, f"session {session_id} has no device at LUN {lun:#018x}")

    def device_behind(self, source: str) -> str | None:
        """The interface name of the LUN that a device of this host serves; None for one that serves none."""
        return self.attached.get(source)

    def volumes_on(self, device: str) -> tuple[str, ...]:
        """Where file systems on a LUN are mounted, by the LUN's interface name; none where the mounts cannot be read."""
        if device not in self.attached.values():
            return ()
        try:
            mounted = volumes(self.mounts())
        except OSError:
            return ()
        return tuple(each.mount_point for each in mounted if self.device_behind(each.source) == device)

    def is_device(self, path: str) -> bool:
        """Whether a path leads to a block device of this host."""
        return Path(path).is_block_device()

    def open_settings(self, **changes: Any) -> Settings:
        """The settings of one more session: under the node's name, and with what is left of what this initiator may have."""
        limits = self.settings.limits
        connections = sum(len(each.client.connections) for each in self.sessions.values())
        left = replace(
            limits,
            sessions=max(0, limits.sessions - len(self.sessions) - max(0, len(self.logging_in) - 1)),
            connections=max(0, limits.connections - connections),
        )
        if self.teller.level & MEMORY:
            text = f"one more login: {left.sessions} sessions and {left.connections} connections are left for it"
            self.teller.tell(MEMORY, text)
        return replace(self.settings, **{"initiator_name": self.node_name, "limits": left, **changes})

    @property
    def event_log(self) -> EventLogWriter | None:
        """The log of the driver's events."""
        return self.journal.writer

    def took(self, session: LiveSession, event: Event) -> None:
        """The driver told something about a session."""
        if isinstance(event, RequestDone):
            return
        if isinstance(event, EventLogged):
            session.heard(event)
        elif isinstance(event, NodeFailure | SessionFailure):
            self.failed(event, session.initiator, session.target_name)
        self.paths.multipath.tell(session.number, event)
        if isinstance(event, SessionClosed):
            self.ended(session)

    def ended(self, session: LiveSession) -> None:
        """A session is no more, or is about to be."""
        self._let_go(session.session_id)
        self.paths.leave(session)

    def failed(self, event: Event, instance: str, target_name: str) -> None:
        """Tell those who watch where the driver told of a failure."""
        if isinstance(event, NodeFailure | SessionFailure):
            self.notices.tell(*failure(event, instance, target_name, self.journal.wall()))


@dataclass(frozen=True, slots=True)
class AdapterHost:
    """What one adapter may call."""

    core: Core
    plug_in: str

    def up_call(self, request: object) -> None:
        """See `Host`."""
        self.core.up_call(request, self.plug_in)
