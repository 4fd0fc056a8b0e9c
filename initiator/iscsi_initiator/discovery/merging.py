"""What a login is made with, out of up to three sources (guide, "How targets are organized"): A, what the call says; B, the
instance that discovery found; C, what was configured by hand. Each rule is a function of nothing but its arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from iscsi_initiator.discovery.instance import Instance
from iscsi_initiator.service.api.values import LoginOptions as CallOptions
from iscsi_initiator.store.sealed import Sealed
from iscsi_initiator.store.state import AuthType, LoginOptions, LunMapping, Portal

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """A secret as the store has it, and what it is sealed for."""

    place: str
    sealed: Sealed


Secret = bytes | StoredSecret


@dataclass(frozen=True, slots=True)
class Authentication:
    """A unit: taken as a whole from one source. user_name: None for the node name; secret: None where none was given."""

    type: AuthType = AuthType.NONE
    user_name: str | None = None
    secret: Secret | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How to log in, of one source or merged. login_flags: of LoginFlag, 0 where nothing is said; None: nothing is said."""

    login_flags: int = 0
    header_digest: bool | None = None
    data_digest: bool | None = None
    maximum_connections: int | None = None
    default_time2wait: int | None = None
    default_time2retain: int | None = None
    authentication: Authentication = Authentication()


def of_call(options: CallOptions) -> Options:
    """What a request says: A."""
    return _of(options, options.password)


def of_store(options: LoginOptions, place: str) -> Options:
    """What a record says. place: what its password is sealed for."""
    return _of(options, None if options.password is None else StoredSecret(place, options.password))


def of_instance(instance: Instance | None) -> Options:
    """What an instance says: B or C; nothing where there is none."""
    return Options() if instance is None else of_store(instance.options, instance.password_place)


def _of(options: CallOptions | LoginOptions, secret: Secret | None) -> Options:
    return Options(
        login_flags=options.login_flags,
        header_digest=options.header_digest,
        data_digest=options.data_digest,
        maximum_connections=options.maximum_connections,
        default_time2wait=options.default_time2wait,
        default_time2retain=options.default_time2retain,
        authentication=Authentication(AuthType(options.auth_type), options.user_name, secret),
    )


def merge_options(call: Options, found: Options, configured: Options) -> Options:
    """Rules 1 and 2: each value from the first of A, B, C that says it; authentication from the first that has any."""
    order = (call, found, configured)
    return Options(
        login_flags=next((each.login_flags for each in order if each.login_flags), 0),
        header_digest=_first([each.header_digest for each in order]),
        data_digest=_first([each.data_digest for each in order]),
        maximum_connections=_first([each.maximum_connections for each in order]),
        default_time2wait=_first([each.default_time2wait for each in order]),
        default_time2retain=_first([each.default_time2retain for each in order]),
        authentication=next(
            (each.authentication for each in order if each.authentication.type is not AuthType.NONE),
            Authentication(),
        ),
    )


def merge_mappings(call: Sequence[LunMapping], configured: Instance | None) -> tuple[LunMapping, ...]:
    """Those of the call, else those that were configured by hand, else none: then the driver chooses."""
    return tuple(call) or (configured.mappings if configured is not None else ())


def merge_portals(call: Portal | None, instance: Instance) -> tuple[Portal, ...]:
    """The portal of the call alone, else those that the instance has."""
    return (call,) if call is not None else instance.portals


def _first(values: Sequence[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)
