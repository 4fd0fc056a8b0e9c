"""What PERSISTENT RESERVE OUT does to the registrations and the reservation (SPC-4 5.12.7 to 5.12.11).

Every function changes the state it is given, or raises and leaves it as it was. It returns whom a unit attention is for,
the nexus that sent the command included: the caller leaves that one out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.persistent import ReservationType
from iscsi_target.device.reservations.state import Registrant, Reservations

MAX_REGISTRATIONS = 1024
"""Registrations of one logical unit, which bounds its memory."""

Told = Mapping[Registrant, AdditionalSense]
_NOBODY: Told = {}


class ReservationConflict(Exception):
    """The command ends with RESERVATION CONFLICT."""


class NoRoom(Exception):
    """More registrations than there may be."""


class NothingToMove(Exception):
    """REGISTER AND MOVE without a reservation."""


class WrongRelease(Exception):
    """The holder releases what it does not hold."""


class WrongType(Exception):
    """A reservation of a scope or type that there is not."""


class WrongKey(Exception):
    """A service action reservation key that this service action cannot have."""


@dataclass(frozen=True, slots=True)
class Preempted:
    """Whose registration or reservation was preempted, whose own it may be, and who is to be told what."""

    registrants: frozenset[Registrant]
    told: Told = field(default_factory=dict)


def reservation_type(scope: int, number: int) -> ReservationType:
    """The type of a CDB. Raises WrongType."""
    try:
        found = ReservationType(number)
    except ValueError as error:
        raise WrongType from error
    if scope:
        raise WrongType
    return found


def checked(state: Reservations, port: Registrant, key: int) -> Registrant:
    """As whom the port is registered. Raises ReservationConflict unless it is, with that key."""
    found = state.find(port)
    if found is None or state.keys[found] != key:
        raise ReservationConflict
    return found


def check_register(state: Reservations, ports: Sequence[Registrant], key: int, new_key: int) -> None:
    """Whether REGISTER may go on: each port is registered with that key, or with none where it is 0 (SPC-4 table 67).

    ports: the one that asks, then the same initiator port at other target ports (ALL_TG_PT). One of these that is not
    registered is no obstacle to unregistering. Raises ReservationConflict.
    """
    for number, port in enumerate(ports):
        found = state.find(port)
        current = 0 if found is None else state.keys[found]
        if current != key and not (number and found is None and not new_key):
            raise ReservationConflict


def register(state: Reservations, ports: Iterable[Registrant], new_key: int, listed: Iterable[Registrant] = ()) -> Told:
    """REGISTER and REGISTER AND IGNORE EXISTING KEY: register, change the key, or with key 0 unregister.

    listed: who else is registered, and is not yet (SPEC_I_PT). Raises NoRoom.
    """
    if new_key:
        wanted = dict.fromkeys([state.find(port) or port for port in ports] + list(listed), new_key)
        if len(state.keys.keys() | wanted.keys()) > MAX_REGISTRATIONS:
            raise NoRoom
        state.keys |= wanted
        told = _NOBODY
    else:
        told = _unregister(state, {found for port in ports if (found := state.find(port)) is not None})
    _count(state)
    return told


def reserve(state: Reservations, registrant: Registrant, wanted: ReservationType) -> None:
    """RESERVE. Asking again for what one holds is no conflict. Raises ReservationConflict."""
    if state.type is None:
        state.type = wanted
        state.holder = None if wanted.all_registrants else registrant
    elif not (state.holds(registrant) and state.type is wanted):
        raise ReservationConflict


def release(state: Reservations, registrant: Registrant, scope: int, number: int) -> Told:
    """RELEASE; from anybody but a holder it does nothing. Raises WrongRelease."""
    if not state.holds(registrant):
        return _NOBODY
    if scope or number != state.type:
        raise WrongRelease
    return _release(state)


def clear(state: Reservations) -> Told:
    """CLEAR: no reservation and no registration is left."""
    told = dict.fromkeys(state.keys, AdditionalSense.RESERVATIONS_PREEMPTED)
    state.keys = {}
    state.type = state.holder = None
    _count(state)
    return told


def preempt(state: Reservations, registrant: Registrant, victim: int, scope: int, number: int) -> Preempted:
    """PREEMPT: registrations with the key `victim` go; a reservation held with it becomes the registrant's own.

    victim 0 means everybody else, where every registered nexus is a holder. Scope and type count only where the
    reservation is taken. Raises WrongKey, WrongType, ReservationConflict.
    """
    held = state.type
    shared = held is not None and held.all_registrants
    if not victim and not shared:
        raise WrongKey
    victims = {each for each, key in state.keys.items() if key == victim or not victim}
    if not victims:
        raise ReservationConflict
    preempted = frozenset(victims)
    if not victim or state.holder in victims:
        wanted = reservation_type(scope, number)
        victims.discard(registrant)
        state.keys = {each: key for each, key in state.keys.items() if each not in victims}
        state.type = wanted
        state.holder = None if wanted.all_registrants else registrant
        told = dict.fromkeys(state.keys, AdditionalSense.RESERVATIONS_RELEASED) if wanted is not held else {}
    else:
        told = dict(_unregister(state, victims))
    told.update(dict.fromkeys(victims, AdditionalSense.REGISTRATIONS_PREEMPTED))
    _count(state)
    return Preempted(preempted, told)


def check_move(state: Reservations, registrant: Registrant) -> None:
    """Whether REGISTER AND MOVE may go on. Raises NothingToMove, and ReservationConflict unless this is the one holder."""
    if state.type is None:
        raise NothingToMove
    if state.holder != registrant:
        raise ReservationConflict


def move(state: Reservations, registrant: Registrant, to: Registrant, key: int, *, unregister: bool) -> None:
    """REGISTER AND MOVE: another nexus is registered with the key and holds the reservation. Raises NoRoom."""
    to = state.find(to) or to
    if to not in state.keys and len(state.keys) >= MAX_REGISTRATIONS:
        raise NoRoom
    state.keys[to] = key
    state.holder = to
    if unregister and to != registrant:
        del state.keys[registrant]
    _count(state)


def power_on(state: Reservations) -> None:
    """What a loss of power leaves (SPC-4 5.12.5): with APTPL registrations and reservation, else nothing."""
    state.generation = 0
    state.reserved_by = None
    if not state.aptpl:
        state.keys = {}
        state.type = state.holder = None


def _count(state: Reservations) -> None:
    """PRGENERATION goes on (SPC-4 6.15.2)."""
    state.generation = (state.generation + 1) & 0xFFFFFFFF


def _unregister(state: Reservations, gone: set[Registrant]) -> Told:
    """Registrations go; a reservation goes with its holder, one of all registrants with the last of them."""
    state.keys = {each: key for each, key in state.keys.items() if each not in gone}
    if state.type is not None and (state.holder in gone or not state.keys):
        return _release(state)
    return _NOBODY


def _release(state: Reservations) -> Told:
    """The reservation goes; of one that registrants had a part in, they are told."""
    told = dict.fromkeys(state.keys, AdditionalSense.RESERVATIONS_RELEASED)
    if state.type is None or not state.type.registrants:
        told = {}
    state.type = state.holder = None
    return told
