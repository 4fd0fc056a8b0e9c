"""Registrations and reservation in the state file: what APTPL promises (SPC-4 5.12.5)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from iscsi_protocol.scsi.persistent import ReservationType
from iscsi_target.config import ConfigError
from iscsi_target.device.reservations.state import Registrant, Reservations
from iscsi_target.state import StateStore

WHAT = "reservation"
"""The subject of these values in the state store."""


class _Registration(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One registration; numbers of more than 53 bits are text, for the sake of whoever else reads the file."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    isid: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{12}$")] | None
    target_port: Annotated[int, msgspec.Meta(ge=0, le=0xFFFF)]
    key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]


class _Kept(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """All of it; holder: place in `registrations`, None where there is none or where it is all of them."""

    registrations: list[_Registration]
    type: ReservationType | None
    holder: int | None


def keep(store: StateStore, target: str, lun: int, state: Reservations) -> None:
    """Put what has to outlive a loss of power, nothing unless APTPL is active, into the store, to be saved later."""
    if not state.aptpl:
        store.put(target, lun, WHAT, None)
        return
    kept = _Kept(
        registrations=[
            _Registration(
                name=each.initiator_name,
                isid=None if each.isid is None else each.isid.hex(),
                target_port=each.target_port,
                key=f"{key:016x}",
            )
            for each, key in state.keys.items()
        ],
        type=state.type,
        holder=None if state.holder is None else list(state.keys).index(state.holder),
    )
    store.put(target, lun, WHAT, kept)


def kept(store: StateStore, target: str, lun: int) -> Reservations:
    """What a logical unit starts with. Raises ConfigError, which names the file, for what cannot have been saved."""
    found = store.read(target, lun, WHAT, _Kept)
    if found is None:
        return Reservations()
    keys = {
        Registrant(each.name, None if each.isid is None else bytes.fromhex(each.isid), each.target_port): int(
            each.key, 16
        )
        for each in found.registrations
    }
    if len(keys) < len(found.registrations) or not all(keys.values()):
        raise store.damaged(target, lun, WHAT, "a registration is there twice, or has no key")
    return Reservations(keys=keys, type=found.type, holder=_holder(store, target, lun, found, keys), aptpl=True)


def _holder(store: StateStore, target: str, lun: int, found: _Kept, keys: dict[Registrant, int]) -> Registrant | None:
    """Who holds the reservation. Raises ConfigError where nobody can."""
    single = found.type is not None and not found.type.all_registrants
    if single != (found.holder is not None) or (found.type is not None and not keys):
        raise _nobody(store, target, lun)
    if found.holder is None:
        return None
    if not 0 <= found.holder < len(keys):
        raise _nobody(store, target, lun)
    return list(keys)[found.holder]


def _nobody(store: StateStore, target: str, lun: int) -> ConfigError:
    return store.damaged(target, lun, WHAT, "the reservation's holder is not registered")
