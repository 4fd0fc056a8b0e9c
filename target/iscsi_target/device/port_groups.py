"""Target port groups and their asymmetric access states (SPC-4 5.15, 6.37, 6.45).

Portal groups are the target ports. Groups and states are the node's, for all its logical units alike. Without
configuration every port is a group of its own, active and optimized.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.command import Command
from iscsi_protocol.scsi.sense import Sense
from iscsi_protocol.scsi.target_ports import (
    AccessState,
    DataFormat,
    GroupDescriptor,
    GroupSetting,
    GroupStatus,
    build_groups,
    parse_settings,
)
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.config import TargetNode
from iscsi_target.device.answer import (
    GOOD,
    MAX_PARAMETER_LIST,
    check,
    data_in,
    invalid_field,
    invalid_parameter,
    parameter_list,
)
from iscsi_target.state import StateStore

if TYPE_CHECKING:
    from iscsi_target.device.unit import ItlNexus

IMPLICIT, EXPLICIT = 1, 2
"""Bits of TPGS in standard INQUIRY data."""

MANAGEMENT: Mapping[str, int] = MappingProxyType(
    {"none": 0, "implicit": IMPLICIT, "explicit": EXPLICIT, "both": IMPLICIT | EXPLICIT}
)
STATES: Mapping[str, AccessState] = MappingProxyType(
    {
        "active/optimized": AccessState.ACTIVE_OPTIMIZED,
        "active/non-optimized": AccessState.ACTIVE_NON_OPTIMIZED,
        "standby": AccessState.STANDBY,
        "unavailable": AccessState.UNAVAILABLE,
        "transitioning": AccessState.TRANSITIONING,
    }
)
_SETTABLE = frozenset(STATES.values()) - {AccessState.TRANSITIONING}
_STORABLE = frozenset(STATES.values())
_SUBJECT = "target port groups"
_NODE = -1
"""In place of a LUN, for what belongs to the whole node."""

_TRANSITIONING = frozenset({op.INQUIRY, op.REPORT_LUNS, op.REPORT_TARGET_PORT_GROUPS, op.REQUEST_SENSE})
_UNAVAILABLE = _TRANSITIONING | {op.SET_TARGET_PORT_GROUPS}
_STANDBY = _UNAVAILABLE | {
    op.LOG_SELECT,
    op.LOG_SENSE,
    op.MODE_SELECT_6,
    op.MODE_SELECT_10,
    op.MODE_SENSE_6,
    op.MODE_SENSE_10,
    op.RECEIVE_DIAGNOSTIC_RESULTS,
    op.SEND_DIAGNOSTIC,
    *(each for each in op.COMMANDS if each.opcode in (0x5E, 0x5F)),
}


def _not_accessible(code: AdditionalSense) -> Sense:
    return Sense(key=SenseKey.NOT_READY, code=code)


_REFUSALS: Mapping[int, tuple[Sense, frozenset[Command]]] = {
    AccessState.STANDBY: (
        _not_accessible(AdditionalSense.LOGICAL_UNIT_NOT_ACCESSIBLE_TARGET_PORT_IN_STANDBY_STATE),
        _STANDBY,
    ),
    AccessState.UNAVAILABLE: (
        _not_accessible(AdditionalSense.LOGICAL_UNIT_NOT_ACCESSIBLE_TARGET_PORT_IN_UNAVAILABLE_STATE),
        _UNAVAILABLE,
    ),
    AccessState.TRANSITIONING: (
        _not_accessible(AdditionalSense.LOGICAL_UNIT_NOT_ACCESSIBLE_ASYMMETRIC_ACCESS_STATE_TRANSITION),
        _TRANSITIONING,
    ),
}
_LET_THROUGH: Mapping[int, frozenset[Command]] = {sense.code: commands for sense, commands in _REFUSALS.values()}


def lets_through(inaccessible: Sense, command: Command) -> bool:
    """Whether a command is carried out by a port whose state means this sense data (SPC-4 5.15.2.4)."""
    return command in _LET_THROUGH[inaccessible.code]


class PortGroup:
    """One target port group: its ports (portal group tags), its state, and why it is in it."""

    def __init__(self, number: int, ports: Sequence[int], state: int, *, preferred: bool = False) -> None:
        self.number = number
        self.ports = tuple(ports)
        self.state = state
        self.preferred = preferred
        self.status = GroupStatus.NOTHING_TO_REPORT

    def descriptor(self) -> GroupDescriptor:
        """What REPORT TARGET PORT GROUPS says of it."""
        return GroupDescriptor(
            preferred=self.preferred,
            state=self.state,
            transitioning_supported=True,
            unavailable_supported=True,
            standby_supported=True,
            active_non_optimized_supported=True,
            active_optimized_supported=True,
            group=self.number,
            status=self.status,
        )


class PortGroups:
    """The groups of a node, which `ports` (portal group tags) fall into. States that the store knows are taken up again.

    Raises ConfigError, which names the state file, for states that cannot have been kept.
    """

    def __init__(self, node: TargetNode, ports: Sequence[int], store: StateStore) -> None:
        self.management = MANAGEMENT[node.port_group_management]
        self._name = node.name
        self._store = store
        self._groups: dict[int, PortGroup] = {}
        for number, config in sorted(node.port_groups.items()):
            self._groups[number] = PortGroup(number, config.ports, STATES[config.state], preferred=config.preferred)
        grouped = {port for group in self._groups.values() for port in group.ports}
        for port in ports:
            if port not in grouped and port not in self._groups:
                self._groups[port] = PortGroup(port, (port,), AccessState.ACTIVE_OPTIMIZED)
        self._of_port = {port: group for group in self._groups.values() for port in group.ports}
        for number, state in (store.read(node.name, _NODE, _SUBJECT, dict[int, int]) or {}).items():
            if state not in _STORABLE:
                raise store.damaged(node.name, _NODE, _SUBJECT, f"group {number} cannot be in state {state}")
            if number in self._groups and state in _SETTABLE:
                self._groups[number].state = state

    @property
    def implicit(self) -> bool:
        """Whether the target itself may change states."""
        return bool(self.management & IMPLICIT)

    @property
    def explicit(self) -> bool:
        """Whether initiators may set states."""
        return bool(self.management & EXPLICIT)

    def number_of(self, port: int) -> int:
        """The group of a port."""
        group = self._of_port.get(port)
        return port if group is None else group.number

    def refusal(self, port: int) -> Sense | None:
        """What commands find at a port that is not active; None where it is."""
        group = self._of_port.get(port)
        refusal = None if group is None else _REFUSALS.get(group.state)
        return None if refusal is None else refusal[0]

    def change(self, number: int, state: AccessState, status: GroupStatus) -> bool:
        """Let a group have a state; whether that is another than before. Raises KeyError for a group that is not there."""
        group = self._groups[number]
        group.status = status
        changed, group.state = group.state != state, state
        return changed

    def report(self, data_format: int) -> bytes:
        """Parameter data of REPORT TARGET PORT GROUPS."""
        return build_groups(((each.descriptor(), each.ports) for each in self._groups.values()), data_format)

    def check_settings(self, settings: Sequence[GroupSetting]) -> None:
        """Refuse what cannot be set. Raises CheckCondition."""
        for place, setting in enumerate(settings):
            at = 4 + GroupSetting.LENGTH * place
            if setting.state not in _SETTABLE:
                raise invalid_parameter(at, 3)
            if setting.group not in self._groups:
                raise invalid_parameter(at + 2)

    def keep(self) -> None:
        """Put the states where they outlive the process, once the store is saved."""
        states = {str(group.number): int(group.state) for group in self._groups.values()}
        self._store.put(self._name, _NODE, _SUBJECT, states)

    def save(self) -> None:
        """Save the store. Raises OSError."""
        self._store.save()


def report_target_port_groups(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """REPORT TARGET PORT GROUPS, in both formats."""
    fields = op.REPORT_TARGET_PORT_GROUPS.parse(cdb)
    data_format = fields["parameter_data_format"]
    if data_format not in DataFormat.__members__.values():
        raise invalid_field(1, 7)
    return data_in(path.unit.port_groups.report(data_format), fields["allocation_length"])


def set_target_port_groups(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """SET TARGET PORT GROUPS: all of the list, or nothing. All other nexuses are told by unit attention."""
    length = op.SET_TARGET_PORT_GROUPS.parse(cdb)["parameter_list_length"]
    if not length:
        return GOOD
    if length > MAX_PARAMETER_LIST:
        raise invalid_field(6, 7)
    settings = parse_settings(parameter_list(data_out, length))
    if settings is None:
        raise invalid_field(6, 7)
    unit = path.unit
    groups = unit.port_groups
    groups.check_settings(settings)
    changed = [groups.change(each.group, AccessState(each.state), GroupStatus.SET_BY_COMMAND) for each in settings]
    if not any(changed):
        return GOOD
    for neighbour in unit.neighbours.values():
        neighbour.access_states_changed(path)
    groups.keep()
    descriptor = unit.descriptor_sense

    def save() -> Completion:
        try:
            groups.save()
        except OSError:
            failed = AdditionalSense.SET_TARGET_PORT_GROUPS_COMMAND_FAILED
            return check(Sense(key=SenseKey.HARDWARE_ERROR, code=failed), descriptor=descriptor)
        return GOOD

    return Work(save)
