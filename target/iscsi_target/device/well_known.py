"""The well known logical unit REPORT LUNS, C101h (SPC-4 9.2; SAM-5 4.7.7.5.1): it is there for whoever may log in.

It has no medium, no mode parameters and no unit attentions of its own, and takes the commands that SPC-4 demands of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.command import Command
from iscsi_protocol.scsi.designators import device_identification
from iscsi_protocol.scsi.inquiry import PeripheralDeviceType, StandardInquiry, VersionDescriptor, version_descriptors
from iscsi_protocol.scsi.sense import Sense, illegal_request
from iscsi_protocol.scsi.vpd import VpdCode, supported_pages
from iscsi_target.completion import Buffer, Completion
from iscsi_target.config import TargetNode
from iscsi_target.device.answer import GOOD, CheckCondition, data_in, invalid_field
from iscsi_target.device.identity import device_designator, port_designators
from iscsi_target.device.inquiry import iscsi_version
from iscsi_target.device.port_groups import PortGroups
from iscsi_target.device.report import luns_of, sense_data, shown_luns
from iscsi_target.nexus import Nexus

_NOTHING_TO_SAY = Sense(key=0)
_TYPE = PeripheralDeviceType.WELL_KNOWN
_NACA = 0x04


class ReportLunsUnit:
    """The unit of one node."""

    def __init__(self, node: TargetNode, port_groups: PortGroups) -> None:
        self._node = node
        self._port_groups = port_groups
        self._commands: Mapping[int, tuple[Command, Callable[[Nexus, Buffer], Completion]]] = {
            op.INQUIRY.opcode: (op.INQUIRY, self._inquiry),
            op.REPORT_LUNS.opcode: (op.REPORT_LUNS, self._luns),
            op.TEST_UNIT_READY.opcode: (op.TEST_UNIT_READY, lambda _nexus, _cdb: GOOD),
            op.REQUEST_SENSE.opcode: (op.REQUEST_SENSE, lambda _nexus, cdb: sense_data(_NOTHING_TO_SAY, cdb)),
        }
        self._pages: Mapping[int, Callable[[Nexus], bytes]] = {
            VpdCode.SUPPORTED_PAGES: lambda _: supported_pages((VpdCode.DEVICE_IDENTIFICATION,), _TYPE).build(),
            VpdCode.DEVICE_IDENTIFICATION: self._device_identification,
        }

    def execute(self, nexus: Nexus, cdb: Buffer) -> Completion:
        """Carry out a command. Raises CheckCondition."""
        if cdb[0] not in self._commands:
            raise CheckCondition(illegal_request(AdditionalSense.INVALID_COMMAND_OPERATION_CODE, 0))
        command, handler = self._commands[cdb[0]]
        if len(cdb) < command.length:
            raise CheckCondition(illegal_request(AdditionalSense.INVALID_FIELD_IN_CDB))
        if cdb[command.length - 1] & _NACA:
            raise invalid_field(command.length - 1, 2)
        return handler(nexus, cdb)

    def _luns(self, nexus: Nexus, cdb: Buffer) -> Completion:
        return luns_of(shown_luns(self._node, nexus.initiator_name), cdb)

    def _inquiry(self, nexus: Nexus, cdb: Buffer) -> Completion:
        fields = op.INQUIRY.parse(cdb)
        page_code = fields["page_code"]
        if fields["cmddt"]:
            raise invalid_field(1, 1)
        if fields["evpd"] and page_code in self._pages:
            return data_in(self._pages[page_code](nexus), fields["allocation_length"])
        if page_code or fields["evpd"]:
            raise invalid_field(2, 7)
        standard = StandardInquiry(
            peripheral_device_type=_TYPE,
            target_port_group_support=self._port_groups.management,
            vendor="ISCSICNF",
            product="REPORT LUNS",
            revision="0001",
            versions=version_descriptors(VersionDescriptor.SAM_5, iscsi_version(nexus), VersionDescriptor.SPC_4),
        )
        return data_in(standard.build(), fields["allocation_length"])

    def _device_identification(self, nexus: Nexus) -> bytes:
        name, tag = self._node.name, nexus.target_portal_group_tag
        port = port_designators(name, tag, self._port_groups.number_of(tag))
        return device_identification([*port, device_designator(name)], _TYPE).build()
