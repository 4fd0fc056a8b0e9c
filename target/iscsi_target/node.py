"""A target node at work: its configuration, its device server, and the negotiation settings that follow from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from iscsi_protocol.negotiation.keys import Role, SessionType
from iscsi_protocol.negotiation.settings import check_settings
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.sense import illegal_request
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.text import NumberError, parse_number
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.config import ConfigError, TargetConfig, TargetNode
from iscsi_target.nexus import AbortTasks, Nexus
from iscsi_target.task_set import TaskSets

DEFAULT_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "HeaderDigest": "CRC32C,None",
        "DataDigest": "CRC32C,None",
        "MaxRecvDataSegmentLength": "262144",
        "MaxBurstLength": "1048576",
        "FirstBurstLength": "262144",
        "InitialR2T": "No",
        "ImmediateData": "Yes",
        "MaxOutstandingR2T": "8",
        "DataPDUInOrder": "No",
        "DataSequenceInOrder": "No",
        "TaskReporting": "RFC3720,ResponseFence,FastAbort",
        "iSCSIProtocolLevel": "2",
        "MaxConnections": "4",
        "ErrorRecoveryLevel": "2",
    }
)
"""What every node wants unless its configuration says otherwise; keys that are left out stay at the standard's defaults."""

OFFERED = MappingProxyType({"MaxConnections": 65535, "ErrorRecoveryLevel": 2, "iSCSIProtocolLevel": 2})
"""The most that this engine does; a configuration that asks for more is refused."""


class ScsiDevice(Protocol):
    """What the engine asks of the device server of one node. None of these raise for any bytes of the initiator's.

    `data_out` belongs to the caller and is good only until `execute` returns.
    """

    def data_out_length(self, lun: bytes, cdb: bytes) -> int:
        """Bytes that the CDB wants from the initiator, 0 for none."""

    def length_refusal(self, nexus: Nexus, lun: bytes, cdb: bytes, expected: int) -> Completion | None:
        """How a command ends for which the initiator announced `expected` bytes, not those of `data_out_length`; None
        where it is carried out with a residual.
        """

    def execute(self, nexus: Nexus, lun: bytes, cdb: bytes, data_out: Buffer) -> Completion | Work:
        """Run one command."""

    def attach(self, abort: AbortTasks) -> None:
        """Whom to call, while a command is executed, to have all other tasks of a nexus at a LUN (None: at all) ended, and by
        which nexus.
        """

    def reset_lun(self, lun: bytes, by: Nexus | None) -> None:
        """LOGICAL UNIT RESET."""

    def reset_target(self, by: Nexus | None) -> None:
        """All logical units at once."""

    def power_on(self) -> None:
        """All sessions are about to end as with the power."""

    def nexus_made(self, nexus: Nexus) -> None:
        """A session begins."""

    def nexus_lost(self, nexus: Nexus) -> None:
        """A session ended: I_T nexus loss (RFC 7143 6.3.5.1)."""

    def has_lun(self, lun: bytes, nexus: Nexus) -> bool:
        """Whether the LUN field names a logical unit that this initiator sees."""

    def establish_attention(self, nexus: Nexus, lun: bytes, code: AdditionalSense) -> None:
        """A unit attention condition for one I_T_L nexus (SAM-5 5.14)."""

    def pending_attentions(self, nexus: Nexus, lun: bytes) -> Sequence[AdditionalSense]:
        """The unit attention conditions of an I_T_L nexus, the next one first."""

    def task_aborted_status(self, lun: bytes) -> bool:
        """Whether commands ended by another nexus are answered with TASK ABORTED (TAS, SPC-4 7.5.8)."""


