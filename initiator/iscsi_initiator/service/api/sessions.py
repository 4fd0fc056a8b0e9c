"""Requests about logins, sessions, their connections, and the SCSI commands that may be sent through them."""

from __future__ import annotations

from typing import TypeVar

from iscsi_initiator.service.api.answers import (
    Answer,
    Capacity,
    ConnectionAdded,
    LoggedIn,
    Luns,
    PersistentLogins,
    ScsiData,
    Sessions,
    TargetMappings,
)
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.values import (
    NO_OPTIONS,
    LoginOptions,
    check_flags,
    check_initiator,
    check_key,
    check_mappings,
    check_portal,
    check_ranges,
    node_name,
    persistent_name,
    set_field,
    unique_id,
)
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.state import LunMapping, Portal, SecurityFlag

DEFAULT_INQUIRY_LENGTH = 0xFF

A_co = TypeVar("A_co", bound=Answer, covariant=True)


class _Login(Operation[A_co], frozen=True, kw_only=True):
    """What both kinds of login take. report_to_pnp: whether the LUNs become devices; if not, they take INQUIRY, REPORT LUNS
    and READ CAPACITY alone, by way of the service.

    portal: None for one that discovery found. key: the IPsec preshared key. security_flags: of SecurityFlag.
    """

    secret_fields = frozenset({"key"})

    target_name: str
    report_to_pnp: bool = True
    portal: Portal | None = None
    initiator: str | None = None
    initiator_port: int | None = None
    security_flags: int = 0
    options: LoginOptions = NO_OPTIONS
    key: bytes | None = None
    mappings: tuple[LunMapping, ...] = ()

    def check(self) -> None:
        set_field(self, "target_name", node_name(self.target_name))
        check_portal(self.portal)
        check_initiator(self.initiator, self.initiator_port)
        check_flags(self.security_flags, SecurityFlag, "security flags")
        check_key(self.key)
        check_mappings(self.mappings)


class LoginTarget(_Login[LoggedIn], frozen=True, kw_only=True):
    """Log in to a target now."""


class PersistentLoginTarget(_Login[Answer], frozen=True, kw_only=True):
    """Log in to a target at each start, and not now. A target may have several such logins."""


class LogoutTarget(Operation[Answer], frozen=True, kw_only=True):
    """End a session; refused while a device of it is in use."""

    session_id: str

    def check(self) -> None:
        set_field(self, "session_id", unique_id(self.session_id, StatusCode.INVALID_SESSION_ID))


class ListPersistentTargets(Operation[PersistentLogins], frozen=True, kw_only=True):
    """The logins that are made at each start."""


class RemovePersistentTarget(Operation[Answer], frozen=True, kw_only=True):
    """Make a login no more. target_name: with #N for one of several; None elsewhere: whatever it has there."""

    target_name: str
    initiator: str | None = None
    initiator_port: int | None = None
    portal: Portal | None = None

    def check(self) -> None:
        set_field(self, "target_name", persistent_name(self.target_name))
        check_initiator(self.initiator, self.initiator_port)
        check_portal(self.portal)


class _SessionOperation(Operation[A_co], frozen=True, kw_only=True):
    session_id: str

    def check(self) -> None:
        set_field(self, "session_id", unique_id(self.session_id, StatusCode.INVALID_SESSION_ID))


class AddConnection(_SessionOperation[ConnectionAdded], frozen=True, kw_only=True):
    """Add a connection to a session. The fields are those of a login."""

    secret_fields = frozenset({"key"})

    initiator: str | None = None
    initiator_port: int | None = None
    portal: Portal | None = None
    security_flags: int = 0
    options: LoginOptions = NO_OPTIONS
    key: bytes | None = None

    def check(self) -> None:
        super().check()
        check_initiator(self.initiator, self.initiator_port)
        check_portal(self.portal)
        check_flags(self.security_flags, SecurityFlag, "security flags")
        check_key(self.key)


class RemoveConnection(_SessionOperation[Answer], frozen=True, kw_only=True):
    """Log one connection of a session out; the last one stays."""

    connection_id: str

    def check(self) -> None:
        super().check()
        set_field(self, "connection_id", unique_id(self.connection_id, StatusCode.INVALID_CONNECTION_ID))


class _LunOperation(_SessionOperation[A_co], frozen=True, kw_only=True):
    """lun: the 8 bytes of the LUN structure as a number, big-endian."""

    lun: int

    def check(self) -> None:
        super().check()
        check_ranges(self, "lun")


class ScsiInquiry(_LunOperation[ScsiData], frozen=True, kw_only=True):
    """INQUIRY. evpd_cmddt: bit 0 is EVPD, bit 1 the obsolete CmdDt; length: the allocation length in bytes."""

    evpd_cmddt: int = 0
    page_code: int = 0
    length: int = DEFAULT_INQUIRY_LENGTH

    def check(self) -> None:
        super().check()
        check_ranges(self, "evpd_cmddt", "page_code", "length")


class ReadCapacity(_LunOperation[Capacity], frozen=True, kw_only=True):
    """READ CAPACITY; the sixteen-byte form where the short one does not hold the answer."""


class ReportLUNs(_SessionOperation[Luns], frozen=True, kw_only=True):
    """REPORT LUNS."""


class ReportTargetMappings(Operation[TargetMappings], frozen=True, kw_only=True):
    """Where the LUNs of all sessions appear."""


class SessionList(Operation[Sessions], frozen=True, kw_only=True):
    """The sessions of all initiators, also those that are being tried again."""
