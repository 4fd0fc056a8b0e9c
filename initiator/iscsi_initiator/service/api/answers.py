"""What the service answers. Every answer has the status code; a warning code comes with the whole answer, an error code with
a `Failure` in its place.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from msgspec import Struct

from iscsi_initiator.service.api.values import LoginOptions
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import IdType, LunMapping, Portal


class _Part(Struct, frozen=True, kw_only=True):
    """Answers of a later service may have more fields: those are passed over."""


class Answer(_Part, frozen=True, kw_only=True):
    """A request was done. status: 0 or a warning code; message: what the warning is about, one line."""

    status: int = 0
    message: str = ""


class Stream(Protocol):
    """Answers that come one after the other, until it is closed."""

    def __aiter__(self) -> AsyncIterator[Answer]:
        """Each as it comes."""

    def close(self) -> None:
        """Want no more of them."""


class Failure(_Part, frozen=True, kw_only=True):
    """A request was not done. status: an error code; message: why, one line.

    needed: for BUFFER_TOO_SMALL the bytes that the answer has. scsi_status, sense: for SCSI_REQUEST_FAILED.
    """

    status: int
    message: str = ""
    needed: int | None = None
    scsi_status: int | None = None
    sense: bytes = b""


class RequestFailed(Refused):
    """Refused with all that is told about it: raised by handlers that know more than a reason, and by clients."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(StatusCode(failure.status), failure.message)
        self.failure = failure


class TargetNames(Answer, frozen=True, kw_only=True):
    """ListTargets: each name once, sorted."""

    targets: tuple[str, ...] = ()


class PortalGroup(_Part, frozen=True, kw_only=True):
    """tag: the target portal group tag, None where discovery does not tell it."""

    tag: int | None = None
    portals: tuple[Portal, ...] = ()


class TargetInstance(_Part, frozen=True, kw_only=True):
    """A target as one mechanism found it. initiator: the instance that found it, None for none in particular.

    target_flags: of TargetFlag. options: never with a password; password_stored tells whether there is one.
    """

    discovery_mechanism: str
    target_name: str
    target_alias: str | None = None
    initiator: str | None = None
    target_flags: int = 0
    persistent: bool = False
    portal_groups: tuple[PortalGroup, ...] = ()
    options: LoginOptions = LoginOptions()
    password_stored: bool = False
    mappings: tuple[LunMapping, ...] = ()


class TargetInformation(Answer, frozen=True, kw_only=True):
    """TargetInfo: discovery_mechanisms, in the order of their priority; target where a mechanism was asked for."""

    discovery_mechanisms: tuple[str, ...] = ()
    target: TargetInstance | None = None


class TargetPortalEntry(_Part, frozen=True, kw_only=True):
    """A portal that SendTargets asks; see LoginOptions about None."""

    portal: Portal
    initiator: str | None = None
    initiator_port: int | None = None
    security_flags: int = 0
    options: LoginOptions = LoginOptions()
    password_stored: bool = False


class TargetPortals(Answer, frozen=True, kw_only=True):
    """ListTargetPortals."""

    portals: tuple[TargetPortalEntry, ...] = ()


class ISNSServers(Answer, frozen=True, kw_only=True):
    """ListiSNSServers: addresses and names, as they were added."""

    servers: tuple[str, ...] = ()


class LoggedIn(Answer, frozen=True, kw_only=True):
    """LoginTarget."""

    session_id: str
    connection_id: str


class ConnectionAdded(Answer, frozen=True, kw_only=True):
    """AddConnection."""

    connection_id: str


class PersistentLoginEntry(_Part, frozen=True, kw_only=True):
    """A login that is made at each start. name: TargetName#N; portal: None for any."""

    name: str
    target_name: str
    report_to_pnp: bool = True
    portal: Portal | None = None
    initiator: str | None = None
    initiator_port: int | None = None
    security_flags: int = 0
    options: LoginOptions = LoginOptions()
    password_stored: bool = False
    mappings: tuple[LunMapping, ...] = ()


class PersistentLogins(Answer, frozen=True, kw_only=True):
    """ListPersistentTargets."""

    logins: tuple[PersistentLoginEntry, ...] = ()


class ScsiData(Answer, frozen=True, kw_only=True):
    """ScsiInquiry: the data as the LUN sent it."""

    scsi_status: int = 0
    data: bytes = b""


class Capacity(Answer, frozen=True, kw_only=True):
    """ReadCapacity: the last block's address and the bytes of a block."""

    last_block: int
    block_length: int


class Luns(Answer, frozen=True, kw_only=True):
    """ReportLUNs: LUN structures as numbers, big-endian, in the target's order."""

    luns: tuple[int, ...] = ()


class MappedSession(_Part, frozen=True, kw_only=True):
    """The mappings of one session. scsi_device: the host's name of the adapter, such as scsi3."""

    session_id: str
    target_name: str
    initiator: str
    scsi_device: str = ""
    mappings: tuple[LunMapping, ...] = ()


class TargetMappings(Answer, frozen=True, kw_only=True):
    """ReportTargetMappings."""

    sessions: tuple[MappedSession, ...] = ()


class ConnectionEntry(_Part, frozen=True, kw_only=True):
    """A connection of a session. initiator_portal: None while it is not known."""

    connection_id: str
    cid: int
    initiator_portal: Portal | None = None
    target_portal: Portal


