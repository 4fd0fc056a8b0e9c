"""Parameter data of PERSISTENT RESERVE IN and OUT (SPC-4 6.15, 6.16).

Parsing of parameter data is lenient: what an allocation length cut off is left out or reads as zero. Parameter lists are
parsed by the target, which has to refuse them: ParameterListError carries what it answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.fields import At, Buffer, Structure
from iscsi_protocol.scsi.provisioning import ParameterListError
from iscsi_protocol.scsi.sense import illegal_request
from iscsi_protocol.scsi.transport_id import (
    TransportId,
    TransportIdError,
    TruncatedTransportId,
    parse_transport_id,
    parse_transport_ids,
)

LU_SCOPE = 0
"""The only scope that SPC-4 has."""

BASIC_LIST_LENGTH = 24
_HEADER_LENGTH = 8
_DESCRIPTOR_LENGTH = 24
_TRANSPORT_ID_LENGTH = At(24, 4)


class ReservationType(IntEnum):
    """TYPE of a persistent reservation (SPC-4 6.15.3.4)."""

    WRITE_EXCLUSIVE = 0x1
    EXCLUSIVE_ACCESS = 0x3
    WRITE_EXCLUSIVE_REGISTRANTS_ONLY = 0x5
    EXCLUSIVE_ACCESS_REGISTRANTS_ONLY = 0x6
    WRITE_EXCLUSIVE_ALL_REGISTRANTS = 0x7
    EXCLUSIVE_ACCESS_ALL_REGISTRANTS = 0x8

    @property
    def exclusive_access(self) -> bool:
        """Whether reading is restricted, too."""
        return self in _EXCLUSIVE_ACCESS

    @property
    def registrants(self) -> bool:
        """Whether every registered nexus may do what the holder may."""
        return self >= ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY

    @property
    def all_registrants(self) -> bool:
        """Whether every registered nexus is a holder."""
        return self >= ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS


_EXCLUSIVE_ACCESS = frozenset(
    {
        ReservationType.EXCLUSIVE_ACCESS,
        ReservationType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY,
        ReservationType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS,
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reservation(Structure):
    """The reservation descriptor of READ RESERVATION; the key is 0 where every registered nexus is a holder."""

    LENGTH: ClassVar[int] = 16

    key: Annotated[int, At(0, 8)]
    scope: Annotated[int, At(13, 1, 0xF0)] = LU_SCOPE
    type: Annotated[int, At(13, 1, 0x0F)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities(Structure):
    """Parameter data of REPORT CAPABILITIES (SPC-4 6.15.4). The type mask has a bit for each type, WR_EX_AR to EX_AC_AR."""

    LENGTH: ClassVar[int] = 8

    length: Annotated[int, At(0, 2)] = 8
    replace_lost_reservation: Annotated[bool, At(2, 1, 0x80)] = False
    compatible_reservation_handling: Annotated[bool, At(2, 1, 0x10)] = False
    specify_initiator_ports: Annotated[bool, At(2, 1, 0x08)] = False
    all_target_ports: Annotated[bool, At(2, 1, 0x04)] = False
    persist_through_power_loss: Annotated[bool, At(2, 1, 0x01)] = False
    type_mask_valid: Annotated[bool, At(3, 1, 0x80)] = False
    allow_commands: Annotated[int, At(3, 1, 0x70)] = 0
    persist_through_power_loss_activated: Annotated[bool, At(3, 1, 0x01)] = False
    type_mask: Annotated[int, At(4, 2)] = 0


_TYPE_BITS = {
    ReservationType.WRITE_EXCLUSIVE_ALL_REGISTRANTS: 0x8000,
    ReservationType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY: 0x4000,
    ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY: 0x2000,
    ReservationType.EXCLUSIVE_ACCESS: 0x0800,
    ReservationType.WRITE_EXCLUSIVE: 0x0200,
    ReservationType.EXCLUSIVE_ACCESS_ALL_REGISTRANTS: 0x0001,
}


def type_mask(types: Iterable[ReservationType]) -> int:
    """The PERSISTENT RESERVATION TYPE MASK of these types."""
    return sum(_TYPE_BITS[each] for each in set(types))


@dataclass(frozen=True, kw_only=True, slots=True)
class FullStatus:
    """One full status descriptor (SPC-4 6.15.5): a registered nexus, or with `all_target_ports` all of an initiator port.

    scope and type are those of the reservation where `holder` is set, and 0 elsewhere.
    """

    key: int
    transport_id: TransportId
    relative_target_port: int = 0
    all_target_ports: bool = False
    holder: bool = False
    scope: int = LU_SCOPE
    type: int = 0

    def build(self) -> bytes:
        """The descriptor. Raises OverflowError for a key or a port that does not fit, ValueError for a bad ISID."""
        transport_id = self.transport_id.build()
        return (
            self.key.to_bytes(8, "big")
            + bytes(4)
            + bytes((self.all_target_ports << 1 | self.holder, self.scope << 4 | self.type))
            + bytes(4)
            + self.relative_target_port.to_bytes(2, "big")
            + len(transport_id).to_bytes(4, "big")
            + transport_id
        )


def _with_header(generation: int, body: bytes) -> bytes:
    return generation.to_bytes(4, "big") + len(body).to_bytes(4, "big") + body


def _body(data: Buffer) -> tuple[int, bytes]:
    """PRGENERATION, and what follows the header as far as it says and goes."""
    head = bytes(data[:_HEADER_LENGTH]).ljust(_HEADER_LENGTH, b"\0")
    length = int.from_bytes(head[4:], "big")
    return int.from_bytes(head[:4], "big"), bytes(data[_HEADER_LENGTH : _HEADER_LENGTH + length])


def build_keys(generation: int, keys: Iterable[int]) -> bytes:
    """Parameter data of READ KEYS. Raises OverflowError for a number that does not fit."""
    return _with_header(generation, b"".join(key.to_bytes(8, "big") for key in keys))


def parse_keys(data: Buffer) -> tuple[int, list[int]]:
    """PRGENERATION and the whole keys in parameter data of READ KEYS."""
    generation, body = _body(data)
    return generation, [int.from_bytes(body[at : at + 8], "big") for at in range(0, len(body) - 7, 8)]


def build_reservation(generation: int, reservation: Reservation | None) -> bytes:
    """Parameter data of READ RESERVATION; None: there is none."""
    return _with_header(generation, b"" if reservation is None else reservation.build())


def parse_reservation(data: Buffer) -> tuple[int, Reservation | None]:
    """PRGENERATION and the reservation in parameter data of READ RESERVATION."""
    generation, body = _body(data)
    return generation, Reservation.parse(body) if body else None


def build_full_status(generation: int, descriptors: Iterable[FullStatus]) -> bytes:
    """Parameter data of READ FULL STATUS. Raises as FullStatus.build."""
    return _with_header(generation, b"".join(each.build() for each in descriptors))


def parse_full_status(data: Buffer) -> tuple[int, list[FullStatus]]:
    """PRGENERATION and the whole descriptors in parameter data of READ FULL STATUS. Raises TransportIdError."""
    generation, body = _body(data)
    found: list[FullStatus] = []
    at = 0
    while at + _DESCRIPTOR_LENGTH <= len(body):
        end = at + _DESCRIPTOR_LENGTH + int.from_bytes(body[at + 20 : at + 24], "big")
        if end > len(body):
            break
        found.append(
            FullStatus(
                key=int.from_bytes(body[at : at + 8], "big"),
                transport_id=parse_transport_id(body[:end], at + _DESCRIPTOR_LENGTH)[0],
                relative_target_port=int.from_bytes(body[at + 18 : at + 20], "big"),
                all_target_ports=bool(body[at + 12] & 2),
                holder=bool(body[at + 12] & 1),
                scope=body[at + 13] >> 4,
                type=body[at + 13] & 0x0F,
            )
        )
        at = end
    return generation, found


@dataclass(frozen=True, kw_only=True, slots=True)
class BasicFields(Structure):
    """The 24 bytes of every PERSISTENT RESERVE OUT parameter list but REGISTER AND MOVE's (SPC-4 6.16.3)."""

    LENGTH: ClassVar[int] = BASIC_LIST_LENGTH

    key: Annotated[int, At(0, 8)] = 0
    service_action_key: Annotated[int, At(8, 8)] = 0
    specify_initiator_ports: Annotated[bool, At(20, 1, 0x08)] = False
    all_target_ports: Annotated[bool, At(20, 1, 0x04)] = False
    aptpl: Annotated[bool, At(20, 1, 0x01)] = False


