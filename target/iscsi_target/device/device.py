"""The device server as the engine sees it: all logical units of one target node, for all of its I_T nexuses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.lun import (
    LUN_LENGTH,
    MAX_FLAT_LUN,
    MAX_PERIPHERAL_LUN,
    WELL_KNOWN_REPORT_LUNS,
    decode_lun,
    encode_lun,
)
from iscsi_protocol.scsi.opcodes import INQUIRY, REPORT_LUNS, REQUEST_SENSE
from iscsi_protocol.scsi.sense import illegal_request
from iscsi_protocol.scsi.target_ports import AccessState, GroupStatus
from iscsi_target.access import visible_luns
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.config import ConfigError, TargetNode
from iscsi_target.device.answer import CONFLICT, CheckCondition, check
from iscsi_target.device.attention import establish
from iscsi_target.device.information import check_kept
from iscsi_target.device.inquiry import inquiry_without_unit
from iscsi_target.device.port_groups import PortGroups, lets_through
from iscsi_target.device.report import luns_of, sense_data, shown_luns
from iscsi_target.device.reservations.changes import power_on
from iscsi_target.device.reservations.conflict import BEFORE_CONFLICT, conflicts
from iscsi_target.device.row import Row
from iscsi_target.device.table import BY_OPCODE, SERVICE_ACTION, WANTED
from iscsi_target.device.unit import ItlNexus, LogicalUnit
from iscsi_target.device.well_known import ReportLunsUnit
from iscsi_target.luns import open_lun
from iscsi_target.luns.backend import Backend, LunError
from iscsi_target.nexus import AbortTasks, Nexus
from iscsi_target.state import StateStore

PORTS_REMEMBERED = 1024
"""Initiator ports that are gone and will be told so when they come back; beyond these the oldest is forgotten."""

_NACA = 0x04
_NO_UNIT = illegal_request(AdditionalSense.LOGICAL_UNIT_NOT_SUPPORTED)
_NO_COMMAND = illegal_request(AdditionalSense.INVALID_COMMAND_OPERATION_CODE, 0)
_NO_ACTION = illegal_request(AdditionalSense.INVALID_FIELD_IN_CDB, 1, 4)
_CUT_OFF = illegal_request(AdditionalSense.INVALID_FIELD_IN_CDB)


class Device:
    """The logical units of a node. `backends` has one for each LUN of the node's configuration.

    Raises ConfigError, which names the state file, for what cannot have been kept in it.
    """

    def __init__(
        self,
        node: TargetNode,
        backends: Mapping[int, Backend],
        store: StateStore | None = None,
        target_ports: tuple[int, ...] = (1,),
    ) -> None:
        self.node = node
        self._units = {
            lun: LogicalUnit(lun, node.luns[lun], backends[lun], node.name, store, target_ports)
            for lun in sorted(node.luns)
        }
        port_groups = PortGroups(node, target_ports, store or StateStore())
        for unit in self._units.values():
            check_kept(unit)
            unit.neighbours = self._units
            unit.port_groups = port_groups
        self._port_groups = port_groups
        self._report_luns_unit = ReportLunsUnit(node, port_groups)
        self._by_structure = {spelling: unit for unit in self._units.values() for spelling in _spellings(unit.lun)}
        self._paths: dict[Nexus, dict[bytes, ItlNexus]] = {}
        self._unaware: dict[tuple[str, bytes, int], AdditionalSense] = {}

    def luns(self) -> list[int]:
        """All LUNs, whoever may see them."""
        return list(self._units)

    def unit(self, lun: int) -> LogicalUnit:
        """The logical unit behind a LUN. Raises KeyError."""
        return self._units[lun]

    def has_lun(self, lun: bytes, nexus: Nexus) -> bool:
        """Whether there is a logical unit behind the 8-byte structure for this nexus."""
        return lun == WELL_KNOWN_REPORT_LUNS or self._path(nexus, lun) is not None

    def nexus_made(self, nexus: Nexus) -> None:
        """A session of this initiator port begins. Its name decides which logical units it sees."""
        visible = visible_luns(self.node, nexus.initiator_name) or frozenset()
        luns = shown_luns(self.node, nexus.initiator_name)
        code = self._news_for(_port(nexus))
        paths: dict[bytes, ItlNexus] = {}
        for lun in sorted(visible):
            unit = self._units[lun]
            path = ItlNexus(nexus, unit, luns)
            if code is not None:
                establish(path.attentions, code)
            unit.paths[nexus] = path
            paths.update(dict.fromkeys(_spellings(lun), path))
        self._paths[nexus] = paths

    def nexus_lost(self, nexus: Nexus) -> None:
        """The session is over, however it ended; what it held is let go. A nexus that is not known is no error."""
        if self._paths.pop(nexus, None) is not None:
            self._remember(_port(nexus), AdditionalSense.I_T_NEXUS_LOSS_OCCURRED)
        for unit in self._units.values():
            unit.paths.pop(nexus, None)
            unit.preventing.discard(nexus)
            unit.copies.forget(nexus)
            unit.release_from(nexus)

    def _remember(self, port: tuple[str, bytes, int], code: AdditionalSense) -> None:
        """What an initiator port is to be told when it comes back; a power-on event is more than a loss."""
        if self._unaware.pop(port, code) == AdditionalSense.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED:
            code = AdditionalSense.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED
        self._unaware[port] = code
        while len(self._unaware) > PORTS_REMEMBERED:
            del self._unaware[next(iter(self._unaware))]

    def _news_for(self, port: tuple[str, bytes, int]) -> AdditionalSense | None:
        """The unit attention that a new session of this port finds at every logical unit."""
        news = self._unaware.pop(port, None)
        if self.node.initial_unit_attention:
            return AdditionalSense.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED
        return news

    def establish_attention(self, nexus: Nexus, lun: bytes, code: AdditionalSense) -> None:
        """A unit attention condition for one nexus at one logical unit; where there is none, nothing happens."""
        path = self._path(nexus, lun)
        if path is not None:
            establish(path.attentions, code)

    def pending_attentions(self, nexus: Nexus, lun: bytes) -> Sequence[AdditionalSense]:
        """The unit attentions that this nexus has not been told yet, in the order in which it will be."""
        path = self._path(nexus, lun)
        return () if path is None else tuple(path.attentions)

    def task_aborted_status(self, lun: bytes) -> bool:
        """TAS of the Control mode page: commands that another nexus ends are answered with TASK ABORTED (SPC-4 7.5.8)."""
        unit = self._unit(lun)
        return unit is not None and unit.task_aborted_status

    def reset_lun(self, lun: bytes, by: Nexus | None = None) -> None:
        """LOGICAL UNIT RESET; all nexuses find a unit attention. A LUN that is not there is no error."""
        unit = self._unit(lun)
        if unit is not None:
            unit.reset(AdditionalSense.BUS_DEVICE_RESET_FUNCTION_OCCURRED)

    def reset_target(self, by: Nexus | None = None) -> None:
        """TARGET WARM or COLD RESET: every logical unit that `by` sees is reset (RFC 7143 4.2.3.2)."""
        for unit in self._units.values():
            if by is None or by in unit.paths:
                unit.reset(AdditionalSense.BUS_DEVICE_RESET_FUNCTION_OCCURRED)

    def power_on(self) -> None:
        """Behind TARGET COLD RESET: who is there now finds a unit attention when it comes back (Appendix E.2)."""
        for nexus in self._paths:
            self._remember(_port(nexus), AdditionalSense.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED)
        for unit in self._units.values():
            power_on(unit.reservations)
            unit.guard_commands()

    def attach(self, abort: AbortTasks) -> None:
        """Whom to ask to end all commands of a nexus at a LUN, but the one that is being executed."""
        for unit in self._units.values():
            unit.abort_tasks = partial(_abort, abort, encode_lun(unit.lun))

    def set_access_state(self, group: int, state: AccessState) -> None:
        """The target itself changes the state of a target port group; every nexus is told by unit attention.

        Raises KeyError for a group that is not there, ValueError where the configuration has no implicit management.
        """
        if not self._port_groups.implicit:
            raise ValueError(f"{self.node.name}: access states are not managed by the target")
        if self._port_groups.change(group, state, GroupStatus.CHANGED_BY_TARGET):
            for unit in self._units.values():
                unit.access_states_changed(None)

    def close(self) -> None:
        """Close all back ends. Completions with a FileSlice have to be gone by then."""
        for unit in self._units.values():
            unit.backend.close()

    def data_out_length(self, lun: bytes, cdb: Buffer) -> int:
        """Bytes that the CDB wants from the initiator.

        0 for commands that will be refused without a look at their data: without a logical unit, or longer than one
        command may be.
        """
        wanted = WANTED[cdb[0]] if cdb else None
        if wanted is None:
            return 0
        unit = self._by_structure.get(lun) or self._unit(lun)
        row = BY_OPCODE[cdb[0]]
        if row.__class__ is not Row:
            row = row.get(cdb[1] & SERVICE_ACTION) if isinstance(row, dict) and len(cdb) > 1 else None
        if unit is None or not isinstance(row, Row) or len(cdb) < row.command.length:
            return 0
        if row.optional and not row.known_to(unit):
            return 0
        length = wanted(cdb, unit.block_size)
        return length if length <= unit.max_transfer * unit.block_size else 0

    def length_refusal(self, nexus: Nexus, lun: bytes, cdb: Buffer, expected: int) -> Completion | None:
        """CHECK CONDITION for a command that destroys what it should not when CDB and initiator mean different amounts of
        data (COMPARE AND WRITE, WRITE SAME); None for others, and where something else stands against it.
        """
        entry = BY_OPCODE[cdb[0]] if cdb else None
        path = self._path(nexus, lun)
        if not isinstance(entry, Row) or not entry.exact or path is None or len(cdb) < entry.command.length:
            return None
        unit = path.unit
        if path.attentions or not unit.ready or unit.write_protection is not None or not entry.known_to(unit):
            return None
        if expected == entry.command.data(cdb, unit.block_size)[1]:
            return None
        field = entry.command.fields["blocks"].offset
        return check(illegal_request(AdditionalSense.INVALID_FIELD_IN_CDB, field, 7), descriptor=unit.descriptor_sense)

    def execute(self, nexus: Nexus, lun: bytes, cdb: Buffer, data_out: Buffer = b"") -> Completion | Work:
        """Carry out a command. Never raises, whatever the CDB.

        data_out: what the initiator sent, of the length that `data_out_length` told or less; it is not kept.
        """
        try:
            path = self._paths[nexus][lun]
            entry = BY_OPCODE[cdb[0]]
        except LookupError:
            return self._execute_elsewhere(nexus, lun, cdb, data_out)
        return self._execute(path, entry, cdb, data_out)

    def _execute(
        self, path: ItlNexus, entry: Row | dict[int, Row] | None, cdb: Buffer, data_out: Buffer
    ) -> Completion | Work:
        unit = path.unit
        row = entry
        if row.__class__ is not Row:
            row = entry.get(cdb[1] & SERVICE_ACTION) if isinstance(entry, dict) and len(cdb) > 1 else None
        try:
            if unit.guard is not None and self._conflicts(path, row, cdb):
                return CONFLICT
            if path.attentions and not (isinstance(row, Row) and row.passes_attention):
                raise CheckCondition(path.take_attention())
            if not isinstance(row, Row) or (row.optional and not row.known_to(unit)):
                split = isinstance(entry, dict) and any(each.known_to(unit) for each in entry.values())
                raise CheckCondition(_NO_ACTION if split else _NO_COMMAND)
            length = row.command.length
            if len(cdb) < length:
                raise CheckCondition(_CUT_OFF)
            if cdb[length - 1] & _NACA:
                raise CheckCondition(illegal_request(AdditionalSense.INVALID_FIELD_IN_CDB, length - 1, 2))
            if not unit.ready and (sense := unit.refusal(row)) is not None:
                raise CheckCondition(sense)
            if path.inaccessible is not None and not lets_through(path.inaccessible, row.command):
                raise CheckCondition(path.inaccessible)
            if row.writes and unit.write_protection is not None:
                raise CheckCondition(unit.write_protection)
            return row.handler(path, cdb, data_out)
        except CheckCondition as refusal:
            return check(refusal.sense, descriptor=unit.descriptor_sense)
        except OSError as error:
            writing = isinstance(row, Row) and row.writes
            return check(unit.failure(error, writing=writing), descriptor=unit.descriptor_sense)

    def _conflicts(self, path: ItlNexus, row: Row | None, cdb: Buffer) -> bool:
        """Whether a reservation stops this command. News of a reset or of a lost nexus come first, other unit attentions
        later (SAM-5 5.3.3).
        """
        unit = path.unit
        if unit.guard is None or not isinstance(row, Row) or not row.known_to(unit) or len(cdb) < row.command.length:
            return False
        if path.attentions and path.attentions[0] in BEFORE_CONFLICT and not row.passes_attention:
            return False
        return conflicts(unit.guard, path.nexus, row.access, cdb)

    def _unit(self, lun: bytes) -> LogicalUnit | None:
        number = decode_lun(lun)
        return None if number is None else self._units.get(number)

    def _path(self, nexus: Nexus, lun: bytes) -> ItlNexus | None:
        """The logical unit as this nexus sees it, also for a nexus that was not announced and a rare spelling."""
        if nexus not in self._paths:
            self.nexus_made(nexus)
        paths = self._paths[nexus]
        number = decode_lun(lun) if lun not in paths else None
        return paths.get(lun if number is None else encode_lun(number))

    def _execute_elsewhere(self, nexus: Nexus, lun: bytes, cdb: Buffer, data_out: Buffer) -> Completion | Work:
        """What is not the common case: a LUN without a unit, a CDB without bytes, a nexus not yet announced."""
        path = self._path(nexus, lun)
        if not cdb:
            return check(_CUT_OFF)
        if path is not None:
            return self._execute(path, BY_OPCODE[cdb[0]], cdb, data_out)
        try:
            if lun == WELL_KNOWN_REPORT_LUNS:
                return self._report_luns_unit.execute(nexus, cdb)
            return self._execute_without_unit(nexus, cdb)
        except CheckCondition as refusal:
            return check(refusal.sense)

    def _execute_without_unit(self, nexus: Nexus, cdb: Buffer) -> Completion:
        """A LUN behind which there is nothing (SAM-5 5.11): three commands are answered. Raises CheckCondition."""
        for command in (INQUIRY, REPORT_LUNS, REQUEST_SENSE):
            if cdb[0] == command.opcode:
                break
        else:
            raise CheckCondition(_NO_UNIT)
        if len(cdb) < command.length:
            raise CheckCondition(_CUT_OFF)
        if command is INQUIRY:
            return inquiry_without_unit(cdb)
        if command is REQUEST_SENSE:
            return sense_data(_NO_UNIT, cdb)
        return luns_of(shown_luns(self.node, nexus.initiator_name), cdb)


def _spellings(lun: int) -> list[bytes]:
    """The 8-byte structures that initiators use for a LUN; others are decoded when they come."""
    found = [encode_lun(lun)]
    if lun <= MAX_PERIPHERAL_LUN:
        found.append(((MAX_FLAT_LUN + 1) | lun).to_bytes(2, "big").ljust(LUN_LENGTH, b"\0"))
    return found


def _abort(abort: AbortTasks, lun: bytes, nexus: Nexus, by: Nexus) -> None:
    abort(nexus, lun, by)


def _port(nexus: Nexus) -> tuple[str, bytes, int]:
    """The nexus by its ends, whichever session makes it."""
    return nexus.initiator_name, nexus.isid, nexus.target_portal_group_tag


def open_device(node: TargetNode, store: StateStore | None = None, *, target_ports: Collection[int] = (1,)) -> Device:
    """The device server of a node with its back ends opened.

    store: what outlives the process; None: nothing does. target_ports: the portal groups through which the node is
    reached. Raises LunError, which names the LUN, and ConfigError, which names the state file; then none is left open.
    """
    backends: dict[int, Backend] = {}
    try:
        for lun, config in node.luns.items():
            try:
                backends[lun] = open_lun(config)
            except LunError as error:
                raise LunError(f"LUN {lun} of {node.name}: {error}") from error
        return Device(node, backends, store, tuple(sorted(set(target_ports))))
    except (LunError, ConfigError):
        for backend in backends.values():
            backend.close()
        raise