class DeviceEntry(_Part, frozen=True, kw_only=True):
    """A LUN that became a device. interface_name: what AddPersistentDevice takes; volume_paths: where it is mounted."""

    device_type: str
    number: int | None = None
    friendly_name: str = ""
    lun: int = 0
    os_bus: int = 0
    os_target: int = 0
    os_lun: int = 0
    interface_name: str = ""
    legacy_name: str = ""
    volume_paths: tuple[str, ...] = ()


class SessionEntry(_Part, frozen=True, kw_only=True):
    """A session. Without connections it is not connected, and is being tried again. isid: 6 bytes."""

    session_id: str
    initiator: str
    initiator_node_name: str
    target_name: str
    isid: bytes
    tsih: int
    reported_to_pnp: bool = True
    connections: tuple[ConnectionEntry, ...] = ()
    devices: tuple[DeviceEntry, ...] = ()


class Sessions(Answer, frozen=True, kw_only=True):
    """SessionList."""

    sessions: tuple[SessionEntry, ...] = ()


class PresharedKeyInfo(Answer, frozen=True, kw_only=True):
    """GetPSKey: what is told about a key; never the key."""

    id_type: IdType
    id: str
    security_flags: int = 0


class PersistentDeviceEntry(_Part, frozen=True, kw_only=True):
    """What the start waits for. kind: volume or device; mounted_at: where a volume is mounted now, else empty."""

    path: str
    kind: str
    interface_name: str = ""
    mounted_at: str = ""


class PersistentDevices(Answer, frozen=True, kw_only=True):
    """ReportPersistentDevices, and what BindPersistentVolumes bound."""

    devices: tuple[PersistentDeviceEntry, ...] = ()


class DevicePathEntry(_Part, frozen=True, kw_only=True):
    """A path of a device. lun: of the device on it; active, weight: as they were set; status: active, standby or failed."""

    session_id: str
    lun: int
    active: bool = True
    weight: int = 0
    status: str = ""


class MultipathDeviceEntry(_Part, frozen=True, kw_only=True):
    """A disk with its paths; those that are gone are not among them. identifier: of the logical unit, by which paths are
    known to lead to it; policy: as of SetLoadBalancePolicy; removed: no path came back in time, and requests fail;
    preempted: another node took the registration of the reservation key away; open_by: who has it open.
    """

    device: str
    number: int
    legacy_name: str
    identifier: str
    target_name: str
    policy: int
    failback: bool = True
    removed: bool = False
    preempted: bool = False
    open_by: tuple[str, ...] = ()
    paths: tuple[DevicePathEntry, ...] = ()


class MultipathDevices(Answer, frozen=True, kw_only=True):
    """DeviceList."""

    devices: tuple[MultipathDeviceEntry, ...] = ()


class AttachedEntry(_Part, frozen=True, kw_only=True):
    """A device that is served. socket, export: where NBD clients find it; size, block_size: bytes; clients: how many there
    are.
    """

    device: str
    legacy_name: str
    identifier: str
    socket: str
    export: str
    size: int
    block_size: int
    read_only: bool = False
    block_device: str | None = None
    clients: int = 0


class Attached(Answer, frozen=True, kw_only=True):
    """Attach."""

    attached: AttachedEntry


class AttachedDevices(Answer, frozen=True, kw_only=True):
    """ListAttached."""

    devices: tuple[AttachedEntry, ...] = ()


class Initiators(Answer, frozen=True, kw_only=True):
    """ListInitiators: names of the initiator instances."""

    initiators: tuple[str, ...] = ()


class NodeNameSet(Answer, frozen=True, kw_only=True):
    """NodeName: the name that is now in use, and whether it stays when the host's name changes."""

    node_name: str
    fixed: bool


class FileVersion(_Part, frozen=True, kw_only=True):
    """A part of the package and its version."""

    name: str
    version: str


class Versions(Answer, frozen=True, kw_only=True):
    """VersionInfo."""

    files: tuple[FileVersion, ...] = ()


class ServiceState(Answer, frozen=True, kw_only=True):
    """ServiceStatus. state: starting, running or stopping; sessions: how many there are; trouble: the code of what went
    wrong last at the start or in the background, 0 for nothing, with the message about it.
    """

    state: str
    pid: int
    node_name: str
    sessions: int = 0
    versions: tuple[FileVersion, ...] = ()
    trouble: int = 0


class TraceEntry(_Part, frozen=True, kw_only=True):
    """How a trace is: first what it was started with, see `StartTrace`. started: seconds since 1970; buffers, free_buffers:
    in memory; buffers_written: to the file so far; messages: that it took; lost: of those, how many do not get into the
    file; file_size: bytes at most; failure: why nothing could be written the last time, else empty.
    """

    name: str
    path: str
    flags: int
    level: int
    minimum_buffers: int
    maximum_buffers: int
    buffer_kib: int
    circular: bool
    maximum_kib: int
    flush_time: float
    started: float
    buffers: int
    free_buffers: int
    buffers_written: int
    messages: int
    lost: int
    file_size: int
    failure: str = ""


class TraceAnswer(Answer, frozen=True, kw_only=True):
    """StartTrace and StopTrace: how the trace is then."""

    trace: TraceEntry


class TraceList(Answer, frozen=True, kw_only=True):
    """QueryTrace."""

    traces: tuple[TraceEntry, ...] = ()


def failure_of(error: Refused) -> Failure:
    """What is told about a refusal."""
    if isinstance(error, RequestFailed):
        return error.failure
    return Failure(status=error.status, message=error.reason)