@dataclass(frozen=True, kw_only=True, slots=True)
class MoveFields(Structure):
    """The first 24 bytes of REGISTER AND MOVE's parameter list (SPC-4 6.16.4); the TransportID follows."""

    LENGTH: ClassVar[int] = BASIC_LIST_LENGTH

    key: Annotated[int, At(0, 8)] = 0
    service_action_key: Annotated[int, At(8, 8)] = 0
    unregister: Annotated[bool, At(17, 1, 0x02)] = False
    aptpl: Annotated[bool, At(17, 1, 0x01)] = False
    relative_target_port: Annotated[int, At(18, 2)] = 0
    transport_id_length: Annotated[int, At(20, 4)] = 0


def _refusal(message: str, code: AdditionalSense, byte: int | None = None) -> ParameterListError:
    return ParameterListError(message, illegal_request(code, byte, in_cdb=False))


def _wrong_length(message: str) -> ParameterListError:
    return ParameterListError(message, illegal_request(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR))


def build_basic(fields: BasicFields, transport_ids: Iterable[TransportId] = ()) -> bytes:
    """A parameter list; the TransportIDs follow only where `specify_initiator_ports` is set. Raises FieldValueError."""
    data = fields.build()
    if fields.specify_initiator_ports:
        body = b"".join(each.build() for each in transport_ids)
        data += len(body).to_bytes(4, "big") + body
    return data


