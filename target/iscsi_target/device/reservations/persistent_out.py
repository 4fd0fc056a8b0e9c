"""PERSISTENT RESERVE OUT (SPC-4 6.16): who may do what, and which refusal comes first.

A reservation conflict is found before fields are judged, as the precedence of status codes has it (SAM-5 5.3.3); only a
list too short to hold the key comes before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from iscsi_protocol.names import IscsiNameError, parse_name
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.opcodes import REGISTER
from iscsi_protocol.scsi.persistent import (
    BASIC_LIST_LENGTH,
    BasicFields,
    parse_basic,
    parse_initiator_ports,
    parse_move,
)
from iscsi_protocol.scsi.provisioning import ParameterListError
from iscsi_protocol.scsi.sense import Sense, illegal_request
from iscsi_protocol.scsi.transport_id import TransportId
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.answer import CONFLICT, CheckCondition, invalid_parameter, parameter_list, refused
from iscsi_target.device.reservations import changes
from iscsi_target.device.reservations.changes import (
    NoRoom,
    NothingToMove,
    ReservationConflict,
    Told,
    WrongKey,
    WrongRelease,
    WrongType,
)
from iscsi_target.device.reservations.effects import end_commands, seats, settle, tell
from iscsi_target.device.reservations.state import Registrant, registrant_of
from iscsi_target.device.row import Handler
from iscsi_target.device.unit import ItlNexus, LogicalUnit

_KEY_BYTE, _FLAGS_BYTE, _MOVE_FLAGS_BYTE, _MOVE_PORT_BYTE, _MOVE_NAME_BYTE, _LIST_BYTE = 8, 20, 17, 18, 28, 28

_REFUSALS: Mapping[type[Exception], Sense] = {
    NoRoom: illegal_request(AdditionalSense.INSUFFICIENT_REGISTRATION_RESOURCES),
    NothingToMove: illegal_request(AdditionalSense.INVALID_FIELD_IN_CDB, 1, 4),
    WrongRelease: illegal_request(AdditionalSense.INVALID_RELEASE_OF_PERSISTENT_RESERVATION),
    WrongType: illegal_request(AdditionalSense.INVALID_FIELD_IN_CDB, 2, 7),
    WrongKey: illegal_request(AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST, _KEY_BYTE, in_cdb=False),
}

Action: TypeAlias = Callable[[ItlNexus, dict[str, int], bytes], Told]
"""action(path, fields of the CDB, parameter list): carries out a service action, and says who is to be told."""


def persistent_out(action: Action, *, aborts: bool = False) -> Handler:
    """The handler of a service action, with what all have in common. aborts: it may have to wait for what it ends."""

    def handle(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
        fields = REGISTER.parse(cdb)
        data = parameter_list(data_out, fields["parameter_list_length"])
        before = seats(path.unit)
        try:
            told = action(path, fields, data)
        except ReservationConflict:
            return CONFLICT
        except ParameterListError as error:
            raise CheckCondition(error.sense) from error
        except tuple(_REFUSALS) as error:
            raise CheckCondition(_REFUSALS[type(error)]) from error
        tell(path, before, told)
        return settle(path.unit, later=aborts)

    return handle


def _check_length(basic: BasicFields, data: bytes) -> None:
    """Refuse what stands behind the fields of a parameter list without TransportIDs."""
    if not basic.specify_initiator_ports and len(data) != BASIC_LIST_LENGTH:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)


def _ports(path: ItlNexus, basic: BasicFields) -> list[Registrant]:
    """The nexus itself, and with ALL_TG_PT the same initiator port at all other target ports."""
    own = registrant_of(path.nexus)
    if not basic.all_target_ports:
        return [own]
    others = (tag for tag in path.unit.target_ports if tag != own.target_port)
    return [own, *(own._replace(target_port=tag) for tag in others)]


def _activate(unit: LogicalUnit, aptpl: bool, byte: int) -> bool:
    """Refuse APTPL where there is nothing that it could be kept in."""
    if aptpl and not unit.store.persistent:
        raise invalid_parameter(byte, 0)
    return aptpl


def _initiator(transport_id: TransportId, byte: int) -> TransportId:
    """With its name in the spelling that is compared."""
    try:
        name = parse_name(transport_id.name, upper_hex=True).canonical
    except IscsiNameError as error:
        raise invalid_parameter(byte) from error
    return TransportId(name, transport_id.isid)


def _listed(data: bytes, ports: list[Registrant]) -> list[Registrant]:
    """The nexuses of the TransportIDs of a parameter list, at the target ports of `ports`."""
    initiators = [_initiator(each, _LIST_BYTE) for each in parse_initiator_ports(data)]
    return [Registrant(each.name, each.isid, port.target_port) for each in initiators for port in ports]


def register(path: ItlNexus, _fields: dict[str, int], data: bytes) -> Told:
    """REGISTER. Others are registered only by who is not registered, and only where none of them is (SPC-4 table 67); who
    is not registered and asks for nothing gets just that, whatever else the list says.
    """
    unit = path.unit
    basic = parse_basic(data)
    ports = _ports(path, basic)
    changes.check_register(unit.reservations, ports, basic.key, basic.service_action_key)
    _check_length(basic, data)
    listed: list[Registrant] = []
    if basic.specify_initiator_ports and (basic.key or basic.service_action_key):
        if basic.key:
            raise invalid_parameter(_FLAGS_BYTE, 3)
        listed = _listed(data, ports)
        if any(unit.reservations.find(each) is not None for each in listed):
            raise invalid_parameter(_LIST_BYTE)
    aptpl = _activate(unit, basic.aptpl, _FLAGS_BYTE)
    told = changes.register(unit.reservations, ports, basic.service_action_key, listed)
    unit.reservations.aptpl = aptpl
    return told


def register_and_ignore_existing_key(path: ItlNexus, _fields: dict[str, int], data: bytes) -> Told:
    """REGISTER AND IGNORE EXISTING KEY."""
    unit = path.unit
    basic = parse_basic(data)
    _check_length(basic, data)
    if basic.specify_initiator_ports:
        raise invalid_parameter(_FLAGS_BYTE, 3)
    aptpl = _activate(unit, basic.aptpl, _FLAGS_BYTE)
    told = changes.register(unit.reservations, _ports(path, basic), basic.service_action_key)
    unit.reservations.aptpl = aptpl
    return told


def _by_registrant(path: ItlNexus, data: bytes) -> tuple[Registrant, BasicFields]:
    """As whom the nexus is registered, and its parameter list. Raises ReservationConflict for a key that is not its own."""
    basic = parse_basic(data)
    registrant = changes.checked(path.unit.reservations, registrant_of(path.nexus), basic.key)
    _check_length(basic, data)
    if basic.specify_initiator_ports:
        raise invalid_parameter(_FLAGS_BYTE, 3)
    return registrant, basic


def reserve(path: ItlNexus, fields: dict[str, int], data: bytes) -> Told:
    """RESERVE."""
    registrant, _ = _by_registrant(path, data)
    changes.reserve(path.unit.reservations, registrant, changes.reservation_type(fields["scope"], fields["type"]))
    return {}


def release(path: ItlNexus, fields: dict[str, int], data: bytes) -> Told:
    """RELEASE."""
    registrant, _ = _by_registrant(path, data)
    return changes.release(path.unit.reservations, registrant, fields["scope"], fields["type"])


def clear(path: ItlNexus, _fields: dict[str, int], data: bytes) -> Told:
    """CLEAR."""
    _by_registrant(path, data)
    return changes.clear(path.unit.reservations)


def preempt(path: ItlNexus, fields: dict[str, int], data: bytes) -> Told:
    """PREEMPT."""
    return _preempt(path, fields, data).told


def preempt_and_abort(path: ItlNexus, fields: dict[str, int], data: bytes) -> Told:
    """PREEMPT AND ABORT."""
    before = seats(path.unit)
    done = _preempt(path, fields, data)
    end_commands(path, before, done.registrants)
    return done.told


def _preempt(path: ItlNexus, fields: dict[str, int], data: bytes) -> changes.Preempted:
    registrant, basic = _by_registrant(path, data)
    state = path.unit.reservations
    return changes.preempt(state, registrant, basic.service_action_key, fields["scope"], fields["type"])


def register_and_move(path: ItlNexus, _fields: dict[str, int], data: bytes) -> Told:
    """REGISTER AND MOVE: scope and type stay, so the CDB's are not looked at."""
    unit = path.unit
    registrant = changes.checked(unit.reservations, registrant_of(path.nexus), parse_basic(data).key)
    changes.check_move(unit.reservations, registrant)
    move, to = parse_move(data)
    if not move.service_action_key:
        raise WrongKey
    if move.relative_target_port not in unit.target_ports:
        raise invalid_parameter(_MOVE_PORT_BYTE)
    to = _initiator(to, _MOVE_NAME_BYTE)
    if to.name == path.nexus.initiator_name and to.isid in (None, path.nexus.isid):
        raise invalid_parameter(_MOVE_NAME_BYTE)
    aptpl = _activate(unit, move.aptpl, _MOVE_FLAGS_BYTE)
    destination = Registrant(to.name, to.isid, move.relative_target_port)
    changes.move(unit.reservations, registrant, destination, move.service_action_key, unregister=move.unregister)
    unit.reservations.aptpl = aptpl
    return {}
