"""Targets that were configured by hand: out of the store, and merged with what was there before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from iscsi_initiator.discovery.instance import STATIC, Group, Instance
from iscsi_initiator.store.errors import SecretError
from iscsi_initiator.store.sealed import Sealed
from iscsi_initiator.store.state import LoginOptions, StaticTarget, TargetFlag
from iscsi_protocol.names import IscsiNameError, check_name

_FLAGS = TargetFlag.HIDE_STATIC_TARGET | TargetFlag.MERGE_TARGET_INFORMATION


@dataclass(frozen=True, slots=True)
class Damaged:
    """A record that cannot be taken over, and why."""

    name: str
    reason: str


def static_instances(
    records: Iterable[StaticTarget], unseal: Callable[[Sealed, str], bytes]
) -> tuple[list[Instance], list[Damaged]]:
    """The targets of the records, and the records that are damaged: no name, unknown flags, a password that does not open.

    unseal: opens a secret that is sealed for a place; raises SecretError.
    """
    instances, damaged = [], []
    for record in records:
        try:
            instances.append(_instance(record, unseal))
        except (IscsiNameError, SecretError, ValueError) as error:
            damaged.append(Damaged(record.name, str(error)))
    return instances, damaged


def _instance(record: StaticTarget, unseal: Callable[[Sealed, str], bytes]) -> Instance:
    check_name(record.name)
    if record.flags & ~_FLAGS:
        raise ValueError(f"target flags {record.flags:#x}")
    if record.options.password is not None:
        unseal(record.options.password, record.place)
    return Instance(
        source=STATIC,
        name=record.name,
        alias=record.alias,
        flags=record.flags,
        persistent=record.persist,
        groups=(Group(None, record.portals),) if record.portals else (),
        options=record.options,
        password_place=record.place,
        mappings=record.mappings,
    )


def merge_static(there: StaticTarget, given: StaticTarget) -> StaticTarget:
    """What stands for a target after AddTarget with the merge flag: what is given counts where it says something, the rest
    stays. Flags and whether it persists are as given.
    """
    changes = {
        name: value
        for name in ("alias", "portals", "mappings")
        if (value := getattr(given, name)) not in (None, (), getattr(there, name))
    }
    return msgspec.structs.replace(
        there, flags=given.flags, persist=given.persist, options=_merge(there.options, given.options), **changes
    )


def _merge(there: LoginOptions, given: LoginOptions) -> LoginOptions:
    unit = ("auth_type", "user_name", "password")
    fields = [name for name in LoginOptions.__struct_fields__ if name not in unit]
    changes = {name: value for name in fields if (value := getattr(given, name)) is not None}
    if not given.login_flags:
        del changes["login_flags"]
    if given.auth_type:
        changes |= {name: getattr(given, name) for name in unit}
    return msgspec.structs.replace(there, **changes)