def parse_basic(data: Buffer) -> BasicFields:
    """The fields of a parameter list. Raises ParameterListError where it is shorter than they are."""
    if len(data) < BASIC_LIST_LENGTH:
        raise _wrong_length(f"a parameter list of {len(data)} bytes is shorter than {BASIC_LIST_LENGTH}")
    return BasicFields.parse(data)


def parse_initiator_ports(data: Buffer) -> list[TransportId]:
    """The TransportIDs behind the fields of a parameter list with SPEC_I_PT.

    Raises ParameterListError: PARAMETER LIST LENGTH ERROR where the list does not hold what it says, INVALID FIELD IN
    PARAMETER LIST where a TransportID is cut off or none.
    """
    start = _TRANSPORT_ID_LENGTH.offset + _TRANSPORT_ID_LENGTH.size
    if len(data) < start or len(data) != start + _TRANSPORT_ID_LENGTH.get(data):
        raise _wrong_length("the TransportID parameter data length is not that of the list")
    try:
        return parse_transport_ids(data[start:])
    except TruncatedTransportId as error:
        raise _refusal(str(error), AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST, 24) from error
    except TransportIdError as error:
        raise _refusal(str(error), AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST, start + error.at) from error


def build_move(fields: MoveFields, transport_id: TransportId) -> bytes:
    """The parameter list of REGISTER AND MOVE; the length field is set. Raises FieldValueError."""
    body = transport_id.build()
    data = bytearray(fields.build())
    data[20:24] = len(body).to_bytes(4, "big")
    return bytes(data) + body


def parse_move(data: Buffer) -> tuple[MoveFields, TransportId]:
    """Fields and destination of REGISTER AND MOVE. Raises ParameterListError, as parse_initiator_ports."""
    if len(data) < BASIC_LIST_LENGTH:
        raise _wrong_length(f"a parameter list of {len(data)} bytes is shorter than {BASIC_LIST_LENGTH}")
    fields = MoveFields.parse(data)
    if len(data) != BASIC_LIST_LENGTH + fields.transport_id_length:
        raise _wrong_length("the TransportID parameter data length is not that of the list")
    try:
        found, end = parse_transport_id(data, BASIC_LIST_LENGTH)
    except TruncatedTransportId as error:
        raise _refusal(str(error), AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST, 20) from error
    except TransportIdError as error:
        at = BASIC_LIST_LENGTH + error.at
        raise _refusal(str(error), AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST, at) from error
    if end != len(data):
        raise _refusal("more than one TransportID", AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST, 20)
    return fields, found