class NoDevice:
    """The device server of a session that has none: no logical unit is there (SAM-5 4.7)."""

    def data_out_length(self, lun: bytes, cdb: bytes) -> int:
        """Nothing is wanted."""
        return 0

    def length_refusal(self, nexus: Nexus, lun: bytes, cdb: bytes, expected: int) -> Completion | None:
        """It is refused for another reason."""
        return None

    def execute(self, nexus: Nexus, lun: bytes, cdb: bytes, data_out: Buffer) -> Completion | Work:
        """CHECK CONDITION: LOGICAL UNIT NOT SUPPORTED."""
        return Completion(Status.CHECK_CONDITION, sense=_NO_UNIT)

    def attach(self, abort: AbortTasks) -> None:
        """There are no tasks."""

    def reset_lun(self, lun: bytes, by: Nexus | None) -> None:
        """There is nothing to reset."""

    def reset_target(self, by: Nexus | None) -> None:
        """There is nothing to reset."""

    def power_on(self) -> None:
        """Nobody takes notice."""

    def nexus_made(self, nexus: Nexus) -> None:
        """Nobody takes notice."""

    def nexus_lost(self, nexus: Nexus) -> None:
        """Nobody takes notice."""

    def has_lun(self, lun: bytes, nexus: Nexus) -> bool:
        """There is none."""
        return False

    def establish_attention(self, nexus: Nexus, lun: bytes, code: AdditionalSense) -> None:
        """There is no logical unit to attend to."""

    def pending_attentions(self, nexus: Nexus, lun: bytes) -> Sequence[AdditionalSense]:
        """None."""
        return ()

    def task_aborted_status(self, lun: bytes) -> bool:
        """Nothing is told."""
        return False


NO_DEVICE = NoDevice()
_NO_UNIT = illegal_request(AdditionalSense.LOGICAL_UNIT_NOT_SUPPORTED).build()


class Node:
    """One target node."""

    def __init__(self, config: TargetNode, device: ScsiDevice) -> None:
        self.config = config
        self.device = device
        self.task_sets = TaskSets(config)

    @property
    def name(self) -> str:
        """The iSCSI name."""
        return self.config.name

    def behind(self, portal_group_tag: int) -> bool:
        """Whether the node is reached through that portal group."""
        groups = self.config.portal_groups
        return groups is None or portal_group_tag in groups

    def admits(self, initiator_name: str) -> bool:
        """Whether the access list lets this initiator log in."""
        access = self.config.access
        return access is None or initiator_name in access or "*" in access


def settings_for(config: TargetConfig, node: TargetNode | None, portal_group_tag: int) -> dict[str, str]:
    """The keys that a login negotiates with, for a node or for unnamed discovery (None).

    A MaxBurstLength that is configured alone takes the default FirstBurstLength down with it (13.14).
    """
    configured = {**config.keys, **(node.keys if node else {})}
    settings = {**DEFAULT_KEYS, **configured}
    if "MaxBurstLength" in configured and "FirstBurstLength" not in configured:
        lengths = (settings["MaxBurstLength"], settings["FirstBurstLength"])
        settings["FirstBurstLength"] = min(lengths, key=parse_number)
    if node is not None and node.alias:
        settings["TargetAlias"] = node.alias
    settings["TargetPortalGroupTag"] = str(portal_group_tag)
    for key in node.keys_left_out if node is not None else ():
        settings.pop(key, None)
    return settings


def check_offered(config: TargetConfig) -> None:
    """Raise ConfigError where the configuration asks for more than this engine does (`OFFERED`)."""
    tables = [("keys", config.keys), *((f"keys of {node.name}", node.keys) for node in config.targets)]
    for where, keys in tables:
        for key, most in OFFERED.items():
            try:
                wanted = parse_number(keys.get(key, "0"))
            except NumberError as error:
                raise ConfigError(f"{where}: {key}: {error}") from error
            if wanted > most:
                raise ConfigError(f"{where}: {key}={wanted} is more than is offered, which is {most}")
    for node in (None, *config.targets):
        where = f"keys of {node.name}" if node else "keys"
        try:
            proposed = node.keys_proposed if node is not None else ()
            check_settings(Role.TARGET, settings_for(config, node, 1), SessionType.NORMAL, proposed)
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from error
