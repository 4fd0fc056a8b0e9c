"""Between what requests say and what the store has: options with passwords that are sealed on the way in and left out on the
way out.
"""

from __future__ import annotations

from iscsi_initiator.discovery.instance import Instance
from iscsi_initiator.service import api
from iscsi_initiator.service.api.answers import PortalGroup
from iscsi_initiator.service.core import Core
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import Sealed, SecretError
from iscsi_initiator.store.state import AuthType, LoginOptions, PersistentLogin, TargetPortal


def seal(core: Core, secret: bytes | None, place: str) -> Sealed | None:
    """A secret as the store keeps it. Raises Refused COULD_NOT_SAVE_PERSISTENT_LOGIN_DATA."""
    if secret is None:
        return None
    try:
        return core.store.seal(secret, place)
    except SecretError as error:
        raise Refused(StatusCode.COULD_NOT_SAVE_PERSISTENT_LOGIN_DATA, str(error)) from error


def stored_options(core: Core, options: api.LoginOptions, place: str) -> LoginOptions:
    """Options as the store keeps them. place: of the record that has them. Raises Refused as `seal`."""
    return LoginOptions(
        login_flags=options.login_flags,
        header_digest=options.header_digest,
        data_digest=options.data_digest,
        maximum_connections=options.maximum_connections,
        default_time2wait=options.default_time2wait,
        default_time2retain=options.default_time2retain,
        user_name=options.user_name,
        password=seal(core, options.password, place),
        auth_type=AuthType(options.auth_type),
    )


def shown_options(options: LoginOptions) -> api.LoginOptions:
    """Options as answers have them: without the password."""
    return api.LoginOptions(
        login_flags=options.login_flags,
        header_digest=options.header_digest,
        data_digest=options.data_digest,
        maximum_connections=options.maximum_connections,
        default_time2wait=options.default_time2wait,
        default_time2retain=options.default_time2retain,
        user_name=options.user_name,
        auth_type=options.auth_type,
    )


def shown_portal(portal: TargetPortal) -> api.TargetPortalEntry:
    """A portal of the list."""
    return api.TargetPortalEntry(
        portal=portal.portal,
        initiator=portal.initiator,
        initiator_port=portal.initiator_port,
        security_flags=portal.security_flags,
        options=shown_options(portal.options),
        password_stored=portal.options.password is not None,
    )


def shown_login(login: PersistentLogin) -> api.PersistentLoginEntry:
    """A persistent login of the list."""
    return api.PersistentLoginEntry(
        name=login.name,
        target_name=login.target_name,
        report_to_pnp=login.report_to_pnp,
        portal=login.portal,
        initiator=login.initiator,
        initiator_port=login.initiator_port,
        security_flags=login.security_flags,
        options=shown_options(login.options),
        password_stored=login.options.password is not None,
        mappings=login.mappings,
    )


def shown_instance(instance: Instance) -> api.TargetInstance:
    """What one mechanism knows of a target."""
    return api.TargetInstance(
        discovery_mechanism=str(instance.source),
        target_name=instance.name,
        target_alias=instance.alias,
        initiator=instance.source.initiator,
        target_flags=instance.flags,
        persistent=instance.persistent,
        portal_groups=tuple(PortalGroup(tag=group.tag, portals=group.portals) for group in instance.groups),
        options=shown_options(instance.options),
        password_stored=instance.options.password is not None,
        mappings=instance.mappings,
    )
