"""Requests about targets: those that are configured by hand, and what is known of all."""

from __future__ import annotations

from iscsi_initiator.service.api.answers import Answer, TargetInformation, TargetNames
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.values import (
    NO_OPTIONS,
    LoginOptions,
    check_flags,
    check_mappings,
    check_portal,
    check_text,
    node_name,
    set_field,
)
from iscsi_initiator.store.state import LunMapping, Portal, TargetFlag


class AddTarget(Operation[Answer], frozen=True, kw_only=True):
    """Configure a target by hand. portal: None where discovery is to tell it. target_flags: of TargetFlag.

    persist: whether it is there after the service was restarted. mappings: same OS bus and target, different LUNs.
    """

    target_name: str
    target_alias: str | None = None
    portal: Portal | None = None
    target_flags: int = 0
    persist: bool = True
    options: LoginOptions = NO_OPTIONS
    mappings: tuple[LunMapping, ...] = ()

    def check(self) -> None:
        set_field(self, "target_name", node_name(self.target_name))
        check_text(self.target_alias, "an alias")
        check_portal(self.portal)
        check_flags(self.target_flags, TargetFlag, "target flags")
        check_mappings(self.mappings)


class RemoveTarget(Operation[Answer], frozen=True, kw_only=True):
    """Forget a target that was configured by hand."""

    target_name: str

    def check(self) -> None:
        set_field(self, "target_name", node_name(self.target_name))


class ListTargets(Operation[TargetNames], frozen=True, kw_only=True):
    """The targets that are known. update: ask every discovery mechanism first; where some of them fail the answer has the
    warning OPERATION_NOT_ALL_SUCCESS.
    """

    update: bool = False


class TargetInfo(Operation[TargetInformation], frozen=True, kw_only=True):
    """By what a target was found, and, for one of those mechanisms, what it told."""

    target_name: str
    discovery_mechanism: str | None = None

    def check(self) -> None:
        set_field(self, "target_name", node_name(self.target_name))
        check_text(self.discovery_mechanism, "a discovery mechanism")
