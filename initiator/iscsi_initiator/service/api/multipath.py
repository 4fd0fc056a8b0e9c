"""Requests about devices with several paths, and about what serves them to other programs. No command of Appendix C does
this: the guide has it in the device's MPIO page ("Configuring Microsoft MPIO"), and as disks of the host.
"""

from __future__ import annotations

from msgspec import Struct

from iscsi_initiator.service.api.answers import Answer, Attached, AttachedDevices, MultipathDevices
from iscsi_initiator.service.api.balance import MAX_WEIGHT
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.values import check_range, check_text, set_field, unique_id
from iscsi_initiator.status_codes import Refused, StatusCode

MAX_EXPORT = 255
"""Bytes of an export's name, which is the last part of a URI."""


class DeviceList(Operation[MultipathDevices], frozen=True, kw_only=True):
    """The disks of all sessions, each once, with its paths."""


class DevicePath(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A session as a path. active: not a standby, where the policy tells them apart; weight: the lower the sooner."""

    session_id: str
    active: bool = True
    weight: int = 0

    def __post_init__(self) -> None:
        set_field(self, "session_id", unique_id(self.session_id, StatusCode.INVALID_PATH_ID))
        check_range(self.weight, 0, MAX_WEIGHT, "a path's weight", StatusCode.INVALID_PARAMETER)


class _DeviceOperation(Operation[Answer], frozen=True, kw_only=True):
    """device: the interface name, or PhysicalDrive and the number."""

    device: str

    def check(self) -> None:
        check_text(self.device, "the name of a device")


class SetDevicePolicy(_DeviceOperation, frozen=True, kw_only=True):
    """policy: as of SetLoadBalancePolicy, but no Least Queue Depth; None to leave it. paths: every path of the device once;
    none at all for all alike. failback: whether a path that was active is so again when it is back; None to leave it.
    """

    policy: int | None = None
    paths: tuple[DevicePath, ...] = ()
    failback: bool | None = None

    def check(self) -> None:
        check_text(self.device, "the name of a device")
        if self.policy is None and self.paths:
            raise Refused(StatusCode.INVALID_PARAMETER, "paths are set together with their policy")


class Attach(Operation[Attached], frozen=True, kw_only=True):
    """Serve a device as an NBD export. export: its name, the LUN unless said; read_only: take no writes; block_device: of
    this host, such as /dev/nbd0, that serves it in turn, so that volumes on it are known to be the device's.
    """

    device: str
    export: str | None = None
    read_only: bool = False
    block_device: str | None = None

    def check(self) -> None:
        check_text(self.device, "the name of a device")
        check_text(self.block_device, "the path of a block device")
        check_text(self.export, "the name of an export")
        if self.export is not None and len(self.export.encode()) > MAX_EXPORT:
            raise Refused(StatusCode.INVALID_PARAMETER, f"the name of an export has at most {MAX_EXPORT} bytes")


class Detach(_DeviceOperation, frozen=True, kw_only=True):
    """Serve a device no more. force: also where it has clients."""

    force: bool = False


class ListAttached(Operation[AttachedDevices], frozen=True, kw_only=True):
    """What is served."""
