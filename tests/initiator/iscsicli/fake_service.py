"""A service for tests of the command line: it keeps what it is told in memory, and its network is two tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from iscsi_initiator.service import api
from iscsi_initiator.service.api import wire
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import IdType, LunMapping, Portal

DISK = "iqn.2026-01.org.example:disk"
TAPE = "iqn.2026-01.org.example:tape"
ARRAY = "iqn.2026-01.org.example:array"
PORTALS = {"192.0.2.10": (DISK, TAPE), "2001:db8::10": (DISK,)}
"""What the portals that can be reached tell."""

SERVERS = {"isns.example.org": (ARRAY, DISK)}
"""What the iSNS servers that can be reached tell."""

INSTANCES = ("software", "adapter")
PORTS = 2
LUNS = (0x0000_0000_0000_0000, 0x0001_0000_0000_0000)
NODE = "iqn.1991-05.com.microsoft:host.example.org"
LOCAL = Portal(address="192.0.2.99", port=49152)
INQUIRY = bytes.fromhex("00 00 06 12 1f 00 00 02") + b"EXAMPLE Disk            1.0 "
SENSE = bytes.fromhex("70 00 05 00 00 00 00 0a 00 00 00 00 24 00 00 00 00 00")
MIN_SECRET = 12


def bare(options: api.LoginOptions) -> tuple[api.LoginOptions, bool]:
    """Options without the password, and whether there is one."""
    return replace(options, password=None), options.password is not None


def done(*secrets: bytes | None) -> api.Answer:
    """An answer, which warns of short secrets."""
    if any(secret is not None and len(secret) < MIN_SECRET for secret in secrets):
        return api.Answer(status=StatusCode.SHORT_CHAP_SECRET, message=f"the secret has under {MIN_SECRET} bytes")
    return api.Answer()


@dataclass
class FakeService:
    """Answers requests. `ask` takes each through its form on the wire, both ways."""

    static: dict[str, api.AddTarget] = field(default_factory=dict)
    portals: list[api.AddTargetPortal] = field(default_factory=list)
    servers: list[str] = field(default_factory=list)
    found: dict[str, list[str]] = field(default_factory=dict)
    sessions: list[api.SessionEntry] = field(default_factory=list)
    mapped: dict[str, tuple[LunMapping, ...]] = field(default_factory=dict)
    persistent: list[api.PersistentLoginEntry] = field(default_factory=list)
    devices: list[api.PersistentDeviceEntry] = field(default_factory=list)
    keys: dict[tuple[int, str], api.PSKey] = field(default_factory=dict)
    tunnels: set[str] = field(default_factory=set)
    node: str | None = None
    count: int = 0
    asked: list[api.Operation[Any]] = field(default_factory=list)

    def ask(self, request: api.Operation[Any]) -> Any:
        try:
            line = wire.encode_answer(
                self.handle(wire.decode_request(wire.encode_request(request))), request.buffer_size
            )
        except Refused as error:
            line = wire.encode_answer(api.failure_of(error))
        return wire.decode_answer(line, type(request))

    async def answer(self, request: api.Operation[Any]) -> api.Answer:
        """As the handler of a listener."""
        return self.handle(request)

    def handle(self, request: api.Operation[Any]) -> api.Answer:
        self.asked.append(request)
        handler: Callable[[Any], api.Answer] = getattr(self, f"_{type(request).__name__.lower()}")
        return handler(request)

    # Targets

    def _learn(self, mechanism: str, names: tuple[str, ...]) -> None:
        for name in names:
            known = self.found.setdefault(name, [])
            if mechanism not in known:
                known.append(mechanism)

    def _addtarget(self, request: api.AddTarget) -> api.Answer:
        if request.target_name in self.static and not request.target_flags & 4:
            raise Refused(StatusCode.TARGET_ALREADY_EXISTS, request.target_name)
        self.static[request.target_name] = request
        return done(request.options.password)

    def _removetarget(self, request: api.RemoveTarget) -> api.Answer:
        if self.static.pop(request.target_name, None) is None:
            raise Refused(StatusCode.TARGET_NOT_FOUND, "it was not configured by hand")
        return done()

    def _listtargets(self, request: api.ListTargets) -> api.TargetNames:
        shown = {name for name, each in self.static.items() if not each.target_flags & 2}
        names = tuple(sorted(shown | self.found.keys()))
        failed = [each for each in self.portals if each.portal.address not in PORTALS]
        if request.update and failed:
            status = StatusCode.OPERATION_NOT_ALL_SUCCESS
            return api.TargetNames(targets=names, status=status, message=f"{failed[0].portal.address} does not answer")
        return api.TargetNames(targets=names)

    def _targetinfo(self, request: api.TargetInfo) -> api.TargetInformation:
        name, static = request.target_name, self.static.get(request.target_name)
        mechanisms = (*self.found.get(name, ()), *(("Static",) if static else ()))
        if not mechanisms:
            raise Refused(StatusCode.TARGET_NOT_FOUND, name)
        if request.discovery_mechanism is None:
            return api.TargetInformation(discovery_mechanisms=mechanisms)
        if request.discovery_mechanism not in mechanisms:
            raise Refused(StatusCode.DISCOVERY_MECHANISM_NOT_FOUND, request.discovery_mechanism)
        found = api.TargetInstance(
            discovery_mechanism=request.discovery_mechanism,
            target_name=name,
            portal_groups=(api.PortalGroup(tag=1, portals=(Portal(address="192.0.2.10"),)),),
        )
        if static and request.discovery_mechanism == "Static":
            options, stored = bare(static.options)
            found = replace(
                found,
                target_alias=static.target_alias,
                target_flags=static.target_flags,
                persistent=static.persist,
                portal_groups=(api.PortalGroup(portals=(static.portal,)),) if static.portal else (),
                options=options,
                password_stored=stored,
                mappings=static.mappings,
            )
        return api.TargetInformation(discovery_mechanisms=mechanisms, target=found)

    # Discovery

    def _discover(self, portal: Portal) -> None:
        if portal.address not in PORTALS:
            raise Refused(StatusCode.CONNECTION_FAILED, f"{portal.address} does not answer")
        self._learn(f"SendTargets:{portal.address}:{portal.port}", PORTALS[portal.address])

    def _addtargetportal(self, request: api.AddTargetPortal) -> api.Answer:
        self._instance(request.initiator, request.initiator_port)
        if any(each.portal == request.portal for each in self.portals):
            raise Refused(StatusCode.TARGET_PORTAL_ALREADY_EXISTS, request.portal.address)
        if request.portal.address != "192.0.2.77":
            self._discover(request.portal)
        self.portals.append(request)
        return done(request.options.password)

    def _removetargetportal(self, request: api.RemoveTargetPortal) -> api.Answer:
        kept = [each for each in self.portals if each.portal != request.portal]
        if kept == self.portals:
            raise Refused(StatusCode.PORTAL_NOT_FOUND, request.portal.address)
        self.portals = kept
        return done()

    def _refreshtargetportal(self, request: api.RefreshTargetPortal) -> api.Answer:
        self._instance(request.initiator, request.initiator_port)
        self._discover(request.portal)
        return done()

    def _listtargetportals(self, request: api.ListTargetPortals) -> api.TargetPortals:
        entries = []
        for each in self.portals:
            options, stored = bare(each.options)
            entries.append(
                api.TargetPortalEntry(
                    portal=each.portal,
                    initiator=each.initiator,
                    initiator_port=each.initiator_port,
                    security_flags=each.security_flags,
                    options=options,
                    password_stored=stored,
                )
            )
        return api.TargetPortals(portals=tuple(entries))

    def _query(self, server: str) -> None:
        if server not in SERVERS:
            raise Refused(StatusCode.ISNS_SERVER_NOT_FOUND, f"{server} does not answer")
        self._learn(f"iSNS:{server}", SERVERS[server])

    def _addisnsserver(self, request: api.AddiSNSServer) -> api.Answer:
        self._query(request.server)
        self.servers.append(request.server)
        return done()

    def _removeisnsserver(self, request: api.RemoveiSNSServer) -> api.Answer:
        if request.server not in self.servers:
            raise Refused(StatusCode.ISNS_SERVER_NOT_FOUND, f"{request.server} is not in the list")
        self.servers.remove(request.server)
        return done()

    def _refreshisnsserver(self, request: api.RefreshiSNSServer) -> api.Answer:
        self._query(request.server)
        return done()

    def _listisnsservers(self, request: api.ListiSNSServers) -> api.ISNSServers:
        return api.ISNSServers(servers=tuple(self.servers))

    def _firewallexemptisnsserver(self, request: api.FirewallExemptiSNSServer) -> api.Answer:
        raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, "this host's firewall is not ours to change")

    # Sessions

    def _instance(self, name: str | None, port: int | None) -> str:
        if name is not None and name not in INSTANCES:
            raise Refused(StatusCode.INITIATOR_INSTANCE_NOT_FOUND, name)
        if port is not None and port >= PORTS:
            raise Refused(StatusCode.INVALID_PORT_NUMBER, f"{name or 'the initiator'} has {PORTS} ports")
        return name or INSTANCES[0]

    def _connection(self, portal: Portal | None, number: int) -> api.ConnectionEntry:
        return api.ConnectionEntry(
            connection_id=f"ffff0001-{number:x}",
            cid=number,
            initiator_portal=LOCAL,
            target_portal=portal or Portal(address="192.0.2.10"),
        )

    def _logintarget(self, request: api.LoginTarget) -> api.LoggedIn:
        initiator = self._instance(request.initiator, request.initiator_port)
        if request.target_name not in self.found.keys() | self.static.keys():
            raise Refused(StatusCode.TARGET_NOT_FOUND, request.target_name)
        if not request.options.login_flags & 2 and any(s.target_name == request.target_name for s in self.sessions):
            raise Refused(StatusCode.TARGET_ALREADY_LOGGED_IN, request.target_name)
        self.count += 1
        connection = self._connection(request.portal, 1)
        device = api.DeviceEntry(
            device_type="Disk",
            number=self.count,
            friendly_name="EXAMPLE Disk",
            lun=LUNS[1],
            os_lun=1,
            interface_name=f"/run/iscsi/disk{self.count}",
            legacy_name=f"nbd{self.count}",
            volume_paths=("/mnt/disk",),
        )
        self.sessions.append(
            api.SessionEntry(
                session_id=f"ffff0001-40000137{self.count:08x}",
                initiator=initiator,
                initiator_node_name=self.node or NODE,
                target_name=request.target_name,
                isid=bytes.fromhex("400001370000"),
                tsih=self.count,
                reported_to_pnp=request.report_to_pnp,
                connections=(connection,),
                devices=(device,) if request.report_to_pnp else (),
            )
        )
        session = self.sessions[-1]
        self.mapped[session.session_id] = request.mappings
        return api.LoggedIn(session_id=session.session_id, connection_id=connection.connection_id)

    def lose_connections(self) -> None:
        """Have every session lose what it has."""
        self.sessions = [replace(each, connections=(), devices=()) for each in self.sessions]

    def _session(self, session_id: str) -> api.SessionEntry:
        for each in self.sessions:
            if each.session_id == session_id:
                return each
        raise Refused(StatusCode.INVALID_SESSION_ID, "there is no such session")

    def _logouttarget(self, request: api.LogoutTarget) -> api.Answer:
        session = self._session(request.session_id)
        if session.target_name == TAPE:
            raise Refused(StatusCode.DEVICE_BUSY_ON_SESSION, "a device is in use")
        self.sessions.remove(session)
        return done()

    def _persistentlogintarget(self, request: api.PersistentLoginTarget) -> api.Answer:
        number = sum(each.target_name == request.target_name for each in self.persistent)
        options, stored = bare(request.options)
        self.persistent.append(
            api.PersistentLoginEntry(
                name=f"{request.target_name}#{number}",
                target_name=request.target_name,
                report_to_pnp=request.report_to_pnp,
                portal=request.portal,
                initiator=request.initiator,
                initiator_port=request.initiator_port,
                security_flags=request.security_flags,
                options=options,
                password_stored=stored,
                mappings=request.mappings,
            )
        )
        return done(request.options.password)

    def _listpersistenttargets(self, request: api.ListPersistentTargets) -> api.PersistentLogins:
        return api.PersistentLogins(logins=tuple(self.persistent))

    def _removepersistenttarget(self, request: api.RemovePersistentTarget) -> api.Answer:
        for each in self.persistent:
            if (
                request.target_name in (each.name, each.target_name)
                and request.initiator in (None, each.initiator)
                and request.initiator_port in (None, each.initiator_port)
                and request.portal in (None, each.portal)
            ):
                self.persistent.remove(each)
                return done()
        raise Refused(StatusCode.TARGET_NOT_FOUND, "there is no such persistent login")

    def _change(self, session: api.SessionEntry, connections: tuple[api.ConnectionEntry, ...]) -> None:
        self.sessions[self.sessions.index(session)] = replace(session, connections=connections)

    def _addconnection(self, request: api.AddConnection) -> api.ConnectionAdded:
        session = self._session(request.session_id)
        self._instance(request.initiator, request.initiator_port)
        added = self._connection(request.portal, len(session.connections) + 1)
        self._change(session, (*session.connections, added))
        return api.ConnectionAdded(connection_id=added.connection_id)

    def _removeconnection(self, request: api.RemoveConnection) -> api.Answer:
        session = self._session(request.session_id)
        kept = tuple(each for each in session.connections if each.connection_id != request.connection_id)
        if len(kept) == len(session.connections):
            raise Refused(StatusCode.INVALID_CONNECTION_ID, "the session has no such connection")
        if not kept:
            raise Refused(StatusCode.CANT_REMOVE_LAST_CONNECTION, "log the session out")
        self._change(session, kept)
        return done()

    def _sessionlist(self, request: api.SessionList) -> api.Sessions:
        return api.Sessions(sessions=tuple(self.sessions))

    def _scsi(self, lun: int) -> None:
        if lun not in LUNS:
            failure = api.Failure(
                status=StatusCode.SCSI_REQUEST_FAILED, message="the target refused it", scsi_status=2, sense=SENSE
            )
            raise api.RequestFailed(failure)

    def _scsiinquiry(self, request: api.ScsiInquiry) -> api.ScsiData:
        self._session(request.session_id)
        self._scsi(request.lun)
        data = b"\0\x83\0\x0c\1\3\0\x08\x50\0\0\0\0\0\0\1" if request.evpd_cmddt & 1 else INQUIRY
        return api.ScsiData(data=data[: request.length])

    def _readcapacity(self, request: api.ReadCapacity) -> api.Capacity:
        self._session(request.session_id)
        self._scsi(request.lun)
        return api.Capacity(last_block=131071, block_length=512)

    def _reportluns(self, request: api.ReportLUNs) -> api.Luns:
        self._session(request.session_id)
        return api.Luns(luns=LUNS)

    def _reporttargetmappings(self, request: api.ReportTargetMappings) -> api.TargetMappings:
        return api.TargetMappings(
            sessions=tuple(
                api.MappedSession(
                    session_id=each.session_id,
                    target_name=each.target_name,
                    initiator=each.initiator,
                    scsi_device="scsi3",
                    mappings=self.mapped[each.session_id],
                )
                for each in self.sessions
                if self.mapped[each.session_id]
            )
        )

    # Secrets

    def _chapsecret(self, request: api.CHAPSecret) -> api.Answer:
        return done(request.secret)

    def _tunneladdr(self, request: api.TunnelAddr) -> api.Answer:
        self._instance(request.initiator, request.initiator_port)
        if request.destination in self.tunnels:
            raise Refused(StatusCode.TARGET_ADDRESS_ALREADY_EXISTS, request.destination)
        self.tunnels.add(request.destination)
        return done()

    def _groupkey(self, request: api.GroupKey) -> api.Answer:
        return done()

    def _pskey(self, request: api.PSKey) -> api.Answer:
        if request.id_type not in set(IdType):
            raise Refused(StatusCode.IKE_ID_PAYLOAD_TYPE_NOT_SUPPORTED, f"type {request.id_type}")
        self.keys[request.id_type, request.id] = request
        return done()

    def _getpskey(self, request: api.GetPSKey) -> api.PresharedKeyInfo:
        key = self.keys.get((request.id_type, request.id))
        if key is None:
            raise Refused(StatusCode.NO_AUTH_INFO_AVAILABLE, "no key is set for that id")
        return api.PresharedKeyInfo(id_type=IdType(key.id_type), id=key.id, security_flags=key.security_flags)

    # Devices and the node

    def _bindpersistentdevices(self, request: api.BindPersistentDevices) -> api.PersistentDevices:
        for each in self.sessions:
            for device in each.devices:
                name = device.interface_name
                self.devices.append(
                    api.PersistentDeviceEntry(
                        path="/mnt/disk", kind="volume", interface_name=name, mounted_at="/mnt/disk"
                    )
                )
        return self._reportpersistentdevices(request)

    def _reportpersistentdevices(self, request: api.Operation[Any]) -> api.PersistentDevices:
        return api.PersistentDevices(devices=tuple(self.devices))

    def _addpersistentdevice(self, request: api.AddPersistentDevice) -> api.Answer:
        if any(each.path == request.path for each in self.devices):
            raise Refused(StatusCode.VOLUME_ALREADY_PERSISTENTLY_BOUND, request.path)
        if not request.path.startswith(("/mnt", "/run")):
            raise Refused(StatusCode.VOLUME_NOT_ISCSI, request.path)
        kind = "device" if request.path.startswith("/run") else "volume"
        self.devices.append(api.PersistentDeviceEntry(path=request.path, kind=kind, interface_name="/run/iscsi/disk1"))
        return done()

    def _removepersistentdevice(self, request: api.RemovePersistentDevice) -> api.Answer:
        kept = [each for each in self.devices if each.path != request.path]
        if kept == self.devices:
            raise Refused(StatusCode.VOLUME_NOT_FOUND, request.path)
        self.devices = kept
        return done()

    def _clearpersistentdevices(self, request: api.ClearPersistentDevices) -> api.Answer:
        self.devices.clear()
        return done()

    def _listinitiators(self, request: api.ListInitiators) -> api.Initiators:
        return api.Initiators(initiators=INSTANCES)

    def _nodename(self, request: api.NodeName) -> api.NodeNameSet:
        if self.sessions:
            raise Refused(StatusCode.CONNECTION_ALREADY_EXISTS, "sessions are open under the name that there is")
        self.node = request.node_name
        return api.NodeNameSet(node_name=self.node or NODE, fixed=self.node is not None)

    def _versioninfo(self, request: api.VersionInfo) -> api.Versions:
        return api.Versions(files=(api.FileVersion(name="iscsi_initiator", version="0.1.0"),))
